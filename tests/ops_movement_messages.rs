//! What movement and indexing say of mistakes, on both devices: the whole text, from the caller's line. And requests that
//! no memory holds.

mod common;

use common::{devices, panic_message};
use tilegrad::{BlockOrder, Device, Error, ScatterMode, SliceRange, Tensor};

fn index(values: &[i32], shape: &[usize], device: &Device) -> Tensor {
    Tensor::new(values, shape, device)
}

/// Each message of `x`, a tensor `(2, 3)`, and what it must be.
#[track_caller]
fn says(what: impl FnOnce() -> Tensor, message: &str) {
    assert_eq!(panic_message(what), message);
}

#[test]
fn shapes_and_axes() {
    for d in devices() {
        let (x, one) = (Tensor::zeros([2, 3], &d), Tensor::scalar(1.0, &d));
        says(
            || x.reshape_infer(&[-1, -1]),
            "reshape_infer: 2 axes of [-1, -1] are -1, expected at most 1\n  x: [2, 3]",
        );
        says(|| x.reshape_infer(&[-2, 3]), "reshape_infer: an axis of [-2, 3] is -2\n  x: [2, 3]");
        says(|| x.reshape_infer(&[4, -1]), "reshape_infer: 6 elements do not fill [4, -1] evenly\n  x: [2, 3]");
        says(
            || x.slice(&[0..0]).reshape_infer(&[0, -1]),
            "reshape_infer: the length of -1 in [0, -1] is undetermined beside an axis of 0\n  x: [0, 3]",
        );
        says(|| x.flatten(1, 0), "flatten: axis 1 lies behind axis 0\n  x: [2, 3]");
        says(|| x.flatten(0, 2), "flatten: axis 2 is out of range for rank 2\n  x: [2, 3]");
        says(|| x.swap_axes(0, -3), "swap_axes: axis -3 is out of range for rank 2\n  x: [2, 3]");
        says(|| x.move_axis(2, 0), "move_axis: axis 2 is out of range for rank 2\n  x: [2, 3]");
        says(|| x.unsqueeze(3), "unsqueeze: axis 3 is out of range for rank 3\n  x: [2, 3]");
        says(|| x.unsqueeze(-4), "unsqueeze: axis -4 is out of range for rank 3\n  x: [2, 3]");
        says(|| x.unsqueeze_axes(&[1, -3]), "unsqueeze_axes: axis -3 is named twice in [1, -3]\n  x: [2, 3]");
        says(
            || x.unsqueeze_axes(&[0, 1, 2, 3, 4, 5, 6]),
            "shape: [1, 1, 1, 1, 1, 1, 1, 2, 3] has 9 axes, at most 8 are supported",
        );
        let eight = Tensor::zeros([1; 8], &d);
        says(
            || Tensor::stack(&[&eight, &eight], 0),
            "shape: [1, 1, 1, 1, 1, 1, 1, 1, 1] has 9 axes, at most 8 are supported",
        );
        says(|| x.squeeze(1), "squeeze: axis 1 has length 3, expected 1\n  x: [2, 3]");
        says(|| one.squeeze(0), "squeeze: axis 0 is out of range for rank 0\n  x: []");
        says(|| x.squeeze_axes(&[0, 0]), "squeeze_axes: axis 0 is named twice in [0, 0]\n  x: [2, 3]");
        says(
            || x.expand([4, 3]),
            "expand: shapes do not broadcast (2 != 4)\n  lhs: [2, 3]   axis 0 = 2\n  rhs: [4, 3]   axis 0 = 4\n  help: \
             axes are aligned at the last one; lengths must be equal, or one of them 1",
        );
        says(|| x.tril(0).slice(&[0..1]).squeeze(0).tril(0), TRIANGLE);
        says(
            || x.depth_to_space(2, BlockOrder::DepthLast),
            "depth_to_space: 2 axes, expected 4: (batch, height, width, channels)\n  x: [2, 3]",
        );
        let image = x.reshape([1, 1, 2, 3]);
        says(
            || image.depth_to_space(2, BlockOrder::DepthLast),
            "depth_to_space: 3 channels do not make blocks of 2 x 2 pixels\n  x: [1, 1, 2, 3]   axis 3 = 3",
        );
        says(
            || image.space_to_depth(2, BlockOrder::DepthLast),
            "space_to_depth: 1 pixels are no multiple of a block's 2\n  x: [1, 1, 2, 3]   axis 1 = 1",
        );
        says(
            || image.space_to_depth(0, BlockOrder::DepthLast),
            "space_to_depth: the block is 0 pixels wide\n  x: [1, 1, 2, 3]",
        );
        says(
            || image.slice(&[0..0]).depth_to_space(1 << 40, BlockOrder::DepthLast),
            "depth_to_space: blocks of 1099511627776 x 1099511627776 pixels are more than a 64-bit count can hold\n  x: \
             [0, 1, 2, 3]",
        );
    }
}

const TRIANGLE: &str = "tril: the last two axes are the matrix, and there are fewer\n  x: [3]";

