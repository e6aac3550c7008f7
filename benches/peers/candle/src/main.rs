//! The kernels and training steps of `wgrad bench` in candle on the CPU.
//!
//! candle's fused softmax and norms have no gradient, so a line with gradients uses its composed ones.

#[path = "../../protocol.rs"]
mod protocol;
mod steps;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Shape, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ops};
use protocol::{Convolution, Measured, indices, lookup, sizes};

const CPU: &Device = &Device::Cpu;

/// What is timed. It returns its result so that nothing of it can be left out.
type Call = Box<dyn FnMut() -> Result<Tensor>>;

fn random(shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::rand(-1f32, 1f32, shape, CPU)
}

fn variable(shape: impl Into<Shape>) -> Result<Var> {
    Var::from_tensor(&random(shape)?)
}

/// The gradient of one variable, after all that a loss depends on were computed. As the loss need not be a single
/// number, the gradient that comes from above is ones.
fn gradient(y: &Tensor, of: &Var) -> Result<Tensor> {
    let mut gradients: GradStore = y.backward()?;
    Ok(gradients.remove(of).expect("y depends on it"))
}

fn matmul(kernel: &str, [m, k, n]: [usize; 3]) -> Result<Call> {
    let turned = |rows, columns, turn: bool| if turn { random((columns, rows))?.t() } else { random((rows, columns)) };
    let a = turned(m, k, kernel.ends_with("_tn") || kernel.ends_with("_tt"))?;
    let b = turned(k, n, kernel.ends_with("_nt") || kernel.ends_with("_tt"))?;
    Ok(Box::new(move || a.matmul(&b)))
}

fn matmul_batched([s, m, k, n]: [usize; 4]) -> Result<Call> {
    let (a, b) = (random((s, m, k))?, random((s, k, n))?);
    Ok(Box::new(move || a.matmul(&b)))
}

/// The gradients are those expressions that candle's `backward` evaluates, without the convolution before them.
fn convolution(kernel: &str, c: Convolution) -> Result<Call> {
    let (x, weight, dy) = (random(&c.x)?, random(&c.weight)?, random(&c.y)?);
    let (stride, padding) = (c.stride, c.padding);
    if kernel == "convolution" {
        return Ok(Box::new(move || x.conv2d(&weight, padding, stride, 1, c.groups)));
    }
    Ok(match kernel {
        "convolution_input_gradient" => Box::new(move || input_gradient(&weight, &dy, &c)),
        _ => Box::new(move || weight_gradient(&x, &dy, &c)),
    })
}

fn input_gradient(weight: &Tensor, dy: &Tensor, c: &Convolution) -> Result<Tensor> {
    let rest = c.x[2] - ((c.y[2] - 1) * c.stride + c.weight[2] - 2 * c.padding);
    let group = |(weight, dy): (&Tensor, Tensor)| dy.conv_transpose2d(weight, c.padding, rest, c.stride, 1);
    let groups =
        weight.chunk(c.groups, 0)?.iter().zip(dy.chunk(c.groups, 1)?).map(group).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&groups, 1)
}

fn weight_gradient(x: &Tensor, dy: &Tensor, c: &Convolution) -> Result<Tensor> {
    let group = |(x, dy): (&Tensor, Tensor)| {
        let dw = x.transpose(0, 1)?.conv2d(&dy.transpose(0, 1)?, c.padding, 1, c.stride, 1)?.transpose(0, 1)?;
        dw.narrow(2, 0, c.weight[2])?.narrow(3, 0, c.weight[3])?.contiguous()
    };
    let groups = x.chunk(c.groups, 1)?.iter().zip(dy.chunk(c.groups, 1)?).map(group).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&groups, 0)
}

/// Attention of composed operations, which takes a quarter of the time of `candle_nn::attention::flash_attn` at 512
/// tokens and more. (batch, heads, length, size)
fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    softmax: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let scale = 1.0 / (q.dim(3)? as f64).sqrt();
    let scores = (q.matmul(&k.t()?)? * scale)?.broadcast_add(mask)?;
    softmax(&scores)?.matmul(v)
}

