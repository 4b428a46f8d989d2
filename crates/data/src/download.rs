//! Fetches the files of a published dataset into the user's cache.
//!
//! A mirror is not trusted: at most [`MAX_DOWNLOAD`] bytes are taken from it, in bounded time, into a temporary
//! file in the cache's folder. The file gets its name only once its decompressed content has the published
//! checksum, so that a cache never holds half a file, or another one, under a name that is looked for.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ureq::Agent;

use crate::error::{Error, Result};
use crate::idx;
use crate::locate::file_in;
use crate::published::{Published, PublishedFile};

/// The most bytes taken from a mirror for one file: 64 MiB. The largest file has 26 MB gzipped and 47 MB plain.
const MAX_DOWNLOAD: u64 = 64 << 20;

/// How long to wait for a connection, for an answer, and for more of a body that has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one file may take in all.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Makes `folder` hold all files of the dataset. Files that are there and have the published content stay; others
/// are fetched from the first of `mirrors` (addresses of folders, ending in `/`) that has the right one.
///
/// # Errors
/// [`Error::Download`] when no mirror gave a file, with what each said; [`Error::Io`] when the folder cannot be
/// made or written.
pub(crate) fn fetch(dataset: &Published, mirrors: &[&str], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let config = Agent::config_builder()
        .user_agent(concat!("tilegrad/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .timeout_global(Some(LIMIT))
        .build();
    let agent = config.new_agent();
    for file in &dataset.files {
        if let Some(path) = file_in(folder, file) {
            if idx::read(&path).is_ok_and(|idx| idx.sha256() == file.sha256) {
                continue;
            }
            // It would be found before the file that is about to be fetched.
            std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
        }
        fetch_file(&agent, dataset, file, mirrors, folder)?;
    }
    Ok(())
}

/// Tries the mirrors for one file.
fn fetch_file(agent: &Agent, dataset: &Published, file: &PublishedFile, mirrors: &[&str], folder: &Path) -> Result<()> {
    let name = file.name() + ".gz";
    let mut reasons = Vec::new();
    for mirror in mirrors {
        let url = format!("{mirror}{name}");
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the user's umask
        let mut temporary =
            builder.prefix(".download-").tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
        if let Err(reason) = transfer(agent, &url, dataset.name, &name, temporary.as_file_mut()) {
            reasons.push(format!("{url}: {reason}"));
            continue;
        }
        match idx::read(temporary.path()).map(|idx| idx.sha256()) {
            Ok(hash) if hash == file.sha256 => {
                let path = folder.join(&name);
                temporary.as_file().sync_all().map_err(|error| Error::io(&path, error))?;
                temporary.persist(&path).map_err(|error| Error::io(&path, error.error))?;
                return Ok(());
            }
            Ok(hash) => {
                reasons.push(format!("{url}: SHA-256 of the content: expected {}, got {hash}", file.sha256));
            }
            Err(Error::Malformed { offset, what, expected, got, .. }) => {
                reasons.push(format!("{url}: at byte {offset}: {what}: expected {expected}, got {got}"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Download { file: name, reasons })
}

/// Copies what `url` gives into `to`, with a bar on a terminal.
fn transfer(agent: &Agent, url: &str, dataset: &str, name: &str, to: &mut impl Write) -> Result<(), String> {
    let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
    let length = response.body().content_length();
    if let Some(length) = length.filter(|&length| length > MAX_DOWNLOAD) {
        return Err(format!("length: expected at most {MAX_DOWNLOAD} bytes, got {length}"));
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new).with_message(format!("{dataset} {name}"));
    let bar = bar.with_style(style.expect("the template is a constant that a test has seen"));
    // One byte more than allowed tells a body that is too long from one that just fits.
    let body = response.body_mut().with_config().limit(MAX_DOWNLOAD + 1).reader().take(MAX_DOWNLOAD + 1);
    let copied = io::copy(&mut bar.wrap_read(body), to);
    bar.finish_and_clear();
    let copied = copied.map_err(|error| error.to_string())?;
    if copied > MAX_DOWNLOAD {
        return Err(format!("length: expected at most {MAX_DOWNLOAD} bytes, got more"));
    }
    match length {
        Some(length) if length != copied => Err(format!("length: expected {length} bytes, got {copied}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::tests::{gzip, tiny, write_tiny};
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// A web server on this machine that answers `answers` requests by the last part of the address, then ends.
    fn serve(answers: usize, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().take(answers) {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let name = request.split(['/', ' ']).nth(2).unwrap();
                // The client may hang up early, for instance on a length that is too much.
                let _ = stream.write_all(&answer(name));
            }
        });
        url
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    /// A server that has the files of the tiny dataset.
    fn good_mirror(answers: usize) -> String {
        let source = tempfile::tempdir().unwrap();
        write_tiny(source.path(), "-", true);
        serve(answers, move |name| ok(&std::fs::read(source.path().join(name)).unwrap()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn fetches_what_lacks_and_keeps_what_is_right() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("tilegrad/tiny");
        let dataset = tiny();
        fetch(&dataset, &[&good_mirror(4)], &folder).unwrap();
        assert_eq!(names(&folder).len(), 4);
        // All is there: nobody is asked.
        fetch(&dataset, &[], &folder).unwrap();
        // One file damaged: one is fetched again.
        std::fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), "damaged").unwrap();
        fetch(&dataset, &[&good_mirror(1)], &folder).unwrap();
        fetch(&dataset, &[], &folder).unwrap();
    }

    #[test]
    fn the_next_mirror_makes_up_for_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        let absent = serve(4, |_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
        fetch(&tiny(), &[&absent, &good_mirror(4)], folder.path()).unwrap();
        assert_eq!(names(folder.path()).len(), 4);
    }

    #[test]
    fn nothing_unverified_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let other = idx::Idx::new(vec![1, 2, 2], vec![1; 4]).unwrap().to_bytes();
        let page = serve(1, |_| ok(b"<!DOCTYPE html>"));
        let other = serve(1, move |_| ok(&gzip(&other)));
        let cut = serve(1, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort".to_vec());
        let huge =
            serve(1, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n".to_vec());
        let mirrors = [&*page, &*other, &*cut, &*huge, "http://127.0.0.1:1/"];
        match fetch(&tiny(), &mirrors, folder.path()).unwrap_err() {
            Error::Download { file, reasons } => {
                assert_eq!(file, "train-images-idx3-ubyte.gz");
                assert_eq!(reasons.len(), 5, "{reasons:?}");
                assert!(reasons[0].contains("magic number"), "{reasons:?}");
                assert!(reasons[1].contains("SHA-256"), "{reasons:?}");
                assert!(reasons[3].contains("at most 67108864 bytes, got 99999999999"), "{reasons:?}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(names(folder.path()), [""; 0], "no file, not even a temporary one");
    }

    /// A body without a length that never ends is cut off at the limit.
    #[test]
    fn an_endless_body_ends() {
        let url = serve(1, |_| {
            let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            answer.resize(answer.len() + MAX_DOWNLOAD as usize + 10, 0);
            answer
        });
        let mut received = Vec::new();
        let reason = transfer(&Agent::new_with_defaults(), &url, "Tiny", "file", &mut received).unwrap_err();
        assert!(reason.contains("at most 67108864 bytes"), "{reason}");
    }
}
