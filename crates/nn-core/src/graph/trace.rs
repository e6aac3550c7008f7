//! Recording: values that remember the graph they belong to, and the errors of the first wrong call.
//!
//! A [`Value`] is a small copyable handle, so that model code reads like mathematics:
//! `(x * w + b).relu()`. The graphs under construction live in a table of the thread; a value
//! carries the key of its own. The first mistake is kept with the user's line and reported when the
//! trace ends; until then calls go on with values of a plausible type, so that a model needs no `?`.

use super::{Graph, Node, NodeId, NodeKind, Op, StepScalar, ValueId};
use crate::Error;
use crate::tensor::{DType, MAX_RANK, Shape, Tensor, TensorType};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A tensor in a graph that is being traced: a handle to copy around freely.
///
/// Its methods add nodes to the graph and infer the result's shape at once.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    key: u64,
    id: ValueId,
    not_send: PhantomData<*const ()>,
}

/// The recorder handed to a traced function.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    key: u64,
    not_send: PhantomData<*const ()>,
}

const FOREIGN: &str = "the values belong to different traces; a value cannot outlive the function that traced it";

struct Recording {
    graph: Graph,
    scope: Arc<str>,
    /// Where nodes of a gradient come from: the forward node's line.
    origin: Option<&'static Location<'static>>,
    error: Option<Error>,
}

thread_local! {
    static RECORDINGS: RefCell<HashMap<u64, Recording>> = RefCell::new(HashMap::new());
    static NEXT_KEY: Cell<u64> = const { Cell::new(0) };
}

fn with<R>(key: u64, work: impl FnOnce(&mut Recording) -> R) -> Option<R> {
    RECORDINGS.with_borrow_mut(|all| all.get_mut(&key).map(work))
}

/// Traces a function into a graph. It records with the [`Trace`] and the values that come from it.
///
/// # Errors
/// The first call whose shapes or types don't fit, with the scope and the line of the call; or the
/// function's own error.
pub fn trace(function: impl FnOnce(&Trace) -> Result<(), Error>) -> Result<Graph, Error> {
    extend(Graph::default(), function).map(|(graph, ())| graph)
}

/// Goes on tracing where a graph ended.
///
/// # Errors
/// As [`trace`].
pub fn extend<R>(graph: Graph, function: impl FnOnce(&Trace) -> Result<R, Error>) -> Result<(Graph, R), Error> {
    let key = NEXT_KEY.replace(NEXT_KEY.get() + 1);
    let recording = Recording { graph, scope: Arc::from(""), origin: None, error: None };
    RECORDINGS.with_borrow_mut(|all| all.insert(key, recording));
    let tracer = Trace { key, not_send: PhantomData };
    // A panic in the user's function must not leave the recording behind; if it follows from a
    // mistake that was already noted, the mistake is the better message.
    let outcome = catch_unwind(AssertUnwindSafe(|| function(&tracer)));
    let recording = RECORDINGS.with_borrow_mut(|all| all.remove(&key));
    let Some(recording) = recording else {
        return Err(Error::Internal("a recording vanished while it was traced".into()));
    };
    if let Some(error) = recording.error {
        return Err(error);
    }
    match outcome {
        Ok(result) => Ok((recording.graph, result?)),
        Err(panic) => resume_unwind(panic),
    }
}

impl Trace {
    fn value(&self, id: ValueId) -> Value {
        Value { key: self.key, id, not_send: PhantomData }
    }

    /// The handle of a value of the graph that is being extended.
    pub(crate) fn existing(&self, id: ValueId) -> Value {
        self.value(id)
    }

    /// The value of an output of the graph that is being extended, by name.
    pub fn existing_output(&self, name: &str) -> Option<Value> {
        with(self.key, |recording| recording.graph.output(name)).flatten().map(|id| self.value(id))
    }

    #[track_caller]
    fn leaf(&self, kind: NodeKind, output: TensorType) -> Value {
        let location = Location::caller();
        let id = with(self.key, |recording| {
            if let Some(message) = refuse(&output) {
                recording.fail("tensor", message, location);
            }
            let existing = recording.graph.iter().find_map(|(id, node)| match (&node.kind, &kind) {
                (NodeKind::Input(a), NodeKind::Input(b)) | (NodeKind::State(a), NodeKind::State(b)) if a == b => {
                    Some((id, node.outputs[0].clone()))
                }
                (NodeKind::StepScalar(a), NodeKind::StepScalar(b)) if a == b => Some((id, node.outputs[0].clone())),
                _ => None,
            });
            if let Some((id, known)) = existing {
                if known != output {
                    let what = format!("{kind:?} was declared as {known} and now as {output}");
                    recording.fail("declare", what, location);
                }
                return id;
            }
            recording.push(kind, Vec::new(), vec![output], location)
        });
        self.value(ValueId { node: id.unwrap_or(NodeId(0)), output: 0 })
    }

