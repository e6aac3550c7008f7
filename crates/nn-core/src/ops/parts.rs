//! A whole and its parts: stack, split, chunk, triangles. All compositions of views, copies, concatenation and masks.

use crate::graph::Value;
use crate::ops::support::refused;
use crate::tensor::Tensor;

impl Value {
    /// This value and others of its shape side by side along a new dimension `axis`. `torch.stack`.
    #[track_caller]
    pub fn stack(self, others: &[Value], axis: usize) -> Value {
        let shape = self.shape();
        if axis > shape.rank() {
            return refused(self, "stack", format!("axis {axis} of values of {} dimensions", shape.rank()));
        }
        if let Some(other) = others.iter().find(|other| other.shape() != shape) {
            return refused(
                self,
                "stack",
                format!("all shapes must be equal, but they are {shape} and {}", other.shape()),
            );
        }
        let mut sizes = shape.to_vec();
        sizes.insert(axis, 1);
        let others: Vec<Value> = others.iter().map(|other| other.reshape(sizes.clone())).collect();
        self.reshape(sizes).concat(&others, axis)
    }

    /// Consecutive parts of these sizes along `axis`, which together are the whole. `torch.split` with sizes.
    #[track_caller]
    pub fn split(self, sizes: &[usize], axis: usize) -> Vec<Value> {
        let shape = self.shape();
        let length = shape.get(axis).copied();
        if length != Some(sizes.iter().sum()) || sizes.contains(&0) {
            let message = format!("parts of {sizes:?}, each of at least one, do not make up axis {axis} of {shape}");
            let value = refused(self, "split", message);
            return vec![value; sizes.len()];
        }
        let mut start = 0;
        let part = |&size: &usize| {
            let (mut starts, mut part) = (vec![0; shape.rank()], shape.to_vec());
            (starts[axis], part[axis]) = (start, size);
            start += size;
            self.slice(&starts, part)
        };
        sizes.iter().map(part).collect()
    }

    /// At most `count` parts along `axis`, all of one size but for a smaller last one. `torch.chunk`.
    #[track_caller]
    pub fn chunk(self, count: usize, axis: usize) -> Vec<Value> {
        let shape = self.shape();
        let Some(&length) = shape.get(axis).filter(|_| count > 0) else {
            return vec![refused(self, "chunk", format!("{count} parts along axis {axis} of {shape}"))];
        };
        let size = length.div_ceil(count).max(1);
        let sizes: Vec<usize> = (0..length).step_by(size).map(|start| size.min(length - start)).collect();
        self.split(&sizes, axis)
    }

    /// The last two dimensions `(…, rows, columns)` below the diagonal and on it, zeros above. A positive `diagonal` lies so
    /// many columns to the right, a negative one so many rows below. What is left out may be NaN. `torch.tril`.
    #[track_caller]
    pub fn tril(self, diagonal: isize) -> Value {
        self.triangle("tril", diagonal, |rows, columns| rows.greater_equal(columns))
    }

    /// The last two dimensions `(…, rows, columns)` above the diagonal and on it, zeros below; see [`Value::tril`].
    /// `torch.triu`.
    #[track_caller]
    pub fn triu(self, diagonal: isize) -> Value {
        self.triangle("triu", diagonal, |rows, columns| rows.less_equal(columns))
    }

    /// Keeps what the mask says of the numbers of rows, moved by the diagonal, and of columns.
    #[track_caller]
    fn triangle(self, name: &str, diagonal: isize, mask: impl FnOnce(Value, Value) -> Value) -> Value {
        let shape = self.shape();
        let [.., rows, columns] = *shape else {
            return refused(self, name, format!("the input must be [.., rows, columns], not {shape}"));
        };
        // Beyond these all or nothing is kept.
        let diagonal = diagonal.clamp(-(rows as isize), columns as isize) as i32;
        let trace = self.recorder();
        let rows: Vec<i32> = (0..rows as i32).map(|row| row + diagonal).collect();
        let columns: Vec<i32> = (0..columns as i32).collect();
        let numbers = Tensor::from_i32([rows.len(), 1], &rows)
            .and_then(|rows| Ok([rows, Tensor::from_i32([1, columns.len()], &columns)?]));
        match numbers {
            Ok(numbers) => {
                let [rows, columns] = numbers.map(|numbers| trace.constant(&numbers));
                mask(rows, columns).select(self, self.zeros_like())
            }
            Err(error) => refused(self, name, error.to_string()),
        }
    }
}
