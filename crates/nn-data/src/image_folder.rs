//! Folders of pictures: one sub-folder for each class, perhaps in folders for training, validation and test.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::pictures::{Fault, decode};
use crate::{DataError, Dataset, Inputs, PictureOptions, Targets, parallel};

const EXPECTED: &str = "a folder with one sub-folder of pictures for each class";
/// Names of the folders that split the data, in lower case.
const TRAINING: &[&str] = &["train", "training"];
const VALIDATION: &[&str] = &["val", "valid", "validation"];
const TEST: &[&str] = &["test", "testing"];
/// More folders inside one another than this are a link that leads back.
const DEEPEST: usize = 16;
/// So many files are named in a message.
const NAMED: usize = 10;

/// How a folder of pictures is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFolderOptions {
    /// What each picture is made into.
    pub picture: PictureOptions,
    /// Whether broken pictures are left out and counted; otherwise they are an error.
    pub skip_broken: bool,
    /// Threads that decode; 0 for one on each core. The result does not depend on it.
    pub threads: usize,
}

/// What a folder of pictures holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFolder {
    /// All pictures, or those in `train/`.
    pub training: Dataset,
    /// Those in `val/`, `valid/` or `validation/`.
    pub validation: Option<Dataset>,
    /// Those in `test/`.
    pub test: Option<Dataset>,
    /// Pictures that were left out because they are broken.
    pub broken: Vec<PathBuf>,
    /// How many hidden files and files of other kinds were passed over.
    pub ignored: usize,
}

/// Reads PNG and JPEG files (by their endings `.png`, `.jpg`, `.jpeg`), also in folders further down.
///
/// Sub-folders, sorted by name, are the classes; rows come by class, then by path. If there is a folder `train`
/// with sub-folders, the data is split: beside it may be one of `val`, `valid`, `validation`, and `test`, with the same
/// classes. Inputs: bytes `[rows, channels, height, width]`. As torchvision's `ImageFolder`.
///
/// # Errors
/// [`DataError`] with the folder or file: no classes, a class without pictures, classes that are in one split only,
/// pictures that are broken (unless `skip_broken`) or smaller than asked (unless `upscale`); the first ten are named.
pub fn read_image_folder(folder: &Path, options: &ImageFolderOptions) -> Result<ImageFolder, DataError> {
    options.picture.check()?;
    let (splits, mut ignored) = find_splits(folder)?;
    let [training, validation, test] = splits;
    let mut listed = Vec::new();
    for path in [training, validation, test] {
        listed.push(match path {
            Some(path) => {
                let (classes, passed) = list_classes(&path)?;
                ignored += passed;
                Some((path, classes))
            }
            None => None,
        });
    }
    check_same_classes(&listed)?;
    let mut broken = Vec::new();
    let mut parts = Vec::new();
    for part in listed {
        parts.push(part.map(|(path, classes)| load(&path, &classes, options, &mut broken)).transpose()?);
    }
    let test = parts.pop().flatten();
    let validation = parts.pop().flatten();
    let Some(training) = parts.pop().flatten() else {
        return Err(DataError::argument("internal: a folder of pictures without training data", "report this"));
    };
    Ok(ImageFolder { training, validation, test, broken, ignored })
}

/// A class's name and its files.
type Class = (String, Vec<PathBuf>);

/// Rows that have no picture, in order, and why.
type Faults = Vec<(usize, Fault)>;

/// What lies in a folder, sorted by name: sub-folders, files, and how many hidden things were passed over.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>, usize), DataError> {
    let read_error = |source| DataError::Read { path: folder.to_path_buf(), expected: EXPECTED, source };
    let (mut folders, mut files, mut hidden) = (Vec::new(), Vec::new(), 0);
    for entry in std::fs::read_dir(folder).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            hidden += 1;
        } else if entry.path().is_dir() {
            folders.push(entry.path());
        } else {
            files.push(entry.path());
        }
    }
    folders.sort_unstable();
    files.sort_unstable();
    Ok((folders, files, hidden))
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg"))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn joined<T: AsRef<str>>(names: &[T]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = names.len() - named.len();
    named.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// The folders for training, validation and test, and how many files beside them were passed over.
