//! What was measured: lines of the tables, and the JSON file.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tilegrad::{Device, DeviceInfo};

use crate::ceiling::Ceilings;

/// The object that `--json` writes. Lists are empty where nothing of the kind was asked for.
#[derive(Serialize)]
pub struct Report {
    /// UTC.
    pub date: String,
    /// Of the checkout that the program runs in, if it runs in one.
    pub commit: Option<String>,
    pub device: String,
    pub adapter: Option<String>,
    pub driver: Option<String>,
    /// Threads of this process's processor that it may use.
    pub threads: usize,
    pub ceilings: Option<Ceilings>,
    pub steps: Vec<Step>,
    pub first_steps: Vec<FirstStep>,
    pub kernels: Vec<KernelRow>,
    pub dispatches: Vec<DispatchRow>,
    pub comparisons: Vec<Comparison>,
}

/// A whole training or inference step.
#[derive(Clone, Serialize)]
pub struct Step {
    pub model: String,
    pub device: String,
    pub mode: &'static str,
    pub batch: usize,
    pub ms_per_step: f64,
    pub images_per_second: f64,
    /// From the start of the process for the first row of a run, from building the model for the others.
    pub first_step_s: f64,
    pub peak_device_bytes: u64,
}

/// From the start of a process of its own to its first finished training step.
#[derive(Serialize)]
pub struct FirstStep {
    pub model: String,
    pub batch: usize,
    pub seconds: f64,
    /// Whether the driver was kept from using shaders that it had compiled before; only Mesa's can be.
    pub without_shader_cache: bool,
}

#[derive(Serialize)]
pub struct KernelRow {
    pub kernel: String,
    pub shape: String,
    /// Rows, columns and depth that its tile is chosen by, rounded up to powers of two.
    pub class: Option<String>,
    /// The time on the GPU, by its timestamps; by the clock on a CPU.
    pub us: f64,
    pub gflop_per_s: f64,
    pub gb_per_s: f64,
    /// Of the ceilings measured in the same call.
    pub share_of_fma: f64,
    pub share_of_copy: f64,
    pub runs: usize,
}

/// What recording costs the host.
#[derive(Serialize)]
pub struct DispatchRow {
    pub step: String,
    pub batch: usize,
    pub dispatches_per_step: f64,
    pub us_per_dispatch: f64,
    pub us_per_dispatch_with_submission: f64,
}

/// Two variants run in turn.
#[derive(Serialize)]
pub struct Comparison {
    pub what: String,
    pub a: String,
    pub b: String,
    pub a_ms: f64,
    pub b_ms: f64,
    /// Time of A by time of B, the median over pairs of neighbouring runs: above 1 B is faster.
    pub ratio: f64,
    /// Quartiles of that.
    pub ratio_from: f64,
    pub ratio_to: f64,
    pub pairs: usize,
}

impl Report {
    pub fn new(device: &Device) -> Report {
        let (adapter, driver) = match device.info() {
            DeviceInfo::Gpu(adapter) => (Some(adapter.name), Some(adapter.driver)),
            _ => (None, None),
        };
        Report {
            date: utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())),
            commit: commit(),
            device: device.to_string(),
            adapter,
            driver,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            ceilings: None,
            steps: vec![],
            first_steps: vec![],
            kernels: vec![],
            dispatches: vec![],
            comparisons: vec![],
        }
    }

    pub fn is_empty(&self) -> bool {
        let Report { steps, first_steps, kernels, dispatches, comparisons, .. } = self;
        steps.is_empty()
            && first_steps.is_empty()
            && kernels.is_empty()
            && dispatches.is_empty()
            && comparisons.is_empty()
    }
}

fn commit() -> Option<String> {
    let git =
        std::process::Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output().ok()?;
    let text = String::from_utf8(git.stdout).ok()?;
    (git.status.success() && !text.trim().is_empty()).then(|| text.trim().to_string())
}

/// `2026-11-26T03:45:00Z` from seconds since 1970. Days to date as in Howard Hinnant's "chrono-compatible low-level date
/// algorithms": years begin in March, so that the day that may be missing is the last.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    values[values.len() / 2]
}
