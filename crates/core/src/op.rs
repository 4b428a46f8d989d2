//! What an op is, and how one runs: check, run, record. The only place that decides which backend runs it.

use std::fmt::Debug;
use std::sync::Arc;

use crate::cpu::HostBuffer;
use crate::debug;
use crate::device::{Device, Kind};
use crate::dtype::DType;
use crate::gpu::{Gpu, OpNote, Stream};
use crate::recording;
use crate::shape::{Layout, Shape, ShapeError};
use crate::storage::{Data, Storage};
use crate::tape::{self, Node};
use crate::tensor::{Grad, Tensor};
use crate::trace;
pub use crate::views::{CpuView, CpuViewMut, GpuView};

/// A function from tensors to a tensor, on both backends, with its derivative. One file of `ops/` holds all of one.
pub trait Op: Debug + Send + Sync + 'static {
    /// The name in messages, tapes and profiles.
    fn name(&self) -> &'static str;

    /// The output's shape.
    ///
    /// # Errors
    /// When the inputs don't fit, with the axes that clash.
    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError>;

    /// The output's element type. Unless an op says otherwise, everything is `f32`.
    ///
    /// # Errors
    /// When the op can't take these types.
    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x.iter().position(|&d| d != DType::F32) {
            None => Ok(DType::F32),
            Some(i) => Err(ShapeError::new(format!("input {i} is {}, expected f32", x[i]))),
        }
    }

    /// What becomes of inputs of type [`DType::F16`], for these shapes and on this device (`None`: the CPU).
    fn halves(&self, _x: &[&Shape], _gpu: Option<&Gpu>) -> Halves {
        Halves::Refused
    }

    /// Outputs besides the first, for backward or for statistics: argmax positions, batch means. They carry no gradient.
    fn aux(&self, _x: &[&Shape]) -> Vec<(Shape, DType)> {
        Vec::new()
    }

    /// The output as another view of the input's buffer, for ops that move no data.
    fn view(&self, _x: &Layout) -> Option<Layout> {
        None
    }

    /// Whether the kernels read input `i` in this layout. Otherwise it is made contiguous first.
    fn takes(&self, _i: usize, x: &Layout) -> bool {
        x.is_contiguous()
    }

    /// The definition. `y` holds the output and then the auxiliary ones, with unspecified contents.
    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]);

    /// Which kernel, with which constants.
    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]);

    /// Whether there is a derivative. An output of an op without one is a constant to the tape.
    fn differentiable(&self) -> bool {
        true
    }

    /// What backward needs kept alive.
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    /// The gradients of the inputs, given the output's gradient `dy`; `None` for an input that has none or needs none.
    /// A gradient may have the broadcast shape of its input: the tape sums it.
    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>>;

    /// Arithmetic and memory traffic, for profiles. Unless an op says otherwise: one operation an output element, and each
    /// input read once.
    fn cost(&self, x: &[&Shape], y: &Shape) -> Cost {
        let elements: usize = x.iter().map(|s| s.len()).sum();
        Cost { flops: y.len() as u64, bytes: 4 * (elements + y.len()) as u64 }
    }
}

/// What an op does with inputs of type [`DType::F16`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// They are refused.
    Refused,
    /// Its code reads them as they are.
    Read,
    /// Its code gets them as `f32`.
    Widened,
}

/// Arithmetic (floating-point operations) and memory traffic (bytes) of an op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiplication with an addition counts as two.
    pub flops: u64,
    /// Bytes read and written, if each tensor is touched once.
    pub bytes: u64,
}

/// What a node of the tape keeps alive for backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saves {
    inputs: u32,
    output: bool,
    aux: bool,
}

impl Saves {
    /// Shapes are enough.
    pub const NOTHING: Saves = Saves { inputs: 0, output: false, aux: false };
    /// Every input.
    pub const INPUTS: Saves = Saves { inputs: u32::MAX, output: false, aux: false };
    /// The output.
    pub const OUTPUT: Saves = Saves { inputs: 0, output: true, aux: false };
    /// The auxiliary outputs.
    pub const AUX: Saves = Saves { inputs: 0, output: false, aux: true };

