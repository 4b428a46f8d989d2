//! Functions of each element, of one or more tensors.

use tilegrad::{DType, Tensor};

use super::case::{Case, Outcome, unsupported};

pub fn build(case: &Case) -> Option<Outcome<Tensor>> {
    let unary = |f: fn(&Tensor) -> Tensor| case.input("x").map(f);
    let with = |f: &dyn Fn(&Tensor) -> Tensor| case.input("x").map(f);
    let binary = |f: fn(&Tensor, &Tensor) -> Tensor| Ok(f(case.input("a")?, case.input("b")?));
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
        "softplus" => unary(Tensor::softplus),
        "softsign" | "soft_sign" => unary(Tensor::softsign),
        "sqrt" => unary(Tensor::sqrt),
        "square" => unary(Tensor::square),
        "tan" => unary(Tensor::tan),
        "tanh" => unary(Tensor::tanh),
        "thresholded_relu" => with(&|x| x.thresholded_relu(case.float("alpha", 1.0))),
        "trunc" => unary(Tensor::trunc),
        "pow" if !case.has("x") => binary(Tensor::pow),
        "pow" | "powf" => power(case),
        "add" => binary(Tensor::add),
        "sub" => binary(Tensor::sub),
        "mul" => binary(Tensor::mul),
        "div" => binary(Tensor::div),
        "maximum" => binary(Tensor::maximum),
        "minimum" => binary(Tensor::minimum),
        "fmod" => binary(Tensor::fmod),
        "mod" | "remainder" => binary(Tensor::remainder),
        "matmul" | "bmm" => binary(Tensor::matmul),
        "where" | "select" => choose(case),
        _ => return None,
    })
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
    let low = case.maybe_float("min").or(case.maybe_float("low")).unwrap_or(f32::NEG_INFINITY);
    let high = case.maybe_float("max").or(case.maybe_float("high")).unwrap_or(f32::INFINITY);
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
