//! Transposed convolution: the gradient of a convolution's images as an op of its own. Each element of `x`, times the
//! kernel, is added to the output where the window of a convolution would have read:
//!
//! `y[n, ix*stride - left + kx*dilation, .., o] = sum of x[n, ix, .., c] w[kx, .., o, c]`, plus `bias[o]`.
//!
//! Images are `(N, H, W, C)` and kernels Keras's `(KH, KW, O/groups, C)`, which are those of the convolution that leads back
//! from `y` to `x`. `conv_transpose2d` is `conv2d.rs`'s data gradient with bias and activation as tensor algebra; with one
//! axis it runs over images of height 1, with three it adds up one such product for each tap of the depth.

use super::conv_options::{Conv2dOptions, ConvAlgorithm, output_shape};
use super::conv2d::DataGradient;
use super::copy::place;
use super::gemm::{check_epilogue, finish_tensor};
use super::unary::Unary;
use crate::op::{apply, fits};
use crate::shape::{MAX_RANK, Shape, ShapeError};
use crate::tensor::Tensor;
use crate::window::{LIMIT, Padding, Window, axis_name, check_rank};

/// What a transposed convolution over `N` axes does besides its weights. Defaults are Keras's: stride 1, no dilation,
/// `Padding::Valid`, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTransposeOptions<const N: usize> {
    /// Positions of the output from one element of the input to the next, along each axis: height and width.
    pub stride: [usize; N],
    /// Distances between taps along each axis.
    pub dilation: [usize; N],
    /// What is cut from the output: `Valid` nothing, `Same` all but `input * stride` positions, `Explicit` the given
    /// numbers at either side. Of an odd number `Same` cuts the smaller half at the top and left, `SameLower` the larger.
    pub padding: Padding<N>,
    /// Positions added at the bottom and right, fewer than the stride or the dilation. With `None`, `Valid` gives at least
    /// `input * stride` positions, as in Keras.
    pub output_padding: Option<[usize; N]>,
    /// The output's size, in place of what the formula gives. `Same` cuts what is too much at both sides; `Valid` and
    /// `Explicit` change the end only. Positions that no window reaches are zero.
    pub output_size: Option<[usize; N]>,
    /// Groups of channels that don't see each other.
    pub groups: usize,
    /// A function applied to the result: `Relu`, `Sigmoid` or `Tanh`.
    pub activation: Option<Unary>,
}

/// [`ConvTransposeOptions`] of [`Tensor::conv_transpose1d`].
pub type ConvTranspose1dOptions = ConvTransposeOptions<1>;
/// [`ConvTransposeOptions`] of [`Tensor::conv_transpose2d`].
pub type ConvTranspose2dOptions = ConvTransposeOptions<2>;
/// [`ConvTransposeOptions`] of [`Tensor::conv_transpose3d`].
pub type ConvTranspose3dOptions = ConvTransposeOptions<3>;

impl<const N: usize> Default for ConvTransposeOptions<N> {
    fn default() -> ConvTransposeOptions<N> {
        ConvTransposeOptions {
            stride: [1; N],
            dilation: [1; N],
            padding: Padding::Valid,
            output_padding: None,
            output_size: None,
            groups: 1,
            activation: None,
        }
    }
}

/// One axis with its sizes resolved. The windows reach `full` positions, of which the output has those from `cut` on.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    full: usize,
    cut: usize,
    output: usize,
    stride: usize,
    dilation: usize,
    size: usize,
}

impl Spread {
    /// Positions of the output that a convolution with `input` windows may read: those behind them are zero.
    fn reached(&self, input: usize) -> usize {
        // The last window may leave up to a step of positions unread.
        (self.full + self.stride - 1).saturating_sub(self.cut).min(if input == 0 { 0 } else { self.output })
    }
}

const KERNEL_AXES: [&str; 4] = ["", "(K, O/groups, C)", "(KH, KW, O/groups, C)", "(KD, KH, KW, O/groups, C)"];

