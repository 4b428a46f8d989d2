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

/// What an operator is told besides its inputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "TypedValue")]
pub enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f64),
    Floats(Vec<f64>),
    Text(String),
    Texts(Vec<String>),
    /// A key of the case's file.
    Tensor(String),
    /// Of a type that no operator here knows, such as a graph; its name.
    Other(String),
}

/// An attribute as the manifest has it.
#[derive(Deserialize)]
struct TypedValue {
    #[serde(rename = "t")]
    kind: String,
    #[serde(rename = "v", default)]
    value: serde_json::Value,
}

impl From<TypedValue> for Attribute {
    fn from(TypedValue { kind, value }: TypedValue) -> Attribute {
        use serde_json::Value;
        // JSON has no infinity; a text may stand for it.
        let float = |v: &Value| v.as_f64().or_else(|| v.as_str()?.parse().ok());
        let text = |v: &Value| v.as_str().map(str::to_string);
        let each = value.as_array().map_or(&[][..], |v| v);
        let known = match kind.as_str() {
            "int" => value.as_i64().map(Attribute::Int),
            "ints" => each.iter().map(Value::as_i64).collect::<Option<_>>().map(Attribute::Ints),
            "float" => float(&value).map(Attribute::Float),
            "floats" => each.iter().map(float).collect::<Option<_>>().map(Attribute::Floats),
            "string" => text(&value).map(Attribute::Text),
            "strings" => each.iter().map(text).collect::<Option<_>>().map(Attribute::Texts),
            "tensor" => text(&value).map(Attribute::Tensor),
            _ => None,
        };
        known.unwrap_or(Attribute::Other(kind))
    }
}

/// The cases of a folder.
pub fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(manifest.cases)
}
