//! The kernels and training steps of `wgrad bench` in burn: `burn-peer flex` on the CPU, `burn-peer wgpu` on a GPU.

#[path = "../../protocol.rs"]
mod protocol;
mod steps;

use burn::backend::{Dispatch, ops::ModuleOps};
use burn::nn::RmsNormConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Shape, Tensor, activation, module};
use protocol::{Convolution, Measured, indices, lookup, sizes};

/// What is timed.
type Call = Box<dyn FnMut()>;

/// A backend's device.
struct Bench {
    device: Device,
}

fn causal() -> AttentionModuleOptions {
    AttentionModuleOptions { is_causal: true, ..Default::default() }
}

impl Bench {
    fn random<const D: usize>(&self, shape: impl Into<Shape>) -> Tensor<D> {
        Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &self.device)
    }

    /// A tensor of which `backward` finds the gradient.
    fn leaf<const D: usize>(&self, shape: impl Into<Shape>) -> Tensor<D> {
        self.random(shape).autodiff().require_grad()
    }

    fn indices(&self, count: usize, limit: usize) -> Tensor<1, Int> {
        let indices: Vec<i32> = indices(count, limit).into_iter().map(|index| index as i32).collect();
        Tensor::from_ints(indices.as_slice(), &self.device)
    }

    /// A call that hands its work to the device while its result is alive: a lazy backend could otherwise leave it
    /// out, or make one launch of several calls.
    fn call<T>(&self, mut make: impl FnMut() -> T + 'static) -> Call {
        let device = self.device.clone();
        Box::new(move || {
            let result = make();
            device.flush().expect("the device works");
            drop(result);
        })
    }

    fn sync(&self) {
        self.device.sync().expect("the device works");
    }

    fn matmul(&self, kernel: &str, [m, k, n]: [usize; 3]) -> Call {
        let turned = |rows, columns, turn: bool| -> Tensor<2> {
            if turn { self.random([columns, rows]).transpose() } else { self.random([rows, columns]) }
        };
        let a = turned(m, k, kernel.ends_with("_tn") || kernel.ends_with("_tt"));
        let b = turned(k, n, kernel.ends_with("_nt") || kernel.ends_with("_tt"));
        self.call(move || a.clone().matmul(b.clone()))
    }

    fn matmul_batched(&self, [s, m, k, n]: [usize; 4]) -> Call {
        let (a, b): (Tensor<3>, Tensor<3>) = (self.random([s, m, k]), self.random([s, k, n]));
        self.call(move || a.clone().matmul(b.clone()))
    }

    fn convolution(&self, kernel: &str, c: Convolution) -> Call {
        let (x, w, dy): (Tensor<4>, Tensor<4>, Tensor<4>) = (self.random(c.x), self.random(c.weight), self.random(c.y));
        let options = ConvOptions::new([c.stride; 2], [c.padding; 2], [1, 1], c.groups);
        match kernel {
            "convolution" => self.call(move || module::conv2d(x.clone(), w.clone(), None, options.clone())),
            "convolution_weight_gradient" => {
                self.call(move || module::conv2d_weight_backward(x.clone(), w.clone(), dy.clone(), options.clone()))
            }
            // What autodiff calls, which has no function of tensors.
            _ => {
                let [x, w, dy] = [x, w, dy].map(Tensor::into_dispatch);
                self.call(move || Dispatch::conv2d_x_backward(x.clone(), w.clone(), dy.clone(), options.clone()))
            }
        }
    }

    fn attention(&self, kernel: &str, [batch, length, heads, size]: [usize; 4]) -> Call {
        let shape = [batch, heads, length, size];
        let attend =
            |[q, k, v]: &[Tensor<4>; 3]| module::attention(q.clone(), k.clone(), v.clone(), None, None, causal());
        if kernel == "attention" {
            let qkv = [(); 3].map(|()| self.random(shape));
            return self.call(move || attend(&qkv));
        }
        let qkv = [(); 3].map(|()| self.leaf(shape));
        self.call(move || attend(&qkv).backward())
    }

    /// Lines with gradients begin with ones as the gradient of the output.
    fn norm(&self, kernel: &str, [rows, columns]: [usize; 2]) -> Call {
        const EPSILON: f64 = 1e-5;
        let with_gradients = kernel.ends_with("_with_gradients");
        let x: Tensor<2> = if with_gradients { self.leaf([rows, columns]) } else { self.random([rows, columns]) };
        if kernel.starts_with("rms_norm") {
            let device = if with_gradients { self.device.clone().autodiff() } else { self.device.clone() };
            let norm = RmsNormConfig::new(columns).with_epsilon(EPSILON).init(&device);
            if with_gradients {
                return self.call(move || norm.forward(x.clone()).backward());
            }
            return self.call(move || norm.forward(x.clone()));
        }
        if with_gradients {
            let (w, b): (Tensor<1>, Tensor<1>) = (self.leaf([columns]), self.leaf([columns]));
            return self.call(move || module::layer_norm(x.clone(), w.clone(), Some(b.clone()), EPSILON).backward());
        }
        let (w, b): (Tensor<1>, Tensor<1>) = (self.random([columns]), self.random([columns]));
        self.call(move || module::layer_norm(x.clone(), w.clone(), Some(b.clone()), EPSILON))
    }

    fn cross_entropy(&self, kernel: &str, [rows, classes]: [usize; 2]) -> Call {
        let y = self.indices(rows, classes);
        if kernel == "cross_entropy" {
            let (x, y): (Tensor<2>, _) = (self.random([rows, classes]), y.unsqueeze_dim::<2>(1));
            return self.call(move || activation::log_softmax(x.clone(), 1).gather(1, y.clone()).neg());
        }
        let (x, y) = (self.leaf([rows, classes]), y.autodiff());
        let loss = CrossEntropyLossConfig::new().init(&self.device.clone().autodiff());
        self.call(move || loss.forward(x.clone(), y.clone()).backward())
    }

    fn embedding(&self, kernel: &str, [tokens, words, width]: [usize; 3]) -> Call {
        let ids = self.indices(tokens, words);
        if kernel == "embedding" {
            let (table, ids) = (self.random([words, width]), ids.unsqueeze::<2>());
            return self.call(move || module::embedding(table.clone(), ids.clone()));
        }
        let (dy, device) = (self.random([tokens, width]), self.device.clone());
        self.call(move || {
            let zeros = Tensor::<2>::zeros([words, width], &device);
            zeros.select_assign(0, ids.clone(), dy.clone(), IndexingUpdateOp::Add)
        })
    }

    fn elements(&self, kernel: &str, count: usize) -> Call {
        let [a, b, c]: [Tensor<1>; 3] = [(); 3].map(|()| self.random([count]));
        match kernel {
            "multiply_add" => self.call(move || a.clone() * b.clone() + c.clone()),
            "relu" => self.call(move || activation::relu(a.clone())),
            "gelu" => self.call(move || activation::gelu(a.clone())),
            "tanh" => self.call(move || a.clone().tanh()),
            "exp" => self.call(move || a.clone().exp()),
            "sum" => self.call(move || a.clone().sum()),
            _ => {
                let optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).build();
                let mut parameter = Some((a, None));
                // The parameter and the moments are moved in and out, so burn may write over them.
                self.call(move || {
                    let (value, state) = parameter.take().expect("it is put back");
                    parameter = Some(optimizer.step(1e-3, value, b.clone(), state));
                })
            }
        }
    }

    fn matrix(&self, kernel: &str, [rows, columns]: [usize; 2]) -> Call {
        let x: Tensor<2> = self.random([rows, columns]);
        match kernel {
            "softmax" => self.call(move || activation::softmax(x.clone(), 1)),
            "sum_rows" => self.call(move || x.clone().sum_dim(1)),
            "sum_columns" => self.call(move || x.clone().sum_dim(0)),
            // A transpose alone is a view; one list of all elements has to have them in order.
            _ => self.call(move || x.clone().transpose().reshape([rows * columns])),
        }
    }

    fn kernel(&self, kernel: &str, shape: &str) -> Result<Call, String> {
        Ok(match kernel {
            "matmul" | "matmul_tn" | "matmul_nt" | "matmul_tt" => self.matmul(kernel, sizes(shape)?),
            "matmul_batched" => self.matmul_batched(sizes(shape)?),
            "convolution" | "convolution_input_gradient" | "convolution_weight_gradient" => {
                self.convolution(kernel, Convolution::of(shape)?)
            }
            "attention" | "attention_with_gradients" => self.attention(kernel, sizes(shape)?),
            "layer_norm" | "rms_norm" | "layer_norm_with_gradients" | "rms_norm_with_gradients" => {
                self.norm(kernel, sizes(shape)?)
            }
            "cross_entropy" | "cross_entropy_with_gradient" => self.cross_entropy(kernel, sizes(shape)?),
            "embedding" | "embedding_gradient" => self.embedding(kernel, lookup(shape)?),
            "multiply_add" | "relu" | "gelu" | "tanh" | "exp" | "sum" | "adamw" => {
                let [count] = sizes(shape)?;
                self.elements(kernel, count)
            }
            "softmax" | "sum_rows" | "sum_columns" | "transpose" => self.matrix(kernel, sizes(shape)?),
            _ => return Err(format!("there is no {kernel} here")),
        })
    }

    fn measure(&self, kernel: &str, shape: &str) -> Measured {
        if kernel == "step" {
            let mut step = steps::step(shape, &self.device)?;
            return Ok(protocol::steps(|| drop(step()), || self.sync()));
        }
        Ok(protocol::timed(self.kernel(kernel, shape)?, || self.sync()))
    }
}