/// The axes of a transposed convolution of `x` with `w`, and the output's shape.
fn resolve<const N: usize>(
    x: &Shape,
    w: &Shape,
    options: &ConvTransposeOptions<N>,
) -> Result<([Spread; N], Shape), ShapeError> {
    let groups = options.groups;
    check_rank::<N>(x)?;
    if w.rank() != N + 2 {
        let problem = format!("weights have {} axes, expected {}: {}", w.rank(), N + 2, KERNEL_AXES[N]);
        return Err(ShapeError::new(problem).operand("x", x).operand("w", w));
    }
    let mut axes = [Spread::default(); N];
    for (i, axis) in axes.iter_mut().enumerate() {
        *axis = options.axis(x, w, i)?;
    }
    if x[N + 1] != w[N + 1] {
        return Err(ShapeError::new(format!("input channels differ ({} != {})", x[N + 1], w[N + 1]))
            .operand_axis("x", x, N + 1)
            .operand_axis("w", w, N + 1)
            .help(format!("the kernels of a transposed convolution are {}", KERNEL_AXES[N])));
    }
    if groups == 0 || !x[N + 1].is_multiple_of(groups) {
        let problem = format!("{groups} groups do not divide {} input channels", x[N + 1]);
        return Err(ShapeError::new(problem).operand_axis("x", x, N + 1).operand("w", w));
    }
    let channels = w[N].saturating_mul(groups);
    Ok((axes, output_shape(x, axes.map(|a| a.output), channels)?))
}

impl<const N: usize> ConvTransposeOptions<N> {
    fn axis(&self, x: &Shape, w: &Shape, i: usize) -> Result<Spread, ShapeError> {
        let ConvTransposeOptions { stride, dilation, padding, .. } = *self;
        Window { size: std::array::from_fn(|i| w[i]), stride, dilation, padding }.check(x, i)?;
        let name = axis_name::<N>(i);
        let error = |problem: String| ShapeError::new(problem).operand("x", x).operand("w", w);
        let (input, size, stride, dilation) = (x[i + 1], w[i], stride[i], dilation[i]);
        let extra = self.output_padding.map(|padding| padding[i]);
        if let Some(extra) = extra.filter(|&extra| extra > 0 && extra >= stride.max(dilation)) {
            let limit = stride.max(dilation);
            return Err(error(format!("output padding in {name} is {extra}, expected less than {limit}"))
                .help("it must be less than the stride or the dilation"));
        }
        let extent = (size - 1) * dilation + 1;
        // As wide as the sizes can get: the numbers are checked only when they are known.
        let wide = |v: usize| v as i128;
        let full = if input == 0 { 0 } else { (wide(input) - 1) * wide(stride) + wide(extent) };
        let steps = wide(input) * wide(stride);
        let same = matches!(padding, Padding::Same | Padding::SameLower);
        let natural = match (padding, extra) {
            (Padding::Explicit(sides), _) => full + wide(extra.unwrap_or(0)) - wide(sides[i][0]) - wide(sides[i][1]),
            (Padding::Valid, None) => full.max(steps),
            (Padding::Valid, Some(extra)) => full + wide(extra),
            (_, None) => steps,
            (_, Some(extra)) => steps - wide(stride) + wide(extent % 2 + extra),
        };
        let output = self.output_size.map_or(natural, |size| wide(size[i]));
        if output < 1 && !(same && input == 0) || self.output_size.is_some_and(|size| size[i] == 0) {
            let end = if self.output_size.is_some() { "is asked for" } else { "is left" };
            return Err(error(format!("an output of {output} in {name} {end}, expected at least 1")));
        }
        let output = output.max(0);
        // Given a size, the added positions are among those that are too many.
        let surplus = full - output + if self.output_size.is_some() { wide(extra.unwrap_or(0)) } else { 0 };
        let cut = match padding {
            Padding::Valid => 0,
            Padding::Explicit(sides) => wide(sides[i][0]),
            Padding::Same => surplus.max(0) / 2,
            Padding::SameLower => (surplus.max(0) + 1) / 2,
        };
        match (usize::try_from(full), usize::try_from(output), usize::try_from(cut)) {
            (Ok(full), Ok(output), Ok(cut))
                if full < usize::MAX / 2 && cut.max(full.saturating_sub(output + cut)) <= LIMIT =>
            {
                Ok(Spread { full, cut, output, stride, dilation, size })
            }
            _ => Err(error(format!("an output of {output} in {name} is past any image"))),
        }
    }
}

