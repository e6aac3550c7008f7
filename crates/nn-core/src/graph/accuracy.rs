//! The one rule of how far a device's result may lie from the exact one; docs/accuracy.md tells it in words.

use std::ops::Add;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The CPU in double precision.
    Oracle,
    /// The CPU in single precision.
    Cpu,
    /// A GPU in single precision, as exact as WGSL demands and no more.
    Gpu,
}

impl Arithmetic {
    /// The distance of 1 from the next number.
    pub const fn unit(self) -> f64 {
        match self {
            Arithmetic::Oracle => f64::EPSILON,
            Arithmetic::Cpu | Arithmetic::Gpu => f32::EPSILON as f64,
        }
    }

    /// The error of one rounding in units: the CPU takes the nearest number; WGSL leaves open which of the two
    /// neighbours a GPU takes.
    pub const fn rounding(self) -> f64 {
        self.pick(0.5, 1.0)
    }

    /// What a result may lose near zero: the last bit of denormal numbers, or on a GPU all of them.
    pub const fn smallest(self) -> f64 {
        match self {
            Arithmetic::Oracle => 0.0,
            Arithmetic::Cpu => f32::from_bits(1) as f64,
            Arithmetic::Gpu => f32::MIN_POSITIVE as f64,
        }
    }

    /// The first figure for the CPU in either precision, the second for a GPU.
    pub const fn pick(self, cpu: f64, gpu: f64) -> f64 {
        match self {
            Arithmetic::Oracle | Arithmetic::Cpu => cpu,
            Arithmetic::Gpu => gpu,
        }
    }
}

/// An operator's own error on exact inputs, in units of [`Arithmetic::unit`]:
///
/// |found − exact| ≤ unit · (relative · |exact| + absolute + summed · op(|inputs|)) + smallest
///
/// where op(|inputs|) is the operator's result on the absolute values of its inputs: the sum of the absolute values
/// of the terms of each sum. It is for finite exact results of type `f32`; whole numbers must be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// Units of the result.
    pub relative: f64,
    /// Units of 1; infinity where nothing is promised.
    pub absolute: f64,
    /// Units of the result on absolute values. A sum of n terms in any order has at most n − 1 roundings (Higham
    /// 2002, section 4.2).
    pub summed: f64,
}

impl Accuracy {
    /// Elements are moved, chosen or compared: nothing is rounded.
    pub const EXACT: Accuracy = Accuracy { relative: 0.0, absolute: 0.0, summed: 0.0 };

    /// Nothing is promised: any result will do.
    pub const UNKNOWN: Accuracy = Accuracy::absolute(f64::INFINITY);

    /// Rounded once.
    pub const fn rounded(arithmetic: Arithmetic) -> Accuracy {
        Accuracy::relative(arithmetic.rounding())
    }

    /// Units of the result.
    pub const fn relative(units: f64) -> Accuracy {
        Accuracy { relative: units, ..Accuracy::EXACT }
    }

    /// Units of 1.
    pub const fn absolute(units: f64) -> Accuracy {
        Accuracy { absolute: units, ..Accuracy::EXACT }
    }

    /// A sum of `terms` numbers, of which none takes part in more than `roundings` roundings. Each term and each
    /// partial sum may be lost where it is denormal.
    pub fn sum(arithmetic: Arithmetic, terms: usize, roundings: usize) -> Accuracy {
        Accuracy {
            relative: 0.0,
            absolute: 2.0 * terms as f64 * arithmetic.smallest() / arithmetic.unit(),
            summed: roundings as f64 * arithmetic.rounding(),
        }
    }

    /// How far a result may lie from `exact`; `magnitude` is the operator's result on absolute values.
    pub fn allows(self, arithmetic: Arithmetic, exact: f64, magnitude: f64) -> f64 {
        let units = self.units(exact) + weighed(self.summed, magnitude);
        arithmetic.unit() * units + arithmetic.smallest()
    }

    /// The first two parts of the error, in units of 1.
    pub fn units(self, exact: f64) -> f64 {
        weighed(self.relative, exact.abs()) + self.absolute
    }
}

/// Both errors, one after the other.
impl Add for Accuracy {
    type Output = Accuracy;

    fn add(self, other: Accuracy) -> Accuracy {
        Accuracy {
            relative: self.relative + other.relative,
            absolute: self.absolute + other.absolute,
            summed: self.summed + other.summed,
        }
    }
}

/// Nothing of infinity is nothing, and infinitely much of nothing too.
fn weighed(units: f64, size: f64) -> f64 {
    if units == 0.0 || size == 0.0 { 0.0 } else { units * size }
}
