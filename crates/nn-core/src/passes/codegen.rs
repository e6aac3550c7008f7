//! WGSL for fused groups: one invocation computes one element of every member.

use super::bindings::{Bindings, Entry, Memory, bind};
use crate::Error;
use crate::graph::{Graph, OpKind, word, words};
use crate::schedule::{Fused, Launch, Source};
use crate::tensor::window::{Piece, dot};
use crate::tensor::{DType, Layout};
use gpu_runtime::{Binding, BindingKind, Field, Kernel, Words};
use std::borrow::Cow;
use std::fmt::Write;

/// Invocations of one workgroup.
pub(crate) const WIDTH: usize = 256;

/// A generated kernel with the bindings it has, and the parameter block and elements of each piece.
pub(crate) struct Generated {
    pub(crate) kernel: Kernel,
    pub(crate) bindings: Bindings,
    pub(crate) pieces: Vec<(Vec<u8>, usize)>,
}

/// How an input's element is found from the element's number.
enum Access {
    /// The same number.
    Same,
    /// The number plus the offset parameter of this index.
    Shifted(usize),
    /// Always the element at the offset parameter of this index.
    Repeated(usize),
    /// By coordinates: the stride and offset parameters of this index.
    Strided(usize),
}

/// A parameter of one word, by what it says of a piece.
enum Scalar {
    /// How many elements it has.
    Count,
    /// The number of its first element in the whole shape.
    Base,
    /// Where, in the window of a binding, the element lies that is at this place of the buffer, or so many strides of
    /// the piece's beginning after it.
    Place { binding: usize, place: usize, strides: Vec<usize> },
}

/// A parameter of eight words.
enum Array {
    /// The sizes of the piece.
    Sizes,
    /// These numbers.
    Strides(Vec<usize>),
}

/// Parameter fields while they are collected: arrays of eight words first, then single words.
#[derive(Default)]
struct Block {
    arrays: Vec<(String, Array)>,
    scalars: Vec<(String, Scalar)>,
}

impl Block {
    fn fields(&self) -> Vec<Field> {
        let array = |(place, (name, _)): (usize, &(String, Array))| Field {
            name: Cow::Owned(name.clone()),
            offset: 32 * place as u32,
            words: 8,
        };
        let start = 32 * self.arrays.len() as u32;
        let scalar = |(place, (name, _)): (usize, &(String, Scalar))| Field {
            name: Cow::Owned(name.clone()),
            offset: start + 4 * place as u32,
            words: 1,
        };
        self.arrays.iter().enumerate().map(array).chain(self.scalars.iter().enumerate().map(scalar)).collect()
    }

    fn bytes(&self) -> u32 {
        (32 * self.arrays.len() as u32 + 4 * self.scalars.len() as u32).next_multiple_of(16)
    }

    fn declaration(&self) -> String {
        let mut text = String::from("struct Parameters {\n");
        for (name, _) in &self.arrays {
            let _ = writeln!(text, "    {name}: array<vec4<u32>, 2>,");
        }
        for (name, _) in &self.scalars {
            let _ = writeln!(text, "    {name}: u32,");
        }
        text + "}\n"
    }

    /// The block of a piece of the given sizes and number of elements.
    fn pack(
        &self,
        kernel: &Kernel,
        piece: &Piece,
        sizes: &[usize],
        count: usize,
        index: &[usize],
    ) -> Result<Vec<u8>, Error> {
        let mut arrays = Vec::with_capacity(self.arrays.len());
        for (name, array) in &self.arrays {
            arrays.push((
                name.as_str(),
                match array {
                    Array::Sizes => words(sizes, "a size")?,
                    Array::Strides(strides) => words(strides, "a stride")?,
                },
            ));
        }
        let mut fields: Vec<(&str, Words)> = arrays.iter().map(|(name, words)| (*name, Words::Many(words))).collect();
        for (name, scalar) in &self.scalars {
            let value = match scalar {
                Scalar::Count => word(count, "the number of elements")?,
                Scalar::Base => word(dot(&piece.starts, index), "the number of elements")?,
                Scalar::Place { binding, place, strides } => {
                    let place = place + dot(&piece.starts, strides);
                    word(place, "an offset")?;
                    piece.place_in_window(*binding, place)
                }
            };
            fields.push((name, Words::U32(value)));
        }
        Ok(kernel.pack(&fields)?)
    }
}

/// The component of an eight-word parameter array.
fn component(array: &str, axis: usize) -> String {
    format!("parameters.{array}[{}].{}", axis / 4, ["x", "y", "z", "w"][axis % 4])
}