    /// Input `i` only.
    pub const fn input(i: u32) -> Saves {
        Saves { inputs: 1 << i, output: false, aux: false }
    }

    /// Both.
    pub const fn and(self, other: Saves) -> Saves {
        Saves { inputs: self.inputs | other.inputs, output: self.output || other.output, aux: self.aux || other.aux }
    }

    pub(crate) fn keeps_input(&self, i: usize) -> bool {
        self.inputs & (1u32 << i.min(31)) != 0
    }

    pub(crate) fn keeps_output(&self) -> bool {
        self.output
    }

    pub(crate) fn keeps_aux(&self) -> bool {
        self.aux
    }
}

/// Applies an op to tensors of one device and returns the result, recorded on the tape if an input wants gradients.
///
/// # Panics
/// At the caller's line, when the shapes or types don't fit or the devices differ: a bug in the calling expression. A lack
/// of memory is an error where the result is read.
#[track_caller]
pub fn apply(op: impl Op, x: &[&Tensor]) -> Tensor {
    apply_all(op, x).0
}

/// [`apply`], with the op's auxiliary outputs.
///
/// # Panics
/// As [`apply`].
#[track_caller]
pub fn apply_all(op: impl Op, x: &[&Tensor]) -> (Tensor, Vec<Tensor>) {
    let Some(first) = x.first() else {
        panic!("{}: no inputs, so no device\n  help: `create` applies an op without inputs", op.name());
    };
    let device = first.device().clone();
    apply_on(&device, op, x)
}

/// Applies an op without inputs: fills and random numbers.
#[track_caller]
pub fn create(device: &Device, op: impl Op) -> Tensor {
    apply_on(device, op, &[]).0
}

#[track_caller]
fn apply_on(device: &Device, op: impl Op, x: &[&Tensor]) -> (Tensor, Vec<Tensor>) {
    // Check.
    check_devices(op.name(), device, x);
    let shapes: Vec<&Shape> = x.iter().map(|t| t.shape()).collect();
    let dtypes: Vec<DType> = x.iter().map(|t| t.dtype()).collect();
    let halves = op.halves(&shapes, device.as_gpu());
    let inferred = op.infer(&shapes).and_then(|shape| {
        check_halves(halves, &dtypes)?;
        Ok((shape, op.dtype(&dtypes)?))
    });
    let (shape, dtype) = fits(op.name(), inferred);

    // Run.
    let track = op.differentiable() && tape::is_recording() && x.iter().any(|t| t.needs_grad());
    let mut aux_tensors = Vec::new();
    let y = match x.first().and_then(|t| op.view(t.layout())) {
        Some(layout) => {
            debug_assert_eq!(layout.shape, shape, "{}: view and inferred shape differ", op.name());
            Tensor::from_parts(x[0].storage().clone(), layout, dtype, device)
        }
        None => {
            let aux = op.aux(&shapes);
            // Not by `map`: in a closure the caller's line is lost.
            let mut inputs = Vec::with_capacity(x.len());
            for (i, &t) in x.iter().enumerate() {
                inputs.push(readable(&op, halves, i, t));
            }
            let mut y = allocate_and_run(&op, device, &inputs, shape, dtype, &aux);
            debug::after(&op, &inputs, &y);
            aux_tensors.extend(y.drain(1..));
            y.pop().expect("an op has an output")
        }
    };

    // Record.
    if !track {
        let stopped = if tape::is_recording() && !tape::in_backward() { stopped_by(&op, x) } else { None };
        let y = match stopped {
            Some(name) => y.with_grad(Grad::Stopped(name)),
            None => y,
        };
        return (y, aux_tensors);
    }
    (Node::record(Arc::new(op), x, y, &aux_tensors), aux_tensors)
}

/// The op without a gradient that lies between the result and all that wants one.
fn stopped_by(op: &impl Op, x: &[&Tensor]) -> Option<&'static str> {
    if x.iter().any(|t| t.needs_grad()) {
        return Some(op.name());
    }
    x.iter().find_map(|t| match t.grad_source() {
        Grad::Stopped(name) => Some(*name),
        _ => None,
    })
}

