//! The oracle for kernels: exact results of the device's own inputs, and how far from them a result may lie.

use super::compare::Tally;
use super::number;
use crate::Error;
use crate::graph::{Arithmetic, CpuCall, CpuInput, KernelOp, Node, Precision};
use crate::schedule::Launch;
use crate::tensor::{Bytes, DType, TensorType};

/// One launch of a kernel.
pub(super) struct KernelCase<'a> {
    pub(super) kernel: &'a dyn KernelOp,
    pub(super) node: &'a Node,
    pub(super) launch: &'a Launch,
    /// The inputs' buffers, with `f32` values in double precision.
    pub(super) inputs: Vec<Bytes>,
}

/// What GPUs may take for 0.
fn flushed(value: f64) -> f64 {
    if value.abs() < f64::from(f32::MIN_POSITIVE) { 0.0 } else { value }
}

impl KernelCase<'_> {
    /// The oracle's results of these inputs.
    fn results(&self, inputs: &[Bytes]) -> Result<Vec<Bytes>, Error> {
        self.call(inputs, |call| self.kernel.cpu(call))
    }

    /// What the error of sums is measured by.
    fn magnitudes(&self) -> Result<Vec<Bytes>, Error> {
        let mut own = true;
        let results = self.call(&self.inputs, |call| {
            self.kernel.magnitudes(call).unwrap_or_else(|| {
                own = false;
                Ok(())
            })
        })?;
        if own { Ok(results) } else { self.results_of(f64::abs) }
    }

    fn call(
        &self,
        inputs: &[Bytes],
        kernel: impl FnOnce(&mut CpuCall<'_>) -> Result<(), Error>,
    ) -> Result<Vec<Bytes>, Error> {
        let bytes = |kind: &TensorType| kind.shape.elements() * Precision::F64.element_bytes(kind.dtype);
        let mut outputs: Vec<Bytes> = self.node.outputs.iter().map(|kind| Bytes::zeroed(bytes(kind))).collect();
        let inputs = inputs.iter().zip(&self.launch.inputs);
        let inputs = inputs.map(|(bytes, input)| CpuInput { bytes: bytes.as_ref(), layout: &input.layout });
        kernel(&mut CpuCall {
            precision: Precision::F64,
            inputs: inputs.collect(),
            outputs: outputs.iter_mut().map(AsMut::as_mut).collect(),
            kinds: &self.node.outputs,
            in_place: None,
        })?;
        Ok(outputs)
    }

    /// The oracle's results where every `f32` value is replaced.
    fn results_of(&self, change: impl Fn(f64) -> f64) -> Result<Vec<Bytes>, Error> {
        let mut inputs = self.inputs.clone();
        for (bytes, input) in inputs.iter_mut().zip(&self.launch.inputs) {
            if input.dtype == DType::F32 {
                let values: &mut [f64] = bytemuck::cast_slice_mut(bytes.as_mut());
                values.iter_mut().for_each(|value| *value = change(*value));
            }
        }
        self.results(&inputs)
    }

    fn any(&self, holds: impl Fn(f64) -> bool) -> bool {
        let mut inputs = self.inputs.iter().zip(&self.launch.inputs).filter(|(_, input)| input.dtype == DType::F32);
        inputs.any(|(bytes, _)| bytemuck::cast_slice(bytes.as_ref()).iter().any(|&value| holds(value)))
    }

    /// The largest finite magnitude in each input.
    fn largest(&self) -> Vec<f64> {
        let inputs = self.inputs.iter().zip(&self.launch.inputs);
        let largest = inputs.map(|(bytes, input)| {
            let element_bytes = Precision::F64.element_bytes(input.dtype);
            let mut largest = 0.0_f64;
            for_each_element(&input.layout.shape, &input.layout.strides, input.layout.offset, &mut |index| {
                let value = number(bytes.as_ref(), input.dtype, element_bytes, index).abs();
                if value.is_finite() {
                    largest = largest.max(value);
                }
            });
            largest
        });
        largest.collect()
    }

    /// Compares all outputs; `found` are the device's, with `f32` values in double precision.
    pub(super) fn compare(&self, arithmetic: Arithmetic, found: &[Bytes]) -> Result<Vec<Tally>, Error> {
        let gpu = arithmetic == Arithmetic::Gpu;
        let kind = |input: &crate::schedule::Operand| TensorType::new(input.dtype, input.layout.shape.clone());
        let kinds: Vec<TensorType> = self.launch.inputs.iter().map(kind).collect();
        let accuracy = self.kernel.accuracy(arithmetic, &kinds, &self.largest());
        let exact = self.results(&self.inputs)?;
        let magnitude = if accuracy.summed == 0.0 { None } else { Some(self.magnitudes()?) };
        let flushed =
            if gpu && self.any(|value| flushed(value) != value) { Some(self.results_of(flushed)?) } else { None };
        // WGSL promises nothing of what infinite inputs reach. Two runs of the oracle tell what that is: NaN in their
        // place goes wherever they go, and 0 in their place leaves the NaN that does not come from them.
        let replaced = |by: f64| move |value: f64| if value.is_infinite() { by } else { value };
        let reach = if gpu && self.any(f64::is_infinite) {
            Some([self.results_of(replaced(f64::NAN))?, self.results_of(replaced(0.0))?])
        } else {
            None
        };
        let mut tallies = Vec::with_capacity(found.len());
        for (output, (kind, found)) in self.node.outputs.iter().zip(found).enumerate() {
            let at = |results: &[Bytes], index| {
                number(results[output].as_ref(), kind.dtype, Precision::F64.element_bytes(kind.dtype), index)
            };
            let mut tally = Tally::default();
            for index in 0..kind.shape.elements() {
                let value = at(&exact, index);
                let promised = reach.as_ref().is_none_or(|[marked, cleared]| {
                    let (marked, cleared) = (at(marked, index), at(cleared, index));
                    if kind.dtype.is_float() {
                        !marked.is_nan() || cleared.is_nan()
                    } else {
                        value == marked && value == cleared
                    }
                });
                if !promised {
                    continue;
                }
                let tolerance = if kind.dtype.is_float() {
                    let magnitude = magnitude.as_ref().map_or(0.0, |results| at(results, index));
                    let shift = flushed.as_ref().map_or(0.0, |results| (at(results, index) - value).abs());
                    accuracy.allows(arithmetic, value, magnitude) + if shift.is_nan() { 0.0 } else { shift }
                } else {
                    0.0
                };
                let found = number(found.as_ref(), kind.dtype, Precision::F64.element_bytes(kind.dtype), index);
                tally.add(arithmetic, index, found, value, tolerance);
            }
            tallies.push(tally);
        }
        Ok(tallies)
    }
}

/// Calls with the place in the buffer of every element of a view; those that repeat are visited once.
pub(super) fn for_each_element(sizes: &[usize], strides: &[usize], offset: usize, visit: &mut impl FnMut(usize)) {
    match (sizes, strides) {
        ([size, sizes @ ..], [stride, strides @ ..]) => {
            let distinct = if *stride == 0 { 1 } else { *size };
            (0..distinct).for_each(|index| for_each_element(sizes, strides, offset + index * stride, visit));
        }
        _ => visit(offset),
    }
}
