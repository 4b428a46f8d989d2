//! Windows that slide over images: padding, stride and dilation, and the output sizes they give. Shared by convolution and
//! pooling. Images are `(N, H, W, C)`; with one axis in place of height and width `(N, L, C)`, with three `(N, D, H, W, C)`.

use crate::shape::{Shape, ShapeError};

/// What lies around the image for windows that reach over its edge, along each of its `N` axes: 2 for images `(N, H, W, C)`,
/// 1 for `(N, L, C)`, 3 for `(N, D, H, W, C)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding<const N: usize = 2> {
    /// Nothing: windows stay inside the image.
    #[default]
    Valid,
    /// Enough that the output has `ceil(size / stride)` positions. The odd pixel goes at the bottom and right, as in
    /// TensorFlow.
    Same,
    /// [`Padding::Same`] with the odd pixel at the top and left, as in ONNX's `SAME_LOWER`.
    SameLower,
    /// Pixels `[before, after]` along each axis: `[[top, bottom], [left, right]]`.
    Explicit([[usize; 2]; N]),
}

/// A window over one image axis, resolved for an input of known size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Input positions.
    pub input: usize,
    /// Output positions.
    pub output: usize,
    /// Taps of the window.
    pub size: usize,
    /// Input positions from one window to the next.
    pub stride: usize,
    /// Input positions from one tap to the next.
    pub dilation: usize,
    /// Padding before the first input position.
    pub before: usize,
    /// Padding after the last input position.
    pub after: usize,
}

impl Axis {
    /// An axis of length 1 under a window of 1, for images that lack the axis.
    pub(crate) const ALL_OF_ONE: Axis =
        Axis { input: 1, output: 1, size: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// Input position of tap `tap` of window `output`, unless it is padding.
    pub fn tap(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation).checked_sub(self.before).filter(|&i| i < self.input)
    }
}

/// A window over the `N` axes of an image: height and width, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window<const N: usize = 2> {
    /// Taps along each axis.
    pub size: [usize; N],
    /// Steps from one window to the next.
    pub stride: [usize; N],
    /// Steps from one tap to the next.
    pub dilation: [usize; N],
    /// What lies around the image.
    pub padding: Padding<N>,
}

impl<const N: usize> Window<N> {
    /// The window over images of `(N, H, W, C)`: geometry of height and of width. Other `N` have `(N, L, C)` or
    /// `(N, D, H, W, C)`.
    ///
    /// # Errors
    /// When the input is no image batch, a size, stride or dilation is 0, or no window fits.
    ///
    /// ```
    /// use tilegrad_core::{Padding, Shape, Window};
    /// let stem = Window { size: [7, 7], stride: [2, 2], dilation: [1, 1], padding: Padding::Same };
    /// let [h, _] = stem.over(&Shape::from([1, 28, 28, 3])).unwrap();
    /// assert_eq!((h.output, h.before, h.after), (14, 2, 3));
    /// ```
    pub fn over(&self, x: &Shape) -> Result<[Axis; N], ShapeError> {
        self.resolve(x, false)
    }

    /// [`Window::over`]; in `ceil` mode the last window may reach past the padded image.
    pub(crate) fn resolve(&self, x: &Shape, ceil: bool) -> Result<[Axis; N], ShapeError> {
        check_rank::<N>(x)?;
        let mut axes = [Axis::default(); N];
        for (i, axis) in axes.iter_mut().enumerate() {
            *axis = self.axis(x, i, ceil)?;
        }
        Ok(axes)
    }

