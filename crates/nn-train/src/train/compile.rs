//! From a function over a scope to a program with its states in a session: the functional face.

use crate::Error;
use crate::nn::Init;
use crate::optim::{Optimizer, StateDeclaration, clip_gradients};
use crate::scope::{Declarations, LinearLayer, Scope, adapter_names, trace_model};
use nn_core::run::Executable;
use nn_core::{DType, Graph, Session, Shape, Tensor, TensorType, passes};

/// A program, and what its model declared.
pub struct Compiled {
    /// The program, to run in the session that it was compiled in.
    pub program: Executable,
    /// Parameters and other states; the session keeps them by name.
    pub declarations: Declarations,
}

/// Traces a function and compiles it. States that the session does not keep yet are begun by `seed`; others stay as
/// they are, so that programs share them by name.
///
/// ```
/// use nn_core::{DType, Device, Input, Session, StepScalars};
/// use nn_train::{Layer, compile, nn::Linear};
///
/// let mut session = Session::new(&Device::cpu());
/// let mut compiled = compile(&mut session, false, 0, |s| {
///     let x = s.input("x", DType::F32, [2, 3]);
///     let y = s.scope("layer", |s| Linear::new(3, 1).forward(s, x));
///     s.output("y", y);
///     Ok(())
/// })?;
/// session.run(&mut compiled.program, &[("x", Input::F32(&[0.0; 6]))], StepScalars::default())?;
/// assert_eq!(session.output(&mut compiled.program, "y")?.shape().to_vec(), [2, 1]);
/// # Ok::<(), nn_train::Error>(())
/// ```
///
/// # Errors
/// If shapes don't fit, a state is kept with another shape, or the program does not fit the device.
pub fn compile(
    session: &mut Session,
    training: bool,
    seed: u64,
    function: impl FnOnce(&mut Scope) -> Result<(), nn_core::Error>,
) -> Result<Compiled, Error> {
    let (graph, declarations) = trace_model(training, function)?;
    begin(session, &declarations, seed)?;
    Ok(Compiled { program: session.compile(&graph)?, declarations })
}

/// A training step as a graph, and what it keeps between steps.
#[derive(Debug)]
pub struct TrainingGraph {
    /// From the inputs to the updates of parameters and optimiser state; not yet simplified or scheduled.
    pub graph: Graph,
    /// Parameters and other states of the model.
    pub declarations: Declarations,
    /// What the optimiser keeps on top; it begins with zeros.
    pub optimizer_states: Vec<StateDeclaration>,
}

impl TrainingGraph {
    /// Compiles the step; states as in [`compile`].
    ///
    /// # Errors
    /// If a state is kept with another shape, or the program does not fit the device.
    pub fn compile(self, session: &mut Session, seed: u64) -> Result<Compiled, Error> {
        let TrainingGraph { graph, declarations, optimizer_states } = self;
        begin(session, &declarations, seed)?;
        for state in optimizer_states {
            if !keeps(session, &state.name) {
                session.set_state(&state.name, &Tensor::zeros(TensorType::new(DType::F32, state.shape)))?;
            }
        }
        Ok(Compiled { program: session.compile(&graph)?, declarations })
    }
}

/// Traces a function in training mode, adds gradients of its scalar output `loss`, clipping to `clip_norm` if given,
/// and the optimiser's update of every parameter that `trains` by name. The graph has the outputs of the function and
/// `gradient_norm`. Needs no device.
///
/// # Errors
/// If shapes don't fit, there is no output `loss`, or no gradient reaches a parameter: all such are named.
pub fn training_graph(
    optimizer: &Optimizer,
    clip_norm: Option<f64>,
    trains: impl Fn(&str) -> bool,
    function: impl FnOnce(&mut Scope) -> Result<(), nn_core::Error>,
) -> Result<TrainingGraph, Error> {
    let (graph, declarations) = trace_model(true, function)?;
    let chosen = declarations.parameters().filter(|declaration| trains(&declaration.name));
    let parameters: Vec<(String, Shape)> =
        chosen.map(|declaration| (declaration.name.clone(), declaration.shape.clone())).collect();
    if parameters.is_empty() {
        return Err(Error::Setting(match declarations.parameters().next() {
            Some(_) => "every parameter is frozen: there is nothing to train".into(),
            None => "the model has no parameters: there is nothing to train".into(),
        }));
    }
    let names: Vec<String> = parameters.iter().map(|(name, _)| name.clone()).collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut graph = passes::differentiate(&graph, "loss", &borrowed)?;
    if let Some(max_norm) = clip_norm {
        graph = clip_gradients(graph, &names, max_norm)?;
    }
    let (graph, optimizer_states) = optimizer.apply(graph, &parameters)?;
    Ok(TrainingGraph { graph, declarations, optimizer_states })
}

/// Compiles a [`training_graph`]; states as in [`compile`].
///
/// # Errors
/// As [`compile`] and [`training_graph`].
pub fn compile_training(
    session: &mut Session,
    seed: u64,
    optimizer: &Optimizer,
    clip_norm: Option<f64>,
    trains: impl Fn(&str) -> bool,
    function: impl FnOnce(&mut Scope) -> Result<(), nn_core::Error>,
) -> Result<Compiled, Error> {
    training_graph(optimizer, clip_norm, trains, function)?.compile(session, seed)
}

fn keeps(session: &Session, name: &str) -> bool {
    session.states().iter().any(|(known, _)| known == name)
}

/// Sets the states that the session does not keep yet.
///
/// # Errors
/// If a layer whose adapter the session keeps was traced without it, or a state cannot be set.
pub(super) fn begin(session: &mut Session, declarations: &Declarations, seed: u64) -> Result<(), Error> {
    let forgotten = |layer: &&LinearLayer| !layer.adapted && keeps(session, &adapter_names(&layer.path)[1]);
    if let Some(layer) = declarations.linear_layers().iter().find(forgotten) {
        return Err(Error::Setting(format!(
            "the session keeps a low-rank adapter of `{}`, but the program was traced without it; call Scope::adapt with \
             Trainer::adapters before the model's layers, or Trainer::merge before",
            layer.path
        )));
    }
    for declaration in declarations.iter() {
        if !keeps(session, &declaration.name) {
            let init: &Init = &declaration.init;
            let values = init.values(&declaration.shape, seed, &declaration.name);
            session.set_state(&declaration.name, &Tensor::from_f32(declaration.shape.clone(), &values)?)?;
        }
    }
    Ok(())
}
