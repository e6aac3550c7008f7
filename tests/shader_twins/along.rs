//! Operators along an axis.

use crate::{OFFSET, WIDTHS, assert_close, bytes, device, exact, floats, launch, normal, shifted};
use gpu_runtime::{fold_groups, shader};

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
