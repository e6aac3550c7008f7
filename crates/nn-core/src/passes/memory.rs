//! Gives every value a place and writes the units down as launches.

use super::fuse::{Unit, readers};
use super::order::{Arranged, Late};
use super::pack::pack;
use super::simplify::uniform;
use super::views::Home;
use crate::Error;
use crate::graph::{Graph, NodeId, NodeKind, OpKind, ValueId, values_of};
use crate::schedule::{Fused, Instruction, Launch, Operand, Place, Schedule, Slot, Source, Work};
use crate::tensor::Layout;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Turns ordered units into a schedule.
pub(crate) fn assign(arranged: Arranged) -> Result<Schedule, Error> {
    let Arranged { graph, homes, units, direct, late } = arranged;
    let readers = readers(&graph);
    let drafts: Vec<Draft> = units.iter().map(|unit| draft(&graph, unit, &homes, &readers)).collect();
    let mut memory = Memory::new(&graph, &homes, direct, &drafts);
    // The number of launches is the time of a value that lives to the end.
    let mut last_use: HashMap<ValueId, usize> = HashMap::new();
    for (time, draft) in drafts.iter().enumerate() {
        draft.inputs.iter().for_each(|input| _ = last_use.insert(homes[input].root, time));
    }
    let kept = graph.outputs.iter().map(|(_, value)| value).chain(late.iter().map(|late| &late.value));
    kept.for_each(|value| _ = last_use.insert(homes[value].root, drafts.len()));

    let mut launches = Vec::new();
    for (time, draft) in drafts.into_iter().enumerate() {
        let inputs: Vec<Operand> = draft.inputs.iter().map(|&input| memory.operand(input)).collect();
        let dying = |place: usize| last_use.get(&homes[&draft.inputs[place]].root) == Some(&time);
        let mut in_place = Vec::new();
        for &output in &draft.outputs {
            let kind = graph.kind_of(output);
            let over = match (&draft.work, memory.direct_state(output)) {
                (_, Some(state)) => {
                    memory.places.insert(output, Place::State(state));
                    inputs.iter().position(|input| input.place == Place::State(state))
                }
                (work, None) => {
                    let free = |&place: &usize| {
                        let input = &inputs[place];
                        let alone = inputs.iter().filter(|other| other.place == input.place).count() == 1;
                        let unused = !in_place.contains(&Some(place));
                        let fits = input.layout.is_identity() && input.layout.shape == kind.shape;
                        // A kernel binds each buffer once, as one type.
                        let like = input.dtype == kind.dtype;
                        matches!(input.place, Place::Slot(_)) && alone && unused && fits && like && dying(place)
                    };
                    let candidates = match work {
                        Work::Fused(_) => 0..inputs.len(),
                        Work::Kernel(node) => overwritten(&graph, *node, output),
                    };
                    let over = candidates.into_iter().find(free);
                    match over {
                        // Of one shape and type, so the slot is large enough.
                        Some(place) => _ = memory.places.insert(output, inputs[place].place),
                        None => memory.allocate(output),
                    }
                    over
                }
            };
            in_place.push(over);
        }
        let outputs: Vec<Operand> = draft.outputs.iter().map(|&output| memory.operand(output)).collect();
        let work = match draft.work {
            Work::Fused(fused) => Work::Fused(Fused { in_place, ..fused }),
            kernel => kernel,
        };
        launches.push(Launch { work, inputs, outputs, label: draft.label });
    }
    for late in &late {
        launches.push(memory.late_copy(late)?);
    }
    let outputs = graph.outputs.iter().map(|(name, value)| (name.clone(), memory.operand(*value))).collect();
    let Memory { slots, states, inputs, constants, .. } = memory;
    Ok(pack(Schedule { launches, slots, states, inputs, constants, outputs, graph: Arc::new(graph) }))
}

/// The input that a kernel can write one of its outputs over, as a range of one or none.
fn overwritten(graph: &Graph, node: NodeId, output: ValueId) -> std::ops::Range<usize> {
    let pair = match graph.node(node).op_kind() {
        Some(OpKind::Kernel(kernel)) => kernel.in_place().filter(|pair| pair.output == output.output as usize),
        _ => None,
    };
    pair.map_or(0..0, |pair| pair.input..pair.input + 1)
}

/// A launch before its operands have places.
struct Draft {
    work: Work,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    label: String,
}

