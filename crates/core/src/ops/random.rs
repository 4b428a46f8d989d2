//! Random numbers, the same on every device, and dropout.
//!
//! A random number is a function of a key and a position: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", 2011). There is no state on a device, any thread can make any number, and dropout's backward makes its
//! mask again in place of keeping it.

use bytemuck::{Pod, Zeroable};
use tilegrad_shaders::RANDOM;

use super::clock::{Clock, key_on_clock};
use super::{KernelInfo, OpInfo};
use crate::cpu::par;
use crate::device::Device;
use crate::dtype::DType;
use crate::gpu::{Dispatch, Kernel, Stream, fold_workgroups};
use crate::op::{Cost, CpuView, CpuViewMut, GpuView, Op, Saves, apply, create};
use crate::shape::{Shape, ShapeError};
use crate::tape::Node;
use crate::tensor::Tensor;

pub(super) static INFO: OpInfo = OpInfo {
    names: &["rand_bits", "rand_uniform", "rand_normal", "dropout"],
    differentiable: true,
    kernels: &[KernelInfo {
        shader: &RANDOM,
        entries: &[
            "random_bits",
            "random_uniform",
            "random_normal",
            "random_uniform_clock",
            "random_normal_clock",
            "dropout_forward",
            "dropout_forward_clock",
        ],
        headers: || vec![vec![("VEC", 0)], vec![("VEC", 1)]],
        params_bytes: size_of::<Params>(),
    }],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    x_offset: u32,
    seed: [u32; 2],
    counter: [u32; 2],
    a: f32,
    b: f32,
    threshold: u32,
    pad: [u32; 3],
}

/// What names a stream of random numbers. Two keys that differ give independent streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RandomKey {
    /// The run.
    pub seed: u64,
    /// The use within the run.
    pub counter: u64,
}

impl RandomKey {
    /// Numbers `4 * block` to `4 * block + 3` of the stream.
    ///
    /// ```
    /// use tilegrad_core::RandomKey;
    /// assert_eq!(RandomKey::default().block(0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    /// ```
    pub fn block(self, block: u32) -> [u32; 4] {
        let [low, high] = halves(self.counter);
        philox([block, 0, low, high], halves(self.seed))
    }
}

fn halves(v: u64) -> [u32; 2] {
    [v as u32, (v >> 32) as u32]
}

fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [low0, high0] = halves(u64::from(c[0]) * 0xd251_1f53);
        let [low1, high1] = halves(u64::from(c[2]) * 0xcd9e_8d57);
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0];
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// Which random numbers an op takes.
#[derive(Clone, Debug)]
pub enum Draw {
    /// Those of a key that the host knows.
    Key(RandomKey),
    /// Those of the key that a clock shows, so many keys further on: new ones each time a recorded step is done again.
    OnClock(Clock, u32),
}

impl From<RandomKey> for Draw {
    fn from(key: RandomKey) -> Draw {
        Draw::Key(key)
    }
}

impl Draw {
    /// The clock as an input of the op.
    fn clock(&self) -> Option<&Tensor> {
        if let Draw::OnClock(clock, _) = self { Some(clock.tensor()) } else { None }
    }

    /// The key, on the CPU.
    fn key(&self, clock: Option<&CpuView<'_>>) -> RandomKey {
        match (self, clock) {
            (Draw::Key(key), _) => *key,
            (Draw::OnClock(_, n), Some(clock)) => key_on_clock(clock, *n),
            (Draw::OnClock(..), None) => unreachable!("the clock is an input"),
        }
    }
}

/// A source of keys: a seed, and a count of the keys handed out. Cloning or storing it keeps the place in the sequence.
///
/// [`Rng::on_clock`] makes one for steps that are recorded.
///
/// ```
/// use tilegrad_core::Rng;
/// let mut rng = Rng::new(7);
/// let first = rng.next_key();
/// let mut later = Rng::from_state(rng.state()); // as a checkpoint does
/// assert_eq!(rng.next_key(), later.next_key());
/// assert_ne!(first, rng.next_key());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rng {
    next: RandomKey,
    clock: Option<Clock>,
    /// Keys taken since the clock advanced.
    taken: u32,
}

