//! A folder of pictures, one subfolder a class: Keras's `image_dataset_from_directory`.

use std::fmt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::{Error, Result, Skipped};
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
        check_size(self.size)?;
        check_channels(self.channels)?;
        if !(0.0..=1.0).contains(&self.max_skipped) {
            let (what, expected) = ("max_skipped".into(), "a share from 0 to 1".into());
            return Err(Error::Shape { what, expected, got: self.max_skipped.to_string() });
        }
        let (classes, paths, labels) = self.list()?;
        let length = self.size[0] * self.size[1] * self.channels;
        let bytes = length.checked_mul(paths.len()).filter(|&bytes| bytes <= self.max_bytes).ok_or_else(|| {
            let expected = format!("at most {} bytes in memory", self.max_bytes);
            let got = format!("{} images of {length} bytes", paths.len());
            Error::Shape { what: self.root.display().to_string(), expected, got }
        })?;
        let mut images = vec![0; bytes];
        let skipped = self.decode_all(&paths, length, &mut images);
        let allowed = (paths.len() as f64 * self.max_skipped + 1e-6).floor() as usize;
        let unreadable: Vec<Skipped> = skipped.iter().flatten().cloned().collect();
        if unreadable.len() > allowed || unreadable.len() == paths.len() {
            let (root, total) = (self.root.clone(), paths.len());
            return Err(Error::Skipped { root, skipped: unreadable, total, allowed });
        }
        let labels = close_gaps(&mut images, labels, length, &skipped);
        let name = self.root.file_name().map_or("images".into(), |name| name.to_string_lossy().into_owned());
        let [height, width] = self.size;
        let data = Dataset::new(images, [height, width, self.channels], labels, classes)?.with_name(name);
        Ok(LoadedFolder { data, skipped: unreadable })
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

    /// Fills `images`, and tells for each picture why it could not be read, if so.
    fn decode_all(&self, paths: &[PathBuf], length: usize, images: &mut [u8]) -> Vec<Option<Skipped>> {
        let decode_one = |(path, place): (&PathBuf, &mut [u8])| match decode(path) {
            Ok(picture) => {
                place.copy_from_slice(&to_bytes(picture, self.size, self.channels, self.crop));
                None
            }
            Err(reason) => Some(Skipped { path: path.clone(), reason }),
        };
        paths.par_iter().zip(images.par_chunks_exact_mut(length)).map(decode_one).collect()
    }
}

/// Moves the images that were read to the front, cuts off the rest, and returns their labels.
fn close_gaps(images: &mut Vec<u8>, labels: Vec<u32>, length: usize, skipped: &[Option<Skipped>]) -> Vec<u32> {
    let mut kept = Vec::with_capacity(labels.len());
    for (index, label) in labels.into_iter().enumerate().filter(|&(index, _)| skipped[index].is_none()) {
        images.copy_within(index * length..(index + 1) * length, kept.len() * length);
        kept.push(label);
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
