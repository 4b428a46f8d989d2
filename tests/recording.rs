//! Recorded work: the same kernels again do what the code would do again, and what can't be repeated says so.

mod common;

use common::{gpu, random};
use tilegrad::ops::optimizer::{AdamStep, SgdStep, StepNumber, adam_step, sgd_step};
use tilegrad::{Clock, Device, RandomKey, Rng, Tensor, Time, Unary};

const DESCENT: SgdStep = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };

/// One step of a small network, with several buffers that come and go.
fn step(x: &Tensor, w: &Tensor) {
    let loss = x.matmul(w).relu().square().mean();
    let gradients = loss.backward();
    sgd_step(w, gradients.get(w).expect("the loss depends on it"), None, &DESCENT);
}

fn why(result: tilegrad::Result<impl std::fmt::Debug>) -> String {
    result.expect_err("this can't be recorded").to_string()
}

/// The message of a panic in a backward pass, whose place is the tape's.
fn refused(f: impl FnOnce()) -> String {
    common::panic_and_place(f).0
}

#[test]
fn replaying_is_doing_it_again() {
    let Some(device) = gpu() else { return };
    let x = random([40, 30], 1, -1.0, 1.0).to(&device).unwrap();
    let [eager, replayed] = [0, 1].map(|_| random([30, 20], 2, -1.0, 1.0).to(&device).unwrap().requires_grad());
    (0..6).for_each(|_| step(&x, &eager));
    let ((), recording) = device.record(|| step(&x, &replayed));
    let recording = recording.unwrap();
    let other = random([500], 3, -1.0, 1.0).to(&device).unwrap();
    for _ in 0..5 {
        recording.replay().unwrap();
        // What else runs gets other buffers than the recording's.
        assert_eq!(other.relu().sub(&other.relu()).sum().item().unwrap(), 0.0);
    }
    assert_eq!(replayed.to_vec::<f32>().unwrap(), eager.to_vec::<f32>().unwrap());
    assert!(recording.dispatches() > 4 && recording.bytes() > 0, "{recording:?}");
}

#[test]
fn constants_from_the_host_stay() {
    let Some(device) = gpu() else { return };
    let y = Tensor::zeros([3], &device);
    let work = || {
        let two = Tensor::new(&[2.0, 2.0, 2.0], [3], &device);
        sgd_step(&y, &two.add(&Tensor::new(&[1.0, 2.0, 3.0], [3], &device)), None, &SgdStep { lr: -1.0, ..DESCENT });
    };
    let ((), recording) = device.record(work);
    let recording = recording.unwrap();
    // Buffers of these sizes, to overwrite what is free.
    let _others: Vec<Tensor> = (0..20).map(|i| Tensor::full(i as f32, [3], &device)).collect();
    recording.replay().unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [6.0, 8.0, 10.0]);
}

#[test]
fn a_constant_never_lies_where_a_kernel_writes() {
    let Some(device) = gpu() else { return };
    let (a, b, y) = (Tensor::ones([40], &device), Tensor::ones([40], &device), Tensor::zeros([40], &device));
    let ((), recording) = device.record(|| {
        drop(a.add(&b));
        let five = Tensor::new(&[5.0; 40], [40], &device);
        sgd_step(&y, &five.mul(&a), None, &SgdStep { lr: -1.0, ..DESCENT });
    });
    recording.unwrap().replay().unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [10.0; 40]);
}

#[test]
fn what_was_there_before_is_read_again_as_it_was() {
    let Some(device) = gpu() else { return };
    let (a, y) = (Tensor::full(2.0, [40], &device), Tensor::zeros([40], &device));
    let ((), recording) = device.record(|| {
        let doubled = a.affine(2.0, 0.0);
        drop(a);
        sgd_step(&y, &doubled.affine(10.0, 0.0).affine(1.0, 1.0), None, &SgdStep { lr: -1.0, ..DESCENT });
    });
    recording.unwrap().replay().unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [82.0; 40]);
}

