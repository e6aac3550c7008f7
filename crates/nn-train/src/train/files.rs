//! Tensor files in the safetensors format: written whole or not at all, read with care.

use crate::Error;
use nn_core::Tensor;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes `f32` tensors by name, with one entry of metadata. The file is written beside its place and renamed, so
/// that `path` holds the old file or the whole new one whatever happens.
///
/// # Errors
/// If a tensor is not `f32`, or the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)], metadata: (&str, &str)) -> Result<(), Error> {
    let mut sorted: Vec<&(String, Tensor)> = tensors.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut bytes = Vec::with_capacity(sorted.len());
    let mut entries = Vec::with_capacity(sorted.len());
    let mut offset = 0;
    for (name, tensor) in sorted {
        let values = little_endian(tensor.as_f32()?);
        let data_offsets = (offset, offset + values.len());
        offset = data_offsets.1;
        entries.push((name.clone(), TensorInfo { dtype: Dtype::F32, shape: tensor.shape().to_vec(), data_offsets }));
        bytes.push(values);
    }
    let unfit = |what: String| Error::file(path, format!("the tensors cannot be put into a safetensors file: {what}"));
    // One entry only: the order of several would change from run to run.
    let metadata = HashMap::from([(metadata.0.to_string(), metadata.1.to_string())]);
    let header = Metadata::new(Some(metadata), entries).map_err(|error| unfit(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| unfit(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    // Straight from where the tensors lie: the states of a large model are gigabytes.
    let length = (header.len() as u64).to_le_bytes();
    let parts = [&length[..], &header].into_iter().chain(bytes.iter().map(AsRef::as_ref));
    write_whole(path, parts).map_err(|error| {
        Error::file(path, format!("the file cannot be written: {error}; check the folder and its space"))
    })
}

/// The bytes of numbers as a safetensors file has them.
fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(values)),
        false => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

/// Writes a file of these parts beside its place and renames it.
///
/// # Errors
/// The system's.
pub(super) fn write_whole<'a>(path: &Path, parts: impl IntoIterator<Item = &'a [u8]>) -> std::io::Result<()> {
    let name = path.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?;
    let temporary = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        parts.into_iter().try_for_each(|part| file.write_all(part))?;
        // The name must not appear before the content is on the disk.
        file.into_inner()?.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error at hand matters more than one while tidying up.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// What a safetensors file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFile {
    /// The tensors by name, in the order of their names.
    pub tensors: Vec<(String, Tensor)>,
    /// The entries of its metadata.
    pub metadata: HashMap<String, String>,
}

/// Reads tensors by name as `f32`; `f16` and `bf16` are converted, exactly. PyTorch's `num_batches_tracked`, a count
/// that its batch norms keep and ours don't, is left out. A `.json` file is taken for the index of several files, such as
/// `model.safetensors.index.json` of `transformers`: all that it names are read from its folder.
///
/// # Errors
/// If a file cannot be read, is damaged, or holds tensors of other element types: all such are named. If two files that an
/// index names hold the same tensor.
pub fn read_tensors(path: &Path) -> Result<TensorFile, Error> {
    match path.extension().is_some_and(|extension| extension == "json") {
        true => read_parts(path),
        false => read_one(path),
    }
}

/// The tensors of all files that an index names.
fn read_parts(index: &Path) -> Result<TensorFile, Error> {
    let content = read_bytes(index)?;
    let unfit = |what: String| {
        Error::file(index, format!("{what}; give the index that lies beside the parts, as `save_pretrained` writes it"))
    };
    let content: Value =
        serde_json::from_slice(&content).map_err(|error| unfit(format!("this is no JSON: {error}")))?;
    let places = content["weight_map"].as_object();
    let places = places.ok_or_else(|| unfit("this is no index of weights: it has no \"weight_map\"".into()))?;
    let mut names = BTreeSet::new();
    for (tensor, place) in places {
        let plain = place.as_str().filter(|name| Path::new(name).file_name().is_some_and(|file| file == *name));
        names.insert(
            plain.ok_or_else(|| unfit(format!("`{tensor}` is said to be in {place}, which is no file's name")))?,
        );
    }
    let mut all = TensorFile { tensors: Vec::new(), metadata: HashMap::new() };
    for name in names {
        let path = index.with_file_name(name);
        if !path.is_file() {
            return Err(Error::file(
                path,
                "this part of the weights is missing; get it from where the others are from",
            ));
        }
        all.tensors.extend(read_one(&path)?.tensors);
    }
    all.tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    match all.tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(unfit(format!("two of its files hold a tensor `{}`", pair[0].0))),
        None => Ok(all),
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::file(path, format!("the file cannot be read: {error}")))
}

fn read_one(path: &Path) -> Result<TensorFile, Error> {
    let content = read_bytes(path)?;
    if content.starts_with(b"version https://git-lfs") {
        let message = "this is only a pointer that Git LFS leaves; get the file itself by: git lfs pull";
        return Err(Error::file(path, message));
    }
    let damaged = |error| {
        Error::file(path, format!("this is no whole safetensors file ({error}); it is damaged or of another format"))
    };
    let file = SafeTensors::deserialize(&content).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(&content).map_err(damaged)?;
    let mut tensors = Vec::new();
    let mut unfit = Vec::new();
    for (name, view) in file.tensors() {
        if name.rsplit('.').next() == Some("num_batches_tracked") {
            continue;
        }
        match to_f32(&view) {
            Some(values) => tensors.push((name, Tensor::from_f32(view.shape().to_vec(), &values)?)),
            None => unfit.push(format!("`{name}` is {}", view.dtype())),
        }
    }
    if !unfit.is_empty() {
        unfit.sort();
        return Err(Error::file(path, format!("only F32, F16 and BF16 tensors can be read, but {}", unfit.join(", "))));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(TensorFile { tensors, metadata: header.metadata().clone().unwrap_or_default() })
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let halves = || view.data().as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
    match view.dtype() {
        Dtype::F32 => Some(view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
        Dtype::F16 => Some(halves().map(f16_to_f32).collect()),
        Dtype::BF16 => Some(halves().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()),
        _ => None,
    }
}

/// IEEE 754 half precision to single precision, exact for every number.
fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: fraction · 2⁻²⁴.
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_the_safetensors_crate() {
        let tensor = |shape: &[usize], values: &[f32]| Tensor::from_f32(shape, values).unwrap();
        // Not in order, and with a header of no whole number of words.
        let tensors = [("b.weight".into(), tensor(&[2, 1], &[1.0, -0.5])), ("a".into(), tensor(&[], &[f32::MAX]))];
        let path = std::env::temp_dir().join(format!("wgrad-files-{}.safetensors", std::process::id()));
        write_tensors(&path, &tensors, ("format", "pt")).unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let bytes: Vec<_> = tensors.iter().map(|(_, tensor)| little_endian(tensor.as_f32().unwrap())).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
            (name, TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes).unwrap())
        });
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        assert_eq!(written, safetensors::serialize(views, Some(metadata)).unwrap());
    }

    #[test]
    fn half_precision_is_converted_exactly() {
        // From the tables of IEEE 754 binary16.
        let known = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in known {
            assert_eq!(f16_to_f32(bits), value, "{bits:#x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
        assert!(f16_to_f32(0x8000).is_sign_negative());
    }
}
