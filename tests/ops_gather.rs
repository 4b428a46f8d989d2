//! Rows by index, batches of images, one-hot rows: gradients, GPU against CPU, views, indices out of range, error texts.

mod common;

use common::{check, devices, panic_message, random};
use tilegrad::{Device, Tensor};

#[test]
fn rows_and_their_gradient() {
    let x = random([5, 2, 3], 1, -1.0, 1.0);
    for index in [&[4u32, 0, 4, 4, 2, 1][..], &[3], &[]] {
        check(&format!("gather_rows {index:?}"), std::slice::from_ref(&x), |x| {
            x[0].gather_rows(&Tensor::new(index, [index.len()], x[0].device())).sin()
        });
    }
    // Twice differentiable: linear in x.
    for device in devices() {
        let x = x.to(&device).unwrap().requires_grad();
        let index = Tensor::new(&[1u32, 1, 9], [3], &device);
        let dx = x.gather_rows(&index.slice(&[0..2])).mul(&x.gather_rows(&index.slice(&[0..2]))).sum();
        let dx = dx.grad(&[&x])[0].clone().unwrap();
        let ddx = dx.sum().backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        assert!(ddx[6..12].iter().all(|v| *v == 4.0) && ddx[..6].iter().all(|v| *v == 0.0), "{ddx:?} on {device}");
    }
}

// More picks than llvmpipe runs rounds in one loop (65,535).
#[test]
fn the_gradient_of_many_picks() {
    const PICKS: usize = 100_001;
    let index: Vec<u32> = (0..PICKS as u32).map(|k| if k % 7 == 3 { 9 } else { k % 3 }).collect();
    let whole = random([PICKS + 1, 2], 7, 0.0, 1.0);
    let gradient = |device: &Device| {
        let x = Tensor::zeros([3, 2], device).requires_grad();
        let y = x.gather_rows(&Tensor::new(&index, [PICKS], device));
        let dy = whole.to(device).unwrap().slice(&[1..PICKS + 1]);
        y.backward_with(&dy).get(&x).unwrap().to_vec::<f32>().unwrap()
    };
    let mut want = [0f64; 6];
    let dy = whole.to_vec::<f32>().unwrap();
    for (k, &r) in index.iter().enumerate().filter(|(_, r)| **r < 3) {
        (0..2).for_each(|j| want[2 * r as usize + j] += f64::from(dy[2 * (k + 1) + j]));
    }
    for device in devices() {
        for (got, want) in gradient(&device).iter().zip(&want) {
            assert!((f64::from(*got) - want).abs() <= 1e-3 * want, "{got}, expected {want} on {device}");
        }
    }
}

#[test]
fn rows_of_every_type() {
    let index = [2u32, 0, 3, 2, u32::MAX];
    for device in devices() {
        let whole = Tensor::new(&index, [5], &device);
        let index = whole.slice(&[1..5]);
        for row in [1usize, 3, 4, 8] {
            let words: Vec<u32> = (0..3 * row as u32).collect();
            let want: Vec<u32> = [0, 9, 2, 9]
                .iter()
                .flat_map(|r| (0..row).map(move |j| if *r < 3 { (r * row + j) as u32 } else { 0 }))
                .collect();
            let x = Tensor::new(&words, [3, row], &device);
            assert_eq!(x.gather_rows(&index).to_vec::<u32>().unwrap(), want);
            let x = Tensor::new(&words.iter().map(|w| -(*w as i32)).collect::<Vec<_>>(), [3, row], &device);
            assert_eq!(
                x.gather_rows(&index).to_vec::<i32>().unwrap(),
                want.iter().map(|w| -(*w as i32)).collect::<Vec<_>>()
            );
            let x = Tensor::new(&words.iter().map(|w| *w as u8).collect::<Vec<_>>(), [3, row], &device);
            assert_eq!(
                x.gather_rows(&index).to_vec::<u8>().unwrap(),
                want.iter().map(|w| *w as u8).collect::<Vec<_>>()
            );
            let x = Tensor::new(&words.iter().map(|w| *w as f32).collect::<Vec<_>>(), [3, row], &device);
            let got = x.gather_rows(&index).to_vec::<f32>().unwrap();
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let there = ![1, 3].contains(&(i / row));
                assert!(if there { *got == *want as f32 } else { got.is_nan() }, "{got} at {i} on {device}");
            }
        }
    }
}

