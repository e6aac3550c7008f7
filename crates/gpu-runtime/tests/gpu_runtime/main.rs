//! Tests of the crate through its public face; those that need an adapter run on llvmpipe.

mod common;
mod kernels;
mod piecewise;
#[path = "../../build/reflect.rs"]
mod reflect;
mod run;
mod states;
mod verify;
