//! Convolutions over lines and volumes, depthwise convolutions, and what convolutions do with nothing and with infinity.

mod common;
#[path = "common/conv_special.rs"]
mod conv_special;

use common::{check, devices, nmse, panic_message, random};
use tilegrad::{
    Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvAlgorithm, ConvOptions, Device, Padding, Tensor, Unary,
};

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

/// The definition: every tap of every window, with the padding given.
fn by_definition(x: &Tensor, w: &Tensor, options: &Conv3dOptions, before: [usize; 3], out: [usize; 3]) -> Vec<f32> {
    let (x, xs) = (values(x), *x.shape());
    let (w, ws) = (values(w), *w.shape());
    let (c, o, groups) = (xs[4], ws[4], options.groups);
    let mut y = Vec::new();
    for at in 0..xs[0] * out.iter().product::<usize>() * o {
        let (place, channel) = (at / o, at % o);
        let (n, place) = (place / out.iter().product::<usize>(), place % out.iter().product::<usize>());
        let place = [place / (out[1] * out[2]), place / out[2] % out[1], place % out[2]];
        let group = channel / (o / groups);
        let mut sum = 0.0f64;
        for tap in 0..ws[0] * ws[1] * ws[2] {
            let taps = [tap / (ws[1] * ws[2]), tap / ws[2] % ws[1], tap % ws[2]];
            let from: Vec<Option<usize>> = (0..3)
                .map(|a| (place[a] * options.stride[a] + taps[a] * options.dilation[a]).checked_sub(before[a]))
                .collect();
            let (Some(d), Some(h), Some(v)) = (from[0], from[1], from[2]) else { continue };
            if d >= xs[1] || h >= xs[2] || v >= xs[3] {
                continue;
            }
            for k in 0..c / groups {
                let xi = (((n * xs[1] + d) * xs[2] + h) * xs[3] + v) * c + group * (c / groups) + k;
                sum += f64::from(x[xi]) * f64::from(w[(tap * (c / groups) + k) * o + channel]);
            }
        }
        y.push(sum as f32);
    }
    y
}

