//! What the trainer needs of a data set, and a data set in memory.

use crate::Error;
use crate::nn::{IGNORED, TargetKind};
use nn_core::DType;

/// The targets of a data set, for all rows.
#[derive(Clone, Copy, Debug)]
pub enum TargetsRef<'a> {
    /// One class a row.
    Classes {
        /// The class of each row, below `count`.
        labels: &'a [u32],
        /// The number of classes.
        count: usize,
    },
    /// A class for each of `size` places in a row, such as the pixels of a picture.
    ClassMaps {
        /// `rows · size` classes, below `count`, in row-major order.
        labels: &'a [u32],
        /// The number of classes.
        count: usize,
        /// How many places a row has.
        size: usize,
    },
    /// A class for each of `length` places in a row, such as the token that comes next, or
    /// [`IGNORED`](crate::nn::IGNORED).
    Sequences {
        /// Row `r` has `labels[r · stride ..][.. length]`.
        labels: &'a [u32],
        /// The number of classes.
        count: usize,
        /// How many places a row has.
        length: usize,
        /// From one row to the next; rows overlap where it is less than `length`.
        stride: usize,
    },
    /// Numbers, `width` a row, in row-major order.
    Values {
        /// `rows · width` numbers.
        values: &'a [f32],
        /// How many a row.
        width: usize,
    },
}

impl TargetsRef<'_> {
    /// What kind of targets they are.
    pub fn kind(&self) -> TargetKind {
        match *self {
            TargetsRef::Classes { count, .. } => TargetKind::Classes { count },
            TargetsRef::ClassMaps { count, size, .. } => TargetKind::ClassMaps { count, size },
            TargetsRef::Sequences { count, length, .. } => TargetKind::Sequences { count, length },
            TargetsRef::Values { width, .. } => TargetKind::Values { width },
        }
    }
}

/// A data set: samples of one shape, with targets. Batches are made ready by other threads than the one that trains.
pub trait Data: Sync {
    /// The number of samples.
    fn rows(&self) -> usize;

    /// The sizes of one sample, such as `[64]` or `[1, 28, 28]`.
    fn sample_shape(&self) -> &[usize];

    /// The targets of all rows.
    fn targets(&self) -> TargetsRef<'_>;

    /// The element type of the samples: `f32`, or `u32` for token ids.
    fn sample_dtype(&self) -> DType {
        DType::F32
    }

    /// Appends the samples of these rows to `inputs`, one after the other. For samples of `u32` values it is not called.
    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>);

    /// As [`Data::batch`], for samples of `u32` values only.
    fn batch_indices(&self, rows: &[usize], inputs: &mut Vec<u32>) {
        let _ = (rows, inputs);
    }

    /// As [`Data::batch`] for training: with random changes to the samples, if the data has such. They may depend on
    /// the row and on `visit`, which is another number in each epoch and for each seed, and on nothing else.
    fn augmented(&self, visit: u64, rows: &[usize], inputs: &mut Vec<f32>) {
        let _ = visit;
        self.batch(rows, inputs);
    }

    /// Whether making a batch is work, so that threads of their own should do it while the device trains.
    fn is_laborious(&self) -> bool {
        false
    }
}

/// A data set in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayData {
    inputs: Vec<f32>,
    sample_shape: Vec<usize>,
    sample_size: usize,
    targets: Targets,
}

#[derive(Clone, Debug, PartialEq)]
enum Targets {
    Classes { labels: Vec<u32>, count: usize },
    Values { values: Vec<f32>, width: usize },
}

impl ArrayData {
    /// Samples, one after the other, with a class each.
    ///
    /// # Errors
    /// If the sizes don't fit each other or a class is not below `count`.
    pub fn with_classes(
        inputs: Vec<f32>,
        sample_shape: impl Into<Vec<usize>>,
        labels: Vec<u32>,
        count: usize,
    ) -> Result<ArrayData, Error> {
        ArrayData::new(inputs, sample_shape.into(), Targets::Classes { labels, count })
    }

    /// Samples, one after the other, with `width` numbers each as targets.
    ///
    /// # Errors
    /// If the sizes don't fit each other.
    pub fn with_values(
        inputs: Vec<f32>,
        sample_shape: impl Into<Vec<usize>>,
        values: Vec<f32>,
        width: usize,
    ) -> Result<ArrayData, Error> {
        ArrayData::new(inputs, sample_shape.into(), Targets::Values { values, width })
    }

