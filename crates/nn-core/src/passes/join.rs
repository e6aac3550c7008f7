//! Sums of parts amid zeros that are one value after the other: such are the gradients of slices of one value.

use crate::graph::{Graph, ValueId};
use crate::ops;

/// Values one after the other along an axis, amid zeros.
pub(super) struct Joined {
    pub(super) axis: usize,
    pub(super) pieces: Vec<ValueId>,
    /// Zeros before and after, along each dimension.
    pub(super) around: Vec<(usize, usize)>,
}

/// What two values add up to, if both are parts amid zeros, and one ends where the other begins.
pub(super) fn side_by_side(graph: &Graph, one: ValueId, other: ValueId) -> Option<Joined> {
    let part = |value: ValueId| {
        let padding = graph.node(value.node);
        Some((padding.op()?.zeros_around()?, *padding.inputs.first()?))
    };
    let (one, other) = (part(one)?, part(other)?);
    let axis = (0..one.0.len()).find(|&axis| one.0[axis] != other.0[axis])?;
    let ends = |(around, piece): (&[(usize, usize)], ValueId)| around[axis].0 + graph.kind_of(piece).shape[axis];
    let (first, second) = match (ends(one) == other.0[axis].0, ends(other) == one.0[axis].0) {
        (true, _) => (one, other),
        (_, true) => (other, one),
        _ => return None,
    };
    let mut around = first.0.to_vec();
    around[axis].1 = second.0[axis].1;
    // Along the other axes they lie alike.
    let alike = |&other: &usize| other == axis || first.0[other] == second.0[other];
    (0..around.len()).all(|other| alike(&other)).then(|| {
        let pieces = [first.1, second.1].into_iter().flat_map(|piece| pieces_of(graph, piece, axis)).collect();
        Joined { axis, pieces, around }
    })
}

/// What was joined along the axis before, so that a sum of many becomes one value after the other and not a tower.
fn pieces_of(graph: &Graph, value: ValueId, axis: usize) -> Vec<ValueId> {
    let (node, concat) = (graph.node(value.node), ops::concat_op(axis));
    let is_concat = |op: &dyn crate::graph::Op| op.name() == concat.name() && op.attributes() == concat.attributes();
    if node.op().is_some_and(|op| is_concat(op.as_ref())) { node.inputs.clone() } else { vec![value] }
}