fn device(backend: &str) -> Option<Device> {
    match backend {
        "flex" => Some(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        _ => None,
    }
}

fn main() {
    let backend = std::env::args().nth(1).unwrap_or_default();
    let Some(device) = device(&backend) else {
        eprintln!("usage: burn-peer flex|wgpu (wgpu where built with --features wgpu)");
        std::process::exit(2);
    };
    let threads = protocol::threads();
    protocol::keep_memory();
    // SAFETY: no other thread has begun.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    let bench = Bench { device };
    protocol::serve(&format!("burn-{backend}"), "0.22.1", threads, |kernel, shape| bench.measure(kernel, shape));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn benches() -> impl Iterator<Item = Bench> {
        ["flex", "wgpu"].into_iter().filter_map(device).map(|device| Bench { device })
    }

    fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn matmul_is_a_product_of_matrices() {
        for bench in benches() {
            let (a, b): (Tensor<2>, Tensor<2>) = (bench.random([33, 17]), bench.random([29, 17]));
            let b = b.transpose();
            let wanted = protocol::product(&numbers(a.clone()), &numbers(b.clone()), [33, 17, 29]);
            protocol::assert_close(&numbers(a.matmul(b)), &wanted);
        }
    }

    #[test]
    fn softmax_is_a_softmax_of_rows() {
        for bench in benches() {
            let x: Tensor<2> = bench.random([7, 50]);
            let wanted = protocol::softmax(&numbers(x.clone()), 50);
            protocol::assert_close(&numbers(activation::softmax(x, 1)), &wanted);
        }
    }

    #[test]
    fn steps_learn() {
        for bench in benches() {
            for name in ["w2", "w3", "w4"] {
                let mut step = steps::step(name, &bench.device).unwrap();
                let mut loss = || step().into_scalar::<f32>();
                let first = loss();
                assert!((0..10).map(|_| loss()).last().unwrap() < first, "{name}");
            }
        }
    }
}
