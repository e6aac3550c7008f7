//! Operators along an axis, cut by rows and by parts of a row.

use crate::{assert_same, common, devices, refusal, traced};
use nn_core::ops::CumulativeSum;
use nn_core::passes::differentiate;
use nn_core::{DType, Input, Session, StepScalars};

const ALL: [CumulativeSum; 4] = [
    CumulativeSum { exclusive: false, reverse: false },
    CumulativeSum { exclusive: true, reverse: false },
    CumulativeSum { exclusive: false, reverse: true },
    CumulativeSum { exclusive: true, reverse: true },
];

#[test]
fn cumulative_sums_cut_by_rows() {
    let graph = traced(|trace| {
        let x = trace.state("x", DType::F32, [40, 5, 70]);
        let sums = ALL.map(|options| x.cumulative_sum_by(2, options));
        let middle = x.cumulative_sum(1);
        trace.output("loss", (sums[0] * sums[1] + sums[2] * sums[3] * middle).max(&[0, 1, 2]));
        trace.output("middle", middle);
    });
    assert_same(4096, 1, 5, &differentiate(&graph, "loss", &["x"]).unwrap());
}

/// Some drivers end an invocation silently after 65,535 iterations.
#[test]
fn cumulative_sums_of_long_rows_take_more_launches_than_one() {
    let Some(device) = common::gpu() else { return };
    let count = 4_000_001;
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [count]);
        for (number, options) in ALL.into_iter().enumerate() {
            trace.output(&format!("y{number}"), x.cumulative_sum_by(0, options));
        }
    });
    // Whole numbers whose sums f32 holds.
    let values: Vec<f32> = (0..count).map(|place| ((place * 7) % 11) as f32 - 5.0).collect();
    let mut session = Session::new(&device);
    let mut program = session.compile(&graph).unwrap();
    let launches = &program.plan().unwrap().program().launches;
    assert!(launches.iter().all(|launch| launch.iterations < 65_536));
    assert_eq!(launches.len(), 8);
    session.run(&mut program, &[("x", Input::F32(&values))], StepScalars::default()).unwrap();
    for (number, options) in ALL.into_iter().enumerate() {
        let mut expected = vec![0f32; count];
        cpu_reference::cumulative_sum(&values, count, options.exclusive, options.reverse, &mut expected);
        let found = session.output(&mut program, &format!("y{number}")).unwrap();
        assert!(found.as_f32().unwrap() == expected, "{options:?}");
    }
}

#[test]
fn elements_by_index_cut_along_every_axis() {
    // Along the axis of the places, of the indices, and beside them; one in nine indices lies beyond.
    for (sizes, chosen, axis) in [([30, 70], [30, 9], 1), ([3, 800], [3, 900], 1), ([90, 30], [40, 30], 0)] {
        let graph = traced(|trace| {
            let x = trace.state("x", DType::F32, sizes);
            let dy = trace.state("dy", DType::F32, chosen);
            let indices = trace.input("indices", DType::U32, chosen);
            let (gathered, added) = (x.gather(axis, indices), x.scatter_add(axis, indices, dy * dy));
            trace.output("gathered", gathered);
            trace.output("added", added);
        });
        let places = sizes[axis] as u32;
        assert_same(2048, 1, places + places / 9, &graph);
        let graph = traced(|trace| {
            let x = trace.state("x", DType::F32, sizes);
            let dy = trace.state("dy", DType::F32, chosen);
            let indices = trace.input("indices", DType::U32, chosen);
            let (gathered, added) = (x.gather(axis, indices), x.scatter_add(axis, indices, dy * dy));
            trace.output("loss", gathered.max(&[0, 1]) + (added * added).max(&[0, 1]));
        });
        assert_same(2048, 1, places, &differentiate(&graph, "loss", &["x", "dy"]).unwrap());
    }
}

#[test]
fn sorting_cut_by_rows() {
    let graph = traced(|trace| {
        let x = trace.state("x", DType::F32, [40, 5, 70]);
        let [values, places] = x.sort(2, false);
        let [largest, _] = x.top_k(1, 2, true);
        trace.output("places", places);
        trace.output("loss", (values * values).max(&[0, 1, 2]) + (largest * largest).max(&[0, 1, 2]));
    });
    assert_same(4096, 1, 5, &differentiate(&graph, "loss", &["x"]).unwrap());
    // Long rows, which are merged.
    let graph = traced(|trace| {
        let x = trace.state("x", DType::F32, [5, 5000]);
        let [values, places] = x.sort(1, true);
        trace.output("values", values);
        trace.output("places", places);
        trace.output("loss", (values * values).max(&[0, 1]));
    });
    assert_same(20_480, 1, 5, &differentiate(&graph, "loss", &["x"]).unwrap());
    let Some([_, small]) = devices(4096) else { return };
    let graph = traced(|trace| trace.output("y", trace.input("logits", DType::F32, [2, 2000]).top_k(1, 3, true)[0]));
    let (label, bytes, limit, _) = refusal(&small, &graph);
    assert_eq!((label.as_str(), bytes, limit), ("logits", 8000, 4096));
}
