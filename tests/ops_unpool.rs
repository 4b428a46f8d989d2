//! Max-unpooling: it undoes max-pooling, its gradients, duplicates, positions past the end, mistakes.

mod common;

use common::{check, devices, panic_message, random};
use tilegrad::{Device, Padding, Tensor, Window};

fn halve<const N: usize>() -> Window<N> {
    Window { size: [2; N], stride: [2; N], dilation: [1; N], padding: Padding::Valid }
}

#[test]
fn puts_elements_back() {
    for device in devices() {
        let x = random([2, 4, 6, 3], 1, 0.1, 1.0).to(&device).unwrap();
        let (y, indices) = x.max_pool2d_with_indices(halve());
        let back = y.max_unpool2d(&indices, halve(), None);
        assert_eq!(back.shape()[..], [2, 4, 6, 3]);
        // What is put back is what was largest, where it was.
        let (x, back) = (x.to_vec::<f32>().unwrap(), back.to_vec::<f32>().unwrap());
        assert_eq!(back.iter().filter(|v| **v != 0.0).count(), y.len());
        assert!(x.iter().zip(&back).all(|(x, b)| *b == 0.0 || x == b));

        let line = random([2, 9, 2], 2, 0.1, 1.0).to(&device).unwrap();
        let (y, indices) = line.max_pool1d_with_indices(halve());
        assert_eq!(y.max_unpool1d(&indices, halve(), None).shape()[..], [2, 8, 2]);
        let back = y.max_unpool1d(&indices, halve(), Some([9]));
        assert_eq!(back.max_pool1d(halve()).to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());

        let block = random([1, 4, 4, 6, 2], 3, 0.1, 1.0).to(&device).unwrap();
        let (y, indices) = block.max_pool3d_with_indices(halve());
        let back = y.max_unpool3d(&indices, halve(), None);
        assert_eq!(back.shape(), block.shape());
        assert_eq!(back.max_pool3d(halve()).to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
    }
}

#[test]
fn known_numbers() {
    for device in devices() {
        let x = Tensor::new(&[5.0, 6.0, 7.0, 8.0], [1, 2, 2, 1], &device);
        let indices = Tensor::new(&[5u32, 7, 13, 15], [1, 2, 2, 1], &device);
        let y = x.max_unpool2d(&indices, halve(), None).to_vec::<f32>().unwrap();
        assert_eq!(y, [0., 0., 0., 0., 0., 5., 0., 6., 0., 0., 0., 0., 0., 7., 0., 8.]);
        // Padding makes the image smaller: (2 - 1) * 2 + 3 - 1 - 1.
        let padded = Window { size: [3; 2], padding: Padding::Explicit([[1, 1]; 2]), ..halve() };
        let indices = Tensor::new(&[0u32, 2, 6, 8], [1, 2, 2, 1], &device);
        let y = x.max_unpool2d(&indices, padded, None);
        assert_eq!(
            (y.shape()[..].to_vec(), y.to_vec::<f32>().unwrap()),
            (vec![1, 3, 3, 1], vec![5., 0., 6., 0., 0., 0., 7., 0., 8.])
        );
    }
}

#[test]
fn the_last_of_several_is_kept() {
    for device in devices() {
        let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0], [1, 4, 1], &device).requires_grad();
        let indices = Tensor::new(&[1u32, 0, 1, u32::MAX], [1, 4, 1], &device);
        let y = x.max_unpool1d(&indices, halve(), Some([3]));
        assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 3.0, 0.0], "on {device}");
        let dy = Tensor::new(&[10.0, 20.0, 30.0], [1, 3, 1], &device);
        let dx = y.backward_with(&dy).get(&x).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(dx, [0.0, 10.0, 20.0, 0.0], "on {device}");
        // NaN and infinity are elements like others.
        let x = Tensor::new(&[f32::NAN, f32::INFINITY, -0.0, 1.0], [1, 4, 1], &device);
        let y = x.max_unpool1d(&Tensor::new(&[0u32, 1, 2, 3], [1, 4, 1], &device), halve(), Some([4]));
        let y = y.to_vec::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1] == f32::INFINITY && y[2].to_bits() == (-0.0f32).to_bits() && y[3] == 1.0);
    }
}