/// Whether the next keys are the same.
impl PartialEq for Rng {
    fn eq(&self, other: &Rng) -> bool {
        self.next == other.next
    }
}

impl Eq for Rng {}

impl Rng {
    /// The sequence of keys of a seed, from its start.
    pub fn new(seed: u64) -> Rng {
        Rng::from_state(RandomKey { seed, counter: 0 })
    }

    /// A key that this sequence has not given before. It can't be part of a [`Recording`](crate::Recording), which would take
    /// the same one each time; [`Rng::next_draw`] is for that.
    pub fn next_key(&mut self) -> RandomKey {
        if let Some(clock) = &self.clock {
            clock.tensor().device().prevent_recording("a key of random numbers is given to the host");
        }
        self.take()
    }

    fn take(&mut self) -> RandomKey {
        let key = self.next;
        self.next.counter = key.counter.wrapping_add(1);
        self.taken += 1;
        key
    }

    /// The same, for ops that take a [`Draw`]: in a training loop, the key lies on the device.
    pub fn next_draw(&mut self) -> Draw {
        let nth = self.taken;
        let key = self.take();
        self.clock.as_ref().map_or(Draw::Key(key), |clock| Draw::OnClock(clock.clone(), nth))
    }

    /// The sequence that goes on with the key that a clock shows. The host's view, `state`, has to be the same.
    pub fn on_clock(clock: &Clock, state: RandomKey) -> Rng {
        Rng { next: state, clock: Some(clock.clone()), taken: 0 }
    }

    /// Keys taken since the last call: what a clock advances by at the end of a step.
    pub fn end_step(&mut self) -> u32 {
        std::mem::take(&mut self.taken)
    }

    /// Leaves out this many keys, which a recorded step has used on the device.
    pub fn skip(&mut self, keys: u32) {
        self.next.counter = self.next.counter.wrapping_add(keys.into());
    }

    /// The seed, and the counter of the next key.
    pub fn state(&self) -> RandomKey {
        self.next
    }

    /// The sequence as it was when [`Rng::state`] was asked.
    pub fn from_state(state: RandomKey) -> Rng {
        Rng { next: state, clock: None, taken: 0 }
    }
}

/// 24 bits as a number in `0..1`, exactly.
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * STEP
}

const STEP: f32 = 1.0 / (1 << 24) as f32;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bits,
    /// `low + span * u`, u in `0..1`.
    Uniform {
        low: f32,
        span: f32,
    },
    Normal {
        mean: f32,
        std: f32,
    },
}

#[derive(Debug)]
struct Random {
    kind: Kind,
    draw: Draw,
    shape: Shape,
}

impl Random {
    #[track_caller]
    fn make(self, device: &Device) -> Tensor {
        match self.draw.clock().cloned() {
            Some(clock) => apply(self, &[&clock]),
            None => create(device, self),
        }
    }
}

/// `y[i] = f(block)[i % 4]`, with one evaluation a block.
fn by_blocks<T: Send>(y: &mut [T], f: impl Fn(u32) -> [T; 4] + Sync) {
    // Chunks begin at blocks.
    par::chunks(y, 4, |first, y| {
        for (block, y) in (first / 4..).zip(y.chunks_mut(4)) {
            y.iter_mut().zip(f(block as u32)).for_each(|(y, v)| *y = v);
        }
    });
}

/// Box and Muller's pairs of normal numbers: radius `sqrt(-2 log u)`, u in `(0, 1]`, and an angle.
fn normal(bits: [u32; 4]) -> [f32; 4] {
    let u = bits.map(unit);
    let pair = |u: f32, v: f32| {
        let (sin, cos) = (std::f32::consts::TAU * (v - 0.5)).sin_cos();
        let radius = (-2.0 * (u + STEP).ln()).sqrt();
        [radius * cos, radius * sin]
    };
    let ([a, b], [c, d]) = (pair(u[0], u[1]), pair(u[2], u[3]));
    [a, b, c, d]
}

