//! Sorting contiguous rows.

use rayon::prelude::*;
use std::cmp::Ordering;

use crate::real::Real;

/// Elements worth handing to another thread.
const TASK: usize = 1 << 12;

/// Each row of `input` in order, and where each element stood; equal elements stay in their order. `input`, `values` and
/// `indices` are `(rows, columns)`. NaN counts as larger than all numbers, and as equal to itself, as in `torch.sort`.
///
/// # Panics
/// If the lengths are not equal multiples of `columns`, or a place does not fit an index ("internal: …").
pub fn sort<T: Real>(input: &[T], columns: usize, descending: bool, values: &mut [T], indices: &mut [u32]) {
    assert!(
        columns > 0
            && u32::try_from(columns).is_ok()
            && input.len().is_multiple_of(columns)
            && values.len() == input.len()
            && indices.len() == input.len(),
        "internal: rows of {columns} columns, {} elements in, {} and {} out",
        input.len(),
        values.len(),
        indices.len()
    );
    let row = |((input, values), indices): ((&[T], &mut [T]), &mut [u32])| {
        indices.iter_mut().zip(0..).for_each(|(index, place)| *index = place);
        let order = |left: &u32, right: &u32| {
            let order = ascending(input[*left as usize], input[*right as usize]);
            if descending { order.reverse() } else { order }
        };
        // Both are stable, so that how a row is shared among threads changes nothing.
        if columns > TASK {
            indices.par_sort_by(order)
        } else {
            indices.sort_by(order)
        }
        values.iter_mut().zip(indices).for_each(|(value, index)| *value = input[*index as usize]);
    };
    let task = (TASK / columns).max(1) * columns;
    let rows = |((input, values), indices): ((&[T], &mut [T]), &mut [u32])| {
        let rows = input.chunks_exact(columns).zip(values.chunks_exact_mut(columns));
        rows.zip(indices.chunks_exact_mut(columns)).for_each(row);
    };
    if input.len() <= task {
        rows(((input, values), indices));
    } else {
        input.par_chunks(task).zip(values.par_chunks_mut(task)).zip(indices.par_chunks_mut(task)).for_each(rows);
    }
}

fn ascending<T: Real>(left: T, right: T) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_same_bits, values};

    fn sorted(input: &[f32], columns: usize, descending: bool) -> (Vec<f32>, Vec<u32>) {
        let (mut values, mut indices) = (vec![0.0; input.len()], vec![0; input.len()]);
        sort(input, columns, descending, &mut values, &mut indices);
        (values, indices)
    }

    #[test]
    fn rows_are_in_order_and_equals_keep_theirs() {
        // Rounded, so that many are equal.
        let data: Vec<f32> = values::<f32>(12_600, 37).iter().map(|value| (value * 20.0).round()).collect();
        for columns in [1, 2, 7, 420, 6300] {
            for descending in [false, true] {
                let (found, places) = sorted(&data, columns, descending);
                for (number, row) in data.chunks(columns).enumerate() {
                    let part = number * columns..(number + 1) * columns;
                    let (found, places) = (&found[part.clone()], &places[part.clone()]);
                    let mut met = vec![false; columns];
                    places.iter().for_each(|place| met[*place as usize] = true);
                    assert!(met.iter().all(|met| *met), "a place is missing");
                    assert!(found.iter().zip(places).all(|(value, place)| *value == row[*place as usize]));
                    for (pair, place) in found.windows(2).zip(places.windows(2)) {
                        let before = if descending { pair[0] > pair[1] } else { pair[0] < pair[1] };
                        assert!(before || (pair[0] == pair[1] && place[0] < place[1]));
                    }
                }
            }
        }
    }

    #[test]
    fn special_values_stand_where_pytorch_puts_them() {
        // torch.sort(torch.tensor([1.0, nan, 2.0, -0.0, 0.0, nan, inf, -inf]), stable=True)
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let input = [1.0, nan, 2.0, -0.0, 0.0, nan, infinity, -infinity];
        let (found, places) = sorted(&input, 8, false);
        assert_eq!(places, [7, 3, 4, 0, 2, 6, 1, 5]);
        assert!(found[..6] == [-infinity, -0.0, 0.0, 1.0, 2.0, infinity] && found[6..].iter().all(|x| x.is_nan()));
        assert!(found[1].is_sign_negative() && found[2].is_sign_positive());
        let (_, places) = sorted(&input, 8, true);
        assert_eq!(places, [1, 5, 6, 2, 0, 3, 4, 7]);
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let data: Vec<f32> = values::<f32>(60_000, 38).iter().map(|value| (value * 100.0).round()).collect();
        for columns in [300, 20_000] {
            assert_same_bits(|| sorted(&data, columns, false).1);
        }
    }
}
