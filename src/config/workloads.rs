//! The training steps that `wgrad bench` measures, as configurations: `wgrad profile w4` looks into one.

use super::{Architecture, Config, Data, DataKind, Loss, Mlp, Optimizer, Output, Train};
use nn_models::{Block, Cnn, Gpt2, Llama, ResNet, Stem};

/// Names and descriptions.
pub(crate) const WORKLOADS: &[(&str, &str)] = &[
    ("w2", "perceptron 784-512-256-10, batch 128, Adam"),
    ("w3", "two convolutions of 3x3 and pools, 64 pictures of 1x28x28, Adam"),
    ("w4", "GPT of 4 layers of width 128, 8 x 128 tokens of 96, AdamW"),
    ("w5", "ResNet-50, 4 pictures of 3x224x224, SGD with momentum"),
    ("w6", "SmolLM2-135M, 1 x 128 tokens, AdamW"),
    ("w7", "GPT-2 of 124 million parameters, 4 x 1,024 tokens, AdamW"),
];

/// The configuration of a workload.
pub(crate) fn workload(name: &str) -> Option<Config> {
    let adam = |kind: &str, lr: f64| Optimizer { kind: kind.into(), lr: Some(lr), ..Optimizer::default() };
    let (architecture, shape, batch, optimizer) = match name {
        "w2" => {
            let sizes = vec![784, 512, 256, 10];
            let model = Mlp { sizes, activation: "relu".into(), init: "torch".into(), gain: 1.0, dropout: 0.0 };
            (Architecture::Mlp(model), vec![784], 128, adam("adam", 1e-3))
        }
        "w3" => {
            let model = Cnn { in_channels: 1, num_classes: 10, ..Cnn::default() };
            (Architecture::Cnn(model), vec![1, 28, 28], 64, adam("adam", 1e-3))
        }
        "w4" => {
            let model = Gpt2 {
                vocab_size: 96,
                n_positions: 128,
                n_embd: 128,
                n_layer: 4,
                n_head: 4,
                activation_function: "gelu".into(),
                tie_word_embeddings: false,
                ..plain_gpt2()
            };
            (Architecture::Gpt2(model), vec![128], 8, adam("adamw", 3e-4))
        }
        "w5" => {
            let model = ResNet {
                block: Block::Bottleneck,
                layers: vec![3, 4, 6, 3],
                width: 64,
                in_channels: 3,
                num_classes: 1000,
                stem: Stem::Imagenet,
            };
            let optimizer =
                Optimizer { kind: "sgd".into(), lr: Some(0.01), momentum: Some(0.9), ..Optimizer::default() };
            (Architecture::Resnet(model), vec![3, 224, 224], 4, optimizer)
        }
        "w6" => {
            let model = Llama {
                vocab_size: 49152,
                hidden_size: 576,
                intermediate_size: 1536,
                num_hidden_layers: 30,
                num_attention_heads: 9,
                num_key_value_heads: Some(3),
                max_position_embeddings: 2048,
                tie_word_embeddings: true,
                ..Llama::default()
            };
            (Architecture::Llama(model), vec![128], 1, adam("adamw", 1e-4))
        }
        "w7" => (Architecture::Gpt2(plain_gpt2()), vec![1024], 4, adam("adamw", 3e-4)),
        _ => return None,
    };
    Some(Config {
        model: super::Model { weights: None, adapter: None, architecture },
        data: Data {
            kind: DataKind::Random,
            sample_shape: Some(shape),
            samples: Some(2 * batch),
            batch_size: Some(batch),
            order: Some("sequential".into()),
            ..Data::default()
        },
        loss: Some(Loss { kind: "cross_entropy".into(), delta: None }),
        lora: None,
        optimizer,
        train: Train { steps: Some(20), ..Train::default() },
        schedule: Default::default(),
        checkpoint: Default::default(),
        output: Output { name: name.into(), ..Output::default() },
    })
}

/// GPT-2 without dropout.
fn plain_gpt2() -> Gpt2 {
    Gpt2 { resid_pdrop: 0.0, embd_pdrop: 0.0, attn_pdrop: 0.0, ..Gpt2::default() }
}
