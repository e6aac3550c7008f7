//! How pairs are rotated, and how exactly.

use super::{Rotary, RotaryPairing};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, CpuInput, GpuCall, InPlace, KernelOp, word};
use crate::ops::support::{flat_groups, for_precision};
use crate::tensor::window::Axis;
use crate::tensor::{Layout, TensorType};
use cpu_reference::Real;
use gpu_runtime::Words;

/// The dimensions of a matrix of heads.
fn four(sizes: &[usize]) -> [usize; 4] {
    [0, 1, 2, 3].map(|axis| sizes[axis])
}

impl Rotary {
    /// The CPU's kernel.
    fn rotary<'a, T: Real>(self, inputs: &[CpuInput<'a>]) -> cpu_reference::Rotary<'a, T> {
        let layout = inputs[0].layout;
        cpu_reference::Rotary {
            sizes: four(&layout.shape),
            strides: [0, 1, 2].map(|axis| layout.strides[axis]),
            cosine: inputs[1].elements(),
            sine: inputs[2].elements(),
            interleaved: self.pairing == RotaryPairing::Interleaved,
            backwards: self.backwards,
        }
    }
}

impl KernelOp for Rotary {
    fn accepts(&self, input: usize, layout: &Layout) -> bool {
        layout.is_contiguous() || (input == 0 && (layout.strides[3] == 1 || layout.shape[3] == 1))
    }

    fn in_place(&self) -> Option<InPlace> {
        Some(InPlace { input: 0, output: 0 })
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            let rotary = self.rotary::<T>(&call.inputs);
            let input = match call.in_place {
                Some(_) => None,
                None => Some(&call.inputs[0].buffer::<T>()[call.inputs[0].layout.offset..]),
            };
            cpu_reference::rotary(&rotary, input, call.output(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (layout, pairs) = (call.inputs[0].layout.clone(), call.inputs[1].layout.shape[1]);
        let [batch, length, heads, size] = four(&layout.shape);
        let own = [layout.strides[0], layout.strides[1], layout.strides[2]];
        let beside = [length * heads * size, heads * size, size];
        let table = [0, pairs, 0, 0, 1];
        let along = |[batch, length, head]: [usize; 3]| [batch, length, head, 1, 0];
        let mut views = vec![call.view(1, table), call.view(2, table)];
        let mut offsets = vec!["cosine_offset", "sine_offset", "output_offset"];
        let shader = match call.in_place {
            Some(_) => {
                // What is bound for writing is called by the name of what it overwrites.
                views.push(call.view(0, along(beside)));
                "rotary_in_place"
            }
            None => {
                views.insert(0, call.view(0, along(own)));
                views.push(call.view(3, along(beside)));
                offsets.insert(0, "input_offset");
                "rotary"
            }
        };
        let constants = [("INTERLEAVED", u32::from(self.pairing == RotaryPairing::Interleaved))];
        let axes = [Axis::any(batch), Axis::any(length), Axis::any(heads), Axis::whole(size), Axis::whole(pairs)];
        for piece in call.cut(&axes, &views)? {
            let [batch, length, heads, size] = four(&piece.sizes);
            let count = batch * length * heads * (size - pairs);
            let stride = |stride: usize| word(stride, "a stride").map(Words::from);
            let mut parameters: Vec<(&str, Words<'_>)> = vec![
                ("length", word(length, "the length")?.into()),
                ("heads", word(heads, "the number of heads")?.into()),
                ("size", word(size, "the size of a head")?.into()),
                ("pairs", word(pairs, "the number of pairs")?.into()),
                ("count", word(count, "the number of elements")?.into()),
                ("direction", if self.backwards { -1.0 } else { 1.0_f32 }.into()),
                ("output_batch_stride", stride(beside[0])?),
                ("output_length_stride", stride(beside[1])?),
            ];
            if call.in_place.is_none() {
                let names = ["input_batch_stride", "input_length_stride", "input_head_stride"];
                for (name, own) in names.into_iter().zip(own) {
                    parameters.push((name, stride(own)?));
                }
            }
            parameters.extend(offsets.iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
            call.launch(shader, &constants, &parameters, &piece.windows, flat_groups(count)?)?;
        }
        Ok(())
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        let pairs = inputs[1].shape[1] as u64;
        6 * pairs * (inputs[0].shape.elements() / inputs[0].shape[3]) as u64
    }

    /// Two products and a sum.
    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::sum(arithmetic, 2, 2)
    }

    /// The products with all signs alike; nothing where nothing is computed.
    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        let absolute = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<f64>>();
        let rotary = self.rotary::<f64>(&call.inputs);
        let (cosine, sine) = (absolute(rotary.cosine), absolute(rotary.sine));
        let input = absolute(&call.inputs[0].buffer::<f64>()[call.inputs[0].layout.offset..]);
        // Turned one way the second of a pair is such a sum, turned the other way the first.
        let output = call.output::<f64>(0);
        let mut other = vec![0.0; output.len()];
        for (backwards, output) in [(false, &mut *output), (true, &mut other)] {
            let rotary = cpu_reference::Rotary { cosine: &cosine, sine: &sine, backwards, ..rotary };
            cpu_reference::rotary(&rotary, Some(&input), output);
        }
        let [_, length, _, size] = rotary.sizes;
        let rotated = 2 * (cosine.len() / length);
        for (place, (output, other)) in output.iter_mut().zip(other).enumerate() {
            *output = if place % size < rotated { output.max(other) } else { 0.0 };
        }
        Some(Ok(()))
    }
}