/// What the check gave, or a panic at the caller's line: a closure here would be the panic's place instead.
#[track_caller]
pub(crate) fn fits<T>(op: &str, checked: Result<T, ShapeError>) -> T {
    match checked {
        Ok(value) => value,
        Err(error) => panic!("{}", error.of(op)),
    }
}

#[track_caller]
fn check_devices(op: &str, device: &Device, x: &[&Tensor]) {
    if let Some(other) = x.iter().find(|t| t.device() != device) {
        panic!(
            "{op}: inputs are on different devices\n  one: {device}\n  other: {}\n  help: move one with `.to(&device)`",
            other.device()
        );
    }
}

fn check_halves(halves: Halves, x: &[DType]) -> Result<(), ShapeError> {
    match x.iter().position(|&d| d == DType::F16) {
        Some(i) if halves == Halves::Refused => {
            let error = ShapeError::new(format!("input {i} is f16, which is only cast, viewed and multiplied"));
            Err(error.help("convert it with .cast(DType::F32)"))
        }
        _ => Ok(()),
    }
}

/// The tensor in a type and layout that the op reads. Detached: what is recorded is the tensor that the caller gave.
#[track_caller]
fn readable(op: &dyn Op, halves: Halves, i: usize, x: &Tensor) -> Tensor {
    let x = x.detach();
    let x = if x.dtype() == DType::F16 && halves == Halves::Widened { widen(&x) } else { x };
    if op.takes(i, x.layout()) { x } else { x.contiguous() }
}

/// The tensor as `f32`. One whose axes are in another order than in memory is converted in memory's order: nothing is
/// rearranged on the way.
#[track_caller]
fn widen(x: &Tensor) -> Tensor {
    let strides = x.layout().strides;
    let mut order: Vec<isize> = (0..x.rank() as isize).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(strides[axis as usize]));
    let mut back = vec![0; x.rank()];
    (0..).zip(&order).for_each(|(to, &axis)| back[axis as usize] = to);
    x.permute(&order).cast(DType::F32).permute(&back)
}

#[track_caller]
fn allocate_and_run(
    op: &dyn Op,
    device: &Device,
    x: &[Tensor],
    shape: Shape,
    dtype: DType,
    aux: &[(Shape, DType)],
) -> Vec<Tensor> {
    let specs: Vec<(Shape, DType)> = std::iter::once((shape, dtype)).chain(aux.iter().copied()).collect();
    let tensor = |storage, &(shape, dtype): &(Shape, DType)| {
        Tensor::from_parts(storage, Layout::contiguous(shape), dtype, device)
    };
    let _span = trace::op(op.name(), !device.is_gpu(), || note(op, x, &shape));
    match device.kind() {
        Kind::Cpu(cpu) => {
            let inputs: Vec<Arc<HostBuffer>> = x.iter().map(snapshot).collect();
            let made = |(shape, dtype): &(Shape, DType)| cpu.alloc(shape.len() * dtype.size(), op.name());
            let mut buffers: Vec<HostBuffer> = specs.iter().map(made).collect();
            match inputs.iter().map(|x| &**x).chain(&buffers).find_map(HostBuffer::poison) {
                Some(error) => buffers = specs.iter().map(|_| cpu.poisoned(error.clone())).collect(),
                None => {
                    let layouts: Vec<_> = specs.iter().map(|&(s, d)| (Layout::contiguous(s), d)).collect();
                    run_cpu(op, x, &inputs, &mut buffers.iter_mut().collect::<Vec<_>>(), &layouts);
                }
            }
            buffers.into_iter().zip(&specs).map(|(b, spec)| tensor(Storage::cpu(b), spec)).collect()
        }
        Kind::Gpu(gpu) => {
            let mut stream = gpu.stream();
            // Kernels count elements in 32 bits. An input past that is a view, since no buffer is so large; its output is
            // refused as a buffer of the view's size would be.
            let uncountable = x.iter().map(Tensor::len).max().filter(|&len| len > u32::MAX as usize);
            let bytes = |s: &Shape, d: &DType| (uncountable.unwrap_or(s.len()) * d.size()) as u64;
            let y: Vec<Tensor> = specs
                .iter()
                .map(|spec| tensor(Storage::gpu(stream.alloc(bytes(&spec.0, &spec.1), op.name())), spec))
                .collect();
            run_gpu(op, &mut stream, x, &y.iter().collect::<Vec<_>>());
            recording::note_made(&y);
            y
        }
    }
}

