//! Every WGSL text that can reach a driver: the hand-written files, and generated kernels of every operator.
//! naga parses and validates each; so does Tint, the compiler of browsers, where it is on the PATH.

mod common;
#[path = "common/mlp.rs"]
mod mlp;

use gpu_runtime::{BindingKind, Kernel, Limits};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use nn_core::graph::{self, Graph, Trace};
use nn_core::ops::samples::samples;
use nn_core::passes::{ScheduleOptions, differentiate, lower, schedule};
use nn_core::schedule::{Schedule, Work};
use nn_core::{DType, Device, Error, Input, Session, Shape, StepScalar, StepScalars, Tensor, TensorType};
use nn_train::nn::{Dropout, Elu, Gelu, Layer, Linear};
use nn_train::optim::{Adam, AdamW, RmsProp, Sgd};
use nn_train::{Loss, Optimizer, Sequential, trace_model};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// Numbers that are hard to write down in WGSL.
const REALS: [f32; 10] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -0.0,
    0.1,
    1.0e-7,
    16_777_216.0,
];
const INTEGERS: [i32; 5] = [i32::MIN, i32::MIN + 1, -1, 0, i32::MAX];

fn traced(function: impl FnOnce(&Trace)) -> Graph {
    let graph = graph::trace(|trace| {
        function(trace);
        Ok::<(), Error>(())
    });
    graph.unwrap()
}

/// Every hard number as a literal of a fused group; the output is the number wherever the mask is 1.
fn literals() -> Graph {
    traced(|trace| {
        let mask = trace.input("mask", DType::U32, [3]);
        let x = trace.input("x", DType::F32, [3]);
        for (place, &number) in REALS.iter().enumerate() {
            trace.output(&format!("real {place}"), mask.select(trace.scalar(number), x));
        }
        let whole = trace.input("whole", DType::I32, [3]);
        for (place, &number) in INTEGERS.iter().enumerate() {
            let literal = trace.constant(&Tensor::from_i32([], &[number]).unwrap());
            trace.output(&format!("integer {place}"), mask.select(literal, whole));
            trace.output(&format!("sum {place}"), whole + literal);
        }
        let natural = mask + trace.scalar_u32(u32::MAX);
        trace.output("natural", natural);
    })
}

/// Every way in which a group reads and writes: shifted, strided, repeated, by step scalars, in place, long.
fn accesses() -> Graph {
    traced(|trace| {
        let x = trace.input("x", DType::F32, [2, 3, 4, 5]);
        let row = trace.input("row", DType::F32, [5]);
        let state = trace.state("state", DType::F32, [2, 3, 4, 5]);
        let rate = trace.step_scalar(StepScalar::LearningRate);
        let [step, seed] = [StepScalar::Step, StepScalar::Seed].map(|scalar| trace.step_scalar(scalar));
        trace.output("shifted", x.slice(&[1, 0, 0, 0], [1, 3, 4, 5]).exp());
        trace.output("strided", x.permute(&[3, 1, 0, 2]).slice(&[1, 0, 0, 1], [3, 3, 2, 3]) * 2.0);
        trace.output("repeated", x * row + x.slice(&[1, 2, 3, 4], [1, 1, 1, 1]));
        trace.output("two strides", x.permute(&[0, 1, 3, 2]).tanh() - row.reshape([5, 1]));
        trace.output("steps", x * rate + step.to_f32() + seed.to_f32());
        trace.output("counted", trace.input("count", DType::U32, [7]) + step);
        trace.output("random", x.dropout(0.5, 9) + trace.random_normal([2, 3, 4, 5], 20));
        trace.output("in place", x.softmax(3).exp() + 1.0);
        trace.output("long", (0..40).fold(x, |y, _| (y * 0.5 + x).sigmoid()));
        trace.output("eight", x.reshape([2, 1, 3, 1, 2, 2, 5, 1]).permute(&[7, 6, 5, 4, 3, 2, 1, 0]).relu());
        trace.output("none", trace.scalar(2.0).broadcast_to([300]));
        trace.update("state", state - x * rate);
    })
}

