//! Learning rates that change from step to step, with Keras's names and formulas.
//!
//! A schedule stands where an optimizer takes a learning rate: `Adam::new(CosineDecay::new(0.001, 10_000))`. Steps count from
//! 0, over all epochs; `pi` is half a turn. In an epoch in which the rate changes at every step, `fit` runs each step on its
//! own, where it otherwise launches a recorded one again.
//!
//! ```text
//! step           initial * factor^floor(step / every)
//! exponential    initial * rate^(step / steps)
//! inverse time   initial / (1 + rate * step / steps)
//! polynomial     (initial - end) * (1 - step / steps)^power + end
//! piecewise      values[i] up to boundaries[i]
//! cosine         initial * ((1 - alpha) * (1 + cos(pi * step / steps)) / 2 + alpha), after a linear warm-up
//! one cycle      cosine from max / 25 up to max, then down to almost nothing (Smith and Topin 2018, as PyTorch has it)
//! ```

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use tilegrad_core::{Error, Result};

/// A learning rate: a number, or a [`Schedule`].
///
/// ```
/// use tilegrad_nn::{Adam, CosineDecay, Optimizer};
/// let optimizer = Adam::new(CosineDecay::new(0.001, 10_000).warmup(0.0, 500));
/// assert_eq!(optimizer.learning_rate(), 0.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Setting", into = "Setting")]
pub struct LearningRate {
    now: f32,
    schedule: Option<Schedule>,
}

/// A [`LearningRate`] in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Setting {
    Number(f32),
    Schedule(Schedule),
}

impl From<Setting> for LearningRate {
    fn from(setting: Setting) -> LearningRate {
        match setting {
            Setting::Number(now) => LearningRate::from(now),
            Setting::Schedule(schedule) => LearningRate::from(schedule),
        }
    }
}

impl From<LearningRate> for Setting {
    fn from(rate: LearningRate) -> Setting {
        rate.schedule.map_or(Setting::Number(rate.now), Setting::Schedule)
    }
}

impl LearningRate {
    /// The rate of the coming step.
    pub fn now(&self) -> f32 {
        self.now
    }

    /// Sets the rate of the coming step.
    pub fn set(&mut self, rate: f32) {
        self.now = rate;
    }

    /// What it follows, if it does.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// Refuses what is no rate.
    ///
    /// # Errors
    /// Names the number that is out of its range.
    pub fn check(&self) -> Result<()> {
        self.schedule.as_ref().map_or(Ok(()), Schedule::check)?;
        if self.now.is_finite() && self.now >= 0.0 {
            return Ok(());
        }
        Err(Error::invalid("learning rate", "a finite number from 0 on", self.now))
    }
}

impl From<f32> for LearningRate {
    fn from(rate: f32) -> LearningRate {
        LearningRate { now: rate, schedule: None }
    }
}

impl From<f64> for LearningRate {
    fn from(rate: f64) -> LearningRate {
        LearningRate::from(rate as f32)
    }
}

impl From<Schedule> for LearningRate {
    fn from(schedule: Schedule) -> LearningRate {
        LearningRate { now: schedule.rate(0), schedule: Some(schedule) }
    }
}

/// A learning rate as a function of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// See [`StepDecay`].
    Step(StepDecay),
    /// See [`ExponentialDecay`].
    Exponential(ExponentialDecay),
    /// See [`InverseTimeDecay`].
    InverseTime(InverseTimeDecay),
    /// See [`PolynomialDecay`].
    Polynomial(PolynomialDecay),
    /// See [`PiecewiseConstantDecay`].
    Piecewise(PiecewiseConstantDecay),
    /// See [`CosineDecay`].
    Cosine(CosineDecay),
    /// See [`OneCycle`].
    OneCycle(OneCycle),
}

impl Schedule {
    /// The rate of step `step`, from 0.
    ///
    /// ```
    /// use tilegrad_nn::{Schedule, StepDecay};
    /// let schedule = Schedule::from(StepDecay::new(0.1, 1000, 0.5));
    /// assert_eq!([0, 999, 1000, 2500].map(|step| schedule.rate(step)), [0.1, 0.1, 0.05, 0.025]);
    /// ```
    pub fn rate(&self, step: u64) -> f32 {
        let step = step as f64;
        let rate = match self {
            Schedule::Step(s) => s.initial * s.factor.powf((step / s.every as f64).floor()),
            Schedule::Exponential(s) => {
                let decays = step / s.decay_steps as f64;
                s.initial * s.decay_rate.powf(if s.staircase { decays.floor() } else { decays })
            }
            Schedule::InverseTime(s) => s.initial / (1.0 + s.decay_rate * step / s.decay_steps as f64),
            Schedule::Polynomial(s) => {
                let done = step.min(s.decay_steps as f64) / s.decay_steps as f64;
                (s.initial - s.end) * (1.0 - done).powf(s.power) + s.end
            }
            Schedule::Piecewise(s) => {
                let passed = s.boundaries.iter().filter(|&&boundary| step > boundary as f64).count();
                s.values.get(passed).copied().unwrap_or(f64::NAN)
            }
            Schedule::Cosine(s) => s.rate(step),
            Schedule::OneCycle(s) => s.rate(step),
        };
        rate as f32
    }

