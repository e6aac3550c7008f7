//! From a recipe's choices to calls that fit: each step looks at what there is, and does nothing where nothing fits.

use crate::call::Call;
use crate::leaves::leaf_shape;
use crate::methods::*;
use crate::recipe::{Family, Goal, Leaf, Recipe, Relation, Step};
use cpu_reference::philox::Philox;
use nn_core::graph::{Trace, Value};
use nn_core::tensor::{Shape, TensorType};
use nn_core::{DType, Tensor};

/// The most elements of a value.
pub(crate) const LARGEST: usize = 256;

/// Beyond this magnitude values are scaled down.
const BOUND: f64 = 8.0;

/// Magnitudes of leaves.
pub(crate) const LEAF: f64 = 2.0;

/// The whole range of 32 bits.
const WRAPPED: f64 = 4_294_967_296.0;

/// Calls so far, made on a trace at once, so that shapes are known.
pub(crate) struct Resolver<'a> {
    trace: &'a Trace,
    pub(crate) values: Vec<Value>,
    pub(crate) calls: Vec<Call>,
    /// The largest magnitude that each value can have.
    pub(crate) bounds: Vec<f64>,
    /// Only functions that have a derivative everywhere.
    smooth: bool,
    /// The elements of inputs and states.
    pub(crate) leaves: Vec<(String, Tensor)>,
    pub(crate) states: Vec<String>,
}

pub(crate) fn choose<T: Clone>(options: &[T], pick: u8) -> Option<T> {
    (!options.is_empty()).then(|| options[pick as usize % options.len()].clone())
}

