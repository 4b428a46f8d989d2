//! A model's layers as boxes with arrows.

use std::collections::HashMap;

use tilegrad_core::Result;
use tilegrad_nn::{Model, SummaryRow};

use crate::canvas::{Anchor, Area, BLACK, Canvas, GREY, Picture};

const BOX: [i32; 2] = [360, 56];
const GAP: [i32; 2] = [30, 34];

/// The layers of a model from top to bottom, with types and output shapes; branches stand side by side. A model that was called
/// as a layer is one box. Keras's `plot_model(show_shapes=True)`.
///
/// # Errors
/// When the layers don't fit: see [`Model::summary`].
pub fn plot_model(model: &Model) -> Result<Picture> {
    let summary = model.summary()?;
    let rows = &summary.rows;
    let index: HashMap<&str, usize> = rows.iter().enumerate().map(|(i, row)| (row.name.as_str(), i)).collect();
    let sources = |row: &SummaryRow| -> Vec<usize> {
        row.connected_to.iter().filter_map(|name| index.get(name.as_str()).copied()).collect()
    };
    // A box stands below all that it takes from. Rows come in such an order, but for layers that are called again.
    let mut levels = vec![0; rows.len()];
    for (i, row) in rows.iter().enumerate() {
        levels[i] = sources(row).into_iter().filter(|&from| from < i).map(|from| levels[from] + 1).max().unwrap_or(0);
    }
    let deepest = levels.iter().copied().max().unwrap_or(0);
    let mut places = vec![(0, 0); rows.len()];
    let widest = (0..=deepest).map(|level| levels.iter().filter(|&&l| l == level).count()).max().unwrap_or(1) as i32;
    let (width, step) = (40 + widest * (BOX[0] + GAP[0]) - GAP[0], BOX[1] + GAP[1]);
    for level in 0..=deepest {
        let here: Vec<usize> = (0..rows.len()).filter(|&i| levels[i] == level).collect();
        let room = here.len() as i32 * (BOX[0] + GAP[0]) - GAP[0];
        for (k, &i) in here.iter().enumerate() {
            places[i] = ((width - room) / 2 + k as i32 * (BOX[0] + GAP[0]), 50 + level * step);
        }
    }
    let mut canvas = Canvas::new(width, 60 + (deepest as i32 + 1) * step);
    canvas.title(&summary.model);
    for (i, row) in rows.iter().enumerate() {
        for from in sources(row) {
            let start = (places[from].0 + BOX[0] / 2, places[from].1 + BOX[1]);
            let end = (places[i].0 + BOX[0] / 2, places[i].1);
            canvas.line(start, end, GREY);
            canvas.line((end.0 - 5, end.1 - 8), end, GREY);
            canvas.line((end.0 + 5, end.1 - 8), end, GREY);
        }
    }
    for (row, &(left, top)) in rows.iter().zip(&places) {
        let area = Area { left, top, width: BOX[0], height: BOX[1] };
        canvas.rectangle(area, tint(&row.kind));
        canvas.frame(area, BLACK);
        let middle = left + BOX[0] / 2;
        canvas.text(&format!("{}: {}", row.name, row.kind), (middle, top + 18), 12, Anchor::Centre, BLACK);
        let shape: String = row.output.iter().map(|d| format!(", {d}")).collect();
        let text = format!("(None{shape})   {} params", row.params);
        canvas.text(&text, (middle, top + 39), 11, Anchor::Centre, GREY);
    }
    Ok(canvas.finish())
}

/// A light colour for a kind of layer.
fn tint(kind: &str) -> [u8; 3] {
    match kind {
        "InputLayer" => [238, 238, 238],
        k if k.contains("Conv") => [219, 234, 250],
        k if k.contains("Pooling") => [226, 245, 226],
        "Dense" => [253, 236, 214],
        k if k.contains("Normalization") || k.contains("Dropout") => [245, 228, 245],
        _ => [250, 250, 240],
    }
}
