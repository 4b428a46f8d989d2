//! Graphs of layers: branches, shared layers, several inputs and outputs, parts of models, models within models.

mod common;

use common::{devices, random};
use tilegrad::data::Digits;
use tilegrad::nn::layers::{
    Add, Average, BatchNorm, Concatenate, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d, Maximum,
    Minimum, Multiply, Subtract,
};
use tilegrad::nn::{
    Activation, Adam, FitOptions, Initializer, Input, Layer, Metric, Model, Sequential, Sgd,
    SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Device, Error, Padding, Shape, Tensor};

fn values(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    model.weights().map(|w| values(&w.tensor())).collect()
}

/// Training without noise on stderr.
fn quiet<'a>(epochs: usize) -> FitOptions<'a> {
    FitOptions::new().epochs(epochs).verbose(Verbose::Off).seed(3)
}

fn compile(model: &mut Model) {
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
}

/// A small residual network for the digits.
fn residual(device: &Device) -> Model {
    let conv = || Conv2d::new(8, 3).padding(Padding::Same).activation(Activation::Relu);
    let inputs = Input::new([8, 8, 1]);
    let stem = conv().name("stem").call(&inputs);
    let x = conv().call(&stem);
    let x = conv().call(&x);
    let x = Add::new().call([&x, &stem]);
    let x = GlobalAvgPool2d::new().call(&x);
    let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
    let mut model = Model::new(&inputs, &outputs);
    model.build(device, 1).unwrap();
    model
}

/// Layers in a row for the digits, without their head.
fn base() -> Sequential {
    Sequential::new([8, 8, 1])
        .named("base")
        .add(Conv2d::new(8, 3).activation(Activation::Relu))
        .add(BatchNorm::new())
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
}

#[test]
fn a_row_of_calls_is_a_sequential() {
    let data = Digits::load();
    for device in devices() {
        let inputs = Input::new([8, 8, 1]);
        let x = Conv2d::new(8, 3).activation(Activation::Relu).call(&inputs);
        let x = MaxPool2d::new(2).call(&x);
        let x = Flatten::new().call(&x);
        let x = Dropout::new(0.25).call(&x);
        let outputs = Dense::new(10).activation(Activation::Softmax).call(&x);
        let mut functional = Model::new(&inputs, &outputs);
        let mut sequential = Sequential::new([8, 8, 1])
            .add(Conv2d::new(8, 3).activation(Activation::Relu))
            .add(MaxPool2d::new(2))
            .add(Flatten::new())
            .add(Dropout::new(0.25))
            .add(Dense::new(10).activation(Activation::Softmax));
        for model in [&mut functional, &mut *sequential] {
            model.build(&device, 5).unwrap();
            compile(model);
            model.fit(&data.train, quiet(2)).unwrap();
        }
        assert_eq!(weights(&functional), weights(&sequential), "on {device}");
        let names = |model: &Model| model.layers().iter().map(|l| l.name().to_string()).collect::<Vec<_>>();
        assert_eq!(names(&functional), names(&sequential));
    }
}

#[test]
fn branches_meet_again() {
    for device in devices() {
        let inputs = Input::new([2]);
        let dense = |kernel: [f32; 4]| Dense::new(2).kernel_initializer(Initializer::Values(kernel.to_vec()));
        let a = dense([1.0, 0.0, 0.0, 1.0]).call(&inputs);
        let b = dense([0.0, 3.0, 3.0, 0.0]).call(&inputs);
        let x = Tensor::new(&[1.0, -2.0], [1, 2], &device);
        // a = (1, -2), b = (-6, 3)
        for (merge, want) in [
            (Add::new(), [-5.0, 1.0]),
            (Subtract::new(), [7.0, -5.0]),
            (Multiply::new(), [-6.0, -6.0]),
            (Average::new(), [-2.5, 0.5]),
            (Maximum::new(), [1.0, 3.0]),
            (Minimum::new(), [-6.0, -2.0]),
        ] {
            let what = format!("{} on {device}", merge.kind());
            let mut model = Model::new(&inputs, merge.call([&a, &b]));
            model.build(&device, 0).unwrap();
            assert_eq!(values(&model.forward(&x).unwrap()), want, "{what}");
        }
        let mut joined = Model::new(&inputs, Concatenate::new().call([&a, &b, &inputs]));
        joined.build(&device, 0).unwrap();
        assert_eq!(values(&joined.forward(&x).unwrap()), [1.0, -2.0, -6.0, 3.0, 1.0, -2.0]);
        assert_eq!(joined.output_shape(), Some(Shape::from([6])));
    }
}

