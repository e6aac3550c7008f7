//! Operators along an axis.

use crate::{OFFSET, WIDTHS, assert_close, bytes, device, exact, floats, launch, launch_all, normal, shifted};
use cpu_reference::philox::Philox;
use gpu_runtime::{Words, fold_groups, shader};

#[test]
fn cumulative_sums_agree() {
    let Some(device) = device() else { return };
    for [rows, columns] in [[1, 1], [9, 4], [3, 128], [4, 257], [2, 1025], [3, 5000]] {
        let mut data = normal(rows * columns, 21);
        // From there on the row is NaN.
        data[(rows - 1) * columns + columns / 2] = f32::NAN;
        for (kind, width) in (0..4).flat_map(|kind| WIDTHS.map(|width| (kind, width))) {
            let (exclusive, reverse) = (kind & 1, kind >> 1);
            let mut expected = vec![0f64; data.len()];
            cpu_reference::cumulative_sum(&exact(&data), columns, exclusive == 1, reverse == 1, &mut expected);
            let constants = [("WIDTH", width), ("EXCLUSIVE", exclusive), ("REVERSE", reverse)];
            let kernel = shader("cumulative_sum").unwrap().specialise(&constants).unwrap();
            let parameters = [
                ("rows", (rows as u32).into()),
                ("columns", (columns as u32).into()),
                ("first", 0u32.into()),
                ("end", (columns as u32).into()),
                ("input_offset", (OFFSET as u32).into()),
                ("output_offset", (OFFSET as u32).into()),
            ];
            let inputs = [bytes(&shifted(&data, f32::NAN))];
            let output = launch(&device, &kernel, &inputs, &parameters, data.len(), fold_groups(rows as u64));
            assert_close(&format!("{rows} {columns} {constants:?}"), &floats(output), &expected, 1e-5);
        }
    }
}

/// Indices below `size`, and now and then beyond.
fn indices(count: usize, size: usize) -> Vec<u32> {
    let mut random = Philox::new(22, 0);
    (0..count).map(|_| random.below((size + 1 + size / 9) as u32)).collect()
}

