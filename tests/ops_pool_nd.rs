//! Pooling over one, two and three axes against its definition in plain loops: maxima, means, norms, positions, ceil mode.

mod common;

use common::{Lcg, check_with, devices, nmse, panic_message, random};
use tilegrad::{Device, Padding, Pooling, Shape, Tensor, Window};

/// What a window makes of its elements. Each has its value, its position in the image, and whether it is padding.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Max,
    Mean { count_padding: bool },
    Norm(f32),
}

/// Input, size, stride, dilation, padding before and after of one axis.
type AxisSizes = (usize, usize, usize, usize, [usize; 2]);

/// Output positions by the rule of PyTorch.
fn outputs((input, size, stride, dilation, [before, after]): AxisSizes, ceil: bool) -> usize {
    let room = (input + before + after) as isize - (dilation * (size - 1) + 1) as isize;
    let rounded = room + if ceil { stride as isize - 1 } else { 0 };
    let count = rounded.div_euclid(stride as isize) + 1;
    if ceil && (count - 1) * stride as isize >= (input + before) as isize { count as usize - 1 } else { count as usize }
}

/// Values and positions of pooling `x (n, axes.., c)`.
fn reference(x: &[f32], n: usize, axes: [AxisSizes; 3], c: usize, ceil: bool, kind: Kind) -> (Vec<f32>, Vec<u32>) {
    let [d, h, w] = axes;
    let count = axes.map(|a| outputs(a, ceil));
    let (mut values, mut positions) = (Vec::new(), Vec::new());
    for i in 0..n * count[0] * count[1] * count[2] * c {
        let at = [i / (count[1] * count[2] * c) % count[0], i / (count[2] * c) % count[1], i / c % count[2]];
        let image = i / (count[0] * count[1] * count[2] * c);
        let (mut best, mut position, mut sum, mut inside, mut padded) = (f32::NEG_INFINITY, u32::MAX, 0.0f64, 0, 0);
        for tap in 0..d.1 * h.1 * w.1 {
            let tap = [tap / (h.1 * w.1), tap / w.1 % h.1, tap % w.1];
            // In the padded image.
            let place: Vec<usize> = (0..3).map(|k| at[k] * axes[k].2 + tap[k] * axes[k].3).collect();
            if (0..3).any(|k| place[k] >= axes[k].4[0] + axes[k].0 + axes[k].4[1]) {
                continue;
            }
            padded += 1;
            if (0..3).any(|k| !(axes[k].4[0]..axes[k].4[0] + axes[k].0).contains(&place[k])) {
                continue;
            }
            inside += 1;
            let [z, y, x0] = [0, 1, 2].map(|k| place[k] - axes[k].4[0]);
            let pixel = (z * h.0 + y) * w.0 + x0;
            let v = x[(image * d.0 * h.0 * w.0 + pixel) * c + i % c];
            if position == u32::MAX || v > best {
                (best, position) = (v, pixel as u32);
            }
            sum += match kind {
                Kind::Norm(p) => f64::from(v.abs()).powf(f64::from(p)),
                _ => f64::from(v),
            };
        }
        values.push(match kind {
            Kind::Max => best,
            Kind::Mean { count_padding } => {
                (sum / f64::from(if count_padding { padded } else { inside }.max(1))) as f32
            }
            Kind::Norm(p) => sum.powf(1.0 / f64::from(p)) as f32,
        });
        positions.push(position);
    }
    (values, positions)
}

/// A shuffle of numbers that are 0.004 apart and none of them 0.
fn distinct(shape: &[usize], seed: u64) -> Tensor {
    let mut values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 * 0.004 - 0.901).collect();
    let mut lcg = Lcg::new(seed);
    for i in (1..values.len()).rev() {
        values.swap(i, lcg.next_u32() as usize % (i + 1));
    }
    Tensor::new(&values, shape, &Device::cpu())
}

