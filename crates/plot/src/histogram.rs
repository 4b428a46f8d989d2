//! How weights are spread.

use plotters::prelude::{ChartBuilder, Color, IntoFont, Rectangle, SeriesLabelPosition};
use tilegrad_core::{Error, Result, Tensor};

use crate::canvas::{BLACK, Canvas, FONT, Picture, rgb};
use crate::colour::range;

/// Colours of the first weights, the second, and so on.
const COLOURS: [[u8; 3]; 4] = [[31, 119, 180], [255, 127, 14], [44, 160, 44], [148, 103, 189]];

const BINS: usize = 40;

/// The spread of weights, several overlaid: `[("untrained", &before), ("trained", &after)]`. The legend has mean and standard
/// deviation.
///
/// # Errors
/// When there are no weights or more than four, or they can't be read back.
pub fn weight_histogram(weights: &[(&str, &Tensor)]) -> Result<Picture> {
    if !(1..=COLOURS.len()).contains(&weights.len()) || weights.iter().any(|(_, w)| w.len() == 0) {
        return Err(Error::invalid("weights of the histogram", "one to four, none of them empty", weights.len()));
    }
    let all: Vec<Vec<f32>> = weights.iter().map(|(_, w)| w.to_vec::<f32>()).collect::<Result<_>>()?;
    let [low, high] = range(&all.concat());
    let (low, high) = if high > low { (low, high) } else { (low - 0.5, high + 0.5) };
    let width = (high - low) / BINS as f32;
    let share = |values: &[f32]| {
        let mut bins = [0.0f32; BINS];
        for value in values.iter().filter(|v| v.is_finite()) {
            bins[(((value - low) / width) as usize).min(BINS - 1)] += 100.0 / values.len() as f32;
        }
        bins
    };
    let bins: Vec<[f32; BINS]> = all.iter().map(|values| share(values)).collect();
    let top = bins.iter().flatten().copied().fold(0.0, f32::max) * 1.35;

    let mut canvas = Canvas::new(640, 420);
    {
        let root = canvas.root();
        let mut chart = ChartBuilder::on(&root)
            .caption("Weights", (FONT, 18).into_font().style(plotters::prelude::FontStyle::Bold).color(&rgb(BLACK)))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(low..high, 0f32..top)
            .expect("an area with room");
        chart
            .configure_mesh()
            .x_desc("value")
            .y_desc("share of the weights, %")
            .label_style((FONT, 12))
            .axis_desc_style((FONT, 13))
            .bold_line_style(rgb([225, 225, 225]))
            .light_line_style(rgb([240, 240, 240]))
            .draw()
            .expect("memory");
        for (i, ((name, _), bins)) in weights.iter().zip(&bins).enumerate() {
            let colour = rgb(COLOURS[i]);
            let bar = |(bin, &share): (usize, &f32)| {
                let left = low + bin as f32 * width;
                Rectangle::new([(left, 0.0), (left + width, share)], colour.mix(0.55).filled())
            };
            let (mean, std) = moments(&all[i]);
            chart
                .draw_series(bins.iter().enumerate().map(bar))
                .expect("memory")
                .label(format!("{name}: mean {mean:.3}, deviation {std:.3}"))
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.mix(0.55).filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(rgb([255, 255, 255]).mix(0.85))
            .border_style(rgb([200, 200, 200]))
            .label_font((FONT, 13))
            .draw()
            .expect("memory");
    }
    Ok(canvas.finish())
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (mean, (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt())
}
