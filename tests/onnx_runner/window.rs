//! Windows of signal processing: `a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N)`.

use tilegrad::Tensor;

use super::layout::count;
use super::node::{Node, Outcome, failed};
use super::value::{ElementType, Value};

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "BlackmanWindow" => window(node, [0.42, 0.5, 0.08]),
        "HammingWindow" => window(node, [25.0 / 46.0, 21.0 / 46.0, 0.0]),
        "HannWindow" => window(node, [0.5, 0.5, 0.0]),
        _ => return None,
    })
}

/// `N` is the size, or one less where the window is symmetric.
fn window(node: &Node, [a0, a1, a2]: [f64; 3]) -> Outcome<Vec<Value>> {
    let Some(&[size]) = node.ints_input(0)?.as_deref() else { return Err(failed("the size is not one number")) };
    let element = ElementType::numbered(node.int("output_datatype", 1))?;
    let size = count(size, "the size")?;
    let period = if node.flag("periodic", true) { size } else { size.saturating_sub(1) }.max(1);
    let at = |n: usize| {
        let angle = std::f64::consts::TAU * n as f64 / period as f64;
        (a0 - a1 * angle.cos() + a2 * (2.0 * angle).cos()) as f32
    };
    let values: Vec<f32> = (0..size).map(at).collect();
    Ok(vec![Value::of_type(Tensor::new(&values, [size], node.device), element)])
}
