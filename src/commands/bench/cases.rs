//! The kernels that `wgrad bench` measures: what the layers of common networks ask for.

use nn_core::ops::{Attention, Convolution};
use nn_core::passes::differentiate;
use nn_core::{DType, Graph, Value, graph};
use nn_train::optim::{AdamW, Optimizer};

/// A tensor that a kernel reads.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Numbers.
    Numbers(Vec<usize>),
    /// Whole numbers below a limit.
    Indices(Vec<usize>, u32),
}

impl Operand {
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Operand::Numbers(shape) | Operand::Indices(shape, _) => shape,
        }
    }
}

/// What is computed of the operands.
type Build = Box<dyn Fn(&[Value]) -> Value>;

/// One measurement.
pub(super) struct Case {
    pub(super) kernel: &'static str,
    pub(super) shape: String,
    pub(super) operands: Vec<Operand>,
    work: Work,
}

enum Work {
    Forward(Build),
    /// The gradients of Σ y·d with respect to these operands; d is the last operand. What forward leaves for them is
    /// part of it.
    Gradients(Build, Vec<usize>),
    /// AdamW's update of a parameter by a gradient.
    AdamW,
}

/// The name of an operand's state.
pub(super) fn name(operand: usize) -> String {
    format!("x{operand}")
}

impl Case {
    /// Its name in filters.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kernel, self.shape)
    }

    /// The graph, whose states are the operands, and states that begin with zeros.
    pub(super) fn graph(&self) -> Result<(Graph, Vec<(String, nn_core::Shape)>), nn_core::Error> {
        let leaves = |trace: &nn_core::Trace| -> Vec<Value> {
            let leaf = |(place, operand): (usize, &Operand)| {
                let dtype = if matches!(operand, Operand::Numbers(_)) { DType::F32 } else { DType::U32 };
                trace.state(&name(place), dtype, operand.shape())
            };
            self.operands.iter().enumerate().map(leaf).collect()
        };
        match &self.work {
            Work::Forward(build) => {
                let graph = graph::trace(|trace| {
                    trace.output("y", build(&leaves(trace)));
                    Ok(())
                })?;
                Ok((graph, Vec::new()))
            }
            Work::Gradients(build, wanted) => {
                let graph = graph::trace(|trace| {
                    let operands = leaves(trace);
                    let y = build(&operands);
                    let like_y = |d: &Value| d.kind() == y.kind() && operands.len() > 1;
                    let weight = operands.last().copied().filter(like_y);
                    trace.output("loss", weight.map_or(y, |d| y * d).sum_all());
                    Ok(())
                })?;
                let names: Vec<String> = wanted.iter().map(|&operand| name(operand)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let mut graph = differentiate(&graph, "loss", &names)?;
                graph.outputs.retain(|(name, _)| name != "loss");
                Ok((graph, Vec::new()))
            }
            Work::AdamW => {
                let graph = graph::trace(|trace| {
                    let operands = leaves(trace);
                    trace.output("gradient/x0", operands[1]);
                    Ok(())
                })?;
                let parameters = [(name(0), nn_core::Shape::from(self.operands[0].shape()))];
                let (mut graph, states) = Optimizer::from(AdamW::new(1e-3)).apply(graph, &parameters)?;
                graph.outputs.clear();
                Ok((graph, states.into_iter().map(|state| (state.name, state.shape)).collect()))
            }
        }
    }
}

