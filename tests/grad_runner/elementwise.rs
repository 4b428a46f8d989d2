//! Functions of each element, of one or more tensors.

use tilegrad::{DType, GemmOptions, Tensor};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    let unary = |f: fn(&Tensor) -> Tensor| case.input("x").map(f);
    let with = |f: &dyn Fn(&Tensor) -> Tensor| case.input("x").map(f);
    let binary = |f: fn(&Tensor, &Tensor) -> Tensor| operands(case).map(|(a, b)| f(a, b));
    Some(match case.op() {
        "abs" => unary(Tensor::abs),
        "acos" | "arccos" => unary(Tensor::acos),
        "acosh" | "arccosh" => unary(Tensor::acosh),
        "affine" => with(&|x| x.affine(case.float("scale", 1.0), case.float("shift", 0.0))),
        "asin" | "arcsin" => unary(Tensor::asin),
        "asinh" | "arcsinh" => unary(Tensor::asinh),
        "atan" | "arctan" => unary(Tensor::atan),
        "atanh" | "arctanh" => unary(Tensor::atanh),
        "ceil" => unary(Tensor::ceil),
        "celu" => with(&|x| x.celu(case.float("alpha", 1.0))),
        "clip" | "clamp" => clip(case),
        "cos" => unary(Tensor::cos),
        "cosh" => unary(Tensor::cosh),
        "elu" => with(&|x| x.elu(case.float("alpha", 1.0))),
        "erf" => unary(Tensor::erf),
        "exp" => unary(Tensor::exp),
        "expm1" => unary(Tensor::expm1),
        "floor" => unary(Tensor::floor),
        "gelu" => gelu(case),
        "gelu_erf" | "gelu_exact" => unary(Tensor::gelu_exact),
        "gelu_tanh" => unary(Tensor::gelu),
        "hard_sigmoid" => unary(Tensor::hard_sigmoid),
        "hard_swish" | "hard_silu" => unary(Tensor::hard_swish),
        "hard_tanh" | "hardtanh" => with(&|x| x.clip(case.float("min", -1.0), case.float("max", 1.0))),
        "leaky_relu" => leaky_relu(case),
        "log" => unary(Tensor::log),
        "log1p" => unary(Tensor::log1p),
        "logsigmoid" | "log_sigmoid" => unary(Tensor::logsigmoid),
        "mish" => unary(Tensor::mish),
        "neg" => unary(Tensor::neg),
        "prelu" => prelu(case),
        "reciprocal" => unary(Tensor::reciprocal),
        "relu" => unary(Tensor::relu),
        "relu6" => unary(Tensor::relu6),
        "round" => unary(Tensor::round),
        "rsqrt" => unary(Tensor::rsqrt),
        "selu" => unary(Tensor::selu),
        "shrink" => with(&|x| x.shrink(case.float("bias", 0.0), case.float("lambd", case.float("lambda", 0.5)))),
        "sigmoid" => unary(Tensor::sigmoid),
        "sign" => unary(Tensor::sign),
        "silu" | "swish" => unary(Tensor::silu),
        "sin" => unary(Tensor::sin),
        "sinh" => unary(Tensor::sinh),
        "softplus" => softplus(case),
        "softsign" | "soft_sign" => unary(Tensor::softsign),
        "sqrt" => unary(Tensor::sqrt),
        "square" => unary(Tensor::square),
        "tan" => unary(Tensor::tan),
        "tanh" => unary(Tensor::tanh),
        "thresholded_relu" => with(&|x| x.thresholded_relu(case.float("alpha", 1.0))),
        "trunc" => unary(Tensor::trunc),
        "cube" => unary(|x| x.mul(x).mul(x)),
        "erfc" => unary(|x| x.erf().affine(-1.0, 1.0)),
        "exp2" => unary(|x| x.affine(std::f32::consts::LN_2, 0.0).exp()),
        "identity" => unary(Tensor::clone),
        "log10" => unary(|x| x.log().affine(std::f32::consts::LOG10_E, 0.0)),
        "log2" => unary(|x| x.log().affine(std::f32::consts::LOG2_E, 0.0)),
        "tanhshrink" => unary(|x| x.sub(&x.tanh())),
        "pow" if !case.has("x") => binary(Tensor::pow),
        "pow" | "powf" => power(case),
        "add" => binary(Tensor::add),
        "sub" => binary(Tensor::sub),
        "mul" => binary(Tensor::mul),
        "div" => binary(Tensor::div),
        "maximum" => binary(Tensor::maximum),
        "minimum" => binary(Tensor::minimum),
        // Of one tensor these are reductions.
        "max" if case.has("a") => binary(Tensor::maximum),
        "min" if case.has("a") => binary(Tensor::minimum),
        "hypot" => binary(|a, b| a.square().add(&b.square()).sqrt()),
        "logaddexp" => binary(logaddexp),
        "fmod" => binary(Tensor::fmod),
        "mod" | "remainder" => binary(Tensor::remainder),
        "matmul" | "bmm" | "dot" => matmul(case),
        "linear" => linear(case),
        "gemm" | "addmm" => gemm(case),
        "outer" => binary(|a, b| a.unsqueeze(-1).mul(b)),
        "where" | "select" => choose(case),
        _ => return None,
    })
}

