//! Files that are replaced in one step.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tilegrad_core::{Error, Result};

/// A temporary file older than this was left behind by a process that is gone, where that can't be asked for.
const STALE: Duration = Duration::from_secs(3600);

/// Writes `bytes` to `path` so that, after a crash or a full disk at any moment, the file is either the old or the new one.
///
/// The temporary file lies in the same folder, because a rename is one step only within a file system. Temporary files
/// that killed processes left there for the same path are swept.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid("path", "the name of a file", path.display()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // Two threads that save to one path at a time each need their own.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!(".{}.tilegrad-", name.to_string_lossy());
    let temporary = folder.join(format!("{prefix}{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Relaxed)));
    sweep(&folder, &prefix);
    write_and_rename(&temporary, path, bytes).map_err(|e| {
        // Best effort: the error that counts is the first.
        let _ = fs::remove_file(&temporary);
        Error::io(path, e)
    })?;
    // The rename is safe on the disk once the folder is; not every system lets a folder be opened for that.
    if let Ok(folder) = File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_and_rename(temporary: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(temporary, path)
}

/// Removes temporary files of processes that are gone.
fn sweep(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_suffix(".tmp")?.split('-').next());
        if let Some(Ok(owner)) = owner.map(str::parse::<u32>)
            && owner != std::process::id()
            && is_gone(owner, &entry)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_gone(process: u32, entry: &fs::DirEntry) -> bool {
    if cfg!(target_os = "linux") && Path::new("/proc/self").exists() {
        return !Path::new(&format!("/proc/{process}")).exists();
    }
    let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
    age.is_some_and(|age| age > STALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_sweeps_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        // No process has the largest number.
        let stale = folder.path().join(format!(".weights.safetensors.tilegrad-{}-0.tmp", u32::MAX));
        let other = folder.path().join(format!(".others.safetensors.tilegrad-{}-0.tmp", u32::MAX));
        fs::write(&stale, "half").unwrap();
        fs::write(&other, "half").unwrap();
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(other.exists());
        assert_eq!(stale.exists(), !cfg!(target_os = "linux"));
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