impl Op for Random {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Bits => "rand_bits",
            Kind::Uniform { .. } => "rand_uniform",
            Kind::Normal { .. } => "rand_normal",
        }
    }

    fn infer(&self, _: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(self.shape)
    }

    fn dtype(&self, _: &[DType]) -> Result<DType, ShapeError> {
        Ok(if let Kind::Bits = self.kind { DType::U32 } else { DType::F32 })
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let key = self.draw.key(x.first());
        match self.kind {
            Kind::Bits => by_blocks(y[0].slice(), |block| key.block(block)),
            Kind::Uniform { low, span } => {
                by_blocks(y[0].slice(), |block| key.block(block).map(|bits| low + span * unit(bits)));
            }
            Kind::Normal { mean, std } => {
                by_blocks(y[0].slice(), |block| normal(key.block(block)).map(|v| mean + std * v));
            }
        }
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let (entry, a, b) = match self.kind {
            Kind::Bits => ("random_bits", 0.0, 0.0),
            Kind::Uniform { low, span } if x.is_empty() => ("random_uniform", low, span),
            Kind::Uniform { low, span } => ("random_uniform_clock", low, span),
            Kind::Normal { mean, std } if x.is_empty() => ("random_normal", mean, std),
            Kind::Normal { mean, std } => ("random_normal_clock", mean, std),
        };
        launch(gpu, entry, x, &y[0], &self.draw, [a, b], 0);
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn backward(&self, _: &Node, _: &Tensor) -> Vec<Option<Tensor>> {
        Vec::new()
    }

    fn cost(&self, _: &[&Shape], y: &Shape) -> Cost {
        Cost { flops: y.len() as u64, bytes: 4 * y.len() as u64 }
    }
}

fn launch(
    gpu: &mut Stream,
    entry: &'static str,
    x: &[GpuView<'_>],
    y: &GpuView<'_>,
    draw: &Draw,
    [a, b]: [f32; 2],
    threshold: u32,
) {
    // A clock begins at its buffer's start.
    let x_offset = x.first().map_or(0, |x| x.offset());
    let (seed, counter) = match draw {
        Draw::Key(key) => {
            gpu.prevent_recording("the key of random numbers comes from the host");
            (halves(key.seed), halves(key.counter))
        }
        Draw::OnClock(_, nth) => ([0; 2], [*nth, 0]),
    };
    let params = Params { len: y.len(), x_offset, seed, counter, a, b, threshold, pad: [0; 3] };
    gpu.dispatch(Dispatch {
        kernel: Kernel { shader: &RANDOM, entry, constants: &[("VEC", x_offset.is_multiple_of(4) as u32)] },
        inputs: &x.iter().map(|x| x.buffer).collect::<Vec<_>>(),
        outputs: &[y.buffer],
        params: bytemuck::bytes_of(&params),
        workgroups: fold_workgroups(y.len().div_ceil(4).into(), 64),
    });
}

/// `y = x / (1 - rate)` where a random number is at least `rate`, else 0. Linear in x and diagonal, so that `dx` is the same
/// function of `dy`.
#[derive(Clone, Debug)]
struct Dropout {
    draw: Draw,
    /// Of 2^24.
    threshold: u32,
    scale: f32,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, x: &[&Shape]) -> Result<Shape, ShapeError> {
        Ok(*x[0])
    }

    fn dtype(&self, x: &[DType]) -> Result<DType, ShapeError> {
        match x[0] {
            DType::F32 => Ok(DType::F32),
            other => Err(ShapeError::new(format!("input 0 is {other}, expected f32"))),
        }
    }

    fn cpu(&self, x: &[CpuView<'_>], y: &mut [CpuViewMut<'_>]) {
        let (key, x) = (self.draw.key(x.get(1)), x[0].slice::<f32>());
        by_blocks(y[0].slice(), |block| {
            let bits = key.block(block);
            std::array::from_fn(|k| match x.get(4 * block as usize + k) {
                Some(x) if bits[k] >> 8 >= self.threshold => x * self.scale,
                _ => 0.0,
            })
        });
    }

    fn gpu(&self, gpu: &mut Stream, x: &[GpuView<'_>], y: &[GpuView<'_>]) {
        let entry = if x.len() == 2 { "dropout_forward_clock" } else { "dropout_forward" };
        launch(gpu, entry, x, &y[0], &self.draw, [self.scale, 0.0], self.threshold);
    }

    /// The clock, so that a gradient which comes after it has advanced is refused.
    fn saves(&self) -> Saves {
        if self.draw.clock().is_some() { Saves::input(1) } else { Saves::NOTHING }
    }

    fn backward(&self, node: &Node, dy: &Tensor) -> Vec<Option<Tensor>> {
        match self.draw.clock() {
            Some(_) => vec![Some(apply(self.clone(), &[dy, node.input(1)])), None],
            None => vec![Some(apply(self.clone(), &[dy]))],
        }
    }
}

