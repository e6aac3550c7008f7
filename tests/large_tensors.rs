//! Tensors larger than one storage binding: on a device whose bindings are made small, small tensors go the way of large
//! ones, and must come out with the bits that they have on the same device without that limit.

#[path = "large_tensors/along.rs"]
mod along;
mod common;
#[path = "common/mlp.rs"]
mod mlp;
#[path = "large_tensors/pool.rs"]
mod pool;

use cpu_reference::philox::Philox;
use gpu_runtime::{Choice, DeviceOptions, Limits};
use mlp::{Mlp, PARAMETERS};
use nn_core::graph::{self, Graph, Trace, Value};
use nn_core::ops::samples::samples;
use nn_core::ops::{Convolution, Extent, Resample};
use nn_core::passes::{ScheduleOptions, differentiate, lower, schedule};
use nn_core::{Check, DType, Device, Error, Input, Session, Shape, StepScalars, Tensor};
use nn_train::Optimizer;
use nn_train::optim::Adam;

/// The same adapter twice: as it is, and with bindings of so many bytes.
fn devices(bytes: u64) -> Option<[Device; 2]> {
    let whole = common::gpu()?;
    let options = DeviceOptions { max_binding_bytes: Some(bytes), ..DeviceOptions::default() };
    let small = Device::open(&Choice::Name(whole.name()), &options).unwrap();
    assert_eq!(small.as_gpu().unwrap().limits().max_binding_bytes, bytes);
    Some([whole, small])
}

fn traced(function: impl FnOnce(&Trace)) -> Graph {
    let graph = graph::trace(|trace| {
        function(trace);
        Ok::<(), Error>(())
    });
    graph.unwrap()
}

/// Random values of a type; indices lie below `classes` or a little above.
fn random(random: &mut Philox, dtype: DType, shape: &Shape, classes: u32) -> Tensor {
    let count = shape.elements();
    let real: Vec<f32> = (0..count).map(|_| random.normal() as f32).collect();
    let tensor = match dtype {
        DType::F32 => Tensor::from_f32(shape.clone(), &real),
        _ => Tensor::from_u32(shape.clone(), &(0..count).map(|_| random.below(classes)).collect::<Vec<_>>()),
    };
    tensor.unwrap()
}

/// What a graph leaves on a device after some steps, and how many launches a step has.
struct Left {
    values: Vec<(String, Tensor)>,
    launches: usize,
    /// Launches that show a part of some buffer.
    windowed: usize,
}

