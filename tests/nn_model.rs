//! Models before training: shapes, names, summaries, weights, errors, layers of one's own.

mod common;

use common::{devices, random};
use tilegrad::nn::layers::{
    AvgPool2d, BatchNorm, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d,
};
use tilegrad::nn::{Activation, BuildContext, Context, Initializer, Layer, Model, Param, Sequential};
use tilegrad::{Device, Error, Padding, Result, Shape, ShapeError, Tensor, Window};

/// The convnet of Keras's MNIST tutorial.
fn mnist_convnet() -> Sequential {
    let conv = |filters| Conv2d::new(filters, 3).activation(Activation::Relu);
    Sequential::new([28, 28, 1])
        .add(conv(32))
        .add(MaxPool2d::new(2))
        .add(conv(64))
        .add(MaxPool2d::new(2))
        .add(conv(128))
        .add(Flatten::new())
        .add(Dense::new(10).activation(Activation::Softmax))
}

/// The network of Keras's Fashion-MNIST tutorials.
fn fashion_cnn() -> Sequential {
    let conv = |filters| Conv2d::new(filters, 3).padding(Padding::Same).activation(Activation::Relu);
    Sequential::new([28, 28, 1])
        .add(conv(32))
        .add(MaxPool2d::new(2))
        .add(conv(64))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(100).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax))
}

fn swish_net() -> Sequential {
    let conv = |filters| Conv2d::new(filters, 5).activation(Activation::Swish);
    Sequential::new([28, 28, 1])
        .add(conv(3))
        .add(conv(6))
        .add(Flatten::new())
        .add(Dense::new(84).activation(Activation::Swish))
        .add(Dense::new(10).activation(Activation::Softmax))
}

fn built(mut model: Sequential) -> Sequential {
    model.build(&Device::cpu(), 1).unwrap();
    model
}

fn counts(model: &Model) -> Vec<usize> {
    model.layers().iter().map(|l| l.count_params()).collect()
}

#[test]
fn summary_is_keras_table() {
    let want = "\
Model: \"sequential\"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ conv2d (Conv2D)                 │ (None, 26, 26, 32)     │           320 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ max_pooling2d (MaxPooling2D)    │ (None, 13, 13, 32)     │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ conv2d_1 (Conv2D)               │ (None, 11, 11, 64)     │        18,496 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ max_pooling2d_1 (MaxPooling2D)  │ (None, 5, 5, 64)       │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ conv2d_2 (Conv2D)               │ (None, 3, 3, 128)      │        73,856 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ flatten (Flatten)               │ (None, 1152)           │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense (Dense)                   │ (None, 10)             │        11,530 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 104,202 (407.04 KB)
 Trainable params: 104,202 (407.04 KB)
 Non-trainable params: 0 (0.00 B)
 FLOPs per example: 6.26 M
 Device memory for a batch of 32: 11.29 MB to train, 3.70 MB to predict";
    let model = mnist_convnet();
    assert_eq!(model.summary().unwrap().to_string(), want, "before it is built");
    let model = built(model);
    let summary = model.summary().unwrap();
    assert_eq!(summary.to_string(), want);
    // A multiplication and an addition for each tap, an addition for the bias; a comparison for each number that is pooled.
    let convs = 26 * 26 * 32 * (2 * 9 + 1) + 11 * 11 * 64 * (2 * 288 + 1) + 3 * 3 * 128 * (2 * 576 + 1);
    let pools = 26 * 26 * 32 + 11 * 11 * 64;
    assert_eq!(summary.flops, convs + pools + 10 * (2 * 1152 + 1));
}

