//! The block runner: a fused elementwise program over a tensor, block by block, in parallel.
//!
//! It knows no op. A program is a list of instructions, each a function over one block of elements, so
//! that intermediate values live in the cache and never reach memory.

use std::cell::Cell;

use crate::memory::Scratch;
use crate::strided::Dimensions;

#[cfg(test)]
mod tests;

/// Elements in a block, except in the last one of a tensor. A power of two.
pub const BLOCK: usize = 1024;

/// Words from one region of scratch to the next: a few cache lines more than a block has, because what lies a multiple of
/// 4 KiB apart competes for the same few places of the cache.
const REGION: usize = BLOCK + 3 * 8;

/// The most inputs of one instruction.
pub const MAX_INPUTS: usize = 8;

/// The least work worth handing to another thread: elements, each times the instructions that compute with it and the
/// inputs and outputs that it passes through.
const TASK: usize = 128 * BLOCK;

/// Tasks per thread, so that a thread that comes late still finds work.
const TASKS_PER_THREAD: usize = 4;

/// One instruction's inner loop over a block.
///
/// `inputs` and `output` are the bytes of the same number of elements, each of its own element size, but an input that is
/// the same everywhere has no more than [`STRETCH`] of them;
/// `first_index` is the linear index, in the tensor, of the block's first element (always a multiple of
/// [`BLOCK`]). A block has [`BLOCK`] elements or fewer, or any number where it is the only instruction. Registers are aligned to 8 bytes, other slices as the caller's tensors are.
///
/// A function of many elements calls [`Ahead::ask`] for each [`STRETCH`] of them, so that the next block's memory is on its
/// way while it computes.
pub type BlockFunction = fn(inputs: &[&[u8]], output: &mut [u8], first_index: usize, ahead: &Ahead);

/// Elements after which a function asks for more of the next block.
pub const STRETCH: usize = 256;

/// The memory that the next block will read and write. By itself the processor does not look beyond a page, of which a
/// block is one: it would compute and wait by turns.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Where they begin, and bytes of an element.
    streams: Vec<(*const u8, usize)>,
    /// The first element that has not been asked for.
    next: Cell<usize>,
    /// Elements to ask for at once, and in all.
    step: usize,
    end: usize,
}

impl Ahead {
    /// Asks for the next elements, where there are such and the machine can be asked.
    #[inline]
    pub fn ask(&self) {
        let first = self.next.get();
        if first >= self.end {
            return;
        }
        self.next.set(first + self.step);
        #[cfg(target_arch = "x86_64")]
        for &(start, bytes) in &self.streams {
            for byte in (first * bytes..(first + self.step) * bytes).step_by(64) {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                // SAFETY: asking for memory neither reads nor writes, and may be for anybody's.
                #[allow(unsafe_code)]
                unsafe {
                    _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(byte).cast());
                }
            }
        }
    }
}

/// Where an instruction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Input of the program, by number.
    Input(usize),
    /// Register, by number; it holds what an earlier instruction of the program wrote.
    Register(usize),
    /// Output of the program, by number; it holds what an earlier instruction wrote.
    Output(usize),
}

/// Where an instruction writes; never one of its own sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Register, by number.
    Register(usize),
    /// Output of the program, by number.
    Output(usize),
}

/// One step of a program.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// What it does to a block.
    pub function: BlockFunction,
    /// Where it reads: at most [`MAX_INPUTS`].
    pub inputs: Vec<Source>,
    /// Where it writes.
    pub destination: Destination,
}

/// A fused elementwise program. Element sizes are in bytes: 2, 4 or 8.
#[derive(Clone, Debug, Default)]
pub struct BlockProgram {
    /// The element size of each register.
    pub registers: Vec<usize>,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// The element size of each input.
    pub input_bytes: Vec<usize>,
    /// The element size of each output.
    pub output_bytes: Vec<usize>,
}

/// One input of a run.
#[derive(Clone, Debug)]
pub struct BlockInput<'a> {
    /// The tensor that the input is a view of.
    pub bytes: InputBytes<'a>,
    /// Elements between neighbours along each dimension of the iteration space; 0 broadcasts.
    pub strides: &'a [usize],
    /// Elements before the view's first.
    pub offset: usize,
}

