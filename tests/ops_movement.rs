//! Movement: other axes over the same elements, flips, slices, tiles, joins, blocks. Values against index arithmetic
//! written out, gradients, every element type, empty tensors.

mod common;

use common::{check, devices, random};
use tilegrad::{BlockOrder, Device, Shape, SliceRange, Tensor};

/// What `f` says of each index of a shape.
fn each(shape: &[usize], f: impl Fn(&[usize]) -> f32) -> Vec<f32> {
    let strides = Shape::new(shape).strides();
    (0..Shape::new(shape).len())
        .map(|i| f(&shape.iter().enumerate().map(|(a, d)| i / strides[a] % d).collect::<Vec<_>>()))
        .collect()
}

/// A tensor whose elements are their positions in row-major order, and where an index is.
fn counted(shape: &[usize], device: &Device) -> Tensor {
    Tensor::new(&(0..Shape::new(shape).len()).map(|i| i as f32).collect::<Vec<_>>(), shape, device)
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

/// `f` of whole numbers gives the same elements in every type, on every device.
fn same_in_every_type(name: &str, shape: &[usize], f: impl Fn(&Tensor) -> Tensor) {
    let n = Shape::new(shape).len();
    let want: Vec<u8> = values(&f(&counted(shape, &Device::cpu()))).iter().map(|v| *v as u8).collect();
    for device in devices() {
        let thirds = Tensor::new(&(0..n).map(|i| i % 3 == 0).collect::<Vec<_>>(), shape, &device);
        let kept: Vec<bool> = want.iter().map(|i| i % 3 == 0).collect();
        assert_eq!(f(&thirds).to_vec::<bool>().unwrap(), kept, "{name} of bool on {device}");
        let x = Tensor::new(&(0..n).map(|i| i as u8).collect::<Vec<_>>(), shape, &device);
        assert_eq!(f(&x).to_vec::<u8>().unwrap(), want, "{name} of u8 on {device}");
        let x = Tensor::new(&(0..n as u32).collect::<Vec<_>>(), shape, &device);
        let got: Vec<u8> = f(&x).to_vec::<u32>().unwrap().iter().map(|v| *v as u8).collect();
        assert_eq!(got, want, "{name} of u32 on {device}");
        let x = Tensor::new(&(0..n as i32).collect::<Vec<_>>(), shape, &device);
        let got: Vec<u8> = f(&x).to_vec::<i32>().unwrap().iter().map(|v| *v as u8).collect();
        assert_eq!(got, want, "{name} of i32 on {device}");
    }
}

#[test]
fn views_give_other_axes() {
    let x = Tensor::zeros([2, 3, 4], &Device::cpu());
    let shape = |x: Tensor| x.shape().to_vec();
    assert_eq!(shape(x.reshape_infer(&[-1])), [24]);
    assert_eq!(shape(x.reshape_infer(&[3, -1, 2])), [3, 4, 2]);
    assert_eq!(shape(x.reshape_infer(&[6, 4])), [6, 4]);
    assert_eq!(shape(x.slice(&[0..0]).reshape_infer(&[3, -1])), [3, 0]);
    assert_eq!(shape(Tensor::scalar(1.0, &Device::cpu()).reshape_infer(&[-1, 1])), [1, 1]);
    assert_eq!(shape(x.flatten(0, -1)), [24]);
    assert_eq!(shape(x.flatten(-2, 2)), [2, 12]);
    assert_eq!(shape(x.flatten(1, 1)), [2, 3, 4]);
    assert_eq!(shape(Tensor::scalar(1.0, &Device::cpu()).flatten(0, -1)), [1]);
    assert_eq!(shape(x.swap_axes(0, -1)), [4, 3, 2]);
    assert_eq!(shape(x.move_axis(0, -1)), [3, 4, 2]);
    assert_eq!(shape(x.move_axis(-1, 0)), [4, 2, 3]);
    assert_eq!(shape(x.unsqueeze(-1)), [2, 3, 4, 1]);
    assert_eq!(shape(x.unsqueeze(-4)), [1, 2, 3, 4]);
    assert_eq!(shape(x.unsqueeze_axes(&[4, -6, 2])), [1, 2, 1, 3, 1, 4]);
    assert_eq!(shape(x.unsqueeze_axes(&[0, -1]).squeeze_axes(&[-1, 0])), [2, 3, 4]);
    assert_eq!(shape(x.unsqueeze_axes(&[0, 2, 4]).squeeze_all()), [2, 3, 4]);
    assert_eq!(shape(x.squeeze_axes(&[])), [2, 3, 4]);
    assert_eq!(shape(Tensor::scalar(1.0, &Device::cpu()).unsqueeze(0)), [1]);
    assert_eq!(shape(x.expand([1])), [2, 3, 4]);
    assert_eq!(shape(x.unsqueeze(1).expand([5, 1, 4])), [2, 5, 3, 4]);
    // All of them are views of a contiguous tensor.
    for y in [x.swap_axes(0, 1), x.move_axis(2, 0), x.unsqueeze(-1), x.flatten(0, 1), x.expand([7, 1, 1, 1])] {
        assert!(y.shares_memory(&x));
    }
    let one = [random([2, 3, 4], 1, -1.0, 1.0)];
    check("reshape_infer", &one, |x| x[0].reshape_infer(&[4, -1]).square());
    check("swap_axes", &one, |x| x[0].swap_axes(0, 2).square());
    check("move_axis", &one, |x| x[0].move_axis(0, 2).square());
    check("unsqueeze_axes", &one, |x| x[0].unsqueeze_axes(&[1, -1]).square());
    check("expand", &one, |x| x[0].unsqueeze(1).expand([2, 1, 1]).square());
}

#[test]
fn flips_and_rolls() {
    let shape = [3, 4, 5];
    let at = |i: &[usize]| (i[0] * 20 + i[1] * 5 + i[2]) as f32;
    for device in devices() {
        let x = counted(&shape, &device);
        let flip = |i: &[usize]| at(&[2 - i[0], i[1], 4 - i[2]]);
        assert_eq!(values(&x.flip(&[0, -1])), each(&shape, flip), "{device}");
        assert_eq!(values(&x.flip(&[1])), each(&shape, |i| at(&[i[0], 3 - i[1], i[2]])));
        assert_eq!(values(&x.flip(&[])), values(&x));
        // Of a strided and stretched view, too.
        let view = x.permute(&[2, 0, 1]).slice(&[1..4]).unsqueeze(1).broadcast_to([3, 2, 3, 4]);
        let want = each(&[3, 2, 3, 4], |i| at(&[2 - i[2], i[3], 3 - i[0]]));
        assert_eq!(values(&view.flip(&[0, 1, 2])), want, "{device}");
        assert_eq!(x.slice(&[0..0]).flip(&[0, 1]).shape()[..], [0, 4, 5]);
        assert_eq!(values(&x.roll(1, 1)), each(&shape, |i| at(&[i[0], (i[1] + 3) % 4, i[2]])));
        assert_eq!(values(&x.roll(-7, -1)), each(&shape, |i| at(&[i[0], i[1], (i[2] + 7) % 5])));
        assert_eq!(x.slice(&[0..0]).roll(3, 0).len(), 0);
        // What a float's bits are stays as it is.
        let odd = [f32::NAN, f32::INFINITY, -0.0, 1e-40];
        let got = values(&Tensor::new(&odd, [4], &device).flip(&[0]));
        assert!(got.iter().rev().zip(odd).all(|(a, b)| a.to_bits() == b.to_bits()), "{got:?} on {device}");
    }
    let one = [random(shape, 2, -1.0, 1.0)];
    check("flip", &one, |x| x[0].flip(&[0, 2]).square());
    check("roll", &one, |x| x[0].roll(2, 1).square());
    check("gradient of a flip's gradient", &one, |x| {
        let x = common::leaf(&x[0]);
        x.flip(&[1]).mul(&x).mul(&x).grad(&[&x])[0].clone().unwrap()
    });
    for n in [1, 3, 4, 7] {
        same_in_every_type("flip", &[n, 5], |x| x.flip(&[0, 1]));
        same_in_every_type("roll", &[n, 5], |x| x.roll(2, 1));
    }
}

#[test]
fn slices_follow_numpys_rule() {
    let n = 7isize;
    let odd = [-100, -8, -7, -3, -1, 0, 2, 6, 7, 9, isize::MIN, isize::MAX];
    let ends: Vec<Option<isize>> = std::iter::once(None).chain(odd.map(Some)).collect();
    for device in devices() {
        let x = counted(&[n as usize], &device);
        // On the CPU every combination; there are many.
        let steps: &[isize] =
            if device.is_gpu() { &[-3, 2] } else { &[1, 2, 3, 100, isize::MAX, -1, -2, -100, isize::MIN] };
        for (&start, &end) in ends.iter().flat_map(|s| ends.iter().map(move |e| (s, e))) {
            for &step in steps {
                // Positions one after the other, in numbers that hold any.
                let (n, step128) = (n as i128, step as i128);
                let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
                let fix = |v: isize| (if v < 0 { v as i128 + n } else { v as i128 }).clamp(low, high);
                let first = start.map_or(if step > 0 { low } else { high }, fix);
                let last = end.map_or(if step > 0 { high } else { low }, fix);
                let (mut want, mut at) = (Vec::new(), first);
                while if step > 0 { at < last } else { at > last } {
                    want.push(at as f32);
                    at += step128;
                }
                let got = x.slice_ranges(&[SliceRange { start, end, step }]);
                assert_eq!(got.to_vec::<f32>().unwrap(), want, "{start:?}:{end:?}:{step} on {device}");
            }
        }
        let x = counted(&[3, 4], &device);
        let y = x.slice_ranges(&[SliceRange::from(..-1), SliceRange { step: -1, ..SliceRange::ALL }]);
        assert_eq!(values(&y), [3.0, 2.0, 1.0, 0.0, 7.0, 6.0, 5.0, 4.0]);
        assert!(x.slice_ranges(&[SliceRange::from(1..), (..).into()]).shares_memory(&x));
        assert_eq!(x.slice_ranges(&[SliceRange::new(2, 1, 1)]).shape()[..], [0, 4]);
        assert_eq!(Tensor::scalar(3.0, &device).slice_ranges(&[]).item().unwrap(), 3.0);
    }
    let one = [random([4, 5], 3, -1.0, 1.0)];
    check("slice_ranges", &one, |x| {
        x[0].slice_ranges(&[SliceRange::new(-1, 0, -2), SliceRange::new(1, 5, 3)]).square()
    });
    same_in_every_type("slice_ranges", &[4, 5], |x| {
        x.slice_ranges(&[SliceRange::new(3, -9, -2), SliceRange { step: -1, ..SliceRange::ALL }])
    });
}

#[test]
fn tiles_and_repeats() {
    for device in devices() {
        let x = counted(&[2, 3], &device);
        let tiled = x.tile(&[2, 1, 2]);
        assert_eq!(tiled.shape()[..], [2, 2, 6]);
        assert_eq!(values(&tiled), each(&[2, 2, 6], |i| (i[1] * 3 + i[2] % 3) as f32));
        assert_eq!(values(&x.tile(&[2])), each(&[2, 6], |i| (i[0] * 3 + i[1] % 3) as f32));
        assert_eq!(values(&x.tile(&[])), values(&x));
        assert_eq!(x.tile(&[0, 2]).shape()[..], [0, 6]);
        assert_eq!(x.slice(&[0..0]).tile(&[3, 2]).shape()[..], [0, 6]);
        assert_eq!(values(&Tensor::scalar(4.0, &device).tile(&[3])), [4.0; 3]);
        assert_eq!(values(&x.transpose().tile(&[1, 2])), each(&[3, 4], |i| (i[1] % 2 * 3 + i[0]) as f32));
        let twice = x.repeat_interleave(2, -1);
        assert_eq!(values(&twice), each(&[2, 6], |i| (i[0] * 3 + i[1] / 2) as f32));
        assert_eq!(x.repeat_interleave(0, 0).shape()[..], [0, 3]);
    }
    let one = [random([2, 3], 4, -1.0, 1.0)];
    check("tile", &one, |x| x[0].tile(&[3, 2]).square());
    check("repeat_interleave", &one, |x| x[0].repeat_interleave(3, 0).square());
    same_in_every_type("tile", &[3, 5], |x| x.tile(&[2, 3]));
    same_in_every_type("repeat_interleave", &[3, 5], |x| x.repeat_interleave(3, 1));
}

#[test]
fn joins_and_parts() {
    for device in devices() {
        let x = counted(&[2, 5], &device);
        let parts = x.split(&[2, 0, 3], 1);
        assert_eq!(parts.iter().map(|p| p.shape()[1]).collect::<Vec<_>>(), [2, 0, 3]);
        assert!(parts.iter().all(|p| p.shares_memory(&x)));
        assert_eq!(values(&Tensor::concat(&parts.iter().collect::<Vec<_>>(), -1)), values(&x));
        let lengths = |n| x.chunk(n, 1).iter().map(|p| p.shape()[1]).collect::<Vec<_>>();
        assert_eq!(
            (lengths(1), lengths(2), lengths(4), lengths(7)),
            (vec![5], vec![3, 2], vec![2, 2, 1, 0], vec![1, 1, 1, 1, 1, 0, 0])
        );
        let stacked = Tensor::stack(&[&x, &x.affine(2.0, 0.0)], 1);
        assert_eq!(values(&stacked), each(&[2, 2, 5], |i| ((i[0] * 5 + i[2]) * (1 + i[1])) as f32));
        let scalar = Tensor::scalar(7.0, &device);
        assert_eq!(values(&Tensor::stack(&[&scalar, &scalar], -1)), [7.0, 7.0]);
        let empty = x.slice(&[0..0]);
        assert_eq!(values(&Tensor::concat(&[&empty, &x, &empty], 0)), values(&x));
        assert_eq!(Tensor::concat(&[&empty, &empty], 0).shape()[..], [0, 5]);
        assert!(x.slice(&[0..2, 0..0]).split(&[], 1).is_empty());
    }
    let two = [random([2, 3], 5, -1.0, 1.0), random([2, 3], 6, -1.0, 1.0)];
    check("stack", &two, |x| Tensor::stack(&[&x[0], &x[1], &x[0]], -2).square());
    check("split", &two, |x| x[0].split(&[1, 2], 1)[1].square().mul(&x[1].chunk(2, 1)[0]));
    // Bytes of several parts share words.
    for inner in [1, 2, 3, 4, 5] {
        same_in_every_type("concat", &[3, 7, inner], |x| {
            Tensor::concat(
                &[&x.slice(&[0..3, 2..7]), x, &x.slice(&[0..3, 3..3]), &x.flip(&[2]).slice(&[0..3, 1..2])],
                1,
            )
        });
        same_in_every_type("concat of views", &[3, 4, inner], |x| {
            let x = x.permute(&[2, 1, 0]);
            Tensor::concat(&[&x, &x.slice(&[0..1])], 0)
        });
        same_in_every_type("stack", &[3, inner], |x| Tensor::stack(&[x, x, &x.flip(&[0])], -1));
    }
}

#[test]
fn channels_to_pixels_and_back() {
    let block = 2;
    for device in devices() {
        let x = counted(&[2, 2, 3, 8], &device);
        let at = |n: usize, h: usize, w: usize, c: usize| (((n * 2 + h) * 3 + w) * 8 + c) as f32;
        for order in [BlockOrder::DepthLast, BlockOrder::DepthFirst] {
            let y = x.depth_to_space(block, order);
            let want = each(&[2, 4, 6, 2], |i| {
                let (row, column) = (i[1] % 2, i[2] % 2);
                let channel = match order {
                    BlockOrder::DepthLast => (row * 2 + column) * 2 + i[3],
                    BlockOrder::DepthFirst => (i[3] * 2 + row) * 2 + column,
                };
                at(i[0], i[1] / 2, i[2] / 2, channel)
            });
            assert_eq!(values(&y), want, "{order:?} on {device}");
            assert_eq!(values(&y.space_to_depth(block, order)), values(&x), "{order:?} on {device}");
            assert_eq!(x.slice(&[0..0]).depth_to_space(2, order).shape()[..], [0, 4, 6, 2]);
        }
    }
    let one = [random([1, 2, 2, 8], 7, -1.0, 1.0)];
    check("depth_to_space", &one, |x| x[0].depth_to_space(2, BlockOrder::DepthFirst).square());
    check("space_to_depth", &one, |x| x[0].space_to_depth(2, BlockOrder::DepthLast).square());
    same_in_every_type("depth_to_space", &[1, 2, 3, 9], |x| x.depth_to_space(3, BlockOrder::DepthLast));
}

#[test]
fn numbers_in_a_row() {
    for device in devices() {
        let arange = |start, end, step| values(&Tensor::arange(start, end, step, &device));
        assert_eq!(arange(1.0, 5.0, 2.0), [1.0, 3.0]);
        assert_eq!(arange(5.0, 1.0, -2.0), [5.0, 3.0]);
        assert_eq!(arange(0.0, 0.3, 0.1), [0.0, 0.1, 0.2]);
        assert!(arange(1.0, 1.0, 1.0).is_empty() && arange(1.0, 0.0, 1.0).is_empty());
        let whole = Tensor::arange_i32(10, 6, -3, &device).to_vec::<i32>().unwrap();
        assert_eq!(whole, [10, 7]);
        let top = Tensor::arange_i32(i32::MAX - 1, i32::MAX, 1, &device).to_vec::<i32>().unwrap();
        assert_eq!(top, [i32::MAX - 1]);
        assert_eq!(values(&Tensor::linspace(-1.0, 1.0, 5, &device)), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(values(&Tensor::linspace(2.0, 3.0, 1, &device)), [2.0]);
        assert!(values(&Tensor::linspace(2.0, 3.0, 0, &device)).is_empty());
        for (rows, columns, k) in [(3, 3, 0), (2, 4, 1), (4, 2, -2), (3, 3, 5), (3, 3, -5), (0, 3, 0), (3, 0, 0)] {
            let want = each(&[rows, columns], |i| f32::from(i[1] as isize == i[0] as isize + k));
            assert_eq!(values(&Tensor::eye(rows, columns, k, &device)), want, "eye {rows} {columns} {k}");
        }
        assert_eq!(values(&Tensor::eye(2, 2, isize::MAX, &device)), [0.0; 4]);
    }
}

#[test]
fn triangles() {
    for device in devices() {
        for (rows, columns) in [(3, 4), (4, 3), (1, 3), (0, 2), (2, 0)] {
            let x = counted(&[2, rows, columns], &device).affine(1.0, 1.0);
            for k in [0, 1, -1, 3, -3, 9, -9, isize::MAX, isize::MIN] {
                let at = |i: &[usize]| (i[0] * rows * columns + i[1] * columns + i[2] + 1) as f32;
                let below = |i: &[usize]| i[2] as i128 <= i[1] as i128 + k as i128;
                let above = |i: &[usize]| i[2] as i128 >= i[1] as i128 + k as i128;
                let shape = [2, rows, columns];
                assert_eq!(values(&x.tril(k)), each(&shape, |i| if below(i) { at(i) } else { 0.0 }), "tril {k}");
                assert_eq!(values(&x.triu(k)), each(&shape, |i| if above(i) { at(i) } else { 0.0 }), "triu {k}");
            }
        }
        let odd = Tensor::new(&[f32::NAN, f32::INFINITY, f32::NAN, f32::NEG_INFINITY], [2, 2], &device);
        let kept = values(&odd.tril(-1));
        assert!(kept[0] == 0.0 && kept[1] == 0.0 && kept[2].is_nan() && kept[3] == 0.0, "{kept:?} on {device}");
    }
    check("tril", &[random([2, 3, 4], 8, -1.0, 1.0)], |x| x[0].tril(1).square());
    // What is cut off is element 0, which is true among the conditions.
    for device in devices() {
        let x = Tensor::new(&[true; 6], [2, 3], &device);
        assert_eq!(x.triu(1).to_vec::<bool>().unwrap(), [false, true, true, false, false, true]);
        let x = Tensor::new(&[3u8; 6], [2, 3], &device);
        assert_eq!(x.tril(0).to_vec::<u8>().unwrap(), [3, 0, 0, 3, 3, 0]);
        let x = Tensor::new(&[-3i32; 6], [2, 3], &device);
        assert_eq!(x.tril(0).to_vec::<i32>().unwrap(), [-3, 0, 0, -3, -3, 0]);
    }
}
