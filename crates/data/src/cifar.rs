//! CIFAR-10: small colour photographs in its authors' binary format.
//!
//! A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images* (2009). A file is records of 3073 bytes: the
//! class, then 1024 bytes each of red, green and blue, row by row.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::dataset::{Dataset, TrainTest};
use crate::error::{Error, Result, Tried};
use crate::locate::DATA_VARIABLE;

/// Height and width.
const SIDE: usize = 32;
/// Bytes of one colour of an image.
const PLANE: usize = SIDE * SIDE;
/// Bytes of a class and its image.
const RECORD: usize = 1 + 3 * PLANE;
/// The most that is read of one file: ten times what a published one has.
const MAX_RECORDS: usize = 100_000;

const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: &str = "test_batch.bin";
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// The folder in the authors' archive, and ours.
const FOLDERS: [&str; 2] = ["cifar-10-batches-bin", "cifar10"];

/// CIFAR-10: 50,000 + 10,000 photographs, 32×32×3, pixels 0..=255, ten classes.
///
/// The files are the six `.bin` of the authors' archive `cifar-10-binary.tar.gz`, each plain or gzipped. They need not
/// be the published ones; [`TrainTest::official`] is false, since no checksums are compared.
///
/// ```no_run
/// use tilegrad_data::Cifar10;
/// let data = Cifar10::load()?;
/// assert_eq!((data.train.len(), data.test.len()), (50_000, 10_000));
/// assert_eq!(data.train.shape(), [32, 32, 3]);
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug)]
pub enum Cifar10 {}

impl Cifar10 {
    /// Reads the files from `TILEGRAD_DATA` (its subfolders `cifar-10-batches-bin` and `cifar10`, then the folder
    /// itself), or from the same subfolders of `tilegrad` in the user's cache.
    ///
    /// # Errors
    /// [`Error::Missing`] when no folder has all six files; [`Error::Malformed`], [`Error::Label`], [`Error::Empty`] or
    /// [`Error::Io`] when a file cannot be used.
    pub fn load() -> Result<TrainTest> {
        let mut folders = Vec::new();
        if let Some(root) = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) {
            folders.extend(FOLDERS.map(|name| root.join(name)));
            folders.push(root);
        }
        if let Some(cache) = dirs::cache_dir() {
            folders.extend(FOLDERS.map(|name| cache.join("tilegrad").join(name)));
        }
        load_first(folders, format!("or set {DATA_VARIABLE} to a folder that holds them"))
    }

    /// Reads the files in `folder` or in its subfolder `cifar-10-batches-bin` or `cifar10`.
    ///
    /// # Errors
    /// As [`Cifar10::load`].
    pub fn load_from(folder: impl Into<PathBuf>) -> Result<TrainTest> {
        let root = folder.into();
        let mut folders = vec![root.clone()];
        folders.extend(FOLDERS.map(|name| root.join(name)));
        load_first(folders, "or load without a folder to have the usual ones searched".into())
    }
}

/// Reads from the first folder that has all files.
fn load_first(folders: Vec<PathBuf>, help: String) -> Result<TrainTest> {
    let names = || TRAIN.into_iter().chain([TEST]);
    let mut tried = Vec::new();
    for folder in folders {
        let lacks: Vec<&str> = names().filter(|name| file_in(&folder, name).is_none()).collect();
        if lacks.is_empty() {
            let paths = |names: &[&str]| names.iter().filter_map(|name| file_in(&folder, name)).collect::<Vec<_>>();
            let train = read(&paths(&TRAIN))?.with_name("CIFAR-10 train");
            let test = read(&paths(&[TEST]))?.with_name("CIFAR-10 test");
            return Ok(TrainTest { train, test, folder: Some(folder), official: false });
        }
        let reason = if folder.is_dir() { format!("lacks {}", lacks.join(", ")) } else { "no such folder".into() };
        tried.push(Tried { folder, reason });
    }
    let archive = "unpack cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html in one of them";
    let files = names().map(String::from).collect();
    Err(Error::Missing { dataset: "CIFAR-10", files, tried, help: vec![archive.into(), help] })
}

/// The path of a file, plain or gzipped.
fn file_in(folder: &Path, name: &str) -> Option<PathBuf> {
    ["", ".gz"].into_iter().map(|gz| folder.join(format!("{name}{gz}"))).find(|path| path.is_file())
}

