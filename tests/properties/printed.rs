//! Recipes themselves: they use every operator, and what they print is Rust that does the same.

use crate::execute::{Results, compare_results, run};
use crate::interpreter::Named;
use crate::recipe::{Family, Goal, Leaf, Origin, Recipe, Relation, Step, some_recipes};
use nn_core::graph::{self, NodeKind, OpKind};
use nn_core::ops::{Convolution, CumulativeSum, Extent, PoolOptions, Resample, RotaryPairing};
use nn_core::passes::{ScheduleOptions, differentiate};
use nn_core::{DType, Device, Error, Executable, Input, Session, StepScalar, StepScalars, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Operators that only the gradient of a gradient has, which no recipe takes.
const SECOND_DERIVATIVES: [&str; 1] = ["max_pool_gather"];

/// Operators that are drawn elsewhere: attention's four tensors are compared with plain operators in
/// `crates/nn-train/tests/attention.rs`, and what an optimiser does stands in no model; whole steps are compared with
/// PyTorch's.
const DRAWN_ELSEWHERE: [&str; 4] = ["attention", "attention_gradient", "weighted_sum", "adam_step"];

#[test]
fn recipes_use_every_operator() {
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut ranks, mut updates, mut views) = (BTreeSet::new(), 0, 0);
    for recipe in some_recipes(2000) {
        let traced = recipe.traced().unwrap();
        let graph = &traced.graph;
        updates += graph.updates.len();
        for node in graph.nodes() {
            ranks.insert(node.outputs[0].shape.rank());
            let is_view = |id| matches!(graph.node(id).op_kind(), Some(OpKind::View(_)));
            views += usize::from(matches!(node.op_kind(), Some(OpKind::View(_))) && is_view(node.inputs[0].node));
            if let NodeKind::Op(op) = &node.kind {
                *used.entry(op.name()).or_default() += 1;
            }
        }
    }
    println!("{used:?}, ranks {ranks:?}, {updates} updates, {views} views of views");
    for name in nn_core::ops::names()
        .into_iter()
        .filter(|name| !SECOND_DERIVATIVES.contains(name) && !DRAWN_ELSEWHERE.contains(name))
    {
        assert!(used.get(name).is_some_and(|&count| count >= 5), "{name} is hardly used: {used:?}");
    }
    assert!(ranks.is_superset(&(0..=5).collect()), "{ranks:?}");
    assert!(updates > 100 && views > 100, "{updates} updates, {views} views of views");
}

/// One of each family but those of [`pictures`], [`along`] and [`blocks`].
fn assorted() -> Recipe {
    let leaf = |origin, relation| Leaf { origin, relation, rank: 2, sizes: [1, 2, 0, 0] };
    let leaves = vec![
        leaf(Origin::Input, Relation::Free),
        leaf(Origin::State, Relation::Same),
        leaf(Origin::Indices, Relation::Inner),
        leaf(Origin::Whole, Relation::Same),
        leaf(Origin::Constant, Relation::Thin),
        leaf(Origin::Scalar, Relation::Same),
        leaf(Origin::LearningRate, Relation::Same),
    ];
    use Family::*;
    let families = [
        Unary,
        Number,
        Binary,
        Known,
        Dropout,
        Clamp,
        Permute,
        Reshape,
        Slice,
        Broadcast,
        Reduce,
        Matmul,
        Softmax,
        Concat,
        Pad,
        Gather,
        Scatter,
        CrossEntropy,
        Repeat,
        Compare,
        Select,
        Cast,
        Whole,
        ArgReduce,
        Family::Convolution,
    ];
    let step = |(number, family): (usize, Family)| {
        let number = number as u8;
        let pick = |which: u8| number.wrapping_mul(5).wrapping_add(which);
        Step { family, picks: [0, 1, 2, 3].map(pick), numbers: [3, 1, 0, 5, 2, 4, 1, 7].map(pick) }
    };
    let steps = families.into_iter().enumerate().map(step).collect();
    Recipe { leaves, steps, outputs: vec![3, 9, 27], updates: vec![1], seed: 4, goal: Goal::Values }
}

/// Every way to pool, resample and normalise.
fn pictures() -> Recipe {
    let leaf = |origin, relation| Leaf { origin, relation, rank: 4, sizes: [0, 1, 3, 4] };
    let leaves = vec![leaf(Origin::Input, Relation::Free), leaf(Origin::State, Relation::Same)];
    use Family::*;
    let families = [(Normalise, 0), (Normalise, 7), (Normalise, 6), (Pool, 0), (Pool, 1), (Pool, 3), (Pool, 7)]
        .into_iter()
        .chain([(MaxPool, 0), (MaxPool, 1), (MaxPool, 2), (MaxPool, 3), (MaxPool, 11)])
        .chain([(Resample, 0), (Resample, 1), (Resample, 2), (Resample, 3)]);
    // All read what was made early.
    let step = |(number, (family, which)): (usize, (Family, u8))| {
        let number = number as u8;
        let numbers = [1, 2, 0, 1, 1, 0, 1, 3].map(|digit: u8| number.wrapping_add(digit));
        Step { family, picks: [255, 255, 0, which], numbers }
    };
    let steps = families.enumerate().map(step).collect();
    Recipe { leaves, steps, outputs: (1..20).collect(), updates: vec![1], seed: 5, goal: Goal::Values }
}

