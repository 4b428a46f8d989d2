//! The GPU runtime: caches, pool, flushes, readback, profile, threads, memory errors.

mod common;

use std::sync::{Mutex, MutexGuard};

use tilegrad::{Device, Error, Tensor};

/// Held by tests in which memory runs out: what was left out for it is noted for the device, which tests share.
static MEMORY: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    MEMORY.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn reading_does_not_wait_until_asked_to() {
    let Some(device) = common::gpu() else { return };
    let x = Tensor::full(2.0, [1000], &device);
    let mut later = x.mul(&x).read_later().unwrap();
    let mut polls = 0;
    let values = loop {
        match later.try_take() {
            Some(values) => break values.unwrap(),
            None => polls += 1,
        }
        assert!(polls < 1_000_000_000, "the values never arrived");
    };
    assert!(values.iter().all(|&v| v == 4.0));
    assert!(later.try_take().unwrap().is_err(), "values are taken once");
    let future = x.to_vec_async::<f32>();
    drop(x);
    assert_eq!(pollster::block_on(future).unwrap(), [2.0; 1000]);
}

#[test]
fn long_runs_of_small_kernels_stay_in_order() {
    let Some(device) = common::gpu() else { return };
    let mut x = Tensor::zeros([17], &device);
    for _ in 0..1000 {
        x = x.affine(1.0, 1.0);
    }
    assert_eq!(x.to_vec::<f32>().unwrap(), [1000.0; 17]);
}

#[test]
fn uploads_do_not_overtake_recorded_kernels() {
    let Some(device) = common::gpu() else { return };
    for round in 0..50 {
        // The buffer of `a` goes back to the pool while the kernel that reads it is only recorded, and the upload of `b`
        // may get it.
        let a = Tensor::new(&[round as f32; 64], [64], &device);
        let y = a.affine(2.0, 0.0);
        drop(a);
        let b = Tensor::new(&[-1.0f32; 64], [64], &device);
        assert_eq!(y.to_vec::<f32>().unwrap(), [2.0 * round as f32; 64]);
        drop(b);
    }
}

#[test]
fn threads_share_a_device() {
    let Some(device) = common::gpu() else { return };
    std::thread::scope(|scope| {
        for t in 0..4 {
            let device = device.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    let x = Tensor::full((t * 100 + i) as f32, [257], &device);
                    assert_eq!(x.add(&x).sum().item().unwrap(), (2 * 257 * (t * 100 + i)) as f32);
                }
            });
        }
    });
}

#[test]
fn a_profile_names_kernels_and_their_cost() {
    let Some(device) = common::gpu() else { return };
    let x = common::random([64, 128], 1, -1.0, 1.0).to(&device).unwrap();
    let (_, profile) = device.profile(|| x.matmul(&x.transpose()).relu()).unwrap();
    let product = profile.kernels.iter().find(|k| k.kernel == "matmul_forward").expect("the kernel that ran");
    assert_eq!(product.flops, 2 * 64 * 64 * 128);
    assert!(product.microseconds > 0.0 && product.op == "matmul (1,64,128)x(1,128,64)", "{product}");
    assert!(profile.to_string().contains("matmul_forward matmul (1,64,128)x(1,128,64)"), "{profile}");
    assert!(Device::cpu().profile(|| ()).is_err());
}

#[test]
fn what_does_not_fit_is_an_error_and_breaks_nothing_else() {
    let _alone = alone();
    let Some(device) = common::gpu() else { return };
    let x = Tensor::ones([1 << 20], &device);
    // Far past any adapter's largest buffer.
    let huge = x.reshape([1 << 20, 1]).add(&x.slice(&[0..1 << 16]).reshape([1, 1 << 16]));
    match huge.to_vec::<f32>() {
        Err(Error::TooLarge { what, wanted, limit, .. }) => {
            assert_eq!((what.as_str(), wanted), ("add", 1 << 38));
            assert!(limit < wanted);
        }
        other => panic!("expected TooLarge, got {:?}", other.map(|v| v.len())),
    }
    // What is made from it is an error too, and nothing else is.
    assert!(huge.slice(&[0..1, 0..1]).affine(2.0, 1.0).item().is_err());
    assert_eq!(x.sum().item().unwrap(), (1 << 20) as f32);
}

#[test]
fn tensors_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Tensor>();
    check::<Device>();
    check::<tilegrad::Gradients>();
}