/// The images of all files, one after the other.
fn read(paths: &[PathBuf]) -> Result<Dataset> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = read_records(path)?;
        images.reserve(bytes.len());
        for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
            let label = u32::from(record[0]);
            if label as usize >= CLASSES.len() {
                let origin = path.display().to_string();
                return Err(Error::Label { origin, index, label, classes: CLASSES.len() });
            }
            labels.push(label);
            // Planes of colours become pixels of three.
            images.extend((0..PLANE).flat_map(|pixel| [0, 1, 2].map(|colour| record[1 + colour * PLANE + pixel])));
        }
    }
    Dataset::new(images, [SIDE, SIDE, 3], labels, CLASSES)
}

/// The content of a file, a whole number of records, at least one.
fn read_records(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let limit = MAX_RECORDS * RECORD;
    let mut bytes = Vec::new();
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).take(limit as u64 + 1).read_to_end(&mut bytes)
    } else {
        file.take(limit as u64 + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| Error::io(path, error))?;
    let malformed = |expected: String, got: String| {
        let offset = (bytes.len() / RECORD * RECORD) as u64;
        Error::Malformed { path: path.to_path_buf(), offset, what: "size", expected, got }
    };
    match bytes.len() {
        0 => Err(Error::Empty { what: path.display().to_string() }),
        size if size > limit => Err(malformed(format!("at most {limit} bytes"), "more".into())),
        size if !size.is_multiple_of(RECORD) => {
            Err(malformed(format!("a multiple of {RECORD} bytes, a class and an image"), format!("{size} bytes")))
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose red, green and blue bytes tell colour and pixel apart.
    fn record(label: u8) -> Vec<u8> {
        let planes = (0..3u8).flat_map(|colour| (0..PLANE).map(move |pixel| (pixel % 80) as u8 + 80 * colour));
        std::iter::once(label).chain(planes).collect()
    }

    fn write(folder: &Path) {
        for (number, name) in TRAIN.into_iter().enumerate() {
            std::fs::write(folder.join(name), record(number as u8)).unwrap();
        }
        std::fs::write(folder.join(TEST), [record(9), record(8)].concat()).unwrap();
    }

    fn fault(name: &str, content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        std::fs::write(folder.path().join(name), content).unwrap();
        let error = Cifar10::load_from(folder.path()).unwrap_err();
        error.to_string().replace(&folder.path().display().to_string(), "D")
    }

    #[test]
    fn batches_come_in_order_with_colours_last() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDERS[0]);
        std::fs::create_dir(&folder).unwrap();
        write(&folder);
        let data = Cifar10::load_from(root.path()).unwrap();
        assert_eq!(data.folder.as_deref(), Some(&*folder));
        assert_eq!((data.train.labels(), data.test.labels()), (&[0, 1, 2, 3, 4][..], &[9, 8][..]));
        assert_eq!(data.train.shape(), [32, 32, 3]);
        assert_eq!(data.train.image(0)[3 * 33..][..3], [33, 113, 193], "the second pixel of the second row");
        assert_eq!(data.test.class_name(9), "truck");
    }

    #[test]
    fn faults_name_file_expected_and_found() {
        assert_eq!(
            fault(TEST, &record(1)[..3000]),
            "D/test_batch.bin: at byte 0: size: expected a multiple of 3073 bytes, a class and an image, got 3000 bytes"
        );
        let second_cut = [record(1), vec![1]].concat();
        assert!(fault(TRAIN[1], &second_cut).contains("data_batch_2.bin: at byte 3073: size: expected a multiple"));
        assert_eq!(fault(TRAIN[0], &[]), "D/data_batch_1.bin: expected at least one, got none");
        assert_eq!(
            fault(TRAIN[4], &[record(3), record(10)].concat()),
            "D/data_batch_5.bin: label at index 1: expected a class from 0 to 9, got 10"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        std::fs::remove_file(folder.path().join(TRAIN[2])).unwrap();
        let message = Cifar10::load_from(folder.path()).unwrap_err().to_string();
        assert!(message.contains("(lacks data_batch_3.bin)") && message.contains("cifar-10-binary"), "{message}");
    }
}
