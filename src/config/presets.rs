//! The presets: configurations that come with the program.

use super::{Architecture, Config, Data, Loss, Mlp, Model, Optimizer, Output, Train};

/// Names of the presets and what they do.
pub(crate) const PRESETS: &[(&str, &str)] = &[
    ("xor", "exclusive or by a perceptron with 8 hidden sigmoid units; less than a second"),
    ("xor-2-2-1", "the same with 2 hidden units, as textbooks have it; some seeds stay stuck"),
    ("digits", "handwritten digits of 8x8 pixels by a perceptron 64-160-80-10; a few seconds"),
    ("text", "ten topics from word vectors by a perceptron, cross-entropy and Adam; also --data texts.csv"),
    ("text-mse", "the same, mean squared error and plain gradient descent"),
];

/// The configuration of a preset.
pub(crate) fn preset(name: &str) -> Option<Config> {
    let mut config = match name {
        "xor" => xor(8),
        "xor-2-2-1" => xor(2),
        "digits" => digits(),
        "text" => text("cross_entropy", adam(2e-3), 15),
        "text-mse" => text("mse_one_hot", Optimizer { kind: "sgd".into(), lr: Some(1.0), ..Optimizer::default() }, 40),
        _ => return None,
    };
    config.output.name = name.into();
    Some(config)
}

fn adam(lr: f64) -> Optimizer {
    Optimizer { lr: Some(lr), ..Optimizer::default() }
}

fn mlp(sizes: &[usize], activation: &str) -> Mlp {
    Mlp { sizes: sizes.to_vec(), activation: activation.into(), init: "torch".into(), gain: 1.0, dropout: 0.0 }
}

/// The parts that differ, the others at their defaults.
fn with(architecture: Architecture, data: Data, loss: &str, optimizer: Optimizer, train: Train) -> Config {
    Config {
        model: Model { weights: None, architecture },
        data,
        loss: Some(Loss { kind: loss.into(), delta: None }),
        optimizer,
        train,
        schedule: Default::default(),
        checkpoint: Default::default(),
        output: Output::default(),
    }
}

/// The second sigmoid, that of the output, is part of the loss.
fn xor(hidden: usize) -> Config {
    let data = Data { kind: "xor".into(), batch_size: Some(4), ..Data::default() };
    let train = Train { epochs: Some(1000), eval_every: Some(100), ..Train::default() };
    // Sigmoids of small weights are all but linear, and a linear model of exclusive or learns nothing at first.
    let model = Mlp { init: "xavier_normal".into(), gain: 4.0, ..mlp(&[2, hidden, 1], "sigmoid") };
    with(Architecture::Mlp(model), data, "binary_cross_entropy", adam(0.05), train)
}

fn digits() -> Config {
    let data =
        Data { kind: "digits".into(), batch_size: Some(64), validation: Some(0.2), seed: Some(0), ..Data::default() };
    let train = Train { epochs: Some(40), ..Train::default() };
    // So few pictures are soon known by heart: without dropout about 1 % fewer of the others are right.
    let model = Mlp { dropout: 0.4, ..mlp(&[64, 160, 80, 10], "relu") };
    let mut config = with(Architecture::Mlp(model), data, "cross_entropy", adam(5e-3), train);
    config.schedule.kind = "cosine".into();
    // A run of seconds has little to lose, and a file that is safe on the disk takes a while.
    config.checkpoint.every = Some(460);
    config
}

fn text(loss: &str, optimizer: Optimizer, epochs: u32) -> Config {
    let data =
        Data { kind: "topics".into(), batch_size: Some(64), validation: Some(0.2), seed: Some(0), ..Data::default() };
    let train = Train { epochs: Some(epochs), ..Train::default() };
    // The first and the last size follow the data, which may be a file.
    with(Architecture::Mlp(mlp(&[0, 100, 50, 0], "relu")), data, loss, optimizer, train)
}