#[test]
fn a_residual_network_learns_on_both_backends() {
    let data = Digits::load();
    let x = random([16, 8, 8, 1], 1, 0.0, 1.0);
    let y = Tensor::new(&(0..16).map(|i| i % 10).collect::<Vec<u32>>(), [16], &Device::cpu());
    let step = |device: &Device| {
        let mut model = residual(device);
        model.compile(Sgd::new(0.5), SparseCategoricalCrossentropy::new(), []);
        let loss = model.train_on_batch(&x.to(device).unwrap(), &y.to(device).unwrap()).unwrap().loss;
        (loss, weights(&model).concat())
    };
    let (loss, want) = step(&Device::cpu());
    for device in devices() {
        let (got_loss, got) = step(&device);
        assert!((got_loss - loss).abs() < 1e-5, "{got_loss} on {device}, {loss} on the CPU");
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5), "weights after a step on {device}");

        let mut model = residual(&device);
        compile(&mut model);
        model.fit(&data.train, quiet(4)).unwrap();
        let accuracy = model.evaluate(&data.test).unwrap().accuracy.unwrap();
        assert!(accuracy > 0.5, "{accuracy} on {device}");
    }
}

#[test]
fn a_shared_layer_has_one_set_of_weights() {
    for device in devices() {
        let (left, right) = (Input::named("left", [3]), Input::named("right", [3]));
        let encode = Dense::new(2).name("encode").shared();
        let (a, b) = (encode.call(&left), encode.call(&right));
        let mut model = Model::new([&left, &right], Subtract::new().call([&a, &b]));
        model.build(&device, 1).unwrap();
        assert_eq!((model.count_params(), model.layers().len()), (8, 2));
        let x = random([4, 3], 1, -1.0, 1.0).to(&device).unwrap();
        let y = random([4, 3], 2, -1.0, 1.0).to(&device).unwrap();
        let difference = model.forward_all(&[&x, &y]).unwrap().remove(0);
        let kernel = model.layer("encode").unwrap().weights()[0].tensor();
        // (x - y) W, and its derivative with respect to W.
        let want = values(&x.sub(&y).matmul(&kernel.detach()));
        for (got, want) in values(&difference).iter().zip(want) {
            assert!((got - want).abs() < 1e-5);
        }
        let gradient = difference.sum().backward().get(&kernel).unwrap().clone();
        let want = values(&x.sub(&y).sum_axes(&[0], false));
        for (row, want) in values(&gradient).chunks(2).zip(want) {
            assert!(row.iter().all(|g| (g - want).abs() < 1e-5), "{row:?} {want}");
        }
        let same = model.forward_all(&[&x, &x]).unwrap();
        assert!(values(&same[0]).iter().all(|&v| v == 0.0));
    }
}

#[test]
fn several_outputs() {
    let inputs = Input::new([4]);
    let hidden = Dense::new(5).activation(Activation::Relu).call(&inputs);
    let (class, size) = (Dense::new(3).name("class").call(&hidden), Dense::new(1).name("size").call(&hidden));
    let mut model = Model::new(&inputs, [&class, &size]);
    model.build(&Device::cpu(), 1).unwrap();
    let x = random([6, 4], 1, -1.0, 1.0);
    let outputs = model.forward_all(&[&x]).unwrap();
    assert_eq!((outputs[0].shape()[..].to_vec(), outputs[1].shape()[..].to_vec()), (vec![6, 3], vec![6, 1]));
    assert_eq!(values(&outputs[1]), values(&model.forward_to("size", &x).unwrap()));
    // Each of them alone, from the same weights.
    let size = Model::new(model.input(), &model.outputs()[1]);
    assert_eq!(values(&size.forward(&x).unwrap()), values(&outputs[1]));
}

#[test]
fn parts_of_a_model_share_its_weights() {
    let data = Digits::load();
    for device in devices() {
        let mut model = residual(&device);
        let features = Model::new(model.input(), model.layer("conv2d").unwrap().output());
        let rest = Model::new(model.layer("conv2d").unwrap().output(), model.output());
        // The shortcut goes around the cut, so the rest lacks an input.
        assert!(rest.forward(&Tensor::zeros([1, 8, 8, 8], &device)).is_err());
        let stem = model.layer("stem").unwrap().output();
        let rest = Model::new(&stem, model.output());

        let x = random([3, 8, 8, 1], 1, 0.0, 1.0).to(&device).unwrap();
        let compare = |model: &Model| {
            assert_eq!(values(&features.predict(&x).unwrap()), values(&model.forward_to("conv2d", &x).unwrap()));
            let map = model.forward_to("stem", &x).unwrap();
            assert_eq!(values(&rest.forward(&map).unwrap()), values(&model.forward(&x).unwrap()));
        };
        compare(&model);
        compile(&mut model);
        model.fit(&data.train, quiet(1)).unwrap();
        compare(&model);
    }
}

