//! Batches that are worked on in parts: the same steps, asked for or for want of memory. Alone in its file: a limit of memory
//! is the device's, which tests in one process share.

mod common;

use std::sync::{Mutex, MutexGuard};

use common::{Lcg, devices};
use tilegrad::data::Dataset;
use tilegrad::nn::callbacks::Batch;
use tilegrad::nn::layers::{BatchNorm, Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, Callback, Clip, CosineDecay, DeviceDataset, FitOptions, Flow, History, MeanSquaredError, Metric,
    Model, Sequential, Sgd, SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Device, Error, Result, Tensor};

static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Takes the limit away, however a test ends.
struct Unlimited<'a>(&'a Device);

impl Drop for Unlimited<'_> {
    fn drop(&mut self) {
        self.0.set_memory_limit(None);
    }
}

fn images(n: usize) -> Dataset {
    let mut random = Lcg::new(1);
    let pixels: Vec<u8> = (0..n * 256).map(|_| random.next_u32() as u8).collect();
    let labels: Vec<u32> = (0..n).map(|_| random.next_u32() % 3).collect();
    Dataset::new(pixels, [16, 16, 1], labels, ["a", "b", "c"]).unwrap()
}

/// A network without anything that depends on which examples are seen together.
fn plain(device: &Device) -> Sequential {
    let mut model = Sequential::new([16, 16, 1])
        .add(Conv2d::new(6, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(16).activation(Activation::Tanh))
        .add(Dense::new(3).activation(Activation::Softmax));
    model.build(device, 3).unwrap();
    model.compile(Sgd::new(0.1).clip(Clip::GlobalNorm(1.0)), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

/// A network with all that does, and whose activations are most of its memory.
fn wide(device: &Device) -> Sequential {
    let mut model = Sequential::new([16, 16, 1])
        .add(Conv2d::new(16, 3))
        .add(BatchNorm::new())
        .add(Activation::Relu)
        .add(Dropout::new(0.2))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(3).activation(Activation::Softmax));
    model.build(device, 3).unwrap();
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect()
}

fn options<'a>(batch_size: usize) -> FitOptions<'a> {
    FitOptions::new().batch_size(batch_size).verbose(Verbose::Off)
}

#[track_caller]
fn same_curves(a: &History, b: &History) {
    for (a, b) in a.epochs.iter().zip(&b.epochs) {
        assert_eq!((a.loss.to_bits(), a.accuracy, a.val_loss), (b.loss.to_bits(), b.accuracy, b.val_loss));
    }
    assert_eq!(a.epochs.len(), b.epochs.len());
}

#[test]
fn the_parts_of_a_batch_make_the_step_of_the_whole() {
    let _alone = alone();
    for device in devices() {
        let data = DeviceDataset::upload(&images(70), &device).unwrap();
        // A batch of 32 in three parts, the last of which is smaller; the last batch of 6 in one.
        let train = |micro: Option<usize>, eagerly| {
            let mut model = plain(&device);
            let options = options(32).epochs(2).run_eagerly(eagerly).validation(&data);
            let options = match micro {
                Some(n) => options.micro_batch(n),
                None => options,
            };
            let history = model.fit(&data, options).unwrap();
            (weights(&model), history)
        };
        let (whole, history) = train(None, false);
        assert_eq!(history.micro_batch, None);
        let (parts, of_parts) = train(Some(12), false);
        assert_eq!(of_parts.micro_batch, Some(12));
        for (a, b) in whole.iter().flatten().zip(parts.iter().flatten()) {
            assert!((a - b).abs() <= 1e-5, "{a} and {b} on {device}");
        }
        for (a, b) in history.epochs.iter().zip(&of_parts.epochs) {
            assert!((a.loss - b.loss).abs() <= 1e-5 && a.accuracy == b.accuracy, "{a:?}, {b:?}");
        }
        let (eagerly, of_eager) = train(Some(12), true);
        assert!(eagerly == parts, "recorded or not");
        same_curves(&of_eager, &of_parts);
        assert_eq!(train(Some(100), false).1.micro_batch, None);
    }
}

#[test]
fn any_loss_can_be_worked_on_in_parts() {
    let _alone = alone();
    for device in devices() {
        let x = common::random([20, 5], 1, -1.0, 1.0).to(&device).unwrap();
        let y = common::random([20, 2], 2, -1.0, 1.0).to(&device).unwrap();
        let data = DeviceDataset::from_tensors(&x, &y).unwrap();
        let [whole, parts] = [20, 7].map(|micro| {
            let mut model = Sequential::new([5]).add(Dense::new(8).activation(Activation::Tanh)).add(Dense::new(2));
            model.build(&device, 3).unwrap();
            model.compile(Sgd::new(0.1), MeanSquaredError, []);
            model.fit(&data, options(20).epochs(5).micro_batch(micro)).unwrap();
            weights(&model)
        });
        for (a, b) in whole.iter().flatten().zip(parts.iter().flatten()) {
            assert!((a - b).abs() <= 1e-5, "{a} and {b} on {device}");
        }
    }
}

/// A limit between what steps of 16 and of 32 examples at a time need.
fn limit(device: &Device, data: &DeviceDataset) -> u64 {
    let [small, large] = [16, 32].map(|micro| {
        let mut model = wide(device);
        model.fit(data, options(64).micro_batch(micro)).unwrap().peak_device_bytes
    });
    assert!(small < large, "{small}, {large}");
    (small + large) / 2
}

#[test]
fn a_batch_that_does_not_fit_is_divided_and_leaves_no_trace() {
    let _alone = alone();
    for device in devices() {
        let data = DeviceDataset::upload(&images(150), &device).unwrap();
        let bytes = limit(&device, &data);
        let mut asked = wide(&device);
        let want = asked.fit(&data, options(64).epochs(3).micro_batch(16)).unwrap();
        let mut forced = wide(&device);
        let unlimited = Unlimited(&device);
        device.set_memory_limit(bytes);
        let got = forced.fit(&data, options(64).epochs(3)).unwrap();
        drop(unlimited);
        assert_eq!(got.micro_batch, Some(16), "on {device}");
        assert!(got.peak_device_bytes <= bytes);
        // Neither steps that failed, nor their losses and statistics, nor their random numbers.
        same_curves(&got, &want);
        assert!(weights(&forced) == weights(&asked), "on {device}");
    }
}

/// Leaves less memory from before this batch of this epoch on: no more than is in use, if it is not said how much.
struct Less {
    bytes: Option<u64>,
    from: (usize, usize),
}

impl Less {
    fn limit(&self, model: &Model) {
        let device = model.device().unwrap();
        device.set_memory_limit(self.bytes.unwrap_or_else(|| device.stats().live_bytes));
    }
}

impl Callback for Less {
    fn on_epoch_begin(&mut self, epoch: usize, model: &mut Model) -> Result<()> {
        if (epoch, 0) == self.from {
            self.limit(model);
        }
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &Batch<'_>, model: &mut Model) -> Result<Flow> {
        if (batch.epoch, batch.batch + 1) == self.from {
            self.limit(model);
        }
        Ok(Flow::Continue)
    }
}

/// [`wide`] with a rate that changes at every step, and an update that needs memory of its own.
fn scheduled(device: &Device) -> Sequential {
    let mut model = wide(device);
    let optimizer = Adam::new(CosineDecay::new(0.01, 20)).clip(Clip::GlobalNorm(1.0));
    model.compile(optimizer, SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model
}

#[test]
fn memory_may_run_out_between_steps() {
    let _alone = alone();
    for (device, new) in devices().iter().flat_map(|device| [(device, wide as fn(&_) -> _), (device, scheduled)]) {
        let data = DeviceDataset::upload(&images(150), device).unwrap();
        let mut less = Less { bytes: Some(limit(device, &data)), from: (1, 0) };
        let mut asked = new(device);
        let mut want = asked.fit(&data, options(64)).unwrap();
        want.epochs.extend(asked.fit(&data, options(64).epochs(3).initial_epoch(1).micro_batch(16)).unwrap().epochs);
        let mut forced = new(device);
        let unlimited = Unlimited(device);
        let got = forced.fit(&data, options(64).epochs(3).callback(&mut less)).unwrap();
        drop(unlimited);
        assert_eq!(got.micro_batch, Some(16), "on {device}");
        same_curves(&got, &want);
        assert!(weights(&forced) == weights(&asked), "on {device}");
    }
}

/// The gradients come from a recording, which holds all memory that there is; the update does not, and finds no room.
#[test]
fn memory_may_run_out_in_the_middle_of_a_step() {
    let _alone = alone();
    for device in devices().into_iter().filter(Device::is_gpu) {
        let data = DeviceDataset::upload(&images(400), &device).unwrap();
        let train = |less: Option<&mut Less>| {
            let (mut model, mut options) = (scheduled(&device), options(64).epochs(2));
            if let Some(less) = less {
                options = options.callback(less);
            }
            let history = model.fit(&data, options).unwrap();
            (weights(&model), history)
        };
        let (want, history) = train(None);
        let unlimited = Unlimited(&device);
        let (got, limited) = train(Some(&mut Less { bytes: None, from: (1, 3) }));
        drop(unlimited);
        assert_eq!(limited.micro_batch, None, "on {device}");
        same_curves(&limited, &history);
        assert!(got == want, "on {device}");
    }
}

#[test]
fn without_room_for_one_example_the_weights_stay() {
    let _alone = alone();
    for device in devices() {
        let data = DeviceDataset::upload(&images(40), &device).unwrap();
        let mut model = wide(&device);
        let before = weights(&model);
        // For sums but not for activations, and for nothing at all.
        for room in [6000, 0] {
            let unlimited = Unlimited(&device);
            device.set_memory_limit(device.stats().live_bytes + room);
            let failed = model.fit(&data, options(32));
            assert!(matches!(failed, Err(Error::OutOfMemory { .. })), "{failed:?}");
            let failed = model.evaluate(&data);
            assert!(matches!(failed, Err(Error::OutOfMemory { .. })), "{failed:?}");
            drop(unlimited);
        }
        assert!(weights(&model) == before, "on {device}");
        // And the model trains as if nothing had been.
        model.fit(&data, options(32).epochs(2)).unwrap();
        let mut other = wide(&device);
        other.fit(&data, options(32).epochs(2)).unwrap();
        assert!(weights(&model) == weights(&other), "on {device}");
    }
    let zero = wide(&Device::cpu()).fit(&images(40), options(32).micro_batch(0));
    assert!(matches!(zero, Err(Error::Invalid { .. })), "{zero:?}");
}

#[test]
fn evaluating_and_predicting_take_fewer_at_a_time() {
    let _alone = alone();
    for device in devices() {
        let data = DeviceDataset::upload(&images(150), &device).unwrap();
        let mut model = wide(&device);
        let want = (model.evaluate(&data).unwrap(), model.predict(&data).unwrap().to_vec::<f32>().unwrap());
        let x = common::random([150, 16, 16, 1], 5, 0.0, 1.0).to(&device).unwrap();
        let of_tensor = model.predict(&x).unwrap().to_vec::<f32>().unwrap();
        let unlimited = Unlimited(&device);
        device.set_memory_limit(device.stats().live_bytes + (1 << 20));
        let got = model.evaluate_in_batches(&data, 150).unwrap();
        assert!((got.loss - want.0.loss).abs() < 1e-5 && got.accuracy == want.0.accuracy, "{got:?} on {device}");
        close(&model.predict_in_batches(&data, 150).unwrap(), &want.1);
        close(&model.predict_in_batches(&x, 150).unwrap(), &of_tensor);
        drop(unlimited);
    }
}

#[track_caller]
fn close(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5));
}
