//! MNIST and its like: folders of four IDX files, plain or gzip.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{DataError, Dataset, Inputs, Targets};

const EXPECTED: &str = "an IDX file of MNIST's form, plain or gzip";
/// IDX's number for unsigned bytes.
const BYTES: u8 = 0x08;
/// No file of this form is larger; a header that asks for more is damaged.
const LARGEST: usize = 1 << 33;

/// The classes of Fashion-MNIST, in order of their numbers.
pub const FASHION_CLASSES: [&str; 10] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// Reads a folder with MNIST's four files (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the
/// same of `t10k`; also with a dot before `idx`; each plain or as `.gz`) as (training, test).
///
/// Inputs: bytes `[rows, 1, height, width]`. Classes are named by their numbers, at least "0" to "9".
///
/// # Errors
/// [`DataError`] with the file: missing, not IDX, cut off or too long, pictures and labels that differ in
/// number, parts that differ in the size of their pictures.
pub fn read_idx(folder: &Path) -> Result<(Dataset, Dataset), DataError> {
    let mut training = read_part(folder, "train")?;
    let mut test = read_part(folder, "t10k")?;
    if training.sample_shape != test.sample_shape {
        return Err(DataError::file(
            folder,
            format!("training pictures {:?} and test pictures {:?}", training.sample_shape, test.sample_shape),
            "both must have the same height and width",
        ));
    }
    let most = training.targets.names().len().max(test.targets.names().len()).max(10);
    for part in [&mut training, &mut test] {
        if let Targets::Classes { names, .. } = &mut part.targets {
            *names = (0..most).map(|class| class.to_string()).collect();
        }
        part.validate()?;
    }
    Ok((training, test))
}

fn read_part(folder: &Path, part: &str) -> Result<Dataset, DataError> {
    let images = find(folder, part, "images", "idx3")?;
    let labels = find(folder, part, "labels", "idx1")?;
    let (shape, values) = read_file(&images, 3)?;
    let (label_shape, label_values) = read_file(&labels, 1)?;
    if shape[0] != label_shape[0] {
        return Err(DataError::file(
            &labels,
            format!("{} labels for the {} pictures of {}", label_shape[0], shape[0], images.display()),
            "take both files from the same source",
        ));
    }
    if values.is_empty() {
        return Err(DataError::file(
            &images,
            format!("pictures of shape {shape:?} have no pixels"),
            "take another file",
        ));
    }
    let labels: Vec<u32> = label_values.into_iter().map(u32::from).collect();
    let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
    Ok(Dataset {
        name: images.display().to_string(),
        inputs: Inputs::pictures(values, 1),
        sample_shape: vec![1, shape[1], shape[2]],
        targets: Targets::Classes { labels, names: vec![String::new(); classes] },
        augmentation: None,
    })
}

/// The file of one part, plain rather than gzip where there are both.
fn find(folder: &Path, part: &str, what: &str, form: &str) -> Result<PathBuf, DataError> {
    let usual = format!("{part}-{what}-{form}-ubyte");
    let names = [usual.clone(), format!("{part}-{what}.{form}-ubyte")];
    let names = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    names.map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        DataError::file(
            folder,
            format!("there is no file {usual} or {usual}.gz"),
            "give a folder with MNIST's four files: images and labels of train and t10k",
        )
    })
}

