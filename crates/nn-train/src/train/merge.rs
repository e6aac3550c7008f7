//! Low-rank adapters added to the weights that they are for.

use super::files::{TensorFile, read_tensors, write_tensors};
use super::peft::{AdapterFile, read_adapter};
use crate::Error;
use crate::scope::{WeightLayout, adapter_names, adapter_path};
use cpu_reference::matmul::{Matrix, matmul};
use nn_core::Tensor;
use std::path::Path;

/// `W + B·A · scale`, transposed where the weight is `[in, out]`; rounded once. The shapes fit each other.
pub(super) fn add_product(
    layout: WeightLayout,
    weight: &Tensor,
    [a, b]: [&Tensor; 2],
    scale: f64,
) -> Result<Tensor, Error> {
    let ([rank, inputs], [outputs, _]) = (sizes(a), sizes(b));
    let wide = |tensor: &Tensor| {
        let values = tensor.as_f32()?.iter().map(|&value| value.into());
        Ok::<_, Error>(values.collect::<Vec<f64>>())
    };
    let (a, b) = (wide(a)?, wide(b)?);
    let matrix =
        |values, row_stride, column_stride| Matrix { values, offset: 0, row_stride, column_stride, batch_strides: &[] };
    let mut product = vec![0.0; inputs * outputs];
    match layout {
        WeightLayout::OutputsInputs => {
            let sizes = [outputs, rank, inputs];
            matmul::<f64>(&matrix(&b, rank, 1), &matrix(&a, inputs, 1), &[], sizes, &mut product);
        }
        WeightLayout::InputsOutputs => {
            let sizes = [inputs, rank, outputs];
            matmul::<f64>(&matrix(&a, 1, inputs), &matrix(&b, 1, rank), &[], sizes, &mut product);
        }
    }
    let sums = weight.as_f32()?.iter().zip(product);
    let sums: Vec<f32> = sums.map(|(&weight, product)| (f64::from(weight) + product * scale) as f32).collect();
    Ok(Tensor::from_f32(weight.shape().clone(), &sums)?)
}

/// The sizes of a matrix; 0 for what is none.
fn sizes(tensor: &Tensor) -> [usize; 2] {
    tensor.shape()[..].try_into().unwrap_or([0; 2])
}

/// Adds an adapter in PEFT's format to a model's weights and writes these to another safetensors file, as `f32`. The model
/// itself is not needed: names are matched by their ends, and how a weight lies is told by its shape, of a square one by
/// the adapter's `fan_in_fan_out`.
///
/// # Errors
/// If a file cannot be read or written, or a tensor of the adapter is for none of the model's, or for one of another shape.
pub fn merge_adapter(
    weights: impl AsRef<Path>,
    adapter: impl AsRef<Path>,
    output: impl AsRef<Path>,
) -> Result<(), Error> {
    let (weights, adapter) = (weights.as_ref(), adapter.as_ref());
    let TensorFile { mut tensors, .. } = read_tensors(weights)?;
    let AdapterFile { lora, layout, tensors: parts } = read_adapter(adapter)?;
    let scale = lora.scale();
    let part = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
    let lacks = |name: &str| Error::file(adapter, format!("the adapter has no tensor `{name}`"));
    for path in &lora.targets {
        let [a, b] = adapter_names(path);
        let (a, b) = (part(&a).ok_or_else(|| lacks(&a))?, part(&b).ok_or_else(|| lacks(&b))?);
        let name = format!("{path}.weight");
        let Some(place) = place_of(&name, &tensors) else {
            let message = format!("there is no tensor `{name}` (or more than one), which the adapter is for");
            return Err(Error::file(weights, message));
        };
        let (own, tensor) = &tensors[place];
        let ([rank, inputs], [outputs, ranks]) = (sizes(a), sizes(b));
        let found = sizes(tensor);
        let layout = match (found == [outputs, inputs], found == [inputs, outputs]) {
            _ if rank != lora.rank || ranks != rank || inputs * outputs == 0 => None,
            (true, true) => Some(layout),
            (true, false) => Some(WeightLayout::OutputsInputs),
            (false, true) => Some(WeightLayout::InputsOutputs),
            (false, false) => None,
        };
        let layout = layout.ok_or_else(|| {
            let (weight, a, b, r) = (tensor.shape(), a.shape(), b.shape(), lora.rank);
            Error::file(adapter, format!("A {a} and B {b} of rank {r} do not fit the weight `{own}` {weight}"))
        })?;
        tensors[place].1 = add_product(layout, &tensors[place].1, [a, b], scale)?;
    }
    for (name, tensor) in parts.iter().filter(|(name, _)| adapter_path(name).is_none()) {
        match place_of(name, &tensors) {
            Some(place) if tensors[place].1.shape() != tensor.shape() => {
                let (own, known) = (&tensors[place].0, tensors[place].1.shape());
                let message = format!("`{name}` is {}, but the model's `{own}` is {known}", tensor.shape());
                return Err(Error::file(adapter, message));
            }
            Some(place) => tensors[place].1 = tensor.clone(),
            // Such as a new classifier.
            None => tensors.push((name.clone(), tensor.clone())),
        }
    }
    write_tensors(output.as_ref(), &tensors, ("format", "pt"))
}

/// The one tensor of this name, or of a name that ends with it or that it ends with: either may lack the model's prefix.
fn place_of(name: &str, tensors: &[(String, Tensor)]) -> Option<usize> {
    if let Some(place) = tensors.iter().position(|(known, _)| known == name) {
        return Some(place);
    }
    let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|front| front.ends_with('.'));
    let fits = |(_, (known, _)): &(usize, &(String, Tensor))| ends(known, name) || ends(name, known);
    let mut fitting = tensors.iter().enumerate().filter(fits).map(|(place, _)| place);
    let place = fitting.next()?;
    fitting.next().is_none().then_some(place)
}
