//! The functional face: a model is a function, and the loop is yours. Fits a sine curve.

use std::process::ExitCode;
use wgrad::prelude::*;

const ROWS: usize = 64;

/// Two hidden layers of 32: `(rows, 1)` → `(rows, 1)`. Parameters are named `first.weight`, `first.bias`, …
fn curve(s: &mut Scope, x: Value) -> Value {
    let x = s.scope("first", |s| Linear::new(1, 32).forward(s, x)).tanh();
    let x = s.scope("second", |s| Linear::new(32, 32).forward(s, x)).tanh();
    s.scope("last", |s| Linear::new(32, 1).forward(s, x))
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut session = Session::new(&Device::auto());

    // Traced once: forward pass, gradients and Adam's update become one program.
    let optimizer = Adam::new(5e-3).into();
    let mut step = compile_training(
        &mut session,
        0,
        &optimizer,
        Some(1.0),
        |_| true,
        |s| {
            let x = s.input("x", DType::F32, [ROWS, 1]);
            let y = s.input("y", DType::F32, [ROWS, 1]);
            let error = curve(s, x) - y;
            s.output("loss", (error * error).mean_all());
            Ok(())
        },
    )?;

    // A second program shares the parameters by their names.
    let mut predict = compile(&mut session, false, 0, |s| {
        let x = s.input("x", DType::F32, [ROWS, 1]);
        let y = curve(s, x);
        s.output("y", y);
        Ok(())
    })?;

    let x: Vec<f32> = (0..ROWS).map(|row| (row as f32 / ROWS as f32 - 0.5) * 6.0).collect();
    let y: Vec<f32> = x.iter().map(|x| x.sin()).collect();
    for number in 1..=1000 {
        let inputs = [("x", Input::F32(&x)), ("y", Input::F32(&y))];
        session.run(&mut step.program, &inputs, StepScalars::new(number, 0, 5e-3))?;
        // Results arrive when the device is done; `true` waits for them.
        for result in session.results(&mut step.program, number == 1000)? {
            if number % 200 == 0 {
                println!("step {number}: loss {:.6}", result.scalar("loss")?);
            }
        }
    }

    session.run(&mut predict.program, &[("x", Input::F32(&x))], StepScalars::default())?;
    let found = session.output(&mut predict.program, "y")?;
    let worst = found.as_f32()?.iter().zip(&y).fold(0.0, |worst: f32, (found, y)| worst.max((found - y).abs()));
    println!("largest error {worst:.4}");
    Ok(if worst < 0.05 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
