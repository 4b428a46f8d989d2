//! The table of a model's layers that Keras prints, and what the model will take.

use std::fmt;

use crate::footprint::Footprint;
use crate::graph::Graph;
use crate::model::Model;
use crate::optimizers::Optimizer;
use crate::param::Param;
use crate::symbolic::Made;

/// Layers, output shapes and parameter counts, with the operations and the memory that they take. `Display` draws Keras's
/// table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// One row a layer; one for all layers of a model that was called as a layer, unless [`Summary::expanded`].
    pub rows: Vec<SummaryRow>,
    /// Parameters that training changes.
    pub trainable: usize,
    /// Running statistics and weights of frozen layers.
    pub non_trainable: usize,
    /// Floating-point operations for one example in inference, a multiplication and an addition being two.
    pub flops: u64,
    /// The device memory that a batch takes.
    pub footprint: Footprint,
    /// Whether each layer takes the output of the one before, so that it needn't be said.
    chain: bool,
    each: Vec<SummaryRow>,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRow {
    /// Its name.
    pub name: String,
    /// Its type, in Keras's words.
    pub kind: String,
    /// Axis lengths of its output, without the batch.
    pub output: Vec<usize>,
    /// Number of its parameters.
    pub params: usize,
    /// Floating-point operations for one example.
    pub flops: u64,
    /// The layers whose outputs it takes.
    pub connected_to: Vec<String>,
}

impl Summary {
    /// Of a model whose layers have been checked, to be trained by this optimizer.
    pub(crate) fn of(model: &Model, optimizer: Option<&dyn Optimizer>) -> Summary {
        let graph = &model.graph;
        let names = input_names(graph);
        let each = rows(graph, &names);
        let trainable = model.params().map(Param::len).sum();
        let moments = optimizer.map_or(0, |optimizer| optimizer.moments().len());
        let (weights, is_sequential) = (model.count_params(), model.kind() == "Sequential");
        let inputs = graph.inputs.iter().zip(&names).map(|(input, name)| SummaryRow {
            name: name.clone(),
            kind: "InputLayer".into(),
            output: input.input_shape().map(|shape| shape.to_vec()).unwrap_or_default(),
            params: 0,
            flops: 0,
            connected_to: Vec::new(),
        });
        let with_inputs = |rows: Vec<SummaryRow>| match is_sequential {
            true => rows,
            false => inputs.clone().chain(rows).collect(),
        };
        Summary {
            model: model.name().to_string(),
            rows: with_inputs(collapse(graph, &each)),
            trainable,
            non_trainable: weights - trainable,
            flops: each.iter().map(|row| row.flops).sum(),
            footprint: Footprint::of(graph, [weights, trainable, moments * trainable]),
            chain: graph.is_chain(),
            each: with_inputs(each),
        }
    }

    /// Number of all parameters.
    pub fn total(&self) -> usize {
        self.trainable + self.non_trainable
    }

    /// With a row for each layer of the models that were called as layers.
    pub fn expanded(mut self) -> Summary {
        self.rows = self.each.clone();
        self
    }
}

/// The names of a graph's inputs: the user's, or Keras's.
fn input_names(graph: &Graph) -> Vec<String> {
    let mut automatic = 0;
    let name = |input: &crate::SymbolicTensor| match input.made() {
        Made::Input { name: Some(name), .. } => name.clone(),
        Made::Call { layer, .. } => layer.automatic_name().unwrap_or("input").to_string(),
        Made::Input { name: None, .. } => {
            automatic += 1;
            if automatic == 1 { "input_layer".into() } else { format!("input_layer_{}", automatic - 1) }
        }
    };
    graph.inputs.iter().map(name).collect()
}

/// One row a layer.
fn rows(graph: &Graph, input_names: &[String]) -> Vec<SummaryRow> {
    let empty = |entry: &crate::LayerEntry| SummaryRow {
        name: entry.name().to_string(),
        kind: entry.layer().kind().to_string(),
        output: entry.output_shape().map(|s| s.to_vec()).unwrap_or_default(),
        params: entry.count_params(),
        flops: 0,
        connected_to: Vec::new(),
    };
    let mut rows: Vec<SummaryRow> = graph.layers.iter().map(empty).collect();
    let shapes = graph.value_shapes();
    for (node, output) in graph.nodes.iter().zip(&shapes[graph.inputs.len()..]) {
        let inputs: Vec<_> = node.inputs.iter().map(|&input| shapes[input]).collect();
        let row = &mut rows[node.layer];
        row.flops += graph.layers[node.layer].layer().flops(&inputs, output);
        let from = |&input: &usize| graph.maker(input).map_or_else(|| input_names[input].clone(), |e| e.name().into());
        row.connected_to.extend(node.inputs.iter().map(from));
    }
    rows
}