/// The two operands, `a` and `b` or `x` and `y`.
fn operands<'a>(case: &'a Case) -> Outcome<(&'a Tensor, &'a Tensor)> {
    let (a, b) = if case.has("a") { ("a", "b") } else { ("x", "y") };
    Ok((case.input(a)?, case.input(b)?))
}

/// `log(exp(a) + exp(b))`, which does not overflow.
fn logaddexp(a: &Tensor, b: &Tensor) -> Tensor {
    a.maximum(b).add(&a.sub(b).abs().neg().exp().log1p())
}

/// `log(1 + exp(beta * x)) / beta`.
fn softplus(case: &Case) -> Outcome<Tensor> {
    let beta = case.float("beta", 1.0);
    Ok(case.input("x")?.affine(beta, 0.0).softplus().affine(1.0 / beta, 0.0))
}

fn matmul(case: &Case) -> Outcome<Tensor> {
    let (a, b) = operands(case)?;
    let turned = |x: &Tensor, names: &[&str]| match names.iter().any(|name| case.flag(name, false)) {
        true => x.swap_axes(-2, -1),
        false => x.clone(),
    };
    let a = turned(a, &["transpose_a", "trans_a", "transA"]);
    Ok(a.matmul(&turned(b, &["transpose_b", "trans_b", "transB"])))
}

/// `alpha * a * b + beta * c`.
fn gemm(case: &Case) -> Outcome<Tensor> {
    let options = GemmOptions {
        alpha: case.float("alpha", 1.0),
        beta: case.float("beta", 1.0),
        transpose_a: case.flag("transA", case.flag("transpose_a", false)),
        transpose_b: case.flag("transB", case.flag("transpose_b", false)),
    };
    let (a, b) = operands(case)?;
    Ok(a.gemm(b, case.optional(&["c"]), &options))
}

/// Weights are `(in, out)`, or PyTorch's `(out, in)` where only that fits.
fn linear(case: &Case) -> Outcome<Tensor> {
    let (x, w) = (case.input("x")?, case.input("w")?);
    let last = x.shape()[x.rank() - 1];
    let w = if w.shape()[0] == last { w.clone() } else { w.transpose() };
    Ok(x.linear(&w, case.optional(&["b", "bias"]), None))
}

/// Exact unless the case says otherwise, as a flag or in PyTorch's words.
fn gelu(case: &Case) -> Outcome<Tensor> {
    let approximate = case.text("approximate", "none") == "tanh" || case.flag("approximate", false);
    let x = case.input("x")?;
    Ok(if approximate { x.gelu() } else { x.gelu_exact() })
}

fn prelu(case: &Case) -> Outcome<Tensor> {
    match case.optional(&["slope", "a", "alpha", "w"]) {
        Some(slope) => Ok(case.input("x")?.prelu(slope)),
        None => unsupported("prelu without slopes"),
    }
}

fn leaky_relu(case: &Case) -> Outcome<Tensor> {
    let slope = ["alpha", "slope", "negative_slope"].iter().find_map(|name| case.maybe_float(name));
    // JAX's default.
    Ok(case.input("x")?.leaky_relu(slope.unwrap_or(0.01)))
}

fn clip(case: &Case) -> Outcome<Tensor> {
    let low = case
        .maybe_float("min")
        .or(case.maybe_float("low"))
        .or(case.maybe_float("lo"))
        .or(case.maybe_float("a_min"))
        .unwrap_or(f32::NEG_INFINITY);
    let high = case
        .maybe_float("max")
        .or(case.maybe_float("high"))
        .or(case.maybe_float("hi"))
        .or(case.maybe_float("a_max"))
        .unwrap_or(f32::INFINITY);
    Ok(case.input("x")?.clip(low, high))
}

fn power(case: &Case) -> Outcome<Tensor> {
    match case.maybe_float("exponent") {
        Some(exponent) => Ok(case.input("x")?.powf(exponent)),
        None => unsupported("pow without an exponent"),
    }
}

/// `a` where the condition holds, `b` elsewhere.
fn choose(case: &Case) -> Outcome<Tensor> {
    let names = ["c", "cond", "condition", "mask", "m"];
    let Some(name) = names.into_iter().find(|name| case.has(name)) else {
        return unsupported("where without a condition");
    };
    let pair = [("a", "b"), ("x", "y")].into_iter().find(|(a, b)| case.has(a) && case.has(b));
    let Some((a, b)) = pair else { return unsupported("where without two choices") };
    let (a, b) = (case.input(a)?, case.input(b)?);
    let condition = match case.input(name) {
        Ok(floats) => floats.cast(DType::Bool),
        Err(_) => {
            let (values, shape) = case.integers(name)?;
            Tensor::new(&values.iter().map(|v| *v != 0).collect::<Vec<_>>(), shape, a.device())
        }
    };
    Ok(condition.where_cond(a, b))
}
