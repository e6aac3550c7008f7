//! A session keeps tensors by name between runs, compiles graphs, and runs them.

use super::check::{self, Check, CheckReport};
use super::cpu::{CpuExecutable, Surroundings, widen};
use super::device::{Device, Kind};
use super::explain::Explanation;
use super::input::Input;
use super::profile::{Profile, record};
use super::stepwise::{CpuCuts, CpuSteps, GpuCuts, GpuSteps};
use crate::Error;
use crate::graph::{Graph, Precision};
use crate::passes::{ScheduleOptions, lower_launches, schedule};
use crate::schedule::Schedule;
use crate::tensor::{Bytes, DType, Tensor, TensorType};
use gpu_runtime::{Buffer, Memory, Plan};
use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::ops::Range;
use std::sync::Arc;

/// The numbers of one step, see [`crate::StepScalar`]. One block of sixteen words on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck_derive::Pod, bytemuck_derive::Zeroable)]
#[repr(C)]
pub struct StepScalars {
    /// The number of the step, from 1.
    pub step: u32,
    /// The seed of the run.
    pub seed: u32,
    /// The learning rate of the step.
    pub learning_rate: f32,
    /// Room for numbers to come; zero.
    pub reserved: [u32; 13],
}

impl StepScalars {
    /// The numbers of a step.
    pub fn new(step: u32, seed: u32, learning_rate: f32) -> StepScalars {
        StepScalars { step, seed, learning_rate, reserved: [0; 13] }
    }
}

/// The small outputs of one finished run.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The number of the run, from 0, as [`Session::run`] returned it.
    pub run: u64,
    names: Arc<[String]>,
    values: Vec<Tensor>,
}

impl RunResult {
    /// The output of this name, if it is small enough to come back from every run (256 bytes).
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.names.iter().position(|known| known == name).map(|place| &self.values[place])
    }

    /// The `f32` scalar output of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn scalar(&self, name: &str) -> Result<f32, Error> {
        let values = self.get(name).map(Tensor::as_f32).transpose()?;
        let missing = || Error::Usage(format!("no scalar output named {name:?} comes back from this program"));
        values.and_then(|values| values.first().copied()).ok_or_else(missing)
    }
}

/// A compiled graph. It belongs to the session that compiled it.
pub struct Executable {
    schedule: Arc<Schedule>,
    streamed: Arc<[String]>,
    backend: Backend,
}

enum Backend {
    Cpu { executable: CpuExecutable, state_places: Vec<usize>, runs: u64, done: VecDeque<RunResult>, cuts: CpuCuts },
    Gpu(Box<GpuProgram>),
}

struct GpuProgram {
    plan: Plan,
    /// For each launch of the schedule its launches in the plan.
    ranges: Vec<Range<usize>>,
    cuts: GpuCuts,
}

impl Executable {
    /// The launches and the memory of the program.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The GPU plan, if it runs on one.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.backend {
            Backend::Gpu(program) => Some(&program.plan),
            Backend::Cpu { .. } => None,
        }
    }

    /// The memory that the program holds: fixed from its compilation on. States are shared with other programs of the
    /// session; count them once and add [`Memory::own`] of each program.
    pub fn memory(&self) -> Memory {
        match &self.backend {
            Backend::Cpu { executable, .. } => executable.memory(&self.schedule),
            Backend::Gpu(program) => program.plan.memory(),
        }
    }

    /// What the program does and takes, as a table and as facts.
    ///
    /// # Errors
    /// Faults of ours only.
    pub fn explain(&self) -> Result<Explanation, Error> {
        Explanation::new(&self.schedule, self.plan().map(|plan| plan.program().as_ref()), self.memory())
    }
}

/// Keeps state (parameters, optimiser state) by name on one device, and runs programs that share it.
pub struct Session {
    device: Device,
    options: ScheduleOptions,
    names: Vec<(String, TensorType)>,
    states: States,
    check: Option<Check>,
    report: CheckReport,
    profile: Option<Vec<Profile>>,
}

enum States {
    Cpu(Vec<Bytes>),
    Gpu(HashMap<String, Buffer>),
}

impl Session {
    /// A session without state.
    pub fn new(device: &Device) -> Session {
        let fuse = !matches!(device.0, Kind::Cpu(Precision::F64));
        Session::with_options(device, ScheduleOptions { fuse, ..ScheduleOptions::default() })
    }

    /// A session whose programs are scheduled with the given options.
    pub fn with_options(device: &Device, options: ScheduleOptions) -> Session {
        let states = match &device.0 {
            Kind::Cpu(_) => States::Cpu(Vec::new()),
            Kind::Gpu(_) => States::Gpu(HashMap::new()),
        };
        let (check, report) = (None, CheckReport::default());
        Session { device: device.clone(), options, names: Vec::new(), states, check, report, profile: None }
    }

