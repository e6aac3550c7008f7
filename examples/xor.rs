//! Learns exclusive or with two layers of sigmoids, the "hello, world" of neural networks.

use std::process::ExitCode;
use wgrad::prelude::*;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inputs = vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
    let data = ArrayData::with_classes(inputs.clone(), [2], vec![0, 1, 1, 0], 2)?;

    // Wide initial weights: sigmoids of small sums are all but linear, and no linear model is better than chance here.
    let wide = Init::XavierNormal { gain: 4.0 };
    let model = Sequential::new()
        .add(Linear::new(2, 8).init(wide, Init::Zeros))
        .add(Sigmoid)
        .add(Linear::new(8, 1).init(wide, Init::Zeros));

    // The output's sigmoid is part of the loss, which takes its logarithm safely.
    let mut trainer = Trainer::new(model)
        .loss(Loss::BinaryCrossEntropy)
        .optimizer(Adam::new(0.05))
        .device(Device::auto())
        .seed(0)
        .batch_size(4)
        .epochs(1000);
    let report = trainer.fit(&data, None, &mut ())?;
    println!("loss {:.5} after {} steps", report.loss.unwrap_or(f32::NAN), report.steps);

    let logits = trainer.predict(&inputs)?;
    for (input, logit) in inputs.chunks(2).zip(logits.as_f32()?) {
        let probability = 1.0 / (1.0 + (-logit).exp());
        println!("{} xor {} = {probability:.3}", input[0], input[1]);
    }

    let right = trainer.evaluate(&data)?.accuracy == Some(1.0);
    if !right {
        eprintln!("it has not learnt all four rows");
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
