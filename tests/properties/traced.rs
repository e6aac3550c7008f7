//! A recipe as a graph with the elements of its leaves, and as Rust text to be pasted into a test.

use crate::call::{Call, elements_text, tensor_text};
use crate::interpreter::{Named, step_scalars};
use crate::recipe::{Goal, Recipe};
use crate::resolve::Resolver;
use nn_core::graph::{self, Graph, NodeKind};
use nn_core::passes::differentiate;
use nn_core::{DType, Error, StepScalar, Tensor};
use std::collections::BTreeSet;
use std::fmt;

/// What a recipe makes.
pub(crate) struct Traced {
    pub(crate) graph: Graph,
    /// The elements of inputs and states by name.
    pub(crate) leaves: Vec<(String, Tensor)>,
    pub(crate) states: Vec<String>,
    pub(crate) calls: Vec<Call>,
    pub(crate) outputs: Vec<(String, usize)>,
    updates: Vec<(String, usize)>,
    goal: Goal,
}

impl Recipe {
    /// Makes the graph.
    pub(crate) fn traced(&self) -> Result<Traced, Error> {
        let mut made = None;
        let graph = graph::trace(|trace| {
            let mut resolver = Resolver::run(trace, self);
            let (outputs, updates) = (resolver.outputs(self), resolver.updates(self));
            outputs.iter().for_each(|(name, value)| trace.output(name, resolver.values[*value]));
            updates.iter().for_each(|(name, value)| trace.update(name, resolver.values[*value]));
            made = Some((resolver.leaves, resolver.states, resolver.calls, outputs, updates));
            Ok(())
        })?;
        let (leaves, states, calls, outputs, updates) = made.expect("the function was traced");
        let mut traced = Traced { graph, leaves, states, calls, outputs, updates, goal: self.goal };
        if self.goal == Goal::Training {
            traced.train()?;
        }
        Ok(traced)
    }
}

impl Traced {
    /// Adds gradients and a step of gradient descent.
    fn train(&mut self) -> Result<(), Error> {
        let states: Vec<&str> = self.states.iter().map(String::as_str).collect();
        let graph = differentiate(&self.graph, "loss", &states)?;
        (self.graph, ()) = graph::extend(graph, |trace| {
            let rate = trace.step_scalar(StepScalar::LearningRate);
            for name in states {
                let gradient = trace.existing_output(&format!("gradient/{name}")).expect("every state has a gradient");
                trace.update(name, trace.state(name, DType::F32, gradient.shape()) - gradient * rate);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The elements of inputs and states in double precision.
    pub(crate) fn wide(&self) -> Named {
        self.leaves.iter().map(|(name, tensor)| (name.clone(), widened(tensor))).collect()
    }

    pub(crate) fn leaf(&self, name: &str) -> &Tensor {
        &self.leaves.iter().find(|(known, _)| known == name).expect("it is a leaf").1
    }

    /// Names of the inputs that some output or update depends on: those that a program asks for.
    fn inputs_read(&self) -> BTreeSet<String> {
        let graph = &self.graph;
        let mut open: Vec<_> = graph.outputs.iter().chain(&graph.updates).map(|(_, value)| value.node).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(graph.node(id).inputs.iter().map(|input| input.node));
            }
        }
        let name = |id| match &graph.node(id).kind {
            NodeKind::Input(name) => Some(name.clone()),
            _ => None,
        };
        seen.into_iter().filter_map(name).collect()
    }
}

fn widened(tensor: &Tensor) -> Vec<f64> {
    match tensor.kind().dtype {
        DType::U32 => tensor.as_u32().unwrap().iter().map(|&number| f64::from(number)).collect(),
        DType::I32 => tensor.as_i32().unwrap().iter().map(|&number| f64::from(number)).collect(),
        DType::F32 | DType::F16 => tensor.as_f32().unwrap().iter().map(|&number| f64::from(number)).collect(),
    }
}

/// The lines that [`Traced::train`] stands for.
const TRAINING: &str = "    let graph = differentiate(&graph, \"loss\", &states)?;
    let (graph, ()) = graph::extend(graph, |t| {
        let rate = t.step_scalar(StepScalar::LearningRate);
        for name in states {
            let gradient = t.existing_output(&format!(\"gradient/{name}\")).unwrap();
            t.update(name, t.state(name, DType::F32, gradient.shape()) - gradient * rate);
        }
        Ok(())
    })?;";

/// A block that runs the graph in a session on `device` and evaluates to the session and the program.
impl fmt::Display for Traced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{{\n    let graph = graph::trace(|t| {{")?;
        for (number, call) in self.calls.iter().enumerate() {
            writeln!(formatter, "        let v{number} = {call};")?;
        }
        for (name, value) in &self.outputs {
            writeln!(formatter, "        t.output({name:?}, v{value});")?;
        }
        for (name, value) in &self.updates {
            writeln!(formatter, "        t.update({name:?}, v{value});")?;
        }
        writeln!(formatter, "        Ok(())\n    }})?;")?;
        if self.goal == Goal::Training {
            writeln!(formatter, "    let states: [&str; {}] = {:?};\n{TRAINING}", self.states.len(), self.states)?;
        }
        writeln!(formatter, "    let mut session = Session::new(&device);")?;
        for name in &self.states {
            let tensor = tensor_text(self.leaf(name));
            writeln!(formatter, "    session.set_state({name:?}, &{tensor})?;")?;
        }
        writeln!(formatter, "    let mut program = session.compile(&graph)?;\n    let inputs = [")?;
        for name in self.inputs_read() {
            let tensor = self.leaf(&name);
            let kind = format!("{:?}", tensor.kind().dtype);
            writeln!(formatter, "        ({name:?}, Input::{kind}(&{})),", elements_text(tensor))?;
        }
        let scalars = step_scalars();
        let scalars = format!("StepScalars::new({}, {}, {:?})", scalars.step, scalars.seed, scalars.learning_rate);
        writeln!(formatter, "    ];\n    session.run(&mut program, &inputs, {scalars})?;")?;
        writeln!(formatter, "    (session, program)\n}}")
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.traced() {
            Ok(traced) => write!(formatter, "{traced}"),
            Err(error) => write!(formatter, "a recipe that cannot be traced: {error}"),
        }
    }
}
