//! Whether elements are close enough to exact ones.

use crate::graph::Arithmetic;

/// Beyond this an `f32` result counts as overflowed: within a factor of four of the largest number.
const HUGE: f64 = 1e38;

/// The comparisons of one result.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Elements compared.
    pub(super) elements: u64,
    /// Elements that differ by more than they may.
    pub(super) differing: usize,
    /// The element whose error is the largest part of what it may be.
    pub(super) worst: Option<Worst>,
}

#[derive(Debug)]
pub(super) struct Worst {
    pub(super) index: usize,
    pub(super) found: f64,
    pub(super) exact: f64,
    pub(super) error: f64,
    pub(super) tolerance: f64,
    pub(super) share: f64,
}

impl Tally {
    /// Compares an element. Where the tolerance is infinite nothing is promised, and nothing counted.
    pub(super) fn add(&mut self, arithmetic: Arithmetic, index: usize, found: f64, exact: f64, tolerance: f64) {
        if exact.is_finite() && tolerance == f64::INFINITY {
            return;
        }
        let error = error(arithmetic, found, exact, tolerance);
        // An error of NaN, from a tolerance of NaN, must not pass.
        let share = if error == 0.0 { 0.0 } else { error / tolerance };
        let share = if share.is_nan() { f64::INFINITY } else { share };
        self.elements += 1;
        self.differing += usize::from(share > 1.0);
        if self.worst.as_ref().is_none_or(|worst| share > worst.share) {
            self.worst = Some(Worst { index, found, exact, error, tolerance, share });
        }
    }
}

/// How far an element lies from the exact one: infinitely far where one of them is no number and the other not meant
/// to be.
fn error(arithmetic: Arithmetic, found: f64, exact: f64, tolerance: f64) -> f64 {
    if found == exact || (found.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    if exact.is_nan() {
        return f64::INFINITY;
    }
    if arithmetic != Arithmetic::Oracle {
        let same_sign = found.is_sign_negative() == exact.is_sign_negative();
        // WGSL lets a GPU make anything of an overflow; none makes a number of it.
        let overflowed = (same_sign && found.is_infinite()) || (arithmetic == Arithmetic::Gpu && found.is_nan());
        let largest = f64::from(f32::MAX);
        let beyond = exact.abs() > largest;
        if (beyond && (overflowed || (same_sign && found.abs() > HUGE)))
            || (overflowed && exact.abs() + tolerance > largest)
        {
            return 0.0;
        }
    }
    let error = (found - exact).abs();
    if error.is_nan() { f64::INFINITY } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arithmetic::{Cpu, Gpu, Oracle};

    fn passes(arithmetic: Arithmetic, found: f64, exact: f64, tolerance: f64) -> bool {
        let mut tally = Tally::default();
        tally.add(arithmetic, 0, found, exact, tolerance);
        assert_eq!(tally.elements, 1);
        tally.differing == 0
    }

    #[test]
    fn numbers_are_held_to_the_tolerance() {
        for arithmetic in [Oracle, Cpu, Gpu] {
            assert!(passes(arithmetic, 1.5, 1.0, 0.5));
            assert!(!passes(arithmetic, 1.5, 1.0, 0.49));
            assert!(passes(arithmetic, 1.0, 1.0, 0.0));
            assert!(!passes(arithmetic, 1.0, 2.0, 0.0));
            assert!(!passes(arithmetic, 1.0, 2.0, f64::NAN));
            assert!(!passes(arithmetic, f64::NAN, 1.0, 0.5));
            assert!(!passes(arithmetic, f64::INFINITY, 1.0, 0.5));
        }
    }

    #[test]
    fn nan_stays_nan() {
        for arithmetic in [Oracle, Cpu, Gpu] {
            assert!(passes(arithmetic, f64::NAN, f64::NAN, 0.0));
            assert!(!passes(arithmetic, 1.0, f64::NAN, 0.5));
            assert!(!passes(arithmetic, f64::INFINITY, f64::NAN, 0.5));
        }
    }

    #[test]
    fn overflow_is_huge_with_its_sign_or_on_a_gpu_nan() {
        for arithmetic in [Cpu, Gpu] {
            for exact in [1e39, f64::INFINITY] {
                assert!(passes(arithmetic, f64::INFINITY, exact, 1e32));
                assert!(passes(arithmetic, f64::from(f32::MAX), exact, 1e32));
                assert!(passes(arithmetic, -2e38, -exact, 1e32));
                assert!(!passes(arithmetic, f64::NEG_INFINITY, exact, 1e32));
                assert!(!passes(arithmetic, 1.0, exact, 1e32));
                assert_eq!(passes(arithmetic, f64::NAN, exact, 1e32), arithmetic == Gpu);
            }
            // The largest number may be rounded up; half of it may not.
            assert!(passes(arithmetic, f64::INFINITY, f64::from(f32::MAX), 1e32));
            assert!(!passes(arithmetic, f64::INFINITY, 1.7e38, 1e32));
        }
        assert!(!passes(Oracle, f64::INFINITY, 1e39, 1e30));
    }

    #[test]
    fn where_nothing_is_promised_nothing_is_counted() {
        let mut tally = Tally::default();
        tally.add(Gpu, 0, f64::NAN, 1.0, f64::INFINITY);
        assert!(tally.elements == 0 && tally.worst.is_none());
        // That an exact NaN is NaN is promised in any case.
        tally.add(Gpu, 0, 1.0, f64::NAN, f64::INFINITY);
        assert_eq!(tally.differing, 1);
    }
}