/// The softmax that has a gradient.
fn composed_softmax(x: &Tensor) -> Result<Tensor> {
    ops::softmax(x, D::Minus1)
}

/// Zeros where a query may look, minus infinity at what comes after it.
fn causal_mask(length: usize) -> Result<Tensor> {
    let element = |place: usize| if place % length > place / length { f32::NEG_INFINITY } else { 0.0 };
    Tensor::from_iter((0..length * length).map(element), CPU)?.reshape((length, length))
}

fn attention(kernel: &str, [batch, length, heads, size]: [usize; 4]) -> Result<Call> {
    if kernel == "attention" {
        let [q, k, v] = [(); 3].map(|()| random((batch, heads, length, size)));
        let (q, k, v, mask) = (q?, k?, v?, causal_mask(length)?);
        return Ok(Box::new(move || attend(&q, &k, &v, &mask, ops::softmax_last_dim)));
    }
    let [q, k, v] = [(); 3].map(|()| variable((batch, heads, length, size)));
    let (q, k, v, mask) = (q?, k?, v?, causal_mask(length)?);
    Ok(Box::new(move || gradient(&attend(&q, &k, &v, &mask, composed_softmax)?, &q)))
}

fn norm(kernel: &str, [rows, columns]: [usize; 2]) -> Result<Call> {
    const EPSILON: f32 = 1e-5;
    let (x, w, b) = (variable((rows, columns))?, variable(columns)?, variable(columns)?);
    Ok(match kernel {
        "layer_norm" => Box::new(move || ops::layer_norm(&x, &w, &b, EPSILON)),
        "rms_norm" => Box::new(move || ops::rms_norm(&x, &w, EPSILON)),
        "layer_norm_with_gradients" => Box::new(move || gradient(&ops::layer_norm_slow(&x, &w, &b, EPSILON)?, &x)),
        _ => Box::new(move || gradient(&ops::rms_norm_slow(&x, &w, EPSILON)?, &x)),
    })
}

fn cross_entropy(kernel: &str, [rows, classes]: [usize; 2]) -> Result<Call> {
    let x = random((rows, classes))?;
    let y = Tensor::new(indices(rows, classes), CPU)?;
    if kernel == "cross_entropy" {
        let y = y.unsqueeze(1)?;
        return Ok(Box::new(move || ops::log_softmax(&x, 1)?.gather(&y, 1)?.neg()));
    }
    let x = Var::from_tensor(&x)?;
    Ok(Box::new(move || gradient(&candle_nn::loss::cross_entropy(&x, &y)?, &x)))
}

fn embedding(kernel: &str, [tokens, words, width]: [usize; 3]) -> Result<Call> {
    let ids = Tensor::new(indices(tokens, words), CPU)?;
    if kernel == "embedding" {
        let table = random((words, width))?;
        return Ok(Box::new(move || table.embedding(&ids)));
    }
    let dy = random((tokens, width))?;
    Ok(Box::new(move || Tensor::zeros((words, width), DType::F32, CPU)?.index_add(&ids, &dy, 0)))
}

fn elements(kernel: &str, count: usize) -> Result<Call> {
    let (a, b, c) = (random(count)?, random(count)?, random(count)?);
    Ok(match kernel {
        "multiply_add" => Box::new(move || (&a * &b)? + &c),
        "relu" => Box::new(move || a.relu()),
        "gelu" => Box::new(move || a.gelu_erf()),
        "tanh" => Box::new(move || a.tanh()),
        "exp" => Box::new(move || a.exp()),
        "sum" => Box::new(move || a.sum_all()),
        _ => {
            let a = Var::from_tensor(&a)?;
            // A store of gradients comes from `backward` only; the gradient in it is then replaced.
            let mut gradients = a.sum_all()?.backward()?;
            gradients.insert(&a, b);
            let mut optimizer = AdamW::new_lr(vec![a.clone()], 1e-3)?;
            Box::new(move || optimizer.step(&gradients).map(|()| a.as_tensor().clone()))
        }
    })
}

