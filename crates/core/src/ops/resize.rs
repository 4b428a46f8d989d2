//! Resizing: other lengths for any axes, by the element nearest to where an output lies in the input, or by weights of its
//! neighbours. Axes are independent, so each is one `resample`, with taps and weights found on the host:
//!
//! | | weights at distance `d`, in elements of the input |
//! |---|---|
//! | nearest | 1 for one element |
//! | linear | `1 - |d|` |
//! | cubic | Keys's kernel: `(a+2)|d|^3 - (a+3)d^2 + 1` up to 1, `a|d|^3 - 5a d^2 + 8a|d| - 4a` up to 2 |
//!
//! Coordinates, modes and roundings are those of ONNX's operator `Resize`. Elements past either end are those at the end.

use super::movement::axis_of;
use super::resample::{Taps, resample};
use crate::dtype::DType;
use crate::op::fits;
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;

/// What an element of the output is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// A copy of one element, bit by bit.
    Nearest(Nearest),
    /// The two neighbours, by distance.
    Linear,
    /// Four neighbours by Keys's kernel: `a` is -0.75 in PyTorch and ONNX, -0.5 in TensorFlow and Pillow.
    Cubic {
        /// The kernel's slope at distance 1.
        a: f32,
    },
}

/// Which element is the nearest to a place between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nearest {
    /// The nearer one; half way between, the one before.
    #[default]
    RoundPreferFloor,
    /// The nearer one; half way between, the one behind.
    RoundPreferCeil,
    /// The one before.
    Floor,
    /// The one behind.
    Ceil,
}

/// Where position `x` of an output of length `resized` lies in an input of length `length`; `scale` is the quotient.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Coordinates {
    /// `(x + 0.5) / scale - 0.5`: elements are areas. TensorFlow's and PyTorch's default.
    #[default]
    HalfPixel,
    /// The same about the middle of the input, where a scale gives a length that is no whole number.
    HalfPixelSymmetric,
    /// The same, but 0 where the output has one element.
    PytorchHalfPixel,
    /// `x * (length - 1) / (resized - 1)`: the first and last elements stay where they are.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
    /// `(x + 0.5) / scale`, for nearest elements of which the one before is taken: ONNX's `tf_half_pixel_for_nn`.
    HalfPixelUnshifted,
    /// The part of the input from `start` to `end` for each axis, where 0 is its first and 1 its last element, with `outside`
    /// wherever the part reaches past the input. TensorFlow's `crop_and_resize`.
    CropAndResize {
        /// `[start, end]` for each axis that is resized.
        roi: Vec<[f32; 2]>,
        /// The value outside of the input.
        outside: f32,
    },
}

/// Whether sizes may change the aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AspectRatio {
    /// Each axis gets its size.
    #[default]
    Stretch,
    /// One scale for all axes, the largest with which no axis is longer than its size.
    NotLarger,
    /// One scale for all axes, the smallest with which no axis is shorter than its size.
    NotSmaller,
}

/// What [`Tensor::resize`] gives the axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResizeTo<'a> {
    /// Lengths.
    Sizes(&'a [usize]),
    /// Factors: the new length is `floor(length * scale)`.
    Scales(&'a [f32]),
}

/// How [`Tensor::resize`] finds its elements. The default is linear with half-pixel coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeOptions {
    /// What an element is made of.
    pub interpolation: Interpolation,
    /// Where an element lies in the input.
    pub coordinates: Coordinates,
    /// Whether linear and cubic kernels are stretched when an axis gets shorter, so that every element counts.
    pub antialias: bool,
    /// Whether weights of linear and cubic kernels past either end are left out, and the others divided by their sum.
    pub exclude_outside: bool,
    /// Whether sizes may change the aspect ratio.
    pub aspect_ratio: AspectRatio,
}

impl Default for ResizeOptions {
    fn default() -> ResizeOptions {
        ResizeOptions {
            interpolation: Interpolation::Linear,
            coordinates: Coordinates::HalfPixel,
            antialias: false,
            exclude_outside: false,
            aspect_ratio: AspectRatio::Stretch,
        }
    }
}

/// One axis with its numbers resolved.
struct Plan {
    axis: usize,
    length: usize,
    resized: usize,
    scale: f64,
    /// The output's length before it was rounded to a whole number.
    exact: f64,
    /// The part of the input, for a crop.
    roi: Option<[f64; 2]>,
}

