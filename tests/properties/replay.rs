//! Memory: replays schedules and checks, independently of the pass, that every launch reads what it should.

use crate::mlp::Mlp;
use crate::recipe::{any_recipe, some_recipes};
use crate::runner::check;
use nn_core::DType;
use nn_core::graph::{Graph, NodeId, NodeKind, OpKind, Precision, Value, ValueId, trace};
use nn_core::passes::{ScheduleOptions, lower, schedule};
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

/// A written buffer may be read by the same launch only by a fused group that says so, or a kernel that can.
fn check_in_place(graph: &Graph, launch: &Launch) -> Result<(), String> {
    for (number, output) in launch.outputs.iter().enumerate() {
        ensure(output.layout.is_identity(), || format!("{} writes through a view", launch.label))?;
        let twice = launch.outputs[..number].iter().any(|other| other.place == output.place);
        ensure(!twice, || format!("{} writes {} twice", launch.label, output.place))?;
        let over = match &launch.work {
            Work::Fused(fused) => fused.in_place[number],
            Work::Kernel(node) => {
                let Some(OpKind::Kernel(kernel)) = graph.node(*node).op_kind() else {
                    return Err(format!("{} has no kernel", launch.label));
                };
                let can = kernel.in_place().filter(|pair| pair.output == number).map(|pair| pair.input);
                can.filter(|&input| launch.inputs[input].place == output.place)
            }
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
pub(crate) fn replay(schedule: &Schedule) -> Result<(), String> {
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
        check_in_place(graph, launch)?;
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

/// No fused group binds more buffers than it may, in the schedule and in the program.
pub(crate) fn count_buffers(schedule: &Schedule, max_buffers: usize) -> Result<(), String> {
    for launch in schedule.launches.iter().filter(|launch| matches!(launch.work, Work::Fused(_))) {
        let operands = launch.inputs.iter().chain(&launch.outputs);
        let places: HashSet<Place> = operands.map(|operand| operand.place).collect();
        ensure(places.len() <= max_buffers, || format!("{} binds {places:?}", launch.label))?;
    }
    let program = lower(schedule, &gpu_runtime::Limits::WEBGPU_DEFAULT).map_err(|error| error.to_string())?;
    let mut fused = program.kernels.iter().filter(|kernel| kernel.name == "fused");
    let wrong = fused.find(|kernel| kernel.storage_bindings().count() > max_buffers);
    ensure(wrong.is_none(), || format!("a kernel binds too many buffers: {wrong:?}"))
}

/// Σ of many inputs: joined as far as the buffers reach.
fn wide(count: usize) -> Graph {
    let graph = trace(|trace| {
        let inputs: Vec<Value> = (0..count).map(|number| trace.input(&format!("x{number}"), DType::F32, [7])).collect();
        trace.output("y", inputs[1..].iter().fold(inputs[0], |sum, &input| sum * 0.5 + input));
        Ok(())
    });
    graph.unwrap()
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
    let sound = |graph: &Graph| -> Result<(), String> {
        // A single operator, `select`, binds up to four buffers.
        for (fuse, max_buffers) in [(false, 8), (true, 4), (true, 5), (true, 8)] {
            let options = ScheduleOptions { fuse, max_buffers };
            let schedule = schedule(graph, options).map_err(|error| error.to_string())?;
            replay(&schedule)
                .and_then(|()| count_buffers(&schedule, max_buffers))
                .map_err(|problem| format!("{options:?}: {problem}\n{graph}\n{schedule}"))?;
        }
        Ok(())
    };
    sound(&Mlp { batch: 4, inputs: 5, hidden: 6, classes: 3 }.step().unwrap()).unwrap();
    sound(&deep()).unwrap();
    sound(&wide(30)).unwrap();
    check(2000, any_recipe(), |recipe| sound(&recipe.traced().map_err(|error| error.to_string())?.graph));
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

/// Three square products are alive at once, then a small and a large one: only one of the square ones can share the
/// buffer of the large one.
#[test]
fn the_use_of_slots_is_counted_as_by_hand() {
    let graph = trace(|trace| {
        let x = trace.input("x", DType::F32, [16, 16]);
        let square = trace.state("square", DType::F32, [16, 16]);
        let p = x.matmul(square);
        let q = p.matmul(square);
        let small = p.matmul(q).matmul(trace.state("narrow", DType::F32, [16, 4]));
        trace.output("y", small.matmul(trace.state("wide", DType::F32, [4, 64])));
        Ok(())
    });
    let schedule = schedule(&graph.unwrap(), ScheduleOptions::default()).unwrap();
    let usage = schedule.slot_usage();
    assert_eq!((usage.needed_bytes, usage.launch), (256 + 4096, 4));
    assert_eq!((usage.least_bytes, usage.slot_bytes), (4096 + 1024 + 1024, 6144));
    assert_eq!(usage.waste_bytes(), 1792);
    assert!((usage.waste() - 1792.0 / 6144.0).abs() < 1e-12);
    let lives: Vec<Vec<(usize, usize)>> = schedule
        .tenants()
        .iter()
        .map(|tenants| tenants.iter().map(|tenant| (tenant.written, tenant.last_read)).collect())
        .collect();
    let mut all: Vec<(usize, usize)> = lives.concat();
    all.sort_unstable();
    assert_eq!(all, [(0, 2), (1, 2), (2, 3), (3, 4), (4, 4)], "{lives:?}");
    assert_eq!(schedule.memory(Precision::F32).slots, 6144);
    assert_eq!(schedule.memory(Precision::F64).slots, 2 * 6144);
}

#[test]
fn slots_take_hardly_more_than_whole_buffers_must() {
    let (mut found, mut least) = (0, 0);
    for recipe in some_recipes(600) {
        let graph = recipe.traced().unwrap().graph;
        for fuse in [true, false] {
            let schedule = schedule(&graph, ScheduleOptions { fuse, max_buffers: 8 }).unwrap();
            let usage = schedule.slot_usage();
            let ordered = usage.needed_bytes <= usage.least_bytes && usage.least_bytes <= usage.slot_bytes;
            assert!(ordered, "fuse {fuse}: {usage:?}\n{recipe}");
            found += usage.slot_bytes;
            least += usage.least_bytes;
        }
    }
    // No assignment reaches the bound for every graph.
    assert!(found as f64 <= 1.01 * least as f64, "{found} bytes of slots, {least} at least");
}

/// A training step whose updates come late keeps all gradients alive.
#[test]
fn a_gradient_dies_before_the_next_is_made() {
    let (batch, width, layers) = (4, 64, 6);
    let forward = trace(|trace| {
        let x = trace.input("x", DType::F32, [batch, width]);
        let weights = (0..layers).map(|layer| trace.state(&format!("w{layer}"), DType::F32, [width, width]));
        trace.output("loss", weights.fold(x, |x, weight| x.matmul(weight).tanh()).mean_all());
        Ok(())
    });
    let names: Vec<String> = (0..layers).map(|layer| format!("w{layer}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let graph = nn_core::passes::differentiate(&forward.unwrap(), "loss", &names).unwrap();
    // As optimisers do: the norm of all gradients is an output, and a number that depends on the step is read by all
    // updates and made after the last gradient.
    let (mut graph, ()) = nn_core::graph::extend(graph, |trace| {
        let gradients: Vec<_> =
            names.iter().map(|name| trace.existing_output(&format!("gradient/{name}")).unwrap()).collect();
        let squares = gradients.iter().map(|&gradient| gradient.sum_of_squares(&[0, 1]));
        trace.output("norm", squares.reduce(|a, b| a + b).unwrap().sqrt());
        let rate = trace.step_scalar(nn_core::StepScalar::LearningRate).exp();
        for (name, gradient) in names.iter().zip(gradients) {
            trace.update(name, trace.state(name, DType::F32, [width, width]) - gradient * rate);
        }
        Ok(())
    })
    .unwrap();
    graph.outputs.retain(|(name, _)| !name.starts_with("gradient/"));
    let schedule = schedule(&graph, ScheduleOptions::default()).unwrap();
    let usage = schedule.slot_usage();
    // One gradient and the activations, which are smaller; all six gradients would be twice as much.
    let most = 3 * 4 * width * width;
    assert!(usage.needed_bytes <= most, "{} bytes, {most} at most\n{schedule}", usage.needed_bytes);
}
