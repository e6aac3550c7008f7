//! The data set kind `arrays`: inputs and targets from two `.npy` files.

use std::path::Path;

use crate::npy::{NpyArray, NpyData};
use crate::{DataError, Dataset, Inputs, Targets};

/// More classes than this are taken for a mistake: the names alone would fill the memory.
const CLASSES: u32 = 1 << 24;

/// Reads `inputs` (float32, or float64 which is rounded to float32; shape `[rows, …]`) and `targets`.
///
/// Integer targets (uint32, int64, or uint8, uint16, int32) of shape `[rows]` or `[rows, 1]` are
/// classes 0 to the largest; float targets of shape `[rows, …]` are values. Inputs of shape `[rows]`
/// have one number a sample.
///
/// # Errors
/// [`DataError`] with the path: a file that cannot be read, inputs that are no floats, shapes that
/// differ in rows, a negative class (with its row), NaN or infinity (with row and column), no rows.
pub fn read_arrays(inputs: &Path, targets: &Path) -> Result<Dataset, DataError> {
    let (inputs_path, targets_path) = (inputs, targets);
    let inputs = NpyArray::read(inputs_path)?;
    let targets = NpyArray::read(targets_path)?;

    let (rows, sample_shape) = rows_of(&inputs.shape, inputs_path)?;
    let (target_rows, target_shape) = rows_of(&targets.shape, targets_path)?;
    if rows != target_rows {
        return Err(DataError::file(
            targets_path,
            format!("{target_rows} targets for the {rows} rows of {}", inputs_path.display()),
            "give one target for each row of the inputs",
        ));
    }
    let dtype = inputs.data.dtype();
    let inputs = floats(inputs.data).map_err(|_| {
        DataError::file(
            inputs_path,
            format!("inputs of type {dtype} cannot be used"),
            "save them as float32: numpy.save(path, x.astype(numpy.float32))",
        )
    })?;
    let targets = match floats(targets.data) {
        Ok(values) => Targets::Values { values, width: target_shape.iter().product() },
        Err(_) if target_shape.iter().product::<usize>() != 1 => {
            return Err(DataError::file(
                targets_path,
                format!("class targets of shape {:?}", targets.shape),
                "give one class a row (shape [rows]), or values as float32",
            ));
        }
        Err(integers) => classes(&integers, targets_path)?,
    };
    let dataset = Dataset {
        name: inputs_path.display().to_string(),
        inputs: Inputs::F32(inputs),
        sample_shape,
        targets,
        augmentation: None,
    };
    dataset.validate().map_err(|error| match error {
        // A number at fault in the targets is in the other file.
        DataError::NotFinite { part: "targets", row, column, value, .. } => {
            DataError::NotFinite { dataset: targets_path.display().to_string(), part: "targets", row, column, value }
        }
        other => other,
    })?;
    Ok(dataset)
}

/// Reads token ids, integers `[rows, length]` below `vocabulary` if that is known, and `targets`: classes and values as
/// [`read_arrays`] does, or integers `[rows, places]` for a class at each place, where −100 is no target.
///
/// # Errors
/// As [`read_arrays`]; a token that is negative or too large, with its row and column.
pub fn read_token_arrays(inputs: &Path, targets: &Path, vocabulary: Option<usize>) -> Result<Dataset, DataError> {
    let (inputs_path, targets_path) = (inputs, targets);
    let (inputs, targets) = (NpyArray::read(inputs_path)?, NpyArray::read(targets_path)?);
    let (rows, sample_shape) = rows_of(&inputs.shape, inputs_path)?;
    let (target_rows, target_shape) = rows_of(&targets.shape, targets_path)?;
    let fault = |path, what: String, remedy: &str| DataError::file(path, what, remedy);
    let [length] = sample_shape[..] else {
        let what = format!("token ids of shape {:?}", inputs.shape);
        return Err(fault(inputs_path, what, "give an array of shape [rows, length]"));
    };
    if rows != target_rows {
        let what = format!("{target_rows} targets for the {rows} rows of {}", inputs_path.display());
        return Err(fault(targets_path, what, "give one target for each row of the inputs"));
    }
    let dtype = inputs.data.dtype();
    let tokens = floats(inputs.data).err().ok_or_else(|| {
        let remedy = "the model takes token ids: save them as uint32 or int64";
        fault(inputs_path, format!("inputs of type {dtype} cannot be used"), remedy)
    })?;
    let values = narrow_tokens(&tokens, length, vocabulary, inputs_path)?;
    let places = target_shape.iter().product();
    let targets = match floats(targets.data) {
        Ok(values) => Targets::Values { values, width: places },
        Err(integers) if places > 1 => sequences(&integers, places, targets_path)?,
        Err(integers) => classes(&integers, targets_path)?,
    };
    let vocabulary = vocabulary.unwrap_or_else(|| values.iter().max().map_or(1, |&largest| largest as usize + 1));
    let inputs = Inputs::Tokens { values, stride: length, vocabulary };
    let name = inputs_path.display().to_string();
    let dataset = Dataset { name, inputs, sample_shape, targets, augmentation: None };
    dataset.validate()?;
    Ok(dataset)
}