fn run(device: &Device, graph: &Graph, steps: u32, classes: u32) -> Result<Left, Error> {
    let mut numbers = Philox::new(31, 0);
    let mut session = Session::new(device);
    for (name, kind) in graph.states() {
        let zero = name.starts_with("optimizer/");
        let tensor =
            if zero { Tensor::zeros(kind.clone()) } else { random(&mut numbers, kind.dtype, &kind.shape, classes) };
        session.set_state(name, &tensor)?;
    }
    let mut program = session.compile(graph)?;
    for step in 1..=steps {
        let kinds = program.schedule().inputs.clone();
        let tensors: Vec<Tensor> =
            kinds.iter().map(|(_, kind)| random(&mut numbers, kind.dtype, &kind.shape, classes)).collect();
        let inputs: Vec<(&str, Input<'_>)> =
            kinds.iter().zip(&tensors).map(|((name, _), tensor)| (name.as_str(), tensor.into())).collect();
        session.run(&mut program, &inputs, StepScalars::new(step, 17, 0.01))?;
    }
    let mut values = Vec::new();
    for (name, _) in &graph.outputs {
        values.push((name.clone(), session.output(&mut program, name)?));
    }
    let states: Vec<String> = session.states().iter().map(|(name, _)| name.clone()).collect();
    for name in states {
        values.push((format!("state {name}"), session.state(&name)?));
    }
    let launches = &program.plan().unwrap().program().launches;
    let windowed = launches.iter().filter(|launch| launch.windows.iter().any(|window| window.bytes.is_some())).count();
    Ok(Left { values, launches: launches.len(), windowed })
}

/// How a value of a run in pieces compares with that of a run without.
#[derive(Clone, Copy)]
enum Demand {
    Bits,
    /// Within this, relative to one more than the value.
    Near(f32),
}

#[track_caller]
fn assert_alike(what: &str, whole: &Tensor, cut: &Tensor, demand: Demand) {
    assert_eq!(whole.kind(), cut.kind(), "{what}");
    if let (Demand::Near(bound), DType::F32) = (demand, whole.kind().dtype) {
        for (a, b) in whole.as_f32().unwrap().iter().zip(cut.as_f32().unwrap()) {
            let near =
                (a - b).abs() <= bound * (1.0 + a.abs()) || a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(near, "{what}: {b} instead of {a}");
        }
        return;
    }
    let words = |tensor: &Tensor| bytemuck::cast_slice::<u8, u32>(tensor.bytes()).to_vec();
    let (a, b) = (words(whole), words(cut));
    let differs = a.iter().zip(&b).position(|(a, b)| a != b);
    assert!(
        differs.is_none(),
        "{what}: element {differs:?} has other bits: {:08x} instead of {:08x}",
        b[differs.unwrap_or(0)],
        a[differs.unwrap_or(0)]
    );
}

/// Runs a graph whole and in pieces, and compares everything bit by bit; outputs that begin with "long" as sums.
#[track_caller]
fn assert_same(bytes: u64, steps: u32, classes: u32, graph: &Graph) {
    compare(bytes, steps, classes, graph, Demand::Bits);
}

/// The same, but for the order of long sums.
#[track_caller]
fn assert_near(bytes: u64, steps: u32, classes: u32, graph: &Graph) {
    compare(bytes, steps, classes, graph, Demand::Near(1e-5));
}

#[track_caller]
fn compare(bytes: u64, steps: u32, classes: u32, graph: &Graph, demand: Demand) {
    let Some([whole, small]) = devices(bytes) else { return };
    let whole = run(&whole, graph, steps, classes).unwrap();
    let cut = run(&small, graph, steps, classes).unwrap();
    assert_eq!(whole.windowed, 0, "nothing is cut without need");
    assert!(cut.launches > whole.launches, "{} launches, {} whole", cut.launches, whole.launches);
    for ((name, a), (_, b)) in whole.values.iter().zip(&cut.values) {
        let demand = if name.starts_with("long") { Demand::Near(1e-5) } else { demand };
        assert_alike(name, a, b, demand);
    }
}

#[test]
fn fused_groups_of_every_kind_of_view() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [60, 44]);
        let y = trace.input("y", DType::F32, [44, 60]);
        let cube = trace.input("cube", DType::F32, [11, 12, 20]);
        let [row, column] = [[1, 44], [60, 1]].map(|shape| trace.input(&format!("{shape:?}"), DType::F32, shape));
        trace.output("contiguous", (x * 2.0).tanh());
        trace.output("broadcast", x * row + column);
        trace.output("transposed", x + y.transpose());
        trace.output("copied", x.transpose().contiguous());
        trace.output("permuted", cube.permute(&[2, 0, 1]).exp());
        trace.output("two orders", cube.permute(&[2, 0, 1]) - cube.permute(&[2, 0, 1]).slice(&[3, 2, 1], [1, 1, 1]));
        // One buffer at two places that no window can show together.
        trace.output("halves", x.slice(&[0, 0], [30, 44]) * x.slice(&[30, 0], [30, 44]));
        trace.output("slice", x.slice(&[50, 3], [9, 30]).sigmoid());
        trace.output("mask", x.greater(row));
        trace.output("spread", row.broadcast_to([60, 44]) + 0.5);
    });
    assert_same(4096, 1, 5, &graph);
}

#[test]
fn random_numbers_know_their_place_in_the_whole_tensor() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [60, 44]);
        trace.output("dropout", x.dropout(0.4, 3));
        trace.output("turned", x.transpose().dropout(0.4, 4));
        trace.output("uniform", trace.random_uniform([2000], 5));
        trace.output("normal", trace.random_normal([30, 70], 6));
    });
    assert_same(2048, 2, 5, &graph);
}

