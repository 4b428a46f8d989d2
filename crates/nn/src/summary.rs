//! The table of a model's layers that Keras prints.

use std::fmt;

use crate::model::Model;
use crate::param::Param;

/// Layers, output shapes and parameter counts. `Display` draws Keras's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// One row a layer.
    pub rows: Vec<SummaryRow>,
    /// Parameters that training changes.
    pub trainable: usize,
    /// Running statistics and weights of frozen layers.
    pub non_trainable: usize,
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
}

impl Summary {
    pub(crate) fn of(model: &Model) -> Summary {
        let rows = model.layers().iter().map(|entry| SummaryRow {
            name: entry.name().to_string(),
            kind: entry.layer().kind().to_string(),
            output: entry.output_shape().map(|s| s.to_vec()).unwrap_or_default(),
            params: entry.count_params(),
        });
        let trainable = model.params().map(Param::len).sum();
        Summary {
            model: model.name().to_string(),
            rows: rows.collect(),
            trainable,
            non_trainable: model.count_params() - trainable,
        }
    }

    /// Number of all parameters.
    pub fn total(&self) -> usize {
        self.trainable + self.non_trainable
    }
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

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |row: &SummaryRow| {
            let shape: String = row.output.iter().map(|d| format!(", {d}")).collect();
            let shape = if shape.is_empty() { "(None,)".to_string() } else { format!("(None{shape})") };
            [format!("{} ({})", row.name, row.kind), shape, thousands(row.params)]
        };
        let rows: Vec<[String; 3]> = self.rows.iter().map(cells).collect();
        // Keras's widths for a line of 80, or as much more as the longest cell takes.
        let width = |column: usize, least: usize| {
            rows.iter().map(|r| r[column].chars().count()).chain([least]).max().unwrap_or(least)
        };
        let [a, b, c] = [width(0, 31), width(1, 22), width(2, 13)];
        let rule = |f: &mut fmt::Formatter<'_>, line: &str, [left, middle, right]: [&str; 3]| {
            let [a, b, c] = [a, b, c].map(|width| line.repeat(width + 2));
            writeln!(f, "{left}{a}{middle}{b}{middle}{c}{right}")
        };
        writeln!(f, "Model: \"{}\"", self.model)?;
        rule(f, "━", ["┏", "┳", "┓"])?;
        writeln!(f, "┃ {:<a$} ┃ {:<b$} ┃ {:>c$} ┃", "Layer (type)", "Output Shape", "Param #")?;
        rule(f, "━", ["┡", "╇", "┩"])?;
        for (i, [layer, shape, params]) in rows.iter().enumerate() {
            if i > 0 {
                rule(f, "─", ["├", "┼", "┤"])?;
            }
            writeln!(f, "│ {layer:<a$} │ {shape:<b$} │ {params:>c$} │")?;
        }
        rule(f, "─", ["└", "┴", "┘"])?;
        let total = |what, n| format!(" {what} params: {} ({})", thousands(n), size(n));
        writeln!(f, "{}", total("Total", self.total()))?;
        writeln!(f, "{}", total("Trainable", self.trainable))?;
        write!(f, "{}", total("Non-trainable", self.non_trainable))
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
