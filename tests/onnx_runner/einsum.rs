//! Sums of products over named axes.

use tilegrad::Tensor;

use super::node::{Node, Outcome, failed};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    (node.op == "Einsum").then(|| einsum(node))
}

/// The axes under an ellipsis are named by what no equation has: digits, the last one `0`.
fn einsum(node: &Node) -> Outcome<Vec<Value>> {
    let equation: String = node.text("equation", "").replace(' ', "");
    let inputs = node.tensors()?;
    let (left, right) = equation.split_once("->").map_or((&equation[..], None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(failed(format!("{equation} of {} tensors", inputs.len())));
    }
    let names = terms.iter().zip(&inputs).map(|(term, x)| named(term, x.rank())).collect::<Outcome<Vec<_>>>()?;
    let mut all: Vec<char> = names.concat();
    all.sort_unstable();
    let mut once: Vec<char> = all.clone();
    once.dedup();
    let broadcast: Vec<char> = once.iter().copied().filter(char::is_ascii_digit).rev().collect();
    let output: Vec<char> = match right {
        Some(right) => right.replace("...", &broadcast.iter().collect::<String>()).chars().collect(),
        // All names that come once, in the order of the alphabet.
        None => {
            let single = |c: &char| !c.is_ascii_digit() && all.iter().filter(|other| *other == c).count() == 1;
            broadcast.iter().copied().chain(once.iter().copied().filter(single)).collect()
        }
    };
    let summed: Vec<char> = once.iter().copied().filter(|c| !output.contains(c)).collect();
    let order = [output.clone(), summed].concat();
    let aligned = inputs.iter().zip(&names).map(|(x, names)| align(x, names, &order)).collect::<Outcome<Vec<_>>>()?;
    let product = aligned[1..].iter().fold(aligned[0].clone(), |y, x| y.mul(x));
    let axes: Vec<isize> = (output.len() as isize..order.len() as isize).collect();
    Ok(vec![Value::of_type(product.sum_axes(&axes, false), node.input(0)?.element())])
}

/// A name for each axis of a tensor.
fn named(term: &str, rank: usize) -> Outcome<Vec<char>> {
    let hidden =
        rank.checked_sub(term.replace("...", "").len()).ok_or_else(|| failed(format!("{term} of {rank} axes")))?;
    let digits: String = (0..hidden as u32).rev().filter_map(|i| char::from_digit(i, 10)).collect();
    let names: Vec<char> = term.replace("...", &digits).chars().collect();
    if names.len() == rank { Ok(names) } else { Err(failed(format!("{term} of {rank} axes"))) }
}

/// The tensor with an axis for each name of `order`, of length 1 where it has none. Of a name that comes twice the diagonal.
fn align(x: &Tensor, names: &[char], order: &[char]) -> Outcome<Tensor> {
    let (mut x, mut names) = (x.clone(), names.to_vec());
    while let Some(second) = (0..names.len()).rev().find(|&i| names[..i].contains(&names[i])) {
        let first = names.iter().position(|c| *c == names[second]).unwrap_or(0);
        let n = x.shape()[first];
        if x.shape()[second] != n {
            return Err(failed(format!("{} is {n} and {}", names[second], x.shape()[second])));
        }
        let mut shape = vec![1; x.rank()];
        (shape[first], shape[second]) = (n, n);
        let diagonal = Tensor::eye(n, n, 0, x.device()).cast(x.dtype()).reshape(&shape[..]);
        x = x.mul(&diagonal).sum_axes(&[second as isize], false);
        names.remove(second);
    }
    let present: Vec<char> = order.iter().copied().filter(|c| names.contains(c)).collect();
    let places: Vec<isize> =
        present.iter().filter_map(|c| names.iter().position(|other| other == c)).map(|i| i as isize).collect();
    let x = x.permute(&places);
    let missing: Vec<isize> = (0..order.len()).filter(|&i| !names.contains(&order[i])).map(|i| i as isize).collect();
    Ok(x.unsqueeze_axes(&missing))
}
