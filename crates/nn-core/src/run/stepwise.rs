//! A program run launch by launch, for those who look at its buffers in between.

use super::cpu::{CpuExecutable, Group, Surroundings};
use crate::Error;
use crate::graph::{Arithmetic, Graph, NodeId, Precision};
use crate::passes::{buffer_of, lower_launches};
use crate::schedule::{Fused, Launch, Operand, Place, Schedule, Source, Work};
use crate::tensor::{Bytes, DType, Layout, TensorType};
use gpu_runtime::{Buffer, Plan};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A program on its device, in the middle of a run.
pub(super) trait Stepwise {
    /// Who computes.
    fn arithmetic(&self) -> Arithmetic;

    /// Runs some of the schedule's launches.
    fn run(&mut self, launches: Range<usize>) -> Result<(), Error>;

    /// An operand's buffer up to the operand's last element, as the device holds it.
    fn read(&self, operand: &Operand) -> Result<Bytes, Error>;

    /// Replaces what [`Stepwise::read`] reads.
    fn write(&mut self, operand: &Operand, bytes: &Bytes) -> Result<(), Error>;

    /// What one member of a fused group makes of the group's inputs as they are now, by the device and in the context
    /// of the members before it. Changes none of the program's buffers.
    fn member(&mut self, launch: usize, member: usize) -> Result<Bytes, Error>;

    /// How the device holds `f32` values.
    fn precision(&self) -> Precision {
        if self.arithmetic() == Arithmetic::Oracle { Precision::F64 } else { Precision::F32 }
    }
}

/// A fused group cut off after one member, whose value it writes to `place`.
fn cut(graph: &Graph, launch: &Launch, fused: &Fused, member: usize, place: Place) -> (Launch, Fused) {
    let node: NodeId = fused.instructions[member].node;
    let fused = Fused {
        shape: fused.shape.clone(),
        instructions: fused.instructions[..=member].to_vec(),
        results: vec![member],
        in_place: vec![None],
    };
    let dtype = graph.node(node).outputs[0].dtype;
    let output = Operand { place, layout: Layout::contiguous(&fused.shape), dtype };
    let label = format!("check of {}", graph.label(node));
    let work = Work::Fused(fused.clone());
    (Launch { work, inputs: launch.inputs.clone(), outputs: vec![output], label }, fused)
}

fn fused(schedule: &Schedule, launch: usize) -> Result<(&Launch, &Fused), Error> {
    match &schedule.launches[launch] {
        launch @ Launch { work: Work::Fused(fused), .. } => Ok((launch, fused)),
        launch => Err(Error::Internal(format!("{} is no group", launch.label))),
    }
}

/// Cut groups of the CPU, by launch and member.
pub(super) type CpuCuts = HashMap<(usize, usize), (Launch, Group)>;

/// A program on the CPU.
pub(super) struct CpuSteps<'a> {
    pub(super) executable: &'a mut CpuExecutable,
    pub(super) cuts: &'a mut CpuCuts,
    pub(super) schedule: &'a Schedule,
    pub(super) precision: Precision,
    pub(super) around: Surroundings<'a>,
}

impl CpuSteps<'_> {
    fn bytes(&self, operand: &Operand) -> usize {
        operand.layout.end() * self.precision.element_bytes(operand.dtype)
    }
}

impl Stepwise for CpuSteps<'_> {
    fn arithmetic(&self) -> Arithmetic {
        if self.precision == Precision::F64 { Arithmetic::Oracle } else { Arithmetic::Cpu }
    }

    fn run(&mut self, launches: Range<usize>) -> Result<(), Error> {
        self.executable.run(self.schedule, launches, &mut self.around, None)
    }

    fn read(&self, operand: &Operand) -> Result<Bytes, Error> {
        Ok(Bytes::copy_of(&self.executable.buffer(operand.place, &self.around)[..self.bytes(operand)]))
    }

    fn write(&mut self, operand: &Operand, bytes: &Bytes) -> Result<(), Error> {
        let buffer = self.executable.buffer_mut(operand.place, &mut self.around)?;
        buffer.as_mut()[..bytes.as_ref().len()].copy_from_slice(bytes.as_ref());
        Ok(())
    }

    fn member(&mut self, launch: usize, member: usize) -> Result<Bytes, Error> {
        let graph = &self.schedule.graph;
        if !self.cuts.contains_key(&(launch, member)) {
            let (whole, group) = fused(self.schedule, launch)?;
            // The place is never looked up: the output is handed in.
            let (cut, group) = cut(graph, whole, group, member, Place::Slot(usize::MAX));
            let group = Group::new(graph, &cut, &group, self.precision)?;
            self.cuts.insert((launch, member), (cut, group));
        }
        let (cut, group) = &self.cuts[&(launch, member)];
        self.executable.compute(graph, cut, group, &self.around)
    }
}

/// Cut groups of a GPU: for each launch a plan that shares the buffers of the program's own.
#[derive(Default)]
pub(super) struct GpuCuts {
    /// Where the values of members go, one after the other; as large as the largest.
    result: Option<Buffer>,
    plans: HashMap<usize, Cuts>,
}

struct Cuts {
    plan: Plan,
    /// For each member its launches in the plan; none for members that nothing in the group reads.
    ranges: Vec<Option<Range<usize>>>,
}

