//! Properties of random small graphs: passes keep what a graph means, whatever it is and wherever it runs.

mod along;
mod blocks;
mod call;
#[path = "../common/mod.rs"]
mod common;
mod devices;
mod execute;
mod found;
mod gradients;
mod interpreter;
mod layouts;
mod leaves;
mod methods;
#[path = "../common/mlp.rs"]
mod mlp;
mod pictures;
mod pieces;
mod printed;
mod recipe;
mod replay;
mod resolve;
mod results;
mod runner;
mod traced;
