//! What the training examples share: their command line, and the report of a run.
#![allow(dead_code, unreachable_pub, reason = "each example uses a part")]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use serde::Serialize;
use tilegrad::data::{Dataset, TrainTest};
use tilegrad::nn::{ConfusionMatrix, Evaluation, History, Model};
use tilegrad::{Device, Error, Result};
use tilegrad_plot as plot;

/// Options of a training run.
#[derive(Parser, Debug)]
pub struct Args {
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Passes over the training data, at most [default: the network's]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images in a step [default: the network's]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Decides split, initial weights, order and dropout
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Folder with the four IDX files [default: looked for; the message tells where]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Saves the trained model here (safetensors)
    #[arg(long)]
    pub save: Option<PathBuf>,
    /// Uses only the first N images of the training and of the test set
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Writes device, speed and accuracies here, as one JSON object
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Folder for pictures of the run: curves, confusion matrix, predictions, the model, and a page with all of it
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Draws the first 64 training images here (PNG)
    #[arg(long, value_name = "FILE")]
    pub preview: Option<PathBuf>,
}

impl Args {
    pub fn device(&self) -> Result<Device> {
        // TILEGRAD_DEVICE speaks where the command line leaves the choice open.
        let device = if self.device == "auto" { Device::auto()? } else { Device::named(&self.device)? };
        println!("device: {device}");
        // A folder that isn't there should be known before training, not after.
        for path in [&self.save, &self.json, &self.preview].into_iter().flatten() {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|f| !f.is_dir()) {
                return Err(Error::invalid(
                    format!("folder of {}", path.display()),
                    "an existing folder",
                    folder.display(),
                ));
            }
        }
        Ok(device)
    }

    /// The training and test sets, cut to `--limit`.
    pub fn limited(&self, data: TrainTest) -> Result<(Dataset, Dataset)> {
        println!("{data}");
        let cut = |set: Dataset| self.limit.map_or(set.clone(), |n| set.take(n.min(set.len())));
        if self.limit == Some(0) {
            return Err(Error::invalid("--limit", "at least 1 image", 0));
        }
        let (train, test) = (cut(data.train), cut(data.test));
        if let Some(path) = &self.preview {
            train.contact_sheet(path, 8, 8)?;
            println!("the first images are in {}", path.display());
        }
        Ok((train, test))
    }

    /// Draws what a run gave, if that is asked for.
    pub fn draw(&self, model: &Model, history: &History, test: &Dataset, result: &Evaluation) -> Result<()> {
        let Some(folder) = &self.plots else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let probabilities = model.predict(test)?;
        let classes = test.classes().len();
        let mut counts = vec![0; classes * classes];
        for (&truth, predicted) in test.labels().iter().zip(probabilities.argmax(-1).to_vec::<u32>()?) {
            counts[truth as usize * classes + predicted as usize] += 1;
        }
        let confusion = plot::confusion_matrix(&ConfusionMatrix::new(classes, counts), test.classes())?;
        let predictions = plot::predictions(test, &probabilities, 4, 8)?;
        plot::learning_curves(history)?.save(folder.join("curves.png"))?;
        plot::plot_model(model)?.save(folder.join("model.png"))?;
        confusion.save(folder.join("confusion.png"))?;
        predictions.save(folder.join("predictions.png"))?;
        let report = plot::Report::new(model, history)?.title(test.name()).evaluation("the test set", result);
        let report = report.picture("Confusion matrix", confusion).picture("Predictions", predictions);
        report.save(folder.join("report.html"))?;
        println!("pictures and report.html are in {}", folder.display());
        Ok(())
    }

    /// Prints and writes what a run gave. `started` is when the process did, `fitted` when `fit` was called.
    pub fn report(
        &self,
        model: &Model,
        history: &History,
        test: &Evaluation,
        started: Instant,
        fitted: Instant,
    ) -> Result<()> {
        println!("\n{history}");
        println!("test: loss {:.4}, accuracy {:.4}", test.loss, test.accuracy.unwrap_or(f32::NAN));
        if let Some(path) = &self.save {
            model.save(path)?;
            println!("the model is in {}", path.display());
        }
        let best = history.best();
        let report = Report {
            device: model.device().map(Device::to_string).unwrap_or_default(),
            images_per_second: history.images_per_second(),
            time_to_first_step_s: (fitted - started).as_secs_f64() + history.first_step_seconds,
            epochs: &history.epochs,
            val_accuracy: best.and_then(|e| e.val_accuracy),
            test_accuracy: test.accuracy,
        };
        println!("time to first step: {:.2} s from the start of the process", report.time_to_first_step_s);
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report).expect("numbers and names");
            std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
        }
        Ok(())
    }
}

/// The object that `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    device: String,
    images_per_second: f64,
    time_to_first_step_s: f64,
    epochs: &'a [tilegrad::nn::Epoch],
    /// Of the epoch with the lowest validation loss, whose weights are kept.
    val_accuracy: Option<f32>,
    test_accuracy: Option<f32>,
}

/// Ends an example with the error's own text; a debug dump would hide the help in it.
pub fn exit_with(result: Result<()>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