/// The graph of every operator's every sample, with its gradient where there is one.
fn sampled() -> Vec<Graph> {
    let mut graphs = Vec::new();
    for sample in samples() {
        let mut real = Vec::new();
        let forward = traced(|trace| {
            let leaves = sample.inputs.iter().enumerate().map(|(place, tensor)| {
                let (name, kind) = (format!("x{place}"), tensor.kind());
                if kind.dtype == DType::F32 {
                    real.push(name.clone());
                }
                trace.state(&name, kind.dtype, kind.shape.clone())
            });
            let y = (sample.build)(&leaves.collect::<Vec<_>>());
            trace.output("y", y);
            if sample.smooth {
                trace.output("loss", (y * y).sum_all());
            }
        });
        let real: Vec<&str> = real.iter().map(String::as_str).collect();
        if sample.smooth {
            graphs.push(differentiate(&forward, "loss", &real).unwrap_or_else(|_| forward.clone()));
        }
        graphs.push(forward);
    }
    graphs
}

/// Whole training steps: of the golden dumps' classifier, and of one with what layers and optimisers add.
fn steps() -> Vec<Graph> {
    let mlp = mlp::Mlp { batch: 6, inputs: 5, hidden: 7, classes: 3 }.step().unwrap();
    let model = Sequential::new()
        .add(Linear::new(9, 8))
        .add(Gelu)
        .add(Dropout::new(0.2))
        .add(Linear::new(8, 4))
        .add(Elu::default())
        .add(Linear::new(4, 3));
    let optimizers: [Optimizer; 4] = [
        Sgd::new(0.1).momentum(0.9).nesterov(true).into(),
        Adam::new(1e-3).weight_decay(0.1).into(),
        AdamW::new(1e-3).into(),
        RmsProp::new(1e-3).momentum(0.5).into(),
    ];
    let with = |optimizer: &Optimizer| {
        let (graph, declarations) = trace_model(true, |s| {
            let x = s.input("inputs", DType::F32, [5, 9]);
            let targets = s.input("targets", DType::U32, [5]);
            let logits = model.forward(s, x);
            s.output("loss", Loss::CrossEntropy.mean(logits, targets));
            Ok(())
        })
        .unwrap();
        let parameters: Vec<(String, Shape)> =
            declarations.parameters().map(|parameter| (parameter.name.clone(), parameter.shape.clone())).collect();
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        let graph = differentiate(&graph, "loss", &names).unwrap();
        optimizer.apply(graph, &parameters).unwrap().0
    };
    optimizers.iter().map(with).chain([mlp]).collect()
}

fn schedules() -> Vec<Schedule> {
    let graphs: Vec<Graph> = sampled().into_iter().chain([literals(), accesses()]).chain(steps()).collect();
    let with = |fuse| ScheduleOptions { fuse, max_buffers: 8 };
    graphs.iter().flat_map(|graph| [true, false].map(|fuse| schedule(graph, with(fuse)).unwrap())).collect()
}

/// The kernels for bindings so small that nearly everything is cut in pieces; none where something cannot be.
fn cut(schedule: &Schedule) -> Vec<Kernel> {
    let limits = Limits { max_binding_bytes: 256, storage_alignment: 16, ..Limits::WEBGPU_DEFAULT };
    // Pieces of the largest would be counted in thousands, and they have the same kernels.
    let small = |kind: &TensorType| kind.bytes() < 1 << 12;
    let nodes = schedule.graph.nodes();
    let fits = nodes.iter().flat_map(|node| &node.outputs).all(small);
    if fits { lower(schedule, &limits).map_or(Vec::new(), |program| program.kernels) } else { Vec::new() }
}

/// All kernels to check, by text: the files, and what programs make of them and of fused groups.
fn corpus() -> BTreeMap<String, Kernel> {
    let whole = |schedule: &Schedule| lower(schedule, &Limits::WEBGPU_DEFAULT).unwrap().kernels;
    let lowered = schedules().into_iter().flat_map(|schedule| [whole(&schedule), cut(&schedule)].concat());
    let all = gpu_runtime::shaders().iter().cloned().chain(lowered);
    all.map(|kernel| (kernel.source.to_string(), kernel)).collect()
}

