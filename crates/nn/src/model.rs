//! The model: layers in a row, their names, shapes and weights.

use std::collections::HashSet;

use tilegrad_core::{DType, Device, DeviceInfo, Error, MAX_RANK, Result, Rng, Shape, Tensor, no_grad};
use tilegrad_data::shuffle::SplitMix64;

use crate::activation::Activation;
use crate::arena::{ALIGN, Arena};
use crate::layer::{BuildContext, Context, Layer, snake_case};
use crate::param::Param;
use crate::precision::Precision;
use crate::summary::Summary;
use crate::train::Compiled;

/// A network: its layers with their names, shapes and weights, and how it is trained. [`Sequential`](crate::Sequential)
/// makes one of layers in a row.
#[derive(Debug)]
pub struct Model {
    name: String,
    input: Option<Shape>,
    layers: Vec<LayerEntry>,
    pub(crate) precision: Precision,
    pub(crate) built: Option<Built>,
    pub(crate) compiled: Option<Compiled>,
}

/// A layer as part of a model: with its name, its output's shape and its weights.
#[derive(Debug)]
pub struct LayerEntry {
    name: String,
    layer: Box<dyn Layer>,
    /// With a batch axis of 1; `None` before the model is built.
    output: Option<Shape>,
    weights: Vec<Param>,
}

impl LayerEntry {
    /// The name: the user's, or one made from the type as Keras does (`conv2d`, `conv2d_1`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer itself.
    pub fn layer(&self) -> &dyn Layer {
        &*self.layer
    }

    /// The shape of one example's output, without the batch axis; `None` before the model is built.
    pub fn output_shape(&self) -> Option<Shape> {
        self.output.map(|s| Shape::new(&s[1..]))
    }

    /// All weights, running statistics included; none before the model is built.
    pub fn weights(&self) -> &[Param] {
        &self.weights
    }

    /// The weights that training changes.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.weights.iter().filter(|w| w.is_trainable())
    }

    /// Number of elements in all weights.
    pub fn count_params(&self) -> usize {
        self.weights.iter().map(Param::len).sum()
    }
}

/// Where a built model's weights lie.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) device: Device,
    pub(crate) seed: u64,
    pub(crate) trainable: Arena,
    /// Weights of frozen layers.
    frozen: Arena,
    /// One arena each: their layers write them in the forward pass, and a write marks the whole buffer as changed, which
    /// would invalidate what backward has saved of its neighbours.
    statistics: Vec<Arena>,
}

impl Built {
    pub(crate) fn arenas(&self) -> impl Iterator<Item = &Arena> {
        [&self.trainable, &self.frozen].into_iter().chain(&self.statistics)
    }

    /// The values of running statistics.
    pub(crate) fn statistics(&self) -> impl Iterator<Item = &Tensor> {
        self.statistics.iter().map(Arena::values)
    }
}

impl Model {
    pub(crate) fn empty() -> Model {
        Model {
            name: "sequential".into(),
            input: None,
            layers: Vec::new(),
            precision: Precision::F32,
            built: None,
            compiled: None,
        }
    }

    pub(crate) fn set_input(&mut self, shape: Shape) {
        self.input = Some(shape);
        self.built = None;
    }

    pub(crate) fn set_name(&mut self, name: String) {
        self.name = name;
    }

