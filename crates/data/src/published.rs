//! What MNIST and Fashion-MNIST share: four IDX files of published content, read and checked.

use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, TrainTest};
use crate::error::{Error, Result};
use crate::idx;
use crate::locate::{DATA_VARIABLE, Found, Places, find};

/// A dataset of four IDX files whose content is known.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The name of its folder below `TILEGRAD_DATA` and in the cache.
    pub(crate) folder: &'static str,
    /// Folders that a system's package puts it in.
    pub(crate) system: &'static [&'static str],
    /// How to get such a package, for messages.
    pub(crate) package: Option<&'static str>,
    /// Addresses of folders to download from, each ending in `/`.
    #[cfg_attr(not(feature = "download"), expect(dead_code))]
    pub(crate) mirrors: &'static [&'static str],
    /// Training images and labels, test images and labels.
    pub(crate) files: [PublishedFile; 4],
    /// The names of the classes.
    pub(crate) classes: [&'static str; 10],
}

/// Where the test labels are in [`Published::files`].
pub(crate) const TEST_LABELS: usize = 3;

/// One file of a [`Published`] dataset.
#[derive(Debug, Clone)]
pub(crate) struct PublishedFile {
    /// The name up to the last dash.
    pub(crate) stem: &'static str,
    /// The rest of the name.
    pub(crate) ending: &'static str,
    /// The number of dimensions, 3 for images and 1 for labels.
    pub(crate) rank: usize,
    /// The SHA-256 of the decompressed file, in lower-case hexadecimal.
    pub(crate) sha256: &'static str,
}

impl PublishedFile {
    /// The official name, without `.gz`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.stem, self.ending)
    }
}

