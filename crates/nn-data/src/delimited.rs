//! Lines of delimited text files, each with its number, for the readers of CSV and TSV tables.

use std::path::Path;

use crate::{DataError, text_file};

/// A record of a table.
pub(crate) struct Record {
    /// The line it begins at, from 1.
    pub(crate) line: u64,
    /// Its cells, trimmed of white space at both ends.
    pub(crate) cells: Vec<String>,
}

/// Reads a whole table of UTF-8 text; blank lines are left out.
///
/// `.tsv` files are tab-separated, `.csv` files comma-separated, others what their first line shows.
/// In comma-separated files a cell may be quoted, and then hold line ends. In tab-separated files a
/// quote is a character as any other, unless it encloses the whole cell: many such files hold text
/// with lone quotes, which would swallow the lines after them.
pub(crate) fn read(path: &Path, expected: &'static str) -> Result<Vec<Record>, DataError> {
    split(&text_file::read(path, expected)?, path)
}

/// The records of a text; `path` says how it may be separated.
pub(crate) fn split(text: &str, path: &Path) -> Result<Vec<Record>, DataError> {
    if has_tabs(path, text) { Ok(read_tabs(text)) } else { read_commas(text, path) }
}

fn has_tabs(path: &Path, text: &str) -> bool {
    match text_file::extension(path).as_deref() {
        Some("tsv") => true,
        Some("csv") => false,
        _ => text.lines().next().is_some_and(|line| line.contains('\t')),
    }
}

fn read_tabs(text: &str) -> Vec<Record> {
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| Record {
            line: number,
            cells: line.split('\t').map(|cell| unquote(cell.trim())).collect(),
        })
        .collect()
}

/// Takes the quotes off a cell that they enclose, if every quote inside is doubled.
fn unquote(cell: &str) -> String {
    cell.strip_prefix('"')
        .and_then(|cell| cell.strip_suffix('"'))
        .filter(|inside| !inside.replace("\"\"", "").contains('"'))
        .map_or_else(|| cell.to_owned(), |inside| inside.replace("\"\"", "\""))
}

fn read_commas(text: &str, path: &Path) -> Result<Vec<Record>, DataError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut records = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for record in reader.records() {
        let record = record.map_err(|error| DataError::Line {
            path: path.to_path_buf(),
            line,
            what: error.to_string(),
            remedy: "correct the file there".into(),
        })?;
        // Lines are counted here: the csv crate takes a record's position before it skips the blank
        // lines, and the second byte of a two-byte line end, that stand before it.
        let begin = record.position().map_or(counted, |position| position.byte() as usize);
        let rest = text.get(begin..).unwrap_or_default();
        let begin = begin + rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        line += text.get(counted..begin).unwrap_or_default().matches('\n').count() as u64;
        counted = begin;
        if record.iter().any(|cell| !cell.is_empty()) {
            records.push(Record { line, cells: record.iter().map(str::to_owned).collect() });
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commas(text: &str) -> Vec<(u64, Vec<String>)> {
        let records = read_commas(text, Path::new("x.csv")).unwrap();
        records.into_iter().map(|record| (record.line, record.cells)).collect()
    }

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn lines_are_counted_through_blank_lines_and_either_line_end() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "", "1, 2", "\"x", "y\",3", "  ", "4,5", "6,7"].join(end);
            assert_eq!(
                commas(&text),
                [
                    (1, cells(&["a", "b"])),
                    (3, cells(&["1", "2"])),
                    (4, cells(&[&format!("x{end}y"), "3"])),
                    (7, cells(&["4", "5"])),
                    (8, cells(&["6", "7"])),
                ]
            );
        }
    }

    #[test]
    fn quotes_in_tab_separated_text_are_kept_unless_they_enclose_a_cell() {
        let records = read_tabs("\"lone\t1\r\n\"he said \"\"no\"\"\"\t0\n\n\"a\" and \"b\"\t1\n");
        let found: Vec<_> = records.into_iter().map(|record| (record.line, record.cells)).collect();
        assert_eq!(
            found,
            [(1, cells(&["\"lone", "1"])), (2, cells(&["he said \"no\"", "0"])), (4, cells(&["\"a\" and \"b\"", "1"])),]
        );
    }

    #[test]
    fn the_name_or_else_the_first_line_says_what_separates() {
        assert!(has_tabs(Path::new("x.TSV"), "a,b"));
        assert!(has_tabs(Path::new("x.tsv.gz"), "a,b"));
        assert!(!has_tabs(Path::new("x.csv"), "a\tb"));
        assert!(has_tabs(Path::new("x.txt"), "a\tb\nc,d"));
        assert!(!has_tabs(Path::new("x"), "a,b\nc\td"));
    }
}
