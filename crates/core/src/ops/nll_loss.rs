//! Negative log-likelihood of classes `(..)` under log-probabilities `(.., C)`, and cross-entropy of logits through it.
//!
//! `loss = -w[t] * x[t]`, where `t` is the class of a row and `w` the classes' weights. The mean is the sum divided by the sum
//! of `w[t]`, as in PyTorch and ONNX. It is linear in `x`, and so backward is a kernel whose own derivative is the forward
//! kernel again.
//!
//! Labels smoothed by `s` make it `-(1 - s) * w[t] * x[t] - s / C * sum over c of w[c] * x[c]`, by tensor algebra.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::NLL_LOSS;

use super::cross_entropy::class_of;
use super::losses::{Reduction, reduced};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, apply_all, fits};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["nll_loss"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &NLL_LOSS,
        entries: &["nll_loss_forward", "nll_loss_backward"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    n: u32,
    x_offset: u32,
    label_offset: u32,
    weight_offset: u32,
    ignores: u32,
    ignored: u32,
    pad: u32,
}

/// The label that does not count, by its bits.
#[derive(Clone, Copy, Debug)]
struct Ignored(Option<u32>);

impl Ignored {
    /// For labels of this type. A number that the type can't hold is no label's.
    fn new(labels: &Tensor, ignore_index: Option<i64>) -> Ignored {
        let bits = |i: i64| match labels.dtype() {
            DType::I32 => i32::try_from(i).ok().map(|i| i as u32),
            _ => u32::try_from(i).ok(),
        };
        Ignored(ignore_index.and_then(bits))
    }

    /// The losses, 0 where a label does not count.
    fn silence(self, labels: &Tensor, loss: Tensor) -> Tensor {
        let Some(bits) = self.0 else { return loss };
        let ignored = match labels.dtype() {
            DType::I32 => labels.eq(&Tensor::new(&[bits as i32], Shape::scalar(), labels.device())),
            _ => labels.eq(&Tensor::new(&[bits], Shape::scalar(), labels.device())),
        };
        ignored.where_cond(&Tensor::scalar(0.0, labels.device()), &loss)
    }

    fn ignores(&self, class: usize) -> bool {
        self.0.is_some_and(|ignored| class == ignored as usize)
    }

    fn launch(
        &self,
        gpu: &mut Stream,
        entry: &'static str,
        threads: u64,
        dims: [u32; 2],
        x: &[GpuView<'_>],
        y: &[GpuView<'_>],
    ) {
        let params = Params {
            rows: dims[0],
            n: dims[1],
            x_offset: x[0].offset(),
            label_offset: x[1].offset(),
            weight_offset: x[2].offset(),
            ignores: self.0.is_some() as u32,
            ignored: self.0.unwrap_or(0),
            pad: 0,
        };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &NLL_LOSS, entry, constants: &[] },
            inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
            outputs: &y.iter().map(|y| y.buffer).collect::<Vec<_>>(),
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(threads, 64),
        });
    }
}

/// From `x (rows, C)`, labels `(rows)` and weights `(C)`: the losses `(rows)`, and the labels' weights besides.
#[derive(Debug)]
struct NllLoss(Ignored);

impl Op for NllLoss {
    fn name(&self) -> &'static str {
        "nll_loss"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[1])
    }

    /// The method has looked at the types.
    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn aux(&self, x: &[&Shape]) -> Vec<(Shape, DType)> {
        vec![(*x[1], DType::F32)]
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let [loss, picked] = y else { unreachable!("two outputs") };
        let [x, labels, weights] = x else { unreachable!("three inputs") };
        let (n, x, weights) = (weights.shape()[0], x.slice::<f32>(), weights.slice::<f32>());
        par::map(picked.slice(), |row| match class_of(labels, row) {
            t if self.0.ignores(t) => 0.0,
            t => weights.get(t).copied().unwrap_or(f32::NAN),
        });
        par::map(loss.slice(), |row| match class_of(labels, row) {
            t if self.0.ignores(t) => 0.0,
            t if t >= n => f32::NAN,
            t => -weights[t] * x[row * n + t],
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (rows, n) = (x[1].len(), x[2].len());
        self.0.launch(gpu, "nll_loss_forward", rows.into(), [rows, n], x, y);
    }

    fn saves(&self) -> Saves {
        Saves::input(1).and(Saves::input(2))
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(Backward(self.0), &[dy, node.input(1), node.input(2)])), None, None]
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: y.len() as u64, bytes: 20 * y.len() as u64 }
    }
}

/// `dx` from `dy`, labels and weights.
#[derive(Debug)]
struct Backward(Ignored);

