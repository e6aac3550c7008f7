//! Sums of products by the labels of their axes: permutations, reshapes, matrix products and sums, no kernel of its own.

use crate::graph::Value;
use crate::ops::support::refused;

/// A value, and the label of each of its axes, all different.
#[derive(Clone)]
struct Labelled {
    value: Value,
    labels: Vec<char>,
}

/// The labels of each operand and of the result.
struct Equation {
    operands: Vec<Vec<char>>,
    result: Vec<char>,
}

impl Equation {
    /// Reads `ab,bc->ac`; without an arrow the result has the labels that appear once, in alphabetic order.
    fn read(text: &str) -> Result<Equation, String> {
        if text.contains("...") {
            return Err("an ellipsis is not supported; name each axis".into());
        }
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let labels = |part: &str| -> Result<Vec<char>, String> {
            let labels: Vec<char> = part.chars().collect();
            for (place, label) in labels.iter().enumerate() {
                if !label.is_ascii_alphabetic() {
                    return Err(format!("{label:?} is no label; labels are letters from a to z and A to Z"));
                }
                if labels[..place].contains(label) {
                    let message = "diagonals are not supported; each label may stand once in an operand or the result";
                    return Err(format!("the label {label} is repeated in {part:?}: {message}"));
                }
            }
            Ok(labels)
        };
        let operands = left.split(',').map(labels).collect::<Result<Vec<_>, _>>()?;
        let result = match right {
            Some(right) => labels(right)?,
            None => {
                let all: Vec<char> = operands.iter().flatten().copied().collect();
                let once = |label: &char| all.iter().filter(|other| *other == label).count() == 1;
                let mut labels: Vec<char> = all.iter().copied().filter(once).collect();
                labels.sort_unstable();
                labels
            }
        };
        if let Some(label) = result.iter().find(|label| !operands.iter().any(|labels| labels.contains(label))) {
            return Err(format!("the label {label} of the result is in no operand"));
        }
        Ok(Equation { operands, result })
    }

    /// Gives the operands their labels.
    fn label(&self, operands: &[Value]) -> Result<Vec<Labelled>, String> {
        if operands.len() != self.operands.len() {
            return Err(format!("there are {} operands for {} lists of labels", operands.len(), self.operands.len()));
        }
        let mut sizes: Vec<(char, usize)> = Vec::new();
        for (labels, value) in self.operands.iter().zip(operands) {
            let shape = value.shape();
            if shape.rank() != labels.len() {
                let labels: String = labels.iter().collect();
                return Err(format!(
                    "an operand of {shape} has {} dimensions, but its labels are {labels:?}",
                    shape.rank()
                ));
            }
            for (&label, &size) in labels.iter().zip(shape.iter()) {
                match sizes.iter().find(|(known, _)| *known == label) {
                    Some((_, known)) if *known != size => {
                        return Err(format!(
                            "the axis {label} has {known} elements in one operand and {size} in another"
                        ));
                    }
                    _ => sizes.push((label, size)),
                }
            }
        }
        let pairs = self.operands.iter().zip(operands);
        Ok(pairs.map(|(labels, &value)| Labelled { value, labels: labels.clone() }).collect())
    }
}

impl Labelled {
    fn size(&self, label: char) -> usize {
        let place = self.labels.iter().position(|known| *known == label);
        place.map_or(1, |place| self.value.shape()[place])
    }

    /// Summed over the labels that are not among the wanted.
    #[track_caller]
    fn summed(&self, wanted: impl Fn(char) -> bool) -> Labelled {
        let axes: Vec<usize> = (0..self.labels.len()).filter(|&axis| !wanted(self.labels[axis])).collect();
        let labels = self.labels.iter().copied().filter(|&label| wanted(label)).collect();
        Labelled { value: self.value.sum(&axes), labels }
    }

    /// With its axes in another order, which has the same labels.
    #[track_caller]
    fn ordered(&self, labels: &[char]) -> Value {
        if labels == self.labels {
            return self.value;
        }
        let place = |label: &char| self.labels.iter().position(|known| known == label);
        self.value.permute(&labels.iter().filter_map(place).collect::<Vec<usize>>())
    }

