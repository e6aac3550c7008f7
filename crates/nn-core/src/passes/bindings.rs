//! Which bindings a fused group has, and how its work is cut so that they fit what a device binds at once.

use crate::Error;
use crate::graph::too_long;
use crate::schedule::{Fused, Launch, Operand, Place};
use crate::tensor::window::{self, Axis, BindingLimit, Bound, Piece, View};
use crate::tensor::{DType, Layout};
use gpu_runtime::BindingKind;

/// The memory that a group works in, and what a launch may bind of it.
pub(crate) trait Memory {
    /// Bytes of the buffer.
    fn bytes(&self, place: Place) -> u64;
    /// What messages call the tensor that lies there.
    fn label(&self, place: Place) -> String;
    /// What one binding may show.
    fn limit(&self) -> BindingLimit;
    /// The most bindings of one launch.
    fn most_bindings(&self) -> usize;
}

/// One storage binding.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) dtype: DType,
    pub(crate) kind: BindingKind,
    /// The inputs read through it.
    inputs: Vec<usize>,
    writes: bool,
}

/// The bindings of a group, and the pieces of its work.
pub(crate) struct Bindings {
    pub(crate) entries: Vec<Entry>,
    /// The binding of each input of the launch.
    pub(crate) inputs: Vec<usize>,
    /// The binding of each output.
    pub(crate) outputs: Vec<usize>,
    pub(crate) pieces: Vec<Piece>,
    /// Where elements lie if the work is cut: then the pieces are boxes of these axes.
    pub(crate) cut: Option<CutViews>,
}

/// Where elements lie along the merged axes of a group's shape.
pub(crate) struct CutViews {
    /// The strides of each input.
    pub(crate) inputs: Vec<Vec<usize>>,
    /// The strides of the number of an element in the whole shape, which is where outputs have it.
    pub(crate) index: Vec<usize>,
}

/// Binds a group: as one launch if what it shows of each buffer fits, else in pieces.
pub(crate) fn bind(launch: &Launch, fused: &Fused, memory: &dyn Memory) -> Result<Bindings, Error> {
    let shared = entries(launch, false);
    let layouts = launch.inputs.iter().map(|input| &input.layout);
    let view = |layout: &Layout| View { offset: layout.offset, strides: layout.strides.clone() };
    let whole = Layout::contiguous(&fused.shape);
    let views: Vec<View> = layouts.clone().map(view).collect();
    let axes: Vec<Axis> = fused.shape.iter().map(|&size| Axis::whole(size)).collect();
    if let Ok(pieces) = window::cut(&axes, &bounds(&shared, &views, &view(&whole), memory), memory.limit()) {
        return finish(launch, shared, pieces, None);
    }
    let all: Vec<&Layout> = std::iter::once(&whole).chain(layouts).collect();
    let (sizes, mut strides) = Layout::collapse(&all, &fused.shape);
    let index = strides.remove(0);
    let views: Vec<View> = launch
        .inputs
        .iter()
        .zip(&strides)
        .map(|(input, strides)| View { offset: input.layout.offset, strides: strides.clone() })
        .collect();
    let whole = View { offset: 0, strides: index.clone() };
    let axes: Vec<Axis> = sizes.into_iter().map(Axis::any).collect();
    // A buffer that is read at two places at once gets two windows, if there are bindings left.
    let apart = Some(entries(launch, true)).filter(|entries| entries.len() <= memory.most_bindings());
    let mut fault = Error::Internal(format!("{} was not cut", launch.label));
    for entries in apart.into_iter().chain([shared]) {
        match window::cut(&axes, &bounds(&entries, &views, &whole, memory), memory.limit()) {
            Ok(pieces) => return finish(launch, entries, pieces, Some(CutViews { inputs: strides, index })),
            Err(long) => {
                let tensor = memory.label(entries[long.bound].place);
                fault = too_long(&launch.label, &tensor, long.bytes, memory.limit());
            }
        }
    }
    Err(fault)
}

/// Each buffer once, for writing if the group writes it; `apart`, what is only read once for each view.
fn entries(launch: &Launch, apart: bool) -> Vec<Entry> {
    let written = |place: Place| launch.outputs.iter().any(|output| output.place == place);
    let mut entries: Vec<Entry> = Vec::new();
    for (number, input) in launch.inputs.iter().enumerate().filter(|(_, input)| !written(input.place)) {
        let known = entries.iter_mut().find(|entry| !apart && entry.place == input.place && entry.dtype == input.dtype);
        match known {
            Some(entry) => entry.inputs.push(number),
            None => entries.push(Entry {
                place: input.place,
                dtype: input.dtype,
                kind: BindingKind::Read,
                inputs: vec![number],
                writes: false,
            }),
        }
    }
    for output in &launch.outputs {
        if !entries.iter().any(|entry| entry.place == output.place && entry.dtype == output.dtype) {
            let (place, dtype) = (output.place, output.dtype);
            let same = |(_, input): &(usize, &Operand)| input.place == place && input.dtype == dtype;
            let inputs = launch.inputs.iter().enumerate().filter(same).map(|(number, _)| number).collect();
            entries.push(Entry { place, dtype, kind: BindingKind::ReadWrite, inputs, writes: true });
        }
    }
    entries
}

fn bounds(entries: &[Entry], inputs: &[View], whole: &View, memory: &dyn Memory) -> Vec<Bound> {
    let bound = |entry: &Entry| Bound {
        views: entry.inputs.iter().map(|&input| &inputs[input]).chain(entry.writes.then_some(whole)).cloned().collect(),
        element_bytes: entry.dtype.bytes(),
        buffer_bytes: memory.bytes(entry.place),
    };
    entries.iter().map(bound).collect()
}

fn finish(launch: &Launch, entries: Vec<Entry>, pieces: Vec<Piece>, cut: Option<CutViews>) -> Result<Bindings, Error> {
    let missing = |operand: &Operand| {
        Error::Internal(format!("{} is read as another type than it is written as in one launch", operand.place))
    };
    let input = |(number, operand): (usize, &Operand)| {
        entries.iter().position(|entry| entry.inputs.contains(&number)).ok_or_else(|| missing(operand))
    };
    let output = |operand: &Operand| {
        let same = |entry: &Entry| entry.writes && entry.place == operand.place && entry.dtype == operand.dtype;
        entries.iter().position(same).ok_or_else(|| missing(operand))
    };
    let inputs = launch.inputs.iter().enumerate().map(input).collect::<Result<_, _>>()?;
    let outputs = launch.outputs.iter().map(output).collect::<Result<_, _>>()?;
    Ok(Bindings { entries, inputs, outputs, pieces, cut })
}
