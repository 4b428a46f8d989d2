//! Cases made by tests: one node, with its file in a folder of its own.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;
use tilegrad::Device;

use super::case::Case;
use super::compare::Distance;
use super::run::{State, result};

/// A tensor of a case: name, element type, shape, bytes.
pub struct Part {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub fn floats(name: &'static str, values: &[f32], shape: &[usize]) -> Part {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Part { name, dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

pub fn longs(name: &'static str, values: &[i64], shape: &[usize]) -> Part {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Part { name, dtype: Dtype::I64, shape: shape.to_vec(), bytes }
}

pub fn ints(name: &'static str, values: &[i32], shape: &[usize]) -> Part {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Part { name, dtype: Dtype::I32, shape: shape.to_vec(), bytes }
}

pub fn bytes(name: &'static str, values: &[u8], shape: &[usize]) -> Part {
    Part { name, dtype: Dtype::U8, shape: shape.to_vec(), bytes: values.to_vec() }
}

pub fn truths(name: &'static str, values: &[bool], shape: &[usize]) -> Part {
    Part { name, dtype: Dtype::BOOL, shape: shape.to_vec(), bytes: values.iter().map(|&v| v.into()).collect() }
}

/// A case of one node whose inputs and outputs are the parts, in order.
pub struct Fixture {
    folder: TempDir,
    pub case: Case,
}

impl Fixture {
    pub fn new(op: &str, attrs: Value, inputs: &[Part], outputs: &[Part]) -> Fixture {
        let names = |parts: &[Part]| parts.iter().map(|p| p.name).collect::<Vec<_>>();
        let entries = |parts: &[Part]| -> Vec<Value> {
            let entry =
                |p: &Part| json!({"name": p.name, "key": p.name, "dtype": format!("{:?}", p.dtype), "shape": p.shape});
            parts.iter().map(entry).collect()
        };
        let case = json!({
            "name": "fixture", "op": op, "tier": "core", "opset": {"ai.onnx": 22}, "rtol": 1e-3, "atol": 1e-7,
            "flags": ["t0"], "file": "fixture.safetensors", "initializers": [],
            "nodes": [{"op": op, "domain": "", "inputs": names(inputs), "outputs": names(outputs), "attrs": attrs}],
            "inputs": entries(inputs), "outputs": entries(outputs),
        });
        let views = inputs
            .iter()
            .chain(outputs)
            .map(|p| (p.name, TensorView::new(p.dtype, p.shape.clone(), &p.bytes).expect("a tensor")));
        let folder = tempfile::tempdir().expect("a scratch folder");
        let bytes = safetensors::serialize(views, None).expect("a file");
        std::fs::write(folder.path().join("fixture.safetensors"), bytes).expect("a file");
        Fixture { folder, case: serde_json::from_value(case).expect("a case") }
    }

    /// The same case in another operator set.
    pub fn opset(mut self, version: i64) -> Fixture {
        self.case.opset.insert("ai.onnx".to_string(), version);
        self
    }

    pub fn state(&self, device: &Device) -> State {
        result(&self.case, self.folder.path(), device).state
    }

    /// The reason why the case fails.
    #[track_caller]
    pub fn failure(&self) -> String {
        match self.state(&Device::cpu()) {
            State::Failed(reason) => reason,
            other => panic!("{other:?}, expected a failure"),
        }
    }

    /// The reason why the case is unsupported.
    #[track_caller]
    pub fn lack(&self) -> String {
        match self.state(&Device::cpu()) {
            State::Unsupported(reason) => reason,
            other => panic!("{other:?}, expected something unsupported"),
        }
    }

    /// How far the results of a case that passes are.
    #[track_caller]
    pub fn distance(&self, device: &Device) -> Distance {
        match self.state(device) {
            State::Passed(distance) => distance,
            other => panic!("{} on {device}: {other:?}, expected to pass", self.case.op),
        }
    }
}