    fn axis(&self, x: &Shape, i: usize, ceil: bool) -> Result<Axis, ShapeError> {
        self.check(x, i)?;
        let name = axis_name::<N>(i);
        let (input, size, stride, dilation) = (x[i + 1], self.size[i], self.stride[i], self.dilation[i]);
        let extent = self.extent(i);
        let [before, after] = match self.padding {
            Padding::Valid => [0, 0],
            // An empty image has no positions, whatever the window.
            Padding::Same | Padding::SameLower if input == 0 => {
                return Ok(Axis { size, stride, dilation, ..Axis::default() });
            }
            Padding::Same | Padding::SameLower => {
                let total = ((input.div_ceil(stride) - 1) * stride + extent).saturating_sub(input);
                let (less, more) = (total / 2, total - total / 2);
                if self.padding == Padding::Same { [less, more] } else { [more, less] }
            }
            Padding::Explicit(sides) => sides[i],
        };
        // In ceil mode one more window may start, but only in the image or in the padding before it.
        let room = input + before + after + if ceil { stride - 1 } else { 0 };
        let output = room.checked_sub(extent).map_or(0, |room| room / stride + 1);
        let output = if ceil { output.min((input + before).div_ceil(stride)) } else { output };
        if output == 0 {
            let problem = format!("a window of {extent} does not fit in a {name} of {}", input + before + after);
            return Err(ShapeError::new(problem)
                .operand_axis("x", x, i + 1)
                .help("use Padding::Same, a smaller window, or less pooling before"));
        }
        Ok(Axis { input, output, size, stride, dilation, before, after })
    }

    /// Positions that a window covers along axis `i`, its holes included. The window is [checked](Window::check).
    pub(crate) fn extent(&self, i: usize) -> usize {
        (self.size[i] - 1) * self.dilation[i] + 1
    }

    /// Refuses what makes no window along axis `i`, or one past any image: below, nothing overflows, nor do the 32 bits that
    /// kernels count in.
    pub(crate) fn check(&self, x: &Shape, i: usize) -> Result<(), ShapeError> {
        let (name, [size, stride, dilation]) = (axis_name::<N>(i), [self.size[i], self.stride[i], self.dilation[i]]);
        for (what, value) in [("size", size), ("stride", stride), ("dilation", dilation)] {
            if value == 0 {
                return Err(ShapeError::new(format!("{what} in {name} is 0, expected at least 1")).operand("x", x));
            }
        }
        let sides = if let Padding::Explicit(sides) = self.padding { sides[i] } else { [0, 0] };
        let numbers = [size, stride, dilation, sides[0], sides[1]];
        if numbers.iter().any(|&v| v > LIMIT) || self.extent(i) > LIMIT {
            let problem =
                format!("a window of {size} in steps of {stride}, dilation {dilation}, padding {sides:?} in {name}");
            return Err(ShapeError::new(problem + " is past any image").operand("x", x));
        }
        Ok(())
    }
}

/// More than any image has pixels along an axis, or any window steps over.
pub(crate) const LIMIT: usize = 1 << 24;

/// The axes of images with `N` axes, in messages.
pub(crate) fn axis_name<const N: usize>(i: usize) -> &'static str {
    if N == 1 { "length" } else { ["depth", "height", "width"][i + 3 - N] }
}

/// How messages name the axes of images with `N` axes.
pub(crate) const IMAGE_AXES: [&str; 4] = ["", "(N, L, C)", "(N, H, W, C)", "(N, D, H, W, C)"];