/// The rows of one group's layers as one.
fn collapse(graph: &Graph, each: &[SummaryRow]) -> Vec<SummaryRow> {
    let group_of = |name: &str| {
        let entry = graph.layers.iter().find(|entry| entry.name() == name)?;
        entry.group.as_ref()
    };
    let outside = |name: &String| group_of(name).map_or_else(|| name.clone(), |group| group.name.clone());
    let mut rows: Vec<SummaryRow> = Vec::new();
    for (entry, row) in graph.layers.iter().zip(each) {
        let mut row = row.clone();
        row.connected_to = row.connected_to.iter().map(outside).collect();
        let Some(group) = &entry.group else {
            rows.push(row);
            continue;
        };
        row.connected_to.retain(|from| *from != group.name);
        match rows.iter_mut().find(|whole| whole.name == group.name) {
            // Layers come in the order of the graph, so the last of a group has its output.
            Some(whole) => {
                whole.output = row.output;
                whole.params += row.params;
                whole.flops += row.flops;
                whole.connected_to.extend(row.connected_to);
            }
            None => rows.push(SummaryRow { name: group.name.clone(), kind: group.scope.kind.into(), ..row }),
        }
    }
    rows
}

/// 1234567 as `1,234,567`.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The size of `n` f32 in Keras's words: `407.04 KB`.
fn size(n: usize) -> String {
    bytes(4 * n as u64)
}

/// A number of bytes in Keras's words.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut bytes = bytes as f64;
    let mut units = ["B", "KB", "MB", "GB"].into_iter();
    let mut unit = units.next().expect("there are units");
    while bytes >= 1024.0
        && let Some(next) = units.next()
    {
        (bytes, unit) = (bytes / 1024.0, next);
    }
    format!("{bytes:.2} {unit}")
}

/// A number of operations in words: `7.68 M`.
fn count(n: u64) -> String {
    let mut value = n as f64;
    let mut units = ["", " K", " M", " G", " T"].into_iter();
    let mut unit = units.next().expect("there are units");
    while value >= 1000.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1000.0, next);
    }
    if unit.is_empty() { n.to_string() } else { format!("{value:.2}{unit}") }
}

/// Examples in the batch that `Display` names the memory of: Keras's default.
const BATCH: usize = 32;

impl Summary {
    /// What stands in the table's cells, the title first.
    fn cells(&self) -> Vec<Vec<String>> {
        let row = |row: &SummaryRow| {
            let shape: String = row.output.iter().map(|d| format!(", {d}")).collect();
            let shape = if shape.is_empty() { "(None,)".to_string() } else { format!("(None{shape})") };
            let from = if row.connected_to.is_empty() { "-".into() } else { row.connected_to.join(", ") };
            vec![format!("{} ({})", row.name, row.kind), shape, thousands(row.params), from]
        };
        let title = ["Layer (type)", "Output Shape", "Param #", "Connected to"].map(String::from).to_vec();
        let mut cells: Vec<Vec<String>> = std::iter::once(title).chain(self.rows.iter().map(row)).collect();
        if self.chain {
            cells.iter_mut().for_each(|row| row.truncate(3));
        }
        cells
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        // Keras's widths for a line of 80, or as much more as the longest cell takes.
        let width = |(column, least): (usize, &usize)| {
            cells.iter().map(|row| row[column].chars().count()).chain([*least]).max().unwrap_or(*least)
        };
        let widths: Vec<usize> = [31, 22, 13, 16][..cells[0].len()].iter().enumerate().map(width).collect();
        let rule = |f: &mut fmt::Formatter<'_>, line: &str, [left, middle, right]: [&str; 3]| {
            let lines: Vec<String> = widths.iter().map(|width| line.repeat(width + 2)).collect();
            writeln!(f, "{left}{}{right}", lines.join(middle))
        };
        let row = |f: &mut fmt::Formatter<'_>, bar: &str, row: &[String]| {
            // Numbers stand on the right.
            let cell = |(i, (text, width)): (usize, (&String, &usize))| match i {
                2 => format!(" {text:>width$} "),
                _ => format!(" {text:<width$} "),
            };
            let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(cell).collect();
            writeln!(f, "{bar}{}{bar}", cells.join(bar))
        };
        writeln!(f, "Model: \"{}\"", self.model)?;
        rule(f, "━", ["┏", "┳", "┓"])?;
        row(f, "┃", &cells[0])?;
        rule(f, "━", ["┡", "╇", "┩"])?;
        for (i, cells) in cells[1..].iter().enumerate() {
            if i > 0 {
                rule(f, "─", ["├", "┼", "┤"])?;
            }
            row(f, "│", cells)?;
        }
        rule(f, "─", ["└", "┴", "┘"])?;
        let total = |what, n| format!(" {what} params: {} ({})", thousands(n), size(n));
        writeln!(f, "{}", total("Total", self.total()))?;
        writeln!(f, "{}", total("Trainable", self.trainable))?;
        writeln!(f, "{}", total("Non-trainable", self.non_trainable))?;
        writeln!(f, " FLOPs per example: {}", count(self.flops))?;
        let [predict, train] = [self.footprint.predict(BATCH), self.footprint.train(BATCH)].map(bytes);
        write!(f, " Device memory for a batch of {BATCH}: {train} to train, {predict} to predict")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_keras_writes_them() {
        assert_eq!([0, 999, 1_000, 104_202, 1_234_567].map(thousands), ["0", "999", "1,000", "104,202", "1,234,567"]);
        assert_eq!([0, 104_202, 333_526].map(size), ["0.00 B", "407.04 KB", "1.27 MB"]);
    }
}
