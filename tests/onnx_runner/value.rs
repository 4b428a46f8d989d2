//! Values of an ONNX graph: a tensor and its ONNX element type, which tilegrad does not always have.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tilegrad::{DType, Device, Shape, Tensor};

use super::node::{Miss, Outcome, failed, unsupported};

/// ONNX's element types, as far as the cases go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    F32,
    /// Held as `i32`.
    I64,
    I32,
    U8,
    Bool,
}

use ElementType::{Bool, F32, I32, I64, U8};

impl ElementType {
    /// By the number that ONNX gives it in attributes such as `to` and `dtype` (`TensorProto.DataType`).
    pub fn numbered(number: i64) -> Outcome<ElementType> {
        match number {
            1 => Ok(F32),
            2 => Ok(U8),
            6 => Ok(I32),
            7 => Ok(I64),
            9 => Ok(Bool),
            other => Err(unsupported(format!("element type {other}"))),
        }
    }

    /// By its name in the manifest and in safetensors files.
    pub fn named(name: &str) -> Outcome<ElementType> {
        match name {
            "F32" => Ok(F32),
            "U8" => Ok(U8),
            "I32" => Ok(I32),
            "I64" => Ok(I64),
            "BOOL" => Ok(Bool),
            other => Err(unsupported(format!("element type {other}"))),
        }
    }

    /// What tilegrad holds it as.
    pub fn held_as(self) -> DType {
        match self {
            F32 => DType::F32,
            I64 | I32 => DType::I32,
            U8 => DType::U8,
            Bool => DType::Bool,
        }
    }
}

/// The values of a tensor on the host, in the widest type of their kind. Truth values are 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Host {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

/// A value of a graph.
#[derive(Clone)]
pub struct Value {
    /// Absent where 64-bit integers of a file don't fit 32 bits.
    tensor: Option<Tensor>,
    shape: Shape,
    element: ElementType,
    /// The integers of a file as they are there.
    exact: Option<Vec<i64>>,
}

impl Value {
    /// A tensor whose element type is ONNX's, too; `u32` is the type of indices and becomes I64.
    pub fn of(tensor: Tensor) -> Value {
        let element = match tensor.dtype() {
            DType::F32 | DType::F16 => F32,
            DType::U8 => U8,
            DType::I32 => I32,
            DType::U32 => I64,
            DType::Bool => Bool,
        };
        Value::of_type(tensor, element)
    }

    /// A tensor under an ONNX element type. It is brought to the type that holds it.
    pub fn of_type(tensor: Tensor, element: ElementType) -> Value {
        let tensor = tensor.cast(element.held_as());
        Value { shape: *tensor.shape(), tensor: Some(tensor), element, exact: None }
    }

    /// Integers from the host.
    pub fn ints(values: &[i64], shape: impl Into<Shape>, element: ElementType, device: &Device) -> Value {
        let shape = shape.into();
        let tensor = match element.held_as() {
            DType::U8 => {
                let bytes: Option<Vec<u8>> = values.iter().map(|&v| u8::try_from(v).ok()).collect();
                bytes.map(|v| Tensor::new(&v, shape, device))
            }
            DType::Bool => Some(Tensor::new(&values.iter().map(|&v| v != 0).collect::<Vec<_>>(), shape, device)),
            _ => {
                let fitting: Option<Vec<i32>> = values.iter().map(|&v| i32::try_from(v).ok()).collect();
                fitting.map(|v| Tensor::new(&v, shape, device))
            }
        };
        Value { tensor, shape, element, exact: Some(values.to_vec()) }
    }

    /// What a file holds.
    pub fn load(view: &TensorView<'_>, device: &Device) -> Outcome<Value> {
        let (shape, bytes) = (Shape::new(view.shape()), view.data());
        let quads = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        let element = match view.dtype() {
            Dtype::F32 => {
                let values: Vec<f32> = quads().map(f32::from_le_bytes).collect();
                return Ok(Value::of(Tensor::new(&values, shape, device)));
            }
            Dtype::I64 => I64,
            Dtype::I32 => I32,
            Dtype::U8 => U8,
            Dtype::BOOL => Bool,
            other => return Err(unsupported(format!("element type {other:?}"))),
        };
        let values: Vec<i64> = match element {
            I64 => bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes"))).collect(),
            I32 => quads().map(|b| i32::from_le_bytes(b).into()).collect(),
            _ => bytes.iter().map(|&b| b.into()).collect(),
        };
        Ok(Value::ints(&values, shape, element, device))
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The tensor on the device.
    pub fn tensor(&self) -> Outcome<&Tensor> {
        self.tensor.as_ref().ok_or_else(|| {
            let exact = self.exact.iter().flatten();
            let big = exact.copied().find(|&v| i32::try_from(v).is_err()).unwrap_or_default();
            unsupported(format!("{big} does not fit 32 bits"))
        })
    }

    /// The tensor as `f32`, whatever its type.
    pub fn float(&self) -> Outcome<Tensor> {
        Ok(self.tensor()?.cast(DType::F32))
    }

    /// A leaf for gradients.
    pub fn leaf(self) -> Value {
        Value { tensor: self.tensor.map(|t| if t.dtype() == DType::F32 { t.requires_grad() } else { t }), ..self }
    }

    /// The values on the host: those of a file as they are there, others read from the device.
    pub fn host(&self) -> Outcome<Host> {
        match &self.exact {
            Some(exact) => Ok(Host::Int(exact.clone())),
            None => read(self.tensor()?),
        }
    }

    /// The values as the device has them, for a comparison; of a file only where they don't fit a tensor.
    pub fn computed(&self) -> Outcome<Host> {
        self.tensor.as_ref().map_or_else(|| self.host(), read)
    }

    /// The values on the host, of an integer or truth value.
    pub fn host_ints(&self) -> Outcome<Vec<i64>> {
        match self.host()? {
            Host::Int(values) => Ok(values),
            Host::Float(_) => Err(failed("integers are needed here, not floats")),
        }
    }

    /// The values on the host, of floats.
    pub fn host_floats(&self) -> Outcome<Vec<f32>> {
        match self.host()? {
            Host::Float(values) => Ok(values),
            Host::Int(_) => Err(failed("floats are needed here, not integers")),
        }
    }
}

fn read(tensor: &Tensor) -> Outcome<Host> {
    let problem = |e: tilegrad::Error| Miss::Failed(e.to_string());
    Ok(match tensor.dtype() {
        DType::F32 => Host::Float(tensor.to_vec::<f32>().map_err(problem)?),
        DType::F16 => return read(&tensor.cast(DType::F32)),
        DType::I32 => Host::Int(tensor.to_vec::<i32>().map_err(problem)?.iter().map(|&v| v.into()).collect()),
        DType::U32 => Host::Int(tensor.to_vec::<u32>().map_err(problem)?.iter().map(|&v| v.into()).collect()),
        DType::U8 => Host::Int(tensor.to_vec::<u8>().map_err(problem)?.iter().map(|&v| v.into()).collect()),
        DType::Bool => Host::Int(tensor.to_vec::<bool>().map_err(problem)?.iter().map(|&v| v.into()).collect()),
    })
}
