//! Comparisons, logic, where_cond and casts: values on both devices against Rust's own, views, messages.

mod common;

use common::{check, devices, panic_message, random};
use tilegrad::{DType, Device, Tensor};

type Compare = fn(&Tensor, &Tensor) -> Tensor;
type Rusts<T> = fn(&T, &T) -> bool;

const SPECIAL: [f32; 10] =
    [0.0, -0.0, 1.0, -1.0, 1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 4.0, -1e-40];

fn bools(x: &Tensor) -> Vec<bool> {
    x.to_vec::<bool>().unwrap()
}

#[test]
fn comparisons_are_rusts_for_every_type() {
    fn all_pairs<T: tilegrad::Element + PartialOrd>(values: &[T], device: &Device) {
        let n = values.len();
        let (l, r) = (Tensor::new(values, [n, 1], device), Tensor::new(values, [n], device));
        let rows: [(Compare, Rusts<T>); 6] = [
            (Tensor::eq, T::eq),
            (Tensor::ne, T::ne),
            (Tensor::gt, T::gt),
            (Tensor::ge, T::ge),
            (Tensor::lt, T::lt),
            (Tensor::le, T::le),
        ];
        for (i, (got, want)) in rows.into_iter().enumerate() {
            let y = got(&l, &r);
            assert_eq!((y.dtype(), &y.shape()[..]), (DType::Bool, &[n, n][..]));
            let want: Vec<bool> = values.iter().flat_map(|a| values.iter().map(move |b| want(a, b))).collect();
            assert_eq!(bools(&y), want, "comparison {i} of {} on {device}", l.dtype());
        }
    }
    for device in devices() {
        all_pairs(&SPECIAL, &device);
        all_pairs(&[i32::MIN, -5, -1, 0, 1, 7, i32::MAX], &device);
        all_pairs(&[0u32, 1, 7, 1 << 31, u32::MAX], &device);
        all_pairs(&[0u8, 1, 127, 128, 255], &device);
        all_pairs(&[false, true], &device);
    }
}

#[test]
fn logic_and_kinds_of_numbers() {
    for device in devices() {
        let (l, r) = (Tensor::new(&[false, true], [2, 1], &device), Tensor::new(&[false, true], [2], &device));
        assert_eq!(bools(&l.logical_and(&r)), [false, false, false, true]);
        assert_eq!(bools(&l.logical_or(&r)), [false, true, true, true]);
        assert_eq!(bools(&l.logical_xor(&r)), [false, true, true, false]);
        assert_eq!(bools(&l.logical_not()), [true, false]);
        let x = Tensor::new(&SPECIAL, [10], &device);
        let is = |f: fn(f32) -> bool| SPECIAL.map(f).to_vec();
        assert_eq!(bools(&x.is_nan()), is(f32::is_nan));
        assert_eq!(bools(&x.is_inf()), is(f32::is_infinite));
        assert_eq!(bools(&x.is_finite()), is(f32::is_finite));
        assert_eq!(bools(&x.is_negative_infinity()), is(|v| v == f32::NEG_INFINITY));
        // Of views: the condition of a transposed part, and a transposed condition.
        let x = random([5, 6], 1, -1.0, 1.0).to(&device).unwrap();
        let (zero, part) = (Tensor::scalar(0.0, &device), x.slice(&[1..4, 2..6]).transpose());
        let want: Vec<bool> = part.to_vec::<f32>().unwrap().iter().map(|v| *v > 0.0).collect();
        assert_eq!(bools(&part.gt(&zero)), want);
        assert_eq!(bools(&x.gt(&zero).slice(&[1..4, 2..6]).transpose()), want);
        assert!(bools(&Tensor::zeros([0, 3], &device).eq(&zero)).is_empty());
    }
}

#[test]
fn where_cond_chooses() {
    let (a, b) = (random([3, 4], 2, -1.0, 1.0), random([4], 3, -1.0, 1.0));
    let above =
        |x: &Tensor| Tensor::new(&[0.1], [1], x.device()).lt(&random([3, 1], 4, -1.0, 1.0).to(x.device()).unwrap());
    check("where_cond", &[a, b], |x| above(&x[0]).where_cond(&x[0].square(), &x[1]));
    for device in devices() {
        let cond = Tensor::new(&[true, false, true], [3], &device);
        let [a, b] = [[1u8, 2, 3], [4, 5, 6]].map(|v| Tensor::new(&v, [3], &device));
        assert_eq!(cond.where_cond(&a, &b).to_vec::<u8>().unwrap(), [1, 5, 3]);
        let [a, b] = [[-1i32], [7]].map(|v| Tensor::new(&v, [], &device));
        assert_eq!(cond.where_cond(&a, &b).to_vec::<i32>().unwrap(), [-1, 7, -1]);
        // What was not chosen has no say, forward or backward.
        let x = Tensor::new(&[f32::NAN, 2.0, f32::INFINITY], [3], &device).requires_grad();
        let y = cond.where_cond(&Tensor::scalar(1.0, &device), &x);
        assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 1.0]);
        let dx = y.sum().backward();
        assert_eq!(dx.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0, 1.0, 0.0]);
    }
}

