//! A kernel: WGSL text with the bindings, workgroup size and parameter block that a launch needs to know.
//!
//! Conventions of the text: one entry point named as the kernel; all bindings in `@group(0)`, numbered from
//! 0 in order; `var<storage, …>` for tensors, `var<uniform> parameters: Parameters` for the block that is
//! fixed when a plan is built, and `var<uniform> step: array<vec4<u32>, 4>` for the block that is written
//! before each run. Hand-written kernels come from `shaders/`, whose files are checked and reflected by the
//! build script; kernels made at run time state the same facts themselves.

use crate::constants;
use crate::error::{Error, list};
use std::borrow::Cow;

/// Words (`u32`) of the block of step scalars.
pub const STEP_WORDS: usize = 16;

/// What a kernel does with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// `var<storage, read>`: a tensor that is read.
    Read,
    /// `var<storage, read_write>`: a tensor that is written, or changed in place.
    ReadWrite,
    /// `var<uniform> parameters: Parameters`: fixed when the plan is built.
    Parameters,
    /// `var<uniform> step: array<vec4<u32>, 4>`: 64 bytes written before each run.
    StepScalars,
}

impl BindingKind {
    /// Whether a launch names a buffer for this binding.
    pub fn is_storage(self) -> bool {
        matches!(self, BindingKind::Read | BindingKind::ReadWrite)
    }
}

/// One binding of a kernel; its place in [`Kernel::bindings`] is its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The variable's name in WGSL.
    pub name: Cow<'static, str>,
    /// What the kernel does with it.
    pub kind: BindingKind,
}

/// One field of a kernel's parameter block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The member's name in WGSL.
    pub name: Cow<'static, str>,
    /// Bytes from the start of the block.
    pub offset: u32,
    /// Words of 4 bytes: 1 for a scalar, 4 for `vec4<u32>`, 4·n for `array<vec4<u32>, n>`.
    pub words: u32,
}

/// WGSL text and what a launch needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Name of the kernel and of its entry point.
    pub name: Cow<'static, str>,
    /// The full text, with includes resolved.
    pub source: Cow<'static, str>,
    /// Bindings in order of `@binding`.
    pub bindings: Cow<'static, [Binding]>,
    /// Invocations of one workgroup in x, y and z.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory of one workgroup, each variable rounded up to 16 as WebGPU counts them.
    pub workgroup_bytes: u32,
    /// Fields of the parameter block, in order; empty without one.
    pub fields: Cow<'static, [Field]>,
    /// Bytes of the parameter block, a multiple of 16; 0 without one.
    pub parameter_bytes: u32,
}

/// The value of one field of a parameter block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Words<'a> {
    /// A `u32` scalar.
    U32(u32),
    /// An `i32` scalar.
    I32(i32),
    /// An `f32` scalar.
    F32(f32),
    /// A vector or array of `u32`; may be shorter than the field, the rest is zero.
    Many(&'a [u32]),
}

impl From<u32> for Words<'_> {
    fn from(value: u32) -> Self {
        Words::U32(value)
    }
}

impl From<i32> for Words<'_> {
    fn from(value: i32) -> Self {
        Words::I32(value)
    }
}

impl From<f32> for Words<'_> {
    fn from(value: f32) -> Self {
        Words::F32(value)
    }
}

impl<'a> From<&'a [u32]> for Words<'a> {
    fn from(value: &'a [u32]) -> Self {
        Words::Many(value)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Words<'a> {
    fn from(value: &'a [u32; N]) -> Self {
        Words::Many(value)
    }
}

impl<'a> From<&'a Vec<u32>> for Words<'a> {
    fn from(value: &'a Vec<u32>) -> Self {
        Words::Many(value)
    }
}

/// The hand-written kernels, one for each file of `shaders/`, sorted by name.
pub fn shaders() -> &'static [Kernel] {
    SHADERS
}

/// The hand-written kernel of that name.
///
/// # Errors
/// [`Error::UnknownName`] where `shaders/` has no such file.
pub fn shader(name: &str) -> Result<&'static Kernel, Error> {
    SHADERS.iter().find(|kernel| kernel.name == name).ok_or_else(|| Error::UnknownName {
        what: "kernel",
        name: name.to_string(),
        known: list(SHADERS.iter().map(|kernel| kernel.name.as_ref())),
    })
}

impl Kernel {
    /// Bindings for which a launch names a buffer, in order.
    pub fn storage_bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|binding| binding.kind.is_storage())
    }

    /// The same kernel with the values of `const` declarations at line start replaced.
    ///
    /// The workgroup's size and memory follow the new values.
    ///
    /// # Errors
    /// [`Error::Internal`] where the text declares no such constant, or its workgroup's size or memory is no
    /// longer given by constant integer expressions.
    pub fn specialise(&self, constants: &[(&str, u32)]) -> Result<Kernel, Error> {
        let mut source = self.source.to_string();
        for (name, value) in constants {
            source = constants::replace(&source, name, *value)
                .ok_or_else(|| Error::internal(format!("kernel \"{}\" declares no constant \"{name}\"", self.name)))?;
        }
        let workgroup_size = constants::workgroup_size(&source)
            .map_err(|why| Error::internal(format!("workgroup size of kernel \"{}\": {why}", self.name)))?;
        let workgroup_bytes = constants::workgroup_bytes(&source)
            .map_err(|why| Error::internal(format!("workgroup memory of kernel \"{}\": {why}", self.name)))?;
        Ok(Kernel { source: Cow::Owned(source), workgroup_size, workgroup_bytes, ..self.clone() })
    }

    /// The bytes of the parameter block, with each named value at its field's offset; padding is zero.
    ///
    /// # Errors
    /// [`Error::Internal`] unless every field is given exactly once with words that fit.
    pub fn pack(&self, parameters: &[(&str, Words)]) -> Result<Vec<u8>, Error> {
        let fault = |field: &str, why: &str| {
            Error::internal(format!("parameter \"{field}\" of kernel \"{}\" {why}", self.name))
        };
        let mut bytes = vec![0u8; self.parameter_bytes as usize];
        let mut given = vec![false; self.fields.len()];
        for (name, value) in parameters {
            let index = self
                .fields
                .iter()
                .position(|field| field.name == *name)
                .ok_or_else(|| fault(name, "does not exist"))?;
            if std::mem::replace(&mut given[index], true) {
                return Err(fault(name, "is given twice"));
            }
            let field = &self.fields[index];
            let scalar;
            let words: &[u32] = match value {
                Words::Many(words) => words,
                Words::U32(value) => {
                    scalar = [*value];
                    &scalar
                }
                Words::I32(value) => {
                    scalar = [value.cast_unsigned()];
                    &scalar
                }
                Words::F32(value) => {
                    scalar = [value.to_bits()];
                    &scalar
                }
            };
            let is_many = matches!(value, Words::Many(_));
            if words.len() > field.words as usize || is_many != (field.words > 1) {
                let why = format!("has {} words, but was given {}", field.words, words.len());
                return Err(fault(name, &why));
            }
            let room = bytes
                .get_mut(field.offset as usize..)
                .filter(|room| room.len() >= 4 * field.words as usize)
                .ok_or_else(|| fault(name, "lies outside of its block"))?;
            for (word, place) in words.iter().zip(room.chunks_exact_mut(4)) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        match given.iter().position(|given| !given) {
            Some(missing) => Err(fault(&self.fields[missing].name, "is not given")),
            None => Ok(bytes),
        }
    }
}

// `static SHADERS: &[Kernel]`, written by the build script.
include!(concat!(env!("OUT_DIR"), "/shaders.rs"));
