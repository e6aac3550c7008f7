//! Runs of rows copied by vectors: the half of packing that does not transpose.

use pulp::{Arch, Simd, WithSimd};

use super::{DEPTH, Run};
use crate::real::Real;

/// For each row copies runs from the row's offset on, to rows a stride apart. The runs of a row are packed in order, and
/// what lies behind one is written over by what follows. If more will be packed of what lies behind the runs, that is
/// asked for.
pub(super) fn copy<T: Real, const GOES_ON: bool>(
    values: &[T],
    offset: impl Fn(usize) -> usize,
    runs: impl Iterator<Item = Run>,
    stride: usize,
    rows: usize,
    packed: &mut [T],
) {
    Arch::new().dispatch(Copy::<_, _, _, GOES_ON> { values, offset, runs, stride, rows, packed });
}

struct Copy<'a, T, O, R, const GOES_ON: bool> {
    values: &'a [T],
    offset: O,
    runs: R,
    stride: usize,
    rows: usize,
    packed: &'a mut [T],
}

/// At most a vector of a run.
#[derive(Clone, Copy, Default)]
struct Piece {
    from: usize,
    to: usize,
    count: usize,
}

impl<T: Real, O: Fn(usize) -> usize, R: Iterator<Item = Run>, const GOES_ON: bool> WithSimd
    for Copy<'_, T, O, R, GOES_ON>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let lanes = size_of::<T::Vector<S>>() / size_of::<T>();
        let mut pieces = [Piece::default(); DEPTH];
        let mut number = 0;
        for Run { first, count, place } in self.runs {
            for done in (0..count).step_by(lanes) {
                pieces[number] = Piece { from: place + done, to: first + done, count: lanes.min(count - done) };
                number += 1;
            }
        }
        let pieces = &pieces[..number];
        let (values, packed) = (self.values, self.packed);
        if let [Piece { from: place, count, .. }, Piece { from: next, count: of_next, .. }] = *pieces
            && [count, of_next] == [lanes, lanes]
            && (self.stride, next) == (2 * lanes, place + lanes)
        {
            // The columns of a panel side by side, as mostly.
            let packed: &mut [[T::Vector<S>; 2]] = bytemuck::cast_slice_mut(packed);
            for (row, packed) in packed.iter_mut().enumerate() {
                let from = (self.offset)(row) + place;
                if GOES_ON {
                    fetch(values, from + self.stride, 1);
                    fetch(values, from + self.stride + lanes, 1);
                }
                let from: &[[T::Vector<S>; 2]] = bytemuck::cast_slice(&values[from..from + 2 * lanes]);
                *packed = from[0];
            }
            return;
        }
        for row in 0..self.rows {
            let offset = (self.offset)(row);
            for &Piece { from, to, count } in pieces {
                let (from, to) = (offset + from, row * self.stride + to);
                if GOES_ON {
                    fetch(values, from + self.stride, 1);
                }
                // Whole vectors wherever there is room.
                if let (Some(from), Some(to)) = (values.get(from..from + lanes), packed.get_mut(to..to + lanes)) {
                    let from: &[T::Vector<S>] = bytemuck::cast_slice(from);
                    let to: &mut [T::Vector<S>] = bytemuck::cast_slice_mut(to);
                    to[0] = from[0];
                } else {
                    packed[to..to + count].copy_from_slice(&values[from..from + count]);
                }
            }
        }
    }
}

/// Asks for the memory of so many elements from a place on, which will be read soon, where the machine can be asked.
#[inline(always)]
pub(super) fn fetch<T>(values: &[T], place: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for element in (0..count).step_by(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: asking for memory neither reads nor writes, and may be for anybody's.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(place + element).cast());
        }
    }
    let _ = (values, place, count);
}
