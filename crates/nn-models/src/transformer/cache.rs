//! Where the tokens of a call stand: at the beginning, or after others whose keys and values a session keeps.

use nn_core::{Tensor, Value};
use nn_train::{Init, Scope};

/// Where the tokens of a call stand.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// They begin a text.
    Beginning,
    /// They come after others of the same rows, whose keys and values the session keeps as states.
    After {
        /// How many came before: a scalar `u32`.
        position: Value,
        /// How many tokens the states hold.
        capacity: usize,
    },
}

impl Place {
    /// Rows of a table of positions `(positions, width)`, one for each of `length` tokens: `(length, width)`.
    pub(super) fn rows(self, table: Value, length: usize) -> Value {
        match self {
            Place::Beginning => table.slice(&[0, 0], [length, table.shape()[1]]),
            Place::After { position, .. } => table.gather_rows(numbers(position, length) + position),
        }
    }

    /// Keys or values `(rows, length, groups, size)` with those that came before: `(rows, capacity, groups, size)`, kept
    /// as the state `name`, which is `(capacity, rows, groups · size)`.
    pub(super) fn remember(self, s: &mut Scope, name: &str, new: Value) -> Value {
        let Place::After { position, capacity } = self else { return new };
        let [rows, length, groups, size] = new.shape()[..] else { return new };
        let width = groups * size;
        let old = s.state(name, [capacity, rows, width], Init::Zeros);
        let place = numbers(position, capacity);
        // Before the new tokens it wraps round to a large number.
        let offset = place - position;
        let flat = new.permute(&[1, 0, 2, 3]).reshape([length, rows * width]);
        let spread = match length {
            1 => flat.broadcast_to([capacity, rows * width]),
            _ => flat.gather_rows(offset.minimum(whole(offset, length - 1))),
        };
        let is_new = offset.less(whole(offset, length)).reshape([capacity, 1, 1]);
        let all = is_new.select(spread.reshape([capacity, rows, width]), old);
        s.update(name, all);
        all.reshape([capacity, rows, groups, size]).permute(&[1, 0, 2, 3])
    }

    /// What hides the keys that a query does not see yet, `(1, 1, length, capacity)`: 0 or −∞. Nothing at the beginning,
    /// where attention is causal.
    pub(super) fn mask(self, length: usize, window: Option<usize>) -> Option<Value> {
        let Place::After { position, capacity } = self else { return None };
        let query = (numbers(position, length) + position).reshape([length, 1]);
        let key = numbers(position, capacity).reshape([1, capacity]);
        let mut seen = key.less_equal(query);
        if let Some(most) = window {
            // As `query - key < most`, without going below 0.
            seen = seen * query.less(key + whole(key, most));
        }
        let zero = position.recorder().scalar(0.0);
        Some(seen.select(zero, f32::NEG_INFINITY).reshape([1, 1, length, capacity]))
    }
}

/// A number on the same graph.
fn whole(like: Value, number: usize) -> Value {
    like.recorder().scalar_u32(number as u32)
}

/// `0 .. count` on the same graph.
pub(super) fn numbers(like: Value, count: usize) -> Value {
    let all: Vec<u32> = (0..count as u32).collect();
    match Tensor::from_u32([count], &all) {
        Ok(tensor) => like.recorder().constant(&tensor),
        Err(error) => {
            like.recorder().fail("numbers", error.to_string());
            like
        }
    }
}