/// The part of an axis that windows share: size, stride, dilation, padding.
const GEOMETRIES: [(&str, usize, usize, usize, [usize; 2]); 8] = [
    ("halves", 2, 2, 1, [0, 0]),
    ("overlapping", 3, 2, 1, [1, 0]),
    ("steps of one", 3, 1, 1, [1, 1]),
    ("gaps", 2, 3, 1, [0, 1]),
    ("dilated", 3, 1, 2, [2, 1]),
    ("dilated in steps", 2, 2, 3, [1, 2]),
    ("last window starts in padding", 3, 3, 1, [1, 1]),
    ("padding past the window", 2, 2, 1, [3, 2]),
];

fn window<const N: usize>((_, size, stride, dilation, sides): (&str, usize, usize, usize, [usize; 2])) -> Window<N> {
    Window { size: [size; N], stride: [stride; N], dilation: [dilation; N], padding: Padding::Explicit([sides; N]) }
}

fn pool1(x: &Tensor, w: Pooling<1>, kind: Kind) -> Tensor {
    match kind {
        Kind::Max => x.max_pool1d(w),
        Kind::Mean { count_padding: false } => x.avg_pool1d(w),
        Kind::Mean { count_padding: true } => x.avg_pool1d_with_padding(w),
        Kind::Norm(p) => x.lp_pool1d(w, p),
    }
}

fn pool2(x: &Tensor, w: Pooling<2>, kind: Kind) -> Tensor {
    match kind {
        Kind::Max => x.max_pool2d(w),
        Kind::Mean { count_padding: false } => x.avg_pool2d(w),
        Kind::Mean { count_padding: true } => x.avg_pool2d_with_padding(w),
        Kind::Norm(p) => x.lp_pool2d(w, p),
    }
}

fn pool3(x: &Tensor, w: Pooling<3>, kind: Kind) -> Tensor {
    match kind {
        Kind::Max => x.max_pool3d(w),
        Kind::Mean { count_padding: false } => x.avg_pool3d(w),
        Kind::Mean { count_padding: true } => x.avg_pool3d_with_padding(w),
        Kind::Norm(p) => x.lp_pool3d(w, p),
    }
}

const KINDS: [Kind; 6] = [
    Kind::Max,
    Kind::Mean { count_padding: false },
    Kind::Mean { count_padding: true },
    Kind::Norm(1.0),
    Kind::Norm(2.0),
    Kind::Norm(3.5),
];

/// Holds one pooling to the definition, with its positions if it has them.
#[track_caller]
fn compare(name: &str, got: &Tensor, positions: Option<&Tensor>, want: &(Vec<f32>, Vec<u32>)) {
    let got = got.to_vec::<f32>().unwrap();
    let finite = |v: &[f32]| v.iter().map(|v| v.max(-1e9)).collect::<Vec<_>>();
    assert!(nmse(&finite(&got), &finite(&want.0)) < 1e-10, "{name}: {got:?} is not {:?}", want.0);
    if let Some(positions) = positions {
        assert_eq!(positions.to_vec::<u32>().unwrap(), want.1, "{name}: positions");
    }
}

/// Calls `f` with a description, a geometry, ceil mode and a kind: ceil mode only where it makes a difference to `inputs`.
fn for_each_pooling(inputs: &[usize], mut f: impl FnMut(String, usize, bool, Kind)) {
    for (i, (name, size, stride, dilation, sides)) in GEOMETRIES.into_iter().enumerate() {
        let count = |input: usize, ceil| outputs((input, size, stride, dilation, sides), ceil);
        for ceil in [false, true] {
            if !ceil || inputs.iter().any(|&n| count(n, false) != count(n, true)) {
                KINDS.iter().for_each(|&kind| f(format!("{name}, {kind:?}, ceil {ceil}"), i, ceil, kind));
            }
        }
    }
}

/// An axis of this length under a geometry.
fn axis(i: usize, input: usize) -> AxisSizes {
    let (_, size, stride, dilation, sides) = GEOMETRIES[i];
    (input, size, stride, dilation, sides)
}