    /// A tensor handed in at each run. The same name again gives the same value.
    #[track_caller]
    pub fn input(&self, name: &str, dtype: DType, shape: impl Into<Shape>) -> Value {
        self.leaf(NodeKind::Input(name.into()), TensorType::new(dtype, shape))
    }

    /// A tensor that the session keeps between runs. The same name again gives the same value.
    #[track_caller]
    pub fn state(&self, name: &str, dtype: DType, shape: impl Into<Shape>) -> Value {
        self.leaf(NodeKind::State(name.into()), TensorType::new(dtype, shape))
    }

    /// A number that changes from step to step.
    #[track_caller]
    pub fn step_scalar(&self, scalar: StepScalar) -> Value {
        self.leaf(NodeKind::StepScalar(scalar), scalar.kind())
    }

    /// Values fixed in the graph.
    #[track_caller]
    pub fn constant(&self, tensor: &Tensor) -> Value {
        let bytes = Arc::new(crate::tensor::Bytes::copy_of(tensor.bytes()));
        self.leaf(NodeKind::Constant(bytes), tensor.kind().clone())
    }

    /// The scalar constant `number` as `f32`.
    #[track_caller]
    pub fn scalar(&self, number: f32) -> Value {
        let bytes = Arc::new(crate::tensor::Bytes::copy_of(&number.to_ne_bytes()));
        self.leaf(NodeKind::Constant(bytes), TensorType::new(DType::F32, []))
    }

    /// The scalar constant `number` as `u32`.
    #[track_caller]
    pub fn scalar_u32(&self, number: u32) -> Value {
        let bytes = Arc::new(crate::tensor::Bytes::copy_of(&number.to_ne_bytes()));
        self.leaf(NodeKind::Constant(bytes), TensorType::new(DType::U32, []))
    }

    /// Makes a value readable after a run under `name`.
    #[track_caller]
    pub fn output(&self, name: &str, value: Value) {
        let location = Location::caller();
        with(self.key, |recording| {
            if value.key != self.key {
                return recording.fail("output", FOREIGN.into(), location);
            }
            if recording.graph.output(name).is_some() {
                recording.fail("output", format!("the name {name:?} is taken"), location);
            }
            recording.graph.outputs.push((name.into(), value.id));
        });
    }

    /// Makes a run replace the state `name` by `value`.
    #[track_caller]
    pub fn update(&self, name: &str, value: Value) {
        let location = Location::caller();
        with(self.key, |recording| {
            if value.key != self.key {
                return recording.fail("update", FOREIGN.into(), location);
            }
            let declared =
                recording.graph.states().iter().find(|(known, _)| *known == name).map(|(_, kind)| (*kind).clone());
            let found = recording.graph.kind_of(value.id);
            let problem = match declared {
                None => Some(format!("no state named {name:?} was declared")),
                Some(kind) if kind != *found => Some(format!("the state {name:?} is {kind}, its new value {found}")),
                Some(_) if recording.graph.updates.iter().any(|(known, _)| known == name) => {
                    Some(format!("the state {name:?} is updated twice"))
                }
                Some(_) => None,
            };
            if let Some(problem) = problem {
                recording.fail("update", problem, location);
            }
            recording.graph.updates.push((name.into(), value.id));
        });
    }

    /// Runs `function` with `name` appended to the path of scopes.
    pub fn scoped<R>(&self, name: &str, function: impl FnOnce() -> R) -> R {
        let before = with(self.key, |recording| {
            let inner = if recording.scope.is_empty() { name.into() } else { format!("{}.{name}", recording.scope) };
            std::mem::replace(&mut recording.scope, inner.into())
        });
        let result = function();
        if let Some(before) = before {
            with(self.key, |recording| recording.scope = before);
        }
        result
    }

    /// Runs `function` so that its nodes carry the scope and the line of another node.
    pub(crate) fn on_behalf_of<R>(&self, node: &Node, function: impl FnOnce() -> R) -> R {
        let scope = node.scope.clone();
        let before = with(self.key, |recording| {
            let origin = recording.origin.replace(node.location);
            (std::mem::replace(&mut recording.scope, scope), origin)
        });
        let result = function();
        if let Some((scope, origin)) = before {
            with(self.key, |recording| (recording.scope, recording.origin) = (scope, origin));
        }
        result
    }

