//! Matrix product: `y[b, m, n] = act(sum over k of a[b, m, k] * w[b, k, n] + bias[n])`.
//!
//! Operands may be transposed views: the kernels take any strides, so nothing is copied. Backward is two products with
//! transposed operands, `da = dz w^T` and `dw = a^T dz` with `dz = dy * act'`, and `dbias` the sum of `dz` over the rows. Of one
//! matrix, `dw` and `dbias` are one product, `Gradient`, and kernels for hardware make `dz` as they load `dy`.

use tilegrad_shaders::{MATMUL, MATMUL_COOPERATIVE_8, MATMUL_COOPERATIVE_16, MATMUL_TILED};

use super::gemm::{self, Mask, Operand, Part, Product};
use super::half;
use super::unary::Unary;
use super::{KernelInfo, OpInfo};
use crate::cpu::gemm::{Mat, add_column_sums, gemm};
use crate::cpu::par;
use crate::dtype::DType;
use crate::gpu::{Gpu, Stream};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Halves, Op, Saves, apply, fits};
use crate::shape::{Layout, Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["matmul", "matmul_with_sums"],
    differentiable: true,
    kernels: &[
        KernelInfo {
            shader: &MATMUL,
            entries: &["matmul_forward", "matmul_reduce_partials"],
            headers: || gemm::headers(&gemm::SOFTWARE),
            params_bytes: size_of::<gemm::Params>(),
        },
        KernelInfo {
            shader: &MATMUL_TILED,
            entries: &["matmul_forward", "matmul_reduce_partials"],
            headers: || gemm::headers(&gemm::HARDWARE),
            params_bytes: size_of::<gemm::Params>(),
        },
        KernelInfo {
            shader: &MATMUL_COOPERATIVE_8,
            entries: &["matmul_forward"],
            headers: || gemm::headers(&half::COOPERATIVE_8),
            params_bytes: size_of::<gemm::Params>(),
        },
        KernelInfo {
            shader: &MATMUL_COOPERATIVE_16,
            entries: &["matmul_forward"],
            headers: || gemm::headers(&half::COOPERATIVE_16),
            params_bytes: size_of::<gemm::Params>(),
        },
    ],
};

/// Inputs `a (B, m, k)` and `w (B, k, n)`, either `B` possibly 1, and perhaps `bias (n)`.
#[derive(Debug)]
struct MatMul {
    activation: Option<Unary>,
}

impl MatMul {
    /// Batch, m, n and k.
    fn sizes(a: &Shape, w: &Shape) -> [usize; 4] {
        [if a[0] == 1 { w[0] } else { a[0] }, a[1], w[2], a[2]]
    }

    /// The gradients where the operands are halves: `dz` is rounded too, but for the bias.
    fn backward_of_halves(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let dz = self.activation.map_or_else(|| dy.clone(), |f| f.derivative(&node.output(), dy));
        let rounded = half::like(node.input(0), &dz);
        let da = node.needs(0).then(|| plain(&rounded, &node.input(1).transpose()));
        let dw = node.needs(1).then(|| plain(&node.input(0).transpose(), &rounded));
        let dbias = (node.inputs() == 3 && node.needs(2)).then(|| dz.sum_axes(&[0, 1], false));
        [da, dw, dbias].into_iter().take(node.inputs()).collect()
    }
}

/// Matrix `b` of a batch; the same for all when there is one.
fn matrix<'a>(x: &CpuView<'a>, b: usize) -> Mat<'a> {
    let Layout { shape, strides, offset } = x.layout;
    let start = offset + if shape[0] == 1 { 0 } else { b * strides[0] };
    // An empty operand may start past its buffer's end; nothing of it is read.
    let data = x.buffer::<f32>().get(start..).unwrap_or(&[]);
    Mat { data, row_stride: strides[1], col_stride: strides[2] }
}

fn operand<'a>(x: &GpuView<'a>) -> Operand<'a> {
    let Layout { shape, strides, offset } = x.layout;
    let batch = if shape[0] == 1 { 0 } else { strides[0] };
    Operand { buffer: x.buffer, offset, row: strides[1], col: strides[2], batch }
}

