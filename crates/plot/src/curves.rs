//! How training went.

use plotters::prelude::{
    ChartBuilder, Circle, Color, FontStyle, IntoFont, LineSeries, PathElement, SeriesLabelPosition,
};
use tilegrad_core::{Error, Result};
use tilegrad_nn::History;

use crate::canvas::{BLACK, Canvas, FONT, GREY, Picture, rgb};
use crate::colour::range;

const TRAINING: [u8; 3] = [31, 119, 180];
const VALIDATION: [u8; 3] = [255, 127, 14];

/// The loss and each metric over the epochs, training and validation, a panel each. The best epoch by validation loss is marked.
///
/// # Errors
/// When no epoch was trained.
pub fn learning_curves(history: &History) -> Result<Picture> {
    let best = history.best().ok_or_else(|| Error::invalid("history", "at least one epoch", "none"))?.epoch;
    let first = &history.epochs[0];
    let mut names = vec!["loss".to_string()];
    names.extend(first.metrics.keys().cloned());
    let columns = names.len().min(2);
    let rows = names.len().div_ceil(columns);
    let mut canvas = Canvas::new(520 * columns as i32, 360 * rows as i32);
    {
        let root = canvas.root();
        for (name, area) in names.iter().zip(root.split_evenly((rows, columns))) {
            let points = |name: &str| -> Vec<(f32, f32)> {
                let at = |e: &tilegrad_nn::Epoch| Some((e.epoch as f32 + 1.0, e.get(name).filter(|v| v.is_finite())?));
                history.epochs.iter().filter_map(at).collect()
            };
            let lines =
                [("training", points(name), TRAINING), ("validation", points(&format!("val_{name}")), VALIDATION)];
            let values: Vec<f32> = lines.iter().flat_map(|(_, points, _)| points.iter().map(|p| p.1)).collect();
            let [low, high] = range(&values);
            let room = ((high - low) * 0.08).max(1e-6);
            let last = history.epochs[history.epochs.len() - 1].epoch as f32 + 1.0;
            let x = (first.epoch as f32 + 1.0 - 0.1)..(last + 0.1);
            let mut chart = ChartBuilder::on(&area)
                .caption(name, (FONT, 18).into_font().style(FontStyle::Bold).color(&rgb(BLACK)))
                .margin(14)
                .x_label_area_size(42)
                .y_label_area_size(60)
                .build_cartesian_2d(x, (low - room)..(high + room))
                .expect("an area with room");
            chart
                .configure_mesh()
                .x_desc("epoch")
                .y_desc(name.as_str())
                .x_labels((history.epochs.len()).min(10))
                .x_label_formatter(&|x| format!("{x:.0}"))
                .label_style((FONT, 12))
                .axis_desc_style((FONT, 13))
                .bold_line_style(rgb([225, 225, 225]))
                .light_line_style(rgb([245, 245, 245]))
                .draw()
                .expect("memory");
            let mark = best as f32 + 1.0;
            chart
                .draw_series(LineSeries::new([(mark, low - room), (mark, high + room)], rgb(GREY)))
                .expect("memory")
                .label(format!("best epoch: {}", best + 1))
                .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], rgb(GREY)));
            for (label, points, colour) in lines.into_iter().filter(|(_, points, _)| !points.is_empty()) {
                let colour = rgb(colour);
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
                    .expect("memory")
                    .label(label)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
                chart.draw_series(points.iter().map(|&p| Circle::new(p, 3, colour.filled()))).expect("memory");
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::MiddleRight)
                .background_style(rgb([255, 255, 255]).mix(0.85))
                .border_style(rgb([200, 200, 200]))
                .label_font((FONT, 12))
                .draw()
                .expect("memory");
        }
    }
    Ok(canvas.finish())
}
