//! What a convolution does besides its weights, and the rule for its shape, for images of one, two and three axes.

use super::unary::Unary;
use crate::shape::{Shape, ShapeError};
use crate::window::{Axis, IMAGE_AXES, Padding, Window, check_rank};

/// How a convolution runs on a GPU. The results agree to rounding; [`ConvAlgorithm::Auto`] picks by a fixed rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// Direct, on every adapter: the copies of im2col alone cost 40 % of the product they prepare.
    #[default]
    Auto,
    /// Tiles computed straight from the images.
    Direct,
    /// Images copied to columns, then a matrix product: the reference that the direct kernels are held to. Copies part of
    /// the batch at a time when the columns would not fit.
    Im2col,
}

/// What a convolution over `N` axes does besides its weights. Defaults are Keras's: stride 1, no dilation,
/// `Padding::Valid`, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions<const N: usize> {
    /// Steps along each axis: height and width.
    pub stride: [usize; N],
    /// Distances between taps along each axis.
    pub dilation: [usize; N],
    /// What lies around the image.
    pub padding: Padding<N>,
    /// Groups of channels that don't see each other; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// A function applied in the same kernel: `Relu`, `Sigmoid` or `Tanh`.
    pub activation: Option<Unary>,
    /// Which kernels run.
    pub algorithm: ConvAlgorithm,
}

/// [`ConvOptions`] of [`crate::Tensor::conv1d`].
pub type Conv1dOptions = ConvOptions<1>;
/// [`ConvOptions`] of [`crate::Tensor::conv2d`].
pub type Conv2dOptions = ConvOptions<2>;
/// [`ConvOptions`] of [`crate::Tensor::conv3d`].
pub type Conv3dOptions = ConvOptions<3>;

impl<const N: usize> Default for ConvOptions<N> {
    fn default() -> ConvOptions<N> {
        ConvOptions {
            stride: [1; N],
            dilation: [1; N],
            padding: Padding::Valid,
            groups: 1,
            activation: None,
            algorithm: ConvAlgorithm::Auto,
        }
    }
}

/// How messages name the axes of kernels.
const KERNEL_AXES: [&str; 4] = ["", "(K, C/groups, O)", "(KH, KW, C/groups, O)", "(KD, KH, KW, C/groups, O)"];

/// The windows of kernels `w` over images `x`, of whose channels everything is checked too.
pub(super) fn windows<const N: usize>(x: &Shape, w: &Shape, options: &ConvOptions<N>) -> Result<[Axis; N], ShapeError> {
    let ConvOptions { stride, dilation, padding, groups, .. } = *options;
    check_rank::<N>(x)?;
    if w.rank() != N + 2 {
        let problem = format!("weights have {} axes, expected {}: {}", w.rank(), N + 2, KERNEL_AXES[N]);
        return Err(ShapeError::new(problem).operand("x", x).operand("w", w));
    }
    let axes = Window { size: std::array::from_fn(|i| w[i]), stride, dilation, padding }.over(x)?;
    let (c, o) = (x[N + 1], w[N + 1]);
    if groups == 0 {
        return Err(ShapeError::new("0 groups, expected at least 1").operand("x", x).operand("w", w));
    }
    if !c.is_multiple_of(groups) || !o.is_multiple_of(groups) {
        let problem = format!("{groups} groups do not divide both {c} input and {o} output channels");
        return Err(ShapeError::new(problem).operand_axis("x", x, N + 1).operand_axis("w", w, N + 1));
    }
    if c / groups != w[N] {
        let problem = format!("input channels differ ({c} / {groups} groups != {})", w[N]);
        return Err(ShapeError::new(problem)
            .operand_axis("x", x, N + 1)
            .operand_axis("w", w, N)
            .help(format!("images are {} and kernels {}", IMAGE_AXES[N], KERNEL_AXES[N])));
    }
    output_shape(x, axes.map(|a| a.output), o).map(|_| axes)
}

/// The shape of an output with `channels` channels; an error where no memory could hold it.
pub(super) fn output_shape<const N: usize>(x: &Shape, sizes: [usize; N], channels: usize) -> Result<Shape, ShapeError> {
    let dims = [&[x[0]], &sizes[..], &[channels]].concat();
    Shape::try_new(&dims).map_err(|error| error.operand("x", x))
}

/// The shape of a convolution's output, `(N, .., O)`, for images `(N, .., C)` and kernels `(.., C/groups, O)`.
///
/// # Errors
/// When the images or kernels have another number of axes, the channels differ, the groups don't divide them, or no window
/// fits.
///
/// ```
/// use tilegrad_core::{Conv1dOptions, Padding, Shape, conv_shape};
/// let same = Conv1dOptions { padding: Padding::Same, stride: [2], ..Conv1dOptions::default() };
/// let y = conv_shape(&Shape::from([8, 15, 3]), &Shape::from([5, 3, 16]), &same).unwrap();
/// assert_eq!(y, Shape::from([8, 8, 16]));
/// ```
pub fn conv_shape<const N: usize>(x: &Shape, w: &Shape, options: &ConvOptions<N>) -> Result<Shape, ShapeError> {
    let axes = windows(x, w, options)?;
    output_shape(x, axes.map(|a| a.output), w[N + 1])
}

/// The last two of `N` values, with `first` in front if there is only one.
fn last_two<T: Copy, const N: usize>(values: [T; N], first: T) -> [T; 2] {
    [if N == 1 { first } else { values[N - 2] }, values[N - 1]]
}

impl<const N: usize> ConvOptions<N> {
    /// The same over the last two axes: over images of height 1 if there is only one, over the slices of a volume if there are
    /// three.
    pub(super) fn over_images(&self) -> ConvOptions<2> {
        let padding = match self.padding {
            Padding::Valid => Padding::Valid,
            Padding::Same => Padding::Same,
            Padding::SameLower => Padding::SameLower,
            Padding::Explicit(sides) => Padding::Explicit(last_two(sides, [0, 0])),
        };
        ConvOptions {
            stride: last_two(self.stride, 1),
            dilation: last_two(self.dilation, 1),
            padding,
            groups: self.groups,
            activation: self.activation,
            algorithm: self.algorithm,
        }
    }
}
