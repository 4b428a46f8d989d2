//! Convolution over images `(N, H, W, C)` with kernels `(KH, KW, C/groups, O)`:
//!
//! `y[n, oy, ox, o] = act(sum over kh, kw, c of x[n, iy, ix, c] w[kh, kw, c, o] + bias[o])` with
//! `iy = oy*stride - top + kh*dilation` and `ix` likewise.
//!
//! Backward is two ops of their own, each linear in both of its inputs, so that their derivatives are convolutions again:
//! `DataGradient` `dx` from `dz, w` and `WeightGradient` `dw`, perhaps with `dbias`, from `x, dz`, with `dz = dy * act'`.
//! With an activation among their options they take `dy, w, y` and `x, dy, y`, and make `dz` themselves.
//! What they calculate is in `conv2d_cpu.rs`, the GPU's kernels are in `conv2d_gpu.rs`.

use std::borrow::Cow;

use super::conv_options::{Conv2dOptions, conv_shape, windows};
use super::gemm::{check_epilogue, finish_tensor};
use super::{conv2d_cpu as cpu, conv2d_gpu as kernels, half};
use crate::dtype::DType;
use crate::gpu::{Gpu, Stream};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Halves, Op, Saves, apply, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;
use crate::window::Axis;

pub(super) use super::conv2d_gpu::INFO;

/// A convolution with all sizes resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) h: Axis,
    pub(super) w: Axis,
    /// Channels in and out.
    pub(super) c: usize,
    pub(super) o: usize,
    pub(super) groups: usize,
}

impl Geometry {
    pub(super) fn new(x: &Shape, w: &Shape, options: &Conv2dOptions) -> Result<Geometry, ShapeError> {
        let [h, width] = windows(x, w, options)?;
        Ok(Geometry { batch: x[0], h, w: width, c: x[3], o: w[3], groups: options.groups })
    }

    pub(super) fn x(&self) -> Shape {
        Shape::from([self.batch, self.h.input, self.w.input, self.c])
    }

    pub(super) fn y(&self) -> Shape {
        Shape::from([self.batch, self.h.output, self.w.output, self.o])
    }

    pub(super) fn kernel(&self) -> Shape {
        Shape::from([self.h.size, self.w.size, self.c / self.groups, self.o])
    }

    /// Positions of the output over the whole batch.
    pub(super) fn pixels(&self) -> usize {
        self.batch * self.h.output * self.w.output
    }

    /// Elements that one output sums up: kernel positions times channels of a group.
    pub(super) fn depth(&self) -> usize {
        self.h.size * self.w.size * self.c / self.groups
    }

    /// Whether halves can be copied to columns in pairs, as the words that they are packed in.
    fn has_pairs(&self) -> bool {
        (self.c / self.groups).is_multiple_of(2)
    }

    fn cost(&self) -> Cost {
        let elements = self.x().len() + self.y().len() + self.kernel().len();
        Cost { flops: 2 * (self.pixels() * self.o * self.depth()) as u64, bytes: 4 * elements as u64 }
    }
}

/// Inputs `x`, `w`, and perhaps `bias (O)`.
#[derive(Debug)]
struct Conv2d(Conv2dOptions);

impl Conv2d {
    /// The gradients where the operands are halves: `dz` is rounded too, but for the bias.
    fn backward_of_halves(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (options, x, w) = (plain(&self.0), node.input(0), node.input(1));
        let dz = self.0.activation.map_or_else(|| dy.clone(), |f| f.derivative(&node.output(), dy));
        let rounded = half::like(x, &dz);
        let dx = node.needs(0).then(|| data_gradient(*x.shape(), options, &rounded, w));
        let dw = node.needs(1).then(|| weight_gradient(*w.shape(), options, x, &rounded));
        let dbias = (node.inputs() == 3 && node.needs(2)).then(|| dz.sum_axes(&[0, 1, 2], false));
        [dx, dw, dbias].into_iter().take(node.inputs()).collect()
    }
}

