//! Where a dataset's files may be, and in which order to look.
//!
//! 1. The folder that the caller named, and nowhere else then.
//! 2. `TILEGRAD_DATA`: its subfolder of the dataset's name, then the folder itself.
//! 3. Folders that a system's package puts the dataset in.
//! 4. The user's cache, `tilegrad/<name>` below what the system calls it (`~/.cache` on Linux).
//!
//! MNIST and Fashion-MNIST use the same four file names. So a folder chosen by the user, in which files need not
//! be the published ones, is at least made sure not to hold the *other* dataset.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Tried};
use crate::idx;
use crate::published::{Published, PublishedFile, TEST_LABELS};

/// The environment variable that names a folder of datasets.
pub const DATA_VARIABLE: &str = "TILEGRAD_DATA";

/// The roots of the search, gathered once so that tests can bring their own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// The folder the caller named.
    pub(crate) named: Option<PathBuf>,
    /// The value of `TILEGRAD_DATA`.
    pub(crate) variable: Option<PathBuf>,
    /// Folders of the system's packages.
    pub(crate) system: Vec<PathBuf>,
    /// The dataset's folder in the user's cache.
    pub(crate) cache: Option<PathBuf>,
}

impl Places {
    /// The places of this user on this machine.
    pub(crate) fn of(dataset: &Published, named: Option<PathBuf>) -> Places {
        Places {
            named,
            variable: std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from),
            system: dataset.system.iter().map(PathBuf::from).collect(),
            cache: dirs::cache_dir().map(|cache| cache.join("tilegrad").join(dataset.folder)),
        }
    }

    /// The folders to look in, in order.
    fn folders(&self, dataset: &Published) -> Vec<Folder> {
        let own = |path: PathBuf| Folder { path, chosen: true };
        if let Some(named) = &self.named {
            return vec![own(named.clone()), own(named.join(dataset.folder))];
        }
        let variable = self.variable.iter().flat_map(|root| [root.join(dataset.folder), root.clone()]).map(own);
        let kept = self.system.iter().chain(&self.cache).map(|path| Folder { path: path.clone(), chosen: false });
        variable.chain(kept).collect()
    }
}

/// A folder to look in, and whether the user chose it: such a folder may hold other files than the published ones.
struct Folder {
    path: PathBuf,
    chosen: bool,
}

/// A folder that holds all four files.
#[derive(Debug)]
pub(crate) struct Found {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// The files, in the order of [`Published::files`].
    pub(crate) files: [PathBuf; 4],
    /// Whether the user chose the folder, so that the files need not be the published ones.
    pub(crate) chosen: bool,
}

/// Looks for the dataset's four files, and returns the first folder that holds them all or why none does. `twin` is
/// the dataset whose files have the same names.
///
/// # Errors
/// [`Error::WrongDataset`] when the folder that the caller named holds another dataset; what reading the test
/// labels of a chosen folder gives. A folder with files missing is no error here but an entry in the list.
pub(crate) fn find(
    dataset: &Published,
    twin: Option<&Published>,
    places: &Places,
) -> Result<Result<Found, Vec<Tried>>> {
    let mut tried = Vec::new();
    for Folder { path: folder, chosen } in places.folders(dataset) {
        let files = match files_in(&folder, dataset) {
            Ok(files) => files,
            Err(reason) => {
                tried.push(Tried { folder, reason });
                continue;
            }
        };
        // The test labels are the smallest of the four files.
        if chosen
            && let Some(twin) = twin
            && idx::read(&files[TEST_LABELS])?.sha256() == twin.files[TEST_LABELS].sha256
        {
            if places.named.is_some() {
                return Err(Error::WrongDataset { folder, expected: dataset.name, got: twin.name });
            }
            tried.push(Tried { folder, reason: format!("holds {}", twin.name) });
            continue;
        }
        return Ok(Ok(Found { folder, files, chosen }));
    }
    Ok(Err(tried))
}

