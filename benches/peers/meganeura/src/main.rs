//! The kernels and training steps of `wgrad bench` in meganeura, on the GPU that blade finds.
//!
//! A kernel is a graph of its own, run by an inference session; gradients are the nodes that meganeura's autodiff would
//! add. Sessions are tuned (`Session::tune`) before they are timed.

#[path = "../../protocol.rs"]
mod protocol;

use meganeura::graph::Op;
use meganeura::models::smollm2;
use meganeura::{Graph, Mode, NodeId, Session, SessionConfig, TensorType, build, nn};
use protocol::{Convolution, Measured, indices, lookup, sizes};

const EPSILON: f32 = 1e-5;

fn random(count: usize) -> Vec<f32> {
    // Weyl's sequence: no pattern that a kernel could gain by.
    (0..count).map(|place| (place as f64 * 0.618_033_988_749_895).fract() as f32 * 2.0 - 1.0).collect()
}

fn session(graph: &Graph, mode: Mode) -> Session {
    build(graph, SessionConfig { mode, tune: true, ..Default::default() }).0
}

/// A graph that is being written, with the values of its leaves.
struct Case {
    graph: Graph,
    numbers: Vec<(String, usize)>,
    indices: Vec<(String, Vec<u32>)>,
}

impl Case {
    fn new() -> Self {
        Self { graph: Graph::new(), numbers: Vec::new(), indices: Vec::new() }
    }

    /// A tensor of random numbers.
    fn leaf(&mut self, shape: &[usize]) -> NodeId {
        let name = format!("x{}", self.numbers.len());
        self.numbers.push((name.clone(), shape.iter().product()));
        self.graph.input(&name, shape)
    }

    fn indices(&mut self, count: usize, limit: usize) -> NodeId {
        let name = format!("ids{}", self.indices.len());
        self.indices.push((name.clone(), indices(count, limit)));
        self.graph.input_u32(&name, &[count])
    }

    fn outputs(mut self, outputs: Vec<NodeId>) -> Session {
        self.graph.set_outputs(outputs);
        let mut session = session(&self.graph, Mode::Inference);
        self.numbers.iter().for_each(|(name, count)| session.set_input(name, &random(*count)));
        self.indices.iter().for_each(|(name, indices)| session.set_input_u32(name, indices));
        session
    }
}

fn matmul(kernel: &str, [m, k, n]: [usize; 3]) -> Session {
    let mut case = Case::new();
    let a = case.leaf(&if kernel.ends_with("_tn") || kernel.ends_with("_tt") { [k, m] } else { [m, k] });
    let b = case.leaf(&if kernel.ends_with("_nt") || kernel.ends_with("_tt") { [n, k] } else { [k, n] });
    let g = &mut case.graph;
    let y = match kernel {
        "matmul_tn" => g.matmul_at(a, b),
        "matmul_nt" => g.matmul_bt(a, b),
        // There is no product of two transposed matrices, but (ba)ᵀ is one.
        "matmul_tt" => {
            let product = g.matmul(b, a);
            g.transpose(product)
        }
        _ => g.matmul(a, b),
    };
    case.outputs(vec![y])
}

fn convolution(kernel: &str, c: Convolution) -> Result<Session, String> {
    let mut case = Case::new();
    let flat = |sizes: [usize; 4]| [sizes.iter().product::<usize>()];
    let [batch, ci, ih, iw] = c.x.map(|size| size as u32);
    let [co, _, kh, kw] = c.weight.map(|size| size as u32);
    let (stride, pad) = (c.stride as u32, c.padding as u32);
    let y = match kernel {
        "convolution" => {
            let (x, w) = (case.leaf(&flat(c.x)), case.leaf(&flat(c.weight)));
            if c.groups > 1 {
                case.graph.conv2d_dw(x, w, batch, ci, ih, iw, kh, kw, stride, pad, pad)
            } else {
                case.graph.conv2d(x, w, batch, ci, ih, iw, co, kh, kw, stride, pad)
            }
        }
        _ if c.groups > 1 => return Err("meganeura has no gradient of depthwise convolutions".into()),
        "convolution_input_gradient" => {
            let (dy, w) = (case.leaf(&flat(c.y)), case.leaf(&flat(c.weight)));
            case.graph.conv2d_grad_input(dy, w, batch, ci, ih, iw, co, kh, kw, stride, pad, pad)
        }
        _ => {
            let (dy, x) = (case.leaf(&flat(c.y)), case.leaf(&flat(c.x)));
            case.graph.conv2d_grad_weight(dy, x, ci, ih, iw, co, kh, kw, stride, pad, pad)
        }
    };
    Ok(case.outputs(vec![y]))
}

