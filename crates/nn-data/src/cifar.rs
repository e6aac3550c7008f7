//! CIFAR-10 from a folder of its binary files.

use std::path::{Path, PathBuf};

use crate::{DataError, Dataset, Inputs, Targets};

const EXPECTED: &str = "a file of CIFAR-10's binary version";
/// Channels, height and width of each picture.
const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
const TRAINING_FILES: usize = 5;
/// The folder in the published archive.
pub(crate) const FOLDER: &str = "cifar-10-batches-bin";

const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads `data_batch_1.bin` to `data_batch_5.bin` as training data and `test_batch.bin` as test data; the
/// names of classes from `batches.meta.txt`, if it is there. `folder` may also hold the archive's folder
/// `cifar-10-batches-bin`. A record is a byte for the class, then 3×32×32 bytes; a file has any number.
///
/// Inputs: bytes `[rows, 3, 32, 32]`, red, green and blue.
///
/// # Errors
/// [`DataError`] with the file: missing, not a whole number of records, a class above 9, not ten names.
pub fn read_cifar10(folder: &Path) -> Result<(Dataset, Dataset), DataError> {
    let inner = folder.join(FOLDER);
    let folder = if inner.is_dir() { inner.as_path() } else { folder };
    let names = read_names(folder)?;
    let training: Vec<PathBuf> =
        (1..=TRAINING_FILES).map(|number| folder.join(format!("data_batch_{number}.bin"))).collect();
    Ok((
        read_part(&training, folder, "training", &names)?,
        read_part(&[folder.join("test_batch.bin")], folder, "test", &names)?,
    ))
}

fn read_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let path = folder.join("batches.meta.txt");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => CLASSES.join("\n"),
        Err(source) => return Err(DataError::Read { path, expected: "the names of CIFAR-10's classes", source }),
    };
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if names.len() != CLASSES.len() {
        return Err(DataError::file(
            &path,
            format!("{} names for the {} classes", names.len(), CLASSES.len()),
            "give one name a line, or remove the file",
        ));
    }
    Ok(names)
}

fn read_part(files: &[PathBuf], folder: &Path, part: &str, names: &[String]) -> Result<Dataset, DataError> {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for path in files {
        let bytes =
            std::fs::read(path).map_err(|source| DataError::Read { path: path.clone(), expected: EXPECTED, source })?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(PIXELS + 1) {
            return Err(DataError::file(
                path,
                format!("{} bytes are not a whole number of records of {}", bytes.len(), PIXELS + 1),
                format!("give {EXPECTED}, whole"),
            ));
        }
        for (row, record) in bytes.chunks_exact(PIXELS + 1).enumerate() {
            let class = u32::from(record[0]);
            if class as usize >= CLASSES.len() {
                return Err(DataError::Row {
                    path: path.clone(),
                    row,
                    what: format!("the class is {class}"),
                    remedy: format!("give {EXPECTED}, whose classes are 0 to 9"),
                });
            }
            labels.push(class);
            values.extend_from_slice(&record[1..]);
        }
    }
    let dataset = Dataset {
        name: format!("{} ({part})", folder.display()),
        inputs: Inputs::pictures(values, SHAPE[0]),
        sample_shape: SHAPE.to_vec(),
        targets: Targets::Classes { labels, names: names.to_vec() },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    /// Files of two records each: class and red level are the file's number.
    fn folder() -> Folder {
        let folder = Folder::new();
        for number in 0..=TRAINING_FILES as u8 {
            let name = if number == 0 { "test_batch.bin".into() } else { format!("data_batch_{number}.bin") };
            let mut record = vec![number];
            record.extend([number; 1024]);
            record.extend([100; 1024]);
            record.extend([200; 1024]);
            folder.write(&name, record.repeat(2));
        }
        folder
    }

    #[test]
    fn all_files_are_read_in_order() {
        let folder = folder();
        let (training, test) = read_cifar10(folder.path()).unwrap();
        assert_eq!((training.rows(), test.rows()), (10, 2));
        assert_eq!(training.sample_shape, SHAPE);
        let Targets::Classes { labels, names } = &training.targets else {
            panic!("classes expected");
        };
        assert_eq!(labels[..], [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        assert_eq!(names[..], CLASSES);
        let pixels = training.pixels(5).unwrap();
        assert_eq!((pixels[0], pixels[1023], pixels[1024], pixels[3071]), (3, 3, 100, 200));

        folder.write("batches.meta.txt", ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "", ""].join("\n"));
        assert_eq!(read_cifar10(folder.path()).unwrap().1.targets.names()[9], "j");
        folder.write("batches.meta.txt", "a\nb\n");
        assert!(read_cifar10(folder.path()).unwrap_err().to_string().contains("2 names"));
    }

    #[test]
    fn the_archives_own_folder_is_found() {
        let outer = Folder::new();
        let inner = folder();
        std::fs::rename(inner.path(), outer.path().join(FOLDER)).unwrap();
        assert_eq!(read_cifar10(outer.path()).unwrap().0.rows(), 10);
    }

    #[test]
    fn faults_name_the_file() {
        let check = |name: &str, content: Option<&[u8]>, parts: [&str; 2]| {
            let folder = folder();
            match content {
                Some(content) => drop(folder.write(name, content)),
                None => std::fs::remove_file(folder.path().join(name)).unwrap(),
            }
            let message = read_cifar10(folder.path()).unwrap_err().to_string();
            assert!(message.contains(name) && parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check("data_batch_3.bin", None, ["cannot read", "CIFAR-10"]);
        check("data_batch_3.bin", Some(&[0; 3074]), ["3074 bytes", "3073"]);
        check("test_batch.bin", Some(&[]), ["0 bytes", "whole"]);
        let mut wrong = vec![0; 2 * 3073];
        wrong[3073] = 10;
        check("data_batch_5.bin", Some(&wrong), ["row 1", "class is 10"]);
    }
}
