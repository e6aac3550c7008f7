//! Decides which operators are launched together: connected elementwise operators of one shape.
//!
//! Every operator has a *level*: a kernel's result, and a result seen through a view, lies one level above what
//! it was made from. Elementwise operators join groups only within their level (a group with a single reader is
//! lifted to its reader's level), so no path can leave a group and come back into it, and the groups can always be
//! put in an order.

use super::ScheduleOptions;
use super::simplify::uniform;
use crate::graph::{Graph, NodeId, NodeKind, OpKind, ValueId};
use crate::tensor::Shape;
use std::collections::{BTreeSet, HashMap};

/// Operators that become one launch, in graph order: one kernel operator, or elementwise ones.
pub type Unit = Vec<NodeId>;

/// Groups all operators that compute; views belong to no unit. The states named by `copied` are known to be replaced
/// by a copy at the end, see [`super::schedule`]: their new values take a buffer of their own.
pub fn fuse(graph: &Graph, options: ScheduleOptions, copied: &BTreeSet<String>) -> Vec<Unit> {
    let mut fusion = Fusion {
        graph,
        options,
        copied,
        readers: readers(graph),
        levels: vec![0; graph.nodes().len()],
        unit_of: HashMap::new(),
        units: Vec::new(),
    };
    for (id, node) in graph.iter() {
        match node.op_kind() {
            None => {}
            Some(OpKind::View(_)) => fusion.levels[id.index()] = fusion.level_through_view(node.inputs[0]),
            Some(OpKind::Kernel(_)) => {
                fusion.levels[id.index()] = fusion.level(id) + 1;
                fusion.open(id);
            }
            Some(OpKind::Elementwise(_)) => fusion.place(id),
        }
    }
    if options.fuse {
        fusion.sink();
    }
    fusion.units.retain(|unit| !unit.is_empty());
    fusion.units
}

/// For each node the nodes that read it; `None` stands for the world: outputs and updates.
pub(crate) fn readers(graph: &Graph) -> Vec<Vec<Option<NodeId>>> {
    let mut readers = vec![Vec::new(); graph.nodes().len()];
    for (id, node) in graph.iter() {
        node.inputs.iter().for_each(|input| readers[input.node.index()].push(Some(id)));
    }
    graph.outputs.iter().chain(&graph.updates).for_each(|(_, value)| readers[value.node.index()].push(None));
    readers
}

struct Fusion<'a> {
    graph: &'a Graph,
    options: ScheduleOptions,
    copied: &'a BTreeSet<String>,
    readers: Vec<Vec<Option<NodeId>>>,
    levels: Vec<usize>,
    unit_of: HashMap<NodeId, usize>,
    units: Vec<Unit>,
}

