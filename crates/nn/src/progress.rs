//! What `fit` shows: a bar on a terminal, a line an epoch anywhere else.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::history::Epoch;
use crate::totals::Means;

/// What `fit` writes to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbose {
    /// A bar if stderr is a terminal and `TILEGRAD_DEBUG` writes nothing there, else lines.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// A bar for each epoch, redrawn in place.
    Bar,
    /// A line for each epoch, without control characters: for files and pipes.
    Lines,
}

/// Values on the bar are read back from the device this often: it redraws no faster than a person reads.
const REFRESH: Duration = Duration::from_millis(100);

/// Without a bar they are still read, so that a lost device or a lack of memory is noticed in the middle of an epoch.
const CHECK: Duration = Duration::from_secs(1);

/// The display of a whole training run.
pub(crate) struct Progress {
    verbose: Verbose,
    epochs: usize,
    bar: Option<ProgressBar>,
    steps: usize,
    epoch: usize,
    started: Instant,
    /// When values were last asked for.
    refreshed: Instant,
}

impl Progress {
    pub(crate) fn new(verbose: Verbose, epochs: usize) -> Progress {
        let verbose = match verbose {
            Verbose::Auto if stderr().is_terminal() && std::env::var_os("TILEGRAD_DEBUG").is_none() => Verbose::Bar,
            Verbose::Auto => Verbose::Lines,
            other => other,
        };
        let now = Instant::now();
        Progress { verbose, epochs, bar: None, steps: 0, epoch: 0, started: now, refreshed: now }
    }

    pub(crate) fn start_epoch(&mut self, epoch: usize, steps: usize) {
        (self.epoch, self.steps, self.started, self.refreshed) = (epoch, steps, Instant::now(), Instant::now());
        if self.verbose == Verbose::Bar {
            eprintln!("Epoch {}/{}", epoch + 1, self.epochs);
            let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr_with_hz(10));
            let template = "{pos:>5}/{len} {bar:20.green/dim} {eta:>4} {msg}";
            let style = ProgressStyle::with_template(template).expect("a constant template");
            bar.set_style(style.progress_chars("━━─"));
            self.bar = Some(bar);
        }
    }

    /// Counts a step that has been recorded.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Whether it is time to read values back.
    pub(crate) fn is_due(&mut self) -> bool {
        let interval = if self.bar.is_some() { REFRESH } else { CHECK };
        let due = self.refreshed.elapsed() >= interval;
        if due {
            self.refreshed = Instant::now();
        }
        due
    }

    /// Says something beside the figures.
    pub(crate) fn note(&self, text: &str) {
        let say = || eprintln!("{text}");
        match &self.bar {
            _ if self.verbose == Verbose::Off => {}
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    pub(crate) fn show(&self, means: &Means) {
        if let Some(bar) = &self.bar {
            let pace = pace(self.started.elapsed().as_secs_f64(), bar.position() as usize);
            bar.set_message(format!("{pace} - {}", values("", means.loss, means.accuracy)));
        }
    }

    pub(crate) fn end_epoch(&mut self, epoch: &Epoch) {
        let mut text = values("", epoch.loss, epoch.accuracy) + &others("", &epoch.metrics);
        if let Some(loss) = epoch.val_loss {
            text += &format!(" - {}{}", values("val_", loss, epoch.val_accuracy), others("val_", &epoch.val_metrics));
        }
        let took = format!("{:.1}s {}", epoch.seconds, pace(self.started.elapsed().as_secs_f64(), self.steps));
        match (self.bar.take(), self.verbose) {
            (Some(bar), _) => {
                bar.finish_and_clear();
                eprintln!("{0:>5}/{0} {1} {took} - {text}", self.steps, "━".repeat(20));
            }
            (None, Verbose::Lines) => {
                let rate = epoch.images_per_second;
                eprintln!("Epoch {}/{} - {took} - {text} - {rate:.0} images/s", self.epoch + 1, self.epochs);
            }
            (None, _) => {}
        }
    }
}

fn values(prefix: &str, loss: f32, accuracy: Option<f32>) -> String {
    let accuracy = accuracy.map(|a| format!("{prefix}accuracy: {a:.4} - ")).unwrap_or_default();
    format!("{accuracy}{prefix}loss: {loss:.4}")
}

/// Metrics beside the accuracy.
fn others(prefix: &str, metrics: &BTreeMap<String, f32>) -> String {
    let others = metrics.iter().filter(|(name, _)| *name != "accuracy");
    others.map(|(name, value)| format!(" - {prefix}{name}: {value:.4}")).collect()
}

/// Time for a step, in Keras's form.
fn pace(seconds: f64, steps: usize) -> String {
    let per_step = seconds / steps.max(1) as f64;
    match per_step {
        s if s >= 1.0 => format!("{s:.0}s/step"),
        s if s >= 1e-3 => format!("{:.0}ms/step", s * 1e3),
        s => format!("{:.0}us/step", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_in_keras() {
        assert_eq!(values("val_", 0.25, Some(0.5)), "val_accuracy: 0.5000 - val_loss: 0.2500");
        assert_eq!(values("", 2.0, None), "loss: 2.0000");
        assert_eq!([pace(20.0, 1500), pace(3.0, 2), pace(0.001, 2)], ["13ms/step", "2s/step", "500us/step"]);
    }
}
