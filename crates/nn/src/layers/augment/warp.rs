//! Images turned, scaled and moved at random.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{DType, FillMode, Shape, ShapeError, Tensor, WarpOptions};

use super::{Factor, images};
use crate::config;
use crate::layer::{Context, Layer};
use crate::layers::Interpolation;

/// What lies outside an image that was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// A number.
    Constant(f32),
    /// The pixel at the edge.
    Nearest,
    /// The image mirrored, its edge twice.
    #[default]
    Reflect,
    /// The image again.
    Wrap,
}

impl From<Fill> for FillMode {
    fn from(fill: Fill) -> FillMode {
        match fill {
            Fill::Constant(value) => FillMode::Constant(value),
            Fill::Nearest => FillMode::Nearest,
            Fill::Reflect => FillMode::Reflect,
            Fill::Wrap => FillMode::Wrap,
        }
    }
}

/// Looks images up through maps `(N, 6)` given by their columns, `(N, 1)` each.
fn warp(x: &Tensor, maps: [&Tensor; 6], fill: Fill, interpolation: Interpolation) -> Tensor {
    let (maps, size) = (Tensor::concat(&maps, 1), [x.shape()[1], x.shape()[2]]);
    x.affine_warp(&maps, &WarpOptions { size, bilinear: interpolation == Interpolation::Bilinear, fill: fill.into() })
}

/// Columns of zeros and of ones, `(N, 1)`.
fn constants(x: &Tensor) -> [Tensor; 2] {
    let n = x.shape()[0];
    [Tensor::zeros([n, 1], x.device()), Tensor::ones([n, 1], x.device())]
}

/// The last position of an axis of an image.
fn last(x: &Tensor, axis: usize) -> f32 {
    x.shape()[axis] as f32 - 1.0
}

/// The sides that [`RandomFlip`] exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// Each by itself: Keras's default.
    #[default]
    HorizontalAndVertical,
}

/// In training, each image is flipped or not with equal chance. Keras's `RandomFlip`.
///
/// ```
/// use tilegrad_nn::{Sequential, layers::{Conv2d, Flip, RandomFlip}};
/// let model = Sequential::new([28, 28, 1]).add(RandomFlip::new(Flip::Horizontal)).add(Conv2d::new(8, 3));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFlip {
    mode: Flip,
    name: Option<String>,
}

