//! Lays slots together whose values live at different times.

use crate::graph::Precision;
use crate::schedule::{Place, Schedule, Slot};

/// A slot, and the values that live in it by turns.
struct Shared {
    slot: Slot,
    /// First and last launch of each.
    lives: Vec<(usize, usize)>,
}

/// The schedule with as few bytes of slots as can be found.
///
/// All lives are known beforehand, so the largest values choose first and no slot ever grows: a slot that grows for a
/// late value holds too much for all earlier ones.
pub(super) fn pack(mut schedule: Schedule) -> Schedule {
    let lives: Vec<(usize, usize)> = schedule.tenants().iter().map(|tenants| life(tenants)).collect();
    let bytes = |slot: usize| schedule.slots[slot].bytes(Precision::F32);
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&slot| (std::cmp::Reverse(bytes(slot)), lives[slot].0, slot));
    let mut shared: Vec<Shared> = Vec::new();
    let mut moved = vec![0; lives.len()];
    for slot in order {
        let life = lives[slot];
        let free = |shared: &Shared| shared.lives.iter().all(|other| life.1 < other.0 || other.1 < life.0);
        let fitting = (0..shared.len()).filter(|&candidate| free(&shared[candidate]));
        // The one that is idle for the shortest time around this life leaves the longest times for others.
        moved[slot] = fitting.min_by_key(|&candidate| idle(&shared[candidate], life)).unwrap_or(shared.len());
        match shared.get_mut(moved[slot]) {
            Some(taken) => {
                taken.slot = taken.slot.union(schedule.slots[slot]);
                taken.lives.push(life);
            }
            None => shared.push(Shared { slot: schedule.slots[slot], lives: vec![life] }),
        }
    }
    let operands = schedule.launches.iter_mut().flat_map(|launch| launch.inputs.iter_mut().chain(&mut launch.outputs));
    for operand in operands.chain(schedule.outputs.iter_mut().map(|(_, operand)| operand)) {
        if let Place::Slot(slot) = &mut operand.place {
            *slot = moved[*slot];
        }
    }
    schedule.slots = shared.into_iter().map(|shared| shared.slot).collect();
    schedule
}

fn life(tenants: &[crate::schedule::Tenant]) -> (usize, usize) {
    let begin = tenants.first().map_or(0, |tenant| tenant.written);
    (begin, tenants.last().map_or(0, |tenant| tenant.last_read))
}

/// For how many launches a slot is idle before and after a life.
fn idle(shared: &Shared, life: (usize, usize)) -> usize {
    let before = shared.lives.iter().filter(|other| other.1 < life.0).map(|other| life.0 - other.1).min();
    let after = shared.lives.iter().filter(|other| other.0 > life.1).map(|other| other.0 - life.1).min();
    before.unwrap_or(usize::MAX / 4).saturating_add(after.unwrap_or(usize::MAX / 4))
}
