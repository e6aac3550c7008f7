//! Operators along an axis, cut by rows and by parts of a row.

use crate::{assert_same, common, traced};
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