impl Plan {
    /// Where position `x` of the output lies in the input.
    fn place(&self, x: usize, coordinates: &Coordinates) -> f64 {
        let (x, last) = (x as f64, self.length as f64 - 1.0);
        let half_pixel = (x + 0.5) / self.scale - 0.5;
        match coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let shift = self.length as f64 / 2.0 * (1.0 - self.resized as f64 / self.exact);
                // Summed in the order of ONNX's reference: a place between two elements may hang on its rounding.
                shift + (x + 0.5) / self.scale - 0.5
            }
            Coordinates::PytorchHalfPixel => {
                if self.resized > 1 {
                    half_pixel
                } else {
                    0.0
                }
            }
            Coordinates::AlignCorners => {
                if self.exact == 1.0 {
                    0.0
                } else {
                    x * last / (self.exact - 1.0)
                }
            }
            Coordinates::Asymmetric => x / self.scale,
            Coordinates::HalfPixelUnshifted => (x + 0.5) / self.scale,
            Coordinates::CropAndResize { .. } => {
                let [start, end] = self.roi.unwrap_or([0.0, 1.0]);
                let along = if self.exact == 1.0 {
                    (end - start) * last / 2.0
                } else {
                    x * (end - start) * last / (self.exact - 1.0)
                };
                along + start * last
            }
        }
    }

    /// The elements that make the one at `place`, with their weights; positions may be past either end.
    fn neighbours(&self, place: f64, options: &ResizeOptions) -> Vec<(i64, f64)> {
        // A kernel that is not stretched reaches to its neighbours; a stretched one as much further.
        let shrink = if options.antialias { self.scale.min(1.0) } else { 1.0 };
        let weigh = |reach: f64, kernel: &dyn Fn(f64) -> f64| {
            let (base, taps) = (place.floor(), (reach / shrink).ceil() as i64);
            let positions = 1 - taps..=taps;
            let weights: Vec<(i64, f64)> =
                positions.map(|i| (base as i64 + i, kernel(((i as f64) - (place - base)) * shrink))).collect();
            let sum: f64 = weights.iter().map(|(_, w)| w).sum();
            if shrink < 1.0 { weights.into_iter().map(|(i, w)| (i, w / sum)).collect() } else { weights }
        };
        match options.interpolation {
            Interpolation::Nearest(nearest) => {
                let position = match nearest {
                    Nearest::RoundPreferFloor => (place - 0.5).ceil(),
                    Nearest::RoundPreferCeil => (place + 0.5).floor(),
                    Nearest::Floor => place.floor(),
                    Nearest::Ceil => place.ceil(),
                };
                vec![(position as i64, 1.0)]
            }
            Interpolation::Linear => weigh(1.0, &|d| (1.0 - d.abs()).max(0.0)),
            Interpolation::Cubic { a } => weigh(2.0, &|d| keys(d.abs(), f64::from(a))),
        }
    }

    /// The weights of the element at `place`, over positions of the input.
    fn row(&self, place: f64, options: &ResizeOptions) -> Vec<(usize, f64)> {
        let last = self.length as i64 - 1;
        let mut taps = self.neighbours(place, options);
        if options.exclude_outside && !matches!(options.interpolation, Interpolation::Nearest(_)) {
            let inside: Vec<(i64, f64)> = taps.iter().filter(|(i, _)| (0..=last).contains(i)).copied().collect();
            let sum: f64 = inside.iter().map(|(_, w)| w).sum();
            if sum != 0.0 {
                taps = inside.into_iter().map(|(i, w)| (i, w / sum)).collect();
            }
        }
        // What is past either end is the element at the end, whose weights add up.
        let mut row: Vec<(usize, f64)> = Vec::with_capacity(taps.len());
        for (i, weight) in taps {
            let i = i.clamp(0, last) as usize;
            match row.last_mut() {
                Some((previous, sum)) if *previous == i => *sum += weight,
                _ => row.push((i, weight)),
            }
        }
        row
    }
}

/// Keys's kernel at a distance.
fn keys(d: f64, a: f64) -> f64 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}

/// More than any image has pixels along an axis.
const LIMIT: f64 = (1u32 << 24) as f64;

