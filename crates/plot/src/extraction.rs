//! Filter, detect, condense: what a convolution, an activation and a pooling do to one image.

use tilegrad_core::{Conv2dOptions, Error, Padding, Result, Tensor, Window};
use tilegrad_nn::Activation;

use crate::canvas::{Anchor, Area, BLACK, Canvas, GREY, Picture};
use crate::colour::{ColourMap, range};

/// Pixels of a panel's longer side.
const PANEL: i32 = 260;

/// The four pictures of a feature's extraction, side by side: Input, Filter, Detect, Condense.
///
/// ```
/// use tilegrad_core::{Device, Tensor};
/// use tilegrad_plot::Extraction;
///
/// # fn main() -> tilegrad_core::Result<()> {
/// let image = Tensor::zeros([64, 64], &Device::cpu());
/// let kernel = Tensor::new(&[-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0], [3, 3], &Device::cpu());
/// let picture = Extraction::new().conv_stride(1).pool_size(2).gamma(0.5).show(&image, &kernel)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Extraction {
    conv_stride: [usize; 2],
    conv_padding: Padding,
    activation: Activation,
    pool_size: [usize; 2],
    pool_stride: [usize; 2],
    pool_padding: Padding,
    gamma: f32,
    map: ColourMap,
}

impl Default for Extraction {
    fn default() -> Extraction {
        Extraction {
            conv_stride: [1; 2],
            conv_padding: Padding::Valid,
            activation: Activation::Relu,
            pool_size: [2; 2],
            pool_stride: [2; 2],
            pool_padding: Padding::Same,
            gamma: 1.0,
            map: ColourMap::Magma,
        }
    }
}

impl Extraction {
    /// Stride 1 and `Valid` in the convolution, relu, windows of 2 side by side and `Same` in the pooling.
    pub fn new() -> Extraction {
        Extraction::default()
    }

    /// Pixels from one window of the convolution to the next.
    pub fn conv_stride(mut self, stride: usize) -> Extraction {
        self.conv_stride = [stride; 2];
        self
    }

    /// What lies around the image.
    pub fn conv_padding(mut self, padding: Padding) -> Extraction {
        self.conv_padding = padding;
        self
    }

    /// What detects.
    pub fn activation(mut self, activation: Activation) -> Extraction {
        self.activation = activation;
        self
    }

    /// Pixels along a side of the pooling's window.
    pub fn pool_size(mut self, size: usize) -> Extraction {
        self.pool_size = [size; 2];
        self
    }

    /// Pixels from one window of the pooling to the next.
    pub fn pool_stride(mut self, stride: usize) -> Extraction {
        self.pool_stride = [stride; 2];
        self
    }

    /// What lies around the feature map.
    pub fn pool_padding(mut self, padding: Padding) -> Extraction {
        self.pool_padding = padding;
        self
    }

    /// The power that brightness is raised to: below 1 weak features are seen better.
    pub fn gamma(mut self, gamma: f32) -> Extraction {
        self.gamma = gamma;
        self
    }

    /// The colours.
    pub fn colour_map(mut self, map: ColourMap) -> Extraction {
        self.map = map;
        self
    }

    /// The four pictures of an image `(H, W)` and a kernel `(KH, KW)`.
    ///
    /// # Errors
    /// When they have other axes, the kernel doesn't fit the image, or they can't be read back.
    pub fn show(&self, image: &Tensor, kernel: &Tensor) -> Result<Picture> {
        for (what, tensor) in [("image", image), ("kernel", kernel)] {
            if tensor.rank() != 2 || tensor.len() == 0 {
                return Err(Error::invalid(what, "two axes, (H, W), of at least one number", tensor.shape()));
            }
        }
        let kernel = kernel.reshape([kernel.shape()[0], kernel.shape()[1], 1, 1]);
        let input = image.reshape([1, image.shape()[0], image.shape()[1], 1]);
        let options =
            Conv2dOptions { stride: self.conv_stride, padding: self.conv_padding, ..Conv2dOptions::default() };
        let window =
            Window { size: self.pool_size, stride: self.pool_stride, dilation: [1; 2], padding: self.pool_padding };
        let fits = |problem| Error::invalid("kernel", "one that fits the image", problem);
        tilegrad_core::conv_shape(input.shape(), kernel.shape(), &options).map_err(fits)?;
        let filtered = input.conv2d(&kernel, None, &options);
        window.over(filtered.shape()).map_err(|problem| Error::invalid("pooling", "a window that fits", problem))?;
        let detected = self.activation.apply(&filtered);
        let condensed = detected.max_pool2d(window);
        let panels = [("Input", &input), ("Filter", &filtered), ("Detect", &detected), ("Condense", &condensed)];

        let mut canvas = Canvas::new(4 * (PANEL + 20) + 20, PANEL + 110);
        canvas.title("Feature extraction");
        for (i, (name, map)) in panels.into_iter().enumerate() {
            let [height, width] = [map.shape()[1], map.shape()[2]];
            let longer = height.max(width) as i32;
            let [drawn_width, drawn_height] = [width, height].map(|n| (n as i32 * PANEL / longer).max(1));
            let left = 20 + i as i32 * (PANEL + 20);
            let area = Area { left, top: 80, width: drawn_width, height: drawn_height };
            let values = map.to_vec::<f32>()?;
            let [low, high] = range(&values);
            let span = if high > low { high - low } else { 1.0 };
            let colour = |value: &f32| self.map.at(((value - low) / span).max(0.0).powf(self.gamma));
            canvas.pixels(area, width, &values.iter().map(colour).collect::<Vec<_>>());
            canvas.frame(area, GREY);
            canvas.text(name, (left + PANEL / 2, 50), 16, Anchor::Centre, BLACK);
            canvas.text(&format!("{height} × {width}"), (left + PANEL / 2, 69), 12, Anchor::Centre, GREY);
        }
        Ok(canvas.finish())
    }
}
