//! Event files for TensorBoard.

use std::path::{Path, PathBuf};

use tilegrad_core::Result;

use super::{Batch, Callback, Flow};
use crate::event_file::EventFile;
use crate::history::Epoch;
use crate::model::Model;

/// Writes what TensorBoard shows: loss and metrics of each epoch, under Keras's names (`epoch_loss`, `epoch_accuracy`,
/// `epoch_learning_rate`) in the runs `train` and `validation`, and if wanted the loss within epochs and the weights'
/// distributions. Look at them with `tensorboard --logdir logs`.
///
/// ```no_run
/// # fn main() -> tilegrad_core::Result<()> {
/// # let (mut model, data) = (tilegrad_nn::Sequential::empty(), tilegrad_data::Digits::load().train);
/// use tilegrad_nn::{FitOptions, TensorBoard};
/// let board = TensorBoard::new("logs/first").histogram_freq(1).update_freq(100);
/// model.fit(&data, FitOptions::new().epochs(5).callback(board))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    histogram_freq: usize,
    update_freq: usize,
    /// Batches of the call of `fit` so far.
    batches: u64,
    train: Option<EventFile>,
    validation: Option<EventFile>,
}

impl TensorBoard {
    /// Writes into this folder. Files of earlier runs stay; a folder for each run keeps them apart.
    pub fn new(folder: impl Into<PathBuf>) -> TensorBoard {
        let (train, validation) = (None, None);
        TensorBoard { folder: folder.into(), histogram_freq: 0, update_freq: 0, batches: 0, train, validation }
    }

    /// Writes how the numbers of each weight are spread after every so many epochs; 0, the default, for never.
    pub fn histogram_freq(mut self, epochs: usize) -> TensorBoard {
        self.histogram_freq = epochs;
        self
    }

    /// Writes the mean loss of the epoch so far, `batch_loss`, after every so many batches; 0, the default, for never. Waits
    /// for the device each time.
    pub fn update_freq(mut self, batches: usize) -> TensorBoard {
        self.update_freq = batches;
        self
    }

    fn train(&mut self) -> Result<&mut EventFile> {
        open(&mut self.train, &self.folder, "train")
    }
}

/// The file of a run, which begins when there is something to write.
fn open<'a>(file: &'a mut Option<EventFile>, folder: &Path, run: &str) -> Result<&'a mut EventFile> {
    if file.is_none() {
        *file = Some(EventFile::create(&folder.join(run))?);
    }
    Ok(file.as_mut().expect("just made"))
}

impl Callback for TensorBoard {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        (self.train, self.validation, self.batches) = (None, None, 0);
        self.train().map(|_| ())
    }

    fn on_batch_end(&mut self, batch: &Batch<'_>, _: &mut Model) -> Result<Flow> {
        self.batches += 1;
        if self.update_freq > 0 && self.batches.is_multiple_of(self.update_freq as u64) {
            let (loss, step) = (batch.loss()?, (batch.epoch * batch.batches + batch.batch) as u64);
            self.train()?.scalars(step, [("batch_loss".to_string(), loss)].into_iter())?;
        }
        Ok(Flow::Continue)
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, model: &mut Model) -> Result<Flow> {
        let step = epoch.epoch as u64;
        let (validation, train): (Vec<_>, Vec<_>) =
            epoch.values().into_iter().partition(|(name, _)| name.starts_with("val_"));
        self.train()?.scalars(step, train.iter().map(|(name, value)| (format!("epoch_{name}"), *value)))?;
        if !validation.is_empty() {
            let file = open(&mut self.validation, &self.folder, "validation")?;
            file.scalars(step, validation.iter().map(|(name, value)| (name.replacen("val_", "epoch_", 1), *value)))?;
        }
        if self.histogram_freq > 0 && (epoch.epoch + 1).is_multiple_of(self.histogram_freq) {
            for (name, weight) in model.named_weights() {
                // A slash makes a group of the layer.
                let (tag, values) = (name.replace('.', "/"), weight.tensor().to_vec::<f32>()?);
                self.train()?.histogram(step, &tag, &values)?;
            }
        }
        Ok(Flow::Continue)
    }
}
