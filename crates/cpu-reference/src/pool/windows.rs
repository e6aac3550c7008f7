//! Where windows lie along one axis.

use std::ops::Range;

use super::Divisor;
use crate::real::Real;

/// One axis of a plane, and the windows along it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolAxis {
    /// Elements.
    pub input: usize,
    /// Windows.
    pub output: usize,
    /// Where they lie.
    pub windows: Windows,
}

/// Where windows lie along an axis. Every window has at least one element of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Window i has the elements i·stride − padding + t·dilation for every t below `kernel`, as far as there are such.
    Regular {
        /// Elements of a window, those in the padding included.
        kernel: usize,
        /// Elements from window to window.
        stride: usize,
        /// Elements before the input and after it that windows may have.
        padding: usize,
        /// Elements of the input between neighbours in a window.
        dilation: usize,
    },
    /// Window i begins at ⌊i·input/output⌋ and ends before ⌈(i + 1)·input/output⌉.
    Adaptive,
}

impl PoolAxis {
    /// The place of the first element of a window, and how many it has in the input.
    pub fn window(&self, window: usize) -> (usize, usize) {
        match self.windows {
            Windows::Regular { kernel, stride, padding, dilation } => {
                let start = window * stride;
                let first = padding.saturating_sub(start).div_ceil(dilation);
                let end = kernel.min((padding + self.input).saturating_sub(start).div_ceil(dilation));
                ((start + first * dilation).saturating_sub(padding), end.saturating_sub(first))
            }
            Windows::Adaptive => {
                let first = window * self.input / self.output;
                (first, ((window + 1) * self.input).div_ceil(self.output) - first)
            }
        }
    }

    /// How many elements a window has in the input and its padding.
    pub fn padded(&self, window: usize) -> usize {
        match self.windows {
            Windows::Regular { kernel, stride, padding, .. } => {
                kernel.min((self.input + 2 * padding).saturating_sub(window * stride))
            }
            Windows::Adaptive => self.window(window).1,
        }
    }

    /// The most elements that a window has in the input.
    pub fn longest_window(&self) -> usize {
        match self.windows {
            Windows::Regular { kernel, dilation, .. } => kernel.min(self.input.div_ceil(dilation)),
            Windows::Adaptive => (self.input.div_ceil(self.output) + 1).min(self.input),
        }
    }

    /// The most windows that lie over one element.
    pub fn most_windows(&self) -> usize {
        let most = match self.windows {
            Windows::Regular { kernel, stride, dilation, .. } => ((kernel - 1) * dilation + 1).div_ceil(stride),
            Windows::Adaptive => self.output.div_ceil(self.input) + 1,
        };
        most.min(self.output)
    }
}

/// Elements of a window along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) count: usize,
    step: usize,
}

impl Span {
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |number| self.first + number * self.step)
    }
}

/// One element of regular windows: the windows where it lies in the input, and its place in the first of them.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    windows: Range<usize>,
    pub(super) first: usize,
}

impl Reach {
    pub(super) fn windows(&self) -> Range<usize> {
        self.windows.clone()
    }
}

/// The windows of a plane, in tables.
pub(super) struct Geometry {
    pub(super) rows: Vec<Span>,
    pub(super) columns: Vec<Span>,
    /// The elements of a window's row one after the other; none of adaptive windows, whose sizes differ.
    pub(super) taps: Vec<Reach>,
    /// Columns from window to window.
    pub(super) stride: usize,
    /// What [`Divisor::Padded`] counts.
    padded: [Vec<usize>; 2],
}

impl Geometry {
    pub(super) fn new(axes: &[PoolAxis; 2]) -> Geometry {
        let spans = |axis: &PoolAxis| {
            let step = if let Windows::Regular { dilation, .. } = axis.windows { dilation } else { 1 };
            let span = |(first, count)| Span { first, count, step };
            (0..axis.output).map(|window| span(axis.window(window))).collect::<Vec<Span>>()
        };
        let columns = &axes[1];
        let mut taps = Vec::new();
        let mut column_stride = 1;
        if let Windows::Regular { kernel, stride, padding, dilation } = columns.windows {
            column_stride = stride;
            for at in (0..kernel).map(|tap| tap * dilation) {
                let start = padding.saturating_sub(at).div_ceil(stride).min(columns.output);
                let end = (columns.input + padding).saturating_sub(at).div_ceil(stride).min(columns.output);
                if start < end {
                    taps.push(Reach { windows: start..end, first: start * stride + at - padding });
                }
            }
        }
        let padded = [0, 1].map(|axis| (0..axes[axis].output).map(|window| axes[axis].padded(window)).collect());
        Geometry { rows: spans(&axes[0]), columns: spans(columns), taps, stride: column_stride, padded }
    }

    /// Divides a row of sums over windows.
    pub(super) fn divide<T: Real>(&self, divisor: Divisor, row: usize, sums: &mut [T]) {
        let number = |number: usize| T::from_f64(number as f64);
        match divisor {
            Divisor::Padded => {
                let columns = sums.iter_mut().zip(&self.padded[1]);
                columns.for_each(|(sum, columns)| *sum = *sum / number(self.padded[0][row] * columns));
            }
            Divisor::Inside => {
                let columns = sums.iter_mut().zip(&self.columns);
                columns.for_each(|(sum, columns)| *sum = *sum / number(self.rows[row].count * columns.count));
            }
            Divisor::Given(given) => sums.iter_mut().for_each(|sum| *sum = *sum / number(given as usize)),
        }
    }
}
