//! Compiling a model, and one training step.
//!
//! ```text
//! forward   logits = model(x)            recorded on the tape
//! loss      l = loss(logits, y)          (N), added to the sums on the device
//! backward  d = gradients of mean(l)     packed into one arena
//! update    weights, moments <- d        one kernel, in place; in mixed precision only if all of d is finite
//! ```
//!
//! Nothing is uploaded or read back on the way, so that the device never waits for the host. A batch may be worked on in
//! parts, one after the other: forward, loss and backward are then done for each, and the gradients added up.

use std::ops::Range;

use tilegrad_core::ops::optimizer::StepNumber;
use tilegrad_core::{Clock, Device, Error, Gradients, RandomKey, Result, Rng, Shape, Tensor, Time, no_grad};

use crate::activation::Activation;
use crate::counters::Counters;
use crate::device_data::Examples;
use crate::layer::Context;
use crate::losses::Loss;
use crate::metrics::{Metric, correct};
use crate::model::{Built, Model};
use crate::model_file::Progress;
use crate::objective::Objective;
use crate::optimizers::Optimizer;
use crate::precision::{LossScale, Precision};
use crate::run::Output;
use crate::totals::{OutputTotals, Totals};

/// What `compile` adds to a model.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) optimizer: Box<dyn Optimizer>,
    /// One an output.
    pub(crate) objectives: Vec<Objective>,
    state: Option<State>,
}

/// What the optimizer keeps from step to step, and what the training loop does.
#[derive(Debug)]
pub(crate) struct State {
    /// `(L)` each, in the layout of the trainable weights; made when they are first used, with the gradients.
    moments: Vec<Tensor>,
    gradients: Option<Tensor>,
    /// In mixed precision; made with them.
    loss_scale: Option<LossScale>,
    steps: u64,
    /// Epochs of `fit`.
    epochs: usize,
    /// What steps count on the device.
    clock: Clock,
    /// For steps outside `fit`, which has its own.
    pub(crate) rng: Rng,
    totals: Option<Totals>,
    /// `1 / N` for each of the examples that are worked on at a time out of a batch of `N`, which is named, for the numbers
    /// seen last: the gradient of a mean with respect to its terms.
    means: Vec<(usize, Tensor)>,
}

impl Compiled {
    /// Forgets moments and the number of steps: they belong to weights that are no longer there.
    pub(crate) fn reset(&mut self) {
        self.state = None;
    }

    /// Epochs of `fit` since the optimizer began.
    pub(crate) fn epochs(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.epochs)
    }

    /// How far training has got. Waits for the device.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let Some(state) = &self.state else { return Ok(Progress::default()) };
        let RandomKey { seed, counter } = state.rng.state();
        Ok(Progress {
            epochs: state.epochs,
            steps: state.steps,
            rng: Some([seed, counter]),
            loss_scale: state.loss_scale.as_ref().map(LossScale::values).transpose()?,
        })
    }

    /// What the optimizer keeps, in the layout of the trainable weights. Waits for the device.
    pub(crate) fn moments(&self) -> Result<Vec<Vec<f32>>> {
        self.state.iter().flat_map(|state| &state.moments).map(|moment| moment.to_vec()).collect()
    }

    fn state(&mut self, built: &Built) -> &mut State {
        self.state.get_or_insert_with(|| State {
            moments: Vec::new(),
            gradients: None,
            loss_scale: None,
            steps: 0,
            epochs: 0,
            clock: Clock::new(&built.device),
            rng: Rng::new(built.seed),
            totals: None,
            means: Vec::new(),
        })
    }
}

impl State {
    /// Where gradients are packed, `(L)`.
    fn arena_of_gradients(&self) -> &Tensor {
        self.gradients.as_ref().expect("made with the moments")
    }

    /// `1 / batch` for each of `n` examples. An epoch has batches of one size and a last one that is smaller, and either may
    /// be worked on in parts, the last of which is smaller too.
    fn mean(&mut self, n: usize, batch: usize, device: &Device) -> Tensor {
        if let Some((_, mean)) = self.means.iter().find(|(of, mean)| (*of, mean.len()) == (batch, n)) {
            return mean.clone();
        }
        self.means.truncate(3);
        self.means.insert(0, (batch, Tensor::full(1.0 / batch as f32, [n], device)));
        self.means[0].1.clone()
    }
}

