//! The tensor: a view of a buffer on a device, and where its gradient goes. No maths here: that is in `ops/`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::device::{Device, Kind};
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::gpu::Readback;
use crate::half::Half;
use crate::op::{gpu_view, snapshot};
use crate::ops;
use crate::shape::{Layout, Shape};
use crate::storage::{Data, Storage};
use crate::tape::{self, Gradients, Node};
use crate::tape_listing::Tape;

/// An n-dimensional array on a device. Cloning is cheap and shares the data.
///
/// ```
/// use tilegrad_core::{Device, Tensor};
/// # fn main() -> Result<(), tilegrad_core::Error> {
/// let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &Device::cpu()).requires_grad();
/// let loss = x.mul(&x).sum();
/// assert_eq!(loss.item()?, 30.0);
/// let gradients = loss.backward();
/// assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0, 8.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    storage: Storage,
    layout: Layout,
    dtype: DType,
    device: Device,
    grad: Grad,
}

/// Where the gradient of a tensor goes.
#[derive(Clone, Debug)]
pub(crate) enum Grad {
    /// Nobody wants it.
    None,
    /// The tensor was made with `requires_grad`; its number in [`Gradients`].
    Leaf(u64),
    /// To the op that made it.
    Node(Node),
    /// Nowhere: it depends on what wants gradients only through this op, which has none.
    Stopped(&'static str),
}

impl Grad {
    pub(crate) fn is_some(&self) -> bool {
        matches!(self, Grad::Leaf(_) | Grad::Node(_))
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            Grad::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn leaf_id(&self) -> Option<u64> {
        match self {
            Grad::Leaf(id) => Some(*id),
            _ => None,
        }
    }
}

impl Tensor {
    /// A tensor with these values in row-major order.
    ///
    /// # Panics
    /// When the number of values is not the shape's.
    #[track_caller]
    pub fn new<T: Element>(data: &[T], shape: impl Into<Shape>, device: &Device) -> Tensor {
        let shape = shape.into();
        assert!(
            data.len() == shape.len(),
            "new: shape {shape} has {} elements, but there are {} values",
            shape.len(),
            data.len()
        );
        let bytes = bytemuck::cast_slice(data);
        let storage = match device.kind() {
            Kind::Cpu(cpu) => Storage::cpu(cpu.upload(bytes, "tensor from host data")),
            Kind::Gpu(gpu) => Storage::gpu(gpu.upload(bytes, "tensor from host data")),
        };
        Tensor::from_parts(storage, Layout::contiguous(shape), T::DTYPE, device)
    }

    /// A single number, of rank 0.
    pub fn scalar(value: f32, device: &Device) -> Tensor {
        Tensor::full(value, Shape::scalar(), device)
    }

    pub(crate) fn from_parts(storage: Storage, layout: Layout, dtype: DType, device: &Device) -> Tensor {
        Tensor(Arc::new(Inner { storage, layout, dtype, device: device.clone(), grad: Grad::None }))
    }

    /// The axis lengths.
    pub fn shape(&self) -> &Shape {
        &self.0.layout.shape
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shape().len()
    }

    /// Shape, strides and offset into the buffer.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Whether two tensors are views of one buffer, so that an in-place update of one shows in the other.
    pub fn shares_memory(&self, other: &Tensor) -> bool {
        self.0.storage.is(&other.0.storage)
    }

    /// The same data as a leaf whose gradient [`Tensor::backward`] computes.
    ///
    /// # Panics
    /// When the elements are not `f32`: integers have no gradient.
    #[track_caller]
    pub fn requires_grad(&self) -> Tensor {
        assert!(
            self.dtype() == DType::F32,
            "requires_grad: only f32 tensors have gradients, this one is {}",
            self.dtype()
        );
        self.clone().with_grad(Grad::Leaf(tape::next_id()))
    }

    /// Whether ops on this tensor are recorded.
    pub fn needs_grad(&self) -> bool {
        self.0.grad.is_some()
    }

    /// The same data, constant to the tape.
    pub fn detach(&self) -> Tensor {
        if matches!(self.0.grad, Grad::None) { self.clone() } else { self.clone().with_grad(Grad::None) }
    }

    pub(crate) fn with_grad(mut self, grad: Grad) -> Tensor {
        Arc::make_mut(&mut self.0).grad = grad;
        self
    }

    pub(crate) fn grad_source(&self) -> &Grad {
        &self.0.grad
    }