    /// The axes in this order, where those that it lacks have size 1.
    #[track_caller]
    fn spread(&self, labels: &[char]) -> Value {
        let own: Vec<char> = labels.iter().copied().filter(|label| self.labels.contains(label)).collect();
        let sizes: Vec<usize> = labels.iter().map(|&label| self.size(label)).collect();
        let ordered = self.ordered(&own);
        if own.len() == labels.len() { ordered } else { ordered.reshape(sizes) }
    }

    /// A batch of matrices, whose rows and columns are those labels.
    #[track_caller]
    fn matrix(&self, batch: &[char], rows: &[char], columns: &[char]) -> Value {
        let ordered = self.ordered(&[batch, rows, columns].concat());
        if rows.len() == 1 && columns.len() == 1 {
            return ordered;
        }
        let total = |group: &[char]| group.iter().map(|&label| self.size(label)).product::<usize>();
        let batch = batch.iter().map(|&label| self.size(label));
        ordered.reshape(batch.chain([total(rows), total(columns)]).collect::<Vec<usize>>())
    }

    /// The product with another one, summed over the labels that only these two have.
    #[track_caller]
    fn product(&self, other: &Labelled, wanted: impl Fn(char) -> bool + Copy) -> Labelled {
        // What one operand alone has can be summed before.
        let left = self.summed(|label| wanted(label) || other.labels.contains(&label));
        let right = other.summed(|label| wanted(label) || self.labels.contains(&label));
        let of = |side: &Labelled, keep: &dyn Fn(char) -> bool| -> Vec<char> {
            side.labels.iter().copied().filter(|&label| keep(label)).collect()
        };
        let batch = of(&left, &|label| right.labels.contains(&label) && wanted(label));
        let depth = of(&left, &|label| right.labels.contains(&label) && !wanted(label));
        let rows = of(&left, &|label| !right.labels.contains(&label));
        let columns = of(&right, &|label| !left.labels.contains(&label));
        if depth.is_empty() || (rows.is_empty() && columns.is_empty()) {
            // Nothing is summed; or dot products, for which a matrix product would leave most of a workgroup idle.
            let labels = [&batch[..], &depth, &rows, &columns].concat();
            let value = left.spread(&labels) * right.spread(&labels);
            return Labelled { value, labels }.summed(wanted);
        }
        let labels = [&batch[..], &rows, &columns].concat();
        let product = left.matrix(&batch, &rows, &depth).matmul(right.matrix(&batch, &depth, &columns));
        let sizes = labels.iter().map(|&label| left.size(label).max(right.size(label))).collect::<Vec<usize>>();
        let whole = rows.len() == 1 && columns.len() == 1;
        Labelled { value: if whole { product } else { product.reshape(sizes) }, labels }
    }
}

/// The sum of products of operands, by labels of their axes: `einsum("bhqd,bhkd->bhqk", &[queries, keys])`. Each
/// operand's axes are named by letters; operands are separated by commas. The result has the labels after the arrow, or
/// without an arrow those that appear once, in alphabetic order; what other labels name is summed over. White space counts
/// for nothing. Operands are `f32`, and so is the result. More than two are taken from left to right. `torch.einsum`.
///
/// An ellipsis, a label twice in an operand (a diagonal), a label of the result that no operand has, and axes of one label
/// and different sizes are errors of the trace.
#[track_caller]
pub fn einsum<const N: usize>(equation: &str, operands: &[Value; N]) -> Value {
    const { assert!(N > 0, "einsum needs at least one operand") };
    let read = Equation::read(equation).and_then(|read| Ok((read.label(operands)?, read.result)));
    let (labelled, result) = match read {
        Ok(read) => read,
        Err(message) => return refused(operands[0], "einsum", format!("{equation:?}: {message}")),
    };
    let mut left = labelled[0].clone();
    for (number, right) in labelled.iter().enumerate().skip(1) {
        let later = &labelled[number + 1..];
        let wanted = |label: char| result.contains(&label) || later.iter().any(|other| other.labels.contains(&label));
        left = left.product(right, wanted);
    }
    left.summed(|label| result.contains(&label)).ordered(&result)
}
