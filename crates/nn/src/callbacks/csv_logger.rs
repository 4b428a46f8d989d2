//! A table of all epochs in a file.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use tilegrad_core::{Error, Result};

use super::{Callback, Flow};
use crate::history::Epoch;
use crate::model::Model;

/// Writes a row for each epoch to a CSV file: the epoch from 0, then all values. Keras's `CSVLogger`.
///
/// ```no_run
/// # fn main() -> tilegrad_core::Result<()> {
/// # let (mut model, data) = (tilegrad_nn::Sequential::empty(), tilegrad_data::Digits::load().train);
/// use tilegrad_nn::{CsvLogger, FitOptions};
/// model.fit(&data, FitOptions::new().epochs(5).callback(CsvLogger::new("training.csv")))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CsvLogger {
    path: PathBuf,
    append: bool,
    writer: Option<csv::Writer<File>>,
}

impl CsvLogger {
    /// Writes to this file, which starts anew.
    pub fn new(path: impl Into<PathBuf>) -> CsvLogger {
        CsvLogger { path: path.into(), append: false, writer: None }
    }

    /// Whether rows are added to a file that is there: training that goes on.
    pub fn append(mut self, append: bool) -> CsvLogger {
        self.append = append;
        self
    }

    fn error(&self, e: csv::Error) -> Error {
        Error::io(&self.path, std::io::Error::other(e))
    }
}

impl Callback for CsvLogger {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.writer = None;
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &Epoch, _: &mut Model) -> Result<Flow> {
        let values = epoch.values();
        if self.writer.is_none() {
            let mut options = OpenOptions::new();
            let file = if self.append { options.append(true) } else { options.write(true).truncate(true) };
            let file = file.create(true).open(&self.path).map_err(|e| Error::io(&self.path, e))?;
            let is_new = file.metadata().map_err(|e| Error::io(&self.path, e))?.len() == 0;
            let mut writer = csv::Writer::from_writer(file);
            if is_new {
                let names = std::iter::once("epoch").chain(values.iter().map(|(name, _)| name.as_str()));
                writer.write_record(names).map_err(|e| self.error(e))?;
            }
            self.writer = Some(writer);
        }
        let row = std::iter::once(epoch.epoch.to_string()).chain(values.iter().map(|(_, value)| value.to_string()));
        let writer = self.writer.as_mut().expect("just opened");
        let done = writer.write_record(row).and_then(|()| Ok(writer.flush()?));
        done.map_err(|e| self.error(e))?;
        Ok(Flow::Continue)
    }
}
