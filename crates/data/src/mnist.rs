//! MNIST: handwritten digits, 60,000 to train on and 10,000 to test on, 28×28 grey.
//!
//! Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits* (1998).

use std::path::PathBuf;

use crate::dataset::TrainTest;
use crate::error::Result;
use crate::fashion_mnist::FASHION_MNIST;
use crate::published::{Finder, Published, files};

pub(crate) static MNIST: Published = Published {
    name: "MNIST",
    folder: "mnist",
    system: &[],
    package: None,
    // The authors' own server refuses downloads most of the time; these two are what the large frameworks use.
    mirrors: &["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"],
    files: files([
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]),
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
};

/// MNIST: 60,000 + 10,000 images of handwritten digits, 28×28×1, pixels 0..=255, ten classes.
///
/// ```no_run
/// use tilegrad_data::Mnist;
/// let data = Mnist::load()?;
/// assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
/// assert_eq!(data.train.shape(), [28, 28, 1]);
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug)]
pub enum Mnist {}

impl Mnist {
    /// Reads MNIST from where it is usually found: see [`Finder::load`] for the places and the errors.
    pub fn load() -> Result<TrainTest> {
        Mnist::builder().load()
    }

    /// Reads the four files in `folder`, which need not be the published ones: see [`Finder::dir`].
    pub fn load_from(folder: impl Into<PathBuf>) -> Result<TrainTest> {
        Mnist::builder().dir(folder).load()
    }

    /// Says where to look before [`load`](Finder::load).
    pub fn builder() -> Finder {
        Finder::new(&MNIST, Some(&FASHION_MNIST))
    }
}
