//! Recorded work: what a closure did on a GPU, kernel by kernel, to do again at the cost of a few calls a kernel.
//!
//! Eager work is what is recorded: the closure runs once as it always does, and the kernels that it launched are kept with
//! their buffers. Doing them again allocates nothing and looks nothing up. Nothing may then come from the host: a number
//! that has to change from one time to the next lies on the device, in a [`Clock`](crate::Clock).

use std::cell::RefCell;

use crate::device::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, KernelRecording};
use crate::storage::Storage;
use crate::tensor::Tensor;

/// Work on a GPU that can be done again: [`Device::record`].
///
/// It holds every buffer that its kernels use. Tensors that were there before are read and updated where they lie; tensors
/// that the work made and that are still held get their new values.
pub struct Recording {
    gpu: Gpu,
    kernels: KernelRecording,
    /// What is updated in place, to tell tapes that saved it.
    updated: Vec<Storage>,
}

thread_local! {
    /// Storages that this thread has updated in place since its recording was begun.
    static UPDATED: RefCell<Option<Vec<Storage>>> = const { RefCell::new(None) };
}

/// Notes what an open recording updates.
pub(crate) fn note_updates(y: &[&Tensor]) {
    UPDATED.with_borrow_mut(|updated| {
        if let Some(updated) = updated {
            for storage in y.iter().map(|t| t.storage()) {
                if !updated.iter().any(|known| known.is(storage)) {
                    updated.push(storage.clone());
                }
            }
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
    /// In the second result; `work` has run all the same. On the CPU, which has nothing to record; when a recording is open
    /// on the device; and when the kernels alone would not do the same again, with the reason: the host read or wrote a
    /// tensor on the way, random numbers or an optimizer's step number came from the host, or memory ran out.
    pub fn record<R>(&self, work: impl FnOnce() -> R) -> (R, Result<Recording>) {
        let Kind::Gpu(gpu) = self.kind() else {
            return (work(), Err(Error::invalid("record", "a GPU device", self)));
        };
        if UPDATED.with_borrow(Option::is_some) {
            let error = Error::NotReady("this thread is recording already".into());
            return (work(), Err(error));
        }
        struct Forget;
        impl Drop for Forget {
            fn drop(&mut self) {
                UPDATED.set(None);
            }
        }
        UPDATED.set(Some(Vec::new()));
        let _forget = Forget;
        let (result, kernels) = gpu.record(work);
        let updated = UPDATED.take().unwrap_or_default();
        (result, kernels.map(|kernels| Recording { gpu: gpu.clone(), kernels, updated }))
    }
}

impl Recording {
    /// Launches the kernels again, without waiting for them. While updates are left out because memory ran out (see
    /// [`Device::check`]), nothing is launched.
    ///
    /// # Errors
    /// When the device was lost.
    pub fn replay(&self) -> Result<()> {
        self.gpu.check()?;
        self.gpu.replay(&self.kernels);
        self.updated.iter().for_each(Storage::touch);
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
