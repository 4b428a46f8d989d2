//! The model: a graph of layers, their names, shapes and weights.

use std::sync::Arc;

use tilegrad_core::{Device, Error, Result, Shape};
use tilegrad_data::shuffle::SplitMix64;

use crate::arrangement::{Arrangement, Valued};
use crate::entry::LayerEntry;
use crate::graph::Graph;
use crate::param::Param;
use crate::precision::Precision;
use crate::shared::SharedLayer;
use crate::summary::Summary;
use crate::symbolic::{Made, Scope, SymbolicTensor, Symbols};
use crate::train::Compiled;
use crate::weights_file::Named;

/// A network: its layers with their names, shapes and weights, and how it is trained.
///
/// [`Sequential`](crate::Sequential) makes one of layers in a row. Any other graph is made by calling layers on symbolic
/// tensors, Keras's functional API:
///
/// ```
/// use tilegrad_core::{Device, Padding};
/// use tilegrad_nn::layers::{Activation, Add, Conv2d, Dense, GlobalAvgPool2d};
/// use tilegrad_nn::{Input, Layer, Model};
///
/// # fn main() -> tilegrad_core::Result<()> {
/// let conv = || Conv2d::new(8, 3).padding(Padding::Same).activation(Activation::Relu);
/// let inputs = Input::new([28, 28, 1]);
/// let x = conv().call(&inputs);
/// let shortcut = x.clone();
/// let x = conv().call(&x);
/// let x = Add::new().call([&x, &shortcut]);
/// let x = GlobalAvgPool2d::new().call(&x);
/// let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
/// let mut model = Model::new(&inputs, &outputs);
/// model.build(&Device::cpu(), 42)?;
/// println!("{}", model.summary()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Model {
    /// Name and type, shared with the layers of models in which this one was called.
    scope: Arc<Scope>,
    pub(crate) graph: Graph,
    pub(crate) precision: Precision,
    pub(crate) built: Option<Built>,
    pub(crate) compiled: Option<Compiled>,
}

/// Where a model was built, and its weights.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) device: Device,
    pub(crate) seed: u64,
    /// `None` as long as nothing needed the weights side by side.
    arrangement: Option<Arrangement>,
}

impl Built {
    /// The weights side by side, after [`Model::arrange`].
    pub(crate) fn arrangement(&self) -> &Arrangement {
        self.arrangement.as_ref().expect("arranged by the caller")
    }
}

impl Model {
    /// The model of all layers between inputs and outputs. If all of them have their weights, because they are part of a
    /// model that was built, this one is built too and shares them: a part of a model, such as the features that its
    /// convolutions find, or what follows behind a layer. Otherwise [`Model::build`] builds it, and says there what is
    /// wrong with it.
    pub fn new(inputs: impl Into<Symbols>, outputs: impl Into<Symbols>) -> Model {
        let graph = Graph::trace(inputs.into().0, &outputs.into().0);
        let mut model = Model::of(graph, "functional", "Functional");
        model.adopt();
        model
    }

    pub(crate) fn of(graph: Graph, name: &str, kind: &'static str) -> Model {
        let scope = Arc::new(Scope { name: name.into(), kind });
        Model { scope, graph, precision: Precision::F32, built: None, compiled: None }
    }

    /// Counts as built if all layers have weights and fit.
    fn adopt(&mut self) {
        let device = self.weights().next().filter(|w| w.has_values()).map(|w| w.tensor().device().clone());
        let whole = self.graph.layers.iter().all(|entry| entry.borrowed);
        let Some(device) = device.filter(|_| whole) else { return };
        if self.build_layers().is_ok() && self.check_device(&device).is_ok() {
            self.built = Some(Built { device, seed: 0, arrangement: None });
        }
    }

    /// Replaces the graph: the model has to be built again.
    pub(crate) fn set_graph(&mut self, graph: Graph) {
        (self.graph, self.built) = (graph, None);
    }