#[test]
fn parameter_counts_are_keras() {
    let fashion = built(fashion_cnn());
    assert_eq!(counts(&fashion), [320, 0, 18_496, 0, 0, 313_700, 0, 1_010]);
    assert_eq!(fashion.summary().unwrap().total(), 333_526);
    assert!(fashion.summary().unwrap().to_string().contains(" Total params: 333,526 (1.27 MB)\n"));
    assert_eq!(fashion.layer("flatten").unwrap().output_shape(), Some(Shape::from([3136])));

    let no_pool = Sequential::new([28, 28, 1]).add(Conv2d::new(32, 3)).add(Conv2d::new(64, 3)).add(Conv2d::new(128, 3));
    let no_pool = built(no_pool.add(Flatten::new()).add(Dense::new(10)));
    assert_eq!(counts(&no_pool), [320, 18_496, 73_856, 0, 619_530]);
    assert_eq!(no_pool.count_params(), 712_202);
    let sizes = [[26, 26, 32], [24, 24, 64], [22, 22, 128]];
    assert!(no_pool.layers().iter().zip(sizes).all(|(layer, size)| layer.output_shape() == Some(size.into())));
    assert_eq!(no_pool.layer("flatten").unwrap().output_shape(), Some(Shape::from([61_952])));

    let swish = built(swish_net());
    assert_eq!(counts(&swish), [78, 456, 0, 201_684, 850]);
    assert_eq!(swish.count_params(), 203_068);
}

#[test]
fn batch_norm_has_weights_that_are_not_trained() {
    let model = Sequential::new([8, 8, 3])
        .named("bn")
        .add(Conv2d::new(4, 3).strides(2).padding(Padding::Same).use_bias(false).name("stem"))
        .add(BatchNorm::new())
        .add(Activation::Relu)
        .add(AvgPool2d::new(2))
        .add(GlobalAvgPool2d::new())
        .add(Dense::new(2));
    let model = built(model);
    let summary = model.summary().unwrap();
    assert_eq!((summary.trainable, summary.non_trainable), (108 + 8 + 10, 8));
    let names: Vec<&str> = summary.rows.iter().map(|r| r.name.as_str()).collect();
    let want = ["stem", "batch_normalization", "activation", "average_pooling2d", "global_average_pooling2d", "dense"];
    assert_eq!(names, want);
    let paths: Vec<String> = model.layer("batch_normalization").unwrap().weights().iter().map(Param::path).collect();
    let suffixes = ["gamma", "beta", "moving_mean", "moving_variance"];
    assert_eq!(paths, suffixes.map(|s| format!("batch_normalization.{s}")));
    assert!(summary.to_string().starts_with("Model: \"bn\"\n"));
}

#[test]
fn a_layer_that_does_not_fit_is_named_before_anything_runs() {
    let error = |mut model: Sequential| model.build(&Device::cpu(), 0).unwrap_err();
    let conv = |n| Conv2d::new(4, n);

    let e = error(Sequential::new([8, 8, 1]).add(conv(3)).add(MaxPool2d::new(2)).add(conv(5)));
    assert!(matches!(&e, Error::Layer { index: 2, layer, .. } if layer == "conv2d_1"), "{e:?}");
    let text = e.to_string();
    assert!(text.starts_with("layer 2 (conv2d_1): ") && text.contains("does not fit in a height of 3"), "{text}");
    assert!(text.contains("[1, 3, 3, 4]"), "{text}");

    let text = error(Sequential::new([8, 8, 1]).add(Dense::new(3).name("head"))).to_string();
    assert!(text.starts_with("layer 0 (head): input has 4 axes, expected 2: (N, features)"), "{text}");
    assert!(text.contains("help: put a Flatten"), "{text}");

    let text = error(Sequential::new([8, 8]).add(conv(3))).to_string();
    assert!(text.contains("input has 3 axes, expected 4: (N, H, W, C)"), "{text}");
    for (model, what) in [
        (Sequential::new([8, 8, 3]).add(conv(3).groups(2)), "2 groups do not divide 3 channels"),
        (Sequential::new([8, 8, 3]).add(conv(3).groups(0)), "groups is 0"),
        (Sequential::new([8, 8, 3]).add(conv(3).strides(0)), "stride in height is 0"),
        (Sequential::new([8, 8, 3]).add(conv(0)), "size in height is 0"),
        (Sequential::new([8, 8, 3]).add(MaxPool2d::new(0)), "is 0"),
        (Sequential::new([8, 8, 3]).add(Conv2d::new(0, 3)), "filters is 0"),
        (Sequential::new([8]).add(Dense::new(0)), "units is 0"),
        (Sequential::new([8]).add(Dropout::new(1.0)), "rate: expected at least 0 and below 1, got 1"),
        (Sequential::new([8]).add(Dropout::new(f32::NAN)), "got NaN"),
        (Sequential::new([8]).add(GlobalMaxPool2d::new()), "expected 4"),
        (Sequential::new([8]).add(Dense::new(2).kernel_initializer(Initializer::Values(vec![1.0]))), "kernel"),
    ] {
        let text = error(model).to_string();
        assert!(text.starts_with("layer 0 (") && text.contains(what), "{text}");
    }
}