/// A launch without bias or activation.
fn product<'a>(size: [usize; 3], batches: usize, x: &[GpuView<'a>], y: &[GpuView<'a>]) -> Product<'a> {
    Product {
        batches,
        half: x[0].dtype == DType::F16,
        ..Product::new(size, operand(&x[0]), operand(&x[1]), y[0].buffer, 0)
    }
}

/// The product `(B, m, k) x (B, k, n)` and nothing else.
pub(super) fn plain(a: &Tensor, b: &Tensor) -> Tensor {
    apply(MatMul { activation: None }, &[a, b])
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let [batch, m, n, _] = MatMul::sizes(x[0], x[1]);
        Ok(Shape::from([batch, m, n]))
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        half::product_dtype(x)
    }

    fn halves(&self, _: &[&Shape], gpu: Option<&Gpu>) -> Halves {
        half::halves(gpu, true)
    }

    fn takes(&self, i: usize, x: &Layout) -> bool {
        i < 2 || x.is_contiguous()
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let [batch, m, n, k] = MatMul::sizes(x[0].shape(), x[1].shape());
        let y = y[0].slice::<f32>();
        // One product uses all threads; many share them out, one thread each.
        let product = |b: usize, y: &mut [f32], threads| {
            gemm(y, n, [m, n, k], matrix(&x[0], b), matrix(&x[1], b), false, threads)
        };
        if batch == 1 {
            product(0, y, true);
        } else {
            par::rows(y, m * n, m * n * k.max(1), |b, y| product(b, y, false));
        }
        let bias = x.get(2).map(|b| b.slice::<f32>());
        gemm::finish_rows(y, n, bias, self.activation);
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [batch, m, n, k] = MatMul::sizes(x[0].shape(), x[1].shape());
        if k == 0 {
            return super::fill::fill_buffer(gpu, y[0].buffer, y[0].len(), 0.0);
        }
        let bias = x.get(2).map(|b| (b.buffer, Part::of(b)));
        gemm::launch(gpu, &Product { bias, activation: self.activation, ..product([m, n, k], batch, x, y) });
    }

    fn saves(&self) -> Saves {
        let operands = Saves::input(0).and(Saves::input(1));
        if self.activation.is_some() { operands.and(Saves::OUTPUT) } else { operands }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (a, w) = (node.input(0), node.input(1));
        if a.dtype() == DType::F16 {
            return self.backward_of_halves(node, dy);
        }
        let one = dy.shape()[0] == 1;
        // `dz`, and for kernels that make it from `dy` themselves that and `y`.
        let activation = self.activation.filter(|_| one && dy.device().derives_in_loads());
        let y = self.activation.map(|_| node.output());
        let dz = || self.activation.zip(y.as_ref()).map_or_else(|| dy.clone(), |(f, y)| f.derivative(y, dy));
        let (factor, y) = if activation.is_some() { (dy.clone(), y.as_ref()) } else { (dz(), None) };
        let gradient = |sums, of, operands: [&Tensor; 2]| {
            let all: Vec<&Tensor> = operands.into_iter().chain(y).collect();
            apply(Gradient { sums, mask: activation.map(|f| (f, of)) }, &all)
        };
        let product = |of, operands: [&Tensor; 2]| match y {
            Some(_) => gradient(false, of, operands),
            None => plain(operands[0], operands[1]),
        };
        let da = node.needs(0).then(|| product(0, [&factor, &w.transpose()]));
        let (dw, dbias) = match (node.needs(1), node.inputs() == 3 && node.needs(2)) {
            (true, true) if one => {
                let (dw, dbias) = parted(&gradient(true, 1, [&a.transpose(), &factor]));
                (Some(dw), Some(dbias))
            }
            (weights, bias) => {
                let dw = weights.then(|| product(1, [&a.transpose(), &factor]));
                (dw, bias.then(|| if y.is_some() { dz() } else { factor.clone() }.sum_axes(&[0, 1], false)))
            }
        };
        [da, dw, dbias].into_iter().take(node.inputs()).collect()
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        let [batch, m, n, k] = MatMul::sizes(x[0], x[1]);
        let elements: usize = x.iter().map(|s| s.len()).sum::<usize>() + y.len();
        Cost { flops: 2 * (batch * m * n * k) as u64, bytes: 4 * elements as u64 }
    }
}