/// What naga has against a kernel: as WGSL, and against what the kernel states of itself.
fn naga_complaint(kernel: &Kernel) -> Option<String> {
    let module = match naga::front::wgsl::parse_str(&kernel.source) {
        Ok(module) => module,
        Err(error) => return Some(error.emit_to_string(&kernel.source)),
    };
    if let Err(error) = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module) {
        return Some(error.emit_to_string(&kernel.source));
    }
    let [entry] = &module.entry_points[..] else { return Some("one entry point is expected".into()) };
    if entry.name != kernel.name || entry.workgroup_size != kernel.workgroup_size {
        return Some(format!("{} of {:?} is stated as {:?}", entry.name, entry.workgroup_size, kernel.workgroup_size));
    }
    for (number, binding) in kernel.bindings.iter().enumerate() {
        let bound =
            |variable: &naga::GlobalVariable| variable.binding.as_ref().map(|place| (place.group, place.binding));
        let found = module.global_variables.iter().find(|(_, variable)| bound(variable) == Some((0, number as u32)));
        let Some((_, variable)) = found else { return Some(format!("there is no binding {number}")) };
        let kind = match variable.space {
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                BindingKind::ReadWrite
            }
            naga::AddressSpace::Storage { .. } => BindingKind::Read,
            _ if variable.name.as_deref() == Some("step") => BindingKind::StepScalars,
            _ => BindingKind::Parameters,
        };
        if kind != binding.kind || variable.name.as_deref() != Some(&*binding.name) {
            return Some(format!("binding {number} is {:?} {kind:?}, stated as {binding:?}", variable.name));
        }
    }
    let count = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
    (count != kernel.bindings.len()).then(|| format!("{count} bindings are stated as {}", kernel.bindings.len()))
}

