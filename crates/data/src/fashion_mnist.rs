//! Fashion-MNIST: pieces of clothing in MNIST's format, harder to tell apart than digits.
//!
//! H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
//! Algorithms* (2017), arXiv:1708.07747; MIT licence.

use std::path::PathBuf;

use crate::dataset::TrainTest;
use crate::error::Result;
use crate::mnist::MNIST;
use crate::published::{Finder, Published, files};

pub(crate) static FASHION_MNIST: Published = Published {
    name: "Fashion-MNIST",
    folder: "fashion-mnist",
    system: &["/usr/share/datasets/fashion-mnist"],
    package: Some("on Debian, install the package dataset-fashion-mnist"),
    // The first is the one the authors name; it has no HTTPS, which the checksums make up for.
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
    files: files([
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ]),
    classes: ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
};

/// Fashion-MNIST: 60,000 + 10,000 images of clothing, 28×28×1, pixels 0..=255, ten classes.
///
/// ```no_run
/// use tilegrad_data::FashionMnist;
/// let data = FashionMnist::load()?;
/// assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
/// assert_eq!(data.train.class_name(9), "Ankle boot");
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug)]
pub enum FashionMnist {}

impl FashionMnist {
    /// Reads Fashion-MNIST from where it is usually found: see [`Finder::load`] for the places and the errors.
    pub fn load() -> Result<TrainTest> {
        FashionMnist::builder().load()
    }

    /// Reads the four files in `folder`, which need not be the published ones: see [`Finder::dir`].
    pub fn load_from(folder: impl Into<PathBuf>) -> Result<TrainTest> {
        FashionMnist::builder().dir(folder).load()
    }

    /// Says where to look before [`load`](Finder::load).
    pub fn builder() -> Finder {
        Finder::new(&FASHION_MNIST, Some(&MNIST))
    }
}