    /// Where programs run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Names and types of the tensors kept, in the order they were first set.
    pub fn states(&self) -> &[(String, TensorType)] {
        &self.names
    }

    /// Looks at every result of the runs that follow, or no longer does. Programs need not be compiled again; the
    /// results keep their bits. A run that is looked at is slow: each launch is waited for, and each value read. A
    /// run without costs nothing more for it.
    ///
    /// What is found ends [`Session::run`] with [`Error::Check`], in the middle: states that launches before have
    /// updated stay so.
    pub fn set_check(&mut self, check: Option<Check>) {
        self.check = check;
    }

    /// The check that is on.
    pub fn check(&self) -> Option<&Check> {
        self.check.as_ref()
    }

    /// What was compared by [`Check::Every`] and [`Check::From`] in all runs until now, or since the report was taken.
    pub fn check_report(&self) -> &CheckReport {
        &self.report
    }

    /// Takes the report away; the next one begins empty.
    pub fn take_check_report(&mut self) -> CheckReport {
        take(&mut self.report)
    }

    /// Takes the time of each launch in the runs that follow, or no longer does. On a GPU each run is waited for. What
    /// was measured before is dropped. Runs that are looked at by a check are not timed.
    pub fn set_profile(&mut self, on: bool) {
        self.profile = on.then(Vec::new);
    }

