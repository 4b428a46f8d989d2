//! Files that are replaced in one step.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tilegrad_core::{Error, Result};

/// A temporary file older than this was left behind by a process that is gone: writing one takes seconds.
const STALE: Duration = Duration::from_secs(3600);

/// Writes `bytes` to `path` so that, after a crash or a full disk at any moment, the file is either the old or the new one.
///
/// The temporary file lies in the same folder, because a rename is one step only within a file system. What killed
/// processes left there for the same path is swept when it is an hour old.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid("path", "the name of a file", path.display()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let prefix = format!(".{}.tilegrad-", name.to_string_lossy());
    sweep(&folder, &prefix);
    write_and_rename(&folder, &prefix, path, bytes).map_err(|e| Error::io(path, e))?;
    // The rename is safe on the disk once the folder is; not every system lets a folder be opened for that.
    if let Ok(folder) = File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The temporary file goes away by itself if anything fails before it has its name.
fn write_and_rename(folder: &Path, prefix: &str, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    // As any new file's, less the umask; a temporary file's own default shuts everyone else out.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(|_| ()).map_err(|e| e.error)
}

const SUFFIX: &str = ".tmp";

/// Removes temporary files that nobody can be writing any more.
fn sweep(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(prefix) && n.ends_with(SUFFIX));
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if ours && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn replaces_the_file_and_sweeps_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let left = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let stale = left(".weights.safetensors.tilegrad-x1.tmp", 2 * STALE);
        let fresh = left(".weights.safetensors.tilegrad-x2.tmp", Duration::ZERO);
        let other = left(".others.safetensors.tilegrad-x3.tmp", 2 * STALE);
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!stale.exists() && fresh.exists() && other.exists());
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        let error = write(&path, b"new").unwrap_err().to_string();
        assert!(error.contains("taken: "), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(write(Path::new("/"), b"new").is_err());
        assert!(write(&folder.path().join("none/file"), b"new").is_err());
    }
}
