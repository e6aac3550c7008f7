//! Recipes of small graphs: plain data, of which every value is a valid graph, so that shrinking never leaves them.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::fmt;

/// How to make a graph. Numbers stand for choices among what there is, modulo how much there is.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Inputs, states and constants; the first is always an `f32` input.
    pub(crate) leaves: Vec<Leaf>,
    /// Operators on what was made before.
    pub(crate) steps: Vec<Step>,
    /// Which values become outputs, besides the last.
    pub(crate) outputs: Vec<u8>,
    /// For each state which fitting value replaces it; 0 for none.
    pub(crate) updates: Vec<u8>,
    /// Decides the leaves' elements.
    pub(crate) seed: u64,
    pub(crate) goal: Goal,
}

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Some are outputs, some replace states.
    Values,
    /// The output `loss`, which depends on all of those outputs and on every state.
    Loss,
    /// The loss, its gradients, and a step of gradient descent for every state.
    Training,
}

/// Where a leaf comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Input,
    State,
    Indices,
    Whole,
    Scalar,
    Constant,
    LearningRate,
}

/// How a leaf's shape comes from that of the first, so that many leaves fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    /// Some dimensions are 1.
    Thin,
    /// Without leading dimensions.
    Inner,
    Reversed,
    Free,
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) origin: Origin,
    pub(crate) relation: Relation,
    pub(crate) rank: u8,
    pub(crate) sizes: [u8; 4],
}

/// The families of operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Unary,
    Number,
    Binary,
    Known,
    Permute,
    Reshape,
    Slice,
    Broadcast,
    Reduce,
    Matmul,
    Convolution,
    Normalise,
    /// Of the last axis.
    RowNorm,
    Rotary,
    /// Of means.
    Pool,
    MaxPool,
    Resample,
    Softmax,
    Concat,
    Pad,
    Gather,
    Scatter,
    CrossEntropy,
    Dropout,
    Repeat,
    Compare,
    Select,
    Cast,
    Whole,
    Clamp,
    ArgReduce,
    CumulativeSum,
    /// Of elements along an axis.
    GatherAlong,
    ScatterAlong,
    Sort,
}

const SMOOTH: [Family; 27] = [
    Family::Unary,
    Family::Number,
    Family::Binary,
    Family::Known,
    Family::Permute,
    Family::Reshape,
    Family::Slice,
    Family::Broadcast,
    Family::Reduce,
    Family::Matmul,
    Family::Softmax,
    Family::Concat,
    Family::Pad,
    Family::Gather,
    Family::Scatter,
    Family::CrossEntropy,
    Family::Dropout,
    Family::Repeat,
    Family::Convolution,
    Family::Normalise,
    Family::RowNorm,
    Family::Rotary,
    Family::Pool,
    Family::Resample,
    Family::CumulativeSum,
    Family::GatherAlong,
    Family::ScatterAlong,
];

const ROUGH: [Family; 8] = [
    Family::Compare,
    Family::Select,
    Family::Cast,
    Family::Whole,
    Family::Clamp,
    Family::ArgReduce,
    Family::MaxPool,
    Family::Sort,
];

/// One operator, with the numbers that all its choices are made by.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) family: Family,
    /// Which values it reads, and which operator of the family it is.
    pub(crate) picks: [u8; 4],
    /// Axes, sizes and places.
    pub(crate) numbers: [u8; 8],
}

fn leaf(origins: &'static [Origin]) -> impl Strategy<Value = Leaf> {
    let relations =
        vec![Relation::Same, Relation::Thin, Relation::Inner, Relation::Reversed, Relation::Free, Relation::Same];
    (select(origins), select(relations), any::<u8>(), any::<[u8; 4]>()).prop_map(|(origin, relation, rank, sizes)| {
        let (rank, sizes) = (rank % 5, sizes.map(|size| size % 7));
        Leaf { origin, relation, rank, sizes }
    })
}

fn step(families: Vec<Family>) -> impl Strategy<Value = Step> {
    (select(families), any::<[u8; 4]>(), any::<[u8; 8]>()).prop_map(|(family, picks, numbers)| Step {
        family,
        picks,
        numbers,
    })
}

fn recipes(
    origins: &'static [Origin],
    families: Vec<Family>,
    steps: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Recipe> {
    let leaves = prop::collection::vec(leaf(origins), 1..=6);
    let steps = prop::collection::vec(step(families), steps);
    let (outputs, updates) = (prop::collection::vec(any::<u8>(), 0..=3), prop::collection::vec(any::<u8>(), 6));
    (leaves, steps, outputs, updates, any::<u64>()).prop_map(|(mut leaves, steps, outputs, updates, seed)| {
        leaves[0].origin = Origin::Input;
        Recipe { leaves, steps, outputs, updates, seed, goal: Goal::Values }
    })
}

fn losses(families: Vec<Family>) -> impl Strategy<Value = Recipe> {
    use Origin::*;
    let recipes = recipes(&[State, State, Input, Indices, Scalar, Constant], families, 1..=8);
    recipes.prop_map(|recipe| Recipe { goal: Goal::Loss, ..recipe })
}

/// Recipes of operators with a derivative everywhere, few enough that differences can follow them.
pub(crate) fn smooth_recipe() -> impl Strategy<Value = Recipe> {
    losses(SMOOTH.to_vec())
}

/// Recipes of all operators, and training steps.
pub(crate) fn any_recipe() -> impl Strategy<Value = Recipe> {
    use Origin::*;
    let families = SMOOTH.iter().chain(&ROUGH).copied().collect();
    let values = recipes(&[Input, State, State, Indices, Whole, Scalar, Constant, LearningRate], families, 1..=18);
    // No differences are taken of these, and a maximum and an order have gradients of their own.
    let trained = SMOOTH.iter().copied().chain([Family::MaxPool, Family::Sort]).collect();
    let training = losses(trained).prop_map(|recipe| Recipe { goal: Goal::Training, ..recipe });
    prop_oneof![3 => values, 1 => training]
}

/// The same recipes of all operators every time, for counts over many.
pub(crate) fn some_recipes(count: usize) -> Vec<Recipe> {
    let mut runner = TestRunner::deterministic();
    let mut recipe = || any_recipe().new_tree(&mut runner).expect("no recipe is refused").current();
    (0..count).map(|_| recipe()).collect()
}

/// Views of views of one input.
pub(crate) fn view_recipe() -> impl Strategy<Value = Recipe> {
    let families = vec![Family::Permute, Family::Reshape, Family::Slice, Family::Broadcast];
    recipes(&[Origin::Input], families, 1..=9).prop_map(|mut recipe| {
        recipe.leaves.truncate(1);
        recipe
    })
}

/// What fails is printed as Rust beside the message; the data alone tell nobody anything.
impl fmt::Debug for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
