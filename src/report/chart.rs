//! The line charts of a report: loss and accuracy over the steps.

use super::axis::Axis;
use super::canvas::{Canvas, Colour, FAINT_INK, Font, GRID, INK, WHITE};

pub(super) const WIDTH: i32 = 1000;
pub(super) const HEIGHT: i32 = 600;
/// Around the whole picture.
pub(super) const MARGIN: i32 = 20;
pub(super) const GAP: i32 = 8;
/// From the frame to the steps' labels: so far that the lowest label beside the frame ends above them.
pub(super) const BELOW_FRAME: i32 = 12;

const LIGHT_BLUE: Colour = [166, 199, 232];
pub(super) const BLUE: Colour = [24, 95, 165];
pub(super) const ORANGE: Colour = [208, 98, 20];
pub(super) const GREEN: Colour = [29, 128, 85];

/// Pixels across a line that is to be followed by eye.
const THICK_LINE: f32 = 2.4;
/// About how many ticks the vertical axis has.
const VERTICAL_TICKS: usize = 7;

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    ThinLine,
    Line,
    LineWithDots,
}

/// Points to be joined, in order; one that is not finite is a gap.
struct Series {
    name: &'static str,
    colour: Colour,
    mark: Mark,
    points: Vec<(f64, f64)>,
}

/// Training loss over the steps, smoothed as well where there are many, with the evaluations' loss.
pub(super) fn loss(title: &str, steps: &[(u64, f32)], evaluations: &[(u64, f32, Option<f32>)]) -> Canvas {
    let training: Vec<(f64, f64)> = steps.iter().map(|&(step, loss)| (step as f64, f64::from(loss))).collect();
    let evaluated: Vec<(f64, f64)> =
        evaluations.iter().map(|&(step, loss, _)| (step as f64, f64::from(loss))).collect();
    let values = training.iter().chain(&evaluated).map(|&(_, value)| value);
    let logarithmic = Axis::new(values, VERTICAL_TICKS).is_logarithmic();
    let mut notes = Vec::new();
    notes.extend(gaps_note("training", &training));
    let mut series = Vec::new();
    match smoothed(&training, logarithmic) {
        Some(points) => {
            series.push(Series {
                name: "training, each step",
                colour: LIGHT_BLUE,
                mark: Mark::ThinLine,
                points: training,
            });
            series.push(Series { name: "training, smoothed", colour: BLUE, mark: Mark::Line, points });
        }
        None if !training.is_empty() => {
            series.push(Series { name: "training", colour: BLUE, mark: Mark::LineWithDots, points: training })
        }
        None => {}
    }
    notes.extend(gaps_note("evaluation", &evaluated));
    if !evaluated.is_empty() {
        series.push(Series { name: "evaluation", colour: ORANGE, mark: Mark::LineWithDots, points: evaluated });
    }
    draw(&heading("Loss", title), "loss", &series, &notes)
}

/// Accuracy at each evaluation, or `None` if none has one.
pub(super) fn accuracy(title: &str, evaluations: &[(u64, f32, Option<f32>)]) -> Option<Canvas> {
    let points: Vec<(f64, f64)> = evaluations
        .iter()
        .filter_map(|&(step, _, accuracy)| Some((step as f64, 100.0 * f64::from(accuracy?))))
        .collect();
    if points.is_empty() {
        return None;
    }
    let notes: Vec<String> = gaps_note("accuracy", &points).into_iter().collect();
    let series = Series { name: "evaluation", colour: GREEN, mark: Mark::LineWithDots, points };
    Some(draw(&heading("Accuracy", title), "accuracy in %", &[series], &notes))
}