impl<'a> Resolver<'a> {
    /// Makes all calls of a recipe.
    pub(crate) fn run(trace: &'a Trace, recipe: &Recipe) -> Resolver<'a> {
        let (values, calls, bounds, leaves, states) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let smooth = recipe.goal != Goal::Values;
        let mut resolver = Resolver { trace, values, calls, bounds, smooth, leaves, states };
        let first = &recipe.leaves[0];
        let base = leaf_shape(&Leaf { relation: Relation::Free, ..first.clone() }, &[]);
        for (number, leaf) in recipe.leaves.iter().enumerate() {
            let shape = if number == 0 { base.clone() } else { leaf_shape(leaf, &base) };
            resolver.leaf(number, leaf, shape, &mut Philox::new(recipe.seed, number as u32));
        }
        for step in &recipe.steps {
            // A step that does not fit is none.
            let _ = resolver.step(step);
        }
        resolver
    }

    pub(crate) fn push(&mut self, call: Call, bound: f64) -> usize {
        self.values.push(call.apply(self.trace, &self.values));
        self.calls.push(call);
        self.bounds.push(bound);
        self.values.len() - 1
    }

    /// A call whose result is scaled down where it could be large, so that no chain of steps overflows.
    pub(crate) fn call(&mut self, call: Call, bound: f64) -> usize {
        let made = self.push(call, bound);
        let real = self.kind(made).dtype == DType::F32;
        if real && bound > BOUND { self.scaled(made, BOUND) } else { made }
    }

    fn scaled(&mut self, x: usize, wanted: f64) -> usize {
        let factor = (wanted / self.bounds[x]).log2().floor().exp2();
        let bound = self.bounds[x] * factor;
        self.push(Call::Number(MULTIPLY_NUMBER, x, factor as f32), bound)
    }

    pub(crate) fn kind(&self, x: usize) -> TensorType {
        self.values[x].kind()
    }

    pub(crate) fn shape(&self, x: usize) -> Shape {
        self.kind(x).shape
    }

    fn all(&self, fits: impl Fn(&TensorType) -> bool) -> Vec<usize> {
        (0..self.values.len()).filter(|&x| fits(&self.kind(x))).collect()
    }

    /// Later values first and more often, so that graphs grow deep; a pick that shrank to 0 is the last value, which
    /// keeps what matters in the graph.
    pub(crate) fn find(&self, pick: u8, fits: impl Fn(&TensorType) -> bool) -> Option<usize> {
        let all = self.all(fits);
        let back = (all.len() * pick as usize * pick as usize) >> 16;
        all.len().checked_sub(1 + back).map(|place| all[place])
    }

    pub(crate) fn real(&self, pick: u8) -> Option<usize> {
        self.find(pick, |kind| kind.dtype == DType::F32)
    }

    /// A value of the same type as `x` that can be broadcast with it.
    fn partner(&self, x: usize, pick: u8) -> Option<usize> {
        let TensorType { dtype, shape } = self.kind(x);
        self.find(pick, |kind| {
            let common = kind.shape.broadcast(&shape);
            kind.dtype == dtype && common.is_some_and(|common| common.elements() <= LARGEST)
        })
    }

    /// x·x + ½.
    fn positive(&mut self, x: usize) -> usize {
        let bound = self.bounds[x] * self.bounds[x];
        let square = self.push(Call::Other(MULTIPLY, x, x), bound);
        self.push(Call::Number(ADD_NUMBER, square, 0.5), bound + 0.5)
    }

    fn guarded(&mut self, x: usize, guard: Guard) -> usize {
        match guard {
            Guard::Positive => self.positive(x),
            Guard::Small if self.bounds[x] > 2.0 => self.scaled(x, 2.0),
            Guard::Small | Guard::None => x,
        }
    }

    fn step(&mut self, step: &Step) -> Option<()> {
        let [first, second, third, which] = step.picks;
        match step.family {
            Family::Unary => self.unary(self.real(first)?, which)?,
            Family::Number => self.number(self.real(first)?, which, step.numbers[0])?,
            Family::Binary => {
                let x = self.real(first)?;
                self.binary(x, self.partner(x, second)?, which)
            }
            // Arithmetic on what is known while tracing.
            Family::Known => {
                let number = choose(&[0.25_f32, -1.5, 1.0, 0.0, -0.0, 3.0], step.numbers[0])?;
                let scalar = self.push(Call::Scalar(number), 3.0);
                let known = self.unary(scalar, third)?;
                self.binary(self.real(first)?, known, which)
            }
            Family::Permute => {
                let x = self.find(first, |_| true)?;
                let mut left: Vec<usize> = (0..self.shape(x).rank()).collect();
                let order = step.numbers.iter().map_while(|&number| {
                    let place = (!left.is_empty()).then(|| left.len() - 1 - number as usize % left.len())?;
                    Some(left.remove(place))
                });
                let order = order.collect();
                self.call(Call::Permute(x, order), self.bounds[x])
            }
            Family::Reshape => {
                let x = self.find(first, |_| true)?;
                let shape = factors(self.shape(x).elements(), &step.numbers);
                self.call(Call::Reshape(x, shape), self.bounds[x])
            }
            Family::Slice => {
                let x = self.find(first, |_| true)?;
                let shape = self.shape(x);
                let place = |axis: usize| step.numbers[axis % 4] as usize % shape[axis];
                let size = |axis: usize| 1 + step.numbers[4 + axis % 4] as usize % (shape[axis] - place(axis));
                let (starts, sizes) = ((0..shape.rank()).map(place).collect(), (0..shape.rank()).map(size).collect());
                self.call(Call::Slice(x, starts, sizes), self.bounds[x])
            }
            Family::Broadcast => {
                let x = self.find(first, |kind| kind.shape.rank() < 5)?;
                let mut sizes = self.shape(x).to_vec();
                for (size, number) in sizes.iter_mut().zip(&step.numbers).filter(|(size, _)| **size == 1) {
                    *size = 1 + *number as usize % 4;
                }
                if which % 2 == 1 {
                    sizes.insert(0, 1 + step.numbers[7] as usize % 3);
                }
                (sizes.iter().product::<usize>() <= LARGEST).then_some(())?;
                self.call(Call::Broadcast(x, sizes), self.bounds[x])
            }
            Family::Reduce => {
                let x = self.real(first)?;
                let axes: Vec<usize> =
                    (0..self.shape(x).rank()).filter(|&axis| step.numbers[axis % 8] % 2 == 1).collect();
                let count = axes.iter().map(|&axis| self.shape(x)[axis]).product::<usize>() as f64;
                let bound = self.bounds[x];
                let methods = [
                    (SUM, bound * count),
                    (MEAN, bound),
                    (SUM_OF_SQUARES, bound * bound * count),
                    (MAX, bound),
                    (MIN, bound),
                ];
                let (method, bound) = choose(&methods[..if self.smooth { 3 } else { 5 }], which)?;
                self.call(Call::Axes(method, x, axes), bound)
            }
            Family::Matmul => self.matmul(first, second)?,
            Family::Convolution => self.convolution(first, which, &step.numbers)?,
            Family::Normalise => self.normalisation(step)?,
            Family::RowNorm => self.row_norm(step)?,
            Family::Rotary => self.rotary(step)?,
            Family::Pool => self.average_pool(first, which, &step.numbers)?,
            Family::MaxPool => self.max_pool(first, which, &step.numbers)?,
            Family::CumulativeSum => self.cumulative_sum(first, which, &step.numbers)?,
            Family::GatherAlong => self.gather_along(first, second, &step.numbers)?,
            Family::ScatterAlong => self.scatter_along(step)?,
            Family::Sort => self.sort(first, which, &step.numbers)?,
            Family::Resample => self.resampling(first, which, &step.numbers)?,
            Family::Softmax => {
                let x = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() > 0)?;
                let axis = step.numbers[0] as usize % self.shape(x).rank();
                let methods = [(SOFTMAX, 1.0), (LOG_SOFTMAX, 2.0 * self.bounds[x] + 6.0)];
                let (method, bound) = choose(&methods, which)?;
                self.call(Call::Axis(method, x, axis), bound)
            }
            Family::Concat => {
                let x = self.find(first, |kind| kind.shape.rank() > 0)?;
                let kind = self.kind(x);
                let axis = step.numbers[0] as usize % kind.shape.rank();
                let fits = |other: &TensorType| {
                    other.dtype == kind.dtype
                        && other.shape.rank() == kind.shape.rank()
                        && other.shape.without(&[axis]) == kind.shape.without(&[axis])
                };
                let others = [second, third].map(|pick| self.find(pick, fits));
                let others: Vec<usize> = others.into_iter().flatten().take(1 + which as usize % 2).collect();
                let sum: usize = others.iter().chain([&x]).map(|&x| self.shape(x).elements()).sum();
                (sum <= LARGEST).then_some(())?;
                let bound = others.iter().map(|&other| self.bounds[other]).fold(self.bounds[x], f64::max);
                self.call(Call::Concat(x, others, axis), bound)
            }
            Family::Pad => {
                let x = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.elements() <= LARGEST / 8)?;
                let rank = self.shape(x).rank();
                let around: Vec<(usize, usize)> = step
                    .numbers
                    .iter()
                    .take(rank)
                    .map(|&number| (number as usize % 3, number as usize / 3 % 2))
                    .collect();
                let shape = self.shape(x);
                let padded: usize =
                    around.iter().zip(shape.iter()).map(|((before, after), size)| before + size + after).product();
                (padded <= LARGEST).then_some(())?;
                let number = choose(&[0.0, 1.0, -0.5, 2.0], which)?;
                self.call(Call::Pad(x, around, number), self.bounds[x].max(2.0))
            }
            Family::Gather => {
                let table = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() == 2)?;
                let shape = self.shape(table);
                let indices = self
                    .natural(second, &[2], |kind| kind.shape.elements() * shape[1] <= LARGEST && kind.shape.rank() < 5);
                let indices = self.below(shape[0], indices);
                self.call(Call::Other(GATHER, table, indices), self.bounds[table])
            }
            Family::Scatter => {
                let rows = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() == 2)?;
                let count = self.shape(rows)[0];
                let indices = self.natural(second, &[count], |kind| kind.shape.elements() == count);
                let indices = self.call(Call::Reshape(indices, vec![count]), self.bounds[indices]);
                // Some indices lie beyond the table: those rows add nothing.
                let vocabulary = 1 + step.numbers[0] as usize % 5;
                self.call(Call::Scatter(rows, indices, vocabulary), self.bounds[rows] * count as f64)
            }
            Family::CrossEntropy => {
                let logits = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() > 0)?;
                let shape = self.shape(logits);
                let (classes, rows) = (shape[shape.rank() - 1], Shape::from(&shape[..shape.rank() - 1]));
                let targets = self.natural(second, &rows, |kind| kind.shape.elements() == rows.elements());
                let targets = self.below(classes, targets);
                let targets = self.call(Call::Reshape(targets, rows.to_vec()), self.bounds[targets]);
                self.call(Call::Other(CROSS_ENTROPY, logits, targets), 2.0 * self.bounds[logits] + 6.0)
            }
            Family::Dropout => {
                let x = self.real(first)?;
                let probability = choose(&[0.5_f32, 0.25, 0.0], which)?;
                self.call(Call::Dropout(x, probability, u32::from(step.numbers[0] % 4)), 2.0 * self.bounds[x])
            }
            // The same call once more, which `simplify` drops.
            Family::Repeat => {
                let place = first as usize % self.calls.len();
                self.call(self.calls[place].clone(), self.bounds[place])
            }
            Family::Compare => {
                let x = self.find(first, |_| true)?;
                self.call(Call::Other(choose(&COMPARISONS, which)?, x, self.partner(x, second)?), 1.0)
            }
            Family::Select => {
                let mask = self.find(third, |kind| kind.dtype == DType::U32)?;
                let x = self.find(first, |_| true)?;
                let y = self.partner(x, second)?;
                let common = self.shape(x).broadcast(&self.shape(y))?.broadcast(&self.shape(mask))?;
                (common.elements() <= LARGEST).then_some(())?;
                self.call(Call::Select([mask, x, y]), self.bounds[x].max(self.bounds[y]))
            }
            Family::Cast => {
                let x = self.find(first, |_| true)?;
                let method = choose(&[TO_F32, TO_U32, TO_I32], which)?;
                // Negative whole numbers become large natural ones, and the other way round.
                let wraps = self.kind(x).dtype != DType::F32;
                self.call(Call::Plain(method, x), if wraps { WRAPPED } else { self.bounds[x] })
            }
            Family::Whole => {
                let x = self.find(first, |kind| kind.dtype != DType::F32)?;
                self.call(Call::Other(choose(&WHOLE, which)?, x, self.partner(x, second)?), WRAPPED)
            }
            Family::Clamp => {
                let x = self.real(first)?;
                let (low, high) = choose(&[(-0.5, 0.75), (0.0, 1.0), (-1.0, -1.0)], which)?;
                self.call(Call::Clamp(x, low, high), 1.0)
            }
            Family::ArgReduce => {
                let x = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() > 0)?;
                let axis = step.numbers[0] as usize % self.shape(x).rank();
                self.call(Call::Axis(choose(&[ARGMAX, ARGMIN], which)?, x, axis), 7.0)
            }
        };
        Some(())
    }

    fn unary(&mut self, x: usize, which: u8) -> Option<usize> {
        let known: Vec<&Unary> = UNARY.iter().filter(|unary| unary.smooth || !self.smooth).collect();
        let unary = choose(&known, which)?;
        let x = self.guarded(x, unary.guard);
        Some(self.call(Call::Plain(unary.method, x), (unary.bound)(self.bounds[x])))
    }

    fn number(&mut self, x: usize, which: u8, number: u8) -> Option<usize> {
        let number = choose(&[1.0_f32, 0.5, -1.25, 2.0, 0.0, -0.0, 3.0], number)?;
        let size = f64::from(number.abs());
        let bound = self.bounds[x];
        let methods = [
            (MULTIPLY_NUMBER, bound * size),
            (ADD_NUMBER, bound + size),
            (SUBTRACT_NUMBER, bound + size),
            (DIVIDE_NUMBER, bound / size),
            (POW_NUMBER, 0.0),
            (MINIMUM_NUMBER, bound.max(size)),
            (MAXIMUM_NUMBER, bound.max(size)),
            (LEAKY_RELU, bound * size.max(1.0)),
            (ELU, bound * size.max(1.0)),
        ];
        let (method, bound) = choose(&methods[..if self.smooth { 5 } else { methods.len() }], which)?;
        Some(match method.name {
            "divide" if size == 0.0 => self.call(Call::Number(DIVIDE_NUMBER, x, 0.5), 2.0 * self.bounds[x]),
            "pow" => {
                let x = self.positive(x);
                let bound = self.bounds[x].powf(size).max(0.5_f64.powf(-size));
                self.call(Call::Number(POW_NUMBER, x, number), bound)
            }
            _ => self.call(Call::Number(method, x, number), bound),
        })
    }

    fn binary(&mut self, x: usize, y: usize, which: u8) -> usize {
        let (a, b) = (self.bounds[x], self.bounds[y]);
        match which % if self.smooth { 5 } else { 7 } {
            0 => self.call(Call::Other(ADD, x, y), a + b),
            1 => self.call(Call::Other(MULTIPLY, x, y), a * b),
            2 => self.call(Call::Other(SUBTRACT, x, y), a + b),
            3 => {
                let y = self.positive(y);
                self.call(Call::Other(DIVIDE, x, y), 2.0 * a)
            }
            4 => {
                let x = self.positive(x);
                let y = self.guarded(y, Guard::Small);
                let bound = self.bounds[x].max(2.0).powf(self.bounds[y]);
                self.call(Call::Other(POW, x, y), bound)
            }
            5 => self.call(Call::Other(MINIMUM, x, y), a.max(b)),
            _ => self.call(Call::Other(MAXIMUM, x, y), a.max(b)),
        }
    }

    /// A product with a value that fits, or with the value's own transpose.
    fn matmul(&mut self, first: u8, second: u8) -> Option<usize> {
        let x = self.find(first, |kind| kind.dtype == DType::F32 && kind.shape.rank() >= 2)?;
        let shape = self.shape(x);
        let [rows, depth] = [2, 1].map(|place| shape[shape.rank() - place]);
        let batch = |shape: &Shape| Shape::from(&shape[..shape.rank() - 2]);
        let fits = |kind: &TensorType| {
            let rank = kind.shape.rank();
            kind.dtype == DType::F32 && rank >= 2 && kind.shape[rank - 2] == depth && {
                let common = batch(&kind.shape).broadcast(&batch(&shape));
                common.is_some_and(|common| common.elements() * rows * kind.shape[rank - 1] <= LARGEST)
            }
        };
        let y = match self.find(second, fits) {
            Some(y) => y,
            None => {
                let mut order: Vec<usize> = (0..shape.rank()).collect();
                order.swap(shape.rank() - 1, shape.rank() - 2);
                (shape.elements() / depth * rows <= LARGEST).then_some(())?;
                self.push(Call::Permute(x, order), self.bounds[x])
            }
        };
        let bound = self.bounds[x] * self.bounds[y] * depth as f64;
        Some(self.call(Call::Other(MATMUL, x, y), bound))
    }

    /// A value of natural numbers that fits, else one number repeated to a shape.
    pub(crate) fn natural(&mut self, pick: u8, shape: &[usize], fits: impl Fn(&TensorType) -> bool) -> usize {
        self.find(pick, |kind| kind.dtype == DType::U32 && fits(kind)).unwrap_or_else(|| {
            let number = u32::from(pick % 7);
            let scalar = self.push(Call::ScalarU32(number), 7.0);
            self.push(Call::Broadcast(scalar, shape.to_vec()), 7.0)
        })
    }

    /// Natural numbers below a limit.
    pub(crate) fn below(&mut self, limit: usize, x: usize) -> usize {
        let last = self.push(Call::ScalarU32(limit as u32 - 1), limit as f64);
        self.push(Call::Other(MINIMUM, x, last), limit as f64)
    }

    /// Outputs by name: the last value and others, or the loss.
    pub(crate) fn outputs(&mut self, recipe: &Recipe) -> Vec<(String, usize)> {
        let last = self.values.len() - 1;
        let others = recipe.outputs.iter().map(|&pick| last - pick as usize % self.values.len());
        let chosen: Vec<usize> = std::iter::once(last).chain(others).collect();
        if recipe.goal == Goal::Values {
            return chosen.into_iter().enumerate().map(|(number, value)| (format!("y{number}"), value)).collect();
        }
        let mut terms: Vec<usize> = chosen.into_iter().filter(|&value| self.kind(value).dtype == DType::F32).collect();
        for name in self.states.clone() {
            let state = self.state(&name);
            terms.push(self.push(Call::Plain(SIN, state), 1.0));
        }
        let means: Vec<usize> = terms.into_iter().map(|term| self.mean(term)).collect();
        let loss = means.into_iter().reduce(|sum, mean| self.push(Call::Other(ADD, sum, mean), 0.0));
        let loss = loss.unwrap_or_else(|| self.push(Call::Scalar(0.0), 0.0));
        vec![("loss".to_string(), loss)]
    }

    /// The mean of x·x + x.
    fn mean(&mut self, x: usize) -> usize {
        let square = self.push(Call::Other(MULTIPLY, x, x), 0.0);
        let sum = self.push(Call::Other(ADD, square, x), 0.0);
        let axes = (0..self.shape(x).rank()).collect();
        self.push(Call::Axes(MEAN, sum, axes), 0.0)
    }

    fn state(&self, name: &str) -> usize {
        let is_it = |call: &Call| matches!(call, Call::State(known, _) if known == name);
        self.calls.iter().position(is_it).expect("a state was declared")
    }

    /// State updates: names and new values.
    pub(crate) fn updates(&mut self, recipe: &Recipe) -> Vec<(String, usize)> {
        if recipe.goal != Goal::Values {
            return Vec::new();
        }
        let mut updates = Vec::new();
        for (name, &pick) in self.states.clone().into_iter().zip(&recipe.updates) {
            let kind = self.kind(self.state(&name));
            let Some(value) = pick.checked_sub(1).and_then(|pick| self.find(pick, |other| *other == kind)) else {
                continue;
            };
            // No larger than a leaf, so that the next run's values have the same bounds.
            let value = if self.bounds[value] > LEAF { self.scaled(value, LEAF) } else { value };
            updates.push((name, value));
        }
        updates
    }
}

/// Splits a number of elements into up to four sizes.
fn factors(elements: usize, numbers: &[u8; 8]) -> Vec<usize> {
    let mut left = elements;
    let mut sizes = Vec::new();
    for &number in &numbers[1..1 + numbers[0] as usize % 4] {
        let divisors: Vec<usize> = (1..=left).filter(|divisor| left.is_multiple_of(*divisor)).collect();
        let size = divisors[number as usize % divisors.len()];
        sizes.push(size);
        left /= size;
    }
    // One element may also have no dimensions.
    if left > 1 || sizes.is_empty() && numbers[7].is_multiple_of(2) {
        sizes.push(left);
    }
    sizes
}
