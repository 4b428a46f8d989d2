//! Elementwise functions of one tensor: `y = f(x)`, `dx = dy * f'`.
//!
//! A function is one row of `TABLE` and its lines in `shaders/unary.wgsl`. The derivative is written in terms of
//! whichever of `x` and `y` the row saves.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::UNARY;

use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, Saves, apply};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

/// A function of one number, with up to two constants `a` and `b`.
#[derive(Debug)]
struct Function {
    name: &'static str,
    f: fn(x: f32, a: f32, b: f32) -> f32,
    saves: Saves,
    /// The derivative at the saved value: `x` or `y`.
    df: fn(v: f32, a: f32, b: f32) -> f32,
}

const X: Saves = Saves::INPUTS;
const Y: Saves = Saves::OUTPUT;

/// A row of `TABLE`. The number is the shader's `OP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named after the functions")]
pub enum Unary {
    Neg,
    Exp,
    Log,
    Sqrt,
    Abs,
    Relu,
    Sigmoid,
    Tanh,
    Swish,
    Square,
    Reciprocal,
    Affine,
    Softplus,
    Elu,
    LeakyRelu,
    Gelu,
    Sin,
    Cos,
    Clip,
    Pow,
}

const GELU: f32 = 0.797_884_6; // sqrt(2 / pi)

const fn row(name: &'static str, f: fn(f32, f32, f32) -> f32, saves: Saves, df: fn(f32, f32, f32) -> f32) -> Function {
    Function { name, f, saves, df }
}

/// In the order of [`Unary`].
#[rustfmt::skip]
static TABLE: [Function; 20] = [
    //  name          f(x, a, b)                                          saves  f' at x or y
    row("neg",        |x, _, _| -x,                                       X, |_, _, _| -1.0),
    row("exp",        |x, _, _| x.exp(),                                  Y, |y, _, _| y),
    row("log",        |x, _, _| x.ln(),                                   X, |x, _, _| 1.0 / x),
    row("sqrt",       |x, _, _| x.sqrt(),                                 Y, |y, _, _| 0.5 / y),
    row("abs",        |x, _, _| x.abs(),                                  X, |x, _, _| if x == 0.0 { 0.0 } else { x.signum() }),
    row("relu",       |x, _, _| if x <= 0.0 { 0.0 } else { x },           Y, |y, _, _| if y <= 0.0 { 0.0 } else { 1.0 }),
    row("sigmoid",    |x, _, _| logistic(x),                              Y, |y, _, _| y * (1.0 - y)),
    row("tanh",       |x, _, _| x.tanh(),                                 Y, |y, _, _| 1.0 - y * y),
    row("swish",      |x, _, _| x * logistic(x),                          X, |x, _, _| swish_derivative(x)),
    row("square",     |x, _, _| x * x,                                    X, |x, _, _| 2.0 * x),
    row("reciprocal", |x, _, _| 1.0 / x,                                  Y, |y, _, _| -y * y),
    row("affine",     |x, a, b| a * x + b,                    Saves::NOTHING, |_, a, _| a),
    row("softplus",   |x, _, _| x.max(0.0) + (-x.abs()).exp().ln_1p(),    X, |x, _, _| logistic(x)),
    row("elu",        |x, a, _| if x < 0.0 { a * x.exp_m1() } else { x }, X, |x, a, _| if x < 0.0 { a * x.exp() } else { 1.0 }),
    row("leaky_relu", |x, a, _| if x < 0.0 { a * x } else { x },          X, |x, a, _| if x < 0.0 { a } else { 1.0 }),
    row("gelu",       |x, _, _| 0.5 * x * (1.0 + gelu_tanh(x)),           X, |x, _, _| gelu_derivative(x)),
    row("sin",        |x, _, _| x.sin(),                                  X, |x, _, _| x.cos()),
    row("cos",        |x, _, _| x.cos(),                                  X, |x, _, _| -x.sin()),
    row("clip",       |x, a, b| if x < a { a } else if x > b { b } else { x }, X, |x, a, b| if x >= a && x <= b { 1.0 } else { 0.0 }),
    row("powf",       |x, a, _| x.powf(a),                                X, |x, a, _| if a == 0.0 { 0.0 } else { a * x.powf(a - 1.0) }),
];

