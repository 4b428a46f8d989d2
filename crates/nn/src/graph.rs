//! A model's graph: which layer takes the output of which.
//!
//! Values are numbered: first the model's inputs, then what each node makes. Nodes come in an order in which each stands
//! behind those whose values it takes. It is Keras's: by the number of layers that still follow, the most first, and among
//! equals as they were called.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tilegrad_core::{Error, MAX_RANK, Result, Shape, ShapeError};

use crate::entry::{Group, LayerEntry};
use crate::layer::snake_case;
use crate::symbolic::{Made, Scope, SymbolicTensor};

/// Layers and how they are connected.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<SymbolicTensor>,
    /// The values that are the model's outputs.
    pub(crate) outputs: Vec<usize>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) layers: Vec<LayerEntry>,
    /// Why no model can be built of this: what it is about, what was expected, and what there is.
    problem: Option<[String; 3]>,
}

/// One call of a layer.
#[derive(Debug)]
pub(crate) struct Node {
    /// Which of the graph's layers.
    pub(crate) layer: usize,
    /// The values that it takes.
    pub(crate) inputs: Vec<usize>,
    pub(crate) symbol: SymbolicTensor,
    /// Of the value that it makes, with a batch axis of 1; `None` before the model is built.
    pub(crate) shape: Option<Shape>,
}

impl Graph {
    /// Finds the calls between inputs and outputs, and names their layers.
    pub(crate) fn trace(inputs: Vec<SymbolicTensor>, outputs: &[SymbolicTensor]) -> Graph {
        let calls = calls_between(&inputs, outputs);
        let mut values: HashMap<u64, usize> = inputs.iter().enumerate().map(|(i, input)| (input.id(), i)).collect();
        values.extend(calls.iter().enumerate().map(|(i, call)| (call.id(), inputs.len() + i)));
        let mut graph = Graph { inputs, outputs: Vec::new(), nodes: Vec::new(), layers: Vec::new(), problem: None };
        for symbol in calls {
            let Made::Call { layer, inputs, .. } = symbol.made() else {
                graph.problem = Some([
                    "inputs of the model".into(),
                    "all that the outputs depend on".into(),
                    format!("{} of them, without {symbol:?}", graph.inputs.len()),
                ]);
                return graph;
            };
            let known = graph.layers.iter().position(|entry| entry.layer.is(layer));
            let index = known.unwrap_or(graph.layers.len());
            if known.is_none() {
                graph.layers.push(LayerEntry::new(String::new(), &symbol, layer, None));
            }
            let inputs = inputs.iter().map(|input| values[&input.id()]).collect();
            graph.nodes.push(Node { layer: index, inputs, symbol, shape: None });
        }
        graph.outputs = outputs.iter().map(|output| values[&output.id()]).collect();
        if let Some(twice) = name_layers(&mut graph.layers) {
            graph.problem = Some(["layer names".into(), "each once".into(), format!("{twice:?} twice")]);
        }
        graph
    }

    /// The value that a layer makes where it is called first.
    pub(crate) fn value_of(&self, layer: usize) -> usize {
        let node = self.nodes.iter().position(|node| node.layer == layer).expect("each layer is called somewhere");
        self.inputs.len() + node
    }

    /// The layer that makes a value; `None` for an input.
    pub(crate) fn maker(&self, value: usize) -> Option<&LayerEntry> {
        let node = self.nodes.get(value.checked_sub(self.inputs.len())?)?;
        Some(&self.layers[node.layer])
    }

    /// Whether the layers are in a row.
    pub(crate) fn is_chain(&self) -> bool {
        let follows = |(i, node): (usize, &Node)| node.inputs == [i];
        self.inputs.len() == 1 && self.outputs == [self.nodes.len()] && self.nodes.iter().enumerate().all(follows)
    }