/// What else was measured at each evaluation, or `None` if nothing was. What was measured once only, at the end, is left
/// out where other lines have more points.
pub(super) fn measures(title: &str, measures: &[(&'static str, Vec<(u64, f64)>)]) -> Option<Canvas> {
    let most = measures.iter().map(|(_, points)| points.len()).max()?;
    let lines = measures.iter().filter(|(_, points)| points.len() > 1 || most == 1);
    let series: Vec<Series> = lines
        .zip([GREEN, BLUE, ORANGE, LIGHT_BLUE].into_iter().cycle())
        .map(|((name, points), colour)| {
            let points = points.iter().map(|&(step, value)| (step as f64, value)).collect();
            Series { name, colour, mark: Mark::LineWithDots, points }
        })
        .collect();
    Some(draw(&heading("Texts", title), "in %, BLEU from 0 to 100", &series, &[]))
}

fn heading(kind: &str, title: &str) -> String {
    if title.is_empty() { kind.to_owned() } else { format!("{kind} - {title}") }
}

/// A moving average over about a twentieth of the steps, or `None` if there are too few to smooth.
///
/// The average of a step reaches equally far to both sides, less far near the start, where losses fall fast; at the
/// end it reaches back only, since the last step alone would say little. For a `logarithmic` scale, where all values are
/// positive, their logarithms are averaged, so that the line runs through the middle of what is seen.
fn smoothed(points: &[(f64, f64)], logarithmic: bool) -> Option<Vec<(f64, f64)>> {
    if points.len() < 40 {
        return None;
    }
    let reach = points.len() / 40;
    let mut smooth = points.to_vec();
    let is_gap = |(_, value): &(f64, f64)| !value.is_finite();
    for run in smooth.split_mut(is_gap) {
        let scaled = |value: f64| if logarithmic { value.ln() } else { value };
        // sums[i] is the sum of the first i values, so that any range's sum is one difference.
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for (_, value) in run.iter() {
            sum += scaled(*value);
            sums.push(sum);
        }
        let last = run.len().saturating_sub(1);
        for (index, (_, value)) in run.iter_mut().enumerate() {
            let back = reach.min(index);
            let (from, to) = (index - back, index + back.min(last - index) + 1);
            let mean = (sums[to] - sums[from]) / (to - from) as f64;
            *value = if logarithmic { mean.exp() } else { mean };
        }
    }
    Some(smooth)
}

/// Says how many values of a series could not be drawn.
fn gaps_note(name: &str, points: &[(f64, f64)]) -> Option<String> {
    let mut gaps = points.iter().filter(|(_, value)| !value.is_finite());
    let (step, value) = gaps.next()?;
    Some(format!(
        "{name}: {} of {} values are not finite (gaps), first {value} at step {step}",
        1 + gaps.count(),
        points.len()
    ))
}

/// The chart's inner part, in pixels.
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    pub(super) fn point(&self, x: &Axis, y: &Axis, (step, value): (f64, f64)) -> [f32; 2] {
        [
            self.left as f32 + x.position(step) as f32 * (self.right - self.left) as f32,
            self.bottom as f32 - y.position(value) as f32 * (self.bottom - self.top) as f32,
        ]
    }
}

fn draw(title: &str, y_title: &str, series: &[Series], notes: &[String]) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let mut top = draw_title(&mut canvas, title);
    top = draw_legend(&mut canvas, top, series);
    for note in notes {
        let note = Font::Plain.fit(note, WIDTH - 2 * MARGIN);
        canvas.text(MARGIN, top, &note, Font::Plain, ORANGE);
        top += Font::Plain.height() + GAP;
    }

    let points = || series.iter().flat_map(|series| &series.points);
    let y = Axis::new(points().map(|&(_, value)| value), VERTICAL_TICKS);
    let label_width = y.ticks.iter().map(|(_, label)| Font::Plain.width(label)).max();
    let line = Font::Plain.height();
    let area = Area {
        left: MARGIN + line + GAP + label_width.unwrap_or(0) + GAP,
        top: top + GAP,
        right: WIDTH - MARGIN - GAP,
        bottom: HEIGHT - MARGIN - 2 * line - BELOW_FRAME - GAP,
    };
    let last_step = points().map(|&(step, _)| step).fold(0.0, f64::max);
    let tick_width = Font::Plain.width(&format!("{last_step:.0}")) + 4 * GAP;
    let ticks = ((area.right - area.left) / tick_width).clamp(1, 8) as usize;
    let x = Axis::steps(points().map(|&(step, _)| step), ticks);
    let y_title = if y.is_logarithmic() { format!("{y_title} (logarithmic)") } else { y_title.to_owned() };
    draw_axes(&mut canvas, &area, &x, &y, ["step", &y_title]);
    for series in series {
        draw_series(&mut canvas, &area, &x, &y, series);
    }
    if !points().any(|(_, value)| value.is_finite()) {
        let text = "no finite value to draw";
        let left = (area.left + area.right - Font::Title.width(text)) / 2;
        canvas.text(left, (area.top + area.bottom) / 2, text, Font::Title, FAINT_INK);
    }
    canvas
}

