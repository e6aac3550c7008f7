//! The passes of `nn-core`: what each does to a graph, and that none changes what the graph means.

mod autodiff;
mod checked;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod fusion;
mod golden;
mod interpreter;
#[path = "../common/mlp.rs"]
mod mlp;
mod pieces;
mod random_graph;
mod simplify;
mod states;
mod verify;