    fn new(inputs: Vec<f32>, sample_shape: Vec<usize>, targets: Targets) -> Result<ArrayData, Error> {
        let sample_size: usize = sample_shape.iter().product();
        if sample_size == 0 || !inputs.len().is_multiple_of(sample_size) {
            return Err(Error::Data(format!(
                "{} input values are not a whole number of samples of shape {sample_shape:?}",
                inputs.len()
            )));
        }
        let data = ArrayData { inputs, sample_shape, sample_size, targets };
        check_targets(&data, "the data")?;
        Ok(data)
    }
}

impl Data for ArrayData {
    fn rows(&self) -> usize {
        self.inputs.len() / self.sample_size
    }

    fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    fn targets(&self) -> TargetsRef<'_> {
        match &self.targets {
            Targets::Classes { labels, count } => TargetsRef::Classes { labels, count: *count },
            Targets::Values { values, width } => TargetsRef::Values { values, width: *width },
        }
    }

    fn batch(&self, rows: &[usize], inputs: &mut Vec<f32>) {
        for row in rows {
            inputs.extend_from_slice(&self.inputs[row * self.sample_size..(row + 1) * self.sample_size]);
        }
    }
}

/// Checks a data set as a whole, so that a fault is found before the first step. `what` names it in messages.
pub(super) fn check(data: &dyn Data, what: &str) -> Result<(), Error> {
    if data.rows() == 0 {
        return Err(Error::Data(format!("{what} has no rows; nothing can be learned or measured from it")));
    }
    check_targets(data, what)?;
    let size: usize = data.sample_shape().iter().product();
    let rows: Vec<usize> = (0..data.rows()).collect();
    let complete = |found: usize, rows: usize| match rows * size {
        wanted if found == wanted => Ok(()),
        wanted => Err(Error::Data(format!("{what} gave {found} input values for {rows} rows, expected {wanted}"))),
    };
    if data.sample_dtype() == DType::U32 {
        // Whether a model knows the indices is for the model to say; rows may overlap, so not all are read.
        let mut inputs = Vec::new();
        for rows in [&rows[..1], &rows[rows.len() - 1..]] {
            inputs.clear();
            data.batch_indices(rows, &mut inputs);
            complete(inputs.len(), 1)?;
        }
        return Ok(());
    }
    let mut inputs = Vec::new();
    for rows in rows.chunks(256) {
        inputs.clear();
        data.batch(rows, &mut inputs);
        complete(inputs.len(), rows.len())?;
        if let Some(place) = inputs.iter().position(|value| !value.is_finite()) {
            let (row, column) = (rows[place / size], place % size);
            let value = inputs[place];
            return Err(Error::Data(format!(
                "{what} has {value} in row {row}, at input value {column} (both counted from 0); remove or repair the row"
            )));
        }
    }
    Ok(())
}

fn check_targets(data: &dyn Data, what: &str) -> Result<(), Error> {
    let rows = data.rows();
    let mismatch = |found: usize, wanted: usize| {
        Err(Error::Data(format!("{what} has {rows} rows, so it needs {wanted} target values, but it has {found}")))
    };
    let classes = |labels: &[u32], count: usize, size: usize| {
        if size == 0 || labels.len() != rows * size {
            return mismatch(labels.len(), rows * size.max(1));
        }
        match labels.iter().position(|&label| label as usize >= count) {
            Some(place) => Err(Error::Data(format!(
                "{what} has class {} in row {} (counted from 0), but there are {count} classes: they must be 0 to {}",
                labels[place],
                place / size,
                count.saturating_sub(1)
            ))),
            None => Ok(()),
        }
    };
    match data.targets() {
        TargetsRef::Classes { labels, count } => classes(labels, count, 1),
        TargetsRef::ClassMaps { labels, count, size } => classes(labels, count, size),
        TargetsRef::Sequences { labels, count, length, stride } => {
            if length == 0 || stride == 0 || labels.len() < (rows - 1) * stride + length {
                return mismatch(labels.len(), (rows - 1) * stride + length);
            }
            match labels.iter().position(|&label| label as usize >= count && label != IGNORED) {
                Some(place) => Err(Error::Data(format!(
                    "{what} has the target {} at place {place} (counted from 0), but there are {count} classes: they \
                     must be 0 to {}",
                    labels[place],
                    count.saturating_sub(1)
                ))),
                None => Ok(()),
            }
        }
        TargetsRef::Values { values, width } => {
            if width == 0 || values.len() != rows * width {
                return mismatch(values.len(), rows * width.max(1));
            }
            match values.iter().position(|value| !value.is_finite()) {
                Some(place) => Err(Error::Data(format!(
                    "{what} has the target {} in row {} (counted from 0); remove or repair the row",
                    values[place],
                    place / width
                ))),
                None => Ok(()),
            }
        }
    }
}
