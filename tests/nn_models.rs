//! Known networks: Keras's numbers of parameters, names and shapes; ResNet-50 trains the same on both backends.

mod common;

use common::{devices, nmse, random};
use tilegrad::nn::models::{LeNet, MobileNetV2, Pooling, ResNet50, Vgg16};
use tilegrad::nn::{Model, Sgd, SparseCategoricalCrossentropy};
use tilegrad::{Device, Shape, Tensor};

fn counts(model: &Model) -> (usize, usize) {
    let summary = model.summary().unwrap();
    (summary.total(), summary.trainable)
}

#[test]
fn parameters_are_those_of_keras() {
    // Nothing is put on a device: VGG16 would take half a gigabyte.
    assert_eq!(counts(&Vgg16::new().build()), (138_357_544, 138_357_544));
    assert_eq!(counts(&Vgg16::new().include_top(false).build()), (14_714_688, 14_714_688));
    assert_eq!(counts(&ResNet50::new().build()), (25_636_712, 25_583_592));
    assert_eq!(counts(&ResNet50::new().include_top(false).build()), (23_587_712, 23_534_592));
    assert_eq!(counts(&MobileNetV2::new().build()), (3_538_984, 3_504_872));
    assert_eq!(counts(&MobileNetV2::new().include_top(false).build()), (2_257_984, 2_223_872));
    assert_eq!(counts(&LeNet::new().build()), (61_706, 61_706));
    let base = MobileNetV2::new().include_top(false).pooling(Pooling::Average).preprocess(true).build();
    assert_eq!(counts(&base).0, 2_257_984);
    // The multiplications of the papers, twice: 15.5, 3.9 and 0.3 billion.
    for (model, billions) in
        [(Vgg16::new().build(), 30.9), (ResNet50::new().build(), 7.8), (MobileNetV2::new().build(), 0.62)]
    {
        let flops = model.summary().unwrap().flops as f64 / 1e9;
        assert!((flops / billions - 1.0).abs() < 0.05, "{}: {flops} billion operations", model.name());
    }
}

#[test]
fn layers_are_those_of_keras() {
    let shape = |model: &Model, name: &str| {
        let summary = model.summary().unwrap();
        let row = summary.rows.into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no layer {name}"));
        (row.output, row.params)
    };
    let vgg = Vgg16::new().build();
    assert_eq!(shape(&vgg, "block3_conv2"), (vec![56, 56, 256], 590_080));
    assert_eq!(shape(&vgg, "fc1"), (vec![4096], 102_764_544));
    let resnet = ResNet50::new().build();
    assert_eq!(shape(&resnet, "conv1_conv"), (vec![112, 112, 64], 9_472));
    assert_eq!(shape(&resnet, "conv3_block1_0_conv"), (vec![28, 28, 512], 131_584));
    assert_eq!(shape(&resnet, "conv5_block3_out"), (vec![7, 7, 2048], 0));
    // Layers in Keras's order: by what still follows, the shortcut first.
    let names: Vec<String> = resnet.summary().unwrap().rows.into_iter().map(|row| row.name).collect();
    let block: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.starts_with("conv2_block1")).collect();
    let want =
        ["1_conv", "1_bn", "1_relu", "2_conv", "2_bn", "2_relu", "0_conv", "3_conv", "0_bn", "3_bn", "add", "out"];
    assert_eq!(block, want.map(|part| format!("conv2_block1_{part}")));
    let mobile = MobileNetV2::new().build();
    assert_eq!(shape(&mobile, "block_3_depthwise"), (vec![28, 28, 144], 1_296));
    assert_eq!(shape(&mobile, "block_13_pad"), (vec![15, 15, 576], 0));
    assert_eq!(shape(&mobile, "out_relu"), (vec![7, 7, 1280], 0));
    // Odd sizes.
    let odd = MobileNetV2::new().input([75, 75, 3]).include_top(false).build();
    assert_eq!(odd.summary().unwrap().rows.last().unwrap().output, [3, 3, 1280]);
}

#[test]
fn resnet50_makes_a_step_on_both_backends() {
    let x = random([2, 64, 64, 3], 1, -1.0, 1.0);
    let y = Tensor::new(&[3u32, 7], [2], &Device::cpu());
    let step = |device: &Device, scale: f32| {
        let mut model = ResNet50::new().input([64, 64, 3]).classes(10).build();
        model.build(device, 1).unwrap();
        model.compile(Sgd::new(0.01), SparseCategoricalCrossentropy::new(), []);
        let (x, y) = (x.to(device).unwrap().affine(scale, 0.0), y.to(device).unwrap());
        let before: Vec<f32> = model.predict(&x).unwrap().to_vec().unwrap();
        let loss = model.train_on_batch(&x, &y).unwrap().loss;
        let kernel: Vec<f32> = model.layer("conv1_conv").unwrap().weights()[0].tensor().to_vec().unwrap();
        (before, loss, kernel)
    };
    let (output, loss, kernel) = step(&Device::cpu(), 1.0);
    // Batch normalization of eight numbers a channel makes gradients that rounding is enough to move: how far, inputs tell
    // that are a millionth larger.
    let (_, moved_loss, moved_kernel) = step(&Device::cpu(), 1.0 + 1e-6);
    let (of_loss, of_kernel) = ((moved_loss - loss).abs(), nmse(&moved_kernel, &kernel));
    assert!((output.iter().sum::<f32>() - 2.0).abs() < 1e-5 && loss.is_finite());
    for device in devices() {
        let (got_output, got_loss, got_kernel) = step(&device, 1.0);
        assert!(nmse(&got_output, &output) < 1e-12, "{} on {device}", nmse(&got_output, &output));
        let (loss, kernel) = ((got_loss - loss).abs(), nmse(&got_kernel, &kernel));
        assert!(loss < 20.0 * of_loss && kernel < 20.0 * of_kernel, "{loss} and {kernel} on {device}");
    }
}

#[test]
fn networks_that_do_not_fit_say_where() {
    let error = |model: Model| model.summary().unwrap_err().to_string();
    let text = error(Vgg16::new().input([16, 16, 3]).build());
    assert!(text.contains("block5_pool"), "{text}");
    let text = error(ResNet50::new().input([64, 64, 1]).preprocess(true).build());
    assert!(text.contains("(preprocess): input has not the three channels"), "{text}");
    let mut shapes = LeNet::new().input(Shape::from([32, 32, 3])).classes(3).build();
    shapes.build(&Device::cpu(), 1).unwrap();
    assert_eq!(shapes.output_shape(), Some(Shape::from([3])));
}
