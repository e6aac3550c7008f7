//! Matrices of any strides as operands of a product.

use std::ops::Range;

use super::interleave::interleave;
use super::pack::copy;
use super::tile::{FEWER_ROWS, MOST_ROWS};
use super::{Layout, Left, ROW, Right, Run, Shape, panels};
use crate::real::Real;

/// Element (i, j) is `values[i · strides[0] + j · strides[1]]`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) strides: [usize; 2],
}

impl<T: Real> Left<T> for Strided<'_, T> {
    fn packed(&self, shape: Shape) -> Layout {
        if self.strides[1] == 1 { Layout::Packed } else { Layout::ByDepth(shape.rows) }
    }

    fn in_place(&self, rows: Range<usize>, depth: Range<usize>, shape: Shape) -> Option<(&[T], Layout)> {
        let [row_stride, depth_stride] = self.strides;
        let values = &self.values[rows.start * row_stride + depth.start * depth_stride..];
        match self.strides {
            [stride, 1] => Some((values, Layout::ByRow(stride))),
            [1, stride] if rows.len() == shape.rows => Some((values, Layout::ByDepth(stride))),
            _ => None,
        }
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, panel: &mut [T]) {
        let [row_stride, depth_stride] = self.strides;
        if depth_stride == 1 {
            for (row, packed) in rows.zip(panel.chunks_exact_mut(ROW)) {
                packed[..depth.len()].copy_from_slice(&self.values[row * row_stride + depth.start..][..depth.len()]);
            }
            return;
        }
        match panel.len() / depth.len() {
            MOST_ROWS => self.fill(rows, depth, panel.as_chunks_mut::<MOST_ROWS>().0),
            _ => self.fill(rows, depth, panel.as_chunks_mut::<FEWER_ROWS>().0),
        }
    }
}

impl<T: Real> Strided<'_, T> {
    /// Packs a panel of so many rows by depth.
    #[inline]
    fn fill<const ROWS: usize>(&self, rows: Range<usize>, depth: Range<usize>, panel: &mut [[T; ROWS]]) {
        let [row_stride, depth_stride] = self.strides;
        let values = &self.values[rows.start * row_stride + depth.start * depth_stride..];
        if rows.len() == ROWS && row_stride == 1 {
            for (depth, packed) in panel.iter_mut().enumerate() {
                packed.copy_from_slice(&values[depth * depth_stride..][..ROWS]);
            }
            return;
        }
        for (depth, packed) in panel.iter_mut().enumerate() {
            for (row, value) in packed[..rows.len()].iter_mut().enumerate() {
                *value = values[depth * depth_stride + row * row_stride];
            }
        }
    }
}

impl<T: Real> Right<T> for Strided<'_, T> {
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, width: usize, packed: &mut [T]) {
        let [stride, across] = self.strides;
        let start = |column: usize| (columns.start + column) * across;
        for (first, count, room) in panels(columns.len(), width) {
            let panel = &mut packed[first * depth.len()..][..room * depth.len()];
            if across == 1 {
                let run = Run { first: 0, count, place: start(first) };
                let offset = |row: usize| (depth.start + row) * stride;
                copy::<_, true>(self.values, offset, std::iter::once(run), room, depth.len(), panel);
            } else if stride == 1 {
                let column = |column: usize| &self.values[start(first + column) + depth.start..][..depth.len()];
                interleave(count, column, room, panel);
            } else {
                for (depth, packed) in depth.clone().zip(panel.chunks_exact_mut(room)) {
                    for (column, packed) in packed.iter_mut().take(count).enumerate() {
                        *packed = self.values[depth * stride + start(first + column)];
                    }
                }
            }
        }
    }
}