#[test]
fn a_base_under_a_new_head() {
    let data = Digits::load();
    for device in devices() {
        let mut base = base();
        base.build(&device, 1).unwrap();
        let before = weights(&base);
        base.trainable(false);
        let mut model = Sequential::new([8, 8, 1]).add_model(&base).add(Dense::new(10).activation(Activation::Softmax));
        model.build(&device, 2).unwrap();
        assert_eq!(weights(&model)[..before.len()], before, "a layer that has weights keeps them");
        assert_eq!(model.params().count(), 2);

        compile(&mut model);
        let frozen_loss = model.fit(&data.train, quiet(2)).unwrap().last().unwrap().loss;
        assert_eq!(weights(&base), before, "frozen on {device}");
        let frozen = model.evaluate(&data.test).unwrap().accuracy.unwrap();
        assert!(frozen > 0.6, "{frozen}");

        // Fine-tuning all of it, at a smaller rate.
        base.trainable(true);
        model.compile(Adam::new(0.001), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
        let loss = model.fit(&data.train, quiet(2)).unwrap().last().unwrap().loss;
        assert!(loss < frozen_loss, "{loss}, {frozen_loss} before");
        assert_ne!(weights(&base), before);
        assert_eq!(weights(&model)[..before.len()], weights(&base), "they are the same weights");

        // The base trains by itself, and the whole sees it.
        let before = weights(&model);
        base.compile(Sgd::new(0.1), tilegrad::nn::MeanSquaredError, []);
        let (x, y) = (Tensor::ones([4, 8, 8, 1], &device), Tensor::ones([4, 72], &device));
        base.train_on_batch(&x, &y).unwrap();
        assert_ne!(weights(&model), before);
        assert_eq!(weights(&model)[..6], weights(&base));
        assert_eq!(weights(&model)[6..], before[6..]);
    }
}

#[test]
fn freezing_by_name() {
    let base = base();
    let mut model = Sequential::new([8, 8, 1]).add_model(&base).add(Dense::new(10));
    let whole = {
        model.build(&Device::cpu(), 1).unwrap();
        model.summary().unwrap().trainable
    };
    model.layer("base.conv2d").unwrap().trainable(false);
    assert_eq!(model.summary().unwrap().trainable, whole - 80);
    assert!(!model.layer("base.conv2d").unwrap().weights()[0].tensor().needs_grad());
    model.set_trainable("base", false).unwrap();
    assert_eq!(model.summary().unwrap().trainable, 730);
    model.set_trainable("base", true).unwrap();
    assert_eq!(model.summary().unwrap().trainable, whole);
    let text = model.layer("conv2d").unwrap_err().to_string();
    assert!(text.contains("one of base.conv2d, base.batch_normalization") && text.contains("got \"conv2d\""), "{text}");
}

#[test]
fn names_within_models() {
    let base = base();
    let inputs = Input::new([8, 8, 1]);
    let x = base.call(&inputs);
    let again = Sequential::new([72]).named("base").add(Dense::new(4));
    let outputs = Dense::new(2).call(again.call(&x));
    let mut model = Model::new(&inputs, &outputs);
    model.build(&Device::cpu(), 1).unwrap();
    let names: Vec<String> = model.named_weights().map(|(name, _)| name).collect();
    let want = ["base.conv2d.kernel", "base.conv2d.bias", "base.batch_normalization.gamma"];
    assert_eq!(names[..3], want);
    assert_eq!(names[6..], ["base_1.dense.kernel", "base_1.dense.bias", "dense.kernel", "dense.bias"]);
    // In the order of the calls, as Keras counts.
    let inputs = Input::new([4]);
    let (a, b) = (Dense::new(3).call(&inputs), Dense::new(3).call(&inputs));
    let a = Dense::new(3).call(&a);
    let model = Model::new(&inputs, Add::new().call([&b, &a]));
    let names: Vec<&str> = model.layers().iter().map(|l| l.name()).collect();
    assert_eq!(names, ["dense", "dense_1", "dense_2", "add"]);
}

#[test]
fn the_summary_of_a_graph_says_what_is_connected() {
    let mut tiny = Sequential::new([4, 4, 1]).named("tiny").add(Conv2d::new(2, 3)).add(Flatten::new());
    tiny.build(&Device::cpu(), 1).unwrap();
    let inputs = Input::named("image", [4, 4, 1]);
    let x = tiny.call(&inputs);
    let outputs = Concatenate::new().call([&x, &Dense::new(3).call(&x)]);
    let mut model = Model::new(&inputs, &outputs).named("branched");
    model.build(&Device::cpu(), 1).unwrap();
    let summary = model.summary().unwrap();
    let want = "\
Model: \"branched\"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃ Connected to     ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━┩
│ image (InputLayer)              │ (None, 4, 4, 1)        │             0 │ -                │
├─────────────────────────────────┼────────────────────────┼───────────────┼──────────────────┤
│ tiny (Sequential)               │ (None, 8)              │            20 │ image            │
├─────────────────────────────────┼────────────────────────┼───────────────┼──────────────────┤
│ dense (Dense)                   │ (None, 3)              │            27 │ tiny             │
├─────────────────────────────────┼────────────────────────┼───────────────┼──────────────────┤
│ concatenate (Concatenate)       │ (None, 11)             │             0 │ tiny, dense      │
└─────────────────────────────────┴────────────────────────┴───────────────┴──────────────────┘
 Total params: 47 (188.00 B)
 Trainable params: 47 (188.00 B)
 Non-trainable params: 0 (0.00 B)
 FLOPs per example: 203";
    let text = summary.to_string();
    assert!(text.starts_with(want), "{text}");
    let names: Vec<String> = summary.expanded().rows.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["image", "tiny.conv2d", "tiny.flatten", "dense", "concatenate"]);
}

