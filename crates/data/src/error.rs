//! What can go wrong between a file on disk and a dataset in memory.
//!
//! Every variant names the thing, what was expected of it and what came instead, so that the message alone is
//! enough to act on. Nothing here panics: files, labels and mirrors belong to the outside world.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result whose error is this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong while finding, reading or checking a dataset.
///
/// ```
/// use tilegrad_data::{Dataset, Error};
///
/// let label_of_an_eleventh_class = vec![10];
/// let error = Dataset::new(vec![0; 4], [2, 2, 1], label_of_an_eleventh_class, ('0'..='9').map(String::from));
/// assert!(matches!(error, Err(Error::Label { index: 0, label: 10, classes: 10, .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file was read, and is not what its format or its neighbours say it must be.
    #[error("{}: at byte {offset}: {what}: expected {expected}, got {got}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start; for a gzip file, in bytes of the decompressed content.
        offset: u64,
        /// The field or part that is wrong, such as `"magic number"`.
        what: &'static str,
        /// What it had to be.
        expected: String,
        /// What it was.
        got: String,
    },

    /// No folder searched holds the dataset. The message says which files to put where, and what else helps.
    #[error("{}", MissingMessage { dataset, files, tried, help })]
    Missing {
        /// The dataset's name, such as `"Fashion-MNIST"`.
        dataset: &'static str,
        /// The files wanted, by their official names.
        files: Vec<String>,
        /// The folders looked in, in order, each with what was wrong with it.
        tried: Vec<Tried>,
        /// Ways to get the files, one a line: a package, an environment variable, a feature.
        help: Vec<String>,
    },

    /// A file that has to be the official one is not.
    #[error(
        "{}: SHA-256 of the content: expected {expected}, got {got}\n  help: the file is damaged or not the \
         official one; delete it to have it fetched again, or load a folder of your own by naming it",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The official content's SHA-256, in hexadecimal.
        expected: String,
        /// The SHA-256 of the content that was there.
        got: String,
    },

    /// A folder holds another dataset under the same file names.
    #[error("{}: expected {expected}, got {got}\n  help: both use the same file names; name {expected}'s own folder", folder.display())]
    WrongDataset {
        /// The folder.
        folder: PathBuf,
        /// The dataset asked for.
        expected: &'static str,
        /// The dataset that is there.
        got: &'static str,
    },

    /// A label is not the number of a class.
    #[error("{origin}: label at index {index}: expected a class from 0 to {}, got {label}", classes.saturating_sub(1))]
    Label {
        /// Where the labels came from: a file's path, or `"labels"` for an array.
        origin: String,
        /// Which sample, from 0.
        index: usize,
        /// The label found.
        label: u32,
        /// How many classes there are; labels run from 0 to one less.
        classes: usize,
    },

    /// Something that needs at least one image, label or class was given none.
    #[error("{what}: expected at least one, got none")]
    Empty {
        /// What is empty, such as `"images"` or a file's path.
        what: String,
    },

    /// Two things whose shapes or lengths belong together do not fit.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What does not fit, such as `"labels"`.
        what: String,
        /// What it had to be.
        expected: String,
        /// What it was.
        got: String,
    },

    /// No mirror gave the file.
    #[error("download of {file} failed: {}", reasons.join("; "))]
    Download {
        /// The file wanted.
        file: String,
        /// One line a mirror tried: its address and what happened.
        reasons: Vec<String>,
    },

    /// Too many pictures of a folder could not be read.
    #[error("{}", skipped_message(root, skipped, *total, *allowed))]
    Skipped {
        /// The folder.
        root: PathBuf,
        /// The files that could not be read.
        skipped: Vec<Skipped>,
        /// How many pictures there are.
        total: usize,
        /// How many of them could have been left out.
        allowed: usize,
    },

    /// A picture could not be read or written.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the decoder or encoder said.
        reason: String,
    },
}

impl Error {
    /// Wraps an error of the operating system with the path it is about.
    pub(crate) fn io(path: &Path, source: io::Error) -> Error {
        Error::Io { path: path.to_path_buf(), source }
    }
}

impl From<Error> for tilegrad_core::Error {
    fn from(error: Error) -> tilegrad_core::Error {
        tilegrad_core::Error::Data(std::sync::Arc::new(error))
    }
}

/// A folder that was looked in for a dataset, and why it would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The folder.
    pub folder: PathBuf,
    /// What was wrong, such as `"no such folder"` or `"lacks train-labels-idx1-ubyte"`.
    pub reason: String,
}

/// A picture that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What the decoder said.
    pub reason: String,
}

/// How many files were skipped, and the first few of them.
fn skipped_message(root: &Path, skipped: &[Skipped], total: usize, allowed: usize) -> String {
    let (root, count) = (root.display(), skipped.len());
    let mut text = format!("{root}: unreadable pictures: expected at most {allowed} of {total}, got {count}");
    for Skipped { path, reason } in skipped.iter().take(5) {
        text += &format!("\n    {}: {reason}", path.display());
    }
    if count > 5 {
        text += &format!("\n    and {} more", count - 5);
    }
    text
}

/// Lays out [`Error::Missing`] over several lines.
struct MissingMessage<'a> {
    dataset: &'a str,
    files: &'a [String],
    tried: &'a [Tried],
    help: &'a [String],
}

impl fmt::Display for MissingMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not found\n  wanted in one folder (each may end in .gz):", self.dataset)?;
        for file in self.files {
            write!(f, "\n    {file}")?;
        }
        write!(f, "\n  looked in:")?;
        for Tried { folder, reason } in self.tried {
            write!(f, "\n    {} ({reason})", folder.display())?;
        }
        if self.tried.is_empty() {
            write!(f, " no folder, because none is known on this system")?;
        }
        for line in self.help {
            write!(f, "\n  help: {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_says_what_to_put_where() {
        let error = Error::Missing {
            dataset: "MNIST",
            files: vec!["train-images-idx3-ubyte".into()],
            tried: vec![Tried { folder: "/data/mnist".into(), reason: "no such folder".into() }],
            help: vec!["set TILEGRAD_DATA".into()],
        };
        assert_eq!(
            error.to_string(),
            "MNIST was not found\n  wanted in one folder (each may end in .gz):\n    train-images-idx3-ubyte\n  \
             looked in:\n    /data/mnist (no such folder)\n  help: set TILEGRAD_DATA"
        );
    }

    #[test]
    fn malformed_names_file_offset_expected_and_got() {
        let error = Error::Malformed {
            path: "a/b".into(),
            offset: 4,
            what: "width",
            expected: "at least 1".into(),
            got: "0".into(),
        };
        assert_eq!(error.to_string(), "a/b: at byte 4: width: expected at least 1, got 0");
    }

    #[test]
    fn label_names_index_label_and_range() {
        let error = Error::Label { origin: "labels".into(), index: 7, label: 12, classes: 10 };
        assert_eq!(error.to_string(), "labels: label at index 7: expected a class from 0 to 9, got 12");
    }

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }
}