impl Op for Backward {
    fn name(&self) -> &'static str {
        "nll_loss_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::from([x[1][0], x[2][0]]))
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::F32)
    }

    fn cpu(&self, x: &[CpuView<'_>], dx: &mut [CpuViewMut<'_>]) {
        let [dy, labels, weights] = x else { unreachable!("three inputs") };
        let (n, dy, weights) = (weights.shape()[0], dy.slice::<f32>(), weights.slice::<f32>());
        par::rows(dx[0].slice(), n, n, |row, dx: &mut [f32]| {
            let t = class_of(labels, row);
            dx.fill(if t < n || self.0.ignores(t) { 0.0 } else { f32::NAN });
            if t < n && !self.0.ignores(t) {
                dx[t] = -dy[row] * weights[t];
            }
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], dx: &[GpuView<'_>]) {
        let (rows, n) = (x[1].len(), x[2].len());
        self.0.launch(gpu, "nll_loss_backward", u64::from(rows) * u64::from(n), [rows, n], x, dx);
    }

    fn saves(&self) -> Saves {
        Saves::input(1).and(Saves::input(2))
    }

    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(apply(NllLoss(self.0), &[ddx, node.input(1), node.input(2)])), None, None]
    }
}

/// What [`Tensor::nll_loss`] counts, and how much. The default counts every class once and gives the mean.
#[derive(Clone, Debug, Default)]
pub struct NllOptions {
    /// A weight for each class, `f32 (C)`: a constant. `None` is 1 for all.
    pub weight: Option<Tensor>,
    /// The label that does not count, be it a class or not. `None` counts all; PyTorch's default is -100.
    pub ignore_index: Option<i64>,
    /// What is made of the losses. The mean is over the weights of the labels that count; NaN where there are none.
    pub reduction: Reduction,
}

/// What [`Tensor::cross_entropy_with`] counts, and how much. The default counts every class once and gives the mean.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropyOptions {
    /// A weight for each class, `f32 (C)`: a constant. `None` is 1 for all.
    pub weight: Option<Tensor>,
    /// The label that does not count, be it a class or not. `None` counts all; PyTorch's default is -100.
    pub ignore_index: Option<i64>,
    /// From 0 to 1: the part of each label that is spread evenly over all classes (Szegedy et al. 2016). PyTorch's rule,
    /// which is Keras's too where there are no weights.
    pub label_smoothing: f32,
    /// What is made of the losses. The mean is over the weights of the labels that count, NaN where there are none; for
    /// class probabilities it is over the rows.
    pub reduction: Reduction,
}

/// Refuses what is no log-probabilities with labels and weights that fit, and says which shape the losses have.
fn check(op: &str, x: &Tensor, labels: &Tensor, weight: Option<&Tensor>) -> Result<Shape, ShapeError> {
    let error =
        |problem: String| Err(ShapeError::new(problem).operand("x", x.shape()).operand("labels", labels.shape()));
    if x.dtype() != DType::F32 {
        return error(format!("x is {}, expected f32", x.dtype()));
    }
    let Some((&n, leading)) = x.shape().split_last() else {
        return error("a scalar has no class axis".into());
    };
    if n == 0 {
        return error("there are no classes".into());
    }
    let leading = Shape::new(leading);
    match labels.dtype() {
        DType::U32 | DType::I32 if *labels.shape() != leading => {
            return error(format!("{} labels are one class a row, expected {leading}", labels.dtype()));
        }
        DType::U32 | DType::I32 => {}
        DType::F32 if op == "nll_loss" => return error("labels are f32, expected u32 or i32".into()),
        DType::F32 if labels.shape() != x.shape() => {
            return error(format!("f32 labels are class probabilities, expected {}", x.shape()));
        }
        DType::F32 => {}
        other => return error(format!("labels are {other}, expected u32, i32 or f32")),
    }
    if let Some(weight) = weight {
        let error =
            |problem: String| Err(ShapeError::new(problem).operand("x", x.shape()).operand("weight", weight.shape()));
        if weight.dtype() != DType::F32 || weight.shape().dims() != [n] {
            return error(format!(
                "weight is {} {}, expected one number a class, f32 [{n}]",
                weight.dtype(),
                weight.shape()
            ));
        }
        if weight.needs_grad() {
            return error("there is no derivative by the classes' weights, but weight wants a gradient".into())
                .map_err(|e: ShapeError| e.help("use weight.detach()"));
        }
    }
    Ok(leading)
}

/// Losses of log-probabilities for labels that are classes, of the labels' shape, and the weights of the labels.
fn nll(x: &Tensor, labels: &Tensor, weight: Option<&Tensor>, ignored: Ignored) -> (Tensor, Tensor) {
    let n = x.shape()[x.rank() - 1];
    let weight = weight.cloned().unwrap_or_else(|| Tensor::ones([n], x.device()));
    let (loss, mut picked) =
        apply_all(NllLoss(ignored), &[&x.reshape([labels.len(), n]), &labels.reshape([labels.len()]), &weight]);
    (loss.reshape(labels.shape()), picked.pop().expect("the weights").reshape(labels.shape()))
}