fn logistic(x: f32) -> f32 {
    // exp of a non-positive number can't overflow.
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn swish_derivative(x: f32) -> f32 {
    let s = logistic(x);
    s * (1.0 + x * (1.0 - s))
}

fn gelu_tanh(x: f32) -> f32 {
    (GELU * (x + 0.044715 * x * x * x)).tanh()
}

fn gelu_derivative(x: f32) -> f32 {
    let t = gelu_tanh(x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU * (1.0 + 0.134145 * x * x)
}

const NAMES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TABLE[i].name;
        i += 1;
    }
    names
};

pub(super) static INFO: OpInfo = OpInfo {
    names: &NAMES,
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &UNARY,
        entries: &["unary_forward", "unary_backward"],
        headers: || {
            let ops = 0..TABLE.len() as u32;
            ops.flat_map(|op| [0, 1].map(|vec| vec![("OP", op), ("VEC", vec)])).collect()
        },
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    x_offset: u32,
    g_offset: u32,
    pad: u32,
    a: f32,
    b: f32,
    pad2: [f32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Forward {
    function: Unary,
    a: f32,
    b: f32,
}

impl Forward {
    fn row(&self) -> &'static Function {
        &TABLE[self.function as usize]
    }
}

impl Op for Forward {
    fn name(&self) -> &'static str {
        self.row().name
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (x, f) = (x[0].slice::<f32>(), self.row().f);
        par::map(y[0].slice(), |i| f(x[i], self.a, self.b));
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        launch(gpu, self, "unary_forward", x, y[0]);
    }

    fn saves(&self) -> Saves {
        self.row().saves
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let v = match self.row().saves {
            Y => node.output(),
            X => node.input(0).clone(),
            _ => dy.detach(), // a constant derivative looks at no value
        };
        vec![Some(apply(Backward(*self), &[&v, dy]))]
    }
}

/// `dx = dy * f'(v)`.
#[derive(Debug)]
struct Backward(Forward);

impl Op for Backward {
    fn name(&self) -> &'static str {
        "unary_backward"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (v, dy, df) = (x[0].slice::<f32>(), x[1].slice::<f32>(), self.0.row().df);
        par::map(y[0].slice(), |i| dy[i] * df(v[i], self.0.a, self.0.b));
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        launch(gpu, &self.0, "unary_backward", x, y[0]);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// Linear in `dy`; in `v` only where `f'` is constant by pieces.
    fn backward(&self, node: &Node, ddx: &Tensor) -> Vec<Option<Tensor>> {
        let straight = matches!(
            self.0.function,
            Unary::Neg | Unary::Abs | Unary::Relu | Unary::Affine | Unary::LeakyRelu | Unary::Clip
        );
        assert!(straight || !node.needs(0), "{}: has no second derivative", self.0.row().name);
        vec![None, Some(apply(Backward(self.0), &[node.input(0), ddx]))]
    }
}

fn launch(gpu: &mut Stream, op: &Forward, entry: &'static str, x: &[GpuView<'_>], y: GpuView<'_>) {
    let params = Params {
        len: y.len(),
        x_offset: x[0].offset(),
        g_offset: x.get(1).map_or(0, |dy| dy.offset()),
        pad: 0,
        a: op.a,
        b: op.b,
        pad2: [0.0; 2],
    };
    let inputs: Vec<_> = x.iter().map(|x| x.buffer).collect();
    let vec = u32::from(x.iter().all(|x| x.offset().is_multiple_of(4)));
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: &UNARY, entry, constants: &[("OP", op.function as u32), ("VEC", vec)] },
        inputs: &inputs,
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(y.len().into(), 64 * 4),
    });
}

impl Unary {
    /// The derivative `dy * f'`, from the value that the row saves. For ops that end in an activation of their own.
    pub(crate) fn derivative(self, v: &Tensor, dy: &Tensor) -> Tensor {
        apply(Backward(Forward { function: self, a: 0.0, b: 0.0 }), &[v, dy])
    }