#[test]
fn gradients() {
    let image = random([2, 6, 5, 3], 4, -1.0, 1.0);
    for stride in [1, 2] {
        // In steps of one, windows share their largest elements.
        let window = Window { size: [3, 2], stride: [stride; 2], ..halve() };
        let indices = image.max_pool2d_with_indices(window).1;
        let x = random(indices.shape(), 5, -1.0, 1.0);
        check("max_unpool2d", std::slice::from_ref(&x), |x| {
            x[0].max_unpool2d(&indices.to(x[0].device()).unwrap(), window, Some([6, 5]))
        });
        check("gradient of max_unpool2d", &[x], |x| {
            let x = if x[0].needs_grad() { x[0].clone() } else { x[0].requires_grad() };
            let y = x.max_unpool2d(&indices.to(x.device()).unwrap(), window, Some([6, 5]));
            y.mul(&y).mul(&y).sum().grad(&[&x])[0].clone().expect("y depends on x")
        });
    }
}

#[test]
fn empty_tensors() {
    for device in devices() {
        for shape in [[0, 2, 2, 1], [1, 2, 2, 0]] {
            let x = Tensor::zeros(shape, &device).requires_grad();
            let indices = Tensor::new::<u32>(&[], shape, &device);
            let y = x.max_unpool2d(&indices, halve(), None);
            assert_eq!(y.shape()[..], [shape[0], 4, 4, shape[3]]);
            assert_eq!(y.backward().get(&x).unwrap().shape()[..], shape);
        }
        // Nothing to put back into an image.
        let none = Tensor::zeros([1, 0, 2, 1], &device);
        let y = none.max_unpool2d(&Tensor::new::<u32>(&[], [1, 0, 2, 1], &device), halve(), Some([2, 2]));
        assert_eq!(y.to_vec::<f32>().unwrap(), [0.0; 4]);
    }
}

#[test]
fn mistakes_say_what_is_wrong() {
    let d = Device::cpu();
    let (x, indices) = (Tensor::zeros([1, 2, 2, 1], &d), Tensor::new(&[0u32; 4], [1, 2, 2, 1], &d));
    assert_eq!(
        panic_message(|| x.max_unpool2d(&indices.reshape([1, 4, 1, 1]), halve(), None)),
        "max_unpool2d: elements and indices differ in shape\n  x: [1, 2, 2, 1]\n  indices: [1, 4, 1, 1]"
    );
    assert_eq!(panic_message(|| x.max_unpool2d(&x, halve(), None)), "max_unpool2d: the indices are f32, expected u32");
    assert_eq!(
        panic_message(|| x.max_unpool1d(&indices, halve(), None)),
        "max_unpool1d: input has 4 axes, expected 3: (N, L, C)\n  x: [1, 2, 2, 1]\n  \
         help: add missing axes with `unsqueeze` or `reshape`"
    );
    assert_eq!(
        panic_message(|| x.max_unpool2d(&indices, Window { padding: Padding::Same, ..halve() }, None)),
        "max_unpool2d: the size of the image before pooling does not follow from Same padding\n  x: [1, 2, 2, 1]\n  \
         help: give the output size"
    );
    let far = Window { padding: Padding::Explicit([[0, 0], [3, 3]]), ..halve() };
    assert_eq!(
        panic_message(|| x.max_unpool2d(&indices, far, None)),
        "max_unpool2d: padding [3, 3] in width is more than the 4 positions of all windows\n  x: [1, 2, 2, 1]   axis 2 = 2"
    );
    assert_eq!(
        panic_message(|| x.max_unpool2d(&indices, Window { stride: [2, 0], ..halve() }, None)),
        "max_unpool2d: stride in width is 0, expected at least 1\n  x: [1, 2, 2, 1]"
    );
}