const ONE: AxisSizes = (1, 1, 1, 1, [0, 0]);

#[test]
fn one_axis_by_definition() {
    let x = distinct(&[2, 9, 3], 1);
    let values = x.to_vec::<f32>().unwrap();
    for device in devices() {
        let x = x.to(&device).unwrap();
        for_each_pooling(&[9], |name, i, ceil, kind| {
            let pooling = Pooling { window: window::<1>(GEOMETRIES[i]), ceil };
            let want = reference(&values, 2, [ONE, ONE, axis(i, 9)], 3, ceil, kind);
            let positions = matches!(kind, Kind::Max).then(|| x.max_pool1d_with_indices(pooling).1);
            compare(&format!("{name} on {device}"), &pool1(&x, pooling, kind), positions.as_ref(), &want);
        });
    }
}

#[test]
fn two_axes_by_definition() {
    let x = distinct(&[2, 8, 7, 3], 2);
    let values = x.to_vec::<f32>().unwrap();
    for device in devices() {
        let x = x.to(&device).unwrap();
        for_each_pooling(&[8, 7], |name, i, ceil, kind| {
            let pooling = Pooling { window: window::<2>(GEOMETRIES[i]), ceil };
            let want = reference(&values, 2, [ONE, axis(i, 8), axis(i, 7)], 3, ceil, kind);
            let positions = matches!(kind, Kind::Max).then(|| x.max_pool2d_with_indices(pooling).1);
            compare(&format!("{name} on {device}"), &pool2(&x, pooling, kind), positions.as_ref(), &want);
        });
    }
}

#[test]
fn three_axes_by_definition() {
    let x = distinct(&[2, 5, 6, 5, 2], 3);
    let values = x.to_vec::<f32>().unwrap();
    for device in devices() {
        let x = x.to(&device).unwrap();
        for_each_pooling(&[5, 6], |name, i, ceil, kind| {
            let pooling = Pooling { window: window::<3>(GEOMETRIES[i]), ceil };
            let want = reference(&values, 2, [axis(i, 5), axis(i, 6), axis(i, 5)], 2, ceil, kind);
            let positions = matches!(kind, Kind::Max).then(|| x.max_pool3d_with_indices(pooling).1);
            compare(&format!("{name} on {device}"), &pool3(&x, pooling, kind), positions.as_ref(), &want);
        });
    }
}

#[test]
fn gradients() {
    for geometry in [GEOMETRIES[0], GEOMETRIES[1], GEOMETRIES[5], GEOMETRIES[7]] {
        for kind in KINDS {
            // Windows of padding only have minus infinity as their largest, which finite differences can't take.
            let finite = |y: Tensor| if matches!(kind, Kind::Max) { y.clip(-10.0, 10.0) } else { y };
            let ceil = Pooling { window: window::<1>(geometry), ceil: true };
            let name = format!("{} {kind:?}", geometry.0);
            check_with(&format!("1-D {name}"), &[distinct(&[2, 9, 3], 4)], 1e-3, |x| finite(pool1(&x[0], ceil, kind)));
            let ceil = Pooling { window: window::<2>(geometry), ceil: true };
            check_with(&format!("2-D {name}"), &[distinct(&[1, 7, 6, 4], 5)], 1e-3, |x| {
                finite(pool2(&x[0], ceil, kind))
            });
            let ceil = Pooling { window: window::<3>(geometry), ceil: true };
            check_with(&format!("3-D {name}"), &[distinct(&[1, 5, 4, 5, 2], 6)], 1e-3, |x| {
                finite(pool3(&x[0], ceil, kind))
            });
        }
    }
}