/// A batch to train on.
pub(crate) struct Batch<'a> {
    /// Its examples.
    pub(crate) size: usize,
    /// How many of them are worked on at a time.
    pub(crate) part: usize,
    /// Some of them, made when they are worked on.
    pub(crate) get: &'a dyn Fn(Range<usize>) -> Examples,
}

impl Model {
    /// Chooses how to train a model of one output: what changes the weights, what is made small, what is measured beside it.
    /// Compiling again starts the optimizer over and keeps the weights.
    pub fn compile(
        &mut self,
        optimizer: impl Optimizer + 'static,
        loss: impl Loss + 'static,
        metrics: impl IntoIterator<Item = Metric>,
    ) {
        self.compile_all(optimizer, [Objective::new(loss).metrics(metrics)]);
    }

    /// [`Model::compile`] for a model of several outputs, with an objective for each, in their order. Training makes the sum
    /// of their losses small, each times its weight.
    ///
    /// ```
    /// use tilegrad_core::{Device, Tensor};
    /// use tilegrad_nn::layers::Dense;
    /// use tilegrad_nn::{Activation, Adam, Input, Layer, MeanSquaredError, Metric, Model, Objective};
    /// use tilegrad_nn::SparseCategoricalCrossentropy;
    ///
    /// # fn main() -> tilegrad_core::Result<()> {
    /// let inputs = Input::new([4]);
    /// let x = Dense::new(8).activation(Activation::Relu).call(&inputs);
    /// let kind = Dense::new(3).activation(Activation::Softmax).name("kind").call(&x);
    /// let size = Dense::new(1).name("size").call(&x);
    /// let mut model = Model::new(&inputs, [&kind, &size]);
    /// let device = Device::cpu();
    /// model.build(&device, 42)?;
    /// let kind = Objective::new(SparseCategoricalCrossentropy::new()).metrics([Metric::Accuracy]);
    /// model.compile_all(Adam::default(), [kind, Objective::new(MeanSquaredError).weight(0.5)]);
    /// let (x, kinds) = (Tensor::ones([2, 4], &device), Tensor::new(&[0u32, 2], [2], &device));
    /// let measured = model.train_on_batch(&x, [&kinds, &Tensor::ones([2, 1], &device)])?;
    /// let names: Vec<&str> = measured.metrics.keys().map(String::as_str).collect();
    /// assert_eq!(names, ["kind_accuracy", "kind_loss", "size_loss"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn compile_all(
        &mut self,
        optimizer: impl Optimizer + 'static,
        objectives: impl IntoIterator<Item = Objective>,
    ) {
        self.compile_boxed(Box::new(optimizer), objectives.into_iter().collect());
    }

    pub(crate) fn compile_boxed(&mut self, optimizer: Box<dyn Optimizer>, objectives: Vec<Objective>) {
        self.compiled = Some(Compiled { optimizer, objectives, state: None });
    }

    /// Refuses other objectives than one for each output, and those that their outputs don't fit. Gives each with its
    /// output's shape, with a batch axis of this length.
    pub(crate) fn objectives(&self, batch: usize) -> Result<Vec<(&Objective, Shape)>> {
        let (objectives, outputs) = (&self.compiled()?.objectives, self.output_shapes());
        if objectives.len() != outputs.len() {
            let expected = format!("{}, one for each output of the model", outputs.len());
            let help = "\n  help: `model.compile_all(optimizer, [Objective::new(loss), ..])`";
            return Err(Error::invalid("losses", expected, format!("{}{help}", objectives.len())));
        }
        let outputs = outputs.iter().map(|output| Shape::new(&[&[batch], output.dims()].concat()));
        let pairs: Vec<(&Objective, Shape)> = objectives.iter().zip(outputs).collect();
        pairs.iter().try_for_each(|(objective, output)| objective.check(output))?;
        Ok(pairs)
    }

    /// Goes on where training stood: with what the optimizer kept of each weight that trains, moment by moment (none, if no
    /// step was done), and with counters and random numbers.
    pub(crate) fn resume(&mut self, moments: Vec<Vec<Vec<f32>>>, progress: &Progress) -> Result<()> {
        self.arrange()?;
        if !moments.is_empty() {
            let (built, _, state) = self.training();
            for (arena, values) in state.moments.iter().zip(&moments) {
                built.arrangement().trainable.write_to(arena, values)?;
            }
            if let (Some(scale), Some(values)) = (&state.loss_scale, &progress.loss_scale) {
                scale.restore(values)?;
            }
        }
        let state = self.state()?;
        (state.steps, state.epochs) = (progress.steps, progress.epochs);
        if let Some(key) = progress.key() {
            state.rng = Rng::from_state(key);
        }
        Ok(())
    }

    /// Counts an epoch of `fit`.
    pub(crate) fn count_epoch(&mut self, number: usize) -> Result<()> {
        self.state()?.epochs = number + 1;
        Ok(())
    }

    /// The optimizer's learning rate.
    ///
    /// # Errors
    /// Before the model is compiled.
    pub fn learning_rate(&self) -> Result<f32> {
        Ok(self.compiled()?.optimizer.learning_rate())
    }

    /// What the loss is multiplied by before backward in mixed precision; `None` before the first step, and in 32 bits. It is
    /// halved by a step with an infinite gradient, which is left out, and doubled after 2,000 steps without one. Waits for the
    /// device.
    ///
    /// # Errors
    /// Before the model is compiled, and when the device failed.
    pub fn loss_scale(&self) -> Result<Option<f32>> {
        let state = self.compiled()?.state.as_ref();
        state.and_then(|state| state.loss_scale.as_ref()).map(|scale| scale.scale().item()).transpose()
    }

    /// Changes the optimizer's learning rate.
    ///
    /// # Errors
    /// Before the model is compiled, when the rate is negative or not finite, and when the optimizer follows a schedule.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<()> {
        if !(learning_rate.is_finite() && learning_rate >= 0.0) {
            return Err(Error::invalid("learning rate", "a finite number from 0 on", learning_rate));
        }
        if self.compiled()?.optimizer.schedule().is_some() {
            let expected = "a fixed rate to change";
            return Err(Error::invalid("learning rate of the optimizer", expected, "a schedule, which decides it"));
        }
        let compiled = self.compiled.as_mut().expect("just checked");
        compiled.optimizer.set_learning_rate(learning_rate);
        Ok(())
    }

    /// Sets the optimizer's rate to that of the coming step, if it follows a schedule. Returns the rate.
    pub(crate) fn scheduled_rate(&mut self) -> Result<f32> {
        let steps = self.state()?.steps;
        let compiled = self.compiled.as_mut().expect("just checked");
        if let Some(rate) = compiled.optimizer.schedule().map(|schedule| schedule.rate(steps)) {
            compiled.optimizer.set_learning_rate(rate);
        }
        Ok(compiled.optimizer.learning_rate())
    }

    pub(crate) fn compiled(&self) -> Result<&Compiled> {
        self.compiled.as_ref().ok_or_else(|| {
            let help = "call `model.compile(optimizer, loss, metrics)` first";
            Error::NotReady(format!("the model is not compiled\n  help: {help}"))
        })
    }

    pub(crate) fn state(&mut self) -> Result<&mut State> {
        self.ready()?;
        self.compiled()?;
        let built = self.built.as_ref().expect("just checked");
        Ok(self.compiled.as_mut().expect("just checked").state(built))
    }

    /// What a step works with, in a model that is built and compiled.
    fn training(&mut self) -> (&Built, &dyn Optimizer, &mut State) {
        let built = self.built.as_ref().expect("checked by the caller");
        let compiled = self.compiled.as_mut().expect("checked by the caller");
        compiled.state(built);
        let Compiled { optimizer, state, .. } = compiled;
        let state = state.as_mut().expect("just made");
        if state.gradients.is_none() {
            let moments = 0..optimizer.moments().len();
            state.moments = moments.map(|i| built.arrangement().trainable.full(optimizer.initial(i))).collect();
            state.gradients = Some(built.arrangement().trainable.full(0.0));
            let arenas = 1 + state.moments.len();
            state.loss_scale = (self.precision == Precision::Mixed)
                .then(|| LossScale::new(&built.device, arenas, built.arrangement().trainable.values().len()));
        }
        (built, &**optimizer, state)
    }

    /// Forgets what a step keeps for later ones and may have had no room for. It is made anew when it is needed.
    pub(crate) fn forget_failed(&mut self) {
        let Some(state) = self.compiled.as_mut().and_then(|c| c.state.as_mut()) else { return };
        state.means.clear();
        if state.steps == 0 {
            (state.moments, state.gradients, state.loss_scale) = (Vec::new(), None, None);
        }
    }

    /// Takes the sums out of the model for a loop. [`Model::put_totals`] puts them back, so that the next loop finds
    /// the same buffer, and with it the same bind groups.
    pub(crate) fn take_totals(&mut self) -> Result<Totals> {
        if let Some(totals) = self.state()?.totals.take() {
            return Ok(totals);
        }
        self.new_totals()
    }

    /// Sums for all that is to be measured.
    pub(crate) fn new_totals(&self) -> Result<Totals> {
        let device = &self.ready()?.device;
        let (objectives, names) = (self.objectives(1)?, self.graph.output_names());
        let several = objectives.len() > 1;
        let outputs = objectives.into_iter().zip(names).map(|((objective, output), name)| OutputTotals {
            prefix: if several { format!("{name}_") } else { String::new() },
            weight: objective.weight,
            accuracy: objective.has_accuracy(),
            counters: Counters::new(&objective.metrics, objective.loss.target(), &output, device),
        });
        Ok(Totals::new(device, outputs.collect()))
    }

    pub(crate) fn put_totals(&mut self, totals: Totals) {
        if let Ok(state) = self.state() {
            state.totals = Some(totals);
        }
    }

    /// Sets the clock to the first batch of a pass, whose random numbers begin with this key. Returns the clock with the
    /// source of those numbers.
    pub(crate) fn start_clock(&mut self, key: RandomKey) -> Result<(Clock, Rng)> {
        let device = self.ready()?.device.clone();
        let state = self.state()?;
        if state.steps == 0 {
            // There may have been no room for the one that was made with the state.
            state.clock = Clock::new(&device);
        }
        state.clock.set(Time { step: state.steps as u32, batch: 0, key })?;
        Ok((state.clock.clone(), Rng::on_clock(&state.clock, key)))
    }

    /// Counts a step that was replayed, on the host.
    pub(crate) fn count_step(&mut self) -> Result<()> {
        self.state()?.steps += 1;
        Ok(())
    }

    /// One training step, whose loss and metrics are added to `totals`. The batch has been checked.
    ///
    /// # Errors
    /// When memory runs out or the device has failed. No weight has changed then, nor the optimizer's moments.
    pub(crate) fn step(&mut self, batch: &Batch<'_>, rng: &mut Rng, totals: &mut Totals) -> Result<()> {
        self.scheduled_rate()?;
        self.pack_gradients(batch, rng, totals)?;
        self.update(rng.end_step())
    }

    /// The first half of a step: the gradients of a batch's mean loss, in their arena.
    ///
    /// # Errors
    /// When a loss or a metric can't be computed.
    pub(crate) fn pack_gradients(&mut self, batch: &Batch<'_>, rng: &mut Rng, totals: &mut Totals) -> Result<()> {
        for start in (0..batch.size).step_by(batch.part) {
            let examples = (batch.get)(start..(start + batch.part).min(batch.size));
            let gradients = self.gradients(&examples, batch.size, rng, totals)?;
            let (built, _, state) = self.training();
            // The gradient of a mean is the sum of those of its parts.
            no_grad(|| built.arrangement().trainable.pack(&gradients, state.arena_of_gradients(), start > 0));
        }
        Ok(())
    }

    /// The second half: weights and moments follow the gradients, by the optimizer's present rate, and the clock goes on, past
    /// as many keys of random numbers as the first half took.
    ///
    /// # Errors
    /// As [`Model::step`].
    pub(crate) fn update(&mut self, keys: u32) -> Result<()> {
        let (built, optimizer, state) = self.training();
        no_grad(|| {
            let (weights, gradients) = (built.arrangement().trainable.values(), state.arena_of_gradients());
            let update = |gradients: &Tensor| {
                let gradients = optimizer.clip().apply_to_arena(gradients, &built.arrangement().trainable);
                optimizer.step(&StepNumber::Clock(state.clock.clone()), weights, &gradients, &state.moments);
            };
            match &state.loss_scale {
                None => update(gradients),
                Some(scale) => {
                    let updated: Vec<&Tensor> = std::iter::once(weights).chain(&state.moments).collect();
                    scale.step(gradients, &updated, update);
                }
            }
            state.clock.advance(keys);
        });
        // Of what changes weights, moments and clock, the device has left out all or nothing.
        let done = built.device.check();
        match done {
            Ok(()) => state.steps += 1,
            Err(_) => self.forget_failed(),
        }
        done
    }

    /// The gradients of these examples' part in the mean loss of a batch of `batch` examples, multiplied by the loss scale if
    /// there is one.
    fn gradients(
        &mut self,
        examples: &Examples,
        batch: usize,
        rng: &mut Rng,
        totals: &mut Totals,
    ) -> Result<Gradients> {
        let Examples { x, y, weights } = examples;
        // Made with what the optimizer keeps, which in 32 bits is not needed before the gradients are there.
        let mixed = self.precision == Precision::Mixed;
        let scale = mixed.then(|| self.training().2.loss_scale.as_ref().map(LossScale::scale)).flatten();
        let scaled = |dy: &Tensor| scale.as_ref().map_or_else(|| dy.clone(), |scale| no_grad(|| dy.mul(scale)));
        let compiled = self.compiled()?;
        let mut context = Context { training: true, precision: self.precision, rng };
        let outputs = self.forward_headless(&x.iter().collect::<Vec<_>>(), &compiled.heads(), &mut context);
        totals.count(examples.len());
        if let ([objective], [output]) = (&compiled.objectives[..], &outputs[..])
            && objective.is_cross_entropy(output)
            && weights.is_none()
        {
            totals.add_to_counters(0, || objective.finish(output), &y[0]);
            let dy = totals.add_cross_entropy(output.tensor(), &y[0], batch);
            return Ok(output.tensor().backward_with(&scaled(&dy)));
        }
        let losses = compiled.losses(outputs, examples, totals);
        // Those of the mean loss without computing that.
        let mean = self.state()?.mean(examples.len(), batch, x[0].device());
        Ok(losses.backward_with(&scaled(&mean)))
    }

    /// Measures one batch, as in inference, and adds it to `totals`.
    pub(crate) fn measure(&self, examples: &Examples, totals: &mut Totals) -> Result<()> {
        let compiled = self.compiled()?;
        totals.count(examples.len());
        self.infer(|context| {
            let x: Vec<&Tensor> = examples.x.iter().collect();
            compiled.losses(self.forward_headless(&x, &compiled.heads(), context), examples, totals);
        });
        Ok(())
    }
}

impl Compiled {
    /// The activations that the losses can undo, one an output.
    fn heads(&self) -> Vec<Option<Activation>> {
        self.objectives.iter().map(|objective| objective.loss.head()).collect()
    }

    /// Adds what is measured of a batch to `totals`. Returns the losses that are to become small, `(N)`: those of all
    /// outputs, each times its weight.
    fn losses(&self, outputs: Vec<Output>, Examples { y, weights, .. }: &Examples, totals: &Totals) -> Tensor {
        let each = self.objectives.iter().zip(outputs).zip(y).enumerate().map(|(i, ((objective, output), y))| {
            totals.add_to_counters(i, || objective.finish(&output), y);
            let losses = objective.losses(&output, y, weights.as_ref());
            let correct = objective.has_accuracy().then(|| no_grad(|| correct(&output, objective.loss.target(), y)));
            totals.add(i, &losses, correct.as_ref());
            objective.weigh(losses)
        });
        each.reduce(|sum, losses| sum.add(&losses)).expect("a model has an output")
    }
}
