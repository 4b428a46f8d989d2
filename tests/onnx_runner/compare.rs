//! Whether a result is the expected one: shape, element type, and values as numpy's `assert_allclose` sees them.

use tilegrad::Device;

use super::value::{Host, Value};

/// How far a result may be: `|got - want| <= absolute + relative * |want|`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub absolute: f64,
    pub relative: f64,
}

/// How far results were: the largest over all elements that are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    pub absolute: f64,
    /// Of `|want|`, where that is at least the tolerance's absolute part over its relative one: below, only the absolute
    /// distance counts.
    pub relative: f64,
    /// In units of the last place of `want`, of the same elements.
    pub ulp: f64,
}

impl Distance {
    pub fn max(self, other: Distance) -> Distance {
        Distance {
            absolute: self.absolute.max(other.absolute),
            relative: self.relative.max(other.relative),
            ulp: self.ulp.max(other.ulp),
        }
    }
}

/// Whether element type and shape are as expected.
///
/// # Errors
/// What differs.
pub fn same_kind(got: &Value, want: &Value) -> Result<(), String> {
    if got.element() != want.element() {
        return Err(format!("element type {:?}, expected {:?}", got.element(), want.element()));
    }
    if got.shape() != want.shape() {
        return Err(format!("shape {}, expected {}", got.shape(), want.shape()));
    }
    Ok(())
}

/// Holds a result to what is expected.
///
/// # Errors
/// What differs, with the first element that is too far off.
pub fn compare(got: &Value, want: &Value, tolerance: Tolerance) -> Result<Distance, String> {
    same_kind(got, want)?;
    let problem = |e| format!("{e:?}");
    match (got.computed().map_err(problem)?, want.host().map_err(problem)?) {
        (Host::Int(got), Host::Int(want)) => match got.iter().zip(&want).position(|(g, w)| g != w) {
            Some(i) => Err(format!("element {i} is {}, expected {}", got[i], want[i])),
            None => Ok(Distance::default()),
        },
        (Host::Float(got), Host::Float(want)) => floats(&got, &want, tolerance),
        _ => Err("floats and integers".to_string()),
    }
}

/// [`compare`] of floats.
pub fn floats(got: &[f32], want: &[f32], tolerance: Tolerance) -> Result<Distance, String> {
    let mut worst = Distance::default();
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let same = got == want || (got.is_nan() && want.is_nan());
        let far = (f64::from(got) - f64::from(want)).abs();
        let size = f64::from(want).abs();
        let near = want.is_finite() && far <= tolerance.absolute + tolerance.relative * size;
        if !same && !near {
            return Err(format!("element {i} is {got}, expected {want}"));
        }
        if !same {
            let counts = size * tolerance.relative >= tolerance.absolute;
            let unit = f64::from(want.abs().next_up() - want.abs());
            let of = |unit: f64| if counts { far / unit } else { 0.0 };
            worst = worst.max(Distance { absolute: far, relative: of(size), ulp: of(unit) });
        }
    }
    Ok(worst)
}

/// `cpu` or `gpu`.
pub fn name_of(device: &Device) -> &'static str {
    if device.is_gpu() { "gpu" } else { "cpu" }
}
