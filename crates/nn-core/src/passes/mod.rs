//! Graph → graph → schedule → program. Each step is a function of its input alone.

mod autodiff;
mod bindings;
mod codegen;
mod fuse;
mod join;
mod lower;
mod memory;
mod order;
mod pack;
mod simplify;
mod verify;
mod views;

pub use autodiff::differentiate;
pub use fuse::{Unit, fuse};
pub use lower::lower;
pub(crate) use lower::{buffer_of, lower_launches};
pub use simplify::simplify;
pub use verify::verify;
pub use views::insert_copies;

use crate::Error;
use crate::graph::Graph;
use crate::schedule::Schedule;
use crate::tensor::{DType, TensorType};
use std::collections::BTreeSet;

/// Settings of [`schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Whether neighbouring elementwise operators become one launch. Off, every operator is launched alone:
    /// slower, and the first thing to try when numbers look wrong.
    pub fuse: bool,
    /// The most buffers that one launch may bind (WebGPU guarantees 8).
    pub max_buffers: usize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        ScheduleOptions { fuse: true, max_buffers: 8 }
    }
}

/// All passes from a finished graph to a schedule: simplify, copies for unreadable views, fusion, order, memory.
///
/// With the variable `WGRAD_DUMP` naming a folder, the graph after each pass and the schedule are written there.
///
/// # Errors
/// If a tensor is of a type without kernels (f16); faults of ours, found by [`verify`] after each pass in debug
/// builds.
pub fn schedule(graph: &Graph, options: ScheduleOptions) -> Result<Schedule, Error> {
    refuse_half(graph)?;
    let dump = Dump::begin();
    dump.write("0-traced", graph)?;
    let graph = checked(simplify(graph)?)?;
    dump.write("1-simplified", &graph)?;
    let graph = checked(insert_copies(&graph)?)?;
    dump.write("2-copies", &graph)?;
    // Only in order does it show which states cannot be written in place: groups are then made anew, since the copies
    // count among their buffers. Each turn knows of more such states, so that the turns end.
    let mut copied = BTreeSet::new();
    let arranged = loop {
        let arranged = order::arrange(graph.clone(), fuse(&graph, options, &copied))?;
        let known = copied.len();
        copied.extend(arranged.late.iter().map(|late| late.state.clone()));
        if copied.len() == known {
            break arranged;
        }
    };
    let schedule = memory::assign(arranged)?;
    dump.write("3-schedule", &schedule)?;
    Ok(schedule)
}

/// Graphs can name f16, but no kernel computes in it: said here, before copies of such values are asked for.
fn refuse_half(graph: &Graph) -> Result<(), Error> {
    let half = |kind: &TensorType| kind.dtype == DType::F16;
    let Some((id, _)) = graph.iter().find(|(_, node)| node.outputs.iter().any(half)) else { return Ok(()) };
    let label = graph.label(id);
    Err(Error::Usage(format!("{label} is f16, which no kernel computes in yet; hand it in as f32")))
}

fn checked(graph: Graph) -> Result<Graph, Error> {
    if cfg!(debug_assertions) {
        verify(&graph)?;
    }
    Ok(graph)
}

/// Writes what `WGRAD_DUMP` asks for; graphs of one process are numbered.
struct Dump(Option<std::path::PathBuf>);

impl Dump {
    fn begin() -> Dump {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let folder = std::env::var_os("WGRAD_DUMP").filter(|folder| !folder.is_empty());
        let number = || NUMBER.fetch_add(1, Ordering::Relaxed);
        Dump(folder.map(|folder| std::path::Path::new(&folder).join(format!("graph-{}", number()))))
    }

    fn write(&self, name: &str, what: &dyn std::fmt::Display) -> Result<(), Error> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let path = folder.join(format!("{name}.txt"));
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, what.to_string())).map_err(|error| {
            Error::Usage(format!("cannot write {} (asked for by WGRAD_DUMP): {error}", path.display()))
        })
    }
}
