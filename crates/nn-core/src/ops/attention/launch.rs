//! The launches of attention's kernels on a GPU.

use super::Settings;
use crate::Error;
use crate::graph::{GpuCall, GpuPiece, GpuView, word, words};
use crate::ops::support::row_groups;
use crate::tensor::window::Axis;
use cpu_reference::AttentionSizes;

/// Rows and columns of a tile, and how many elements of a head are taken at once.
const TILE: usize = 32;

/// A large window, that no sum of it with a place overflows.
const WIDE: usize = 1 << 30;

/// The operands that have a part in a launch, by number.
struct Operands {
    dy: Option<usize>,
    query: usize,
    key: usize,
    value: usize,
    /// What the gradients are told of each row.
    rows: Option<usize>,
    mask: Option<usize>,
    slopes: Option<usize>,
    random: Option<usize>,
}

impl Operands {
    /// Query, key and value are the inputs from `first` on, what follows is from `extra` on.
    fn new(settings: &Settings, first: usize, extra: usize) -> Operands {
        let mut next = extra;
        let mut take = |wanted: bool| {
            next += usize::from(wanted);
            wanted.then(|| next - 1)
        };
        let gradient = first > 0;
        Operands {
            dy: gradient.then_some(0),
            query: first,
            key: first + 1,
            value: first + 2,
            rows: gradient.then_some(4),
            mask: take(settings.masked),
            slopes: take(settings.sloped && !gradient),
            random: take(settings.dropout > 0.0),
        }
    }
}

/// Which tensor a launch computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Forward,
    Query,
    Key,
    Value,
}

/// Adds the launch of attention.
pub(super) fn forward(call: &mut GpuCall, settings: &Settings, sizes: &AttentionSizes) -> Result<(), Error> {
    launch(call, settings, sizes, Kernel::Forward, &Operands::new(settings, 0, 3))
}

/// Adds the launches of its gradient.
pub(super) fn gradient(call: &mut GpuCall, settings: &Settings, sizes: &AttentionSizes) -> Result<(), Error> {
    let operands = Operands::new(settings, 1, 5);
    for kernel in [Kernel::Query, Kernel::Key, Kernel::Value] {
        launch(call, settings, sizes, kernel, &operands)?;
    }
    Ok(())
}

/// The axes of the work: batch, queries, keys, heads, groups, elements, and the numbers of what is no tensor of heads.
fn axes(sizes: &AttentionSizes) -> [Axis; 7] {
    let AttentionSizes { batch, queries, keys, heads, groups, size } = *sizes;
    let whole = [queries, keys, heads, groups, size, 3].map(Axis::whole);
    [Axis::any(batch), whole[0], whole[1], whole[2], whole[3], whole[4], whole[5]]
}

/// Rows of queries' heads, or of keys' heads.
fn of_heads(call: &GpuCall, operand: usize, by_keys: bool) -> GpuView {
    let strides = strides(call, operand);
    let along = match by_keys {
        false => [strides[0], strides[1], 0, strides[2], 0, strides[3], 0],
        true => [strides[0], 0, strides[1], 0, strides[2], strides[3], 0],
    };
    call.view(operand, along)
}

fn strides(call: &GpuCall, operand: usize) -> Vec<usize> {
    let inputs = call.inputs.len();
    let layout = match operand < inputs {
        true => &call.inputs[operand].layout,
        false => &call.outputs[operand - inputs].layout,
    };
    layout.strides.clone()
}

/// One kernel's launches: one, unless tensors are larger than a binding.
fn launch(
    call: &mut GpuCall,
    settings: &Settings,
    sizes: &AttentionSizes,
    kernel: Kernel,
    operands: &Operands,
) -> Result<(), Error> {
    let outputs = call.inputs.len();
    // What a launch does not read is bound to something that it does.
    let anything = of_heads(call, operands.query, false);
    let mask = operands.mask.map_or(anything.clone(), |mask| {
        let strides = strides(call, mask);
        call.view(mask, [strides[0], strides[2], strides[3], strides[1], 0, 0, 0])
    });
    let random = operands.random.map_or(anything.clone(), |random| call.view(random, [0; 7]));
    let [query, key, value] = [(operands.query, false), (operands.key, true), (operands.value, true)]
        .map(|(operand, by_keys)| of_heads(call, operand, by_keys));
    let dy = operands.dy.map(|dy| of_heads(call, dy, false));
    let rows = operands.rows.map(|rows| {
        let strides = strides(call, rows);
        call.view(rows, [strides[0], strides[1], 0, strides[2], 0, 0, strides[3]])
    });
    let mut views = Vec::new();
    let mut places = Places::default();
    let push = |view: Option<GpuView>, views: &mut Vec<GpuView>| {
        views.extend(view);
        views.len().saturating_sub(1)
    };
    places.dy = push(dy, &mut views);
    places.query = push(Some(query), &mut views);
    places.key = push(Some(key), &mut views);
    places.value = push(Some(value).filter(|_| kernel != Kernel::Value), &mut views);
    places.rows = push(rows, &mut views);
    places.mask = push(Some(mask), &mut views);
    if kernel == Kernel::Forward {
        let slopes = operands.slopes.map_or(anything, |slopes| call.view(slopes, [0, 0, 0, 1, 0, 0, 0]));
        places.slopes = push(Some(slopes), &mut views);
    }
    places.random = push(Some(random), &mut views);
    let output = match kernel {
        Kernel::Forward | Kernel::Query => of_heads(call, outputs, false),
        Kernel::Key => of_heads(call, outputs + 1, true),
        Kernel::Value => of_heads(call, outputs + 2, true),
    };
    places.output = push(Some(output), &mut views);
    if kernel == Kernel::Forward {
        let strides = strides(call, outputs + 1);
        let logarithms = call.view(outputs + 1, [strides[0], strides[1], 0, strides[2], 0, 0, 0]);
        places.rows = push(Some(logarithms), &mut views);
    }
    for piece in call.cut(&axes(sizes), &views)? {
        launch_piece(call, settings, sizes, kernel, operands, &piece, &places)?;
    }
    Ok(())
}