/// A program on a GPU.
pub(super) struct GpuSteps<'a> {
    pub(super) device: &'a gpu_runtime::Device,
    pub(super) plan: &'a mut Plan,
    pub(super) cuts: &'a mut GpuCuts,
    /// For each launch of the schedule its launches in the plan.
    pub(super) ranges: &'a [Range<usize>],
    pub(super) schedule: &'a Schedule,
    pub(super) step: &'a [u32; 16],
}

/// The device's buffer for a place.
fn buffer<'a>(plan: &'a Plan, schedule: &Schedule, place: Place) -> Result<&'a Buffer, Error> {
    plan.buffer(buffer_of(schedule, place)).ok_or_else(|| Error::Internal(format!("{place} has no buffer")))
}

impl GpuSteps<'_> {
    /// The buffer that members' values go to, made at the first use.
    fn result(&mut self) -> Result<Buffer, Error> {
        if let Some(buffer) = &self.cuts.result {
            return Ok(buffer.clone());
        }
        let elements = self.schedule.launches.iter().filter_map(|launch| match &launch.work {
            Work::Fused(fused) => Some(fused.shape.elements()),
            Work::Kernel(_) => None,
        });
        let made = self.device.buffer("a value to check", 4 * elements.max().unwrap_or(1) as u64)?;
        Ok(self.cuts.result.insert(made).clone())
    }

    /// Makes a plan of all members of a group that others read, each in a launch of its own.
    fn cut(&mut self, number: usize) -> Result<Cuts, Error> {
        let result = self.result()?;
        let (whole, group) = fused(self.schedule, number)?;
        let graph = &self.schedule.graph;
        let mut places: Vec<Place> = whole.inputs.iter().map(|input| input.place).collect();
        places.sort_unstable();
        places.dedup();
        // To the cut groups all that the program owns is state, which plans share.
        let mut states = Vec::new();
        let mut buffers = HashMap::new();
        let mut share = |name: String, buffer: &Buffer| {
            states.push((name.clone(), TensorType::new(DType::U32, [(buffer.bytes() / 4) as usize])));
            buffers.insert(name, buffer.clone());
        };
        for place in &places {
            share(place.to_string(), buffer(self.plan, self.schedule, *place)?);
        }
        share("value".into(), &result);
        let mut launches = Vec::new();
        let mut numbers = Vec::new();
        for member in 0..group.instructions.len() {
            let read = |source: &Source| *source == Source::Instruction(member);
            let is_read = group.instructions[member..].iter().any(|later| later.sources.iter().any(read));
            numbers.push(is_read.then_some(launches.len()));
            if is_read {
                let (mut cut, _) = cut(graph, whole, group, member, Place::State(places.len()));
                for input in &mut cut.inputs {
                    let state = places.binary_search(&input.place);
                    input.place = Place::State(state.map_err(|_| Error::Internal("a place vanished".into()))?);
                }
                launches.push(cut);
            }
        }
        let schedule = Schedule {
            graph: graph.clone(),
            launches,
            states,
            slots: Vec::new(),
            inputs: Vec::new(),
            constants: Vec::new(),
            outputs: Vec::new(),
        };
        let lowered = lower_launches(&schedule, self.device.limits())?;
        let plan = Plan::new(self.device, Arc::new(lowered.program), &buffers)?;
        let ranges = numbers.iter().map(|number| number.map(|number| lowered.ranges[number].clone())).collect();
        Ok(Cuts { plan, ranges })
    }
}

impl Stepwise for GpuSteps<'_> {
    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Gpu
    }

    fn run(&mut self, launches: Range<usize>) -> Result<(), Error> {
        let Some(ranges) = self.ranges.get(launches).filter(|ranges| !ranges.is_empty()) else { return Ok(()) };
        Ok(self.plan.run_launches(self.step, ranges[0].start..ranges[ranges.len() - 1].end)?)
    }

    fn read(&self, operand: &Operand) -> Result<Bytes, Error> {
        let bytes = (operand.layout.end() * operand.dtype.bytes()) as u64;
        Ok(Bytes::copy_of(&buffer(self.plan, self.schedule, operand.place)?.read_front(bytes)?))
    }

    fn write(&mut self, operand: &Operand, bytes: &Bytes) -> Result<(), Error> {
        Ok(buffer(self.plan, self.schedule, operand.place)?.write_front(bytes.as_ref())?)
    }

    fn member(&mut self, launch: usize, member: usize) -> Result<Bytes, Error> {
        if !self.cuts.plans.contains_key(&launch) {
            let cuts = self.cut(launch)?;
            self.cuts.plans.insert(launch, cuts);
        }
        let result = self.result()?;
        let missing = || Error::Internal(format!("member {member} of launch {launch} cannot be run alone"));
        let cuts = self.cuts.plans.get_mut(&launch).ok_or_else(missing)?;
        let range = cuts.ranges[member].clone().ok_or_else(missing)?;
        cuts.plan.run_launches(self.step, range)?;
        let (_, group) = fused(self.schedule, launch)?;
        Ok(Bytes::copy_of(&result.read_front(4 * group.shape.elements() as u64)?))
    }
}
