//! The training steps, by burn's modules, losses and optimisers.

use crate::causal;
use crate::protocol::indices;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    PaddingConfig2d, RmsNorm, RmsNormConfig, RotaryEncoding, RotaryEncodingConfig,
};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::{gelu, relu, silu};
use burn::tensor::module::attention;
use burn::tensor::{Device, Distribution, Int, Shape, Tensor};

#[derive(Module, Debug)]
struct Perceptron {
    layers: Vec<Linear>,
}

impl Perceptron {
    fn new(device: &Device) -> Self {
        let layer = |[inputs, outputs]: [usize; 2]| LinearConfig::new(inputs, outputs).init(device);
        Self { layers: [[784, 512], [512, 256], [256, 10]].map(layer).into() }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [first, second, third] = [0, 1, 2].map(|layer| &self.layers[layer]);
        third.forward(relu(second.forward(relu(first.forward(x)))))
    }
}

#[derive(Module, Debug)]
struct SmallCnn {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
    hidden: Linear,
    output: Linear,
}

impl SmallCnn {
    fn new(device: &Device) -> Self {
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let stage = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(padding.clone()).init(device);
        Self {
            convolutions: [[1, 32], [32, 64]].map(stage).into(),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            hidden: LinearConfig::new(3136, 128).init(device),
            output: LinearConfig::new(128, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let stage = |x, convolution: &Conv2d| self.pool.forward(relu(convolution.forward(x)));
        let x = self.convolutions.iter().fold(x, stage);
        self.output.forward(relu(self.hidden.forward(x.flatten(1, 3))))
    }
}

/// (batch, length, heads × size) as (batch, heads, length, size).
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
}

fn join(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, size] = x.dims();
    x.swap_dims(1, 2).reshape([batch, length, heads * size])
}

#[derive(Module, Debug)]
struct GptBlock {
    norm1: LayerNorm,
    qkv: Linear,
    o: Linear,
    norm2: LayerNorm,
    f1: Linear,
    f2: Linear,
}

impl GptBlock {
    fn new(width: usize, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            norm1: LayerNormConfig::new(width).init(device),
            qkv: linear(width, 3 * width),
            o: linear(width, width),
            norm2: LayerNormConfig::new(width).init(device),
            f1: linear(width, 4 * width),
            f2: linear(4 * width, width),
        }
    }

    fn forward(&self, h: Tensor<3>, heads: usize) -> Tensor<3> {
        let parts = self.qkv.forward(self.norm1.forward(h.clone())).chunk(3, 2);
        let [q, k, v] = [0, 1, 2].map(|part| split(parts[part].clone(), heads));
        let h = h + self.o.forward(join(attention(q, k, v, None, None, causal())));
        h.clone() + self.f2.forward(gelu(self.f1.forward(self.norm2.forward(h))))
    }
}

#[derive(Module, Debug)]
struct Gpt {
    words: Embedding,
    places: Embedding,
    blocks: Vec<GptBlock>,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    fn new(words: usize, length: usize, width: usize, layers: usize, device: &Device) -> Self {
        Self {
            words: EmbeddingConfig::new(words, width).init(device),
            places: EmbeddingConfig::new(length, width).init(device),
            blocks: (0..layers).map(|_| GptBlock::new(width, device)).collect(),
            norm: LayerNormConfig::new(width).init(device),
            head: LinearConfig::new(width, words).with_bias(false).init(device),
        }
    }

    fn forward(&self, x: Tensor<2, Int>, heads: usize) -> Tensor<2> {
        let h = self.words.forward(x) + self.places.weight.val().unsqueeze();
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h, heads));
        self.head.forward(self.norm.forward(h)).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
struct Normed {
    convolution: Conv2d,
    norm: BatchNorm,
}

impl Normed {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let pad = kernel / 2;
        let config = Conv2dConfig::new(channels, [kernel; 2]).with_stride([stride; 2]).with_bias(false);
        let convolution = config.with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad)).init(device);
        Self { convolution, norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.convolution.forward(x))
    }
}

#[derive(Module, Debug)]
struct Bottleneck {
    reduce: Normed,
    middle: Normed,
    widen: Normed,
    shortcut: Option<Normed>,
}

impl Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.middle.forward(relu(self.reduce.forward(x.clone()))));
        let x = self.shortcut.as_ref().map_or_else(|| x.clone(), |shortcut| shortcut.forward(x.clone()));
        relu(self.widen.forward(y) + x)
    }
}

#[derive(Module, Debug)]
struct ResNet50 {
    stem: Normed,
    pool: MaxPool2d,
    blocks: Vec<Bottleneck>,
    head: Linear,
}

impl ResNet50 {
    fn new(device: &Device) -> Self {
        let (mut blocks, mut inputs) = (Vec::new(), 64);
        for (stage, count) in [3, 4, 6, 3].into_iter().enumerate() {
            let width = 64 << stage;
            for place in 0..count {
                let stride = if place == 0 && stage > 0 { 2 } else { 1 };
                blocks.push(Bottleneck {
                    reduce: Normed::new([inputs, width], 1, 1, device),
                    middle: Normed::new([width, width], 3, stride, device),
                    widen: Normed::new([width, 4 * width], 1, 1, device),
                    shortcut: (place == 0).then(|| Normed::new([inputs, 4 * width], 1, stride, device)),
                });
                inputs = 4 * width;
            }
        }
        let pad = PaddingConfig2d::Explicit(1, 1, 1, 1);
        Self {
            stem: Normed::new([3, 64], 7, 2, device),
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(pad).init(),
            blocks,
            head: LinearConfig::new(2048, 1000).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.stem.forward(x)));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(x.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2))
    }
}