/// Generates the kernel of a fused group.
///
/// A group that is cut in pieces has one kernel for all of them. There, elements are counted in two ways: `element` in
/// the piece, and `index` in the whole shape, which random numbers depend on.
pub(crate) fn generate(graph: &Graph, launch: &Launch, fused: &Fused, memory: &dyn Memory) -> Result<Generated, Error> {
    let bindings = bind(launch, fused, memory)?;
    let cut = bindings.cut.as_ref();
    let mut block = Block::default();
    block.scalars.push(("count".into(), Scalar::Count));
    if cut.is_some() {
        block.scalars.push(("base".into(), Scalar::Base));
    }

    let mut accesses = Vec::new();
    let mut views: Vec<&Layout> = Vec::new();
    for (place, input) in launch.inputs.iter().enumerate() {
        let layout = &input.layout;
        let repeated = layout.strides.iter().zip(layout.shape.iter()).all(|(&s, &size)| s == 0 || size == 1);
        accesses.push(if layout.is_identity() && cut.is_none() {
            Access::Same
        } else {
            let number = block.scalars.len();
            // The strides say where a piece begins; by the number of an element it is known already.
            let mut strides = Vec::new();
            let access = if repeated {
                Access::Repeated(number)
            } else if layout.is_contiguous() {
                Access::Shifted(number)
            } else {
                views.push(layout);
                strides = cut.map(|cut| cut.inputs[place].clone()).unwrap_or_default();
                Access::Strided(number)
            };
            let offset = Scalar::Place { binding: bindings.inputs[place], place: layout.offset, strides };
            block.scalars.push((format!("offset_{number}"), offset));
            access
        });
    }
    let (sizes, strides) = match cut {
        Some(cut) => {
            let strided = |(place, access): (usize, &Access)| {
                matches!(access, Access::Strided(_)).then(|| cut.inputs[place].clone())
            };
            let strides = accesses.iter().enumerate().filter_map(strided).collect();
            (bindings.pieces[0].sizes.clone(), strides)
        }
        None if views.is_empty() => (Vec::new(), Vec::new()),
        None => Layout::collapse(&views, &fused.shape),
    };
    if !sizes.is_empty() {
        block.arrays.push(("sizes".into(), Array::Sizes));
    }
    let strided =
        accesses.iter().filter_map(|access| if let Access::Strided(number) = access { Some(number) } else { None });
    for (number, strides) in strided.zip(strides) {
        block.arrays.push((format!("strides_{number}"), Array::Strides(strides)));
    }
    let mut written = Vec::new();
    for &binding in &bindings.outputs {
        written.push(if cut.is_some() {
            let number = block.scalars.len();
            let offset = Scalar::Place { binding, place: 0, strides: Vec::new() };
            block.scalars.push((format!("offset_{number}"), offset));
            format!("parameters.offset_{number} + index")
        } else {
            "index".to_string()
        });
    }

    let mut body = String::new();
    for axis in (0..sizes.len()).rev() {
        let size = component("sizes", axis);
        let _ = match axis {
            0 => writeln!(body, "    let coordinate_0 = rest;"),
            _ => writeln!(body, "    let coordinate_{axis} = rest % {size};\n    rest = rest / {size};"),
        };
    }
    let counter = if cut.is_some() { "element" } else { "index" };
    if !sizes.is_empty() {
        body.insert_str(0, &format!("    var rest = {counter};\n"));
    }
    let along = |start: String, array: &str| {
        let step = |sum, axis| format!("{sum} + coordinate_{axis} * {}", component(array, axis));
        (0..sizes.len()).fold(start, step)
    };
    if let Some(cut) = cut {
        block.arrays.push(("index_strides".into(), Array::Strides(cut.index.clone())));
        let _ = writeln!(body, "    let index = {};", along("parameters.base".into(), "index_strides"));
    }
    for (number, access) in accesses.iter().enumerate() {
        let place = match access {
            Access::Same => "index".to_string(),
            Access::Shifted(offset) => format!("parameters.offset_{offset} + index"),
            Access::Repeated(offset) => format!("parameters.offset_{offset}"),
            Access::Strided(offset) => along(format!("parameters.offset_{offset}"), &format!("strides_{offset}")),
        };
        let _ = writeln!(body, "    let input_{number} = buffer_{}[{place}];", bindings.inputs[number]);
    }

    let mut helpers: Vec<&str> = Vec::new();
    let mut reads_step = false;
    for (place, instruction) in fused.instructions.iter().enumerate() {
        let node = graph.node(instruction.node);
        let Some(OpKind::Elementwise(op)) = node.op_kind() else {
            return Err(Error::Internal(format!("{} cannot be fused", graph.label(instruction.node))));
        };
        let arguments: Vec<String> = instruction.sources.iter().map(expression).collect();
        reads_step |= instruction.sources.iter().any(|source| matches!(source, Source::StepScalar(_)));
        for helper in op.wgsl_helpers() {
            if !helpers.contains(helper) {
                helpers.push(helper);
            }
        }
        let dtype = node.outputs[0].dtype;
        let _ = writeln!(body, "    let value_{place}: {dtype} = {};", op.wgsl(&arguments, "index", dtype));
    }
    // All reads come first, so that a buffer overwritten in place is read before.
    for ((binding, place), result) in bindings.outputs.iter().zip(&written).zip(&fused.results) {
        let _ = writeln!(body, "    buffer_{binding}[{place}] = value_{result};");
    }

    let mut source = helpers.join("\n");
    source.push('\n');
    let mut declared = Vec::new();
    for (number, Entry { dtype, kind, .. }) in bindings.entries.iter().enumerate() {
        let access = if *kind == BindingKind::Read { "read" } else { "read_write" };
        let _ =
            writeln!(source, "@group(0) @binding({number}) var<storage, {access}> buffer_{number}: array<{dtype}>;");
        declared.push(Binding { name: Cow::Owned(format!("buffer_{number}")), kind: *kind });
    }
    source += &block.declaration();
    let _ = writeln!(source, "@group(0) @binding({}) var<uniform> parameters: Parameters;", declared.len());
    declared.push(Binding { name: "parameters".into(), kind: BindingKind::Parameters });
    if reads_step {
        let _ = writeln!(source, "@group(0) @binding({}) var<uniform> step: array<vec4<u32>, 4>;", declared.len());
        declared.push(Binding { name: "step".into(), kind: BindingKind::StepScalars });
    }
    let _ = write!(
        source,
        "@compute @workgroup_size({WIDTH})\n\
         fn fused(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,\n\
         \x20        @builtin(local_invocation_index) local: u32) {{\n\
         \x20   let {counter} = (group.y * groups.x + group.x) * {WIDTH}u + local;\n\
         \x20   if ({counter} >= parameters.count) {{ return; }}\n{body}}}\n"
    );
    let kernel = Kernel {
        name: "fused".into(),
        source: source.into(),
        bindings: declared.into(),
        workgroup_size: [WIDTH as u32, 1, 1],
        workgroup_bytes: 0,
        fields: block.fields().into(),
        parameter_bytes: block.bytes(),
    };
    let mut pieces = Vec::with_capacity(bindings.pieces.len());
    for piece in &bindings.pieces {
        let packed = match cut {
            Some(cut) => (block.pack(&kernel, piece, &piece.sizes, piece.elements(), &cut.index)?, piece.elements()),
            // One launch for all; its axes are merged further, as pieces are not told by them.
            None => {
                let piece = Piece { starts: Vec::new(), ..piece.clone() };
                let count = fused.shape.elements();
                (block.pack(&kernel, &piece, &sizes, count, &[])?, count)
            }
        };
        pieces.push(packed);
    }
    Ok(Generated { kernel, bindings, pieces })
}