#[test]
fn models_that_cannot_be_built_say_why() {
    let error = |mut model: Sequential| model.build(&Device::cpu(), 0).unwrap_err().to_string();
    assert_eq!(error(Sequential::new([4])), "model: expected at least one layer, got none");
    assert!(error(Sequential::empty().add(Dense::new(1))).contains("no input shape"));
    let twice = Sequential::new([4]).add(Dense::new(1).name("a")).add(Dense::new(1).name("a"));
    assert_eq!(error(twice), "layer names: expected each once, got \"a\" twice");
    assert!(error(Sequential::new([0]).add(Dense::new(1))).contains("input shape"));

    let model = Sequential::new([4]).add(Dense::new(1));
    let x = Tensor::ones([1, 4], &Device::cpu());
    for error in [model.forward(&x).unwrap_err(), model.predict(&x).unwrap_err()] {
        assert!(matches!(error, Error::NotReady(_)) && error.to_string().contains("not built"), "{error}");
    }
    let model = built(model);
    let text = model.forward(&Tensor::ones([1, 5], &Device::cpu())).unwrap_err().to_string();
    assert_eq!(text, "shape of x: expected [batch, 4], the model's input, got [1, 5]");
    let text = model.forward(&Tensor::ones([4], &Device::cpu())).unwrap_err().to_string();
    assert!(text.contains("x.unsqueeze(0)"), "{text}");
    assert!(model.forward_to("none", &x).unwrap_err().to_string().contains("one of dense"));
}

#[test]
fn models_cross_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    check(&built(fashion_cnn()));
}

#[test]
fn automatic_names_avoid_given_ones() {
    let mut model = Sequential::new([4]).add(Dense::new(4).name("dense")).add(Dense::new(4));
    model.push(Dense::new(4));
    let names: Vec<&str> = model.layers().iter().map(|l| l.name()).collect();
    assert_eq!(names, ["dense", "dense_1", "dense_2"]);
}