/// The sizes and bytes of an IDX file of unsigned bytes with `dimensions` axes.
fn read_file(path: &Path, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let read_error = |source| DataError::Read { path: path.to_path_buf(), expected: EXPECTED, source };
    let wrong = |what: String| DataError::file(path, what, format!("give {EXPECTED}"));
    let file = std::fs::read(path).map_err(read_error)?;
    // By content: a browser may have unpacked a file and left its name.
    let mut reader: Box<dyn Read> =
        if file.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(&file[..])) } else { Box::new(&file[..]) };
    let mut header = vec![0; 4 + 4 * dimensions];
    reader.read_exact(&mut header).map_err(|error| wrong(format!("the header cannot be read: {error}")))?;
    if header[..4] != [0, 0, BYTES, dimensions as u8] {
        return Err(wrong(format!(
            "it begins with {:02x?}, not {:02x?} (unsigned bytes with {dimensions} axes)",
            &header[..4],
            [0, 0, BYTES, dimensions as u8]
        )));
    }
    let size = |bytes: &[u8]| bytes.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
    let shape: Vec<usize> = header[4..].chunks_exact(4).map(size).collect();
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).filter(|&count| count <= LARGEST);
    let Some(count) = count else {
        return Err(wrong(format!("the header asks for {shape:?} bytes")));
    };
    let mut values = Vec::new();
    // One more, to find that there is more.
    let read = reader.take(count as u64 + 1).read_to_end(&mut values);
    match (read, values.len().cmp(&count)) {
        (Err(error), _) => Err(wrong(format!("after {} of {count} bytes: {error}", values.len()))),
        (Ok(_), std::cmp::Ordering::Less) => {
            Err(wrong(format!("it is cut off: {} bytes of the {count} of shape {shape:?}", values.len())))
        }
        (Ok(_), std::cmp::Ordering::Greater) => {
            Err(wrong(format!("there is more after the {count} bytes of {shape:?}")))
        }
        (Ok(_), std::cmp::Ordering::Equal) => Ok((shape, values)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{Folder, gzip};

    fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, BYTES, shape.len() as u8];
        shape.iter().for_each(|size| file.extend(size.to_be_bytes()));
        file.extend(values);
        file
    }

    /// Three training pictures of 2×3 and two test pictures.
    fn folder() -> Folder {
        let folder = Folder::new();
        folder.write("train-images-idx3-ubyte", idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>()));
        folder.write("train-labels-idx1-ubyte.gz", gzip(&idx(&[3], &[4, 0, 9])));
        folder.write("t10k-images-idx3-ubyte.gz", gzip(&idx(&[2, 2, 3], &[255; 12])));
        folder.write("t10k-labels.idx1-ubyte", idx(&[2], &[1, 2]));
        folder
    }

    #[test]
    fn plain_and_gzip_files_are_read() {
        let folder = folder();
        let (training, test) = read_idx(folder.path()).unwrap();
        assert_eq!((training.rows(), test.rows()), (3, 2));
        assert_eq!(training.sample_shape, [1, 2, 3]);
        assert_eq!(training.pixels(1).unwrap(), [6, 7, 8, 9, 10, 11]);
        assert_eq!(test.input_row(0).unwrap()[..], [1.0; 6]);
        let Targets::Classes { labels, names } = &training.targets else {
            panic!("classes expected");
        };
        assert_eq!(labels[..], [4, 0, 9]);
        assert_eq!((names.len(), names[9].as_str()), (10, "9"));
        // More than ten classes in one part are classes of both.
        folder.write("t10k-labels.idx1-ubyte", idx(&[2], &[1, 11]));
        assert_eq!(read_idx(folder.path()).unwrap().0.targets.names().len(), 12);
    }

    #[test]
    fn faults_name_the_file() {
        let check = |name: &str, content: Vec<u8>, part: &str| {
            let folder = folder();
            folder.write(name, content);
            let message = read_idx(folder.path()).unwrap_err().to_string();
            assert!(message.contains(name.split(['.', '-']).next().unwrap()) && message.contains(part), "{message}");
        };
        check("train-images-idx3-ubyte", idx(&[3, 2, 3], &[0; 17]), "train-images-idx3-ubyte: it is cut off: 17 bytes");
        check("train-images-idx3-ubyte", idx(&[3, 2, 3], &[0; 19]), "there is more");
        check("train-images-idx3-ubyte", idx(&[4, 2, 3], &[0; 24]), "3 labels for the 4 pictures");
        check("train-images-idx3-ubyte", idx(&[3, 3, 2], &[0; 18]), "[1, 3, 2]");
        check("train-images-idx3-ubyte", idx(&[3], &[0; 3]), "header");
        check("train-images-idx3-ubyte", b"PNG".to_vec(), "header");
        check("train-images-idx3-ubyte", b"some text that is longer".to_vec(), "begins with");
        check("train-images-idx3-ubyte", idx(&[u32::MAX; 3], &[]), "asks for");
        check("train-images-idx3-ubyte", idx(&[3, 0, 3], &[]), "no pixels");
        let whole = gzip(&idx(&[3], &[4, 0, 9]));
        check("train-labels-idx1-ubyte.gz", whole[..whole.len() - 12].to_vec(), "train-labels-idx1-ubyte.gz");
        let message = read_idx(Folder::new().path()).unwrap_err().to_string();
        assert!(message.contains("no file train-images-idx3-ubyte"), "{message}");
    }

    #[test]
    fn real_digits_are_read_where_they_are() {
        let Some(folder) = std::env::var_os("WGRAD_MNIST").map(PathBuf::from) else {
            eprintln!("skipped: WGRAD_MNIST names no folder");
            return;
        };
        let (training, test) = read_idx(&folder).unwrap();
        assert_eq!(training.sample_shape, [1, 28, 28]);
        assert!(training.rows() > test.rows() && test.rows() >= 1000);
        let scale = crate::ChannelScale::measure(&training).unwrap();
        // The published mean and deviation of all 60,000.
        assert!((scale.mean[0] - 0.1307).abs() < 0.003 && (scale.deviation[0] - 0.3081).abs() < 0.003, "{scale:?}");
    }
}