/// Cumulative sums, elements by index, and sorting.
fn along() -> Recipe {
    let leaf = |origin, relation| Leaf { origin, relation, rank: 2, sizes: [2, 3, 0, 0] };
    let leaves = vec![
        leaf(Origin::Input, Relation::Free),
        leaf(Origin::State, Relation::Same),
        leaf(Origin::Indices, Relation::Same),
    ];
    use Family::*;
    let families = [(Family::CumulativeSum, 0), (Family::CumulativeSum, 3), (GatherAlong, 0), (ScatterAlong, 1)]
        .into_iter()
        .chain([(Sort, 0), (Sort, 1), (Sort, 2), (Sort, 7)]);
    let step = |(number, (family, which)): (usize, (Family, u8))| {
        let numbers = [0, 1, 2, 3, 4, 5, 6, 7].map(|digit: u8| digit.wrapping_add(number as u8));
        Step { family, picks: [255, 255, 0, which], numbers }
    };
    let steps = families.enumerate().map(step).collect();
    Recipe { leaves, steps, outputs: (1..12).collect(), updates: vec![1], seed: 6, goal: Goal::Values }
}

/// Normalised rows and rotated pairs.
fn blocks() -> Recipe {
    let leaf = |origin, relation| Leaf { origin, relation, rank: 3, sizes: [1, 2, 3, 0] };
    let leaves = vec![leaf(Origin::Input, Relation::Free), leaf(Origin::State, Relation::Same)];
    let families = [0, 1, 4, 5, 6, 7].map(|which| (Family::RowNorm, which));
    let families = families.into_iter().chain([(Family::Rotary, 0), (Family::Rotary, 1)]);
    let step = |(number, (family, which)): (usize, (Family, u8))| {
        let numbers = [0, 1, 2, 3, 4, 5, 6, 7].map(|digit: u8| digit.wrapping_add(number as u8));
        Step { family, picks: [255, 255, 0, which], numbers }
    };
    let steps = families.enumerate().map(step).collect();
    Recipe { leaves, steps, outputs: (1..16).collect(), updates: vec![1], seed: 7, goal: Goal::Values }
}

/// A step of training.
fn training() -> Recipe {
    let mut recipe = Recipe { goal: Goal::Training, ..assorted() };
    recipe.steps.truncate(4);
    recipe
}

/// Reads what the text of a recipe ran.
fn results(recipe: &Recipe, (mut session, mut program): (Session, Executable)) -> Result<Results, Error> {
    let graph = recipe.traced()?.graph;
    let outputs = graph.outputs.iter().map(|(name, _)| Ok((name.clone(), session.output_f64(&mut program, name)?)));
    let outputs = outputs.collect::<Result<Named, Error>>()?;
    let state = |(name, _): &(String, _)| {
        let values = session.state(name)?.as_f32()?.iter().map(|&value| f64::from(value)).collect();
        Ok((name.clone(), values))
    };
    Ok((outputs, graph.updates.iter().map(state).collect::<Result<Named, Error>>()?))
}

fn assert_printed(file: &str, printed: &str, recipe: &Recipe, ran: Result<(Session, Executable), Error>) {
    let text = recipe.to_string();
    if std::env::var_os("WGRAD_BLESS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert_eq!(text, printed, "rewrite {file} by WGRAD_BLESS=1");
    let expected = run(&Device::cpu(), ScheduleOptions::default(), &recipe.traced().unwrap()).unwrap();
    assert!(!expected.0.is_empty() && !expected.1.is_empty());
    compare_results(file, &results(recipe, ran.unwrap()).unwrap(), &expected).unwrap();
}

#[test]
#[allow(unused_variables, clippy::all)]
fn a_printed_recipe_is_rust_that_does_the_same() {
    let device = Device::cpu();
    let ran = || -> Result<_, Error> { Ok(include!("../golden/recipes/assorted.rs")) };
    assert_printed("golden/recipes/assorted.rs", include_str!("../golden/recipes/assorted.rs"), &assorted(), ran());
    let ran = || -> Result<_, Error> { Ok(include!("../golden/recipes/training.rs")) };
    assert_printed("golden/recipes/training.rs", include_str!("../golden/recipes/training.rs"), &training(), ran());
    let ran = || -> Result<_, Error> { Ok(include!("printed/pictures.rs")) };
    assert_printed("properties/printed/pictures.rs", include_str!("printed/pictures.rs"), &pictures(), ran());
    let ran = || -> Result<_, Error> { Ok(include!("printed/along.rs")) };
    assert_printed("properties/printed/along.rs", include_str!("printed/along.rs"), &along(), ran());
    let ran = || -> Result<_, Error> { Ok(include!("printed/blocks.rs")) };
    assert_printed("properties/printed/blocks.rs", include_str!("printed/blocks.rs"), &blocks(), ran());
}
