//! Each optimiser against the update rules of PyTorch's documentation, written as loops in double precision.

use nn_core::{Device, Session, StepScalars, Tensor};
use nn_train::optim::{Adam, AdamW, Decay, Optimizer, RmsProp, Sgd};
use nn_train::{Init, Scope, compile_training};

const STEPS: u32 = 20;
const WEIGHT: [f32; 6] = [0.5, -1.25, 0.75, 2.0, -0.125, 1.0];
const BIAS: [f32; 3] = [0.25, -0.5, 1.5];
const CURVATURE: [f32; 3] = [1.0, 0.25, 3.0];
const LR: f32 = 0.03125;

/// loss = Σ c·(w − 1)² + Σ c·b², so that dw = 2c(w − 1) and db = 2c·b.
fn model(s: &mut Scope) -> Result<(), nn_core::Error> {
    let weight = s.param("weight", [2, 3], Init::Zeros);
    let bias = s.param("bias", [3], Init::Zeros);
    let curvature = s.trace().constant(&Tensor::from_f32([3], &CURVATURE)?);
    let distance = weight - 1.0;
    s.output("loss", (distance * distance * curvature).sum_all() + (bias * bias * curvature).sum_all());
    Ok(())
}

fn run(device: &Device, optimizer: &Optimizer, clip: Option<f64>, steps: u32, lr: f32) -> (Vec<f32>, Vec<f32>) {
    let mut session = Session::new(device);
    session.set_state("weight", &Tensor::from_f32([2, 3], &WEIGHT).unwrap()).unwrap();
    session.set_state("bias", &Tensor::from_f32([3], &BIAS).unwrap()).unwrap();
    let mut compiled = compile_training(&mut session, 0, optimizer, clip, |_| true, model).unwrap();
    let mut norms = Vec::new();
    for step in 1..=steps {
        session.run(&mut compiled.program, &[], StepScalars::new(step, 0, lr)).unwrap();
        for result in session.results(&mut compiled.program, true).unwrap() {
            norms.push(result.scalar("gradient_norm").unwrap());
            assert!(result.get("gradient/weight").is_none(), "gradients are not kept as outputs");
        }
    }
    let mut values = session.state("weight").unwrap().as_f32().unwrap().to_vec();
    values.extend_from_slice(session.state("bias").unwrap().as_f32().unwrap());
    (values, norms)
}

/// One number under an optimiser: its state, and the rule that turns a gradient into the next value.
type Rule<'a> = &'a mut dyn FnMut(f64, f64, i32, usize) -> f64;

/// The same 9 numbers by a rule `(value, gradient, step, place) → value`.
fn by_hand(rule: Rule<'_>) -> Vec<f64> {
    let mut values: Vec<f64> = WEIGHT.iter().chain(&BIAS).map(|&value| f64::from(value)).collect();
    for step in 1..=STEPS {
        for (place, value) in values.iter_mut().enumerate() {
            let goal = if place < 6 { 1.0 } else { 0.0 };
            let gradient = 2.0 * f64::from(CURVATURE[place % 3]) * (*value - goal);
            *value = rule(*value, gradient, step as i32, place);
        }
    }
    values
}

fn compare(optimizer: impl Into<Optimizer>, rule: Rule<'_>) {
    let optimizer = optimizer.into();
    let expected = by_hand(rule);
    // The oracle rounds only constants and the result to f32: a few 6e-8 of numbers up to 2. In single precision,
    // 20 steps of about eight roundings each.
    for (device, tolerance) in [(Device::oracle(), 5e-7), (Device::cpu(), 1e-5)] {
        let (found, _) = run(&device, &optimizer, None, STEPS, LR);
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < tolerance, "{optimizer:?} on {device:?}, number {place}: {found}, expected {expected}");
        }
    }
}

fn lr() -> f64 {
    f64::from(LR)
}

#[test]
fn sgd_follows_its_rule() {
    compare(Sgd::new(0.0), &mut |p, g, _, _| p - lr() * g);
    compare(Sgd::new(0.0).weight_decay(0.1), &mut |p, g, _, _| p - lr() * (g + 0.1 * p));
    for nesterov in [false, true] {
        let mut buffer = [None; 9];
        compare(Sgd::new(0.0).momentum(0.9).nesterov(nesterov).weight_decay(0.01), &mut |p, g, _, place| {
            let g = g + 0.01 * p;
            // As torch.optim.SGD: the first gradient is the first buffer.
            let next = buffer[place].map_or(g, |before: f64| 0.9 * before + g);
            buffer[place] = Some(next);
            p - lr() * if nesterov { g + 0.9 * next } else { next }
        });
    }
}

