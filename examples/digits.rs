//! Recognises handwritten digits, prints a line per epoch, and saves the model.

use std::ops::ControlFlow;
use std::process::ExitCode;
use wgrad::prelude::*;

const TARGET: f64 = 0.95;

/// Prints each evaluation.
struct Print;

impl Observer for Print {
    fn on_evaluation(&mut self, report: &EvalReport) -> ControlFlow<()> {
        let accuracy = report.evaluation.accuracy.unwrap_or(f64::NAN);
        println!("epoch {:>2}: loss {:.4}, accuracy {:.1} %", report.epoch, report.evaluation.loss, 100.0 * accuracy);
        ControlFlow::Continue(())
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (training, held_out) = digits()?.split(0.2, 0)?;

    // (batch, 8, 8) → (batch, 64) → (batch, 96) → (batch, 48) → (batch, 10)
    let model = Sequential::new()
        .add(Flatten)
        .add(Linear::new(64, 96))
        .add(Relu)
        .add(Linear::new(96, 48))
        .add(Relu)
        .add(Linear::new(48, 10));
    let mut trainer = Trainer::new(model)
        .loss(Loss::CrossEntropy)
        .optimizer(Adam::new(3e-3))
        .device(Device::auto())
        .batch_size(64)
        .epochs(20);
    trainer.fit(&training, Some(&held_out), &mut Print)?;

    // The model is a safetensors file, which PyTorch can read too.
    let path = std::env::temp_dir().join(format!("wgrad-digits-{}.safetensors", std::process::id()));
    trainer.save(&path)?;
    println!("saved {} parameters", trainer.declarations().parameter_count());
    trainer.load(&path)?;
    std::fs::remove_file(&path)?;

    let row = held_out.input_row(0).unwrap_or_default();
    for line in row.chunks(8) {
        println!("{}", line.iter().map(|ink| [' ', '.', 'o', '#'][(ink * 3.0).round() as usize]).collect::<String>());
    }
    println!("looks like {:?}", trainer.predict_classes(&row[..])?);

    let accuracy = trainer.evaluate(&held_out)?.accuracy.unwrap_or(0.0);
    if accuracy < TARGET {
        eprintln!("accuracy {accuracy:.3} is below {TARGET}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
