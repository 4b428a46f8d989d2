//! Images that are too many for the device's memory, or for the host's: they are read as they are needed.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::dataset::Dataset;
use crate::error::{Error, Result, Skipped};
use crate::shuffle::permutation;

/// Labelled images that can be read a few at a time, by position. A [`Dataset`] is one, and so are the pictures of an
/// [`ImageFolder`](crate::ImageFolder::open); implement it for a format of your own.
pub trait Images: fmt::Debug + Send + Sync {
    /// What messages call it.
    fn name(&self) -> &str;

    /// `[H, W, C]` of every image.
    fn shape(&self) -> [usize; 3];

    /// The class of each image, known before it is read.
    fn labels(&self) -> &[u32];

    /// The classes' names.
    fn classes(&self) -> &[String];

    /// Reads the images at these positions, in this order. Those that can't be read may be left out, and
    /// [`Images::skipped`] then tells which.
    ///
    /// # Errors
    /// When too many can't be read.
    fn read(&self, positions: &[u32]) -> Result<Part>;

    /// What could not be read so far.
    fn skipped(&self) -> Vec<Skipped> {
        Vec::new()
    }
}

/// Some of the images, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The images with their labels.
    pub data: Dataset,
    /// Where each of them stands in the whole.
    pub positions: Vec<u32>,
}

impl Images for Dataset {
    fn name(&self) -> &str {
        Dataset::name(self)
    }

    fn shape(&self) -> [usize; 3] {
        Dataset::shape(self)
    }

    fn labels(&self) -> &[u32] {
        Dataset::labels(self)
    }

    fn classes(&self) -> &[String] {
        Dataset::classes(self)
    }

    fn read(&self, positions: &[u32]) -> Result<Part> {
        Ok(Part { data: self.select(positions), positions: positions.to_vec() })
    }
}

/// Feeds images to training part by part, so that a set may be larger than the device's memory: while the device works on
/// one part, a thread reads the next. Cloning is cheap.
///
/// ```
/// use tilegrad_data::{Digits, Loader};
///
/// let loader = Loader::new(Digits::all()).memory(1 << 20);
/// let (train, validation) = loader.split(0.8, 42);
/// assert_eq!((train.len(), validation.len()), (1437, 360));
/// println!("{train}"); // digits: 1437 images of 8x8x1, at most 1048576 bytes of them on the device at a time
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    images: Arc<dyn Images>,
    /// Which of them belong to this loader.
    positions: Arc<[u32]>,
    /// Of two parts.
    memory: usize,
}

impl Loader {
    /// Feeds all of these images, with 256 MiB of them on the device at a time.
    pub fn new(images: impl Images + 'static) -> Loader {
        let positions = (0..images.labels().len() as u32).collect();
        Loader { images: Arc::new(images), positions, memory: 256 << 20 }
    }

    /// How many bytes of images may lie on the device at a time: two parts, of which one is being trained on while the other
    /// is uploaded. A part has one batch at least.
    pub fn memory(mut self, bytes: usize) -> Loader {
        self.memory = bytes;
        self
    }

    /// The images behind it.
    pub fn images(&self) -> &dyn Images {
        &*self.images
    }

    /// Number of images, those that may turn out to be unreadable included.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The class of each of the loader's images.
    pub fn labels(&self) -> Vec<u32> {
        self.positions.iter().map(|&at| self.images.labels()[at as usize]).collect()
    }

    /// Two loaders that share no image: `fraction` of the images, rounded down, and the rest, drawn by `seed`.
    ///
    /// # Panics
    /// When `fraction` is not in 0..=1.
    #[track_caller]
    pub fn split(&self, fraction: f64, seed: u64) -> (Loader, Loader) {
        assert!((0.0..=1.0).contains(&fraction), "split: expected a fraction from 0 to 1, got {fraction}");
        let cut = (self.len() as f64 * fraction + 1e-6).floor() as usize;
        let drawn: Vec<u32> = permutation(self.len(), seed).iter().map(|&i| self.positions[i as usize]).collect();
        let (first, rest) = drawn.split_at(cut.min(drawn.len()));
        let part = |positions: &[u32]| Loader { positions: positions.into(), ..self.clone() };
        (part(first), part(rest))
    }

    /// Reads the loader's images in this order, `order` counting among its own, in parts of whole batches. Each comes while
    /// the one before is in use, with positions that count like `order`. Dropping the iterator ends the reading.
    pub fn parts(&self, order: Vec<u32>, batch_size: usize) -> Parts {
        let image: usize = self.images.shape().iter().product();
        let batches = (self.memory / 2 / (image * batch_size).max(1)).max(1);
        let (loader, chunk) = (self.clone(), batches * batch_size.max(1));
        // One part waits here while the next is read: with those on the device, four are in memory at most.
        let (sender, parts) = sync_channel(0);
        std::thread::spawn(move || {
            for order in order.chunks(chunk) {
                let part = loader.read(order);
                let stop = part.is_err();
                // Nobody listens any more.
                if sender.send(part).is_err() || stop {
                    return;
                }
            }
        });
        Parts(parts)
    }

    fn read(&self, order: &[u32]) -> Result<Part> {
        let positions: Vec<u32> = order.iter().map(|&i| self.positions[i as usize]).collect();
        let mut part = self.images.read(&positions)?;
        if part.positions.len() == order.len() {
            part.positions = order.to_vec();
            return Ok(part);
        }
        // The rest is in order: those that were read keep their places.
        let mut read = part.positions.iter().peekable();
        let kept = order.iter().zip(&positions).filter(|&(_, at)| read.next_if_eq(&at).is_some());
        part.positions = kept.map(|(&i, _)| i).collect();
        let (what, expected) = (self.images.name().to_string(), format!("{} positions, in order", part.data.len()));
        let got = part.positions.len().to_string();
        if part.positions.len() == part.data.len() { Ok(part) } else { Err(Error::Shape { what, expected, got }) }
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([h, w, c], memory) = (self.images.shape(), self.memory);
        let (name, count) = (self.images.name(), self.len());
        write!(f, "{name}: {count} images of {h}x{w}x{c}, at most {memory} bytes of them on the device at a time")
    }
}

/// The parts of a pass over a [`Loader`]'s images.
#[derive(Debug)]
pub struct Parts(Receiver<Result<Part>>);

impl Iterator for Parts {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Result<Part>> {
        self.0.recv().ok()
    }
}
