//! CPU time to record, finish and submit a launch on a GPU: `cargo bench --bench overhead -- [device]`.
//!
//! Runs programs of many tiny launches, alternating between two kernels as a training step does, and prints
//! microseconds per launch of the call to `run` alone: what the calling thread pays before it can go on, as time of the
//! clock and as CPU time of the thread (which leaves out other threads, such as a software driver's).

use cpu_time::ThreadTime;
use nn_core::{DType, Device, Graph, Session, StepScalars, Tensor, graph};
use std::time::Instant;

/// A chain of `pairs` row sums and additions: two launches each, none of which can be fused with another.
fn chain(pairs: usize) -> Result<Graph, nn_core::Error> {
    graph::trace(|trace| {
        let mut x = trace.state("x", DType::F32, [8, 8]);
        for _ in 0..pairs {
            x = x.sum(&[1]).broadcast_to([8, 8]) * 0.125 + 1.0;
        }
        trace.output("total", x.sum_all());
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let device = match name {
        Some(name) => Device::from_name(&name)?,
        None => match gpu_runtime::adapters().first() {
            Some(adapter) => Device::from_name(&format!("gpu:{}", adapter.name))?,
            None => {
                return Err("no GPU adapter: install a Vulkan driver (mesa-vulkan-drivers gives a software one)".into());
            }
        },
    };
    for pairs in [25, 100, 400] {
        let mut session = Session::new(&device);
        session.set_state("x", &Tensor::from_f32([8, 8], &[1.0; 64])?)?;
        let mut program = session.compile(&chain(pairs)?)?;
        let launches = program.schedule().launches.len();
        let (mut times, mut processor) = (Vec::new(), Vec::new());
        for step in 1..=200 {
            let (begin, thread) = (Instant::now(), ThreadTime::now());
            session.run(&mut program, &[], StepScalars::new(step, 0, 0.0))?;
            processor.push(thread.elapsed().as_secs_f64() * 1e6 / launches as f64);
            times.push(begin.elapsed().as_secs_f64() * 1e6 / launches as f64);
            // Waiting in between keeps the queue empty, so that the call never waits for the device.
            session.results(&mut program, true)?;
        }
        times.sort_by(f64::total_cmp);
        processor.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        println!(
            "{} overhead launches={launches} us_per_launch clock median={:.2} min={:.2}, CPU median={:.2} min={:.2}",
            device.name(),
            times[middle],
            times[0],
            processor[middle],
            processor[0]
        );
    }
    Ok(())
}
