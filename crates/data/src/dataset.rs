//! Labelled images in the host's memory, checked once so that nothing downstream has to.
//!
//! A [`Dataset`] holds bytes, not floats: 60,000 images of 28×28 are 47 MB as bytes and 188 MB as `f32`, and the
//! device turns bytes into floats for free while it gathers a batch. [`Dataset::scale`] is what to divide by.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::shuffle::permutation;

/// Labelled images, `(N, H, W, C)` bytes and `(N,)` class numbers.
///
/// Whoever holds one knows: every image has the same shape with no zero in it, there are as many labels as
/// images, and every label is under the number of classes. There may be no images: [`Dataset::new`] refuses that,
/// since data from outside that is empty is a mistake, but [`Dataset::take`] and [`Dataset::split`] allow it.
///
/// ```
/// use tilegrad_data::Dataset;
///
/// let images = vec![0, 255, 0, 255, 255, 0, 255, 0]; // two images of 2×2 pixels, one channel
/// let data = Dataset::new(images, [2, 2, 1], vec![0, 1], ["rising", "falling"])?.with_name("diagonals");
/// assert_eq!(data.image(1), [255, 0, 255, 0]);
/// assert_eq!(data.class_name(data.label(1)), "falling");
/// assert_eq!(data.to_string(), "diagonals: 2 images of 2x2x1, 2 classes, 1 each");
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    name: String,
    images: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
    classes: Arc<[String]>,
    scale: f32,
}

