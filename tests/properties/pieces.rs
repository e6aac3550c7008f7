//! Programs for bindings so small that nearly every launch is cut in pieces: each launch still gives what its inputs say.

use crate::common;
use crate::execute::Execution;
use crate::recipe::any_recipe;
use crate::runner::check_on_gpu;
use gpu_runtime::{Choice, DeviceOptions};
use nn_core::passes::{ScheduleOptions, lower, schedule};
use nn_core::{Check, Device, Error};
use std::cell::Cell;

#[test]
fn programs_in_pieces_mean_the_same_as_their_graphs() {
    let Some(whole) = common::gpu() else { return };
    let smallest = u64::from(whole.as_gpu().expect("a GPU").limits().storage_alignment.max(64));
    let options = DeviceOptions { max_binding_bytes: Some(smallest), ..DeviceOptions::default() };
    let small = Device::open(&Choice::Name(whole.name()), &options).expect("it was opened before");
    let limits = small.as_gpu().expect("a GPU").limits();
    let (pieces, run) = (Cell::new(0), Cell::new(0));
    check_on_gpu(100, any_recipe(), |recipe| {
        let text = |error: Error| error.to_string();
        let traced = recipe.traced().map_err(text)?;
        for fuse in [true, false] {
            let options = ScheduleOptions { fuse, max_buffers: 8 };
            let scheduled = schedule(&traced.graph, options).map_err(text)?;
            let program = match lower(&scheduled, limits) {
                Ok(program) => program,
                // A row of softmax may be longer than a binding.
                Err(error) if error.is_limit() => continue,
                Err(error) => return Err(text(error)),
            };
            pieces.set(pieces.get() + program.launches.len() - scheduled.launches.len());
            let mut execution = Execution::new(&small, options, &traced).map_err(text)?;
            execution.session.set_check(Some(Check::Every));
            execution.run().map_err(|error| format!("fuse {fuse}: {error}"))?;
            run.set(run.get() + 1);
        }
        Ok(())
    });
    println!("{} programs with {} more launches", run.get(), pieces.get());
    assert!(run.get() > 60 && pieces.get() > 100, "{} programs, {} more launches", run.get(), pieces.get());
}