impl RandomFlip {
    /// Exchanges these sides.
    pub fn new(mode: Flip) -> RandomFlip {
        RandomFlip { mode, name: None }
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomFlip {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomFlip {
    fn kind(&self) -> &str {
        "RandomFlip"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let [zeros, ones] = constants(x);
        // 1 or -1, and what the last pixel then becomes the first by.
        let mut axis = |flips: bool, axis: usize| match flips {
            true => {
                let up = Factor([-1.0, 1.0]).draw(x.shape()[0], x, ctx).ge(&zeros).cast(DType::F32);
                (up.affine(2.0, -1.0), up.affine(-last(x, axis), last(x, axis)))
            }
            false => (ones.clone(), zeros.clone()),
        };
        let (across, from_left) = axis(self.mode != Flip::Vertical, 2);
        let (down, from_top) = axis(self.mode != Flip::Horizontal, 1);
        let maps = [&across, &zeros, &from_left, &zeros, &down, &from_top];
        warp(x, maps, Fill::Nearest, Interpolation::Nearest)
    }
}

/// In training, each image is turned around its middle by an angle of its own. Keras's `RandomRotation`.
///
/// ```
/// use tilegrad_nn::layers::{Fill, RandomRotation};
/// let tilt = RandomRotation::new(0.05).fill(Fill::Constant(0.0)); // up to 18 degrees either way
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomRotation {
    factor: Factor,
    fill: Fill,
    interpolation: Interpolation,
    name: Option<String>,
}

impl RandomRotation {
    /// By a fraction of a full turn from this range, counter-clockwise.
    pub fn new(factor: impl Into<Factor>) -> RandomRotation {
        let (factor, interpolation) = (factor.into(), Interpolation::Bilinear);
        RandomRotation { factor, fill: Fill::Reflect, interpolation, name: None }
    }

    /// What lies outside the image: its mirror image, if nothing else is said.
    pub fn fill(mut self, fill: Fill) -> RandomRotation {
        self.fill = fill;
        self
    }

    /// Where pixels between pixels come from: the four around, if nothing else is said.
    pub fn interpolation(mut self, interpolation: Interpolation) -> RandomRotation {
        self.interpolation = interpolation;
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomRotation {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomRotation {
    fn kind(&self) -> &str {
        "RandomRotation"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.factor.check("factor", -1e3)?;
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let angle = self.factor.draw(x.shape()[0], x, ctx).affine(std::f32::consts::TAU, 0.0);
        let (sin, cos, middle) = (angle.sin(), angle.cos(), [last(x, 2) / 2.0, last(x, 1) / 2.0]);
        // The middle stays: cx = cos * cx - sin * cy + m2, cy = sin * cx + cos * cy + m5.
        let rest = cos.affine(-1.0, 1.0);
        let m2 = rest.affine(middle[0], 0.0).add(&sin.affine(middle[1], 0.0));
        let m5 = rest.affine(middle[1], 0.0).sub(&sin.affine(middle[0], 0.0));
        warp(x, [&cos, &sin.neg(), &m2, &sin, &cos, &m5], self.fill, self.interpolation)
    }
}

/// In training, each image is scaled around its middle. Keras's `RandomZoom`.
///
/// ```
/// use tilegrad_nn::layers::RandomZoom;
/// let closer = RandomZoom::new([-0.2, 0.0]); // up to a fifth less of the image to be seen
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomZoom {
    height_factor: Factor,
    width_factor: Option<Factor>,
    fill: Fill,
    interpolation: Interpolation,
    name: Option<String>,
}

impl RandomZoom {
    /// By a fraction from this range: positive is farther away, negative closer. Height and width alike, so that things keep
    /// their form.
    pub fn new(factor: impl Into<Factor>) -> RandomZoom {
        let (height_factor, interpolation) = (factor.into(), Interpolation::Bilinear);
        RandomZoom { height_factor, width_factor: None, fill: Fill::Reflect, interpolation, name: None }
    }

    /// The width by a fraction of its own.
    pub fn width_factor(mut self, factor: impl Into<Factor>) -> RandomZoom {
        self.width_factor = Some(factor.into());
        self
    }

    /// What lies outside the image: its mirror image, if nothing else is said.
    pub fn fill(mut self, fill: Fill) -> RandomZoom {
        self.fill = fill;
        self
    }

    /// Where pixels between pixels come from: the four around, if nothing else is said.
    pub fn interpolation(mut self, interpolation: Interpolation) -> RandomZoom {
        self.interpolation = interpolation;
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomZoom {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomZoom {
    fn kind(&self) -> &str {
        "RandomZoom"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.height_factor.check("height factor", -1.0)?;
        self.width_factor.map_or(Ok(()), |factor| factor.check("width factor", -1.0))?;
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let down = self.height_factor.draw(x.shape()[0], x, ctx).affine(1.0, 1.0);
        let across = match self.width_factor {
            Some(factor) => factor.draw(x.shape()[0], x, ctx).affine(1.0, 1.0),
            None => down.clone(),
        };
        let [zeros, _] = constants(x);
        let stays = |zoom: &Tensor, axis: usize| zoom.affine(-last(x, axis) / 2.0, last(x, axis) / 2.0);
        let (m2, m5) = (stays(&across, 2), stays(&down, 1));
        warp(x, [&across, &zeros, &m2, &zeros, &down, &m5], self.fill, self.interpolation)
    }
}

/// In training, each image is moved. Keras's `RandomTranslation`.
///
/// ```
/// use tilegrad_nn::layers::RandomTranslation;
/// let shift = RandomTranslation::new(0.1, 0.1); // up to a tenth of height and width
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomTranslation {
    height_factor: Factor,
    width_factor: Factor,
    fill: Fill,
    interpolation: Interpolation,
    name: Option<String>,
}

impl RandomTranslation {
    /// By fractions of height and width from these ranges: positive is down and to the right.
    pub fn new(height_factor: impl Into<Factor>, width_factor: impl Into<Factor>) -> RandomTranslation {
        RandomTranslation {
            height_factor: height_factor.into(),
            width_factor: width_factor.into(),
            fill: Fill::Reflect,
            interpolation: Interpolation::Bilinear,
            name: None,
        }
    }

    /// What lies outside the image: its mirror image, if nothing else is said.
    pub fn fill(mut self, fill: Fill) -> RandomTranslation {
        self.fill = fill;
        self
    }

    /// Where pixels between pixels come from: the four around, if nothing else is said.
    pub fn interpolation(mut self, interpolation: Interpolation) -> RandomTranslation {
        self.interpolation = interpolation;
        self
    }

    /// The layer's name in summaries and errors.
    pub fn name(mut self, name: impl Into<String>) -> RandomTranslation {
        self.name = Some(name.into());
        self
    }
}

impl Layer for RandomTranslation {
    fn kind(&self) -> &str {
        "RandomTranslation"
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn config(&self) -> Value {
        config::of(self)
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.height_factor.check("height factor", -1.0)?;
        self.width_factor.check("width factor", -1.0)?;
        images(input)
    }

    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        let (n, [height, width]) = (x.shape()[0], [x.shape()[1] as f32, x.shape()[2] as f32]);
        let down = self.height_factor.draw(n, x, ctx).affine(-height, 0.0);
        let right = self.width_factor.draw(n, x, ctx).affine(-width, 0.0);
        let [zeros, ones] = constants(x);
        warp(x, [&ones, &zeros, &right, &zeros, &ones, &down], self.fill, self.interpolation)
    }
}