#[test]
fn elements_by_index_agree() {
    let Some(device) = device() else { return };
    for [outer, size, count, inner] in [[1, 1, 1, 1], [3, 5, 7, 4], [2, 300, 260, 1], [3, 3, 600, 1], [2, 2100, 3, 1]] {
        let (x, dy) = (normal(outer * size * inner, 23), normal(outer * count * inner, 24));
        let indices = indices(outer * count * inner, size);
        let what = format!("{outer} {size} {count} {inner}");
        let words = |numbers: [usize; 8]| numbers.map(|number| Words::from(number as u32));
        let names = ["outer", "size", "count", "inner", "axis_stride", "input_outer_stride", "output_outer_stride"];
        let values = words([outer, size, count, inner, inner, size * inner, count * inner, 0]);
        let offsets = ["input_offset", "indices_offset", "output_offset"].map(|name| (name, (OFFSET as u32).into()));
        let mut parameters: Vec<(&str, Words<'_>)> = names.into_iter().zip(values).chain(offsets).collect();
        parameters.push(("first_place", 0u32.into()));
        let index_bytes = bytes(&shifted(&indices, 0));
        let inputs = [bytes(&shifted(&x, 0.0)), index_bytes.clone()];
        let groups = fold_groups(dy.len().div_ceil(256) as u64);
        let output = launch(&device, shader("gather").unwrap(), &inputs, &parameters, dy.len(), groups);
        let mut expected = vec![0f64; dy.len()];
        cpu_reference::gather(&exact(&x), &indices, [size, count, inner], &mut expected);
        assert_close(&format!("gather {what}"), &floats(output), &expected, 0.0);
        if inner > 1 {
            continue;
        }
        let names = ["rows", "size", "count", "source_stride", "output_stride", "first_place"];
        let values = words([outer, size, count, count, size, 0, 0, 0]);
        let offsets = ["source_offset", "indices_offset", "output_offset"].map(|name| (name, (OFFSET as u32).into()));
        let parameters: Vec<(&str, Words<'_>)> = names.into_iter().zip(values).chain(offsets).collect();
        let inputs = [bytes(&shifted(&dy, f32::NAN)), index_bytes];
        let mut expected = vec![0f64; outer * size];
        cpu_reference::scatter_add(&exact(&dy), &indices, [size, count], &mut expected);
        for width in WIDTHS {
            let kernel = shader("scatter_add").unwrap().specialise(&[("WIDTH", width)]).unwrap();
            let groups = fold_groups((outer * size.div_ceil(4 * width as usize)) as u64);
            let output = launch(&device, &kernel, &inputs, &parameters, outer * size, groups);
            assert_close(&format!("scatter_add {what}"), &floats(output), &expected, 1e-5);
        }
    }
}

/// Numbers of which many are equal, with a few that are none.
fn repeated(count: usize) -> Vec<f32> {
    let mut values: Vec<f32> = normal(count, 25).iter().map(|value| (value * 20.0).round() / 4.0).collect();
    let special = [f32::NAN, f32::INFINITY, -0.0, f32::NEG_INFINITY, f32::from_bits(3), -f32::NAN];
    values.iter_mut().step_by(37).enumerate().for_each(|(number, value)| *value = special[number % 6]);
    values
}

/// What the shader leaves for rows, or for blocks of `length` of them, by hand.
fn sorted_blocks(data: &[f32], columns: usize, length: usize, descending: bool) -> Vec<u32> {
    let mut places = Vec::new();
    for row in data.chunks(columns) {
        for (number, block) in row.chunks(length).enumerate() {
            let mut indices = vec![0; block.len()];
            cpu_reference::sort(block, block.len(), descending, &mut vec![0.0; block.len()], &mut indices);
            places.extend(indices.iter().map(|index| index + (number * length) as u32));
        }
    }
    places
}

#[test]
fn sorted_rows_blocks_and_merged_runs_agree() {
    let Some(device) = device() else { return };
    for [rows, columns] in [[1, 1], [4, 31], [3, 64], [5, 65], [3, 300], [1, 2048]] {
        let data = repeated(rows * columns);
        let inputs = [bytes(&shifted(&data, f32::NAN))];
        for (length, width, descending) in
            [64, 2048].into_iter().flat_map(|length| [(length, 32, 0), (length, 32, 1), (length, 256, 1)])
        {
            let what = format!("{rows} {columns} {length} {width} {descending}");
            let order = [("DESCENDING", descending)];
            let is_part = columns > length;
            let constants = [("WIDTH", width), ("LENGTH", length as u32), ("PART", u32::from(is_part)), order[0]];
            let kernel = shader("sort").unwrap().specialise(&constants).unwrap();
            let size = [("rows", Words::from(rows as u32)), ("columns", (columns as u32).into())];
            let offsets =
                ["input_offset", "values_offset", "indices_offset"].map(|name| (name, (OFFSET as u32).into()));
            let groups = fold_groups((rows * columns.div_ceil(length)) as u64);
            let parameters = [&size[..], &offsets[..]].concat();
            let [values, places] = launch_all(&device, &kernel, &inputs, &parameters, [data.len(); 2], groups);
            let expected = sorted_blocks(&data, columns, length, descending == 1);
            assert_eq!(places, expected, "{what}");
            if !is_part {
                let bits = |(place, index): (usize, &u32)| data[place / columns * columns + *index as usize].to_bits();
                assert_eq!(values, expected.iter().enumerate().map(bits).collect::<Vec<u32>>(), "{what}");
            }
            // The runs, merged two by two.
            let kernel = shader("sort_merge").unwrap().specialise(&order).unwrap();
            let offsets = ["input_offset", "from_offset", "to_offset"].map(|name| (name, (OFFSET as u32).into()));
            let parameters = [&size[..], &offsets[..], &[("run", (length as u32).into())]].concat();
            let inputs = [inputs[0].clone(), bytes(&shifted(&places, 0))];
            let groups = fold_groups(data.len().div_ceil(256) as u64);
            let merged = launch(&device, &kernel, &inputs, &parameters, data.len(), groups);
            assert_eq!(merged, sorted_blocks(&data, columns, 2 * length, descending == 1), "merge {what}");
        }
    }
}

#[test]
fn permutations_are_undone() {
    let Some(device) = device() else { return };
    for [rows, columns] in [[1, 1], [3, 300], [2, 1000]] {
        let (dy, indices) =
            (normal(rows * columns, 26), sorted_blocks(&normal(rows * columns, 27), columns, columns, false));
        let names = ["rows", "size", "count", "stride"].into_iter().zip([rows, columns, columns, columns]);
        let offsets = ["dy_offset", "indices_offset", "output_offset"].into_iter().map(|name| (name, OFFSET));
        let all = names.chain(offsets).chain([("first_place", 0)]);
        let parameters: Vec<(&str, Words<'_>)> = all.map(|(name, number)| (name, (number as u32).into())).collect();
        let inputs = [bytes(&shifted(&dy, f32::NAN)), bytes(&shifted(&indices, 0))];
        let groups = fold_groups(dy.len().div_ceil(256) as u64);
        let output = launch(&device, shader("sort_gradient").unwrap(), &inputs, &parameters, dy.len(), groups);
        let mut expected = vec![0f64; dy.len()];
        cpu_reference::permute_back(&exact(&dy), &indices, columns, &mut expected);
        assert_close(&format!("{rows} {columns}"), &floats(output), &expected, 0.0);
    }
}

/// (10⁸ + 1) − 10⁸ is 0 in f32, and any other order of the three gives 1.
#[test]
fn equal_indices_are_added_in_order() {
    let Some(device) = device() else { return };
    let count = 600;
    let numbers = ["rows", "size", "count", "source_stride", "output_stride", "first_place"];
    let numbers = numbers.into_iter().zip([1, 3, count, count, 3, 0]);
    let offsets = ["source_offset", "indices_offset", "output_offset"].into_iter().map(|name| (name, OFFSET));
    let parameters: Vec<_> = numbers.chain(offsets).map(|(name, number)| (name, Words::from(number as u32))).collect();
    // In one tile, and from one to the next.
    for places in [[0, 1, 2], [3, 40, 255], [200, 256, 511], [5, 6, 599]] {
        let (mut source, mut indices) = (vec![0f32; count], vec![2u32; count]);
        for (place, value) in places.into_iter().zip([1e8, 1.0, -1e8]) {
            (source[place], indices[place]) = (value, 1);
        }
        let inputs = [bytes(&shifted(&source, f32::NAN)), bytes(&shifted(&indices, 0))];
        for width in WIDTHS {
            let kernel = shader("scatter_add").unwrap().specialise(&[("WIDTH", width)]).unwrap();
            let output = floats(launch(&device, &kernel, &inputs, &parameters, 3, [1, 1, 1]));
            assert_eq!(output, [0.0; 3], "{places:?}, {width}");
        }
    }
}
