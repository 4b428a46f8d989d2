//! Learning rates that change from step to step: the formulas, and training with them.

mod common;

use common::devices;
use tilegrad::data::Digits;
use tilegrad::nn::layers::{Dense, Dropout, Flatten};
use tilegrad::nn::{
    Activation, Adagrad, Adam, AdamW, CosineDecay, ExponentialDecay, FitOptions, InverseTimeDecay, LearningRate, Lion,
    Model, Nadam, OneCycle, Optimizer, PiecewiseConstantDecay, PolynomialDecay, RmsProp, Schedule, Sequential, Sgd,
    SparseCategoricalCrossentropy, StepDecay, Verbose,
};
use tilegrad::{Device, Tensor};

#[test]
fn rates_are_those_of_keras_and_pytorch() {
    let check = |schedule: Schedule, want: &[(u64, f64)]| {
        for &(step, want) in want {
            let got = f64::from(schedule.rate(step));
            assert!((got - want).abs() <= 2e-6 * want, "{schedule:?} at {step}: {got}, expected {want}");
        }
    };
    // Keras 3.
    check(ExponentialDecay::new(0.1, 100, 0.96).into(), KERAS_EXPONENTIAL);
    check(ExponentialDecay::new(0.1, 100, 0.96).staircase(true).into(), KERAS_STAIRCASE);
    check(InverseTimeDecay::new(0.1, 100, 0.5).into(), KERAS_INVERSE_TIME);
    check(PolynomialDecay::new(0.1, 100).end(0.01).power(2.0).into(), KERAS_POLYNOMIAL);
    check(PiecewiseConstantDecay::new([100, 200], [1.0, 0.5, 0.1]).into(), KERAS_PIECEWISE);
    check(CosineDecay::new(0.1, 100).alpha(0.1).into(), KERAS_COSINE);
    check(CosineDecay::new(0.1, 100).warmup(0.01, 50).into(), KERAS_WARMUP);
    // The formulas of PyTorch's `OneCycleLR(max_lr=0.1, total_steps=100)`, by hand.
    check(OneCycle::new(0.1, 100).into(), &[(0, 0.004), (29, 0.1), (99, 4e-7), (64, (0.1 + 4e-7) / 2.0)]);
    check(StepDecay::new(0.1, 10, 0.1).into(), &[(0, 0.1), (9, 0.1), (10, 0.01), (25, 0.001)]);
}

const KERAS_EXPONENTIAL: &[(u64, f64)] =
    &[(0, 0.100000001), (1, 0.0999591872), (50, 0.0979795903), (100, 0.0960000008), (250, 0.0902979895)];
const KERAS_STAIRCASE: &[(u64, f64)] = &[(0, 0.100000001), (99, 0.100000001), (100, 0.0960000008), (250, 0.0921600014)];
const KERAS_INVERSE_TIME: &[(u64, f64)] =
    &[(0, 0.100000001), (10, 0.0952381045), (100, 0.0666666701), (300, 0.0399999991)];
const KERAS_POLYNOMIAL: &[(u64, f64)] =
    &[(0, 0.100000001), (25, 0.0606250018), (50, 0.0324999988), (100, 0.00999999978), (200, 0.00999999978)];
const KERAS_PIECEWISE: &[(u64, f64)] = &[(0, 1.0), (100, 1.0), (101, 0.5), (200, 0.5), (201, 0.100000001)];
const KERAS_COSINE: &[(u64, f64)] = &[
    (0, 0.100000001),
    (10, 0.0977975428),
    (50, 0.054999996),
    (75, 0.0231801961),
    (100, 0.0100000007),
    (200, 0.0100000007),
];
const KERAS_WARMUP: &[(u64, f64)] = &[
    (0, 0.00999999978),
    (25, 0.0549999997),
    (49, 0.0982000083),
    (50, 0.100000001),
    (100, 0.049999997),
    (150, 0.0),
    (200, 0.0),
];

fn model(device: &Device, optimizer: impl Optimizer + 'static) -> Model {
    let mut model = Sequential::new([8, 8, 1])
        .add(Flatten::new())
        .add(Dropout::new(0.1))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 1).unwrap();
    model.compile(optimizer, SparseCategoricalCrossentropy::new(), []);
    model.into()
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| w.tensor().to_vec().unwrap()).collect()
}

