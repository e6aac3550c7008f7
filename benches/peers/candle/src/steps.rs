//! The training steps, in the form that candle's own examples have.

use crate::protocol::{self, Measured};
use crate::{CPU, attend, causal_mask, composed_softmax};
use candle_core::{DType, Result, Tensor};
use candle_nn::{
    AdamW, Conv2d, Conv2dConfig, Embedding, Init, Linear, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, conv2d,
    embedding, linear, linear_no_bias, loss, ops,
};

/// A model with its input: a step's logits.
type Forward = Box<dyn Fn() -> Result<Tensor>>;

fn perceptron(root: VarBuilder) -> Result<Forward> {
    let layers = [linear(784, 512, root.pp("0"))?, linear(512, 256, root.pp("1"))?, linear(256, 10, root.pp("2"))?];
    let x = Tensor::rand(0f32, 1f32, (128, 784), CPU)?;
    Ok(Box::new(move || layers[2].forward(&layers[1].forward(&layers[0].forward(&x)?.relu()?)?.relu()?)))
}

fn small_cnn(root: VarBuilder) -> Result<Forward> {
    let padded = Conv2dConfig { padding: 1, ..Default::default() };
    let convolutions: [Conv2d; 2] = [conv2d(1, 32, 3, padded, root.pp("0"))?, conv2d(32, 64, 3, padded, root.pp("1"))?];
    let head = [linear(3136, 128, root.pp("2"))?, linear(128, 10, root.pp("3"))?];
    let x = Tensor::rand(0f32, 1f32, (64, 1, 28, 28), CPU)?;
    Ok(Box::new(move || {
        let mut h = x.clone();
        for convolution in &convolutions {
            h = convolution.forward(&h)?.relu()?.max_pool2d(2)?;
        }
        head[1].forward(&head[0].forward(&h.flatten_from(1)?)?.relu()?)
    }))
}

/// candle's layer norm module has no gradient.
struct Norm(Tensor, Tensor);

impl Norm {
    fn new(width: usize, root: VarBuilder) -> Result<Self> {
        let parameter = |name, value| root.get_with_hints(width, name, Init::Const(value));
        Ok(Self(parameter("weight", 1.0)?, parameter("bias", 0.0)?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(x, &self.0, &self.1, 1e-5)
    }
}

struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    o: Linear,
    f1: Linear,
    f2: Linear,
}

impl Block {
    fn new(width: usize, root: VarBuilder) -> Result<Self> {
        Ok(Self {
            norms: [Norm::new(width, root.pp("ln1"))?, Norm::new(width, root.pp("ln2"))?],
            qkv: linear(width, 3 * width, root.pp("qkv"))?,
            o: linear(width, width, root.pp("o"))?,
            f1: linear(width, 4 * width, root.pp("f1"))?,
            f2: linear(4 * width, width, root.pp("f2"))?,
        })
    }

    fn forward(&self, h: Tensor, heads: usize, mask: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = h.dims3()?;
        // (3, batch, heads, length, size)
        let qkv = self.qkv.forward(&self.norms[0].forward(&h)?)?;
        let qkv = qkv.reshape((batch, length, 3, heads, width / heads))?.permute((2, 0, 3, 1, 4))?;
        let [q, k, v] = [0, 1, 2].map(|which| qkv.get(which)?.contiguous());
        let y = attend(&q?, &k?, &v?, mask, composed_softmax)?.transpose(1, 2)?.reshape((batch, length, width))?;
        let h = (h + self.o.forward(&y)?)?;
        let y = self.f1.forward(&self.norms[1].forward(&h)?)?.gelu_erf()?;
        h + self.f2.forward(&y)?
    }
}

fn small_gpt(x: Tensor, root: VarBuilder) -> Result<Forward> {
    const WORDS: usize = 96;
    const LENGTH: usize = 128;
    const WIDTH: usize = 128;
    const HEADS: usize = 4;
    let words: Embedding = embedding(WORDS, WIDTH, root.pp("te"))?;
    let places: Embedding = embedding(LENGTH, WIDTH, root.pp("pe"))?;
    let blocks = (0..4).map(|layer| Block::new(WIDTH, root.pp(layer))).collect::<Result<Vec<_>>>()?;
    let (norm, head) = (Norm::new(WIDTH, root.pp("ln"))?, linear_no_bias(WIDTH, WORDS, root.pp("head"))?);
    let mask = causal_mask(LENGTH)?;
    Ok(Box::new(move || {
        let mut h = words.forward(&x)?.broadcast_add(places.embeddings())?;
        for block in &blocks {
            h = block.forward(h, HEADS, &mask)?;
        }
        head.forward(&norm.forward(&h)?)?.flatten_to(1)
    }))
}

fn step(name: &str) -> Result<Option<impl FnMut() -> Result<Tensor>>> {
    let variables = VarMap::new();
    let root = VarBuilder::from_varmap(&variables, DType::F32, CPU);
    let integers = |count: usize, limit: u32| Tensor::from_iter((0..count as u32).map(|i| i * 7 % limit), CPU);
    let (forward, y, lr, weight_decay) = match name {
        "w2" => (perceptron(root)?, integers(128, 10)?, 1e-3, 0.0),
        "w3" => (small_cnn(root)?, integers(64, 10)?, 1e-3, 0.0),
        "w4" => (small_gpt(integers(8 * 128, 96)?.reshape((8, 128))?, root)?, integers(8 * 128, 96)?, 3e-4, 0.01),
        _ => return Ok(None),
    };
    // AdamW without decay is Adam.
    let settings = ParamsAdamW { lr, weight_decay, ..Default::default() };
    let mut optimizer = AdamW::new(variables.all_vars(), settings)?;
    Ok(Some(move || {
        let loss = loss::cross_entropy(&forward()?, &y)?;
        optimizer.backward_step(&loss)?;
        Ok(loss)
    }))
}

pub fn measure(name: &str) -> Measured {
    let mut step = match step(name).map_err(|error| error.to_string())? {
        Some(step) => step,
        None if name == "w5" => {
            return Err("candle's max pooling has no gradient where windows overlap, and its SGD no momentum".into());
        }
        None => return Err(format!("{name} is not written for candle")),
    };
    step().map_err(|error| error.to_string())?;
    Ok(protocol::steps(|| drop(step().expect("it could before")), || ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_learn() {
        for name in ["w2", "w3", "w4"] {
            let mut step = step(name).unwrap().unwrap();
            let first = step().unwrap().to_scalar::<f32>().unwrap();
            (0..10).for_each(|_| drop(step().unwrap()));
            assert!(step().unwrap().to_scalar::<f32>().unwrap() < first, "{name}");
        }
    }
}
