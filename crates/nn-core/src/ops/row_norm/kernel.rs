//! How rows are normalised, and how exactly.

use super::{RowNorm, RowNormGradient};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, CpuInput, GpuCall, GpuView, InPlace, KernelOp, word};
use crate::ops::accuracy::{double_sum, quotient, row_additions};
use crate::ops::support::{for_precision, row_groups, row_lanes};
use crate::tensor::window::Axis;
use crate::tensor::{Layout, TensorType};
use cpu_reference::Real;
use gpu_runtime::Words;

/// Rows and the elements of each.
fn sizes(layout: &Layout) -> [usize; 2] {
    let width = layout.shape.last().copied().unwrap_or(1);
    [layout.shape.elements() / width, width]
}

/// A launch on rows: views of matrices, of what lies along the columns, and of statistics.
struct Rows<'a> {
    call: &'a mut GpuCall,
    sizes: [usize; 2],
    views: Vec<GpuView>,
    offsets: Vec<&'static str>,
}

impl<'a> Rows<'a> {
    fn new(call: &'a mut GpuCall, input: usize) -> Rows<'a> {
        let sizes = sizes(&call.inputs[input].layout);
        Rows { call, sizes, views: Vec::new(), offsets: Vec::new() }
    }

    /// The next binding: an operand by its strides along rows, columns and the two statistics.
    fn bind(&mut self, operand: usize, strides: [usize; 3], offset: &'static str) {
        self.views.push(self.call.view(operand, strides));
        self.offsets.push(offset);
    }

    fn matrix(&mut self, operand: usize, offset: &'static str) {
        self.bind(operand, [self.sizes[1], 1, 0], offset);
    }

    /// A parameter; without one another operand is bound and not read.
    fn parameter(&mut self, operand: Option<usize>, instead: usize, offset: &'static str) {
        match operand {
            Some(operand) => self.bind(operand, [0, 1, 0], offset),
            None => self.bind(instead, [0, 0, 0], offset),
        }
    }

    fn statistics(&mut self, operand: usize) {
        self.bind(operand, [2, 0, 1], "statistics_offset");
    }

    fn launch(self, shader: &str, constants: &[(&str, u32)], eps: Option<f32>, passes: usize) -> Result<(), Error> {
        let [rows, columns] = self.sizes;
        let lanes = row_lanes(columns);
        let constants: Vec<_> = constants.iter().copied().chain([("LANES", lanes as u32)]).collect();
        for piece in self.call.cut(&[Axis::any(rows), Axis::whole(columns), Axis::whole(2)], &self.views)? {
            let rows = piece.sizes[0];
            let mut parameters: Vec<(&str, Words<'_>)> = vec![
                ("rows", word(rows, "the number of rows")?.into()),
                ("columns", word(columns, "the number of columns")?.into()),
            ];
            parameters.extend(eps.map(|eps| ("eps", eps.into())));
            parameters.extend(self.offsets.iter().zip(&piece.offsets).map(|(&name, &at)| (name, at.into())));
            let groups = row_groups((rows * lanes).div_ceil(256))?;
            self.call.launch(shader, &constants, &parameters, &piece.windows, groups)?;
            self.call.loops(passes * columns.div_ceil(lanes) + 32);
        }
        Ok(())
    }
}

impl RowNorm {
    /// The CPU's kernel, given weight and bias.
    fn norm<'a, T: Real>(&self, width: usize, parameters: &[CpuInput<'a>]) -> cpu_reference::RowNorm<'a, T> {
        let mut parameters = parameters.iter().map(CpuInput::elements);
        let weight = if self.weighted { parameters.next() } else { None };
        let (centred, eps) = (self.centred, f64::from(self.eps));
        cpu_reference::RowNorm { width, centred, eps, weight, bias: parameters.next() }
    }
}

impl KernelOp for RowNorm {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let [_, width] = sizes(call.inputs[0].layout);
        for_precision!(call.precision, T => {
            let norm = self.norm::<T>(width, &call.inputs[1..]);
            let input = call.inputs[0].elements();
            let [output, statistics] = &mut call.outputs[..] else {
                return Err(Error::Internal("a row norm was called with too few outputs".into()));
            };
            let (output, statistics) = (bytemuck::cast_slice_mut(output), bytemuck::cast_slice_mut(statistics));
            cpu_reference::row_norm(&norm, input, output, statistics);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let outputs = call.inputs.len();
        let mut rows = Rows::new(call, 0);
        rows.matrix(0, "input_offset");
        rows.parameter(self.weighted.then_some(1), 0, "weight_offset");
        rows.parameter(self.biased.then_some(outputs - 1), 0, "bias_offset");
        rows.matrix(outputs, "output_offset");
        rows.statistics(outputs + 1);
        let constants = [
            ("CENTRED", u32::from(self.centred)),
            ("WEIGHTED", u32::from(self.weighted)),
            ("BIASED", u32::from(self.biased)),
        ];
        rows.launch("row_norm", &constants, Some(self.eps), 3)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        8 * inputs[0].shape.elements() as u64
    }

    /// In units of [`KernelOp::magnitudes`].
    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        let width = inputs[0].shape.last().copied().unwrap_or(1);
        let summed = match arithmetic {
            Arithmetic::Gpu => units(width),
            // The square of a difference (1½), three additions (1½) and the root make 1/deviation err by 2, mean and
            // differences likewise; what follows rounds four times.
            _ => 4.0 * double_sum(arithmetic, width + 4) + 8.0,
        };
        // What is lost of denormal squares.
        let absolute = 8.0 * arithmetic.smallest() / arithmetic.unit();
        Accuracy { summed, ..Accuracy::absolute(absolute) }
    }