impl Dataset {
    /// A dataset of `images`, row-major `(N, H, W, C)`, with `shape` `[H, W, C]`, `labels` `(N,)` and the classes'
    /// names. Its name is `"dataset"` and its scale 255 until [`with_name`](Dataset::with_name) and
    /// [`with_scale`](Dataset::with_scale) say otherwise.
    ///
    /// # Errors
    /// - [`Error::Empty`] without images or without classes,
    /// - [`Error::Shape`] when `shape` has a zero, when the bytes are no whole number of images, when there are not
    ///   as many labels as images, or when there are 2³² images or more (the device counts them in `u32`),
    /// - [`Error::Label`] for the first label that is not under the number of classes.
    pub fn new<S: Into<String>>(
        images: Vec<u8>,
        shape: [usize; 3],
        labels: Vec<u32>,
        classes: impl IntoIterator<Item = S>,
    ) -> Result<Dataset> {
        let classes: Arc<[String]> = classes.into_iter().map(Into::into).collect();
        let refuse = |what: &str, expected: String, got: String| Error::Shape { what: what.into(), expected, got };
        let pixels = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let Some(pixels) = pixels.filter(|&pixels| pixels > 0) else {
            return Err(refuse("image shape [H, W, C]", "three sizes of at least 1".into(), format!("{shape:?}")));
        };
        if images.is_empty() {
            return Err(Error::Empty { what: "images".into() });
        }
        if classes.is_empty() {
            return Err(Error::Empty { what: "classes".into() });
        }
        if !images.len().is_multiple_of(pixels) {
            let expected = format!("a multiple of {pixels} bytes for images of {shape:?}");
            return Err(refuse("images", expected, format!("{} bytes", images.len())));
        }
        let count = images.len() / pixels;
        if u32::try_from(count).is_err() {
            return Err(refuse("images", "fewer than 2^32".into(), count.to_string()));
        }
        if labels.len() != count {
            return Err(refuse("labels", format!("{count}, one an image"), labels.len().to_string()));
        }
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes.len()) {
            let label = labels[index];
            return Err(Error::Label { origin: "labels".into(), index, label, classes: classes.len() });
        }
        Ok(Dataset { name: "dataset".into(), images, labels, shape, classes, scale: 255.0 })
    }

    /// The same data under another name, for messages and summaries.
    pub fn with_name(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// The same data with another [`scale`](Dataset::scale).
    ///
    /// # Panics
    /// When `scale` is not a positive, finite number.
    #[track_caller]
    pub fn with_scale(mut self, scale: f32) -> Dataset {
        assert!(scale.is_finite() && scale > 0.0, "with_scale: expected a positive, finite scale, got {scale}");
        self.scale = scale;
        self
    }

    /// What the dataset is called, such as `"MNIST train"`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of one image, `[H, W, C]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of bytes of one image, H·W·C.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The byte that stands for full brightness: a pixel divided by `scale` is in 0..=1.
    ///
    /// 255 for MNIST and Fashion-MNIST, 16 for the digits.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// All images, row-major `(N, H, W, C)`.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// All labels, `(N,)`, each under [`classes().len()`](Dataset::classes).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The image at `index`, row-major `(H, W, C)`.
    ///
    /// # Panics
    /// When `index` is not under [`len`](Dataset::len).
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        self.check_index("image", index);
        let length = self.image_len();
        &self.images[index * length..][..length]
    }

    /// The label of the image at `index`.
    ///
    /// # Panics
    /// When `index` is not under [`len`](Dataset::len).
    #[track_caller]
    pub fn label(&self, index: usize) -> u32 {
        self.check_index("label", index);
        self.labels[index]
    }

    /// The name of the class that `label` stands for.
    ///
    /// # Panics
    /// When there is no such class. A label of this dataset always has one.
    #[track_caller]
    pub fn class_name(&self, label: u32) -> &str {
        match self.classes.get(label as usize) {
            Some(name) => name,
            None => panic!("class_name: {} has {} classes, got label {label}", self.name, self.classes.len()),
        }
    }

    /// How many images each class has, `(classes,)`.
    ///
    /// ```
    /// let digits = tilegrad_data::Digits::all();
    /// assert_eq!(digits.class_counts().iter().sum::<usize>(), digits.len());
    /// ```
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// The first `count` images, or all when there are fewer.
    pub fn take(&self, count: usize) -> Dataset {
        let count = count.min(self.len());
        Dataset {
            name: self.name.clone(),
            images: self.images[..count * self.image_len()].to_vec(),
            labels: self.labels[..count].to_vec(),
            shape: self.shape,
            classes: self.classes.clone(),
            scale: self.scale,
        }
    }

    /// The images at `indices`, in that order; an index may come more than once.
    ///
    /// # Panics
    /// When an index is not under [`len`](Dataset::len).
    #[track_caller]
    pub fn select(&self, indices: &[u32]) -> Dataset {
        let mut images = Vec::with_capacity(indices.len() * self.image_len());
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            images.extend_from_slice(self.image(index as usize));
            labels.push(self.labels[index as usize]);
        }
        Dataset {
            name: self.name.clone(),
            images,
            labels,
            shape: self.shape,
            classes: self.classes.clone(),
            scale: self.scale,
        }
    }

    /// The same images in an order that depends on `seed` only, on every machine.
    ///
    /// ```
    /// let digits = tilegrad_data::Digits::all().take(20);
    /// assert_eq!(digits.shuffle(1), digits.shuffle(1));
    /// assert_ne!(digits.shuffle(1), digits.shuffle(2));
    /// ```
    pub fn shuffle(&self, seed: u64) -> Dataset {
        self.select(&permutation(self.len(), seed))
    }

    /// Two datasets that share no image: `fraction` of the images, rounded down, and the rest, drawn by `seed`.
    ///
    /// ```
    /// let (train, validation) = tilegrad_data::Digits::all().split(0.8, 42);
    /// assert_eq!((train.len(), validation.len()), (1437, 360));
    /// ```
    ///
    /// # Panics
    /// When `fraction` is not in 0..=1.
    #[track_caller]
    pub fn split(&self, fraction: f64, seed: u64) -> (Dataset, Dataset) {
        assert!((0.0..=1.0).contains(&fraction), "split: expected a fraction from 0 to 1, got {fraction}");
        // 0.29 of 100 is 28.999999999999996 in binary and must still give 29.
        let first = (self.len() as f64 * fraction + 1e-6).floor() as usize;
        let order = permutation(self.len(), seed);
        let (first, rest) = order.split_at(first.min(self.len()));
        (self.select(first), self.select(rest))
    }

    /// Images that whoever calls has checked; there may be none.
    pub(crate) fn of_part(images: Vec<u8>, shape: [usize; 3], labels: Vec<u32>, classes: &[String]) -> Dataset {
        debug_assert_eq!(images.len(), labels.len() * shape.iter().product::<usize>());
        Dataset { name: "dataset".into(), images, labels, shape, classes: classes.into(), scale: 255.0 }
    }

    /// The same images under other labels.
    pub(crate) fn relabelled(self, labels: Vec<u32>, classes: Vec<String>) -> Dataset {
        Dataset { labels, classes: classes.into(), ..self }
    }

    #[track_caller]
    fn check_index(&self, method: &str, index: usize) {
        assert!(index < self.len(), "{method}: {} has {} images, got index {index}", self.name, self.len());
    }
}

impl fmt::Display for Dataset {
    /// One line: name, number and shape of the images, number of classes, images a class.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w, c] = self.shape;
        let classes = self.classes.len();
        write!(f, "{}: {} images of {h}x{w}x{c}, {classes} classes", self.name, self.len())?;
        let counts = self.class_counts();
        let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
        if least == most { write!(f, ", {least} each") } else { write!(f, ", {least} to {most} each") }
    }
}

