//! A model's graph as JSON and back: what a file holds beside the weights.
//!
//! Nodes come in the order of the calls, so that each takes values that are there by then; values are numbered as in
//! [`Graph`], inputs first.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tilegrad_core::{Error, Result, Shape};

use crate::entry::LayerEntry;
use crate::graph::Graph;
use crate::model::Model;
use crate::precision::Precision;
use crate::registry::Registry;
use crate::shared::SharedLayer;
use crate::symbolic::{Made, Scope, SymbolicTensor};

/// A model without its weights.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Architecture {
    name: String,
    /// `Sequential` or `Functional`.
    kind: String,
    precision: Precision,
    inputs: Vec<InputConfig>,
    layers: Vec<LayerConfig>,
    nodes: Vec<NodeConfig>,
    outputs: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    shape: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerConfig {
    /// Within the model.
    name: String,
    kind: String,
    config: Value,
    trainable: bool,
    /// The model that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<GroupConfig>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupConfig {
    name: String,
    kind: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeConfig {
    layer: usize,
    inputs: Vec<usize>,
}

fn kind_of(kind: &str) -> &'static str {
    if kind == "Sequential" { "Sequential" } else { "Functional" }
}

impl Architecture {
    /// Of a built model.
    pub(crate) fn of(model: &Model) -> Architecture {
        let graph = &model.graph;
        let shapes = graph.value_shapes();
        let input = |(symbol, shape): (&SymbolicTensor, &Shape)| InputConfig {
            name: match symbol.made() {
                Made::Input { name, .. } => name.clone(),
                Made::Call { .. } => None,
            },
            shape: shape[1..].to_vec(),
        };
        // In the order of the calls.
        let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
        order.sort_by_key(|&i| graph.nodes[i].symbol.id());
        let first = graph.inputs.len();
        let mut numbers: HashMap<usize, usize> = (0..first).map(|i| (i, i)).collect();
        numbers.extend(order.iter().enumerate().map(|(at, &node)| (first + node, first + at)));
        let node = |&i: &usize| NodeConfig {
            layer: graph.nodes[i].layer,
            inputs: graph.nodes[i].inputs.iter().map(|value| numbers[value]).collect(),
        };
        Architecture {
            name: model.name().into(),
            kind: model.kind().into(),
            precision: model.precision,
            inputs: graph.inputs.iter().zip(&shapes).map(input).collect(),
            layers: graph.layers.iter().map(layer_config).collect(),
            nodes: order.iter().map(node).collect(),
            outputs: graph.outputs.iter().map(|value| numbers[value]).collect(),
        }
    }

    /// The model, without weights.
    ///
    /// # Errors
    /// When a type of layer is not known, settings are none of its type, or the nodes are no graph.
    pub(crate) fn model(self, registry: &Registry) -> Result<Model> {
        let mut groups: HashMap<String, Arc<Scope>> = HashMap::new();
        let mut layers: Vec<(SharedLayer, Vec<Arc<Scope>>)> = Vec::with_capacity(self.layers.len());
        for config in self.layers {
            let layer = SharedLayer::from(registry.layer(&config.kind, config.config)?);
            let own_name = match &config.group {
                Some(group) => config.name.strip_prefix(&format!("{}.", group.name)).ok_or_else(|| {
                    let expected = format!("{}. in front, the name of its group", group.name);
                    Error::invalid("name of a layer", expected, format!("{:?}", config.name))
                })?,
                None => &config.name,
            };
            // A name that the user gave comes with the layer; that of models within the group is part of it here.
            layer.set_automatic_name(own_name);
            layer.trainable(config.trainable);
            let scope = |group: GroupConfig| {
                let scope = Scope { name: group.name.clone(), kind: kind_of(&group.kind) };
                groups.entry(group.name).or_insert_with(|| Arc::new(scope)).clone()
            };
            layers.push((layer, config.group.map(scope).into_iter().collect()));
        }
        let mut values: Vec<SymbolicTensor> = Vec::new();
        for input in self.inputs {
            values.push(SymbolicTensor::input(Some(Shape::try_new(&input.shape).map_err(in_graph)?), input.name));
        }
        let inputs = values.clone();
        for node in self.nodes {
            let get = |&value: &usize| values.get(value).cloned().ok_or_else(|| broken("value", value, values.len()));
            let taken: Vec<SymbolicTensor> = node.inputs.iter().map(get).collect::<Result<_>>()?;
            let (layer, scopes) =
                layers.get(node.layer).ok_or_else(|| broken("layer", node.layer, layers.len()))?.clone();
            if taken.is_empty() {
                return Err(Error::invalid("graph of the model", "an input for each call of a layer", "none"));
            }
            values.push(SymbolicTensor::of_call(layer, taken, scopes));
        }
        let get = |&value: &usize| values.get(value).cloned().ok_or_else(|| broken("value", value, values.len()));
        let outputs: Vec<SymbolicTensor> = self.outputs.iter().map(get).collect::<Result<_>>()?;
        if inputs.is_empty() || outputs.is_empty() {
            return Err(Error::invalid("graph of the model", "inputs and outputs", "none"));
        }
        let mut model = Model::of(Graph::trace(inputs, &outputs), &self.name, kind_of(&self.kind));
        model.precision = self.precision;
        Ok(model)
    }
}

fn broken(what: &str, number: usize, there: usize) -> Error {
    Error::invalid("graph of the model", format!("a {what} before number {there}"), format!("{what} {number}"))
}

fn in_graph(source: tilegrad_core::ShapeError) -> Error {
    Error::invalid("graph of the model", "shapes that memory could hold", source)
}

fn layer_config(entry: &LayerEntry) -> LayerConfig {
    let mut config = entry.layer().config();
    forget_values(&mut config);
    LayerConfig {
        name: entry.name().into(),
        kind: entry.layer().kind().into(),
        config,
        trainable: entry.is_trainable(),
        group: entry.group.as_ref().map(|g| GroupConfig { name: g.name.clone(), kind: g.scope.kind.into() }),
    }
}

/// Leaves out values that weights started with, which may be many: the file has what became of them.
fn forget_values(config: &mut Value) {
    let Value::Object(settings) = config else { return };
    for setting in settings.values_mut() {
        if setting.get("values").is_some() {
            *setting = Value::String("zeros".into());
        }
    }
}