#[test]
fn a_seed_gives_the_same_weights_everywhere() {
    let weights = |seed, device: &Device| {
        let mut model = fashion_cnn();
        model.build(device, seed).unwrap();
        model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let want = weights(3, &Device::cpu());
    for device in devices() {
        assert_eq!(weights(3, &device), want);
    }
    assert_ne!(weights(4, &Device::cpu()), want);
    assert!(want[1].iter().all(|&b| b == 0.0), "biases start at 0");
}

#[test]
fn feature_maps_of_one_layer() {
    for device in devices() {
        let edge = vec![-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0];
        let mut model = Sequential::new([3, 3, 1])
            .add(Conv2d::new(1, 3).kernel_initializer(Initializer::Values(edge)).name("edges"))
            .add(Flatten::new())
            .add(Dense::new(2).kernel_initializer(Initializer::Ones).activation(Activation::Softmax));
        model.build(&device, 0).unwrap();
        let mut image = vec![1.0; 9];
        image[4] = 2.0;
        let x = Tensor::new(&image, [1, 3, 3, 1], &device);
        let map = model.forward_to("edges", &x).unwrap();
        assert_eq!((map.shape().to_string(), map.to_vec::<f32>().unwrap()), ("[1, 1, 1, 1]".into(), vec![8.0]));
        assert_eq!(model.forward(&x).unwrap().to_vec::<f32>().unwrap(), [0.5, 0.5]);
        assert_eq!(model.predict(&x).unwrap().to_vec::<f32>().unwrap(), [0.5, 0.5]);
    }
}

#[test]
fn relu_moves_behind_max_pooling() {
    for device in devices() {
        let relu = Activation::Relu;
        let mut model = Sequential::new([6, 6, 2])
            .add(Conv2d::new(4, 3).activation(relu).name("conv"))
            .add(MaxPool2d::new(2))
            .add(relu)
            .add(MaxPool2d::new(2))
            .add(Flatten::new());
        model.build(&device, 3).unwrap();
        let x = random([3, 6, 6, 2], 1, -1.0, 1.0).to(&device).unwrap();
        let ops: Vec<&str> = model.forward(&x).unwrap().tape().entries().iter().map(|entry| entry.op).collect();
        assert_eq!(ops, ["conv2d", "relu_max_pool2d", "relu_max_pool2d", "reshape"]);
        // The layers one by one still give what their names say.
        let window = |size| Window { size: [size; 2], stride: [size; 2], dilation: [1; 2], padding: Padding::Valid };
        let map = model.forward_to("conv", &x).unwrap();
        let values = map.to_vec::<f32>().unwrap();
        assert!(values.iter().all(|&v| v >= 0.0) && values.contains(&0.0));
        let want = map.max_pool2d(window(2)).max_pool2d(window(2)).to_vec::<f32>().unwrap();
        assert_eq!(model.forward(&x).unwrap().to_vec::<f32>().unwrap(), want, "on {device}");
    }
}

#[test]
fn frozen_layers_do_not_count_as_trainable() {
    let mut model = built(fashion_cnn());
    let before: Vec<_> = model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect();
    model.set_trainable("conv2d", false).unwrap();
    let summary = model.summary().unwrap();
    assert_eq!((summary.trainable, summary.non_trainable), (333_206, 320));
    let after: Vec<_> = model.weights().map(|w| w.tensor().to_vec::<f32>().unwrap()).collect();
    assert_eq!(before, after);
    assert!(!model.layer("conv2d").unwrap().weights()[0].tensor().needs_grad());
    model.set_trainable("conv2d", true).unwrap();
    assert_eq!(model.summary().unwrap().non_trainable, 0);
    assert!(model.set_trainable("none", true).is_err());
}

/// Multiplies each feature by a learned number.
#[derive(Debug, Default)]
struct Scale(Option<Param>);

impl Layer for Scale {
    fn kind(&self) -> &str {
        "ScaleEach"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(*input)
    }

    fn build(&mut self, input: &Shape, ctx: &mut BuildContext) -> Result<Shape, ShapeError> {
        self.0 = Some(ctx.weight("scale", [input[input.rank() - 1]], &Initializer::Constant(2.0))?);
        Ok(*input)
    }

    fn forward(&self, x: &Tensor, _: &mut Context<'_>) -> Tensor {
        x.mul(&self.0.as_ref().expect("built").tensor())
    }
}

#[test]
fn a_layer_of_ones_own() {
    let model = built(Sequential::new([3]).add(Scale::default()).add(Activation::LeakyRelu(0.5)));
    assert_eq!(model.layers()[0].name(), "scale_each");
    assert_eq!(model.count_params(), 3);
    let x = Tensor::new(&[1.0, 0.0, -3.0], [1, 3], &Device::cpu());
    let y = model.forward(&x).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 0.0, -3.0]);
    let scale = model.params().next().unwrap().tensor();
    assert_eq!(y.backward().get(&scale).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, -1.5]);
}