#[test]
fn reductions_of_every_shape() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [50, 9, 80]);
        let turned = x.permute(&[2, 0, 1]);
        for axis in 0..3 {
            trace.output(&format!("max {axis}"), x.max(&[axis]));
            trace.output(&format!("min {axis}"), turned.min(&[axis]));
            trace.output(&format!("sum {axis}"), x.sum(&[axis]));
        }
        trace.output("all", x.max(&[0, 1, 2]));
        trace.output("long columns", x.sum(&[0, 1]));
        trace.output("squares", x.sum_of_squares(&[0]));
        trace.output("mean", x.mean(&[0]));
        trace.output("long rows", x.sum(&[1, 2]));
        trace.output("long, turned", turned.mean(&[0, 2]));
        trace.output("long scalar", x.sum_of_squares(&[0, 1, 2]));
        trace.output("argmax", x.argmax(2));
        trace.output("argmin", x.slice(&[0, 0, 0], [5, 9, 80]).argmin(1));
        trace.output("argmax, turned", turned.argmax(2));
    });
    assert_same(4096, 1, 5, &graph);
    // A sum of columns longer than a binding goes on in groups of 64, as in one launch.
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [700, 70]);
        trace.output("sum", x.sum(&[0]));
        trace.output("scaled", x.mean(&[0]));
    });
    assert_same(32 << 10, 1, 5, &graph);
}

#[test]
fn rows_and_classes() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [70, 33]);
        let targets = trace.input("targets", DType::U32, [70]);
        trace.output("softmax", x.softmax(1));
        trace.output("first axis", x.softmax(0));
        trace.output("log_softmax", x.log_softmax(1));
        trace.output("losses", x.cross_entropy(targets));
        let state = trace.state("state", DType::F32, [70, 33]);
        // Kernels that write over what they read, in pieces too.
        trace.output("in place", (x * 0.5).softmax(1));
        let logits = state.tanh().layer_norm(None, None, 0.1);
        trace.output("loss", (logits * 2.0).cross_entropy(targets).mean_all());
    });
    let graph = differentiate(&graph, "loss", &["state"]).unwrap();
    assert_same(1024, 1, 35, &graph);
}

#[test]
fn normalisations() {
    // Rows that stay whole keep their bits.
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [50, 9, 16]);
        trace.output("mean", x.moments(&[2], 1e-5).mean);
        trace.output("variance", x.permute(&[1, 2, 0]).moments(&[1], 1e-5).variance);
        let parameters = [0, 1].map(|place| trace.state(&format!("rows {place}"), DType::F32, [16]));
        trace.output("rows", x.normalise(&[2], 1e-5, Some(parameters[0]), Some(parameters[1])));
    });
    assert_same(4096, 1, 5, &graph);
    // What is reduced is cut: mean and variance are joined from those of the pieces.
    let graph = traced(|trace| {
        let x = trace.state("x", DType::F32, [40, 6, 50]);
        let weight = trace.state("weight", DType::F32, [6, 1]);
        let channels = x.normalise(&[0, 2], 1e-5, Some(weight), None);
        let all = (x + 30.0).normalise(&[0, 1, 2], 1e-5, None, None);
        let columns = x.reshape([600, 20]).normalise(&[0], 1e-5, None, None).reshape([40, 6, 50]);
        let rows = x.normalise(&[2], 1e-5, None, Some(weight));
        trace.output("y", channels + all * columns + rows);
        trace.output("moments", (x + 30.0).moments(&[0, 2], 1e-5).variance);
        trace.output("loss", (channels + all * columns + rows).tanh().sum_all());
    });
    let graph = differentiate(&graph, "loss", &["x", "weight"]).unwrap();
    for bytes in [4096, 8192] {
        assert_near(bytes, 1, 5, &graph);
    }
}

