//! Pooling, cut by planes and by parts of windows.

use crate::{assert_same, common, devices, refusal, traced};
use nn_core::ops::PoolOptions;
use nn_core::passes::differentiate;
use nn_core::{DType, Input, Session, StepScalars};

#[test]
fn pools_cut_by_planes() {
    let thirds = PoolOptions { stride: [2, 2], padding: [1, 1], ..PoolOptions::new([3, 3]) };
    let graph = traced(|trace| {
        let x = trace.state("x", DType::F32, [7, 9, 12, 13]);
        let (largest, mean) = (x.max_pool2d(&thirds), x.average_pool2d(&thirds));
        let even = x.adaptive_max_pool2d([5, 4]) + x.adaptive_average_pool2d([5, 4]);
        trace.output("indices", x.max_pool2d_with_indices(&thirds)[1]);
        trace.output("largest", largest);
        trace.output("mean", mean);
        trace.output("even", even);
        let all = largest.max(&[0, 1, 2, 3]) * mean.max(&[0, 1, 2, 3]) + even.max(&[0, 1, 2, 3]);
        trace.output("loss", all);
    });
    assert_same(2048, 1, 5, &differentiate(&graph, "loss", &["x"]).unwrap());
    // A plane must be whole.
    let Some([_, small]) = devices(4096) else { return };
    let graph = traced(|trace| {
        trace.output("y", trace.input("picture", DType::F32, [1, 1, 40, 40]).max_pool2d(&thirds));
    });
    let (label, bytes, limit, _) = refusal(&small, &graph);
    assert_eq!((label.as_str(), bytes, limit), ("picture", 6400, 4096));
}

/// Some drivers end an invocation silently after 65,535 iterations.
#[test]
fn windows_of_many_elements_take_more_launches_than_one() {
    let Some(device) = common::gpu() else { return };
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [1, 1, 300, 500]);
        trace.output("largest", x.adaptive_max_pool2d([1, 1]));
        trace.output("row", x.reshape([1, 1, 150_000]).adaptive_max_pool1d(1));
        trace.output("mean", x.average_pool2d(&PoolOptions::new([300, 500])));
    });
    let values: Vec<f32> = (0..150_000).map(|place| ((place * 7) % 149_993) as f32).collect();
    let mut session = Session::new(&device);
    let mut program = session.compile(&graph).unwrap();
    let launches = &program.plan().unwrap().program().launches;
    assert!(launches.iter().all(|launch| launch.iterations < 65_536));
    assert_eq!(launches.iter().filter(|launch| launch.label.contains("pool")).count(), 9);
    session.run(&mut program, &[("x", Input::F32(&values))], StepScalars::default()).unwrap();
    let mut found = |name| session.output(&mut program, name).unwrap().as_f32().unwrap()[0];
    assert_eq!([found("largest"), found("row")], [149_992.0; 2]);
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / 150_000.0;
    assert!((f64::from(found("mean")) - mean).abs() < 1e-3 * mean);
}
