//! Damaged and hostile IDX files: none may panic, hang or take memory, and an error names the file and the cause.
//!
//! The cases are in `tests/data/malformed`; `TILEGRAD_CASES_DIR` names a folder whose `malformed` is used instead.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tilegrad_data::{Error, idx};

/// The folder of the cases, and whether they are the ones that come with the repository.
fn cases() -> (PathBuf, bool) {
    match std::env::var_os("TILEGRAD_CASES_DIR") {
        Some(folder) => (Path::new(&folder).join("malformed"), false),
        None => (Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/malformed"), true),
    }
}

#[test]
fn every_case_ends_as_its_manifest_says() {
    let (folder, own) = cases();
    let manifest = folder.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("the manifest is JSON");

    let mut seen = 0;
    let mut faults = Vec::new();
    for case in manifest.as_array().expect("the manifest is an array") {
        let field = |name: &str| case[name].as_str().unwrap_or_else(|| panic!("{case} lacks {name}"));
        if !matches!(field("kind"), "idx" | "gz") {
            continue;
        }
        seen += 1;
        let path = folder.join(field("file"));
        let start = Instant::now();
        let result = idx::read(&path);
        if start.elapsed() > Duration::from_secs(5) {
            faults.push(format!("{}: took {:?}", field("file"), start.elapsed()));
        }
        match (field("expect"), &result) {
            ("accept", Err(error)) => faults.push(format!("{}: refused: {error}", field("file"))),
            ("reject", Ok(idx)) => faults.push(format!("{}: read as {:?}", field("file"), idx.shape())),
            ("accept" | "reject" | "policy", _) => {}
            (other, _) => panic!("{}: unknown expectation {other:?}", field("file")),
        }
        if let Err(error) = result {
            println!("{} ({}): {error}", field("file"), field("why"));
            let message = error.to_string();
            let named = message.contains(&path.display().to_string());
            // A message that quotes a hostile header must stay one that can be read.
            if !matches!(error, Error::Malformed { .. }) || !named || message.len() > 1000 {
                faults.push(format!("{}: not a message about the file: {message}", field("file")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen >= if own { 20 } else { 1 }, "only {seen} cases in {}", folder.display());
    if let Some(peak) = peak_memory() {
        assert!(peak < 300 << 20, "{} MiB of memory", peak >> 20);
    }
}

/// Where the format leaves a choice, this is what tilegrad does.
#[test]
fn choices() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/malformed/idx");
    // Rank 2 is sound IDX, and no file of images.
    assert_eq!(idx::read(folder.join("rank_2")).unwrap().shape(), [2, 784]);
    assert!(matches!(idx::read_rank(folder.join("rank_2"), 3), Err(Error::Malformed { offset: 3, .. })));
    // A file without images is read; a dataset without images is refused.
    assert_eq!(idx::read_rank(folder.join("zero_images"), 3).unwrap().shape(), [0, 28, 28]);
    // What a file is shows in its bytes, not in its name.
    assert_eq!(idx::read(folder.join("gzip_with_plain_name")).unwrap().shape().len(), 1);
}

/// Three images and two labels are each sound, and no pair.
#[test]
fn images_and_labels_that_do_not_match() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/malformed/idx");
    let folder = tempfile::tempdir().unwrap();
    let two_labels = idx::Idx::new(vec![2], vec![0, 1]).unwrap().to_bytes();
    for part in ["train", "t10k"] {
        let images = folder.path().join(format!("{part}-images-idx3-ubyte"));
        std::fs::copy(cases.join("count_mismatch_images"), images).unwrap();
        std::fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), &two_labels).unwrap();
    }
    let message = tilegrad_data::Mnist::load_from(folder.path()).unwrap_err().to_string();
    assert!(message.contains("train-labels-idx1-ubyte: at byte 4: number of labels: expected 3"), "{message}");
    assert!(message.ends_with("got 2"), "{message}");
}

/// The most memory this process has held, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
