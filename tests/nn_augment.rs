//! Augmentation: what each layer does to pictures, the same on every device, recorded or not, and nothing outside training.

mod common;

use std::collections::BTreeSet;

use common::{devices, random};
use tilegrad::data::Digits;
use tilegrad::nn::layers::{
    Dense, Fill, Flatten, Flip, GaussianNoise, Interpolation, RandomBrightness, RandomContrast, RandomCrop, RandomFlip,
    RandomRotation, RandomTranslation, RandomZoom,
};
use tilegrad::nn::{
    Activation, Adam, Context, FitOptions, Layer, Model, Precision, Sequential, SparseCategoricalCrossentropy, Verbose,
};
use tilegrad::{Device, Rng, Shape, Tensor};

fn run(layer: &dyn Layer, x: &Tensor, training: bool, seed: u64) -> Tensor {
    let mut rng = Rng::new(seed);
    layer.forward(x, &mut Context { training, precision: Precision::F32, rng: &mut rng })
}

fn values(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

/// A picture whose numbers say where they are: `10 * row + column`.
fn picture(height: usize, width: usize, device: &Device) -> Tensor {
    let all: Vec<f32> = (0..height * width).map(|i| (10 * (i / width) + i % width) as f32).collect();
    Tensor::new(&all, [1, height, width, 1], device)
}

fn near(got: &Tensor, want: &[f32], what: &str) {
    let got = values(got);
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() < 5e-5),
        "{what}: {got:?}, expected {want:?}"
    );
}

#[test]
fn fixed_amounts_do_what_they_say() {
    for device in devices() {
        let x = picture(3, 3, &device);
        let done = |layer: &dyn Layer| run(layer, &x, true, 1);
        // A quarter of a turn, counter-clockwise.
        near(&done(&RandomRotation::new([0.25, 0.25])), &[2., 12., 22., 1., 11., 21., 0., 10., 20.], "a quarter turn");
        near(&done(&RandomRotation::new([0.5, 0.5])), &[22., 21., 20., 12., 11., 10., 2., 1., 0.], "half a turn");
        // One pixel down and to the right.
        let third = [1.0 / 3.0; 2];
        let moved = |fill| RandomTranslation::new(third, third).fill(fill);
        near(&done(&moved(Fill::Constant(7.0))), &[7., 7., 7., 7., 0., 1., 7., 10., 11.], "moved, constant");
        near(&done(&moved(Fill::Nearest)), &[0., 0., 1., 0., 0., 1., 10., 10., 11.], "moved, nearest");
        near(&done(&moved(Fill::Reflect)), &[0., 0., 1., 0., 0., 1., 10., 10., 11.], "moved, mirrored");
        near(&done(&moved(Fill::Wrap)), &[22., 20., 21., 2., 0., 1., 12., 10., 11.], "moved, again");
        // Twice as far away, and twice as near.
        let far = RandomZoom::new([1.0, 1.0]).fill(Fill::Constant(7.0));
        near(&done(&far), &[7., 7., 7., 7., 11., 7., 7., 7., 7.], "farther");
        near(&done(&RandomZoom::new([-0.5, -0.5])), &[5.5, 6., 6.5, 10.5, 11., 11.5, 15.5, 16., 16.5], "nearer");
        let wider = RandomZoom::new([0.0, 0.0]).width_factor([-0.5, -0.5]);
        near(&done(&wider), &[0.5, 1., 1.5, 10.5, 11., 11.5, 20.5, 21., 21.5], "nearer in width");
        // Values.
        let x = Tensor::new(&[0.2, 0.4, 0.6, 0.8], [1, 2, 2, 1], &device);
        near(&run(&RandomBrightness::new([0.3, 0.3]), &x, true, 1), &[0.5, 0.7, 0.9, 1.0], "brighter");
        near(&run(&RandomContrast::new([1.0, 1.0]), &x, true, 1), &[0.0, 0.3, 0.7, 1.0], "twice the contrast");
        near(&run(&RandomContrast::new([-1.0, -1.0]), &x, true, 1), &[0.5; 4], "no contrast");
    }
}

