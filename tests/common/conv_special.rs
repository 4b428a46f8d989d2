//! Convolutions of infinity and NaN, on the GPU as on the CPU to the bit, for the tests of both sets of kernels.
#![allow(dead_code, reason = "each test file uses a part")]

use tilegrad::{Conv2dOptions, ConvTranspose2dOptions, Device, Padding, Tensor};

use crate::common::{devices, gpu};

/// The bits, with one kind of NaN.
fn bits(x: &Tensor) -> Vec<u32> {
    let values = x.to_vec::<f32>().expect("readback");
    values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// Forward and both gradients, by their shapes and values.
pub(crate) fn with_gradients(x: &Tensor, w: &Tensor, bias: &Tensor, options: &Conv2dOptions) -> [Tensor; 3] {
    let (x, w) = (x.requires_grad(), w.requires_grad());
    let y = x.conv2d(&w, Some(bias), options);
    let gradients = y.backward();
    [y.detach(), gradients.get(&x).unwrap().clone(), gradients.get(&w).unwrap().clone()]
}

/// A few special values in the images, then in the kernels: results and both gradients.
pub(crate) fn convolutions() {
    let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 0.0];
    for channels in [[3, 5], [4, 8], [1, 1]] {
        for (stride, padding) in [(1, Padding::Same), (2, Padding::Valid), (3, Padding::Explicit([[2, 0], [1, 3]]))] {
            for place in 0..3 {
                let (mut x, mut w) = (vec![1.0; 2 * 49 * channels[0]], vec![1.0; 9 * channels[0] * channels[1]]);
                let target = if place == 0 { &mut x } else { &mut w };
                let len = target.len();
                special.iter().enumerate().for_each(|(i, v)| target[(i * (len / 6) + place) % len] = *v);
                let options = Conv2dOptions { stride: [stride; 2], padding, ..Default::default() };
                let run = |device: &Device| {
                    let x = Tensor::new(&x, [2, 7, 7, channels[0]], device);
                    let w = Tensor::new(&w, [3, 3, channels[0], channels[1]], device);
                    with_gradients(&x, &w, &Tensor::zeros([channels[1]], device), &options)
                };
                let [y, dx, dw] = run(&Device::cpu());
                let Some(gpu) = gpu() else { continue };
                let [y_gpu, dx_gpu, dw_gpu] = run(&gpu);
                let case = format!("{channels:?}, stride {stride}, {padding:?}, place {place}");
                assert_eq!(bits(&y), bits(&y_gpu), "y of {case}");
                assert_eq!(bits(&dx), bits(&dx_gpu), "dx of {case}");
                assert_eq!(bits(&dw), bits(&dw_gpu), "dw of {case}");
            }
        }
    }
}

/// One special value in either operand of a transposed convolution with gaps between its windows.
pub(crate) fn transposed() {
    for channels in [1, 3, 4] {
        for (operand, special) in [f32::INFINITY, f32::NAN, -0.0].into_iter().flat_map(|v| [(0, v), (1, v)]) {
            let (mut x, mut w) = (vec![1.0; 9 * channels], vec![1.0; 9 * channels * channels]);
            if operand == 0 {
                x[channels] = special
            } else {
                w[2 * channels] = special
            }
            let run = |device: &Device| {
                let x = Tensor::new(&x, [1, 3, 3, channels], device);
                let w = Tensor::new(&w, [3, 3, channels, channels], device);
                bits(&x.conv_transpose2d(&w, None, &ConvTranspose2dOptions { stride: [2, 3], ..Default::default() }))
            };
            let cpu = run(&Device::cpu());
            devices().iter().for_each(|d| assert_eq!(run(d), cpu, "{special} in operand {operand} on {d}"));
        }
    }
}
