//! What a check found: an operator that computes wrong, or where NaN and infinity come from.

use crate::tensor::TensorType;
use std::fmt;
use std::panic::Location;

/// What was wrong at one element; see [`crate::Check`].
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was wrong.
    pub fault: Fault,
    /// The operator's name; for [`Fault::Given`] `input`, `state` or `step scalar`.
    pub op: String,
    /// The path of scopes that it was traced in; empty at the top.
    pub scope: String,
    /// `scope/op#node`; for [`Fault::Given`] the name of the input, state or number.
    pub label: String,
    /// The line that traced it, if an operator is at fault.
    pub location: Option<&'static Location<'static>>,
    /// The number of the launch in the program, from 0.
    pub launch: usize,
    /// The types of its inputs.
    pub inputs: Vec<TensorType>,
    /// The types of its outputs.
    pub outputs: Vec<TensorType>,
    /// Which of the outputs the element lies in.
    pub output: usize,
    /// The element's index along each dimension: where the error is the largest part of what is allowed, or the first
    /// that is not finite.
    pub element: Vec<usize>,
    /// The element as the device has it.
    pub found: f64,
    /// The arguments that made the element, of elementwise operators only.
    pub arguments: Vec<f64>,
    /// The device's name.
    pub device: String,
}

/// The kinds of [`Finding`].
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The result is not the one that the operator's inputs give.
    Differs {
        /// The exact result.
        expected: f64,
        /// How far from it the operator may lie.
        tolerance: f64,
        /// How many elements of the output differ by more than they may.
        differing: usize,
    },
    /// The operator makes NaN out of numbers, or infinity out of finite ones.
    NotFinite,
    /// The program was given NaN or infinity.
    Given {
        /// The label of the launch that reads it first.
        reader: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { op, label, element, found, device, .. } = self;
        let kinds = |kinds: &[TensorType]| kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let output = self.outputs.get(self.output).map(ToString::to_string).unwrap_or_default();
        if let Fault::Given { reader } = &self.fault {
            return write!(
                formatter,
                "the {op} {label:?} ({output}) holds {found:?} at {element:?} when `{reader}` reads it on {device}; \
                 correct what was handed in or loaded"
            );
        }
        let scope = if self.scope.is_empty() { "the top scope" } else { &self.scope };
        write!(formatter, "{op} in `{scope}` ({label}, launch {}", self.launch)?;
        if let Some(location) = self.location {
            write!(formatter, ", traced at {location}")?;
        }
        match &self.fault {
            Fault::Differs { expected, tolerance, differing } => write!(
                formatter,
                ") computes wrong on {device}: element {element:?} of {output} is {found:?}, expected {expected:?} \
                 within {tolerance:.2e}; {differing} elements differ"
            )?,
            _ => write!(formatter, ") makes {found:?} on {device}: element {element:?} of {output}")?,
        }
        if !self.arguments.is_empty() {
            let arguments: Vec<String> = self.arguments.iter().map(|argument| format!("{argument:?}")).collect();
            write!(formatter, "; its arguments there are {}", arguments.join(", "))?;
        }
        write!(formatter, "; its inputs are {}", kinds(&self.inputs))?;
        match &self.fault {
            Fault::Differs { .. } => write!(formatter, "; take another device or driver, and report this"),
            _ => Ok(()),
        }
    }
}
