//! How well the slots are used: which values lie in them and when, and how much of them is ever needed at once.

use super::{Place, Schedule};
use crate::graph::Precision;
use crate::tensor::TensorType;
use gpu_runtime::Memory;

/// A value that lies in a slot for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Element type and shape.
    pub kind: TensorType,
    /// The launch that writes it.
    pub written: usize,
    /// The last launch that reads it: the one that writes it if none does, the last of all if it can be read after
    /// a run.
    pub last_read: usize,
}

/// How much of the slots is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotUsage {
    /// Bytes of all slots.
    pub slot_bytes: usize,
    /// The most bytes of values that are alive at one launch, a value computed over another one counted once with it:
    /// no memory takes less for these launches in this order.
    pub needed_bytes: usize,
    /// The first launch that needs so many.
    pub launch: usize,
    /// What slots take at least while each is a buffer of its own with one value at a time: the largest one holds the
    /// largest value of any launch, the second the largest among the second largest of each launch, and so on.
    pub least_bytes: usize,
}

impl SlotUsage {
    /// Bytes of slots beyond the need.
    pub fn waste_bytes(&self) -> usize {
        self.slot_bytes - self.needed_bytes
    }

    /// The share of the slots that is beyond the need, from 0 to 1.
    pub fn waste(&self) -> f64 {
        if self.slot_bytes == 0 { 0.0 } else { self.waste_bytes() as f64 / self.slot_bytes as f64 }
    }
}

impl Schedule {
    /// The values that lie in each slot, in the order of time. A value computed over another one begins at the launch
    /// at which that one ends.
    pub fn tenants(&self) -> Vec<Vec<Tenant>> {
        let mut tenants: Vec<Vec<Tenant>> = vec![Vec::new(); self.slots.len()];
        for (number, launch) in self.launches.iter().enumerate() {
            for input in &launch.inputs {
                if let Place::Slot(slot) = input.place
                    && let Some(tenant) = tenants[slot].last_mut()
                {
                    tenant.last_read = number;
                }
            }
            for output in &launch.outputs {
                if let Place::Slot(slot) = output.place {
                    let kind = TensorType::new(output.dtype, output.layout.shape.clone());
                    tenants[slot].push(Tenant { kind, written: number, last_read: number });
                }
            }
        }
        for (_, operand) in &self.outputs {
            if let Place::Slot(slot) = operand.place
                && let Some(tenant) = tenants[slot].last_mut()
            {
                tenant.last_read = self.launches.len().saturating_sub(1);
            }
        }
        tenants
    }

    /// How much of the slots is needed.
    pub fn slot_usage(&self) -> SlotUsage {
        // The sizes of the values alive at each launch.
        let mut alive: Vec<Vec<usize>> = vec![Vec::new(); self.launches.len()];
        for tenants in self.tenants() {
            let mut of_slot: Vec<usize> = vec![0; self.launches.len()];
            for Tenant { kind, written, last_read } in &tenants {
                let bytes = kind.bytes().next_multiple_of(4);
                // Two values meet in a slot only where one is computed over the other.
                of_slot[*written..=*last_read].iter_mut().for_each(|most| *most = bytes.max(*most));
            }
            alive.iter_mut().zip(of_slot).for_each(|(sizes, bytes)| sizes.push(bytes));
        }
        let mut usage = SlotUsage { slot_bytes: self.slot_bytes(), ..SlotUsage::default() };
        let mut ranked = vec![0; self.slots.len()];
        for (launch, mut sizes) in alive.into_iter().enumerate() {
            let sum = sizes.iter().sum();
            if sum > usage.needed_bytes {
                (usage.needed_bytes, usage.launch) = (sum, launch);
            }
            sizes.sort_unstable_by_key(|&bytes| std::cmp::Reverse(bytes));
            ranked.iter_mut().zip(sizes).for_each(|(most, bytes)| *most = bytes.max(*most));
        }
        usage.least_bytes = ranked.iter().sum();
        usage
    }

    /// The memory that a program on the CPU takes. It reads its inputs where the caller has them.
    pub fn memory(&self, precision: Precision) -> Memory {
        let kind_bytes = |kind: &TensorType| (kind.shape.elements() * precision.element_bytes(kind.dtype)) as u64;
        let constant = |&id: &crate::graph::NodeId| kind_bytes(&self.graph.node(id).outputs[0]);
        Memory {
            states: self.states.iter().map(|(_, kind)| kind_bytes(kind)).sum(),
            constants: self.constants.iter().map(constant).sum(),
            slots: self.slots.iter().map(|slot| slot.bytes(precision) as u64).sum(),
            ..Memory::default()
        }
    }
}
