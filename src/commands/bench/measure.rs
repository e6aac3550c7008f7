//! Taking the times: of a kernel alone, and of training steps.

use super::cases::{Case, Operand, name};
use crate::commands::profile::Clock;
use crate::config::Config;
use crate::error::Error;
use nn_core::graph::Precision;
use nn_core::run::{Profile, Roof};
use nn_core::schedule::Schedule;
use nn_core::{Device, Session, Shape, StepScalars, Tensor, TensorType, passes};
use std::time::Instant;

/// A group of runs takes about so long, in seconds.
const GROUP: f64 = 0.04;
/// Groups, of which the median counts.
const GROUPS: usize = 7;
/// Steps that don't count, and those that do at least and at most; they take about `STEPS_TIME` seconds.
const WARM_UP: u32 = 3;
const STEPS: [u32; 2] = [5, 200];
const STEPS_TIME: f64 = 2.0;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// Operations and bytes of each launch.
    launches: Vec<(u64, u64)>,
    /// Of a training step what else is to be told.
    pub(super) step: Option<Step>,
}

impl Measured {
    fn new(seconds: f64, schedule: &Schedule, step: Option<Step>) -> Measured {
        let launches = schedule.launches.iter();
        let launches = launches.map(|launch| (schedule.flops(launch), schedule.traffic(launch))).collect();
        Measured { seconds, launches, step }
    }

    /// Operations of all launches.
    pub(super) fn flops(&self) -> u64 {
        self.launches.iter().map(|(flops, _)| flops).sum()
    }

    /// Bytes that all launches read and write at least once.
    pub(super) fn bytes(&self) -> u64 {
        self.launches.iter().map(|(_, bytes)| bytes).sum()
    }

    /// How many launches there are.
    pub(super) fn launches(&self) -> usize {
        self.launches.len()
    }

    /// The least time by the roof, launch by launch, over that measured.
    pub(super) fn roof_share(&self, roof: &Roof) -> f64 {
        self.launches.iter().map(|&(flops, bytes)| roof.seconds(flops, bytes)).sum::<f64>() / self.seconds
    }
}

/// What a training step has besides its time.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// From the start of the process to the end of the first step, in seconds: of use if nothing was measured before.
    pub(super) first: f64,
    /// Data, model, trace and compilation, in seconds.
    pub(super) prepared: f64,
    /// The bytes that the planner told of.
    pub(super) planned: u64,
    /// The most memory that the process has had, where the system says it.
    pub(super) peak: Option<u64>,
}

/// Operations and bytes of a kernel, told without running it.
pub(super) fn size(case: &Case) -> Result<(u64, u64), Error> {
    let (graph, _) = case.graph().map_err(failed)?;
    let schedule = passes::schedule(&graph, passes::ScheduleOptions::default()).map_err(failed)?;
    let told = Measured::new(0.0, &schedule, None);
    Ok((told.flops(), told.bytes()))
}

fn failed(error: nn_core::Error) -> Error {
    Error::run(error.to_string())
}

/// The time of a kernel whose operands lie on the device.
///
/// # Errors
/// If the device has no room for it, or fails.
pub(super) fn kernel(device: &Device, case: &Case) -> Result<Measured, Error> {
    let (graph, zeros) = case.graph().map_err(failed)?;
    let mut session = Session::new(device);
    for (place, operand) in case.operands.iter().enumerate() {
        session.set_state(&name(place), &values(operand).map_err(failed)?).map_err(failed)?;
    }
    for (name, shape) in zeros {
        let kind = TensorType::new(nn_core::DType::F32, shape);
        session.set_state(&name, &Tensor::zeros(kind)).map_err(failed)?;
    }
    let mut program = session.compile(&graph).map_err(failed)?;
    let mut number = 0;
    let mut group = |runs: u32| -> Result<f64, Error> {
        let begin = Instant::now();
        for _ in 0..runs {
            number += 1;
            session.run(&mut program, &[], StepScalars::new(number, 1, 1e-3)).map_err(failed)?;
        }
        session.results(&mut program, true).map_err(failed)?;
        Ok(begin.elapsed().as_secs_f64() / f64::from(runs))
    };
    group(2)?;
    let runs = (GROUP / group(2)?.max(1e-6)).clamp(1.0, 2000.0) as u32;
    let mut times = (0..GROUPS).map(|_| group(runs)).collect::<Result<Vec<f64>, _>>()?;
    Ok(Measured::new(median(&mut times), program.schedule(), None))
}

fn values(operand: &Operand) -> Result<Tensor, nn_core::Error> {
    let shape = Shape::from(operand.shape());
    let count = shape.elements();
    match operand {
        Operand::Numbers(_) => {
            let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 2000) as f32 / 1000.0 - 1.0).collect();
            Tensor::from_f32(shape, &values)
        }
        Operand::Indices(_, limit) => {
            let values: Vec<u32> = (0..count).map(|i| (i * 7919) as u32 % limit).collect();
            Tensor::from_u32(shape, &values)
        }
    }
}

pub(super) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// The time of a training step, batches and all, as `wgrad train` takes them.
///
/// # Errors
/// If the device has no room for it, or fails.
pub(super) fn training(device: &Device, mut config: Config, start: Instant) -> Result<Measured, Error> {
    let begin = Instant::now();
    config.train.epochs = None;
    config.train.steps = Some(1);
    let data = config.complete("workload")?;
    let mut trainer = config.trainer(device.clone())?;
    trainer.prepare(&data.training)?;
    let prepared = begin.elapsed().as_secs_f64();
    let mut clock = Clock::default();
    let once = Instant::now();
    trainer.fit(&data.training, None, &mut clock)?;
    let first = clock.first.unwrap_or(once).duration_since(start).as_secs_f64();
    let one = once.elapsed().as_secs_f64();
    // A run with launches timed tells what the program is.
    if let Some(session) = trainer.session_mut() {
        session.set_profile(true);
    }
    trainer.fit(&data.training, None, &mut clock)?;
    let profiles = trainer.session_mut().map(Session::take_profile).unwrap_or_default();
    let profile = profiles.first().ok_or_else(|| Error::run("internal: no step was measured"))?;
    let Profile { schedule, .. } = profile;
    if let Some(session) = trainer.session_mut() {
        session.set_profile(false);
    }
    let steps = ((STEPS_TIME / one.max(1e-6)) as u32).clamp(STEPS[0], STEPS[1]);
    let mut clock = Clock::default();
    let mut trainer = trainer.steps(WARM_UP + steps);
    trainer.fit(&data.training, None, &mut clock)?;
    let mut times: Vec<f64> = clock.steps.iter().skip(WARM_UP as usize).copied().collect();
    // Results of a GPU arrive in bursts: their mean is the time of a step, and on the CPU the median is steadier.
    let seconds = match device.as_gpu() {
        Some(_) => times.iter().sum::<f64>() / times.len().max(1) as f64,
        None => median(&mut times),
    };
    let planned = schedule.memory(Precision::F32).peak();
    let step = Step { first, prepared, planned, peak: peak_memory() };
    Ok(Measured::new(seconds, schedule, Some(step)))
}

/// The most memory that this process has had resident, in bytes; Linux tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