/// Where the elements of an input are.
#[derive(Clone, Debug)]
pub enum InputBytes<'a> {
    /// In memory of their own.
    Slice(&'a [u8]),
    /// In the output of this number, which the program overwrites. The element sizes are equal, the view
    /// is the whole output, and the program sees the elements as they were before the run.
    InPlaceOf(usize),
}

/// How one input reaches the instructions, block by block.
enum Feed<'a> {
    /// Read where it lies; the slice begins at the view's first element.
    Direct(&'a [u8]),
    /// One element, repeated: fills a stretch of its scratch once per task.
    Repeated(&'a [u8]),
    /// Gathered into its scratch, block by block.
    Gathered(&'a [u8], Box<Dimensions<1>>),
    /// Copied to its scratch before the block is overwritten.
    InPlace(usize),
}

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new() };
}

/// Runs `program` over the row-major iteration space `sizes`.
///
/// Each output is contiguous over `sizes` and is written whole by the program. The result has the same
/// bits whatever the number of threads, since each block is computed by itself.
///
/// # Panics
/// If the program, the views and the slices do not fit each other ("internal: …").
pub fn run(program: &BlockProgram, sizes: &[usize], inputs: &[BlockInput<'_>], outputs: &mut [&mut [u8]]) {
    let count: usize = sizes.iter().product();
    check_program(program);
    assert!(
        outputs.len() == program.output_bytes.len() && inputs.len() == program.input_bytes.len(),
        "internal: an elementwise program was given another number of inputs or outputs"
    );
    for (output, bytes) in outputs.iter().zip(&program.output_bytes) {
        assert!(
            output.len() == count * bytes,
            "internal: an elementwise output has {} bytes instead of {count}·{bytes}",
            output.len()
        );
    }
    let feeds =
        inputs.iter().zip(&program.input_bytes).map(|(input, &bytes)| feed(program, sizes, input, bytes)).collect();
    let job = Job { program, feeds };
    let tasks = rayon::current_num_threads() * TASKS_PER_THREAD;
    let work_of_element = program.instructions.len() + inputs.len() + outputs.len();
    let task = count.div_ceil(tasks).max(TASK / work_of_element).next_multiple_of(BLOCK);
    let outputs = outputs.iter_mut().map(|output| &mut **output).collect();
    job.split(0, count, task, outputs);
}

fn check_program(program: &BlockProgram) {
    let sizes_known = program
        .registers
        .iter()
        .chain(&program.input_bytes)
        .chain(&program.output_bytes)
        .all(|bytes| matches!(bytes, 2 | 4 | 8));
    assert!(sizes_known, "internal: an elementwise element has 2, 4 or 8 bytes");
    for instruction in &program.instructions {
        let fits = instruction.inputs.iter().all(|source| match *source {
            Source::Input(input) => input < program.input_bytes.len(),
            Source::Register(register) => {
                register < program.registers.len() && instruction.destination != Destination::Register(register)
            }
            Source::Output(output) => {
                output < program.output_bytes.len() && instruction.destination != Destination::Output(output)
            }
        });
        let destination_fits = match instruction.destination {
            Destination::Register(register) => register < program.registers.len(),
            Destination::Output(output) => output < program.output_bytes.len(),
        };
        assert!(
            fits && destination_fits && instruction.inputs.len() <= MAX_INPUTS,
            "internal: an elementwise instruction reads or writes what is not there: {:?} -> {:?}",
            instruction.inputs,
            instruction.destination
        );
    }
}

fn feed<'a>(program: &BlockProgram, sizes: &[usize], input: &BlockInput<'a>, bytes: usize) -> Feed<'a> {
    assert!(
        input.strides.len() == sizes.len(),
        "internal: an elementwise input has {} strides for {} dimensions",
        input.strides.len(),
        sizes.len()
    );
    let slice = match input.bytes {
        InputBytes::Slice(slice) => slice,
        InputBytes::InPlaceOf(output) => {
            assert!(
                program.output_bytes.get(output) == Some(&bytes) && input.offset == 0,
                "internal: an elementwise input cannot be in place of output {output}"
            );
            return Feed::InPlace(output);
        }
    };
    let last: usize = sizes.iter().zip(input.strides).map(|(size, stride)| (size.max(&1) - 1) * stride).sum();
    assert!(
        (input.offset + last + 1) * bytes <= slice.len(),
        "internal: an elementwise input reaches element {} of {} bytes",
        input.offset + last,
        slice.len()
    );
    let slice = &slice[input.offset * bytes..];
    let dimensions = Dimensions::new(sizes, [input.strides]);
    match (dimensions.rank, dimensions.strides[0]) {
        (1, [1]) => Feed::Direct(slice),
        (1, [0]) => Feed::Repeated(&slice[..bytes]),
        _ => Feed::Gathered(slice, Box::new(dimensions)),
    }
}

