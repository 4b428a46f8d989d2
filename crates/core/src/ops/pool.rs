//! Pooling over one, two or three axes: the methods, and how they become passes of `pool2d.rs`, `max_pool2d.rs` and
//! `lp_pool2d.rs`.
//!
//! Maxima, sums and the counts that means divide by are separable. So a line `(N, L, C)` is an image one pixel wide, and a
//! volume `(N, D, H, W, C)` takes two passes: over the height and width of its planes, then over its depth, as an image of
//! `D` rows whose channels are whole planes.

use super::lp_pool2d::LpPool;
use super::max_pool2d::{MaxPool, MaxPoolGather};
use super::pool2d::{AvgPool, Divisor, Over};
use crate::op::{apply, apply_all, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape;
use crate::tensor::Tensor;
use crate::window::{Axis, Window};

/// A window as pooling takes it: with ceil mode or without. Any [`Window`] is one, without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pooling<const N: usize = 2> {
    /// Size, stride, dilation and padding.
    pub window: Window<N>,
    /// Whether the number of windows is rounded up where they don't come out even: the last one may reach past the padded
    /// image, if it starts in the image or in the padding before it. The rule of PyTorch and ONNX.
    pub ceil: bool,
}

impl<const N: usize> Window<N> {
    /// This window in ceil mode, for pooling.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0, 5.0], [1, 5, 1], &Device::cpu());
    /// let halve = Window { size: [2], stride: [2], dilation: [1], padding: Padding::Valid };
    /// assert_eq!(x.max_pool1d(halve).to_vec::<f32>().unwrap(), [2.0, 4.0]);
    /// assert_eq!(x.max_pool1d(halve.ceil_mode()).to_vec::<f32>().unwrap(), [2.0, 4.0, 5.0]);
    /// ```
    pub fn ceil_mode(self) -> Pooling<N> {
        Pooling { window: self, ceil: true }
    }
}

impl<const N: usize> From<Window<N>> for Pooling<N> {
    fn from(window: Window<N>) -> Pooling<N> {
        Pooling { window, ceil: false }
    }
}

impl<const N: usize> From<&Window<N>> for Pooling<N> {
    fn from(window: &Window<N>) -> Pooling<N> {
        Pooling::from(*window)
    }
}

impl<const N: usize> From<&Pooling<N>> for Pooling<N> {
    fn from(pooling: &Pooling<N>) -> Pooling<N> {
        *pooling
    }
}

/// One pass over images `(N, H, W, C)`.
struct Pass {
    images: Shape,
    over: Over,
}

/// The passes that make up the pooling of `x`, and the shape that they come to.
#[track_caller]
fn passes<const N: usize>(name: &'static str, x: &Tensor, pooling: &Pooling<N>) -> (Vec<Pass>, Shape) {
    let axes = fits(name, pooling.window.resolve(x.shape(), pooling.ceil));
    let (n, c) = (x.shape()[0], x.shape()[N + 1]);
    let pass = |n: usize, [h, w]: [Axis; 2], c: usize, planes: usize| Pass {
        images: Shape::from([n, h.input, w.input, c]),
        over: Over { name, h, w, planes },
    };
    let list = match axes[..] {
        [l] => vec![pass(n, [l, Axis::ALL_OF_ONE], c, 1)],
        [h, w] => vec![pass(n, [h, w], c, 1)],
        [d, h, w] => {
            let plane = h.output * w.output * c;
            vec![pass(n * d.input, [h, w], c, d.input), pass(n, [d, Axis::ALL_OF_ONE], plane, 1)]
        }
        _ => unreachable!("windows have one to three axes"),
    };
    let mut shape = *x.shape();
    for (i, axis) in axes.iter().enumerate() {
        shape = shape.with(i + 1, axis.output);
    }
    // A software adapter's threads go through a window, or in backward through the windows that cover an input.
    for pass in &list {
        super::check_rounds(name, x.device().is_software(), pass.over.rounds());
    }
    (list, shape)
}

