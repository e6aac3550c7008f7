//! Scaled dot-product attention in one operator, its gradient, and the same by plain operators.

mod bounds;
mod composed;
mod kernel;
mod launch;
mod samples;

use crate::graph::{Backward, Op, OpKind, StepScalar, Value, apply, apply_many};
use crate::ops::support::refused;
use crate::tensor::{DType, Shape, Tensor, TensorType};
use cpu_reference::AttentionSizes;

pub(super) use samples::add_samples;

/// The operators of this family.
pub(super) const NAMES: &[&str] = &["attention", "attention_gradient"];

/// How attention is done.
///
/// ```
/// use nn_core::ops::Attention;
/// let language = Attention { causal: true, ..Attention::default() };
/// assert_eq!(language.dropout, 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Attention {
    /// What the products of queries and keys are multiplied by; by default 1/√size.
    pub scale: Option<f32>,
    /// Whether query i sees key j only if j ≤ i + keys − queries: the last query stands at the last key.
    pub causal: bool,
    /// Whether query i sees key j only if i + keys − queries − j is less than this.
    pub window: Option<usize>,
    /// Added to the scores: `f32`, broadcast to `(batch, heads, queries, keys)`. It gets no gradient.
    pub mask: Option<Value>,
    /// ALiBi: `f32` `(heads)`, of which each times |i + keys − queries − j| is subtracted from the scores (O. Press et al.,
    /// "Train short, test long", 2021). They get no gradient.
    pub slopes: Option<Value>,
    /// The share of weights that is dropped, as [`Value::dropout`] drops them of `(batch, heads, queries, keys)`.
    pub dropout: f32,
    /// The stream of random numbers for that.
    pub stream: u32,
}

/// The settings that are no values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    scale: f32,
    causal: bool,
    window: Option<usize>,
    masked: bool,
    sloped: bool,
    dropout: f32,
    stream: u32,
}

impl Settings {
    /// How many inputs follow the first `count`: mask, slopes, and the words that random numbers are drawn by.
    fn extras(&self, sloped: bool) -> usize {
        usize::from(self.masked) + usize::from(sloped) + usize::from(self.dropout > 0.0)
    }
}

/// `query, key, value[, mask][, slopes][, seed and step] → output (batch, queries, heads, size)`, and for each of its rows
/// the logarithm of the sum of exponentials of the scores, `(batch, queries, heads)`.
#[derive(Debug)]
struct Forward(Settings);

/// `dy, query, key, value, rows[, mask][, seed and step] → dq, dk, dv`: `rows (batch, queries, heads, 2 or 3)` holds the
/// logarithm of the sum, Σ dy·y, and the slope.
#[derive(Debug)]
struct Gradient(Settings);

/// The sizes, if the shapes of query, key and value fit each other.
fn sizes(query: &[usize], key: &[usize], value: &[usize]) -> Result<AttentionSizes, String> {
    let shape = |sizes: &[usize]| Shape::from(sizes);
    let (&[batch, queries, heads, size], &[of_keys, keys, groups, width]) = (query, key) else {
        let wanted = "query, key and value must be [batch, length, heads, size]";
        return Err(format!("{wanted}, not {}, {} and {}", shape(query), shape(key), shape(value)));
    };
    if key != value || of_keys != batch || width != size {
        return Err(format!(
            "key {} and value {} must have one shape, and the batch and the size of the query {}",
            shape(key),
            shape(value),
            shape(query)
        ));
    }
    if groups == 0 || !heads.is_multiple_of(groups) {
        return Err(format!("{groups} heads of keys don't divide {heads} heads of queries"));
    }
    if size > Attention::LARGEST_SIZE {
        return Err(format!(
            "heads of size {size} are beyond {}; use more heads, or attention_composed",
            Attention::LARGEST_SIZE
        ));
    }
    Ok(AttentionSizes { batch, queries, keys, heads, groups, size })
}

