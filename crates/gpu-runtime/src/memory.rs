//! How much memory a program takes, by purpose.

/// Bytes that a program takes where it runs, known before anything is made.
///
/// On a GPU, [`Memory::peak`] is what [`crate::Counters::bytes_alive`] shows once the plan exists, and nothing is made
/// afterwards. Programs of one session share states by name: of several programs, count each state once and add
/// [`Memory::own`] of each program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Parameters and other tensors that outlive the program; shared with others that name them.
    pub states: u64,
    /// Tensors that are handed in before a run; 0 on the CPU, which reads them where they are.
    pub inputs: u64,
    /// Fixed tensors.
    pub constants: u64,
    /// Working memory, which values share that live at different times.
    pub slots: u64,
    /// The parameter blocks of all launches; 0 on the CPU.
    pub parameters: u64,
    /// The block of numbers that each step brings; 0 on the CPU.
    pub step_block: u64,
    /// Host memory through which small outputs come back, one part for each run in flight. Not part of the sums, as
    /// it takes nothing of the GPU's memory; 0 on the CPU.
    pub staging: u64,
}

impl Memory {
    /// Bytes that live and die with the program: all but the states.
    pub fn own(&self) -> u64 {
        [self.inputs, self.constants, self.slots, self.parameters, self.step_block]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Bytes in all, from the moment that the program is ready to its end.
    pub fn peak(&self) -> u64 {
        self.own().saturating_add(self.states)
    }
}
