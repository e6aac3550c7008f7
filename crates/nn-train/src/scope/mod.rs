//! The scope: what model code declares its parameters on while it is traced.

mod init;
mod lora;

pub use init::Init;
pub(crate) use init::stream_of;
pub use lora::{Adapters, LinearLayer, Lora, WeightLayout};
pub(crate) use lora::{adapter_names, adapter_path};

use crate::Error;
use nn_core::{DType, Graph, Shape, Trace, Value, graph};

/// A tensor that a model keeps between steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// Its path, such as `blocks.3.attention.weight`: the name in the session and in files.
    pub name: String,
    /// Its sizes; the elements are `f32`.
    pub shape: Shape,
    /// How it begins.
    pub init: Init,
    /// Whether the optimiser changes it.
    pub trainable: bool,
}

/// All that a model keeps, in the order it was declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declarations {
    all: Vec<Declaration>,
    linear: Vec<LinearLayer>,
}

impl Declarations {
    /// Every declaration, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Declaration> {
        self.all.iter()
    }

    /// The declarations that an optimiser may change, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &Declaration> {
        self.all.iter().filter(|declaration| declaration.trainable)
    }

    /// The declaration of this name.
    pub fn get(&self, name: &str) -> Option<&Declaration> {
        self.all.iter().find(|declaration| declaration.name == name)
    }

    /// The linear layers, in order: those that adapters can go to, see [`Lora`].
    pub fn linear_layers(&self) -> &[LinearLayer] {
        &self.linear
    }

    /// How many numbers the parameters hold in all.
    pub fn parameter_count(&self) -> usize {
        self.parameters().map(|declaration| declaration.shape.elements()).sum()
    }
}

/// Records a model: hands out inputs and parameters, and keeps the path of names.
#[derive(Debug)]
pub struct Scope {
    trace: Trace,
    path: String,
    training: bool,
    next_stream: u32,
    declarations: Declarations,
    /// What each of the declared linear layers gave.
    linear_results: Vec<Value>,
    adapting: Option<lora::Adapting>,
}

impl Scope {
    /// A trainable parameter of `f32` values named `name` below the current path. The same path again is the same,
    /// shared, parameter; with another shape it is an error when the trace ends.
    #[track_caller]
    pub fn param(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Value {
        self.declare(name, shape.into(), init, true)
    }

    /// A tensor of `f32` values that is kept between steps but not trained, such as a running mean. Change it with
    /// [`Scope::update`].
    #[track_caller]
    pub fn state(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Value {
        self.declare(name, shape.into(), init, false)
    }

    /// Replaces the state `name` below the current path by `value` at the end of the step.
    #[track_caller]
    pub fn update(&mut self, name: &str, value: Value) {
        self.trace.update(&self.path_of(name), value);
    }

    #[track_caller]
    fn declare(&mut self, name: &str, shape: Shape, init: Init, trainable: bool) -> Value {
        let path = self.path_of(name);
        match self.declarations.get(&path) {
            Some(known) if known.shape == shape && known.trainable == trainable => {}
            Some(known) => {
                let kind = |trainable| if trainable { "parameter" } else { "state" };
                let message = format!(
                    "`{path}` was declared as a {} of shape {} and now as a {} of shape {shape}; give one of them another name",
                    kind(known.trainable),
                    known.shape,
                    kind(trainable)
                );
                self.trace.fail("declare", message);
            }
            None => {
                self.declarations.all.push(Declaration { name: path.clone(), shape: shape.clone(), init, trainable })
            }
        }
        self.trace.state(&path, DType::F32, shape)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// Runs `function` with `name` appended to the path: `scope("fc1", …)` declares `fc1.weight`.
    pub fn scope<R>(&mut self, name: &str, function: impl FnOnce(&mut Scope) -> R) -> R {
        let inner = self.path_of(name);
        let outer = std::mem::replace(&mut self.path, inner);
        let trace = self.trace;
        let result = trace.scoped(name, || function(self));
        self.path = outer;
        result
    }

    /// A tensor handed in at each run. Its name has no path.
    #[track_caller]
    pub fn input(&mut self, name: &str, dtype: DType, shape: impl Into<Shape>) -> Value {
        self.trace.input(name, dtype, shape)
    }

    /// Makes a value readable after a run. Its name has no path.
    #[track_caller]
    pub fn output(&mut self, name: &str, value: Value) {
        for (layer, result) in self.declarations.linear.iter_mut().zip(&self.linear_results) {
            layer.is_output |= result.is(value);
        }
        self.trace.output(name, value);
    }

    /// Whether the model is traced for training; dropout does nothing otherwise.
    pub fn training(&self) -> bool {
        self.training
    }

    /// The recorder, for constants, step scalars and errors.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// The path of names here, such as `blocks.3`; empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A stream of random numbers of its own, for [`Value::dropout`], [`Trace::random_uniform`] or
    /// [`Trace::random_normal`]: the order of tracing decides which, so that the same model draws the same numbers.
    pub fn next_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        // Normal numbers take the stream that follows too.
        self.next_stream += 2;
        stream
    }
}

/// Traces a model: the graph, and what it declared.
///
/// # Errors
/// The first call whose shapes or types don't fit, with its path and line; or the function's own error.
pub fn trace_model(
    training: bool,
    function: impl FnOnce(&mut Scope) -> Result<(), nn_core::Error>,
) -> Result<(Graph, Declarations), Error> {
    let mut declarations = Declarations::default();
    let graph = graph::trace(|trace| {
        let mut scope = Scope {
            trace: *trace,
            path: String::new(),
            training,
            next_stream: 0,
            declarations: Declarations::default(),
            linear_results: Vec::new(),
            adapting: None,
        };
        function(&mut scope)?;
        declarations = scope.declarations;
        Ok(())
    })?;
    Ok((graph, declarations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_name_and_the_same_path_is_shared() -> Result<(), Error> {
        let (graph, declarations) = trace_model(false, |s| {
            let outer = s.scope("blocks", |s| s.scope("3", |s| s.param("weight", [2, 3], Init::Zeros)));
            let again = s.scope("blocks.3", |s| s.param("weight", [2, 3], Init::Ones));
            s.output("y", outer + again);
            Ok(())
        })?;
        assert_eq!(declarations.iter().count(), 1);
        assert_eq!(graph.states().len(), 1);
        assert_eq!(graph.states()[0].0, "blocks.3.weight");
        assert_eq!(declarations.parameter_count(), 6);
        Ok(())
    }

    #[test]
    fn the_same_path_with_another_shape_is_an_error() {
        let error = trace_model(false, |s| {
            s.param("weight", [2, 3], Init::Zeros);
            s.param("weight", [3, 2], Init::Zeros);
            Ok(())
        });
        let message = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("`weight`") && message.contains("[2, 3]") && message.contains("[3, 2]"), "{message}");
    }
}
