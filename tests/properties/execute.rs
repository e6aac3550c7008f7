//! Running a recipe in a session, and the bits that it leaves.

use crate::interpreter::{Named, step_scalars};
use crate::traced::Traced;
use nn_core::passes::ScheduleOptions;
use nn_core::{Device, Error, Executable, Input, Session};

/// A session that runs one recipe.
pub(crate) struct Execution<'a> {
    traced: &'a Traced,
    pub(crate) session: Session,
    program: Executable,
}

/// The outputs and the updated states of a run.
pub(crate) type Results = (Named, Named);

impl<'a> Execution<'a> {
    pub(crate) fn new(device: &Device, options: ScheduleOptions, traced: &'a Traced) -> Result<Execution<'a>, Error> {
        let mut session = Session::with_options(device, options);
        set_states(&mut session, traced)?;
        let program = session.compile(&traced.graph)?;
        Ok(Execution { traced, session, program })
    }

    /// Gives all states their first values.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        set_states(&mut self.session, self.traced)
    }

    pub(crate) fn run(&mut self) -> Result<Results, Error> {
        let Execution { traced, session, program } = self;
        let names: Vec<String> = program.schedule().inputs.iter().map(|(name, _)| name.clone()).collect();
        let inputs: Vec<(&str, Input<'_>)> =
            names.iter().map(|name| (name.as_str(), Input::from(traced.leaf(name)))).collect();
        session.run(program, &inputs, step_scalars())?;
        let graph = &traced.graph;
        let outputs = graph.outputs.iter().map(|(name, _)| Ok((name.clone(), session.output_f64(program, name)?)));
        let outputs = outputs.collect::<Result<Named, Error>>()?;
        let state = |(name, _): &(String, _)| {
            let tensor = session.state(name)?;
            Ok((name.clone(), tensor.as_f32()?.iter().map(|&value| f64::from(value)).collect()))
        };
        Ok((outputs, graph.updates.iter().map(state).collect::<Result<Named, Error>>()?))
    }
}

fn set_states(session: &mut Session, traced: &Traced) -> Result<(), Error> {
    traced.states.iter().try_for_each(|name| session.set_state(name, traced.leaf(name)))
}

/// One run in a session of its own.
pub(crate) fn run(device: &Device, options: ScheduleOptions, traced: &Traced) -> Result<Results, String> {
    let outcome = Execution::new(device, options, traced).and_then(|mut execution| execution.run());
    outcome.map_err(|error| format!("on {}, {options:?}: {error}", device.name()))
}

/// What differs between two sets of named values, bit for bit; NaN is NaN, whatever its bits.
pub(crate) fn compare(what: &str, found: &Named, expected: &Named) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} values instead of {}", found.len(), expected.len()));
    }
    for (name, expected) in expected {
        let found = found.get(name).ok_or_else(|| format!("{what}: {name} is missing"))?;
        let bits = |value: &f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        let bits = |values: &[f64]| values.iter().map(bits).collect::<Vec<_>>();
        if bits(found) != bits(expected) {
            return Err(format!("{what}: {name} is {found:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

/// Outputs and states, bit for bit.
pub(crate) fn compare_results(what: &str, found: &Results, expected: &Results) -> Result<(), String> {
    compare(what, &found.0, &expected.0)?;
    compare(&format!("{what}, states"), &found.1, &expected.1)
}
