//! Arithmetic of integers: every pair of some telling numbers on both devices, against Rust's own operators.

mod common;

use common::{devices, panic_message};
use tilegrad::{Device, Element, Tensor};

type Two = fn(&Tensor, &Tensor) -> Tensor;

/// A name, the method, and Rust's own function.
type Row<T> = (&'static str, Two, fn(T, T) -> T);

#[track_caller]
fn all_pairs<T: Element + PartialEq + Copy, const N: usize>(values: &[T], rows: [Row<T>; N]) {
    for device in devices() {
        let n = values.len();
        let (l, r) = (Tensor::new(values, [n, 1], &device), Tensor::new(values, [n], &device));
        for (name, got, want) in rows {
            let want: Vec<T> = values.iter().flat_map(|&a| values.iter().map(move |&b| want(a, b))).collect();
            assert_eq!(got(&l, &r).to_vec::<T>().unwrap(), want, "{name} of {} on {device}", l.dtype());
        }
    }
}

#[test]
fn signed() {
    // Python's remainder, and numpy's power.
    let remainder = |a: i32, b: i32| if b == 0 { 0 } else { (i64::from(a) - i64::from(b) * floor(a, b)) as i32 };
    let pow = |a: i32, b: i32| match (a, b) {
        (_, 0..) => a.wrapping_pow(b as u32),
        (1, _) => 1,
        (-1, _) => 1 - 2 * (b & 1),
        _ => 0,
    };
    all_pairs(
        &[i32::MIN, -100_000, -7, -3, -2, -1, 0, 1, 2, 3, 7, 13, 100_000, i32::MAX],
        [
            ("add", Tensor::add, i32::wrapping_add),
            ("sub", Tensor::sub, i32::wrapping_sub),
            ("mul", Tensor::mul, i32::wrapping_mul),
            ("div", Tensor::div, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
            ("fmod", Tensor::fmod, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
            ("remainder", Tensor::remainder, remainder),
            ("pow", Tensor::pow, pow),
            ("maximum", Tensor::maximum, i32::max),
            ("minimum", Tensor::minimum, i32::min),
            ("bitwise_and", Tensor::bitwise_and, |a, b| a & b),
            ("shift_right", Tensor::shift_right, |a, b| if (0..32).contains(&b) { a >> b } else { a >> 31 }),
        ],
    );
}

fn floor(a: i32, b: i32) -> i64 {
    (f64::from(a) / f64::from(b)).floor() as i64
}

#[test]
fn unsigned() {
    all_pairs(
        &[0u32, 1, 2, 3, 31, 32, 255, 65_537, 1 << 31, u32::MAX],
        [
            ("add", Tensor::add, u32::wrapping_add),
            ("sub", Tensor::sub, u32::wrapping_sub),
            ("mul", Tensor::mul, u32::wrapping_mul),
            ("div", Tensor::div, |a, b| a.checked_div(b).unwrap_or(0)),
            ("remainder", Tensor::remainder, |a, b| a.checked_rem(b).unwrap_or(0)),
            ("pow", Tensor::pow, u32::wrapping_pow),
            ("maximum", Tensor::maximum, u32::max),
            ("minimum", Tensor::minimum, u32::min),
            ("bitwise_or", Tensor::bitwise_or, |a, b| a | b),
            ("bitwise_xor", Tensor::bitwise_xor, |a, b| a ^ b),
            ("shift_left", Tensor::shift_left, |a, b| a.checked_shl(b).unwrap_or(0)),
            ("shift_right", Tensor::shift_right, |a, b| a.checked_shr(b).unwrap_or(0)),
        ],
    );
}

#[test]
fn bytes_wrap() {
    all_pairs(
        &[0u8, 1, 2, 7, 100, 128, 200, 255],
        [
            ("add", Tensor::add, u8::wrapping_add),
            ("sub", Tensor::sub, u8::wrapping_sub),
            ("mul", Tensor::mul, u8::wrapping_mul),
            ("div", Tensor::div, |a, b| a.checked_div(b).unwrap_or(0)),
            ("remainder", Tensor::remainder, |a, b| a.checked_rem(b).unwrap_or(0)),
            ("maximum", Tensor::maximum, u8::max),
            ("pow", Tensor::pow, |a, b| a.wrapping_pow(b.into())),
        ],
    );
}

#[test]
fn signs() {
    for device in devices() {
        let x = Tensor::new(&[i32::MIN, -3, 0, 5], [4], &device);
        assert_eq!(x.neg().to_vec::<i32>().unwrap(), [i32::MIN, 3, 0, -5]);
        assert_eq!(x.abs().to_vec::<i32>().unwrap(), [i32::MIN, 3, 0, 5]);
        assert_eq!(x.sign().to_vec::<i32>().unwrap(), [-1, -1, 0, 1]);
        let x = Tensor::new(&[0u8, 1, 200], [3], &device);
        assert_eq!(x.neg().to_vec::<u8>().unwrap(), [0, 255, 56]);
        assert_eq!(x.abs().to_vec::<u8>().unwrap(), [0, 1, 200]);
        assert_eq!(x.sign().to_vec::<u8>().unwrap(), [0, 1, 1]);
    }
}

#[test]
fn broadcasts_and_reads_views() {
    for device in devices() {
        let x = Tensor::new(&(0..24).collect::<Vec<i32>>(), [2, 3, 4], &device);
        let y = x.permute(&[2, 0, 1]).add(&Tensor::new(&[100, 200, 300], [3], &device));
        let want: Vec<i32> = (0..24).map(|i| (i % 6) / 3 * 12 + i % 3 * 4 + i / 6 + (i % 3 + 1) * 100).collect();
        assert_eq!(y.to_vec::<i32>().unwrap(), want);
        assert!(
            Tensor::new::<i32>(&[], [0, 3], &device)
                .mul(&x.slice(&[0..1, 0..1, 0..1]))
                .to_vec::<i32>()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn messages() {
    let d = Device::cpu();
    let (f, i, b) = (Tensor::zeros([2], &d), Tensor::new(&[1i32, 2], [2], &d), Tensor::new(&[true, false], [2], &d));
    assert_eq!(
        panic_message(|| i.add(&f)),
        "add: element types differ (i32 != f32)\n  help: convert one with .cast(DType::I32)"
    );
    assert_eq!(
        panic_message(|| f.mul(&i)),
        "mul: element types differ (f32 != i32)\n  help: convert one with .cast(DType::F32)"
    );
    assert_eq!(
        panic_message(|| b.add(&b)),
        "add: there is no arithmetic of conditions\n  help: combine them with logical_and, logical_or, logical_xor, \
         or calculate with .cast(DType::F32)"
    );
    assert_eq!(panic_message(|| f.bitwise_and(&f)), "bitwise_and: input 0 is f32, expected an integer");
}