#[derive(Module, Debug)]
struct LlamaBlock {
    norm1: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    norm2: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl LlamaBlock {
    fn forward(&self, h: Tensor<3>, heads: [usize; 2], rotary: &RotaryEncoding) -> Tensor<3> {
        let x = self.norm1.forward(h.clone());
        let q = rotary.forward(split(self.q.forward(x.clone()), heads[0]));
        let k = rotary.forward(split(self.k.forward(x.clone()), heads[1]));
        let v = split(self.v.forward(x), heads[1]);
        // Each head of keys and values serves several of queries.
        let [k, v] = [k, v].map(|x| {
            let [batch, _, length, size] = x.dims();
            let x = x.unsqueeze_dim::<5>(2).repeat_dim(2, heads[0] / heads[1]);
            x.reshape([batch, heads[0], length, size])
        });
        let h = h + self.o.forward(join(attention(q, k, v, None, None, causal())));
        let x = self.norm2.forward(h.clone());
        h + self.down.forward(silu(self.gate.forward(x.clone())) * self.up.forward(x))
    }
}

#[derive(Module, Debug)]
struct SmolLm {
    words: Embedding,
    blocks: Vec<LlamaBlock>,
    norm: RmsNorm,
    rotary: RotaryEncoding,
}

impl SmolLm {
    const WIDTH: usize = 576;

    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).with_bias(false).init(device);
        let norm = || RmsNormConfig::new(Self::WIDTH).init(device);
        let block = |_| LlamaBlock {
            norm1: norm(),
            q: linear(576, 576),
            k: linear(576, 192),
            v: linear(576, 192),
            o: linear(576, 576),
            norm2: norm(),
            gate: linear(576, 1536),
            up: linear(576, 1536),
            down: linear(1536, 576),
        };
        Self {
            words: EmbeddingConfig::new(49152, Self::WIDTH).init(device),
            blocks: (0..30).map(block).collect(),
            norm: norm(),
            rotary: RotaryEncodingConfig::new(2048, 64).init(device),
        }
    }

    fn forward(&self, x: Tensor<2, Int>) -> Tensor<2> {
        let h = self.words.forward(x);
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h, [9, 3], &self.rotary));
        self.norm.forward(h).flatten::<2>(0, 1).matmul(self.words.weight.val().transpose())
    }
}

/// A step that trains a model, and returns the loss.
fn training<M: Module + 'static>(
    model: M,
    forward: impl Fn(&M) -> Tensor<2> + 'static,
    classes: Tensor<1, Int>,
    mut optimizer: ModuleOptimizer,
    lr: f64,
) -> Box<dyn FnMut() -> Tensor<1>> {
    let loss = CrossEntropyLossConfig::new().init(&classes.device());
    let mut model = Some(model);
    Box::new(move || {
        let before = model.take().expect("it is put back");
        let loss = loss.forward(forward(&before), classes.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &before);
        model = Some(optimizer.step(lr, before, gradients));
        loss.inner()
    })
}

pub fn step(name: &str, device: &Device) -> Result<Box<dyn FnMut() -> Tensor<1>>, String> {
    let device = &device.clone().autodiff();
    let integers = |count, limit| -> Tensor<1, Int> {
        let integers: Vec<i32> = indices(count, limit).into_iter().map(|index| index as i32).collect();
        Tensor::from_ints(integers.as_slice(), device)
    };
    fn random<const D: usize>(shape: impl Into<Shape>, device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Uniform(0.0, 1.0), device)
    }
    let adam = || AdamConfig::new().with_epsilon(1e-8).init();
    let adamw = || AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init();
    Ok(match name {
        "w2" => {
            let x = random([128, 784], device);
            training(Perceptron::new(device), move |m| m.forward(x.clone()), integers(128, 10), adam(), 1e-3)
        }
        "w3" => {
            let x = random([64, 1, 28, 28], device);
            training(SmallCnn::new(device), move |m| m.forward(x.clone()), integers(64, 10), adam(), 1e-3)
        }
        "w4" => {
            let x = integers(8 * 128, 96).reshape([8, 128]);
            let model = Gpt::new(96, 128, 128, 4, device);
            training(model, move |m| m.forward(x.clone(), 4), integers(8 * 128, 96), adamw(), 3e-4)
        }
        "w5" => {
            let x = random([4, 3, 224, 224], device);
            let momentum = MomentumConfig::new().with_dampening(0.0);
            let sgd = SgdConfig::new().with_momentum(Some(momentum)).init();
            training(ResNet50::new(device), move |m| m.forward(x.clone()), integers(4, 1000), sgd, 0.01)
        }
        "w6" => {
            let x = integers(128, 49152).reshape([1, 128]);
            training(SmolLm::new(device), move |m| m.forward(x.clone()), integers(128, 49152), adamw(), 1e-4)
        }
        _ => return Err(format!("{name} is not written for burn")),
    })
}
