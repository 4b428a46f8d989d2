//! A case of the manifest: its attributes, each of which must be read, and its tensors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tilegrad::{Device, Tensor};

use super::names::canonical;

/// Why a case did not pass.
#[derive(Clone, Debug)]
pub enum Fault {
    /// tilegrad, or this harness, has no such thing.
    Unsupported(String),
    /// Something is wrong.
    Failed(String),
}

pub type Outcome<T> = Result<T, Fault>;

pub fn unsupported<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Fault::Unsupported(reason.into()))
}

pub fn failed<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Fault::Failed(reason.into()))
}

/// `manifest.json` and the folder that it lies in.
pub struct Manifest {
    folder: PathBuf,
    json: Value,
}

impl Manifest {
    pub fn read(folder: &Path) -> Manifest {
        let path = folder.join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Manifest { folder: folder.to_path_buf(), json }
    }

    /// A manifest of one op, whose file is in a folder.
    pub fn of(folder: &Path, case: Value) -> Manifest {
        Manifest { folder: folder.to_path_buf(), json: serde_json::json!({ "cases": [case] }) }
    }

    /// What the manifest says of an op.
    pub fn json(&self, name: &str) -> Value {
        let cases = self.json["cases"].as_array().into_iter().flatten();
        cases.into_iter().find(|c| c["name"] == name).cloned().unwrap_or_default()
    }

    /// The ops.
    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        self.list("cases", "attrs")
    }

    /// The optimizers.
    pub fn optimizers(&self) -> impl Iterator<Item = Case<'_>> {
        self.list("optimizers", "config")
    }

    fn list(&self, key: &str, attributes: &'static str) -> impl Iterator<Item = Case<'_>> {
        self.json[key].as_array().into_iter().flatten().map(move |json| Case {
            json,
            attributes: &json[attributes],
            folder: &self.folder,
            read: RefCell::default(),
            inputs: BTreeMap::new(),
        })
    }
}

/// A tensor of a case's file.
pub enum Stored {
    Floats(Vec<f32>, Vec<usize>),
    /// Integers, and truth values as 0 and 1.
    Integers(Vec<i64>, Vec<usize>),
}

impl Stored {
    pub fn shape(&self) -> &[usize] {
        match self {
            Stored::Floats(_, shape) | Stored::Integers(_, shape) => shape,
        }
    }
}

/// An input on the device of a run.
pub enum Input {
    Tensor(Tensor),
    Integers(Vec<i64>, Vec<usize>),
}

/// One case.
pub struct Case<'a> {
    json: &'a Value,
    attributes: &'a Value,
    folder: &'a Path,
    /// Attributes that were read.
    read: RefCell<BTreeSet<String>>,
    inputs: BTreeMap<String, Input>,
}