/// Writes the title in the largest font it fits in; returns where the next thing begins.
pub(super) fn draw_title(canvas: &mut Canvas, title: &str) -> i32 {
    let room = canvas.width() - 2 * MARGIN;
    let font = if Font::Title.width(title) <= room { Font::Title } else { Font::Plain };
    canvas.text(MARGIN, MARGIN - 4, &font.fit(title, room), font, INK);
    MARGIN + font.height() + GAP
}

/// Shows each series' mark and name in one row above the chart, where no line can cross it.
fn draw_legend(canvas: &mut Canvas, top: i32, series: &[Series]) -> i32 {
    const SAMPLE: i32 = 36;
    let middle = (top + Font::Plain.height() / 2) as f32;
    let mut left = MARGIN;
    for series in series {
        let (from, to) = (left as f32, (left + SAMPLE) as f32);
        canvas.line([from, middle], [to, middle], THICK_LINE, series.colour);
        if series.mark == Mark::LineWithDots {
            draw_dot(canvas, [(from + to) / 2.0, middle], series.colour);
        }
        left += SAMPLE + GAP;
        canvas.text(left, top, series.name, Font::Plain, INK);
        left += Font::Plain.width(series.name) + 4 * GAP;
    }
    top + Font::Plain.height() + GAP
}

pub(super) fn draw_axes(canvas: &mut Canvas, area: &Area, x: &Axis, y: &Axis, [x_title, y_title]: [&str; 2]) {
    let line = Font::Plain.height();
    let (width, height) = (area.right - area.left, area.bottom - area.top);
    for (value, label) in &y.ticks {
        let at = area.bottom - (y.position(*value) * f64::from(height)).round() as i32;
        canvas.rectangle(area.left, at, width, 1, GRID);
        let left = area.left - GAP - Font::Plain.width(label);
        canvas.text(left, at - line / 2, label, Font::Plain, FAINT_INK);
    }
    for (value, label) in &x.ticks {
        let at = area.left + (x.position(*value) * f64::from(width)).round() as i32;
        canvas.rectangle(at, area.top, 1, height, GRID);
        canvas.rectangle(at, area.bottom, 1, GAP / 2, FAINT_INK);
        let label_width = Font::Plain.width(label);
        // The last label may not leave the picture.
        let left = (at - label_width / 2).min(WIDTH - label_width - 2);
        canvas.text(left, area.bottom + BELOW_FRAME, label, Font::Plain, FAINT_INK);
    }
    canvas.rectangle(area.left, area.top, 1, height, FAINT_INK);
    canvas.rectangle(area.left, area.bottom, width, 1, FAINT_INK);
    let centre = (area.left + area.right - Font::Plain.width(x_title)) / 2;
    let below = area.bottom + BELOW_FRAME + line + GAP;
    canvas.text(centre, below, x_title, Font::Plain, INK);
    let middle = (area.top + area.bottom + Font::Plain.width(y_title)) / 2;
    canvas.text_upwards(MARGIN - GAP, middle, y_title, Font::Plain, INK);
}

fn thickness(mark: Mark) -> f32 {
    match mark {
        Mark::ThinLine => 1.2,
        Mark::Line | Mark::LineWithDots => THICK_LINE,
    }
}

pub(super) fn draw_dot(canvas: &mut Canvas, at: [f32; 2], colour: Colour) {
    canvas.dot(at, 5.5, WHITE);
    canvas.dot(at, 4.0, colour);
}

fn draw_series(canvas: &mut Canvas, area: &Area, x: &Axis, y: &Axis, series: &Series) {
    let points = thinned(&series.points, 2 * (area.right - area.left) as usize);
    for run in points.split(|(_, value)| !value.is_finite()) {
        let pixels: Vec<[f32; 2]> = run.iter().map(|&point| area.point(x, y, point)).collect();
        for pair in pixels.windows(2) {
            canvas.line(pair[0], pair[1], thickness(series.mark), series.colour);
        }
        match pixels.as_slice() {
            // A value between two gaps, or the only one, has no line to be seen by.
            [alone] => draw_dot(canvas, *alone, series.colour),
            several if series.mark == Mark::LineWithDots && several.len() <= 60 => {
                for &at in several {
                    draw_dot(canvas, at, series.colour);
                }
            }
            _ => {}
        }
    }
}