#[test]
fn graphs_that_do_not_fit_say_where() {
    let error = |mut model: Model| model.build(&Device::cpu(), 0).unwrap_err().to_string();
    let inputs = Input::new([8, 8, 1]);
    let (a, b) = (Conv2d::new(4, 3).call(&inputs), Conv2d::new(4, 5).name("wide").call(&inputs));
    let text = error(Model::new(&inputs, Add::new().call([&a, &b])));
    assert!(text.starts_with("layer 2 (add): inputs differ in shape"), "{text}");
    assert!(text.contains("from conv2d: [1, 6, 6, 4]") && text.contains("from wide: [1, 4, 4, 4]"), "{text}");
    let text = error(Model::new(&inputs, Concatenate::new().call([&a, &b])));
    assert!(text.contains("(concatenate): inputs differ elsewhere than in axis 3"), "{text}");
    let text = error(Model::new(&inputs, Add::new().call(&a)));
    assert!(text.contains("takes at least two inputs, got 1"), "{text}");
    let text = error(Model::new(&inputs, Flatten::new().call([&a, &b])));
    assert!(text.contains("(flatten): takes one input, got 2"), "{text}");

    let other = Input::named("other", [4]);
    let sum = Add::new().call([&Dense::new(4).call(&other), &Flatten::new().call(&inputs)]);
    let text = error(Model::new(&inputs, &sum));
    assert!(text.contains("inputs of the model: expected all that the outputs depend on"), "{text}");
    assert!(text.contains("other"), "{text}");
    let named = || Dense::new(4).name("twice");
    let text = error(Model::new(&other, named().call(named().call(&other))));
    assert_eq!(text, "layer names: expected each once, got \"twice\" twice");

    // A layer that has weights for another input.
    let mut first = Sequential::new([6]).named("first").add(Dense::new(2));
    first.build(&Device::cpu(), 0).unwrap();
    let text = error(Model::new(&other, first.call(&other)));
    assert!(text.contains("(first.dense): the layer has its weights already"), "{text}");
    assert!(text.contains("has: [6, 2]") && text.contains("input takes: [4, 2]"), "{text}");
    let x = Tensor::ones([1, 6], &Device::cpu());
    assert!(first.forward(&x).is_ok(), "the first model is as it was");

    let mut two = Model::new([&inputs, &other], Concatenate::new().call([&Flatten::new().call(&inputs), &other]));
    two.build(&Device::cpu(), 0).unwrap();
    let text = two.forward(&x).unwrap_err().to_string();
    assert_eq!(text, "inputs: expected 2, as the model has, got 1");
    let error = Model::new(&inputs, Flatten::new().call(&inputs)).forward(&x).unwrap_err();
    assert!(matches!(error, Error::NotReady(_)), "{error}");
}

#[test]
#[should_panic(expected = "model base: has 1 inputs, was called on 2")]
fn a_model_called_on_too_much() {
    let inputs = Input::new([8, 8, 1]);
    base().call([&inputs, &inputs]);
}
