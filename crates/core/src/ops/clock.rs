//! The counters of a training loop, on the device: number of the step, of the batch, and the key of the next random numbers.
//!
//! What a [`Recording`](crate::Recording) does again is the same kernels with the same parameters. What has to change from
//! step to step is therefore read from a clock: the batch's place in the order of the examples, the number that Adam's
//! corrections depend on, dropout's key. Whoever trains calls [`Clock::advance`] at the end of each step.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::CLOCK;

use super::random::RandomKey;
use super::{KernelInfo, OpInfo};
use crate::device::Device;
use crate::dtype::DType;
use crate::error;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{CpuView, CpuViewMut, GpuView, Op, apply, apply_in_place};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["clock_advance", "clock_batch"],
    differentiable: false,
    kernels: &[KernelInfo {
        shader: &CLOCK,
        entries: &["clock_advance", "clock_batch"],
        headers: || vec![vec![]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    draws: u32,
    size: u32,
    offset: u32,
    examples: u32,
}

/// Words of a clock: steps, batches, key (counter and seed, low halves first), Nadam's product of shares, nothing.
const WORDS: usize = 8;

/// What a clock shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Steps since the optimizer began.
    pub step: u32,
    /// Batches since the epoch began.
    pub batch: u32,
    /// The key of the next random numbers.
    pub key: RandomKey,
}

/// Counters on a device. Cloning shares them.
///
/// ```
/// use tilegrad_core::{Clock, Device, RandomKey, Time};
/// # fn main() -> tilegrad_core::Result<()> {
/// let clock = Clock::new(&Device::cpu());
/// clock.set(Time { step: 10, batch: 0, key: RandomKey { seed: 7, counter: 0 } })?;
/// clock.advance(2);
/// assert_eq!(clock.read()?, Time { step: 11, batch: 1, key: RandomKey { seed: 7, counter: 2 } });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Tensor);

impl Clock {
    /// A clock at the beginning.
    pub fn new(device: &Device) -> Clock {
        Clock(Tensor::new(&words(Time::default()), [WORDS], device))
    }

    /// Sets the clock from the host: between epochs, not between steps.
    ///
    /// # Errors
    /// Never on a device that works.
    pub fn set(&self, time: Time) -> error::Result<()> {
        self.0.assign(&words(time))
    }

    /// Ends a step which has used `draws` keys of random numbers: one more step and batch.
    pub fn advance(&self, draws: u32) {
        apply_in_place(&Advance { draws }, &[], &[&self.0]);
    }

    /// The positions of the batch that the clock is at: `size` neighbours in `order (examples)`, `u32 (size)`.
    ///
    /// # Panics
    /// When the order is not `u32` with one axis, or has no element.
    #[track_caller]
    pub fn batch(&self, order: &Tensor, size: usize) -> Tensor {
        apply(Batch { size }, &[order, &self.0])
    }

    /// What the clock shows. Waits for the device.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn read(&self) -> error::Result<Time> {
        let w = self.0.to_vec::<u32>()?;
        Ok(Time { step: w[0], batch: w[1], key: key(&w) })
    }

    /// The words, `u32 (8)`, as kernels read them.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.0
    }
}

/// The share of `beta1` in step `t` of Nadam's schedule (Dozat 2016).
pub(super) fn share(t: f64) -> f64 {
    1.0 - 0.5 * 0.96f64.powf(t)
}

/// The product of the shares of the first `t` steps; those of later steps are 1 in 64 bits.
pub(super) fn product_of_shares(t: u64) -> f64 {
    (1..=t.min(1000)).map(|t| share(t as f64)).product()
}

fn words(time: Time) -> [u32; WORDS] {
    let halves = |v: u64| [v as u32, (v >> 32) as u32];
    let ([counter, counter_high], [seed, seed_high]) = (halves(time.key.counter), halves(time.key.seed));
    let shares = product_of_shares(time.step.into()) as f32;
    [time.step, time.batch, counter, counter_high, seed, seed_high, shares.to_bits(), 0]
}

/// The key that a clock's words show.
fn key(w: &[u32]) -> RandomKey {
    let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    RandomKey { seed: long(w[4], w[5]), counter: long(w[2], w[3]) }
}

/// The key of draw `n` of a step, on the CPU.
pub(super) fn key_on_clock(clock: &CpuView<'_>, n: u32) -> RandomKey {
    let key = key(clock.slice::<u32>());
    RandomKey { counter: key.counter.wrapping_add(n.into()), ..key }
}

#[derive(Debug)]
struct Advance {
    draws: u32,
}

impl Op for Advance {
    fn name(&self) -> &'static str {
        "clock_advance"
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(Shape::from([WORDS]))
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(DType::U32)
    }

    fn cpu(&self, _: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let w = y[0].slice::<u32>();
        w[0] = w[0].wrapping_add(1);
        w[1] = w[1].wrapping_add(1);
        let (counter, carry) = w[2].overflowing_add(self.draws);
        w[2] = counter;
        w[3] = w[3].wrapping_add(carry.into());
        w[6] = (f32::from_bits(w[6]) * share(w[0].into()) as f32).to_bits();
    }

    fn gpu(&self, gpu: &mut Stream, _: &[GpuView<'_>], y: &[GpuView<'_>]) {
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &CLOCK, entry: "clock_advance", constants: &[] },
            inputs: &[],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&Params { draws: self.draws, ..Params::default() }),
            workgroups: [1, 1, 1],
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}

/// Positions of a batch, from the order of an epoch and the clock.
#[derive(Debug)]
struct Batch {
    size: usize,
}

impl Op for Batch {
    fn name(&self) -> &'static str {
        "clock_batch"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        match (x[0].rank(), x[0].len()) {
            (1, 1..) => Ok(Shape::from([self.size])),
            _ => Err(ShapeError::new("the order has one axis and at least one element").operand("order", x[0])),
        }
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x[0] {
            DType::U32 => Ok(DType::U32),
            other => Err(ShapeError::new(format!("the order is {other}, expected u32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (order, batch) = (x[0].slice::<u32>(), x[1].slice::<u32>()[1] as usize);
        for (i, y) in y[0].slice::<u32>().iter_mut().enumerate() {
            *y = order[(batch * self.size + i).min(order.len() - 1)];
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let params = Params { size: y[0].len(), offset: x[0].offset(), examples: x[0].len(), ..Params::default() };
        gpu.dispatch(Dispatch {
            kernel: Kernel { shader: &CLOCK, entry: "clock_batch", constants: &[] },
            inputs: &[x[0].buffer, x[1].buffer],
            outputs: &[y[0].buffer],
            params: bytemuck::bytes_of(&params),
            workgroups: fold_workgroups(params.size.into(), 64),
        });
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }
}
