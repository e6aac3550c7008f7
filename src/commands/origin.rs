//! `wgrad where`: which operator first made NaN or infinity in a run that such a loss ended.
//!
//! Runs repeat bit for bit, so the steps before the loss are taken again, and the last of them are looked at launch by
//! launch. The run itself pays nothing for that.

use super::{DeviceArgument, device_name, open_device, print};
use crate::config::{Config, LoadedData};
use crate::error::Error;
use crate::run_folder::RunFolder;
use nn_core::{Check, Device, Fault, Finding};
use nn_train::{Observer, StepReport, Trainer};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// How many steps before the loss are looked at first; where a parameter was lost before them, ever more are.
const FIRST_LOOK: u32 = 4;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder of a run that ended with a loss of NaN or infinity
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    device: DeviceArgument,
}

/// # Errors
/// If the folder holds no such run, its data or device cannot be used, or the steps do not repeat.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let folder = RunFolder::open(&arguments.run);
    let mut config = folder.read_config()?;
    let broken = |line: &Value| line.get("loss").is_some_and(Value::is_null);
    let step = folder.read_metrics(u32::MAX).iter().find(|line| broken(line)).and_then(|line| line["step"].as_u64());
    let Some(step) = step.and_then(|step| u32::try_from(step).ok()) else {
        let path = arguments.run.display();
        return Err(Error::usage(format!(
            "every loss in {path}/metrics.jsonl is finite: there is nothing to look for"
        )));
    };
    let device = open_device(&device_name(arguments.device.device.as_deref(), config.train.device.as_deref()))?;
    let data = config.complete(&arguments.run.display().to_string())?;
    let replay = Replay { folder, config, data, device, step };
    let mut look = FIRST_LOOK;
    loop {
        let first = step.saturating_sub(look - 1).max(1);
        let found = replay.from(first)?;
        let lost_before = matches!(found.finding.fault, Fault::Given { .. }) && found.finding.op == "state";
        if lost_before && first > 1 {
            look = look.saturating_mul(8);
            continue;
        }
        return print(&format!(
            "the loss of step {step} is no finite number; it began at step {}:\n{}\n",
            found.step, found.finding
        ));
    }
}

struct Replay {
    folder: RunFolder,
    config: Config,
    data: LoadedData,
    device: Device,
    step: u32,
}

struct Found {
    step: u32,
    finding: Box<Finding>,
}

/// Ends the repeated run where the first one ended.
struct Until(u32);

impl Observer for Until {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        if report.step >= self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Replay {
    /// Takes the steps again and looks at them from step `first` on.
    fn from(&self, first: u32) -> Result<Found, Error> {
        let mut trainer = self.before(first)?.check(Some(Check::Finite)).check_from_step(first);
        eprintln!("repeating steps {} to {}, looking from step {first} on", trainer.step() + 1, self.step);
        let unlike = |what: &str| {
            Error::run(format!(
                "the run did not repeat on {}: {what}; use the device, driver and version of wgrad that it ran with",
                self.device.name()
            ))
        };
        match trainer.fit(&self.data.training, None, &mut Until(self.step)) {
            Err(nn_train::Error::Core(nn_core::Error::Check(finding))) => {
                Ok(Found { step: trainer.step() + 1, finding })
            }
            Err(nn_train::Error::NonFinite { step, .. }) => Err(unlike(&format!("step {step} broke, but no operator"))),
            Err(error) => Err(error.into()),
            Ok(_) => Err(unlike(&format!("the loss of step {} is finite this time", self.step))),
        }
    }

    /// A trainer that has taken fewer steps than `first`: from the newest such checkpoint, or from the start.
    fn before(&self, first: u32) -> Result<Trainer, Error> {
        for checkpoint in self.folder.list_checkpoints() {
            let mut trainer = self.config.trainer(self.device.clone())?;
            if trainer.load_training(&checkpoint).is_ok() && trainer.step() < first {
                return Ok(trainer);
            }
        }
        let mut trainer = self.config.trainer(self.device.clone())?;
        self.config.load_beginning(&mut trainer)?;
        Ok(trainer)
    }
}
