//! `Display` of tensors, in numpy's form, with the middle of long axes left out.

use std::fmt;

use crate::dtype::{DType, Element};
use crate::half::Half;
use crate::tensor::Tensor;

/// Elements shown at either end of a long axis.
const EDGE: usize = 3;

impl fmt::Display for Tensor {
    /// The values, which waits for the device, with shape and type below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype() {
            DType::F32 => show::<f32>(self, f, |v| format!("{v:.4}")),
            DType::F16 => show::<Half>(self, f, |v| format!("{v:.4}")),
            DType::I32 => show::<i32>(self, f, |v| v.to_string()),
            DType::U32 => show::<u32>(self, f, |v| v.to_string()),
            DType::U8 => show::<u8>(self, f, |v| v.to_string()),
            DType::Bool => show::<bool>(self, f, |v| v.to_string()),
        }
    }
}

fn show<T: Element>(x: &Tensor, f: &mut fmt::Formatter<'_>, text: impl Fn(&T) -> String) -> fmt::Result {
    let values = match x.to_vec::<T>() {
        Ok(values) => values,
        Err(error) => return write!(f, "<{error}>"),
    };
    let cells: Vec<String> = values.iter().map(text).collect();
    let width = cells.iter().map(String::len).max().unwrap_or(0);
    axis(f, x.shape(), &cells, width, 0)?;
    write!(f, "\n{} {}", x.dtype(), x.shape())
}

fn axis(f: &mut fmt::Formatter<'_>, shape: &[usize], cells: &[String], width: usize, depth: usize) -> fmt::Result {
    let Some((&len, inner)) = shape.split_first() else {
        return f.write_str(cells.first().map_or("", |c| c.as_str()));
    };
    let step = inner.iter().product::<usize>();
    let separator = if inner.is_empty() { " ".to_string() } else { format!("\n{}", " ".repeat(depth + 1)) };
    f.write_str("[")?;
    let elided = if len > 2 * EDGE + 1 { EDGE..len - EDGE } else { 0..0 };
    for i in (0..len).filter(|i| !elided.contains(i) || *i == elided.start) {
        if i > 0 {
            f.write_str(&separator)?;
        }
        if elided.contains(&i) {
            f.write_str("..")?;
        } else if inner.is_empty() {
            write!(f, "{:>width$}", cells[i])?;
        } else {
            axis(f, inner, &cells[i * step..][..step], width, depth + 1)?;
        }
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use crate::{DType, Device, Tensor};

    #[test]
    fn looks_like_numpy() {
        let x = Tensor::new(&[1.0, -2.5, 3.0, 4.0], [2, 2], &Device::cpu());
        assert_eq!(x.to_string(), "[[ 1.0000 -2.5000]\n [ 3.0000  4.0000]]\nf32 [2, 2]");
        let long: Vec<u32> = (0..100).collect();
        let x = Tensor::new(&long, [100], &Device::cpu());
        assert_eq!(x.to_string(), "[ 0  1  2 .. 97 98 99]\nu32 [100]");
        assert_eq!(
            Tensor::new(&[1.5, 0.1], [2], &Device::cpu()).cast(DType::F16).to_string(),
            "[1.5000 0.1000]\nf16 [2]"
        );
        assert_eq!(Tensor::scalar(2.0, &Device::cpu()).to_string(), "2.0000\nf32 []");
    }
}
