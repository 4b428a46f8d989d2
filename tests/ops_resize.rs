//! Resizing: values found by hand and by other systems, gradients of every mode, NaN, empty tensors, error texts.

mod common;

use common::{check, devices, nmse, panic_message, random};
use tilegrad::{AspectRatio, Coordinates, Device, Interpolation, Nearest, ResizeOptions, ResizeTo, Tensor};

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

/// A row of numbers resized along its only axis, on every device.
fn row(x: &[f32], to: ResizeTo<'_>, options: &ResizeOptions) -> Vec<f32> {
    let mut all: Vec<Vec<f32>> = Vec::new();
    for device in devices() {
        all.push(values(&Tensor::new(x, [x.len()], &device).resize(&[0], to, options)));
    }
    assert!(all.iter().all(|y| nmse(y, &all[0]) < 1e-12), "devices differ: {all:?}");
    all.swap_remove(0)
}

fn nearest(nearest: Nearest, coordinates: Coordinates) -> ResizeOptions {
    ResizeOptions { interpolation: Interpolation::Nearest(nearest), coordinates, ..Default::default() }
}

#[test]
fn nearest_rounds_as_it_is_told() {
    use Nearest::{Ceil, Floor, RoundPreferCeil, RoundPreferFloor};
    let x = [0.0, 1.0, 2.0, 3.0];
    // Eight of four lie at -0.25, 0.25, 0.75, ..; two of four at 0.5 and 2.5.
    let at = |rounding, size| row(&x, ResizeTo::Sizes(&[size]), &nearest(rounding, Coordinates::HalfPixel));
    assert_eq!(at(RoundPreferFloor, 8), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(at(RoundPreferCeil, 8), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(at(Floor, 8), [0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(at(Ceil, 8), [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    assert_eq!(at(RoundPreferFloor, 2), [0.0, 2.0]);
    assert_eq!(at(RoundPreferCeil, 2), [1.0, 3.0]);
    assert_eq!(at(Floor, 2), [0.0, 2.0]);
    assert_eq!(at(Ceil, 2), [1.0, 3.0]);
    let unshifted = nearest(Floor, Coordinates::HalfPixelUnshifted);
    assert_eq!(row(&x, ResizeTo::Sizes(&[2]), &unshifted), [1.0, 3.0]);
    // PyTorch's `nearest`.
    let asymmetric = nearest(Floor, Coordinates::Asymmetric);
    assert_eq!(row(&x, ResizeTo::Sizes(&[6]), &asymmetric), [0.0, 0.0, 1.0, 2.0, 2.0, 3.0]);
}

#[test]
fn coordinates_are_onnxs() {
    let linear = |coordinates| ResizeOptions { coordinates, ..Default::default() };
    let x = [0.0, 4.0, 8.0, 12.0];
    let to = |size: usize, coordinates| row(&x, ResizeTo::Sizes(&[size]), &linear(coordinates));
    assert_eq!(to(2, Coordinates::HalfPixel), [2.0, 10.0]);
    assert_eq!(to(8, Coordinates::HalfPixel), [0.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 12.0]);
    assert_eq!(to(8, Coordinates::Asymmetric), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 12.0]);
    assert_eq!(to(2, Coordinates::AlignCorners), [0.0, 12.0]);
    assert_eq!(to(1, Coordinates::AlignCorners), [0.0]);
    assert_eq!(to(1, Coordinates::HalfPixel), [6.0]);
    assert_eq!(to(1, Coordinates::PytorchHalfPixel), [0.0]);
    assert_eq!(to(2, Coordinates::PytorchHalfPixel), [2.0, 10.0]);
    let crop = |start, end| Coordinates::CropAndResize { roi: vec![[start, end]], outside: -7.0 };
    assert_eq!(to(3, crop(0.0, 1.0)), [0.0, 6.0, 12.0]);
    assert_eq!(to(3, crop(1.0, 0.0)), [12.0, 6.0, 0.0]);
    assert_eq!(to(1, crop(0.0, 1.0)), [6.0]);
    assert_eq!(to(5, crop(-0.5, 1.5)), [-7.0, 0.0, 6.0, 12.0, -7.0]);
    assert_eq!(to(2, crop(2.0, 3.0)), [-7.0, -7.0]);
    // 2.5 times 4 is 10, and 0.6 times 4 is 2.4, of which two are left: about the middle, or from the front.
    let by = |scale: f32, coordinates| row(&x, ResizeTo::Scales(&[scale]), &linear(coordinates));
    assert_eq!(by(2.5, Coordinates::Asymmetric).len(), 10);
    let about = |got: &[f32], want: &[f32]| assert!(nmse(got, want) < 1e-10, "{got:?} is not {want:?}");
    about(&by(0.6, Coordinates::HalfPixel), &[4.0 / 3.0, 8.0]);
    about(&by(0.6, Coordinates::HalfPixelSymmetric), &[8.0 / 3.0, 28.0 / 3.0]);
    about(&by(0.6, Coordinates::AlignCorners), &[0.0, 60.0 / 7.0]);
    assert_eq!(by(0.7, Coordinates::HalfPixel).len(), 2);
    assert_eq!(row(&[1.0; 10], ResizeTo::Scales(&[0.7]), &Default::default()).len(), 7);
}

// PyTorch's `interpolate(.., mode="bicubic")` and Pillow's bicubic reduction, by their formulas.
#[test]
fn cubic_kernels() {
    let cubic = |a| ResizeOptions { interpolation: Interpolation::Cubic { a }, ..Default::default() };
    let x = [1.0, 2.0, 4.0, 8.0];
    let y = row(&x, ResizeTo::Sizes(&[8]), &cubic(-0.75));
    // Output 3 lies at 1.25: distances 1.25, 0.25, 0.75, 1.75 of elements 0 to 3.
    let w = [-0.10546875, 0.87890625, 0.26171875, -0.03515625];
    let want: f32 = w.iter().zip(x).map(|(w, x)| w * x).sum();
    assert!((y[3] - want).abs() < 1e-5, "{y:?}");
    // The weights of what lies outside go to the end, or to the others.
    let outside = ResizeOptions { exclude_outside: true, ..cubic(-0.5) };
    let y = row(&[1.0, 1.0, 1.0], ResizeTo::Sizes(&[7]), &outside);
    assert!(y.iter().all(|v| (v - 1.0).abs() < 1e-6), "{y:?}");
    let y = row(&[3.0, 3.0, 3.0, 3.0, 3.0], ResizeTo::Sizes(&[2]), &ResizeOptions { antialias: true, ..cubic(-0.5) });
    assert!(y.iter().all(|v| (v - 3.0).abs() < 1e-6), "{y:?}");
}

#[test]
fn antialiasing_lets_every_element_count() {
    let smooth = ResizeOptions { antialias: true, exclude_outside: true, ..Default::default() };
    // Half the length: a triangle of four elements with weights 1, 3, 3, 1; the ends lack one.
    let y = row(&[0.0, 0.0, 7.0, 0.0, 0.0, 0.0], ResizeTo::Sizes(&[3]), &smooth);
    let want = [1.0, 21.0 / 8.0, 0.0];
    assert!(nmse(&y, &want) < 1e-10, "{y:?}");
    // A longer axis is as it is without.
    let plain = row(&[1.0, 5.0, 2.0], ResizeTo::Sizes(&[5]), &ResizeOptions { antialias: true, ..Default::default() });
    assert_eq!(plain, row(&[1.0, 5.0, 2.0], ResizeTo::Sizes(&[5]), &Default::default()));
}

#[test]
fn aspect_ratios_are_kept() {
    let x = Tensor::ones([2, 4, 3], &Device::cpu());
    let size = |aspect_ratio, sizes: &[usize]| {
        let y = x.resize(&[1, -1], ResizeTo::Sizes(sizes), &ResizeOptions { aspect_ratio, ..Default::default() });
        assert_eq!(y.shape()[0], 2);
        [y.shape()[1], y.shape()[2]]
    };
    assert_eq!(size(AspectRatio::Stretch, &[7, 8]), [7, 8]);
    assert_eq!(size(AspectRatio::NotLarger, &[7, 8]), [7, 5]);
    assert_eq!(size(AspectRatio::NotSmaller, &[7, 8]), [11, 8]);
    assert_eq!(size(AspectRatio::NotSmaller, &[1, 1]), [1, 1]);
}

#[test]
fn gradients_of_every_mode() {
    let x = [random([2, 5, 6, 4], 1, -1.0, 1.0)];
    let odd = [random([1, 5, 7, 3], 2, -1.0, 1.0)];
    let of = |interpolation| ResizeOptions { interpolation, ..Default::default() };
    let cases = [
        of(Interpolation::Nearest(Nearest::Floor)),
        of(Interpolation::Linear),
        of(Interpolation::Cubic { a: -0.75 }),
        ResizeOptions { antialias: true, ..of(Interpolation::Linear) },
        ResizeOptions { antialias: true, exclude_outside: true, ..of(Interpolation::Cubic { a: -0.5 }) },
        ResizeOptions { coordinates: Coordinates::AlignCorners, ..of(Interpolation::Linear) },
        ResizeOptions {
            coordinates: Coordinates::CropAndResize { roi: vec![[-0.2, 0.9], [0.3, 1.4]], outside: 2.0 },
            ..of(Interpolation::Linear)
        },
    ];
    for options in &cases {
        for size in [[10, 12], [3, 4], [1, 9], [7, 1]] {
            for x in [&x, &odd] {
                let name = format!("{options:?} to {size:?}");
                check(&name, x, |x| x[0].resize(&[1, 2], ResizeTo::Sizes(&size), options));
            }
        }
    }
    check("another order of axes", &x, |x| x[0].resize(&[-1, 0], ResizeTo::Scales(&[1.5, 2.0]), &cases[1]));
    check("short forms", &x, |x| x[0].resize_bilinear([7, 9]).add(&x[0].resize_nearest([7, 9])));
    check("upsampling", &odd, |x| x[0].upsample_nearest([2, 3]));
}

#[test]
fn second_derivatives() {
    for options in [ResizeOptions::default(), nearest(Nearest::Ceil, Coordinates::Asymmetric)] {
        check("gradient of gradient", &[random([1, 3, 4, 2], 1, -1.0, 1.0)], |x| {
            let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
            let y = x.resize(&[1, 2], ResizeTo::Sizes(&[5, 2]), &options);
            y.mul(&y).sum().grad(&[&x])[0].clone().expect("the loss depends on it")
        });
    }
}

#[test]
fn nearest_copies_bits_and_nan_stays_where_it_is_used() {
    let bits = [0x7fc0_1234u32, 0x8000_0000, 0x7f80_0000, 0x0000_0001, 0xff80_0000];
    let x: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
    for device in devices() {
        for channels in [1, 4] {
            let image = Tensor::new(&x, [1, 1, 5, 1], &device).broadcast_to([1, 1, 5, channels]);
            let y = values(&image.resize_nearest([2, 10]));
            for (i, v) in y.iter().enumerate() {
                assert_eq!(v.to_bits(), bits[i / channels % 10 / 2], "element {i} on {device}");
            }
        }
        let whole = Tensor::new(&[1i32, -2, 3], [3], &device);
        let twice = whole.resize(&[0], ResizeTo::Sizes(&[6]), &nearest(Nearest::Floor, Coordinates::Asymmetric));
        assert_eq!(twice.to_vec::<i32>().unwrap(), [1, 1, -2, -2, 3, 3]);
        let y = values(&Tensor::new(&[0.0, f32::NAN, 2.0, f32::INFINITY, 4.0, 5.0], [6], &device).resize(
            &[0],
            ResizeTo::Sizes(&[11]),
            &ResizeOptions { coordinates: Coordinates::AlignCorners, ..Default::default() },
        ));
        let special = |v: &f32| v.is_nan() || v.is_infinite();
        let places: Vec<usize> = (0..11).filter(|&i| special(&y[i])).collect();
        assert_eq!(places, [1, 2, 3, 5, 6, 7], "{y:?} on {device}");
        assert_eq!((y[0], y[4], y[8], y[9]), (0.0, 2.0, 4.0, 4.5));
    }
}

#[test]
fn nothing_to_resize() {
    for device in devices() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, &device).requires_grad();
        let x = zeros(&[0, 4, 4, 2]);
        assert_eq!(x.resize_bilinear([8, 2]).shape()[..], [0, 8, 2, 2]);
        assert_eq!(zeros(&[2, 0, 4, 1]).resize_nearest([0, 8]).shape()[..], [2, 0, 8, 1]);
        let x = zeros(&[1, 3, 3, 2]);
        let y = x.resize_bilinear([0, 6]);
        assert_eq!(y.shape()[..], [1, 0, 6, 2]);
        assert_eq!(y.backward().get(&x).map(values), Some(vec![0.0; 18]), "{device}");
        let x = Tensor::new(&[1.0, 2.0], [2], &device);
        assert_eq!(values(&x.resize(&[], ResizeTo::Sizes(&[]), &Default::default())), [1.0, 2.0]);
        assert_eq!(values(&x.resize(&[0], ResizeTo::Sizes(&[2]), &Default::default())), [1.0, 2.0]);
        let number = Tensor::scalar(3.0, &device);
        assert_eq!(values(&number.resize(&[], ResizeTo::Scales(&[]), &Default::default())), [3.0]);
    }
}

#[test]
fn long_axes() {
    let x = [random([5000], 1, -1.0, 1.0)];
    check("a long axis", &x, |x| x[0].resize(&[0], ResizeTo::Sizes(&[7001]), &Default::default()));
    let smooth = ResizeOptions { antialias: true, ..Default::default() };
    check("to one element", &x, |x| x[0].resize(&[0], ResizeTo::Sizes(&[1]), &smooth));
}

#[test]
fn mistakes_say_what_clashes() {
    let x = Tensor::zeros([1, 4, 5, 2], &Device::cpu());
    let options = ResizeOptions::default();
    let message =
        |axes: &[isize], to: ResizeTo<'_>, options: &ResizeOptions| panic_message(|| x.resize(axes, to, options));
    assert_eq!(message(&[1, 2], ResizeTo::Sizes(&[3]), &options), "resize: 1 sizes for 2 axes\n  x: [1, 4, 5, 2]");
    assert_eq!(
        message(&[1], ResizeTo::Scales(&[3.0, 1.0]), &options),
        "resize: 2 scales for 1 axes\n  x: [1, 4, 5, 2]"
    );
    assert_eq!(
        message(&[4], ResizeTo::Sizes(&[3]), &options),
        "resize: axis 4 is out of range for rank 4\n  x: [1, 4, 5, 2]"
    );
    assert_eq!(
        message(&[1, -3], ResizeTo::Sizes(&[3, 3]), &options),
        "resize: axis 1 is named twice\n  x: [1, 4, 5, 2]"
    );
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(
            message(&[1], ResizeTo::Scales(&[scale]), &options),
            format!("resize: the scale of axis 1 is {scale}, expected a positive number\n  x: [1, 4, 5, 2]")
        );
    }
    assert_eq!(
        message(&[1], ResizeTo::Sizes(&[1 << 30]), &options),
        "resize: a length of 1073741824 for axis 1 is past any image\n  x: [1, 4, 5, 2]"
    );
    assert_eq!(
        message(&[0, 1, 2], ResizeTo::Sizes(&[1 << 24; 3]), &options),
        "resize: [16777216, 16777216, 16777216, 2] has more elements than memory could hold \
         (2305843009213693951)\n  x: [1, 4, 5, 2]"
    );
    let crop = ResizeOptions {
        coordinates: Coordinates::CropAndResize { roi: vec![[0.0, 1.0]], outside: 0.0 },
        ..options.clone()
    };
    assert_eq!(message(&[1, 2], ResizeTo::Sizes(&[3, 3]), &crop), "resize: 1 parts for 2 axes\n  x: [1, 4, 5, 2]");
    assert_eq!(
        panic_message(|| Tensor::zeros([1, 0, 5, 2], &Device::cpu()).resize_nearest([3, 3])),
        "resize_nearest: axis 1 has no elements to make 3 from\n  x: [1, 0, 5, 2]"
    );
    assert_eq!(
        panic_message(|| Tensor::zeros([4, 5, 2], &Device::cpu()).resize_bilinear([3, 3])),
        "resize_bilinear: input has 3 axes, expected 4: (N, H, W, C)\n  x: [4, 5, 2]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    let bytes = Tensor::new(&[1u8, 2], [2], &Device::cpu());
    assert_eq!(
        panic_message(|| bytes.resize(&[0], ResizeTo::Sizes(&[4]), &nearest(Nearest::Floor, Coordinates::Asymmetric))),
        "resize: the elements are u8, expected f32, i32 or u32\n  x: [2]\n  help: use `cast`"
    );
    let whole = Tensor::new(&[1i32, 2], [2], &Device::cpu());
    assert_eq!(
        panic_message(|| whole.resize(&[0], ResizeTo::Sizes(&[4]), &options)),
        "resize: the elements are i32, expected f32\n  x: [2]\n  help: use `cast`"
    );
}

#[test]
fn places_that_fall_on_an_element_are_not_rounded_past_it() {
    let options = ResizeOptions {
        interpolation: Interpolation::Nearest(Nearest::Floor),
        coordinates: Coordinates::HalfPixelSymmetric,
        ..Default::default()
    };
    for device in devices() {
        // 5 elements at 0.5 are 2 of 2.5: places 2.5 * (1 - 2 / 2.5) + (x + 0.5) * 2 - 0.5 = 1 and 3.
        let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0], [5], &device);
        let y = x.resize(&[0], ResizeTo::Scales(&[0.5]), &options);
        assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 3.0]);
    }
}