    /// The shapes of the inputs, with a batch axis of 1.
    ///
    /// # Errors
    /// When one is not known or can't be an input, or the graph has another problem.
    pub(crate) fn input_shapes(&self) -> Result<Vec<Shape>> {
        if let Some([what, expected, got]) = &self.problem {
            return Err(Error::invalid(what, expected, got));
        }
        self.inputs.iter().map(shape_of).collect()
    }

    /// The shapes of all values, by `rule`, which is called for each node in order with the shapes that it takes.
    ///
    /// # Errors
    /// As the rule, with the node's layer; and as [`Graph::input_shapes`].
    pub(crate) fn shapes(
        &self,
        mut rule: impl FnMut(&LayerEntry, &[Shape]) -> Result<Shape, ShapeError>,
    ) -> Result<Vec<Shape>> {
        let mut shapes = self.input_shapes()?;
        for node in &self.nodes {
            let (inputs, entry) =
                (node.inputs.iter().map(|&i| shapes[i]).collect::<Vec<_>>(), &self.layers[node.layer]);
            let shape = rule(entry, &inputs).map_err(|mut source| {
                if inputs.len() > 1 {
                    // Which branch is which.
                    for (&value, shape) in node.inputs.iter().zip(&inputs) {
                        let from = self.maker(value).map_or("an input", LayerEntry::name);
                        source = source.operand(&format!("from {from}"), shape);
                    }
                }
                Error::Layer { index: node.layer, layer: entry.name.clone(), source: Box::new(source) }
            })?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The shapes of all values of a built model, with a batch axis of 1.
    pub(crate) fn value_shapes(&self) -> Vec<Shape> {
        let inputs = self.input_shapes().expect("a built model has its inputs' shapes");
        inputs.into_iter().chain(self.nodes.iter().map(|node| node.shape.expect("a built model"))).collect()
    }

    /// The outputs' names: those of the layers that make them, with a number behind it where one makes several.
    pub(crate) fn output_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for &output in &self.outputs {
            let name = self.maker(output).map_or_else(|| format!("input_{output}"), |entry| entry.name.clone());
            let mut free = name.clone();
            for number in 1.. {
                if !names.contains(&free) {
                    break;
                }
                free = format!("{name}_{number}");
            }
            names.push(free);
        }
        names
    }

    /// Notes the shapes of all values, in nodes and layers.
    pub(crate) fn set_shapes(&mut self, shapes: &[Shape]) {
        for layer in &mut self.layers {
            layer.output = None;
        }
        for (node, shape) in self.nodes.iter_mut().zip(&shapes[self.inputs.len()..]) {
            node.shape = Some(*shape);
            self.layers[node.layer].output.get_or_insert(*shape);
        }
    }
}

/// The shape of a model's input, with a batch axis of 1. Where the input is a layer's output in a larger graph, it follows
/// from that.
fn shape_of(input: &SymbolicTensor) -> Result<Shape> {
    if !input.inputs().is_empty() {
        let mut roots = calls_between(&[], std::slice::from_ref(input));
        roots.retain(|symbol| symbol.inputs().is_empty());
        let graph = Graph::trace(roots, std::slice::from_ref(input));
        let shapes = graph.shapes(|entry, inputs| entry.layer().merge_shape(inputs))?;
        return Ok(shapes[graph.outputs[0]]);
    }
    let shape = input.input_shape().ok_or_else(|| {
        Error::NotReady("the model has no input shape\n  help: start it with `Sequential::new([H, W, C])`".into())
    })?;
    if shape.rank() >= MAX_RANK {
        let expected = format!("at most {} axes, since the batch adds one", MAX_RANK - 1);
        return Err(Error::invalid("input shape", expected, shape));
    }
    if let Some(zero) = shape.iter().position(|&d| d == 0) {
        return Err(Error::invalid("input shape", "no axis of 0", format!("{shape}, axis {zero}")));
    }
    Ok(Shape::new(&[&[1], shape.dims()].concat()))
}

/// All symbols that the outputs depend on up to the inputs, which are left out, in the order of a graph's nodes.
fn calls_between(inputs: &[SymbolicTensor], outputs: &[SymbolicTensor]) -> Vec<SymbolicTensor> {
    let mut found: HashMap<u64, SymbolicTensor> = HashMap::new();
    let mut open: Vec<&SymbolicTensor> = outputs.iter().collect();
    while let Some(symbol) = open.pop() {
        if !inputs.contains(symbol) && found.insert(symbol.id(), symbol.clone()).is_none() {
            open.extend(symbol.inputs());
        }
    }
    let mut calls: Vec<SymbolicTensor> = found.into_values().collect();
    calls.sort_by_key(SymbolicTensor::id);
    // How many layers follow: a layer's inputs were made before its output, so one pass from the last to the first does.
    let mut depths: HashMap<u64, usize> = HashMap::new();
    for symbol in calls.iter().rev() {
        let depth = depths.get(&symbol.id()).copied().unwrap_or(0);
        for input in symbol.inputs() {
            let of_input = depths.entry(input.id()).or_insert(0);
            *of_input = (*of_input).max(depth + 1);
        }
    }
    calls.sort_by_key(|symbol| (std::cmp::Reverse(depths.get(&symbol.id()).copied().unwrap_or(0)), symbol.id()));
    calls
}

/// Gives each layer its name within the model: the user's, else the one that it got in the first model it was part of, else
/// one made from its type; with the name of the model that it came with in front. Returns a name that the user gave twice.
fn name_layers(layers: &mut [LayerEntry]) -> Option<String> {
    // As they were called: the first convolution is `conv2d`, also if the second has more layers behind it.
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|&i| layers[i].symbol.id());