/// Without small bindings: some drivers end an invocation silently after 65,535 iterations.
#[test]
fn moments_of_many_elements_take_more_launches_than_one() {
    let Some(device) = common::gpu() else { return };
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [2, 4_000_000]);
        let moments = x.moments(&[0, 1], 1.0);
        trace.output("mean", moments.mean);
        trace.output("variance", moments.variance);
        trace.output("inverse", moments.inverse_deviation);
    });
    let values: Vec<f32> =
        (0..8_000_000).map(|place| ((place * 7) % 1000) as f32 + (place / 4_000_000) as f32).collect();
    let mut session = Session::new(&device);
    session.set_check(Some(Check::Every));
    let mut program = session.compile(&graph).unwrap();
    let launches = &program.plan().unwrap().program().launches;
    assert_eq!(launches.iter().filter(|launch| launch.label.contains("moments")).count(), 4);
    assert!(launches.iter().all(|launch| launch.iterations < 65_536));
    session.run(&mut program, &[("x", Input::F32(&values))], StepScalars::default()).unwrap();
}

#[test]
fn products_cut_along_every_axis() {
    for [m, k, n] in [[200, 20, 30], [20, 20, 300], [30, 500, 40], [100, 100, 100], [1, 3000, 2], [70, 130, 66]] {
        let graph = traced(|trace| {
            let [a, b] = [("a", [m, k]), ("b", [k, n])].map(|(name, shape)| trace.input(name, DType::F32, shape));
            let [c, d] = [("c", [k, m]), ("d", [n, k])].map(|(name, shape)| trace.input(name, DType::F32, shape));
            trace.output("plain", a.matmul(b));
            trace.output("left", c.transpose().matmul(b));
            trace.output("right", a.matmul(d.transpose()));
            trace.output("both", c.transpose().matmul(d.transpose()));
        });
        assert_same(8192, 1, 5, &graph);
    }
    let graph = traced(|trace| {
        let a = trace.input("a", DType::F32, [3, 5, 40, 20]);
        let b = trace.input("b", DType::F32, [5, 3, 20, 40]);
        trace.output("batch", a.matmul(b.permute(&[1, 0, 2, 3])));
        trace.output("one for all", a.matmul(b.slice(&[0, 0, 0, 0], [1, 1, 20, 40])));
        trace.output("turned", a.transpose().matmul(a));
    });
    assert_same(8192, 1, 5, &graph);
}

#[test]
fn convolutions_cut_along_every_axis() {
    let padded = Convolution { padding: [(1, 1); 2], ..Convolution::default() };
    let halving = Convolution { stride: [2, 1], dilation: [1, 2], ..padded };
    let cases: [([usize; 4], [usize; 4], Convolution); 6] = [
        // Images, output channels, input channels, both, groups, depthwise ones.
        ([20, 2, 9, 8], [3, 2, 3, 3], padded),
        ([1, 2, 9, 8], [130, 2, 3, 3], halving),
        ([1, 70, 9, 8], [3, 70, 3, 3], halving),
        ([2, 24, 9, 8], [20, 24, 3, 3], padded),
        ([2, 24, 9, 8], [36, 4, 3, 3], Convolution { groups: 6, ..halving }),
        ([2, 40, 9, 8], [40, 1, 3, 3], Convolution { groups: 40, ..padded }),
    ];
    for (input, kernel, options) in cases {
        let graph = traced(|trace| {
            let x = trace.state("x", DType::F32, input);
            let weight = trace.state("weight", DType::F32, kernel);
            let y = x.conv2d(weight, &options);
            trace.output("y", y);
            trace.output("loss", y.tanh().max(&[0, 1, 2, 3]));
        });
        assert_same(4096, 1, 5, &differentiate(&graph, "loss", &["x", "weight"]).unwrap());
    }
    // One channel of an image must be whole.
    let Some([_, small]) = devices(4096) else { return };
    let graph = traced(|trace| {
        let x = trace.input("picture", DType::F32, [1, 1, 40, 40]);
        trace.output("y", x.conv2d(trace.input("w", DType::F32, [1, 1, 3, 3]), &padded));
    });
    let (label, bytes, limit, _) = refusal(&small, &graph);
    assert_eq!((label.as_str(), bytes, limit), ("picture", 6400, 4096));
}

