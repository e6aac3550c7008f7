//! Puts units in an order that respects what each reads, and lets state be overwritten only after its last reader.

use super::fuse::Unit;
use super::simplify::uniform;
use super::views::{Home, homes};
use crate::Error;
use crate::graph::{Graph, Node, NodeId, NodeKind, OpKind, ValueId};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Units in their final order, with what the later steps need to know about values.
pub(crate) struct Arranged {
    pub(crate) graph: Graph,
    pub(crate) homes: HashMap<ValueId, Home>,
    pub(crate) units: Vec<Unit>,
    /// Values that may be written straight into the state they update.
    pub(crate) direct: HashMap<ValueId, String>,
    /// Values that must be copied into their state at the end.
    pub(crate) late: Vec<Late>,
}

/// A state update that cannot be written in place: others still read the old state, as when two states swap.
pub(crate) struct Late {
    pub(crate) value: ValueId,
    pub(crate) state: String,
    /// The `contiguous` node that stands for the copy.
    pub(crate) copy: NodeId,
}

/// Orders the units of a graph.
pub(crate) fn arrange(mut graph: Graph, units: Vec<Unit>) -> Result<Arranged, Error> {
    let homes = homes(&graph)?;
    let unit_of: HashMap<NodeId, usize> =
        units.iter().enumerate().flat_map(|(unit, members)| members.iter().map(move |&id| (id, unit))).collect();
    let reads: Vec<Vec<ValueId>> = units.iter().map(|unit| reads(&graph, unit, &homes)).collect();
    // before[u]: the units that u must follow.
    let mut before: Vec<HashSet<usize>> = vec![HashSet::new(); units.len()];
    for (unit, values) in reads.iter().enumerate() {
        let producers = values.iter().filter_map(|value| unit_of.get(&value.node));
        before[unit].extend(producers.filter(|&&producer| producer != unit));
    }
    let mut direct = HashMap::new();
    let mut late = Vec::new();
    for (name, value) in &graph.updates {
        let writer = unit_of[&value.node];
        let state = state_value(&graph, name);
        let others: Vec<usize> =
            (0..units.len()).filter(|&unit| unit != writer && reads[unit].contains(&state)).collect();
        // In its own unit the old state may be read element by element only: through no view.
        let twisted = units[writer].iter().flat_map(|&id| &graph.node(id).inputs).any(|input| {
            let home = &homes[input];
            home.root == state && !home.layout.is_identity()
        });
        let cyclic = others.iter().any(|&reader| follows(&before, reader, writer));
        if twisted || cyclic {
            late.push((*value, name.clone()));
        } else {
            before[writer].extend(others);
            direct.insert(*value, name.clone());
        }
    }
    let late = late.into_iter().map(|(value, state)| {
        let origin = graph.node(value.node);
        let (scope, location) = (origin.scope.clone(), origin.location);
        let (kind, outputs) = (NodeKind::Op(crate::ops::contiguous_op()), vec![graph.kind_of(value).clone()]);
        let copy = graph.push(Node { kind, inputs: vec![value], outputs, scope, location });
        Late { value, state, copy }
    });
    let late = late.collect();
    let updates = |unit: &Unit| unit.iter().any(|&id| direct.contains_key(&ValueId { node: id, output: 0 }));
    let outputs = |unit: &Unit| unit.iter().flat_map(|&id| graph.node(id).outputs.iter()).collect::<Vec<_>>();
    let number = |unit: &Unit| outputs(unit).iter().all(|kind| kind.shape.elements() == 1);
    // For each unit whether a unit that makes a single number reads it, and whether any other does.
    let mut read_by = vec![[false; 2]; units.len()];
    for (unit, earlier) in units.iter().zip(&before) {
        earlier.iter().for_each(|&earlier| read_by[earlier][usize::from(!number(unit))] = true);
    }
    // Trace order, but what ends the lives of gradients as soon as it can run: updates, what they wait for (Adam's
    // corrections are single numbers), and sums of squares for the norm, in one stage or two.
    let soon = |unit: usize| updates(&units[unit]) || number(&units[unit]) || read_by[unit] == [true, false];
    let priority: Vec<(bool, Option<NodeId>)> =
        (0..units.len()).map(|unit| (!soon(unit), units[unit].last().copied())).collect();
    let order = sorted(&before, &priority)?;
    let units = order.into_iter().map(|unit| units[unit].clone()).collect();
    Ok(Arranged { graph, homes, units, direct, late })
}

/// The buffers that a unit reads from outside itself.
fn reads(graph: &Graph, unit: &Unit, homes: &HashMap<ValueId, Home>) -> Vec<ValueId> {
    let is_elementwise = |id: &NodeId| matches!(graph.node(*id).op_kind(), Some(OpKind::Elementwise(_)));
    let mut roots: Vec<ValueId> = Vec::new();
    for id in unit {
        for input in &graph.node(*id).inputs {
            let root = homes[input].root;
            let inside = unit.contains(&root.node);
            // Numbers known while tracing stand in the text of fused groups.
            let literal = is_elementwise(id) && uniform(graph, *input).is_some();
            if !inside && !literal && !roots.contains(&root) {
                roots.push(root);
            }
        }
    }
    roots
}

fn state_value(graph: &Graph, name: &str) -> ValueId {
    let is_it = |kind: &NodeKind| matches!(kind, NodeKind::State(known) if known == name);
    let found = graph.iter().find(|(_, node)| is_it(&node.kind)).map(|(id, _)| id);
    // A state that nothing reads has no node; then no value equals this one.
    ValueId { node: found.unwrap_or(NodeId(u32::MAX)), output: 0 }
}

/// Whether `unit` must come after `earlier` already.
fn follows(before: &[HashSet<usize>], unit: usize, earlier: usize) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![unit];
    while let Some(next) = open.pop() {
        if next == earlier {
            return true;
        }
        open.extend(before[next].iter().filter(|&&candidate| seen.insert(candidate)));
    }
    false
}

/// A topological order that always takes the ready unit of least priority value.
fn sorted<P: Ord + Copy>(before: &[HashSet<usize>], priority: &[P]) -> Result<Vec<usize>, Error> {
    let mut missing: Vec<usize> = before.iter().map(HashSet::len).collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    for (unit, earlier) in before.iter().enumerate() {
        earlier.iter().for_each(|&earlier| after[earlier].push(unit));
    }
    let ready = (0..before.len()).filter(|&unit| missing[unit] == 0);
    let mut heap: BinaryHeap<Reverse<(P, usize)>> = ready.map(|unit| Reverse((priority[unit], unit))).collect();
    let mut order = Vec::new();
    while let Some(Reverse((_, unit))) = heap.pop() {
        order.push(unit);
        for &next in &after[unit] {
            missing[next] -= 1;
            if missing[next] == 0 {
                heap.push(Reverse((priority[next], next)));
            }
        }
    }
    if order.len() != before.len() {
        return Err(Error::Internal("the launches depend on each other in a circle".into()));
    }
    Ok(order)
}
