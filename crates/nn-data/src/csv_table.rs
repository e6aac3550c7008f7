//! The data set kind `csv`: a user's table of numbers with a header line and a target column.

use std::path::Path;

use crate::delimited::{self, Record};
use crate::{DataError, Dataset, Inputs, Targets};

const EXPECTED: &str = "a table of numbers with a header line (CSV)";
/// A table may always have this many classes, and as many as it has rows; beyond that, whole numbers
/// are taken for values by mistake.
const CLASSES: usize = 1000;

/// Reads a table of numbers; `target` names the target's column, by default the last one.
///
/// Inputs: `[rows, columns − 1]`, in the file's order. If every target is a whole number the targets
/// are classes 0 to the largest; otherwise (one decimal point is enough) they are values of width 1.
/// A file named `.tsv`, or whose first line has a tab, is tab-separated.
///
/// # Errors
/// [`DataError`] with file, line and column for a row that is too short or too long, for a cell that
/// is no finite number, and for a negative class; with the file for a missing file, header, target
/// column or row.
pub fn read_csv(path: &Path, target: Option<&str>) -> Result<Dataset, DataError> {
    let records = delimited::read(path, EXPECTED)?;
    let Some((header, records)) = records.split_first() else {
        return Err(DataError::file(path, "the file is empty", format!("give {EXPECTED}")));
    };
    let target = target_column(path, &header.cells, target)?;
    if records.is_empty() {
        return Err(DataError::file(path, "there is no line after the header", "give at least one row of numbers"));
    }

    let table = Table { path, header: &header.cells };
    let mut inputs = Vec::with_capacity(records.len() * (header.cells.len() - 1));
    let mut values = Vec::with_capacity(records.len());
    for record in records {
        table.check_length(record)?;
        for column in 0..header.cells.len() {
            let value = table.number(record, column)?;
            if column == target {
                values.push(value);
            } else {
                inputs.push(value);
            }
        }
    }
    let targets = match table.classes(records, target)? {
        Some(targets) => targets,
        None => Targets::Values { values, width: 1 },
    };
    let dataset = Dataset {
        name: path.display().to_string(),
        inputs: Inputs::F32(inputs),
        sample_shape: vec![header.cells.len() - 1],
        targets,
        augmentation: None,
    };
    dataset.validate()?;
    Ok(dataset)
}

/// Finds the target's column, and that the header is one.
fn target_column(path: &Path, header: &[String], target: Option<&str>) -> Result<usize, DataError> {
    if header.len() < 2 {
        return Err(DataError::file(
            path,
            format!("the header {header:?} has one column"),
            "give at least one input column and a target column, separated by commas",
        ));
    }
    if header.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err(DataError::file(
            path,
            "the first line has only numbers, but it must be a header",
            "put a line with the columns' names first",
        ));
    }
    let Some(target) = target else {
        return Ok(header.len() - 1);
    };
    header.iter().position(|name| name == target).ok_or_else(|| {
        DataError::file(
            path,
            format!("there is no column {target:?} for the target"),
            format!("name one of {}", header.join(", ")),
        )
    })
}

/// What messages about a table's cells need.
struct Table<'a> {
    path: &'a Path,
    header: &'a [String],
}

