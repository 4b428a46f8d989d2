//! A folder of pictures, one subfolder a class: Keras's `image_dataset_from_directory`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::{Error, Result, Skipped};
use crate::loader::{Images, Part};
use crate::picture::{check_channels, check_size, decode, to_bytes};

/// What names of pictures end in, in any case of letters.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "bmp"];

/// Reads `root/class_name/*.png` (also `jpg`, `jpeg`, `bmp`) into a [`Dataset`].
///
/// Classes are the subfolders in the order of their names, and images come in the order of their paths. Names that begin
/// with a dot and files that end otherwise are passed over. Pictures are decoded on all cores, within limits: 16,384 pixels
/// a side and 256 MiB each. Resizing is bilinear, and averages where it shrinks.
///
/// ```no_run
/// use tilegrad_data::ImageFolder;
/// let pets = ImageFolder::new("pets").size([64, 64]).load()?;
/// println!("{pets}"); // pets: 24998 images of 64x64x3, 2 classes, 12499 each; 2 files skipped
/// let (train, validation) = pets.data.split(0.8, 42);
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `load`"]
pub struct ImageFolder {
    root: PathBuf,
    size: [usize; 2],
    channels: usize,
    crop: bool,
    recursive: bool,
    max_skipped: f64,
    max_bytes: usize,
}

/// What a folder held.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadedFolder {
    /// The images that could be read.
    pub data: Dataset,
    /// The files that could not, in the order of their paths.
    pub skipped: Vec<Skipped>,
}

impl fmt::Display for LoadedFolder {
    /// The dataset's line, and how many files were skipped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {} files skipped", self.data, self.skipped.len())
    }
}

impl ImageFolder {
    /// Pictures below `root`, to become 256×256×3, stretched; at most one in a hundred may be unreadable.
    pub fn new(root: impl Into<PathBuf>) -> ImageFolder {
        let (size, channels, crop, recursive) = ([256, 256], 3, false, false);
        ImageFolder { root: root.into(), size, channels, crop, recursive, max_skipped: 0.01, max_bytes: 4 << 30 }
    }

    /// Height and width of the images.
    pub fn size(mut self, size: [usize; 2]) -> ImageFolder {
        self.size = size;
        self
    }

    /// 1 for grey, 3 for red, green and blue.
    pub fn channels(mut self, channels: usize) -> ImageFolder {
        self.channels = channels;
        self
    }

    /// Takes the largest part in the middle that has the shape asked for, in place of stretching the whole.
    pub fn crop_to_aspect_ratio(mut self, crop: bool) -> ImageFolder {
        self.crop = crop;
        self
    }

    /// Also reads the folders inside the classes' folders, except through links.
    pub fn recursive(mut self, recursive: bool) -> ImageFolder {
        self.recursive = recursive;
        self
    }

    /// The share of files, 0 to 1, that may be unreadable before [`load`](ImageFolder::load) gives up.
    pub fn max_skipped(mut self, share: f64) -> ImageFolder {
        self.max_skipped = share;
        self
    }

    /// The most bytes that all images together may take in the host's memory: 4 GiB unless told otherwise.
    pub fn max_bytes(mut self, bytes: usize) -> ImageFolder {
        self.max_bytes = bytes;
        self
    }

    /// Reads everything.
    ///
    /// # Errors
    /// [`Error::Skipped`] with files and reasons when too many can't be read; [`Error::Empty`] without class folders or
    /// pictures; [`Error::Shape`] for a size, channels, a share or an amount of memory that won't do; [`Error::Io`] for a
    /// folder that can't be listed.
    pub fn load(&self) -> Result<LoadedFolder> {
        let folder = self.open()?;
        let (length, count) = (folder.image_len(), folder.paths.len());
        if length.checked_mul(count).is_none_or(|bytes| bytes > self.max_bytes) {
            let expected = format!("at most {} bytes in memory", self.max_bytes);
            let help = "`open` and a Loader read pictures as they are needed";
            let got = format!("{count} images of {length} bytes\n  help: {help}");
            return Err(Error::Shape { what: self.root.display().to_string(), expected, got });
        }
        let all: Vec<u32> = (0..count as u32).collect();
        let data = folder.read(&all)?.data;
        Ok(LoadedFolder { data, skipped: folder.skipped() })
    }