fn attention(kernel: &str, [batch, length, heads, size]: [usize; 4]) -> Result<Session, String> {
    if batch != 1 {
        return Err("meganeura's attention is of one sequence".into());
    }
    let mut case = Case::new();
    let shape = [length, heads * size];
    let (q, k, v) = (case.leaf(&shape), case.leaf(&shape), case.leaf(&shape));
    let (num_heads, head_dim) = (heads as u32, size as u32);
    let y = case.graph.causal_attention(q, k, v, num_heads, num_heads, head_dim);
    let mut outputs = vec![y];
    if kernel == "attention_with_gradients" {
        let dy = case.leaf(&shape);
        let (fwd_node, num_kv_heads, is_cross) = (y, num_heads, false);
        for op in [
            Op::MultiHeadAttnGradQ { fwd_node, num_heads, num_kv_heads, head_dim, is_cross },
            Op::MultiHeadAttnGradK { fwd_node, num_heads, num_kv_heads, head_dim, is_cross },
            Op::MultiHeadAttnGradV { fwd_node, num_heads, num_kv_heads, head_dim, is_cross },
        ] {
            outputs.push(case.graph.add_raw_node(op, vec![dy, q, k, v], TensorType::f32(shape.to_vec())));
        }
    }
    Ok(case.outputs(outputs))
}

fn norm(kernel: &str, [rows, columns]: [usize; 2]) -> Session {
    let mut case = Case::new();
    let (x, w, b) = (case.leaf(&[rows, columns]), case.leaf(&[columns]), case.leaf(&[columns]));
    let dy = case.leaf(&[rows, columns]);
    let g = &mut case.graph;
    let outputs = match kernel {
        "layer_norm" => vec![g.layer_norm(x, w, b, EPSILON)],
        "rms_norm" => vec![g.rms_norm(x, w, EPSILON)],
        "layer_norm_with_gradients" => vec![
            g.layer_norm(x, w, b, EPSILON),
            g.layer_norm_grad_x(dy, x, w, EPSILON),
            g.layer_norm_grad_wb(dy, x, w, EPSILON),
            g.sum_rows(dy, &TensorType::f32(vec![columns])),
        ],
        _ => {
            vec![g.rms_norm(x, w, EPSILON), g.rms_norm_grad_x(dy, x, w, EPSILON), g.rms_norm_grad_w(dy, x, w, EPSILON)]
        }
    };
    case.outputs(outputs)
}

/// The classes are rows with a single one, which is what meganeura's loss takes.
fn one_hot(rows: usize, classes: usize) -> Vec<f32> {
    let mut y = vec![0.0; rows * classes];
    indices(rows, classes).into_iter().enumerate().for_each(|(row, class)| y[row * classes + class as usize] = 1.0);
    y
}

fn cross_entropy(kernel: &str, [rows, classes]: [usize; 2]) -> Session {
    let mut case = Case::new();
    let x = case.leaf(&[rows, classes]);
    let y = case.graph.input("y", &[rows, classes]);
    let mut outputs = vec![case.graph.cross_entropy_loss(x, y)];
    if kernel == "cross_entropy_with_gradient" {
        let shape = TensorType::f32(vec![rows, classes]);
        outputs.push(case.graph.add_raw_node(Op::CrossEntropyLogitsGrad, vec![x, y], shape));
    }
    let mut session = case.outputs(outputs);
    session.set_input("y", &one_hot(rows, classes));
    session
}

fn embedding(kernel: &str, [tokens, words, width]: [usize; 3]) -> Session {
    let mut case = Case::new();
    let ids = case.indices(tokens, words);
    let y = if kernel == "embedding" {
        let table = case.leaf(&[words, width]);
        case.graph.embedding(ids, table)
    } else {
        let dy = case.leaf(&[tokens, width]);
        case.graph.scatter_add(ids, dy, words)
    };
    case.outputs(vec![y])
}

fn elements(kernel: &str, count: usize) -> Session {
    let mut case = Case::new();
    let a = case.leaf(&[count]);
    let y = match kernel {
        "multiply_add" => {
            let (b, c) = (case.leaf(&[count]), case.leaf(&[count]));
            let product = case.graph.mul(a, b);
            case.graph.add(product, c)
        }
        "relu" => case.graph.relu(a),
        "tanh" => case.graph.tanh(a),
        "exp" => case.graph.exp(a),
        _ => case.graph.sum_all(a),
    };
    case.outputs(vec![y])
}

fn matrix(kernel: &str, [rows, columns]: [usize; 2]) -> Session {
    let mut case = Case::new();
    let x = case.leaf(&[rows, columns]);
    let g = &mut case.graph;
    let y = match kernel {
        "softmax" => g.softmax(x),
        "sum_rows" => g.sum_inner(x),
        "sum_columns" => g.sum_rows(x, &TensorType::f32(vec![columns])),
        _ => g.transpose(x),
    };
    case.outputs(vec![y])
}

/// A session whose one step has left a gradient for a parameter, so that the optimiser can run alone.
fn adamw(count: usize) -> Session {
    let mut graph = Graph::new();
    let (parameter, d) = (graph.parameter("p", &[count]), graph.input("d", &[count]));
    let product = graph.mul(parameter, d);
    let loss = graph.sum_all(product);
    graph.set_outputs(vec![loss]);
    let mut session = session(&graph, Mode::Training);
    session.set_parameter("p", &random(count));
    session.set_input("d", &random(count));
    session.set_weight_decay(0.01);
    session.step();
    session
}

