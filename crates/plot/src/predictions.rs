//! Images with what the model says of them.

use tilegrad_core::{Error, Result, Tensor};
use tilegrad_data::Dataset;

use crate::canvas::{Anchor, Area, Canvas, GREEN, GREY, Picture, RED};

/// Pixels along an image's longer side.
const SIDE: i32 = 104;

/// The first images of a data set, up to `rows * columns`, with the most probable class of each and its probability above, and the
/// truth below where that is another. `probabilities` is what `predict` gave for them, `(N, classes)`.
///
/// # Errors
/// When there are no images, or more than predictions, the classes differ, or the predictions can't be read back.
pub fn predictions(data: &Dataset, probabilities: &Tensor, rows: usize, columns: usize) -> Result<Picture> {
    let (count, classes) = (data.len().min(rows * columns), data.classes().len());
    let shape = probabilities.shape();
    if count == 0 || shape.rank() != 2 || shape[0] < count || shape[1] != classes {
        let expected = format!("[at least {count}, {classes}] for at least one image");
        return Err(Error::invalid("probabilities of the images", expected, shape));
    }
    let probabilities = probabilities.to_vec::<f32>()?;
    let [height, width, channels] = data.shape();
    let zoom = |n: usize| (n as i32 * SIDE / height.max(width) as i32).max(1);
    let (cell_width, cell_height) = (SIDE + 24, SIDE + 52);
    let rows = count.div_ceil(columns) as i32;
    let mut canvas = Canvas::new((20 + columns as i32 * cell_width).max(320), 44 + rows * cell_height);
    let right = |i: usize| best(&probabilities[i * classes..][..classes]).0 == data.label(i) as usize;
    canvas.title(&format!("{} of {count} right", (0..count).filter(|&i| right(i)).count()));
    for i in 0..count {
        let (row, column) = (i as i32 / columns as i32, i as i32 % columns as i32);
        let (left, top) = (20 + column * cell_width, 44 + row * cell_height);
        let colours: Vec<[u8; 3]> = data.image(i).chunks(channels).map(|pixel| colour(pixel, data.scale())).collect();
        let area = Area { left, top: top + 20, width: zoom(width), height: zoom(height) };
        canvas.pixels(area, width, &colours);
        canvas.frame(area, GREY);
        let (class, probability) = best(&probabilities[i * classes..][..classes]);
        let ink = if right(i) { GREEN } else { RED };
        let middle = left + SIDE / 2;
        let says = format!("{}: {:.0} %", short(data.class_name(class as u32)), 100.0 * probability);
        canvas.text(&says, (middle, top + 9), 12, Anchor::Centre, ink);
        if !right(i) {
            let truth = format!("is {}", short(data.class_name(data.label(i))));
            canvas.text(&truth, (middle, top + SIDE + 31), 12, Anchor::Centre, ink);
        }
    }
    Ok(canvas.finish())
}

fn short(name: &str) -> String {
    name.chars().take(11).collect()
}

/// The class of the largest probability, with it.
fn best(row: &[f32]) -> (usize, f32) {
    row.iter().copied().enumerate().fold((0, f32::MIN), |best, (i, p)| if p > best.1 { (i, p) } else { best })
}

/// Red, green and blue of a grey or colour pixel, of which `white` is the largest value.
fn colour(pixel: &[u8], white: f32) -> [u8; 3] {
    let byte = |&value: &u8| (255.0 * f32::from(value) / white).clamp(0.0, 255.0) as u8;
    match pixel {
        [r, g, b, ..] => [r, g, b].map(byte),
        [grey, ..] => [byte(grey); 3],
        [] => [0; 3],
    }
}
