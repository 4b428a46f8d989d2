//! Optimizers of optax, step by step. What a configuration leaves out has optax's default.

use tilegrad::nn::{Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Correction, Lion, Nadam, Optimizer, RmsProp, Sgd};
use tilegrad::{Device, Tensor, no_grad};

use super::case::{Case, Fault, Outcome, Stored, failed, unsupported};
use super::report::{Distance, compare};

/// Twelve steps from `p.0` with the gradients `g.*`; after step `t` the weights are `p.t`.
pub fn run(case: &Case, device: &Device) -> Outcome<Distance> {
    let optimizer = build(case)?;
    optimizer.check().map_err(|e| Fault::Failed(e.to_string()))?;
    let unread = case.unread();
    if !unread.is_empty() {
        return unsupported(unread.join(", "));
    }
    let tensors = case.tensors()?;
    let values = |name: String| match tensors.get(&name) {
        Some(Stored::Floats(values, shape)) => Ok((values, shape)),
        _ => failed(format!("no {name} in the file")),
    };
    let (start, shape) = values("p.0".into())?;
    let w = Tensor::new(start, &shape[..], device);
    let moments = 0..optimizer.moments().len();
    let moments: Vec<Tensor> = moments.map(|i| Tensor::full(optimizer.initial(i), &shape[..], device)).collect();
    let mut worst = Distance::default();
    for t in 0..case.steps() {
        let (gradient, _) = values(format!("g.{t}"))?;
        no_grad(|| {
            let gradient = optimizer.clip().apply(&Tensor::new(gradient, &shape[..], device));
            optimizer.step(&(t as u64 + 1).into(), &w, &gradient, &moments);
        });
        let got = w.to_vec::<f32>().map_err(|e| Fault::Failed(e.to_string()))?;
        let what = format!("weights after step {}", t + 1);
        worst = worst.worst(compare(&what, &got, values(format!("p.{}", t + 1))?.0, case.tolerances())?);
    }
    Ok(worst)
}

fn build(case: &Case) -> Outcome<Box<dyn Optimizer>> {
    case.ignore(&["note"]);
    let float = |names: &[&str], default| names.iter().find_map(|n| case.maybe_float(n)).unwrap_or(default);
    let rate = float(&["lr", "learning_rate"], 0.001);
    let betas = |second| (float(&["b1", "beta1"], 0.9), float(&["b2", "beta2"], second));
    let decay = |default| float(&["weight_decay", "wd"], default);
    let momentum = case.maybe_float("momentum");
    let clip = match ["clip", "clip_norm", "clip_global_norm", "global_norm", "max_norm"]
        .iter()
        .find_map(|n| case.maybe_float(n))
    {
        None => Clip::None,
        Some(limit) if case.has_attribute("clip") => Clip::Value(limit),
        Some(limit) => Clip::GlobalNorm(limit),
    };
    let name = case.name().strip_prefix("opt_").unwrap_or(case.name());
    // A name may say what is special about the configuration: `adam_clipped`, `rmsprop_centered`.
    let word = name.split('_').next().unwrap_or(name);
    let named = |part: &str| name.contains(part);
    Ok(match word {
        "sgd" | "momentum" | "nesterov" => {
            let nesterov = case.flag("nesterov", named("nesterov"));
            let sgd = Sgd::new(rate).momentum(momentum.unwrap_or(0.0)).nesterov(nesterov);
            Box::new(sgd.weight_decay(decay(0.0)).clip(clip))
        }
        "adam" | "amsgrad" => {
            let (b1, b2) = betas(0.999);
            let adam = Adam::new(rate).betas(b1, b2).epsilon(float(&["eps", "epsilon"], 1e-8));
            let adam = adam.epsilon_in_root(float(&["eps_root"], 0.0)).correction(Correction::OfMoments);
            let adam = adam.amsgrad(case.flag("amsgrad", named("amsgrad"))).weight_decay(decay(0.0)).clip(clip);
            match case.flag("nesterov", named("nesterov")) {
                true => Box::new(nadam(case, rate, (b1, b2), decay(0.0), clip)?),
                false => Box::new(adam),
            }
        }
        "adamw" => {
            let (b1, b2) = betas(0.999);
            let adam = AdamW::new(rate).betas(b1, b2).epsilon(float(&["eps", "epsilon"], 1e-8));
            let adam = adam.correction(Correction::OfMoments).amsgrad(case.flag("amsgrad", named("amsgrad")));
            Box::new(adam.weight_decay(decay(1e-4)).clip(clip))
        }
        "nadam" => {
            case.flag("nesterov", true);
            Box::new(nadam(case, rate, betas(0.999), decay(0.0), clip)?)
        }
        "nadamw" => Box::new(nadam(case, rate, betas(0.999), decay(1e-4), clip)?),
        "rmsprop" => {
            if case.flag("bias_correction", false) {
                return unsupported("rmsprop with bias_correction");
            }
            let rmsprop = RmsProp::new(rate)
                .rho(float(&["decay", "rho"], 0.9))
                .epsilon(float(&["eps", "epsilon"], 1e-8))
                .epsilon_in_root(case.flag("eps_in_sqrt", true))
                .initial_velocity(float(&["initial_scale"], 0.0))
                .centered(case.flag("centered", named("centered")))
                .momentum(momentum.unwrap_or(0.0))
                .nesterov(case.flag("nesterov", named("nesterov")));
            Box::new(rmsprop.weight_decay(decay(0.0)).clip(clip))
        }
        "adagrad" => {
            let initial = float(&["initial_accumulator", "initial_accumulator_value"], 0.1);
            let adagrad = Adagrad::new(rate).initial_accumulator(initial).epsilon(float(&["eps", "epsilon"], 1e-7));
            Box::new(adagrad.weight_decay(decay(0.0)).clip(clip))
        }
        "adadelta" => {
            // Weight decay is part of the gradient there.
            let adadelta =
                Adadelta::new(rate).rho(float(&["rho", "decay"], 0.9)).epsilon(float(&["eps", "epsilon"], 1e-6));
            Box::new(adadelta.clip(clip))
        }
        "adamax" => {
            let (b1, b2) = betas(0.999);
            let adamax = Adamax::new(rate).betas(b1, b2).epsilon(float(&["eps", "epsilon"], 1e-8));
            Box::new(adamax.epsilon_in_norm(true).weight_decay(decay(0.0)).clip(clip))
        }
        "lion" => {
            let (b1, b2) = betas(0.99);
            Box::new(Lion::new(rate).betas(b1, b2).weight_decay(decay(0.0)).clip(clip))
        }
        other => return unsupported(format!("no optimizer {other}")),
    })
}

/// optax's Nadam has no schedule.
fn nadam(case: &Case, rate: f32, (b1, b2): (f32, f32), decay: f32, clip: Clip) -> Outcome<Nadam> {
    if case.float("eps_root", 0.0) != 0.0 {
        return unsupported("nadam with eps_root");
    }
    let epsilon = case.maybe_float("eps").or(case.maybe_float("epsilon")).unwrap_or(1e-8);
    let nadam = Nadam::new(rate).betas(b1, b2).epsilon(epsilon).momentum_schedule(false);
    Ok(nadam.weight_decay(decay).clip(clip))
}