fn kernel(kernel: &str, shape: &str) -> Result<Session, String> {
    Ok(match kernel {
        "matmul" | "matmul_tn" | "matmul_nt" | "matmul_tt" => matmul(kernel, sizes(shape)?),
        "matmul_batched" => return Err("meganeura has no batched product".into()),
        "convolution" | "convolution_input_gradient" | "convolution_weight_gradient" => {
            convolution(kernel, Convolution::of(shape)?)?
        }
        "attention" | "attention_with_gradients" => attention(kernel, sizes(shape)?)?,
        "layer_norm" | "rms_norm" | "layer_norm_with_gradients" | "rms_norm_with_gradients" => {
            norm(kernel, sizes(shape)?)
        }
        "cross_entropy" | "cross_entropy_with_gradient" => cross_entropy(kernel, sizes(shape)?),
        "embedding" | "embedding_gradient" => embedding(kernel, lookup(shape)?),
        "gelu" => return Err("meganeura's gelu is an approximation".into()),
        "multiply_add" | "relu" | "tanh" | "exp" | "sum" => {
            let [count] = sizes(shape)?;
            elements(kernel, count)
        }
        "softmax" | "sum_rows" | "sum_columns" | "transpose" => matrix(kernel, sizes(shape)?),
        _ => return Err(format!("there is no {kernel} here")),
    })
}

fn perceptron() -> Session {
    let mut g = Graph::new();
    let (x, labels) = (g.input("x", &[128, 784]), g.input("labels", &[128, 10]));
    let mut h = x;
    for (layer, [inputs, outputs]) in [[784, 512], [512, 256], [256, 10]].into_iter().enumerate() {
        h = nn::Linear::new(&mut g, &layer.to_string(), inputs, outputs).forward(&mut g, h);
        h = if layer < 2 { g.relu(h) } else { h };
    }
    let loss = g.cross_entropy_loss(h, labels);
    g.set_outputs(vec![loss]);
    let mut session = session(&g, Mode::Training);
    session.set_input("x", &random(128 * 784));
    session.set_input("labels", &one_hot(128, 10));
    session.set_adam(1e-3, 0.9, 0.999, 1e-8);
    session
}

fn smollm2_135m() -> Session {
    let config = smollm2::SmolLM2Config::smollm2_135m();
    let mut session = session(&smollm2::build_training_graph(&config, 128), Mode::Training);
    session.set_input_u32("token_ids", &indices(128, config.vocab_size));
    session.set_input("labels", &one_hot(128, config.vocab_size));
    session.set_adam(1e-4, 0.9, 0.999, 1e-8);
    session.set_weight_decay(0.01);
    session
}

fn step(name: &str) -> Result<Session, String> {
    let mut session = match name {
        "w2" => perceptron(),
        "w3" => return Err("meganeura's gradient of max pooling is an approximation by the mean".into()),
        "w4" => return Err("meganeura's attention is of one sequence, and its gelu an approximation".into()),
        "w5" => return Err("meganeura has no batch norm that trains".into()),
        "w6" => smollm2_135m(),
        _ => return Err(format!("{name} is not written for meganeura")),
    };
    for name in session.param_names().into_iter().map(String::from).collect::<Vec<_>>() {
        let count = session.param_size(&name).expect("it is a parameter");
        session.set_parameter(&name, &random(count).iter().map(|x| x * 0.03).collect::<Vec<_>>());
    }
    Ok(session)
}

fn measure(name: &str, shape: &str) -> Measured {
    let mut session = match name {
        "step" => step(shape)?,
        "adamw" => {
            let [count] = sizes(shape)?;
            adamw(count)
        }
        _ => kernel(name, shape)?,
    };
    let session = std::cell::RefCell::new(&mut session);
    let sync = || session.borrow_mut().wait();
    Ok(match name {
        "step" => protocol::steps(|| session.borrow_mut().step(), sync),
        "adamw" => protocol::timed(|| session.borrow_mut().adam_step(1e-3, 0.9, 0.999, 1e-8), sync),
        _ => protocol::timed(|| session.borrow_mut().step(), sync),
    })
}

fn main() {
    protocol::keep_memory();
    protocol::serve("meganeura", "0.3.0", protocol::threads(), measure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matmul_is_a_product_of_matrices() {
        let mut session = kernel("matmul", "33x17x29").unwrap();
        session.step();
        session.wait();
        let wanted = protocol::product(&random(33 * 17), &random(17 * 29), [33, 17, 29]);
        protocol::assert_close(&session.read_output(33 * 29), &wanted);
    }

    #[test]
    fn softmax_is_a_softmax_of_rows() {
        let mut session = kernel("softmax", "7x50").unwrap();
        session.step();
        session.wait();
        protocol::assert_close(&session.read_output(350), &protocol::softmax(&random(350), 50));
    }

    #[test]
    fn the_perceptron_learns() {
        let mut session = step("w2").unwrap();
        let mut loss = || {
            session.step();
            session.wait();
            session.read_loss()
        };
        let first = loss();
        assert!((0..10).map(|_| loss()).last().unwrap() < first);
    }
}
