//! Two variants run in turn, in one process: what drifts on a shared machine drifts for both.

use std::path::PathBuf;
use std::str::FromStr;

use tilegrad::{ConvAlgorithm, Device, Result, Tuning};

use crate::report::{Comparison, sorted};
use crate::steps::Timed;

/// A choice that changes which kernels run, and nothing of the results but rounding.
#[derive(Clone, Debug, PartialEq)]
pub enum Variant {
    /// The kernels for hardware GPUs, whatever the adapter.
    Hardware,
    /// The kernels for software adapters, on one.
    Software,
    /// Convolution without columns.
    Direct,
    /// Convolution by columns and a matrix product.
    Im2col,
    /// The tiles of a tune file.
    Tune(PathBuf),
    /// The built-in tiles.
    Builtin,
    /// Training steps that run as they are written.
    Eager,
    /// Training steps that are recorded and replayed.
    Recorded,
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Variant, String> {
        match text {
            "hardware" => Ok(Variant::Hardware),
            "software" => Ok(Variant::Software),
            "direct" => Ok(Variant::Direct),
            "im2col" => Ok(Variant::Im2col),
            "builtin" => Ok(Variant::Builtin),
            "eager" => Ok(Variant::Eager),
            "recorded" => Ok(Variant::Recorded),
            _ => match text.strip_prefix("tune:").filter(|file| !file.is_empty()) {
                Some(file) => Ok(Variant::Tune(file.into())),
                None => {
                    Err("expected hardware, software, direct, im2col, builtin, tune:FILE, eager or recorded".into())
                }
            },
        }
    }
}

impl Variant {
    pub fn name(&self) -> String {
        match self {
            Variant::Tune(_) => "tune".into(),
            _ => format!("{self:?}").to_lowercase(),
        }
    }

    /// Whether it is chosen for each convolution, which layers don't do.
    pub fn is_of_convolutions(&self) -> bool {
        matches!(self, Variant::Direct | Variant::Im2col)
    }

    /// Whether it is chosen for a whole training step.
    pub fn is_of_steps(&self) -> bool {
        matches!(self, Variant::Eager | Variant::Recorded)
    }

    pub fn algorithm(&self) -> ConvAlgorithm {
        match self {
            Variant::Direct => ConvAlgorithm::Direct,
            Variant::Im2col => ConvAlgorithm::Im2col,
            _ => ConvAlgorithm::Auto,
        }
    }

    /// Makes the device choose so from now on.
    ///
    /// # Errors
    /// When a tune file can't be used.
    pub fn apply(&self, device: &Device) -> Result<()> {
        match self {
            Variant::Hardware | Variant::Software => device.set_hardware_kernels(*self == Variant::Hardware),
            Variant::Direct | Variant::Im2col | Variant::Eager | Variant::Recorded => {}
            Variant::Tune(file) => device.set_tuning(Tuning::load(file, device)?)?,
            Variant::Builtin => device.set_tuning(Tuning::new())?,
        }
        Ok(())
    }
}

/// Times both in turn, first A and then B and the other way round, `pairs` times.
pub fn compare(
    what: String,
    variants: &[Variant; 2],
    device: &Device,
    pairs: impl Fn(f64) -> usize,
    mut make: impl FnMut(&Variant) -> Result<Timed>,
) -> Result<Comparison> {
    let mut timed = Vec::new();
    for variant in variants {
        variant.apply(device)?;
        timed.push(make(variant)?);
    }
    let mut run = |which: usize| {
        variants[which].apply(device)?;
        timed[which]()
    };
    let warm = [run(0)?, run(1)?];
    let pairs = pairs(warm[0] + warm[1]);
    let mut seconds = [vec![], vec![]];
    for pair in 0..pairs {
        for which in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            seconds[which].push(run(which)?);
        }
    }
    let ratios = sorted(seconds[0].iter().zip(&seconds[1]).map(|(a, b)| a / b).collect());
    let ms = seconds.map(|s| 1e3 * sorted(s)[pairs / 2]);
    Ok(Comparison {
        what,
        a: variants[0].name(),
        b: variants[1].name(),
        a_ms: ms[0],
        b_ms: ms[1],
        ratio: ratios[pairs / 2],
        ratio_from: ratios[pairs / 4],
        ratio_to: ratios[(3 * pairs / 4).min(pairs - 1)],
        pairs,
    })
}