/// Reads token ids, integers `[rows, width]` or `[width]` below `vocabulary` if that is known: row after row.
///
/// # Errors
/// [`DataError`] with the path: no integers, another shape, a token out of range with its row and place.
pub fn read_token_rows(path: &Path, width: usize, vocabulary: Option<usize>) -> Result<Vec<u32>, DataError> {
    let NpyArray { shape, data } = NpyArray::read(path)?;
    if !matches!(shape[..], [found] | [_, found] if found == width) {
        let what = format!("the array has the shape {shape:?}, but the model takes rows of {width} tokens");
        return Err(DataError::file(path, what, format!("give an array of shape [rows, {width}]")));
    }
    let dtype = data.dtype();
    let tokens = floats(data).err().ok_or_else(|| {
        DataError::file(path, format!("values of type {dtype} are no token ids"), "save them as uint32 or int64")
    })?;
    narrow_tokens(&tokens, width, vocabulary, path)
}

/// Tokens in rows of `length`, each below `vocabulary` if that is known.
fn narrow_tokens(tokens: &[i64], length: usize, vocabulary: Option<usize>, path: &Path) -> Result<Vec<u32>, DataError> {
    let most = vocabulary.unwrap_or(CLASSES as usize) as i64;
    match tokens.iter().position(|token| !(0..most).contains(token)) {
        Some(place) => Err(DataError::Row {
            path: path.to_path_buf(),
            row: place / length,
            what: format!("the token {} at place {} is out of range", tokens[place], place % length),
            remedy: format!("the model's vocabulary has the tokens 0 to {}", most - 1),
        }),
        None => Ok(tokens.iter().map(|&token| token as u32).collect()),
    }
}

/// A class for each of `length` places in a row.
fn sequences(integers: &[i64], length: usize, path: &Path) -> Result<Targets, DataError> {
    let label = |(place, &class): (usize, &i64)| match u32::try_from(class) {
        Ok(class) if class < CLASSES => Ok(class),
        _ if class == -100 => Ok(nn_train::IGNORED),
        _ => Err(DataError::Row {
            path: path.to_path_buf(),
            row: place / length,
            what: format!("{class} at place {} is not a class", place % length),
            remedy: format!("number the classes from 0 (to {} at most); -100 is no target", CLASSES - 1),
        }),
    };
    let labels = integers.iter().enumerate().map(label).collect::<Result<Vec<u32>, _>>()?;
    let largest = labels.iter().filter(|&&label| label != nn_train::IGNORED).max();
    let count = largest.map_or(0, |&largest| largest as usize + 1);
    Ok(Targets::Sequences { labels, length, stride: length, count })
}

/// The number of rows and the shape of each.
fn rows_of(shape: &[usize], path: &Path) -> Result<(usize, Vec<usize>), DataError> {
    match shape {
        [] => Err(DataError::file(path, "the array is a single number", "save an array of shape [rows, …]")),
        [rows] => Ok((*rows, vec![1])),
        [rows, sample @ ..] => Ok((*rows, sample.to_vec())),
    }
}

/// The numbers as `f32`, or integers as they are.
fn floats(data: NpyData) -> Result<Vec<f32>, Vec<i64>> {
    match data {
        NpyData::F32(values) => Ok(values),
        NpyData::F64(values) => Ok(values.iter().map(|&value| value as f32).collect()),
        NpyData::U8(values) => Err(values.iter().map(|&value| value.into()).collect()),
        NpyData::U16(values) => Err(values.iter().map(|&value| value.into()).collect()),
        NpyData::U32(values) => Err(values.iter().map(|&value| value.into()).collect()),
        NpyData::I32(values) => Err(values.iter().map(|&value| value.into()).collect()),
        NpyData::I64(values) => Err(values),
    }
}