impl Table<'_> {
    fn cell_error(&self, record: &Record, column: usize, what: String, remedy: &str) -> DataError {
        DataError::Cell {
            path: self.path.to_path_buf(),
            line: record.line,
            column: self.header.get(column).cloned().unwrap_or_default(),
            what,
            remedy: remedy.into(),
        }
    }

    fn check_length(&self, record: &Record) -> Result<(), DataError> {
        let (found, wanted) = (record.cells.len(), self.header.len());
        match found.cmp(&wanted) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(self.cell_error(
                record,
                found,
                format!("the line ends before this column: it has {found} cells, the header {wanted}"),
                "complete or remove the line",
            )),
            std::cmp::Ordering::Greater => Err(self.cell_error(
                record,
                wanted - 1,
                format!("there is more after this last column: the line has {found} cells, the header {wanted}"),
                "correct the line or the header",
            )),
        }
    }

    fn number(&self, record: &Record, column: usize) -> Result<f32, DataError> {
        let cell = &record.cells[column];
        let remedy = "replace it by a finite number, or remove the row";
        match cell.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(value) => {
                let what = format!("{cell:?} reads as {value}");
                Err(self.cell_error(record, column, what, remedy))
            }
            Err(_) => {
                let what = format!("{cell:?} is not a number");
                Err(self.cell_error(record, column, what, remedy))
            }
        }
    }

    /// The targets as classes, or `None` if one of them is not written as a whole number.
    fn classes(&self, records: &[Record], target: usize) -> Result<Option<Targets>, DataError> {
        let whole: Option<Vec<i64>> = records.iter().map(|record| record.cells[target].parse().ok()).collect();
        let Some(whole) = whole else {
            return Ok(None);
        };
        let limit = CLASSES.max(records.len());
        let labels = records.iter().zip(&whole).map(|(record, &class)| {
            u32::try_from(class).ok().filter(|&class| (class as usize) < limit).ok_or_else(|| {
                self.cell_error(
                    record,
                    target,
                    format!("{class} as a class is outside 0 to {}", limit - 1),
                    "number the classes from 0; if the target is a value to predict, write it with a decimal point",
                )
            })
        });
        let labels = labels.collect::<Result<Vec<u32>, _>>()?;
        let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
        Ok(Some(Targets::Classes { labels, names: (0..classes).map(|class| class.to_string()).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::Folder;

    fn read(text: &str, target: Option<&str>) -> Result<Dataset, String> {
        let folder = Folder::new();
        let path = folder.write("table.csv", text);
        read_csv(&path, target).map_err(|error| error.to_string())
    }

    fn message(text: &str, target: Option<&str>) -> String {
        let message = read(text, target).unwrap_err();
        assert!(message.contains("table.csv"), "{message}");
        message
    }

    #[test]
    fn whole_numbers_in_the_last_column_are_classes() {
        let data = read("a,b,kind\n1,2,0\n-3.5,4e-1,2\n", None).unwrap();
        assert_eq!(data.sample_shape, [2]);
        assert_eq!(data.inputs, Inputs::F32(vec![1.0, 2.0, -3.5, 0.4]));
        assert_eq!(
            data.targets,
            Targets::Classes { labels: vec![0, 2], names: vec!["0".into(), "1".into(), "2".into()] }
        );
    }

    #[test]
    fn a_named_target_column_with_a_decimal_point_holds_values() {
        let data = read("a, b ,c\r\n1,2,3\r\n4,5.5,6\r\n", Some("b")).unwrap();
        assert_eq!(data.inputs, Inputs::F32(vec![1.0, 3.0, 4.0, 6.0]));
        assert_eq!(data.targets, Targets::Values { values: vec![2.0, 5.5], width: 1 });
    }

    #[test]
    fn a_bad_cell_is_named_by_file_line_and_column() {
        for (cell, word) in [("x", "not a number"), ("", "not a number"), ("NaN", "NaN"), ("1e99", "inf")] {
            let text = format!("a,b,c\n1,2,3\n\n4,{cell},6\n");
            let message = message(&text, None);
            assert!(message.contains("line 4, column \"b\""), "{message}");
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_ragged_row_is_named() {
        let short = message("a,b,c\n1,2,3\n4,5\n", None);
        assert!(short.contains("line 3, column \"c\"") && short.contains("2 cells"), "{short}");
        let long = message("a,b,c\n1,2,3\n4,5,6,7\n", None);
        assert!(long.contains("line 3, column \"c\"") && long.contains("4 cells"), "{long}");
    }

    #[test]
    fn classes_that_cannot_be_are_refused() {
        let negative = message("a,b\n1,0\n2,-1\n", None);
        assert!(negative.contains("line 3, column \"b\"") && negative.contains("-1"), "{negative}");
        let prices = message("a,price\n1,250000\n2,310000\n", None);
        assert!(prices.contains("line 2") && prices.contains("decimal point"), "{prices}");
    }

    #[test]
    fn tables_without_header_target_or_rows_are_refused() {
        assert!(message("", None).contains("empty"));
        assert!(message("a,b\n", None).contains("no line after the header"));
        assert!(message("1,2\n3,4\n", None).contains("header"));
        assert!(message("a\n3\n", None).contains("one column"));
        let missing = message("a,b\n1,2\n", Some("c"));
        assert!(missing.contains("\"c\"") && missing.contains("a, b"), "{missing}");
        let error = read_csv(Path::new("no/such.csv"), None).unwrap_err().to_string();
        assert!(error.contains("no/such.csv") && error.contains("header line"), "{error}");
    }
}
