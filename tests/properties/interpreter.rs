//! The meaning of a graph: every node in turn, in f64, each value in a tensor of its own. No pass is involved.

use cpu_reference::elementwise::Ahead;
use nn_core::StepScalars;
use nn_core::graph::{CpuCall, CpuInput, Graph, KernelOp, NodeKind, OpKind, Precision, ValueId};
use nn_core::tensor::{Bytes, DType, Layout, TensorType};
use std::collections::HashMap;

/// Values by name.
pub(crate) type Named = HashMap<String, Vec<f64>>;

/// How the kernels get their inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As contiguous copies.
    Copies,
    /// Views through their layouts where the kernel takes them, as a backend hands them over. A sum's order may then
    /// be another one.
    Views,
    /// As `Views`, and numbers known while tracing are computed with in double precision too.
    Double,
}

/// The scalars of every run.
pub(crate) fn step_scalars() -> StepScalars {
    StepScalars::new(3, 7, 0.375)
}

/// The outputs and the updated states of one run; `leaves` holds inputs and states.
///
/// Arithmetic on numbers known while tracing is done in f32, as `simplify` does it, but with [`Reading::Double`].
///
/// # Panics
/// Unless with [`Reading::Copies`] where a kernel makes something else of a view than of its copy.
pub(crate) fn interpret(graph: &Graph, leaves: &Named, reading: Reading) -> (Named, Named) {
    let mut values: HashMap<ValueId, Bytes> = HashMap::new();
    let mut known: HashMap<ValueId, [u8; 4]> = HashMap::new();
    // Where each value lies in the buffer of which value.
    let mut homes: HashMap<ValueId, (ValueId, Layout)> = HashMap::new();
    for (id, node) in graph.iter() {
        let kinds: Vec<TensorType> = node.inputs.iter().map(|&input| graph.kind_of(input).clone()).collect();
        let inputs: Vec<&[u8]> = node.inputs.iter().map(|input| values[input].as_ref()).collect();
        let mut made: Vec<Bytes> = node.outputs.iter().map(|kind| Bytes::zeroed(bytes_of(kind))).collect();
        let value = ValueId { node: id, output: 0 };
        let mut home = (value, Layout::contiguous(&node.outputs[0].shape));
        match &node.kind {
            NodeKind::Input(name) | NodeKind::State(name) => made[0] = from_f64(&node.outputs[0], &leaves[name]),
            NodeKind::Constant(bytes) => {
                made[0] = widened(&node.outputs[0], bytes.as_ref().as_ref());
                known.extend(bytes.as_ref().as_ref().try_into().ok().map(|number| (value, number)));
            }
            NodeKind::StepScalar(scalar) => {
                let word = bytemuck::cast::<_, [u32; 16]>(step_scalars())[scalar.word()];
                made[0] = widened(&node.outputs[0], &word.to_ne_bytes());
            }
            NodeKind::Op(op) => match op.kind() {
                OpKind::View(view) => {
                    let layout = view.layout(&Layout::contiguous(&kinds[0].shape)).unwrap();
                    gather(inputs[0], &layout, Precision::F64.element_bytes(kinds[0].dtype), made[0].as_mut());
                    known.extend(known.get(&node.inputs[0]).copied().map(|number| (value, number)));
                    let (root, layout) = &homes[&node.inputs[0]];
                    // Without one the view is the copy made above.
                    if let Some(layout) = view.layout(layout) {
                        home = (*root, layout);
                    }
                }
                OpKind::Elementwise(elementwise) => {
                    let dtypes: Vec<DType> = kinds.iter().map(|kind| kind.dtype).collect();
                    let numbers: Option<Vec<[u8; 4]>> =
                        node.inputs.iter().map(|input| known.get(input).copied()).collect();
                    match numbers.filter(|_| reading != Reading::Double && !elementwise.depends_on_index()) {
                        Some(numbers) => {
                            let aligned: Vec<Bytes> = numbers.iter().map(|number| Bytes::copy_of(number)).collect();
                            let inputs: Vec<&[u8]> = aligned.iter().map(AsRef::as_ref).collect();
                            let mut number = Bytes::zeroed(4);
                            elementwise.block_function(Precision::F32, &dtypes).unwrap()(
                                &inputs,
                                number.as_mut(),
                                0,
                                &Ahead::default(),
                            );
                            let all = number.as_ref().repeat(node.outputs[0].shape.elements());
                            made[0] = widened(&node.outputs[0], Bytes::copy_of(&all).as_ref());
                            known.extend(number.as_ref().try_into().ok().map(|number| (value, number)));
                        }
                        None => {
                            elementwise.block_function(Precision::F64, &dtypes).unwrap()(
                                &inputs,
                                made[0].as_mut(),
                                0,
                                &Ahead::default(),
                            );
                        }
                    }
                }
                OpKind::Kernel(kernel) => {
                    let whole: Vec<Layout> = kinds.iter().map(|kind| Layout::contiguous(&kind.shape)).collect();
                    let copies = inputs.iter().zip(&whole).map(|(&bytes, layout)| CpuInput { bytes, layout });
                    call(kernel, copies.collect(), &mut made, &node.outputs);
                    if reading != Reading::Copies {
                        let mut through: Vec<Bytes> =
                            node.outputs.iter().map(|kind| Bytes::zeroed(bytes_of(kind))).collect();
                        let views = node.inputs.iter().enumerate().map(|(place, input)| {
                            let (root, layout) = &homes[input];
                            match kernel.accepts(place, layout) {
                                true => CpuInput { bytes: values[root].as_ref(), layout },
                                false => CpuInput { bytes: inputs[place], layout: &whole[place] },
                            }
                        });
                        call(kernel, views.collect(), &mut through, &node.outputs);
                        let largest = |(kind, bytes): (&TensorType, &&[u8])| {
                            let values = numbers(kind, bytes).into_iter();
                            values.fold(1.0_f64, |largest, value| largest.max(value.abs()))
                        };
                        let largest: f64 = kinds.iter().zip(&inputs).map(largest).product();
                        for (kind, (through, copied)) in node.outputs.iter().zip(through.iter().zip(&made)) {
                            same_but_for_order(&graph.label(id), kind, through, copied, largest);
                        }
                        made = through;
                    }
                }
            },
        }
        for (output, bytes) in made.into_iter().enumerate() {
            let value = ValueId { node: id, output: output as u32 };
            let kind = graph.kind_of(value);
            let home = if output == 0 { home.clone() } else { (value, Layout::contiguous(&kind.shape)) };
            homes.insert(value, home);
            values.insert(value, bytes);
        }
    }
    let named = |list: &[(String, ValueId)]| {
        list.iter()
            .map(|(name, value)| (name.clone(), numbers(graph.kind_of(*value), values[value].as_ref())))
            .collect()
    };
    (named(&graph.outputs), named(&graph.updates))
}