    /// Notes a mistake of the caller as tracing's own calls do: reported when the trace ends.
    #[track_caller]
    pub fn fail(&self, what: &str, message: impl Into<String>) {
        let location = Location::caller();
        with(self.key, |recording| recording.fail(what, message.into(), location));
    }

    /// A copy of the graph as recorded so far.
    pub fn graph(&self) -> Graph {
        with(self.key, |recording| recording.graph.clone()).unwrap_or_default()
    }
}

impl Recording {
    fn fail(&mut self, op: &str, message: String, location: &'static Location<'static>) {
        let location = self.origin.unwrap_or(location);
        let scope = if self.scope.is_empty() { "the top scope".into() } else { self.scope.to_string() };
        self.error.get_or_insert(Error::Trace { op: op.into(), message, scope, location });
    }

    fn push(
        &mut self,
        kind: NodeKind,
        inputs: Vec<ValueId>,
        outputs: Vec<TensorType>,
        location: &'static Location<'static>,
    ) -> NodeId {
        let location = self.origin.unwrap_or(location);
        self.graph.push(Node { kind, inputs, outputs, scope: self.scope.clone(), location })
    }
}

/// Why no tensor can have this type, if so.
fn refuse(kind: &TensorType) -> Option<String> {
    if kind.shape.rank() > MAX_RANK {
        return Some(format!("{kind} has more than {MAX_RANK} dimensions"));
    }
    kind.shape.contains(&0).then(|| format!("{kind} has a dimension of size 0"))
}

impl Value {
    /// The handle inside its graph.
    pub fn id(self) -> ValueId {
        self.id
    }

    /// The recorder that this value belongs to.
    pub fn recorder(self) -> Trace {
        Trace { key: self.key, not_send: PhantomData }
    }

    /// The name of the operator that made this value, if one did.
    pub(crate) fn made_by(self) -> Option<&'static str> {
        let name = |recording: &mut Recording| recording.graph.node(self.id.node).op().map(|op| op.name());
        with(self.key, name).flatten()
    }

    /// Element type and shape.
    pub fn kind(self) -> TensorType {
        let kind = with(self.key, |recording| recording.graph.kind_of(self.id).clone());
        kind.unwrap_or_else(|| TensorType::new(DType::F32, []))
    }

    /// Whether both are the same tensor of the same graph, not only equal ones.
    pub fn is(self, other: Value) -> bool {
        (self.key, self.id) == (other.key, other.id)
    }

    /// The sizes of the dimensions.
    pub fn shape(self) -> Shape {
        self.kind().shape
    }

    /// The element type.
    pub fn dtype(self) -> DType {
        self.kind().dtype
    }
}

/// Adds an operator on values to their graph and returns its outputs.
#[track_caller]
pub(crate) fn apply(op: impl Op, inputs: &[Value]) -> Vec<Value> {
    let location = Location::caller();
    let Some(first) = inputs.first() else { return Vec::new() };
    let key = first.key;
    let made = with(key, |recording| {
        let foreign = inputs.iter().any(|input| input.key != key);
        let kinds: Vec<TensorType> = if foreign {
            Vec::new()
        } else {
            inputs.iter().map(|input| recording.graph.kind_of(input.id).clone()).collect()
        };
        let inferred = if foreign {
            Err(FOREIGN.into())
        } else {
            op.infer(&kinds).and_then(|outputs| outputs.iter().find_map(refuse).map_or(Ok(outputs), Err))
        };
        match inferred {
            Ok(outputs) => {
                let count = outputs.len();
                let ids = inputs.iter().map(|input| input.id).collect();
                let node = recording.push(NodeKind::Op(Arc::new(op)), ids, outputs, location);
                super::op::values_of(node, count).collect()
            }
            Err(message) => {
                recording.fail(op.name(), message, location);
                vec![first.id]
            }
        }
    });
    // A value whose trace has ended can only come from code that smuggled it out of its closure;
    // the handle stays inert and the trace it is used in will notice the foreign key.
    let made: Vec<ValueId> = made.unwrap_or_else(|| vec![first.id]);
    made.into_iter().map(|id| Value { key, id, not_send: PhantomData }).collect()
}

/// As [`apply`], for an operator of `N` outputs. After a mistake, which the trace reports when it ends, they all stand
/// for the first input.
#[track_caller]
pub(crate) fn apply_many<const N: usize>(op: impl Op, inputs: &[Value]) -> [Value; N] {
    let made = apply(op, inputs);
    std::array::from_fn(|output| made.get(output).copied().unwrap_or(inputs[0]))
}