#[test]
fn second_derivatives() {
    let ceil = |i: usize| Pooling { window: window::<2>(GEOMETRIES[i]), ceil: true };
    for kind in [Kind::Max, Kind::Mean { count_padding: true }, Kind::Norm(1.0), Kind::Norm(2.0), Kind::Norm(3.0)] {
        for i in [1, 4] {
            check_with(&format!("gradient of {kind:?} in 2-D"), &[distinct(&[1, 6, 5, 2], 7)], 1e-3, |x| {
                let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
                let y = pool2(&x, ceil(i), kind);
                y.mul(&y).sum().grad(&[&x])[0].clone().expect("y depends on x")
            });
        }
        check_with(&format!("gradient of {kind:?} in 3-D"), &[distinct(&[1, 4, 4, 3, 2], 8)], 1e-3, |x| {
            let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
            let y = pool3(&x, Pooling { window: window::<3>(GEOMETRIES[1]), ceil: true }, kind);
            y.mul(&y).sum().grad(&[&x])[0].clone().expect("y depends on x")
        });
    }
}

#[test]
fn same_padding_in_three_axes() {
    for device in devices() {
        let x = random([1, 5, 4, 3, 1], 9, -1.0, 1.0);
        let values = x.to_vec::<f32>().unwrap();
        let x = x.to(&device).unwrap();
        for (padding, sides) in [(Padding::Same, [0, 1]), (Padding::SameLower, [1, 0])] {
            let axis = |input| (input, 2, 1, 1, sides);
            let want =
                reference(&values, 1, [axis(5), axis(4), axis(3)], 1, false, Kind::Mean { count_padding: false });
            let same = Window { size: [2; 3], stride: [1; 3], dilation: [1; 3], padding };
            let y = x.avg_pool3d(same);
            assert_eq!(y.shape()[..], [1, 5, 4, 3, 1]);
            compare(&format!("{padding:?}"), &y, None, &want);
        }
    }
}

#[test]
fn global_pools() {
    for device in devices() {
        let x = Tensor::new(&[1.0, -2.0, 3.0, 4.0, 5.0, -6.0], [1, 3, 1, 2], &device);
        let pooled = |y: Tensor| (y.shape().to_vec(), y.to_vec::<f32>().unwrap());
        assert_eq!(pooled(x.global_max_pool(true)), (vec![1, 1, 1, 2], vec![5.0, 4.0]));
        assert_eq!(pooled(x.global_avg_pool(false)).0, [1, 2]);
        assert!(nmse(&pooled(x.global_avg_pool(false)).1, &[3.0, -4.0 / 3.0]) < 1e-12);
        assert!(nmse(&pooled(x.global_lp_pool(2.0, false)).1, &[35f32.sqrt(), 56f32.sqrt()]) < 1e-12);
        assert_eq!(pooled(x.global_lp_pool(1.0, true)), (vec![1, 1, 1, 2], vec![9.0, 12.0]));
    }
    for p in [1.0, 2.0, 3.0] {
        check_with("global_lp_pool", &[distinct(&[2, 4, 3, 2], 10)], 1e-3, |x| x[0].global_lp_pool(p, true));
        check_with("global_lp_pool of a line", &[distinct(&[2, 7, 2], 11)], 1e-3, |x| x[0].global_lp_pool(p, false));
    }
    check_with("global_max_pool", &[distinct(&[2, 3, 2, 2, 2], 12)], 1e-3, |x| x[0].global_max_pool(false));
    check_with("global_avg_pool", &[distinct(&[2, 3, 2, 2, 2], 13)], 1e-3, |x| x[0].global_avg_pool(true));
}