    /// What was measured since [`Session::set_profile`], a part for each program that ran; measuring goes on.
    pub fn take_profile(&mut self) -> Vec<Profile> {
        self.profile.as_mut().map(take).unwrap_or_default()
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|(known, _)| known == name)
    }

    /// Sets a tensor to be kept. Setting it again replaces the values.
    ///
    /// # Errors
    /// If it was kept with another type, or the device has no memory left.
    pub fn set_state(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let place = self.place(name);
        if let Some((_, kind)) = place.map(|place| &self.names[place])
            && kind != tensor.kind()
        {
            return Err(Error::Usage(format!("the state {name:?} is {kind}, it cannot be set to {}", tensor.kind())));
        }
        match (&mut self.states, &self.device.0) {
            (States::Cpu(states), Kind::Cpu(precision)) => {
                let bytes = widen(*precision, tensor.kind(), tensor.bytes());
                match place {
                    Some(place) => states[place] = bytes,
                    None => states.push(bytes),
                }
            }
            (States::Gpu(states), Kind::Gpu(device)) => {
                if !states.contains_key(name) {
                    states.insert(name.to_string(), device.buffer(name, tensor.bytes().len() as u64)?);
                }
                states[name].write(tensor.bytes())?;
            }
            _ => return Err(Error::Internal("a session's state is not on its device".into())),
        }
        if place.is_none() {
            self.names.push((name.to_string(), tensor.kind().clone()));
        }
        Ok(())
    }

    /// The values kept under a name, once all runs before are done.
    ///
    /// # Errors
    /// If nothing is kept under the name, or the device fails.
    pub fn state(&self, name: &str) -> Result<Tensor, Error> {
        let Some(place) = self.place(name) else {
            return Err(Error::Usage(format!("no state named {name:?} is kept in this session")));
        };
        let kind = &self.names[place].1;
        match &self.states {
            States::Cpu(states) => narrow(kind, states[place].as_ref()),
            States::Gpu(states) => {
                let bytes = states[name].read()?;
                Tensor::from_bytes(kind.clone(), &bytes[..kind.bytes()])
            }
        }
    }

    /// Compiles a graph. All states it names must be kept already.
    ///
    /// # Errors
    /// If a state is missing or of another type, or the program does not fit the device: before anything runs.
    pub fn compile(&mut self, graph: &Graph) -> Result<Executable, Error> {
        for (name, kind) in graph.states() {
            match self.place(name).map(|place| &self.names[place].1) {
                Some(kept) if kept == kind => {}
                Some(kept) => {
                    return Err(Error::Usage(format!(
                        "the program needs the state {name:?} as {kind}, but it is {kept}"
                    )));
                }
                None => {
                    return Err(Error::Usage(format!(
                        "the program needs the state {name:?} ({kind}), which is not set"
                    )));
                }
            }
        }
        let schedule = Arc::new(schedule(graph, self.options)?);
        let (streamed, backend): (Vec<String>, Backend) = match (&self.device.0, &self.states) {
            (Kind::Cpu(precision), _) => {
                let executable = CpuExecutable::new(&schedule, *precision)?;
                let place = |(name, _): &(String, TensorType)| {
                    let missing = || Error::Internal(format!("the state {name:?} has no place"));
                    self.place(name).ok_or_else(missing)
                };
                let state_places = schedule.states.iter().map(place).collect::<Result<_, _>>()?;
                let small = schedule.outputs.iter().filter(|(_, operand)| operand.layout.shape.elements() <= 64);
                let streamed = small.map(|(name, _)| name.clone()).collect();
                let (done, cuts) = (VecDeque::new(), CpuCuts::new());
                (streamed, Backend::Cpu { executable, state_places, runs: 0, done, cuts })
            }
            (Kind::Gpu(device), States::Gpu(states)) => {
                let lowered = lower_launches(&schedule, device.limits())?;
                let streamed = lowered.program.outputs.iter().filter(|output| output.streamed);
                let streamed = streamed.map(|output| output.name.clone()).collect();
                let plan = Plan::new(device, Arc::new(lowered.program), states)?;
                let (ranges, cuts) = (lowered.ranges, GpuCuts::default());
                (streamed, Backend::Gpu(Box::new(GpuProgram { plan, ranges, cuts })))
            }
            _ => return Err(Error::Internal("a session's state is not on its device".into())),
        };
        Ok(Executable { schedule, streamed: streamed.into(), backend })
    }

    /// Runs a program once; on a GPU it returns as soon as the work is handed over. Returns the number of the run.
    ///
    /// # Errors
    /// If an input is missing, unknown, or of the wrong size or type, or the device fails; [`Error::Check`] where a
    /// check is on and finds something.
    pub fn run(
        &mut self,
        program: &mut Executable,
        inputs: &[(&str, Input<'_>)],
        scalars: StepScalars,
    ) -> Result<u64, Error> {
        let schedule = program.schedule.clone();
        if let Some((name, _)) = inputs.iter().find(|(name, _)| schedule.inputs.iter().all(|(known, _)| known != name))
        {
            let known: Vec<&str> = schedule.inputs.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::Usage(format!("the program has no input named {name:?}; it has {}", known.join(", "))));
        }
        let mut given = Vec::with_capacity(schedule.inputs.len());
        for (name, kind) in &schedule.inputs {
            let Some((_, input)) = inputs.iter().find(|(known, _)| known == name) else {
                return Err(Error::Usage(format!("the input {name:?} ({kind}) is missing")));
            };
            let (bytes, count, dtype) = input.parts();
            let fits = dtype == kind.dtype.name() || (dtype == "f64" && kind.dtype == DType::F32);
            if !fits || count != kind.shape.elements() {
                return Err(Error::Usage(format!(
                    "the input {name:?} is {kind}, but {count} values of {dtype} were given"
                )));
            }
            given.push((bytes, dtype == "f64", kind));
        }
        let step: [u32; 16] = bytemuck::cast(scalars);
        match (&mut program.backend, &mut self.states, &self.device.0) {
            (
                Backend::Cpu { executable, state_places, runs, done, cuts },
                States::Cpu(states),
                Kind::Cpu(precision),
            ) => {
                let single = *precision == Precision::F32;
                if single && given.iter().any(|(_, double, _)| *double) {
                    return Err(Error::Usage("only the f64 oracle takes f64 inputs".into()));
                }
                let owned: Vec<Option<Bytes>> = given
                    .iter()
                    .map(|(bytes, double, kind)| (!single && !double).then(|| widen(*precision, kind, bytes)))
                    .collect();
                let borrowed: Vec<&[u8]> = given
                    .iter()
                    .zip(&owned)
                    .map(|((bytes, _, _), owned)| owned.as_ref().map_or(*bytes, AsRef::as_ref))
                    .collect();
                let mut around = Surroundings { states, state_places, inputs: &borrowed, step: &step };
                match &self.check {
                    None => {
                        let all = 0..schedule.launches.len();
                        let mut times = self.profile.is_some().then(|| Vec::with_capacity(all.len()));
                        executable.run(&schedule, all, &mut around, times.as_mut())?;
                        if let (Some(profile), Some(times)) = (&mut self.profile, times) {
                            record(profile, &schedule, times);
                        }
                    }
                    Some(check) => {
                        let (schedule, precision) = (&*schedule, *precision);
                        let mut steps = CpuSteps { executable, cuts, schedule, precision, around };
                        check::run(check, schedule, &mut steps, &step, &self.device.name(), &mut self.report)?;
                    }
                }
                let mut values = Vec::with_capacity(program.streamed.len());
                for (name, operand) in &schedule.outputs {
                    if program.streamed.contains(name) {
                        let kind = TensorType::new(operand.dtype, operand.layout.shape.clone());
                        values.push(narrow(&kind, executable.read(operand)?)?);
                    }
                }
                let run = *runs;
                *runs += 1;
                done.push_back(RunResult { run, names: program.streamed.clone(), values });
                Ok(run)
            }
            (Backend::Gpu(program), _, Kind::Gpu(device)) => {
                let GpuProgram { plan, ranges, cuts } = &mut **program;
                for ((bytes, double, _), (name, _)) in given.iter().zip(&schedule.inputs) {
                    if *double {
                        return Err(Error::Usage("only the f64 oracle takes f64 inputs".into()));
                    }
                    plan.write_input(name, bytes)?;
                }
                if let Some(check) = &self.check {
                    let (schedule, step) = (&*schedule, &step);
                    let mut steps = GpuSteps { device, plan, cuts, ranges, schedule, step };
                    check::run(check, schedule, &mut steps, step, &self.device.name(), &mut self.report)?;
                    return Ok(plan.end_run(step)?);
                }
                let Some(profile) = &mut self.profile else { return Ok(plan.run(&step)?) };
                let (run, times) = plan.run_timed(&step)?;
                // A launch of the schedule may be several of the plan.
                let whole = |part: &Range<usize>| match &times[part.clone()] {
                    [first, .., last] => first.start..last.end,
                    [one] => one.clone(),
                    [] => 0.0..0.0,
                };
                record(profile, &schedule, ranges.iter().map(whole).collect());
                Ok(run)
            }
            _ => Err(Error::Usage("a program runs only in the session that compiled it".into())),
        }
    }

    /// The small outputs of the runs that have finished since the last call, in order. With `wait`, of all runs.
    ///
    /// # Errors
    /// If the device fails.
    pub fn results(&mut self, program: &mut Executable, wait: bool) -> Result<Vec<RunResult>, Error> {
        let plan = match &mut program.backend {
            Backend::Cpu { done, .. } => return Ok(done.drain(..).collect()),
            Backend::Gpu(program) => &mut program.plan,
        };
        let mut results = Vec::new();
        for (run, outputs) in plan.results(wait)? {
            let mut values = Vec::with_capacity(outputs.len());
            let streamed = program.schedule.outputs.iter().filter(|(name, _)| program.streamed.contains(name));
            for ((_, operand), bytes) in streamed.zip(&outputs) {
                values.push(Tensor::from_bytes(TensorType::new(operand.dtype, operand.layout.shape.clone()), bytes)?);
            }
            results.push(RunResult { run, names: program.streamed.clone(), values });
        }
        Ok(results)
    }

    /// An output of the last run, of any size; waits for it.
    ///
    /// # Errors
    /// If the program has no such output, or the device fails.
    pub fn output(&mut self, program: &mut Executable, name: &str) -> Result<Tensor, Error> {
        let operand = find_output(&program.schedule, name)?;
        let kind = TensorType::new(operand.dtype, operand.layout.shape.clone());
        match &program.backend {
            Backend::Cpu { executable, .. } => narrow(&kind, executable.read(operand)?),
            Backend::Gpu(program) => Tensor::from_bytes(kind, &program.plan.read_output(name)?),
        }
    }

    /// An output of the last run in double precision: exact on the f64 oracle, widened elsewhere.
    ///
    /// # Errors
    /// As [`Session::output`].
    pub fn output_f64(&mut self, program: &mut Executable, name: &str) -> Result<Vec<f64>, Error> {
        let operand = find_output(&program.schedule, name)?;
        if let (Backend::Cpu { executable, .. }, Kind::Cpu(Precision::F64), DType::F32) =
            (&program.backend, &self.device.0, operand.dtype)
        {
            return Ok(bytemuck::cast_slice(executable.read(operand)?).to_vec());
        }
        let tensor = self.output(program, name)?;
        Ok(match tensor.kind().dtype {
            DType::U32 => tensor.as_u32()?.iter().map(|&value| f64::from(value)).collect(),
            DType::I32 => tensor.as_i32()?.iter().map(|&value| f64::from(value)).collect(),
            DType::F32 | DType::F16 => tensor.as_f32()?.iter().map(|&value| f64::from(value)).collect(),
        })
    }
}

fn find_output<'a>(schedule: &'a Schedule, name: &str) -> Result<&'a crate::schedule::Operand, Error> {
    let found = schedule.outputs.iter().find(|(known, _)| known == name).map(|(_, operand)| operand);
    found.ok_or_else(|| {
        let known: Vec<&str> = schedule.outputs.iter().map(|(name, _)| name.as_str()).collect();
        Error::Usage(format!("the program has no output named {name:?}; it has {}", known.join(", ")))
    })
}

/// A tensor as devices hold it, from elements of either precision.
fn narrow(kind: &TensorType, bytes: &[u8]) -> Result<Tensor, Error> {
    if kind.dtype == DType::F32 && bytes.len() == 8 * kind.shape.elements() {
        let single: Vec<f32> = bytemuck::cast_slice::<u8, f64>(bytes).iter().map(|&value| value as f32).collect();
        return Tensor::from_f32(kind.shape.clone(), &single);
    }
    Tensor::from_bytes(kind.clone(), bytes)
}
