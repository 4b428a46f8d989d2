//! Functions of two tensors, conditions, choice by a condition, element types, random numbers.

use tilegrad::{DType, RandomKey, Tensor};

use super::{Row, row};
use crate::common::{random, spread};

type Function = fn(&[Tensor]) -> Tensor;
type Names = &'static [&'static str];
/// An op without a gradient: its name, the op, its names in the registry and in ONNX.
type Listed = (&'static str, Function, Names, Names);

fn two() -> Vec<Tensor> {
    vec![random([3, 1, 4], 11, 0.5, 2.0), random([2, 4], 12, 0.5, 2.0)]
}

/// Pairs of which many are equal.
fn ties() -> Vec<Tensor> {
    let values = |seed| random([4, 8], seed, 0.0, 3.0).cast(DType::I32).cast(DType::F32);
    vec![values(13), values(14)]
}

fn as_ints(x: &[Tensor], f: fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    f(&x[0].affine(10.0, -12.0).cast(DType::I32), &x[1].affine(4.0, -5.0).cast(DType::I32))
}

fn as_conditions(x: &[Tensor], f: fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    f(&x[0].cast(DType::Bool), &x[1].cast(DType::Bool))
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("add", two(), |x| x[0].add(&x[1])).step(1e-2).onnx(&["Add", "Sum"]).jax(&["add"]),
        row("sub", two(), |x| x[0].sub(&x[1])).step(1e-2).onnx(&["Sub"]).jax(&["sub"]),
        row("mul", two(), |x| x[0].mul(&x[1])).onnx(&["Mul"]).jax(&["mul"]),
        row("div", two(), |x| x[0].div(&x[1])).onnx(&["Div"]).jax(&["div"]),
        row("pow", two(), |x| x[0].pow(&x[1])).onnx(&["Pow"]),
        row("maximum", two(), |x| x[0].maximum(&x[1])).jax(&["maximum"]).onnx(&["Max"]),
        row("minimum", two(), |x| x[0].minimum(&x[1])).onnx(&["Min"]),
        row("fmod", two(), |x| x[0].fmod(&x[1])).onnx(&["Mod"]),
        row("remainder", two(), |x| x[0].neg().remainder(&x[1])),
        row("where_cond", vec![spread([3, 4], 15), spread([4], 16)], |x| {
            let positive = random([3, 4], 17, -1.0, 1.0).to(x[0].device()).unwrap().gt(&x[0].zeros_like().detach());
            positive.where_cond(&x[0], &x[1])
        })
        .jax(&["where"])
        .step(1e-2)
        .onnx(&["Where"]),
        row("cast", two(), |x| x[0].affine(100.0, -100.0).cast(DType::I32)).constant(&["cast"]).onnx(&["Cast"]),
        row("logical_not", ties(), |x| x[0].cast(DType::Bool).logical_not()).constant(&["logical_not"]).onnx(&["Not"]),
        row("is_nan", ties(), |x| x[0].is_nan()).constant(&["is_nan"]).onnx(&["IsNaN"]),
        row("is_inf", ties(), |x| {
            let (one, other) = (x[0].is_positive_infinity(), x[0].is_negative_infinity());
            one.logical_or(&other).logical_and(&x[0].is_inf())
        })
        .constant(&["is_inf", "is_positive_infinity", "is_negative_infinity"])
        .onnx(&["IsInf"]),
        row("is_finite", ties(), |x| x[0].is_finite()).constant(&["is_finite"]),
        row("full", vec![spread([4], 19)], |x| Tensor::full(2.5, [3], x[0].device())).constant(&["fill"]),
        row("dropout", vec![spread([6, 8], 18)], |x| x[0].dropout(0.5, RandomKey { seed: 1, counter: 2 })).step(1e-2),
        row("rand_bits", vec![spread([4], 19)], |x| {
            Tensor::rand_bits([64], RandomKey { seed: 3, counter: 4 }, x[0].device()).cast(DType::F32)
        })
        .constant(&["rand_bits"]),
        row("rand_uniform", vec![spread([4], 19)], |x| {
            Tensor::rand_uniform(-1.0, 1.0, [64], RandomKey { seed: 3, counter: 4 }, x[0].device())
        })
        .constant(&["rand_uniform"]),
        row("rand_normal", vec![spread([4], 19)], |x| {
            Tensor::rand_normal(0.0, 1.0, [64], RandomKey { seed: 3, counter: 4 }, x[0].device())
        })
        .constant(&["rand_normal"]),
    ];
    let compare: [Listed; 6] = [
        ("eq", |x| x[0].eq(&x[1]), &["eq"], &["Equal"]),
        ("ne", |x| x[0].ne(&x[1]), &["ne"], &[]),
        ("gt", |x| x[0].gt(&x[1]), &["gt"], &["Greater"]),
        ("ge", |x| x[0].ge(&x[1]), &["ge"], &["GreaterOrEqual"]),
        ("lt", |x| x[0].lt(&x[1]), &["lt"], &["Less"]),
        ("le", |x| x[0].le(&x[1]), &["le"], &["LessOrEqual"]),
    ];
    let logic: [Listed; 3] = [
        ("logical_and", |x| as_conditions(x, Tensor::logical_and), &["logical_and"], &["And"]),
        ("logical_or", |x| as_conditions(x, Tensor::logical_or), &["logical_or"], &["Or"]),
        ("logical_xor", |x| as_conditions(x, Tensor::logical_xor), &["logical_xor"], &["Xor"]),
    ];
    rows.extend(
        compare.into_iter().chain(logic).map(|(op, f, covers, onnx)| row(op, ties(), f).constant(covers).onnx(onnx)),
    );
    let integer: [(&'static str, Function, Names); 14] = [
        ("add of integers", |x| as_ints(x, Tensor::add), &["integer add"]),
        ("sub of integers", |x| as_ints(x, Tensor::sub), &["integer sub"]),
        ("mul of integers", |x| as_ints(x, Tensor::mul), &["integer mul"]),
        ("div of integers", |x| as_ints(x, Tensor::div), &["integer div"]),
        ("pow of integers", |x| as_ints(x, Tensor::pow), &["integer pow"]),
        ("maximum of integers", |x| as_ints(x, Tensor::maximum), &["integer maximum"]),
        ("minimum of integers", |x| as_ints(x, Tensor::minimum), &["integer minimum"]),
        ("fmod of integers", |x| as_ints(x, Tensor::fmod), &["integer fmod"]),
        ("remainder of integers", |x| as_ints(x, Tensor::remainder), &["integer remainder"]),
        ("bitwise_and", |x| as_ints(x, Tensor::bitwise_and), &["bitwise_and"]),
        ("bitwise_or", |x| as_ints(x, Tensor::bitwise_or), &["bitwise_or"]),
        ("bitwise_xor", |x| as_ints(x, Tensor::bitwise_xor), &["bitwise_xor"]),
        ("shift_left", |x| as_ints(x, Tensor::shift_left), &["shift_left"]),
        ("shift_right", |x| as_ints(x, Tensor::shift_right), &["shift_right"]),
    ];
    rows.extend(integer.into_iter().map(|(op, f, covers)| row(op, two(), f).constant(covers)));
    rows
}
