//! An explanation as a table for a terminal of 120 columns.

use super::{ExplainedLaunch, ExplainedOperand, Explanation};
use crate::tensor::{DType, TensorType};
use gpu_runtime::Memory;
use std::fmt;

/// Columns of the terminal.
const WIDTH: usize = 120;

/// How far what a launch reads and writes is set in.
const INDENT: usize = 6;

/// A count with its unit in three digits, as in `1.23 kB`, `45.6 MFLOP` or `7 B`.
pub fn amount(count: u64, unit: &str) -> String {
    if count < 1000 {
        return format!("{count} {unit}");
    }
    let mut value = count as f64;
    let mut prefixes = ["k", "M", "G", "T", "P", "E"].into_iter();
    let mut prefix = "";
    // Three digits are shown: what would be rounded up to 1000 takes the next prefix.
    while value >= 999.5
        && let Some(next) = prefixes.next()
    {
        (value, prefix) = (value / 1000.0, next);
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {prefix}{unit}")
}

/// `1 tensor`, `2 tensors`, `2 launches`.
fn counted(count: usize, thing: &str) -> String {
    let plural = if thing.ends_with("ch") { "es" } else { "s" };
    format!("{count} {thing}{}", if count == 1 { "" } else { plural })
}

/// Tensors are `f32` unless something else is said.
fn kind_text(kind: &TensorType) -> String {
    if kind.dtype == DType::F32 { kind.shape.to_string() } else { kind.to_string() }
}

/// A table: columns as wide as their widest cell, two spaces apart; those in `right` flush right.
fn table(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |text: &str| text.chars().count();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let cell = |(column, text): (usize, &String)| {
        let space = " ".repeat(widths[column] - length(text));
        if right.contains(&column) { space + text } else { format!("{text}{space}") }
    };
    let line = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| line(row).trim_end().to_string()).collect()
}

/// Writes pieces one after the other, in as few lines as hold them, the later ones set in further.
fn wrapped(formatter: &mut fmt::Formatter<'_>, pieces: &[String]) -> fmt::Result {
    let mut line = " ".repeat(INDENT - 1);
    for piece in pieces {
        let longer = line.chars().count() + 1 + piece.chars().count();
        if longer > WIDTH && !line.trim().is_empty() {
            writeln!(formatter, "{line}")?;
            line = " ".repeat(INDENT + 1);
        }
        line = line + " " + piece;
    }
    writeln!(formatter, "{line}")
}

impl ExplainedOperand {
    fn text(&self) -> String {
        if self.in_place {
            return format!("{} in place", self.name);
        }
        let mut text = format!("{} {}", self.name, kind_text(&self.kind));
        if let Some(strides) = &self.strides {
            text += &format!(" by {strides:?}");
        }
        if self.offset > 0 {
            text += &format!(" from {}", self.offset);
        }
        text
    }
}

impl ExplainedLaunch {
    fn cells(&self, number: usize) -> Vec<String> {
        let grid = |[x, y, z]: &[u32; 3]| match (y, z) {
            (1, 1) => x.to_string(),
            (_, 1) => format!("{x}x{y}"),
            _ => format!("{x}x{y}x{z}"),
        };
        let groups: Vec<String> = self.groups.iter().map(grid).collect();
        let mut kernels = self.kernels.clone();
        kernels.dedup();
        let numbers = [groups.join(" + "), amount(self.traffic, "B"), amount(self.flops, "FLOP")];
        [number.to_string(), self.label.clone(), kernels.join(" + ")].into_iter().chain(numbers).collect()
    }

    /// What it computes, reads and writes, in pieces between which a line may end.
    fn pieces(&self) -> Vec<String> {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for operator in &self.operators {
            match counts.iter_mut().find(|(known, _)| known == operator) {
                Some((_, count)) => *count += 1,
                None => counts.push((operator, 1)),
            }
        }
        let several = |(name, count): &(&str, usize)| match count {
            1 => name.to_string(),
            _ => format!("{name} ×{count}"),
        };
        let end = |mut texts: Vec<String>, between: &str, last: &str| {
            let count = texts.len();
            texts.iter_mut().enumerate().for_each(|(at, text)| *text += if at + 1 < count { between } else { last });
            texts
        };
        let mut pieces = end(counts.iter().map(several).collect(), ",", ":");
        pieces.extend(end(self.inputs.iter().map(ExplainedOperand::text).collect(), ";", ""));
        let mut outputs = end(self.outputs.iter().map(ExplainedOperand::text).collect(), ";", "");
        if let Some(first) = outputs.first_mut() {
            *first = format!("→ {first}");
        }
        pieces.extend(outputs);
        pieces
    }
}

