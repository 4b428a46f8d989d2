//! The UCI handwritten digits, part of this crate: real data that is there without a file or a network.
//!
//! *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
//! <https://doi.org/10.24432/C50P49>, licensed under
//! [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). The 1,797 images of its test part; gzipped, values
//! unchanged.

use std::sync::LazyLock;

use flate2::read::GzDecoder;

use crate::dataset::{Dataset, TrainTest};

/// 57 kB, gzipped CSV without a header line: 64 pixels 0..=16, row by row, and the digit.
static CSV: &[u8] = include_bytes!("../assets/digits.csv.gz");

/// The UCI handwritten digits: 1,797 images of 8×8×1, pixels 0..=16 (the [`scale`](Dataset::scale) is 16), ten
/// classes.
///
/// Small enough to train on in seconds on any machine, and real enough that a mistake in a network shows.
///
/// ```
/// use tilegrad_data::Digits;
/// let data = Digits::load();
/// assert_eq!(data.train.shape(), [8, 8, 1]);
/// assert_eq!(data.train.to_string(), "digits train: 1437 images of 8x8x1, 10 classes, 139 to 151 each");
/// ```
#[derive(Debug)]
pub enum Digits {}

impl Digits {
    /// 1,437 images to train on and 360 to test on, the same ones on every machine.
    ///
    /// The split is drawn by a fixed seed, since the data has none of its own. For another one, use
    /// [`Digits::all`] and [`Dataset::split`].
    pub fn load() -> TrainTest {
        let (train, test) = ALL.split(0.8, 0);
        TrainTest {
            train: train.with_name("digits train"),
            test: test.with_name("digits test"),
            folder: None,
            official: true,
        }
    }

    /// All 1,797 images in the order they are published in.
    ///
    /// ```
    /// assert_eq!(tilegrad_data::Digits::all().labels()[..5], [0, 1, 2, 3, 4]);
    /// ```
    pub fn all() -> Dataset {
        ALL.clone()
    }
}

/// Parsed on first use. The file is part of the program, so a fault in it is a bug, which the tests would find.
static ALL: LazyLock<Dataset> = LazyLock::new(|| {
    let mut images = Vec::with_capacity(1797 * 64);
    let mut labels = Vec::with_capacity(1797);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(CSV));
    for row in reader.deserialize::<Vec<u8>>() {
        let row = row.expect("the embedded digits are CSV of small numbers");
        let (&label, pixels) = row.split_last().expect("a row of the embedded digits has a label");
        images.extend_from_slice(pixels);
        labels.push(u32::from(label));
    }
    Dataset::new(images, [8, 8, 1], labels, ('0'..='9').map(String::from))
        .expect("the embedded digits are 64 pixels and a label under 10 a row")
        .with_name("digits")
        .with_scale(16.0)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_counts() {
        let digits = Digits::all();
        assert_eq!(digits.len(), 1797);
        assert_eq!(digits.class_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(digits.images().iter().max(), Some(&16));
    }

    /// The first image, a zero, as UCI prints it.
    #[test]
    fn the_first_image() {
        let digits = Digits::all();
        assert_eq!(digits.image(0)[..16], [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]);
        assert_eq!(digits.class_name(digits.label(0)), "0");
    }

    #[test]
    fn both_parts_hold_every_class() {
        let data = Digits::load();
        assert!(data.train.class_counts().iter().all(|&count| count > 100));
        assert!(data.test.class_counts().iter().all(|&count| count > 20));
        assert_eq!((data.train.scale(), data.test.scale()), (16.0, 16.0));
    }
}
