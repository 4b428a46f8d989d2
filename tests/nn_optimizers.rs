//! Optimizers as a model uses them: the moments' first values, clipping by variable, defaults, refused constants.

mod common;

use common::{Lcg, devices};
use tilegrad::nn::layers::Dense;
use tilegrad::nn::{
    Activation, Adagrad, Adam, AdamW, Clip, Lion, MeanSquaredError, Model, Nadam, Optimizer, RmsProp, Sequential, Sgd,
};
use tilegrad::{Device, Tensor};

/// Two layers, and a batch.
fn model(device: &Device) -> (Sequential, Tensor, Tensor) {
    let mut model =
        Sequential::new([3]).add(Dense::new(5).activation(Activation::Tanh)).add(Dense::new(2).use_bias(false));
    model.build(device, 3).unwrap();
    let mut lcg = Lcg::new(1);
    let x = Tensor::new(&lcg.vec(12, -2.0, 2.0), [4, 3], device);
    let y = Tensor::new(&lcg.vec(8, -3.0, 3.0), [4, 2], device);
    (model, x, y)
}

/// How far one step moves each weight of the model.
fn moved(device: &Device, optimizer: impl Optimizer + 'static) -> Vec<Vec<f32>> {
    let (mut model, x, y) = model(device);
    let weights =
        |model: &Model| -> Vec<Vec<f32>> { model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect() };
    let before = weights(&model);
    model.compile(optimizer, MeanSquaredError, []);
    model.train_on_batch(&x, &y).unwrap();
    let difference = |(after, before): (Vec<f32>, Vec<f32>)| after.iter().zip(before).map(|(a, b)| a - b).collect();
    weights(&model).into_iter().zip(before).map(difference).collect()
}

fn norm<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().map(|v| v * v).sum::<f32>().sqrt()
}

#[track_caller]
fn assert_close(got: &[Vec<f32>], want: &[Vec<f32>]) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 1e-6 + 1e-4 * want.abs(), "weight {i}: {got}, {want} wanted");
        }
    }
}

#[test]
fn gradients_are_clipped_by_element_by_variable_and_together() {
    for device in devices() {
        let free = moved(&device, Sgd::new(1.0));
        let norms: Vec<f32> = free.iter().map(norm).collect();
        // Below some variables' norms and above others'.
        let limit = (norms.iter().fold(0.0f32, |a, b| a.max(*b)) + norms.iter().fold(9.0f32, |a, b| a.min(*b))) / 2.0;
        let scaled = |factor: &dyn Fn(usize) -> f32| -> Vec<Vec<f32>> {
            free.iter().enumerate().map(|(i, v)| v.iter().map(|v| v * factor(i)).collect()).collect()
        };
        let by_variable = moved(&device, Sgd::new(1.0).clip(Clip::Norm(limit)));
        assert_close(&by_variable, &scaled(&|i| (limit / norms[i]).min(1.0)));
        assert!(by_variable.iter().any(|v| norm(v) < limit * 0.99), "a variable below the limit stays");
        let together = norm(free.iter().flatten());
        assert_close(&moved(&device, Sgd::new(1.0).clip(Clip::GlobalNorm(together / 3.0))), &scaled(&|_| 1.0 / 3.0));
        assert_close(&moved(&device, Sgd::new(1.0).clip(Clip::GlobalNorm(together * 2.0))), &free);
        let by_element: Vec<Vec<f32>> = free.iter().map(|v| v.iter().map(|v| v.clamp(-0.1, 0.1)).collect()).collect();
        assert_close(&moved(&device, Sgd::new(1.0).clip(Clip::Value(0.1))), &by_element);
    }
}

#[test]
fn first_steps_are_those_of_the_formulas() {
    for device in devices() {
        let gradients: Vec<Vec<f32>> =
            moved(&device, Sgd::new(1.0)).iter().map(|v| v.iter().map(|d| -d).collect()).collect();
        let steps = |f: &dyn Fn(f32) -> f32| -> Vec<Vec<f32>> {
            gradients.iter().map(|v| v.iter().map(|g| -f(*g)).collect()).collect()
        };
        // The sum of squares starts at 0.1.
        assert_close(&moved(&device, Adagrad::new(0.5)), &steps(&|g| 0.5 * g / (0.1 + g * g + 1e-7).sqrt()));
        let from_0 = Adagrad::new(0.5).initial_accumulator(0.0);
        assert_close(&moved(&device, from_0), &steps(&|g| 0.5 * g / (g * g + 1e-7).sqrt()));
        let from_2 = RmsProp::new(0.5).initial_velocity(2.0);
        assert_close(&moved(&device, from_2), &steps(&|g| 0.5 * g / (0.9 * 2.0 + 0.1 * g * g + 1e-7).sqrt()));
        assert_close(&moved(&device, Lion::new(0.01)), &steps(&|g| 0.01 * g.signum()));
        // Keras's schedule: u_1 = 0.9 * 0.52, u_2 = 0.9 * 0.5392.
        let (u1, u2) = (0.9 * (1.0 - 0.5 * 0.96), 0.9 * (1.0 - 0.5 * 0.96f32.powi(2)));
        let mean = u2 * 0.1 / (1.0 - u1 * u2) + 1.0;
        assert_close(&moved(&device, Nadam::new(0.01)), &steps(&|g| 0.01 * mean * g / (g.abs() + 1e-7)));
        assert_close(&moved(&device, AdamW::new(0.01).weight_decay(0.0)), &moved(&device, Adam::new(0.01)));
        let (decayed, plain) = (moved(&device, AdamW::default()), moved(&device, Adam::default().weight_decay(0.004)));
        assert_eq!(decayed, plain);
    }
}

#[test]
fn moments_start_over_with_a_new_compilation() {
    let (mut model, x, y) = model(&Device::cpu());
    let start: Vec<Vec<f32>> = model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect();
    let mut losses = Vec::new();
    for _ in 0..2 {
        model.weights().zip(&start).for_each(|(w, values)| w.tensor().assign(values).unwrap());
        model.compile(Adagrad::new(0.1), MeanSquaredError, []);
        losses.push([0; 3].map(|_| model.train_on_batch(&x, &y).unwrap().loss));
    }
    assert_eq!(losses[0], losses[1]);
    assert!(losses[0][2] < losses[0][0]);
}

#[test]
fn constants_out_of_range_are_refused() {
    let refused = |optimizer: &dyn Optimizer| optimizer.check().unwrap_err().to_string();
    assert_eq!(
        refused(&Adagrad::new(0.1).initial_accumulator(-1.0)),
        "initial accumulator: expected a finite number from 0 on, got -1"
    );
    assert_eq!(refused(&Nadam::new(0.1).betas(1.0, 0.9)), "the first beta: expected at least 0 and below 1, got 1");
    assert_eq!(refused(&Lion::new(f32::NAN)), "learning rate: expected a finite number from 0 on, got NaN");
    assert_eq!(refused(&AdamW::new(0.1).epsilon(0.0)), "epsilon: expected a finite number above 0, got 0");
    assert_eq!(
        refused(&Adam::new(0.1).clip(Clip::Norm(0.0))),
        "gradient clipping: expected a finite number above 0, got 0"
    );
    assert_eq!(
        refused(&RmsProp::new(0.1).initial_velocity(-0.5)),
        "initial velocity: expected a finite number from 0 on, got -0.5"
    );
    for name in [Adagrad::default().name(), AdamW::default().name(), Nadam::default().name(), Lion::default().name()] {
        assert!(["adagrad", "adamw", "nadam", "lion"].contains(&name));
    }
}