/// The plans of all axes, and the shape of the result.
fn plan(
    x: &Shape,
    axes: &[usize],
    to: ResizeTo<'_>,
    options: &ResizeOptions,
) -> Result<(Vec<Plan>, Shape), ShapeError> {
    let error = |problem: String| ShapeError::new(problem).operand("x", x);
    let count = |what: &str, n: usize| {
        let problem = format!("{n} {what} for {} axes", axes.len());
        if n == axes.len() { Ok(()) } else { Err(error(problem)) }
    };
    if let Some(twice) = axes.iter().enumerate().find(|(i, axis)| axes[..*i].contains(axis)) {
        return Err(error(format!("axis {} is named twice", twice.1)));
    }
    let mut roi = vec![None; axes.len()];
    if let Coordinates::CropAndResize { roi: parts, .. } = &options.coordinates {
        count("parts", parts.len())?;
        roi = parts.iter().map(|part| Some(part.map(f64::from))).collect();
    }
    match to {
        ResizeTo::Sizes(sizes) => count("sizes", sizes.len())?,
        ResizeTo::Scales(scales) => count("scales", scales.len())?,
    }
    let quotient = |i: usize, sizes: &[usize]| sizes[i] as f64 / x[axes[i]] as f64;
    let mut plans = Vec::with_capacity(axes.len());
    let mut dims = x.to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        let length = x[axis];
        let (scale, exact, resized) = match to {
            ResizeTo::Scales(scales) => {
                let scale = scales[i];
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(error(format!("the scale of axis {axis} is {scale}, expected a positive number")));
                }
                // The length in f32, as the scale is: 0.7 times 10 is 7.
                let scale_64 = f64::from(scale);
                (scale_64, scale_64 * length as f64, f64::from((length as f32 * scale).floor()))
            }
            ResizeTo::Sizes(sizes) if options.aspect_ratio == AspectRatio::Stretch => {
                (quotient(i, sizes), sizes[i] as f64, sizes[i] as f64)
            }
            ResizeTo::Sizes(sizes) => {
                let quotients = (0..axes.len()).map(|i| quotient(i, sizes));
                let scale = match options.aspect_ratio {
                    AspectRatio::NotLarger => quotients.fold(f64::INFINITY, f64::min),
                    _ => quotients.fold(0.0, f64::max),
                };
                let exact = if length == 0 { 0.0 } else { scale * length as f64 };
                (scale, exact, (exact + 0.5).floor())
            }
        };
        if resized > LIMIT {
            return Err(error(format!("a length of {resized} for axis {axis} is past any image")));
        }
        let resized = resized as usize;
        if length == 0 && resized > 0 {
            return Err(error(format!("axis {axis} has no elements to make {resized} from")));
        }
        dims[axis] = resized;
        plans.push(Plan { axis, length, resized, scale, exact, roi: roi[i] });
    }
    Ok((plans, Shape::try_new(&dims).map_err(|error| error.operand("x", x))?))
}

