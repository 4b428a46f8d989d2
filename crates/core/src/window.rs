//! Windows that slide over images: padding, stride and dilation, and the output sizes they give. Shared by convolution and
//! pooling. Images have one, two or three axes between the batch and the channels: `(N, L, C)`, `(N, H, W, C)`,
//! `(N, D, H, W, C)`.

use crate::shape::{Shape, ShapeError};

/// What lies around an image of `AXES` axes for windows that reach over its edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding<const AXES: usize = 2> {
    /// Nothing: windows stay inside the image.
    #[default]
    Valid,
    /// Enough that the output has `ceil(size / stride)` positions. The odd pixel goes at the end (bottom and right), as in
    /// TensorFlow; ONNX's `SAME_UPPER`.
    Same,
    /// As `Same`, but the odd pixel goes at the start (top and left): ONNX's `SAME_LOWER`.
    SameLower,
    /// Pixels before and after each axis: `[[top, bottom], [left, right]]`.
    Explicit([[usize; 2]; AXES]),
}

/// A window over one image axis, resolved for an input of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// Positions that a window covers, its holes included.
    pub fn extent(&self) -> usize {
        (self.size - 1) * self.dilation + 1
    }
}

/// A window over the axes between batch and channels: over height and width, unless `AXES` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window<const AXES: usize = 2> {
    /// Taps along each axis.
    pub size: [usize; AXES],
    /// Steps from one window to the next.
    pub stride: [usize; AXES],
    /// Steps from one tap to the next.
    pub dilation: [usize; AXES],
    /// What lies around the image.
    pub padding: Padding<AXES>,
}

impl<const AXES: usize> Window<AXES> {
    /// The window over an image of `(N, H, W, C)`: geometry of height and of width. Likewise for one and three axes.
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
    pub fn over(&self, x: &Shape) -> Result<[Axis; AXES], ShapeError> {
        self.resolve(x, false)
    }

    /// [`Window::over`], with the last window allowed to reach past the padded image in `ceil` mode.
    pub(crate) fn resolve(&self, x: &Shape, ceil: bool) -> Result<[Axis; AXES], ShapeError> {
        const { assert!(AXES >= 1 && AXES <= 3, "windows have one to three axes") };
        if x.rank() != AXES + 2 {
            let form = ["(N, L, C)", "(N, H, W, C)", "(N, D, H, W, C)"][AXES - 1];
            let problem = format!("input has {} axes, expected {}: {form}", x.rank(), AXES + 2);
            return Err(ShapeError::new(problem)
                .operand("x", x)
                .help("add missing axes with `unsqueeze` or `reshape`"));
        }
        let mut axes = [Axis::ALL_OF_ONE; AXES];
        for (i, axis) in axes.iter_mut().enumerate() {
            *axis = self.axis(x, i, ceil)?;
        }
        Ok(axes)
    }

    fn axis(&self, x: &Shape, i: usize, ceil: bool) -> Result<Axis, ShapeError> {
        let name = if AXES == 1 { "length" } else { ["depth", "height", "width"][3 - AXES + i] };
        let (input, size, stride, dilation) = (x[i + 1], self.size[i], self.stride[i], self.dilation[i]);
        for (what, value) in [("size", size), ("stride", stride), ("dilation", dilation)] {
            if value == 0 {
                return Err(ShapeError::new(format!("{what} in {name} is 0, expected at least 1")).operand("x", x));
            }
        }
        let sides = match self.padding {
            Padding::Explicit(sides) => sides[i],
            _ => [0, 0],
        };
        // Far past any image, and what follows can't overflow below it.
        const LIMIT: usize = 1 << 24;
        if [size, stride, dilation, sides[0], sides[1]].iter().any(|&v| v > LIMIT) {
            let problem =
                format!("a window of {size} in steps of {stride}, dilation {dilation}, padding {sides:?} in {name}");
            return Err(ShapeError::new(problem + " is past any image").operand("x", x));
        }
        let extent = (size - 1) * dilation + 1;
        // What `Same` adds, before and after together.
        let total = ((input.div_ceil(stride).saturating_sub(1)) * stride + extent).saturating_sub(input);
        let (before, after) = match self.padding {
            Padding::Valid => (0, 0),
            Padding::Same => (total / 2, total - total / 2),
            Padding::SameLower => (total - total / 2, total / 2),
            Padding::Explicit(_) => (sides[0], sides[1]),
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
        assert_eq!(outputs(2, 2, Padding::SameLower, 7), (4, 1, 0));
        assert_eq!(outputs(3, 2, Padding::SameLower, 28), (14, 1, 0));
        assert_eq!(outputs(3, 1, Padding::Explicit([[2, 0], [0, 0]]), 5), (5, 2, 0));
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
    }
}