    /// Sets the model's name.
    pub fn named(mut self, name: impl Into<String>) -> Model {
        self.set_name(name.into());
        self
    }

    pub(crate) fn set_name(&mut self, name: String) {
        self.scope = Arc::new(Scope { name, kind: self.scope.kind });
    }

    /// Sets what the operands of products are stored in, in training and in inference. Weights stay as they are; an optimizer
    /// that was compiled starts over.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        if let Some(compiled) = &mut self.compiled {
            compiled.reset();
        }
    }

    /// Checks that every layer fits the ones before it, then creates all weights on `device`. No kernel runs before the
    /// whole model has been checked. The same seed gives the same weights on every device.
    ///
    /// Layers that had weights before they became part of this model keep them. Building again starts over, with new
    /// weights for all others.
    ///
    /// # Errors
    /// - [`Error::Layer`] for the first layer that doesn't fit, with its name and the shapes,
    /// - [`Error::Invalid`] without layers, with two layers of one name, with an input missing, or with layers whose
    ///   weights are on another device,
    /// - [`Error::NotReady`] without an input shape,
    /// - [`Error::TooLarge`] when the device has no buffer that could hold the weights.
    pub fn build(&mut self, device: &Device, seed: u64) -> Result<()> {
        let mut seeds = SplitMix64::new(seed);
        self.prepare_layers()?;
        self.check_device(device)?;
        let mut values: Vec<Valued> = Vec::new();
        for entry in &self.graph.layers {
            for weight in &entry.weights {
                let initial = || weight.initializer().values(weight.shape(), seeds.next_u64());
                values.push((weight.clone(), (!entry.borrowed).then(initial)));
            }
        }
        self.put(device, seed, values)
    }

    /// As [`Model::build`], with values for all weights from elsewhere; `read` gets the weights' names and shapes.
    pub(crate) fn build_from(
        &mut self,
        device: &Device,
        seed: u64,
        read: impl FnOnce(&[Named]) -> Result<Vec<Vec<f32>>>,
    ) -> Result<()> {
        self.prepare_layers()?;
        self.check_device(device)?;
        let values = read(&self.names_and_shapes())?;
        let values = self.weights().cloned().zip(values.into_iter().map(Some)).collect();
        self.put(device, seed, values)
    }

    /// Checks the whole graph, then lets the layers ask for weights. None has values yet.
    fn prepare_layers(&mut self) -> Result<()> {
        self.graph.input_shapes()?;
        if self.graph.layers.is_empty() {
            return Err(Error::invalid("model", "at least one layer", "none"));
        }
        // Layers and weights change from here on: a model that fails to build again is not built.
        self.built = None;
        self.graph.shapes(|entry, inputs| entry.layer().merge_shape(inputs))?;
        self.build_layers()
    }

    /// Puts the weights on the device, and counts as built.
    fn put(&mut self, device: &Device, seed: u64, values: Vec<Valued>) -> Result<()> {
        self.precision.announce(device);
        let arrangement = Some(Arrangement::new(values, device)?);
        self.built = Some(Built { device: device.clone(), seed, arrangement });
        // Moments of the optimizer belong to the old weights.
        if let Some(compiled) = &mut self.compiled {
            compiled.reset();
        }
        Ok(())
    }

    /// Lets the layers ask for their weights, and notes shapes.
    fn build_layers(&mut self) -> Result<()> {
        let mut seen: Vec<SharedLayer> = Vec::new();
        let shapes = self.graph.shapes(|entry, inputs| {
            // A layer that is called again has the weights that it asked for the first time.
            let again = seen.iter().any(|layer| layer.is(&entry.layer));
            seen.push(entry.layer.clone());
            entry.layer.build(inputs, entry.own_name(), entry.borrowed || again)
        })?;
        for entry in &mut self.graph.layers {
            entry.weights = entry.layer.weights();
        }
        self.graph.set_shapes(&shapes);
        Ok(())
    }

    /// Refuses layers whose weights are elsewhere.
    fn check_device(&self, device: &Device) -> Result<()> {
        for entry in self.graph.layers.iter().filter(|entry| entry.borrowed) {
            if let Some(weight) = entry.weights.iter().find(|w| w.has_values() && w.tensor().device() != device) {
                let what = format!("device of the weights that layer {} has", entry.name);
                return Err(Error::invalid(what, device.to_string(), weight.tensor().device()));
            }
        }
        Ok(())
    }

    /// Brings the weights to where an optimizer can step over them, if they are not there: layers may have been frozen, or
    /// another model with the same layers may have trained. If other weights train than before, the optimizer starts over.
    ///
    /// # Errors
    /// When the model is not built, or the device has no room.
    pub(crate) fn arrange(&mut self) -> Result<()> {
        let old = self.ready()?.arrangement.as_ref();
        if old.is_some_and(|old| old.holds(self.weights())) {
            return Ok(());
        }
        let weights = self.weights().map(|weight| (weight.clone(), None)).collect();
        let new = Arrangement::new(weights, &self.ready()?.device)?;
        if !old.is_some_and(|old| new.trains_as(old))
            && let Some(compiled) = &mut self.compiled
        {
            compiled.reset();
        }
        self.built.as_mut().expect("just checked").arrangement = Some(new);
        Ok(())
    }

    /// Freezes a layer, or all layers of a model that was called as a layer, or lets them train again; the optimizer then
    /// starts over. As Keras's `layer.trainable`, and as [`LayerEntry::trainable`].
    ///
    /// # Errors
    /// When no layer has this name.
    pub fn set_trainable(&mut self, name: &str, trainable: bool) -> Result<()> {
        let in_group = |entry: &&LayerEntry| entry.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let group: Vec<&LayerEntry> = self.layers().iter().filter(in_group).collect();
        if group.is_empty() {
            self.layer(name)?.trainable(trainable);
        }
        group.into_iter().for_each(|entry| {
            entry.trainable(trainable);
        });
        Ok(())
    }

    /// Freezes all layers (`false`) or lets them train again (`true`), also as part of other models. As Keras's
    /// `model.trainable`.
    pub fn trainable(&self, trainable: bool) -> &Model {
        self.layers().iter().for_each(|entry| {
            entry.trainable(trainable);
        });
        self
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[LayerEntry] {
        &self.graph.layers
    }

    /// The layer of this name.
    ///
    /// # Errors
    /// When there is none: with the names of those that there are.
    pub fn layer(&self, name: &str) -> Result<&LayerEntry> {
        self.layers().iter().find(|entry| entry.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.layers().iter().map(LayerEntry::name).collect();
            Error::invalid("layer", format!("one of {}", names.join(", ")), format!("{name:?}"))
        })
    }

    /// Every weight in the layers' order, running statistics included; none before the model is built.
    pub fn weights(&self) -> impl Iterator<Item = &Param> {
        self.layers().iter().flat_map(|entry| &entry.weights)
    }

    /// As [`Model::weights`], with the weights' names within this model: `conv2d.kernel`, `vgg16.block1_conv1.kernel`.
    pub fn named_weights(&self) -> impl Iterator<Item = (String, &Param)> {
        let named = |entry: &'_ LayerEntry, weight: &Param| format!("{}.{}", entry.name, weight.name());
        self.layers().iter().flat_map(move |entry| entry.weights.iter().map(move |w| (named(entry, w), w)))
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
        &self.scope.name
    }

    /// What the model counts as among layers: `Sequential` or `Functional`.
    pub fn kind(&self) -> &'static str {
        self.scope.kind
    }

    /// The first input, to be called in another model.
    pub fn input(&self) -> SymbolicTensor {
        self.graph.inputs[0].clone()
    }

    /// All inputs.
    pub fn inputs(&self) -> &[SymbolicTensor] {
        &self.graph.inputs
    }

    /// The first output, to be called on in another model.
    pub fn output(&self) -> SymbolicTensor {
        self.symbol(self.graph.outputs[0])
    }

    /// All outputs.
    pub fn outputs(&self) -> Vec<SymbolicTensor> {
        self.graph.outputs.iter().map(|&output| self.symbol(output)).collect()
    }

    fn symbol(&self, value: usize) -> SymbolicTensor {
        match value.checked_sub(self.graph.inputs.len()) {
            Some(node) => self.graph.nodes[node].symbol.clone(),
            None => self.graph.inputs[value].clone(),
        }
    }

    /// The model as a layer: its output for symbolic tensors. The weights are shared with the model itself.
    ///
    /// # Panics
    /// When there are more or fewer tensors than the model has inputs.
    #[track_caller]
    pub fn call(&self, inputs: impl Into<Symbols>) -> SymbolicTensor {
        self.call_all(inputs).swap_remove(0)
    }

    /// As [`Model::call`], with all outputs.
    ///
    /// # Panics
    /// As [`Model::call`].
    #[track_caller]
    pub fn call_all(&self, inputs: impl Into<Symbols>) -> Vec<SymbolicTensor> {
        let mut values = inputs.into().0;
        let (name, want, got) = (self.name(), self.graph.inputs.len(), values.len());
        assert!(got == want, "model {name}: has {want} inputs, was called on {got}");
        for node in &self.graph.nodes {
            let Made::Call { layer, scopes, .. } = node.symbol.made() else { unreachable!("a node is a call") };
            let inputs = node.inputs.iter().map(|&input| values[input].clone()).collect();
            let scopes = std::iter::once(&self.scope).chain(scopes).cloned().collect();
            values.push(SymbolicTensor::of_call(layer.clone(), inputs, scopes));
        }
        self.graph.outputs.iter().map(|&output| values[output].clone()).collect()
    }

    /// The shape of one example of the first input, without the batch axis.
    pub fn input_shape(&self) -> Option<Shape> {
        self.graph.input_shapes().ok()?.first().map(|shape| Shape::new(&shape[1..]))
    }

    /// The shape of one example's output, without the batch axis: the first one's, if there are several. `None` before the
    /// model is built.
    pub fn output_shape(&self) -> Option<Shape> {
        let value = *self.graph.outputs.first()?;
        let Some(node) = value.checked_sub(self.graph.inputs.len()) else { return self.input_shape() };
        self.graph.nodes[node].shape.map(|shape| Shape::new(&shape[1..]))
    }

    /// The shapes of one example's outputs, without the batch axis; none before the model is built.
    pub fn output_shapes(&self) -> Vec<Shape> {
        if self.built.is_none() {
            return Vec::new();
        }
        let values = self.graph.value_shapes();
        self.graph.outputs.iter().map(|&output| Shape::new(&values[output][1..])).collect()
    }

    /// Where the model was built.
    pub fn device(&self) -> Option<&Device> {
        self.built.as_ref().map(|b| &b.device)
    }

    /// Layers, output shapes and numbers of parameters, to print, with the operations and the memory that the model takes. The
    /// model need not be built: nothing is put on a device.
    ///
    /// # Errors
    /// As [`Model::build`], when the layers don't fit.
    pub fn summary(&self) -> Result<Summary> {
        let optimizer = self.compiled.as_ref().map(|compiled| &*compiled.optimizer);
        if self.built.is_some() {
            return Ok(Summary::of(self, optimizer));
        }
        let graph = Graph::trace(self.graph.inputs.clone(), &self.outputs());
        let mut draft = Model::of(graph, self.name(), self.kind());
        draft.prepare_layers()?;
        Ok(Summary::of(&draft, optimizer))
    }

    pub(crate) fn ready(&self) -> Result<&Built> {
        self.built.as_ref().ok_or_else(|| {
            Error::NotReady("the model is not built\n  help: call `model.build(&device, seed)` first".into())
        })
    }
}
