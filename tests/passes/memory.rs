//! Memory: replays schedules and checks, independently of the pass, that every launch reads what it should.

use crate::mlp::Mlp;
use crate::random_graph::random_graph;
use nn_core::DType;
use nn_core::graph::{Graph, NodeId, NodeKind, OpKind, Precision, ValueId, trace};
use nn_core::passes::{ScheduleOptions, schedule};
use nn_core::schedule::{Launch, Place, Schedule, Source, Work};
use nn_core::tensor::{Layout, TensorType};
use std::collections::{HashMap, HashSet};

/// The value that owns the buffer of a value, and where in it that lies.
fn home(graph: &Graph, value: ValueId) -> (ValueId, Layout) {
    let node = graph.node(value.node);
    match node.op_kind() {
        Some(OpKind::View(view)) => {
            let (root, layout) = home(graph, node.inputs[0]);
            (root, view.layout(&layout).expect("an impossible view is left in the schedule"))
        }
        _ => (value, Layout::contiguous(&graph.kind_of(value).shape)),
    }
}

/// For each input operand of a launch the values that stand for it in the graph.
fn read_values(graph: &Graph, launch: &Launch) -> Vec<(usize, ValueId)> {
    match &launch.work {
        Work::Kernel(node) => graph.node(*node).inputs.iter().copied().enumerate().collect(),
        Work::Fused(fused) => {
            let pairs = fused
                .instructions
                .iter()
                .flat_map(|instruction| instruction.sources.iter().zip(&graph.node(instruction.node).inputs));
            let operand = |(source, &value): (&Source, &ValueId)| match source {
                Source::Input(number) => Some((*number, value)),
                _ => None,
            };
            pairs.filter_map(operand).collect()
        }
    }
}

/// The values that a launch makes, in the order of its output operands.
fn made_values(graph: &Graph, launch: &Launch) -> Vec<ValueId> {
    match &launch.work {
        Work::Kernel(node) => {
            (0..graph.node(*node).outputs.len() as u32).map(|output| ValueId { node: *node, output }).collect()
        }
        Work::Fused(fused) => {
            fused.results.iter().map(|&result| ValueId { node: fused.instructions[result].node, output: 0 }).collect()
        }
    }
}

fn ensure(condition: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message()) }
}

/// A written buffer may be read by the same launch only element by element, by a fused group that says so.
fn check_in_place(launch: &Launch) -> Result<(), String> {
    for (number, output) in launch.outputs.iter().enumerate() {
        ensure(output.layout.is_identity(), || format!("{} writes through a view", launch.label))?;
        let twice = launch.outputs[..number].iter().any(|other| other.place == output.place);
        ensure(!twice, || format!("{} writes {} twice", launch.label, output.place))?;
        let over = match &launch.work {
            Work::Fused(fused) => fused.in_place[number],
            Work::Kernel(_) => None,
        };
        let same = over.is_none_or(|place| launch.inputs[place].place == output.place);
        ensure(same, || format!("{} does not overwrite what it says", launch.label))?;
        for (place, input) in launch.inputs.iter().enumerate().filter(|(_, input)| input.place == output.place) {
            let fits = input.layout.is_identity() && input.layout.shape == output.layout.shape;
            ensure(over == Some(place) && fits, || format!("{} overwrites what it reads: {input}", launch.label))?;
        }
    }
    Ok(())
}