/// What Tint has against a kernel; an error if there is no Tint.
fn tint_complaint(kernel: &Kernel) -> std::io::Result<Option<String>> {
    let folder = std::env::temp_dir().join(format!("wgrad-every-shader-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("kernel.wgsl");
    std::fs::File::create(&path)?.write_all(kernel.source.as_bytes())?;
    let mut tint = Command::new("tint");
    tint.args(["--format", "wgsl", "-o"]).arg(folder.join("output.wgsl")).arg(&path);
    let output = tint.stdin(Stdio::null()).output();
    std::fs::remove_dir_all(&folder)?;
    let output = output?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn every_shader_is_valid() {
    let corpus = corpus();
    let mut wrong = Vec::new();
    let has_tint = Command::new("tint").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    for (source, kernel) in &corpus {
        let tint = if has_tint { tint_complaint(kernel).expect("tint could not be run") } else { None };
        for (checker, complaint) in [("naga", naga_complaint(kernel)), ("tint", tint)] {
            wrong.extend(complaint.map(|complaint| format!("{} by {checker}: {complaint}\n{source}", kernel.name)));
        }
    }
    let count = corpus.len();
    match has_tint {
        true => println!("every_shader: naga {count} shaders, tint {count} shaders"),
        false => println!("every_shader: naga {count} shaders, tint not found"),
    }
    assert!(wrong.is_empty(), "{} of {count} shaders are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_checkers_find_what_is_wrong() {
    let sound = gpu_runtime::shader("softmax").unwrap();
    assert_eq!(naga_complaint(sound), None);
    let with = |change: &dyn Fn(&mut Kernel)| {
        let mut kernel = sound.clone();
        change(&mut kernel);
        naga_complaint(&kernel)
    };
    assert!(with(&|kernel| kernel.source = format!("{}fn wrong() {{ return 1u; }}", kernel.source).into()).is_some());
    assert!(with(&|kernel| kernel.name = "hardmax".into()).is_some());
    assert!(with(&|kernel| kernel.workgroup_size = [1, 1, 1]).is_some());
    assert!(with(&|kernel| kernel.bindings.to_mut()[0].kind = BindingKind::ReadWrite).is_some());
    assert!(with(&|kernel| _ = kernel.bindings.to_mut().pop()).is_some());
}

#[test]
fn the_corpus_has_every_operator_and_every_file() {
    let mut used: BTreeSet<&'static str> = BTreeSet::new();
    let mut kernels: BTreeSet<String> = BTreeSet::new();
    let schedules = schedules();
    for schedule in &schedules {
        used.extend(schedule.graph.nodes().iter().filter_map(|node| node.op().map(|op| op.name())));
        kernels.extend(
            lower(schedule, &Limits::WEBGPU_DEFAULT)
                .unwrap()
                .kernels
                .into_iter()
                .map(|kernel| kernel.name.into_owned()),
        );
    }
    // Views that only have a gradient rule are gone once a graph is simplified.
    let kept = nn_core::ops::names().into_iter().filter(|name| !["normalised", "detach"].contains(name));
    let missing: Vec<&str> = kept.filter(|name| !used.contains(name)).collect();
    assert!(missing.is_empty(), "no schedule has {missing:?}");
    // Measures the device, for `gpu_runtime::roof`.
    kernels.insert("roof_multiply_add".into());
    let idle: Vec<&str> =
        gpu_runtime::shaders().iter().map(|kernel| &*kernel.name).filter(|name| !kernels.contains(*name)).collect();
    assert!(idle.is_empty(), "no operator uses {idle:?}");
    let in_place = |schedule: &Schedule| {
        let over = |work: &Work| matches!(work, Work::Fused(fused) if fused.in_place.iter().any(Option::is_some));
        schedule.launches.iter().any(|launch| over(&launch.work))
    };
    assert!(schedules.iter().any(in_place), "no group works in place");
    let texts = corpus();
    let pieces = ["parameters.base", "parameters.index_strides", "CONTINUE: u32 = 1"];
    let views = ["parameters.offset_", "parameters.strides_", "step[0]"];
    for part in views.into_iter().chain(pieces).chain(["bitcast<i32>(0x80000000u)", "& 0u)"]) {
        assert!(texts.keys().any(|text| text.contains(part)), "no generated kernel has {part:?}");
    }
}

#[test]
fn every_file_says_what_it_computes() {
    for kernel in gpu_runtime::shaders() {
        let head: Vec<&str> = kernel.source.lines().take_while(|line| line.starts_with("//")).collect();
        assert!(head.join(" ").to_lowercase().contains("workgroup"), "{}: what does a workgroup compute?", kernel.name);
        let entry = format!("fn {}(", kernel.name);
        assert_eq!(kernel.source.matches(&entry).count(), 1, "{} needs an entry point of its name", kernel.name);
        assert_eq!(kernel.source.matches("@compute").count(), 1, "{} needs one entry point", kernel.name);
    }
}

/// The bits of every output of [`literals`].
fn literal_bits(device: &Device) -> Vec<Vec<u32>> {
    let graph = literals();
    let mut session = Session::new(device);
    let mut program = session.compile(&graph).unwrap();
    let inputs =
        [("mask", Input::U32(&[1, 0, 1])), ("x", Input::F32(&[1.0, 2.0, 3.0])), ("whole", Input::I32(&[1, -2, 3]))];
    session.run(&mut program, &inputs, StepScalars::default()).unwrap();
    let names = graph.outputs.iter().map(|(name, _)| session.output(&mut program, name).unwrap());
    names.map(|tensor| bytemuck::cast_slice(tensor.bytes()).to_vec()).collect()
}

#[test]
fn literals_reach_the_device_as_they_are() {
    let mut expected: Vec<Vec<u32>> =
        REALS.iter().map(|number| vec![number.to_bits(), 2.0_f32.to_bits(), number.to_bits()]).collect();
    for number in INTEGERS {
        expected.push([number, -2, number].map(i32::cast_unsigned).to_vec());
        expected.push([1, -2, 3].map(|whole: i32| whole.wrapping_add(number).cast_unsigned()).to_vec());
    }
    expected.push(vec![0, u32::MAX, 0]);
    assert_eq!(literal_bits(&Device::cpu()), expected);
    let Some(device) = common::gpu() else { return };
    assert_eq!(literal_bits(&device), expected);
}
