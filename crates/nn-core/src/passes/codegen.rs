//! WGSL for fused groups: one invocation computes one element of every member.

use crate::Error;
use crate::graph::{Graph, OpKind, word, words};
use crate::schedule::{Fused, Launch, Operand, Place, Source};
use crate::tensor::{DType, Layout};
use gpu_runtime::{Binding, BindingKind, Field, Kernel, Words};
use std::borrow::Cow;
use std::fmt::Write;

/// Invocations of one workgroup.
pub(crate) const WIDTH: usize = 256;

/// A generated kernel, the buffers of its storage bindings, and its parameter block.
pub(crate) struct Generated {
    pub(crate) kernel: Kernel,
    pub(crate) places: Vec<Place>,
    pub(crate) parameters: Vec<u8>,
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

/// Parameter fields while they are collected: arrays of eight words first, then single words.
#[derive(Default)]
struct Block {
    arrays: Vec<(String, Vec<u32>)>,
    scalars: Vec<(String, u32)>,
}

impl Block {
    fn fields(&self) -> Vec<Field> {
        let array = |(place, (name, _)): (usize, &(String, Vec<u32>))| Field {
            name: Cow::Owned(name.clone()),
            offset: 32 * place as u32,
            words: 8,
        };
        let start = 32 * self.arrays.len() as u32;
        let scalar = |(place, (name, _)): (usize, &(String, u32))| Field {
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
}

/// The component of an eight-word parameter array.
fn component(array: &str, axis: usize) -> String {
    format!("parameters.{array}[{}].{}", axis / 4, ["x", "y", "z", "w"][axis % 4])
}

/// Generates the kernel of a fused group.
pub(crate) fn generate(graph: &Graph, launch: &Launch, fused: &Fused) -> Result<Generated, Error> {
    let mut block = Block::default();
    block.scalars.push(("count".into(), word(fused.shape.elements(), "the number of elements")?));

    let mut accesses = Vec::new();
    let mut views: Vec<&Layout> = Vec::new();
    for input in &launch.inputs {
        let repeated =
            input.layout.strides.iter().zip(input.layout.shape.iter()).all(|(&s, &size)| s == 0 || size == 1);
        accesses.push(if input.layout.is_identity() {
            Access::Same
        } else {
            let number = block.scalars.len();
            block.scalars.push((format!("offset_{number}"), word(input.layout.offset, "an offset")?));
            if repeated {
                Access::Repeated(number)
            } else if input.layout.is_contiguous() {
                Access::Shifted(number)
            } else {
                views.push(&input.layout);
                Access::Strided(number)
            }
        });
    }
    let (sizes, strides) =
        if views.is_empty() { (Vec::new(), Vec::new()) } else { Layout::collapse(&views, &fused.shape) };
    if !views.is_empty() {
        block.arrays.push(("sizes".into(), words(&sizes, "a size")?));
    }
    let strided =
        accesses.iter().filter_map(|access| if let Access::Strided(number) = access { Some(number) } else { None });
    for (number, strides) in strided.zip(&strides) {
        block.arrays.push((format!("strides_{number}"), words(strides, "a stride")?));
    }

    // Each buffer is bound once, for writing if the group writes it.
    let written = |place: Place| launch.outputs.iter().any(|output| output.place == place);
    let mut places: Vec<(Place, DType, BindingKind)> = Vec::new();
    let mut bind = |operand: &Operand, kind: BindingKind| {
        if !places.iter().any(|(place, dtype, _)| *place == operand.place && *dtype == operand.dtype) {
            places.push((operand.place, operand.dtype, kind));
        }
    };
    launch.inputs.iter().filter(|input| !written(input.place)).for_each(|input| bind(input, BindingKind::Read));
    launch.outputs.iter().for_each(|output| bind(output, BindingKind::ReadWrite));
    let name_of = |operand: &Operand| {
        let same =
            |(place, dtype, _): &&(Place, DType, BindingKind)| *place == operand.place && *dtype == operand.dtype;
        let number = places.iter().position(|entry| same(&entry));
        number.map(|number| format!("buffer_{number}")).ok_or_else(|| {
            Error::Internal(format!("{} is read as another type than it is written as in one launch", operand.place))
        })
    };

    let mut body = String::new();
    for axis in (0..sizes.len()).rev() {
        let size = component("sizes", axis);
        let _ = match axis {
            0 => writeln!(body, "    let coordinate_0 = rest;"),
            _ => writeln!(body, "    let coordinate_{axis} = rest % {size};\n    rest = rest / {size};"),
        };
    }
    if !sizes.is_empty() {
        body.insert_str(0, "    var rest = index;\n");
    }
    for (number, (input, access)) in launch.inputs.iter().zip(&accesses).enumerate() {
        let place = match access {
            Access::Same => "index".to_string(),
            Access::Shifted(offset) => format!("parameters.offset_{offset} + index"),
            Access::Repeated(offset) => format!("parameters.offset_{offset}"),
            Access::Strided(offset) => (0..sizes.len()).fold(format!("parameters.offset_{offset}"), |sum, axis| {
                format!("{sum} + coordinate_{axis} * {}", component(&format!("strides_{offset}"), axis))
            }),
        };
        let _ = writeln!(body, "    let input_{number} = {}[{place}];", name_of(input)?);
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
    for (output, result) in launch.outputs.iter().zip(&fused.results) {
        let _ = writeln!(body, "    {}[index] = value_{result};", name_of(output)?);
    }

    let mut source = helpers.join("\n");
    source.push('\n');
    let mut bindings = Vec::new();
    for (number, (_, dtype, kind)) in places.iter().enumerate() {
        let access = if *kind == BindingKind::Read { "read" } else { "read_write" };
        let _ =
            writeln!(source, "@group(0) @binding({number}) var<storage, {access}> buffer_{number}: array<{dtype}>;");
        bindings.push(Binding { name: Cow::Owned(format!("buffer_{number}")), kind: *kind });
    }
    source += &block.declaration();
    let _ = writeln!(source, "@group(0) @binding({}) var<uniform> parameters: Parameters;", bindings.len());
    bindings.push(Binding { name: "parameters".into(), kind: BindingKind::Parameters });
    if reads_step {
        let _ = writeln!(source, "@group(0) @binding({}) var<uniform> step: array<vec4<u32>, 4>;", bindings.len());
        bindings.push(Binding { name: "step".into(), kind: BindingKind::StepScalars });
    }
    let _ = write!(
        source,
        "@compute @workgroup_size({WIDTH})\n\
         fn fused(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,\n\
         \x20        @builtin(local_invocation_index) local: u32) {{\n\
         \x20   let index = (group.y * groups.x + group.x) * {WIDTH}u + local;\n\
         \x20   if (index >= parameters.count) {{ return; }}\n{body}}}\n"
    );
    let kernel = Kernel {
        name: "fused".into(),
        source: source.into(),
        bindings: bindings.into(),
        workgroup_size: [WIDTH as u32, 1, 1],
        fields: block.fields().into(),
        parameter_bytes: block.bytes(),
    };
    let arrays = block.arrays.iter().map(|(name, words)| (name.as_str(), Words::Many(words)));
    let scalars = block.scalars.iter().map(|(name, word)| (name.as_str(), Words::U32(*word)));
    let parameters = kernel.pack(&arrays.chain(scalars).collect::<Vec<_>>())?;
    Ok(Generated { kernel, places: places.into_iter().map(|(place, _, _)| place).collect(), parameters })
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
