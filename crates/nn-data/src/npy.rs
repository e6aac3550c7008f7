//! NumPy's `.npy` files, read and written: one array of numbers, little-endian, in C order.

use std::path::Path;

use crate::DataError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Data begins at a multiple of this many bytes, as NumPy writes it.
const ALIGNMENT: usize = 64;

/// The numbers of an array, in C order (the last index runs fastest).
#[derive(Debug, Clone, PartialEq)]
pub enum NpyData {
    /// `<f4`
    F32(Vec<f32>),
    /// `<f8`
    F64(Vec<f64>),
    /// `|u1`
    U8(Vec<u8>),
    /// `<u2`
    U16(Vec<u16>),
    /// `<u4`
    U32(Vec<u32>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<i8`
    I64(Vec<i64>),
}

impl NpyData {
    /// NumPy's name of the element type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
            Self::U8(_) => "uint8",
            Self::U16(_) => "uint16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
            Self::I64(_) => "int64",
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there is no number at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn descriptor(&self) -> &'static str {
        match self {
            Self::F32(_) => "<f4",
            Self::F64(_) => "<f8",
            Self::U8(_) => "|u1",
            Self::U16(_) => "<u2",
            Self::U32(_) => "<u4",
            Self::I32(_) => "<i4",
            Self::I64(_) => "<i8",
        }
    }
}

/// An array as a `.npy` file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// The shape; empty for a single number.
    pub shape: Vec<usize>,
    /// As many numbers as the shape says.
    pub data: NpyData,
}

impl NpyArray {
    /// Reads a file of format version 1, 2 or 3.
    ///
    /// # Errors
    /// [`DataError::Read`] if it cannot be read; [`DataError::File`] if it is no `.npy` file, is cut
    /// short, is big-endian, in Fortran order, or of a type that [`NpyData`] lacks.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(|source| DataError::Read {
            path: path.to_path_buf(),
            expected: "a NumPy array file (.npy)",
            source,
        })?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads the bytes of a file; `path` is used in messages only.
    ///
    /// # Errors
    /// As [`NpyArray::read`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, DataError> {
        parse(bytes).map_err(|Fault { what, remedy }| DataError::file(path, what, remedy))
    }

    /// The bytes of a file of format version 1.
    ///
    /// # Errors
    /// [`DataError::Argument`] if the shape and the number of elements differ.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DataError> {
        if element_count(&self.shape) != Some(self.data.len()) {
            return Err(DataError::argument(
                format!("an array of shape {:?} cannot have {} elements", self.shape, self.data.len()),
                "make the shape's product equal the number of elements",
            ));
        }
        let shape = match self.shape.as_slice() {
            [single] => format!("({single},)"),
            shape => {
                let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
                format!("({})", sizes.join(", "))
            }
        };
        let mut header =
            format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", self.data.descriptor());
        // 10 bytes stand before the header, and a line feed ends it.
        let length = (10 + header.len() + 1).next_multiple_of(ALIGNMENT) - 10;
        header.extend(std::iter::repeat_n(' ', length - 1 - header.len()));
        header.push('\n');
        let Ok(length) = u16::try_from(length) else {
            return Err(DataError::argument(
                format!("an array with {} axes cannot be written", self.shape.len()),
                "use fewer axes",
            ));
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(length.to_le_bytes());
        bytes.extend(header.as_bytes());
        match &self.data {
            NpyData::F32(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            NpyData::F64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            NpyData::U8(values) => bytes.extend(values),
            NpyData::U16(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            NpyData::U32(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            NpyData::I32(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            NpyData::I64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
        }
        Ok(bytes)
    }

    /// Writes a file of format version 1.
    ///
    /// # Errors
    /// [`DataError::Write`], or as [`NpyArray::to_bytes`].
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        std::fs::write(path, self.to_bytes()?).map_err(|source| DataError::Write { path: path.to_path_buf(), source })
    }
}

/// What is wrong with a file's bytes, and what to do.
struct Fault {
    what: String,
    remedy: String,
}

fn fault(what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault { what: what.into(), remedy: remedy.into() }
}

fn damaged(what: &str) -> Fault {
    fault(format!("damaged .npy file: {what}"), "write it again with numpy.save")
}

/// `None` where the product does not fit.
fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))
}

fn parse(bytes: &[u8]) -> Result<NpyArray, Fault> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(fault(
            "not a .npy file (it does not begin with \\x93NUMPY)",
            "write it with numpy.save; an .npz archive or a text file will not do",
        ));
    };
    let cut = || damaged("it ends within its header");
    let (&[major, _], rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        _ => {
            return Err(fault(
                format!("format version {major} of .npy is unknown"),
                "write it with numpy.save, which uses version 1 to 3",
            ));
        }
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("its header is no text"))?;
    let (descriptor, fortran_order, shape) = parse_header(header)?;
    if fortran_order && shape.len() > 1 {
        return Err(fault(
            format!("the array of shape {shape:?} is in Fortran (column-major) order"),
            "save numpy.ascontiguousarray(x) instead",
        ));
    }
    let count = element_count(&shape).ok_or_else(|| damaged("its shape is too large"))?;
    let data = match descriptor {
        "<f4" => NpyData::F32(decode(data, count, f32::from_le_bytes)?),
        "<f8" => NpyData::F64(decode(data, count, f64::from_le_bytes)?),
        "|u1" | "<u1" => NpyData::U8(decode(data, count, |[byte]| byte)?),
        "<u2" => NpyData::U16(decode(data, count, u16::from_le_bytes)?),
        "<u4" => NpyData::U32(decode(data, count, u32::from_le_bytes)?),
        "<i4" => NpyData::I32(decode(data, count, i32::from_le_bytes)?),
        "<i8" => NpyData::I64(decode(data, count, i64::from_le_bytes)?),
        _ if descriptor.starts_with('>') => {
            return Err(fault(
                format!("the array is big-endian ({descriptor})"),
                "save x.astype(x.dtype.newbyteorder('<')) instead",
            ));
        }
        _ if descriptor.starts_with("|O") => {
            return Err(fault(
                "the array holds Python objects",
                "save an array of numbers, such as numpy.asarray(x, dtype=numpy.float32)",
            ));
        }
        _ => {
            return Err(fault(
                format!("element type {descriptor} cannot be read"),
                "save it as float32, float64, uint8, uint16, uint32, int32 or int64",
            ));
        }
    };
    Ok(NpyArray { shape, data })
}

fn decode<T, const N: usize>(data: &[u8], count: usize, from_le_bytes: fn([u8; N]) -> T) -> Result<Vec<T>, Fault> {
    let wanted = count.checked_mul(N).ok_or_else(|| damaged("its shape is too large"))?;
    if data.len() != wanted {
        let state = if data.len() < wanted { "truncated" } else { "too long" };
        return Err(damaged(&format!(
            "it is {state}: {wanted} bytes of data belong after the header, {} are there",
            data.len()
        )));
    }
    let (elements, _) = data.as_chunks::<N>();
    Ok(elements.iter().map(|&element| from_le_bytes(element)).collect())
}

/// Reads the Python dictionary of a header: (descr, fortran_order, shape).
fn parse_header(header: &str) -> Result<(&str, bool, Vec<usize>), Fault> {
    let descriptor = value_of(header, "descr")?;
    let Some((descriptor, _)) = descriptor
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .or_else(|| descriptor.strip_prefix('"').and_then(|rest| rest.split_once('"')))
    else {
        return Err(fault("the array has named fields", "save one plain array of numbers for each field"));
    };
    let order = value_of(header, "fortran_order")?;
    let fortran_order = match order.get(..4) {
        Some("True") => true,
        Some("Fals") => false,
        _ => return Err(damaged("its header has no fortran_order")),
    };
    let shape = value_of(header, "shape")?
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .ok_or_else(|| damaged("its header has no shape"))?
        .0
        .split(',')
        // Python 2 wrote long integers as `3L`.
        .map(|size| size.trim().trim_end_matches('L'))
        .filter(|size| !size.is_empty())
        .map(|size| size.parse::<usize>())
        .collect::<Result<_, _>>()
        .map_err(|_| damaged("its header's shape is no list of sizes"))?;
    Ok((descriptor, fortran_order, shape))
}

/// What follows `'key':` in a header.
fn value_of<'a>(header: &'a str, key: &str) -> Result<&'a str, Fault> {
    ['\'', '"']
        .iter()
        .find_map(|quote| header.split_once(&format!("{quote}{key}{quote}")))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .ok_or_else(|| damaged(&format!("its header has no {key}")))
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
