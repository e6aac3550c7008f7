//! Pooling as methods of values.

use super::{PoolOptions, adaptive, average_pool, max_pool};
use crate::graph::Value;
use cpu_reference::Divisor;

const BOTH: [&str; 2] = ["height", "width"];
const ROWS: [&str; 2] = ["height", "length"];

/// The height and width of planes, or the length of rows and a height of 1.
fn size_of(x: Value, dimensions: usize) -> Result<[usize; 2], String> {
    match (dimensions, &x.shape()[..]) {
        (1, [_, _, length]) => Ok([1, *length]),
        (2, [_, _, height, width]) => Ok([*height, *width]),
        (1, _) => Err(format!("the input must be [batch, channels, length], not {}", x.shape())),
        _ => Err(format!("the input must be [batch, channels, height, width], not {}", x.shape())),
    }
}

/// Goes on with what fits, or notes the mistake.
#[track_caller]
fn checked<T, R>(x: Value, name: &str, checked: Result<T, String>, otherwise: R, go_on: impl FnOnce(T) -> R) -> R {
    match checked {
        Ok(fits) => go_on(fits),
        Err(message) => {
            x.recorder().fail(name, message);
            otherwise
        }
    }
}

fn raised(x: Value) -> Value {
    let shape = x.shape();
    x.reshape([shape[0], shape[1], 1, shape[2]])
}

fn lowered(x: Value) -> Value {
    let shape = x.shape();
    x.reshape([shape[0], shape[1], shape[3]])
}

impl Value {
    /// The largest element of each window: `(batch, channels, height, width)` gives `(batch, channels, ⌊(height +
    /// 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1, …)`, rounded up with `ceil_mode`, all `f32`. NaN is larger than
    /// all; of equals the first in its window has the gradient. `torch.nn.functional.max_pool2d`.
    ///
    /// A padding beyond half of the kernel, or windows larger than the input, are an error of the trace.
    #[track_caller]
    pub fn max_pool2d(self, options: &PoolOptions) -> Value {
        self.max_pool2d_with_indices(options)[0]
    }

    /// The same, and as `u32` where each element was found: `row·width + column` in its plane, without gradient.
    /// `torch.nn.functional.max_pool2d(return_indices=True)`.
    #[track_caller]
    pub fn max_pool2d_with_indices(self, options: &PoolOptions) -> [Value; 2] {
        let axes = size_of(self, 2).and_then(|size| options.axes(size, BOTH));
        checked(self, "max_pool2d", axes, [self; 2], |axes| max_pool(axes, self))
    }

    /// As [`Value::max_pool2d`] over one dimension: `(batch, channels, length)`. Of the options the width's count.
    /// `torch.nn.functional.max_pool1d`.
    #[track_caller]
    pub fn max_pool1d(self, options: &PoolOptions) -> Value {
        let axes = size_of(self, 1).and_then(|size| options.of_rows().axes(size, ROWS));
        checked(self, "max_pool1d", axes, self, |axes| lowered(max_pool(axes, raised(self))[0]))
    }

    /// The mean of each window: shapes and errors as those of [`Value::max_pool2d`]. `torch.nn.functional.avg_pool2d`.
    #[track_caller]
    pub fn average_pool2d(self, options: &PoolOptions) -> Value {
        let axes = size_of(self, 2).and_then(|size| Ok((options.axes(size, BOTH)?, options.divisor()?)));
        checked(self, "average_pool2d", axes, self, |(axes, divisor)| average_pool(axes, divisor, self))
    }

    /// As [`Value::average_pool2d`] over one dimension: `(batch, channels, length)`. Of the options the width's count.
    /// `torch.nn.functional.avg_pool1d`.
    #[track_caller]
    pub fn average_pool1d(self, options: &PoolOptions) -> Value {
        let options = options.of_rows();
        let axes = size_of(self, 1).and_then(|size| Ok((options.axes(size, ROWS)?, options.divisor()?)));
        checked(self, "average_pool1d", axes, self, |(axes, divisor)| {
            lowered(average_pool(axes, divisor, raised(self)))
        })
    }

    /// The mean of each of `output` windows of about equal size: `(batch, channels, height, width)` gives `(batch,
    /// channels, output height, output width)`, all `f32`. Window i has the rows from ⌊i·height/output⌋ until ⌈(i +
    /// 1)·height/output⌉. `torch.nn.functional.adaptive_avg_pool2d`.
    #[track_caller]
    pub fn adaptive_average_pool2d(self, output: [usize; 2]) -> Value {
        let axes = size_of(self, 2).and_then(|size| adaptive(size, output));
        checked(self, "adaptive_average_pool2d", axes, self, |axes| match output {
            // One window is a mean, which adds up in parallel.
            [1, 1] => self.mean(&[2, 3]).reshape([self.shape()[0], self.shape()[1], 1, 1]),
            _ => average_pool(axes, Divisor::Inside, self),
        })
    }

    /// The same over one dimension: `(batch, channels, length)` gives `(batch, channels, output)`.
    /// `torch.nn.functional.adaptive_avg_pool1d`.
    #[track_caller]
    pub fn adaptive_average_pool1d(self, output: usize) -> Value {
        let axes = size_of(self, 1).and_then(|size| adaptive(size, [1, output]));
        checked(self, "adaptive_average_pool1d", axes, self, |axes| match output {
            1 => self.mean(&[2]).reshape([self.shape()[0], self.shape()[1], 1]),
            _ => lowered(average_pool(axes, Divisor::Inside, raised(self))),
        })
    }

    /// The largest element of each of `output` windows, which are those of [`Value::adaptive_average_pool2d`].
    /// `torch.nn.functional.adaptive_max_pool2d`.
    #[track_caller]
    pub fn adaptive_max_pool2d(self, output: [usize; 2]) -> Value {
        let axes = size_of(self, 2).and_then(|size| adaptive(size, output));
        checked(self, "adaptive_max_pool2d", axes, self, |axes| max_pool(axes, self)[0])
    }

    /// The same over one dimension: `(batch, channels, length)` gives `(batch, channels, output)`.
    /// `torch.nn.functional.adaptive_max_pool1d`.
    #[track_caller]
    pub fn adaptive_max_pool1d(self, output: usize) -> Value {
        let axes = size_of(self, 1).and_then(|size| adaptive(size, [1, output]));
        checked(self, "adaptive_max_pool1d", axes, self, |axes| lowered(max_pool(axes, raised(self))[0]))
    }

    /// The mean of each channel: `(batch, channels, …)` gives `(batch, channels)`. `x.flatten(2).mean(2)` of PyTorch.
    #[track_caller]
    pub fn global_average_pool(self) -> Value {
        let rank = self.shape().rank();
        let fits = match rank {
            3.. => Ok((2..rank).collect::<Vec<usize>>()),
            _ => Err(format!("the input must be [batch, channels, …], not {}", self.shape())),
        };
        checked(self, "global_average_pool", fits, self, |axes| self.mean(&axes))
    }
}