/// Applies an op that updates `y` where it lies: optimizer steps, running statistics. Nothing is recorded.
///
/// When an allocation that a tensor depends on has failed, nothing is updated, here and in later calls on the device, until
/// [`Device::synchronize`], or reading a tensor that depends on it too, has given the error.
///
/// # Panics
/// When the devices or types don't fit, a tensor to update is strided, or shares its memory with another one.
#[track_caller]
pub fn apply_in_place(op: &dyn Op, x: &[&Tensor], y: &[&Tensor]) {
    let device = y[0].device();
    check_devices(op.name(), device, x);
    check_devices(op.name(), device, y);
    let dtypes: Vec<DType> = x.iter().map(|t| t.dtype()).collect();
    fits(op.name(), check_halves(Halves::Refused, &dtypes).and_then(|()| op.dtype(&dtypes)));
    for (i, t) in y.iter().enumerate() {
        let shared = x.iter().chain(&y[i + 1..]).any(|other| t.shares_memory(other));
        assert!(!shared, "{}: a tensor that is updated shares its memory with another operand", op.name());
    }
    assert!(
        y.iter().all(|t| t.layout().is_contiguous()),
        "{}: only contiguous tensors are updated in place",
        op.name()
    );
    let x: Vec<Tensor> = x.iter().map(|t| t.detach().contiguous()).collect();
    let _span = trace::op(op.name(), !device.is_gpu(), || note(op, &x, y[0].shape()));
    match device.kind() {
        Kind::Cpu(cpu) => {
            // Before the outputs are locked: an input may be what another thread is updating.
            let inputs: Vec<Arc<HostBuffer>> = x.iter().map(snapshot).collect();
            let mut guards: Vec<_> = y
                .iter()
                .map(|t| match t.storage().data() {
                    Data::Cpu(lock) => lock.write().unwrap_or_else(|poisoned| poisoned.into_inner()),
                    Data::Gpu(_) => unreachable!("the tensors are on the CPU"),
                })
                .collect();
            match inputs.iter().chain(guards.iter().map(|g| &**g)).find_map(|b| b.poison()) {
                Some(error) => cpu.memory().skip(error.clone()),
                // What follows in the same step would go on from what was left out.
                None if cpu.memory().is_skipping() => {}
                None => {
                    let mut buffers: Vec<_> = guards.iter_mut().map(|g| Arc::make_mut(&mut **g)).collect();
                    let layouts: Vec<_> = y.iter().map(|t| (*t.layout(), t.dtype())).collect();
                    run_cpu(op, &x, &inputs, &mut buffers, &layouts);
                }
            }
        }
        Kind::Gpu(gpu) => match x.iter().chain(y.iter().copied()).find_map(|t| gpu_view(t).buffer.poison()) {
            Some(error) => {
                gpu.memory().skip(error.clone());
                gpu.prevent_recording(LEFT_OUT);
            }
            None if gpu.memory().is_skipping() => gpu.prevent_recording(LEFT_OUT),
            None => run_gpu(op, &mut gpu.stream(), &x, y),
        },
    }
    y.iter().for_each(|t| t.storage().touch());
    recording::note_updates(y);
}

const LEFT_OUT: &str = "an update was left out for lack of memory";

/// A tensor with unspecified contents, for [`apply_in_place`] to fill.
pub(crate) fn allocate(device: &Device, op: &str, shape: Shape, dtype: DType) -> Tensor {
    let bytes = shape.len() * dtype.size();
    let storage = match device.kind() {
        Kind::Cpu(cpu) => Storage::cpu(cpu.alloc(bytes, op)),
        Kind::Gpu(gpu) => Storage::gpu(gpu.stream().alloc(bytes as u64, op)),
    };
    Tensor::from_parts(storage, Layout::contiguous(shape), dtype, device)
}

