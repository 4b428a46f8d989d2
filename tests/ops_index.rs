//! Elements by index and to places by index: values against loops written out, gradients and second derivatives, indices
//! outside, every element type, empty tensors.

mod common;

use common::{check, check_forward, devices, leaf, random, spread};
use tilegrad::{Device, ScatterMode, Tensor};

const MODES: [ScatterMode; 5] =
    [ScatterMode::Replace, ScatterMode::Add, ScatterMode::Mul, ScatterMode::Max, ScatterMode::Min];

fn index(values: &[i32], shape: &[usize], device: &Device) -> Tensor {
    Tensor::new(values, shape, device)
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// The same numbers, NaN included.
#[track_caller]
fn assert_same(got: &[f32], want: &[f32], what: &str) {
    let same = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g == w || (g.is_nan() && w.is_nan()));
    assert!(same, "{what}: {got:?}, expected {want:?}");
}

#[test]
fn slices_by_an_index_of_any_rank() {
    const N: f32 = f32::NAN;
    for device in devices() {
        let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3], &device);
        let by =
            |axis, values: &[i32], shape: &[usize]| self::values(&x.index_select(axis, &index(values, shape, &device)));
        assert_same(
            &by(0, &[1, 0, -1, -2], &[4]),
            &[3.0, 4.0, 5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0, 2.0],
            "rows",
        );
        assert_same(&by(-1, &[2, -3, 3, -4], &[2, 2]), &[2.0, 0.0, N, N, 5.0, 3.0, N, N], "columns");
        assert_same(&by(1, &[-1], &[]), &[2.0, 5.0], "a scalar takes the axis away");
        assert_eq!(x.index_select(1, &index(&[], &[0, 4], &device)).shape()[..], [2, 0, 4]);
        // What has no sign does not count from the end.
        let big = Tensor::new(&[u32::MAX, 1, 1 << 31], [3], &device);
        assert_same(&values(&x.index_select(1, &big)), &[N, 1.0, N, N, 4.0, N], "u32");
        let none = x.slice(&[0..2, 0..0]);
        assert_same(&values(&none.index_select(1, &index(&[0], &[1], &device))), &[N, N], "an empty axis");
        assert_eq!(none.index_select(0, &index(&[0, 0, 1], &[3], &device)).shape()[..], [3, 0]);
        // The index may be a view.
        let strided = index(&[0, 9, 1, 9, 2, 9], &[3, 2], &device).slice(&[0..3, 0..1]).transpose();
        assert_same(&values(&x.index_select(1, &strided)), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "a view");
        for n in [1usize, 3, 4, 6] {
            let bytes: Vec<u8> = (0..3 * n).map(|i| i as u8 + 1).collect();
            let got = Tensor::new(&bytes, [3, n], &device).index_select(0, &index(&[2, 5, -3], &[3], &device));
            let want = [&bytes[2 * n..], &vec![0; n], &bytes[..n]].concat();
            assert_eq!(got.to_vec::<u8>().unwrap(), want, "u8 rows of {n} on {device}");
        }
        let whole = Tensor::new(&[i32::MIN, 7], [2], &device).index_select(0, &index(&[0, 2], &[2], &device));
        assert_eq!(whole.to_vec::<i32>().unwrap(), [i32::MIN, 0]);
    }
    let x = [random([3, 4, 2], 1, -1.0, 1.0)];
    for axis in 0..3 {
        check("index_select", &x, |x| x[0].index_select(axis, &index(&[1, -1, 1, 0], &[2, 2], x[0].device())).square());
    }
    check("second derivative of index_select", &x, |x| {
        let x = leaf(&x[0]);
        let y = x.index_select(1, &index(&[1, 1, -1], &[3], x.device()));
        y.mul(&y).mul(&y).grad(&[&x])[0].clone().unwrap()
    });
}

