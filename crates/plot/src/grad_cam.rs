//! Grad-CAM: which parts of an image made the model choose a class. Selvaraju et al. 2016.
//!
//! ```text
//! alpha[c] = mean over places of d score / d map[.., c]
//! heat     = relu(sum over c of alpha[c] * map[.., c])
//! ```

use tilegrad_core::{Error, Result, Tensor};
use tilegrad_nn::Model;

use crate::canvas::{Anchor, Area, BLACK, Canvas, GREY, Picture};
use crate::colour::{ColourMap, range};

/// Pixels along a panel's side.
const SIDE: i32 = 240;

/// What [`grad_cam`] found.
#[derive(Clone, Debug)]
pub struct GradCam {
    /// The class that was looked at.
    pub class: usize,
    /// The model's output for it.
    pub score: f32,
    /// How much each place of the image speaks for the class, from 0 to 1, `(H, W)`.
    pub heat: Tensor,
    /// The image, the heat, and the one over the other.
    pub picture: Picture,
}

/// Which parts of an image `(1, H, W, C)`, of numbers from 0 to 1, speak for a class, by the feature maps of one layer. Without a
/// class, for the one that the model chooses.
///
/// # Errors
/// When the model is not built, has no such layer or class, or something else follows from the layer than the output alone; when
/// the layer makes no feature maps; and when the image doesn't fit.
pub fn grad_cam(model: &Model, layer: &str, image: &Tensor, class: Option<usize>) -> Result<GradCam> {
    let maps_of = Model::new(model.input(), model.layer(layer)?.output());
    let rest = Model::new(model.layer(layer)?.output(), model.output());
    let maps = maps_of.forward(image)?.detach().requires_grad();
    if maps.rank() != 4 || maps.shape()[0] != 1 {
        return Err(Error::invalid(format!("output of {layer}"), "feature maps of one image", maps.shape()));
    }
    let scores = rest.forward(&maps)?;
    let values = scores.to_vec::<f32>()?;
    let likely = values.iter().enumerate().fold(0, |best, (i, v)| if *v > values[best] { i } else { best });
    let class = class.unwrap_or(likely);
    if class >= values.len() {
        return Err(Error::invalid("class", format!("below {}, the model's outputs", values.len()), class));
    }
    let score = scores.reshape([values.len()]).slice_axis(0, class..class + 1).sum();
    let gradients = score.backward();
    let alpha = gradients.get(&maps).ok_or_else(|| Error::invalid("layer", "one that the output depends on", layer))?;
    let heat = maps.detach().mul(&alpha.mean_axes(&[1, 2], true)).sum_axes(&[3], true).relu();
    let [height, width, channels] = [1, 2, 3].map(|axis| image.shape()[axis]);
    let heat = heat.resize_bilinear([height, width]).reshape([height, width]);
    let largest = range(&heat.to_vec::<f32>()?)[1].max(1e-12);
    let heat = heat.affine(1.0 / largest, 0.0);

    let (heat_values, pixels) = (heat.to_vec::<f32>()?, image.to_vec::<f32>()?);
    let byte = |value: f32| (255.0 * value.clamp(0.0, 1.0)) as u8;
    let colours: Vec<[u8; 3]> = pixels
        .chunks(channels)
        .map(|pixel| if channels >= 3 { [0, 1, 2].map(|c| byte(pixel[c])) } else { [byte(pixel[0]); 3] })
        .collect();
    let hot = ColourMap::Magma.colours(&heat_values, [0.0, 1.0]);
    let mix = |(a, b): (&[u8; 3], &[u8; 3])| std::array::from_fn(|c| ((u16::from(a[c]) + u16::from(b[c])) / 2) as u8);
    let over: Vec<[u8; 3]> = colours.iter().zip(&hot).map(mix).collect();

    let mut canvas = Canvas::new(3 * (SIDE + 20) + 80, SIDE + 96);
    canvas.title(&format!("Grad-CAM of {layer}: class {class}, {:.3}", values[class]));
    for (i, (name, colours)) in
        [("image", &colours), ("what speaks for it", &hot), ("both", &over)].into_iter().enumerate()
    {
        let longer = height.max(width) as i32;
        let left = 20 + i as i32 * (SIDE + 20);
        let area = Area { left, top: 66, width: width as i32 * SIDE / longer, height: height as i32 * SIDE / longer };
        canvas.pixels(area, width, colours);
        canvas.frame(area, GREY);
        canvas.text(name, (left + SIDE / 2, 50), 14, Anchor::Centre, BLACK);
    }
    let bar = Area { left: 20 + 3 * (SIDE + 20), top: 66, width: 14, height: SIDE };
    canvas.colour_bar(bar, ColourMap::Magma, [0.0, 1.0]);
    Ok(GradCam { class, score: values[class], heat: heat.detach(), picture: canvas.finish() })
}
