//! Every picture, made from a real training: its size, that something is drawn in each panel, and colours at known places.
//!
//! `TILEGRAD_PICTURES=folder` keeps them there, to be looked at.

use std::collections::BTreeSet;

use tilegrad::data::Digits;
use tilegrad::nn::layers::{Add, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, MaxPool2d};
use tilegrad::nn::{
    Activation, Adam, FitOptions, History, Input, Layer, Metric, Model, Sequential, SparseCategoricalCrossentropy,
    Verbose,
};
use tilegrad::{Device, Error, Padding, Tensor};
use tilegrad_plot::{
    ColourMap, Extraction, Picture, Report, confusion_matrix, feature_maps, grad_cam, kernels, learning_curves,
    plot_model, predictions, show_kernel, weight_histogram,
};

/// A trained classifier of digits, its kernels before training, and how training went.
fn trained() -> (Model, Tensor, History) {
    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(16, 3).padding(Padding::Same).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.2))
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(&Device::cpu(), 1).unwrap();
    let kernel = |model: &Model| model.layer("conv2d").unwrap().weights()[0].tensor().to_vec::<f32>().unwrap();
    let before = Tensor::new(&kernel(&model), [3, 3, 1, 16], &Device::cpu());
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy, Metric::ConfusionMatrix]);
    let options = FitOptions::new().epochs(5).validation_split(0.2).verbose(Verbose::Off);
    let history = model.fit(&Digits::load().train, options).unwrap();
    (model.into(), before, history)
}

/// Keeps a picture if that is asked for.
fn keep(name: &str, picture: &Picture) {
    if let Ok(folder) = std::env::var("TILEGRAD_PICTURES") {
        picture.save(format!("{folder}/{name}.png")).unwrap();
    }
}

/// Different colours in a part of a picture.
fn colours(picture: &Picture, [left, top, width, height]: [u32; 4]) -> usize {
    let all = (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)));
    all.map(|(x, y)| picture.pixel(x, y)).collect::<BTreeSet<_>>().len()
}

/// The part of a picture that is not white.
fn inked(picture: &Picture) -> f64 {
    let [width, height] = picture.size();
    let all = (0..width).flat_map(|x| (0..height).map(move |y| (x, y)));
    all.filter(|&(x, y)| picture.pixel(x, y) != [255; 3]).count() as f64 / f64::from(width * height)
}

#[test]
fn a_kernel_has_its_numbers_in_coloured_cells() {
    let edge = Tensor::new(&[-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0], [3, 3], &Device::cpu());
    let picture = show_kernel(&edge).unwrap();
    keep("kernel", &picture);
    assert_eq!(picture.size(), [332, 260]);
    // The least value is dark, the largest bright; each cell has a number on it.
    assert_eq!(picture.pixel(36, 50), ColourMap::Viridis.at(0.0));
    assert_eq!(picture.pixel(30 + 64 + 6, 44 + 64 + 6), ColourMap::Viridis.at(1.0));
    for cell in 0..9 {
        let (x, y) = (30 + 64 * (cell % 3), 44 + 64 * (cell / 3));
        assert!(colours(&picture, [x + 8, y + 8, 48, 48]) > 4, "cell {cell} has no number");
    }
    assert!(matches!(show_kernel(&edge.reshape([9])).unwrap_err(), Error::Invalid { .. }));
}

#[test]
fn an_extraction_has_four_panels() {
    let circle: Vec<f32> = (0..64 * 64)
        .map(|i| {
            let (y, x) = ((i / 64) as f32 - 31.5, (i % 64) as f32 - 31.5);
            f32::from(u8::from(((x * x + y * y).sqrt() - 24.0).abs() < 0.8))
        })
        .collect();
    let image = Tensor::new(&circle, [64, 64], &Device::cpu());
    let kernel = Tensor::new(&[-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0], [3, 3], &Device::cpu());
    let ink = |stride: usize| {
        let picture = Extraction::new().conv_stride(stride).show(&image, &kernel).unwrap();
        keep(&format!("extraction_stride_{stride}"), &picture);
        assert_eq!(picture.size(), [1140, 370]);
        for panel in 0..4 {
            assert!(colours(&picture, [20 + 280 * panel, 80, 260, 260]) > 1, "panel {panel} is empty");
        }
        let bright = (0..260).flat_map(|x| (0..260).map(move |y| (20 + 280 * 3 + x, 80 + y)));
        bright.filter(|&(x, y)| picture.pixel(x, y)[0] > 200).count()
    };
    assert!(ink(1) > 0 && ink(3) > 0);
    let text = Extraction::new().show(&image.slice(&[0..2, 0..2]), &kernel).unwrap_err().to_string();
    assert!(text.contains("kernel: expected one that fits the image"), "{text}");
}