/// The largest element of each window and, if `save`, its position.
#[track_caller]
fn max_pool<const N: usize>(
    name: &'static str,
    x: &Tensor,
    pooling: Pooling<N>,
    save: bool,
    relu: bool,
) -> (Tensor, Option<Tensor>) {
    let (passes, shape) = passes(name, x, &pooling);
    let (mut y, mut positions) = (x.clone(), None::<Tensor>);
    for Pass { images, over } in passes {
        let (largest, mut aux) = apply_all(MaxPool { over, save, relu }, &[&y.reshape(images)]);
        // The second pass says which plane wins, and the first where in that plane.
        positions = match (aux.pop(), positions) {
            (Some(planes), Some(within)) => Some(apply(MaxPoolGather(over), &[&planes, &within.reshape(images)])),
            (aux, _) => aux,
        };
        y = largest;
    }
    (y.reshape(shape), positions.map(|p| p.reshape(shape)))
}

#[track_caller]
fn max_pool_for<const N: usize>(name: &'static str, x: &Tensor, pooling: Pooling<N>) -> Tensor {
    max_pool(name, x, pooling, tape::is_recording() && x.needs_grad(), false).0
}

#[track_caller]
fn max_pool_with_indices<const N: usize>(name: &'static str, x: &Tensor, pooling: Pooling<N>) -> (Tensor, Tensor) {
    let (y, positions) = max_pool(name, x, pooling, true, false);
    (y, positions.expect("positions were asked for"))
}

#[track_caller]
fn avg_pool<const N: usize>(name: &'static str, x: &Tensor, pooling: Pooling<N>, divisor: Divisor) -> Tensor {
    let (passes, shape) = passes(name, x, &pooling);
    let mut y = x.clone();
    for Pass { images, over } in passes {
        y = apply(AvgPool { over, divisor }, &[&y.reshape(images)]);
    }
    y.reshape(shape)
}

#[track_caller]
fn lp_pool<const N: usize>(name: &'static str, x: &Tensor, pooling: Pooling<N>, p: f32) -> Tensor {
    check_norm(name, p);
    let (passes, shape) = passes(name, x, &pooling);
    let mut y = x.clone();
    for Pass { images, over } in passes {
        super::check_rounds(name, x.device().is_software(), 2 * over.rounds());
        y = apply(LpPool { over, p }, &[&y.reshape(images)]);
    }
    y.reshape(shape)
}

#[track_caller]
fn check_norm(name: &str, p: f32) {
    assert!(
        p.is_finite() && p >= 1.0,
        "{name}: p is {p}, expected a finite number of at least 1\n  help: the limit of large p is `x.abs()` with max pooling"
    );
}

/// The axes between batch and channels.
#[track_caller]
fn spatial(name: &str, x: &Tensor) -> Vec<isize> {
    if x.rank() < 3 {
        let problem = format!("input has {} axes, expected at least 3: (N, .., C)", x.rank());
        let error =
            ShapeError::new(problem).operand("x", x.shape()).help("add missing axes with `unsqueeze` or `reshape`");
        fits(name, Err::<(), _>(error));
    }
    (1..x.rank() as isize - 1).collect()
}

impl Tensor {
    /// The largest element of each window: `(N, L, C)` becomes `(N, OL, C)`. Otherwise [`Tensor::max_pool2d`].
    #[track_caller]
    pub fn max_pool1d(&self, window: impl Into<Pooling<1>>) -> Tensor {
        max_pool_for("max_pool1d", self, window.into())
    }