/// Checks the inputs after query, key and value.
fn check_extras(
    settings: &Settings,
    sizes: &AttentionSizes,
    sloped: bool,
    extras: &[TensorType],
) -> Result<(), String> {
    if extras.len() != settings.extras(sloped) {
        return Err(format!("{} inputs follow, not {}", extras.len(), settings.extras(sloped)));
    }
    let mut extras = extras.iter();
    let mut expect = |what: &str, wanted: TensorType| match extras.next() {
        Some(found) if *found == wanted => Ok(()),
        Some(found) => Err(format!("the {what} must be {wanted}, not {found}")),
        None => Ok(()),
    };
    let AttentionSizes { batch, queries, keys, heads, .. } = *sizes;
    if settings.masked {
        expect("mask", TensorType::new(DType::F32, [batch, heads, queries, keys]))?;
    }
    if sloped {
        expect("slopes", TensorType::new(DType::F32, [heads]))?;
    }
    if settings.dropout > 0.0 {
        expect("random words", TensorType::new(DType::U32, [2]))?;
    }
    Ok(())
}

fn in_f32(inputs: &[TensorType]) -> Result<(), String> {
    match inputs.iter().find(|input| input.dtype != DType::F32) {
        Some(input) => Err(format!("it is for f32, not {input}; cast it first")),
        None => Ok(()),
    }
}

impl Op for Forward {
    fn name(&self) -> &'static str {
        NAMES[0]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        in_f32(&inputs[..3])?;
        let sizes = sizes(&inputs[0].shape, &inputs[1].shape, &inputs[2].shape)?;
        check_extras(&self.0, &sizes, self.0.sloped, &inputs[3..])?;
        let AttentionSizes { batch, queries, heads, .. } = sizes;
        let rows = TensorType::new(DType::F32, [batch, queries, heads]);
        Ok(vec![inputs[0].clone(), rows])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        let (dy, settings) = (backward.dy(), self.0);
        let [query, key, value] = [0, 1, 2].map(|place| backward.inputs[place]);
        let mut extras = backward.inputs[3..].to_vec();
        let slopes = settings.sloped.then(|| extras.remove(usize::from(settings.masked)));
        let rows = rows(backward.outputs[0], backward.outputs[1], dy, slopes);
        let inputs = [&[dy, query, key, value, rows], &extras[..]].concat();
        let gradients = apply_many::<3>(Gradient(settings), &inputs).map(Some);
        gradients.into_iter().chain(vec![None; backward.inputs.len() - 3]).collect()
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

/// What the gradient is told of each row of the output.
fn rows(y: Value, logarithms: Value, dy: Value, slopes: Option<Value>) -> Value {
    let mut others = vec![(dy * y).sum(&[3])];
    if let Some(slopes) = slopes {
        others.push(slopes.broadcast_to(logarithms.shape()));
    }
    logarithms.stack(&others, 3)
}

impl Op for Gradient {
    fn name(&self) -> &'static str {
        NAMES[1]
    }

    fn attributes(&self) -> String {
        format!("{:?}", self.0)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        in_f32(&inputs[..5])?;
        let sizes = sizes(&inputs[1].shape, &inputs[2].shape, &inputs[3].shape)?;
        check_extras(&self.0, &sizes, false, &inputs[5..])?;
        let AttentionSizes { batch, queries, heads, .. } = sizes;
        let rows: Shape = [batch, queries, heads, 2 + usize::from(self.0.sloped)].into();
        if inputs[0].shape != inputs[1].shape || inputs[4].shape != rows {
            return Err(format!("{} and {} must be {} and {rows}", inputs[0], inputs[4], inputs[1].shape));
        }
        Ok(inputs[1..4].to_vec())
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        composed::second_gradient(&self.0, backward)
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Kernel(self)
    }
}

impl Attention {
    /// The largest size of a head that [`Value::attention`] takes.
    pub const LARGEST_SIZE: usize = 256;