/// What the three ops share in how they run: everything but the activation.
fn plain(options: &Conv2dOptions) -> Conv2dOptions {
    Conv2dOptions { activation: None, ..*options }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Geometry::new(x[0], x[1], &self.0).map(|g| g.y())
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        half::product_dtype(x)
    }

    fn halves(&self, x: &[&Shape], gpu: Option<&Gpu>) -> Halves {
        half::halves(gpu, Geometry::new(x[0], x[1], &self.0).is_ok_and(|g| g.has_pairs()))
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = Geometry::new(x[0].shape(), x[1].shape(), &self.0).expect("inferred before");
        let bias = x.get(2).map(|b| b.slice());
        cpu::forward(&g, x[0].slice(), x[1].slice(), bias, self.0.activation, y[0].slice());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let g = Geometry::new(x[0].shape(), x[1].shape(), &self.0).expect("inferred before");
        kernels::forward(gpu, &g, &self.0, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        let operands = Saves::input(0).and(Saves::input(1));
        if self.0.activation.is_some() { operands.and(Saves::OUTPUT) } else { operands }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (x, w) = (node.input(0), node.input(1));
        if x.dtype() == DType::F16 {
            return self.backward_of_halves(node, dy);
        }
        // `dz`, and for kernels that make it from `dy` themselves that and `y`.
        let activation = self.0.activation.filter(|_| dy.device().derives_in_loads());
        let y = self.0.activation.map(|_| node.output());
        let dz = || self.0.activation.zip(y.as_ref()).map_or_else(|| dy.clone(), |(f, y)| f.derivative(y, dy));
        let (factor, y) = if activation.is_some() { (dy.clone(), y.as_ref()) } else { (dz(), None) };
        let options = Conv2dOptions { activation, ..self.0 };
        let weights = |bias| apply(WeightGradient { w: *w.shape(), options, bias }, &operands([x, &factor], y));
        let data = DataGradient { name: "conv2d_data_gradient", x: *x.shape(), options };
        let dx = node.needs(0).then(|| apply(data, &operands([&factor, w], y)));
        let (dw, dbias) = match (node.needs(1), node.inputs() == 3 && node.needs(2)) {
            (true, true) => {
                let (dw, dbias) = parted(&weights(true), *w.shape());
                (Some(dw), Some(dbias))
            }
            (true, false) => (Some(weights(false)), None),
            (false, wanted) => {
                let dz = || if y.is_some() { dz() } else { factor.clone() };
                (None, wanted.then(|| dz().sum_axes(&[0, 1, 2], false)))
            }
        };
        [dx, dw, dbias].into_iter().take(node.inputs()).collect()
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        Geometry::new(x[0], x[1], &self.0).map(|g| g.cost()).unwrap_or_default()
    }
}

/// The operands of a gradient, and `y` if it makes `dz` itself.
fn operands<'a>(two: [&'a Tensor; 2], y: Option<&'a Tensor>) -> Vec<&'a Tensor> {
    two.into_iter().chain(y).collect()
}

/// `dz` where forward's output went through an activation, on the CPU: input `i` is `dy`, and the last one `y`.
fn before_activation<'a>(options: &Conv2dOptions, x: &[CpuView<'a>], i: usize) -> Cow<'a, [f32]> {
    match options.activation {
        Some(f) => f.derivative_of_slices(x[2].slice(), x[i].slice()).into(),
        None => x[i].slice().into(),
    }
}

/// The same on the tape.
fn dz(options: &Conv2dOptions, node: &Node, i: usize) -> Tensor {
    match options.activation {
        Some(f) => f.derivative(node.input(2), node.input(i)),
        None => node.input(i).clone(),
    }
}

/// Puts the gradient of `dz` among those of a gradient's inputs, of which number `i` is `dz` or `dy`.
fn gradients(
    options: &Conv2dOptions,
    node: &Node,
    i: usize,
    other: Option<Tensor>,
    of_dz: impl FnOnce() -> Tensor,
) -> Vec<Option<Tensor>> {
    let (of_dz, of_y) = match options.activation {
        Some(f) => {
            let [of_y, of_dy] = f.derivative_backward(node.input(2), node.input(i), &of_dz());
            (of_dy, Some(of_y))
        }
        None => (node.needs(i).then(of_dz), None),
    };
    let mut all = if i == 0 { vec![of_dz, other] } else { vec![other, of_dz] };
    all.extend(of_y);
    all
}

/// The gradient of the images: inputs `dz` (the output's shape) and `w`, output `dx`. It is the convolution of `dz`, spread
/// by the strides, with the kernel turned round; what lies between and around is zero. As anywhere else, zero times an
/// infinite weight is NaN.
#[derive(Debug)]
pub(super) struct DataGradient {
    pub(super) name: &'static str,
    pub(super) x: Shape,
    pub(super) options: Conv2dOptions,
}

fn data_gradient(x: Shape, options: Conv2dOptions, dz: &Tensor, w: &Tensor) -> Tensor {
    apply(DataGradient { name: "conv2d_data_gradient", x, options }, &[dz, w])
}

impl DataGradient {
    fn geometry(&self, w: &Shape) -> Geometry {
        Geometry::new(&self.x, w, &self.options).expect("forward had these shapes")
    }
}