#[test]
fn an_update_whose_gradient_has_no_memory_is_left_out() {
    let _alone = alone();
    let Some(device) = common::gpu() else { return };
    use tilegrad::ops::optimizer::{SgdStep, sgd_step};
    let rule = SgdStep { lr: 1.0, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let w = Tensor::ones([4], &device);
    let part = Tensor::ones([1 << 20, 1], &device).add(&Tensor::ones([1, 1 << 16], &device)).slice(&[0..1, 0..4]);
    sgd_step(&w, &part.reshape([4]), None, &rule);
    // An optimizer's step after a gradient that did not arrive would use an old one.
    sgd_step(&w, &Tensor::full(0.5, [4], &device), None, &rule);
    assert!(matches!(device.synchronize(), Err(Error::TooLarge { .. })), "the next synchronisation says so");
    assert_eq!(w.to_vec::<f32>().unwrap(), [1.0; 4], "and the weights are as they were");
    device.synchronize().unwrap();
    sgd_step(&w, &Tensor::full(0.5, [4], &device), None, &rule);
    assert_eq!(w.to_vec::<f32>().unwrap(), [0.5; 4]);
}

#[test]
fn the_cpu_says_what_it_has_no_memory_for() {
    let _alone = alone();
    let d = Device::cpu();
    // Past what the address space of a 64-bit process holds; the view itself takes no memory.
    let view = Tensor::ones([1], &d).broadcast_to([1 << 30, 1 << 20]);
    let said = |t: &Tensor| t.slice(&[0..1]).to_vec::<f32>().unwrap_err().to_string();
    let message = said(&view.affine(2.0, 0.0));
    assert!(message.starts_with("out of memory on the CPU: contiguous wants 4503599627370496 bytes, "), "{message}");
    let zeros = Tensor::zeros([1 << 50], &d);
    assert!(said(&zeros).starts_with("out of memory on the CPU: fill wants 4503599627370496 bytes, "));
    // What is made from it is an error too; an update in place is left out, and those after it until someone asks.
    let (w, g) = (Tensor::ones([1], &d), Tensor::ones([1], &d));
    use tilegrad::ops::optimizer::{SgdStep, sgd_step};
    let rule = SgdStep { lr: 0.5, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    sgd_step(&w, &zeros.slice(&[3..4]).mul(&g), None, &rule);
    sgd_step(&w, &g, None, &rule);
    assert!(matches!(d.synchronize(), Err(Error::OutOfMemory { .. })));
    assert_eq!(w.item().unwrap(), 1.0);
    d.synchronize().unwrap();
    sgd_step(&w, &g, None, &rule);
    assert_eq!(w.item().unwrap(), 0.5);
    assert_eq!(view.slice(&[0..2, 5..7]).sum().item().unwrap(), 4.0);
    // An axis of length 0 lets nothing overflow.
    assert_eq!(Tensor::zeros([0, 1 << 30, 1 << 20], &d).sum().item().unwrap(), 0.0);
}

#[test]
fn two_to_the_31_elements() {
    let _alone = alone();
    for device in common::devices() {
        let view = Tensor::new(&[7u8], [1], &device).broadcast_to([1 << 16, 1 << 15]);
        assert_eq!(view.len(), 1 << 31);
        let corner = view.slice(&[(1 << 16) - 1..1 << 16, 0..3]).to_vec::<u8>().unwrap();
        assert_eq!(corner, [7, 7, 7], "a view takes no memory on {device}");
        if device.is_gpu() {
            let sum = Tensor::ones([1], &device).broadcast_to([1 << 16, 1 << 15]).sum().item();
            assert!(matches!(sum, Err(Error::TooLarge { .. } | Error::OutOfMemory { .. })), "{sum:?}");
        }
    }
}

#[test]
fn more_elements_than_32_bits_count_are_refused() {
    let _alone = alone();
    for device in common::devices().into_iter().filter(Device::is_gpu) {
        let view = Tensor::ones([1], &device).broadcast_to([1 << 16, 1 << 17]);
        assert!(matches!(view.sum().item(), Err(Error::TooLarge { .. })));
    }
}

#[test]
fn optimizer_state_without_memory_leaves_the_weights() {
    let _alone = alone();
    let Some(device) = common::gpu() else { return };
    use tilegrad::ops::optimizer::{SgdStep, sgd_step};
    let rule = SgdStep { lr: 1.0, momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    let w = Tensor::ones([4], &device);
    let velocity = Tensor::ones([1 << 20, 1], &device).add(&Tensor::ones([1, 1 << 16], &device)).slice(&[0..1, 0..4]);
    sgd_step(&w, &Tensor::ones([4], &device), Some(&velocity.reshape([4])), &rule);
    assert!(velocity.to_vec::<f32>().is_err(), "reading what has no memory tells of it");
    assert_eq!(w.to_vec::<f32>().unwrap(), [1.0; 4]);
    sgd_step(&w, &Tensor::full(0.5, [4], &device), None, &rule);
    assert_eq!(w.to_vec::<f32>().unwrap(), [0.5; 4], "and updates go on");
}