    let mut names: HashSet<String> = HashSet::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut twice = None;
    let mut prefixes = vec![String::new(); layers.len()];
    for &i in &order {
        let scopes = match layers[i].symbol.made() {
            Made::Call { scopes, .. } => scopes.as_slice(),
            Made::Input { .. } => &[],
        };
        let Some((outer, inner)) = scopes.split_first() else { continue };
        let group = group_of(outer, &mut groups);
        prefixes[i] = inner.iter().fold(format!("{}.", group.name), |prefix, scope| prefix + &scope.name + ".");
        layers[i].group = Some(group);
    }
    // Names that were chosen come before those that are found.
    for &i in &order {
        let entry = &mut layers[i];
        let Some(name) = entry.layer.layer().name().map(|name| prefixes[i].clone() + name) else { continue };
        if !names.insert(name.clone()) {
            twice.get_or_insert(name.clone());
        }
        entry.name = name;
    }
    for &i in &order {
        let entry = &mut layers[i];
        if entry.layer.layer().name().is_some() {
            continue;
        }
        let kind = snake_case(entry.layer.layer().kind());
        let kept = entry.layer.automatic_name().map(|name| prefixes[i].clone() + name);
        let name = kept
            .filter(|name| !names.contains(name))
            .unwrap_or_else(|| free_name(&format!("{}{kind}", prefixes[i]), |name| names.contains(name)));
        entry.layer.set_automatic_name(&name[prefixes[i].len()..]);
        names.insert(name.clone());
        entry.name = name;
    }
    twice
}

/// The group of a model's layers, whose name is free if it is new.
fn group_of(scope: &Arc<Scope>, groups: &mut Vec<Group>) -> Group {
    if let Some(group) = groups.iter().find(|group| Arc::ptr_eq(&group.scope, scope)) {
        return group.clone();
    }
    let name = free_name(&scope.name, |name| groups.iter().any(|group| group.name == name));
    groups.push(Group { name, scope: scope.clone() });
    groups[groups.len() - 1].clone()
}

/// `base`, or the first of `base_1`, `base_2` that is free.
fn free_name(base: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(base) {
        return base.to_string();
    }
    (1..).map(|i| format!("{base}_{i}")).find(|name| !taken(name)).expect("some number is free")
}
