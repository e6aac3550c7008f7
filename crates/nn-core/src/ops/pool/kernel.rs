//! How the operators of pooling are computed on both backends, and how exactly.

use super::{AveragePool, AveragePoolGradient, MaxPool, MaxPoolGather, MaxPoolGradient};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, GpuCall, KernelOp, word};
use crate::ops::accuracy::quotient;
use crate::ops::support::{flat_groups, for_precision};
use crate::tensor::TensorType;
use crate::tensor::window::Axis;
use cpu_reference::{Divisor, PoolAxis, Windows};

/// Loop iterations of one launch: a larger window is gone through in several.
const LOOPS: usize = 60_000;

/// What an operand of a kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Planes before pooling.
    Input,
    /// Planes after pooling.
    Output,
    /// Places, after pooling.
    Indices,
}

/// A kernel, and what it goes through.
struct Launches<'a> {
    shader: &'static str,
    axes: &'a [PoolAxis; 2],
    operands: &'a [Holds],
    /// Whether an invocation computes an element of the planes before pooling, rather than after.
    backward: bool,
    divisor: Option<Divisor>,
}

fn area(axes: &[PoolAxis; 2], size: impl Fn(&PoolAxis) -> usize) -> usize {
    size(&axes[0]).saturating_mul(size(&axes[1]))
}

/// Elements that a window is numbered by along an axis, those in the padding included.
fn elements_of_window(axis: &PoolAxis) -> usize {
    match axis.windows {
        Windows::Regular { kernel, .. } => kernel,
        Windows::Adaptive => axis.longest_window(),
    }
}

/// Cuts rows of so many columns into parts that one launch goes through, in the order of a single one: first and end of
/// the rows, first and end of the columns.
fn parts(rows: usize, columns: usize) -> Vec<[usize; 4]> {
    let mut parts = Vec::new();
    let height = (LOOPS / (columns + 1)).max(1);
    let width = if height == 1 { LOOPS - 1 } else { columns };
    for row in (0..rows).step_by(height) {
        for column in (0..columns).step_by(width) {
            parts.push([row, rows.min(row + height), column, columns.min(column + width)]);
        }
    }
    parts
}

impl Launches<'_> {
    fn add(&self, call: &mut GpuCall) -> Result<(), Error> {
        let axes = self.axes;
        let [input, output] = [area(axes, |axis| axis.input), area(axes, |axis| axis.output)];
        let planes = call.inputs[0].layout.shape[0] * call.inputs[0].layout.shape[1];
        let view = |(operand, holds): (usize, &Holds)| match holds {
            Holds::Input => call.view(operand, [input, 1, 0]),
            _ => call.view(operand, [output, 0, 1]),
        };
        let views: Vec<_> = self.operands.iter().enumerate().map(view).collect();
        let [rows, columns] = match (self.shader, self.backward) {
            ("max_pool_gather", _) => [1, 1],
            (_, true) => [0, 1].map(|axis| axes[axis].most_windows()),
            (_, false) => [0, 1].map(|axis| elements_of_window(&axes[axis])),
        };
        let parts = parts(rows, columns);
        for piece in call.cut(&[Axis::any(planes), Axis::whole(input), Axis::whole(output)], &views)? {
            let offset = |holds: Holds| {
                let place = self.operands.iter().position(|operand| *operand == holds);
                place.map_or(0, |place| piece.offsets[place])
            };
            let elements = piece.sizes[0] * if self.backward { input } else { output };
            word(piece.sizes[0] * input.max(output), "the number of elements")?;
            for (number, &[row, row_end, column, column_end]) in parts.iter().enumerate() {
                let size = |number: usize| word(number, "a size");
                let regular = |axis: &PoolAxis| match axis.windows {
                    Windows::Regular { kernel, stride, padding, dilation } => [kernel, stride, dilation, padding],
                    Windows::Adaptive => [1, 1, 1, 0],
                };
                let [y, x] = [regular(&axes[0]), regular(&axes[1])];
                let mut constants = vec![
                    ("ADAPTIVE", u32::from(axes[0].windows == Windows::Adaptive)),
                    ("KERNEL_Y", size(y[0])?),
                    ("KERNEL_X", size(x[0])?),
                    ("STRIDE_Y", size(y[1])?),
                    ("STRIDE_X", size(x[1])?),
                    ("DILATION_Y", size(y[2])?),
                    ("DILATION_X", size(x[2])?),
                    ("CONTINUE", u32::from(number > 0)),
                ];
                let mut given = 0;
                if let Some(divisor) = self.divisor {
                    let code = match divisor {
                        Divisor::Padded => 0,
                        Divisor::Inside => 1,
                        Divisor::Given(number) => {
                            given = number;
                            2
                        }
                    };
                    constants.push(("DIVISOR", code));
                    if !self.backward {
                        constants.push(("LAST", u32::from(number + 1 == parts.len())));
                    }
                }
                call.launch(
                    self.shader,
                    &constants,
                    &[
                        ("planes", size(piece.sizes[0])?.into()),
                        ("input_height", size(axes[0].input)?.into()),
                        ("input_width", size(axes[1].input)?.into()),
                        ("output_height", size(axes[0].output)?.into()),
                        ("output_width", size(axes[1].output)?.into()),
                        ("before_y", size(y[3])?.into()),
                        ("before_x", size(x[3])?.into()),
                        ("first_row", size(row)?.into()),
                        ("row_end", size(row_end)?.into()),
                        ("first_column", size(column)?.into()),
                        ("column_end", size(column_end)?.into()),
                        ("divisor", given.into()),
                        ("input_offset", offset(Holds::Input).into()),
                        ("output_offset", offset(Holds::Output).into()),
                        ("indices_offset", offset(Holds::Indices).into()),
                    ],
                    &piece.windows,
                    flat_groups(elements)?,
                )?;
                call.loops((row_end - row) * (column_end - column + 1));
            }
        }
        Ok(())
    }
}

