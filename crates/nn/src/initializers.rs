//! Where weights start: Keras's initializers, computed on the host so that every device starts from the same bits.
//!
//! With `fan_in` and `fan_out` the number of inputs and outputs that one weight takes part in (for a convolution times the
//! taps of its window), and `n` the fan or the mean of both:
//!
//! ```text
//! uniform    -limit..limit, limit = sqrt(3 * scale / n)
//! normal     cut off at two standard deviations and rescaled to a variance of scale / n
//! glorot     scale 1, n = (fan_in + fan_out) / 2     Glorot and Bengio 2010
//! he         scale 2, n = fan_in                     He et al. 2015
//! lecun      scale 1, n = fan_in                     LeCun et al. 1998
//! ```

use serde::{Deserialize, Serialize};
use tilegrad_core::Shape;
use tilegrad_data::shuffle::SplitMix64;

/// How the values of a weight are drawn before training.
///
/// ```
/// use tilegrad_nn::Initializer;
/// let limit = (6.0f32 / (9.0 + 9.0 * 32.0)).sqrt(); // a 3x3 kernel from 1 to 32 channels
/// let kernel = Initializer::GlorotUniform.values(&[3, 3, 1, 32].into(), 42);
/// assert!(kernel.iter().all(|w| w.abs() <= limit));
/// assert_eq!(kernel, Initializer::GlorotUniform.values(&[3, 3, 1, 32].into(), 42));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Initializer {
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// The same number everywhere.
    Constant(f32),
    /// These values in row-major order: weights made by hand or elsewhere.
    Values(Vec<f32>),
    /// Uniform in `low..high`.
    RandomUniform {
        /// The least value.
        low: f32,
        /// The bound that values stay below.
        high: f32,
    },
    /// Normal.
    RandomNormal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        std: f32,
    },
    /// Normal with values past two standard deviations drawn again. `std` is that before the cut.
    TruncatedNormal {
        /// The mean.
        mean: f32,
        /// The standard deviation before the cut.
        std: f32,
    },
    /// Uniform by Glorot's scale: Keras's default for kernels.
    #[default]
    GlorotUniform,
    /// Truncated normal by Glorot's scale.
    GlorotNormal,
    /// Uniform by He's scale, for relu.
    HeUniform,
    /// Truncated normal by He's scale, for relu.
    HeNormal,
    /// Uniform by LeCun's scale.
    LecunUniform,
    /// Truncated normal by LeCun's scale.
    LecunNormal,
}

/// The standard deviation of a standard normal cut off at two.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// The values of a weight of this shape, in row-major order; the same for the same seed.
    ///
    /// # Panics
    /// When [`Initializer::Values`] holds another number of values than the shape has.
    pub fn values(&self, shape: &Shape, seed: u64) -> Vec<f32> {
        let mut random = Random(SplitMix64::new(seed));
        let (fan_in, fan_out) = fans(shape);
        let average = (fan_in + fan_out) / 2.0;
        let mut draw =
            |f: &mut dyn FnMut(&mut Random) -> f64| (0..shape.len()).map(|_| f(&mut random) as f32).collect();
        let mut uniform = |scale: f64, n: f64| {
            let limit = (3.0 * scale / n).sqrt();
            draw(&mut |r| r.uniform(-limit, limit))
        };
        match *self {
            Initializer::Zeros => vec![0.0; shape.len()],
            Initializer::Ones => vec![1.0; shape.len()],
            Initializer::Constant(value) => vec![value; shape.len()],
            Initializer::Values(ref values) => {
                assert_eq!(values.len(), shape.len(), "initializer: shape {shape} takes {} values", shape.len());
                values.clone()
            }
            Initializer::GlorotUniform => uniform(1.0, average),
            Initializer::HeUniform => uniform(2.0, fan_in),
            Initializer::LecunUniform => uniform(1.0, fan_in),
            Initializer::RandomUniform { low, high } => draw(&mut |r| r.uniform(low.into(), high.into())),
            Initializer::RandomNormal { mean, std } => draw(&mut |r| f64::from(mean) + f64::from(std) * r.normal()),
            Initializer::TruncatedNormal { mean, std } => {
                draw(&mut |r| f64::from(mean) + f64::from(std) * r.truncated_normal())
            }
            Initializer::GlorotNormal => draw(&mut |r| (1.0 / average).sqrt() / TRUNCATED_STD * r.truncated_normal()),
            Initializer::HeNormal => draw(&mut |r| (2.0 / fan_in).sqrt() / TRUNCATED_STD * r.truncated_normal()),
            Initializer::LecunNormal => draw(&mut |r| (1.0 / fan_in).sqrt() / TRUNCATED_STD * r.truncated_normal()),
        }
    }

    /// Whether a weight of this shape can be made: what [`Initializer::values`] would panic about.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        !matches!(self, Initializer::Values(values) if values.len() != shape.len())
    }
}

