//! A limit of memory, on both devices. Alone in its file: the limit is the device's, which tests in one process share.

mod common;

use std::sync::{Mutex, MutexGuard};

use tilegrad::ops::optimizer::{SgdStep, sgd_step};
use tilegrad::{Device, Error, Tensor};

static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A device with so many bytes above what it holds, until this is dropped.
struct Limited<'a>(&'a Device);

impl Limited<'_> {
    fn new(device: &Device, bytes: u64) -> Limited<'_> {
        device.set_memory_limit(device.stats().live_bytes + bytes);
        Limited(device)
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        self.0.set_memory_limit(None);
    }
}

#[test]
fn past_the_limit_a_tensor_is_an_error_and_nothing_else_is() {
    let _alone = alone();
    for device in common::devices() {
        let x = Tensor::ones([1 << 18], &device);
        let limited = Limited::new(&device, 5 << 19);
        let twice = x.affine(2.0, 0.0);
        let four_times = twice.affine(2.0, 0.0);
        let too_many = four_times.affine(2.0, 0.0);
        match too_many.affine(1.0, 1.0).to_vec::<f32>() {
            Err(Error::OutOfMemory { what, wanted, live, .. }) => {
                assert_eq!((what.as_str(), wanted), ("affine", 1 << 20), "on {device}");
                assert!(live >= 3 << 20);
            }
            other => panic!("{device}: {:?}", other.map(|v| v.len())),
        }
        assert_eq!(four_times.sum().item().unwrap(), (4 << 18) as f32, "on {device}");
        // What is free again can be had again, also for another size.
        drop((twice, too_many));
        assert_eq!(four_times.slice(&[0..200_000]).affine(1.0, 1.0).to_vec::<f32>().unwrap(), [5.0; 200_000]);
        assert!(matches!(
            Tensor::new(&vec![1u8; 8 << 20], [8 << 20], &device).to_vec::<u8>(),
            Err(Error::OutOfMemory { .. })
        ));
        drop(limited);
        assert_eq!(four_times.affine(2.0, 0.0).to_vec::<f32>().unwrap()[7], 8.0);
    }
}

#[test]
fn an_update_that_depends_on_what_had_no_room_is_left_out() {
    let _alone = alone();
    let rule = SgdStep { lr: 1.0, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    for device in common::devices() {
        let (w, g) = (Tensor::ones([4], &device), Tensor::full(0.5, [4], &device));
        let limited = Limited::new(&device, 1 << 16);
        sgd_step(&w, &Tensor::ones([1 << 18], &device).slice(&[0..4]), None, &rule);
        sgd_step(&w, &g, None, &rule);
        assert!(matches!(device.check(), Err(Error::OutOfMemory { .. })), "{device}");
        drop(limited);
        assert_eq!(w.to_vec::<f32>().unwrap(), [1.0; 4], "{device}");
        sgd_step(&w, &g, None, &rule);
        assert_eq!(w.to_vec::<f32>().unwrap(), [0.5; 4], "{device}");
    }
}

#[test]
fn peaks_are_counted_on_both_devices() {
    let _alone = alone();
    for device in common::devices() {
        device.reset_peak();
        let before = device.stats();
        let x = Tensor::ones([1 << 16], &device);
        drop(x.affine(2.0, 0.0));
        let after = device.stats();
        assert!((1 << 18..1 << 19).contains(&(after.live_bytes - before.live_bytes)), "{device}: {after:?}");
        assert!((1 << 19..1 << 20).contains(&(after.peak_bytes - before.live_bytes)), "{device}: {after:?}");
        assert!(after.reserved_bytes >= after.live_bytes);
    }
}
