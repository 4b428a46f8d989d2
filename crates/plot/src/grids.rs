//! Many small pictures at once: the kernels of a layer, the feature maps of an image.

use tilegrad_core::{Error, Result, Tensor};

use crate::canvas::{Anchor, Area, Canvas, GREY, Picture};
use crate::colour::{ColourMap, range};

/// The kernels `(KH, KW, C, O)` of a convolution, one picture for each output channel and the mean over input channels, on one
/// scale around 0.
///
/// # Errors
/// When there are other axes, no columns, or the kernels can't be read back.
pub fn kernels(kernels: &Tensor, columns: usize) -> Result<Picture> {
    if kernels.rank() != 4 || kernels.len() == 0 {
        return Err(Error::invalid("kernels", "four axes, (KH, KW, C, O)", kernels.shape()));
    }
    let [height, width, outputs] = [kernels.shape()[0], kernels.shape()[1], kernels.shape()[3]];
    let each = kernels.detach().mean_axes(&[2], false).permute(&[2, 0, 1]).to_vec::<f32>()?;
    let largest = range(&each).into_iter().fold(0.0, |a: f32, b| a.max(b.abs())).max(1e-12);
    let grid = Grid { title: format!("{outputs} kernels of {height} × {width}"), columns, cell: [height, width] };
    grid.draw(&each, ColourMap::CoolWarm, Some([-largest, largest]))
}

/// The feature maps `(1, H, W, C)` of one image, one picture for each channel, each on its own scale.
///
/// # Errors
/// When there are other axes or more than one image, no columns, or the maps can't be read back.
pub fn feature_maps(maps: &Tensor, columns: usize) -> Result<Picture> {
    if maps.rank() != 4 || maps.shape()[0] != 1 || maps.len() == 0 {
        return Err(Error::invalid("feature maps", "those of one image, (1, H, W, C)", maps.shape()));
    }
    let [height, width, channels] = [1, 2, 3].map(|axis| maps.shape()[axis]);
    let each = maps.detach().reshape([height, width, channels]).permute(&[2, 0, 1]).to_vec::<f32>()?;
    let grid =
        Grid { title: format!("{channels} feature maps of {height} × {width}"), columns, cell: [height, width] };
    grid.draw(&each, ColourMap::Magma, None)
}

struct Grid {
    title: String,
    columns: usize,
    /// Height and width of a picture.
    cell: [usize; 2],
}

impl Grid {
    /// Draws pictures that lie end to end, on one scale if there is one.
    fn draw(&self, values: &[f32], map: ColourMap, scale: Option<[f32; 2]>) -> Result<Picture> {
        if self.columns == 0 {
            return Err(Error::invalid("columns", "at least 1", 0));
        }
        let (size, columns) = (self.cell[0] * self.cell[1], self.columns as i32);
        let count = values.len() / size;
        let rows = count.div_ceil(self.columns) as i32;
        // Whole numbers of pixels, 40 to 100 along a side.
        let zoom = (60 / self.cell[1].max(1) as i32).max(1);
        let (width, height) = (self.cell[1] as i32 * zoom, self.cell[0] as i32 * zoom);
        let (left, top, gap) = (20, 44, 22);
        let bar = if scale.is_some() { 90 } else { 0 };
        let picture_width = (left + columns * (width + 8) + 12 + bar).max(380);
        let mut canvas = Canvas::new(picture_width, top + rows * (height + gap) + 8);
        canvas.title(&self.title);
        for (i, picture) in values.chunks(size).enumerate() {
            let (row, column) = (i as i32 / columns, i as i32 % columns);
            let area = Area { left: left + column * (width + 8), top: top + row * (height + gap), width, height };
            canvas.pixels(area, self.cell[1], &map.colours(picture, scale.unwrap_or_else(|| range(picture))));
            canvas.frame(area, GREY);
            canvas.text(&i.to_string(), (area.left + width / 2, area.top + height + 9), 11, Anchor::Centre, GREY);
        }
        if let Some(scale) = scale {
            let left = left + columns * (width + 8) + 12;
            let height = rows * (height + gap) - gap;
            canvas.colour_bar(Area { left, top, width: 14, height }, map, scale);
        }
        Ok(canvas.finish())
    }
}