#[test]
fn pictures_of_a_trained_model() {
    let (mut model, before, history) = trained();
    let data = Digits::load();

    let picture = learning_curves(&history).unwrap();
    keep("curves", &picture);
    assert_eq!(picture.size(), [1040, 360]);
    for panel in 0..2 {
        let found = colours(&picture, [520 * panel + 80, 60, 400, 240]);
        assert!(found > 20, "panel {panel} has {found} colours");
    }
    assert!(learning_curves(&History::default()).unwrap_err().to_string().contains("at least one epoch"));

    let kernel = model.layer("conv2d").unwrap().weights()[0].tensor();
    let picture = kernels(&kernel, 8).unwrap();
    keep("kernels", &picture);
    assert_eq!(picture.size()[1], 44 + 2 * 82 + 8);
    for i in 0..16 {
        let (x, y) = (20 + 68 * (i % 8), 44 + 82 * (i / 8));
        assert!(colours(&picture, [x, y, 60, 60]) > 3, "kernel {i} is empty");
    }
    assert!(kernels(&kernel, 0).is_err() && kernels(&kernel.reshape([9, 16]), 4).is_err());

    let picture = weight_histogram(&[("untrained", &before), ("trained", &kernel.detach())]).unwrap();
    keep("histogram", &picture);
    assert!(picture.size() == [640, 420] && colours(&picture, [70, 60, 540, 300]) > 20);
    assert!(weight_histogram(&[]).is_err());

    let image = data.test.take(1);
    let pixels: Vec<f32> = image.images().iter().map(|&b| f32::from(b) / image.scale()).collect();
    let x = Tensor::new(&pixels, [1, 8, 8, 1], &Device::cpu());
    let features = Model::new(model.input(), model.layer("conv2d").unwrap().output());
    let picture = feature_maps(&features.predict(&x).unwrap(), 8).unwrap();
    keep("feature_maps", &picture);
    let alive = (0..16).filter(|i| colours(&picture, [20 + 64 * (i % 8), 44 + 78 * (i / 8), 56, 56]) > 3).count();
    assert!(alive > 8, "{alive} of 16 feature maps show something");

    let matrix = model.evaluate(&data.test).unwrap().confusion.unwrap();
    let picture = confusion_matrix(&matrix, data.test.classes()).unwrap();
    keep("confusion", &picture);
    // A class that is nearly always recognised is dark, and what it is not taken for white.
    let cell = |truth: u32, predicted: u32| picture.pixel(68 + 58 * predicted + 3, 96 + 58 * truth + 3);
    assert!(cell(0, 0)[0] < 60 && cell(0, 1)[0] > 200, "{:?} {:?}", cell(0, 0), cell(0, 1));
    assert!(confusion_matrix(&matrix, &[]).is_err());

    let probabilities = model.predict(&data.test).unwrap();
    let picture = predictions(&data.test, &probabilities, 4, 6).unwrap();
    keep("predictions", &picture);
    assert_eq!(picture.size(), [20 + 6 * 128, 44 + 4 * 156]);
    for i in 0..24 {
        assert!(colours(&picture, [20 + 128 * (i % 6), 64 + 156 * (i / 6), 104, 104]) > 5, "image {i} is empty");
    }
    assert!(predictions(&data.test, &probabilities.slice_axis(0, 0..3), 2, 2).is_err());

    let cam = grad_cam(&model, "conv2d", &x, None).unwrap();
    keep("grad_cam", &cam.picture);
    assert_eq!((cam.class, cam.heat.shape()[..].to_vec()), (data.test.label(0) as usize, vec![8, 8]));
    let heat = cam.heat.to_vec::<f32>().unwrap();
    assert!(heat.contains(&1.0) && heat.iter().all(|h| (0.0..=1.0).contains(h)));
    assert!(inked(&cam.picture) > 0.5);
    assert!(grad_cam(&model, "none", &x, None).unwrap_err().to_string().contains("one of conv2d"));
    assert!(grad_cam(&model, "conv2d", &x, Some(10)).unwrap_err().to_string().contains("below 10"));

    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let report = Report::new(&model, &history).unwrap().title("Digits & more").fact("<note>", "of ours");
    report
        .evaluation("test", &model.evaluate(&data.test).unwrap())
        .picture("Grad-CAM", cam.picture)
        .save(&page)
        .unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<h1>Digits &amp; more</h1>") && html.contains("&lt;note&gt;"));
    assert_eq!(html.matches("data:image/png;base64,").count(), 3);
    assert!(html.contains("conv2d (Conv2D)") && !html.contains("http"), "nothing is fetched from elsewhere");
    let nowhere = folder.path().join("none/report.html");
    assert!(Report::new(&model, &history).unwrap().save(nowhere).unwrap_err().to_string().contains("none/report.html"));
}

#[test]
fn a_graph_has_a_box_for_each_layer() {
    let (model, _, _) = trained();
    let picture = plot_model(&model).unwrap();
    keep("model_chain", &picture);
    assert_eq!(picture.size(), [400, 60 + 5 * 90]);
    let inputs = Input::new([8, 8, 3]);
    let a = Conv2d::new(4, 3).padding(Padding::Same).call(&inputs);
    let b = Conv2d::new(4, 1).call(&inputs);
    let x = Add::new().call([&a, &b]);
    let outputs = Dense::new(2).call(GlobalAvgPool2d::new().call(&x));
    let picture = plot_model(&Model::new(&inputs, &outputs)).unwrap();
    keep("model_branches", &picture);
    // Two boxes side by side, five levels.
    assert_eq!(picture.size(), [40 + 2 * 390 - 30, 60 + 5 * 90]);
    assert_eq!(picture.pixel(30, 160), [219, 234, 250], "a convolution on the left");
    assert_eq!(picture.pixel(420, 160), [219, 234, 250], "and one on the right");
    let wrong = Model::new(&inputs, Dense::new(2).call(&inputs));
    assert!(plot_model(&wrong).unwrap_err().to_string().contains("layer 0 (dense)"));
}