    fn check(&self) -> Result<()> {
        let positive = |what: &str, steps: u64| {
            if steps > 0 { Ok(()) } else { Err(Error::invalid(format!("{what} of the schedule"), "at least 1", 0)) }
        };
        let rates = match self {
            Schedule::Step(s) => positive("steps between changes", s.every).map(|()| vec![s.initial, s.factor])?,
            Schedule::Exponential(s) => {
                positive("decay steps", s.decay_steps).map(|()| vec![s.initial, s.decay_rate])?
            }
            Schedule::InverseTime(s) => {
                positive("decay steps", s.decay_steps).map(|()| vec![s.initial, s.decay_rate])?
            }
            Schedule::Polynomial(s) => {
                positive("decay steps", s.decay_steps).map(|()| vec![s.initial, s.end, s.power])?
            }
            Schedule::Piecewise(s) => {
                if s.values.len() != s.boundaries.len() + 1 || !s.boundaries.is_sorted() {
                    let expected = "boundaries in order, and one value more than boundaries";
                    let got = format!("{:?} and {:?}", s.boundaries, s.values);
                    return Err(Error::invalid("boundaries and values of the schedule", expected, got));
                }
                s.values.clone()
            }
            Schedule::Cosine(s) => {
                positive("decay steps", s.decay_steps).map(|()| vec![s.initial, s.alpha, s.warmup_from])?
            }
            Schedule::OneCycle(s) => {
                positive("total steps", s.total_steps)?;
                if !(s.warmup > 0.0 && s.warmup < 1.0) {
                    let what = "part of the steps that the rate grows in";
                    return Err(Error::invalid(what, "more than 0 and less than 1", s.warmup));
                }
                vec![s.max]
            }
        };
        match rates.iter().find(|rate| !(rate.is_finite() && **rate >= 0.0)) {
            Some(rate) => Err(Error::invalid("numbers of the schedule", "finite numbers from 0 on", rate)),
            None => Ok(()),
        }
    }
}

/// The rate multiplied by a factor after every so many steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    initial: f64,
    every: u64,
    factor: f64,
}

impl StepDecay {
    /// `initial` at first, times `factor` after each `every` steps.
    pub fn new(initial: f64, every: u64, factor: f64) -> StepDecay {
        StepDecay { initial, every, factor }
    }
}

/// Keras's `ExponentialDecay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialDecay {
    initial: f64,
    decay_steps: u64,
    decay_rate: f64,
    staircase: bool,
}

impl ExponentialDecay {
    /// `initial` at first, times `decay_rate` after `decay_steps`, smoothly.
    pub fn new(initial: f64, decay_steps: u64, decay_rate: f64) -> ExponentialDecay {
        ExponentialDecay { initial, decay_steps, decay_rate, staircase: false }
    }

    /// Whether the rate falls in steps.
    pub fn staircase(mut self, staircase: bool) -> ExponentialDecay {
        self.staircase = staircase;
        self
    }
}

/// Keras's `InverseTimeDecay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InverseTimeDecay {
    initial: f64,
    decay_steps: u64,
    decay_rate: f64,
}

impl InverseTimeDecay {
    /// `initial` at first, divided by `1 + decay_rate` after `decay_steps`.
    pub fn new(initial: f64, decay_steps: u64, decay_rate: f64) -> InverseTimeDecay {
        InverseTimeDecay { initial, decay_steps, decay_rate }
    }
}

/// Keras's `PolynomialDecay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolynomialDecay {
    initial: f64,
    decay_steps: u64,
    end: f64,
    power: f64,
}

impl PolynomialDecay {
    /// From `initial` in a line to 0.0001 after `decay_steps`, and so on.
    pub fn new(initial: f64, decay_steps: u64) -> PolynomialDecay {
        PolynomialDecay { initial, decay_steps, end: 0.0001, power: 1.0 }
    }

    /// Where it ends.
    pub fn end(mut self, end: f64) -> PolynomialDecay {
        self.end = end;
        self
    }

    /// 1 for a line, 2 for a parabola.
    pub fn power(mut self, power: f64) -> PolynomialDecay {
        self.power = power;
        self
    }
}

/// Keras's `PiecewiseConstantDecay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseConstantDecay {
    boundaries: Vec<u64>,
    values: Vec<f64>,
}

impl PiecewiseConstantDecay {
    /// `values[0]` up to step `boundaries[0]`, and so on: one value more than boundaries.
    pub fn new(boundaries: impl Into<Vec<u64>>, values: impl Into<Vec<f64>>) -> PiecewiseConstantDecay {
        PiecewiseConstantDecay { boundaries: boundaries.into(), values: values.into() }
    }
}

