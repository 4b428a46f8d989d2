//! The manifest: which cases there are, and where their files lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The folder of the project's own cases.
pub fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx")
}

/// The folder to run: the project's own, or `onnx` in the folder that `TILEGRAD_CASES_DIR` names.
pub fn folder() -> PathBuf {
    std::env::var_os("TILEGRAD_CASES_DIR").map_or_else(own_folder, |cases| PathBuf::from(cases).join("onnx"))
}

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

/// One small graph with inputs and expected outputs.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    /// The operators of the graph, joined by `+`.
    pub op: String,
    pub tier: String,
    /// Versions of the operator sets, by domain.
    pub opset: BTreeMap<String, i64>,
    pub rtol: f64,
    pub atol: f64,
    pub flags: Vec<String>,
    pub nodes: Vec<NodeRecord>,
    pub inputs: Vec<Entry>,
    pub initializers: Vec<Entry>,
    pub outputs: Vec<Entry>,
    /// In the manifest's folder.
    pub file: String,
}

impl Case {
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// A tensor in the case's file.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    pub name: String,
    pub key: String,
    pub dtype: String,
    pub shape: Vec<usize>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NodeRecord {
    pub op: String,
    pub domain: String,
    /// Empty names stand for inputs that are left out.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attrs: BTreeMap<String, Attribute>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "t", content = "v", rename_all = "lowercase")]
pub enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f64),
    Floats(Vec<f64>),
    String(String),
    Strings(Vec<String>),
    /// A key of the case's file.
    Tensor(String),
}

/// The cases of a folder.
pub fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(manifest.cases)
}