/// Sizes with × between them.
fn times(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn forward(
        &mut self,
        kernel: &'static str,
        shape: String,
        operands: Vec<Operand>,
        build: impl Fn(&[Value]) -> Value + 'static,
    ) {
        self.0.push(Case { kernel, shape, operands, work: Work::Forward(Box::new(build)) });
    }

    fn gradients(
        &mut self,
        kernel: &'static str,
        shape: String,
        operands: Vec<Operand>,
        of: &[usize],
        build: impl Fn(&[Value]) -> Value + 'static,
    ) {
        self.0.push(Case { kernel, shape, operands, work: Work::Gradients(Box::new(build), of.to_vec()) });
    }

    fn matmuls(&mut self) {
        for size in [256, 512, 1024, 2048, 4096] {
            self.matmul("matmul", [size; 3], [false; 2]);
        }
        for size in [512, 1024] {
            self.matmul("matmul_tn", [size; 3], [true, false]);
            self.matmul("matmul_nt", [size; 3], [false, true]);
            self.matmul("matmul_tt", [size; 3], [true, true]);
        }
        // One token and a few through a layer, a small batch, a last layer of few classes.
        for sizes in [[1, 2048, 2048], [8, 768, 3072], [128, 784, 512], [1024, 512, 10]] {
            self.matmul("matmul", sizes, [false; 2]);
        }
        for [batch, rows, depth, columns] in [[48, 128, 64, 128], [12, 512, 64, 512]] {
            let operands =
                vec![Operand::Numbers(vec![batch, rows, depth]), Operand::Numbers(vec![batch, depth, columns])];
            let shape = times(&[batch, rows, depth, columns]);
            self.forward("matmul_batched", shape, operands, |x| x[0].matmul(x[1]));
        }
    }

    /// A product of `[rows, depth, columns]`, of which operands may lie transposed.
    fn matmul(&mut self, kernel: &'static str, sizes: [usize; 3], transposed: [bool; 2]) {
        let [rows, depth, columns] = sizes;
        let operand = |rows, columns, transposed| {
            Operand::Numbers(if transposed { vec![columns, rows] } else { vec![rows, columns] })
        };
        let operands = vec![operand(rows, depth, transposed[0]), operand(depth, columns, transposed[1])];
        let turned = |x: Value, transposed: bool| if transposed { x.transpose() } else { x };
        self.forward(kernel, times(&sizes), operands, move |x| {
            turned(x[0], transposed[0]).matmul(turned(x[1], transposed[1]))
        });
    }

    /// Layers of ResNet-50 for 4 pictures, those of networks for digits, and one with a group for each channel.
    fn convolutions(&mut self) {
        for ([rows, channels, side], [outputs, kernel, stride], groups) in [
            ([4, 3, 224], [64, 7, 2], 1),
            ([4, 64, 56], [64, 1, 1], 1),
            ([4, 64, 56], [64, 3, 1], 1),
            ([4, 64, 56], [256, 1, 1], 1),
            ([4, 128, 28], [128, 3, 1], 1),
            ([4, 256, 56], [512, 1, 2], 1),
            ([4, 256, 14], [256, 3, 1], 1),
            ([4, 512, 7], [512, 3, 1], 1),
            ([64, 1, 28], [32, 3, 1], 1),
            ([64, 32, 14], [64, 3, 1], 1),
            ([16, 96, 28], [96, 3, 1], 96),
        ] {
            let padding = kernel / 2;
            let options =
                Convolution { stride: [stride; 2], padding: [(padding, padding); 2], groups, ..Convolution::default() };
            let side_of_y = (side + 2 * padding - kernel) / stride + 1;
            let x = Operand::Numbers(vec![rows, channels, side, side]);
            let weight = Operand::Numbers(vec![outputs, channels / groups, kernel, kernel]);
            let dy = Operand::Numbers(vec![rows, outputs, side_of_y, side_of_y]);
            let shape = format!(
                "{} {} stride {stride}{}",
                times(x.shape()),
                times(weight.shape()),
                if groups > 1 { " depthwise" } else { "" }
            );
            let convolve = move |x: &[Value]| x[0].conv2d(x[1], &options);
            self.forward("convolution", shape.clone(), vec![x.clone(), weight.clone()], convolve);
            let operands = vec![x, weight, dy];
            self.gradients("convolution_input_gradient", shape.clone(), operands.clone(), &[0], convolve);
            self.gradients("convolution_weight_gradient", shape, operands, &[1], convolve);
        }
    }

    fn attentions(&mut self) {
        for (heads, size) in [(8, 64), (4, 128)] {
            for length in [128, 512, 2048, 4096] {
                let operand = || Operand::Numbers(vec![1, length, heads, size]);
                let shape = times(operand().shape());
                let attend =
                    |x: &[Value]| x[0].attention(x[1], x[2], &Attention { causal: true, ..Attention::default() });
                let operands = vec![operand(), operand(), operand()];
                self.forward("attention", shape.clone(), operands, attend);
                let operands = vec![operand(), operand(), operand(), operand()];
                self.gradients("attention_with_gradients", shape, operands, &[0, 1, 2], attend);
            }
        }
    }

    fn rows(&mut self) {
        let large = || vec![4096, 1024];
        let numbers = Operand::Numbers;
        for shape in [vec![1024, 1024], large()] {
            self.forward("softmax", times(&shape), vec![numbers(shape)], |x| x[0].softmax(1));
        }
        let scales = || vec![numbers(large()), numbers(vec![1024]), numbers(vec![1024])];
        let layer_norm = |x: &[Value]| x[0].layer_norm(Some(x[1]), Some(x[2]), 1e-5);
        let rms_norm = |x: &[Value]| x[0].rms_norm(Some(x[1]), 1e-5);
        let with_dy = |mut operands: Vec<Operand>| {
            operands.push(numbers(large()));
            operands
        };
        self.forward("layer_norm", times(&large()), scales(), layer_norm);
        self.gradients("layer_norm_with_gradients", times(&large()), with_dy(scales()), &[0, 1, 2], layer_norm);
        let scales = || scales()[..2].to_vec();
        self.forward("rms_norm", times(&large()), scales(), rms_norm);
        self.gradients("rms_norm_with_gradients", times(&large()), with_dy(scales()), &[0, 1], rms_norm);
        let (rows, classes) = (1024, 32000);
        let operands = vec![numbers(vec![rows, classes]), Operand::Indices(vec![rows], classes as u32)];
        let loss = |x: &[Value]| x[0].cross_entropy(x[1]);
        self.forward("cross_entropy", times(&[rows, classes]), operands.clone(), loss);
        self.gradients("cross_entropy_with_gradient", times(&[rows, classes]), operands, &[0], loss);
        let (words, width, tokens) = (32000, 768, 4096);
        let operands = vec![
            numbers(vec![words, width]),
            Operand::Indices(vec![tokens], words as u32),
            numbers(vec![tokens, width]),
        ];
        let shape = format!("{} of {}", tokens, times(&[words, width]));
        let embed = |x: &[Value]| x[0].gather_rows(x[1]);
        self.forward("embedding", shape.clone(), operands[..2].to_vec(), embed);
        self.gradients("embedding_gradient", shape, operands, &[0], embed);
    }

    fn elements(&mut self) {
        for count in [1 << 20, 1 << 24] {
            let operands = |many: usize| vec![Operand::Numbers(vec![count]); many];
            let shape = count.to_string();
            self.forward("multiply_add", shape.clone(), operands(3), |x| x[0] * x[1] + x[2]);
            self.forward("relu", shape.clone(), operands(1), |x| x[0].relu());
            self.forward("gelu", shape.clone(), operands(1), |x| x[0].gelu());
            self.forward("tanh", shape.clone(), operands(1), |x| x[0].tanh());
            self.forward("exp", shape.clone(), operands(1), |x| x[0].exp());
            self.forward("sum", shape.clone(), operands(1), |x| x[0].sum_all());
            self.0.push(Case { kernel: "adamw", shape, operands: operands(2), work: Work::AdamW });
        }
        let matrix = || vec![Operand::Numbers(vec![4096, 1024])];
        self.forward("sum_rows", "4096x1024".into(), matrix(), |x| x[0].sum(&[1]));
        self.forward("sum_columns", "4096x1024".into(), matrix(), |x| x[0].sum(&[0]));
        self.forward("transpose", "4096x1024".into(), matrix(), |x| x[0].transpose().contiguous());
    }
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    cases.matmuls();
    cases.convolutions();
    cases.attentions();
    cases.rows();
    cases.elements();
    cases.0
}
