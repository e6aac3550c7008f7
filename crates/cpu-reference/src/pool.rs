//! Pooling: the largest element or the mean of each window of a plane, and their gradients.

mod windows;

#[cfg(test)]
mod tests;

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::real::Real;
use windows::Geometry;
pub use windows::{PoolAxis, Windows};

/// Elements that one task goes through, about: waking a thread for fewer costs more.
const TASK: usize = 1 << 14;

/// The windows that most nets have: they lie side by side and are covered in one pass.
const PAIRS: Windows = Windows::Regular { kernel: 2, stride: 2, padding: 0, dilation: 1 };

/// Windows of 2×2 that are computed at once.
const LANES: usize = 8;

/// What the sum over a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// The window's elements in the input and its padding, but not beyond.
    Padded,
    /// The window's elements in the input.
    Inside,
    /// A number of the caller's.
    Given(u32),
}

/// The largest element of each window and its place `row·width + column` in its plane; NaN is larger than all, and of
/// equals the first is taken.
///
/// `input` is `(planes, height, width)`, `values` and `indices` are `(planes, output height, output width)`.
///
/// # Panics
/// If the lengths don't fit the sizes ("internal: …").
pub fn max_pool<T: Real>(axes: &[PoolAxis; 2], input: &[T], values: &mut [T], indices: &mut [u32]) {
    let geometry = Geometry::new(axes);
    let (columns, width) = (axes[1].output, axes[1].input);
    assert_eq!(values.len(), indices.len(), "internal: a value and an index for each window");
    check(axes, input.len(), values.len());
    let rows = task_rows(&geometry, columns);
    let tasks = values.par_chunks_mut(rows * columns).zip(indices.par_chunks_mut(rows * columns)).enumerate();
    let two_by_two = axes.iter().all(|axis| axis.windows == PAIRS && axis.input == 2 * axis.output);
    tasks.for_each(|(task, (values, indices))| {
        let first = task * rows;
        if two_by_two {
            let input = &input[first * 2 * width..];
            let first = first % axes[0].output;
            return Arch::new().dispatch(MaxOfPairs { input, axes, first, values, indices });
        }
        let lines = values.chunks_exact_mut(columns).zip(indices.chunks_exact_mut(columns));
        for (row, (values, indices)) in lines.enumerate() {
            let row = first + row;
            let plane = &input[row / axes[0].output * axes[0].input * width..][..axes[0].input * width];
            let span = geometry.rows[row % axes[0].output];
            values.fill(T::NEG_INFINITY);
            for (index, column) in indices.iter_mut().zip(&geometry.columns) {
                *index = (span.first * width + column.first) as u32;
            }
            for start in span.places().map(|y| y * width) {
                let line = &plane[start..][..width];
                if geometry.taps.is_empty() {
                    let windows = values.iter_mut().zip(indices.iter_mut()).zip(&geometry.columns);
                    for ((value, index), column) in windows {
                        let at = (start + column.first) as u32;
                        largest(&line[column.first..][..column.count], at, value, index);
                    }
                }
                for tap in &geometry.taps {
                    let line = &line[tap.first..];
                    let at = (start + tap.first) as u32;
                    let (values, indices) = (&mut values[tap.windows()], &mut indices[tap.windows()]);
                    match geometry.stride {
                        1 => larger::<T, 1>(line, 1, at, values, indices),
                        2 => larger::<T, 2>(line, 2, at, values, indices),
                        stride => larger::<T, 0>(line, stride, at, values, indices),
                    }
                }
            }
        }
    });
}

/// [`max_pool`] by windows of 2×2: some rows of windows, of which the first has the given number in its plane, and the
/// input from the first of their elements on.
struct MaxOfPairs<'a, T> {
    axes: &'a [PoolAxis; 2],
    input: &'a [T],
    first: usize,
    values: &'a mut [T],
    indices: &'a mut [u32],
}

impl<T: Real> WithSimd for MaxOfPairs<'_, T> {
    type Output = ();

    // Its loops are compiled for the vectors of this machine.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (columns, width) = (self.axes[1].output, self.axes[1].input);
        // Whole vectors, although what a row's last one has beyond it is wrong: the next row is written over that.
        let vectors = columns.next_multiple_of(LANES);
        for row in 0..self.values.len() / columns {
            let at = ((self.first + row) % self.axes[0].output * 2 * width) as u32;
            let [top, bottom] = [2 * row, 2 * row + 1].map(|line| &self.input[line * width..]);
            let (values, indices) = (&mut self.values[row * columns..], &mut self.indices[row * columns..]);
            let fits = values.len() >= vectors && bottom.len() >= 2 * vectors;
            for start in (0..columns).step_by(LANES) {
                let at = at + 2 * start as u32;
                let (top, bottom) = (&top[2 * start..], &bottom[2 * start..]);
                let (values, indices) = (&mut values[start..], &mut indices[start..]);
                let whole =
                    (top.first_chunk(), bottom.first_chunk(), values.first_chunk_mut(), indices.first_chunk_mut());
                if let (true, (Some(top), Some(bottom), Some(values), Some(indices))) = (fits, whole) {
                    max_of_four(top, bottom, width, at, values, indices);
                } else {
                    let count = LANES.min(columns - start);
                    let mut rows = [[T::ZERO; 2 * LANES]; 2];
                    rows[0][..2 * count].copy_from_slice(&top[..2 * count]);
                    rows[1][..2 * count].copy_from_slice(&bottom[..2 * count]);
                    let (mut largest, mut places) = ([T::ZERO; LANES], [0; LANES]);
                    max_of_four(&rows[0], &rows[1], width, at, &mut largest, &mut places);
                    values[..count].copy_from_slice(&largest[..count]);
                    indices[..count].copy_from_slice(&places[..count]);
                }
            }
        }
    }
}

