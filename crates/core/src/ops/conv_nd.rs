//! Convolutions that are `conv2d` of a rearranged input, so both backends, gradients and second derivatives come from there:
//!
//! - `conv1d`: over images of height 1;
//! - `conv3d`: `y[n, oz, ..] = sum over kd of conv2d(x[n, oz*stride - front + kd*dilation, ..], w[kd, ..])`. The slices that
//!   a window's depth meets are put side by side as channels, so that one product sums over all of them; it copies the
//!   volume once for each tap of the depth;
//! - `depthwise_conv2d`: one group for each channel, `y[.., c*M + m]` from `x[.., c]` and `w[.., c, m]`.

use super::conv_options::{Conv1dOptions, Conv2dOptions, Conv3dOptions, conv_shape, windows};
use super::gemm::check_epilogue;
use crate::op::fits;
use crate::shape::ShapeError;
use crate::tensor::Tensor;

impl Tensor {
    /// Convolves lines `(N, L, C)` with kernels `(K, C/groups, O)`, adds `bias (O)` and applies the activation:
    /// `(N, OL, O)`.
    ///
    /// ```
    /// use tilegrad_core::{Conv1dOptions, Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 2.0, 4.0, 8.0], [1, 4, 1], &d);
    /// let difference = Tensor::new(&[-1.0, 1.0], [2, 1, 1], &d);
    /// let y = x.conv1d(&difference, None, &Conv1dOptions::default());
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_shape`]), or the activation can't be fused.
    #[track_caller]
    pub fn conv1d(&self, w: &Tensor, bias: Option<&Tensor>, options: &Conv1dOptions) -> Tensor {
        fits("conv1d", conv_shape(self.shape(), w.shape(), options));
        check_epilogue("conv1d", w.shape()[2], bias, options.activation);
        self.unsqueeze(1).conv2d(&w.unsqueeze(0), bias, &options.over_images()).squeeze(1)
    }

    /// Convolves volumes `(N, D, H, W, C)` with kernels `(KD, KH, KW, C/groups, O)`, adds `bias (O)` and applies the
    /// activation: `(N, OD, OH, OW, O)`. Needs memory for `KD` copies of the volume.
    ///
    /// ```
    /// use tilegrad_core::{Conv3dOptions, Device, Tensor};
    /// let d = Device::cpu();
    /// let (x, w) = (Tensor::ones([1, 4, 5, 6, 2], &d), Tensor::ones([2, 3, 3, 2, 7], &d));
    /// let y = x.conv3d(&w, None, &Conv3dOptions::default());
    /// assert_eq!(y.shape()[..], [1, 3, 3, 4, 7]);
    /// assert_eq!(y.to_vec::<f32>().unwrap()[0], 36.0);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_shape`]), or the activation can't be fused.
    #[track_caller]
    pub fn conv3d(&self, w: &Tensor, bias: Option<&Tensor>, options: &Conv3dOptions) -> Tensor {
        let [depth, height, width] = fits("conv3d", windows(self.shape(), w.shape(), options));
        check_epilogue("conv3d", w.shape()[4], bias, options.activation);
        let (n, c, groups) = (self.shape()[0], self.shape()[4], options.groups);
        let [kd, kh, kw, of_group, o] = w.shape()[..] else { unreachable!("five axes were checked") };

        let padded = match [depth.before, depth.after] {
            [0, 0] => self.clone(),
            [before, after] => self.pad(&[(0, 0), (before, after)], 0.0),
        };
        // Every window's slice at one tap; with no windows, no slices.
        let reach = depth.output.checked_sub(1).map_or(0, |last| last * depth.stride + 1);
        let slices: Vec<Tensor> = (0..kd)
            .map(|tap| {
                let first = if reach == 0 { 0 } else { tap * depth.dilation };
                padded.slice_steps(&[(0..n, 1), (first..first + reach, depth.stride)]).reshape([
                    n,
                    depth.output,
                    height.input,
                    width.input,
                    groups,
                    of_group,
                ])
            })
            .collect();
        let images = Tensor::concat(&slices.iter().collect::<Vec<_>>(), -1);
        let images = images.reshape([n * depth.output, height.input, width.input, kd * c]);
        let w = w.permute(&[1, 2, 0, 3, 4]).reshape([kh, kw, kd * of_group, o]);
        let y = images.conv2d(&w, bias, &options.over_images());
        y.reshape([n, depth.output, height.output, width.output, o])
    }

    /// Convolves each channel of images `(N, H, W, C)` with `M` kernels of its own, `w (KH, KW, C, M)`, adds `bias (C*M)` and
    /// applies the activation: `(N, OH, OW, C*M)`, with the `M` results of a channel side by side, as in Keras.
    ///
    /// ```
    /// use tilegrad_core::{Conv2dOptions, Device, Tensor};
    /// let d = Device::cpu();
    /// let x = Tensor::new(&[1.0, 10.0], [1, 1, 1, 2], &d);
    /// let w = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2], &d);
    /// let y = x.depthwise_conv2d(&w, None, &Conv2dOptions::default());
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 30.0, 40.0]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit, the options ask for groups, or the activation can't be fused.
    #[track_caller]
    pub fn depthwise_conv2d(&self, w: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Tensor {
        let name = "depthwise_conv2d";
        let (x, kernel) = (*self.shape(), *w.shape());
        let refuse = |problem: String| ShapeError::new(problem).operand("x", &x).operand("w", &kernel);
        let problem = if options.groups != 1 {
            Err(refuse(format!("the options ask for {} groups", options.groups))
                .help("each channel is a group of its own; leave `groups` at 1"))
        } else if kernel.rank() != 4 {
            Err(refuse(format!("weights have {} axes, expected 4: (KH, KW, C, M)", kernel.rank())))
        } else if x.rank() == 4 && x[3] != kernel[2] {
            Err(ShapeError::new(format!("channels differ ({} != {})", x[3], kernel[2]))
                .operand_axis("x", &x, 3)
                .operand_axis("w", &kernel, 2)
                .help("images are (N, H, W, C) and kernels (KH, KW, C, M)"))
        } else {
            Ok(())
        };
        fits(name, problem);
        let [kh, kw, c, m] = kernel[..] else { unreachable!("four axes were checked") };
        // Without channels there is nothing to divide into groups.
        let options = Conv2dOptions { groups: c.max(1), ..*options };
        let w = w.reshape([kh, kw, c.min(1), c * m]);
        fits(name, conv_shape(self.shape(), w.shape(), &options));
        check_epilogue(name, c * m, bias, options.activation);
        self.conv2d(&w, bias, &options)
    }
}
