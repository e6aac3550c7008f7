//! Metrics, on the host.

use nn_core::{Error, Tensor};

/// The share of predictions that equal their label; NaN where there are none.
pub fn accuracy(predictions: &[u32], labels: &[u32]) -> f64 {
    let hits = predictions.iter().zip(labels).filter(|(prediction, label)| prediction == label).count();
    hits as f64 / labels.len() as f64
}

/// How often label `i` was predicted as `j`, at `[i][j]`, for classes below `count`; others are left out.
pub fn confusion(predictions: &[u32], labels: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut table = vec![vec![0; count]; count];
    for (&prediction, &label) in predictions.iter().zip(labels) {
        if let Some(cell) = table.get_mut(label as usize).and_then(|row| row.get_mut(prediction as usize)) {
            *cell += 1;
        }
    }
    table
}

/// The mean, over the classes that occur in truth or prediction, of how much of the union of their true and predicted
/// places lies in both; from a [`confusion`] table. NaN where there is none.
pub fn mean_iou(confusion: &[Vec<u32>]) -> f64 {
    let overlap = |class: usize| {
        let both = f64::from(confusion[class][class]);
        let truth: f64 = confusion[class].iter().map(|&count| f64::from(count)).sum();
        let predicted: f64 = confusion.iter().map(|row| f64::from(row[class])).sum();
        let union = truth + predicted - both;
        (union > 0.0).then(|| both / union)
    };
    let overlaps: Vec<f64> = (0..confusion.len()).filter_map(overlap).collect();
    overlaps.iter().sum::<f64>() / overlaps.len() as f64
}

/// The place of the largest element of each row of `(rows, …)`: the first of equals, the first NaN if there is one.
///
/// # Errors
/// If the tensor is not `f32` or has no rows.
pub fn argmax_rows(output: &Tensor) -> Result<Vec<u32>, Error> {
    let rows = output.shape().first().copied().unwrap_or(0);
    if rows == 0 {
        return Err(Error::Usage(format!("a tensor {} has no rows to choose classes in", output.kind())));
    }
    let values = output.as_f32()?;
    let largest = |row: &[f32]| {
        let mut best = 0;
        for (place, value) in row.iter().enumerate() {
            if !row[best].is_nan() && (value.is_nan() || *value > row[best]) {
                best = place;
            }
        }
        best as u32
    };
    Ok(values.chunks(values.len() / rows).map(largest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted() -> Result<(), Error> {
        assert_eq!(accuracy(&[0, 1, 2, 2], &[0, 1, 1, 2]), 0.75);
        assert_eq!(confusion(&[0, 1, 2, 2], &[0, 1, 1, 2], 3), [[1, 0, 0], [0, 1, 1], [0, 0, 1]]);
        // Each of two classes has 1 place of 2; the third does not occur.
        assert_eq!(mean_iou(&[vec![1, 1, 0], vec![0, 1, 0], vec![0, 0, 0]]), (0.5 + 0.5) / 2.0);
        let output = Tensor::from_f32([3, 3], &[1.0, 5.0, 5.0, -3.0, -2.0, -4.0, 1.0, f32::NAN, 9.0])?;
        assert_eq!(argmax_rows(&output)?, [1, 1, 1]);
        Ok(())
    }
}
