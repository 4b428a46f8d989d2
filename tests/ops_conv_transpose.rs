//! Transposed convolutions: against the definition, as the gradient of a convolution, sizes of every kind, error texts.

mod common;
#[path = "common/conv_cases.rs"]
mod conv_cases;
#[path = "common/conv_special.rs"]
mod conv_special;

use common::{check, devices, nmse, panic_message, random};
use tilegrad::{
    ConvTranspose1dOptions, ConvTranspose2dOptions, ConvTranspose3dOptions, Device, Padding, Tensor, Unary,
};

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().expect("readback")
}

/// The definition: every element times every tap, added to where it belongs, `cut` positions to the front.
fn by_definition(
    x: &Tensor,
    w: &Tensor,
    options: &ConvTranspose3dOptions,
    cut: [usize; 3],
    out: [usize; 3],
) -> Vec<f32> {
    let (x, xs) = (values(x), *x.shape());
    let (w, ws) = (values(w), *w.shape());
    let (of_group, c, groups) = (ws[3], ws[4], options.groups);
    let o = of_group * groups;
    let mut y = vec![0.0f64; xs[0] * out.iter().product::<usize>() * o];
    for (at, v) in x.iter().enumerate() {
        let (n, channel) = (at / c / (xs[1] * xs[2] * xs[3]), at % c);
        let place = at / c % (xs[1] * xs[2] * xs[3]);
        let place = [place / (xs[2] * xs[3]), place / xs[3] % xs[2], place % xs[3]];
        for tap in 0..ws[0] * ws[1] * ws[2] {
            let taps = [tap / (ws[1] * ws[2]), tap / ws[2] % ws[1], tap % ws[2]];
            let to: Vec<usize> = (0..3)
                .filter_map(|a| (place[a] * options.stride[a] + taps[a] * options.dilation[a]).checked_sub(cut[a]))
                .collect();
            if to.len() < 3 || (0..3).any(|a| to[a] >= out[a]) {
                continue;
            }
            for k in 0..of_group {
                let group = channel / (c / groups);
                let target = (((n * out[0] + to[0]) * out[1] + to[1]) * out[2] + to[2]) * o + group * of_group + k;
                y[target] += f64::from(*v) * f64::from(w[(tap * of_group + k) * c + channel]);
            }
        }
    }
    y.iter().map(|v| *v as f32).collect()
}

const PLAIN: ConvTranspose2dOptions = ConvTranspose2dOptions {
    stride: [1, 1],
    dilation: [1, 1],
    padding: Padding::Valid,
    output_padding: None,
    output_size: None,
    groups: 1,
    activation: None,
};

/// The same options with a depth of one tap.
fn flat(options: &ConvTranspose2dOptions) -> ConvTranspose3dOptions {
    let [h, w] = options.stride;
    let [dh, dw] = options.dilation;
    ConvTranspose3dOptions { stride: [1, h, w], dilation: [1, dh, dw], groups: options.groups, ..Default::default() }
}