impl Case<'_> {
    pub fn name(&self) -> &str {
        self.json["name"].as_str().unwrap_or("unnamed")
    }

    /// The op, under the name that the families know it by; an optimizer is its own.
    pub fn op(&self) -> &str {
        self.json["op"].as_str().map_or(self.name(), canonical)
    }

    /// Inputs that have gradients.
    pub fn differentiable(&self) -> Vec<&str> {
        self.json["diff"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Relative and absolute tolerance.
    pub fn tolerances(&self) -> (f64, f64) {
        (self.json["rtol"].as_f64().unwrap_or(2e-4), self.json["atol"].as_f64().unwrap_or(2e-5))
    }

    /// Number of the output's axes, as the manifest has it.
    pub fn output_rank(&self) -> Option<usize> {
        self.json["shapes"]["out.y"].as_array().map(Vec::len)
    }

    pub fn steps(&self) -> usize {
        self.json["steps"].as_u64().unwrap_or(0) as usize
    }

    /// All tensors of the case's file, by name.
    pub fn tensors(&self) -> Outcome<BTreeMap<String, Stored>> {
        let path = self.folder.join(self.json["file"].as_str().unwrap_or(""));
        let bytes = std::fs::read(&path).or_else(|e| failed(format!("{}: {e}", path.display())))?;
        let file = SafeTensors::deserialize(&bytes).or_else(|e| failed(format!("{}: {e}", path.display())))?;
        file.iter().map(|(name, view)| Ok((name.to_string(), stored(&view)?))).collect()
    }

    /// The case with inputs on a device, those that have gradients as leaves.
    pub fn on(&self, tensors: &BTreeMap<String, Stored>, device: &Device) -> Self {
        let differentiable = self.differentiable();
        let inputs = tensors.iter().filter_map(|(name, stored)| {
            let name = name.strip_prefix("in.")?;
            Some((
                name.to_string(),
                match stored {
                    Stored::Integers(values, shape) => Input::Integers(values.clone(), shape.clone()),
                    Stored::Floats(values, shape) => {
                        let x = Tensor::new(values, &shape[..], device);
                        Input::Tensor(if differentiable.contains(&name) { x.requires_grad() } else { x })
                    }
                },
            ))
        });
        Case { read: RefCell::default(), inputs: inputs.collect(), ..*self }
    }

    pub fn has(&self, input: &str) -> bool {
        self.inputs.contains_key(input)
    }

    /// The name of the input that a loss compares with, if there is one.
    pub fn target(&self) -> Option<&'static str> {
        ["t", "target", "targets", "label", "labels", "y"].into_iter().find(|name| self.has(name))
    }

    /// Names of inputs, in order.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().map(String::as_str)
    }

    /// An input of numbers.
    pub fn input(&self, name: &str) -> Outcome<&Tensor> {
        match self.inputs.get(name) {
            Some(Input::Tensor(x)) => Ok(x),
            Some(Input::Integers(..)) => unsupported(format!("integer input {name}")),
            None => unsupported(format!("no input {name}, has {:?}", self.inputs.keys().collect::<Vec<_>>())),
        }
    }

    /// The input of one of these names, if there is one.
    pub fn optional(&self, names: &[&str]) -> Option<&Tensor> {
        names.iter().find_map(|name| self.input(name).ok())
    }

    /// An input of integers.
    pub fn integers(&self, name: &str) -> Outcome<(&[i64], &[usize])> {
        match self.inputs.get(name) {
            Some(Input::Integers(values, shape)) => Ok((values, shape)),
            Some(Input::Tensor(_)) => unsupported(format!("input {name} of floats, expected integers")),
            None => unsupported(format!("no input {name}, has {:?}", self.inputs.keys().collect::<Vec<_>>())),
        }
    }

    /// An input of indices into `n` places, counted from the end where negative.
    pub fn index(&self, name: &str, n: usize, device: &Device) -> Outcome<Tensor> {
        let (values, shape) = self.integers(name)?;
        let values: Vec<u32> = values.iter().map(|&i| if i < 0 { i + n as i64 } else { i } as u32).collect();
        Ok(Tensor::new(&values, shape, device))
    }

    /// An attribute, unless it is absent or null.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(name.to_string());
        Some(&self.attributes[name]).filter(|v| !v.is_null())
    }

    pub fn has_attribute(&self, name: &str) -> bool {
        !self.attributes[name].is_null()
    }

    /// Attributes that change nothing, or say in another way what others say.
    pub fn ignore(&self, names: &[&str]) {
        self.read.borrow_mut().extend(names.iter().map(|name| name.to_string()));
    }

    /// The attributes that nobody has read.
    pub fn unread(&self) -> Vec<&str> {
        let read = self.read.borrow();
        let names = self.attributes.as_object().into_iter().flat_map(|a| a.keys().map(String::as_str));
        names.filter(|name| !read.contains(*name)).collect()
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.maybe_float(name).unwrap_or(default)
    }

    pub fn maybe_float(&self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(Value::as_f64).map(|v| v as f32)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(Value::as_i64).unwrap_or(default)
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.attribute(name).map_or(default, |v| v.as_bool().unwrap_or(v.as_f64().is_some_and(|v| v != 0.0)))
    }

    pub fn text(&self, name: &str, default: &'static str) -> &str {
        self.attribute(name).and_then(Value::as_str).unwrap_or(default)
    }

    /// The first attribute of these names that is an integer.
    pub fn int_of(&self, names: &[&str], default: i64) -> i64 {
        names.iter().find(|name| self.has_attribute(name)).map_or(default, |name| self.int(name, default))
    }

    /// A list of integers; one integer is a list of one.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let value = self.attribute(name)?;
        match value.as_array() {
            Some(list) => list.iter().map(Value::as_i64).collect(),
            None => value.as_i64().map(|v| vec![v]),
        }
    }

    /// Pairs of numbers, before and after on each axis: `[[a, b], ..]`, or all before and then all after.
    pub fn pairs(&self, name: &str) -> Option<Vec<[i64; 2]>> {
        let list = self.attribute(name)?.as_array()?;
        let flat: Option<Vec<i64>> = list.iter().map(Value::as_i64).collect();
        if let Some(flat) = flat {
            let axes = flat.len() / 2;
            return Some((0..axes).map(|i| [flat[i], flat[axes + i]]).collect());
        }
        let pair = |v: &Value| Some([v.get(0)?.as_i64()?, v.get(1)?.as_i64()?]);
        list.iter().map(pair).collect()
    }

    /// A list of lengths.
    pub fn sizes(&self, name: &str) -> Option<Vec<usize>> {
        self.ints(name)?.into_iter().map(|v| usize::try_from(v).ok()).collect()
    }

    /// The axes, in `axes` or `axis`; `None` for all.
    pub fn axes(&self) -> Option<Vec<isize>> {
        let names = ["axes", "axis", "dims", "dim"];
        let axes = names.into_iter().find_map(|name| self.ints(name));
        axes.map(|axes| axes.into_iter().map(|a| a as isize).collect())
    }

    pub fn axis(&self, default: isize) -> isize {
        self.int_of(&["axis", "dim"], default as i64) as isize
    }
}

fn stored(view: &safetensors::tensor::TensorView<'_>) -> Outcome<Stored> {
    let (bytes, shape) = (view.data(), view.shape().to_vec());
    let eights = || bytes.chunks_exact(8).map(|b| <[u8; 8]>::try_from(b).expect("eight bytes"));
    let fours = || bytes.chunks_exact(4).map(|b| <[u8; 4]>::try_from(b).expect("four bytes"));
    Ok(match view.dtype() {
        Dtype::F32 => Stored::Floats(fours().map(f32::from_le_bytes).collect(), shape),
        Dtype::F64 => Stored::Floats(eights().map(|b| f64::from_le_bytes(b) as f32).collect(), shape),
        Dtype::I64 => Stored::Integers(eights().map(i64::from_le_bytes).collect(), shape),
        Dtype::I32 => Stored::Integers(fours().map(|b| i32::from_le_bytes(b).into()).collect(), shape),
        Dtype::U32 => Stored::Integers(fours().map(|b| u32::from_le_bytes(b).into()).collect(), shape),
        Dtype::U8 | Dtype::BOOL => Stored::Integers(bytes.iter().map(|&b| b.into()).collect(), shape),
        other => return unsupported(format!("tensors of {other:?}")),
    })
}