    /// Sets what the operands of products are stored in, in training and in inference. Weights stay as they are; an optimizer
    /// that was compiled starts over.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        if let Some(compiled) = &mut self.compiled {
            compiled.reset();
        }
    }

    pub(crate) fn append(&mut self, layer: impl Layer + 'static) {
        let name = layer.name().map_or_else(|| self.free_name(&snake_case(layer.kind())), str::to_string);
        self.built = None;
        self.layers.push(LayerEntry { name, layer: Box::new(layer), output: None, weights: Vec::new() });
    }

    fn free_name(&self, base: &str) -> String {
        let taken = |name: &str| self.layers.iter().any(|l| l.name == name);
        let mut numbered = (1..).map(|i| format!("{base}_{i}"));
        let first = (!taken(base)).then(|| base.to_string());
        first.unwrap_or_else(|| numbered.find(|name| !taken(name)).expect("some number is free"))
    }

    /// Checks that every layer fits the one before it, then creates all weights on `device`. No kernel runs before the
    /// whole model has been checked. The same seed gives the same weights on every device.
    ///
    /// Building again starts over, with new weights.
    ///
    /// # Errors
    /// - [`Error::Layer`] for the first layer that doesn't fit, with its name and the shapes,
    /// - [`Error::Invalid`] without layers, or with two layers of one name,
    /// - [`Error::NotReady`] without an input shape,
    /// - [`Error::TooLarge`] when the device has no buffer that could hold the weights.
    pub fn build(&mut self, device: &Device, seed: u64) -> Result<()> {
        let input = self.input.ok_or_else(|| {
            Error::NotReady("the model has no input shape\n  help: start it with `Sequential::new([H, W, C])`".into())
        })?;
        if self.layers.is_empty() {
            return Err(Error::invalid("model", "at least one layer", "none"));
        }
        if input.rank() >= MAX_RANK {
            let expected = format!("at most {} axes, since the batch adds one", MAX_RANK - 1);
            return Err(Error::invalid("input shape", expected, input));
        }
        if let Some(zero) = input.iter().position(|&d| d == 0) {
            return Err(Error::invalid("input shape", "no axis of 0", format!("{input}, axis {zero}")));
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.layers.iter().find(|l| !names.insert(&l.name)) {
            return Err(Error::invalid("layer names", "each once", format!("{:?} twice", twice.name)));
        }

        // Layers and weights change from here on: a model that fails to build again is not built.
        self.built = None;
        let batch = Shape::new(&[&[1], input.dims()].concat());
        let at_layer = |index: usize, layer: &str| {
            let layer = layer.to_string();
            move |source| Error::Layer { index, layer, source: Box::new(source) }
        };
        let mut shape = batch;
        for (i, entry) in self.layers.iter().enumerate() {
            shape = entry.layer.output_shape(&shape).map_err(at_layer(i, &entry.name))?;
        }

        let mut shape = batch;
        for (i, entry) in self.layers.iter_mut().enumerate() {
            let mut context = BuildContext::new(&entry.name);
            shape = entry.layer.build(&shape, &mut context).map_err(at_layer(i, &entry.name))?;
            entry.output = Some(shape);
            entry.weights = context.into_weights();
        }
        let mut seeds = SplitMix64::new(seed);
        let weights: Vec<(Param, Vec<f32>)> = self
            .weights()
            .map(|param| (param.clone(), param.initializer().values(param.shape(), seeds.next_u64())))
            .collect();
        self.precision.announce(device);
        self.arrange(device, seed, weights)
    }

    /// Lays weights out in arenas: what an optimizer steps over, what is frozen, and the statistics.
    fn arrange(&mut self, device: &Device, seed: u64, weights: Vec<(Param, Vec<f32>)>) -> Result<()> {
        let (mut trainable, mut frozen, mut statistics) = (Vec::new(), Vec::new(), Vec::new());
        for weight in weights {
            match &weight.0 {
                param if param.is_statistic() => statistics.push(weight),
                param if param.is_trainable() => trainable.push(weight),
                _ => frozen.push(weight),
            }
        }
        check_size(device, "the trainable weights", &trainable)?;
        check_size(device, "the frozen weights", &frozen)?;
        let arena = |weights: Vec<(Param, Vec<f32>)>| {
            let (params, values): (Vec<_>, Vec<_>) = weights.into_iter().unzip();
            Arena::new(params, &values, device)
        };
        self.built = Some(Built {
            device: device.clone(),
            seed,
            trainable: arena(trainable),
            frozen: arena(frozen),
            statistics: statistics.into_iter().map(|s| arena(vec![s])).collect(),
        });
        // Moments of the optimizer belong to the old layout.
        if let Some(compiled) = &mut self.compiled {
            compiled.reset();
        }
        Ok(())
    }

    /// Freezes a layer or lets it train again; the optimizer then starts over. As Keras's `layer.trainable`.
    ///
    /// # Errors
    /// When no layer has this name, the model is not built, or the weights can't be read back.
    pub fn set_trainable(&mut self, layer: &str, trainable: bool) -> Result<()> {
        let entry = self.find(layer)?;
        let built = self.ready()?;
        let (device, seed) = (built.device.clone(), built.seed);
        let mut weights = Vec::new();
        for arena in built.arenas() {
            weights.extend(arena.slots().iter().map(|(param, _)| param.clone()).zip(arena.read()?));
        }
        entry.weights.iter().for_each(|w| w.set_frozen(!trainable));
        // Back in the layers' order: where a weight lies must not depend on what was frozen before.
        let order: Vec<String> = self.weights().map(Param::path).collect();
        weights.sort_by_key(|(param, _)| order.iter().position(|path| *path == param.path()));
        self.arrange(&device, seed, weights)
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[LayerEntry] {
        &self.layers
    }

    /// The layer of this name.
    pub fn layer(&self, name: &str) -> Option<&LayerEntry> {
        self.layers.iter().find(|l| l.name == name)
    }

    fn find(&self, name: &str) -> Result<&LayerEntry> {
        self.layer(name).ok_or_else(|| {
            let names: Vec<&str> = self.layers.iter().map(|l| l.name.as_str()).collect();
            Error::invalid("layer", format!("one of {}", names.join(", ")), format!("{name:?}"))
        })
    }

    /// Every weight in the layers' order, running statistics included; none before the model is built.
    pub fn weights(&self) -> impl Iterator<Item = &Param> {
        self.layers.iter().flat_map(|l| &l.weights)
    }

    /// The weights that training changes.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.weights().filter(|w| w.is_trainable())
    }

    /// Number of elements in all weights; 0 before the model is built.
    pub fn count_params(&self) -> usize {
        self.weights().map(Param::len).sum()
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of one example, without the batch axis.
    pub fn input_shape(&self) -> Option<Shape> {
        self.input
    }

    /// The shape of one example's output, without the batch axis; `None` before the model is built.
    pub fn output_shape(&self) -> Option<Shape> {
        self.layers.last()?.output_shape()
    }

    /// Where the model was built.
    pub fn device(&self) -> Option<&Device> {
        self.built.as_ref().map(|b| &b.device)
    }

    /// Layers, output shapes and numbers of parameters, to print.
    ///
    /// # Errors
    /// Before the model is built.
    pub fn summary(&self) -> Result<Summary> {
        self.ready()?;
        Ok(Summary::of(self))
    }

    pub(crate) fn ready(&self) -> Result<&Built> {
        self.built.as_ref().ok_or_else(|| {
            Error::NotReady("the model is not built\n  help: call `model.build(&device, seed)` first".into())
        })
    }

    /// Refuses a batch that is not the model's input.
    pub(crate) fn check_input(&self, x: &Tensor) -> Result<()> {
        let built = self.ready()?;
        if x.dtype() != DType::F32 {
            return Err(Error::invalid("type of x", DType::F32.to_string(), x.dtype()));
        }
        if *x.device() != built.device {
            return Err(Error::invalid("device of x", built.device.to_string(), x.device()));
        }
        let (x, input) = (x.shape(), self.input.expect("a built model has an input shape"));
        if x.rank() > 0 && x[1..] == *input {
            return Ok(());
        }
        let axes = |dims: &[usize]| dims.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(", ");
        let mut expected = format!("[batch, {}], the model's input", axes(&input));
        if x == &input {
            expected += " (a single example needs a batch axis: `x.unsqueeze(0)`)";
        }
        Err(Error::invalid("shape of x", expected, x))
    }

    /// The output for a batch `(N, ..)`, as in inference: dropout keeps everything. Recorded on the tape if `x` or the
    /// weights want gradients.
    ///
    /// # Errors
    /// When the model is not built, or `x` has another shape than its input or lies on another device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_to_index(x, self.layers.len())
    }

    /// The output of one layer for a batch, as in inference: feature maps. As Keras's `Model(model.input, layer.output)`.
    ///
    /// # Errors
    /// As [`Model::forward`]; also when no layer has this name.
    pub fn forward_to(&self, layer: &str, x: &Tensor) -> Result<Tensor> {
        self.find(layer)?;
        let end = self.layers.iter().position(|l| l.name == layer).expect("just found");
        self.forward_to_index(x, end + 1)
    }

    fn forward_to_index(&self, x: &Tensor, end: usize) -> Result<Tensor> {
        self.check_input(x)?;
        let mut rng = Rng::new(0);
        let mut context = Context { training: false, precision: self.precision, rng: &mut rng };
        Ok(run(&self.layers[..end], x, &mut context))
    }

    /// The output for a batch that has been checked.
    pub(crate) fn run_layers(&self, x: &Tensor, context: &mut Context<'_>) -> Tensor {
        run(&self.layers, x, context)
    }

    /// The output before the last layer's activation, when that is `head`; otherwise the output. Says which it was.
    pub(crate) fn forward_headless(&self, x: &Tensor, head: Option<Activation>, context: &mut Context<'_>) -> Output {
        let (last, before) = self.layers.split_last().expect("a built model has layers");
        let x = run(before, x, context);
        if head.is_some() && last.layer.head() == head {
            Output::Logits(last.layer.forward_headless(&x, context))
        } else {
            Output::Values(last.layer.forward(&x, context))
        }
    }

    /// Runs `f` with inference's context and without a tape.
    pub(crate) fn infer<R>(&self, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let mut rng = Rng::new(0);
        no_grad(|| f(&mut Context { training: false, precision: self.precision, rng: &mut rng }))
    }
}

