//! NaN and infinity, op by op: wherever the CPU's result or gradient is NaN or infinite, the GPU's is, and nowhere else.
//! Told by bits; finite results are held to the CPU's as well.

mod catalogue;
mod common;

use catalogue::{Row, families};
use tilegrad::{DType, Device, Tensor};

/// What is put into the inputs: each value alone, at every fifth place, then all of them with zeros of both signs.
const MIXES: [&[f32]; 4] =
    [&[f32::NAN], &[f32::INFINITY], &[f32::NEG_INFINITY], &[f32::NAN, f32::INFINITY, -0.0, f32::NEG_INFINITY, 0.0]];

/// `x` with the values of `mix` in turn at every fifth place from `first` on.
fn with_special(x: &Tensor, mix: &[f32], first: usize) -> Tensor {
    let mut values = x.to_vec::<f32>().expect("readback");
    let places = (first..values.len().max(first)).step_by(5);
    places.zip(mix.iter().cycle()).for_each(|(i, v)| values[i] = *v);
    Tensor::new(&values, x.shape(), x.device())
}

/// The result, and the gradients of its sum.
fn run(row: &Row, inputs: &[Tensor], device: &Device) -> Vec<Vec<f32>> {
    let read = |x: &Tensor| x.cast(DType::F32).to_vec::<f32>().expect("readback");
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.to(device).expect("upload").requires_grad()).collect();
    let y = (row.f)(&leaves);
    let mut found = vec![read(&y)];
    if row.differentiable {
        let gradients = y.backward();
        found.extend(leaves.iter().map(|x| gradients.get(x).map_or(vec![], read)));
    }
    found
}

/// Whether two results are of one kind: both NaN, the same infinity, or finite and close.
fn agree(want: f32, got: f32) -> bool {
    let special = |v: f32| v.to_bits() & 0x7f80_0000 == 0x7f80_0000;
    match (special(want), special(got)) {
        (true, true) => (want.is_nan() && got.is_nan()) || want.to_bits() == got.to_bits(),
        (false, false) => (got - want).abs() <= 1e-5 + 1e-3 * want.abs(),
        _ => false,
    }
}

#[test]
fn nan_and_infinity_are_the_cpus() {
    let Some(gpu) = common::gpu() else { return };
    let mut differences = Vec::new();
    for row in families().into_iter().flat_map(|(_, rows)| rows).filter(|row| row.special) {
        for (changed, mix) in (0..row.inputs.len()).flat_map(|i| MIXES.map(|mix| (i, mix))) {
            let mut inputs = row.inputs.clone();
            inputs[changed] = with_special(&inputs[changed], mix, 1 % inputs[changed].len().max(1));
            let (want, got) = (run(&row, &inputs, &Device::cpu()), run(&row, &inputs, &gpu));
            for (part, (want, got)) in want.iter().zip(&got).enumerate() {
                let what = if part == 0 { "result".to_string() } else { format!("gradient {}", part - 1) };
                assert_eq!(want.len(), got.len(), "{} {what}", row.op);
                if let Some(i) = want.iter().zip(got).position(|(w, g)| !agree(*w, *g)) {
                    let (op, w, g) = (row.op, want[i], got[i]);
                    differences.push(format!("{op}, {mix:?} in input {changed}: {what} {i} is {g}, on the CPU {w}"));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
