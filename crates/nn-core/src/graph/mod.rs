//! The graph: a list of nodes in the order of computation. It names no operator.

mod accuracy;
mod display;
mod op;
mod trace;

pub use accuracy::{Accuracy, Arithmetic};
pub use op::{
    Backward, CpuCall, CpuInput, ElementwiseOp, GpuCall, GpuLaunch, GpuOperand, GpuPiece, GpuView, GpuWindow, InPlace,
    KernelOp, Op, OpKind, Precision, ViewOp,
};
pub(crate) use op::{too_long, values_of, word, words};
pub use trace::{Trace, Value, extend, trace};
pub(crate) use trace::{apply, apply_many};

use crate::tensor::{Bytes, TensorType};
use std::panic::Location;
use std::sync::Arc;

/// A node's place in its graph. Meaningless in any other graph: names cross the border of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The place as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One output of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId {
    /// The node that makes the value.
    pub node: NodeId,
    /// Which of the node's outputs it is.
    pub output: u32,
}

/// Numbers that change from step to step and travel in one small block of sixteen words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepScalar {
    /// The number of the step, from 1 (`u32`).
    Step,
    /// The seed of the run (`u32`).
    Seed,
    /// The learning rate of the step (`f32`).
    LearningRate,
}

impl StepScalar {
    /// Which word of the block holds it.
    pub const fn word(self) -> usize {
        match self {
            StepScalar::Step => 0,
            StepScalar::Seed => 1,
            StepScalar::LearningRate => 2,
        }
    }

    /// Its type: a scalar.
    pub fn kind(self) -> TensorType {
        use crate::tensor::DType;
        let dtype = if matches!(self, StepScalar::LearningRate) { DType::F32 } else { DType::U32 };
        TensorType::new(dtype, [])
    }

    /// Its name in printed graphs.
    pub const fn name(self) -> &'static str {
        match self {
            StepScalar::Step => "step",
            StepScalar::Seed => "seed",
            StepScalar::LearningRate => "learning_rate",
        }
    }
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A tensor handed in at each run, by name.
    Input(String),
    /// A tensor that the session keeps between runs, by name: parameters, optimiser state.
    State(String),
    /// Values fixed while tracing.
    Constant(Arc<Bytes>),
    /// A number of the step.
    StepScalar(StepScalar),
    /// An operator on other nodes' values.
    Op(Arc<dyn Op>),
}

/// One step of the computation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// The values it reads, all made by earlier nodes.
    pub inputs: Vec<ValueId>,
    /// The types of the values it makes.
    pub outputs: Vec<TensorType>,
    /// The path of scopes it was traced in, such as `blocks.3.attention`.
    pub scope: Arc<str>,
    /// The user's line that made it.
    pub location: &'static Location<'static>,
}

impl Node {
    /// The operator, if the node is one.
    pub fn op(&self) -> Option<&Arc<dyn Op>> {
        match &self.kind {
            NodeKind::Op(op) => Some(op),
            _ => None,
        }
    }

    /// What the operator is to the passes, if the node is one.
    pub fn op_kind(&self) -> Option<OpKind<'_>> {
        self.op().map(|op| op.kind())
    }
}

/// Nodes in the order of computation, with the names by which the world sees them.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// Values that can be read after a run, by name.
    pub outputs: Vec<(String, ValueId)>,
    /// State that a run replaces: name and new value.
    pub updates: Vec<(String, ValueId)>,
}

impl Graph {
    /// All nodes, each after those it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Nodes with their places.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    /// The node at a place of this graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The type of a value.
    pub fn kind_of(&self, value: ValueId) -> &TensorType {
        &self.node(value.node).outputs[value.output as usize]
    }

    /// Appends a node; its inputs must be in the graph already.
    pub fn push(&mut self, node: Node) -> NodeId {
        debug_assert!(node.inputs.iter().all(|input| input.node.index() < self.nodes.len()));
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// The value of the output with this name.
    pub fn output(&self, name: &str) -> Option<ValueId> {
        self.outputs.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Names and types of the inputs, in the order of their first use.
    pub fn inputs(&self) -> Vec<(&str, &TensorType)> {
        self.named(|kind| if let NodeKind::Input(name) = kind { Some(name) } else { None })
    }

    /// Names and types of the states, in the order of their first use.
    pub fn states(&self) -> Vec<(&str, &TensorType)> {
        self.named(|kind| if let NodeKind::State(name) = kind { Some(name) } else { None })
    }

    fn named<'a>(&'a self, name: impl Fn(&'a NodeKind) -> Option<&'a String>) -> Vec<(&'a str, &'a TensorType)> {
        self.nodes.iter().filter_map(|node| name(&node.kind).map(|name| (name.as_str(), &node.outputs[0]))).collect()
    }

    /// The name of a node for labels: `scope/op#place`.
    pub fn label(&self, id: NodeId) -> String {
        let node = self.node(id);
        let what = match &node.kind {
            NodeKind::Input(name) | NodeKind::State(name) => name,
            NodeKind::Constant(_) => "constant",
            NodeKind::StepScalar(scalar) => scalar.name(),
            NodeKind::Op(op) => op.name(),
        };
        let separator = if node.scope.is_empty() { "" } else { "/" };
        format!("{}{separator}{what}#{}", node.scope, id.index())
    }
}