/// What [`apply_in_place`] has filled; with the error instead, where it was left out for lack of memory.
pub(crate) fn unless_left_out(x: Tensor) -> Tensor {
    let device = x.device();
    let poisoned = match device.kind() {
        Kind::Cpu(cpu) => cpu.memory().why_skipping().map(|error| Storage::cpu(cpu.poisoned(error))),
        Kind::Gpu(gpu) => gpu.memory().why_skipping().map(|error| {
            gpu_view(&x).buffer.set_poison(error);
            x.storage().clone()
        }),
    };
    match poisoned {
        Some(storage) => Tensor::from_parts(storage, *x.layout(), x.dtype(), device),
        None => x,
    }
}

/// Runs an op's definition.
fn run_cpu(
    op: &dyn Op,
    x: &[Tensor],
    snapshots: &[Arc<HostBuffer>],
    y: &mut [&mut HostBuffer],
    layouts: &[(Layout, DType)],
) {
    let inputs: Vec<CpuView<'_>> =
        x.iter().zip(snapshots).map(|(t, buffer)| CpuView { buffer, layout: *t.layout(), dtype: t.dtype() }).collect();
    let mut outputs: Vec<CpuViewMut<'_>> =
        y.iter_mut().zip(layouts).map(|(buffer, &(layout, dtype))| CpuViewMut { buffer, layout, dtype }).collect();
    op.cpu(&inputs, &mut outputs);
}

/// Records an op's kernels.
fn run_gpu(op: &dyn Op, stream: &mut Stream, x: &[Tensor], y: &[&Tensor]) {
    if let Some(profile) = stream.profile() {
        profile.describe(note(op, x, y[0].shape()));
    }
    let inputs: Vec<GpuView<'_>> = x.iter().map(gpu_view).collect();
    let outputs: Vec<GpuView<'_>> = y.iter().map(|t| gpu_view(t)).collect();
    op.gpu(stream, &inputs, &outputs);
}

fn note(op: &dyn Op, x: &[Tensor], y: &Shape) -> OpNote {
    let shapes: Vec<&Shape> = x.iter().map(|t| t.shape()).collect();
    let Cost { flops, bytes } = op.cost(&shapes, y);
    let dims = |s: &Shape| format!("({})", s.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(","));
    let operands: Vec<String> = shapes.iter().map(|s| dims(s)).collect();
    OpNote { op: format!("{} {}", op.name(), operands.join("x")).trim_end().into(), flops, bytes }
}

/// The contents of a CPU tensor's buffer as they are now.
pub(crate) fn snapshot(x: &Tensor) -> Arc<HostBuffer> {
    match x.storage().data() {
        Data::Cpu(lock) => lock.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone(),
        Data::Gpu(_) => unreachable!("the tensor is on the CPU"),
    }
}

/// A GPU tensor's buffer with its layout.
pub(crate) fn gpu_view(x: &Tensor) -> GpuView<'_> {
    match x.storage().data() {
        Data::Gpu(buffer) => GpuView { buffer, layout: *x.layout(), dtype: x.dtype() },
        Data::Cpu(_) => unreachable!("the tensor is on a GPU"),
    }
}

/// Runs an op's definition on CPU inputs; `y` gives shapes and types of the outputs. For the cross-check of `debug.rs`.
pub(crate) fn run_on_cpu(op: &dyn Op, x: &[Tensor], y: &[Tensor]) -> Vec<Tensor> {
    let shapes: Vec<&Shape> = x.iter().map(|t| t.shape()).collect();
    let halves = op.halves(&shapes, None);
    let x: Vec<Tensor> = x.iter().enumerate().map(|(i, t)| readable(op, halves, i, t)).collect();
    let aux: Vec<_> = y[1..].iter().map(|t| (*t.shape(), t.dtype())).collect();
    allocate_and_run(op, &Device::cpu(), &x, *y[0].shape(), y[0].dtype(), &aux)
}