#[test]
fn pictures_of_keras() {
    let pixels: Vec<f32> = (0..20).map(|i| (7 * i % 13) as f32 / 13.0).collect();
    for device in devices() {
        let x = Tensor::new(&pixels, [1, 5, 4, 1], &device);
        let mut lines = 0;
        for line in include_str!("data/augment-keras.txt").lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let fill = match words[1] {
                "constant" => Fill::Constant(0.5),
                "nearest" => Fill::Nearest,
                "reflect" => Fill::Reflect,
                _ => Fill::Wrap,
            };
            let interpolation = if words[2] == "nearest" { Interpolation::Nearest } else { Interpolation::Bilinear };
            let layer: Box<dyn Layer> = match words[0] {
                "RandomRotation" => Box::new(RandomRotation::new([0.1, 0.1]).fill(fill).interpolation(interpolation)),
                "RandomZoom" => {
                    let zoom = RandomZoom::new([0.3, 0.3]).width_factor([-0.2, -0.2]);
                    Box::new(zoom.fill(fill).interpolation(interpolation))
                }
                _ => {
                    let shift = RandomTranslation::new([0.33, 0.33], [-0.3, -0.3]);
                    Box::new(shift.fill(fill).interpolation(interpolation))
                }
            };
            let want: Vec<f32> = words[3..].iter().map(|number| number.parse().unwrap()).collect();
            near(&run(&*layer, &x, true, 1), &want, &format!("{} on {device}", words[..3].join(" ")));
            lines += 1;
        }
        assert_eq!(lines, 24);
    }
}

#[test]
fn flips_are_exact_and_by_image() {
    for device in devices() {
        let x = random([64, 3, 4, 2], 5, -1.0, 1.0).to(&device).unwrap();
        let images = |t: &Tensor| values(t).chunks(24).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let (plain, across) = (images(&x), images(&x.flip(&[2])));
        let (down, both) = (images(&x.flip(&[1])), images(&x.flip(&[1, 2])));
        for (mode, kinds) in [(Flip::Horizontal, 2), (Flip::Vertical, 2), (Flip::HorizontalAndVertical, 4)] {
            let got = images(&run(&RandomFlip::new(mode), &x, true, 3));
            let kind = |i: usize| {
                let all = [&plain, &across, &down, &both];
                all.iter().position(|which| which[i] == got[i]).expect("one of the four")
            };
            let counts = (0..64).map(kind).fold([0; 4], |mut counts, kind| {
                counts[kind] += 1;
                counts
            });
            assert_eq!(counts.iter().filter(|&&n| n > 0).count(), kinds, "{mode:?} on {device}: {counts:?}");
            assert!(counts.iter().all(|&n| n == 0 || n > 64 / kinds / 3), "{mode:?}: {counts:?}");
        }
    }
}

#[test]
fn noise_is_normal() {
    for device in devices() {
        let noise = run(&GaussianNoise::new(0.5), &Tensor::full(3.0, [100, 1000], &device), true, 1).affine(1.0, -3.0);
        let moment = |p: f32| noise.abs().powf(p).mean().item().unwrap();
        assert!(noise.mean().item().unwrap().abs() < 0.01, "on {device}");
        // Absolute moments of a normal with deviation 1/2: sqrt(2/pi) / 2, 1/4, 3/16.
        assert!((moment(1.0) - 0.398_94).abs() < 5e-3, "{} on {device}", moment(1.0));
        assert!((moment(2.0) - 0.25).abs() < 5e-3, "{} on {device}", moment(2.0));
        assert!((moment(4.0) - 0.1875).abs() < 0.01, "{} on {device}", moment(4.0));
    }
}

#[test]
fn crops_come_from_everywhere() {
    for device in devices() {
        let x = picture(6, 5, &device).broadcast_to([256, 6, 5, 1]).contiguous();
        let y = values(&run(&RandomCrop::new(4, 4), &x, true, 1));
        let corners: BTreeSet<i32> = y.chunks(16).map(|crop| crop[0] as i32).collect();
        assert_eq!(corners, BTreeSet::from([0, 1, 10, 11, 20, 21]), "on {device}");
        assert!(y.chunks(16).all(|crop| (0..16).all(|i| crop[i] == crop[0] + (10 * (i / 4) + i % 4) as f32)));
        // Otherwise the middle.
        let y = values(&run(&RandomCrop::new(4, 3), &x, false, 1));
        assert_eq!(y[..3], [11.0, 12.0, 13.0]);
    }
}

fn all() -> Vec<Box<dyn Layer>> {
    vec![
        Box::new(RandomFlip::new(Flip::HorizontalAndVertical)),
        Box::new(RandomRotation::new(0.1)),
        Box::new(RandomZoom::new(0.2).width_factor(0.3)),
        Box::new(RandomTranslation::new(0.2, 0.1).fill(Fill::Wrap)),
        Box::new(RandomContrast::new(0.5)),
        Box::new(RandomBrightness::new(0.3)),
        Box::new(RandomCrop::new(6, 7)),
        Box::new(GaussianNoise::new(0.5)),
    ]
}