fn classes(integers: &[i64], path: &Path) -> Result<Targets, DataError> {
    let labels = integers.iter().enumerate().map(|(row, &class)| {
        u32::try_from(class).ok().filter(|&class| class < CLASSES).ok_or_else(|| DataError::Row {
            path: path.to_path_buf(),
            row,
            what: format!("{class} is not a class"),
            remedy: format!("number the classes from 0 (to {} at most)", CLASSES - 1),
        })
    });
    let labels = labels.collect::<Result<Vec<u32>, _>>()?;
    let count = labels.iter().max().map_or(0, |&largest| largest + 1);
    Ok(Targets::Classes { labels, names: (0..count).map(|class| class.to_string()).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    fn array(shape: &[usize], data: NpyData) -> Vec<u8> {
        let shape = shape.to_vec();
        NpyArray { shape, data }.to_bytes().unwrap()
    }

    fn read(inputs: Vec<u8>, targets: Vec<u8>) -> Result<Dataset, String> {
        let folder = Folder::new();
        let inputs = folder.write("x.npy", inputs);
        let targets = folder.write("y.npy", targets);
        read_arrays(&inputs, &targets).map_err(|error| error.to_string())
    }

    fn inputs() -> Vec<u8> {
        let values = (0..12).map(|value| value as f32).collect();
        array(&[3, 2, 2], NpyData::F32(values))
    }

    #[test]
    fn integer_targets_are_classes_whatever_their_width() {
        for targets in [
            array(&[3], NpyData::U32(vec![1, 0, 3])),
            array(&[3], NpyData::I64(vec![1, 0, 3])),
            array(&[3, 1], NpyData::U8(vec![1, 0, 3])),
            array(&[3], NpyData::U16(vec![1, 0, 3])),
            array(&[3], NpyData::I32(vec![1, 0, 3])),
        ] {
            let data = read(inputs(), targets).unwrap();
            assert_eq!((data.rows(), data.width()), (3, 4));
            assert_eq!(data.sample_shape, [2, 2]);
            assert_eq!(*data.input_row(1).unwrap(), [4.0, 5.0, 6.0, 7.0]);
            let Targets::Classes { labels, names } = data.targets else {
                panic!("classes expected");
            };
            assert_eq!(labels, [1, 0, 3]);
            assert_eq!(names, ["0", "1", "2", "3"]);
        }
    }

    #[test]
    fn float_targets_are_values_and_float64_is_rounded() {
        let data = read(
            array(&[2], NpyData::F64(vec![0.1, 0.2])),
            array(&[2, 3], NpyData::F64(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        )
        .unwrap();
        assert_eq!(data.sample_shape, [1]);
        assert_eq!(data.inputs, Inputs::F32(vec![0.1, 0.2]));
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(data.targets, Targets::Values { values, width: 3 });
    }

    #[test]
    fn faults_name_the_file_and_the_row() {
        let negative = read(inputs(), array(&[3], NpyData::I64(vec![0, 1, -1]))).unwrap_err();
        assert!(negative.contains("y.npy, row 2: -1"), "{negative}");
        let rows = read(inputs(), array(&[4], NpyData::U32(vec![0; 4]))).unwrap_err();
        assert!(rows.contains("y.npy: 4 targets for the 3 rows"), "{rows}");
        let shape = read(inputs(), array(&[3, 2], NpyData::U32(vec![0; 6]))).unwrap_err();
        assert!(shape.contains("y.npy") && shape.contains("[3, 2]"), "{shape}");
        let kind = array(&[3], NpyData::I32(vec![0; 3]));
        let kind = read(kind.clone(), kind).unwrap_err();
        assert!(kind.contains("x.npy") && kind.contains("int32"), "{kind}");
        let scalar = read(array(&[], NpyData::F32(vec![0.0])), inputs()).unwrap_err();
        assert!(scalar.contains("x.npy: the array is a single number"), "{scalar}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_found_in_either_file() {
        let good = || array(&[2, 2], NpyData::F32(vec![0.0; 4]));
        let bad = || array(&[2, 2], NpyData::F32(vec![0.0, 0.0, 0.0, f32::NAN]));
        let error = read(bad(), good()).unwrap_err();
        assert!(error.contains("x.npy: inputs row 1, column 1"), "{error}");
        let error = read(good(), bad()).unwrap_err();
        assert!(error.contains("y.npy: targets row 1, column 1"), "{error}");
        let large = array(&[2, 1], NpyData::F64(vec![0.0, 1e300]));
        assert!(read(large, good()).unwrap_err().contains("inf"));
    }

    #[test]
    fn empty_arrays_are_refused() {
        let none = |shape: &[usize]| array(shape, NpyData::F32(vec![]));
        let error = read(none(&[0, 3]), array(&[0], NpyData::U32(vec![]))).unwrap_err();
        assert!(error.contains("empty") && error.contains("no rows"), "{error}");
        let error = read(none(&[2, 0]), array(&[2], NpyData::U32(vec![0, 1]))).unwrap_err();
        assert!(error.contains("no numbers"), "{error}");
    }
}
