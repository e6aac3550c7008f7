//! The passes of `nn-core`: what each does to a graph, and that none changes what the graph means.

mod autodiff;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod fusion;
mod golden;
mod in_place;
#[path = "../properties/interpreter.rs"]
mod interpreter;
#[path = "../common/mlp.rs"]
mod mlp;
mod second;
mod simplify;
mod states;
mod verify;