fn find_splits(folder: &Path) -> Result<([Option<PathBuf>; 3], usize), DataError> {
    let (folders, files, hidden) = entries(folder)?;
    let mut splits: [Vec<PathBuf>; 3] = Default::default();
    let mut others = Vec::new();
    for path in folders {
        let name = name_of(&path).to_ascii_lowercase();
        match [TRAINING, VALIDATION, TEST].iter().position(|names| names.contains(&name.as_str())) {
            // A class may be called "train", too; then it holds pictures, not classes.
            Some(split) if !entries(&path)?.0.is_empty() => splits[split].push(path),
            _ => others.push(name_of(&path)),
        }
    }
    if splits.iter().all(Vec::is_empty) {
        return Ok(([Some(folder.to_path_buf()), None, None], 0));
    }
    if splits[0].is_empty() {
        let names: Vec<String> = splits.iter().flatten().map(|path| name_of(path)).collect();
        return Err(DataError::file(
            folder,
            format!("there is {} but no folder train with classes", joined(&names)),
            "put the training pictures in train/<class>/",
        ));
    }
    if let Some(twice) = splits.iter().find(|paths| paths.len() > 1) {
        let names: Vec<String> = twice.iter().map(|path| name_of(path)).collect();
        return Err(DataError::file(folder, format!("{} mean the same", joined(&names)), "keep one of them"));
    }
    if !others.is_empty() {
        return Err(DataError::file(
            folder,
            format!("beside train there is {}", joined(&others)),
            "keep only train, val and test there, with the classes' folders in each",
        ));
    }
    Ok((splits.map(|mut paths| paths.pop()), files.len() + hidden))
}

/// The classes in a folder, and how many files were passed over.
fn list_classes(folder: &Path) -> Result<(Vec<Class>, usize), DataError> {
    let (folders, files, mut ignored) = entries(folder)?;
    if folders.is_empty() {
        let pictures = files.iter().filter(|path| is_picture(path)).count();
        let what = format!("there are no sub-folders (but {pictures} pictures): the classes are unknown");
        return Err(DataError::file(folder, what, format!("give {EXPECTED}")));
    }
    ignored += files.len();
    let mut classes = Vec::new();
    let mut empty = Vec::new();
    for path in folders {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            return Err(DataError::file(&path, "the class's name is not UTF-8", "rename the folder"));
        };
        let (mut pictures, mut passed) = (Vec::new(), 0);
        list_pictures(&path, 0, &mut pictures, &mut passed)?;
        ignored += passed;
        if pictures.is_empty() {
            empty.push(if passed > 0 { format!("{name} ({passed} other files)") } else { name.clone() });
        }
        classes.push((name, pictures));
    }
    if !empty.is_empty() {
        return Err(DataError::file(
            folder,
            format!("{} of {} classes have no PNG or JPEG picture: {}", empty.len(), classes.len(), joined(&empty)),
            "add pictures or remove those folders",
        ));
    }
    Ok((classes, ignored))
}

fn list_pictures(
    folder: &Path,
    depth: usize,
    pictures: &mut Vec<PathBuf>,
    ignored: &mut usize,
) -> Result<(), DataError> {
    if depth > DEEPEST {
        return Err(DataError::file(folder, "folders lie too deep in one another", "look for a link that leads back"));
    }
    let (folders, files, hidden) = entries(folder)?;
    *ignored += hidden;
    for file in files {
        if is_picture(&file) { pictures.push(file) } else { *ignored += 1 }
    }
    for folder in folders {
        list_pictures(&folder, depth + 1, pictures, ignored)?;
    }
    Ok(())
}

/// Every split must have the classes of the first, which is training.
fn check_same_classes(splits: &[Option<(PathBuf, Vec<Class>)>]) -> Result<(), DataError> {
    let names = |classes: &[Class]| -> Vec<String> { classes.iter().map(|(name, _)| name.clone()).collect() };
    let mut splits = splits.iter().flatten();
    let Some((training_path, training)) = splits.next() else { return Ok(()) };
    let training = names(training);
    for (path, classes) in splits {
        let found = names(classes);
        let without = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|name| !other.contains(name)).cloned().collect()
        };
        let (only_here, missing) = (without(&found, &training), without(&training, &found));
        if !only_here.is_empty() || !missing.is_empty() {
            let part =
                |what: String, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", joined(names)));
            let here = part(format!("{} alone has", name_of(path)), &only_here);
            let there = part(format!("{} alone has", name_of(training_path)), &missing);
            let what: Vec<String> = [here, there].into_iter().flatten().collect();
            return Err(DataError::file(
                path,
                format!("the classes are not those of {}: {}", training_path.display(), what.join("; ")),
                "give each split a folder with pictures for every class",
            ));
        }
    }
    Ok(())
}