impl Tensor {
    /// Random bits: a tensor of type `u32`. The same for a key on every device.
    #[track_caller]
    pub fn rand_bits(shape: impl Into<Shape>, key: RandomKey, device: &Device) -> Tensor {
        create(device, Random { kind: Kind::Bits, draw: key.into(), shape: shape.into() })
    }

    /// Random numbers, uniform in `low..high` in steps of a 2^24th. The same for a key on every device, up to the rounding
    /// of the last bit. In a step that is recorded the key is one on a clock, from [`Rng::next_draw`].
    ///
    /// ```
    /// use tilegrad_core::{Device, Rng, Tensor};
    /// let mut rng = Rng::new(42);
    /// let x = Tensor::rand_uniform(-1.0, 1.0, [1000], rng.next_key(), &Device::cpu());
    /// assert!(x.mean().item().unwrap().abs() < 0.1);
    /// ```
    #[track_caller]
    pub fn rand_uniform(
        low: f32,
        high: f32,
        shape: impl Into<Shape>,
        draw: impl Into<Draw>,
        device: &Device,
    ) -> Tensor {
        Random { kind: Kind::Uniform { low, span: high - low }, draw: draw.into(), shape: shape.into() }.make(device)
    }

    /// Random numbers, normal with this mean and standard deviation (Box and Muller 1958), at most 5.8 deviations away. The
    /// same for a key on every device, up to the precision of its sine and logarithm. In a step that is recorded the key is one
    /// on a clock, from [`Rng::next_draw`].
    #[track_caller]
    pub fn rand_normal(mean: f32, std: f32, shape: impl Into<Shape>, draw: impl Into<Draw>, device: &Device) -> Tensor {
        Random { kind: Kind::Normal { mean, std }, draw: draw.into(), shape: shape.into() }.make(device)
    }

    /// Each element set to 0 with probability `rate`, and the others divided by `1 - rate` (Srivastava et al. 2014). The
    /// key chooses which; in a step that is recorded it is one on a clock, from [`Rng::next_draw`]. A gradient has to be
    /// taken before the clock advances.
    ///
    /// ```
    /// use tilegrad_core::{Device, RandomKey, Tensor};
    /// let x = Tensor::ones([4], &Device::cpu());
    /// let y = x.dropout(0.5, RandomKey { seed: 1, counter: 0 }).to_vec::<f32>().unwrap();
    /// assert!(y.iter().all(|v| *v == 0.0 || *v == 2.0));
    /// ```
    ///
    /// # Panics
    /// When the rate is outside `0..=1`.
    #[track_caller]
    pub fn dropout(&self, rate: f32, draw: impl Into<Draw>) -> Tensor {
        assert!((0.0..=1.0).contains(&rate), "dropout: rate {rate} is outside 0 to 1");
        if rate == 0.0 {
            return self.clone();
        }
        let scale = if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 };
        let threshold = (f64::from(rate) * f64::from(1 << 24)).round() as u32;
        let op = Dropout { draw: draw.into(), threshold, scale };
        match op.draw.clock().cloned() {
            Some(clock) => apply(op, &[self, &clock]),
            None => apply(op, &[self]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// The vectors that come with Random123.
    #[test]
    fn philox_is_philox() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        assert_eq!(philox(pi, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }
}