/// Refuses what is no batch of images with `N` axes.
pub(crate) fn check_rank<const N: usize>(x: &Shape) -> Result<(), ShapeError> {
    if x.rank() == N + 2 {
        return Ok(());
    }
    let problem = format!("input has {} axes, expected {}: {}", x.rank(), N + 2, IMAGE_AXES[N]);
    Err(ShapeError::new(problem).operand("x", x).help("add missing axes with `unsqueeze` or `reshape`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(size: usize, stride: usize, padding: Padding, input: usize) -> (usize, usize, usize) {
        let window = Window { size: [size; 2], stride: [stride; 2], dilation: [1; 2], padding };
        let [h, _] = window.over(&Shape::from([1, input, input, 1])).unwrap();
        (h.output, h.before, h.after)
    }

    #[test]
    fn sizes_are_tensorflows() {
        assert_eq!(outputs(3, 1, Padding::Same, 28), (28, 1, 1));
        assert_eq!(outputs(3, 2, Padding::Same, 28), (14, 0, 1));
        assert_eq!(outputs(3, 3, Padding::Same, 7), (3, 1, 1));
        assert_eq!(outputs(2, 2, Padding::Same, 7), (4, 0, 1));
        assert_eq!(outputs(2, 2, Padding::Valid, 7), (3, 0, 0));
        assert_eq!(outputs(1, 3, Padding::Same, 7), (3, 0, 0));
        assert_eq!(outputs(3, 1, Padding::Explicit([[2, 0], [0, 0]]), 5), (5, 2, 0));
        assert_eq!(outputs(3, 2, Padding::SameLower, 28), (14, 1, 0));
        assert_eq!(outputs(2, 2, Padding::SameLower, 7), (4, 1, 0));
        assert_eq!(outputs(3, 1, Padding::SameLower, 28), (28, 1, 1));
        assert_eq!(outputs(3, 2, Padding::Same, 0), (0, 0, 0));
    }

    #[test]
    fn the_last_window_of_ceil_mode_starts_in_the_image() {
        let outputs = |size, stride, sides, input| {
            let window = Window { size: [size], stride: [stride], dilation: [1], padding: Padding::Explicit([sides]) };
            window.resolve(&Shape::from([1, input, 1]), true).map_or(0, |[axis]| axis.output)
        };
        assert_eq!(outputs(3, 2, [0, 0], 4), 2);
        assert_eq!(outputs(3, 2, [0, 0], 5), 2);
        // The second window would start in the padding behind the image.
        assert_eq!(outputs(3, 3, [1, 1], 2), 1);
        assert_eq!(outputs(2, 2, [0, 3], 4), 2);
        // Part of a window is enough.
        assert_eq!(outputs(4, 2, [0, 0], 3), 1);
        assert_eq!(outputs(5, 2, [0, 0], 3), 0);
        assert_eq!(outputs(1, 1, [0, 1], 0), 0);
    }

    #[test]
    fn axes_have_their_own_names() {
        let line = Window { size: [3], stride: [1], dilation: [1], padding: Padding::Valid };
        let error = line.over(&Shape::from([1, 2, 1])).unwrap_err().to_string();
        assert!(error.starts_with("a window of 3 does not fit in a length of 2"), "{error}");
        let error = line.over(&Shape::from([1, 2, 2, 1])).unwrap_err().to_string();
        assert!(error.starts_with("input has 4 axes, expected 3: (N, L, C)"), "{error}");
        let block = Window { size: [1, 1, 1], stride: [0, 1, 1], dilation: [1; 3], padding: Padding::Valid };
        let error = block.over(&Shape::from([1, 2, 2, 2, 1])).unwrap_err().to_string();
        assert!(error.starts_with("stride in depth is 0, expected at least 1"), "{error}");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let window =
            |size, stride| Window { size: [size; 2], stride: [stride; 2], dilation: [1; 2], padding: Padding::Valid };
        let image = Shape::from([1, 4, 9, 1]);
        let error = window(5, 1).over(&image).unwrap_err().of("conv2d").to_string();
        assert_eq!(
            error,
            "conv2d: a window of 5 does not fit in a height of 4\n  x: [1, 4, 9, 1]   axis 1 = 4\n  \
             help: use Padding::Same, a smaller window, or less pooling before"
        );
        let far = Padding::Explicit([[usize::MAX, 1], [0, 0]]);
        let error = Window { padding: far, ..window(2, 1) }.over(&image).unwrap_err().to_string();
        assert!(error.contains("is past any image"), "{error}");
        assert!(window(2, 0).over(&image).unwrap_err().to_string().contains("stride in height is 0"));
        assert!(window(2, 1).over(&Shape::from([4, 9])).unwrap_err().to_string().contains("expected 4: (N, H, W, C)"));
        let line = Window { size: [3], stride: [1], dilation: [2], padding: Padding::Valid };
        let error = line.over(&Shape::from([1, 4, 1])).unwrap_err().to_string();
        assert!(error.starts_with("a window of 5 does not fit in a length of 4"), "{error}");
        let error = line.over(&Shape::from([4])).unwrap_err().to_string();
        assert!(error.starts_with("input has 1 axes, expected 3: (N, L, C)"), "{error}");
    }
}
