//! A run of training as one page.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tilegrad_core::Result;
use tilegrad_nn::{Evaluation, History, Model};

use crate::canvas::{Picture, write_whole};
use crate::{learning_curves, plot_model};

/// A self-contained HTML page of a run: the model, how training went, and whatever pictures are added.
///
/// ```
/// # use tilegrad_core::{Device, Result};
/// # use tilegrad_data::Digits;
/// # use tilegrad_nn::{Adam, FitOptions, Metric, Sequential, SparseCategoricalCrossentropy, Verbose};
/// # use tilegrad_nn::layers::{Activation, Dense, Flatten};
/// use tilegrad_plot::Report;
/// # fn main() -> Result<()> {
/// # let data = Digits::load();
/// # let mut model = Sequential::new([8, 8, 1]).add(Flatten::new()).add(Dense::new(10).activation(Activation::Softmax));
/// # model.build(&Device::cpu(), 1)?;
/// # model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
/// let history = model.fit(&data.train, FitOptions::new().epochs(2).verbose(Verbose::Off))?;
/// let page = Report::new(&model, &history)?.title("Digits").evaluation("test", &model.evaluate(&data.test)?);
/// assert!(page.to_html().starts_with("<!DOCTYPE html>"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    facts: Vec<(String, String)>,
    summary: String,
    epochs: String,
    pictures: Vec<(String, Picture)>,
}

impl Report {
    /// A page with the model's summary and graph, the history, and its curves.
    ///
    /// # Errors
    /// When the model is not built, or no epoch was trained.
    pub fn new(model: &Model, history: &History) -> Result<Report> {
        let mut facts = vec![("Model".to_string(), model.name().to_string())];
        facts.extend(model.device().map(|device| ("Device".into(), device.to_string())));
        facts.push(("Epochs".into(), history.epochs.len().to_string()));
        facts.push(("Examples".into(), format!("{} in batches of {}", history.examples, history.batch_size)));
        facts.push(("Speed".into(), format!("{:.0} examples a second", history.images_per_second())));
        if let Some(best) = history.best() {
            let values: Vec<String> =
                best.values().into_iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            facts.push((format!("Best epoch, {}", best.epoch + 1), values.join(", ")));
        }
        let pictures =
            vec![("Learning curves".into(), learning_curves(history)?), ("The model".into(), plot_model(model)?)];
        let (summary, epochs) = (model.summary()?.to_string(), history.to_string());
        Ok(Report { title: "Training".into(), facts, summary, epochs, pictures })
    }

    /// The page's title.
    pub fn title(mut self, title: impl Into<String>) -> Report {
        self.title = title.into();
        self
    }

    /// Adds what was measured on a data set.
    pub fn evaluation(mut self, name: &str, evaluation: &Evaluation) -> Report {
        let mut values = vec![format!("loss {:.4}", evaluation.loss)];
        values.extend(evaluation.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")));
        self.facts.push((format!("On {name}, {} examples", evaluation.examples), values.join(", ")));
        self
    }

    /// Adds a line.
    pub fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Report {
        self.facts.push((name.into(), value.into()));
        self
    }

    /// Adds a picture under this heading.
    pub fn picture(mut self, heading: impl Into<String>, picture: Picture) -> Report {
        self.pictures.push((heading.into(), picture));
        self
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let mut html = String::new();
        let title = escaped(&self.title);
        let _ = write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style>\
             </head><body>\n<h1>{title}</h1>\n<table>\n"
        );
        for (name, value) in &self.facts {
            let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value));
        }
        html += "</table>\n";
        for (heading, picture) in &self.pictures {
            let (heading, data) = (escaped(heading), STANDARD.encode(picture.to_png()));
            let _ = writeln!(html, "<h2>{heading}</h2>\n<img alt=\"{heading}\" src=\"data:image/png;base64,{data}\">");
        }
        for (heading, text) in [("Epochs", &self.epochs), ("Layers", &self.summary)] {
            let _ = writeln!(html, "<h2>{heading}</h2>\n<pre>{}</pre>", escaped(text));
        }
        html + "</body></html>\n"
    }

    /// Writes the page to a file, whole or not at all.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), self.to_html().as_bytes())
    }
}

const STYLE: &str = "body{font-family:sans-serif;max-width:70em;margin:2em auto;color:#222}\
    th{text-align:left;padding-right:1.5em;vertical-align:top}img{max-width:100%}\
    pre{font-size:.85em;overflow-x:auto;line-height:1.15}";

/// Text that is nothing but text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
