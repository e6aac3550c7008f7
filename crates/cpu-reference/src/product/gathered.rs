//! Operands of a product whose rows are the same places of a tensor, each from another start on: what a convolution reads.

use std::ops::Range;

use super::interleave::interleave;
use super::pack::copy;
use super::{Layout, Left, ROW, Right, Shape, panels};
use crate::real::Real;

/// Columns that lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The first of them.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Where the first lies.
    pub(crate) place: usize,
}

impl Run {
    /// Adds columns to a list of runs, which go on the last of them if they lie behind it.
    pub(crate) fn push(runs: &mut Vec<Run>, place: usize, count: usize) {
        match runs.last_mut() {
            Some(last) if last.place + last.count == place => last.count += count,
            _ => {
                let first = runs.last().map_or(0, |last| last.first + last.count);
                runs.push(Run { first, count, place });
            }
        }
    }
}

/// Element (i, j) is `values[offsets[i] + place]`, where the runs say the place of j.
#[derive(Clone, Copy)]
pub(crate) struct Gathered<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) offsets: &'a [usize],
    /// Of all columns, in order.
    pub(crate) runs: &'a [Run],
}

impl<T> Gathered<'_, T> {
    /// The runs of some columns, counted from the first of these.
    fn runs_of(&self, columns: Range<usize>) -> impl Iterator<Item = Run> {
        let first = self.runs.partition_point(|run| run.first + run.count <= columns.start);
        self.runs[first..].iter().take_while(move |run| run.first < columns.end).map(move |run| {
            let [start, end] = [columns.start.max(run.first), columns.end.min(run.first + run.count)];
            Run { first: start - columns.start, count: end - start, place: run.place + start - run.first }
        })
    }
}

impl<T: Real> Left<T> for Gathered<'_, T> {
    fn packed(&self, _shape: Shape) -> Layout {
        Layout::Packed
    }

    fn in_place(&self, rows: Range<usize>, depth: Range<usize>, _shape: Shape) -> Option<(&[T], Layout)> {
        let count = depth.len();
        let run = self.runs_of(depth).next().filter(|run| run.count == count)?;
        let offsets = &self.offsets[rows];
        let stride = offsets.get(1).map_or(Some(0), |next| next.checked_sub(offsets[0]))?;
        let even = offsets.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == stride);
        even.then(|| (&self.values[offsets[0] + run.place..], Layout::ByRow(stride)))
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, panel: &mut [T]) {
        copy::<_, false>(
            self.values,
            |row| self.offsets[rows.start + row],
            self.runs_of(depth),
            ROW,
            rows.len(),
            panel,
        );
    }
}

impl<T: Real> Right<T> for Gathered<'_, T> {
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, width: usize, packed: &mut [T]) {
        for (first, count, room) in panels(columns.len(), width) {
            let panel = &mut packed[first * depth.len()..][..room * depth.len()];
            let runs = self.runs_of(columns.start + first..columns.start + first + count);
            copy::<_, true>(self.values, |row| self.offsets[depth.start + row], runs, room, depth.len(), panel);
        }
    }
}

/// The transpose.
#[derive(Clone, Copy)]
pub(crate) struct Transposed<'a, T>(pub(crate) Gathered<'a, T>);

impl<T: Real> Right<T> for Transposed<'_, T> {
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, width: usize, packed: &mut [T]) {
        for (first, count, room) in panels(columns.len(), width) {
            let offsets = &self.0.offsets[columns.start + first..][..count];
            let panel = &mut packed[first * depth.len()..][..room * depth.len()];
            for run in self.0.runs_of(depth.clone()) {
                let panel = &mut panel[run.first * room..][..run.count * room];
                let column = |column: usize| &self.0.values[offsets[column] + run.place..][..run.count];
                interleave(count, column, room, panel);
            }
        }
    }
}
