//! Layers one by one: their numbers, their configurations as JSON, and what they refuse.

mod common;

use std::collections::BTreeSet;

use common::{devices, random};
use serde_json::{Value, json};
use tilegrad::nn::layers::{
    Activation, Add, Average, AvgPool1d, AvgPool2d, BatchNorm, CaffePreprocessing, Concatenate, Conv1d, Conv2d,
    Conv2dTranspose, Cropping2d, Dense, DepthwiseConv2d, Dropout, Elu, Embedding, Fill, Flatten, Flip, GaussianNoise,
    GlobalAvgPool1d, GlobalAvgPool2d, GlobalMaxPool1d, GlobalMaxPool2d, GroupNorm, Interpolation, LayerNorm, LeakyRelu,
    MaxPool1d, MaxPool2d, Maximum, Minimum, Multiply, Normalization, PRelu, Permute, RandomBrightness, RandomContrast,
    RandomCrop, RandomFlip, RandomRotation, RandomTranslation, RandomZoom, Relu, Rescaling, Reshape, SeparableConv2d,
    Softmax, SpatialDropout2d, Subtract, UpSampling2d, ZeroPadding2d,
};
use tilegrad::nn::{BuildContext, Initializer, Layer, Registry, Sequential};
use tilegrad::{Device, Padding, RunningAverage, Shape, Tensor};

/// Each type of layer, with settings that are not the defaults.
fn all() -> Vec<(Box<dyn Layer>, Vec<Shape>)> {
    let image = || vec![Shape::from([1, 8, 8, 4])];
    let sequence = || vec![Shape::from([1, 12, 4])];
    let two = || vec![Shape::from([1, 4, 4, 2]); 2];
    fn boxed(layer: impl Layer + 'static) -> Box<dyn Layer> {
        Box::new(layer)
    }
    vec![
        (boxed(Activation::LeakyRelu(0.125)), image()),
        (boxed(Activation::Swish.named("swish")), image()),
        (boxed(Add::new().name("sum")), two()),
        (boxed(Average::new()), two()),
        (boxed(AvgPool1d::new(3).strides(2).padding(Padding::Same)), sequence()),
        (boxed(AvgPool2d::new(3).strides(2).padding(Padding::Explicit([[1, 0], [0, 2]]))), image()),
        (boxed(BatchNorm::new().running_average(RunningAverage::PyTorch { momentum: 0.1 }).epsilon(1e-5)), image()),
        (boxed(CaffePreprocessing::new()), vec![Shape::from([1, 4, 4, 3])]),
        (boxed(Concatenate::new().axis(1)), two()),
        (boxed(Conv1d::new(6, 3).strides(2).padding(Padding::Same).activation(Activation::Relu)), sequence()),
        (boxed(Conv2d::new(6, [3, 1]).dilation(2).groups(2).padding(Padding::SameLower).use_bias(false)), image()),
        (boxed(Conv2dTranspose::new(3, 3).strides(2).padding(Padding::Same).activation(Activation::Tanh)), image()),
        (boxed(Cropping2d::new([[1, 2], [0, 3]])), image()),
        (boxed(Dense::new(3).kernel_initializer(Initializer::HeNormal).name("head")), vec![Shape::from([1, 5])]),
        (boxed(DepthwiseConv2d::new(3).depth_multiplier(2).strides(2)), image()),
        (boxed(Dropout::new(0.25)), image()),
        (boxed(Elu::new().alpha(0.5)), image()),
        (boxed(Embedding::new(10, 3)), vec![Shape::from([1, 7])]),
        (boxed(Flatten::new()), image()),
        (boxed(GaussianNoise::new(0.5)), image()),
        (boxed(GlobalAvgPool1d::new()), sequence()),
        (boxed(GlobalAvgPool2d::new()), image()),
        (boxed(GlobalMaxPool1d::new()), sequence()),
        (boxed(GlobalMaxPool2d::new()), image()),
        (boxed(GroupNorm::new(2)), image()),
        (boxed(LayerNorm::new().epsilon(1e-6)), image()),
        (boxed(LeakyRelu::new().negative_slope(0.125)), image()),
        (boxed(MaxPool1d::new(2)), sequence()),
        (boxed(MaxPool2d::new(2).padding(Padding::Same)), image()),
        (boxed(Maximum::new()), two()),
        (boxed(Minimum::new()), two()),
        (boxed(Multiply::new()), two()),
        (boxed(Normalization::new([0.0, 0.5, 1.0, 1.5], [1.0, 2.0, 3.0, 4.0])), image()),
        (boxed(PRelu::new().shared_axes([1, 2])), image()),
        (boxed(Permute::new([3, 1, 2])), image()),
        (boxed(RandomBrightness::new([0.0, 0.25])), image()),
        (boxed(RandomContrast::new(0.5).value_range(-1.0, 1.0)), image()),
        (boxed(RandomCrop::new(4, 5)), image()),
        (boxed(RandomFlip::new(Flip::Vertical)), image()),
        (boxed(RandomRotation::new(0.25).fill(Fill::Constant(0.5))), image()),
        (boxed(RandomTranslation::new(0.25, [0.0, 0.5]).fill(Fill::Wrap)), image()),
        (boxed(RandomZoom::new(0.5).width_factor([-0.5, 0.0]).interpolation(Interpolation::Nearest)), image()),
        (boxed(Relu::new().max_value(6.0)), image()),
        (boxed(Rescaling::new(2.0).offset(-1.0)), image()),
        (boxed(Reshape::new([16, -1])), image()),
        (boxed(SeparableConv2d::new(5, 3).depth_multiplier(2).activation(Activation::Tanh)), image()),
        (boxed(Softmax::new().axis(1)), image()),
        (boxed(Softmax::new()), image()),
        (boxed(SpatialDropout2d::new(0.5)), image()),
        (boxed(Subtract::new()), two()),
        (boxed(UpSampling2d::new([2, 3]).interpolation(Interpolation::Bilinear)), image()),
        (boxed(ZeroPadding2d::new([[0, 1], [2, 3]])), image()),
    ]
}