#[test]
fn images() {
    type Case = (&'static str, [usize; 4], [usize; 4], ConvTranspose2dOptions, [usize; 2], [usize; 2]);
    let stride = |h, w| ConvTranspose2dOptions { stride: [h, w], ..PLAIN };
    let explicit = Padding::Explicit([[1, 0], [2, 1]]);
    let cases: [Case; 13] = [
        ("one tap", [2, 3, 4, 3], [1, 1, 2, 3], PLAIN, [0, 0], [3, 4]),
        ("3x3", [2, 3, 4, 4], [3, 3, 8, 4], PLAIN, [0, 0], [5, 6]),
        ("stride", [1, 3, 3, 4], [3, 3, 2, 4], stride(2, 3), [0, 0], [7, 9]),
        ("stride past the kernel", [1, 2, 3, 1], [2, 1, 1, 1], stride(3, 2), [0, 0], [6, 6]),
        (
            "same",
            [1, 3, 4, 4],
            [3, 4, 3, 4],
            ConvTranspose2dOptions { padding: Padding::Same, ..stride(2, 2) },
            [0, 1],
            [6, 8],
        ),
        (
            "same, before",
            [1, 3, 4, 4],
            [3, 5, 3, 4],
            ConvTranspose2dOptions { padding: Padding::SameLower, ..stride(2, 2) },
            [1, 2],
            [6, 8],
        ),
        (
            "same past the kernel",
            [1, 2, 2, 1],
            [1, 1, 1, 1],
            ConvTranspose2dOptions { padding: Padding::Same, ..stride(3, 2) },
            [0, 0],
            [6, 4],
        ),
        (
            "explicit",
            [1, 4, 5, 3],
            [3, 3, 2, 3],
            ConvTranspose2dOptions { padding: explicit, ..stride(2, 1) },
            [1, 2],
            [8, 4],
        ),
        (
            "output padding",
            [1, 3, 3, 2],
            [3, 3, 1, 2],
            ConvTranspose2dOptions { padding: explicit, output_padding: Some([2, 1]), ..stride(3, 2) },
            [1, 2],
            [10, 5],
        ),
        (
            "dilation with output padding",
            [1, 3, 3, 2],
            [2, 3, 4, 2],
            ConvTranspose2dOptions { dilation: [3, 2], output_padding: Some([2, 1]), ..stride(2, 1) },
            [0, 0],
            [10, 8],
        ),
        (
            "a size that is too large",
            [1, 3, 3, 1],
            [3, 3, 2, 1],
            ConvTranspose2dOptions { output_size: Some([14, 8]), ..stride(3, 2) },
            [0, 0],
            [14, 8],
        ),
        (
            "a size that is cut",
            [1, 3, 3, 1],
            [3, 4, 2, 1],
            ConvTranspose2dOptions { output_size: Some([4, 5]), padding: Padding::SameLower, ..stride(2, 2) },
            [2, 2],
            [4, 5],
        ),
        ("groups", [2, 3, 2, 6], [2, 3, 2, 6], ConvTranspose2dOptions { groups: 3, ..stride(2, 1) }, [0, 0], [6, 4]),
    ];
    for (name, x, w, options, cut, out) in cases {
        let o = w[2] * options.groups;
        let inputs = [random(x, 1, -1.0, 1.0), random(w, 2, -0.5, 0.5), random([o], 3, -0.5, 0.5)];
        let y = inputs[0].conv_transpose2d(&inputs[1], None, &options);
        assert_eq!(y.shape()[..], [x[0], out[0], out[1], o], "{name}");
        let (deep, taps) = (inputs[0].unsqueeze(1), inputs[1].unsqueeze(0));
        let want = by_definition(&deep, &taps, &flat(&options), [0, cut[0], cut[1]], [1, out[0], out[1]]);
        assert!(nmse(&values(&y), &want) < 1e-10, "{name}");
        check(name, &inputs, |x| x[0].conv_transpose2d(&x[1], Some(&x[2]), &options));
    }
}

// With output padding Keras cuts `kernel / 2` twice; the numbers are its `compute_conv_transpose_output_shape`.
#[test]
fn same_with_output_padding_has_kerass_size() {
    let x = Tensor::ones([1, 5, 5, 1], &Device::cpu());
    for (size, extra, want) in [(3, 0, 9), (3, 1, 10), (4, 0, 8), (4, 1, 9), (5, 1, 10)] {
        let options = ConvTranspose2dOptions {
            stride: [2, 2],
            padding: Padding::Same,
            output_padding: Some([extra; 2]),
            ..PLAIN
        };
        let y = x.conv_transpose2d(&Tensor::ones([size, size, 1, 1], &Device::cpu()), None, &options);
        assert_eq!(y.shape()[..], [1, want, want, 1], "kernel {size}, output padding {extra}");
    }
}

#[test]
fn it_is_the_gradient_of_a_convolution() {
    for (name, x, w, options) in conv_cases::cases() {
        let [x, w, _] = conv_cases::inputs(x, w);
        let x = x.requires_grad();
        let y = x.conv2d(&w, None, &options);
        let dy = random(y.shape(), 7, -1.0, 1.0);
        let dx = y.backward_with(&dy).get(&x).unwrap().clone();
        let [h, width] = [x.shape()[1], x.shape()[2]];
        let back = ConvTranspose2dOptions {
            stride: options.stride,
            dilation: options.dilation,
            padding: options.padding,
            output_size: Some([h, width]),
            groups: options.groups,
            ..PLAIN
        };
        let got = dy.conv_transpose2d(&w, None, &back);
        assert!(nmse(&values(&got), &values(&dx)) < 1e-12, "{name}");
    }
}

#[test]
fn lines_and_volumes() {
    let line =
        ConvTranspose1dOptions { stride: [2], padding: Padding::Explicit([[1, 2]]), groups: 2, ..Default::default() };
    let inputs = [random([2, 4, 4], 1, -1.0, 1.0), random([3, 3, 4], 2, -0.5, 0.5), random([6], 3, -0.5, 0.5)];
    check("lines", &inputs, |x| x[0].conv_transpose1d(&x[1], Some(&x[2]), &line));
    let as_volume = [inputs[0].reshape([2, 1, 1, 4, 4]), inputs[1].reshape([1, 1, 3, 3, 4])];
    let deep = ConvTranspose3dOptions { stride: [1, 1, 2], groups: 2, ..Default::default() };
    let want = by_definition(&as_volume[0], &as_volume[1], &deep, [0, 0, 1], [1, 1, 6]);
    assert!(nmse(&values(&inputs[0].conv_transpose1d(&inputs[1], None, &line)), &want) < 1e-10);

    let plain = ConvTranspose3dOptions::default();
    let sides = Padding::Explicit([[1, 0], [0, 2], [1, 1]]);
    let same = Padding::Same;
    let cases = [
        ("plain", [1, 2, 3, 2, 2], [2, 2, 3, 3, 2], plain, [0; 3], [3, 4, 4]),
        (
            "stride",
            [2, 3, 2, 2, 4],
            [3, 2, 3, 2, 4],
            ConvTranspose3dOptions { stride: [2, 1, 3], groups: 2, padding: sides, ..plain },
            [1, 0, 1],
            [6, 1, 4],
        ),
        (
            "dilation",
            [1, 2, 2, 3, 1],
            [2, 2, 2, 1, 1],
            ConvTranspose3dOptions { dilation: [3, 1, 2], output_padding: Some([2, 0, 1]), ..plain },
            [0; 3],
            [7, 3, 6],
        ),
        (
            "a size",
            [1, 2, 2, 2, 1],
            [1, 3, 3, 1, 1],
            ConvTranspose3dOptions { stride: [3, 2, 2], padding: same, output_size: Some([6, 4, 3]), ..plain },
            [0, 0, 1],
            [6, 4, 3],
        ),
    ];
    for (name, x, w, options, cut, out) in cases {
        let o = w[3] * options.groups;
        let inputs = [random(x, 1, -1.0, 1.0), random(w, 2, -0.5, 0.5), random([o], 3, -0.5, 0.5)];
        let y = inputs[0].conv_transpose3d(&inputs[1], None, &options);
        assert_eq!(y.shape()[..], [x[0], out[0], out[1], out[2], o], "{name}");
        assert!(nmse(&values(&y), &by_definition(&inputs[0], &inputs[1], &options, cut, out)) < 1e-10, "{name}");
        check(name, &inputs, |x| x[0].conv_transpose3d(&x[1], Some(&x[2]), &options));
    }
}

#[test]
fn second_derivatives_and_activations() {
    let options = ConvTranspose2dOptions { stride: [2, 1], padding: Padding::Same, ..PLAIN };
    for wrt in 0..2 {
        let inputs = [random([1, 3, 3, 2], 1, -1.0, 1.0), random([3, 2, 2, 2], 2, -0.5, 0.5)];
        check("gradient of gradient", &inputs, |x| {
            let x: Vec<Tensor> = x.iter().map(|x| if x.needs_grad() { x.clone() } else { x.requires_grad() }).collect();
            let y = x[0].conv_transpose2d(&x[1], None, &options);
            y.mul(&y).sum().grad(&[&x[wrt]])[0].clone().expect("the loss depends on both")
        });
    }
    let tanh = ConvTranspose2dOptions { activation: Some(Unary::Tanh), ..options };
    let inputs = [random([1, 3, 3, 2], 1, -1.0, 1.0), random([3, 2, 2, 2], 2, -0.5, 0.5)];
    check("tanh", &inputs, |x| x[0].conv_transpose2d(&x[1], None, &tanh));
}

#[test]
fn nothing_to_spread() {
    for device in devices() {
        let ones = |shape: &[usize]| Tensor::ones(shape, &device);
        let same = ConvTranspose2dOptions { stride: [2, 2], padding: Padding::Same, ..PLAIN };
        let bias = Tensor::full(3.0, [2], &device);
        assert_eq!(ones(&[0, 2, 2, 1]).conv_transpose2d(&ones(&[3, 3, 2, 1]), None, &same).shape()[..], [0, 4, 4, 2]);
        let y = ones(&[1, 0, 2, 1]).conv_transpose2d(&ones(&[3, 3, 2, 1]), Some(&bias), &same);
        assert_eq!(y.shape()[..], [1, 0, 4, 2]);
        let y = ones(&[1, 1, 1, 0]).conv_transpose2d(&ones(&[1, 2, 2, 0]), Some(&bias), &same);
        assert_eq!(values(&y), [3.0; 8], "{device}");
        let y = ones(&[1, 1, 1, 2]).conv_transpose2d(&ones(&[1, 2, 0, 2]), None, &same);
        assert_eq!(y.shape()[..], [1, 2, 2, 0]);
        let deep = ConvTranspose3dOptions { padding: Padding::Same, ..Default::default() };
        let y = ones(&[1, 0, 2, 2, 1]).conv_transpose3d(&ones(&[2, 2, 2, 2, 1]), Some(&bias), &deep);
        assert_eq!(y.shape()[..], [1, 0, 2, 2, 2]);
    }
}

#[test]
fn infinity_and_nan_pass_as_on_the_cpu() {
    conv_special::transposed();
}

#[test]
fn mistakes_say_what_clashes() {
    let zero = |shape: &[usize]| Tensor::zeros(shape, &Device::cpu());
    let message = |x: &[usize], w: &[usize], options: ConvTranspose2dOptions| {
        panic_message(|| zero(x).conv_transpose2d(&zero(w), None, &options))
    };
    let (x, w) = ([1, 4, 4, 3], [3, 3, 5, 3]);
    assert_eq!(
        message(&x, &[3, 3, 3, 5], PLAIN),
        "conv_transpose2d: input channels differ (3 != 5)\n  x: [1, 4, 4, 3]   axis 3 = 3\n  \
         w: [3, 3, 3, 5]   axis 3 = 5\n  help: the kernels of a transposed convolution are (KH, KW, O/groups, C)"
    );
    assert_eq!(
        message(&x, &[3, 3, 3], PLAIN),
        "conv_transpose2d: weights have 3 axes, expected 4: (KH, KW, O/groups, C)\n  x: [1, 4, 4, 3]\n  w: [3, 3, 3]"
    );
    assert_eq!(
        message(&[4, 4, 3], &w, PLAIN),
        "conv_transpose2d: input has 3 axes, expected 4: (N, H, W, C)\n  x: [4, 4, 3]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    assert_eq!(
        message(&x, &w, ConvTranspose2dOptions { groups: 2, ..PLAIN }),
        "conv_transpose2d: 2 groups do not divide 3 input channels\n  x: [1, 4, 4, 3]   axis 3 = 3\n  w: [3, 3, 5, 3]"
    );
    assert_eq!(
        message(&x, &w, ConvTranspose2dOptions { stride: [1, 0], ..PLAIN }),
        "conv_transpose2d: stride in width is 0, expected at least 1\n  x: [1, 4, 4, 3]"
    );
    assert_eq!(
        message(&x, &w, ConvTranspose2dOptions { output_padding: Some([2, 0]), stride: [2, 1], ..PLAIN }),
        "conv_transpose2d: output padding in height is 2, expected less than 2\n  x: [1, 4, 4, 3]\n  w: [3, 3, 5, 3]\n  \
         help: it must be less than the stride or the dilation"
    );
    assert_eq!(
        message(&x, &w, ConvTranspose2dOptions { padding: Padding::Explicit([[0, 0], [4, 2]]), ..PLAIN }),
        "conv_transpose2d: an output of 0 in width is left, expected at least 1\n  x: [1, 4, 4, 3]\n  w: [3, 3, 5, 3]"
    );
    assert_eq!(
        message(&x, &w, ConvTranspose2dOptions { output_size: Some([0, 6]), ..PLAIN }),
        "conv_transpose2d: an output of 0 in height is asked for, expected at least 1\n  x: [1, 4, 4, 3]\n  \
         w: [3, 3, 5, 3]"
    );
    let far = ConvTranspose2dOptions { output_size: Some([usize::MAX, 2]), ..PLAIN };
    assert_eq!(
        message(&x, &w, far),
        "conv_transpose2d: [1, 18446744073709551615, 2, 5] has more elements than memory could hold \
         (2305843009213693951)\n  \
         x: [1, 4, 4, 3]"
    );
    let bias = panic_message(|| zero(&x).conv_transpose2d(&zero(&w), Some(&zero(&[3])), &PLAIN));
    assert_eq!(bias, "conv_transpose2d: bias has shape [3], expected [5]");
    let whole = Tensor::new(&[0i32; 5], [5], &Device::cpu());
    assert_eq!(
        panic_message(|| zero(&x).conv_transpose2d(&zero(&w), Some(&whole), &PLAIN)),
        "add: element types differ (f32 != i32)\n  help: convert one with .cast(DType::F32)"
    );
    let line = panic_message(|| {
        zero(&[1, 0, 1]).conv_transpose1d(&zero(&[3, 1, 1]), None, &ConvTranspose1dOptions::default())
    });
    assert_eq!(
        line,
        "conv_transpose1d: an output of 0 in length is left, expected at least 1\n  x: [1, 0, 1]\n  w: [3, 1, 1]"
    );
}
