//! Padding: constants and numpy's modes against index arithmetic written out, crops, gradients, every element type.

mod common;

use common::{check, devices, panic_message, random};
use tilegrad::Tensor;

type Pad = fn(&Tensor, &[(isize, isize)]) -> Tensor;
/// Which element of an axis stands at a position, given the axis's length.
type Source = fn(i64, i64) -> i64;

/// The modes.
const MODES: [(&str, Pad, Source); 4] = [
    ("reflect", Tensor::pad_reflect, |at, n| {
        let mut at = at;
        while n > 1 && !(0..n).contains(&at) {
            at = if at < 0 { -at } else { 2 * (n - 1) - at };
        }
        if n == 1 { 0 } else { at }
    }),
    ("symmetric", Tensor::pad_symmetric, |at, n| {
        let mut at = at;
        while !(0..n).contains(&at) {
            at = if at < 0 { -1 - at } else { 2 * n - 1 - at };
        }
        at
    }),
    ("edge", Tensor::pad_edge, |at, n| at.clamp(0, n - 1)),
    ("wrap", Tensor::pad_wrap, |at, n| at.rem_euclid(n)),
];

#[test]
fn the_modes_take_the_tensors_own_elements() {
    for device in devices() {
        for (name, pad, source) in MODES {
            for n in 1..=5i64 {
                let x = Tensor::new(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), [n as usize], &device);
                let many: &[(isize, isize)] = if device.is_gpu() {
                    &[(2, 3), (9, 0), (100, 150)]
                } else {
                    &[(0, 0), (1, 0), (0, 1), (2, 3), (9, 0), (0, 11), (7, 7), (100, 150), (33, 210)]
                };
                for &(before, after) in many {
                    let want: Vec<f32> = (-before as i64..n + after as i64).map(|at| source(at, n) as f32).collect();
                    let got: Vec<f32> = pad(&x, &[(before, after)]).to_vec().unwrap();
                    assert_eq!(got, want, "{name} of {n} by ({before}, {after}) on {device}");
                }
            }
            // Two axes at once, with a crop.
            let x = Tensor::new(&(0..20).map(|i| i as f32).collect::<Vec<_>>(), [4, 5], &device);
            let got: Vec<f32> = pad(&x, &[(2, -1), (-1, 3)]).to_vec().unwrap();
            let mut want = Vec::new();
            for i in -2..3 {
                want.extend((0..7).map(|j| (5 * source(i, 3) + 1 + source(j, 4)) as f32));
            }
            assert_eq!(got, want, "{name} of two axes on {device}");
            assert_eq!(pad(&x.slice(&[0..0]), &[(0, 0), (1, 1)]).shape()[..], [0, 7], "{name}");
        }
    }
}