fn load(
    folder: &Path,
    classes: &[Class],
    options: &ImageFolderOptions,
    broken: &mut Vec<PathBuf>,
) -> Result<Dataset, DataError> {
    let files: Vec<&Path> = classes.iter().flat_map(|(_, files)| files.iter().map(PathBuf::as_path)).collect();
    let (mut values, faults) = decode_all(folder, &files, options)?;
    let small = |fault: &Fault| matches!(fault, Fault::Small(_));
    for (of_size, what, remedy) in [
        (false, "cannot be used", "repair or remove them, or leave broken pictures out (skip_broken)"),
        (true, "are too small", "remove them, ask for a smaller size, or allow scaling up"),
    ] {
        let named = |(row, fault): &(usize, Fault)| {
            let (Fault::Broken(why) | Fault::Small(why)) = fault;
            format!("{} ({why})", files[*row].strip_prefix(folder).unwrap_or(files[*row]).display())
        };
        let named: Vec<String> = faults.iter().filter(|(_, fault)| small(fault) == of_size).map(named).collect();
        if !named.is_empty() && (of_size || !options.skip_broken) {
            let what = format!("{} of {} pictures {what}: {}", named.len(), files.len(), joined(&named));
            return Err(DataError::file(folder, what, remedy));
        }
    }

    // What is left are broken pictures to be left out.
    let mut labels: Vec<u32> = Vec::with_capacity(files.len());
    for (class, (_, files)) in classes.iter().enumerate() {
        labels.extend(files.iter().map(|_| class as u32));
    }
    let (size, mut kept, mut faults) = (options.picture.size(), 0, faults.iter().map(|(row, _)| *row).peekable());
    for row in 0..files.len() {
        if faults.next_if_eq(&row).is_some() {
            broken.push(files[row].to_path_buf());
            continue;
        }
        values.copy_within(row * size..(row + 1) * size, kept * size);
        labels[kept] = labels[row];
        kept += 1;
    }
    values.truncate(kept * size);
    labels.truncate(kept);
    let gone: Vec<&String> = classes
        .iter()
        .enumerate()
        .filter(|(class, _)| !labels.contains(&(*class as u32)))
        .map(|(_, (name, _))| name)
        .collect();
    if !gone.is_empty() {
        return Err(DataError::file(
            folder,
            format!("all pictures of {} are broken", joined(&gone)),
            "give each class at least one picture that can be read",
        ));
    }
    let dataset = Dataset {
        name: folder.display().to_string(),
        inputs: Inputs::pictures(values, options.picture.channels),
        sample_shape: vec![options.picture.channels, options.picture.height, options.picture.width],
        targets: Targets::Classes { labels, names: classes.iter().map(|(name, _)| name.clone()).collect() },
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

/// All pictures, one after the other, and what is wrong with those that have no bytes, in order.
fn decode_all(folder: &Path, files: &[&Path], options: &ImageFolderOptions) -> Result<(Vec<u8>, Faults), DataError> {
    let size = options.picture.size();
    let mut values = Vec::new();
    let total = files.len().checked_mul(size).filter(|&total| values.try_reserve_exact(total).is_ok());
    let Some(total) = total else {
        return Err(DataError::file(
            folder,
            format!("{} pictures of {size} bytes do not fit in memory", files.len()),
            "ask for a smaller size, or give fewer pictures",
        ));
    };
    values.resize(total, 0);
    let faults = Mutex::new(Vec::new());
    let items = files.iter().zip(values.chunks_exact_mut(size)).enumerate();
    parallel::for_each(options.threads, items, |(row, (path, place))| match decode(path, &options.picture) {
        Ok(bytes) => place.copy_from_slice(&bytes),
        Err(fault) => faults.lock().unwrap_or_else(PoisonError::into_inner).push((row, fault)),
    });
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    faults.sort_unstable_by_key(|(row, _)| *row);
    Ok((values, faults))
}

#[cfg(test)]
#[path = "image_folder_tests.rs"]
mod tests;