impl KernelOp for MaxPool {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            let [values, indices] = &mut call.outputs[..] else {
                return Err(Error::Internal("max_pool was called with too few outputs".into()));
            };
            let (values, indices) = (bytemuck::cast_slice_mut::<u8, T>(values), bytemuck::cast_slice_mut(indices));
            cpu_reference::max_pool(&self.0, input, values, indices);
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let operands = &[Holds::Input, Holds::Output, Holds::Indices];
        Launches { shader: "max_pool", axes: &self.0, operands, backward: false, divisor: None }.add(call)
    }

    fn flops(&self, _inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        (outputs[0].shape.elements() * area(&self.0, PoolAxis::longest_window)) as u64
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

impl KernelOp for MaxPoolGradient {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let dy = call.inputs[0].elements::<T>();
            cpu_reference::max_pool_gradient(&self.0, dy, indices, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let operands = &[Holds::Output, Holds::Indices, Holds::Input];
        Launches { shader: "max_pool_gradient", axes: &self.0, operands, backward: true, divisor: None }.add(call)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        inputs[0].shape.elements() as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // All windows over an element may have taken it; the first addition is to 0.
        let terms = area(&self.0, PoolAxis::most_windows);
        Accuracy::sum(arithmetic, terms, terms - 1)
    }
}

impl KernelOp for MaxPoolGather {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        let indices = call.inputs[1].elements::<u32>();
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            cpu_reference::max_pool_gather(&self.0, input, indices, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let operands = &[Holds::Input, Holds::Indices, Holds::Output];
        Launches { shader: "max_pool_gather", axes: &self.0, operands, backward: false, divisor: None }.add(call)
    }

    fn flops(&self, _inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        0
    }

    fn accuracy(&self, _arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        Accuracy::EXACT
    }
}

/// Dividing by a count: beyond 2²⁴ the count itself is rounded.
fn division(axes: &[PoolAxis; 2], divisor: Divisor, arithmetic: Arithmetic) -> f64 {
    let largest = match divisor {
        Divisor::Given(given) => given as usize,
        _ => area(axes, elements_of_window),
    };
    quotient(arithmetic) + if largest > 1 << 24 { arithmetic.rounding() } else { 0.0 }
}

impl KernelOp for AveragePool {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            let input = call.inputs[0].elements::<T>();
            cpu_reference::average_pool(&self.0, self.1, input, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let operands = &[Holds::Input, Holds::Output];
        Launches { shader: "average_pool", axes: &self.0, operands, backward: false, divisor: Some(self.1) }.add(call)
    }

    fn flops(&self, _inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        (outputs[0].shape.elements() * (area(&self.0, PoolAxis::longest_window) + 1)) as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // One element after the other; the first addition is to 0.
        let terms = area(&self.0, PoolAxis::longest_window);
        let sum = Accuracy::sum(arithmetic, terms, terms - 1);
        sum + Accuracy::relative(division(&self.0, self.1, arithmetic))
    }
}

impl KernelOp for AveragePoolGradient {
    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            let dy = call.inputs[0].elements::<T>();
            cpu_reference::average_pool_gradient(&self.0, self.1, dy, call.output::<T>(0));
        });
        Ok(())
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let (shader, operands) = ("average_pool_gradient", &[Holds::Output, Holds::Input]);
        Launches { shader, axes: &self.0, operands, backward: true, divisor: Some(self.1) }.add(call)
    }

    fn flops(&self, _inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        2 * (outputs[0].shape.elements() * area(&self.0, PoolAxis::most_windows)) as u64
    }

    fn accuracy(&self, arithmetic: Arithmetic, _inputs: &[TensorType], _largest: &[f64]) -> Accuracy {
        // Each term is divided, and added to those before it.
        let terms = area(&self.0, PoolAxis::most_windows);
        let division = division(&self.0, self.1, arithmetic);
        Accuracy::sum(arithmetic, terms, terms - 1) + Accuracy { summed: division, ..Accuracy::EXACT }
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOPS, parts};

    #[test]
    fn parts_go_through_everything_once_in_order() {
        for (rows, columns) in [(1, 1), (3, 5), (300, 300), (1, 200_000), (5, LOOPS - 1), (3, LOOPS), (70_000, 1)] {
            let mut next = 0;
            for [row, row_end, column, column_end] in parts(rows, columns) {
                assert!((row_end - row) * (column_end - column + 1) <= LOOPS, "{rows} × {columns}");
                assert!(row_end == row + 1 || (column, column_end) == (0, columns), "{rows} × {columns}");
                assert_eq!(row * columns + column, next, "{rows} × {columns}");
                next += (row_end - row) * (column_end - column);
            }
            assert_eq!(next, rows * columns);
        }
    }
}
