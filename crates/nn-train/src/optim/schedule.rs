//! How the learning rate changes over a run.

/// The learning rate over the steps of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// The same throughout.
    #[default]
    Constant,
    /// Up to the full rate over `warmup` steps, then down to `min_lr` in a straight line.
    Linear {
        /// Steps of warming up; 0 for none.
        warmup: u32,
        /// The rate after the last step.
        min_lr: f64,
    },
    /// Up to the full rate over `warmup` steps, then down to `min_lr` along half a cosine wave (Loshchilov and
    /// Hutter, 2017). `torch.optim.lr_scheduler.CosineAnnealingLR` after a warm-up.
    Cosine {
        /// Steps of warming up; 0 for none.
        warmup: u32,
        /// The rate after the last step.
        min_lr: f64,
    },
    /// Up to the full rate over `warmup` steps, then constant.
    Warmup {
        /// Steps of warming up.
        warmup: u32,
    },
}

impl Schedule {
    /// The learning rate of step `step` (from 1) of `total`, where `lr` is the full rate.
    ///
    /// Step `s` of the warm-up has `lr`·s/`warmup`. The first step after it has the full rate, and `min_lr` would be
    /// that of the step after the last, as with a PyTorch scheduler that is stepped after each step.
    pub fn learning_rate(&self, lr: f64, step: u32, total: u32) -> f64 {
        let (warmup, min_lr) = match *self {
            Schedule::Constant => return lr,
            Schedule::Warmup { warmup } => (warmup, lr),
            Schedule::Linear { warmup, min_lr } | Schedule::Cosine { warmup, min_lr } => (warmup, min_lr),
        };
        if step <= warmup {
            return lr * f64::from(step) / f64::from(warmup);
        }
        let length = f64::from(total.saturating_sub(warmup).max(1));
        let progress = (f64::from(step - 1 - warmup) / length).min(1.0);
        let share = match self {
            Schedule::Cosine { .. } => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            _ => 1.0 - progress,
        };
        min_lr + (lr - min_lr) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_their_formulas() {
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        near(Schedule::Constant.learning_rate(0.1, 7, 10), 0.1);
        let cosine = Schedule::Cosine { warmup: 4, min_lr: 0.1 };
        near(cosine.learning_rate(1.0, 1, 14), 0.25);
        near(cosine.learning_rate(1.0, 4, 14), 1.0);
        near(cosine.learning_rate(1.0, 5, 14), 1.0);
        near(cosine.learning_rate(1.0, 10, 14), 0.55);
        near(cosine.learning_rate(1.0, 15, 14), 0.1);
        let linear = Schedule::Linear { warmup: 0, min_lr: 0.0 };
        near(linear.learning_rate(2.0, 1, 4), 2.0);
        near(linear.learning_rate(2.0, 4, 4), 0.5);
        near(Schedule::Warmup { warmup: 2 }.learning_rate(1.0, 1, 9), 0.5);
        near(Schedule::Warmup { warmup: 2 }.learning_rate(1.0, 9, 9), 1.0);
    }
}