#[test]
fn resampled_along_every_axis() {
    // Many images, many rows, many columns.
    for (input, output) in [([30, 2, 7, 9], [10, 20]), ([1, 1, 24, 20], [90, 21]), ([2, 1, 11, 10], [3, 300])] {
        for mode in [Resample::Nearest, Resample::Linear] {
            let graph = traced(|trace| {
                let x = trace.state("x", DType::F32, input);
                let y = x.upsample2d(Extent::Size(output), mode, false);
                trace.output("y", y);
                trace.output("flipped", x.flip(&[2]));
                trace.output("loss", y.tanh().max(&[0, 1, 2, 3]));
            });
            assert_same(2048, 1, 5, &differentiate(&graph, "loss", &["x"]).unwrap());
        }
    }
    // What lies along one axis must be whole.
    let Some([_, small]) = devices(2048) else { return };
    let graph = traced(|trace| {
        let x = trace.input("row", DType::F32, [1, 1, 700]);
        trace.output("y", x.upsample1d(Extent::Size([9]), Resample::Nearest, false));
    });
    let (label, bytes, limit, _) = refusal(&small, &graph);
    assert_eq!((label.as_str(), bytes, limit), ("row", 2800, 2048));
}

#[test]
fn joined_and_padded() {
    let graph = traced(|trace| {
        let x = trace.input("x", DType::F32, [40, 50]);
        let y = trace.input("y", DType::F32, [40, 30]);
        trace.output("columns", x.concat(&[y, x], 1));
        trace.output("rows", x.concat(&[x.tanh()], 0));
        trace.output("turned", x.transpose().concat(&[y.transpose()], 0));
        trace.output("padded", x.pad(&[(3, 4), (0, 9)], -1.5));
        trace.output("turned and padded", x.transpose().pad(&[(0, 2), (1, 0)], f32::NAN));
        trace.output("small in large", x.slice(&[3, 3], [2, 2]).pad(&[(20, 30), (10, 10)], 0.0));
    });
    assert_same(2048, 1, 5, &graph);
}

/// Adam on the gradients of the states named, as the trainer appends it.
fn with_adam(forward: &Graph, parameters: &[&str]) -> Graph {
    let kinds = forward.states();
    let shape = |name: &&str| kinds.iter().find(|(known, _)| known == name).unwrap().1.shape.clone();
    let shapes: Vec<(String, Shape)> = parameters.iter().map(|name| (name.to_string(), shape(name))).collect();
    let graph = differentiate(forward, "loss", parameters).unwrap();
    let (mut graph, _) = Optimizer::from(Adam::new(0.01)).apply(graph, &shapes).unwrap();
    graph.outputs.retain(|(name, _)| name != "gradient_norm");
    graph
}

#[test]
fn a_table_beyond_a_binding_is_trained() {
    for (vocabulary, words) in [(400, 50), (400, 3000), (20, 3000)] {
        let forward = traced(|trace| {
            let indices = trace.input("words", DType::U32, [words]);
            let table = trace.state("table", DType::F32, [vocabulary, 16]);
            let rows = table.gather_rows(indices);
            trace.output("rows", rows);
            trace.output("loss", (rows * rows).tanh().mean_all());
        });
        // The loss is a long sum, added up in another order; nothing depends on it.
        let limit = vocabulary as u32;
        let mut graph = with_adam(&forward, &["table"]);
        graph.outputs.retain(|(name, _)| name != "loss");
        assert_same(4096, 3, limit, &graph);
        // Every tenth index or so is beyond the table and gives a row of NaN.
        let mut beyond = forward;
        beyond.outputs.retain(|(name, _)| name != "loss");
        assert_same(4096, 1, limit + limit / 9, &beyond);
    }
}

