//! 16-bit floats: casts of all of them, how they move, and products of them against products of the same numbers in `f32`.

mod common;
#[path = "common/conv_cases.rs"]
mod conv_cases;
#[path = "common/half_products.rs"]
mod half_products;

use common::{devices, nmse, panic_message, random};
use half_products::{floats, rounded};
use tilegrad::{DType, Device, Half, HalfProducts, Tensor};

fn halves(x: &Tensor) -> Vec<u16> {
    x.to_vec::<Half>().expect("readback").iter().map(|v| v.to_bits()).collect()
}

/// All halves, in order of their bits.
fn all() -> Vec<Half> {
    (0..=u16::MAX).map(Half::from_bits).collect()
}

#[test]
fn every_half_becomes_its_number_and_comes_back() {
    let all = all();
    for device in devices() {
        let x = Tensor::new(&all, [all.len()], &device);
        let y = x.cast(DType::F32);
        for (half, got) in all.iter().zip(floats(&y)) {
            let want = f32::from(*half);
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{half:?}: {got} on {device}");
        }
        for (half, got) in all.iter().zip(halves(&y.cast(DType::F16))) {
            let same = got == half.to_bits() || f32::from(*half).is_nan() && f32::from(Half::from_bits(got)).is_nan();
            assert!(same, "{half:?}: comes back as {got:04x} on {device}");
        }
    }
}

#[test]
fn floats_round_to_the_nearest_half() {
    // Around every half and every middle of two; large, small and special ones.
    let middle = |v: &Half| (f32::from(*v) + f32::from(Half::from_bits(v.to_bits() + 1))) / 2.0;
    let finite = || all().into_iter().filter(|v| v.to_bits() & 0x7fff < 0x7bff);
    let mut x: Vec<f32> = finite().flat_map(|v| [f32::from(v), middle(&v)]).collect();
    x = x.iter().flat_map(|v| [v.next_down(), *v, v.next_up()]).collect();
    x.extend([65504.0, 65519.9, 65520.0, 65536.0, 1e9, f32::MAX, 1e-30, f32::MIN_POSITIVE, f32::INFINITY]);
    x.extend(x.iter().map(|v| -v).collect::<Vec<_>>());
    x.push(f32::NAN);
    for device in devices() {
        let got = halves(&Tensor::new(&x, [x.len()], &device).cast(DType::F16));
        for (v, got) in x.iter().zip(got) {
            let want = Half::from(*v).to_bits();
            assert!(
                got == want || v.is_nan() && f32::from(Half::from_bits(got)).is_nan(),
                "{v:e} on {device}: {got:04x}"
            );
        }
    }
}

#[test]
fn halves_are_cast_from_and_to_integers_through_floats() {
    for device in devices() {
        let ints = [0, 1, -1, 2049, 65504, 65519, 65520, i32::MAX, i32::MIN];
        let x = Tensor::new(&ints, [ints.len()], &device).cast(DType::F16);
        assert_eq!(x.to_vec::<Half>().unwrap(), ints.map(|v| Half::from(v as f32)), "{device}");
        assert_eq!(x.cast(DType::I32).to_vec::<i32>().unwrap()[..6], [0, 1, -1, 2048, 65504, 65504]);
        let x = Tensor::new(&[2.5, -0.0, f32::NAN, 300.0, -7.0], [5], &device).cast(DType::F16);
        assert_eq!(x.cast(DType::U8).to_vec::<u8>().unwrap(), [2, 0, 0, 255, 0]);
        assert_eq!(x.cast(DType::Bool).to_vec::<bool>().unwrap(), [true, false, true, true, true]);
        let bytes = Tensor::new(&[1u8, 2, 255], [3], &device).cast(DType::F16);
        assert_eq!(floats(&bytes.cast(DType::F32)), [1.0, 2.0, 255.0]);
    }
}