    /// `f` of one number, for ops that end in an activation of their own.
    pub(crate) fn eval(self, x: f32) -> f32 {
        (TABLE[self as usize].f)(x, 0.0, 0.0)
    }
}

impl Tensor {
    /// Applies a function of the table without constants.
    #[track_caller]
    pub fn unary(&self, function: Unary) -> Tensor {
        self.unary_with(function, 0.0, 0.0)
    }

    #[track_caller]
    fn unary_with(&self, function: Unary, a: f32, b: f32) -> Tensor {
        apply(Forward { function, a, b }, &[self])
    }

    /// `-x`.
    #[track_caller]
    pub fn neg(&self) -> Tensor {
        self.unary(Unary::Neg)
    }

    /// `e^x`.
    #[track_caller]
    pub fn exp(&self) -> Tensor {
        self.unary(Unary::Exp)
    }

    /// Natural logarithm; NaN below 0, minus infinity at 0.
    #[track_caller]
    pub fn log(&self) -> Tensor {
        self.unary(Unary::Log)
    }

    /// Square root; NaN below 0.
    #[track_caller]
    pub fn sqrt(&self) -> Tensor {
        self.unary(Unary::Sqrt)
    }

    /// `|x|`, with derivative 0 at 0.
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        self.unary(Unary::Abs)
    }

    /// `max(x, 0)`, with derivative 0 at 0. NaN stays NaN.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let x = Tensor::new(&[-1.0, 0.0, 2.0], [3], &Device::cpu());
    /// assert_eq!(x.relu().to_vec::<f32>().unwrap(), [0.0, 0.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn relu(&self) -> Tensor {
        self.unary(Unary::Relu)
    }

    /// `1 / (1 + e^-x)`, without overflow for large `|x|`.
    #[track_caller]
    pub fn sigmoid(&self) -> Tensor {
        self.unary(Unary::Sigmoid)
    }

    /// Hyperbolic tangent.
    #[track_caller]
    pub fn tanh(&self) -> Tensor {
        self.unary(Unary::Tanh)
    }

    /// `x * sigmoid(x)`, also called SiLU (Ramachandran et al. 2017).
    #[track_caller]
    pub fn swish(&self) -> Tensor {
        self.unary(Unary::Swish)
    }

    /// `x * x`.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self.unary(Unary::Square)
    }

    /// `1 / x`.
    #[track_caller]
    pub fn reciprocal(&self) -> Tensor {
        self.unary(Unary::Reciprocal)
    }

    /// `log(1 + e^x)`, without overflow.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        self.unary(Unary::Softplus)
    }

    /// `x`, or `alpha * (e^x - 1)` below 0 (Clevert et al. 2015).
    #[track_caller]
    pub fn elu(&self, alpha: f32) -> Tensor {
        self.unary_with(Unary::Elu, alpha, 0.0)
    }

    /// `x`, or `slope * x` below 0.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f32) -> Tensor {
        self.unary_with(Unary::LeakyRelu, slope, 0.0)
    }

    /// Gaussian error linear unit in its tanh approximation (Hendrycks and Gimpel 2016).
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        self.unary(Unary::Gelu)
    }

    /// Sine of an angle in radians.
    #[track_caller]
    pub fn sin(&self) -> Tensor {
        self.unary(Unary::Sin)
    }

    /// Cosine of an angle in radians.
    #[track_caller]
    pub fn cos(&self) -> Tensor {
        self.unary(Unary::Cos)
    }

    /// `x` limited to `min..=max`, with derivative 0 outside.
    #[track_caller]
    pub fn clip(&self, min: f32, max: f32) -> Tensor {
        self.unary_with(Unary::Clip, min, max)
    }

    /// `x^exponent`; NaN for a negative `x` unless the exponent is a whole number.
    #[track_caller]
    pub fn powf(&self, exponent: f32) -> Tensor {
        self.unary_with(Unary::Pow, exponent, 0.0)
    }

    /// `scale * x + shift`.
    #[track_caller]
    pub fn affine(&self, scale: f32, shift: f32) -> Tensor {
        self.unary_with(Unary::Affine, scale, shift)
    }
}