#[test]
fn casts_are_rusts() {
    let floats = [0.0, -0.0, 0.4, -0.9, 1.0, -1.0, 254.9, 255.0, 256.5, -300.0, 2147483520.0, 2147483648.0];
    let more = [-2147483648.0, -2147483904.0, 4294967040.0, 4294967296.0, 1e30, f32::NAN, f32::INFINITY, -1e-40];
    let x: Vec<f32> = floats.into_iter().chain(more).chain([f32::NEG_INFINITY]).collect();
    let ints = [0, 1, -1, 127, 128, 255, 256, -129, 16_777_217, i32::MIN, i32::MAX];
    for device in devices() {
        let t = Tensor::new(&x, [x.len()], &device);
        assert_eq!(t.cast(DType::I32).to_vec::<i32>().unwrap(), x.iter().map(|v| *v as i32).collect::<Vec<_>>());
        assert_eq!(t.cast(DType::U32).to_vec::<u32>().unwrap(), x.iter().map(|v| *v as u32).collect::<Vec<_>>());
        assert_eq!(t.cast(DType::U8).to_vec::<u8>().unwrap(), x.iter().map(|v| *v as u8).collect::<Vec<_>>());
        assert_eq!(bools(&t.cast(DType::Bool)), x.iter().map(|v| *v != 0.0).collect::<Vec<_>>());
        let t = Tensor::new(&ints, [ints.len()], &device);
        assert_eq!(t.cast(DType::F32).to_vec::<f32>().unwrap(), ints.map(|v| v as f32));
        assert_eq!(t.cast(DType::U32).to_vec::<u32>().unwrap(), ints.map(|v| v as u32));
        assert_eq!(t.cast(DType::U8).to_vec::<u8>().unwrap(), ints.map(|v| v as u8));
        assert_eq!(bools(&t.cast(DType::Bool)), ints.map(|v| v != 0));
        // Of a view that starts inside a word, and back.
        let bytes = Tensor::new(&[1u8, 2, 3, 4, 5, 6, 7], [7], &device).slice(&[1..6]);
        assert_eq!(bytes.cast(DType::F32).to_vec::<f32>().unwrap(), [2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(bytes.cast(DType::U32).cast(DType::U8).to_vec::<u8>().unwrap(), [2, 3, 4, 5, 6]);
        assert_eq!(Tensor::new(&[2.5f32], [], &device).cast(DType::I32).to_vec::<i32>().unwrap(), [2]);
    }
}

#[test]
fn conditions_print_and_travel() {
    for device in devices() {
        let x = Tensor::new(&[true, false, true], [3], &device);
        assert_eq!(x.to_string(), "[ true false  true]\nbool [3]");
        assert_eq!(bools(&x.to(&Device::cpu()).unwrap()), [true, false, true]);
        x.assign(&[false, false, true]).unwrap();
        assert_eq!(bools(&x), [false, false, true]);
        let error = x.to_vec::<u8>().unwrap_err().to_string();
        assert_eq!(error, "to_vec: expected element type bool, got u8");
    }
}

#[test]
fn messages() {
    let d = Device::cpu();
    let (f, i, b) = (Tensor::zeros([2], &d), Tensor::new(&[1i32, 2], [2], &d), Tensor::new(&[true, false], [2], &d));
    assert_eq!(
        panic_message(|| f.eq(&i)),
        "eq: element types differ (f32 != i32)\n  help: convert one with .cast(DType::F32)"
    );
    assert_eq!(panic_message(|| f.logical_and(&b)), "logical_and: input 0 is f32, expected bool");
    assert_eq!(panic_message(|| f.logical_not()), "logical_not: input 0 is f32, expected bool");
    assert_eq!(panic_message(|| i.is_nan()), "is_nan: input 0 is i32, expected f32");
    assert_eq!(panic_message(|| i.is_inf()), "is_inf: input 0 is i32, expected f32");
    assert_eq!(panic_message(|| i.is_finite()), "is_finite: input 0 is i32, expected f32");
    assert_eq!(
        panic_message(|| f.where_cond(&f, &f)),
        "where_cond: the condition is f32, expected bool\n  \
         help: compare with .ne(..), or convert with .cast(DType::Bool)"
    );
    assert_eq!(
        panic_message(|| b.where_cond(&f, &i)),
        "where_cond: element types differ (f32 != i32)\n  help: convert one with .cast(DType::F32)"
    );
    assert_eq!(
        panic_message(|| b.where_cond(&Tensor::zeros([3], &d), &f)),
        "where_cond: shapes do not broadcast (3 != 2)\n  lhs: [3]   axis 0 = 3\n  rhs: [2]   axis 0 = 2\n  \
         help: axes are aligned at the last one; lengths must be equal, or one of them 1"
    );
}
