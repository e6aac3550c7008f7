//! Tokens as numbers: files of them, checks of their range, and the rows that a language model reads.

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

/// How rows are cut out of a long line of tokens to train a language model on: each row reads `length` tokens and
/// predicts, at each place, the token after it.
///
/// Row `r` reads the tokens from `r · stride` on. With a stride of `length` the rows lie end to end, and every token
/// but the first is predicted once, save a remainder at the end; with a stride of 1 there is a row at every place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Tokens in a row.
    pub length: usize,
    /// How far each row begins after the one before.
    pub stride: usize,
}

impl Windows {
    /// Rows that lie end to end.
    pub fn adjacent(length: usize) -> Self {
        Self { length, stride: length }
    }

    /// A row at every place.
    pub fn everywhere(length: usize) -> Self {
        Self { length, stride: 1 }
    }

    /// How many rows there are in `tokens` tokens: 0 where they are fewer than a row and the token after it.
    pub fn row_count(self, tokens: usize) -> usize {
        match tokens.checked_sub(self.length + 1) {
            Some(last_start) if self.length > 0 && self.stride > 0 => last_start / self.stride + 1,
            _ => 0,
        }
    }

    /// The tokens that row `row` reads and those that it predicts, `length` each, or `None` past the last row.
    pub fn row(self, tokens: &[u32], row: usize) -> Option<(&[u32], &[u32])> {
        if row >= self.row_count(tokens.len()) {
            return None;
        }
        let start = row * self.stride;
        let inputs = tokens.get(start..start + self.length)?;
        let targets = tokens.get(start + 1..start + 1 + self.length)?;
        Some((inputs, targets))
    }

    /// Checks that there is at least one row; `name` is what messages call the tokens.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a length or stride of 0, and for too few tokens.
    pub fn check(self, name: &str, tokens: usize) -> Result<(), DataError> {
        let Self { length, stride } = self;
        if length == 0 || stride == 0 {
            return Err(DataError::argument(
                format!("rows of {length} tokens, {stride} apart, cannot be cut"),
                "give a context of at least 1",
            ));
        }
        if self.row_count(tokens) == 0 {
            return Err(DataError::argument(
                format!("{name} has {tokens} tokens, too few for one row of {length} and the token after it"),
                format!("give more text, or a context of at most {}", tokens.saturating_sub(1)),
            ));
        }
        Ok(())
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

    #[test]
    fn rows_predict_the_tokens_after_those_that_they_read() {
        let tokens: Vec<u32> = (10..21).collect();
        let windows = Windows::adjacent(3);
        // (11 − 1) / 3
        assert_eq!(windows.row_count(11), 3);
        assert_eq!(windows.row(&tokens, 0), Some((&tokens[0..3], &tokens[1..4])));
        assert_eq!(windows.row(&tokens, 2), Some((&tokens[6..9], &tokens[7..10])));
        assert_eq!(windows.row(&tokens, 3), None);
        let windows = Windows::everywhere(3);
        assert_eq!(windows.row_count(11), 8);
        assert_eq!(windows.row(&tokens, 7), Some((&tokens[7..10], &tokens[8..11])));
        assert_eq!(windows.row(&tokens, 8), None);
        assert_eq!(Windows { length: 3, stride: 5 }.row_count(11), 2);
    }

    #[test]
    fn the_number_of_adjacent_rows_is_that_of_the_formula() {
        for length in 1..6 {
            for tokens in 1..40 {
                assert_eq!(Windows::adjacent(length).row_count(tokens), (tokens - 1) / length, "{length} {tokens}");
            }
        }
        assert_eq!(Windows::adjacent(4).row_count(0), 0);
        assert_eq!(Windows::adjacent(0).row_count(9), 0);
        assert_eq!(Windows { length: 4, stride: 0 }.row_count(9), 0);
    }

    #[test]
    fn too_little_text_is_told() {
        Windows::adjacent(4).check("x", 5).unwrap();
        let error = Windows::adjacent(4).check("tokens.npy", 4).unwrap_err().to_string();
        assert!(error.contains("tokens.npy has 4 tokens") && error.contains("at most 3"), "{error}");
        assert!(Windows::adjacent(0).check("x", 5).is_err());
    }
}