    /// The settings and the further inputs, or what is wrong with them.
    fn resolve(&self, query: Value, key: Value, value: Value) -> Result<(Settings, AttentionSizes), String> {
        let sizes = sizes(&query.shape(), &key.shape(), &value.shape())?;
        let settings = Settings {
            scale: self.scale.unwrap_or(1.0 / (sizes.size as f32).sqrt()),
            causal: self.causal,
            window: self.window,
            masked: self.mask.is_some(),
            sloped: self.slopes.is_some(),
            dropout: self.dropout,
            stream: self.stream,
        };
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("the share {} of dropped weights is not in 0..1", self.dropout));
        }
        if let Some(slopes) = self.slopes
            && slopes.kind() != TensorType::new(DType::F32, [sizes.heads])
        {
            return Err(format!("the slopes must be f32 [{}], one for each head, not {}", sizes.heads, slopes.kind()));
        }
        if let Some(mask) = self.mask {
            let full = Shape::from([sizes.batch, sizes.heads, sizes.queries, sizes.keys]);
            if mask.dtype() != DType::F32 || Shape::broadcast(&mask.shape(), &full).as_ref() != Some(&full) {
                return Err(format!("the mask must be f32 that broadcasts to {full}, not {}", mask.kind()));
            }
        }
        Ok((settings, sizes))
    }

    /// The settings and all inputs of [`Forward`], or what is wrong.
    fn inputs(&self, [query, key, value]: [Value; 3]) -> Result<(Settings, Vec<Value>), String> {
        let (settings, sizes) = self.resolve(query, key, value)?;
        let mut inputs = vec![query, key, value];
        let full = [sizes.batch, sizes.heads, sizes.queries, sizes.keys];
        inputs.extend(self.mask.map(|mask| mask.broadcast_to(full)));
        inputs.extend(self.slopes);
        if settings.dropout > 0.0 {
            inputs.push(random_words(query).map_err(|error| error.to_string())?);
        }
        Ok((settings, inputs))
    }
}

/// Seed and step, side by side.
fn random_words(beside: Value) -> Result<Value, crate::Error> {
    let trace = beside.recorder();
    let first = trace.constant(&Tensor::from_u32([2], &[1, 0])?);
    let [seed, step] = [StepScalar::Seed, StepScalar::Step].map(|scalar| trace.step_scalar(scalar).broadcast_to([2]));
    Ok(first.select(seed, step))
}

impl Value {
    /// softmax(scale · query · keyᵀ + …) · value for each head: this value is the query `(batch, queries, heads, size)`;
    /// key and value are `(batch, keys, groups, size)`, all `f32`, and head h of the query looks at head
    /// h/(heads/groups) of theirs. The result is `(batch, queries, heads, size)`. The size is at most 256. Slices of a
    /// common projection are read where they lie, and no matrix of all queries and keys is stored. A query that sees no
    /// key gives zeros. `torch.nn.functional.scaled_dot_product_attention`, with heads after the length.
    #[track_caller]
    pub fn attention(self, key: Value, value: Value, options: &Attention) -> Value {
        let (settings, inputs) = match options.inputs([self, key, value]) {
            Ok(inputs) => inputs,
            Err(message) => return refused(self, NAMES[0], message),
        };
        apply(Forward(settings), &inputs)[0]
    }

    /// The same as [`Value::attention`] by plain operators: a matrix of all queries and keys is stored, sizes have no
    /// limit below those of tensors, and mask and slopes get gradients.
    #[track_caller]
    pub fn attention_composed(self, key: Value, value: Value, options: &Attention) -> Value {
        let (settings, sizes) = match options.resolve(self, key, value) {
            Ok(resolved) => resolved,
            Err(message) => return refused(self, "attention_composed", message),
        };
        match composed::attention(&settings, &sizes, [self, key, value], options.mask, options.slopes) {
            Ok(output) => output,
            Err(error) => refused(self, "attention_composed", error.to_string()),
        }
    }
}