/// The largest elements of windows of 2×2 and their places, given the two rows that they cover, from place `at` of a plane
/// of this width on.
#[inline(always)]
fn max_of_four<T: Real>(
    top: &[T; 2 * LANES],
    bottom: &[T; 2 * LANES],
    width: usize,
    at: u32,
    values: &mut [T; LANES],
    indices: &mut [u32; LANES],
) {
    // Each line is one vector operation; loops over windows would be compiled to one window after the other.
    let every_second = |row: &[T; 2 * LANES], first: usize| -> [T; LANES] { from_fn(|lane| row[2 * lane + first]) };
    let (mut largest, mut places) = (every_second(top, 0), [0; LANES]);
    let below = width as u32;
    for (row, first, place) in [(top, 1, 1), (bottom, 0, below), (bottom, 1, below + 1)] {
        let elements = every_second(row, first);
        let takes: [bool; LANES] = from_fn(|lane| (elements[lane] > largest[lane]) | elements[lane].is_nan());
        places = from_fn(|lane| if takes[lane] { place } else { places[lane] });
        largest = from_fn(|lane| if takes[lane] { elements[lane] } else { largest[lane] });
    }
    *values = largest;
    *indices = from_fn(|lane| at + 2 * lane as u32 + places[lane]);
}

/// Takes one element for each window, `stride` apart (`S` says so too, unless it is 0), where it is larger.
#[inline(always)]
fn larger<T: Real, const S: usize>(line: &[T], stride: usize, at: u32, values: &mut [T], indices: &mut [u32]) {
    let stride = if S == 0 { stride } else { S };
    let elements = line.chunks(stride).zip(values.iter_mut().zip(indices));
    for (number, (element, (value, index))) in elements.enumerate() {
        let element = element[0];
        // Both are written, so that there is no branch.
        let takes = (element > *value) | element.is_nan();
        *value = if takes { element } else { *value };
        *index = if takes { at + (number * stride) as u32 } else { *index };
    }
}

/// Takes the largest of a row of one window.
#[inline]
fn largest<T: Real>(line: &[T], at: u32, value: &mut T, index: &mut u32) {
    for (number, &element) in line.iter().enumerate() {
        if element > *value || element.is_nan() {
            (*value, *index) = (element, at + number as u32);
        }
    }
}

/// The gradient of [`max_pool`]: each element of `dy` is added to the place that its index names; an index beyond the
/// plane adds nothing.
///
/// # Panics
/// If the lengths don't fit the sizes ("internal: …").
pub fn max_pool_gradient<T: Real>(axes: &[PoolAxis; 2], dy: &[T], indices: &[u32], dx: &mut [T]) {
    check(axes, dx.len(), dy.len());
    assert_eq!(dy.len(), indices.len(), "internal: an index for each gradient");
    each_plane(axes, dx, |plane, dx| {
        let outputs = area(axes, |axis| axis.output);
        let range = plane * outputs..(plane + 1) * outputs;
        dx.fill(T::ZERO);
        for (&dy, &index) in dy[range.clone()].iter().zip(&indices[range]) {
            if let Some(dx) = dx.get_mut(index as usize) {
                *dx += dy;
            }
        }
    });
}

/// The elements of each plane that the indices name; NaN for an index beyond it.
///
/// # Panics
/// If the lengths don't fit the sizes ("internal: …").
pub fn max_pool_gather<T: Real>(axes: &[PoolAxis; 2], input: &[T], indices: &[u32], output: &mut [T]) {
    check(axes, input.len(), output.len());
    assert_eq!(output.len(), indices.len(), "internal: an index for each element");
    let [inputs, outputs] = [area(axes, |axis| axis.input), area(axes, |axis| axis.output)];
    let planes = input.par_chunks(inputs).zip(indices.par_chunks(outputs)).zip(output.par_chunks_mut(outputs));
    planes.with_min_len(TASK.div_ceil(outputs)).for_each(|((input, indices), output)| {
        for (output, &index) in output.iter_mut().zip(indices) {
            *output = input.get(index as usize).copied().unwrap_or(T::NAN);
        }
    });
}

