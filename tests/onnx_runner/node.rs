//! A node of a graph as an operator sees it: inputs, attributes with their defaults, device, version of the operator set.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use safetensors::SafeTensors;
use tilegrad::{Device, Tensor};

use super::case::{Attribute, NodeRecord};
use super::value::Value;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq)]
pub enum Miss {
    /// tilegrad has nothing for this; says what.
    Unsupported(String),
    /// It should have worked.
    Failed(String),
}

pub type Outcome<T> = Result<T, Miss>;

pub fn unsupported(what: impl Into<String>) -> Miss {
    Miss::Unsupported(what.into())
}

pub fn failed(what: impl Into<String>) -> Miss {
    Miss::Failed(what.into())
}

impl From<tilegrad::Error> for Miss {
    fn from(error: tilegrad::Error) -> Miss {
        Miss::Failed(error.to_string())
    }
}

/// The values of a graph by name.
pub type Values = HashMap<String, Value>;

/// One node, with everything it may look at.
pub struct Node<'a> {
    pub op: &'a str,
    /// Version of the operator set that the node's domain has in this case.
    pub opset: i64,
    pub device: &'a Device,
    record: &'a NodeRecord,
    values: &'a Values,
    file: &'a SafeTensors<'a>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Node<'a> {
    pub fn new(
        record: &'a NodeRecord,
        opsets: &BTreeMap<String, i64>,
        values: &'a Values,
        file: &'a SafeTensors<'a>,
        device: &'a Device,
    ) -> Outcome<Node<'a>> {
        let domain = if record.domain.is_empty() { "ai.onnx" } else { &record.domain };
        if !["ai.onnx", "ai.onnx.preview.training"].contains(&domain) {
            return Err(unsupported(format!("operators of {domain}")));
        }
        let opset = *opsets.get(domain).ok_or_else(|| failed(format!("the case names no version of {domain}")))?;
        if let Some(missing) = record.inputs.iter().find(|name| !name.is_empty() && !values.contains_key(*name)) {
            return Err(failed(format!("nothing makes the input {missing}")));
        }
        Ok(Node { op: &record.op, opset, device, record, values, file, read: RefCell::default() })
    }

    // Inputs.

    /// Number of inputs, those left out in the middle included.
    pub fn inputs(&self) -> usize {
        self.record.inputs.len()
    }

    /// An input that may be left out.
    pub fn optional(&self, i: usize) -> Option<&'a Value> {
        let name = self.record.inputs.get(i)?;
        self.values.get(name)
    }

    /// An input that must be there.
    pub fn input(&self, i: usize) -> Outcome<&'a Value> {
        self.optional(i).ok_or_else(|| failed(format!("input {i} is missing")))
    }

    /// The tensor of an input that must be there.
    pub fn tensor(&self, i: usize) -> Outcome<&'a Tensor> {
        self.input(i)?.tensor()
    }

    /// The tensor of an input that may be left out.
    pub fn optional_tensor(&self, i: usize) -> Outcome<Option<&'a Tensor>> {
        self.optional(i).map(Value::tensor).transpose()
    }

    /// All inputs of an operator that takes any number.
    pub fn tensors(&self) -> Outcome<Vec<&'a Tensor>> {
        (0..self.inputs()).map(|i| self.tensor(i)).collect()
    }

    /// The integers of an input, read to the host: shapes, axes, pads.
    pub fn ints_input(&self, i: usize) -> Outcome<Option<Vec<i64>>> {
        self.optional(i).map(Value::host_ints).transpose()
    }

    /// The floats of an input, read to the host: scales, limits.
    pub fn floats_input(&self, i: usize) -> Outcome<Option<Vec<f32>>> {
        self.optional(i).map(Value::host_floats).transpose()
    }

    /// Any value of the graph that is known by now: what `Gradient` names.
    pub fn named(&self, name: &str) -> Outcome<&'a Value> {
        self.values.get(name).ok_or_else(|| failed(format!("nothing makes {name}")))
    }

    // Outputs.

    /// Whether anybody wants output `i`.
    pub fn wants(&self, i: usize) -> bool {
        self.record.outputs.get(i).is_some_and(|name| !name.is_empty())
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.record.outputs.len()
    }

    // Attributes. A value of another type than asked for is the manifest's mistake and panics.

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.read.borrow_mut().insert(name.to_string());
        self.record.attrs.get(name)
    }

    /// Whether the attribute is given. It still has to be read.
    pub fn has(&self, name: &str) -> bool {
        self.record.attrs.contains_key(name)
    }

    /// The attribute changes no result, for the reason that the caller gives.
    pub fn ignore(&self, name: &str, _why: &str) {
        self.attribute(name);
    }

    pub fn maybe_int(&self, name: &str) -> Option<i64> {
        match self.attribute(name)? {
            Attribute::Int(v) => Some(*v),
            other => panic!("{name} is {other:?}, not an integer"),
        }
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.maybe_int(name).unwrap_or(default)
    }

    /// An integer that says yes or no.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.maybe_int(name).map_or(default, |v| v != 0)
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attribute(name)? {
            Attribute::Ints(v) => Some(v.clone()),
            other => panic!("{name} is {other:?}, not integers"),
        }
    }

    pub fn maybe_float(&self, name: &str) -> Option<f32> {
        match self.attribute(name)? {
            Attribute::Float(v) => Some(*v as f32),
            other => panic!("{name} is {other:?}, not a float"),
        }
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.maybe_float(name).unwrap_or(default)
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        match self.attribute(name)? {
            Attribute::Floats(v) => Some(v.iter().map(|&v| v as f32).collect()),
            other => panic!("{name} is {other:?}, not floats"),
        }
    }

    pub fn maybe_text(&self, name: &str) -> Option<&'a str> {
        match self.attribute(name)? {
            Attribute::Text(v) => Some(v),
            other => panic!("{name} is {other:?}, not a text"),
        }
    }

    pub fn text(&self, name: &str, default: &'static str) -> &'a str {
        self.maybe_text(name).unwrap_or(default)
    }

    pub fn texts(&self, name: &str) -> Option<&'a [String]> {
        match self.attribute(name)? {
            Attribute::Texts(v) => Some(v),
            other => panic!("{name} is {other:?}, not texts"),
        }
    }

    /// An attribute that is a tensor, from the case's file.
    pub fn constant(&self, name: &str) -> Outcome<Option<Value>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(key)) => {
                let view = self.file.tensor(key).map_err(|e| failed(format!("{key}: {e}")))?;
                Value::load(&view, self.device).map(Some)
            }
            Some(other) => panic!("{name} is {other:?}, not a tensor"),
        }
    }

    /// An attribute that nobody read: the result can't be what was asked for.
    pub fn unread(&self) -> Option<&'a str> {
        self.record.attrs.keys().find(|name| !self.read.borrow().contains(*name)).map(String::as_str)
    }
}