fn run(layers: &[LayerEntry], x: &Tensor, context: &mut Context<'_>) -> Tensor {
    let mut x = x.clone();
    let mut rest = layers.iter().map(LayerEntry::layer).peekable();
    while let Some(layer) = rest.next() {
        let absorbed = |next: &&dyn Layer| layer.head().is_some() && layer.head() == next.absorbs();
        x = match rest.next_if(absorbed) {
            Some(next) => next.forward_after(&layer.forward_headless(&x, context), context),
            None => layer.forward(&x, context),
        };
    }
    x
}

/// What a model's forward pass ended with.
#[derive(Debug)]
pub(crate) enum Output {
    /// What the last activation would be applied to.
    Logits(Tensor),
    /// The model's output.
    Values(Tensor),
}

impl Output {
    pub(crate) fn tensor(&self) -> &Tensor {
        match self {
            Output::Logits(tensor) | Output::Values(tensor) => tensor,
        }
    }
}

/// Refuses weights that no buffer of the device could hold, before anything is uploaded.
fn check_size(device: &Device, what: &str, weights: &[(Param, Vec<f32>)]) -> Result<()> {
    let DeviceInfo::Gpu(description) = device.info() else { return Ok(()) };
    let wanted: u64 = weights.iter().map(|(_, values)| 4 * values.len().next_multiple_of(ALIGN) as u64).sum();
    let limit = description.max_tensor_bytes;
    if wanted <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { device: description.name, what: what.into(), wanted, limit })
}