/// The four files under their official names, with these checksums.
pub(crate) const fn files(sha256: [&'static str; 4]) -> [PublishedFile; 4] {
    let [train_images, train_labels, test_images, test_labels] = sha256;
    [
        PublishedFile { stem: "train-images", ending: "idx3-ubyte", rank: 3, sha256: train_images },
        PublishedFile { stem: "train-labels", ending: "idx1-ubyte", rank: 1, sha256: train_labels },
        PublishedFile { stem: "t10k-images", ending: "idx3-ubyte", rank: 3, sha256: test_images },
        PublishedFile { stem: "t10k-labels", ending: "idx1-ubyte", rank: 1, sha256: test_labels },
    ]
}

/// Finds and reads MNIST or Fashion-MNIST; made by `builder()` of either.
///
/// ```no_run
/// use tilegrad_data::FashionMnist;
/// let data = FashionMnist::builder().dir("my/own/files").load()?;
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `load`"]
pub struct Finder {
    dataset: &'static Published,
    twin: Option<&'static Published>,
    dir: Option<PathBuf>,
    offline: bool,
}

impl Finder {
    pub(crate) fn new(dataset: &'static Published, twin: Option<&'static Published>) -> Finder {
        Finder { dataset, twin, dir: None, offline: false }
    }

    /// Reads from this folder, or from its subfolder of the dataset's name, and from nowhere else.
    ///
    /// The files need not be the published ones: a subset or labels of your own are fine as long as they are
    /// IDX, images and labels match in number, and labels are 0 to 9.
    pub fn dir(mut self, folder: impl Into<PathBuf>) -> Finder {
        self.dir = Some(folder.into());
        self
    }

    /// Never downloads, whether or not the feature `download` is on.
    pub fn offline(mut self) -> Finder {
        self.offline = true;
        self
    }

    /// Looks in the folder named, or else in `TILEGRAD_DATA`, the system's packages and the user's cache; then, with
    /// the feature `download`, fetches the files into the cache.
    ///
    /// # Errors
    /// [`Error::Missing`] when no folder has all four files; [`Error::WrongDataset`] when the folder named holds
    /// MNIST in place of Fashion-MNIST or the other way round; [`Error::Checksum`] when files of a package or
    /// the cache are not the published ones; [`Error::Malformed`], [`Error::Label`], [`Error::Shape`],
    /// [`Error::Empty`] or [`Error::Io`] when a file cannot be used; [`Error::Download`].
    pub fn load(self) -> Result<TrainTest> {
        let places = Places::of(self.dataset, self.dir.clone());
        self.load_from_places(&places)
    }

    fn load_from_places(&self, places: &Places) -> Result<TrainTest> {
        let found = find(self.dataset, self.twin, places)?;
        #[cfg(feature = "download")]
        if let (None, false, Some(cache)) = (&places.named, self.offline, &places.cache) {
            return match found {
                Ok(found) if &found.folder != cache => read(self.dataset, &found),
                // What is in the cache is checked file by file, and only what is not right is fetched.
                _ => {
                    crate::download::fetch(self.dataset, self.dataset.mirrors, cache)?;
                    let only_cache = Places { cache: Some(cache.clone()), ..Places::default() };
                    let found = find(self.dataset, self.twin, &only_cache)?;
                    read(self.dataset, &found.map_err(|tried| self.missing(places, tried))?)
                }
            };
        }
        read(self.dataset, &found.map_err(|tried| self.missing(places, tried))?)
    }

    fn missing(&self, places: &Places, tried: Vec<crate::error::Tried>) -> Error {
        let Published { name, folder, package, .. } = self.dataset;
        let mut help = Vec::new();
        if places.named.is_some() {
            help.push("put the files there, or load without a folder to have the usual ones searched".into());
        } else {
            help.push(format!(
                "set {DATA_VARIABLE} to a folder that holds the files, or that holds them in a subfolder {folder}"
            ));
            if let Some(package) = package {
                help.push((*package).into());
            }
            if self.offline {
                help.push("load without `offline` to have them downloaded (feature `download`)".into());
            } else if cfg!(not(feature = "download")) {
                help.push("build tilegrad with the feature `download` to have them fetched into the cache".into());
            }
            help.push("in a checkout of tilegrad, run scripts/setup.sh".into());
        }
        Error::Missing { dataset: name, files: self.dataset.files.each_ref().map(|f| f.name()).into(), tried, help }
    }
}

/// Reads and checks the files found.
fn read(dataset: &Published, found: &Found) -> Result<TrainTest> {
    let mut official = true;
    let mut contents = Vec::with_capacity(4);
    for (file, path) in dataset.files.iter().zip(&found.files) {
        let idx = idx::read_rank(path, file.rank)?;
        let hash = idx.sha256();
        if hash != file.sha256 {
            if !found.chosen {
                return Err(Error::Checksum { path: path.clone(), expected: file.sha256.into(), got: hash });
            }
            official = false;
        }
        contents.push(idx);
    }
    let mut contents = contents.into_iter();
    let mut part = |which: &str, [images, labels]: [&Path; 2]| {
        let (image_idx, label_idx) = contents.next().zip(contents.next()).expect("four files were read");
        pair(dataset, image_idx, images, label_idx, labels)
            .map(|data| data.with_name(format!("{} {which}", dataset.name)))
    };
    let train = part("train", [&found.files[0], &found.files[1]])?;
    let test = part("test", [&found.files[2], &found.files[3]])?;
    if train.shape() != test.shape() {
        return Err(Error::Shape {
            what: format!("{}: images", found.files[2].display()),
            expected: format!("{:?} as in the training set", train.shape()),
            got: format!("{:?}", test.shape()),
        });
    }
    Ok(TrainTest { train, test, folder: Some(found.folder.clone()), official })
}

/// Images `(N, H, W)` and labels `(N,)` as a dataset of `(N, H, W, 1)`, with faults told in terms of the files.
fn pair(
    dataset: &Published,
    images: idx::Idx,
    image_path: &Path,
    labels: idx::Idx,
    label_path: &Path,
) -> Result<Dataset> {
    let (count, h, w) = (images.shape()[0], images.shape()[1], images.shape()[2]);
    if count == 0 {
        return Err(Error::Empty { what: image_path.display().to_string() });
    }
    if labels.shape()[0] != count {
        return Err(Error::Malformed {
            path: label_path.to_path_buf(),
            offset: 4,
            what: "number of labels",
            expected: format!("{count}, as many as images in {}", image_path.display()),
            got: labels.shape()[0].to_string(),
        });
    }
    let labels = labels.values().iter().copied().map(u32::from).collect();
    Dataset::new(images.into_values(), [h, w, 1], labels, dataset.classes).map_err(|error| match error {
        Error::Label { index, label, classes, .. } => {
            Error::Label { origin: label_path.display().to_string(), index, label, classes }
        }
        other => other,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    /// What the files of [`tiny`] hold: 3 images to train on and 2 to test on, of 2×2 pixels.
    fn contents() -> [idx::Idx; 4] {
        [
            idx::Idx::new(vec![3, 2, 2], (0..12).collect()).unwrap(),
            idx::Idx::new(vec![3], vec![0, 9, 4]).unwrap(),
            idx::Idx::new(vec![2, 2, 2], (100..108).collect()).unwrap(),
            idx::Idx::new(vec![2], vec![7, 7]).unwrap(),
        ]
    }

    /// A published dataset small enough to write for a test.
    pub(crate) fn tiny() -> Published {
        Published {
            name: "Tiny",
            folder: "tiny",
            system: &[],
            package: None,
            mirrors: &[],
            files: files(contents().map(|idx| &*idx.sha256().leak())),
            classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        }
    }

    /// Writes the files of [`tiny`] into `folder`.
    pub(crate) fn write_tiny(folder: &Path, dash: &str, gz: bool) {
        std::fs::create_dir_all(folder).unwrap();
        for (file, idx) in tiny().files.iter().zip(contents()) {
            let name = format!("{}{dash}{}", file.stem, file.ending);
            if gz {
                std::fs::write(folder.join(name + ".gz"), gzip(&idx.to_bytes())).unwrap();
            } else {
                std::fs::write(folder.join(name), idx.to_bytes()).unwrap();
            }
        }
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn load(places: &Places) -> Result<TrainTest> {
        let dataset: &'static Published = Box::leak(Box::new(tiny()));
        Finder::new(dataset, None).offline().load_from_places(places)
    }

    fn named(folder: &Path) -> Places {
        Places { named: Some(folder.into()), ..Places::default() }
    }

    fn cached(folder: &Path) -> Places {
        Places { cache: Some(folder.into()), ..Places::default() }
    }

    #[test]
    fn all_four_files_come_in() {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(folder.path(), "-", true);
        let data = load(&cached(folder.path())).unwrap();
        assert!(data.official);
        assert_eq!(data.folder.as_deref(), Some(folder.path()));
        assert_eq!((data.train.shape(), data.train.labels()), ([2, 2, 1], &[0, 9, 4][..]));
        assert_eq!(data.test.image(1), [104, 105, 106, 107]);
        assert_eq!(data.test.name(), "Tiny test");
    }

    #[test]
    fn files_of_your_own_only_in_a_folder_of_your_own() {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(folder.path(), "-", false);
        let labels = idx::Idx::new(vec![3], vec![1, 1, 1]).unwrap();
        std::fs::write(folder.path().join("train-labels-idx1-ubyte"), labels.to_bytes()).unwrap();
        let data = load(&named(folder.path())).unwrap();
        assert!(!data.official);
        assert_eq!(data.train.labels(), [1, 1, 1]);
        let error = load(&cached(folder.path())).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
    }

    #[test]
    fn faults_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, shape: &[usize], values: Vec<u8>| {
            write_tiny(folder.path(), "-", false);
            let idx = idx::Idx::new(shape.to_vec(), values).unwrap();
            std::fs::write(folder.path().join(name), idx.to_bytes()).unwrap();
            load(&named(folder.path())).unwrap_err().to_string().replace(&folder.path().display().to_string(), "D")
        };
        assert_eq!(
            put("train-labels-idx1-ubyte", &[2], vec![0, 0]),
            "D/train-labels-idx1-ubyte: at byte 4: number of labels: expected 3, as many as images in \
             D/train-images-idx3-ubyte, got 2"
        );
        assert_eq!(
            put("t10k-labels-idx1-ubyte", &[2], vec![0, 10]),
            "D/t10k-labels-idx1-ubyte: label at index 1: expected a class from 0 to 9, got 10"
        );
        assert_eq!(
            put("t10k-images-idx3-ubyte", &[2, 4], vec![0; 8]),
            "D/t10k-images-idx3-ubyte: at byte 3: number of dimensions: expected 3, got 2 in the shape [2, 4]"
        );
        assert_eq!(
            put("t10k-images-idx3-ubyte", &[2, 4, 1], vec![0; 8]),
            "D/t10k-images-idx3-ubyte: images: expected [2, 2, 1] as in the training set, got [4, 1, 1]"
        );
        assert_eq!(
            put("train-images-idx3-ubyte", &[0, 2, 2], vec![]),
            "D/train-images-idx3-ubyte: expected at least one, got none"
        );
    }

    #[test]
    fn missing_tells_where_it_looked_and_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let message = load(&cached(&folder.path().join("none"))).unwrap_err().to_string();
        for part in ["Tiny was not found", "t10k-labels-idx1-ubyte", "none (no such folder)", "TILEGRAD_DATA"] {
            assert!(message.contains(part), "{part} in\n{message}");
        }
        let message = load(&named(folder.path())).unwrap_err().to_string();
        assert!(message.contains("lacks train-images-idx3-ubyte"), "{message}");
        assert!(!message.contains("TILEGRAD_DATA"), "no variable would help a named folder\n{message}");
    }
}
