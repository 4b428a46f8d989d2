//! A training step that repeats an earlier one creates nothing on the device. Alone in its file: the counters are the
//! device's, which tests in one process share.

mod common;

use common::{Lcg, gpu};
use tilegrad::Result;
use tilegrad::data::Dataset;
use tilegrad::nn::layers::{BatchNorm, Conv2d, Dense, Dropout, Flatten, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, Callback, DeviceDataset, Epoch, FitOptions, Flow, Metric, Model, Sequential,
    SparseCategoricalCrossentropy, Verbose,
};

struct Stats(Vec<[u64; 3]>);

impl Callback for Stats {
    fn on_epoch_end(&mut self, _: &Epoch, model: &mut Model) -> Result<Flow> {
        let stats = model.device().unwrap().stats();
        self.0.push([stats.buffers_created, stats.bind_groups_created, stats.pipelines_created]);
        Ok(Flow::Continue)
    }
}

#[test]
fn a_step_that_repeats_makes_nothing_new() {
    let Some(device) = gpu() else { return };
    // Six full batches, and a last one that is not.
    let mut random = Lcg::new(1);
    let pixels: Vec<u8> = (0..104 * 64).map(|_| random.next_u32() as u8).collect();
    let labels: Vec<u32> = (0..104).map(|_| random.next_u32() % 3).collect();
    let data = Dataset::new(pixels, [8, 8, 1], labels, ["a", "b", "c"]).unwrap();
    let data = DeviceDataset::upload(&data, &device).unwrap();
    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(6, 3))
        .add(BatchNorm::new())
        .add(Activation::Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(16).activation(Activation::Relu))
        .add(Dropout::new(0.2))
        .add(Dense::new(3).activation(Activation::Softmax));
    model.build(&device, 1).unwrap();
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    let mut stats = Stats(Vec::new());
    let options = FitOptions::new().epochs(6).batch_size(16).validation(&data).verbose(Verbose::Off);
    model.fit(&data, options.callback(&mut stats)).unwrap();
    assert_eq!(stats.0[2], stats.0[5], "buffers, bind groups and pipelines after each epoch: {:?}", stats.0);
}