/// Which view is which.
#[derive(Default)]
struct Places {
    dy: usize,
    query: usize,
    key: usize,
    value: usize,
    rows: usize,
    mask: usize,
    slopes: usize,
    random: usize,
    output: usize,
}

fn launch_piece(
    call: &mut GpuCall,
    settings: &Settings,
    sizes: &AttentionSizes,
    kernel: Kernel,
    operands: &Operands,
    piece: &GpuPiece,
    places: &Places,
) -> Result<(), Error> {
    let AttentionSizes { queries, keys, heads, groups, size, .. } = *sizes;
    let (batch, share, chunks) = (piece.sizes[0], heads / groups, size.div_ceil(TILE));
    word(queries + keys + WIDE, "the number of queries and keys")?;
    let of_heads = |call: &GpuCall, operand: Option<usize>, place: usize| -> Result<Vec<u32>, Error> {
        let Some(operand) = operand else { return Ok(vec![0; 4]) };
        let strides = strides(call, operand);
        let mut all = words(&strides[..3], "a stride")?;
        all.push(piece.offsets[place]);
        Ok(all)
    };
    let query = of_heads(call, Some(operands.query), places.query)?;
    let key = of_heads(call, Some(operands.key), places.key)?;
    let value = of_heads(call, Some(operands.value), places.value)?;
    let dy = of_heads(call, operands.dy, places.dy)?;
    let mut rows = of_heads(call, operands.rows, places.rows)?;
    rows[3] = piece.offsets[places.rows];
    let mask = operands.mask.map_or(vec![0; 4], |mask| strides(call, mask));
    let rows_stride = operands.rows.map_or(0, |rows| strides(call, rows)[3]);
    let (shader, blocks, loops) = match kernel {
        Kernel::Forward => ("attention", queries.div_ceil(TILE) * heads, keys.div_ceil(TILE) * (72 * chunks + 20)),
        Kernel::Query => {
            ("attention_query_gradient", queries.div_ceil(TILE) * heads, keys.div_ceil(TILE) * (110 * chunks + 8))
        }
        Kernel::Key => {
            let tiles = share * queries.div_ceil(TILE);
            ("attention_key_gradient", keys.div_ceil(TILE) * groups, tiles * (110 * chunks + 8))
        }
        Kernel::Value => {
            let tiles = share * queries.div_ceil(TILE);
            ("attention_value_gradient", keys.div_ceil(TILE) * groups, tiles * (74 * chunks + 8))
        }
    };
    let size_of = |number: usize| word(number, "a size");
    call.launch(
        shader,
        &[
            ("CHUNKS", size_of(chunks)?),
            ("CAUSAL", u32::from(settings.causal)),
            ("WINDOWED", u32::from(settings.window.is_some())),
            ("MASKED", u32::from(settings.masked)),
            ("SLOPED", u32::from(settings.sloped)),
            ("DROPPED", u32::from(settings.dropout > 0.0)),
        ],
        &[
            ("batch", size_of(batch)?.into()),
            ("queries", size_of(queries)?.into()),
            ("keys", size_of(keys)?.into()),
            ("heads", size_of(heads)?.into()),
            ("share", size_of(share)?.into()),
            ("size", size_of(size)?.into()),
            ("first_batch", size_of(piece.starts[0])?.into()),
            ("window", size_of(settings.window.unwrap_or(0).min(WIDE))?.into()),
            ("scale", settings.scale.into()),
            ("stream", settings.stream.into()),
            ("probability", settings.dropout.into()),
            ("factor", (1.0 / (1.0 - settings.dropout)).into()),
            ("query_strides", (&query[..]).into()),
            ("key_strides", (&key[..]).into()),
            ("value_strides", (&value[..]).into()),
            ("dy_strides", (&dy[..]).into()),
            ("mask_strides", (&words(&mask, "a stride")?[..]).into()),
            ("rows_strides", (&rows[..]).into()),
            ("mask_offset", piece.offsets[places.mask].into()),
            ("rows_stride", word(rows_stride, "a stride")?.into()),
            ("extra_offset", piece.offsets[places.slopes].into()),
            ("random_offset", piece.offsets[places.random].into()),
            ("output_offset", piece.offsets[places.output].into()),
        ],
        &piece.windows,
        row_groups(blocks * batch)?,
    )?;
    call.loops(loops + 8 * chunks);
    Ok(())
}