#[test]
fn norms_of_large_small_and_special_numbers() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let rows = [
        [3e30, -4e30],
        [3e-30, 4e-30],
        [3e38, 1e38],
        [0.0, -0.0],
        [inf, 1.0],
        [-inf, inf],
        [nan, 1.0],
        [inf, nan],
        [1e-40, 0.0],
        [1e-40, 1.0],
    ];
    let window = Window { size: [1, 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid };
    for device in devices() {
        for p in [1.0, 2.0, 3.0] {
            let x = Tensor::new(rows.as_flattened(), [10, 1, 2, 1], &device).requires_grad();
            for (name, y) in [("window", x.lp_pool2d(window, p)), ("global", x.global_lp_pool(p, true))] {
                let name = format!("{name} {p} on {device}");
                let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
                let y = y.to_vec::<f32>().unwrap();
                let norm = |a: f32, b: f32| {
                    let scale = f64::from(a.max(b));
                    let power = |v: f32| (f64::from(v) / scale).powf(f64::from(p));
                    scale * (power(a) + power(b)).powf(1.0 / f64::from(p))
                };
                for (got, want) in y.iter().zip([norm(3e30, 4e30), norm(3e-30, 4e-30), norm(3e38, 1e38)]) {
                    let want = want as f32;
                    assert!(*got == want || ((got - want) / want).abs() < 1e-5, "{name}: {got} is not {want}");
                }
                assert_eq!(y[3], 0.0, "{name}");
                assert!(y[4] == inf && y[5] == inf && y[6].is_nan() && y[7].is_nan(), "{name}: {y:?}");
                assert!(y[8].abs() <= 1e-38 && y[9] == 1.0, "{name}: {y:?}");
                // |x| / y to the power of p - 1, whatever the size; zeros have none.
                let slope = |i: usize| (rows[i / 2][i % 2].abs() / y[i / 2]).powf(p - 1.0);
                for i in [0, 2, 3] {
                    assert!((dx[i].abs() - slope(i)).abs() < 1e-5, "{name}: {dx:?}");
                }
                assert!(dx[1] < 0.0 && dx[6] == 0.0 && dx[7] == 0.0, "{name}: {dx:?}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_in_three_axes() {
    let inf = f32::INFINITY;
    let halve = Window { size: [2; 3], stride: [2; 3], dilation: [1; 3], padding: Padding::Valid };
    for device in devices() {
        for (place, v, want) in [(5, f32::NAN, 5), (2, inf, 2), (7, 1.0, 7), (0, f32::NAN, 0)] {
            let mut values = [-inf; 8];
            values[place] = v;
            let x = Tensor::new(&values, [1, 2, 2, 2, 1], &device).requires_grad();
            let (y, positions) = x.max_pool3d_with_indices(halve);
            assert_eq!(positions.to_vec::<u32>().unwrap(), [want], "on {device}");
            let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
            assert_eq!(dx.iter().position(|d| *d == 1.0), Some(place));
            let y = y.item().unwrap();
            assert!(y == v || (y.is_nan() && v.is_nan()), "{y}");
        }
        // The first of equal elements, through both passes.
        let ties = Tensor::full(-inf, [1, 2, 2, 2, 1], &device);
        assert_eq!(ties.max_pool3d_with_indices(halve).1.to_vec::<u32>().unwrap(), [0]);
    }
}

#[test]
fn empty_tensors() {
    let halve = Window { size: [2; 3], stride: [2; 3], dilation: [1; 3], padding: Padding::Valid };
    let around = Window { padding: Padding::Explicit([[1, 1]; 3]), ..halve };
    for device in devices() {
        for (shape, want) in [([0, 4, 4, 4, 3], [0, 2, 2, 2, 3]), ([2, 4, 4, 4, 0], [2, 2, 2, 2, 0])] {
            let x = Tensor::zeros(shape, &device).requires_grad();
            for y in [x.max_pool3d(halve), x.avg_pool3d(halve), x.lp_pool3d(halve, 3.0)] {
                assert_eq!(y.shape()[..], want);
                assert_eq!(y.backward().get(&x).unwrap().shape()[..], shape);
            }
        }
        // An image without pixels still has padding.
        let x = Tensor::zeros([1, 0, 0, 0, 1], &device).requires_grad();
        let (largest, positions) = x.max_pool3d_with_indices(around);
        assert_eq!((largest.item().unwrap(), positions.to_vec::<u32>().unwrap()), (f32::NEG_INFINITY, vec![u32::MAX]));
        assert_eq!(largest.backward().get(&x).unwrap().len(), 0);
        assert_eq!(x.avg_pool3d_with_padding(around).item().unwrap(), 0.0);
        assert_eq!(x.lp_pool3d(around, 2.0).item().unwrap(), 0.0);
    }
}

#[test]
fn mistakes_say_what_is_wrong() {
    let x = Tensor::zeros([1, 4, 9, 1], &Device::cpu());
    let line = Window { size: [5], stride: [1], dilation: [1], padding: Padding::Valid };
    let flat = x.reshape([1, 4, 9]);
    assert_eq!(
        panic_message(|| flat.max_pool1d(line)),
        "max_pool1d: a window of 5 does not fit in a length of 4\n  x: [1, 4, 9]   axis 1 = 4\n  \
         help: use Padding::Same, a smaller window, or less pooling before"
    );
    assert_eq!(
        panic_message(|| flat.max_pool1d(Window { stride: [0], ..line }.ceil_mode())),
        "max_pool1d: stride in length is 0, expected at least 1\n  x: [1, 4, 9]"
    );
    assert_eq!(
        panic_message(|| flat.avg_pool1d(Window { dilation: [0], ..line })),
        "avg_pool1d: dilation in length is 0, expected at least 1\n  x: [1, 4, 9]"
    );
    assert_eq!(
        panic_message(|| flat.lp_pool1d(Window { size: [0], ..line }, 2.0)),
        "lp_pool1d: size in length is 0, expected at least 1\n  x: [1, 4, 9]"
    );
    assert_eq!(
        panic_message(|| x.max_pool1d(line)),
        "max_pool1d: input has 4 axes, expected 3: (N, L, C)\n  x: [1, 4, 9, 1]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    let block = Window { size: [2; 3], stride: [1; 3], dilation: [1; 3], padding: Padding::Valid };
    assert_eq!(
        panic_message(|| x.avg_pool3d_with_padding(block)),
        "avg_pool3d: input has 4 axes, expected 5: (N, D, H, W, C)\n  x: [1, 4, 9, 1]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    for p in [0.5, f32::INFINITY, f32::NAN] {
        assert_eq!(
            panic_message(|| flat.lp_pool1d(Window { size: [2], ..line }, p)),
            format!(
                "lp_pool1d: p is {p}, expected a finite number of at least 1\n  \
                 help: the limit of large p is `x.abs()` with max pooling"
            )
        );
    }
    assert_eq!(
        panic_message(|| x.reshape([4, 9]).global_avg_pool(true)),
        "global_avg_pool: input has 2 axes, expected at least 3: (N, .., C)\n  x: [4, 9]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    let bytes = Tensor::new(&[0u8; 4], [1, 4, 1], &Device::cpu());
    let two = Window { size: [2], ..line };
    assert_eq!(panic_message(|| bytes.max_pool1d(two)), "max_pool1d: input 0 is u8, expected f32");
    let far = Window { padding: Padding::Explicit([[usize::MAX, 0]]), ..two };
    assert_eq!(
        panic_message(|| flat.max_pool1d(far)),
        format!(
            "max_pool1d: a window of 2 in steps of 1, dilation 1, padding [{}, 0] in length is past any image\n  x: [1, 4, 9]",
            usize::MAX
        )
    );
    let sparse = Window { dilation: [1 << 24], ..two };
    assert_eq!(
        panic_message(|| flat.max_pool1d(Window { padding: Padding::Same, ..sparse })),
        "max_pool1d: a window of 2 in steps of 1, dilation 16777216, padding [0, 0] in length is past any image\n  \
         x: [1, 4, 9]"
    );
    // Output past what can be counted: an empty batch makes no difference to the rule.
    assert_eq!(Tensor::zeros(Shape::from([0, 4, 9]), &Device::cpu()).max_pool1d(two).shape()[..], [0, 3, 9]);
}
