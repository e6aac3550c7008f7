//! A row of the elementwise table, and the operator that it is.

use super::elementwise_support::helpers;
use crate::graph::{Accuracy, Arithmetic, Backward, ElementwiseOp, Op, OpKind, Precision, Value, apply};
use crate::tensor::{DType, TensorType};
use cpu_reference::elementwise::{BlockFunction, MAX_INPUTS};

/// Which element types a row takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// `f32 → f32`, all arguments alike.
    Real,
    /// `f32`, `u32` or `i32`, all arguments and the result alike.
    Number,
    /// Two numbers alike → a `u32` mask of 0 and 1.
    Compare,
    /// A `u32` mask and two numbers alike → the like.
    Select,
    /// Any type → the given one.
    Cast(DType),
    /// `u32` bits → `f32`.
    UnitInterval,
    /// Three `u32`, the same for all elements, and the element's number → `u32`.
    Random,
}

pub(super) type Gradient = fn(arguments: &[Value], y: Value, dy: Value) -> Vec<Option<Value>>;

/// How exact one element is, given its arguments; they are finite.
pub(super) type Rule = fn(on: Arithmetic, arguments: &[f64]) -> Accuracy;

/// One operator of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) signature: Signature,
    pub(super) flops: u64,
    pub(super) wgsl: &'static str,
    pub(super) functions: &'static [(DType, Precision, BlockFunction)],
    pub(super) gradient: Gradient,
    pub(super) accuracy: Rule,
}

/// A row in use as an operator.
#[derive(Debug)]
pub(super) struct Elementwise(pub(super) &'static Row);

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, String> {
        let row = self.0;
        if inputs.iter().any(|input| input.shape != inputs[0].shape) {
            let shapes: Vec<String> = inputs.iter().map(|input| input.shape.to_string()).collect();
            return Err(format!("shapes {} differ", shapes.join(", ")));
        }
        let alike = |inputs: &[TensorType]| inputs.iter().all(|input| input.dtype == inputs[0].dtype);
        let real = |input: &TensorType| input.dtype == DType::F32;
        let number = |input: &TensorType| input.dtype != DType::F16;
        let (fits, dtype) = match row.signature {
            Signature::Real => (inputs.iter().all(real), DType::F32),
            Signature::Number => (alike(inputs) && number(&inputs[0]), inputs[0].dtype),
            Signature::Compare => (alike(inputs) && number(&inputs[0]), DType::U32),
            Signature::Select => {
                (inputs[0].dtype == DType::U32 && alike(&inputs[1..]) && number(&inputs[1]), inputs[1].dtype)
            }
            Signature::Cast(dtype) => (number(&inputs[0]), dtype),
            Signature::UnitInterval => (inputs[0].dtype == DType::U32, DType::F32),
            Signature::Random => (inputs.iter().all(|input| input.dtype == DType::U32), DType::U32),
        };
        if !fits {
            let kinds: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            return Err(format!("element types of {} don't fit; cast them first", kinds.join(", ")));
        }
        Ok(vec![TensorType::new(dtype, inputs[0].shape.clone())])
    }

    fn gradient(&self, backward: &Backward<'_>) -> Vec<Option<Value>> {
        (self.0.gradient)(backward.inputs, backward.outputs[0], backward.dy())
    }

    fn kind(&self) -> OpKind<'_> {
        OpKind::Elementwise(self)
    }
}

impl ElementwiseOp for Elementwise {
    fn wgsl(&self, arguments: &[String], index: &str, output: DType) -> String {
        let mut text = self.0.wgsl.replace("{index}", index).replace("{type}", output.name());
        for (name, argument) in self.0.arguments.iter().zip(arguments) {
            text = text.replace(&format!("{{{name}}}"), argument);
        }
        text
    }

    fn wgsl_helpers(&self) -> &'static [&'static str] {
        helpers(self.0.wgsl)
    }

    fn block_function(&self, precision: Precision, inputs: &[DType]) -> Option<BlockFunction> {
        let decisive = if self.0.signature == Signature::Select { inputs[1] } else { inputs[0] };
        let find = |precision| {
            let mut functions = self.0.functions.iter();
            functions.find(|(dtype, known, _)| (*dtype, *known) == (decisive, precision)).map(|entry| entry.2)
        };
        // Integers are computed alike in both precisions, so they are listed once.
        find(precision).or_else(|| if decisive == DType::F32 { None } else { find(Precision::F32) })
    }

    fn flops(&self) -> u64 {
        self.0.flops
    }

    fn depends_on_index(&self) -> bool {
        self.0.signature == Signature::Random
    }

    fn same_as(&self, known: &[Option<f32>]) -> Option<usize> {
        match self.0.name {
            "contiguous" => Some(0),
            "multiply" | "divide" if known[1] == Some(1.0) => Some(0),
            "multiply" if known[0] == Some(1.0) => Some(1),
            _ => None,
        }
    }

    fn accuracy(&self, arithmetic: Arithmetic, arguments: &[f64]) -> Accuracy {
        // What becomes of NaN and infinity follows from rules, not from formulas.
        let mut finite = [0.0; MAX_INPUTS];
        for (place, argument) in arguments.iter().enumerate().filter(|(_, argument)| argument.is_finite()) {
            finite[place] = *argument;
        }
        (self.0.accuracy)(arithmetic, &finite[..arguments.len()])
    }
}

impl Row {
    /// The operator's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    #[track_caller]
    pub(super) fn on(&'static self, arguments: &[Value]) -> Value {
        apply(Elementwise(self), arguments)[0]
    }

    /// Applies the row to arguments broadcast against each other.
    #[track_caller]
    pub(super) fn broadcast(&'static self, arguments: &[Value]) -> Value {
        let shapes: Vec<_> = arguments.iter().map(|argument| argument.shape()).collect();
        let common = shapes[1..].iter().try_fold(shapes[0].clone(), |common, shape| common.broadcast(shape));
        match common {
            Some(shape) => {
                let fitted: Vec<Value> =
                    arguments.iter().map(|argument| argument.broadcast_to(shape.clone())).collect();
                self.on(&fitted)
            }
            None => {
                let shapes: Vec<String> = shapes.iter().map(ToString::to_string).collect();
                let message = format!("shapes {} cannot be broadcast against each other", shapes.join(" and "));
                arguments[0].recorder().fail(self.name, message);
                arguments[0]
            }
        }
    }
}
