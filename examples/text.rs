//! Classifies documents, given as the means of their words' vectors, into ten topics: once by cross-entropy and Adam,
//! once as older textbooks have it, by mean squared error and plain gradient descent.

use std::process::ExitCode;
use wgrad::prelude::*;

const TARGET: f64 = 0.90;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let documents = topics(TopicsOptions::default(), 0)?;
    let (training, held_out) = documents.split(0.2, 0)?;
    println!("{} documents to learn from, {} held out", training.rows(), held_out.rows());

    let ways: [(&str, Loss, Optimizer, u32); 2] = [
        ("cross-entropy, Adam", Loss::CrossEntropy, Adam::new(2e-3).into(), 5),
        ("mean squared error, gradient descent", Loss::MseOneHot, Sgd::new(1.0).into(), 15),
    ];
    let mut reached = true;
    for (name, loss, optimizer, epochs) in ways {
        let model = Sequential::new()
            .add(Linear::new(100, 100))
            .add(Relu)
            .add(Linear::new(100, 50))
            .add(Relu)
            .add(Linear::new(50, 10));
        let mut trainer = Trainer::new(model).loss(loss).optimizer(optimizer).batch_size(64).epochs(epochs);
        trainer.fit(&training, None, &mut ())?;
        let measured = trainer.evaluate(&held_out)?;
        let accuracy = measured.accuracy.unwrap_or(0.0);
        println!("{name}: loss {:.4}, accuracy {:.1} %", measured.loss, 100.0 * accuracy);
        reached &= accuracy >= TARGET;
    }
    if !reached {
        eprintln!("an accuracy is below {:.0} %", 100.0 * TARGET);
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
