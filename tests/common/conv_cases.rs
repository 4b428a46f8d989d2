//! Convolutions of every kind, for the tests of both sets of kernels.

use tilegrad::{Conv2dOptions, Padding, Tensor};

use crate::common::random;

/// Name, images, kernels, options.
pub(crate) type Case = (&'static str, [usize; 4], [usize; 4], Conv2dOptions);

pub(crate) fn cases() -> Vec<Case> {
    let plain = Conv2dOptions::default();
    let same = Conv2dOptions { padding: Padding::Same, ..plain };
    let stride = |s: usize| Conv2dOptions { stride: [s, s], ..same };
    vec![
        ("1x1", [2, 5, 4, 3], [1, 1, 3, 5], plain),
        ("1x1 with fours", [2, 5, 4, 8], [1, 1, 8, 4], plain),
        ("3x3 valid", [2, 6, 7, 4], [3, 3, 4, 8], plain),
        ("3x3 same, one channel", [3, 8, 7, 1], [3, 3, 1, 32], same),
        ("3x3 same, odd channels", [2, 6, 6, 3], [3, 3, 3, 6], same),
        ("kernel is the image", [2, 5, 5, 4], [5, 5, 4, 7], plain),
        ("5x5 valid", [1, 9, 8, 3], [5, 5, 3, 6], plain),
        ("stride 2 same", [2, 9, 7, 8], [3, 3, 8, 12], stride(2)),
        ("stride 3 same", [1, 10, 11, 4], [3, 3, 4, 4], stride(3)),
        ("7x7 stem", [1, 15, 14, 3], [7, 7, 3, 8], stride(2)),
        ("uneven stride", [1, 8, 9, 4], [3, 2, 4, 4], Conv2dOptions { stride: [1, 3], ..plain }),
        ("dilation", [2, 9, 9, 4], [3, 3, 4, 8], Conv2dOptions { dilation: [2, 2], ..same }),
        ("groups", [2, 6, 5, 8], [3, 3, 4, 6], Conv2dOptions { groups: 2, ..same }),
        ("depthwise", [1, 6, 7, 6], [3, 3, 1, 6], Conv2dOptions { groups: 6, ..same }),
        ("depthwise multiplier", [1, 6, 7, 4], [3, 3, 1, 8], Conv2dOptions { groups: 4, stride: [2, 2], ..same }),
        (
            "four-sided padding",
            [1, 5, 6, 4],
            [3, 3, 4, 4],
            Conv2dOptions { padding: Padding::Explicit([[0, 2], [3, 1]]), ..plain },
        ),
        ("the stem's second layer", [3, 14, 14, 32], [3, 3, 32, 64], same),
    ]
}

pub(crate) fn inputs(x: [usize; 4], w: [usize; 4]) -> [Tensor; 3] {
    // Smaller weights where many are summed, so that outputs stay about 1.
    let scale = 1.0 / (w[0] as f32 * w[1] as f32 * w[2] as f32).sqrt();
    [random(x, 1, -1.0, 1.0), random(w, 2, -scale, scale), random([w[3]], 3, -0.5, 0.5)]
}
