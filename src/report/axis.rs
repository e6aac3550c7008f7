//! The scale of a chart's axis: its range, where its round ticks are, and what they say.

/// A linear or logarithmic scale with ticks at round numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// (value, label), ascending.
    pub(super) ticks: Vec<(f64, String)>,
}

/// From this ratio of the largest to the smallest value on, a scale is logarithmic.
const LOGARITHMIC_FROM: f64 = 100.0;
/// From here on a linear scale's labels have exponents, except those of steps.
const PLAIN_BELOW: f64 = 1e9;

impl Axis {
    /// A scale for `values` (those that are not finite are left out), with up to about `ticks` ticks.
    ///
    /// It is logarithmic if all values are positive and spread over two decades or more.
    pub(super) fn new(values: impl Iterator<Item = f64>, ticks: usize) -> Self {
        let (low, high) = range(values);
        if low > 0.0 && high / low >= LOGARITHMIC_FROM {
            let margin = (high / low).powf(0.04);
            Self::logarithmic(low / margin, high * margin, ticks)
        } else {
            let (low, high) = widened(low, high);
            Self::linear(low, high, nice_step((high - low) / ticks.max(1) as f64))
        }
    }

    /// A linear scale for step numbers: ticks at whole numbers only.
    pub(super) fn steps(values: impl Iterator<Item = f64>, ticks: usize) -> Self {
        let (low, high) = range(values);
        let (low, high) = if low == high {
            (low - 0.5, high + 0.5)
        } else {
            let margin = 0.02 * (high - low);
            (low - margin, high + margin)
        };
        let step = nice_step((high - low) / ticks.max(1) as f64).max(1.0);
        let mut axis = Self::linear(low, high, step);
        for (value, label) in &mut axis.ticks {
            // Adding zero makes a negative zero a positive one.
            *label = format!("{:.0}", *value + 0.0);
        }
        axis
    }

    fn linear(low: f64, high: f64, step: f64) -> Self {
        let (first, last) = ((low / step).ceil(), (high / step).floor());
        let count = (last - first).max(0.0) as usize + 1;
        let largest = low.abs().max(high.abs());
        let ticks = (0..count)
            .map(|index| (first + index as f64) * step)
            .map(|value| (value, linear_label(value, step, largest)))
            .collect();
        Self { low, high, logarithmic: false, ticks }
    }

    fn logarithmic(low: f64, high: f64, ticks: usize) -> Self {
        let decades = high.log10() - low.log10();
        let every = (decades / ticks.max(1) as f64).ceil().max(1.0) as i32;
        // Few decades leave room for 2 and 5 times each power of ten.
        let multiples: &[f64] = if 3.0 * decades <= ticks as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks = exponents
            .filter(|exponent| exponent.rem_euclid(every) == 0)
            .flat_map(|exponent| multiples.iter().map(move |multiple| (multiple * 10f64.powi(exponent), exponent)))
            .filter(|(value, _)| (low..=high).contains(value))
            .map(|(value, exponent)| (value, logarithmic_label(value, exponent)))
            .collect();
        Self { low, high, logarithmic: true, ticks }
    }

    /// Whether equal distances mean equal ratios.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// The least and the greatest value.
    pub(super) fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Where `value` stands, from 0 (the low end) to 1 (the high end).
    pub(super) fn position(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// The least and the greatest finite value; 0 and 1 if there is none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
        .unwrap_or((0.0, 1.0))
}

/// A range with a margin, so that no point lies on the frame, and with a height even if constant.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let margin = if high - low > 1e-6 * low.abs().max(high.abs()) {
        0.05 * (high - low)
    } else if low == 0.0 && high == 0.0 {
        0.5
    } else {
        0.1 * low.abs().max(high.abs())
    };
    (low - margin, high + margin)
}

/// The least of 1, 2, 5 times a power of ten that is at least `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|multiple| multiple * power)
        .into_iter()
        // A hair less counts as reached: 0.2 / 0.1 may come out above 2.
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn linear_label(value: f64, step: f64, largest: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    if largest >= PLAIN_BELOW || decimals > 5 {
        if value.abs() < step / 2.0 {
            return "0".into();
        }
        let digits = (value.abs().log10().floor() - step.log10().floor()).max(0.0) as usize;
        return format!("{value:.digits$e}");
    }
    // A negative zero would read "-0".
    let value = if value.abs() < step / 2.0 { 0.0 } else { value };
    format!("{value:.decimals$}")
}

fn logarithmic_label(value: f64, exponent: i32) -> String {
    match exponent {
        -4..=-1 => format!("{value:.*}", exponent.unsigned_abs() as usize),
        0..=5 => format!("{value:.0}"),
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let axis = Axis::new([0.31, 2.27].into_iter(), 6);
        assert!(!axis.is_logarithmic());
        assert_eq!(labels(&axis), ["0.5", "1.0", "1.5", "2.0"]);
        let axis = Axis::new([-0.02, 0.05].into_iter(), 8);
        assert_eq!(labels(&axis), ["-0.02", "-0.01", "0.00", "0.01", "0.02", "0.03", "0.04", "0.05"]);
        let axis = Axis::new([1e10, 3e10].into_iter(), 5);
        assert_eq!(labels(&axis), ["1.0e10", "1.5e10", "2.0e10", "2.5e10", "3.0e10"]);
        let axis = Axis::new([1e-8, 3e-8].into_iter(), 5);
        assert_eq!(labels(&axis), ["1.0e-8", "1.5e-8", "2.0e-8", "2.5e-8", "3.0e-8"]);
    }

    #[test]
    fn wide_ranges_are_logarithmic() {
        let axis = Axis::new([0.002, 4.0].into_iter(), 6);
        assert!(axis.is_logarithmic());
        assert_eq!(labels(&axis), ["0.01", "0.1", "1"]);
        let axis = Axis::new([0.02, 4.0].into_iter(), 8);
        assert_eq!(labels(&axis), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        let axis = Axis::new([1e-12, 1e12].into_iter(), 6);
        assert!((4..=7).contains(&axis.ticks.len()), "{axis:?}");
        assert!(!Axis::new([0.0, 4.0].into_iter(), 6).is_logarithmic());
    }

    #[test]
    fn positions_run_from_0_to_1_and_keep_values_inside() {
        for values in [[0.3, 2.0], [1e-9, 1e9], [5.0, 5.0], [0.0, 0.0], [-3.0, -3.0], [1e30, 1e30]] {
            let axis = Axis::new(values.into_iter(), 6);
            for value in values {
                assert!((0.0..=1.0).contains(&axis.position(value)), "{values:?}: {axis:?}");
            }
            assert!(!axis.ticks.is_empty(), "{values:?}");
            assert!(axis.ticks.len() < 20, "{axis:?}");
        }
    }

    #[test]
    fn step_ticks_are_whole() {
        assert_eq!(labels(&Axis::steps([1.0].into_iter(), 8)), ["1"]);
        assert_eq!(labels(&Axis::steps([1.0, 3.0].into_iter(), 8)), ["1", "2", "3"]);
        let axis = Axis::steps([1.0, 1000.0].into_iter(), 8);
        assert_eq!(labels(&axis), ["0", "200", "400", "600", "800", "1000"]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let plain = Axis::new([1.0, 2.0].into_iter(), 5);
        let spoilt = [f64::NAN, 1.0, f64::INFINITY, 2.0, f64::NEG_INFINITY];
        assert_eq!(Axis::new(spoilt.into_iter(), 5), plain);
        assert!(!Axis::new([f64::NAN].into_iter(), 5).ticks.is_empty());
    }
}