#[test]
fn a_configuration_makes_the_same_layer() {
    let registry = Registry::default();
    for (layer, inputs) in all() {
        let (kind, config) = (layer.kind().to_string(), layer.config());
        let text = serde_json::to_string(&config).unwrap();
        let again = registry.layer(&kind, serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((again.kind(), again.name(), again.config()), (layer.kind(), layer.name(), config), "{kind}");
        assert_eq!(again.merge_shape(&inputs), layer.merge_shape(&inputs), "{kind}");
        assert_eq!(again.head(), layer.head(), "{kind}");
    }
    let covered: BTreeSet<String> = all().iter().map(|(layer, _)| layer.kind().to_string()).collect();
    assert_eq!(covered, registry.kinds().map(String::from).collect(), "a type of layer is not looked at");
}

#[test]
fn configurations_that_make_no_layer() {
    let registry = Registry::default();
    let error =
        |kind: &str, config: &str| registry.layer(kind, serde_json::from_str(config).unwrap()).unwrap_err().to_string();
    let text = error("Conv4D", "{}");
    assert!(text.contains("one of Activation, Add,") && text.contains("got \"Conv4D\""), "{text}");
    let text = error("Flatten", r#"{"name": null, "axis": 3}"#);
    assert!(text.contains("settings of the layer Flatten") && text.contains("`axis`"), "{text}");
    let text = error("Dropout", r#"{"rate": "much", "name": null}"#);
    assert!(text.contains("\"much\""), "{text}");
    let text = error("Add", r#"{"how": "multiply", "name": null}"#);
    assert!(text.contains("settings of the layer Add") && text.contains("those of Multiply"), "{text}");
    let text = error("Dense", r#"{"units": -1}"#);
    assert!(
        text.contains("settings of the layer Dense") && text.contains("units: invalid value: integer `-1`"),
        "{text}"
    );
    let text = error("ZeroPadding2D", r#"{"padding": [[0, 1], [2, 0.5]], "name": null}"#);
    assert!(text.contains("padding[1][1]: invalid type: floating point `0.5`"), "{text}");
    // What parses but can't work is refused with a shape, as when a user says it.
    let layer = registry
        .layer("MaxPooling2D", r#"{"pool_size":[0,0],"strides":[0,0],"padding":"valid","name":null}"#.parse().unwrap());
    assert!(layer.unwrap().output_shape(&Shape::from([1, 8, 8, 1])).is_err());
}

/// Each configuration that differs from this one in a single number, which becomes `number`.
fn with_number(config: &Value, number: &Value) -> Vec<Value> {
    match config {
        Value::Number(_) => vec![number.clone()],
        Value::Array(items) => (0..items.len())
            .flat_map(|i| {
                with_number(&items[i], number).into_iter().map(move |changed| {
                    let mut items = items.clone();
                    items[i] = changed;
                    Value::Array(items)
                })
            })
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| {
                with_number(field, number).into_iter().map(move |changed| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    Value::Object(fields)
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn hostile_numbers_are_errors_or_layers() {
    let registry = Registry::default();
    let numbers =
        [json!(0), json!(-1), json!(-1e30), json!(1e30), json!(1u64 << 31), json!(1u64 << 33), json!(u64::MAX)];
    let (mut layers, mut errors) = (0, 0);
    for (layer, inputs) in all() {
        for config in numbers.iter().flat_map(|number| with_number(&layer.config(), number)) {
            // What is no error has a shape and a number of operations, and panics over neither.
            let built =
                registry.layer(layer.kind(), config.clone()).map_err(|e| e.to_string()).and_then(|mut layer| {
                    let output = layer.build_merge(&inputs, &mut BuildContext::new("x")).map_err(|e| e.to_string())?;
                    Ok((layer.flops(&inputs, &output), output))
                });
            match built {
                Ok((_, output)) => {
                    layers += 1;
                    assert!(!output.is_empty(), "{} of {config} gives nothing: {output}", layer.kind());
                }
                Err(_) => errors += 1,
            }
        }
    }
    assert!(layers > 100 && errors > 300, "{layers} layers, {errors} errors");
}

/// The output of one layer with all its weights at 1, or what `initializer` says.
fn run(layer: impl Layer + 'static, x: &Tensor) -> Vec<f32> {
    let mut model = Sequential::new(Shape::new(&x.shape()[1..])).add(layer);
    model.build(x.device(), 3).unwrap();
    let y = model.forward(x).unwrap();
    assert_eq!(Some(Shape::new(&y.shape()[1..])), model.output_shape());
    y.to_vec().unwrap()
}

#[test]
fn small_numbers_by_hand() {
    for device in devices() {
        let sequence = Tensor::new(&[1.0, 2.0, 3.0, 4.0, 5.0], [1, 5, 1], &device);
        let ones = Initializer::Ones;
        let conv = Conv1d::new(1, 3).kernel_initializer(Initializer::Values(vec![1.0, 10.0, 100.0]));
        assert_eq!(run(conv, &sequence), [321.0, 432.0, 543.0]);
        assert_eq!(run(MaxPool1d::new(2), &sequence), [2.0, 4.0]);
        assert_eq!(run(AvgPool1d::new(2).padding(Padding::Same), &sequence), [1.5, 3.5, 5.0]);
        assert_eq!(run(GlobalAvgPool1d::new(), &sequence), [3.0]);
        assert_eq!(run(GlobalMaxPool1d::new(), &sequence), [5.0]);

        let image = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [1, 2, 2, 1], &device);
        let spread = Conv2dTranspose::new(1, 2).strides(2).kernel_initializer(ones.clone());
        let twice = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0];
        assert_eq!(run(spread, &image), twice);
        assert_eq!(run(UpSampling2d::new(2), &image), twice);
        let bordered = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0];
        assert_eq!(run(ZeroPadding2d::new([[1, 0], [1, 0]]), &image), bordered);
        assert_eq!(run(Cropping2d::new([[1, 0], [0, 1]]), &image), [3.0]);
        assert_eq!(run(Rescaling::new(2.0).offset(-1.0), &image), [1.0, 3.0, 5.0, 7.0]);
        assert_eq!(run(Permute::new([2, 1, 3]), &image), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(run(Reshape::new([-1]), &image), [1.0, 2.0, 3.0, 4.0]);

        let channels = Tensor::new(&[1.0, -10.0, 2.0, 20.0], [1, 1, 2, 2], &device);
        let depthwise = DepthwiseConv2d::new([1, 2]).depth_multiplier(2);
        // (KH, KW, C, M): tap 0 of channel 0 is (1, 2), of channel 1 (3, 4).
        let kernel: Vec<f32> = (1..=8).map(|v| v as f32).collect();
        let depthwise = depthwise.kernel_initializer(Initializer::Values(kernel));
        assert_eq!(run(depthwise, &channels), [11.0, 14.0, -30.0 + 140.0, -40.0 + 160.0]);
        assert_eq!(run(Relu::new().max_value(6.0), &channels), [1.0, 0.0, 2.0, 6.0]);
        assert_eq!(run(Relu::new().negative_slope(0.5), &channels), [1.0, -5.0, 2.0, 20.0]);
        assert_eq!(run(PRelu::new(), &channels), [1.0, 0.0, 2.0, 20.0]);
        assert_eq!(run(SpatialDropout2d::new(0.5), &channels), [1.0, -10.0, 2.0, 20.0]);
        // Mean 1.5 and standard deviation 0.5; mean 5 and standard deviation 15.
        let normal = Tensor::new(&[1.0, 2.0, -10.0, 20.0], [1, 2, 2], &device);
        let want = [-1.0, 1.0, -1.0, 1.0];
        for got in [
            run(LayerNorm::new().epsilon(0.0), &normal),
            run(GroupNorm::new(1).epsilon(0.0), &normal.reshape([2, 1, 2])),
        ] {
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{got:?}");
        }
        let words =
            Embedding::new(3, 2).embeddings_initializer(Initializer::Values(vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0]));
        let ids = Tensor::new(&[2.0, 0.0], [1, 2], &device);
        assert_eq!(run(words, &ids), [20.0, 21.0, 0.0, 1.0]);
    }
}

#[test]
fn the_backends_agree_and_every_weight_learns() {
    for (layer, inputs) in all() {
        let (kind, registry) = (layer.kind().to_string(), Registry::default());
        if inputs.len() > 1 || kind == "Embedding" {
            continue; // looked at as parts of graphs, and by hand
        }
        let x = random(Shape::new(&[&[3], &inputs[0][1..]].concat()), 1, -1.0, 1.0);
        let run = |device: &Device| {
            let layer = registry.layer(&kind, layer.config()).unwrap();
            let entry = tilegrad::nn::SharedLayer::from(layer);
            let input = tilegrad::nn::Input::new(Shape::new(&inputs[0][1..]));
            let mut model = tilegrad::nn::Model::new(&input, entry.call(&input));
            model.build(device, 7).unwrap();
            let y = model.forward(&x.to(device).unwrap()).unwrap();
            let weights: Vec<Tensor> = model.params().map(|p| p.tensor()).collect();
            let gradients = if weights.is_empty() { None } else { Some(y.affine(1.0, 1.0).square().sum().backward()) };
            let gradients =
                weights.iter().map(|w| gradients.as_ref().unwrap().get(w).unwrap().to_vec::<f32>().unwrap());
            (y.to_vec::<f32>().unwrap(), gradients.collect::<Vec<_>>())
        };
        let (want, want_gradients) = run(&Device::cpu());
        assert!(want_gradients.iter().all(|g| g.iter().any(|&g| g != 0.0)), "{kind}: a weight has no gradient");
        for device in devices() {
            let (got, gradients) = run(&device);
            let far = |got: &[f32], want: &[f32]| {
                let largest = want.iter().fold(1.0f32, |a, b| a.max(b.abs()));
                got.iter().zip(want).map(|(g, w)| (g - w).abs() / largest).fold(0.0, f32::max)
            };
            assert!(far(&got, &want) < 1e-5, "{kind} on {device}: {}", far(&got, &want));
            for (got, want) in gradients.iter().zip(&want_gradients) {
                assert!(far(got, want) < 1e-5, "{kind}'s gradient on {device}: {}", far(got, want));
            }
        }
    }
}

fn near(got: &[f32], want: &[f32], what: &str) {
    let fits = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 2e-6 * w.abs().max(1.0));
    assert!(fits, "{what}: {got:?}, expected {want:?}");
}

#[test]
fn numbers_of_keras() {
    let numbers = |n: usize, f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    for device in devices() {
        let x = Tensor::new(&[-2.5, -1.0, -0.25, 0.0, 0.5, 0.75, 3.0], [1, 7], &device);
        for (activation, want) in [
            (Activation::Celu(1.0), [-0.917915, -0.63212055, -0.2211992, 0.0, 0.5, 0.75, 3.0]),
            (Activation::HardTanh, [-1.0, -1.0, -0.25, 0.0, 0.5, 0.75, 1.0]),
            (Activation::HardShrink(0.5), [-2.5, -1.0, 0.0, 0.0, 0.0, 0.75, 3.0]),
            (Activation::SoftShrink(0.5), [-2.0, -0.5, 0.0, 0.0, 0.0, 0.25, 2.5]),
            (Activation::TanhShrink, [-1.5133857, -0.23840582, -0.00508134, 0.0, 0.03788283, 0.114851, 2.0049453]),
        ] {
            near(&run(activation, &x), &want, &format!("{activation:?} on {device}"));
        }
        near(&run(LeakyRelu::new(), &x), &[-0.75, -0.3, -0.075, 0.0, 0.5, 0.75, 3.0], "LeakyReLU");
        let elu = run(Elu::new().alpha(0.5), &x);
        near(&elu, &[-0.4589575, -0.31606027, -0.1105996, 0.0, 0.5, 0.75, 3.0], "ELU");
        let x = Tensor::new(&[1.0, 2.0, 3.0, 5.0], [1, 2, 2], &device);
        near(&run(Softmax::new(), &x), &[0.26894143, 0.7310586, 0.11920291, 0.8807971], "Softmax");
        let columns = run(Softmax::new().axis(1), &x);
        near(&columns, &[0.1192029, 0.04742587, 0.880797, 0.9525741], "Softmax along the columns");

        let examples = Tensor::new(&[1.0, 1000.0, 2.0, 1004.0, 6.0, 1005.0], [3, 2], &device);
        let x = Tensor::new(&[1.0, 1000.0, 0.0, 1010.0], [2, 2], &device);
        let normal = run(Normalization::adapt(&examples).unwrap(), &x);
        near(&normal, &[-0.9258201, -1.3887302, -1.3887302, 3.2403704], "Normalization");

        let x = Tensor::new(&numbers(40, &|i| ((i % 7) as f32 - 3.0) / 4.0), [1, 4, 5, 2], &device);
        let separable = SeparableConv2d::new(3, [2, 3]).strides(2).padding(Padding::Same).depth_multiplier(2);
        let separable = separable
            .activation(Activation::Tanh)
            .depthwise_initializer(Initializer::Values(numbers(24, &|i| ((i * 5 % 11) as f32 - 5.0) / 8.0)))
            .pointwise_initializer(Initializer::Values(numbers(12, &|i| ((i * 3 % 7) as f32 - 3.0) / 8.0)))
            .bias_initializer(Initializer::Values(vec![0.125, -0.25, 0.5]));
        let want = [
            0.3238457,
            0.09347629,
            0.20786364,
            0.10894092,
            -0.45903957,
            0.77596813,
            0.40832025,
            0.00781234,
            0.2631886,
            0.13970529,
            -0.07019684,
            0.5913162,
            -0.2003767,
            -0.30270973,
            0.49227798,
            0.41157007,
            -0.35152918,
            0.2740616,
        ];
        near(&run(separable, &x), &want, &format!("SeparableConv2D on {device}"));
    }
}

#[test]
fn spatial_dropout_drops_whole_channels() {
    for device in devices() {
        let mut model = Sequential::new([4, 4, 8]).add(SpatialDropout2d::new(0.5)).add(Flatten::new());
        model.build(&device, 1).unwrap();
        let layer = model.layers()[0].layer();
        let mut rng = tilegrad::Rng::new(1);
        let precision = tilegrad::nn::Precision::F32;
        let mut context = tilegrad::nn::Context { training: true, precision, rng: &mut rng };
        let y = layer.forward(&Tensor::ones([16, 4, 4, 8], &device), &mut context).to_vec::<f32>().unwrap();
        let mut kept = 0;
        for image in y.chunks(4 * 4 * 8) {
            for channel in 0..8 {
                let values: BTreeSet<u32> = image.iter().skip(channel).step_by(8).map(|v| v.to_bits()).collect();
                assert_eq!(values.len(), 1, "a channel is dropped as a whole");
                kept += u32::from(image[channel] == 2.0);
            }
        }
        assert!((40..88).contains(&kept), "{kept} of 128 kept");
    }
}

#[test]
fn inputs_that_layers_refuse() {
    let error =
        |layer: Box<dyn Layer>, input: &[usize]| layer.output_shape(&Shape::new(input)).unwrap_err().to_string();
    for (layer, input, what) in [
        (Box::new(Conv1d::new(4, 3)) as Box<dyn Layer>, &[1usize, 8, 8, 1][..], "expected 3: (N, L, C)"),
        (Box::new(Conv1d::new(4, 9)), &[1, 8, 1], "does not fit"),
        (Box::new(DepthwiseConv2d::new(3).depth_multiplier(0)), &[1, 8, 8, 1], "depth multiplier is 0"),
        (Box::new(Conv2dTranspose::new(0, 3)), &[1, 8, 8, 1], "filters is 0"),
        (Box::new(MaxPool1d::new(0)), &[1, 8, 1], "0"),
        (Box::new(LayerNorm::new()), &[1], "no axis beside the batch axis"),
        (Box::new(LayerNorm::new().epsilon(-1.0)), &[1, 2], "epsilon: expected at least 0, got -1"),
        (Box::new(GroupNorm::new(3)), &[1, 8, 8, 4], "3 groups do not divide 4 channels"),
        (Box::new(Embedding::new(0, 3)), &[1, 2], "input_dim is 0"),
        (Box::new(Reshape::new([5, -1])), &[1, 12], "an example of 12 numbers can't have the shape [5, -1]"),
        (Box::new(Reshape::new([-1, -1])), &[1, 12], "can't have the shape"),
        (Box::new(Reshape::new([-3, -4])), &[1, 12], "can't have the shape"),
        (Box::new(Permute::new([1, 1])), &[1, 3, 4], "no order of the axes 1..=2"),
        (Box::new(Cropping2d::new(4)), &[1, 8, 8, 1], "leaves nothing"),
        (Box::new(ZeroPadding2d::new(usize::MAX)), &[1, 8, 8, 1], "too large"),
        (Box::new(UpSampling2d::new(0)), &[1, 8, 8, 1], "size in height is 0"),
        (Box::new(PRelu::new().shared_axes([4])), &[1, 8, 8, 1], "shared axis 4"),
        (Box::new(Relu::new().max_value(f32::NAN)), &[1, 8], "max_value"),
        (Box::new(BatchNorm::new().epsilon(f32::NAN)), &[1, 2], "epsilon: expected at least 0, got NaN"),
        (Box::new(BatchNorm::new().momentum(1.5)), &[1, 2], "momentum: expected a number from 0 to 1, got 1.5"),
        (Box::new(SeparableConv2d::new(0, 3)), &[1, 8, 8, 1], "filters is 0"),
        (Box::new(SeparableConv2d::new(4, 9)), &[1, 8, 8, 1], "does not fit"),
        (
            Box::new(SeparableConv2d::new(4, 3).depth_multiplier(usize::MAX)),
            &[1, 8, 8, 2],
            "more elements than memory could hold",
        ),
        (Box::new(Normalization::new([0.0], [1.0, 2.0])), &[1, 2], "1 means and 2 variances"),
        (Box::new(Normalization::new([0.0], [-1.0])), &[1, 1], "variance: expected at least 0, got -1"),
        (Box::new(GaussianNoise::new(-1.0)), &[1, 8], "stddev"),
        (Box::new(Softmax::new().axis(3)), &[1, 8], "axis"),
        (Box::new(Softmax::new().axis(0)), &[1, 8], "batch axis"),
        (Box::new(LeakyRelu::new().negative_slope(f32::INFINITY)), &[1, 8], "negative_slope"),
        (Box::new(Elu::new().alpha(f32::NAN)), &[1, 8], "alpha"),
        (Box::new(SpatialDropout2d::new(1.5)), &[1, 8, 8, 1], "below 1, got 1.5"),
    ] {
        let text = error(layer, input);
        assert!(text.contains(what), "{text}, expected {what}");
    }
}
