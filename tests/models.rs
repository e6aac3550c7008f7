//! Models against torchvision's (`scripts/make-golden-models.py`): the names and shapes of their tensors, what they
//! compute, and their losses and gradients.

use nn_core::{DType, Device, Graph, Input, Session, Shape, StepScalars, Tensor};
use nn_models::{GoogLeNet, MobileNetV2, ResNet, Vgg};
use nn_train::nn::{Layer, Objective, TargetKind};
use nn_train::optim::Sgd;
use nn_train::{Declarations, Loss, Optimizer, Scope, trace_model, training_graph};
use serde_json::Value;
use std::path::Path;

const ROWS: usize = 2;
const CLASSES: usize = 7;

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn declarations(model: &dyn Layer, size: usize) -> Declarations {
    let function = |s: &mut Scope| {
        let x = s.input("inputs", DType::F32, [1, 3, size, size]);
        let y = model.forward(s, x);
        s.output("output", y);
        Ok(())
    };
    trace_model(false, function).unwrap().1
}

#[test]
fn tensors_have_torchvisions_names_and_shapes() {
    let vgg11 = Vgg { batch_norm: true, ..Vgg::vgg11(1000) };
    let models: [(&str, &dyn Layer); 8] = [
        ("resnet18", &ResNet::resnet18(1000)),
        ("resnet34", &ResNet::resnet34(1000)),
        ("resnet50", &ResNet::resnet50(1000)),
        ("resnet101", &ResNet::resnet101(1000)),
        ("vgg16", &Vgg::vgg16(1000)),
        ("vgg11_bn", &vgg11),
        ("mobilenet_v2", &MobileNetV2::default()),
        ("googlenet", &GoogLeNet::default()),
    ];
    for (name, model) in models {
        let mut found: Vec<String> =
            declarations(model, 224).iter().map(|known| format!("{} {}", known.name, known.shape)).collect();
        let text = golden(&format!("{name}.txt"));
        let mut expected: Vec<&str> = text.lines().collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

/// Numbers in [0, 1), multiples of 2⁻²⁴, decided by the name: the rule of the script.
fn units(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (0..count as u32).map(move |place| {
        let mut x = place.wrapping_mul(0x9e37_79b9).wrapping_add(hash);
        x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
        x ^= x >> 16;
        f64::from(x >> 8) / 16_777_216.0
    })
}

fn fill(name: &str, shape: &Shape) -> Vec<f32> {
    let scale = (6.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let value = |u: f64| match shape.rank() {
        1 if name.ends_with("running_var") || name.ends_with("weight") => 0.5 + u,
        1 => (u - 0.5) * 0.2,
        _ => (2.0 * u - 1.0) * scale,
    };
    units(name, shape.elements()).map(|u| value(u) as f32).collect()
}

/// Runs a graph with filled states on the oracle, which computes in double precision as the script did.
fn run(graph: &Graph, declarations: &Declarations, size: usize) -> (Session, nn_core::Executable) {
    let mut session = Session::new(&Device::oracle());
    for known in declarations.iter() {
        let values = fill(&known.name, &known.shape);
        session.set_state(&known.name, &Tensor::from_f32(known.shape.clone(), &values).unwrap()).unwrap();
    }
    let mut program = session.compile(graph).unwrap();
    let inputs: Vec<f64> = units("inputs", ROWS * 3 * size * size).map(|u| 2.0 * u - 1.0).collect();
    let mut given = vec![("inputs", Input::F64(&inputs))];
    if program.schedule().inputs.iter().any(|(name, _)| name == "targets") {
        given.push(("targets", Input::U32(&[1, 4])));
    }
    session.run(&mut program, &given, StepScalars::default()).unwrap();
    (session, program)
}

fn close(what: &str, found: f64, expected: f64, scale: f64) {
    let error = (found - expected).abs() / scale.max(expected.abs());
    assert!(error < 1e-6, "{what}: {found} instead of {expected}");
}

/// Weights are f32 on both sides and the rest is f64; constants of a graph are f32, which shows in the last places.
#[test]
fn models_compute_what_torchvisions_do() {
    let document: Value = serde_json::from_str(&golden("numbers.json")).unwrap();
    let vgg = |batch_norm: bool| Vgg {
        stages: vec![vec![8], vec![12, 16]],
        batch_norm,
        pool: 3,
        hidden: 20,
        dropout: 0.0,
        in_channels: 3,
        num_classes: CLASSES,
    };
    let models: [(&str, Box<dyn Layer>); 5] = [
        ("resnet18", Box::new(ResNet::resnet18(CLASSES))),
        (
            "googlenet",
            Box::new(GoogLeNet { dropout: 0.0, dropout_aux: 0.0, num_classes: CLASSES, ..GoogLeNet::default() }),
        ),
        (
            "mobilenet_v2",
            Box::new(MobileNetV2 { width_mult: 0.35, dropout: 0.0, in_channels: 3, num_classes: CLASSES }),
        ),
        ("vgg", Box::new(vgg(false))),
        ("vgg_bn", Box::new(vgg(true))),
    ];
    for (name, model) in models {
        let expected = &document["models"][name];
        let size = expected["size"].as_u64().unwrap() as usize;
        let shape = [ROWS, 3, size, size];
        let (graph, declared) = trace_model(false, |s| {
            let x = s.input("inputs", DType::F32, shape);
            let y = model.forward(s, x);
            s.output("logits", y);
            Ok(())
        })
        .unwrap();
        let (mut session, mut program) = run(&graph, &declared, size);
        let logits = session.output_f64(&mut program, "logits").unwrap();
        let expected_logits: Vec<f64> = serde_json::from_value(expected["logits"].clone()).unwrap();
        let scale = expected_logits.iter().fold(0.0, |largest: f64, logit| largest.max(logit.abs()));
        assert_eq!(logits.len(), expected_logits.len());
        for (place, (&found, &exact)) in logits.iter().zip(&expected_logits).enumerate() {
            close(&format!("{name}, logit {place}"), found, exact, scale);
        }

        let step = training_graph(
            &Optimizer::from(Sgd::new(0.0)),
            None,
            |_| true,
            |s| {
                let x = s.input("inputs", DType::F32, shape);
                let targets = s.input("targets", DType::U32, [ROWS]);
                let kind = TargetKind::Classes { count: CLASSES };
                let (_, loss) = model.judge(s, x, &Objective { loss: Loss::CrossEntropy, kind, targets });
                s.output("loss", loss);
                Ok(())
            },
        )
        .unwrap();
        let (mut session, mut program) = run(&step.graph, &step.declarations, size);
        for (output, key) in [("loss", "loss"), ("gradient_norm", "gradient_norm")] {
            let found = session.output_f64(&mut program, output).unwrap()[0];
            close(&format!("{name}, {key}"), found, expected[key].as_f64().unwrap(), 0.0);
        }
    }
}
