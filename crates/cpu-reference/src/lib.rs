//! The kernels of wgrad in Rust: plain functions over slices, generic over `f32` and `f64`, parallel
//! over threads and with the same bits whatever the number of threads.
//!
//! The crate knows no op, no layer and no gradient. In `f32` its kernels train on the CPU; in `f64`
//! they are the oracle that every GPU kernel is checked against.
//!
//! Lengths and strides come from shapes that the caller has checked; where they do not fit the slices,
//! a kernel panics with a message that begins "internal:" rather than read or write elsewhere.

pub mod along;
pub mod arg_reduce;
pub mod attention;
mod awake;
pub mod convolution;
pub mod copy;
pub mod cross_entropy;
pub mod cumulative_sum;
pub mod elementwise;
pub mod exponential;
pub mod matmul;
mod memory;
pub mod normalise;
pub mod pad;
pub mod philox;
pub mod pool;
mod product;
pub mod real;
pub mod reduce;
pub mod resample;
pub mod roof;
pub mod rotary;
mod row;
pub mod row_norm;
pub mod rows;
pub mod softmax;
pub mod sort;
pub mod strided;

pub use along::{gather, permute_back, scatter_add};
pub use arg_reduce::{Extreme, arg_reduce};
pub use attention::{Attention, AttentionSizes, Bias, Heads, WeightDropout, attention, attention_gradient};
pub use awake::{on_pool, set_threads, threads};
pub use convolution::{Convolution, convolution, convolution_input_gradient, convolution_weight_gradient};
pub use copy::copy;
pub use cross_entropy::{Counted, cross_entropy, cross_entropy_gradient};
pub use cumulative_sum::cumulative_sum;
pub use matmul::{Matrix, matmul};
pub use memory::Bytes;
pub use normalise::{SumsInput, moments, normalised_sums};
pub use pad::pad;
pub use pool::{
    Divisor, PoolAxis, Windows, average_pool, average_pool_gradient, max_pool, max_pool_gather, max_pool_gradient,
};
pub use real::Real;
pub use reduce::{Reduction, reduce};
pub use resample::{Places, resample, resample_gradient};
pub use rotary::{Rotary, rotary};
pub use row_norm::{RowNorm, row_norm, row_norm_gradient};
pub use rows::{gather_rows, scatter_add_rows};
pub use softmax::{log_softmax, softmax};
pub use sort::sort;
pub use strided::Strided;

#[cfg(test)]
mod testing;