/// The WGSL expression of an argument.
fn expression(source: &Source) -> String {
    match source {
        Source::Input(number) => format!("input_{number}"),
        Source::Instruction(number) => format!("value_{number}"),
        Source::StepScalar(scalar) => {
            let word = scalar.word();
            let text = format!("step[{}].{}", word / 4, ["x", "y", "z", "w"][word % 4]);
            if scalar.kind().dtype == DType::F32 { format!("bitcast<f32>({text})") } else { text }
        }
        Source::Literal(bytes, DType::U32) => format!("{}u", u32::from_ne_bytes(*bytes)),
        Source::Literal(bytes, DType::I32) => match i32::from_ne_bytes(*bytes) {
            // The smallest number has no literal of its own.
            i32::MIN => "bitcast<i32>(0x80000000u)".into(),
            number => format!("i32({number})"),
        },
        Source::Literal(bytes, _) => {
            let number = f32::from_ne_bytes(*bytes);
            if number.is_finite() {
                // With the digits of f64: the shortest ones of the largest f32 lie a little above it, which Tint refuses.
                return format!("f32({:?})", f64::from(number));
            }
            // WGSL forbids constant expressions that are infinite or no number; this one is not constant.
            format!("bitcast<f32>({}u | (parameters.count & 0u))", number.to_bits())
        }
    }
}
