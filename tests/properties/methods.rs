//! The methods that recipes choose from, each with what it needs of its argument and how large its result can be.

use crate::call::{Axes, Axis, Method, Number, Other, Plain, Pool, Sizes};
use nn_core::graph::Value;
use nn_core::ops::Moments;

/// What is done to an argument so that no element comes near a pole or overflows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    None,
    /// Squared plus a half.
    Positive,
    /// Scaled into −2..2.
    Small,
}

/// A function of one value.
pub(crate) struct Unary {
    pub(crate) method: Plain,
    pub(crate) guard: Guard,
    /// The largest magnitude of the result for arguments up to a magnitude.
    pub(crate) bound: fn(f64) -> f64,
    pub(crate) smooth: bool,
}

macro_rules! unary {
    ($($name:ident $guard:ident $smooth:literal |$b:ident| $bound:expr;)*) => {
        &[$(Unary {
            method: Method { name: stringify!($name), apply: |x| x.$name() },
            guard: Guard::$guard,
            bound: |$b| $bound,
            smooth: $smooth,
        }),*]
    };
}

/// Every elementwise function of one `f32` value, and what keeps gradients off it.
pub(crate) const UNARY: &[Unary] = unary! {
    negate None true |b| b;
    contiguous None true |b| b;
    tanh None true |_b| 1.0;
    exp Small true |b| b.exp();
    log Positive true |b| b + 1.0;
    sqrt Positive true |b| b + 1.0;
    rsqrt Positive true |_b| 1.5;
    sin None true |_b| 1.0;
    cos None true |_b| 1.0;
    erf None true |_b| 1.0;
    sigmoid None true |_b| 1.0;
    gelu None true |b| b;
    gelu_tanh None true |b| b;
    silu None true |b| b;
    gelu_slope None true |_b| 1.2;
    gelu_tanh_slope None true |_b| 1.2;
    silu_slope None true |_b| 1.2;
    softplus None true |b| b + 1.0;
    relu None false |b| b;
    abs None false |b| b;
    sign None false |_b| 1.0;
    floor None false |b| b + 1.0;
    detach None false |b| b;
};

macro_rules! constants {
    ($type:ident |$x:ident, $y:ident| $($constant:ident $name:ident)*) => {
        $(pub(crate) const $constant: $type = Method { name: stringify!($name), apply: |$x, $y| $x.$name($y) };)*
    };
}

constants! { Other |x, y|
    ADD add
    SUBTRACT subtract
    MULTIPLY multiply
    DIVIDE divide
    POW pow
    MINIMUM minimum
    MAXIMUM maximum
    MATMUL matmul
    GATHER gather_rows
    CROSS_ENTROPY cross_entropy
    LESS less
    LESS_EQUAL less_equal
    GREATER greater
    GREATER_EQUAL greater_equal
    EQUAL equal
    NOT_EQUAL not_equal
}

constants! { Number |x, number|
    ADD_NUMBER add
    SUBTRACT_NUMBER subtract
    MULTIPLY_NUMBER multiply
    DIVIDE_NUMBER divide
    POW_NUMBER pow
    MINIMUM_NUMBER minimum
    MAXIMUM_NUMBER maximum
    LEAKY_RELU leaky_relu
    ELU elu
}

constants! { Axes |x, axes|
    SUM sum
    MEAN mean
    SUM_OF_SQUARES sum_of_squares
    MAX max
    MIN min
    FLIP flip
}

constants! { Axis |x, axis|
    SOFTMAX softmax
    LOG_SOFTMAX log_softmax
    ARGMAX argmax
    ARGMIN argmin
    ADAPTIVE_AVERAGE_POOL_1D adaptive_average_pool1d
    ADAPTIVE_MAX_POOL_1D adaptive_max_pool1d
}

constants! { Sizes |x, sizes|
    ADAPTIVE_AVERAGE_POOL_2D adaptive_average_pool2d
    ADAPTIVE_MAX_POOL_2D adaptive_max_pool2d
}

constants! { Pool |x, options|
    AVERAGE_POOL_1D average_pool1d
    AVERAGE_POOL_2D average_pool2d
    MAX_POOL_1D max_pool1d
    MAX_POOL_2D max_pool2d
}

pub(crate) const COMPARISONS: [Other; 6] = [LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, NOT_EQUAL];
/// Of whole numbers, which wrap.
pub(crate) const WHOLE: [Other; 5] = [ADD, SUBTRACT, MULTIPLY, MINIMUM, MAXIMUM];

pub(crate) const SIN: Plain = Method { name: "sin", apply: |x| x.sin() };
pub(crate) const TO_F32: Plain = Method { name: "to_f32", apply: |x| x.to_f32() };
pub(crate) const TO_U32: Plain = Method { name: "to_u32", apply: |x| x.to_u32() };
pub(crate) const TO_I32: Plain = Method { name: "to_i32", apply: |x| x.to_i32() };

/// One of the results of [`Value::moments`].
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    Mean,
    Variance,
    InverseDeviation,
}

impl Moment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Moment::Mean => "mean",
            Moment::Variance => "variance",
            Moment::InverseDeviation => "inverse_deviation",
        }
    }

    pub(crate) fn of(self, moments: Moments) -> Value {
        match self {
            Moment::Mean => moments.mean,
            Moment::Variance => moments.variance,
            Moment::InverseDeviation => moments.inverse_deviation,
        }
    }
}