    /// Lists the pictures without reading them: for a [`Loader`](crate::Loader), which reads each when it is needed, so that
    /// there may be more than memory holds.
    ///
    /// ```no_run
    /// use tilegrad_data::{ImageFolder, Loader};
    /// let pets = Loader::new(ImageFolder::new("pets").size([224, 224]).open()?);
    /// let (train, validation) = pets.split(0.8, 42);
    /// # Ok::<(), tilegrad_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`ImageFolder::load`], but for pictures that can't be read: the loader tells of them.
    pub fn open(&self) -> Result<OpenFolder> {
        check_size(self.size)?;
        check_channels(self.channels)?;
        if !(0.0..=1.0).contains(&self.max_skipped) {
            let (what, expected) = ("max_skipped".into(), "a share from 0 to 1".into());
            return Err(Error::Shape { what, expected, got: self.max_skipped.to_string() });
        }
        let (classes, paths, labels) = self.list()?;
        let name = self.root.file_name().map_or("images".into(), |name| name.to_string_lossy().into_owned());
        Ok(OpenFolder { folder: self.clone(), name, classes, paths, labels, skipped: Mutex::default() })
    }

    /// Class names, pictures, and the class of each.
    fn list(&self) -> Result<(Vec<String>, Vec<PathBuf>, Vec<u32>)> {
        let (mut classes, mut paths, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for folder in entries(&self.root)?.into_iter().filter(|path| path.is_dir()) {
            pictures(&folder, self.recursive, &mut paths)?;
            labels.resize(paths.len(), classes.len() as u32);
            classes.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        let root = self.root.display();
        if classes.is_empty() {
            return Err(Error::Empty { what: format!("{root}: folders of classes") });
        }
        if paths.is_empty() {
            return Err(Error::Empty { what: format!("{root}: pictures ({})", ENDINGS.join(", ")) });
        }
        Ok((classes, paths, labels))
    }
}

/// The pictures of a folder, listed and not yet read.
#[derive(Debug)]
pub struct OpenFolder {
    folder: ImageFolder,
    name: String,
    classes: Vec<String>,
    paths: Vec<PathBuf>,
    labels: Vec<u32>,
    /// By position, since pictures come back each epoch.
    skipped: Mutex<BTreeMap<u32, Skipped>>,
}

impl OpenFolder {
    fn image_len(&self) -> usize {
        self.folder.size[0] * self.folder.size[1] * self.folder.channels
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Skipped>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `images`, and tells for each picture why it could not be read, if so.
    fn decode_all(&self, positions: &[u32], images: &mut [u8]) -> Vec<Option<Skipped>> {
        let ImageFolder { size, channels, crop, .. } = self.folder;
        let decode_one = |(&position, place): (&u32, &mut [u8])| {
            let path = &self.paths[position as usize];
            match decode(path) {
                Ok(picture) => {
                    place.copy_from_slice(&to_bytes(picture, size, channels, crop));
                    None
                }
                Err(reason) => Some(Skipped { path: path.clone(), reason }),
            }
        };
        positions.par_iter().zip(images.par_chunks_exact_mut(self.image_len())).map(decode_one).collect()
    }
}

impl Images for OpenFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> [usize; 3] {
        [self.folder.size[0], self.folder.size[1], self.folder.channels]
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, positions: &[u32]) -> Result<Part> {
        let mut images = vec![0; self.image_len() * positions.len()];
        let failed = self.decode_all(positions, &mut images);
        let total = self.paths.len();
        let allowed = (total as f64 * self.folder.max_skipped + 1e-6).floor() as usize;
        let unreadable = {
            let mut skipped = self.lock();
            skipped.extend(positions.iter().zip(&failed).filter_map(|(&at, why)| Some((at, why.clone()?))));
            skipped.len()
        };
        if unreadable > allowed || unreadable == total {
            return Err(Error::Skipped { root: self.folder.root.clone(), skipped: self.skipped(), total, allowed });
        }
        let positions = close_gaps(&mut images, positions, self.image_len(), &failed);
        let labels = positions.iter().map(|&at| self.labels[at as usize]).collect();
        let data = Dataset::of_part(images, self.shape(), labels, &self.classes).with_name(&self.name);
        Ok(Part { data, positions })
    }

    /// In the order of their paths.
    fn skipped(&self) -> Vec<Skipped> {
        self.lock().values().cloned().collect()
    }
}

/// Moves the images that were read to the front, cuts off the rest, and returns their positions.
fn close_gaps(images: &mut Vec<u8>, positions: &[u32], length: usize, failed: &[Option<Skipped>]) -> Vec<u32> {
    let mut kept = Vec::with_capacity(positions.len());
    for (index, &position) in positions.iter().enumerate().filter(|&(index, _)| failed[index].is_none()) {
        images.copy_within(index * length..(index + 1) * length, kept.len() * length);
        kept.push(position);
    }
    images.truncate(kept.len() * length);
    kept
}

/// Appends the pictures in `folder`, in the order of their names.
fn pictures(folder: &Path, recursive: bool, paths: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            // A link may lead back here.
            if recursive && !path.is_symlink() {
                pictures(&path, recursive, paths)?;
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e))) {
            paths.push(path);
        }
    }
    Ok(())
}

/// What is in a folder, in the order of names, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| Error::io(folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
