//! What keeps the tree readable: file sizes, the registry, the layers of the crates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the tree").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            found.extend(files(&path, extensions));
        } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
            found.push(path);
        }
    }
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn no_file_is_over_500_lines() {
    let long: Vec<String> = files(root(), &["rs", "wgsl", "sh"])
        .iter()
        .filter(|p| text(p).lines().count() > 500)
        .map(|p| format!("{} has {} lines", p.display(), text(p).lines().count()))
        .collect();
    assert!(long.is_empty(), "one subject a file:\n{}", long.join("\n"));
}

#[test]
fn every_op_file_is_in_the_registry() {
    let folder = root().join("crates/core/src/ops");
    let registry = text(&folder.join("mod.rs"));
    for path in files(&folder, &["rs"]) {
        let source = text(&path);
        let stem = path.file_stem().expect("a file").to_string_lossy().into_owned();
        if source.contains("impl Op for") {
            assert!(
                registry.contains(&format!("&{stem}::INFO")),
                "ops/{stem}.rs has an op but no line in the registry"
            );
        }
    }
    let names: Vec<&str> = tilegrad::ops::ALL.iter().flat_map(|i| i.names).copied().collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "an op is registered twice");
}

#[test]
fn only_op_rs_decides_between_the_backends() {
    // Tensors create and read storage; ops go through `apply`.
    for path in files(&root().join("crates/core/src/ops"), &["rs"]) {
        let source = text(&path);
        assert!(
            !source.contains("Kind::Gpu") && !source.contains("Data::Gpu"),
            "{} matches on the backend",
            path.display()
        );
    }
}

#[test]
fn the_gpu_runtime_knows_no_shapes_and_blocks_nowhere_in_its_core() {
    for path in files(&root().join("crates/core/src/gpu"), &["rs"]) {
        let source = text(&path);
        for word in ["crate::shape", "crate::tensor", "std::time::Instant", "std::thread", "pollster"] {
            assert!(!source.contains(word), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn nothing_is_left_over() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("#[ig", "nore"),
    ];
    for path in files(root(), &["rs", "wgsl"]) {
        let source = text(&path);
        for mark in marks {
            assert!(!source.contains(mark), "{}: {mark}", path.display());
        }
    }
}
