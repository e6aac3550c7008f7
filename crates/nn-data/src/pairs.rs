//! Parallel text, to train a translator on: a table of two columns, two files line by line, or a folder of either.

use std::collections::BTreeSet;
use std::path::Path;

use crate::parts::{self, Part, PartFile};
use crate::split::held_out;
use crate::text_columns::{self, Column, TwoColumns};
use crate::{DataError, text_file};

const EXPECTED: &str = "text with its translation: a TSV, CSV or JSON lines file, or two files with a sentence a line";
/// The random stream of what is held out.
const SPLIT_STREAM: u32 = 0x5000_0004;

/// Texts with what each becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// The texts.
    pub sources: Vec<String>,
    /// What each becomes: as many as there are sources.
    pub targets: Vec<String>,
    /// How many pairs of lines were left out because one of the two is blank.
    pub skipped: usize,
}

/// Parallel text as its author divided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairParts {
    /// What to train on.
    pub training: Pairs,
    /// What to choose settings by.
    pub validation: Option<Pairs>,
    /// What to measure the end result on.
    pub test: Option<Pairs>,
}

impl Pairs {
    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Divides the pairs: about a `fraction` of them, drawn by `seed`, is held out; the others come first, both in their
    /// order. Of two pairs or more each part has one.
    pub fn split(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let held_out = held_out(self.len(), fraction, (seed, SPLIT_STREAM));
        let part = |wanted: bool| {
            let pairs = self.sources.iter().zip(&self.targets).zip(&held_out);
            let own = pairs.filter(|(_, held_out)| **held_out == wanted).map(|(pair, _)| pair);
            let (sources, targets) = own.map(|(source, target)| (source.clone(), target.clone())).unzip();
            Self { sources, targets, skipped: if wanted { 0 } else { self.skipped } }
        };
        (part(false), part(true))
    }

    /// Reads a table (TSV, CSV or JSON lines, plain or gzip).
    ///
    /// The columns are found by the names `source` (or `src`) and `target` (or `tgt`), or those of `languages`; else
    /// the first two serve, and the first line is no header. Objects of JSON lines may hold both in an object
    /// `translation`, as Hugging Face's do.
    ///
    /// # Errors
    /// [`DataError`] with file and line for a line that lacks one of the two; with the file if it is missing or empty.
    pub fn read_table(path: &Path, languages: Option<[&str; 2]>) -> Result<Self, DataError> {
        let [source, target] = languages.unwrap_or(["source", "target"]);
        let wanted = TwoColumns {
            columns: [
                Column { what: "source text", names: &[source, "source", "src"] },
                Column { what: "target text", names: &[target, "target", "tgt"] },
            ],
            expected: EXPECTED,
            guess_header: false,
        };
        let mut pairs = Self::default();
        for row in text_columns::read(path, &wanted)? {
            let [source, target] = row.cells;
            pairs.sources.push(source);
            pairs.targets.push(target);
        }
        Ok(pairs)
    }

    /// Reads two files, plain or gzip, with a text on each line; line `n` of `targets` is what line `n` of `sources`
    /// becomes. Pairs of which one line is blank are left out and counted.
    ///
    /// # Errors
    /// [`DataError`] with the file: missing, no UTF-8 (with the line), not as many lines as the other, nothing in it.
    pub fn read_files(sources: &Path, targets: &Path) -> Result<Self, DataError> {
        let (source_text, target_text) = (text_file::read(sources, EXPECTED)?, text_file::read(targets, EXPECTED)?);
        let counts = [source_text.lines().count(), target_text.lines().count()];
        if counts[0] != counts[1] {
            return Err(DataError::file(
                targets,
                format!("{} lines, but {} has {}", counts[1], sources.display(), counts[0]),
                "line n of one file must be the translation of line n of the other",
            ));
        }
        let mut pairs = Self::default();
        for (source, target) in source_text.lines().zip(target_text.lines()) {
            let (source, target) = (source.trim(), target.trim());
            if source.is_empty() || target.is_empty() {
                pairs.skipped += 1;
            } else {
                pairs.sources.push(source.to_owned());
                pairs.targets.push(target.to_owned());
            }
        }
        if pairs.is_empty() {
            return Err(DataError::file(sources, "there is no pair of lines with text", format!("give {EXPECTED}")));
        }
        Ok(pairs)
    }
}