#[test]
fn batches_of_images() {
    let images = 7usize;
    for device in devices() {
        for pixels in [1usize, 3, 4, 9, 784] {
            let bytes: Vec<u8> = (0..images * pixels).map(|i| (i * 37 % 256) as u8).collect();
            let x = Tensor::new(&bytes, [images, pixels, 1], &device);
            let index = Tensor::new(&[5u32, 6, 1, 6, 7, 0], [6], &device).slice(&[1..6]);
            let batch = x.gather_images(&index, 1.0 / 255.0);
            assert_eq!(batch.shape()[..], [5, pixels, 1]);
            let got = batch.to_vec::<f32>().unwrap();
            for (k, image) in [6, 1, 6, 7, 0].into_iter().enumerate() {
                for j in 0..pixels {
                    let got = got[k * pixels + j];
                    match bytes.get(image * pixels + j) {
                        Some(b) => assert_eq!(got, f32::from(*b) * (1.0 / 255.0), "image {image} on {device}"),
                        None => assert!(got.is_nan()),
                    }
                }
            }
            // With labels beside them, of which the last are part of a longer row.
            let all: Vec<u32> = (0..9).map(|i| 100 + i).collect();
            let labels = Tensor::new(&all, [9], &device).slice(&[2..9]);
            let (again, y) = x.gather_batch(&labels, &index, 1.0 / 255.0);
            let bits = |x: &Tensor| x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(&again), bits(&batch), "{pixels} pixels on {device}");
            assert_eq!(y.to_vec::<u32>().unwrap(), labels.gather_rows(&index).to_vec::<u32>().unwrap(), "on {device}");
            // A data set that is a part of another, as after a split.
            let part =
                x.slice(&[3..7]).gather_images(&Tensor::new(&[2u32, 4], [2], &device), 2.0).to_vec::<f32>().unwrap();
            let want: Vec<f32> = bytes[5 * pixels..6 * pixels].iter().map(|b| 2.0 * f32::from(*b)).collect();
            assert!(part[..pixels] == want && part[pixels..].iter().all(|v| v.is_nan()), "a part on {device}");
            assert_eq!(x.gather_images(&Tensor::new::<u32>(&[], [0], &device), 1.0).shape()[..], [0, pixels, 1]);
        }
    }
}

#[test]
fn one_hot_rows() {
    for device in devices() {
        let labels = Tensor::new(&[9u32, 1, 0, 3, 2], [5], &device).slice(&[1..5]);
        let want = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0; 3], [0.0, 0.0, 1.0]].concat();
        assert_eq!(labels.one_hot(3).to_vec::<f32>().unwrap(), want);
        assert_eq!(labels.reshape([2, 2]).one_hot(3).shape()[..], [2, 2, 3]);
        assert_eq!(labels.one_hot(0).len(), 0);
    }
}

#[test]
fn mistakes_say_what_is_wrong() {
    let d = Device::cpu();
    let (x, index) = (Tensor::zeros([4, 3], &d), Tensor::new(&[0u32, 1], [2], &d));
    assert_eq!(
        panic_message(|| x.gather_rows(&index.reshape([1, 2]))),
        "gather_rows: the index has 2 axes, expected 1\n  x: [4, 3]\n  index: [1, 2]"
    );
    assert_eq!(panic_message(|| x.gather_rows(&x.reshape([12]))), "gather_rows: the index is f32, expected u32");
    assert_eq!(
        panic_message(|| x.gather_batch(&Tensor::zeros([4], &d), &index, 1.0)),
        "gather_batch: labels are f32, expected one u32 an image\n  images: [4, 3]\n  labels: [4]"
    );
    assert_eq!(
        panic_message(|| x.gather_images(&index, 1.0)),
        "gather_images: images are f32, expected u8\n  help: use gather_rows"
    );
    assert_eq!(panic_message(|| x.one_hot(3)), "one_hot: labels are f32, expected u32");
    assert!(
        panic_message(|| Tensor::scalar(1.0, &d).gather_rows(&index)).starts_with("gather_rows: a scalar has no rows")
    );
}
