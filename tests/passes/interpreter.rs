//! The meaning of a graph: every node in turn, in f64, each value in a tensor of its own. No pass is involved.

use nn_core::graph::{CpuCall, CpuInput, Graph, NodeKind, OpKind, Precision, ValueId};
use nn_core::tensor::{Bytes, DType, Layout, TensorType};
use std::collections::HashMap;

/// Values by name.
pub(crate) type Named = HashMap<String, Vec<f64>>;

/// The outputs and the updated states of one run; `leaves` holds inputs and states, all `f32`.
pub(crate) fn interpret(graph: &Graph, leaves: &Named) -> (Named, Named) {
    let mut values: HashMap<ValueId, Bytes> = HashMap::new();
    for (id, node) in graph.iter() {
        let kinds: Vec<TensorType> = node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect();
        let inputs: Vec<&[u8]> = node.inputs.iter().map(|input| values[input].as_ref()).collect();
        let mut made: Vec<Bytes> = node.outputs.iter().map(|kind| Bytes::zeroed(bytes_of(kind))).collect();
        match &node.kind {
            NodeKind::Input(name) | NodeKind::State(name) => made[0] = real(&leaves[name]),
            NodeKind::Constant(bytes) => made[0] = widened(&node.outputs[0], bytes.as_ref().as_ref()),
            NodeKind::StepScalar(scalar) => panic!("{} has no value here", scalar.name()),
            NodeKind::Op(op) => match op.kind() {
                OpKind::View(view) => {
                    let layout = view.layout(&Layout::contiguous(&kinds[0].shape)).unwrap();
                    gather(inputs[0], &layout, Precision::F64.element_bytes(kinds[0].dtype), made[0].as_mut());
                }
                OpKind::Elementwise(elementwise) => {
                    let dtypes: Vec<DType> = kinds.iter().map(|kind| kind.dtype).collect();
                    elementwise.block_function(Precision::F64, &dtypes).unwrap()(&inputs, made[0].as_mut(), 0);
                }
                OpKind::Kernel(kernel) => {
                    let layouts: Vec<Layout> = kinds.iter().map(|kind| Layout::contiguous(&kind.shape)).collect();
                    let inputs = inputs.iter().zip(&layouts).map(|(bytes, layout)| CpuInput { bytes, layout });
                    let outputs = made.iter_mut().map(AsMut::as_mut).collect();
                    let inputs = inputs.collect();
                    let kinds = &node.outputs;
                    kernel.cpu(&mut CpuCall { precision: Precision::F64, inputs, outputs, kinds }).unwrap();
                }
            },
        }
        for (output, bytes) in made.into_iter().enumerate() {
            values.insert(ValueId { node: id, output: output as u32 }, bytes);
        }
    }
    let named = |list: &[(String, ValueId)]| {
        list.iter().map(|(name, value)| (name.clone(), numbers(graph.kind_of(*value), &values[value]))).collect()
    };
    (named(&graph.outputs), named(&graph.updates))
}

fn bytes_of(kind: &TensorType) -> usize {
    kind.shape.elements() * Precision::F64.element_bytes(kind.dtype)
}

fn real(values: &[f64]) -> Bytes {
    Bytes::copy_of(bytemuck::cast_slice(values))
}

fn widened(kind: &TensorType, bytes: &[u8]) -> Bytes {
    if kind.dtype != DType::F32 {
        return Bytes::copy_of(bytes);
    }
    let values: Vec<f64> =
        bytes.chunks_exact(4).map(|word| f64::from(f32::from_ne_bytes(word.try_into().unwrap()))).collect();
    real(&values)
}

fn numbers(kind: &TensorType, bytes: &Bytes) -> Vec<f64> {
    match kind.dtype {
        DType::F32 => bytemuck::cast_slice(bytes.as_ref()).to_vec(),
        DType::U32 => bytemuck::cast_slice::<u8, u32>(bytes.as_ref()).iter().map(|&value| f64::from(value)).collect(),
        _ => panic!("no value of type {kind} is expected here"),
    }
}

/// Copies the elements that a layout names, in row-major order.
fn gather(input: &[u8], layout: &Layout, size: usize, output: &mut [u8]) {
    for (number, element) in output.chunks_exact_mut(size).enumerate() {
        let mut rest = number;
        let mut place = layout.offset;
        for axis in (0..layout.shape.rank()).rev() {
            place += rest % layout.shape[axis] * layout.strides[axis];
            rest /= layout.shape[axis];
        }
        element.copy_from_slice(&input[size * place..size * (place + 1)]);
    }
}

/// Fails unless two sets of named values agree within `tolerance`, absolute plus relative.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: &Named, expected: &Named, tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (name, expected) in expected {
        let actual = &actual[name];
        assert_eq!(actual.len(), expected.len(), "{what}: {name}");
        for (index, (&a, &b)) in actual.iter().zip(expected).enumerate() {
            let close = (a - b).abs() <= tolerance * (1.0 + b.abs());
            assert!(close, "{what}: element {index} of {name} is {a} instead of {b}");
        }
    }
}