impl PairParts {
    /// Reads a table (see [`Pairs::read_table`]), which is all for training, or a folder.
    ///
    /// In a folder the training part is `train.*`, validation is `dev.*`, `val.*` or `valid*.*`, and test is `test.*`,
    /// or the first by name that begins so, such as `test_2016_flickr.*`. Each is a table (`csv`, `tsv`, `txt`,
    /// `jsonl`, `ndjson`, `json`) or two files whose extensions are the languages: `train.de` and `train.en`. All may
    /// be packed (`.gz`). `languages` are (source, target); without them they are those that the training part has,
    /// in the order of the alphabet.
    ///
    /// # Errors
    /// [`DataError`] for what [`Pairs::read_table`] and [`Pairs::read_files`] refuse; with the folder if it has no
    /// training part in the two languages, or if there are more than two and none are named.
    pub fn read(path: &Path, languages: Option<[&str; 2]>) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Ok(Self { training: Pairs::read_table(path, languages)?, validation: None, test: None });
        }
        let files = parts::list(path, EXPECTED)?;
        let found = match languages {
            Some(languages) => Some(languages.map(str::to_owned)),
            None => find_languages(path, &files)?,
        };
        let found = found.as_ref().map(|[source, target]| [source.as_str(), target.as_str()]);
        let Some(training) = read_part(&files, Part::Training, found)? else {
            let what = match found {
                Some([source, target]) => {
                    format!("there is neither a table train.* nor train.{source} with train.{target}")
                }
                None => "there is no file for training".into(),
            };
            return Err(DataError::file(path, what, "name the files train.tsv, or train.de and train.en"));
        };
        let validation = read_part(&files, Part::Validation, found)?;
        Ok(Self { training, validation, test: read_part(&files, Part::Test, found)? })
    }
}

fn is_table(file: &PartFile) -> bool {
    let extension = text_file::extension(&file.path);
    matches!(extension.as_deref(), Some("csv" | "tsv" | "txt" | "jsonl" | "ndjson" | "json"))
}

/// The two languages of the training part, unless it is a table.
fn find_languages(folder: &Path, files: &[PartFile]) -> Result<Option<[String; 2]>, DataError> {
    let training = || files.iter().filter(|file| file.part == Part::Training);
    let languages: BTreeSet<String> =
        training().filter(|file| !is_table(file)).filter_map(|file| text_file::extension(&file.path)).collect();
    if training().any(is_table) || languages.is_empty() {
        return Ok(None);
    }
    let languages: Vec<String> = languages.into_iter().collect();
    <[String; 2]>::try_from(languages).map(Some).map_err(|languages| {
        DataError::file(
            folder,
            format!("the training part has {}, not two languages", languages.join(", ")),
            "say which is the source and which the target",
        )
    })
}

