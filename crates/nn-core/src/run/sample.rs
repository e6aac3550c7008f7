//! A sample of an operator as a graph and as a run: what the doctor and the tests do with the list of samples.

use super::input::Input;
use super::session::{Executable, Session, StepScalars};
use crate::Error;
use crate::graph::{self, Graph, Value};
use crate::ops::samples::Sample;
use crate::passes::differentiate;
use crate::tensor::{DType, Tensor};
use cpu_reference::philox::Philox;

impl Sample {
    /// The places of the inputs that gradients are taken of: those of type f32.
    pub fn real_inputs(&self) -> Vec<usize> {
        (0..self.inputs.len()).filter(|&place| self.inputs[place].kind().dtype == DType::F32).collect()
    }

    /// The graph that applies the operator to the inputs `x0`, `x1`, … and gives the output `y`. With `gradients`,
    /// inputs of type f32 are states instead, and there are an input `r` like `y`, the output `loss` = Σ y·r and the
    /// outputs `gradient/x0`, ….
    ///
    /// # Errors
    /// If the operator has no gradient.
    pub fn graph(&self, gradients: bool) -> Result<Graph, Error> {
        let graph = graph::trace(|trace| {
            let leaf = |(place, tensor): (usize, &Tensor)| {
                let (name, kind) = (format!("x{place}"), tensor.kind());
                if gradients && kind.dtype == DType::F32 {
                    trace.state(&name, kind.dtype, kind.shape.clone())
                } else {
                    trace.input(&name, kind.dtype, kind.shape.clone())
                }
            };
            let inputs: Vec<Value> = self.inputs.iter().enumerate().map(leaf).collect();
            let y = (self.build)(&inputs);
            trace.output("y", y);
            if gradients {
                let r = trace.input("r", DType::F32, y.shape());
                trace.output("loss", (y * r).sum_all());
            }
            Ok(())
        })?;
        if !gradients {
            return Ok(graph);
        }
        let names: Vec<String> = self.real_inputs().iter().map(|place| format!("x{place}")).collect();
        differentiate(&graph, "loss", &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The values of `r` for so many elements: between 0.5 and 1.5, always the same.
    pub fn weights(elements: usize) -> Vec<f32> {
        let mut random = Philox::new(7, 7);
        (0..elements).map(|_| random.uniform() + 0.5).collect()
    }

    /// Runs [`Sample::graph`] once, in a session that keeps nothing else; its outputs can then be read.
    ///
    /// # Errors
    /// If the operator has no gradient, or the device fails or, while the session checks, errs.
    pub fn run(&self, session: &mut Session, gradients: bool) -> Result<Executable, Error> {
        self.run_with(session, gradients, &self.inputs.iter().map(Input::from).collect::<Vec<_>>())
    }

    /// As [`Sample::run`], with other values in place of the inputs that are no states.
    ///
    /// # Errors
    /// As [`Sample::run`]; also if the values don't fit.
    pub fn run_with(&self, session: &mut Session, gradients: bool, inputs: &[Input<'_>]) -> Result<Executable, Error> {
        let graph = self.graph(gradients)?;
        if gradients {
            for place in self.real_inputs() {
                session.set_state(&format!("x{place}"), &self.inputs[place])?;
            }
        }
        let mut program = session.compile(&graph)?;
        let elements = graph.output("y").map_or(0, |y| graph.kind_of(y).shape.elements());
        let weights = Sample::weights(elements);
        let names: Vec<String> = (0..self.inputs.len()).map(|place| format!("x{place}")).collect();
        let all = names.iter().map(String::as_str).zip(inputs.iter().copied());
        // A gradient may not need every input; the program then does not have it.
        let known: Vec<String> = program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
        let inputs: Vec<(&str, Input<'_>)> =
            all.chain([("r", Input::F32(&weights))]).filter(|(name, _)| known.iter().any(|k| k == name)).collect();
        session.run(&mut program, &inputs, StepScalars::default())?;
        Ok(program)
    }
}