/// The shape of a transposed convolution's output, `(N, .., O)`, for images `(N, .., C)` and kernels `(.., O/groups, C)`.
///
/// # Errors
/// When the images or kernels have another number of axes, the channels differ, the groups don't divide them, a stride or
/// dilation is 0, or nothing is left of the output.
///
/// ```
/// use tilegrad_core::{ConvTranspose2dOptions, Padding, Shape, conv_transpose_shape};
/// let twice = ConvTranspose2dOptions { stride: [2, 2], padding: Padding::Same, ..Default::default() };
/// let y = conv_transpose_shape(&Shape::from([1, 7, 7, 64]), &Shape::from([3, 3, 32, 64]), &twice).unwrap();
/// assert_eq!(y, Shape::from([1, 14, 14, 32]));
/// ```
pub fn conv_transpose_shape<const N: usize>(
    x: &Shape,
    w: &Shape,
    options: &ConvTransposeOptions<N>,
) -> Result<Shape, ShapeError> {
    resolve(x, w, options).map(|(_, y)| y)
}

impl Tensor {
    /// Convolves images `(N, H, W, C)` backwards with kernels `(KH, KW, O/groups, C)`, adds `bias (O)` and applies the
    /// activation: `(N, OH, OW, O)`. Keras's `Conv2DTranspose`; PyTorch's and ONNX's with the axes in another order.
    ///
    /// ```
    /// use tilegrad_core::{ConvTranspose2dOptions, Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0], [1, 1, 2, 1], &d);
    /// let w = Tensor::new(&[1.0, 10.0, 100.0], [1, 3, 1, 1], &d);
    /// let spread = ConvTranspose2dOptions { stride: [1, 2], ..Default::default() };
    /// let y = x.conv_transpose2d(&w, None, &spread);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 10.0, 102.0, 20.0, 200.0]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_transpose_shape`]), or the activation is not relu, sigmoid or tanh.
    #[track_caller]
    pub fn conv_transpose2d(&self, w: &Tensor, bias: Option<&Tensor>, options: &ConvTranspose2dOptions) -> Tensor {
        let ([h, width], y) = fits("conv_transpose2d", resolve(self.shape(), w.shape(), options));
        check_epilogue("conv_transpose2d", y[3], bias, options.activation);
        finish_tensor(self.spread([h, width], &y, w, options.groups), bias, options.activation)
    }

    /// The transposed convolution over axes that are resolved already.
    #[track_caller]
    fn spread(&self, axes: [Spread; 2], y: &Shape, w: &Tensor, groups: usize) -> Tensor {
        let inputs = [self.shape()[1], self.shape()[2]];
        let reached = [axes[0].reached(inputs[0]), axes[1].reached(inputs[1])];
        if reached.contains(&0) {
            return Tensor::zeros(*y, self.device());
        }
        // The convolution that leads back has as many windows as this input has elements.
        let sides = |a: &Spread, reached: usize| [a.cut, a.full.saturating_sub(reached + a.cut)];
        let options = Conv2dOptions {
            stride: axes.map(|a| a.stride),
            dilation: axes.map(|a| a.dilation),
            padding: Padding::Explicit([sides(&axes[0], reached[0]), sides(&axes[1], reached[1])]),
            groups,
            activation: None,
            algorithm: ConvAlgorithm::Auto,
        };
        let x = Shape::from([y[0], reached[0], reached[1], y[3]]);
        let y_reached = apply(DataGradient { name: "conv_transpose2d", x, options }, &[self, w]);
        if x == *y {
            return y_reached;
        }
        y_reached.pad(&[(0, 0), (0, y[1] - reached[0]), (0, y[2] - reached[1])], 0.0)
    }