#[test]
fn a_clock_tells_one_step_from_the_next() {
    let Some(gpu) = gpu() else { return };
    for device in [gpu, Device::cpu()] {
        let key = RandomKey { seed: 5, counter: u64::from(u32::MAX) };
        let clock = Clock::new(&device);
        clock.set(Time { step: 3, batch: 1, key }).unwrap();
        let order = Tensor::new(&[9u32, 8, 7, 6, 5, 4, 3, 2, 1, 0], [10], &device);
        let sum = Tensor::zeros([1000], &device);
        let mut rng = Rng::on_clock(&clock, key);
        let mut picked = Vec::new();
        let work = |rng: &mut Rng| {
            let batch = clock.batch(&order, 2);
            let mask = Tensor::ones([1000], &device).dropout(0.5, rng.next_draw());
            sgd_step(&sum, &mask.dropout(0.25, rng.next_draw()), None, &SgdStep { lr: -1.0, ..DESCENT });
            clock.advance(rng.end_step());
            batch
        };
        let (batch, recording) = device.record(|| work(&mut rng));
        picked.extend(batch.to_vec::<u32>().unwrap());
        match recording {
            Ok(recording) => {
                recording.replay().unwrap();
                // A tensor that the work has made shows what it makes now.
                picked.extend(batch.to_vec::<u32>().unwrap());
                rng.skip(2);
            }
            Err(_) => picked.extend(work(&mut rng).to_vec::<u32>().unwrap()),
        }
        assert_eq!(picked, [7, 6, 5, 4], "{device}");
        // The same by keys that the host knows.
        let mut want = Tensor::zeros([1000], &device);
        let mut host = Rng::from_state(key);
        for _ in 0..2 {
            let mask = Tensor::ones([1000], &device).dropout(0.5, host.next_key());
            want = want.add(&mask.dropout(0.25, host.next_key()));
        }
        assert_eq!(sum.to_vec::<f32>().unwrap(), want.to_vec::<f32>().unwrap(), "{device}");
        assert_eq!(clock.read().unwrap(), Time { step: 5, batch: 3, key: host.state() }, "{device}");
        assert_eq!(rng, host);
    }
}

#[test]
fn a_gradient_after_the_clock_has_advanced_is_refused() {
    let clock = Clock::new(&Device::cpu());
    let x = Tensor::ones([8], &Device::cpu()).requires_grad();
    let y = x.dropout(0.5, Rng::on_clock(&clock, RandomKey::default()).next_draw()).sum();
    clock.advance(1);
    assert!(refused(|| drop(y.backward())).contains("dropout"));
}

#[test]
fn what_comes_from_the_host_is_refused_with_its_reason() {
    let Some(device) = gpu() else { return };
    let (w, x) = (Tensor::zeros([4], &device), Tensor::ones([4], &device));
    let key = RandomKey::default();
    let reason = |work: &dyn Fn()| why(device.record(work).1);
    assert!(reason(&|| drop(x.dropout(0.5, key))).contains("random numbers"));
    assert!(reason(&|| drop(Tensor::rand_uniform(0.0, 1.0, [4], key, &device))).contains("random numbers"));
    assert!(reason(&|| drop(x.unary(Unary::Exp).to_vec::<f32>())).contains("reads"));
    assert!(reason(&|| w.assign(&[1.0; 4]).unwrap()).contains("writes"));
    let adam = |t: StepNumber| {
        adam_step(&w, &x, &x.zeros_like(), &x.zeros_like(), None, &AdamStep { t, ..AdamStep::default() })
    };
    assert!(reason(&|| adam(StepNumber::Host(1))).contains("step number"));
    assert!(device.record(|| adam(StepNumber::Clock(Clock::new(&device)))).1.is_ok());
    let (inner, outer) = device.record(|| device.record(|| drop(x.exp())).1);
    assert!(why(inner).contains("already"));
    assert_eq!(outer.unwrap().dispatches(), 1);
    let replayed = device.record(|| drop(x.exp())).1.unwrap();
    assert!(reason(&|| replayed.replay().unwrap()).contains("replayed"));
    let clock = Clock::new(&device);
    assert!(reason(&|| _ = Rng::on_clock(&clock, key).next_key()).contains("given to the host"));
    assert!(why(Device::cpu().record(|| ()).1).contains("GPU"));
    // A panic on the way leaves the device usable.
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.record(|| panic!("on purpose")))).is_err());
    assert_eq!(device.record(|| x.exp()).1.unwrap().dispatches(), 1);
}

#[test]
fn other_threads_are_not_recorded() {
    let Some(device) = gpu() else { return };
    let x = Tensor::ones([64], &device);
    let ((), recording) = device.record(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| x.exp().to_vec::<f32>().unwrap());
        });
        drop(x.neg());
    });
    assert_eq!(recording.unwrap().dispatches(), 1);
}

#[test]
fn a_tape_that_saved_what_a_replay_updates_is_refused() {
    let Some(device) = gpu() else { return };
    let (x, w) = (Tensor::ones([4], &device), Tensor::ones([4], &device).requires_grad());
    let ((), recording) = device.record(|| sgd_step(&w, &x, None, &DESCENT));
    let y = w.mul(&w).sum();
    recording.unwrap().replay().unwrap();
    assert!(refused(|| drop(y.backward())).contains("mul"));
    // Also one that saved what the work makes.
    let (made, recording) = device.record(|| x.exp());
    let y = made.mul(&w).sum();
    recording.unwrap().replay().unwrap();
    assert!(refused(|| drop(y.backward())).contains("mul"));
}
