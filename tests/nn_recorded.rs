//! `fit` with recorded steps and with eager ones gives the same bits.

mod common;

use common::{Lcg, gpu};
use tilegrad::data::Dataset;
use tilegrad::nn::layers::{BatchNorm, Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, BuildContext, CategoricalCrossentropy, Clip, Context, FitOptions, History, Layer, Loss,
    MeanSquaredError, Metric, Nadam, Optimizer, Precision, RmsProp, Sequential, SparseCategoricalCrossentropy,
    StepNumber, Verbose,
};
use tilegrad::{Device, Shape, ShapeError, Tensor};

fn images(n: usize) -> Dataset {
    let mut random = Lcg::new(1);
    let pixels: Vec<u8> = (0..n * 64).map(|_| random.next_u32() as u8).collect();
    let labels: Vec<u32> = (0..n).map(|_| random.next_u32() % 3).collect();
    Dataset::new(pixels, [8, 8, 1], labels, ["a", "b", "c"]).unwrap()
}

fn network() -> Sequential {
    Sequential::new([8, 8, 1])
        .add(Conv2d::new(6, 3))
        .add(BatchNorm::new())
        .add(Activation::Relu)
        .add(MaxPool2d::new(2))
        .add(Dropout::new(0.2))
        .add(Flatten::new())
        .add(Dense::new(16).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(3).activation(Activation::Softmax))
}

/// Trains, and returns every weight and what was measured.
fn train(
    device: &Device,
    mut model: Sequential,
    optimizer: impl Optimizer + 'static,
    loss: impl Loss + 'static,
    eagerly: bool,
) -> (Vec<Vec<f32>>, History) {
    model.build(device, 3).unwrap();
    model.compile(optimizer, loss, [Metric::Accuracy]);
    // Four whole batches and one that is smaller.
    let data = images(70);
    let options = || FitOptions::new().batch_size(16).run_eagerly(eagerly).verbose(Verbose::Off);
    let mut history = model.fit(&data, options().epochs(2)).unwrap();
    // Going on, with another learning rate.
    model.set_learning_rate(0.003).unwrap();
    history.epochs.extend(model.fit(&data, options().epochs(4).initial_epoch(2).validation(&data)).unwrap().epochs);
    let weights = model.params().map(|p| p.tensor().to_vec::<f32>().unwrap()).collect();
    (weights, history)
}

fn same_bits<O: Optimizer + 'static, L: Loss + 'static>(
    model: impl Fn() -> Sequential,
    optimizer: impl Fn() -> O,
    loss: impl Fn() -> L,
) {
    let Some(device) = gpu() else { return };
    let [eager, recorded] = [true, false].map(|e| train(&device, model(), optimizer(), loss(), e));
    let name = optimizer().name();
    for (e, r) in eager.1.epochs.iter().zip(&recorded.1.epochs) {
        assert_eq!((e.loss.to_bits(), e.accuracy), (r.loss.to_bits(), r.accuracy), "{name}: epoch {}", e.epoch);
        assert_eq!(e.val_loss, r.val_loss, "{name}: epoch {}", e.epoch);
    }
    assert_eq!(eager.0, recorded.0, "{name}");
}

#[test]
fn recorded_steps_give_the_bits_of_eager_ones() {
    same_bits(network, || Adam::new(0.01), SparseCategoricalCrossentropy::new);
    same_bits(|| network().precision(Precision::Mixed), || Adam::new(0.01), SparseCategoricalCrossentropy::new);
    same_bits(network, || Nadam::new(0.01).clip(Clip::GlobalNorm(1.0)), CategoricalCrossentropy::new);
    same_bits(network, || RmsProp::new(0.01), || CategoricalCrossentropy::new().label_smoothing(0.1));
    same_bits(network, || Adam::new(0.01), || Host(MeanSquaredError));
}

/// A loss of a user's, of one-hot rows.
#[derive(Debug)]
struct Host(MeanSquaredError);

impl Loss for Host {
    fn name(&self) -> &'static str {
        "own"
    }
    fn target(&self) -> tilegrad::nn::Target {
        tilegrad::nn::Target::OneHot
    }
    fn losses(&self, y_pred: &Tensor, y_true: &Tensor) -> Tensor {
        self.0.losses(y_pred, y_true)
    }
}

/// An optimizer of a user's, which counts by itself and so can't be recorded.
#[derive(Debug)]
struct Counting(Adam, std::sync::atomic::AtomicU64);

impl Optimizer for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }
    fn learning_rate(&self) -> f32 {
        self.0.learning_rate()
    }
    fn set_learning_rate(&mut self, rate: f32) {
        self.0.set_learning_rate(rate);
    }
    fn moments(&self) -> &'static [&'static str] {
        self.0.moments()
    }
    fn step(&self, _: &StepNumber, params: &Tensor, gradients: &Tensor, moments: &[Tensor]) {
        let t = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.0.step(&t.into(), params, gradients, moments);
    }
}

/// A layer of a user's that takes random numbers by the host's key.
#[derive(Debug)]
struct Noise;

impl Layer for Noise {
    fn kind(&self) -> &str {
        "Noise"
    }
    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }
    fn build(&mut self, input: &Shape, _: &mut BuildContext) -> Result<Shape, ShapeError> {
        Ok(*input)
    }
    fn forward(&self, x: &Tensor, ctx: &mut Context<'_>) -> Tensor {
        if !ctx.training {
            return x.clone();
        }
        x.add(&Tensor::rand_uniform(0.0, 0.1, x.shape(), ctx.rng.next_key(), x.device()))
    }
}

#[test]
fn what_cannot_be_recorded_runs_eagerly() {
    let counting = || Counting(Adam::new(0.01), 0.into());
    same_bits(network, counting, SparseCategoricalCrossentropy::new);
    let noisy = || {
        let model = Sequential::new([8, 8, 1]).add(Flatten::new()).add(Noise).add(Dense::new(8)).add(Dropout::new(0.5));
        model.add(Dense::new(3).activation(Activation::Softmax))
    };
    same_bits(noisy, || Adam::new(0.01), SparseCategoricalCrossentropy::new);
}

#[test]
fn the_cpu_trains_by_the_same_clock() {
    let cpu = Device::cpu();
    let [a, b] =
        [true, false].map(|e| train(&cpu, network(), Adam::new(0.01), SparseCategoricalCrossentropy::new(), e));
    assert_eq!(a.0, b.0);
}