fn draft(graph: &Graph, unit: &Unit, homes: &HashMap<ValueId, Home>, readers: &[Vec<Option<NodeId>>]) -> Draft {
    let last = unit.last().copied().unwrap_or(NodeId(0));
    let label = graph.label(last);
    if let Some(OpKind::Kernel(_)) = graph.node(last).op_kind() {
        let node = graph.node(last);
        let outputs = values_of(last, node.outputs.len()).collect();
        return Draft { work: Work::Kernel(last), inputs: node.inputs.clone(), outputs, label };
    }
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut instructions = Vec::new();
    for &id in unit {
        let mut sources = Vec::new();
        for &input in &graph.node(id).inputs {
            let home = &homes[&input];
            let member = unit.iter().position(|&member| member == home.root.node);
            sources.push(match (uniform(graph, input), &graph.node(home.root.node).kind, member) {
                (Some(bytes), _, _) => Source::Literal(bytes, graph.kind_of(input).dtype),
                (_, NodeKind::StepScalar(scalar), _) => Source::StepScalar(*scalar),
                (_, _, Some(member)) => Source::Instruction(member),
                _ => {
                    let same = |other: &ValueId| homes[other].root == home.root && homes[other].layout == home.layout;
                    Source::Input(inputs.iter().position(same).unwrap_or_else(|| {
                        inputs.push(input);
                        inputs.len() - 1
                    }))
                }
            });
        }
        instructions.push(Instruction { node: id, sources });
    }
    let outside =
        |id: NodeId| readers[id.index()].iter().any(|reader| reader.is_none_or(|reader| !unit.contains(&reader)));
    let results: Vec<usize> = (0..unit.len()).filter(|&place| outside(unit[place])).collect();
    let outputs = results.iter().map(|&place| ValueId { node: unit[place], output: 0 }).collect();
    let shape = graph.node(last).outputs[0].shape.clone();
    Draft { work: Work::Fused(Fused { shape, instructions, results, in_place: Vec::new() }), inputs, outputs, label }
}

struct Memory<'a> {
    graph: &'a Graph,
    homes: &'a HashMap<ValueId, Home>,
    direct: HashMap<ValueId, String>,
    places: HashMap<ValueId, Place>,
    slots: Vec<Slot>,
    states: Vec<(String, crate::tensor::TensorType)>,
    inputs: Vec<(String, crate::tensor::TensorType)>,
    constants: Vec<NodeId>,
}

impl<'a> Memory<'a> {
    fn new(
        graph: &'a Graph,
        homes: &'a HashMap<ValueId, Home>,
        direct: HashMap<ValueId, String>,
        drafts: &[Draft],
    ) -> Memory<'a> {
        // Constants that only stand as numbers in the text of fused groups need no buffer.
        let read: HashSet<NodeId> =
            drafts.iter().flat_map(|draft| &draft.inputs).map(|input| homes[input].root.node).collect();
        let (mut states, mut inputs, mut constants) = (Vec::new(), Vec::new(), Vec::new());
        let mut places = HashMap::new();
        for (id, node) in graph.iter() {
            let place = match &node.kind {
                NodeKind::State(name) => {
                    states.push((name.clone(), node.outputs[0].clone()));
                    Place::State(states.len() - 1)
                }
                NodeKind::Input(name) => {
                    inputs.push((name.clone(), node.outputs[0].clone()));
                    Place::Input(inputs.len() - 1)
                }
                NodeKind::Constant(_) if read.contains(&id) => {
                    constants.push(id);
                    Place::Constant(constants.len() - 1)
                }
                NodeKind::Constant(_) | NodeKind::StepScalar(_) | NodeKind::Op(_) => continue,
            };
            places.insert(ValueId { node: id, output: 0 }, place);
        }
        Memory { graph, homes, direct, places, slots: Vec::new(), states, inputs, constants }
    }

    fn state(&self, name: &str) -> Option<usize> {
        self.states.iter().position(|(known, _)| known == name)
    }

    fn direct_state(&self, value: ValueId) -> Option<usize> {
        self.direct.get(&value).and_then(|name| self.state(name))
    }

    fn operand(&self, value: ValueId) -> Operand {
        let home = &self.homes[&value];
        let place = self.places[&home.root];
        Operand { place, layout: home.layout.clone(), dtype: self.graph.kind_of(value).dtype }
    }

    /// Gives a value a slot of its own; [`pack`] lays slots together afterwards.
    fn allocate(&mut self, value: ValueId) {
        self.slots.push(Slot::of(self.graph.kind_of(value)));
        self.places.insert(value, Place::Slot(self.slots.len() - 1));
    }

    fn late_copy(&self, late: &Late) -> Result<Launch, Error> {
        let Late { value, state: name, copy } = late;
        let missing = || Error::Internal(format!("the updated state {name:?} has no place"));
        let place = Place::State(self.state(name).ok_or_else(missing)?);
        let kind = self.graph.kind_of(*value);
        let output = Operand { place, layout: Layout::contiguous(&kind.shape), dtype: kind.dtype };
        let instruction = Instruction { node: *copy, sources: vec![Source::Input(0)] };
        let fused = Fused {
            shape: kind.shape.clone(),
            instructions: vec![instruction],
            results: vec![0],
            in_place: vec![None],
        };
        let label = format!("{} → {name}", self.graph.label(value.node));
        Ok(Launch { work: Work::Fused(fused), inputs: vec![self.operand(*value)], outputs: vec![output], label })
    }
}