impl Explanation {
    fn write_launches(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["#", "launch", "kernel", "groups", "traffic", "work"];
        let mut rows = vec![titles.map(String::from).to_vec()];
        rows.extend(self.launches.iter().enumerate().map(|(number, launch)| launch.cells(number)));
        if self.dispatches() == 0 {
            rows.iter_mut().for_each(|row| _ = row.remove(3));
        }
        // At least three columns for the number, so that the lines below stand under the label.
        rows[0][0] = format!("{:>4}", rows[0][0]);
        let last = rows[0].len() - 1;
        let lines = table(&rows, &[0, last - 1, last]);
        for (number, line) in lines.iter().enumerate() {
            writeln!(formatter, "{line}")?;
            if let Some(launch) = number.checked_sub(1).map(|number| &self.launches[number]) {
                wrapped(formatter, &launch.pieces())?;
            }
        }
        writeln!(
            formatter,
            "[sizes]: f32 unless said; by […]: strides of a view, 0 repeats; in place: written over what was read\n\
             traffic: bytes read and written at least; work: floating-point operations; groups: workgroups of a dispatch"
        )
    }

    fn write_tensors(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.slots.is_empty() {
            let mut rows = vec![["  slot", "size", "values", "largest value"].map(String::from).to_vec()];
            for (number, slot) in self.slots.iter().enumerate() {
                let label = &self.launches[slot.launch].label;
                let largest = format!("{} by {label} (launch {})", kind_text(&slot.largest), slot.launch);
                rows.push(vec![number.to_string(), amount(slot.bytes as u64, "B"), slot.values.to_string(), largest]);
            }
            write_lines(formatter, &table(&rows, &[0, 1, 2]))?;
        }
        let groups = [("states", &self.states), ("inputs", &self.inputs), ("constants", &self.constants)];
        for (title, tensors) in groups.into_iter().filter(|(_, tensors)| !tensors.is_empty()) {
            let mut rows = vec![vec![format!("  {title}"), "size".into(), "type".into()]];
            for (name, kind) in tensors {
                rows.push(vec![format!("  {name}"), amount(kind.bytes() as u64, "B"), kind.to_string()]);
            }
            write_lines(formatter, &table(&rows, &[1]))?;
        }
        if !self.outputs.is_empty() {
            let mut rows = vec![["  outputs", "place", "type"].map(String::from).to_vec()];
            for (name, operand) in &self.outputs {
                rows.push(vec![format!("  {name}"), operand.name.clone(), operand.kind.to_string()]);
            }
            write_lines(formatter, &table(&rows, &[]))?;
        }
        Ok(())
    }

    fn write_memory(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { states, inputs, constants, slots, parameters, step_block, staging } = self.memory;
        let usage = &self.usage;
        let needed = format!(
            "at once, by launch {}; waste {:.1} %; as whole buffers they take {} at least",
            usage.launch,
            100.0 * usage.waste(),
            amount(usage.least_bytes as u64, "B")
        );
        let peak = self.memory.peak();
        let rows = [
            ("states", states, counted(self.states.len(), "tensor") + ", shared with other programs of a session"),
            ("inputs", inputs, counted(self.inputs.len(), "tensor")),
            ("constants", constants, counted(self.constants.len(), "tensor")),
            ("slots", slots, counted(self.slots.len(), "slot")),
            ("  of them needed", usage.needed_bytes as u64, needed),
            ("parameter blocks", parameters, counted(self.dispatches(), "dispatch")),
            ("step block", step_block, "the numbers of a step".into()),
            ("peak", peak, format!("{peak} bytes from the first step to the last")),
            ("staging ring", staging, "host memory, not in the peak: small outputs on their way back".into()),
        ];
        let rows = rows.into_iter().filter(|(name, bytes, _)| *bytes > 0 || *name == "peak");
        let rows = rows.map(|(name, bytes, note)| vec![format!("  {name}"), amount(bytes, "B"), note]);
        let title = vec!["  memory".to_string(), "size".to_string()];
        write_lines(formatter, &table(&std::iter::once(title).chain(rows).collect::<Vec<_>>(), &[1]))
    }

    /// The sums in one line.
    pub fn totals(&self) -> String {
        let mut text = counted(self.launches.len(), "launch");
        if ![0, self.launches.len()].contains(&self.dispatches()) {
            text += &format!(" in {}", counted(self.dispatches(), "dispatch"));
        }
        if self.kernels > 0 {
            text += &format!(", {}", counted(self.kernels, "kernel"));
        }
        format!(
            "{text}, {}, {} of traffic, {:.2} FLOP per byte, peak {}",
            amount(self.flops(), "FLOP"),
            amount(self.traffic(), "B"),
            self.intensity(),
            amount(self.memory.peak(), "B")
        )
    }
}

fn write_lines(formatter: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    writeln!(formatter)?;
    lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_launches(formatter)?;
        self.write_tensors(formatter)?;
        self.write_memory(formatter)?;
        writeln!(formatter, "\ntotal: {}", self.totals())
    }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_have_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_234_567, "1.23 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(amount(count, "B"), text);
        }
    }
}