/// Where there are far more points than pixels, keeps of each of `groups` groups of neighbours the
/// least, the greatest and, as a gap, one that is not finite: the picture stays the same.
fn thinned(points: &[(f64, f64)], groups: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(groups.max(1));
    if size <= 3 {
        return points.to_vec();
    }
    let mut kept = Vec::new();
    for group in points.chunks(size) {
        let finite = || group.iter().enumerate().filter(|(_, point)| point.1.is_finite());
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        let mut indices: Vec<usize> = [finite().min_by(by_value), finite().max_by(by_value)]
            .into_iter()
            .flatten()
            .map(|(index, _)| index)
            .chain(group.iter().position(|point| !point.1.is_finite()))
            .collect();
        indices.sort_unstable();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| group[index]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_does_not_cross_a_gap() {
        assert!(smoothed(&[(1.0, 2.0); 39], false).is_none());
        let mut points: Vec<(f64, f64)> = (0..100).map(|step| (f64::from(step), 2.0)).collect();
        points[50].1 = f64::NAN;
        points[51..].iter_mut().for_each(|point| point.1 = 7.0);
        let smooth = smoothed(&points, false).unwrap();
        assert!(smooth[50].1.is_nan());
        for (index, (_, value)) in smooth.iter().enumerate().filter(|(index, _)| *index != 50) {
            let expected = if index < 50 { 2.0 } else { 7.0 };
            assert!((value - expected).abs() < 1e-12, "{index}: {value}");
        }
    }

    #[test]
    fn smoothing_evens_out_noise() {
        let noisy = |step: i32| 1.0 + if step % 2 == 0 { 0.5 } else { -0.5 };
        let points: Vec<(f64, f64)> = (0..1000).map(|s| (f64::from(s), noisy(s))).collect();
        let smooth = smoothed(&points, false).unwrap();
        assert!(smooth[30..970].iter().all(|(_, value)| (value - 1.0).abs() < 0.02));
    }

    #[test]
    fn smoothing_follows_a_straight_fall_on_either_scale() {
        for logarithmic in [false, true] {
            let value = |step: f64| {
                if logarithmic { (-step).exp() } else { 5.0 - step }
            };
            let points: Vec<(f64, f64)> = (0..200).map(|s| f64::from(s) / 10.0).map(|s| (s, value(s))).collect();
            // Near the end it reaches back further than ahead.
            for (smooth, point) in smoothed(&points, logarithmic).unwrap().iter().zip(&points).take(195) {
                assert!((smooth.1 - point.1).abs() < 1e-9 * point.1.abs().max(1e-9), "{smooth:?} {point:?}");
            }
        }
    }

    #[test]
    fn the_last_step_alone_does_not_bend_the_smooth_line() {
        let mut points: Vec<(f64, f64)> = (0..400).map(|step| (f64::from(step), 1.0)).collect();
        points[399].1 = 12.0;
        let smooth = smoothed(&points, false).unwrap();
        assert!((smooth[399].1 - 2.0).abs() < 1e-9, "one of eleven steps is 12: {}", smooth[399].1);
    }

    #[test]
    fn thinning_keeps_extremes_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|step| (f64::from(step), 1.0)).collect();
        points[1234].1 = 9.0;
        points[5678].1 = -9.0;
        points[7777].1 = f64::NAN;
        let kept = thinned(&points, 100);
        assert!(kept.len() <= 300);
        assert!(kept.contains(&(1234.0, 9.0)) && kept.contains(&(5678.0, -9.0)));
        assert!(kept.iter().any(|(step, value)| *step == 7777.0 && value.is_nan()));
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thinned(&points[..50], 100), points[..50]);
    }

    #[test]
    fn gaps_are_said() {
        let nan = f64::NAN;
        assert_eq!(gaps_note("training", &[(1.0, 2.0)]), None);
        let note = gaps_note("training", &[(1.0, 2.0), (2.0, nan), (3.0, nan)]).unwrap();
        assert!(note.contains("2 of 3") && note.contains("NaN at step 2"), "{note}");
    }

    #[test]
    fn a_series_reaches_the_places_its_values_say() {
        // A falling loss from step 0 to 100: dark blue top left and bottom right, not the other corners.
        let steps: Vec<(u64, f32)> = (0..=100).map(|step| (step, 100.0 - step as f32)).collect();
        let canvas = loss("", &steps, &[]);
        let blue = |x: std::ops::Range<i32>, y: std::ops::Range<i32>| {
            x.flat_map(|x| y.clone().map(move |y| (x, y)))
                .any(|(x, y)| canvas.pixel(x, y) == LIGHT_BLUE || canvas.pixel(x, y) == BLUE)
        };
        assert!(blue(100..300, 100..250) && blue(700..970, 350..530));
        assert!(!blue(100..300, 350..530) && !blue(700..970, 100..250));
    }
}
