//! How attention and its gradient are computed on both backends, and how exactly.

use super::{Forward, Gradient, Settings, bounds, launch, sizes};
use crate::Error;
use crate::graph::{Accuracy, Arithmetic, CpuCall, GpuCall, KernelOp};
use crate::ops::support::for_precision;
use crate::tensor::{Layout, TensorType};
use cpu_reference::{Attention, AttentionSizes, Bias, Heads, Real, WeightDropout};

/// Whether the kernels read rows of heads through this layout: the elements of a row lie side by side.
fn by_rows(layout: &Layout) -> bool {
    layout.shape.rank() == 4 && (layout.strides[3] == 1 || layout.shape[3] == 1)
}

impl Settings {
    /// The kernel's input with this number, after the first `count`: is it the mask?
    fn is_mask(&self, input: usize, count: usize) -> bool {
        self.masked && input == count
    }
}

/// Rows of heads, read through a layout.
fn heads<'a, T: Real>(call: &CpuCall<'a>, place: usize) -> Heads<'a, T> {
    let layout = call.inputs[place].layout;
    let strides = [layout.strides[0], layout.strides[1], layout.strides[2]];
    Heads { values: call.inputs[place].buffer(), offset: layout.offset, strides }
}

/// What a call of one of the kernels computes: query, key and value are the inputs from `first` on, the others those
/// from `extra` on.
pub(super) fn with_attention<T: Real, R>(
    settings: &Settings,
    call: &mut CpuCall<'_>,
    [first, extra]: [usize; 2],
    work: impl FnOnce(&Attention<'_, T>, &mut CpuCall<'_>) -> R,
) -> Result<R, Error> {
    let shape = |place: usize| call.inputs[first + place].layout.shape.clone();
    let sizes = sizes(&shape(0), &shape(1), &shape(2)).map_err(Error::Internal)?;
    let mut place = extra;
    let mask = settings.masked.then(|| {
        let input = &call.inputs[place];
        place += 1;
        let strides = [0, 1, 2, 3].map(|axis| input.layout.strides[axis]);
        Bias { values: input.buffer::<T>(), offset: input.layout.offset, strides }
    });
    let slopes: Option<Vec<T>> = settings.sloped.then(|| match first {
        0 => {
            place += 1;
            call.inputs[place - 1].elements::<T>().to_vec()
        }
        _ => {
            let layout = call.inputs[4].layout;
            let all = call.inputs[4].buffer::<T>();
            let slope = |head: usize| all[layout.offset + head * layout.strides[2] + 2 * layout.strides[3]];
            (0..sizes.heads).map(slope).collect()
        }
    });
    let dropout = (settings.dropout > 0.0).then(|| {
        let words = call.inputs[place].elements::<u32>();
        WeightDropout { probability: settings.dropout, seed: words[0], step: words[1], stream: settings.stream }
    });
    let attention = Attention {
        sizes,
        query: heads(call, first),
        key: heads(call, first + 1),
        value: heads(call, first + 2),
        scale: settings.scale,
        causal: settings.causal,
        window: settings.window,
        mask,
        slopes: slopes.as_deref(),
        dropout,
    };
    Ok(work(&attention, call))
}

fn sizes_of(inputs: &[TensorType], first: usize) -> Option<AttentionSizes> {
    let [query, key, value] = [0, 1, 2].map(|place| &inputs[first + place].shape);
    sizes(query, key, value).ok()
}

impl KernelOp for Forward {
    fn accepts(&self, input: usize, layout: &Layout) -> bool {
        layout.is_contiguous() || self.0.is_mask(input, 3) || (input < 3 && by_rows(layout))
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            with_attention::<T, _>(&self.0, call, [0, 3], |attention, call| {
                let [output, logarithms] = &mut call.outputs[..] else {
                    return Err(Error::Internal("attention was called with too few outputs".into()));
                };
                let output = bytemuck::cast_slice_mut(output);
                cpu_reference::attention(attention, output, bytemuck::cast_slice_mut(logarithms));
                Ok(())
            })?
        })
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = |place: usize| call.inputs[place].layout.shape.clone();
        let sizes = sizes(&shape(0), &shape(1), &shape(2)).map_err(Error::Internal)?;
        launch::forward(call, &self.0, &sizes)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        flops(inputs, 0, 2)
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        sizes_of(inputs, 0).map_or(Accuracy::UNKNOWN, |sizes| bounds::forward(arithmetic, &sizes, largest[2]))
    }

    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        Some(with_attention::<f64, _>(&self.0, call, [0, 3], bounds::forward_magnitudes))
    }
}

impl KernelOp for Gradient {
    fn accepts(&self, input: usize, layout: &Layout) -> bool {
        layout.is_contiguous() || self.0.is_mask(input, 5) || (input < 4 && by_rows(layout))
    }

    fn cpu(&self, call: &mut CpuCall<'_>) -> Result<(), Error> {
        for_precision!(call.precision, T => {
            with_attention::<T, _>(&self.0, call, [1, 5], |attention, call| {
                let (dy, rows) = (heads::<T>(call, 0), heads::<T>(call, 4));
                let [dq, dk, dv] = &mut call.outputs[..] else {
                    return Err(Error::Internal("attention_gradient was called with too few outputs".into()));
                };
                let outputs = [dq, dk, dv].map(|output| bytemuck::cast_slice_mut(output));
                cpu_reference::attention_gradient(attention, dy, rows, outputs);
                Ok(())
            })?
        })
    }

    fn gpu(&self, call: &mut GpuCall) -> Result<(), Error> {
        let shape = |place: usize| call.inputs[place].layout.shape.clone();
        let sizes = sizes(&shape(1), &shape(2), &shape(3)).map_err(Error::Internal)?;
        launch::gradient(call, &self.0, &sizes)
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        flops(inputs, 1, 5)
    }

    fn accuracy(&self, arithmetic: Arithmetic, inputs: &[TensorType], largest: &[f64]) -> Accuracy {
        sizes_of(inputs, 1).map_or(Accuracy::UNKNOWN, |sizes| bounds::gradient(arithmetic, &sizes, largest))
    }

    fn magnitudes(&self, call: &mut CpuCall<'_>) -> Option<Result<(), Error>> {
        let dropped = |attention: &Attention<'_, f64>, call: &mut CpuCall<'_>| {
            let (dy, rows) = (heads::<f64>(call, 0), heads::<f64>(call, 4));
            bounds::gradient_magnitudes(attention, dy, rows, call);
        };
        Some(with_attention::<f64, _>(&self.0, call, [1, 5], dropped))
    }
}

/// Multiplications and additions of so many products of all queries and keys.
fn flops(inputs: &[TensorType], first: usize, products: u64) -> u64 {
    let count = |sizes: AttentionSizes| sizes.batch * sizes.heads * sizes.queries * sizes.keys * sizes.size;
    2 * products * sizes_of(inputs, first).map_or(0, count) as u64
}
