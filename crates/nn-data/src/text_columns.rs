//! Two columns of a text file (CSV, TSV or JSON lines), found by their names: text and label, source and target.

use std::path::Path;

use serde_json::{Map, Value};

use crate::delimited::{self, Record};
use crate::{DataError, text_file};

/// A column to be found.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    /// What messages call what stands in it.
    pub(crate) what: &'a str,
    /// The names by which it is known, in whatever case.
    pub(crate) names: &'a [&'a str],
}

/// Which two columns are wanted.
pub(crate) struct TwoColumns<'a> {
    pub(crate) columns: [Column<'a>; 2],
    /// What the file should hold.
    pub(crate) expected: &'static str,
    /// Whether a first line without known names may be a header because its second cell occurs nowhere else.
    pub(crate) guess_header: bool,
}

/// What stands in the two columns of a line; neither is blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line it begins at, from 1.
    pub(crate) line: u64,
    pub(crate) cells: [String; 2],
}

/// Reads the two columns of every line that is not blank.
///
/// Where one column's name is missing it is the first other column; where both are, the first two serve. Files named
/// `.jsonl`, `.ndjson` or `.json`, and others whose first character is a brace, hold a JSON object a line.
pub(crate) fn read(path: &Path, wanted: &TwoColumns) -> Result<Vec<Row>, DataError> {
    let text = text_file::read(path, wanted.expected)?;
    let json = match text_file::extension(path).as_deref() {
        Some("jsonl" | "ndjson" | "json") => true,
        Some("csv" | "tsv") => false,
        _ => text.trim_start().starts_with('{'),
    };
    let rows = if json { read_json(&text, path, wanted)? } else { read_table(&text, path, wanted)? };
    if rows.is_empty() {
        let [first, second] = wanted.columns.map(|column| column.what);
        let what = if text.trim().is_empty() { "the file is empty" } else { "there is no line after the header" };
        return Err(DataError::file(path, what, format!("give at least one {first} with its {second}")));
    }
    Ok(rows)
}

fn read_table(text: &str, path: &Path, wanted: &TwoColumns) -> Result<Vec<Row>, DataError> {
    let records = delimited::split(text, path)?;
    let Some(first) = records.first() else { return Ok(Vec::new()) };
    let found = find_columns(path, &records, wanted)?;
    let cell = |record: &Record, which: usize| {
        let index = found.indices[which];
        let cell = record.cells.get(index).filter(|cell| !cell.is_empty());
        cell.cloned().ok_or_else(|| DataError::Cell {
            path: path.to_path_buf(),
            line: record.line,
            column: match first.cells.get(index) {
                Some(name) if found.has_header => name.clone(),
                _ => format!("{}", index + 1),
            },
            what: format!("there is no {}", wanted.columns[which].what),
            remedy: "complete or remove the line".into(),
        })
    };
    let records = &records[usize::from(found.has_header)..];
    records.iter().map(|record| Ok(Row { line: record.line, cells: [cell(record, 0)?, cell(record, 1)?] })).collect()
}

/// Where the two columns stand.
struct Found {
    indices: [usize; 2],
    has_header: bool,
}

fn find_columns(path: &Path, records: &[Record], wanted: &TwoColumns) -> Result<Found, DataError> {
    let first = &records[0];
    if first.cells.len() < 2 {
        let [one, other] = wanted.columns.map(|column| column.what);
        return Err(DataError::Line {
            path: path.to_path_buf(),
            line: first.line,
            what: "there is one column".into(),
            remedy: format!("separate {one} and {other} by a comma (CSV) or a tab (TSV)"),
        });
    }
    let named = wanted.columns.map(|column| first.cells.iter().position(|cell| is_named(cell, column)));
    let indices = choose(named);
    let unlike_all_others = || {
        let second_of = |record: &Record| record.cells.get(indices[1]).cloned();
        records.len() > 2 && records[1..].iter().all(|record| second_of(record) != second_of(first))
    };
    let has_header = named.iter().any(Option::is_some) || (wanted.guess_header && unlike_all_others());
    Ok(Found { indices, has_header })
}

