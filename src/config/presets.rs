//! The presets: configurations that come with the program.

use super::{Architecture, Augment, Config, Data, DataKind, Loss, Mlp, Model, Optimizer, Output, Train};
use nn_models::transformer::Head;
use nn_models::{Autoencoder, Bert, Cnn, Ddpm, Gpt2, ResNet, Seq2Seq, Stem, Unet, Vae};

/// Names of the presets and what they do.
pub(crate) const PRESETS: &[(&str, &str)] = &[
    ("xor", "exclusive or by a perceptron with 8 hidden sigmoid units; less than a second"),
    ("xor-2-2-1", "the same with 2 hidden units, as textbooks have it; some seeds stay stuck"),
    ("digits", "handwritten digits of 8x8 pixels by a perceptron 64-160-80-10; a few seconds"),
    ("digits-cnn", "the digits by convolutions; also --data FOLDER with MNIST's files"),
    ("resnet-cifar", "ten drawn shapes by a residual network; also --data FOLDER with CIFAR-10's binary files"),
    ("unet-shapes", "which pixels are which drawn shape, by a U-Net"),
    ("denoise", "digits cleaned of noise by an autoencoder"),
    ("vae-digits", "digits drawn by a variational autoencoder"),
    ("ddpm-digits", "digits of a chosen class drawn by denoising diffusion"),
    ("char-gpt", "text that goes on as that it has read, letter by letter; also --data FILE"),
    ("text-classify", "texts sorted by a small encoder; --data FILE or FOLDER of texts with labels"),
    ("qa", "answers found in a text by a small encoder; also --data FILE or FOLDER of SQuAD's form"),
    ("translate", "dates written anew, 3 Mar 2021 as 2021-03-03; also --data FILE or FOLDER of texts in two languages"),
    ("text", "ten topics from word vectors by a perceptron, cross-entropy and Adam; also --data texts.csv"),
    ("text-mse", "the same, mean squared error and plain gradient descent"),
];

/// The configuration of a preset.
pub(crate) fn preset(name: &str) -> Option<Config> {
    let mut config = match name {
        "xor" => xor(8),
        "xor-2-2-1" => xor(2),
        "digits" => digits(),
        "digits-cnn" => digits_cnn(),
        "resnet-cifar" => resnet_cifar(),
        "unet-shapes" => unet_shapes(),
        "denoise" => denoise(),
        "vae-digits" => vae_digits(),
        "ddpm-digits" => ddpm_digits(),
        "char-gpt" => char_gpt(),
        "text-classify" => text_classify(),
        "qa" => qa(),
        "translate" => translate(),
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
        model: Model { weights: None, adapter: None, architecture },
        data,
        loss: Some(Loss { kind: loss.into(), delta: None }),
        lora: None,
        optimizer,
        train,
        schedule: Default::default(),
        checkpoint: Default::default(),
        output: Output::default(),
    }
}

/// The second sigmoid, that of the output, is part of the loss.
fn xor(hidden: usize) -> Config {
    let data = Data { kind: DataKind::Xor, batch_size: Some(4), ..Data::default() };
    let train = Train { epochs: Some(1000), eval_every: Some(100), ..Train::default() };
    // Sigmoids of small weights are all but linear, and a linear model of exclusive or learns nothing at first.
    let model = Mlp { init: "xavier_normal".into(), gain: 4.0, ..mlp(&[2, hidden, 1], "sigmoid") };
    with(Architecture::Mlp(model), data, "binary_cross_entropy", adam(0.05), train)
}

fn digits() -> Config {
    let data =
        Data { kind: DataKind::Digits, batch_size: Some(64), validation: Some(0.2), seed: Some(0), ..Data::default() };
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
        Data { kind: DataKind::Topics, batch_size: Some(64), validation: Some(0.2), seed: Some(0), ..Data::default() };
    let train = Train { epochs: Some(epochs), ..Train::default() };
    // The first and the last size follow the data, which may be a file.
    with(Architecture::Mlp(mlp(&[0, 100, 50, 0], "relu")), data, loss, optimizer, train)
}

/// Pictures of so many pixels on each side, held out by a fixed seed.
fn pictures(kind: DataKind, batch_size: usize) -> Data {
    let (batch_size, validation, seed) = (Some(batch_size), Some(0.2), Some(0));
    Data { kind, batch_size, validation, seed, ..Data::default() }
}

/// nanoGPT's configuration for a CPU, with biases, which `transformers` wants.
fn char_gpt() -> Config {
    let data = Data { kind: DataKind::Text, batch_size: Some(12), context: Some(64), ..Data::default() };
    let model = Gpt2 {
        vocab_size: 0,
        n_positions: 64,
        n_embd: 128,
        n_layer: 4,
        n_head: 4,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        ..Gpt2::default()
    };
    let optimizer = Optimizer { betas: Some([0.9, 0.99]), ..adamw(1e-3, 0.1) };
    let train = Train {
        steps: Some(2000),
        clip_norm: Some(1.0),
        eval_every: Some(250),
        eval_batches: Some(50),
        ..Train::default()
    };
    let mut config = with(Architecture::Gpt2(model), data, "cross_entropy", optimizer, train);
    config.schedule = super::Schedule { kind: "cosine".into(), warmup: 100, min_lr: 1e-4 };
    config
}