    /// The largest element of each window: `(N, H, W, C)` becomes `(N, OH, OW, C)`. Padding is minus infinity, NaN passes,
    /// and the first of equal elements has the gradient.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 5.0, 4.0, 3.0, 0.0], [1, 2, 3, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid };
    /// assert_eq!(x.max_pool2d(window).to_vec::<f32>().unwrap(), [4.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn max_pool2d(&self, window: impl Into<Pooling<2>>) -> Tensor {
        max_pool_for("max_pool2d", self, window.into())
    }

    /// `self.relu().max_pool2d(window)` in one kernel: the same values and gradients, with less to read and write.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[-1.0, -2.0, 5.0, -4.0], [1, 1, 4, 1], &Device::cpu());
    /// let window = Window { size: [1, 2], stride: [1, 2], dilation: [1; 2], padding: Padding::Valid };
    /// assert_eq!(x.relu_max_pool2d(window).to_vec::<f32>().unwrap(), [0.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::max_pool2d`].
    #[track_caller]
    pub fn relu_max_pool2d(&self, window: impl Into<Pooling<2>>) -> Tensor {
        max_pool("relu_max_pool2d", self, window.into(), tape::is_recording() && self.needs_grad(), true).0
    }

    /// The largest element of each window: `(N, D, H, W, C)` becomes `(N, OD, OH, OW, C)`. Otherwise
    /// [`Tensor::max_pool2d`].
    #[track_caller]
    pub fn max_pool3d(&self, window: impl Into<Pooling<3>>) -> Tensor {
        max_pool_for("max_pool3d", self, window.into())
    }

    /// [`Tensor::max_pool1d`] with the positions (`u32`) of the largest elements along `L`.
    #[track_caller]
    pub fn max_pool1d_with_indices(&self, window: impl Into<Pooling<1>>) -> (Tensor, Tensor) {
        max_pool_with_indices("max_pool1d", self, window.into())
    }

    /// [`Tensor::max_pool2d`] with the positions (`u32`) of the largest elements, of its shape: `h * W + w`, as in PyTorch.
    /// For [`Tensor::max_unpool2d`]. A window of padding only has `u32::MAX`.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 5.0, 4.0, 3.0, 0.0], [1, 2, 3, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid };
    /// assert_eq!(x.max_pool2d_with_indices(window).1.to_vec::<u32>().unwrap(), [3, 2]);
    /// ```
    #[track_caller]
    pub fn max_pool2d_with_indices(&self, window: impl Into<Pooling<2>>) -> (Tensor, Tensor) {
        max_pool_with_indices("max_pool2d", self, window.into())
    }

    /// [`Tensor::max_pool3d`] with the positions (`u32`) of the largest elements: `(d * H + h) * W + w`.
    #[track_caller]
    pub fn max_pool3d_with_indices(&self, window: impl Into<Pooling<3>>) -> (Tensor, Tensor) {
        max_pool_with_indices("max_pool3d", self, window.into())
    }

    /// The mean of each window: `(N, L, C)` becomes `(N, OL, C)`. Otherwise [`Tensor::avg_pool2d`].
    #[track_caller]
    pub fn avg_pool1d(&self, window: impl Into<Pooling<1>>) -> Tensor {
        avg_pool("avg_pool1d", self, window.into(), Divisor::Inside)
    }

    /// The mean of each window: `(N, H, W, C)` becomes `(N, OH, OW, C)`. Padding does not count, as in Keras; the mean of
    /// a window of nothing else is 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[1.0, 2.0, 6.0, 3.0, 4.0, 8.0], [1, 2, 3, 1], &Device::cpu());
    /// let window = Window { size: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Same };
    /// assert_eq!(x.avg_pool2d(window).to_vec::<f32>().unwrap(), [2.5, 7.0]);
    /// ```
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn avg_pool2d(&self, window: impl Into<Pooling<2>>) -> Tensor {
        avg_pool("avg_pool2d", self, window.into(), Divisor::Inside)
    }

    /// The mean of each window: `(N, D, H, W, C)` becomes `(N, OD, OH, OW, C)`. Otherwise [`Tensor::avg_pool2d`].
    #[track_caller]
    pub fn avg_pool3d(&self, window: impl Into<Pooling<3>>) -> Tensor {
        avg_pool("avg_pool3d", self, window.into(), Divisor::Inside)
    }

    /// [`Tensor::avg_pool1d`] that counts padding as zeros.
    #[track_caller]
    pub fn avg_pool1d_with_padding(&self, window: impl Into<Pooling<1>>) -> Tensor {
        avg_pool("avg_pool1d", self, window.into(), Divisor::Padded)
    }

    /// [`Tensor::avg_pool2d`] that counts padding as zeros, as PyTorch does by default. What reaches past the padding, in
    /// ceil mode, does not count.
    ///
    /// # Panics
    /// When the input is no image batch or no window fits; on a software adapter, when a window has more than 65,000 taps.
    #[track_caller]
    pub fn avg_pool2d_with_padding(&self, window: impl Into<Pooling<2>>) -> Tensor {
        avg_pool("avg_pool2d", self, window.into(), Divisor::Padded)
    }

    /// [`Tensor::avg_pool3d`] that counts padding as zeros.
    #[track_caller]
    pub fn avg_pool3d_with_padding(&self, window: impl Into<Pooling<3>>) -> Tensor {
        avg_pool("avg_pool3d", self, window.into(), Divisor::Padded)
    }

    /// The p-norm of each window: `(N, L, C)` becomes `(N, OL, C)`. Otherwise [`Tensor::lp_pool2d`].
    #[track_caller]
    pub fn lp_pool1d(&self, window: impl Into<Pooling<1>>, p: f32) -> Tensor {
        lp_pool("lp_pool1d", self, window.into(), p)
    }

    /// The p-norm of each window, `(sum |x|^p)^(1/p)`: `(N, H, W, C)` becomes `(N, OH, OW, C)`. Padding is 0. Nothing
    /// overflows on the way, and the gradient of a window of zeros is 0. Numbers below 1.2e-38 count as 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Padding, Tensor, Window};
    /// let x = Tensor::new(&[3e30, -4e30], [1, 1, 2, 1], &Device::cpu());
    /// let window = Window { size: [1, 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid };
    /// assert_eq!(x.lp_pool2d(window, 2.0).to_vec::<f32>().unwrap(), [5e30]);
    /// ```
    ///
    /// # Panics
    /// When the input is no image batch, no window fits, or `p` is below 1 or not finite; on a software adapter, when a
    /// window has more than 32,500 taps.
    #[track_caller]
    pub fn lp_pool2d(&self, window: impl Into<Pooling<2>>, p: f32) -> Tensor {
        lp_pool("lp_pool2d", self, window.into(), p)
    }

    /// The p-norm of each window: `(N, D, H, W, C)` becomes `(N, OD, OH, OW, C)`. Otherwise [`Tensor::lp_pool2d`].
    #[track_caller]
    pub fn lp_pool3d(&self, window: impl Into<Pooling<3>>, p: f32) -> Tensor {
        lp_pool("lp_pool3d", self, window.into(), p)
    }

    /// The largest element of each channel: `(N, .., C)` becomes `(N, 1, .., 1, C)`, or `(N, C)` without `keepdims`.
    /// Elements that tie share the gradient.
    ///
    /// # Panics
    /// When there is no axis between batch and channels, or no element.
    #[track_caller]
    pub fn global_max_pool(&self, keepdims: bool) -> Tensor {
        self.max_axes(&spatial("global_max_pool", self), keepdims)
    }

    /// The mean of each channel: `(N, .., C)` becomes `(N, 1, .., 1, C)`, or `(N, C)` without `keepdims`. NaN when there
    /// are no elements.
    ///
    /// # Panics
    /// When there is no axis between batch and channels.
    #[track_caller]
    pub fn global_avg_pool(&self, keepdims: bool) -> Tensor {
        self.mean_axes(&spatial("global_avg_pool", self), keepdims)
    }

    /// The p-norm of each channel: `(N, .., C)` becomes `(N, 1, .., 1, C)`, or `(N, C)` without `keepdims`. Nothing
    /// overflows on the way, and the gradient of a channel of zeros is 0.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[3.0, 0.0, 0.0, -4.0], [1, 2, 2, 1], &Device::cpu());
    /// assert_eq!(x.global_lp_pool(2.0, false).to_vec::<f32>().unwrap(), [5.0]);
    /// ```
    ///
    /// # Panics
    /// When there is no axis between batch and channels, or no element, or `p` is below 1 or not finite.
    #[track_caller]
    pub fn global_lp_pool(&self, p: f32, keepdims: bool) -> Tensor {
        check_norm("global_lp_pool", p);
        let axes = spatial("global_lp_pool", self);
        let size = self.abs();
        // In units of the largest, so that powers stay in range: the sum is 1 or more, or 0 where all are zeros, and there
        // the clip makes the gradient 0.
        let top = size.detach().max_axes(&axes, true);
        let unit = top.clip(f32::MIN_POSITIVE, f32::MAX);
        let sum = size.div(&unit).powf(p).sum_axes(&axes, true).clip(1.0, f32::INFINITY);
        let norm = sum.powf(1.0 / p).mul(&top);
        if keepdims { norm } else { norm.reshape([self.shape()[0], self.shape()[self.rank() - 1]]) }
    }
}