/// The sum over each window, divided: `input` is `(planes, height, width)`, `output` is `(planes, output height, output
/// width)`.
///
/// # Panics
/// If the lengths don't fit the sizes ("internal: …").
pub fn average_pool<T: Real>(axes: &[PoolAxis; 2], divisor: Divisor, input: &[T], output: &mut [T]) {
    let geometry = Geometry::new(axes);
    let (columns, width) = (axes[1].output, axes[1].input);
    check(axes, input.len(), output.len());
    let rows = task_rows(&geometry, columns);
    output.par_chunks_mut(rows * columns).enumerate().for_each(|(task, output)| {
        for (row, sums) in output.chunks_exact_mut(columns).enumerate() {
            let row = task * rows + row;
            let plane = &input[row / axes[0].output * axes[0].input * width..][..axes[0].input * width];
            let y = row % axes[0].output;
            sums.fill(T::ZERO);
            for line in geometry.rows[y].places().map(|y| &plane[y * width..][..width]) {
                if geometry.taps.is_empty() {
                    for (sum, column) in sums.iter_mut().zip(&geometry.columns) {
                        for &element in &line[column.first..][..column.count] {
                            *sum += element;
                        }
                    }
                }
                for tap in &geometry.taps {
                    let (line, sums) = (&line[tap.first..], &mut sums[tap.windows()]);
                    match geometry.stride {
                        1 => add::<T, 1>(line, 1, sums),
                        2 => add::<T, 2>(line, 2, sums),
                        stride => add::<T, 0>(line, stride, sums),
                    }
                }
            }
            geometry.divide(divisor, y, sums);
        }
    });
}

/// Adds one element to each sum, `stride` apart (`S` says so too, unless it is 0).
#[inline(always)]
fn add<T: Real, const S: usize>(line: &[T], stride: usize, sums: &mut [T]) {
    let stride = if S == 0 { stride } else { S };
    for (sum, element) in sums.iter_mut().zip(line.chunks(stride)) {
        *sum += element[0];
    }
}

/// The gradient of [`average_pool`]: each element of `dy`, divided, is added to all of its window.
///
/// # Panics
/// If the lengths don't fit the sizes ("internal: …").
pub fn average_pool_gradient<T: Real>(axes: &[PoolAxis; 2], divisor: Divisor, dy: &[T], dx: &mut [T]) {
    let geometry = Geometry::new(axes);
    let (columns, width) = (axes[1].output, axes[1].input);
    check(axes, dx.len(), dy.len());
    each_plane(axes, dx, |plane, dx| {
        let mut parts = vec![T::ZERO; columns];
        dx.fill(T::ZERO);
        let lines = dy[plane * axes[0].output * columns..].chunks_exact(columns).take(axes[0].output);
        for (y, dy) in lines.enumerate() {
            parts.copy_from_slice(dy);
            geometry.divide(divisor, y, &mut parts);
            for start in geometry.rows[y].places().map(|y| y * width) {
                let line = &mut dx[start..][..width];
                if geometry.taps.is_empty() {
                    for (&part, column) in parts.iter().zip(&geometry.columns) {
                        line[column.first..][..column.count].iter_mut().for_each(|dx| *dx += part);
                    }
                }
                for tap in &geometry.taps {
                    let (line, parts) = (&mut line[tap.first..], &parts[tap.windows()]);
                    match geometry.stride {
                        1 => spread::<T, 1>(parts, 1, line),
                        2 => spread::<T, 2>(parts, 2, line),
                        stride => spread::<T, 0>(parts, stride, line),
                    }
                }
            }
        }
    });
}

/// Adds each part to an element, `stride` apart (`S` says so too, unless it is 0).
#[inline(always)]
fn spread<T: Real, const S: usize>(parts: &[T], stride: usize, line: &mut [T]) {
    let stride = if S == 0 { stride } else { S };
    for (part, element) in parts.iter().zip(line.chunks_mut(stride)) {
        element[0] += *part;
    }
}

fn area(axes: &[PoolAxis; 2], size: impl Fn(&PoolAxis) -> usize) -> usize {
    size(&axes[0]) * size(&axes[1])
}

fn check(axes: &[PoolAxis; 2], inputs: usize, outputs: usize) {
    let [input, output] = [area(axes, |axis| axis.input), area(axes, |axis| axis.output)];
    assert!(
        input > 0 && output > 0 && inputs.is_multiple_of(input) && outputs == inputs / input * output,
        "internal: {inputs} elements pooled to {outputs} by {axes:?}"
    );
}

/// Rows of the output that one task computes.
fn task_rows(geometry: &Geometry, width: usize) -> usize {
    let window = geometry.rows.first().map_or(1, |span| span.count) * geometry.taps.len().max(1);
    (TASK / (width * window.max(1))).max(1)
}

/// Runs `work` with the number and the elements of each plane of `dx`.
fn each_plane<T: Real>(axes: &[PoolAxis; 2], dx: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
    let inputs = area(axes, |axis| axis.input);
    let planes = dx.par_chunks_mut(inputs).enumerate();
    planes.with_min_len(TASK.div_ceil(inputs)).for_each(|(plane, dx)| work(plane, dx));
}
