//! The roofline picture: how fast kernels are, below what the device can do at best (Williams et al. 2009).

use super::axis::Axis;
use super::canvas::{Canvas, Colour, FAINT_INK, Font, INK};
use super::chart::{
    Area, BELOW_FRAME, BLUE, GAP, GREEN, HEIGHT, MARGIN, ORANGE, WIDTH, draw_axes, draw_dot, draw_title,
};

/// What stands below the picture.
pub(super) const NOTE: &str = "Each dot is a kernel or a training step. The slope is the bandwidth of copies between \
    large buffers, the flat part the rate of multiply-adds, both measured in this run. What stays in caches may stand above \
    the slope.";

const PURPLE: Colour = [116, 66, 160];
/// Families of kernels, in order of the legend.
const FAMILIES: [(&str, Colour); 5] =
    [("matmul", BLUE), ("convolution", GREEN), ("attention", ORANGE), ("others", FAINT_INK), ("step", PURPLE)];

/// How fast kernels are on a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Roofline {
    /// What the device can do at best.
    pub(crate) flops_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) points: Vec<RooflinePoint>,
}

/// One kernel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RooflinePoint {
    /// `matmul`, `convolution`, `attention`, `step` or `others`.
    pub(crate) family: &'static str,
    pub(crate) flops_per_byte: f64,
    pub(crate) flops_per_second: f64,
}

pub(super) fn draw(title: &str, roofline: &Roofline) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let mut top = draw_title(&mut canvas, title);
    let mut left = MARGIN;
    let line = Font::Plain.height();
    for (family, colour) in FAMILIES {
        draw_dot(&mut canvas, [(left + 6) as f32, (top + line / 2) as f32], colour);
        canvas.text(left + 16, top, family, Font::Plain, INK);
        left += 16 + Font::Plain.width(family) + 3 * GAP;
    }
    top += line + GAP;
    // Kernels without operations, such as copies, have no place here.
    let drawn = || roofline.points.iter().filter(|point| point.flops_per_byte > 0.0 && point.flops_per_second > 0.0);
    let ridge = roofline.flops_per_second / roofline.bytes_per_second;
    let intensities = drawn().map(|point| point.flops_per_byte).chain([ridge / 100.0, ridge * 10.0]);
    let x = Axis::new(intensities.map(|value| value.max(1e-3)), 8);
    let rates = drawn().map(|point| point.flops_per_second / 1e9);
    let roof = roofline.flops_per_second / 1e9;
    let y = Axis::new(rates.chain([roof / 100.0, roof]), 7);
    let label_width = y.ticks.iter().map(|(_, label)| Font::Plain.width(label)).max();
    let area = Area {
        left: MARGIN + line + GAP + label_width.unwrap_or(0) + GAP,
        top: top + GAP,
        right: WIDTH - MARGIN - GAP,
        bottom: HEIGHT - MARGIN - 2 * line - BELOW_FRAME - GAP,
    };
    draw_axes(&mut canvas, &area, &x, &y, ["FLOP per byte (logarithmic)", "GFLOP/s (logarithmic)"]);
    let at = |intensity: f64, rate: f64| area.point(&x, &y, (intensity, rate / 1e9));
    // The slope from where it enters the picture.
    let (lowest, highest) = edges(&x, &y);
    let start = lowest.0.max(lowest.1 * 1e9 / roofline.bytes_per_second);
    let corner = at(ridge, roofline.flops_per_second);
    canvas.line(at(start, start * roofline.bytes_per_second), corner, 2.4, INK);
    canvas.line(corner, at(highest.0, roofline.flops_per_second), 2.4, INK);
    for point in drawn() {
        let colour =
            FAMILIES.iter().find(|(family, _)| *family == point.family).map_or(FAINT_INK, |(_, colour)| *colour);
        draw_dot(&mut canvas, at(point.flops_per_byte, point.flops_per_second), colour);
    }
    canvas
}

/// The lowest and the highest values of both axes.
fn edges(x: &Axis, y: &Axis) -> ((f64, f64), (f64, f64)) {
    let ((left, right), (bottom, top)) = (x.range(), y.range());
    ((left, bottom), (right, top))
}