fn is_named(name: &str, column: Column) -> bool {
    column.names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Two places of which some are known: a missing one is the first that the other is not.
fn choose(named: [Option<usize>; 2]) -> [usize; 2] {
    let other = |taken: usize| usize::from(taken == 0);
    match named {
        [Some(first), Some(second)] => [first, second],
        [Some(first), None] => [first, other(first)],
        [None, Some(second)] => [other(second), second],
        [None, None] => [0, 1],
    }
}

fn read_json(text: &str, path: &Path, wanted: &TwoColumns) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    for (content, line) in text.lines().zip(1..).filter(|(content, _)| !content.trim().is_empty()) {
        let wrong = |what: String| DataError::Line {
            path: path.to_path_buf(),
            line,
            what,
            remedy: "give one JSON object with both fields on each line (JSON lines)".into(),
        };
        let object: Map<String, Value> =
            serde_json::from_str(content).map_err(|error| wrong(format!("no JSON object: {error}")))?;
        // Hugging Face keeps the two languages of a translation in an object of their own.
        let object = match object.get("translation") {
            Some(Value::Object(inner)) => inner,
            _ => &object,
        };
        let named = wanted.columns.map(|column| object.keys().position(|key| is_named(key, column)));
        let indices = choose(named);
        let cell = |which: usize| {
            let column = wanted.columns[which];
            let Some((key, value)) = object.iter().nth(indices[which]) else {
                return Err(wrong(format!("there is no {} (no field {})", column.what, column.names.join(" or "))));
            };
            let text = match value {
                Value::String(text) => text.clone(),
                // Labels are often numbers or truth values.
                Value::Number(_) | Value::Bool(_) if which == 1 => value.to_string(),
                _ => return Err(wrong(format!("field {key:?} is no {}", column.what))),
            };
            match text.trim() {
                "" => Err(wrong(format!("there is no {} (field {key:?} is blank)", column.what))),
                text => Ok(text.to_owned()),
            }
        };
        rows.push(Row { line, cells: [cell(0)?, cell(1)?] });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    const WANTED: TwoColumns = TwoColumns {
        columns: [Column { what: "text", names: &["text", "sentence"] }, Column { what: "label", names: &["label"] }],
        expected: "texts with labels",
        guess_header: true,
    };

    fn read_as(name: &str, content: &str) -> Result<Vec<(u64, String, String)>, String> {
        let folder = Folder::new();
        let rows = read(&folder.write(name, content), &WANTED).map_err(|error| error.to_string())?;
        Ok(rows.into_iter().map(|Row { line, cells: [first, second] }| (line, first, second)).collect())
    }

    fn row(line: u64, first: &str, second: &str) -> (u64, String, String) {
        (line, first.to_owned(), second.to_owned())
    }

    #[test]
    fn json_lines_are_read_by_names_or_else_the_first_two_fields() {
        let content =
            "{\"id\": 7, \"label\": 1, \"Sentence\": \" a \\u00df\"}\n\n{\"text\": \"b\", \"label\": \"no\"}\r\n";
        assert_eq!(read_as("x.jsonl", content).unwrap(), [row(1, "a ß", "1"), row(3, "b", "no")]);
        assert_eq!(read_as("x", content).unwrap().len(), 2, "a brace tells what it is");
        assert_eq!(read_as("x.ndjson", "{\"b\": \"x\", \"a\": true}").unwrap(), [row(1, "x", "true")]);
        assert_eq!(read_as("x.json", "{\"label\": 2.5, \"b\": \"x\"}").unwrap(), [row(1, "x", "2.5")]);
    }

    #[test]
    fn translations_may_stand_in_an_object_of_their_own() {
        let content = r#"{"id": 1, "translation": {"de": "ja", "en": "yes"}}"#;
        assert_eq!(read_as("x.jsonl", content).unwrap(), [row(1, "ja", "yes")]);
    }

    #[test]
    fn faulty_json_lines_are_told_by_their_number() {
        for (content, told) in [
            ("{\"text\": \"a\", \"label\": 1}\n{\"text\"", "line 2: no JSON object"),
            ("[1, 2]", "line 1: no JSON object"),
            ("{\"text\": \"a\"}", "line 1: there is no label (no field label)"),
            ("\n{\"label\": 1}", "line 2: there is no text (no field text or sentence)"),
            ("{\"text\": 3, \"label\": 1}", "field \"text\" is no text"),
            ("{\"text\": \"a\", \"label\": null}", "field \"label\" is no label"),
            ("{\"text\": \" \", \"label\": 1}", "there is no text (field \"text\" is blank)"),
            ("  \n", "the file is empty"),
        ] {
            let error = read_as("x.jsonl", content).unwrap_err();
            assert!(error.contains(told), "{error}, not {told}");
        }
    }

    #[test]
    fn a_header_is_guessed_only_where_that_is_asked_for() {
        let folder = Folder::new();
        let path = folder.write("x.tsv", "a\tb\nc\td\ne\tf\n");
        assert_eq!(read(&path, &WANTED).unwrap().len(), 2);
        assert_eq!(read(&path, &TwoColumns { guess_header: false, ..WANTED }).unwrap().len(), 3);
    }
}