impl Fusion<'_> {
    fn level(&self, id: NodeId) -> usize {
        self.graph.node(id).inputs.iter().map(|input| self.levels[input.node.index()]).max().unwrap_or(0)
    }

    /// A view of an elementwise result takes other elements of it than its reader's own: that ends the group.
    fn level_through_view(&self, input: ValueId) -> usize {
        let elementwise = matches!(self.graph.node(input.node).op_kind(), Some(OpKind::Elementwise(_)));
        self.levels[input.node.index()] + usize::from(elementwise)
    }

    fn open(&mut self, id: NodeId) {
        self.unit_of.insert(id, self.units.len());
        self.units.push(vec![id]);
    }

    fn shape(&self, id: NodeId) -> &Shape {
        &self.graph.node(id).outputs[0].shape
    }

    /// Puts an elementwise node into the groups it reads from, merging them, or into one of its own.
    fn place(&mut self, id: NodeId) {
        let level = self.level(id);
        self.levels[id.index()] = level;
        let graph = self.graph;
        let mut producers: Vec<usize> = Vec::new();
        for input in &graph.node(id).inputs {
            let elementwise = matches!(graph.node(input.node).op_kind(), Some(OpKind::Elementwise(_)));
            if !elementwise || self.shape(input.node) != self.shape(id) {
                continue;
            }
            // A lower group that only this node reads can as well be computed up here.
            let unit = self.unit_of[&input.node];
            if self.levels[input.node.index()] == level || self.serves_only(unit, id) {
                producers.push(unit);
            }
        }
        producers.sort_unstable();
        producers.dedup();
        let mut merged: Unit =
            producers.iter().flat_map(|&unit| self.units[unit].iter().copied()).chain([id]).collect();
        merged.sort_unstable();
        if producers.is_empty() {
            return self.open(id);
        }
        if !self.options.fuse || self.buffers(&merged) > self.options.max_buffers {
            // Above everything it reads, so that no later node can close a cycle through it.
            self.levels[id.index()] = level + 1;
            return self.open(id);
        }
        let target = producers[0];
        for &unit in &producers[1..] {
            self.units[unit].clear();
        }
        for &member in &merged {
            self.unit_of.insert(member, target);
            self.levels[member.index()] = level;
        }
        self.units[target] = merged;
    }

    /// Whether nothing but the group itself and one node reads what the group makes.
    fn serves_only(&self, unit: usize, id: NodeId) -> bool {
        let members = &self.units[unit];
        let mut readers = members.iter().flat_map(|member| &self.readers[member.index()]);
        readers.all(|reader| reader.is_some_and(|reader| reader == id || members.contains(&reader)))
    }

    /// Moves an operator to the one later group that reads it, if it can be computed there from a single value that
    /// is stored in any case: the mask of a ReLU from its result. That saves storing it.
    fn sink(&mut self) {
        for (id, node) in self.graph.iter() {
            let Some(OpKind::Elementwise(_)) = node.op_kind() else { continue };
            let source = self.unit_of[&id];
            let mut targets: Vec<Option<usize>> = self.readers[id.index()]
                .iter()
                .map(|reader| reader.and_then(|reader| self.unit_of.get(&reader).copied()))
                .collect();
            targets.dedup();
            let [Some(target)] = targets[..] else { continue };
            let elementwise = |member: &NodeId| {
                matches!(self.graph.node(*member).op_kind(), Some(OpKind::Elementwise(_)))
                    && self.shape(*member) == self.shape(id)
            };
            if target == source || !self.units[target].iter().all(elementwise) {
                continue;
            }
            let stored = |input: &ValueId| {
                let outside = |reader: &Option<NodeId>| {
                    reader.is_none_or(|reader| reader != id && self.unit_of.get(&reader) != Some(&source))
                };
                !self.units[source].contains(&input.node) || self.readers[input.node.index()].iter().any(outside)
            };
            let values: Vec<&ValueId> =
                node.inputs.iter().filter(|&&input| uniform(self.graph, input).is_none()).collect();
            let mut moved = self.units[target].clone();
            moved.push(id);
            moved.sort_unstable();
            if values.len() == 1 && stored(values[0]) && self.buffers(&moved) <= self.options.max_buffers {
                self.units[source].retain(|&member| member != id);
                self.units[target] = moved;
                self.unit_of.insert(id, target);
            }
        }
    }

    /// How many buffers a group binds at most: distinct values read from outside, and values read outside. A state
    /// that the group reads and replaces is one, unless that takes a copy.
    fn buffers(&self, unit: &Unit) -> usize {
        let graph = self.graph;
        let mut read = BTreeSet::new();
        let mut written = 0;
        for &id in unit {
            for &input in &graph.node(id).inputs {
                let mut root = input;
                while let Some(OpKind::View(_)) = graph.node(root.node).op_kind() {
                    root = graph.node(root.node).inputs[0];
                }
                let step_scalar = matches!(graph.node(root.node).kind, NodeKind::StepScalar(_));
                if !step_scalar && uniform(graph, input).is_none() && !unit.contains(&input.node) {
                    read.insert(root);
                }
            }
            let outside = |reader: &Option<NodeId>| reader.is_none_or(|reader| !unit.contains(&reader));
            written += usize::from(self.readers[id.index()].iter().any(outside));
        }
        let replaced = graph.updates.iter().filter(|(name, value)| {
            let is_state =
                |root: &ValueId| matches!(&graph.node(root.node).kind, NodeKind::State(known) if known == name);
            unit.contains(&value.node) && !self.copied.contains(name) && read.iter().any(is_state)
        });
        read.len() + written - replaced.count()
    }
}