#[test]
fn devices_draw_the_same_and_images_differ() {
    let one = random([1, 8, 8, 3], 1, 0.2, 0.8);
    let x = one.broadcast_to([16, 8, 8, 3]).contiguous();
    for layer in all() {
        let want = values(&run(&*layer, &x, true, 9));
        let different: BTreeSet<Vec<u32>> =
            want.chunks(want.len() / 16).map(|image| image.iter().map(|v| v.to_bits()).collect()).collect();
        let least = if layer.kind() == "RandomFlip" { 4 } else { 6 };
        assert!(different.len() >= least, "{}: {} different images", layer.kind(), different.len());
        assert_ne!(values(&run(&*layer, &x, true, 10)), want, "{}: another seed", layer.kind());
        for device in devices() {
            let got = values(&run(&*layer, &x.to(&device).unwrap(), true, 9));
            let far = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "{} on {device}: {far}", layer.kind());
            if layer.kind() != "RandomCrop" {
                assert_eq!(values(&run(&*layer, &x.to(&device).unwrap(), false, 9)), values(&x), "{}", layer.kind());
            }
        }
    }
}

#[test]
fn recorded_steps_draw_as_eager_ones() {
    let data = Digits::load().train;
    for device in devices() {
        let fit = |eagerly: bool| {
            let mut model: Model = Sequential::new([8, 8, 1])
                .add(RandomFlip::new(Flip::Horizontal))
                .add(RandomRotation::new(0.05))
                .add(RandomZoom::new(0.1))
                .add(RandomTranslation::new(0.1, 0.1))
                .add(RandomContrast::new(0.2))
                .add(RandomBrightness::new(0.1))
                .add(RandomCrop::new(7, 7))
                .add(GaussianNoise::new(0.05))
                .add(Flatten::new())
                .add(Dense::new(10).activation(Activation::Softmax))
                .into();
            model.build(&device, 1).unwrap();
            model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), []);
            let options = FitOptions::new().epochs(2).batch_size(128).verbose(Verbose::Off).run_eagerly(eagerly);
            let losses = model.fit(&data, options).unwrap().loss();
            (losses, model.weights().map(|w| values(&w.tensor())).collect::<Vec<_>>())
        };
        assert_eq!(fit(false), fit(true), "on {device}");
    }
}

#[test]
fn steps_with_augmentation_are_recorded() {
    for device in devices() {
        let clock = tilegrad::Clock::new(&device);
        let x = random([4, 8, 8, 1], 1, 0.0, 1.0).to(&device).unwrap();
        for layer in all() {
            let mut rng = Rng::on_clock(&clock, tilegrad::RandomKey { seed: 1, counter: 0 });
            let run = || {
                let mut context = Context { training: true, precision: Precision::F32, rng: &mut rng };
                layer.forward(&x, &mut context)
            };
            let (_, recording) = device.record(run);
            assert!(recording.is_ok() || device == Device::cpu(), "{} on {device}", layer.kind());
        }
    }
}

#[test]
fn amounts_that_make_no_sense() {
    let input = Shape::from([1, 8, 8, 3]);
    for (layer, what) in [
        (Box::new(RandomRotation::new(f32::NAN)) as Box<dyn Layer>, "factor: expected a range"),
        (Box::new(RandomZoom::new([0.5, 0.1])), "height factor: expected a range from -1 up, got 0.5 to 0.1"),
        (Box::new(RandomZoom::new(-1.5)), "height factor"),
        (Box::new(RandomTranslation::new(0.1, [-2.0, 0.0])), "width factor"),
        (Box::new(RandomContrast::new(1.5)), "factor: expected a range from -1 up, got -1.5 to 1.5"),
        (Box::new(RandomBrightness::new(0.1).value_range(1.0, 0.0)), "value range"),
        (Box::new(RandomCrop::new(9, 8)), "no part of 9 by 8 pixels can be cut out"),
        (Box::new(RandomCrop::new(0, 8)), "no part of 0 by 8"),
    ] {
        let text = layer.output_shape(&input).unwrap_err().to_string();
        assert!(text.contains(what), "{text}, expected {what}");
    }
    assert!(RandomFlip::new(Flip::Vertical).output_shape(&Shape::from([1, 8])).is_err());
}