/// Follows the content of every buffer through the launches.
fn replay(schedule: &Schedule) -> Result<(), String> {
    let graph = &schedule.graph;
    let mut content: HashMap<Place, ValueId> = HashMap::new();
    let leaf = |wanted: &dyn Fn(&NodeKind) -> bool| {
        let id: NodeId = graph.iter().find(|(_, node)| wanted(&node.kind)).unwrap().0;
        ValueId { node: id, output: 0 }
    };
    for (number, (name, _)) in schedule.states.iter().enumerate() {
        content.insert(Place::State(number), leaf(&|kind| matches!(kind, NodeKind::State(known) if known == name)));
    }
    for (number, (name, _)) in schedule.inputs.iter().enumerate() {
        content.insert(Place::Input(number), leaf(&|kind| matches!(kind, NodeKind::Input(known) if known == name)));
    }
    for (number, &node) in schedule.constants.iter().enumerate() {
        content.insert(Place::Constant(number), ValueId { node, output: 0 });
    }
    for launch in &schedule.launches {
        for (number, value) in read_values(graph, launch) {
            let operand = &launch.inputs[number];
            let (root, layout) = home(graph, value);
            let found = content.get(&operand.place);
            ensure(found == Some(&root), || format!("{} reads {operand}: {found:?}, not {root:?}", launch.label))?;
            ensure(operand.layout == layout, || format!("{} reads {operand} by another layout", launch.label))?;
        }
        check_in_place(launch)?;
        for (operand, value) in launch.outputs.iter().zip(made_values(graph, launch)) {
            if let Place::Slot(slot) = operand.place {
                let need = operand.layout.end() * Precision::F32.element_bytes(operand.dtype);
                let size = schedule.slots[slot].bytes(Precision::F32);
                ensure(need <= size, || format!("{} writes {need} bytes to a slot of {size}", launch.label))?;
            }
            content.insert(operand.place, value);
        }
    }
    for (name, operand) in &schedule.outputs {
        let expected = graph.output(name);
        ensure(content.get(&operand.place) == expected.as_ref(), || format!("the output {name} was overwritten"))?;
    }
    for (number, (name, _)) in schedule.states.iter().enumerate() {
        let last = content[&Place::State(number)];
        let Some((_, value)) = graph.updates.iter().find(|(known, _)| known == name) else {
            let kept = matches!(graph.node(last.node).kind, NodeKind::State(_));
            ensure(kept, || format!("the state {name} changed without an update"))?;
            continue;
        };
        // A late update arrives through a copy.
        let node = graph.node(last.node);
        let copied = node.op().is_some_and(|op| op.name() == "contiguous") && node.inputs[0] == *value;
        ensure(last == *value || copied, || format!("the state {name} ends as {last:?}, not {value:?}"))?;
    }
    Ok(())
}

/// Bytes of all values that launches write to slots, if each had a buffer of its own.
fn unshared_bytes(schedule: &Schedule) -> usize {
    let outputs = schedule.launches.iter().flat_map(|launch| &launch.outputs);
    let slots = outputs.filter(|output| matches!(output.place, Place::Slot(_)));
    slots.map(|output| TensorType::new(output.dtype, output.layout.shape.clone()).bytes()).sum()
}

fn deep() -> Graph {
    let graph = trace(|trace| {
        let x = trace.input("x", DType::F32, [16, 16]);
        let weight = trace.state("weight", DType::F32, [16, 16]);
        trace.output("y", (0..12).fold(x, |x, _| x.matmul(weight).tanh().softmax(1)));
        Ok(())
    });
    graph.unwrap()
}

#[test]
fn every_launch_reads_what_it_should() {
    let mlp = Mlp { batch: 4, inputs: 5, hidden: 6, classes: 3 }.step().unwrap();
    for (number, graph) in (0..300).map(random_graph).chain([mlp, deep()]).enumerate() {
        for fuse in [true, false] {
            let schedule = schedule(&graph, ScheduleOptions { fuse, max_buffers: 8 }).unwrap();
            replay(&schedule).unwrap_or_else(|problem| panic!("graph {number}: {problem}\n{graph}\n{schedule}"));
        }
    }
}

#[test]
fn the_replay_finds_a_shared_slot() {
    let sound =
        schedule(&Mlp { batch: 4, inputs: 5, hidden: 6, classes: 3 }.step().unwrap(), Default::default()).unwrap();
    replay(&sound).unwrap();
    let mut found = 0;
    for slot in 1..sound.slots.len() {
        // Two slots become one.
        let mut broken = sound.clone();
        let operands =
            broken.launches.iter_mut().flat_map(|launch| launch.inputs.iter_mut().chain(&mut launch.outputs));
        for operand in operands.filter(|operand| operand.place == Place::Slot(slot)) {
            operand.place = Place::Slot(0);
        }
        found += usize::from(replay(&broken).is_err());
    }
    assert!(sound.slots.len() > 2 && found == sound.slots.len() - 1, "{found} of {} found", sound.slots.len() - 1);
}

#[test]
fn the_replay_finds_launches_in_the_wrong_order() {
    let sound = schedule(&deep(), ScheduleOptions::default()).unwrap();
    for first in 0..sound.launches.len() - 1 {
        let mut broken = sound.clone();
        broken.launches.swap(first, first + 1);
        assert!(replay(&broken).is_err(), "launches {first} and {} may not be swapped", first + 1);
    }
}

#[test]
fn slots_are_shared() {
    let schedule = schedule(&deep(), ScheduleOptions::default()).unwrap();
    // Twelve layers of three launches need no more than what one launch reads and writes, and the one before.
    let (shared, unshared) = (schedule.slot_bytes(), unshared_bytes(&schedule));
    assert!(shared <= 3 * 16 * 16 * 4, "{shared} bytes of slots");
    assert!(unshared >= 24 * 16 * 16 * 4, "{unshared} bytes without sharing");
    let places: HashSet<Place> =
        schedule.launches.iter().flat_map(|launch| &launch.outputs).map(|output| output.place).collect();
    assert_eq!(places.len(), schedule.slots.len(), "no slot is idle");
}