/// A dataset in the two parts it is published in, and where it came from.
///
/// ```
/// let data = tilegrad_data::Digits::load();
/// assert_eq!((data.train.len(), data.test.len()), (1437, 360));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainTest {
    /// What to train on.
    pub train: Dataset,
    /// What to measure on.
    pub test: Dataset,
    /// The folder the files were in; `None` for data that is part of this crate.
    pub folder: Option<PathBuf>,
    /// Whether the content is the published one, by its checksums.
    pub official: bool,
}

impl fmt::Display for TrainTest {
    /// A line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.train, self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` images of 1×2×1 that hold their own index, labels 0, 1, 2, 0, ...
    fn numbered(count: usize) -> Dataset {
        let images = (0..count).flat_map(|i| [i as u8, i as u8]).collect();
        Dataset::new(images, [1, 2, 1], (0..count as u32).map(|i| i % 3).collect(), ["a", "b", "c"]).unwrap()
    }

    fn error(images: usize, shape: [usize; 3], labels: Vec<u32>, classes: &[&str]) -> String {
        Dataset::new(vec![0; images], shape, labels, classes.iter().copied()).unwrap_err().to_string()
    }

    #[test]
    fn new_checks_everything() {
        assert_eq!(error(0, [2, 2, 1], vec![], &["a"]), "images: expected at least one, got none");
        assert_eq!(error(4, [2, 2, 1], vec![0], &[]), "classes: expected at least one, got none");
        assert_eq!(
            error(5, [2, 2, 1], vec![0], &["a"]),
            "images: expected a multiple of 4 bytes for images of [2, 2, 1], got 5 bytes"
        );
        assert_eq!(error(8, [2, 2, 1], vec![0], &["a"]), "labels: expected 2, one an image, got 1");
        assert_eq!(
            error(8, [2, 2, 1], vec![0, 2], &["a", "b"]),
            "labels: label at index 1: expected a class from 0 to 1, got 2"
        );
        let zero = "image shape [H, W, C]: expected three sizes of at least 1, got [2, 0, 1]";
        assert_eq!(error(8, [2, 0, 1], vec![0], &["a"]), zero);
        // Wraps to 0 in 64 bits.
        assert!(error(8, [1 << 32, 1 << 31, 2], vec![0], &["a"]).starts_with("image shape"));
    }

    #[test]
    fn images_keep_their_labels_when_shuffled() {
        let shuffled = numbered(50).shuffle(9);
        for i in 0..50 {
            assert_eq!(u32::from(shuffled.image(i)[0]) % 3, shuffled.label(i));
        }
        assert_ne!(shuffled, numbered(50));
    }

    #[test]
    fn split_shares_nothing_and_loses_nothing() {
        for fraction in [0.0, 0.1, 0.5, 0.99, 1.0] {
            let (first, rest) = numbered(100).split(fraction, 3);
            assert_eq!(first.len(), (100.0 * fraction) as usize);
            let mut seen: Vec<u8> = (0..first.len()).map(|i| first.image(i)[0]).collect();
            seen.extend((0..rest.len()).map(|i| rest.image(i)[0]));
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..100));
        }
        assert_eq!(numbered(100).split(0.29, 0).0.len(), 29);
    }

    #[test]
    fn an_empty_part_works() {
        let none = numbered(3).take(0);
        assert!(none.is_empty());
        assert_eq!(none.class_counts(), [0, 0, 0]);
        assert_eq!(none.to_string(), "dataset: 0 images of 1x2x1, 3 classes, 0 each");
        assert_eq!(none.shuffle(1), none);
        assert_eq!(none.split(0.5, 1).1, none);
    }

    #[test]
    fn take_is_the_front_and_at_most_all() {
        assert_eq!(numbered(5).take(2).labels(), [0, 1]);
        assert_eq!(numbered(5).take(9), numbered(5));
    }

    #[test]
    fn summary_says_when_classes_differ() {
        assert_eq!(numbered(4).to_string(), "dataset: 4 images of 1x2x1, 3 classes, 1 to 2 each");
    }

    #[test]
    #[should_panic(expected = "image: dataset has 2 images, got index 2")]
    fn an_index_past_the_end_is_named() {
        numbered(2).image(2);
    }

    #[test]
    #[should_panic(expected = "split: expected a fraction from 0 to 1, got NaN")]
    fn split_refuses_nan() {
        let _ = numbered(2).split(f64::NAN, 0);
    }
}