#[test]
fn volumes() {
    let plain = Conv3dOptions::default();
    let explicit = Padding::Explicit([[2, 0], [0, 1], [1, 1]]);
    type Case = (&'static str, [usize; 5], [usize; 5], Conv3dOptions, [usize; 3]);
    let cases: [Case; 6] = [
        ("one tap", [1, 2, 3, 2, 3], [1, 1, 1, 3, 2], plain, [0; 3]),
        ("valid", [2, 4, 5, 4, 2], [2, 3, 2, 2, 3], plain, [0; 3]),
        ("same", [1, 4, 3, 4, 2], [3, 3, 3, 2, 4], Conv3dOptions { padding: Padding::Same, ..plain }, [1; 3]),
        (
            "stride, dilation",
            [1, 6, 5, 6, 1],
            [2, 2, 2, 1, 2],
            Conv3dOptions { stride: [2, 1, 3], dilation: [2, 3, 1], padding: explicit, ..plain },
            [2, 0, 1],
        ),
        (
            "groups",
            [2, 3, 3, 4, 4],
            [2, 2, 3, 2, 6],
            Conv3dOptions { groups: 2, padding: Padding::SameLower, ..plain },
            [1, 1, 1],
        ),
        ("every channel", [1, 3, 4, 3, 3], [3, 2, 2, 1, 6], Conv3dOptions { groups: 3, ..plain }, [0; 3]),
    ];
    for (name, x, w, options, before) in cases {
        let inputs = [random(x, 1, -1.0, 1.0), random(w, 2, -0.5, 0.5), random([w[4]], 3, -0.5, 0.5)];
        let y = inputs[0].conv3d(&inputs[1], None, &options);
        let out = [y.shape()[1], y.shape()[2], y.shape()[3]];
        let want = by_definition(&inputs[0], &inputs[1], &options, before, out);
        assert!(nmse(&values(&y), &want) < 1e-10, "{name}");
        check(name, &inputs, |x| x[0].conv3d(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn lines() {
    let plain = Conv1dOptions::default();
    let cases = [
        ("one tap", [2, 5, 3], [1, 3, 2], plain),
        ("valid", [2, 6, 4], [3, 4, 8], plain),
        ("same", [1, 7, 2], [4, 2, 3], Conv1dOptions { padding: Padding::Same, stride: [2], ..plain }),
        ("same, before", [1, 7, 2], [4, 2, 3], Conv1dOptions { padding: Padding::SameLower, ..plain }),
        (
            "explicit",
            [1, 6, 4],
            [3, 2, 4],
            Conv1dOptions { padding: Padding::Explicit([[3, 1]]), dilation: [2], groups: 2, ..plain },
        ),
    ];
    for (name, x, w, options) in cases {
        let inputs = [random(x, 1, -1.0, 1.0), random(w, 2, -0.5, 0.5), random([w[2]], 3, -0.5, 0.5)];
        check(name, &inputs, |x| x[0].conv1d(&x[1], Some(&x[2]), &options));
    }
    // Padding of two before and one after, found by hand.
    let d = Device::cpu();
    let x = Tensor::new(&[1.0, 2.0, 3.0], [1, 3, 1], &d);
    let w = Tensor::new(&[1.0, 10.0, 100.0, 1000.0], [4, 1, 1], &d);
    let lower = Conv1dOptions { padding: Padding::SameLower, ..plain };
    assert_eq!(values(&x.conv1d(&w, None, &lower)), [2100.0, 3210.0, 321.0]);
    let upper = Conv1dOptions { padding: Padding::Same, ..plain };
    assert_eq!(values(&x.conv1d(&w, None, &upper)), [3210.0, 321.0, 32.0]);
}

#[test]
fn every_channel_on_its_own() {
    let same = Conv2dOptions { padding: Padding::Same, ..Default::default() };
    for multiplier in [1, 2, 3] {
        let inputs = [
            random([2, 5, 6, 4], 1, -1.0, 1.0),
            random([3, 2, 4, multiplier], 2, -0.5, 0.5),
            random([4 * multiplier], 3, -0.5, 0.5),
        ];
        check("depthwise", &inputs, |x| x[0].depthwise_conv2d(&x[1], Some(&x[2]), &same));
        let y = inputs[0].depthwise_conv2d(&inputs[1], None, &same);
        // Kernel m of channel c makes channel c * multiplier + m.
        for c in 0..4 {
            let (x, w) = (inputs[0].slice_axis(3, c..c + 1), inputs[1].slice_axis(2, c..c + 1));
            let of_channel = y.slice_axis(3, c * multiplier..(c + 1) * multiplier);
            assert!(nmse(&values(&of_channel), &values(&x.conv2d(&w, None, &same))) < 1e-12);
        }
    }
}

#[test]
fn second_derivatives() {
    let volume = Conv3dOptions { stride: [2, 1, 1], padding: Padding::Same, ..Default::default() };
    let line = Conv1dOptions { dilation: [2], ..Default::default() };
    let gradient = |x: &[Tensor], wrt: usize, f: &dyn Fn(&[Tensor]) -> Tensor| {
        let x: Vec<Tensor> = x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
        let y = f(&x);
        y.mul(&y).sum().grad(&[&x[wrt]])[0].clone().expect("the loss depends on both")
    };
    for wrt in 0..2 {
        let inputs = [random([1, 3, 3, 4, 1], 1, -1.0, 1.0), random([2, 2, 3, 1, 2], 2, -0.5, 0.5)];
        check("volumes", &inputs, |x| gradient(x, wrt, &|x| x[0].conv3d(&x[1], None, &volume)));
        let inputs = [random([2, 6, 2], 1, -1.0, 1.0), random([3, 2, 2], 2, -0.5, 0.5)];
        check("lines", &inputs, |x| gradient(x, wrt, &|x| x[0].conv1d(&x[1], None, &line)));
    }
}

#[test]
fn nothing_to_convolve() {
    let same = Conv2dOptions { padding: Padding::Same, ..Default::default() };
    for device in devices() {
        for algorithm in [ConvAlgorithm::Auto, ConvAlgorithm::Im2col] {
            let options = Conv2dOptions { algorithm, ..same };
            let run = |x: [usize; 4], w: [usize; 4], bias: usize| {
                let (x, w) = (Tensor::ones(x, &device), Tensor::ones(w, &device));
                conv_special::with_gradients(&x, &w, &Tensor::full(2.0, [bias], &device), &options)
            };
            // No channels in: bias and nothing else.
            let [y, dx, dw] = run([1, 2, 2, 0], [3, 3, 0, 2], 2);
            assert_eq!((values(&y), dx.shape()[..].to_vec()), (vec![2.0; 8], vec![1, 2, 2, 0]), "{device}");
            assert_eq!(dw.shape()[..], [3, 3, 0, 2]);
            // No channels out.
            let [y, dx, dw] = run([1, 2, 2, 2], [3, 3, 2, 0], 0);
            assert_eq!((y.shape()[..].to_vec(), values(&dx)), (vec![1, 2, 2, 0], vec![0.0; 8]), "{device}");
            assert_eq!(dw.len(), 0);
            // No images, and images without height.
            for x in [[0, 4, 4, 1], [2, 0, 4, 1]] {
                let [y, dx, dw] = run(x, [2, 2, 1, 3], 3);
                assert_eq!(y.shape()[..], [x[0], x[1], 4, 3]);
                assert_eq!((dx.len(), values(&dw)), (0, vec![0.0; 12]), "{device}");
            }
        }
        let zeros = |shape: &[usize]| Tensor::zeros(shape, &device);
        let line = Conv1dOptions { padding: Padding::Same, ..Default::default() };
        assert_eq!(zeros(&[2, 0, 3]).conv1d(&zeros(&[3, 3, 4]), None, &line).shape()[..], [2, 0, 4]);
        let volume = Conv3dOptions { padding: Padding::Same, ..Default::default() };
        let y = zeros(&[1, 0, 4, 4, 2]).conv3d(&zeros(&[3, 3, 3, 2, 2]), None, &volume);
        assert_eq!(y.shape()[..], [1, 0, 4, 4, 2]);
        let y = zeros(&[1, 2, 2, 2, 0]).conv3d(&zeros(&[2, 2, 2, 0, 2]), None, &Default::default());
        assert_eq!(values(&y), [0.0; 2]);
        let y = zeros(&[1, 2, 2, 0]).depthwise_conv2d(&zeros(&[1, 1, 0, 3]), None, &Default::default());
        assert_eq!(y.shape()[..], [1, 2, 2, 0]);
    }
}

#[test]
fn infinity_and_nan_pass_as_on_the_cpu() {
    conv_special::convolutions();
}

#[test]
fn mistakes_say_what_clashes() {
    let zero = |shape: &[usize]| Tensor::zeros(shape, &Device::cpu());
    let line = Conv1dOptions::default();
    assert_eq!(
        panic_message(|| zero(&[1, 4, 2]).conv1d(&zero(&[5, 2, 3]), None, &line)),
        "conv1d: a window of 5 does not fit in a length of 4\n  x: [1, 4, 2]   axis 1 = 4\n  \
         help: use Padding::Same, a smaller window, or less pooling before"
    );
    assert_eq!(
        panic_message(|| zero(&[1, 4, 2]).conv1d(&zero(&[3, 3, 2, 1]), None, &line)),
        "conv1d: weights have 4 axes, expected 3: (K, C/groups, O)\n  x: [1, 4, 2]\n  w: [3, 3, 2, 1]"
    );
    assert_eq!(
        panic_message(|| zero(&[4, 2]).conv1d(&zero(&[3, 2, 1]), None, &line)),
        "conv1d: input has 2 axes, expected 3: (N, L, C)\n  x: [4, 2]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    let volume = Conv3dOptions::default();
    assert_eq!(
        panic_message(|| zero(&[1, 2, 4, 4, 2]).conv3d(&zero(&[3, 3, 3, 2, 1]), None, &volume)),
        "conv3d: a window of 3 does not fit in a depth of 2\n  x: [1, 2, 4, 4, 2]   axis 1 = 2\n  \
         help: use Padding::Same, a smaller window, or less pooling before"
    );
    assert_eq!(
        panic_message(|| zero(&[1, 4, 4, 4, 2]).conv3d(&zero(&[3, 3, 3, 1, 4]), None, &volume)),
        "conv3d: input channels differ (2 / 1 groups != 1)\n  x: [1, 4, 4, 4, 2]   axis 4 = 2\n  \
         w: [3, 3, 3, 1, 4]   axis 3 = 1\n  help: images are (N, D, H, W, C) and kernels (KD, KH, KW, C/groups, O)"
    );
    let no_step = Conv3dOptions { stride: [1, 0, 1], ..volume };
    assert_eq!(
        panic_message(|| zero(&[1, 4, 4, 4, 2]).conv3d(&zero(&[3, 3, 3, 2, 4]), None, &no_step)),
        "conv3d: stride in height is 0, expected at least 1\n  x: [1, 4, 4, 4, 2]"
    );
    let bias = zero(&[3]);
    assert_eq!(
        panic_message(|| zero(&[1, 4, 4, 4, 2]).conv3d(&zero(&[3, 3, 3, 2, 4]), Some(&bias), &volume)),
        "conv3d: bias has shape [3], expected [4]"
    );
    let fused = Conv1dOptions { activation: Some(Unary::Swish), ..line };
    assert_eq!(
        panic_message(|| zero(&[1, 4, 2]).conv1d(&zero(&[3, 2, 1]), None, &fused)),
        "conv1d: Some(Swish) can't be fused, only Relu, Sigmoid and Tanh\n  help: apply it to the result"
    );
}

#[test]
fn mistakes_in_images_say_what_clashes() {
    let zero = |shape: &[usize]| Tensor::zeros(shape, &Device::cpu());
    let conv =
        |x: &[usize], w: &[usize], options: Conv2dOptions| panic_message(|| zero(x).conv2d(&zero(w), None, &options));
    let groups = |groups| Conv2dOptions { groups, ..Default::default() };
    assert_eq!(
        conv(&[1, 4, 4, 4], &[1, 1, 2, 3], groups(2)),
        "conv2d: 2 groups do not divide both 4 input and 3 output channels\n  x: [1, 4, 4, 4]   axis 3 = 4\n  \
         w: [1, 1, 2, 3]   axis 3 = 3"
    );
    assert_eq!(
        conv(&[1, 4, 4, 4], &[1, 1, 2, 3], groups(0)),
        "conv2d: 0 groups, expected at least 1\n  x: [1, 4, 4, 4]\n  w: [1, 1, 2, 3]"
    );
    let dilation = Conv2dOptions { dilation: [1, 0], ..Default::default() };
    assert_eq!(
        conv(&[1, 4, 4, 1], &[1, 1, 1, 1], dilation),
        "conv2d: dilation in width is 0, expected at least 1\n  x: [1, 4, 4, 1]"
    );
    assert_eq!(
        conv(&[1, 4, 4, 1], &[1, 0, 1, 1], Conv2dOptions::default()),
        "conv2d: size in width is 0, expected at least 1\n  x: [1, 4, 4, 1]"
    );
    let far = Conv2dOptions { padding: Padding::Explicit([[1 << 24, 1 << 24]; 2]), ..Default::default() };
    assert_eq!(
        conv(&[1 << 14, 1, 1, 0], &[1, 1, 0, 1], far),
        "conv2d: [16384, 33554433, 33554433, 1] has more elements than memory could hold (2305843009213693951)\n  \
         x: [16384, 1, 1, 0]"
    );
    let depthwise = |x: &[usize], w: &[usize], options: ConvOptions<2>| {
        panic_message(|| zero(x).depthwise_conv2d(&zero(w), None, &options))
    };
    assert_eq!(
        depthwise(&[1, 4, 4, 3], &[3, 3, 4, 2], groups(1)),
        "depthwise_conv2d: channels differ (3 != 4)\n  x: [1, 4, 4, 3]   axis 3 = 3\n  w: [3, 3, 4, 2]   axis 2 = 4\n  \
         help: images are (N, H, W, C) and kernels (KH, KW, C, M)"
    );
    assert_eq!(
        depthwise(&[1, 4, 4, 3], &[3, 3, 3, 2], groups(3)),
        "depthwise_conv2d: the options ask for 3 groups\n  x: [1, 4, 4, 3]\n  w: [3, 3, 3, 2]\n  \
         help: each channel is a group of its own; leave `groups` at 1"
    );
    assert_eq!(
        depthwise(&[1, 4, 4, 3], &[3, 3, 3], groups(1)),
        "depthwise_conv2d: weights have 3 axes, expected 4: (KH, KW, C, M)\n  x: [1, 4, 4, 3]\n  w: [3, 3, 3]"
    );
}