/// The pairs of a part, if there are files for it: a table, or else two files of one stem.
fn read_part(files: &[PartFile], part: Part, languages: Option<[&str; 2]>) -> Result<Option<Pairs>, DataError> {
    let of_part = || files.iter().filter(|file| file.part == part);
    // The plain name first, then by name.
    let stems: BTreeSet<_> = of_part().map(|file| (!file.is_plain(), file.stem.as_str())).collect();
    for (_, stem) in stems {
        let of_stem = || of_part().filter(|file| file.stem == stem);
        if let Some(table) = of_stem().find(|file| is_table(file)) {
            return Pairs::read_table(&table.path, languages).map(Some);
        }
        let of_language =
            |language: &str| of_stem().find(|file| text_file::extension(&file.path).as_deref() == Some(language));
        let found = languages.map(|languages| languages.map(of_language));
        if let Some([Some(source), Some(target)]) = found {
            return Pairs::read_files(&source.path, &target.path).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{Folder, gzip};

    #[test]
    fn tables_are_read_by_names_or_else_in_order() {
        let folder = Folder::new();
        let path = folder.write("x.tsv", "ja\tyes\nnein\tno\n");
        let pairs = Pairs::read_table(&path, None).unwrap();
        assert_eq!((pairs.sources, pairs.targets), (vec!["ja".into(), "nein".into()], vec!["yes".into(), "no".into()]));
        let path = folder.write("y.csv", "target,id,source\nyes,1,ja\n");
        let pairs = Pairs::read_table(&path, None).unwrap();
        assert_eq!((pairs.sources, pairs.targets), (vec!["ja".into()], vec!["yes".into()]));
        let path = folder.write("z.jsonl", "{\"translation\": {\"de\": \"ja\", \"en\": \"yes\"}}\n");
        assert_eq!(Pairs::read_table(&path, Some(["en", "de"])).unwrap().sources, ["yes"]);
        assert_eq!(Pairs::read_table(&path, None).unwrap().sources, ["ja"]);
        let path = folder.write("w.tsv", "ja\tyes\nnein\n");
        let error = Pairs::read_table(&path, None).unwrap_err().to_string();
        assert!(error.contains("w.tsv, line 2") && error.contains("no target text"), "{error}");
    }

    #[test]
    fn pairs_are_held_out_together() {
        let names = |prefix: &str| (0..40).map(|number| format!("{prefix}{number}")).collect::<Vec<String>>();
        let all = Pairs { sources: names("s"), targets: names("t"), skipped: 3 };
        let (training, held_out) = all.split(0.25, 1);
        assert_eq!((training.len(), held_out.len(), training.skipped, held_out.skipped), (30, 10, 3, 0));
        for part in [&training, &held_out] {
            assert!(part.sources.iter().zip(&part.targets).all(|(source, target)| source[1..] == target[1..]));
        }
        assert!(held_out.sources.iter().all(|source| !training.sources.contains(source)));
        assert_ne!(all.split(0.25, 2).1, held_out);
    }

    #[test]
    fn two_files_are_read_line_by_line() {
        let folder = Folder::new();
        let sources = folder.write("a.de.gz", gzip("eins \r\n\nzwei\ndrei".as_bytes()));
        let targets = folder.write("a.en", "one\n\ntwo\n \n");
        let pairs = Pairs::read_files(&sources, &targets).unwrap();
        assert_eq!(
            pairs,
            Pairs {
                sources: vec!["eins".into(), "zwei".into()],
                targets: vec!["one".into(), "two".into()],
                skipped: 2,
            }
        );
        let short = folder.write("b.en", "one\n");
        let error = Pairs::read_files(&sources, &short).unwrap_err().to_string();
        assert!(error.contains("b.en: 1 lines") && error.contains("a.de.gz has 4"), "{error}");
        let empty = folder.write("c.en", "\n\n");
        assert!(Pairs::read_files(&empty, &empty).unwrap_err().to_string().contains("no pair"));
    }

    #[test]
    fn folders_have_languages_as_extensions() {
        let folder = Folder::new();
        for (name, content) in [
            ("train.de", "eins\nzwei\n"),
            ("train.en", "one\ntwo\n"),
            ("val.en", "three\n"),
            ("val.de", "drei\n"),
            ("test_b.de", "fünf\n"),
            ("test_b.en", "five\n"),
            ("test_a.de", "vier\n"),
            ("test_a.en", "four\n"),
            ("test_0.en", "only in one language\n"),
        ] {
            folder.write(name, content);
        }
        let parts = PairParts::read(folder.path(), None).unwrap();
        assert_eq!(parts.training.sources, ["eins", "zwei"]);
        assert_eq!(parts.validation.unwrap().targets, ["three"]);
        assert_eq!(parts.test.unwrap().sources, ["vier"]);
        let parts = PairParts::read(folder.path(), Some(["en", "de"])).unwrap();
        assert_eq!(parts.training.sources, ["one", "two"]);
        let error = PairParts::read(folder.path(), Some(["en", "fr"])).unwrap_err().to_string();
        assert!(error.contains("train.en with train.fr"), "{error}");
        folder.write("train.fr", "un\ndeux\n");
        let error = PairParts::read(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("de, en, fr, not two"), "{error}");
        assert_eq!(PairParts::read(folder.path(), Some(["fr", "en"])).unwrap().training.sources, ["un", "deux"]);
    }

    #[test]
    fn folders_may_hold_tables() {
        let folder = Folder::new();
        assert!(PairParts::read(folder.path(), None).unwrap_err().to_string().contains("no file for training"));
        folder.write("train.tsv", "ja\tyes\n");
        folder.write("valid.jsonl", "{\"source\": \"nein\", \"target\": \"no\"}\n");
        let parts = PairParts::read(folder.path(), None).unwrap();
        assert_eq!(parts.training.sources, ["ja"]);
        assert_eq!(parts.validation.unwrap().targets, ["no"]);
        assert_eq!(parts.test, None);
    }

    #[test]
    fn real_captions_are_read_where_they_are() {
        let Some(folder) = std::env::var_os("WGRAD_MULTI30K").map(std::path::PathBuf::from) else {
            eprintln!("skipped: WGRAD_MULTI30K names no folder");
            return;
        };
        let parts = PairParts::read(&folder, None).unwrap();
        assert_eq!(parts.training.sources[0], "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.");
        assert_eq!(parts.training.targets[0], "Two young, White males are outside near many bushes.");
        let sizes = [Some(parts.training), parts.validation, parts.test].map(|part| part.unwrap().len());
        assert_eq!(sizes, [29_000, 1014, 1000]);
    }
}
