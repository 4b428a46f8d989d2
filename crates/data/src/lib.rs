//! Real images with labels, read from disk or built in, and checked before anything is computed with them.
//!
//! | dataset | images | from |
//! |---|---|---|
//! | [`Digits`] | 1,797 of 8×8 grey | part of this crate |
//! | [`Mnist`] | 70,000 of 28×28 grey | files on disk, or a download |
//! | [`FashionMnist`] | 70,000 of 28×28 grey | files on disk, or a download |
//! | [`Cifar10`] | 60,000 of 32×32 in colour | files on disk |
//! | your own | any | [`ImageFolder`]: PNG, JPEG and BMP files, a folder a class |
//! | larger than memory | any | [`Loader`]: a folder or another source, read as it is needed |
//! | your own | any | [`Dataset::new`] from arrays, [`idx`] files |
//!
//! ```
//! use tilegrad_data::Digits;
//!
//! let data = Digits::load();
//! let (train, validation) = data.train.split(0.9, 42);
//! assert_eq!((train.len(), validation.len(), data.test.len()), (1293, 144, 360));
//!
//! let pixel = f32::from(train.image(0)[0]) / train.scale(); // 0.0 to 1.0
//! assert!((0.0..=1.0).contains(&pixel));
//! ```
//!
//! Images are bytes in Keras's layout, `(N, H, W, C)`; labels are class numbers. Random order comes from a seed and
//! is the same on every machine: see [`shuffle`].
//!
//! MNIST and Fashion-MNIST are four IDX files each, plain or gzipped. [`Mnist::load`] and [`FashionMnist::load`] look
//! for them in `TILEGRAD_DATA`, in the folder of Debian's package, and in the user's cache; with the feature
//! `download` they fetch what is missing. [`Finder`] has the details, and the error says what to do when nothing
//! is found.

mod cifar;
mod contact_sheet;
mod dataset;
mod digits;
#[cfg(feature = "download")]
mod download;
mod error;
mod fashion_mnist;
pub mod idx;
mod image_folder;
mod loader;
mod locate;
mod mnist;
mod picture;
mod published;
mod sampling;
pub mod shuffle;

pub use cifar::Cifar10;
pub use dataset::{Dataset, TrainTest};
pub use digits::Digits;
pub use error::{Error, Result, Skipped, Tried};
pub use fashion_mnist::FashionMnist;
pub use image_folder::{ImageFolder, LoadedFolder, OpenFolder};
pub use loader::{Images, Loader, Part, Parts};
pub use locate::DATA_VARIABLE;
pub use mnist::Mnist;
pub use picture::read_image;
pub use published::Finder;
