//! How far a run is: a bar on a terminal, else a line now and then. On standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR: usize = 24;

/// Samples a second as people are told them: whole, or with three digits, since a large model takes seconds a sample.
pub(super) fn speed(samples_per_second: f64) -> f64 {
    if !(1e-9..100.0).contains(&samples_per_second) {
        return samples_per_second.round();
    }
    let scale = 10_f64.powi(2 - samples_per_second.log10().floor() as i32);
    (samples_per_second * scale).round() / scale
}

/// Shows the progress of one run.
#[derive(Debug)]
pub(super) struct Progress {
    total: u32,
    terminal: bool,
    shown: Option<Instant>,
    /// Whether a bar stands on the current line.
    open: bool,
}

impl Progress {
    pub(super) fn new(total: u32) -> Progress {
        Progress { total, terminal: std::io::stderr().is_terminal(), shown: None, open: false }
    }

    /// Shows a step, unless the last one was shown just now.
    pub(super) fn step(&mut self, step: u32, loss: f32, samples_per_second: f64) {
        let pause = if self.terminal { Duration::from_millis(100) } else { Duration::from_secs(5) };
        let now = Instant::now();
        if self.shown.get_or_insert(now).elapsed() < pause {
            return;
        }
        self.shown = Some(now);
        let text = format!("step {step}/{}  loss {loss:.4}  {} samples/s", self.total, speed(samples_per_second));
        if self.terminal {
            let done = (BAR as u64 * u64::from(step) / u64::from(self.total.max(1))) as usize;
            let bar = format!("[{}{}]", "#".repeat(done.min(BAR)), ".".repeat(BAR - done.min(BAR)));
            self.write(&format!("\r{bar} {text}\x1b[K"));
            self.open = true;
        } else {
            self.line(&text);
        }
    }

    /// Shows a line of its own.
    pub(super) fn line(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.open) { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{text}\n"));
    }

    /// Removes the bar.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        // Nobody to tell if standard error is closed.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::speed;

    #[test]
    fn slow_models_have_a_speed_too() {
        for (given, told) in
            [(0.0, "0"), (0.022_74, "0.0227"), (0.999_9, "1"), (3.014, "3.01"), (99.96, "100"), (884.4, "884")]
        {
            assert_eq!(speed(given).to_string(), told);
        }
    }
}