/// The paths of the four files in `folder`, or what is wrong with it.
fn files_in(folder: &Path, dataset: &Published) -> Result<[PathBuf; 4], String> {
    if !folder.is_dir() {
        return Err(if folder.exists() { "not a folder" } else { "no such folder" }.into());
    }
    let found: Vec<Option<PathBuf>> = dataset.files.iter().map(|file| file_in(folder, file)).collect();
    let lacks: Vec<String> =
        dataset.files.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(file, _)| file.name()).collect();
    let found: Vec<PathBuf> = found.into_iter().flatten().collect();
    found.try_into().map_err(|_| format!("lacks {}", lacks.join(", ")))
}

/// The path of one file: plain or gzipped, with `-` as published or with `.` as some mirrors have it.
pub(crate) fn file_in(folder: &Path, file: &PublishedFile) -> Option<PathBuf> {
    // Plain files first: they read faster.
    ["", ".gz"]
        .into_iter()
        .flat_map(|gz| ["-", "."].map(|dash| folder.join(format!("{}{dash}{}{gz}", file.stem, file.ending))))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::tests::{tiny, write_tiny};

    fn places(variable: &Path, cache: &Path) -> Places {
        Places { variable: Some(variable.into()), cache: Some(cache.into()), ..Places::default() }
    }

    #[test]
    fn the_variable_goes_before_the_cache_and_its_subfolder_first() {
        let root = tempfile::tempdir().unwrap();
        let (variable, cache) = (root.path().join("data"), root.path().join("cache"));
        let dataset = tiny();
        let at = |places: &Places| find(&dataset, None, places).unwrap().map(|found| found.folder);
        let places = places(&variable, &cache);

        let tried = at(&places).unwrap_err();
        let folders: Vec<_> = tried.iter().map(|tried| tried.folder.clone()).collect();
        assert_eq!(folders, [variable.join("tiny"), variable.clone(), cache.clone()]);
        assert!(tried.iter().all(|tried| tried.reason == "no such folder"));

        for folder in [&cache, &variable, &variable.join("tiny")] {
            write_tiny(folder, "-", false);
            assert_eq!(&at(&places).unwrap(), folder, "the one written last comes before those before it");
        }
        let system = Places { system: vec![cache.clone()], ..Places::default() };
        assert_eq!(at(&system).unwrap(), cache);
    }

    #[test]
    fn a_named_folder_is_the_only_one() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("cache");
        write_tiny(&cache, "-", false);
        let named = root.path().join("named");
        std::fs::create_dir(&named).unwrap();
        let places = Places { named: Some(named.clone()), cache: Some(cache), ..Places::default() };
        let tried = find(&tiny(), None, &places).unwrap().unwrap_err();
        assert_eq!(tried[0].folder, named);
        assert!(tried[0].reason.starts_with("lacks train-images-idx3-ubyte, train-labels-idx1-ubyte"));
        write_tiny(&named.join("tiny"), "-", false);
        assert_eq!(find(&tiny(), None, &places).unwrap().unwrap().folder, named.join("tiny"));
    }

    #[test]
    fn every_spelling_is_found() {
        for (dash, gz) in [("-", false), ("-", true), (".", false), (".", true)] {
            let root = tempfile::tempdir().unwrap();
            write_tiny(root.path(), dash, gz);
            assert!(files_in(root.path(), &tiny()).is_ok(), "{dash} {gz}");
            std::fs::remove_file(file_in(root.path(), &tiny().files[3]).unwrap()).unwrap();
            assert_eq!(files_in(root.path(), &tiny()), Err("lacks t10k-labels-idx1-ubyte".into()));
        }
    }

    #[test]
    fn the_other_datasets_files_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        write_tiny(root.path(), "-", false);
        let wanted = Published { name: "Other", folder: "other", ..tiny() };
        let tiny = tiny();

        let named = Places { named: Some(root.path().into()), ..Places::default() };
        let error = find(&wanted, Some(&tiny), &named).unwrap_err();
        assert!(matches!(error, Error::WrongDataset { expected: "Other", got: "Tiny", .. }), "{error}");

        // A folder that the variable names may be meant for another dataset: the search goes on.
        let variable = Places { variable: Some(root.path().into()), ..Places::default() };
        let tried = find(&wanted, Some(&tiny), &variable).unwrap().unwrap_err();
        assert_eq!(tried[1].reason, "holds Tiny");
    }
}