#[test]
fn parts_and_numbers() {
    for d in devices() {
        let (x, one) = (Tensor::zeros([2, 3], &d), Tensor::scalar(1.0, &d));
        says(|| x.flip(&[0, -2]), "flip: axis -2 is named twice in [0, -2]\n  x: [2, 3]");
        says(|| one.flip(&[0]), "flip: axis 0 is out of range for rank 0\n  x: []");
        says(|| one.roll(1, 0), "roll: axis 0 is out of range for rank 0\n  x: []");
        let nowhere = SliceRange { step: 0, ..SliceRange::ALL };
        says(|| x.slice_ranges(&[SliceRange::ALL, nowhere]), "slice_ranges: the step of axis 1 is 0\n  x: [2, 3]");
        says(|| one.slice_ranges(&[SliceRange::ALL]), "slice_ranges: 1 ranges for 0 axes\n  x: []");
        says(|| x.tile(&[1; 9]), "shape: [1, 1, 1, 1, 1, 1, 1, 2, 3] has 9 axes, at most 8 are supported");
        says(|| x.repeat_interleave(2, 2), "repeat_interleave: axis 2 is out of range for rank 2\n  x: [2, 3]");
        says(|| Tensor::concat(&[], 0), "concat: no tensors");
        says(|| Tensor::stack(&[], 0), "stack: no tensors");
        says(|| Tensor::concat(&[&one, &one], 0), "concat: axis 0 is out of range for rank 0\n  x: []");
        says(
            || Tensor::concat(&[&x, &x.transpose()], 0),
            "concat: tensor 1 differs from tensor 0 outside axis 0\n  tensor 0: [2, 3]\n  tensor 1: [3, 2]",
        );
        says(|| Tensor::concat(&[&x, &index(&[0; 6], &[2, 3], &d)], 0), "concat: element types differ (f32 and i32)");
        says(
            || Tensor::stack(&[&x, &x, &one], 0),
            "stack: tensor 2 differs from tensor 0 in shape\n  tensor 0: [2, 3]\n  tensor 2: []",
        );
        says(|| Tensor::stack(&[&x, &x], 3), "stack: axis 3 is out of range for rank 3\n  x: [2, 3]");
        says(|| x.split(&[1, 1], 1)[0].clone(), "split: parts [1, 1] add up to 2 (!= 3)\n  x: [2, 3]   axis 1 = 3");
        says(
            || x.split(&[usize::MAX, 4], 1)[0].clone(),
            "split: parts [18446744073709551615, 4] add up to too much (!= 3)\n  x: [2, 3]   axis 1 = 3",
        );
        says(|| x.chunk(0, 0)[0].clone(), "chunk: 0 parts\n  x: [2, 3]");
        says(|| Tensor::arange(0.0, 1.0, 0.0, &d), "arange: from 0 to 1 in steps of 0 is no finite number of elements");
        says(
            || Tensor::arange(0.0, f32::NAN, 1.0, &d),
            "arange: from 0 to NaN in steps of 1 is no finite number of elements",
        );
        says(
            || Tensor::arange_i32(i32::MIN, i32::MAX, 1, &d),
            "arange_i32: from -2147483648 to 2147483647 in steps of 1 are 4294967295 elements, at most 2147483647 are \
             supported",
        );
        says(
            || Tensor::arange_i32(0, 0, 0, &d),
            "arange_i32: from 0 to 0 in steps of 0 is no finite number of elements",
        );
        says(
            || Tensor::linspace(0.0, 1.0, 1 << 31, &d),
            "linspace: 2147483648 elements, at most 2147483647 are supported",
        );
        says(
            || Tensor::eye(3, 1 << 63, 0, &d),
            "eye: 3 x 9223372036854775808 elements, at most 2147483647 in a row or column are supported",
        );
    }
}