#[test]
fn constants_and_crops() {
    for device in devices() {
        let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [2, 2], &device);
        let seven = Tensor::scalar(7.0, &device);
        let y = x.pad_constant(&[(-1, 1), (1, 0)], &seven);
        assert_eq!(y.to_vec::<f32>().unwrap(), [7.0, 3.0, 4.0, 7.0, 7.0, 7.0]);
        assert_eq!(x.pad_constant(&[(-1, -1)], &seven).shape()[..], [0, 2]);
        assert_eq!(x.pad_constant(&[], &seven).to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let nothing = x.slice(&[0..0]);
        assert_eq!(nothing.pad_constant(&[(1, 0)], &seven).to_vec::<f32>().unwrap(), [7.0, 7.0]);
        assert_eq!(nothing.pad(&[(1, 0)], 7.0).to_vec::<f32>().unwrap(), [7.0, 7.0]);
        let odd = Tensor::scalar(f32::NEG_INFINITY, &device);
        assert_eq!(x.pad_constant(&[(0, 0), (0, 1)], &odd).to_vec::<f32>().unwrap()[2], f32::NEG_INFINITY);
        // Whole numbers, which no f32 holds.
        let big = Tensor::new(&[i32::MAX - 1], [1], &device);
        let y = big.pad_constant(&[(1, 1)], &Tensor::new(&[i32::MIN + 1], [], &device));
        assert_eq!(y.to_vec::<i32>().unwrap(), [i32::MIN + 1, i32::MAX - 1, i32::MIN + 1]);
        let bytes = Tensor::new(&[1u8, 2, 3], [3], &device);
        assert_eq!(bytes.pad(&[(2, 3)], 9.0).to_vec::<u8>().unwrap(), [9, 9, 1, 2, 3, 9, 9, 9]);
        assert_eq!(bytes.pad_reflect(&[(2, 3)]).to_vec::<u8>().unwrap(), [3, 2, 1, 2, 3, 2, 1, 2]);
        assert_eq!(bytes.pad_edge(&[(5, -1)]).to_vec::<u8>().unwrap(), [1, 1, 1, 1, 1, 1, 2]);
        let words = Tensor::new(&[1u32, 2, 3], [3], &device);
        assert_eq!(words.pad(&[(1, 0)], -3.0).to_vec::<u32>().unwrap(), [0, 1, 2, 3]);
        assert_eq!(words.pad_wrap(&[(1, 1)]).to_vec::<u32>().unwrap(), [3, 1, 2, 3, 1]);
    }
}

#[test]
fn gradients_go_to_the_elements_that_were_taken() {
    let x = random([3, 4], 1, -1.0, 1.0);
    for (name, pad, _) in MODES {
        check(name, std::slice::from_ref(&x), |x| pad(&x[0], &[(4, -1), (2, 3)]).square());
        check(&format!("{name} far"), std::slice::from_ref(&x), |x| pad(&x[0], &[(0, 0), (90, 70)]).square());
    }
    check("constant", &[x.clone(), random([], 2, -1.0, 1.0)], |x| {
        x[0].pad_constant(&[(1, 0), (-1, 2)], &x[1]).square()
    });
    check("gradient of a padded tensor's gradient", std::slice::from_ref(&x), |x| {
        let x = common::leaf(&x[0]);
        let y = x.pad_reflect(&[(1, 2), (3, 0)]);
        y.mul(&y).mul(&y).grad(&[&x])[0].clone().unwrap()
    });
}

#[test]
fn mistakes_say_what_is_wrong() {
    for d in devices() {
        let x = Tensor::zeros([2, 3], &d);
        let one = Tensor::scalar(1.0, &d);
        assert_eq!(panic_message(|| x.pad(&[(0, 1), (0, 0), (1, 1)], 0.0)), "pad: 3 widths for 2 axes\n  x: [2, 3]");
        assert_eq!(
            panic_message(|| x.pad_reflect(&[(0, 0), (-2, -2)])),
            "pad_reflect: widths (-2, -2) crop more than axis 1 has\n  x: [2, 3]   axis 1 = 3"
        );
        assert_eq!(
            panic_message(|| x.slice(&[0..2, 0..0]).pad_edge(&[(0, 0), (1, 0)])),
            "pad_edge: axis 1 has no elements to pad with\n  x: [2, 0]   axis 1 = 0"
        );
        assert_eq!(
            panic_message(|| x.pad_constant(&[(1, 1)], &x)),
            "pad_constant: the value has 6 elements, expected 1\n  value: [2, 3]"
        );
        assert_eq!(
            panic_message(|| x.pad_constant(&[(1, 1)], &Tensor::new(&[1i32], [1], &d))),
            "pad_constant: the value is i32, the tensor f32"
        );
        let huge = panic_message(|| x.pad_wrap(&[(isize::MAX, isize::MAX), (1, 1)]));
        assert!(huge.starts_with("shape: [18446744073709551615, 5] has more elements than"), "{huge}");
        assert!(panic_message(|| one.pad_edge(&[(1, 1)])).starts_with("pad_edge: 1 widths for 0 axes"));
        assert_eq!(one.pad_edge(&[]).item().unwrap(), 1.0);
    }
}