/// An encoder of one layer: few texts teach a larger one nothing more.
fn text_classify() -> Config {
    let data = Data { kind: DataKind::LabelledText, batch_size: Some(32), context: Some(128), ..Data::default() };
    let model = Bert {
        vocab_size: 0,
        hidden_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        intermediate_size: 256,
        hidden_dropout_prob: 0.7,
        attention_probs_dropout_prob: 0.1,
        max_position_embeddings: 128,
        type_vocab_size: 1,
        ..Bert::default()
    };
    // As many for few texts as for many: with so much dropout they are not soon known by heart.
    let train = Train { steps: Some(1300), eval_every: Some(200), clip_norm: Some(1.0), ..Train::default() };
    let mut config = with(Architecture::Bert(model), data, "cross_entropy", adamw(1e-3, 0.3), train);
    config.schedule = super::Schedule { kind: "linear".into(), warmup: 100, min_lr: 0.0 };
    config
}

/// AdamW with decay of matrices only.
fn adamw(lr: f64, weight_decay: f64) -> Optimizer {
    Optimizer {
        kind: "adamw".into(),
        lr: Some(lr),
        weight_decay: Some(weight_decay),
        decay: "matrices".into(),
        ..Optimizer::default()
    }
}

/// An encoder that says where the answer begins and ends.
fn qa() -> Config {
    let data = Data { kind: DataKind::Questions, batch_size: Some(32), ..Data::default() };
    let model = Bert {
        vocab_size: 0,
        hidden_size: 64,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 256,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        max_position_embeddings: 512,
        initializer_range: 0.12,
        head: Some(Head::QuestionAnswering),
        ..Bert::default()
    };
    let train = Train { epochs: Some(6), clip_norm: Some(1.0), ..Train::default() };
    let mut config = with(Architecture::Bert(model), data, "cross_entropy", adamw(1e-3, 0.01), train);
    config.schedule = super::Schedule { kind: "linear".into(), warmup: 200, min_lr: 0.0 };
    config
}

/// Encoder and decoder of two layers each.
fn translate() -> Config {
    let data = Data { kind: DataKind::Pairs, batch_size: Some(64), ..Data::default() };
    let model = Seq2Seq {
        d_model: 64,
        nhead: 4,
        num_encoder_layers: 2,
        num_decoder_layers: 2,
        dim_feedforward: 256,
        ..Seq2Seq::default()
    };
    let train = Train { epochs: Some(15), clip_norm: Some(1.0), ..Train::default() };
    let mut config = with(Architecture::Seq2seq(model), data, "cross_entropy", adamw(2e-3, 0.01), train);
    config.schedule = super::Schedule { kind: "cosine".into(), warmup: 200, min_lr: 0.0 };
    config
}

fn cosine(config: Config) -> Config {
    Config { schedule: super::Schedule { kind: "cosine".into(), ..Default::default() }, ..config }
}

fn digits_cnn() -> Config {
    let augment = Augment { rotation: 8.0, zoom: 0.1, crop_padding: 1, ..Augment::default() };
    let data = Data { augment: Some(augment), ..pictures(DataKind::Digits, 64) };
    let model = Cnn { convolutions: 2, batch_norm: true, dropout: 0.3, ..Cnn::default() };
    let train = Train { epochs: Some(30), ..Train::default() };
    cosine(with(Architecture::Cnn(model), data, "cross_entropy", adam(2e-3), train))
}

fn resnet_cifar() -> Config {
    let augment = Augment { flip: true, crop_padding: 4, ..Augment::default() };
    let data = Data { augment: Some(augment), normalise: Some(true), ..pictures(DataKind::Shapes, 64) };
    let model = ResNet {
        layers: vec![1, 1, 1],
        width: 16,
        in_channels: 0,
        num_classes: 0,
        stem: Stem::Cifar,
        ..ResNet::default()
    };
    let train = Train { epochs: Some(15), ..Train::default() };
    let optimizer = Optimizer {
        kind: "sgd".into(),
        lr: Some(0.1),
        momentum: Some(0.9),
        nesterov: Some(true),
        weight_decay: Some(5e-4),
        ..Optimizer::default()
    };
    cosine(with(Architecture::Resnet(model), data, "cross_entropy", optimizer, train))
}

fn unet_shapes() -> Config {
    let data = pictures(DataKind::ShapeMaps, 32);
    let train = Train { epochs: Some(12), ..Train::default() };
    cosine(with(Architecture::Unet(Unet::default()), data, "cross_entropy", adam(3e-3), train))
}

fn denoise() -> Config {
    let data = Data { noise: Some(0.4), ..pictures(DataKind::Digits, 64) };
    let train = Train { epochs: Some(40), ..Train::default() };
    cosine(with(Architecture::Autoencoder(Autoencoder::default()), data, "mse", adam(3e-3), train))
}

fn vae_digits() -> Config {
    let data = pictures(DataKind::Digits, 64);
    let train = Train { epochs: Some(80), ..Train::default() };
    cosine(with(Architecture::Vae(Vae::default()), data, "own", adam(2e-3), train))
}

fn ddpm_digits() -> Config {
    let data = pictures(DataKind::Digits, 64);
    let train = Train { epochs: Some(150), clip_norm: Some(1.0), ..Train::default() };
    cosine(with(Architecture::Ddpm(Ddpm::default()), data, "own", adam(2e-3), train))
}
