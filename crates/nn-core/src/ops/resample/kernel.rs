//! How resampling and its gradient are computed.

use super::{Axis, Forward, Gradient};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, CpuInput, GpuCall, GpuPiece, KernelOp, word};
use crate::ops::support::{flat_groups, for_precision};
use crate::tensor::TensorType;
use crate::tensor::window::Axis as WorkAxis;

/// Results that one launch of the gradient sums over: an invocation may loop no more often.
const ROUND: usize = 60_000;

impl Axis {
    fn places<'a>(&self, inputs: &[CpuInput<'a>]) -> cpu_reference::Places<'a> {
        cpu_reference::Places { lows: inputs[1].elements(), parts: inputs[2].elements(), whole: self.whole }
    }

    fn inverse(&self) -> u32 {
        ((1.0 / f64::from(self.whole)) as f32).to_bits()
    }

    /// Roundings of one weighted input. A weight is a whole number made a real one, times a rounded constant; on the CPU
    /// two such numbers' quotient.
    fn roundings(&self, arithmetic: Arithmetic) -> Accuracy {
        if !self.is_linear() {
            return Accuracy::EXACT;
        }
        let weight = arithmetic.pick(1.5, 2.5);
        Accuracy { summed: weight + arithmetic.rounding(), ..Accuracy::EXACT }
    }
}

impl KernelOp for Forward {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let inner = call.kinds[0].shape[2];
        let places = self.0.places(&call.inputs);
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            cpu_reference::resample(input, self.0.input, inner, &places, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let Axis { input, output, whole, .. } = self.0;
        let (outer, inner) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[2]);
        let axes = [WorkAxis::any(outer), WorkAxis::any(output), WorkAxis::any(inner), WorkAxis::whole(input)];
        let views = [
            call.view(0, [input * inner, 0, 1, inner]),
            call.view(1, [0, 1, 0, 0]),
            call.view(2, [0, 1, 0, 0]),
            call.view(3, [output * inner, inner, 1, 0]),
        ];
        for piece in call.cut(&axes, &views)? {
            let [outer, outputs, columns] = [0, 1, 2].map(|axis| piece.sizes[axis]);
            call.launch(
                "resample",
                &[],
                &[
                    ("count", word(outer * outputs * columns, "the number of elements")?.into()),
                    ("outputs", word(outputs, "a size")?.into()),
                    ("inner", word(columns, "a size")?.into()),
                    ("input_stride", word(input * inner, "a stride")?.into()),
                    ("output_stride", word(output * inner, "a stride")?.into()),
                    ("row_stride", word(inner, "a stride")?.into()),
                    ("input_offset", piece.offsets[0].into()),
                    ("lows_offset", piece.offsets[1].into()),
                    ("parts_offset", piece.offsets[2].into()),
                    ("output_offset", piece.offsets[3].into()),
                    ("whole", whole.into()),
                    ("inverse", self.0.inverse().into()),
                ],
                &piece.windows,
                flat_groups(outer * outputs * columns)?,
            )?;
        }
        Ok(())
    }

    fn flops(&self, _inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        if self.0.is_linear() { 3 * outputs[0].shape.elements() as u64 } else { 0 }
    }

    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        if !self.0.is_linear() {
            return Accuracy::EXACT;
        }
        self.0.roundings(arithmetic) + Accuracy::sum(arithmetic, 2, 1)
    }
}

impl Gradient {
    /// The launch for the piece's inputs that sums over `count` results from the piece's `start` on.
    fn launch(
        &self,
        call: &mut GpuCall,
        piece: &GpuPiece,
        inner: usize,
        start: usize,
        count: usize,
    ) -> Result<(), Error> {
        let Axis { input, output, whole, most, .. } = self.0;
        let [outer, inputs, columns] = [0, 2, 3].map(|axis| piece.sizes[axis]);
        let first_output = piece.starts[1] + start;
        // Later results add to what the ones before left.
        let goes_on: &[(&str, u32)] = if first_output > 0 { &[("CONTINUE", 1)] } else { &[] };
        let skipped = word(start, "a size")?;
        call.launch(
            "resample_gradient",
            goes_on,
            &[
                ("count", word(outer * inputs * columns, "the number of elements")?.into()),
                ("inputs", word(inputs, "a size")?.into()),
                ("first_input", word(piece.starts[2], "a place")?.into()),
                ("outputs", word(count, "a size")?.into()),
                ("first_output", word(first_output, "a place")?.into()),
                ("inner", word(columns, "a size")?.into()),
                ("dy_stride", word(output * inner, "a stride")?.into()),
                ("dx_stride", word(input * inner, "a stride")?.into()),
                ("row_stride", word(inner, "a stride")?.into()),
                ("dy_offset", word(piece.offsets[0] as usize + start * inner, "an offset")?.into()),
                ("lows_offset", (piece.offsets[1] + skipped).into()),
                ("parts_offset", (piece.offsets[2] + skipped).into()),
                ("firsts_offset", piece.offsets[3].into()),
                ("ends_offset", piece.offsets[4].into()),
                ("dx_offset", piece.offsets[5].into()),
                ("whole", whole.into()),
                ("inverse", self.0.inverse().into()),
            ],
            &piece.windows,
            flat_groups(outer * inputs * columns)?,
        )?;
        call.loops(most.min(count));
        Ok(())
    }
}

impl KernelOp for Gradient {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let inner = call.kinds[0].shape[2];
        let places = self.0.places(&call.inputs);
        let ranges = [3, 4].map(|place| call.inputs[place].elements::<u32>());
        for_precision!(call.precision, T => {
            let dy = call.inputs[0].elements::<T>();
            cpu_reference::resample_gradient(dy, inner, &places, ranges, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let Axis { input, output, most, .. } = self.0;
        let (outer, inner) = (call.inputs[0].layout.shape[0], call.inputs[0].layout.shape[2]);
        let axes = [outer, output, input, inner].map(WorkAxis::any);
        let views = [
            call.view(0, [output * inner, inner, 0, 1]),
            call.view(1, [0, 1, 0, 0]),
            call.view(2, [0, 1, 0, 0]),
            call.view(3, [0, 0, 1, 0]),
            call.view(4, [0, 0, 1, 0]),
            call.view(5, [input * inner, 0, inner, 1]),
        ];
        for piece in call.cut(&axes, &views)? {
            let outputs = piece.sizes[1];
            let round = if most > ROUND { ROUND } else { outputs };
            for start in (0..outputs).step_by(round) {
                self.launch(call, &piece, inner, start, round.min(outputs - start))?;
            }
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        let each = if self.0.is_linear() { 4 } else { 1 };
        each * inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let terms = self.0.most;
        self.0.roundings(arithmetic) + Accuracy::sum(arithmetic, terms, terms.saturating_sub(1))
    }
}