#[test]
fn indices() {
    for d in devices() {
        let (x, one) = (Tensor::zeros([2, 3], &d), Tensor::scalar(1.0, &d));
        let by = index(&[0, 1], &[2, 1], &d);
        says(|| x.index_select(2, &by), "index_select: axis 2 is out of range for rank 2\n  x: [2, 3]");
        says(|| one.index_select(0, &by), "index_select: axis 0 is out of range for rank 0\n  x: []");
        says(|| x.index_select(0, &x), "index_select: the index is f32, expected u32 or i32");
        says(
            || x.index_select(0, &by.reshape([2, 1, 1, 1, 1, 1, 1, 1])),
            "index_select: the result would have 9 axes, at most 8 are supported\n  x: [2, 3]\n  index: [2, 1, 1, 1, 1, 1, \
             1, 1]",
        );
        says(|| x.gather(0, &by.reshape([2])), "gather: the index has 1 axes, x has 2\n  x: [2, 3]\n  index: [2]");
        says(
            || x.gather(0, &index(&[0; 8], &[2, 4], &d)),
            "gather: the index is longer than x (4 > 3)\n  x: [2, 3]   axis 1 = 3\n  index: [2, 4]   axis 1 = 4\n  help: only \
             along axis 0 may the index be longer",
        );
        says(|| x.gather(1, &x), "gather: the index is f32, expected u32 or i32");
        says(
            || x.scatter_add(1, &index(&[0; 8], &[2, 4], &d), &x),
            "scatter: there is not one element of src for each index\n  index: [2, 4]\n  src: [2, 3]",
        );
        says(|| x.scatter_add(1, &by, &by), "scatter: element types differ (f32 and i32)");
        says(|| x.gather_nd(&index(&[0], &[], &d), 0), "gather_nd: the index is a scalar\n  x: [2, 3]\n  index: []");
        says(
            || x.gather_nd(&index(&[0; 3], &[1, 3], &d), 0),
            "gather_nd: the index names 3 axes, x has 2\n  x: [2, 3]\n  index: [1, 3]   axis 1 = 3",
        );
        says(
            || x.gather_nd(&index(&[0; 3], &[3, 1], &d), 1),
            "gather_nd: batch axes differ (2 != 3)\n  x: [2, 3]   axis 0 = 2\n  index: [3, 1]   axis 0 = 3",
        );
        says(|| x.gather_nd(&by, 2), "gather_nd: 2 batch axes are more than there are\n  x: [2, 3]\n  index: [2, 1]");
        says(
            || x.scatter_nd(&by, &Tensor::zeros([2, 2], &d), ScatterMode::Add),
            "scatter_nd: src is [2, 2], expected [2, 3]\n  x: [2, 3]\n  index: [2, 1]",
        );
        says(
            || x.masked_select(&Tensor::zeros([2], &d)).unwrap(),
            "masked_select: the mask does not broadcast to x\n  x: [2, 3]\n  mask: [2]",
        );
        says(
            || x.compress(&Tensor::zeros([4], &d), Some(1)).unwrap(),
            "compress: the mask is not one axis of at most the length of x's\n  x: [2, 3]   axis 1 = 3\n  mask: [4]",
        );
        says(
            || by.one_hot_values(3, 0, &x),
            "one_hot_values: the values elsewhere and at the label are not two elements\n  values: [2, 3]",
        );
        let two = Tensor::zeros([2], &d);
        says(|| x.one_hot_values(3, 0, &two), "one_hot_values: the index is f32, expected u32 or i32");
        says(|| by.one_hot_values(3, 4, &two), "one_hot_values: axis 4 is out of range for rank 3\n  x: [2, 1]");
    }
}

#[test]
fn requests_that_no_memory_holds() {
    for d in devices() {
        let x = Tensor::zeros([2, 3], &d);
        let counted = |message: String| assert!(message.contains("more elements than memory could hold"), "{message}");
        counted(panic_message(|| x.tile(&[1 << 63, 1 << 40])));
        counted(panic_message(|| x.repeat_interleave(1 << 63, 0)));
        counted(panic_message(|| x.pad(&[(1 << 63, 1 << 63)], 0.0)));
        counted(panic_message(|| x.pad_edge(&[(isize::MAX, 1)])));
        counted(panic_message(|| x.expand([1 << 63, 1, 1])));
        counted(panic_message(|| index(&[0], &[1], &d).one_hot_values(1 << 63, 0, &Tensor::zeros([2], &d))));
        counted(panic_message(|| Tensor::new(&[0u32, 1], [2], &d).one_hot(1 << 62)));
        let picks = Tensor::new(&[0u32], [1], &d).broadcast_to([1 << 60]);
        counted(panic_message(|| x.gather_rows(&picks)));
        let long = Tensor::scalar(1.0, &d).broadcast_to([1 << 60]);
        assert_eq!(
            panic_message(|| Tensor::concat(&[&long, &long, &long], 0)),
            "concat: [3458764513820540928] has more elements than memory could hold (2305843009213693951)"
        );
        if d.is_gpu() {
            // What is past the device's limit is an error where it is read.
            let too_large = |x: Tensor| assert!(matches!(x.to_vec::<f32>(), Err(Error::TooLarge { .. })), "{x:?}");
            for n in [1 << 31, 1 << 33] {
                too_large(x.tile(&[1, n]));
                too_large(x.pad(&[(0, 0), (0, n)], 1.0));
                too_large(x.pad_reflect(&[(0, 0), (0, n as isize)]));
                too_large(x.unsqueeze(2).broadcast_to([2, 3, n]).flip(&[0]));
                let far = index(&[0], &[1, 1], &d).broadcast_to([2, n]);
                too_large(x.gather(1, &far));
                too_large(x.index_select(1, &far));
            }
            assert_eq!(x.tile(&[2, 1]).to_vec::<f32>().unwrap(), [0.0; 12]);
        }
    }
}

#[test]
fn devices_that_differ() {
    let [here, there] = &devices()[..] else { return };
    let (x, at) = (Tensor::zeros([2, 3], here), index(&[0, 1], &[2, 1], there));
    let differ = |message: String| assert!(message.contains("inputs are on different devices"), "{message}");
    differ(panic_message(|| x.gather(1, &at)));
    differ(panic_message(|| x.index_select(0, &at)));
    differ(panic_message(|| x.gather_nd(&at, 0)));
    differ(panic_message(|| x.scatter(1, &at, &x, ScatterMode::Add)));
    differ(panic_message(|| at.gt(&at).where_cond(&x, &x)));
}
