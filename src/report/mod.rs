//! The report of a run: `report.html` and `plots/*.png` in the run's folder.

mod axis;
mod canvas;
mod chart;
mod confusion;
mod contact_sheet;
mod html;
mod roofline;

pub(crate) use roofline::{Roofline, RooflinePoint};

use std::fmt;
use std::path::Path;

/// What a report tells; the caller fills it in while and after training.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RunReport {
    /// The heading: what was trained on what.
    pub(crate) title: String,
    /// The run's configuration, all defaults filled in, as TOML.
    pub(crate) config_toml: String,
    /// The device that trained.
    pub(crate) device: String,
    /// (step, training loss), in order of the steps; NaN becomes a gap.
    pub(crate) steps: Vec<(u64, f32)>,
    /// (step, loss, accuracy from 0 to 1) of each evaluation, in order of the steps.
    pub(crate) evaluations: Vec<(u64, f32, Option<f32>)>,
    /// (name, (step, value in percent)) of what else was measured at evaluations.
    pub(crate) measures: Vec<(&'static str, Vec<(u64, f64)>)>,
    /// Class names, and how often class `row` was predicted as class `column`, on the evaluation data.
    pub(crate) confusion: Option<(Vec<String>, Vec<Vec<u32>>)>,
    /// The most confident mistakes: what was said, and of what text.
    pub(crate) mistakes: Vec<(String, String)>,
    /// How fast kernels are, of a report on that.
    pub(crate) roofline: Option<Roofline>,
    /// Sheets of pictures, in the order to be shown.
    pub(crate) sheets: Vec<Sheet>,
    /// (name, value) of what sums up the run, in the order to be shown.
    pub(crate) summary: Vec<(String, String)>,
}

/// Pictures to be shown together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sheet {
    /// The file's name in `plots/`, without `.png`.
    pub(crate) name: &'static str,
    /// What stands above.
    pub(crate) heading: String,
    /// What stands below.
    pub(crate) note: String,
    /// The pictures, in the order to be shown.
    pub(crate) tiles: Vec<Tile>,
}

/// One picture of a sheet, or several side by side, with what stands below.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tile {
    /// All of the same size.
    pub(crate) pictures: Vec<Picture>,
    /// One line each.
    pub(crate) captions: Vec<String>,
    /// Whether the model was right, where that is a question.
    pub(crate) right: Option<bool>,
}

/// A picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture {
    /// `[height, width]`, row by row.
    pub(crate) pixels: Vec<[u8; 3]>,
    /// Pixels in a row.
    pub(crate) width: usize,
    /// Rows of pixels.
    pub(crate) height: usize,
}

/// Why a report could not be written: what was wrong, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportError(String);

impl fmt::Display for ReportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ReportError {}

/// A picture of the report.
struct Plot {
    /// The file's name in `plots/`, without `.png`.
    name: &'static str,
    heading: String,
    /// What a screen reader says.
    description: String,
    /// What stands below; empty for nothing.
    note: String,
    png: Vec<u8>,
}

/// Writes `report.html` and `plots/*.png` into `dir`, over those of an earlier report.
///
/// The page embeds its pictures, so it can be sent on its own. Pictures: `roofline` alone if it is given, else `loss`, `accuracy` if an evaluation has
/// one, `texts` if there are other measures, `confusion` and the sheets if they are given.
///
/// # Errors
/// [`ReportError`] with the path that could not be written.
pub(crate) fn write(dir: &Path, report: &RunReport) -> Result<(), ReportError> {
    let plots = plots(report)?;
    let folder = dir.join("plots");
    std::fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
    for plot in &plots {
        write_file(&folder.join(format!("{}.png", plot.name)), &plot.png)?;
    }
    write_file(&dir.join("report.html"), html::page(report, &plots).as_bytes())
}

/// Writes a sheet of pictures as a PNG file.
///
/// # Errors
/// [`ReportError`] with the path if it cannot be written.
pub(crate) fn write_sheet(path: &Path, sheet: &Sheet) -> Result<(), ReportError> {
    let png = contact_sheet::draw(&sheet.tiles).png();
    let png = png.map_err(|error| ReportError(format!("internal: {} could not be made: {error}", path.display())))?;
    write_file(path, &png)
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    std::fs::write(path, content).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &dyn fmt::Display) -> ReportError {
    ReportError(format!("cannot write {}: {error}; check that the folder may be written and has room", path.display()))
}

/// Draws all pictures that `report` has data for.
fn plots(report: &RunReport) -> Result<Vec<Plot>, ReportError> {
    let mut plots = Vec::new();
    let mut add = |name, heading: &str, description, note: &str, canvas: canvas::Canvas| {
        let png = canvas
            .png()
            .map_err(|error| ReportError(format!("internal: the picture {name}.png could not be made: {error}")))?;
        plots.push(Plot { name, heading: heading.into(), description, note: note.into(), png });
        Ok(())
    };
    if let Some(roofline) = &report.roofline {
        let description = format!("{} kernels below what the device can do at best", roofline.points.len());
        add("roofline", "Roofline", description, roofline::NOTE, roofline::draw(&report.title, roofline))?;
        return Ok(plots);
    }
    add(
        "loss",
        "Loss",
        format!("Training loss of {} steps and loss of {} evaluations", report.steps.len(), report.evaluations.len()),
        "",
        chart::loss(&report.title, &report.steps, &report.evaluations),
    )?;
    if let Some(canvas) = chart::accuracy(&report.title, &report.evaluations) {
        let description = "Accuracy at each evaluation".into();
        add("accuracy", "Accuracy", description, "", canvas)?;
    }
    if let Some(canvas) = chart::measures(&report.title, &report.measures) {
        let names: Vec<&str> = report.measures.iter().map(|(name, _)| *name).collect();
        add("texts", "Texts", format!("At each evaluation: {}", names.join(", ")), "", canvas)?;
    }
    if let Some((names, counts)) = &report.confusion {
        add(
            "confusion",
            "Confusion matrix",
            format!("How often each of {} classes was predicted as each", names.len()),
            "",
            confusion::draw(names, counts),
        )?;
    }
    for sheet in report.sheets.iter().filter(|sheet| !sheet.tiles.is_empty()) {
        let description = format!("{}: {} pictures", sheet.heading, sheet.tiles.len());
        add(sheet.name, &sheet.heading, description, &sheet.note, contact_sheet::draw(&sheet.tiles))?;
    }
    Ok(plots)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
