//! The one rule of how far a device's result may lie from the exact one; docs/accuracy.md tells it in words.

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
    /// The distance of 1 from the next number: twice the error of one rounding.
    pub const fn unit(self) -> f64 {
        match self {
            Arithmetic::Oracle => f64::EPSILON,
            Arithmetic::Cpu | Arithmetic::Gpu => f32::EPSILON as f64,
        }
    }

    /// What a result may lose near zero: the last bit of denormal numbers, or on a GPU all of them.
    pub const fn smallest(self) -> f64 {
        match self {
            Arithmetic::Oracle => 0.0,
            Arithmetic::Cpu => f32::from_bits(1) as f64,
            Arithmetic::Gpu => f32::MIN_POSITIVE as f64,
        }
    }
}

/// An operator's own error on exact inputs, in units of [`Arithmetic::unit`]:
///
/// |found − exact| ≤ unit · (relative · |exact| + absolute + summed · op(|inputs|)) + smallest
///
/// where op(|inputs|) is the operator's result on the absolute values of its inputs: the sum of the absolute values
/// of the terms of each sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// Units of the result.
    pub relative: f64,
    /// Units of 1.
    pub absolute: f64,
    /// Units of the result on absolute values. A sum of n terms in any order has n − 1 (Higham 2002, section 4.2).
    pub summed: f64,
}

impl Accuracy {
    /// Elements are moved, chosen or compared: nothing is rounded.
    pub const EXACT: Accuracy = Accuracy { relative: 0.0, absolute: 0.0, summed: 0.0 };

    /// The nearest number to the exact result.
    pub const ROUNDED: Accuracy = Accuracy::relative(0.5);

    /// Units of the result.
    pub const fn relative(units: f64) -> Accuracy {
        Accuracy { relative: units, ..Accuracy::EXACT }
    }

    /// Units of 1.
    pub const fn absolute(units: f64) -> Accuracy {
        Accuracy { absolute: units, ..Accuracy::EXACT }
    }

    /// How far a result may lie from `exact`; `magnitude` is the operator's result on absolute values.
    pub fn allows(self, arithmetic: Arithmetic, exact: f64, magnitude: f64) -> f64 {
        let summed = if self.summed == 0.0 { 0.0 } else { self.summed * magnitude };
        arithmetic.unit() * (self.relative * exact.abs() + self.absolute + summed) + arithmetic.smallest()
    }
}
