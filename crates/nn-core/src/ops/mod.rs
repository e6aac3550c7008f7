//! The operators: one file per family, with everything about it. Here are only the list and the helpers for passes.

mod accuracy;
mod along;
mod attention;
mod beside;
mod convolution;
mod cross_entropy;
mod cumulative_sum;
mod detach;
mod einsum;
mod elementwise;
mod elementwise_row;
mod elementwise_samples;
mod elementwise_support;
mod matmul;
mod moving;
mod normalise;
mod normalise_bounds;
mod normalise_samples;
mod normalised;
mod operands;
mod parts;
mod pool;
mod random;
mod reduce;
mod resample;
mod rotary;
mod row_norm;
mod rows;
pub mod samples;
mod shape;
mod softmax;
mod sort;
mod support;

pub use attention::Attention;
pub use beside::{concat_op, zeros_around_op};
pub use convolution::Convolution;
pub use cross_entropy::CrossEntropyOptions;
pub use cumulative_sum::CumulativeSum;
pub use einsum::einsum;
pub use elementwise::contiguous_op;
pub use normalise::Moments;
pub use operands::IntoValue;
pub use pool::PoolOptions;
pub use resample::{Extent, Resample};
pub use rotary::RotaryPairing;
pub use shape::broadcast_op;

/// The names of all operators, as the graph prints them: what the tests must cover.
pub fn names() -> Vec<&'static str> {
    let families: &[&[&str]] = &[
        shape::NAMES,
        beside::NAMES,
        reduce::NAMES,
        matmul::NAMES,
        softmax::NAMES,
        cross_entropy::NAMES,
        rows::NAMES,
        convolution::NAMES,
        normalise::NAMES,
        pool::NAMES,
        resample::NAMES,
        normalised::NAMES,
        detach::NAMES,
        cumulative_sum::NAMES,
        along::NAMES,
        sort::NAMES,
        attention::NAMES,
        row_norm::NAMES,
        rotary::NAMES,
    ];
    elementwise::rows().map(|row| row.name()).chain(families.iter().copied().flatten().copied()).collect()
}