/// Inputs and outputs that one weight takes part in, at least 1: kernels are `(.., in, out)`.
fn fans(shape: &Shape) -> (f64, f64) {
    let (fan_in, fan_out) = match shape.dims() {
        [] => (1, 1),
        [n] => (*n, *n),
        [taps @ .., i, o] => {
            let taps: usize = taps.iter().product();
            (taps * i, taps * o)
        }
    };
    (fan_in.max(1) as f64, fan_out.max(1) as f64)
}

struct Random(SplitMix64);

impl Random {
    /// Uniform in `low..high`, from 53 random bits.
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal by Box and Muller's method.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(0.0, 1.0)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(0.0, 1.0)).cos()
    }

    fn truncated_normal(&mut self) -> f64 {
        loop {
            let x = self.normal();
            if x.abs() <= 2.0 {
                return x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(initializer: &Initializer, shape: &Shape) -> (f64, f64, f64) {
        let values = initializer.values(shape, 7);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max))
    }

    #[test]
    fn spreads_are_keras() {
        let shape = Shape::from([3, 3, 64, 128]);
        let (fan_in, average) = (9.0 * 64.0, 9.0 * 96.0);
        for (initializer, variance, largest) in [
            (Initializer::GlorotUniform, 1.0 / average, f64::sqrt(3.0 / average)),
            (Initializer::GlorotNormal, 1.0 / average, 2.0 * f64::sqrt(1.0 / average) / TRUNCATED_STD),
            (Initializer::HeUniform, 2.0 / fan_in, f64::sqrt(6.0 / fan_in)),
            (Initializer::HeNormal, 2.0 / fan_in, 2.0 * f64::sqrt(2.0 / fan_in) / TRUNCATED_STD),
            (Initializer::LecunNormal, 1.0 / fan_in, 2.0 * f64::sqrt(1.0 / fan_in) / TRUNCATED_STD),
            (Initializer::RandomUniform { low: -3.0, high: 3.0 }, 3.0, 3.0),
            (Initializer::RandomNormal { mean: 0.0, std: 0.05 }, 0.0025, 0.4),
        ] {
            let (mean, std, max) = moments(&initializer, &shape);
            assert!(mean.abs() < 0.02 * std, "{initializer:?}: mean {mean}");
            assert!((std / variance.sqrt() - 1.0).abs() < 0.01, "{initializer:?}: standard deviation {std}");
            assert!(max <= largest * 1.000001, "{initializer:?}: largest {max}, bound {largest}");
        }
    }

    #[test]
    fn seeds_decide() {
        let shape = Shape::from([4, 4]);
        let values = |seed| Initializer::HeNormal.values(&shape, seed);
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
        assert_eq!(Initializer::Constant(0.5).values(&Shape::scalar(), 0), [0.5]);
        assert!(!Initializer::Values(vec![1.0]).fits(&shape));
    }
}