/// A product that a gradient is: inputs `a (1, m, k)` and `b (1, k, n)`, output `(1, m, n)`.
#[derive(Debug)]
struct Gradient {
    /// Whether the output is `(1, m + 1, n)`, with the sums of b's columns as its last row. The gradients of weights and of a
    /// bias at once: the product goes through the sums' terms anyway, a kernel of its own would read them once more.
    sums: bool,
    /// Operand 0 or 1 is `dy` before it passes this activation, whose output is a third input: its derivative multiplies
    /// `dy`. That operand is contiguous.
    mask: Option<(Unary, usize)>,
}

/// The product and the sums `(n)`, views of the one matrix that holds them.
fn parted(both: &Tensor) -> (Tensor, Tensor) {
    let [_, rows, n] = both.shape()[..] else { unreachable!("three axes were inferred") };
    (both.slice(&[0..1, 0..rows - 1]), both.slice(&[0..1, rows - 1..rows]).reshape([n]))
}

impl Op for Gradient {
    fn name(&self) -> &'static str {
        if self.sums { "matmul_with_sums" } else { "matmul" }
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        let [batch, m, n, _] = MatMul::sizes(x[0], x[1]);
        Ok(Shape::from([batch, m + usize::from(self.sums), n]))
    }

    fn takes(&self, i: usize, x: &Layout) -> bool {
        self.mask.is_none_or(|(_, of)| i != of && i != 2) || x.is_contiguous()
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let [_, m, n, k] = MatMul::sizes(x[0].shape(), x[1].shape());
        let dz = self.mask.map(|(f, of)| f.derivative_of_slices(x[2].slice(), x[of].slice()));
        let [a, b] = [0, 1].map(|i| match (self.mask, &dz) {
            (Some((_, of)), Some(dz)) if i == of => Mat::rows(dz, x[i].shape()[2]),
            _ => matrix(&x[i], 0),
        });
        let (product, sums) = y[0].slice::<f32>().split_at_mut(m * n);
        gemm(product, n, [m, n, k], a, b, false, true);
        if self.sums {
            sums.fill(0.0);
            add_column_sums(sums, b, k);
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let [_, m, n, k] = MatMul::sizes(x[0].shape(), x[1].shape());
        if k == 0 {
            return super::fill::fill_buffer(gpu, y[0].buffer, y[0].len(), 0.0);
        }
        let mut product = Product { column_sums: self.sums, ..product([m, n, k], 1, x, y) };
        let Some((activation, operand)) = self.mask else { return gemm::launch(gpu, &product) };
        if gpu.wants_software_kernels() {
            let dz = activation.derivative_on_gpu(gpu, &x[2], &x[operand]);
            let at = if operand == 0 { &mut product.a } else { &mut product.b };
            (at.buffer, at.offset) = (&dz, 0);
            return gemm::launch(gpu, &product);
        }
        product.mask = Some(Mask { operand, activation, y: (x[2].buffer, Part::of(&x[2])) });
        gemm::launch(gpu, &product);
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        let (product, sums) = if self.sums { Some(parted(dy)).unzip() } else { (Some(dy.clone()), None) };
        let product = product.expect("there is a product");
        // By the plain ops: `dz` is made first, and what it is made from gets its gradient last.
        let operand = |i: usize| match self.mask {
            Some((f, of)) if of == i => f.derivative(node.input(2), node.input(i)),
            _ => node.input(i).clone(),
        };
        let needs = |i: usize| node.needs(i) || self.mask.is_some_and(|(_, of)| of == i);
        let of_a = needs(0).then(|| plain(&product, &operand(1).transpose()));
        let of_b = needs(1).then(|| {
            let turned = operand(0).transpose();
            let inputs: Vec<&Tensor> = [&turned, &product].into_iter().chain(&sums).collect();
            apply(MatMul { activation: None }, &inputs)
        });
        let mut gradients = vec![of_a, of_b];
        if let Some((f, of)) = self.mask {
            let of_dz = gradients[of].take().expect("made above");
            let [of_y, of_dy] = f.derivative_backward(node.input(2), node.input(of), &of_dz);
            gradients[of] = of_dy;
            gradients.push(of_y);
        }
        gradients
    }

    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        MatMul { activation: None }.cost(x, y)
    }
}