#[test]
fn every_step_has_its_rate() {
    // One weight, with a gradient of 1 at every step.
    for device in devices() {
        let mut model = Sequential::new([1]).add(Dense::new(1).use_bias(false));
        model.build(&device, 1).unwrap();
        model.compile(
            Sgd::new(PiecewiseConstantDecay::new([1, 2], [1.0, 0.5, 0.25])),
            tilegrad::nn::MeanAbsoluteError,
            [],
        );
        let (x, y) = (Tensor::ones([1, 1], &device), Tensor::full(-100.0, [1, 1], &device));
        let mut before = weights(&model)[0][0];
        for rate in [1.0, 1.0, 0.5, 0.25, 0.25] {
            model.train_on_batch(&x, &y).unwrap();
            let after = weights(&model)[0][0];
            assert!((before - after - rate).abs() < 1e-5, "{} on {device}, expected {rate}", before - after);
            assert_eq!(model.learning_rate().unwrap(), rate);
            before = after;
        }
    }
}

#[test]
fn recorded_steps_have_the_rates_of_eager_ones() {
    let data = Digits::load().train;
    for device in devices() {
        // The rate changes within the second epoch, and stays again: recordings are made anew.
        for schedule in [Schedule::from(StepDecay::new(0.01, 12, 0.5)), CosineDecay::new(0.01, 30).into()] {
            let fit = |eagerly: bool| {
                let mut model = model(&device, Adam::new(schedule.clone()));
                let options = FitOptions::new().epochs(3).batch_size(128).verbose(Verbose::Off).run_eagerly(eagerly);
                let history = model.fit(&data, options).unwrap();
                (weights(&model), history.loss(), history.series("learning_rate"))
            };
            let (recorded, eager) = (fit(false), fit(true));
            assert_eq!(recorded, eager, "{schedule:?} on {device}");
            let steps = data.len().div_ceil(128) as u64;
            assert_eq!(recorded.2, [0, steps, 2 * steps].map(|step| schedule.rate(step)));
        }
    }
}

#[test]
fn every_optimizer_takes_a_schedule() {
    let decay = || ExponentialDecay::new(0.02, 10, 0.9);
    let optimizers: [Box<dyn Optimizer>; 7] = [
        Box::new(Sgd::new(decay())),
        Box::new(Adam::new(decay())),
        Box::new(AdamW::new(decay())),
        Box::new(Nadam::new(decay())),
        Box::new(RmsProp::new(decay())),
        Box::new(Adagrad::new(decay())),
        Box::new(Lion::new(decay())),
    ];
    for optimizer in optimizers {
        assert_eq!((optimizer.learning_rate(), optimizer.schedule()), (0.02, Some(&decay().into())));
        // In a file it comes back as it was.
        let registry = tilegrad::nn::Registry::default();
        let again = registry.optimizer(optimizer.name(), optimizer.config()).unwrap();
        assert_eq!(again.schedule(), Some(&decay().into()), "{}", optimizer.name());
    }
}

#[test]
fn schedules_that_make_no_sense() {
    for (schedule, what) in [
        (Schedule::from(ExponentialDecay::new(0.1, 0, 0.9)), "decay steps of the schedule: expected at least 1, got 0"),
        (
            ExponentialDecay::new(-0.1, 10, 0.9).into(),
            "numbers of the schedule: expected finite numbers from 0 on, got -0.1",
        ),
        (ExponentialDecay::new(0.1, 10, -0.9).into(), "numbers of the schedule"),
        (PiecewiseConstantDecay::new([5, 3], [1.0, 1.0, 1.0]).into(), "boundaries in order"),
        (PiecewiseConstantDecay::new([5], [1.0]).into(), "one value more than boundaries"),
        (OneCycle::new(0.1, 100).warmup(1.0).into(), "more than 0 and less than 1, got 1"),
        (CosineDecay::new(0.1, 0).into(), "decay steps"),
        (StepDecay::new(0.1, 0, 0.5).into(), "steps between changes"),
    ] {
        let text = LearningRate::from(schedule.clone()).check().unwrap_err().to_string();
        assert!(text.contains(what), "{text}, expected {what}");
        let error = model(&Device::cpu(), Sgd::new(schedule)).fit(&Digits::load().train, FitOptions::new());
        assert!(error.is_err());
    }
}