    /// Takes a tensor apart, if this is its last owner.
    pub(crate) fn into_grad(self) -> Option<Grad> {
        Arc::into_inner(self.0).map(|inner| inner.grad)
    }

    /// Gradients of this tensor (usually a loss, a single number) with respect to every [`Tensor::requires_grad`] leaf it
    /// depends on. A tensor of several elements is summed first.
    ///
    /// # Panics
    /// When it depends on leaves only through an op without a gradient; the message names the op.
    #[track_caller]
    pub fn backward(&self) -> Gradients {
        self.check_reachable();
        tape::no_grad(|| tape::backward(self, self.ones_like()))
    }

    /// Gradients as [`Tensor::backward`], for an upstream gradient `dy` of this tensor's shape in place of ones: the
    /// vector-Jacobian product.
    ///
    /// # Panics
    /// When the shapes differ; and as [`Tensor::backward`].
    #[track_caller]
    pub fn backward_with(&self, dy: &Tensor) -> Gradients {
        self.check_reachable();
        assert_eq!(self.shape(), dy.shape(), "backward: dy must have the shape of the tensor");
        tape::no_grad(|| tape::backward(self, dy.detach()))
    }

    /// Gradients that are themselves recorded, so that they can be differentiated again. `None` for a tensor that this
    /// one does not depend on.
    ///
    /// # Panics
    /// As [`Tensor::backward`].
    #[track_caller]
    pub fn grad(&self, wrt: &[&Tensor]) -> Vec<Option<Tensor>> {
        self.check_reachable();
        let gradients = tape::backward(self, self.ones_like());
        wrt.iter().map(|x| gradients.get(x).cloned()).collect()
    }

    #[track_caller]
    fn check_reachable(&self) {
        if let Grad::Stopped(op) = self.0.grad {
            panic!(
                "{op}: has no gradient, and this tensor depends on what wants one through it alone\n  y: {}\n  \
                 help: a loss has to be made of differentiable ops; detach() says that none is wanted",
                self.shape()
            );
        }
    }

    /// The ops that led here, to print.
    pub fn tape(&self) -> Tape {
        Tape::of(self)
    }

    /// The values in row-major order. Waits for the device.
    ///
    /// # Errors
    /// When the type is another, when memory ran out on the way here, or the device was lost.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.check_type::<T>("to_vec")?;
        match self.read()? {
            Pending::Here(tensor) => tensor.host_values(),
            Pending::Coming(readback) => decode(&readback.wait()?),
        }
    }

    /// The values in row-major order, as a future: the caller's thread is free while the device works.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn to_vec_async<T: Element>(&self) -> impl Future<Output = Result<Vec<T>>> + use<T> {
        let pending = self.check_type::<T>("to_vec_async").and_then(|()| self.read());
        async {
            match pending? {
                Pending::Here(tensor) => tensor.host_values(),
                Pending::Coming(readback) => decode(&readback.await?),
            }
        }
    }

    /// The value of a tensor with one element.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`]; also when there is not exactly one element.
    pub fn item(&self) -> Result<f32> {
        match self.to_vec::<f32>()?[..] {
            [value] => Ok(value),
            _ => Err(Error::invalid("item", "a tensor with one element", self.shape())),
        }
    }

    /// Starts to read the values back without waiting; ask with [`PendingValues::try_take`].
    pub fn read_later(&self) -> Result<PendingValues> {
        self.check_type::<f32>("read_later")?;
        Ok(PendingValues(Some(self.read()?)))
    }

    fn check_type<T: Element>(&self, method: &str) -> Result<()> {
        if T::DTYPE == self.dtype() {
            Ok(())
        } else {
            Err(Error::invalid(method, format!("element type {}", self.dtype()), T::DTYPE))
        }
    }

    fn read(&self) -> Result<Pending> {
        let x = self.detach().contiguous();
        Ok(match x.device().kind() {
            Kind::Cpu(_) => Pending::Here(x),
            Kind::Gpu(gpu) => {
                let (size, view) = (x.dtype().size(), gpu_view(&x));
                Pending::Coming(gpu.read(view.buffer, (x.layout().offset * size) as u64, (x.len() * size) as u64))
            }
        })
    }

    fn host_values<T: Element>(&self) -> Result<Vec<T>> {
        let (size, buffer) = (self.dtype().size(), snapshot(self));
        if let Some(error) = buffer.poison() {
            // Whoever reads this knows of the failure: updates in place go on.
            buffer.cpu().memory().take_skipped();
            return Err(error.clone());
        }
        Ok(T::collect(&buffer.as_slice::<u8>()[self.layout().offset * size..][..self.len() * size]))
    }