/// The batch axes of a product and its shape. An operand of one axis is a row on the left and a column on the right, whose
/// axis of length 1 the product doesn't have.
fn product_shape(a: &Shape, b: &Shape) -> Result<(Shape, Shape), ShapeError> {
    let (ra, rb) = (a.rank(), b.rank());
    for (name, rank) in [("lhs", ra), ("rhs", rb)] {
        if rank == 0 {
            return Err(ShapeError::new(format!("{name} is a single number"))
                .operand("lhs", a)
                .operand("rhs", b)
                .help("use `mul` to scale"));
        }
    }
    let inner = rb.saturating_sub(2);
    if a[ra - 1] != b[inner] {
        let error = ShapeError::new(format!("inner axes differ ({} != {})", a[ra - 1], b[inner]))
            .operand_axis("lhs", a, ra - 1)
            .operand_axis("rhs", b, inner);
        return Err(match (rb > 1 && a[ra - 1] == b[rb - 1], ra > 1 && a[ra - 2] == b[inner]) {
            (true, _) => error.help("if rhs is stored as (out, in), use rhs.transpose()"),
            (_, true) => error.help("if lhs is stored as (k, m), use lhs.transpose()"),
            _ => error,
        });
    }
    let batch = Shape::new(&a[..ra.saturating_sub(2)]).broadcast(&Shape::new(&b[..inner]));
    let batch =
        batch.map_err(|_| ShapeError::new("batch axes do not broadcast").operand("lhs", a).operand("rhs", b))?;
    let matrix = [&a[ra.saturating_sub(2)..ra - 1], &b[inner + 1..]].concat();
    let y = [batch.dims(), &matrix].concat();
    let y = Shape::try_new(&y).map_err(|error| error.operand("lhs", a).operand("rhs", b))?;
    Ok((batch, y))
}

/// What [`Tensor::gemm`] does besides the product. Defaults are 1 and no transposition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmOptions {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what is added. With 0 it is not looked at, NaN or not.
    pub beta: f32,
    /// Whether the left matrix is stored as `(k, m)`.
    pub transpose_a: bool,
    /// Whether the right matrix is stored as `(n, k)`.
    pub transpose_b: bool,
}

impl Default for GemmOptions {
    fn default() -> GemmOptions {
        GemmOptions { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: false }
    }
}

#[track_caller]
fn scaled(x: &Tensor, by: f32) -> Tensor {
    if by == 1.0 { x.clone() } else { x.affine(by, 0.0) }
}

/// Brings the batch axes of an operand to one, of length 1 where it is the same for the whole batch.
#[track_caller]
fn one_batch_axis(x: &Tensor, batch: &Shape) -> Tensor {
    let (outer, matrix) = x.shape().split_at(x.rank() - 2);
    if outer.iter().all(|&len| len == 1) {
        return x.reshape([1, matrix[0], matrix[1]]);
    }
    let whole: Vec<usize> = batch.iter().chain(matrix).copied().collect();
    x.broadcast_to(&whole).reshape([batch.len(), matrix[0], matrix[1]])
}

impl Tensor {
    /// The matrix product over the last two axes, `(.., m, k) x (.., k, n) -> (.., m, n)`; axes before them broadcast. As in
    /// numpy, an operand of one axis is a row on the left and a column on the right: `(k) x (.., k, n) -> (.., n)` and
    /// `(.., m, k) x (k) -> (.., m)`. Transposed operands are read where they lie.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// let d = Device::cpu();
    /// let a = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// assert_eq!(a.matmul(&a.transpose()).to_vec::<f32>().unwrap(), [5.0, 11.0, 11.0, 25.0]);
    /// let v = Tensor::new(&[1.0, 10.0], [2], &d);
    /// assert_eq!(a.matmul(&v).to_vec::<f32>().unwrap(), [21.0, 43.0]);
    /// assert_eq!(v.matmul(&v).item().unwrap(), 101.0);
    /// ```
    ///
    /// # Panics
    /// When an operand has no axes, the inner axes differ or the batch axes don't broadcast.
    #[track_caller]
    pub fn matmul(&self, rhs: &Tensor) -> Tensor {
        self.product(rhs, None, None)
    }

