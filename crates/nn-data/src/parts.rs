//! Training, validation and test: the files of a folder that are for each, and the sizes of generated ones.

use std::path::{Path, PathBuf};

use crate::DataError;

/// How many samples each part of a generated set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizes {
    /// Samples to train on.
    pub training: usize,
    /// Samples to choose settings by.
    pub validation: usize,
    /// Samples to measure the end result on.
    pub test: usize,
}

impl PartSizes {
    pub(crate) fn as_array(self) -> [usize; 3] {
        [self.training, self.validation, self.test]
    }

    /// Checks that each part has something and that all have no more than `most` together.
    pub(crate) fn check(self, set: &str, most: usize) -> Result<(), DataError> {
        let total = self.as_array().iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
        if self.as_array().contains(&0) || total.is_none_or(|total| total > most) {
            let Self { training, validation, test } = self;
            return Err(DataError::argument(
                format!("data set {set} cannot be made with {training} + {validation} + {test} samples"),
                format!("give each part at least 1, and all no more than {most} together"),
            ));
        }
        Ok(())
    }
}

impl Default for PartSizes {
    /// 10,000 to train on, 1,000 to validate and 1,000 to test.
    fn default() -> Self {
        Self { training: 10_000, validation: 1000, test: 1000 }
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Training,
    Validation,
    Test,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Training, Self::Validation, Self::Test];

    /// What messages call it, with the names by which its files are known.
    pub(crate) fn names(self) -> &'static str {
        match self {
            Self::Training => "train.*",
            Self::Validation => "dev.*, val.* or valid*.*",
            Self::Test => "test.*",
        }
    }
}

/// A file of a folder that is for one of the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartFile {
    pub(crate) path: PathBuf,
    pub(crate) part: Part,
    /// Its name up to the first dot, in lower case.
    pub(crate) stem: String,
}

impl PartFile {
    /// Whether the name is that of the part and nothing more, as `test` is and `test_2016` is not.
    pub(crate) fn is_plain(&self) -> bool {
        self.stem.chars().all(char::is_alphabetic)
    }
}

/// The part that a file of this stem is for, if any: what its first letters say.
fn part_of(stem: &str) -> Option<Part> {
    let letters = stem.split(|c: char| !c.is_alphabetic()).next()?;
    match letters {
        "train" | "training" => Some(Part::Training),
        "dev" | "val" | "valid" | "validation" => Some(Part::Validation),
        "test" => Some(Part::Test),
        _ => None,
    }
}

/// The files of a folder that are for a part, sorted by name.
pub(crate) fn list(folder: &Path, expected: &'static str) -> Result<Vec<PartFile>, DataError> {
    let unreadable = |source| DataError::Read { path: folder.to_path_buf(), expected, source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_ascii_lowercase);
        let stem = name.as_deref().and_then(|name| name.split('.').next()).unwrap_or_default().to_owned();
        if let Some(part) = part_of(&stem).filter(|_| path.is_file()) {
            files.push(PartFile { path, part, stem });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    #[test]
    fn names_say_what_files_are_for() {
        let folder = Folder::new();
        for name in ["Train.tsv", "dev.csv", "valid.en.gz", "validation", "val_2.x", "test_2016_flickr.de.gz", "test.a"]
        {
            folder.write(name, "");
        }
        for name in ["trained.tsv", "README.md", "testing.txt", "train/inside.txt"] {
            folder.write(name, "");
        }
        let found = list(folder.path(), "files").unwrap();
        let found: Vec<_> = found.iter().map(|file| (file.stem.as_str(), file.part, file.is_plain())).collect();
        assert_eq!(
            found,
            [
                ("train", Part::Training, true),
                ("dev", Part::Validation, true),
                ("test", Part::Test, true),
                ("test_2016_flickr", Part::Test, false),
                ("val_2", Part::Validation, false),
                ("valid", Part::Validation, true),
                ("validation", Part::Validation, true),
            ]
        );
        let error = list(Path::new("no/such/folder"), "files").unwrap_err().to_string();
        assert!(error.contains("no/such/folder"), "{error}");
    }
}
