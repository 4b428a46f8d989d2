//! Which classes are taken for which.

use tilegrad_core::{Error, Result};
use tilegrad_nn::ConfusionMatrix;

use crate::canvas::{Anchor, Area, BLACK, Canvas, GREY, Picture};
use crate::colour::{ColourMap, readable_on};

const CELL: i32 = 58;

/// A confusion matrix with the class names: true classes in rows, predicted ones in columns. Each cell has the number of examples
/// and, as its colour, their share of the true class.
///
/// # Errors
/// When there are more or fewer names than classes, or no class.
pub fn confusion_matrix(matrix: &ConfusionMatrix, names: &[String]) -> Result<Picture> {
    let n = matrix.classes();
    if names.len() != n || n == 0 {
        return Err(Error::invalid("class names", format!("{n}, one a class"), names.len()));
    }
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(14) as i32;
    let (left, top) = (60 + 8 * longest, 96);
    let side = CELL * n as i32;
    let mut canvas = Canvas::new(left + side + 100, top + side + 24);
    canvas.title(&format!("Confusion matrix: {:.2} % right", 100.0 * matrix.accuracy()));
    canvas.text("predicted", (left + side / 2, 50), 14, Anchor::Centre, BLACK);
    canvas.text("truth", (8, top - 14), 14, Anchor::Left, BLACK);
    let short = |name: &str, most: usize| -> String {
        if name.chars().count() <= most { name.into() } else { name.chars().take(most - 1).chain(['…']).collect() }
    };
    for (truth, name) in names.iter().enumerate() {
        let middle = top + truth as i32 * CELL + CELL / 2;
        canvas.text(&short(name, 14), (left - 8, middle), 13, Anchor::Right, BLACK);
        // Neighbours at two heights, so that long names have room.
        let height = top - 12 - if truth % 2 == 1 { 15 } else { 0 };
        let across = left + truth as i32 * CELL + CELL / 2;
        canvas.text(&short(name, 14), (across, height), 12, Anchor::Centre, BLACK);
        let of_class: u64 = (0..n).map(|predicted| matrix.at(truth, predicted)).sum();
        for predicted in 0..n {
            let count = matrix.at(truth, predicted);
            let share = count as f32 / of_class.max(1) as f32;
            let colour = ColourMap::Blues.at(share);
            let cell = Area { left: left + predicted as i32 * CELL, top: middle - CELL / 2, width: CELL, height: CELL };
            canvas.rectangle(cell, colour);
            let ink = if count == 0 { GREY } else { readable_on(colour) };
            let centre = (cell.left + CELL / 2, middle);
            canvas.text(&count.to_string(), (centre.0, centre.1 - 7), 14, Anchor::Centre, ink);
            canvas.text(&format!("{:.0} %", 100.0 * share), (centre.0, centre.1 + 11), 10, Anchor::Centre, ink);
        }
    }
    canvas.frame(Area { left, top, width: side, height: side }, GREY);
    let bar = Area { left: left + side + 20, top, width: 16, height: side };
    canvas.colour_bar(bar, ColourMap::Blues, [0.0, 1.0]);
    Ok(canvas.finish())
}