fn call(kernel: &dyn KernelOp, inputs: Vec<CpuInput<'_>>, made: &mut [Bytes], kinds: &[TensorType]) {
    let outputs = made.iter_mut().map(AsMut::as_mut).collect();
    kernel.cpu(&mut CpuCall { precision: Precision::F64, inputs, outputs, kinds, in_place: None }).unwrap();
}

/// Another order of a sum changes the last bits; nothing else may change. The inputs' largest magnitudes have the
/// product `largest`.
fn same_but_for_order(label: &str, kind: &TensorType, through: &Bytes, copied: &Bytes, largest: f64) {
    // Sums of at most 256 terms, of squares at most.
    let room = if kind.dtype == DType::F32 { 256.0 * f64::EPSILON * largest * largest } else { 0.0 };
    for (a, b) in numbers(kind, through.as_ref()).into_iter().zip(numbers(kind, copied.as_ref())) {
        let same = (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= room;
        assert!(same, "{label} makes {a} of a view and {b} of its copy");
    }
}

fn bytes_of(kind: &TensorType) -> usize {
    kind.shape.elements() * Precision::F64.element_bytes(kind.dtype)
}

fn real(values: &[f64]) -> Bytes {
    Bytes::copy_of(bytemuck::cast_slice(values))
}

fn from_f64(kind: &TensorType, values: &[f64]) -> Bytes {
    match kind.dtype {
        DType::U32 => {
            Bytes::copy_of(bytemuck::cast_slice(&values.iter().map(|&value| value as u32).collect::<Vec<_>>()))
        }
        DType::I32 => {
            Bytes::copy_of(bytemuck::cast_slice(&values.iter().map(|&value| value as i32).collect::<Vec<_>>()))
        }
        DType::F32 | DType::F16 => real(values),
    }
}

fn widened(kind: &TensorType, bytes: &[u8]) -> Bytes {
    if kind.dtype != DType::F32 {
        return Bytes::copy_of(bytes);
    }
    let values: Vec<f64> =
        bytes.chunks_exact(4).map(|word| f64::from(f32::from_ne_bytes(word.try_into().unwrap()))).collect();
    real(&values)
}

fn numbers(kind: &TensorType, bytes: &[u8]) -> Vec<f64> {
    match kind.dtype {
        DType::F32 => bytemuck::cast_slice(bytes).to_vec(),
        DType::U32 => bytemuck::cast_slice::<u8, u32>(bytes).iter().map(|&value| f64::from(value)).collect(),
        DType::I32 => bytemuck::cast_slice::<u8, i32>(bytes).iter().map(|&value| f64::from(value)).collect(),
        DType::F16 => panic!("no value of type {kind} is expected here"),
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