    /// [`Tensor::conv_transpose2d`] over lines `(N, L, C)` with kernels `(K, O/groups, C)`: `(N, OL, O)`.
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_transpose_shape`]), or the activation is not relu, sigmoid or tanh.
    #[track_caller]
    pub fn conv_transpose1d(&self, w: &Tensor, bias: Option<&Tensor>, options: &ConvTranspose1dOptions) -> Tensor {
        let ([length], y) = fits("conv_transpose1d", resolve(self.shape(), w.shape(), options));
        check_epilogue("conv_transpose1d", y[2], bias, options.activation);
        let height = Spread { full: 1, cut: 0, output: 1, stride: 1, dilation: 1, size: 1 };
        let images = Shape::from([y[0], 1, y[1], y[2]]);
        let y = self.unsqueeze(1).spread([height, length], &images, &w.unsqueeze(0), options.groups).squeeze(1);
        finish_tensor(y, bias, options.activation)
    }

    /// [`Tensor::conv_transpose2d`] over volumes `(N, D, H, W, C)` with kernels `(KD, KH, KW, O/groups, C)`:
    /// `(N, OD, OH, OW, O)`. Needs memory for about `KD` copies of the output.
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_transpose_shape`]), or the activation is not relu, sigmoid or tanh.
    #[track_caller]
    pub fn conv_transpose3d(&self, w: &Tensor, bias: Option<&Tensor>, options: &ConvTranspose3dOptions) -> Tensor {
        let ([depth, h, width], y) = fits("conv_transpose3d", resolve(self.shape(), w.shape(), options));
        check_epilogue("conv_transpose3d", y[4], bias, options.activation);
        let [n, od, oh, ow, o] = y[..] else { unreachable!("five axes were made") };
        let [kd, kh, kw, of_group, c] = w.shape()[..] else { unreachable!("five axes were checked") };
        let [_, d, ih, iw, _] = self.shape()[..] else { unreachable!("five axes were checked") };
        if d == 0 {
            return finish_tensor(Tensor::zeros(y, self.device()), bias, options.activation);
        }

        // All taps of the depth at once, as channels: (N, D, OH, OW, groups, KD, O/groups).
        let w = w.permute(&[1, 2, 0, 3, 4]).reshape([kh, kw, kd * of_group, c]);
        let images = Shape::from([n * d, oh, ow, kd * o]);
        let taps = self.reshape([n * d, ih, iw, c]).spread([h, width], &images, &w, options.groups);
        let taps = taps.reshape([n, d, oh, ow, options.groups, kd, of_group]);

        // Each tap goes to its place in the depth.
        let whole = fits("conv_transpose3d", output_shape(self.shape(), [depth.full, oh, ow], o));
        let placed = |tap: usize| {
            let of_tap = taps.slice_axis(5, tap..tap + 1).reshape([n, d, oh, ow, o]);
            let (mut start, mut step) = ([0; MAX_RANK], [1; MAX_RANK]);
            (start[1], step[1]) = (tap * depth.dilation, depth.stride);
            place(&of_tap, whole, start, step, 0.0)
        };
        let sum = (1..depth.size).fold(placed(0), |sum, tap| sum.add(&placed(tap)));
        let end = (depth.cut + od).min(depth.full);
        let reached = sum.slice_axis(1, depth.cut.min(end)..end);
        let missing = od - reached.shape()[1];
        let y = if missing == 0 { reached } else { reached.pad(&[(0, 0), (0, missing)], 0.0) };
        finish_tensor(y, bias, options.activation)
    }
}
