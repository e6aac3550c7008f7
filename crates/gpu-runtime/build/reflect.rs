//! Turns the text of a WGSL file into the facts that a `Kernel` states, or says what is wrong with it.

use naga::{AddressSpace, ArraySize, Module, Scalar, ScalarKind, StorageAccess, TypeInner, VectorSize};
use std::path::Path;

/// What a shader file states; `kind` is the name of a `BindingKind` variant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reflection {
    /// Invocations of one workgroup.
    pub(crate) workgroup_size: [u32; 3],
    /// Bytes of workgroup memory, each variable rounded up to 16 as WebGPU counts them.
    pub(crate) workgroup_bytes: u32,
    /// Name and kind of each binding, in order.
    pub(crate) bindings: Vec<(String, &'static str)>,
    /// Name, byte offset and words of each parameter.
    pub(crate) fields: Vec<(String, u32, u32)>,
    /// Bytes of the parameter block, a multiple of 16.
    pub(crate) parameter_bytes: u32,
}

/// Replaces each line `//!include path` by the file at that path under `folder`, and lists the files read.
pub(crate) fn resolve_includes(
    text: &str,
    folder: &Path,
    read: &mut Vec<std::path::PathBuf>,
) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix("//!include ") {
            let path = folder.join(name.trim());
            if read.contains(&path) {
                continue; // a piece that two other pieces include is defined once
            }
            let piece = std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot include {}: {error}", path.display()))?;
            read.push(path);
            resolved.push_str(&resolve_includes(&piece, folder, read)?);
        } else {
            resolved.push_str(line);
            resolved.push('\n');
        }
    }
    Ok(resolved)
}

/// Parses, validates and reflects the text of the kernel `name`.
pub(crate) fn reflect(name: &str, source: &str) -> Result<Reflection, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty())
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    let [entry] = module.entry_points.as_slice() else {
        return Err(format!("has {} entry points, one is wanted", module.entry_points.len()));
    };
    if entry.name != name {
        return Err(format!("its entry point is \"{}\", it must be named as the file", entry.name));
    }
    if entry.stage != naga::ShaderStage::Compute || entry.workgroup_size_overrides.is_some() {
        return Err("its entry point must be @compute with a workgroup size of constants".to_string());
    }
    let mut reflection = Reflection {
        workgroup_size: entry.workgroup_size,
        workgroup_bytes: workgroup_bytes(&module),
        bindings: Vec::new(),
        fields: Vec::new(),
        parameter_bytes: 0,
    };
    let mut globals: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, global)| global.binding.map(|binding| (binding, global)))
        .collect();
    globals.sort_by_key(|(binding, _)| (binding.group, binding.binding));
    for (number, (binding, global)) in globals.into_iter().enumerate() {
        let variable = global.name.clone().unwrap_or_default();
        if binding.group != 0 || binding.binding as usize != number {
            return Err(format!(
                "\"{variable}\" is at group {} binding {}, expected group 0 binding {number}",
                binding.group, binding.binding
            ));
        }
        let kind = match (global.space, variable.as_str()) {
            (AddressSpace::Storage { access }, _) if access == StorageAccess::LOAD => "Read",
            (AddressSpace::Storage { access }, _) if access == StorageAccess::LOAD | StorageAccess::STORE => {
                "ReadWrite"
            }
            (AddressSpace::Uniform, "parameters") => {
                parameters(&module, global.ty, &mut reflection)?;
                "Parameters"
            }
            (AddressSpace::Uniform, "step") if is_vectors(&module, global.ty) == Some(4) => "StepScalars",
            (AddressSpace::Uniform, "step") => {
                return Err("uniform \"step\" must be array<vec4<u32>, 4>".to_string());
            }
            _ => {
                return Err(format!("\"{variable}\" is neither storage nor uniform \"parameters\" or \"step\""));
            }
        };
        reflection.bindings.push((variable, kind));
    }
    Ok(reflection)
}

fn workgroup_bytes(module: &Module) -> u32 {
    let variables = module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::WorkGroup);
    variables.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum()
}

/// Lays out the members of `struct Parameters`.
fn parameters(module: &Module, ty: naga::Handle<naga::Type>, reflection: &mut Reflection) -> Result<(), String> {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err("uniform \"parameters\" must be a struct".to_string());
    };
    for member in members {
        let member_name = member.name.clone().unwrap_or_default();
        let words = match module.types[member.ty].inner {
            TypeInner::Scalar(Scalar { kind: ScalarKind::Uint | ScalarKind::Sint | ScalarKind::Float, width: 4 }) => 1,
            _ => match is_vectors(module, member.ty) {
                Some(vectors) => 4 * vectors,
                None => {
                    return Err(format!(
                        "parameter \"{member_name}\" must be u32, i32, f32, vec4<u32> or array<vec4<u32>, n>"
                    ));
                }
            },
        };
        reflection.fields.push((member_name, member.offset, words));
    }
    reflection.parameter_bytes = span.next_multiple_of(16);
    Ok(())
}

/// How many `vec4<u32>` a type holds, where it is one or an array of them.
fn is_vectors(module: &Module, ty: naga::Handle<naga::Type>) -> Option<u32> {
    match module.types[ty].inner {
        TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::U32 } => Some(1),
        TypeInner::Array { base, size: ArraySize::Constant(count), .. } => {
            matches!(module.types[base].inner, TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::U32 })
                .then_some(count.get())
        }
        _ => None,
    }
}
