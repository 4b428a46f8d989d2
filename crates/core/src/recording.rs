//! Recorded work: what a closure did on a GPU, kernel by kernel, to do again at the cost of a few calls a kernel.
//!
//! Eager work is what is recorded: the closure runs once as it always does, and the kernels that it launched are kept with
//! their buffers. Doing them again allocates nothing and looks nothing up. Nothing may then come from the host: a number
//! that has to change from one time to the next lies on the device, in a [`Clock`](crate::Clock).

use std::cell::RefCell;

use crate::device::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, KernelRecording};
use crate::storage::{Storage, WeakStorage};
use crate::tensor::Tensor;

/// Work on a GPU that can be done again: [`Device::record`].
///
/// It holds every buffer that its kernels use. Tensors that were there before are read and updated where they lie; tensors
/// that the work made and that are still held get their new values.
pub struct Recording {
    gpu: Gpu,
    kernels: KernelRecording,
    /// What gets other values each time, to tell tapes that have saved it.
    changed: Vec<Storage>,
}

/// What an open recording writes.
#[derive(Default)]
struct Written {
    updated: Vec<Storage>,
    made: Vec<WeakStorage>,
}

thread_local! {
    /// What this thread has written since its recording was begun.
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
}

/// Notes what an open recording updates in place.
pub(crate) fn note_updates(y: &[&Tensor]) {
    WRITTEN.with_borrow_mut(|written| {
        if let Some(Written { updated, .. }) = written {
            for storage in y.iter().map(|t| t.storage()) {
                if !updated.iter().any(|known| known.is(storage)) {
                    updated.push(storage.clone());
                }
            }
        }
    });
}

/// Notes what an open recording makes.
pub(crate) fn note_made(y: &[Tensor]) {
    WRITTEN.with_borrow_mut(|written| {
        if let Some(Written { made, .. }) = written {
            made.extend(y.iter().map(|t| t.storage().downgrade()));
        }
    });
}

impl Device {
    /// Runs `work` as it would run anyway, and keeps the kernels that it launches from this thread, to launch them again.
    ///
    /// ```
    /// # fn main() -> tilegrad_core::Result<()> {
    /// use tilegrad_core::ops::optimizer::{SgdStep, sgd_step};
    /// use tilegrad_core::{Device, Tensor};
    /// # let Ok(device) = Device::gpu() else { return Ok(()) };
    /// let (w, g) = (Tensor::zeros([2], &device), Tensor::ones([2], &device));
    /// let descent = SgdStep { lr: 0.5, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    /// let ((), recording) = device.record(|| sgd_step(&w, &g, None, &descent));
    /// let recording = recording?;
    /// recording.replay()?;
    /// recording.replay()?;
    /// assert_eq!(w.to_vec::<f32>()?, [-1.5, -1.5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// In the second result; `work` has run all the same. On the CPU, which has nothing to record; when this thread is
    /// recording already; and when the kernels alone would not do the same again, with the reason: the host read or wrote a
    /// tensor on the way, random numbers or an optimizer's step number came from the host, another recording was replayed, or
    /// memory ran out.
    pub fn record<R>(&self, work: impl FnOnce() -> R) -> (R, Result<Recording>) {
        let Kind::Gpu(gpu) = self.kind() else {
            return (work(), Err(Error::invalid("record", "a GPU device", self)));
        };
        if WRITTEN.with_borrow(Option::is_some) {
            let error = Error::NotReady("this thread is recording already".into());
            return (work(), Err(error));
        }
        struct Forget;
        impl Drop for Forget {
            fn drop(&mut self) {
                WRITTEN.set(None);
            }
        }
        WRITTEN.set(Some(Written::default()));
        let _forget = Forget;
        let (result, kernels) = gpu.record(work);
        let Written { mut updated, made } = WRITTEN.take().unwrap_or_default();
        updated.extend(made.iter().filter_map(WeakStorage::upgrade));
        (result, kernels.map(|kernels| Recording { gpu: gpu.clone(), kernels, changed: updated }))
    }
}

impl Recording {
    /// Launches the kernels again, without waiting for them.
    ///
    /// # Errors
    /// When the device was lost; and while updates on it are left out because memory ran out, see [`Device::check`]. Nothing is
    /// launched then.
    pub fn replay(&self) -> Result<()> {
        self.gpu.replay(&self.kernels)?;
        self.changed.iter().for_each(Storage::touch);
        Ok(())
    }

    /// Number of kernels.
    pub fn dispatches(&self) -> usize {
        self.kernels.commands.len()
    }

    /// Bytes of device memory that the kernels use: weights and data that were there before, and what is made on the way.
    pub fn bytes(&self) -> u64 {
        self.kernels.bytes()
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording ({} kernels, {} bytes)", self.dispatches(), self.bytes())
    }
}