#[test]
fn halves_move_as_everything_else() {
    let values: Vec<f32> = (0..105).map(|v| v as f32 - 50.0).collect();
    for device in devices() {
        let (x, want) =
            (Tensor::new(&values, [3, 5, 7], &device).cast(DType::F16), Tensor::new(&values, [3, 5, 7], &device));
        let same = |x: &Tensor, want: &Tensor| assert_eq!(floats(&x.cast(DType::F32)), floats(want), "{device}");
        same(&x.permute(&[2, 0, 1]), &want.permute(&[2, 0, 1]));
        // From the middle of a word, of an odd number.
        same(&x.slice(&[1..2, 1..4, 3..6]), &want.slice(&[1..2, 1..4, 3..6]));
        same(&x.reshape([105]).slice(&[7..14]), &want.reshape([105]).slice(&[7..14]));
        same(&x.transpose().contiguous().reshape([15, 7]), &want.transpose().contiguous().reshape([15, 7]));
        same(&x.slice(&[0..1]).broadcast_to([2, 5, 7]), &want.slice(&[0..1]).broadcast_to([2, 5, 7]));
        assert_eq!(halves(&x.to(&Device::cpu()).unwrap()), halves(&x));
        assert_eq!(halves(&x.reshape([105]).slice(&[7..14])), halves(&x)[7..14]);
    }
}

#[test]
fn only_casts_views_and_products_take_halves() {
    for device in devices() {
        let x = Tensor::ones([2, 2], &device).cast(DType::F16);
        let refused = |op: &str, f: &dyn Fn() -> Tensor| {
            let want = format!(
                "{op}: input 0 is f16, which is only cast, viewed and multiplied\n  help: convert it with .cast(DType::F32)"
            );
            assert_eq!(panic_message(f), want);
        };
        refused("add", &|| x.add(&x));
        refused("relu", &|| x.relu());
        refused("sum", &|| x.sum());
        refused("max", &|| x.max_axes(&[0], false));
        refused("eq", &|| x.eq(&x));
        refused("concat", &|| Tensor::concat(&[&x, &x], 0));
        assert_eq!(
            panic_message(|| x.matmul(&x.cast(DType::F32))),
            "matmul: element types differ (f16 != f32)\n  help: convert one with .cast(DType::F16)"
        );
        assert_eq!(
            panic_message(|| x.linear(&x, Some(&Tensor::ones([2], &device).cast(DType::F16)), None)),
            "matmul: the bias is f16, expected f32"
        );
        assert_eq!(panic_message(|| x.cast(DType::I32).matmul(&x)), "matmul: input 0 is i32, expected f32 or f16");
        assert_eq!(
            panic_message(|| x.requires_grad()),
            "requires_grad: only f32 tensors have gradients, this one is f16"
        );
    }
}

#[test]
fn products_are_those_of_the_rounded_operands() {
    half_products::products();
}

#[test]
fn convolutions_are_those_of_the_rounded_operands() {
    half_products::convolutions();
}

#[test]
fn the_gradient_of_a_gradient_passes_through_halves() {
    // y = sum of (x w)^2 with x and w rounded: dy/dx = 2 x w w^T, and the sum of its squares is differentiated by w again.
    let (x, w) = (rounded(&random([2, 3], 1, -1.0, 1.0)), rounded(&random([3, 2], 2, -1.0, 1.0)));
    let penalty = |half: bool, device: &Device| {
        let leaf = |x: &Tensor| x.to(device).expect("upload").requires_grad();
        let (x, w) = (leaf(&x), leaf(&w));
        let operand = |x: &Tensor| if half { x.cast(DType::F16) } else { x.clone() };
        let y = operand(&x).matmul(&operand(&w)).square().sum();
        let dx = y.grad(&[&x])[0].clone().expect("x has a gradient");
        floats(dx.square().sum().backward().get(&w).expect("so has w"))
    };
    let want = penalty(false, &Device::cpu());
    for device in devices() {
        // The gradient between is rounded: 11 bits.
        assert!(nmse(&penalty(true, &device), &want) < 1e-6, "{device}");
    }
}

#[test]
fn what_a_half_cannot_hold_is_infinite() {
    for device in devices() {
        let x = Tensor::new(&[70000.0, 1.0], [1, 2], &device).requires_grad();
        let w = Tensor::new(&[1.0, 2.0], [2, 1], &device).cast(DType::F16);
        let y = x.cast(DType::F16).matmul(&w);
        assert_eq!(floats(&y), [f32::INFINITY]);
        let dy = Tensor::new(&[1e6], [1, 1], &device);
        assert_eq!(floats(y.backward_with(&dy).get(&x).unwrap()), [f32::INFINITY; 2]);
    }
}

#[test]
fn a_device_says_how_it_multiplies_halves() {
    for device in devices().iter().filter(|d| !d.is_gpu() || d.is_software()) {
        assert_eq!(device.half_products(), HalfProducts::AsF32, "{device}");
    }
}