    /// Of the mean the mean distance from it and an eighth of itself; of 1/deviation itself; of results what these errors and
    /// their own terms make. On a GPU the first mean's error counts, too: see the bounds of `moments`.
    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        let [_, width] = sizes(call.inputs[0].layout);
        let norm = self.norm::<f64>(width, &call.inputs[1..]);
        let x = call.inputs[0].elements::<f64>();
        let (unit, chain) = (Arithmetic::Gpu.unit(), row_additions(Arithmetic::Gpu, width) + 3.0);
        let computed = self.cpu(call);
        for (row, x) in x.chunks_exact(width).enumerate() {
            let [mean, inverse] = [0, 1].map(|place| call.output::<f64>(1)[2 * row + place]);
            let average = |of: &dyn Fn(f64) -> f64| x.iter().map(|x| of(*x)).sum::<f64>() / width as f64;
            let (of_mean, spread) = if self.centred {
                let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                let variance = average(&|x| (x - mean) * (x - mean)) + f64::from(self.eps);
                let error = 5.0 * chain * (chain * unit * largest).powi(2) / units(width);
                (average(&|x| (x - mean).abs()) + mean.abs() / 8.0, 1.0 + error / variance)
            } else {
                (0.0, 1.0)
            };
            call.output::<f64>(1)[2 * row..2 * row + 2].copy_from_slice(&[of_mean, inverse * spread]);
            let y = &mut call.output::<f64>(0)[row * width..][..width];
            for (column, (y, x)) in y.iter_mut().zip(x).enumerate() {
                let weight = norm.weight.map_or(1.0, |weight| weight[column].abs());
                let bias = norm.bias.map_or(0.0, |bias| bias[column].abs());
                *y = weight * inverse * (of_mean + (x - mean).abs() * spread) + bias;
            }
        }
        Some(computed)
    }
}

/// How a GPU's results err, in units of their magnitudes: as `moments` does, and by four more roundings.
fn units(width: usize) -> f64 {
    1.25 * row_additions(Arithmetic::Gpu, width) + 19.0
}

impl KernelOp for RowNormGradient {
    fn in_place(&self) -> Option<InPlace> {
        Some(InPlace { input: 0, output: 0 })
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let [_, width] = sizes(call.inputs[1].layout);
        for_precision!(call.precision, T => {
            let weight = call.inputs.get(3).map(CpuInput::elements);
            let norm = cpu_reference::RowNorm { width, centred: self.centred, eps: 0.0, weight, bias: None };
            let dy = call.unless_in_place::<T>(0);
            let (x, statistics) = (call.inputs[1].elements(), call.inputs[2].elements());
            cpu_reference::row_norm_gradient(&norm, dy, x, statistics, call.output(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (output, in_place) = (call.inputs.len(), call.in_place.is_some());
        let mut rows = Rows::new(call, 1);
        if !in_place {
            rows.matrix(0, "dy_offset");
        }
        rows.matrix(1, "x_offset");
        rows.statistics(2);
        rows.parameter(self.weighted.then_some(3), 1, "weight_offset");
        // What is bound for writing is called by the name of what it overwrites.
        rows.matrix(if in_place { 0 } else { output }, "output_offset");
        let shader = if in_place { "row_norm_gradient_in_place" } else { "row_norm_gradient" };
        let constants = [("CENTRED", u32::from(self.centred)), ("WEIGHTED", u32::from(self.weighted))];
        rows.launch(shader, &constants, None, 2)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        12 * inputs[0].shape.elements() as u64
    }

    /// In units of [`KernelOp::magnitudes`]. A term of the longer sum is a product of g, a difference and two factors; a
    /// division follows, the normalised element and its product, two differences and the last factor.
    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        let width = inputs[0].shape.last().copied().unwrap_or(1);
        let roundings = 4.0 + 3.0 + 2.0 + 1.0;
        let division = arithmetic.pick(0.5, quotient(arithmetic));
        let summed = row_additions(arithmetic, width) + roundings * arithmetic.rounding() + division;
        // Denormal terms may be lost, and what they would be multiplied by is at most so large.
        let factor = (1.0 + largest[1]) * (1.0 + largest[2]).powi(2);
        let absolute = 4.0 * (width as f64 + 4.0) * factor * arithmetic.smallest() / arithmetic.unit();
        Accuracy { summed, ..Accuracy::absolute(absolute) }
    }

    /// The result's terms with all signs alike.
    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        let [_, width] = sizes(call.inputs[1].layout);
        let [dy, x, statistics] = [0, 1, 2].map(|input| call.inputs[input].elements::<f64>());
        let weight = call.inputs.get(3).map(CpuInput::elements::<f64>);
        let output = call.output::<f64>(0).chunks_exact_mut(width);
        let rows = dy.chunks_exact(width).zip(x.chunks_exact(width)).zip(statistics.as_chunks::<2>().0);
        for (output, ((dy, x), [mean, inverse])) in output.zip(rows) {
            let g = |column: usize| (dy[column] * weight.map_or(1.0, |weight| weight[column])).abs();
            let normalised = |column: usize| ((x[column] - mean) * inverse).abs();
            let average = |of: &dyn Fn(usize) -> f64| (0..width).map(of).sum::<f64>() / width as f64;
            let first = if self.centred { average(&g) } else { 0.0 };
            let second = average(&|column| g(column) * normalised(column));
            for (column, output) in output.iter_mut().enumerate() {
                *output = (g(column) + first + normalised(column) * second) * inverse.abs();
            }
        }
        Some(Ok(()))
    }
}