#[test]
fn adam_updates_its_states_in_place() {
    let forward = traced(|trace| {
        let weight = trace.state("weight", DType::F32, [90, 70]);
        trace.output("loss", (weight.tanh() - trace.input("x", DType::F32, [90, 70])).abs().max(&[0, 1]));
    });
    let graph = with_adam(&forward, &["weight"]);
    assert_same(4096, 5, 5, &graph);
}

#[test]
fn a_training_step_of_a_whole_model() {
    let model = Mlp { batch: 192, inputs: 300, hidden: 240, classes: 10 };
    let graph = model.step().unwrap();
    assert_same(64 << 10, 3, 10, &graph);
    // Where not even one group of 64 rows fits a binding, sums of columns are grouped otherwise.
    assert_near(16 << 10, 1, 10, &graph);
    assert_same(64 << 10, 3, 10, &with_adam(&model.forward().unwrap(), &PARAMETERS));
}

#[test]
fn every_sample_of_every_operator() {
    const BYTES: u64 = 2048;
    let Some([whole, small]) = devices(BYTES) else { return };
    let (mut cut, mut refused) = (Vec::new(), Vec::new());
    for sample in samples() {
        let elements = sample.inputs.iter().map(|input| input.kind().shape.elements()).max().unwrap_or(0);
        // Small ones are never cut; the largest would be in thousands of pieces.
        if elements * 4 <= BYTES as usize || elements > 70_000 {
            continue;
        }
        let graph = traced(|trace| {
            let inputs: Vec<Value> = sample.inputs.iter().map(|tensor| trace.constant(tensor)).collect();
            trace.output("y", (sample.build)(&inputs));
        });
        let what = format!("{} ({})", sample.op, sample.label);
        let a = run(&whole, &graph, 1, 1).unwrap();
        let b = match run(&small, &graph, 1, 1) {
            Ok(b) => b,
            Err(Error::Gpu(gpu_runtime::Error::TooLarge { bytes, limit: BYTES, .. })) if bytes > BYTES => {
                refused.push(what);
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        // With one channel in each group they are summed in rounds of images.
        let one_channel = ["depthwise", "one channel"].iter().any(|start| sample.label.starts_with(start));
        let rounds = sample.op == "convolution_weight_gradient" && one_channel;
        let sums = ["sum", "mean", "sum_of_squares", "moments", "normalised_sums", "normalised"];
        if rounds || sums.contains(&sample.op) {
            // Grouped otherwise: as near to the exact sum as the operator must come.
            let mut session = Session::new(&small);
            session.set_check(Some(Check::Every));
            let mut program = session.compile(&graph).unwrap();
            session.run(&mut program, &[], StepScalars::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        } else {
            assert_alike(&what, &a.values[0].1, &b.values[0].1, Demand::Bits);
        }
        if b.launches > a.launches {
            cut.push(sample.op);
        }
    }
    cut.dedup();
    println!("cut: {cut:?}\nrefused: {refused:?}");
    let convolutions = ["convolution", "convolution_input_gradient", "convolution_weight_gradient"];
    let others = ["matmul", "sum", "max", "argmax", "softmax", "gather_rows", "scatter_add_rows", "cross_entropy"];
    let pools = ["max_pool", "average_pool", "average_pool_gradient"];
    let along = ["cumulative_sum", "gather", "scatter_add", "sort", "sort_gradient"];
    let norms = ["layer_norm", "layer_norm_gradient", "rms_norm", "rms_norm_gradient"];
    let more = ["moments", "normalised_sums", "resample", "cross_entropy_gradient", "rotary"];
    let named = others.into_iter().chain(convolutions).chain(more).chain(norms);
    for name in named.chain(pools).chain(along) {
        assert!(cut.contains(&name), "no sample of {name} was cut");
    }
    // Rows of softmax, of cross entropy, of norms, of cumulative sums and of sort, what argmax searches, a channel of an
    // image and what looks at each other in attention must be whole.
    let may = ["softmax", "log_softmax", "cross_entropy", "cross_entropy_gradient", "argmax", "argmin"];
    let may: Vec<&str> = may
        .into_iter()
        .chain(["cumulative_sum", "sort", "attention", "attention_gradient"])
        .chain(convolutions)
        .chain(norms)
        .collect();
    let other: Vec<&String> = refused.iter().filter(|what| !may.contains(&what.split(' ').next().unwrap())).collect();
    assert!(other.is_empty(), "refused: {other:?}");
}

/// What is wrong with compiling a graph for a device; its states are zero.
fn refusal(device: &Device, graph: &Graph) -> (String, u64, u64, String) {
    let mut session = Session::new(device);
    let set =
        graph.states().into_iter().try_for_each(|(name, kind)| session.set_state(name, &Tensor::zeros(kind.clone())));
    let error = set.and_then(|()| session.compile(graph).map(|_| ())).expect_err("it cannot fit");
    let message = error.to_string();
    let Error::Gpu(gpu_runtime::Error::TooLarge { label, bytes, limit, remedy, .. }) = error else {
        panic!("expected a size error, got {message}");
    };
    for part in [&label, &bytes.to_string(), &limit.to_string(), &remedy] {
        assert!(message.contains(part), "expected {part} in: {message}");
    }
    (label, bytes, limit, remedy)
}

#[test]
fn a_row_beyond_a_binding_is_refused_by_name_before_anything_runs() {
    let Some([_, small]) = devices(4096) else { return };
    let of = |leaf: &dyn Fn(&Trace) -> Value| traced(|trace| trace.output("y", leaf(trace).softmax(1)));
    let shape = [3, 2000];
    let state = of(&|trace| trace.state("head.weight", DType::F32, shape));
    let input = of(&|trace| trace.input("logits", DType::F32, shape));
    let temporary = of(&|trace| trace.scoped("head", || trace.input("logits", DType::F32, shape) * 2.0));
    for (graph, name) in [(state, "head.weight"), (input, "logits"), (temporary, "head/multiply#3")] {
        let (label, bytes, limit, remedy) = refusal(&small, &graph);
        assert_eq!((label.as_str(), bytes, limit), (name, 8000, 4096));
        assert!(remedy.contains("softmax#") && remedy.contains("smaller tensor") && remedy.contains("CPU"), "{remedy}");
        // The same without a GPU, from the limits alone.
        let limits = Limits { max_binding_bytes: 4096, ..Limits::WEBGPU_DEFAULT };
        let error = lower(&schedule(&graph, ScheduleOptions::default()).unwrap(), &limits).unwrap_err();
        assert!(error.to_string().contains(&format!("\"{name}\" needs 8000 bytes")), "{error}");
    }
    let searched = traced(|trace| trace.output("y", trace.input("x", DType::F32, [2000, 3]).argmax(0)));
    assert_eq!(refusal(&small, &searched).0, "x");
}

#[test]
fn a_tensor_beyond_the_largest_buffer_is_refused_by_name() {
    let Some(whole) = common::gpu() else { return };
    let options = DeviceOptions { max_buffer_bytes: Some(16_000), ..DeviceOptions::default() };
    let small = Device::open(&Choice::Name(whole.name()), &options).unwrap();
    let state = traced(|trace| trace.output("y", trace.state("weight", DType::F32, [5000]).max(&[0])));
    let input = traced(|trace| trace.output("y", trace.input("x", DType::F32, [5000]).max(&[0])));
    let temporary = traced(|trace| {
        let x = trace.input("x", DType::F32, [100, 1]);
        trace.output("y", trace.scoped("head", || x.matmul(x.transpose())).max(&[0, 1]));
    });
    for (graph, name, bytes) in [(state, "weight", 20_000), (input, "x", 20_000), (temporary, "head/matmul#2", 40_000)]
    {
        let (label, found, limit, remedy) = refusal(&small, &graph);
        assert!(label.contains(name), "{label}");
        assert_eq!((found, limit), (bytes, 16_000));
        assert!(remedy.contains("smaller batch"), "{remedy}");
    }
}
