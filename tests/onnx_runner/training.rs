//! What training needs: optimizer steps and gradients, the operators of `ai.onnx.preview.training`.

use tilegrad::ops::optimizer::{AdagradStep, AdamStep, SgdStep, adagrad_step, adam_step, sgd_step};
use tilegrad::{Tensor, no_grad};

use super::node::{Node, Outcome, failed, unsupported};
use super::value::Value;

pub fn run(node: &Node) -> Option<Outcome<Vec<Value>>> {
    Some(match node.op {
        "Adagrad" => step(node, 2, adagrad),
        "Adam" => step(node, 3, adam),
        "Gradient" => gradient(node),
        "Momentum" => step(node, 2, momentum),
        _ => return None,
    })
}

/// What a step is given beside weights and gradients: the rate, and how many steps came before.
struct At {
    rate: f32,
    count: i64,
}

/// Weights, gradients with their regularisation, states. What it returns has the same order without the gradients.
type Rule = fn(&Node, &At, Tensor, Tensor, Vec<Tensor>) -> Outcome<Vec<Tensor>>;

/// Inputs are the rate, the count, and then each group for all weights: weights, gradients, `groups - 1` kinds of states.
fn step(node: &Node, groups: usize, rule: Rule) -> Outcome<Vec<Value>> {
    let rate = node.floats_input(0)?.and_then(|r| r.first().copied()).ok_or_else(|| failed("no rate"))?;
    let count = node.ints_input(1)?.and_then(|t| t.first().copied()).ok_or_else(|| failed("no update count"))?;
    let weights = (node.inputs() - 2) / (groups + 1);
    if weights == 0 || node.inputs() != 2 + weights * (groups + 1) {
        return Err(failed(format!("{} inputs", node.inputs())));
    }
    let regularisation = node.float("norm_coefficient", 0.0);
    let group = |k: usize, i: usize| node.tensor(2 + k * weights + i);
    let mut outputs: Vec<Vec<Value>> = vec![Vec::new(); groups];
    for i in 0..weights {
        let (x, dx) = (group(0, i)?, group(1, i)?);
        let dx = dx.add(&x.affine(regularisation, 0.0));
        // Steps are in place, and these are inputs that others may want too.
        let states = (2..=groups).map(|k| Ok(copy(group(k, i)?))).collect::<Outcome<Vec<_>>>()?;
        let stepped = no_grad(|| rule(node, &At { rate, count }, copy(x), dx, states))?;
        outputs.iter_mut().zip(stepped).for_each(|(group, y)| group.push(Value::of(y)));
    }
    Ok(outputs.concat())
}

fn copy(x: &Tensor) -> Tensor {
    no_grad(|| x.affine(1.0, 0.0))
}

fn adagrad(node: &Node, at: &At, x: Tensor, dx: Tensor, mut states: Vec<Tensor>) -> Outcome<Vec<Tensor>> {
    let constants = AdagradStep {
        lr: at.rate / (1.0 + at.count as f32 * node.float("decay_factor", 0.0)),
        epsilon: node.float("epsilon", 1e-6),
        epsilon_in_root: false,
        weight_decay: 0.0,
    };
    adagrad_step(&x, &dx, &states[0], &constants);
    states.insert(0, x);
    Ok(states)
}

fn adam(node: &Node, at: &At, x: Tensor, dx: Tensor, mut states: Vec<Tensor>) -> Outcome<Vec<Tensor>> {
    let constants = AdamStep {
        lr: at.rate,
        beta1: node.float("alpha", 0.9),
        beta2: node.float("beta", 0.999),
        epsilon: node.float("epsilon", 1e-6),
        // Without steps before it, nothing is corrected.
        t: u64::try_from(at.count).map_err(|_| failed(format!("an update count of {}", at.count)))?.into(),
        ..AdamStep::default()
    };
    adam_step(&x, &dx, &states[0], &states[1], None, &constants);
    states.insert(0, x.affine(1.0 - node.float("norm_coefficient_post", 0.0), 0.0));
    Ok(states)
}

/// The velocity is tilegrad's at a rate of 1, with the other sign; the rate is applied after it.
fn momentum(node: &Node, at: &At, x: Tensor, dx: Tensor, states: Vec<Tensor>) -> Outcome<Vec<Tensor>> {
    let alpha = node.maybe_float("alpha").ok_or_else(|| failed("no alpha"))?;
    let beta = node.maybe_float("beta").ok_or_else(|| failed("no beta"))?;
    let share = if at.count > 0 { beta } else { 1.0 };
    let (step, velocity) = (x.zeros_like(), states[0].neg());
    let constants = SgdStep { lr: 1.0, momentum: alpha, nesterov: false, weight_decay: 0.0 };
    sgd_step(&step, &dx.affine(share, 0.0), Some(&velocity), &constants);
    let moved = match node.text("mode", "") {
        "standard" => step,
        "nesterov" => velocity.affine(alpha, 0.0).sub(&dx),
        other => return Err(failed(format!("mode {other:?}"))),
    };
    Ok(vec![x.add(&moved.affine(at.rate, 0.0)), velocity.neg()])
}

/// The gradients of `y` by `xs`, whose values are the first inputs; the others, `zs`, are what `y` is made of beside.
fn gradient(node: &Node) -> Outcome<Vec<Value>> {
    let xs = node.texts("xs").ok_or_else(|| failed("no xs"))?;
    let zs = node.texts("zs").unwrap_or(&[]);
    let y = node.named(node.text("y", ""))?.tensor()?;
    for (i, name) in xs.iter().chain(zs).enumerate() {
        if node.inputs() != xs.len() + zs.len() || !node.tensor(i)?.shares_memory(node.named(name)?.tensor()?) {
            return Err(unsupported(format!("Gradient at another {name} than the graph's")));
        }
    }
    let xs: Vec<&Tensor> = (0..xs.len()).map(|i| node.tensor(i)).collect::<Outcome<_>>()?;
    if xs.iter().any(|x| !x.tape().entries().is_empty()) {
        return Err(unsupported("Gradient by a result"));
    }
    let gradients = y.grad(&xs).into_iter().zip(&xs);
    Ok(gradients.map(|(dx, x)| Value::of(dx.unwrap_or_else(|| x.zeros_like()))).collect())
}
