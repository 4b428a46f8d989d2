//! A whole model in one file: architecture, weights, and where training stands.
//!
//! The file is safetensors. Its metadata has, as JSON, the `architecture` and, of a compiled model, the `training`: optimizer,
//! loss and metrics with their settings, steps and epochs that were done, and the state of random numbers. Tensors are the
//! weights, by name, and what the optimizer keeps of each: `optimizer.velocity.conv2d.kernel`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Device, Error, RandomKey, Result};

use crate::architecture::Architecture;
use crate::checkpoint::write;
use crate::metrics::Metric;
use crate::model::Model;
use crate::objective::Objective;
use crate::registry::Registry;
use crate::weights_file::{Checkpoint, Named, OPTIMIZER};

/// The form of files that this version writes, and the only one that it reads.
const FORMAT_VERSION: &str = "1";

/// How a model is trained, and how far it has got.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    optimizer: Choice,
    loss: Choice,
    metrics: Vec<Metric>,
    /// What the loss counts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    weight: f32,
    /// What outputs after the first are trained for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more_outputs: Vec<Goal>,
    /// What decided weights and, where nothing else was said, orders and masks.
    seed: u64,
    progress: Progress,
}

/// A type by its name, with its settings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    name: String,
    config: Value,
}

/// What an output is trained for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goal {
    loss: Choice,
    metrics: Vec<Metric>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    weight: f32,
}

fn one() -> f32 {
    1.0
}

fn is_one(weight: &f32) -> bool {
    *weight == 1.0
}

impl Goal {
    fn of(Objective { loss, weight, metrics }: &Objective) -> Goal {
        let loss = Choice { name: loss.name().into(), config: loss.config() };
        Goal { loss, metrics: metrics.clone(), weight: *weight }
    }

    fn objective(self, registry: &Registry) -> Result<Objective> {
        let Goal { loss, metrics, weight } = self;
        Ok(Objective { loss: registry.loss(&loss.name, loss.config)?, weight, metrics })
    }
}

/// What training has done so far, but for tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    pub(crate) epochs: usize,
    pub(crate) steps: u64,
    /// The key of the next random numbers outside `fit`: seed and counter.
    pub(crate) rng: Option<[u64; 2]>,
    /// The loss scale's state in mixed precision.
    pub(crate) loss_scale: Option<Vec<f32>>,
}

impl Progress {
    pub(crate) fn key(&self) -> Option<RandomKey> {
        self.rng.map(|[seed, counter]| RandomKey { seed, counter })
    }
}

impl Model {
    /// Saves the whole model: architecture, weights, and of a compiled model how it is trained and how far it has got.
    /// [`load_model`] reads it back, without any code for the architecture, and training goes on as if it had not stopped.
    ///
    /// ```
    /// use tilegrad_core::Device;
    /// use tilegrad_nn::{Sequential, layers::Dense, load_model};
    ///
    /// # fn main() -> tilegrad_core::Result<()> {
    /// let device = Device::cpu();
    /// let mut model = Sequential::new([4]).add(Dense::new(3));
    /// model.build(&device, 1)?;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// model.save(&path)?;
    /// let again = load_model(&path, &device)?;
    /// assert_eq!(again.summary()?, model.summary()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the model is not built, it can't be read back from the device, or the file can't be written; the old file then
    /// stays as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = self.named_values()?;
        tensors.extend(self.named_moments()?);
        let json = |value: &Value| value.to_string();
        let about = [
            ("format", "tilegrad".to_string()),
            ("format_version", FORMAT_VERSION.to_string()),
            ("model", self.name().to_string()),
            ("architecture", json(&serde_json::to_value(Architecture::of(self)).expect("plain data"))),
            ("training", json(&serde_json::to_value(self.training_config()?).expect("plain data"))),
        ];
        write(path.as_ref(), tensors, about)
    }

    fn training_config(&self) -> Result<Option<Training>> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        let optimizer = &compiled.optimizer;
        let mut goals = compiled.objectives.iter().map(Goal::of);
        // A model that was compiled with no loss at all can't have trained.
        let Some(Goal { loss, metrics, weight }) = goals.next() else { return Ok(None) };
        Ok(Some(Training {
            optimizer: Choice { name: optimizer.name().into(), config: optimizer.config() },
            loss,
            metrics,
            weight,
            more_outputs: goals.collect(),
            seed: self.ready()?.seed,
            progress: compiled.progress()?,
        }))
    }

    /// What the optimizer keeps of each weight, with names; none before the first step.
    fn named_moments(&self) -> Result<Vec<(Named, Vec<f32>)>> {
        let Some(compiled) = &self.compiled else { return Ok(Vec::new()) };
        let mut tensors = Vec::new();
        for (moment, values) in compiled.optimizer.moments().iter().zip(compiled.moments()?) {
            for (param, range) in self.ready()?.arrangement().trainable.slots() {
                let name = format!("{OPTIMIZER}{moment}.{}", self.name_of(param));
                tensors.push(((name, *param.shape()), values[range.clone()].to_vec()));
            }
        }
        Ok(tensors)
    }

    /// A weight's name within this model.
    fn name_of(&self, param: &crate::Param) -> String {
        self.named_weights().find(|(_, weight)| weight.is(param)).map_or_else(|| param.path(), |(name, _)| name)
    }

    /// The epochs that `fit` has trained so far, those before the model was saved included: where to go on with
    /// [`FitOptions::initial_epoch`](crate::FitOptions::initial_epoch).
    pub fn epochs_trained(&self) -> usize {
        self.compiled.as_ref().map_or(0, |compiled| compiled.epochs())
    }
}

