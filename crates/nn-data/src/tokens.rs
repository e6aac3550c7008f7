//! Tokens as numbers: files of them, and checks of their range.

use std::path::Path;

use crate::DataError;
use crate::npy::{NpyArray, NpyData};

/// Reads a one-dimensional `.npy` file of whole numbers (uint8, uint16, uint32, int32 or int64) as tokens.
///
/// # Errors
/// [`DataError::Read`] and [`DataError::File`] as [`NpyArray::read`], and for floating-point numbers, another number
/// of axes and an empty file; [`DataError::Row`] with place and value for a number that is negative or above 2³² − 1.
pub fn read_tokens(path: &Path) -> Result<Vec<u32>, DataError> {
    let NpyArray { shape, data } = NpyArray::read(path)?;
    if shape.len() != 1 {
        return Err(DataError::file(
            path,
            format!("the array of shape {shape:?} does not have one axis"),
            "save tokens.reshape(-1) instead",
        ));
    }
    if data.is_empty() {
        return Err(DataError::file(path, "there is no token", "give at least two: one to read and one to predict"));
    }
    match data {
        NpyData::U8(values) => Ok(values.into_iter().map(u32::from).collect()),
        NpyData::U16(values) => Ok(values.into_iter().map(u32::from).collect()),
        NpyData::U32(values) => Ok(values),
        NpyData::I32(values) => narrow(path, &values),
        NpyData::I64(values) => narrow(path, &values),
        NpyData::F32(_) | NpyData::F64(_) => Err(DataError::file(
            path,
            format!("the array holds {}, but tokens are whole numbers", data.dtype()),
            "save tokens.astype(numpy.uint32) instead",
        )),
    }
}

fn narrow<T: Copy + TryInto<u32> + std::fmt::Display>(path: &Path, values: &[T]) -> Result<Vec<u32>, DataError> {
    let narrow = |(row, &value): (usize, &T)| {
        value.try_into().map_err(|_| DataError::Row {
            path: path.to_path_buf(),
            row,
            what: format!("{value} is no token"),
            remedy: "tokens are whole numbers from 0 to 4294967295".into(),
        })
    };
    values.iter().enumerate().map(narrow).collect()
}

/// Writes tokens as a one-dimensional `.npy` file that [`read_tokens`] reads: uint16 if all fit, else uint32.
///
/// # Errors
/// [`DataError::Write`].
pub fn write_tokens(path: &Path, tokens: &[u32]) -> Result<(), DataError> {
    let narrow: Option<Vec<u16>> = tokens.iter().map(|&token| u16::try_from(token).ok()).collect();
    let data = narrow.map_or_else(|| NpyData::U32(tokens.to_vec()), NpyData::U16);
    NpyArray { shape: vec![tokens.len()], data }.write(path)
}

/// Checks that every token is below `vocabulary`; `name` is what messages call the data: a path, mostly.
///
/// # Errors
/// [`DataError::Argument`] with place and value of the first that is not.
pub fn check_range(name: &str, tokens: &[u32], vocabulary: usize) -> Result<(), DataError> {
    match tokens.iter().position(|&token| token as usize >= vocabulary) {
        None => Ok(()),
        Some(place) => Err(DataError::argument(
            format!(
                "{name}: token {} at position {place} (from 0) is not below the model's vocabulary of {vocabulary}",
                tokens[place]
            ),
            format!(
                "give the model a vocabulary of {} or more, or make the tokens with its own tokenizer",
                tokens.iter().copied().max().map_or(0, |most| u64::from(most) + 1)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    fn read_back(data: NpyData) -> Result<Vec<u32>, String> {
        let folder = Folder::new();
        let path = folder.path().join("tokens.npy");
        NpyArray { shape: vec![data.len()], data }.write(&path).unwrap();
        read_tokens(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn whole_numbers_of_every_width_are_tokens() {
        for data in [
            NpyData::U8(vec![3, 0, 255]),
            NpyData::U16(vec![3, 0, 255]),
            NpyData::U32(vec![3, 0, 255]),
            NpyData::I32(vec![3, 0, 255]),
            NpyData::I64(vec![3, 0, 255]),
        ] {
            assert_eq!(read_back(data).unwrap(), [3, 0, 255]);
        }
        assert_eq!(read_back(NpyData::I64(vec![i64::from(u32::MAX)])).unwrap(), [u32::MAX]);
    }

    #[test]
    fn what_is_no_token_is_named_with_its_place() {
        let told = |data| read_back(data).unwrap_err();
        let error = told(NpyData::I64(vec![0, 5, -1]));
        assert!(error.contains("tokens.npy, row 2: -1 is no token"), "{error}");
        let error = told(NpyData::I64(vec![1 << 32]));
        assert!(error.contains("row 0: 4294967296 is no token"), "{error}");
        assert!(told(NpyData::I32(vec![-7])).contains("-7"));
        assert!(told(NpyData::F32(vec![1.0])).contains("float32"));
        assert!(told(NpyData::U16(vec![])).contains("no token"));
        let folder = Folder::new();
        let path = folder.path().join("table.npy");
        NpyArray { shape: vec![2, 1], data: NpyData::U16(vec![1, 2]) }.write(&path).unwrap();
        assert!(read_tokens(&path).unwrap_err().to_string().contains("[2, 1]"));
        assert!(read_tokens(Path::new("no/such.npy")).is_err());
    }

    #[test]
    fn tokens_are_written_as_narrow_as_they_fit() {
        let folder = Folder::new();
        for (tokens, dtype) in [(vec![65_535, 0], "uint16"), (vec![65_536, 0], "uint32")] {
            let path = folder.path().join("t.npy");
            write_tokens(&path, &tokens).unwrap();
            assert_eq!(NpyArray::read(&path).unwrap().data.dtype(), dtype);
            assert_eq!(read_tokens(&path).unwrap(), tokens);
        }
    }

    #[test]
    fn tokens_beyond_the_vocabulary_are_named() {
        check_range("x", &[0, 4], 5).unwrap();
        let error = check_range("tokens.npy", &[0, 4, 5, 9], 5).unwrap_err().to_string();
        assert!(error.contains("tokens.npy: token 5 at position 2") && error.contains("10 or more"), "{error}");
    }
}
