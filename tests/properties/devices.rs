//! Devices agree with double precision: every launch of a graph, and every member of a group, gives what its inputs say,
//! within the accuracy of its operator.

use crate::common;
use crate::execute::Execution;
use crate::recipe::{Recipe, any_recipe};
use crate::runner::{check, check_on_gpu};
use nn_core::passes::ScheduleOptions;
use nn_core::{Check, Device, Error};
use std::cell::Cell;

/// How much was compared, and the largest part that an operator took of the error it may make.
#[derive(Default)]
struct Tally {
    cases: Cell<u64>,
    share: Cell<f64>,
}

impl Tally {
    /// Two runs, of which the second begins with the states that the first left.
    fn add(&self, device: &Device, recipe: &Recipe) -> Result<(), String> {
        let checked = |fuse: bool| -> Result<(), Error> {
            let traced = recipe.traced()?;
            let mut execution = Execution::new(device, ScheduleOptions { fuse, max_buffers: 8 }, &traced)?;
            execution.session.set_check(Some(Check::Every));
            execution.run()?;
            execution.run()?;
            for op in execution.session.check_report().ops() {
                self.cases.set(self.cases.get() + op.cases);
                self.share.set(self.share.get().max(op.share));
            }
            Ok(())
        };
        [true, false].into_iter().try_for_each(|fuse| checked(fuse).map_err(|error| format!("fuse {fuse}: {error}")))
    }

    /// Prints the tally, and fails if next to nothing was compared.
    fn finish(&self, device: &Device, least: u64) {
        let (cases, share) = (self.cases.get(), self.share.get());
        println!("{}: {cases} results compared, at most {share:.3} of what is allowed", device.name());
        assert!(cases > least && share > 0.1, "{cases} results, {share}");
    }
}

#[test]
fn the_cpu_agrees_with_double_precision() {
    let (device, tally) = (Device::cpu(), Tally::default());
    check(800, any_recipe(), |recipe| tally.add(&device, recipe));
    tally.finish(&device, 8000);
}

#[test]
fn the_gpu_agrees_with_double_precision() {
    let Some(device) = common::gpu() else { return };
    let tally = Tally::default();
    check_on_gpu(40, any_recipe(), |recipe| tally.add(&device, recipe));
    tally.finish(&device, 400);
}