/// Reads a model that [`Model::save`] has written.
///
/// # Errors
/// - [`Error::Io`] when the file can't be read,
/// - [`Error::Malformed`] when it is damaged, holds weights alone, or is of another version of the format,
/// - [`Error::Checkpoint`] when weights and architecture don't fit, with every difference,
/// - [`Error::Invalid`] when a type of layer, optimizer or loss is not known: see [`load_model_with`],
/// - [`Error::Layer`] when a layer doesn't fit the ones before.
pub fn load_model(path: impl AsRef<Path>, device: &Device) -> Result<Model> {
    load_model_with(path, device, &Registry::default())
}

/// [`load_model`] for models with layers, optimizers or losses of your own, which the registry has to know.
///
/// # Errors
/// As [`load_model`].
pub fn load_model_with(path: impl AsRef<Path>, device: &Device, registry: &Registry) -> Result<Model> {
    let path = path.as_ref();
    let mut file = Checkpoint::open(path, None)?;
    let malformed = |what: &str, expected: &str, got: String| Error::Malformed {
        path: path.into(),
        what: what.into(),
        expected: expected.into(),
        got,
    };
    let architecture = file.about("architecture").ok_or_else(|| {
        malformed(
            "metadata",
            "an architecture; weights alone are for `load_weights` of a model that is there",
            "none".into(),
        )
    })?;
    let version = file.about("format_version").unwrap_or("none");
    if version != FORMAT_VERSION {
        let written = file.about("version").unwrap_or("unknown");
        let got = format!("{version}, written by tilegrad {written}");
        return Err(malformed("version of the format", FORMAT_VERSION, got));
    }
    let architecture: Architecture = serde_json::from_str(architecture)
        .map_err(|e| malformed("architecture in the metadata", "a model", e.to_string()))?;
    let training: Option<Training> = serde_json::from_str(file.about("training").unwrap_or("null"))
        .map_err(|e| malformed("training in the metadata", "how a model is trained", e.to_string()))?;

    let mut model = architecture.model(registry)?;
    let seed = training.as_ref().map_or(0, |training| training.seed);
    model.build_from(device, seed, |weights| {
        let differences = file.differences(weights);
        if !differences.is_empty() {
            return Err(Error::Checkpoint { path: path.into(), differences });
        }
        weights.iter().map(|weight| Ok(file.read(weight)?.expect("no difference"))).collect()
    })?;
    if let Some(training) = training {
        let optimizer = registry.optimizer(&training.optimizer.name, training.optimizer.config)?;
        let first = Goal { loss: training.loss, metrics: training.metrics, weight: training.weight };
        let goals = std::iter::once(first).chain(training.more_outputs);
        let objectives = goals.map(|goal| goal.objective(registry)).collect::<Result<_>>()?;
        let names: Vec<Vec<Named>> = moments_of(&model, optimizer.moments());
        model.compile_boxed(optimizer, objectives);
        let mut moments = Vec::new();
        for names in names {
            let values: Vec<Option<Vec<f32>>> = names.iter().map(|named| file.read(named)).collect::<Result<_>>()?;
            moments.push(values.into_iter().collect::<Option<Vec<_>>>());
        }
        let there = moments.iter().flatten().count();
        if there > 0 && there < moments.len() || there == 0 && training.progress.steps > 0 && !moments.is_empty() {
            let got = format!("{there} of {}", moments.len());
            return Err(malformed("what the optimizer keeps", "all of it", got));
        }
        model.resume(moments.into_iter().flatten().collect(), &training.progress)?;
    }
    Ok(model)
}

/// The names in a file of what an optimizer keeps of each weight that trains.
fn moments_of(model: &Model, moments: &[&str]) -> Vec<Vec<Named>> {
    let trainable = || model.named_weights().filter(|(_, weight)| weight.is_trainable());
    let named = |moment: &&str| {
        trainable().map(|(name, weight)| (format!("{OPTIMIZER}{moment}.{name}"), *weight.shape())).collect()
    };
    moments.iter().map(named).collect()
}