struct Job<'a> {
    program: &'a BlockProgram,
    feeds: Vec<Feed<'a>>,
}

impl Job<'_> {
    /// Splits the elements `first..first + count` in halves down to tasks, at multiples of a block.
    fn split(&self, first: usize, count: usize, task: usize, mut outputs: Vec<&mut [u8]>) {
        if count <= task {
            return self.run_task(first, count, &mut outputs);
        }
        let half = (count / 2).next_multiple_of(BLOCK);
        let (left, right) = outputs
            .into_iter()
            .zip(&self.program.output_bytes)
            .map(|(output, bytes)| output.split_at_mut(half * bytes))
            .unzip();
        rayon::join(|| self.split(first, half, task, left), || self.split(first + half, count - half, task, right));
    }

    /// Runs the blocks of one task; `outputs` begin at element `first`.
    fn run_task(&self, first: usize, count: usize, outputs: &mut [&mut [u8]]) {
        let registers = self.program.registers.len();
        // The registers come first, then one region for each input (unused by those read in place).
        let regions = registers + self.feeds.len();
        SCRATCH.with(|scratch| {
            scratch.lend(regions * REGION, |scratch: &mut [u64]| {
                let regions = scratch.chunks_exact_mut(REGION).map(bytemuck::cast_slice_mut).collect();
                self.run_blocks(first, count, regions, outputs);
            });
        });
    }

    /// Runs the blocks of one task with these regions of scratch.
    fn run_blocks(&self, first: usize, count: usize, mut regions: Vec<&mut [u8]>, outputs: &mut [&mut [u8]]) {
        let registers = self.program.registers.len();
        for (feed, region) in self.feeds.iter().zip(&mut regions[registers..]) {
            if let Feed::Repeated(element) = feed {
                let block = &mut region[..STRETCH.min(count) * element.len()];
                match element.len() {
                    2 => repeat::<2>(element, block),
                    4 => repeat::<4>(element, block),
                    _ => repeat::<8>(element, block),
                }
            }
        }
        // One instruction on tensors as they lie has nothing to keep in the cache for the next.
        let alone = self.program.instructions.len() == 1 && registers == 0;
        let whole = alone && self.feeds.iter().all(|feed| matches!(feed, Feed::Direct(_)));
        let length = if whole { count } else { BLOCK };
        let mut ahead = self.ahead();
        for done in (0..count).step_by(length) {
            let block = Block { first: first + done, done, count: length.min(count - done) };
            self.feed_block(&block, &mut regions[registers..], outputs);
            self.point_ahead(&mut ahead, &block, count, outputs);
            for instruction in &self.program.instructions {
                self.run_instruction(instruction, &block, &mut regions, outputs, &ahead);
            }
        }
    }

    /// Asks for nothing yet: the instructions of a block share what is to be asked for.
    fn ahead(&self) -> Ahead {
        let step = (STRETCH / self.program.instructions.len().max(1)).next_multiple_of(16);
        Ahead { step, ..Ahead::default() }
    }

    /// Points to the block after this one of a task of `count` elements: to what is read where it lies, and written.
    fn point_ahead(&self, ahead: &mut Ahead, block: &Block, count: usize, outputs: &mut [&mut [u8]]) {
        let (first, done) = (block.first + block.count, block.done + block.count);
        ahead.streams.clear();
        ahead.next.set(0);
        ahead.end = BLOCK.min(count - done);
        if ahead.end == 0 {
            return;
        }
        for (feed, &bytes) in self.feeds.iter().zip(&self.program.input_bytes) {
            if let Feed::Direct(slice) = feed {
                ahead.streams.push((slice[first * bytes..].as_ptr(), bytes));
            }
        }
        for (output, &bytes) in outputs.iter().zip(&self.program.output_bytes) {
            ahead.streams.push((output[done * bytes..].as_ptr(), bytes));
        }
    }

    /// Fills the scratch of the inputs that are not read in place.
    fn feed_block(&self, block: &Block, regions: &mut [&mut [u8]], outputs: &[&mut [u8]]) {
        for (number, (feed, region)) in self.feeds.iter().zip(regions).enumerate() {
            match feed {
                Feed::Direct(_) | Feed::Repeated(_) => {}
                Feed::InPlace(output) => {
                    let range = block.in_task(self.program.output_bytes[*output]);
                    region[..range.len()].copy_from_slice(&outputs[*output][range]);
                }
                Feed::Gathered(slice, dimensions) => match self.program.input_bytes[number] {
                    2 => gather::<2>(slice, dimensions, block, region),
                    4 => gather::<4>(slice, dimensions, block, region),
                    _ => gather::<8>(slice, dimensions, block, region),
                },
            }
        }
    }

    fn run_instruction(
        &self,
        instruction: &Instruction,
        block: &Block,
        regions: &mut [&mut [u8]],
        outputs: &mut [&mut [u8]],
        ahead: &Ahead,
    ) {
        // The destination is taken out while the sources are borrowed; no source is the destination.
        match instruction.destination {
            Destination::Register(register) => {
                let bytes = block.count * self.program.registers[register];
                let taken = std::mem::take(&mut regions[register]);
                self.call(instruction, block, regions, outputs, &mut taken[..bytes], ahead);
                regions[register] = taken;
            }
            Destination::Output(output) => {
                let range = block.in_task(self.program.output_bytes[output]);
                let taken = std::mem::take(&mut outputs[output]);
                self.call(instruction, block, regions, outputs, &mut taken[range], ahead);
                outputs[output] = taken;
            }
        }
    }

    fn call(
        &self,
        instruction: &Instruction,
        block: &Block,
        regions: &[&mut [u8]],
        outputs: &[&mut [u8]],
        destination: &mut [u8],
        ahead: &Ahead,
    ) {
        let program = self.program;
        let mut sources: [&[u8]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        for (slot, source) in sources.iter_mut().zip(&instruction.inputs) {
            *slot = match *source {
                Source::Register(register) => &regions[register][..block.count * program.registers[register]],
                Source::Output(output) => &outputs[output][block.in_task(program.output_bytes[output])],
                Source::Input(input) => {
                    let bytes = program.input_bytes[input];
                    match &self.feeds[input] {
                        Feed::Direct(slice) => &slice[block.first * bytes..(block.first + block.count) * bytes],
                        Feed::Repeated(_) => {
                            &regions[program.registers.len() + input][..block.count.min(STRETCH) * bytes]
                        }
                        _ => &regions[program.registers.len() + input][..block.count * bytes],
                    }
                }
            };
        }
        let sources = &sources[..instruction.inputs.len()];
        (instruction.function)(sources, destination, block.first, ahead);
    }
}

