//! Time of one training step of the 784→512→256→10 MLP, batch 128, Adam: `cargo bench --bench train_step -- [device]`.
//!
//! Prints the median over groups of steps, the time from process start to the end of the first step, and the CPU
//! time that a step takes. `scripts/compare-torch.sh` alternates it with PyTorch.

use nn_core::{DType, Device, Input, Session, StepScalars};
use nn_train::nn::{Linear, Loss, Relu, Sequential};
use nn_train::optim::Adam;
use nn_train::{Layer, compile_training};
use std::time::Instant;

const BATCH: usize = 128;
const GROUP: u32 = 50;
const GROUPS: u32 = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    // Cargo passes flags of its own, such as `--bench`.
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_else(|| "cpu".into());
    let device = Device::from_name(&name)?;
    let mut session = Session::new(&device);
    let model = Sequential::new()
        .add(Linear::new(784, 512))
        .add(Relu)
        .add(Linear::new(512, 256))
        .add(Relu)
        .add(Linear::new(256, 10));
    let mut compiled = compile_training(
        &mut session,
        1,
        &Adam::new(1e-3).into(),
        None,
        |_| true,
        |s| {
            let x = s.input("x", DType::F32, [BATCH, 784]);
            let y = s.input("y", DType::U32, [BATCH]);
            let logits = model.forward(s, x);
            s.output("loss", Loss::CrossEntropy.mean(logits, y));
            Ok(())
        },
    )?;
    let program = &mut compiled.program;
    let x: Vec<f32> = (0..BATCH * 784).map(|i| ((i * 7919) % 1000) as f32 / 1000.0).collect();
    let y: Vec<u32> = (0..BATCH as u32).map(|i| i * 7 % 10).collect();
    let mut number = 0;
    let mut step = |session: &mut Session, wait: bool| -> Result<Option<f32>, nn_core::Error> {
        number += 1;
        let inputs = [("x", Input::F32(&x)), ("y", Input::U32(&y))];
        session.run(program, &inputs, StepScalars::new(number, 1, 1e-3))?;
        let results = session.results(program, wait)?;
        results.last().map(|result| result.scalar("loss")).transpose()
    };
    let first = step(&mut session, true)?;
    println!("{name} first_step_ms={:.1} loss0={:.4}", start.elapsed().as_secs_f64() * 1e3, first.unwrap_or(f32::NAN));
    let mut times = Vec::new();
    let mut last = None;
    for group in 0..=GROUPS {
        let begin = Instant::now();
        for place in 0..GROUP {
            last = step(&mut session, place + 1 == GROUP)?.or(last);
        }
        // The first group warms up.
        if group > 0 {
            times.push(begin.elapsed().as_secs_f64() * 1e3 / f64::from(GROUP));
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{name} mlp RESULT ms/step median={:.3} min={:.3} max={:.3} n={GROUPS}x{GROUP} loss_end={:.4}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1],
        last.unwrap_or(f32::NAN)
    );
    Ok(())
}