impl Tensor {
    /// Gives axes other lengths, and leaves the other axes alone. Nearest elements may be `f32`, `i32` or `u32`, and are
    /// exact copies; everything else is `f32`. An element whose weight is 0 has no say, NaN or not.
    ///
    /// ```
    /// use tilegrad_core::{Coordinates, Device, ResizeOptions, ResizeTo, Tensor};
    /// let x = Tensor::new(&[0.0, 4.0, 8.0], [1, 3], &Device::cpu());
    /// let corners = ResizeOptions { coordinates: Coordinates::AlignCorners, ..Default::default() };
    /// let y = x.resize(&[-1], ResizeTo::Sizes(&[5]), &corners);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 2.0, 4.0, 6.0, 8.0]);
    /// ```
    ///
    /// # Panics
    /// When an axis is out of range or named twice, there is not one size or scale (and part, for a crop) for each axis, a
    /// scale is not positive, or an axis without elements would get some.
    #[track_caller]
    pub fn resize(&self, axes: &[isize], to: ResizeTo<'_>, options: &ResizeOptions) -> Tensor {
        let axes: Vec<usize> = {
            let mut found = Vec::with_capacity(axes.len());
            for &axis in axes {
                found.push(axis_of("resize", self, axis));
            }
            found
        };
        fits("resize", self.can_be_resized(options.interpolation));
        let (mut plans, shape) = fits("resize", plan(self.shape(), &axes, to, options));
        // Axes that get shorter come first: the others have less to do then.
        plans.sort_by(|a, b| a.scale.total_cmp(&b.scale));
        let mut y = self.clone();
        let mut widths = vec![(0, 0); self.rank()];
        for plan in &plans {
            // The outputs that lie inside the input; they are neighbours. Only a crop reaches past it.
            let mut inside = 0..plan.resized;
            if plan.roi.is_some() {
                let within = |x: usize| {
                    let place = plan.place(x, &options.coordinates);
                    place >= 0.0 && place <= plan.length as f64 - 1.0
                };
                let first = inside.clone().find(|&x| within(x)).unwrap_or(plan.resized);
                let end = inside.rev().find(|&x| within(x)).map_or(first, |last| last + 1);
                widths[plan.axis] = (first, plan.resized - end);
                inside = first..end;
            }
            let rows = inside.map(|x| plan.row(plan.place(x, &options.coordinates), options));
            let taps = Taps::new(plan.length, rows);
            if !taps.is_identity() {
                y = resample(&y, plan.axis, taps);
            }
        }
        match options.coordinates {
            Coordinates::CropAndResize { outside, .. } if y.shape() != &shape => y.pad(&widths, outside),
            _ => y,
        }
    }

    fn can_be_resized(&self, interpolation: Interpolation) -> Result<(), ShapeError> {
        let expected = match (interpolation, self.dtype()) {
            (_, DType::F32) | (Interpolation::Nearest(_), DType::I32 | DType::U32) => return Ok(()),
            (Interpolation::Nearest(_), _) => "f32, i32 or u32",
            _ => "f32",
        };
        let problem = format!("the elements are {}, expected {expected}", self.dtype());
        Err(ShapeError::new(problem).operand("x", self.shape()).help("use `cast`"))
    }

    /// Images `(N, H, W, C)` at another height and width, each pixel a copy of the nearest one: TensorFlow's and Keras's
    /// `nearest`, PyTorch's `nearest-exact`.
    ///
    /// # Panics
    /// When there are not four axes, or an empty image would get pixels.
    #[track_caller]
    pub fn resize_nearest(&self, size: [usize; 2]) -> Tensor {
        let interpolation = Interpolation::Nearest(Nearest::RoundPreferCeil);
        self.resize_images("resize_nearest", size, &ResizeOptions { interpolation, ..ResizeOptions::default() })
    }

    /// Images `(N, H, W, C)` at another height and width, linear between pixels as areas: TensorFlow's and Keras's `bilinear`,
    /// PyTorch's with `align_corners=False`, all without antialiasing.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[0.0, 4.0], [1, 1, 2, 1], &Device::cpu());
    /// assert_eq!(x.resize_bilinear([1, 4]).to_vec::<f32>().unwrap(), [0.0, 1.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::resize_nearest`].
    #[track_caller]
    pub fn resize_bilinear(&self, size: [usize; 2]) -> Tensor {
        self.resize_images("resize_bilinear", size, &ResizeOptions::default())
    }

    /// Images `(N, H, W, C)` with each pixel repeated this many times in height and width: Keras's `UpSampling2D`.
    ///
    /// # Panics
    /// As [`Tensor::resize_nearest`].
    #[track_caller]
    pub fn upsample_nearest(&self, factors: [usize; 2]) -> Tensor {
        let size = |axis: usize| self.shape().get(axis).map_or(0, |len| len.saturating_mul(factors[axis - 1]));
        let interpolation = Interpolation::Nearest(Nearest::RoundPreferCeil);
        let options = ResizeOptions { interpolation, ..ResizeOptions::default() };
        self.resize_images("upsample_nearest", [size(1), size(2)], &options)
    }

    #[track_caller]
    fn resize_images(&self, name: &str, size: [usize; 2], options: &ResizeOptions) -> Tensor {
        fits(name, crate::window::check_rank::<2>(self.shape()));
        fits(name, plan(self.shape(), &[1, 2], ResizeTo::Sizes(&size), options).map(|_| ()));
        self.resize(&[1, 2], ResizeTo::Sizes(&size), options)
    }
}