#[test]
fn adam_follows_its_rule() {
    for (betas, weight_decay) in [([0.9, 0.999], 0.0), ([0.8, 0.95], 0.1), ([0.0, 0.99], 0.0)] {
        let (mut m, mut v) = ([0.0; 9], [0.0; 9]);
        compare(Adam::new(0.0).betas(betas).weight_decay(weight_decay), &mut |p, g, step, place| {
            let g = g + weight_decay * p;
            m[place] = betas[0] * m[place] + (1.0 - betas[0]) * g;
            v[place] = betas[1] * v[place] + (1.0 - betas[1]) * g * g;
            let mean = m[place] / (1.0 - betas[0].powi(step));
            let square = v[place] / (1.0 - betas[1].powi(step));
            p - lr() * mean / (square.sqrt() + 1e-8)
        });
    }
}

#[test]
fn adamw_follows_its_rule() {
    for decay in [Decay::All, Decay::Matrices] {
        let (mut m, mut v) = ([0.0; 9], [0.0; 9]);
        compare(AdamW::new(0.0).weight_decay(0.5).eps(1e-3).decay(decay), &mut |p, g, step, place| {
            let decays = decay == Decay::All || place < 6;
            let p = if decays { p * (1.0 - lr() * 0.5) } else { p };
            m[place] = 0.9 * m[place] + 0.1 * g;
            v[place] = 0.999 * v[place] + 0.001 * g * g;
            let mean = m[place] / (1.0 - 0.9f64.powi(step));
            let square = v[place] / (1.0 - 0.999f64.powi(step));
            p - lr() * mean / (square.sqrt() + 1e-3)
        });
    }
}

#[test]
fn rmsprop_follows_its_rule() {
    for momentum in [0.0, 0.5] {
        let (mut square, mut buffer) = ([0.0; 9], [0.0; 9]);
        compare(RmsProp::new(0.0).momentum(momentum).weight_decay(0.01), &mut |p, g, _, place| {
            let g = g + 0.01 * p;
            square[place] = 0.99 * square[place] + 0.01 * g * g;
            buffer[place] = momentum * buffer[place] + g / (square[place].sqrt() + 1e-8);
            p - lr() * buffer[place]
        });
    }
}

#[test]
fn the_first_step_of_adam_is_the_learning_rate() {
    // With eps = 0 the first step is lr·g/|g|; a correction by 1 − f32(0.999) would miss it by 3e-5.
    for optimizer in [Adam::new(0.0).eps(0.0), Adam::new(0.0).eps(0.0).betas([0.99, 0.9999])] {
        let (found, _) = run(&Device::cpu(), &optimizer.into(), None, 1, 1.0);
        for (place, (found, start)) in found.iter().zip(WEIGHT.iter().chain(&BIAS)).enumerate() {
            let moved = (f64::from(*found) - f64::from(*start)).abs();
            let at_rest = place == 5;
            assert!(at_rest || (moved - 1.0).abs() < 1e-6, "number {place} moved by {moved}");
        }
    }
}

#[test]
fn the_norm_is_that_of_all_gradients_and_clipping_scales_them_to_it() {
    let gradient = |place: usize| {
        let goal = if place < 6 { 1.0 } else { 0.0 };
        let value = *WEIGHT.iter().chain(&BIAS).nth(place).unwrap();
        2.0 * f64::from(CURVATURE[place % 3]) * (f64::from(value) - goal)
    };
    let norm = (0..9).map(|place| gradient(place).powi(2)).sum::<f64>().sqrt();
    for (clip, scale) in [(None, 1.0), (Some(0.5), 0.5 / (norm + 1e-6)), (Some(2.0 * norm), 1.0)] {
        let (found, norms) = run(&Device::cpu(), &Sgd::new(0.0).into(), clip, 1, 1.0);
        assert!((f64::from(norms[0]) - norm).abs() < 1e-5, "{} is not {norm}", norms[0]);
        for (place, (found, start)) in found.iter().zip(WEIGHT.iter().chain(&BIAS)).enumerate() {
            let expected = f64::from(*start) - scale * gradient(place);
            assert!(
                (f64::from(*found) - expected).abs() < 2e-6,
                "clip {clip:?}, {place}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn states_are_named_after_their_parameters() {
    let mut session = Session::new(&Device::cpu());
    let optimizer = RmsProp::new(0.1).momentum(0.9).into();
    compile_training(&mut session, 0, &optimizer, None, |name| name == "weight", model).unwrap();
    let names: Vec<&str> = session.states().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["weight", "bias", "optimizer/square_average/weight", "optimizer/momentum/weight"]);
}

#[test]
fn settings_without_sense_are_refused() {
    let bad: [Optimizer; 7] = [
        Sgd::new(f64::NAN).into(),
        Sgd::new(-1.0).into(),
        Sgd::new(0.1).nesterov(true).into(),
        Adam::new(0.1).betas([0.9, 1.0]).into(),
        AdamW::new(0.1).weight_decay(f64::INFINITY).into(),
        RmsProp::new(0.1).alpha(1.5).into(),
        RmsProp::new(0.1).eps(-1.0).into(),
    ];
    for optimizer in bad {
        let message = optimizer.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(optimizer.name()), "{optimizer:?}: {message:?}");
    }
}