    /// `alpha * a b + beta * c` for matrices `a (m, k)` (this one) and `b (k, n)`, either of them transposed if the options say
    /// so, and `c` of any shape that broadcasts to `(m, n)`.
    ///
    /// ```
    /// use tilegrad_core::{Device, GemmOptions, Tensor};
    /// let d = Device::cpu();
    /// let a = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &d);
    /// let c = Tensor::new(&[100.0, 200.0], [2], &d);
    /// let y = a.gemm(&a, Some(&c), &GemmOptions { alpha: 0.5, transpose_b: true, ..Default::default() });
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [102.5, 205.5, 105.5, 212.5]);
    /// ```
    ///
    /// # Panics
    /// When `a` or `b` is no matrix, the inner axes differ, or `c` does not broadcast.
    #[track_caller]
    pub fn gemm(&self, b: &Tensor, c: Option<&Tensor>, options: &GemmOptions) -> Tensor {
        for (name, x) in [("a", self), ("b", b)] {
            if x.rank() != 2 {
                let problem = format!("{name} has {} axes, expected 2", x.rank());
                let error = ShapeError::new(problem).operand("a", self.shape()).operand("b", b.shape());
                fits::<()>("gemm", Err(error.help("use `matmul` for batches and vectors")));
            }
        }
        let turned = |x: &Tensor, turn: bool| if turn { x.transpose() } else { x.clone() };
        let (a, b) = (turned(self, options.transpose_a), turned(b, options.transpose_b));
        let (_, y) = fits("gemm", product_shape(a.shape(), b.shape()));
        if let Some(c) = c
            && (c.rank() > 2 || c.shape().broadcast(&y) != Ok(y))
        {
            let error = ShapeError::new(format!("c does not broadcast to {y}")).operand("c", c.shape());
            fits::<()>("gemm", Err(error));
        }
        let Some(c) = c.filter(|_| options.beta != 0.0) else {
            return scaled(&a.matmul(&b), options.alpha);
        };
        let c = scaled(c, options.beta);
        if options.alpha == 1.0 && c.shape()[..] == y[1..] {
            return a.product(&b, Some(&c), None);
        }
        scaled(&a.matmul(&b), options.alpha).add(&c)
    }

    /// A dense layer: `act(x w + bias)` in one kernel. Shapes `x (.., in)`, `w (in, out)`, `bias (out)`.
    ///
    /// # Panics
    /// When the shapes don't fit, or the activation is not relu, sigmoid or tanh: those are the ones whose derivative
    /// follows from the output.
    #[track_caller]
    pub fn linear(&self, w: &Tensor, bias: Option<&Tensor>, activation: Option<Unary>) -> Tensor {
        assert_eq!(w.rank(), 2, "linear: weights have shape {}, expected (in, out)", w.shape());
        self.product(w, bias, activation)
    }

    #[track_caller]
    fn product(&self, rhs: &Tensor, bias: Option<&Tensor>, activation: Option<Unary>) -> Tensor {
        let (batch, shape) = fits("matmul", product_shape(self.shape(), rhs.shape()));
        half::prepare(self);
        let lhs = if self.rank() == 1 { &self.unsqueeze(0) } else { self };
        let rhs = if rhs.rank() == 1 { &rhs.unsqueeze(1) } else { rhs };
        lhs.product_of_matrices(rhs, &batch, bias, activation).reshape(shape)
    }

    /// The product of operands with at least two axes that fit.
    #[track_caller]
    fn product_of_matrices(
        &self,
        rhs: &Tensor,
        batch: &Shape,
        bias: Option<&Tensor>,
        activation: Option<Unary>,
    ) -> Tensor {
        gemm::check_epilogue("matmul", rhs.shape()[rhs.rank() - 1], bias, activation);
        // One matrix on the right for the whole batch: all rows on the left are one tall matrix.
        let tall = rhs.rank() == 2 && self.rank() > 2;
        let a = match tall {
            true => self.reshape([1, self.shape()[..self.rank() - 1].iter().product(), self.shape()[self.rank() - 1]]),
            false => one_batch_axis(self, batch),
        };
        let w = one_batch_axis(rhs, batch);
        match bias {
            // Empty sums leave only the epilogue, which no product then runs.
            _ if a.shape()[2] == 0 => {
                gemm::finish_tensor(apply(MatMul { activation: None }, &[&a, &w]), bias, activation)
            }
            Some(bias) => apply(MatMul { activation }, &[&a, &w, bias]),
            None => apply(MatMul { activation }, &[&a, &w]),
        }
    }
}