impl Op for DataGradient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.x)
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        half::product_dtype(x)
    }

    fn halves(&self, x: &[&Shape], gpu: Option<&Gpu>) -> Halves {
        half::halves(gpu, self.geometry(x[1]).has_pairs())
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let dz = before_activation(&self.options, x, 0);
        cpu::data_gradient(&self.geometry(x[1].shape()), &dz, x[1].slice(), y[0].slice());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        kernels::data_gradient(gpu, &self.geometry(x[1].shape()), &self.options, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let (w, options) = (node.input(1), plain(&self.options));
        let ddx = &half::like(w, ddx);
        let of_w = node.needs(1).then(|| weight_gradient(*w.shape(), options, ddx, &dz(&self.options, node, 0)));
        gradients(&self.options, node, 0, of_w, || apply(Conv2d(options), &[ddx, w]))
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        self.geometry(x[1]).cost()
    }
}

/// The gradient of the weights: inputs `x` and `dz` (the output's shape), output `dw`.
///
/// With `bias` the output is a matrix `(KH*KW*C/groups + 1, O)`, whose last row is the bias's gradient: the sum of `dz` over
/// the pixels, which the product goes through anyway. A kernel of its own would read `dz` once more.
#[derive(Debug)]
struct WeightGradient {
    w: Shape,
    options: Conv2dOptions,
    bias: bool,
}

fn weight_gradient(w: Shape, options: Conv2dOptions, x: &Tensor, dz: &Tensor) -> Tensor {
    apply(WeightGradient { w, options, bias: false }, &[x, dz])
}

/// `dw` and `dbias`, views of the one matrix that holds them.
fn parted(both: &Tensor, w: Shape) -> (Tensor, Tensor) {
    let depth = both.shape()[0] - 1;
    (both.slice(&[0..depth]).reshape(w), both.slice(&[depth..depth + 1]).reshape([w[3]]))
}

impl WeightGradient {
    fn geometry(&self, x: &Shape) -> Geometry {
        Geometry::new(x, &self.w, &self.options).expect("forward had these shapes")
    }
}

impl Op for WeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        let [kh, kw, c, o] = self.w[..] else { unreachable!("kernels have four axes") };
        Ok(if self.bias { Shape::from([kh * kw * c + 1, o]) } else { self.w })
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        half::product_dtype(x)
    }

    fn halves(&self, x: &[&Shape], gpu: Option<&Gpu>) -> Halves {
        half::halves(gpu, !self.bias && self.geometry(x[0]).has_pairs())
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let g = self.geometry(x[0].shape());
        let dz = before_activation(&self.options, x, 1);
        cpu::weight_gradient(&g, self.bias, x[0].slice(), &dz, y[0].slice());
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        kernels::weight_gradient(gpu, &self.geometry(x[0].shape()), &self.options, self.bias, x, &y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, ddw: &Tensor) -> Vec<Option<Tensor>> {
        let (x, options) = (node.input(0), plain(&self.options));
        let ddw = &half::like(x, ddw);
        let (ddw, ddbias) = match self.bias {
            true => Some(parted(ddw, self.w)).unzip(),
            false => (Some(ddw.clone()), None),
        };
        let ddw = ddw.expect("weights have a gradient");
        let of_x = node.needs(0).then(|| data_gradient(*x.shape(), options, &dz(&self.options, node, 1), &ddw));
        gradients(&self.options, node, 1, of_x, || {
            let inputs: Vec<&Tensor> = [x, &ddw].into_iter().chain(&ddbias).collect();
            apply(Conv2d(options), &inputs)
        })
    }

    fn cost(&self, x: &[&Shape], _: &Shape) -> Cost {
        self.geometry(x[0]).cost()
    }
}

impl Tensor {
    /// Convolves images `(N, H, W, C)` with kernels `(KH, KW, C/groups, O)`, adds `bias (O)` and applies the activation:
    /// `(N, OH, OW, O)`.
    ///
    /// ```
    /// use tilegrad_core::{Conv2dOptions, Device, Padding, Tensor};
    /// let d = Device::cpu();
    /// let image = Tensor::ones([1, 3, 3, 1], &d);
    /// let edge = Tensor::new(&[-1., -1., -1., -1., 8., -1., -1., -1., -1.], [3, 3, 1, 1], &d);
    /// let same = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
    /// let y = image.conv2d(&edge, None, &same).to_vec::<f32>().unwrap();
    /// assert_eq!(y, [5., 3., 5., 3., 0., 3., 5., 3., 5.]);
    /// ```
    ///
    /// # Panics
    /// When the shapes don't fit (see [`conv_shape`]), or the activation can't be fused.
    #[track_caller]
    pub fn conv2d(&self, w: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Tensor {
        fits("conv2d", conv_shape(self.shape(), w.shape(), options));
        half::prepare(self);
        check_epilogue("conv2d", w.shape()[3], bias, options.activation);
        match bias {
            // Empty sums leave only bias and activation, which no product then runs.
            _ if w.shape()[2] == 0 => {
                finish_tensor(apply(Conv2d(plain(options)), &[self, w]), bias, options.activation)
            }
            Some(bias) => apply(Conv2d(*options), &[self, w, bias]),
            None => apply(Conv2d(*options), &[self, w]),
        }
    }
}