#[test]
fn an_element_for_each_index() {
    const N: f32 = f32::NAN;
    for device in devices() {
        let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3], &device);
        let at = |axis, values: &[i32], shape: &[usize]| self::values(&x.gather(axis, &index(values, shape, &device)));
        assert_same(&at(1, &[0, -1, 2, 2, 1, -3], &[2, 3]), &[0.0, 2.0, 2.0, 5.0, 4.0, 3.0], "columns");
        assert_same(&at(1, &[2, 3, 1, -4], &[2, 2]), &[2.0, N, 4.0, N], "fewer columns");
        assert_same(
            &at(0, &[1, 0, 0, 1, -1, -2, 1, 1, 2], &[3, 3]),
            &[3.0, 1.0, 2.0, 3.0, 4.0, 2.0, 3.0, 4.0, N],
            "rows",
        );
        assert_same(&at(0, &[1], &[1, 1]), &[3.0], "a part");
        assert_eq!(x.gather(1, &index(&[], &[2, 0], &device)).shape()[..], [2, 0]);
        let bytes = Tensor::new(&[1u8, 2, 3, 4, 5, 6], [2, 3], &device);
        let got = bytes.gather(1, &index(&[2, 1, 0, 0, 7, -1], &[2, 3], &device));
        assert_eq!(got.to_vec::<u8>().unwrap(), [3, 2, 1, 4, 0, 6]);
    }
    let x = [random([3, 4], 2, -1.0, 1.0)];
    check("gather", &x, |x| x[0].gather(0, &index(&[0, 2, 2, -1, 1, 2], &[2, 3], x[0].device())).square());
    check("second derivative of gather", &x, |x| {
        let x = leaf(&x[0]);
        let y = x.gather(1, &index(&[3, 3, 0, 1, -1, 2], &[2, 3], x.device()));
        y.mul(&y).mul(&y).grad(&[&x])[0].clone().unwrap()
    });
}

#[test]
fn indices_outside_have_no_gradient() {
    for device in devices() {
        let x = random([3], 3, 1.0, 2.0).to(&device).unwrap().requires_grad();
        let y = x.gather(0, &index(&[0, 7, 0, -9], &[4], &device));
        let dx = y.grad(&[&x])[0].clone().unwrap();
        assert_eq!(values(&dx), [2.0, 0.0, 0.0], "{device}");
        let src = random([4], 4, 1.0, 2.0).to(&device).unwrap().requires_grad();
        for mode in MODES {
            let y = x.detach().scatter(0, &index(&[0, 7, 1, -9], &[4], &device), &src, mode);
            let dx = values(y.backward().get(&src).unwrap());
            assert!(dx[1] == 0.0 && dx[3] == 0.0 && dx.iter().all(|v| !v.is_nan()), "{mode:?}: {dx:?} on {device}");
        }
    }
}

/// The definition, on two axes and along the second.
fn put(x: &mut [i64], n: usize, picks: &[i32], src: &[i64], mode: ScatterMode) {
    let k = picks.len() / (x.len() / n);
    for (i, (&pick, &v)) in picks.iter().zip(src).enumerate() {
        let at = if pick < 0 { pick + n as i32 } else { pick };
        if (0..n as i32).contains(&at) {
            let y = &mut x[i / k * n + at as usize];
            *y = match mode {
                ScatterMode::Replace => v,
                ScatterMode::Add => y.wrapping_add(v),
                ScatterMode::Mul => y.wrapping_mul(v),
                ScatterMode::Max => v.max(*y),
                ScatterMode::Min => v.min(*y),
            };
        }
    }
}