struct Block {
    /// Linear index in the tensor.
    first: usize,
    /// Linear index in the task.
    done: usize,
    count: usize,
}

impl Block {
    /// The bytes of this block in the task's part of an output.
    fn in_task(&self, element_bytes: usize) -> std::ops::Range<usize> {
        self.done * element_bytes..(self.done + self.count) * element_bytes
    }
}

/// Fills `region` with the one element of `slice`.
fn repeat<const BYTES: usize>(slice: &[u8], region: &mut [u8]) {
    region.as_chunks_mut::<BYTES>().0.fill(slice.as_chunks::<BYTES>().0[0]);
}

/// Writes the block's elements of a strided view to `region`, in order.
fn gather<const BYTES: usize>(slice: &[u8], dimensions: &Dimensions<1>, block: &Block, region: &mut [u8]) {
    let source = slice.as_chunks::<BYTES>().0;
    let target = region.as_chunks_mut::<BYTES>().0;
    let stride = dimensions.innermost().1[0];
    let mut done = 0;
    dimensions.runs(block.first, block.count, |[offset], run| {
        let target = &mut target[done..done + run];
        match stride {
            0 => target.fill(source[offset]),
            1 => target.copy_from_slice(&source[offset..offset + run]),
            _ => {
                for (element, value) in target.iter_mut().zip(source[offset..].iter().step_by(stride)) {
                    *element = *value;
                }
            }
        }
        done += run;
    });
}