fn matrix(kernel: &str, [rows, columns]: [usize; 2]) -> Result<Call> {
    let x = random((rows, columns))?;
    Ok(match kernel {
        "softmax" => Box::new(move || ops::softmax_last_dim(&x)),
        "sum_rows" => Box::new(move || x.sum(1)),
        "sum_columns" => Box::new(move || x.sum(0)),
        _ => Box::new(move || x.t()?.contiguous()),
    })
}

fn kernel(kernel: &str, shape: &str) -> std::result::Result<Call, String> {
    let call = match kernel {
        "matmul" | "matmul_tn" | "matmul_nt" | "matmul_tt" => matmul(kernel, sizes(shape)?),
        "matmul_batched" => matmul_batched(sizes(shape)?),
        "convolution" | "convolution_input_gradient" | "convolution_weight_gradient" => {
            convolution(kernel, Convolution::of(shape)?)
        }
        "attention" | "attention_with_gradients" => attention(kernel, sizes(shape)?),
        "layer_norm" | "rms_norm" | "layer_norm_with_gradients" | "rms_norm_with_gradients" => {
            norm(kernel, sizes(shape)?)
        }
        "cross_entropy" | "cross_entropy_with_gradient" => cross_entropy(kernel, sizes(shape)?),
        "embedding" | "embedding_gradient" => embedding(kernel, lookup(shape)?),
        "multiply_add" | "relu" | "gelu" | "tanh" | "exp" | "sum" | "adamw" => {
            let [count] = sizes(shape)?;
            elements(kernel, count)
        }
        "softmax" | "sum_rows" | "sum_columns" | "transpose" => matrix(kernel, sizes(shape)?),
        _ => return Err(format!("there is no {kernel} here")),
    };
    call.map_err(|error| error.to_string())
}

fn measure(name: &str, shape: &str) -> Measured {
    if name == "step" {
        return steps::measure(shape);
    }
    let mut call = kernel(name, shape)?;
    // The first call says whether candle can do it.
    call().map_err(|error| error.to_string())?;
    Ok(protocol::timed(|| drop(call().expect("it could before")), || ()))
}

fn main() {
    let threads = protocol::threads();
    protocol::keep_memory();
    // SAFETY: no other thread has begun.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    protocol::serve("candle", "0.11.1", threads, measure);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn matmul_is_a_product_of_matrices() {
        let (a, b) = (random((33, 17)).unwrap(), random((17, 29)).unwrap());
        let wanted = protocol::product(&numbers(&a), &numbers(&b), [33, 17, 29]);
        protocol::assert_close(&numbers(&a.matmul(&b).unwrap()), &wanted);
        let turned = a.t().unwrap().contiguous().unwrap().t().unwrap();
        protocol::assert_close(&numbers(&turned.matmul(&b).unwrap()), &wanted);
    }

    #[test]
    fn softmax_is_a_softmax_of_rows() {
        let x = random((7, 50)).unwrap();
        protocol::assert_close(&numbers(&ops::softmax_last_dim(&x).unwrap()), &protocol::softmax(&numbers(&x), 50));
    }

    #[test]
    fn gradients_of_a_convolution_are_those_of_backward() {
        for shape in ["2x3x12x12 4x3x3x3 stride 2", "2x4x9x9 4x1x3x3 stride 1 depthwise"] {
            let c = Convolution::of(shape).unwrap();
            let (x, weight) = (variable(&c.x).unwrap(), variable(&c.weight).unwrap());
            let y = x.conv2d(&weight, c.padding, c.stride, 1, c.groups).unwrap();
            assert_eq!(y.dims(), c.y);
            let (dy, gradients) = (y.ones_like().unwrap(), y.backward().unwrap());
            let wanted = |of: &Var| numbers(gradients.get(of).unwrap());
            protocol::assert_close(&numbers(&input_gradient(&weight, &dy, &c).unwrap()), &wanted(&x));
            protocol::assert_close(&numbers(&weight_gradient(&x, &dy, &c).unwrap()), &wanted(&weight));
        }
    }
}
