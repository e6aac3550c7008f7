//! Texts with labels to train a classifier on: a table, or a folder with tables for training, validation and test.

use std::path::{Path, PathBuf};

use crate::parts::{self, Part};
use crate::text_table::TextTable;
use crate::{DataError, text_file};

const EXPECTED: &str = "a folder with train.*, and maybe dev.* and test.*, each CSV, TSV or JSON lines";

/// Texts with their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledTexts {
    /// The texts.
    pub texts: Vec<String>,
    /// The class of each text: an index of `names`.
    pub labels: Vec<u32>,
    /// The classes' names: the different labels, sorted as [`TextTable::label_names`] does.
    pub names: Vec<String>,
}

/// Labelled texts as their author divided them. The names of the classes are those of the training part in all parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledParts {
    /// What to train on.
    pub training: LabelledTexts,
    /// What to choose settings by.
    pub validation: Option<LabelledTexts>,
    /// What to measure the end result on.
    pub test: Option<LabelledTexts>,
}

impl LabelledParts {
    /// Reads a table (see [`TextTable::read`]), which is all for training, or a folder of tables.
    ///
    /// In a folder the training part is `train.*`, validation is `dev.*`, `val.*` or `valid*.*`, and test is `test.*`;
    /// the extension is `csv`, `tsv`, `txt`, `jsonl`, `ndjson` or `json`, and may be followed by `.gz`.
    ///
    /// # Errors
    /// [`DataError`] with file and line for what [`TextTable::read`] refuses and for a label that the training part
    /// lacks; with the folder if it has no training part, or two files for one part.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            let table = TextTable::read(path)?;
            let names = table.label_names();
            return Ok(Self { training: labelled(table, &names)?, validation: None, test: None });
        }
        let mut tables = Vec::new();
        for part in Part::ALL {
            tables.push(find_table(path, part)?.map(|file| TextTable::read(&file)).transpose()?);
        }
        let names = tables[0].as_ref().map(TextTable::label_names).unwrap_or_default();
        let mut tables = tables.into_iter().map(|table| table.map(|table| labelled(table, &names)).transpose());
        let mut next = || tables.next().unwrap_or(Ok(None));
        let Some(training) = next()? else {
            return Err(DataError::file(
                path,
                "there is no file for training (train.csv, train.tsv or train.jsonl)",
                format!("give {EXPECTED}"),
            ));
        };
        Ok(Self { training, validation: next()?, test: next()? })
    }
}

fn labelled(table: TextTable, names: &[String]) -> Result<LabelledTexts, DataError> {
    Ok(LabelledTexts { labels: table.classes(names)?, texts: table.texts, names: names.to_vec() })
}

/// The table of a part, if there is one.
fn find_table(folder: &Path, part: Part) -> Result<Option<PathBuf>, DataError> {
    let is_table = |path: &Path| {
        let extension = text_file::extension(path);
        matches!(extension.as_deref(), Some("csv" | "tsv" | "txt" | "jsonl" | "ndjson" | "json"))
    };
    let mut files = parts::list(folder, EXPECTED)?;
    files.retain(|file| file.part == part && file.is_plain() && is_table(&file.path));
    match files.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.path.clone())),
        [one, other, ..] => Err(DataError::file(
            folder,
            format!("both {} and {} are {}", one.path.display(), other.path.display(), part.names()),
            "leave one of them in the folder",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{Folder, gzip};

    #[test]
    fn a_file_is_all_for_training() {
        let folder = Folder::new();
        let path = folder.write("reviews.csv", "text,label\nfine,good\nno,bad\nso,good\n");
        let parts = LabelledParts::read(&path).unwrap();
        assert_eq!((parts.validation, parts.test), (None, None));
        assert_eq!(parts.training.texts, ["fine", "no", "so"]);
        assert_eq!(parts.training.names, ["bad", "good"]);
        assert_eq!(parts.training.labels, [1, 0, 1]);
    }

    #[test]
    fn a_folder_has_parts_with_the_classes_of_the_training_part() {
        let folder = Folder::new();
        folder.write("train.tsv", "fine\t1\nno\t0\nwell\t2\nyes\t1\n");
        folder.write("valid.jsonl.gz", gzip(b"{\"text\": \"ok\", \"label\": 2}\n{\"text\": \"hm\", \"label\": 0}\n"));
        folder.write("test.csv", "label,sentence\n1,yes\n");
        folder.write("train.md", "not a table");
        folder.write("test_extra.csv", "not, the, test");
        let parts = LabelledParts::read(folder.path()).unwrap();
        assert_eq!(parts.training.names, ["0", "1", "2"]);
        let validation = parts.validation.unwrap();
        assert_eq!((validation.labels, validation.names.len()), (vec![2, 0], 3));
        assert_eq!(parts.test.unwrap().labels, [1]);
    }

    #[test]
    fn faults_of_a_folder_are_told() {
        let folder = Folder::new();
        let told = || LabelledParts::read(folder.path()).unwrap_err().to_string();
        folder.write("dev.tsv", "a\tx\nb\ty\nc\tx\n");
        assert!(told().contains("no file for training"), "{}", told());
        folder.write("train.tsv", "a\tx\nb\tx\n");
        let error = told();
        assert!(error.contains("dev.tsv, line 2: the label \"y\" is unknown"), "{error}");
        folder.write("train.csv", "a,x\nb,x\n");
        let error = told();
        assert!(error.contains("train.csv and ") && error.contains("train.tsv"), "{error}");
        let error = LabelledParts::read(Path::new("no/such.tsv")).unwrap_err().to_string();
        assert!(error.contains("no/such.tsv"), "{error}");
    }

    #[test]
    fn real_sentences_are_read_where_they_are() {
        let Some(folder) = std::env::var_os("WGRAD_SST2").map(PathBuf::from) else {
            eprintln!("skipped: WGRAD_SST2 names no folder");
            return;
        };
        let parts = LabelledParts::read(&folder).unwrap();
        let (validation, test) = (parts.validation.unwrap(), parts.test.unwrap());
        assert_eq!(parts.training.names, ["0", "1"]);
        // The published sizes of the two-class treebank.
        assert_eq!([parts.training.texts.len(), validation.texts.len(), test.texts.len()], [6920, 872, 1821]);
    }
}