#[test]
fn scatter_in_every_mode_and_type() {
    let picks = [0, 2, -1, 2, 0, 9, 1, 1, -3, -4, 2, 0, 4, 4, 4];
    let src: Vec<i64> = (0..15).map(|i| (i * 7 + 3) % 10 - 4).collect();
    let x: Vec<i64> = (0..15).map(|i| (i * 3) % 8 - 3).collect();
    for device in devices() {
        for mode in MODES {
            let by = index(&picks, &[3, 5], &device);
            let mut want = x.clone();
            put(&mut want, 5, &picks, &src, mode);
            let floats = |v: &[i64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
            let got = Tensor::new(&floats(&x), [3, 5], &device).scatter(
                1,
                &by,
                &Tensor::new(&floats(&src), [3, 5], &device),
                mode,
            );
            assert_eq!(values(&got), floats(&want), "f32 {mode:?} on {device}");
            let whole = |v: &[i64]| v.iter().map(|v| *v as i32).collect::<Vec<_>>();
            let got = Tensor::new(&whole(&x), [3, 5], &device).scatter(
                1,
                &by,
                &Tensor::new(&whole(&src), [3, 5], &device),
                mode,
            );
            assert_eq!(got.to_vec::<i32>().unwrap(), whole(&want), "i32 {mode:?} on {device}");
            // Without a sign: large numbers in place of negative ones, and sums that wrap around.
            let bits = |v: &[i64], top: i64| v.iter().map(|v| v.rem_euclid(top)).collect::<Vec<_>>();
            for top in [1i64 << 8, 1 << 32] {
                let (x, src) = (bits(&x, top), bits(&src, top));
                let mut want = x.clone();
                put(&mut want, 5, &picks, &src, mode);
                let want: Vec<u32> = bits(&want, top).iter().map(|v| *v as u32).collect();
                let got: Vec<u32> = if top == 1 << 8 {
                    let bytes =
                        |v: &[i64]| Tensor::new(&v.iter().map(|v| *v as u8).collect::<Vec<_>>(), [3, 5], &device);
                    bytes(&x)
                        .scatter(1, &by, &bytes(&src), mode)
                        .to_vec::<u8>()
                        .unwrap()
                        .iter()
                        .map(|v| u32::from(*v))
                        .collect()
                } else {
                    let words =
                        |v: &[i64]| Tensor::new(&v.iter().map(|v| *v as u32).collect::<Vec<_>>(), [3, 5], &device);
                    words(&x).scatter(1, &by, &words(&src), mode).to_vec().unwrap()
                };
                assert_eq!(got, want, "{top} {mode:?} on {device}");
            }
        }
    }
}

#[test]
fn truth_values() {
    let (x, src) = ([true, false, false, true], [true, false, true, true, false]);
    let picks = [1, 0, 1, 2, 3];
    let want = [
        [false, true, true, false],
        [true, true, true, true],
        [false, false, false, false],
        [true, true, true, true],
        [false, false, false, false],
    ];
    for device in devices() {
        let there = Tensor::new(&x, [4], &device);
        let by = index(&picks, &[5], &device);
        for (mode, want) in MODES.into_iter().zip(want) {
            let y = there.scatter(0, &by, &Tensor::new(&src, [5], &device), mode);
            assert_eq!(y.to_vec::<bool>().unwrap(), want, "{mode:?} on {device}");
        }
        assert_eq!(there.index_select(0, &by).to_vec::<bool>().unwrap(), [false, true, false, false, true]);
        assert_eq!(there.gather(0, &index(&[3, 9], &[2], &device)).to_vec::<bool>().unwrap(), [true, false]);
        assert_eq!(there.nonzero().unwrap().to_vec::<u32>().unwrap(), [0, 3]);
    }
}

#[test]
fn scatter_covers_a_part() {
    for device in devices() {
        let x = Tensor::zeros([3, 4], &device);
        let src = Tensor::new(&(1..=12).map(|i| i as f32).collect::<Vec<_>>(), [3, 4], &device);
        let y = x.scatter(0, &index(&[2, 0], &[1, 2], &device), &src, ScatterMode::Replace);
        assert_eq!(values(&y), [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let y = x.scatter_add(1, &index(&[3, 3, 0, 0, 0], &[1, 5], &device), &Tensor::ones([2, 6], &device));
        assert_eq!(values(&y), [3.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let y = x.scatter_add(1, &index(&[], &[3, 0], &device), &src);
        assert_eq!(values(&y), [0.0; 12]);
        assert_eq!(x.slice(&[0..0]).scatter_add(0, &index(&[], &[0, 4], &device), &src).shape()[..], [0, 4]);
    }
}

#[test]
fn nan_and_signed_zeros_in_a_scatter() {
    let odd = [f32::NAN, 1.0, -0.0, f32::INFINITY, 0.0, f32::NEG_INFINITY];
    for mode in MODES {
        let run = |device: &Device| {
            let x = Tensor::new(&odd, [6, 1], device).broadcast_to([6, 6]);
            let src = Tensor::new(&odd, [1, 6], device).broadcast_to([6, 6]);
            let by = index(&[0, 1, 2, 3, 4, 5], &[1, 6], device).broadcast_to([6, 6]);
            values(&x.scatter(1, &by, &src, mode))
                .iter()
                .map(|v| if v.is_nan() { 0 } else { v.to_bits() })
                .collect::<Vec<u32>>()
        };
        let want = run(&Device::cpu());
        for device in devices() {
            assert_eq!(run(&device), want, "{mode:?} on {device}");
        }
    }
}

#[test]
fn gradients_of_scatter() {
    let picks = [0, 2, -1, 2, 1, 1, 0, 0];
    for mode in MODES {
        let two = [spread([2, 4], 5), spread([2, 5], 6).affine(0.9, 0.013)];
        check(&format!("scatter {mode:?}"), &two, |x| {
            x[0].scatter(1, &index(&picks, &[2, 4], x[0].device()), &x[1], mode).square()
        });
    }
    for mode in [ScatterMode::Replace, ScatterMode::Add, ScatterMode::Mul] {
        let two = [random([2, 4], 7, 0.5, 1.5), random([2, 4], 8, 0.5, 1.5)];
        check(&format!("second derivative of scatter {mode:?}"), &two, |x| {
            let (x, src) = (leaf(&x[0]), leaf(&x[1]));
            let y = x.scatter(1, &index(&picks, &[2, 4], x.device()), &src, mode);
            let dx = y.mul(&y).mul(&y).grad(&[&x, &src]);
            Tensor::concat(&[dx[0].as_ref().unwrap(), dx[1].as_ref().unwrap()], 0)
        });
    }
    // Factors of 0: the product of the others.
    for device in devices() {
        let x = Tensor::new(&[2.0, 3.0, 0.0], [3], &device).requires_grad();
        let src = Tensor::new(&[0.0, 5.0, 7.0, 0.0, 0.0, 4.0], [6], &device).requires_grad();
        let y = x.scatter(0, &index(&[0, 0, 1, 1, 1, 2], &[6], &device), &src, ScatterMode::Mul);
        let gradients = y.backward();
        assert_eq!(values(gradients.get(&x).unwrap()), [0.0, 0.0, 4.0], "{device}");
        assert_eq!(values(gradients.get(&src).unwrap()), [10.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{device}");
    }
}

// More indices than llvmpipe runs rounds in one loop (65,535).
#[test]
fn an_index_longer_than_a_loop_may_be() {
    const PICKS: usize = 70_001;
    let picks: Vec<i32> = (0..PICKS as i32).map(|k| k % 3 - 1).collect();
    for device in devices() {
        let by = index(&picks, &[PICKS], &device);
        let y = Tensor::zeros([2], &device).scatter_add(0, &by, &Tensor::ones([PICKS], &device));
        let first = picks.iter().filter(|p| **p == 0).count() as f32;
        assert_eq!(values(&y), [first, PICKS as f32 - first], "{device}");
        let bytes = Tensor::new(&vec![1u8; PICKS], [PICKS], &device);
        let y = Tensor::new(&[0u8, 0], [2], &device).scatter_add(0, &by, &bytes).to_vec::<u8>().unwrap();
        assert_eq!(y, [(first as usize % 256) as u8, ((PICKS - first as usize) % 256) as u8], "{device}");
    }
}

#[test]
fn positions_on_several_axes() {
    const N: f32 = f32::NAN;
    for device in devices() {
        let x = Tensor::new(&(0..12).map(|i| i as f32).collect::<Vec<_>>(), [2, 3, 2], &device);
        let at =
            |values: &[i32], shape: &[usize], batch| self::values(&x.gather_nd(&index(values, shape, &device), batch));
        assert_same(&at(&[1, 2, 0, 0, -1, 1], &[2, 3], 0), &[10.0, 5.0], "elements");
        assert_same(&at(&[1, 2, -2, 0, 2, 0, 0, 3], &[2, 2, 2], 0), &[10.0, 11.0, 0.0, 1.0, N, N, N, N], "rows");
        assert_same(&at(&[2, 0, -3, 5], &[2, 2, 1], 1), &[4.0, 5.0, 0.0, 1.0, 6.0, 7.0, N, N], "a batch axis");
        assert_same(&at(&[], &[1, 0], 0), &(0..12).map(|i| i as f32).collect::<Vec<_>>(), "no axis");
        assert_eq!(x.gather_nd(&index(&[], &[0, 2], &device), 0).shape()[..], [0, 2]);
        let big = Tensor::new(&[0u32, u32::MAX, 0], [1, 3], &device);
        assert!(values(&x.gather_nd(&big, 0))[0].is_nan());

        let y = Tensor::zeros([2, 3], &device);
        let src = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [4], &device);
        let by = index(&[0, 1, 1, -1, 0, 1, 2, 0], &[4, 2], &device);
        let want = [
            [0.0, 3.0, 0.0, 0.0, 0.0, 2.0],
            [0.0, 4.0, 0.0, 0.0, 0.0, 2.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 3.0, 0.0, 0.0, 0.0, 2.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ];
        for (mode, want) in MODES.into_iter().zip(want) {
            assert_eq!(values(&y.scatter_nd(&by, &src, mode)), want, "{mode:?} on {device}");
        }
        let rows = y.scatter_nd(&index(&[1], &[1, 1], &device), &Tensor::ones([1, 3], &device), ScatterMode::Replace);
        assert_eq!(values(&rows), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }
    let picks = [0, 1, -1, 0, 0, 1, 1, 2];
    check("gather_nd", &[random([2, 3, 2], 9, -1.0, 1.0)], |x| {
        x[0].gather_nd(&index(&picks, &[2, 2, 2], x[0].device()), 0).square()
    });
    check("gather_nd of a batch", &[random([2, 3, 2], 10, -1.0, 1.0)], |x| {
        x[0].gather_nd(&index(&[2, 1, 0, 0, 1, 1, -1, 1], &[2, 2, 2], x[0].device()), 1).square()
    });
    for mode in MODES {
        check("scatter_nd", &[spread([2, 3, 2], 11), spread([4, 2], 12).affine(0.9, 0.013)], |x| {
            x[0].scatter_nd(&index(&picks, &[4, 2], x[0].device()), &x[1], mode).square()
        });
    }
}

#[test]
fn chosen_by_value() {
    for device in devices() {
        let x = Tensor::new(&[1.0, 0.0, f32::NAN, -0.0, 5.0, 0.0], [2, 3], &device);
        let at = x.nonzero().unwrap();
        assert_eq!((at.shape().to_vec(), at.to_vec::<u32>().unwrap()), (vec![3, 2], vec![0, 0, 0, 2, 1, 1]));
        assert_eq!(x.slice(&[0..0]).nonzero().unwrap().shape()[..], [0, 2]);
        assert_eq!(Tensor::scalar(2.0, &device).nonzero().unwrap().shape()[..], [1, 0]);
        assert_eq!(Tensor::scalar(0.0, &device).nonzero().unwrap().shape()[..], [0, 0]);
        let bytes = Tensor::new(&[0u8, 3, 0, 1], [4], &device);
        assert_eq!(bytes.nonzero().unwrap().to_vec::<u32>().unwrap(), [1, 3]);

        let x = Tensor::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3], &device);
        let mask = Tensor::new(&[1u8, 0, 1], [3], &device);
        assert_eq!(values(&x.masked_select(&mask).unwrap()), [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(x.masked_select(&Tensor::new(&[0u8], [1], &device)).unwrap().shape()[..], [0]);
        assert_eq!(values(&x.compress(&mask, Some(1)).unwrap()), [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(values(&x.compress(&mask, None).unwrap()), [0.0, 2.0]);
        assert_eq!(values(&x.compress(&Tensor::new(&[0i32, 9], [2], &device), Some(-2)).unwrap()), [3.0, 4.0, 5.0]);

        let labels = index(&[1, -1, 3, 0], &[2, 2], &device);
        let two = Tensor::new(&[-1.0, f32::INFINITY], [2], &device);
        let y = labels.one_hot_values(3, 1, &two);
        let hot = |at: [[usize; 2]; 3]| {
            at.concat().iter().map(|h| if *h == 1 { f32::INFINITY } else { -1.0 }).collect::<Vec<_>>()
        };
        let want = [hot([[0, 0], [1, 0], [0, 1]]), hot([[0, 1], [0, 0], [0, 0]])].concat();
        assert_eq!((y.shape().to_vec(), values(&y)), (vec![2, 3, 2], want));
        let bytes = labels.one_hot_values(2, -1, &Tensor::new(&[3u8, 9], [2], &device));
        assert_eq!(bytes.to_vec::<u8>().unwrap(), [3, 9, 3, 9, 3, 3, 9, 3]);
        assert_eq!(labels.one_hot_values(0, 0, &two).shape()[..], [0, 2, 2]);
    }
    check("masked_select", &[random([2, 3], 13, -1.0, 1.0)], |x| {
        x[0].masked_select(&Tensor::new(&[0u8, 1, 1], [3], x[0].device())).unwrap().square()
    });
    check("one_hot_values", &[random([2], 14, -1.0, 1.0)], |x| {
        index(&[0, 2, 1], &[3], x[0].device()).one_hot_values(3, 0, &x[0]).square()
    });
    check_forward("eye", &[random([3, 3], 15, -1.0, 1.0)], |x| x[0].mul(&Tensor::eye(3, 3, 0, x[0].device())));
}