fn reduced_by_weight((loss, picked): (Tensor, Tensor), reduction: Reduction) -> Tensor {
    match reduction {
        Reduction::Mean => loss.sum().div(&picked.sum()),
        other => reduced(loss, other),
    }
}

impl Tensor {
    /// Minus the log-probability, from `(.., C)`, of each label, which are classes `(..)` of type `u32` or `i32`. A label
    /// that is neither a class nor ignored gives NaN.
    ///
    /// ```
    /// use tilegrad_core::{Device, NllOptions, Reduction, Tensor};
    /// let d = Device::cpu();
    /// let log_p = Tensor::new(&[-1.0, -2.0, -3.0, -4.0], [2, 2], &d);
    /// let labels = Tensor::new(&[1i32, -1], [2], &d);
    /// let options = NllOptions { ignore_index: Some(-1), reduction: Reduction::None, ..Default::default() };
    /// assert_eq!(log_p.nll_loss(&labels, &options).to_vec::<f32>().unwrap(), [2.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When labels or weights don't fit.
    #[track_caller]
    pub fn nll_loss(&self, labels: &Tensor, options: &NllOptions) -> Tensor {
        let weight = options.weight.as_ref();
        fits("nll_loss", check("nll_loss", self, labels, weight));
        let ignored = Ignored::new(labels, options.ignore_index);
        reduced_by_weight(nll(self, labels, weight, ignored), options.reduction)
    }

    /// Softmax cross-entropy of logits `(.., C)` with class weights, an ignored label, smoothed labels, and a choice of
    /// reduction. Labels are classes `(..)` of type `u32` or `i32`, or class probabilities `(.., C)` of type `f32`.
    ///
    /// [`Tensor::cross_entropy`] is the plain loss of each row.
    ///
    /// ```
    /// use tilegrad_core::{CrossEntropyOptions, Device, Tensor};
    /// let d = Device::cpu();
    /// let logits = Tensor::new(&[0.0, 0.0, 1e4, 0.0], [2, 2], &d);
    /// let weight = Some(Tensor::new(&[3.0, 1.0], [2], &d));
    /// let options = CrossEntropyOptions { weight, ..Default::default() };
    /// let loss = logits.cross_entropy_with(&Tensor::new(&[0i32, 1], [2], &d), &options);
    /// assert_eq!(loss.item().unwrap(), (3.0 * 2f32.ln() + 1e4) / 4.0);
    /// ```
    ///
    /// # Panics
    /// When labels or weights don't fit, the smoothing is not in 0 to 1, or a label is to be ignored among probabilities.
    #[track_caller]
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropyOptions) -> Tensor {
        const NAME: &str = "cross_entropy";
        let CrossEntropyOptions { weight, ignore_index, label_smoothing, reduction } = options;
        let (weight, reduction, s) = (weight.as_ref(), *reduction, *label_smoothing);
        let leading = fits(NAME, check(NAME, self, labels, weight));
        let error = |problem: String| ShapeError::new(problem).operand("x", self.shape()).of(NAME);
        if !(0.0..=1.0).contains(&s) {
            panic!("{}", error(format!("label_smoothing is {s}, expected a number from 0 to 1")));
        }
        let rows = self.reshape([leading.len(), self.shape()[leading.rank()]]);
        if labels.dtype() == DType::F32 {
            if ignore_index.is_some() {
                panic!("{}", error("no row of class probabilities is a label to ignore".into()));
            }
            let smooth = if s == 0.0 { labels.clone() } else { labels.affine(1.0 - s, s / rows.shape()[1] as f32) };
            let targets = weight.map_or(smooth.clone(), |weight| smooth.mul(weight));
            return reduced(rows.cross_entropy(&targets.reshape(rows.shape())).reshape(leading), reduction);
        }
        if weight.is_none() && ignore_index.is_none() && s == 0.0 {
            let loss = rows.cross_entropy(&labels.reshape([labels.len()]));
            return reduced(loss.reshape(leading), reduction);
        }
        let (ignored, log_p) = (Ignored::new(labels, *ignore_index), self.log_softmax(-1));
        let (loss, picked) = nll(&log_p, labels, weight, ignored);
        if s == 0.0 {
            return reduced_by_weight((loss, picked), reduction);
        }
        let spread = weight.map_or(log_p.clone(), |weight| log_p.mul(weight)).sum_axes(&[-1], false);
        let spread = ignored.silence(labels, spread.affine(-s / rows.shape()[1] as f32, 0.0));
        reduced_by_weight((loss.affine(1.0 - s, 0.0).add(&spread), picked), reduction)
    }
}