    /// A copy on another device; the same tensor if it is there already. Not recorded.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn to(&self, device: &Device) -> Result<Tensor> {
        if self.device() == device {
            return Ok(self.clone());
        }
        Ok(match self.dtype() {
            DType::F32 => Tensor::new(&self.to_vec::<f32>()?, self.shape(), device),
            DType::F16 => Tensor::new(&self.to_vec::<Half>()?, self.shape(), device),
            DType::I32 => Tensor::new(&self.to_vec::<i32>()?, self.shape(), device),
            DType::U32 => Tensor::new(&self.to_vec::<u32>()?, self.shape(), device),
            DType::U8 => Tensor::new(&self.to_vec::<u8>()?, self.shape(), device),
            DType::Bool => Tensor::new(&self.to_vec::<bool>()?, self.shape(), device),
        })
    }

    /// Overwrites the values in place; every view of the buffer sees it. For weights, not for tensors on a tape.
    ///
    /// # Errors
    /// When the number or the type of the values is not the tensor's, or the tensor is strided.
    pub fn assign<T: Element>(&self, data: &[T]) -> Result<()> {
        self.check_type::<T>("assign")?;
        if !self.layout().is_contiguous() {
            return Err(Error::invalid("assign", "a contiguous tensor", format!("a strided view {}", self.shape())));
        }
        if data.len() != self.len() {
            return Err(Error::invalid(
                "assign",
                format!("{} values for shape {}", self.len(), self.shape()),
                data.len(),
            ));
        }
        let (offset, bytes) = (self.layout().offset * self.dtype().size(), bytemuck::cast_slice(data));
        match (self.storage().data(), self.device().kind()) {
            (Data::Gpu(buffer), Kind::Gpu(gpu)) => gpu.write(buffer, offset as u64, bytes),
            (Data::Cpu(lock), _) => {
                let mut guard = lock.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                if guard.poison().is_none() {
                    Arc::make_mut(&mut *guard).as_mut_slice()[offset..][..bytes.len()].copy_from_slice(bytes);
                }
            }
            (Data::Gpu(_), Kind::Cpu(_)) => unreachable!("storage and device agree"),
        }
        self.storage().touch();
        Ok(())
    }

    /// Ones of this tensor's shape.
    pub fn ones_like(&self) -> Tensor {
        Tensor::full(1.0, self.shape(), self.device())
    }

    /// Zeros of this tensor's shape.
    pub fn zeros_like(&self) -> Tensor {
        Tensor::full(0.0, self.shape(), self.device())
    }

    /// A tensor of zeros.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>, device: &Device) -> Tensor {
        Tensor::full(0.0, shape, device)
    }

    /// A tensor of ones.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>, device: &Device) -> Tensor {
        Tensor::full(1.0, shape, device)
    }

    /// A tensor with `value` everywhere.
    #[track_caller]
    pub fn full(value: f32, shape: impl Into<Shape>, device: &Device) -> Tensor {
        ops::fill(value, shape.into(), device)
    }
}

/// Values that are here, or on their way.
enum Pending {
    Here(Tensor),
    Coming(Readback),
}

/// Values on their way from a device: [`Tensor::read_later`].
pub struct PendingValues(Option<Pending>);

impl PendingValues {
    /// The values if they have arrived, else `None`. After they were taken, an error.
    pub fn try_take(&mut self) -> Option<Result<Vec<f32>>> {
        let values = match &mut self.0 {
            Some(Pending::Here(tensor)) => tensor.host_values(),
            Some(Pending::Coming(readback)) => readback.try_take()?.and_then(|bytes| decode(&bytes)),
            None => Err(Error::NotReady("these values were taken before".into())),
        };
        self.0 = None;
        Some(values)
    }

    /// Waits for the values.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn wait(mut self) -> Result<Vec<f32>> {
        match self.0.take() {
            Some(Pending::Here(tensor)) => tensor.host_values(),
            Some(Pending::Coming(readback)) => decode(&readback.wait()?),
            None => Err(Error::NotReady("these values were taken before".into())),
        }
    }
}

fn decode<T: Element>(bytes: &[u8]) -> Result<Vec<T>> {
    Ok(T::collect(bytes))
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor {} {} on {}", self.dtype(), self.shape(), if self.device().is_gpu() { "GPU" } else { "CPU" })
    }
}
