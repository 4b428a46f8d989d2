//! One kernel with its numbers.

use tilegrad_core::{Error, Result, Tensor};

use crate::canvas::{Anchor, Area, Canvas, Picture, WHITE, number};
use crate::colour::{ColourMap, range, readable_on};

const CELL: i32 = 64;

/// A kernel `(H, W)` as a heat map with its numbers in the cells, and a colour bar.
///
/// # Errors
/// When it has other than two axes, is empty, or can't be read back.
pub fn show_kernel(kernel: &Tensor) -> Result<Picture> {
    if kernel.rank() != 2 || kernel.len() == 0 {
        return Err(Error::invalid("kernel", "two axes, (H, W), of at least one number", kernel.shape()));
    }
    let (values, map) = (kernel.to_vec::<f32>()?, ColourMap::Viridis);
    let [rows, columns] = [kernel.shape()[0] as i32, kernel.shape()[1] as i32];
    let area = Area { left: 30, top: 44, width: columns * CELL, height: rows * CELL };
    let mut canvas = Canvas::new(area.left + area.width + 110, area.top + area.height + 24);
    canvas.title(&format!("Kernel {rows} × {columns}"));
    let range = range(&values);
    let colours = map.colours(&values, range);
    canvas.pixels(area, columns as usize, &colours);
    for (i, (value, colour)) in values.iter().zip(&colours).enumerate() {
        let (row, column) = (i as i32 / columns, i as i32 % columns);
        let cell = Area { left: area.left + column * CELL, top: area.top + row * CELL, width: CELL, height: CELL };
        canvas.frame(cell, WHITE);
        let middle = (cell.left + CELL / 2, cell.top + CELL / 2);
        canvas.text(&number(*value), middle, 16, Anchor::Centre, readable_on(*colour));
    }
    let bar = Area { left: area.left + area.width + 20, top: area.top, width: 16, height: area.height };
    canvas.colour_bar(bar, map, range);
    Ok(canvas.finish())
}