/// Keras's `CosineDecay`. Loshchilov and Hutter 2016, without restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDecay {
    initial: f64,
    decay_steps: u64,
    alpha: f64,
    warmup_from: f64,
    warmup_steps: u64,
}

impl CosineDecay {
    /// From `initial` along half a cosine to 0 after `decay_steps`.
    pub fn new(initial: f64, decay_steps: u64) -> CosineDecay {
        CosineDecay { initial, decay_steps, alpha: 0.0, warmup_from: 0.0, warmup_steps: 0 }
    }

    /// The part of the rate that stays at the end.
    pub fn alpha(mut self, alpha: f64) -> CosineDecay {
        self.alpha = alpha;
        self
    }

    /// First from this rate in a line to the initial one, in so many steps, which come before those of the decay.
    pub fn warmup(mut self, from: f64, steps: u64) -> CosineDecay {
        (self.warmup_from, self.warmup_steps) = (from, steps);
        self
    }

    fn rate(&self, step: f64) -> f64 {
        let warmup = self.warmup_steps as f64;
        if step < warmup {
            return self.warmup_from + (self.initial - self.warmup_from) * step / warmup;
        }
        let done = (step - warmup).min(self.decay_steps as f64) / self.decay_steps as f64;
        self.initial * ((1.0 - self.alpha) * 0.5 * (1.0 + (PI * done).cos()) + self.alpha)
    }
}

/// Up to a large rate and down again, once: PyTorch's `OneCycleLR` with its defaults. Smith and Topin 2018.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneCycle {
    max: f64,
    total_steps: u64,
    warmup: f64,
}

impl OneCycle {
    /// A cycle of so many steps, which is all that training should take.
    pub fn new(max: f64, total_steps: u64) -> OneCycle {
        OneCycle { max, total_steps, warmup: 0.3 }
    }

    /// The part of the steps in which the rate grows: 0.3, if nothing else is said.
    pub fn warmup(mut self, part: f64) -> OneCycle {
        self.warmup = part;
        self
    }

    fn rate(&self, step: f64) -> f64 {
        let (initial, total) = (self.max / 25.0, self.total_steps as f64);
        let (top, end) = (self.warmup * total - 1.0, total - 1.0);
        let anneal = |from: f64, to: f64, part: f64| to + (from - to) / 2.0 * (1.0 + (PI * part.clamp(0.0, 1.0)).cos());
        if step <= top {
            anneal(initial, self.max, step / top.max(1.0))
        } else {
            anneal(self.max, initial / 1e4, (step - top) / (end - top).max(1.0))
        }
    }
}

impl From<StepDecay> for Schedule {
    fn from(schedule: StepDecay) -> Schedule {
        Schedule::Step(schedule)
    }
}

impl From<StepDecay> for LearningRate {
    fn from(schedule: StepDecay) -> LearningRate {
        LearningRate::from(Schedule::Step(schedule))
    }
}

impl From<ExponentialDecay> for Schedule {
    fn from(schedule: ExponentialDecay) -> Schedule {
        Schedule::Exponential(schedule)
    }
}

impl From<ExponentialDecay> for LearningRate {
    fn from(schedule: ExponentialDecay) -> LearningRate {
        LearningRate::from(Schedule::Exponential(schedule))
    }
}

impl From<InverseTimeDecay> for Schedule {
    fn from(schedule: InverseTimeDecay) -> Schedule {
        Schedule::InverseTime(schedule)
    }
}

impl From<InverseTimeDecay> for LearningRate {
    fn from(schedule: InverseTimeDecay) -> LearningRate {
        LearningRate::from(Schedule::InverseTime(schedule))
    }
}

impl From<PolynomialDecay> for Schedule {
    fn from(schedule: PolynomialDecay) -> Schedule {
        Schedule::Polynomial(schedule)
    }
}

impl From<PolynomialDecay> for LearningRate {
    fn from(schedule: PolynomialDecay) -> LearningRate {
        LearningRate::from(Schedule::Polynomial(schedule))
    }
}

impl From<PiecewiseConstantDecay> for Schedule {
    fn from(schedule: PiecewiseConstantDecay) -> Schedule {
        Schedule::Piecewise(schedule)
    }
}

impl From<PiecewiseConstantDecay> for LearningRate {
    fn from(schedule: PiecewiseConstantDecay) -> LearningRate {
        LearningRate::from(Schedule::Piecewise(schedule))
    }
}

impl From<CosineDecay> for Schedule {
    fn from(schedule: CosineDecay) -> Schedule {
        Schedule::Cosine(schedule)
    }
}

impl From<CosineDecay> for LearningRate {
    fn from(schedule: CosineDecay) -> LearningRate {
        LearningRate::from(Schedule::Cosine(schedule))
    }
}

impl From<OneCycle> for Schedule {
    fn from(schedule: OneCycle) -> Schedule {
        Schedule::OneCycle(schedule)
    }
}

impl From<OneCycle> for LearningRate {
    fn from(schedule: OneCycle) -> LearningRate {
        LearningRate::from(Schedule::OneCycle(schedule))
    }
}
