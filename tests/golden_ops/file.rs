//! Reads the cases of tests/golden: what is given, and what PyTorch makes of it.

use nn_core::{Input, Shape, Tensor};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::path::Path;

/// Families of cases, each a pair of files.
const FAMILIES: &[&str] = &[
    "elementwise",
    "shape",
    "reduce",
    "matmul",
    "softmax",
    "cross_entropy",
    "rows",
    "losses",
    "random",
    "normalise",
    "convolution",
    "pool",
    "resample",
    "cumulative_sum",
    "along",
    "sort",
    "attention",
    "row_norm",
    "rotary",
];

/// One call of one operator.
pub(crate) struct Case {
    /// The operator by its name in graphs, or `loss/` and a loss's name.
    pub(crate) op: String,
    /// What is special here, for messages.
    pub(crate) name: String,
    /// The operands in order.
    pub(crate) inputs: Vec<Tensor>,
    /// What else the call needs.
    pub(crate) attributes: Json,
    /// The sizes of the result.
    pub(crate) output: Shape,
    /// By which inputs to differentiate.
    pub(crate) gradients: Vec<usize>,
    /// r in the loss Σ y·r that is differentiated.
    pub(crate) weights: Vec<f32>,
    /// Whether the inputs hold NaN, infinities or numbers near the ends of the range.
    pub(crate) special: bool,
    /// The result, then the gradients.
    pub(crate) references: Vec<Reference>,
}

/// An array that PyTorch computed, and what bounds the rounding errors of others that compute it.
pub(crate) struct Reference {
    /// In double precision.
    pub(crate) double: Vec<f64>,
    /// In single precision.
    pub(crate) single: Vec<f32>,
    /// The length of the longest sum in it; 1 without sums.
    pub(crate) terms: f64,
    /// The largest sum of absolute values of such terms.
    pub(crate) magnitude: f64,
}

/// A tensor of numbers that cases take from the front.
struct Pack<T>(std::vec::IntoIter<T>);

impl<T> Pack<T> {
    fn read<const BYTES: usize>(file: &SafeTensors<'_>, name: &str, number: fn([u8; BYTES]) -> T) -> Pack<T> {
        let bytes = file.tensor(name).expect("the tensor is in the file").data();
        let (numbers, rest) = bytes.as_chunks::<BYTES>();
        assert!(rest.is_empty());
        Pack(numbers.iter().map(|&bytes| number(bytes)).collect::<Vec<T>>().into_iter())
    }

    fn take(&mut self, count: usize) -> Vec<T> {
        let taken: Vec<T> = self.0.by_ref().take(count).collect();
        assert_eq!(taken.len(), count, "the file ends early");
        taken
    }
}

/// Sizes or places in a list.
pub(crate) fn whole_numbers(list: &Json) -> Vec<usize> {
    let list = list.as_array().expect("a list");
    list.iter().map(|number| number.as_u64().expect("a whole number") as usize).collect()
}

fn numbers(list: &Json) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    FAMILIES.iter().flat_map(|family| read(&folder, family)).collect()
}

fn read(folder: &Path, family: &str) -> Vec<Case> {
    let text = std::fs::read(folder.join(format!("{family}.json"))).expect("the list of cases");
    let list: Vec<Json> = serde_json::from_slice(&text).expect("a list of cases");
    let bytes = std::fs::read(folder.join(format!("{family}.safetensors"))).expect("the numbers of the cases");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut floats = Pack::read(&file, "given_f32", f32::from_le_bytes);
    let mut words = Pack::read(&file, "given_u32", u32::from_le_bytes);
    let mut doubles = Pack::read(&file, "reference_f64", f64::from_le_bytes);
    let mut singles = Pack::read(&file, "reference_f32", f32::from_le_bytes);
    let mut cases = Vec::new();
    for entry in &list {
        let inputs: Vec<Tensor> = entry["inputs"]
            .as_array()
            .expect("the inputs")
            .iter()
            .map(|input| {
                let shape = Shape::from(whole_numbers(&input[1]));
                let count = shape.elements();
                match input[0].as_str() {
                    Some("f32") => Tensor::from_f32(shape, &floats.take(count)),
                    Some("u32") => Tensor::from_u32(shape, &words.take(count)),
                    Some("i32") => Tensor::from_i32(shape, bytemuck::cast_slice(&words.take(count))),
                    other => panic!("an input of type {other:?}"),
                }
                .expect("as many numbers as the shape holds")
            })
            .collect();
        let output = Shape::from(whole_numbers(&entry["output"]));
        let gradients = whole_numbers(&entry["gradients"]);
        let weights = if gradients.is_empty() { Vec::new() } else { floats.take(output.elements()) };
        let counts = std::iter::once(output.elements())
            .chain(gradients.iter().map(|&place| inputs[place].shape().elements()))
            .collect::<Vec<usize>>();
        let (terms, magnitudes) = (numbers(&entry["terms"]), numbers(&entry["magnitudes"]));
        assert!(terms.len() == counts.len() && magnitudes.len() == counts.len());
        let references = counts
            .iter()
            .zip(terms.iter().zip(&magnitudes))
            .map(|(&count, (&terms, &magnitude))| Reference {
                double: doubles.take(count),
                single: singles.take(count),
                terms,
                magnitude,
            })
            .collect();
        cases.push(Case {
            op: entry["op"].as_str().expect("an operator").into(),
            name: entry["name"].as_str().expect("a name").into(),
            inputs,
            attributes: entry["attributes"].clone(),
            output,
            gradients,
            weights,
            special: entry["special"] == Json::Bool(true),
            references,
        });
    }
    let left = [floats.0.len(), words.0.len(), doubles.0.len(), singles.0.len()];
    assert_eq!(left, [0; 4], "{family}: numbers that belong to no case");
    cases
}

impl Case {
    /// The elements of a float input; none if it is of whole numbers.
    pub(crate) fn floats(&self, place: usize) -> &[f32] {
        self.inputs[place].as_f32().unwrap_or(&[])
    }

    /// One element of an input of any type.
    pub(crate) fn number(&self, place: usize, index: usize) -> f64 {
        match Input::from(&self.inputs[place]) {
            Input::F32(values) => f64::from(values[index]),
            Input::U32(values) => f64::from(values[index]),
            Input::I32(values) => f64::from(values[index]),
            Input::F64(values) => values[index],
        }
    }
}
