//! Checks: what computes right passes, what computes wrong is named, and so is where NaN and infinity come from.

mod broken;
#[path = "../common/mod.rs"]
mod common;
mod correct;
mod finite;
#[path = "../common/mlp.rs"]
mod mlp;
mod promised;
mod samples;
mod several_outputs;
mod support;
