//! Random numbers and dropout: the same on every device, the right distribution, gradients.

mod common;

use common::{check, devices, nmse, panic_message, random};
use tilegrad::{Device, RandomKey, Rng, Tensor};

const KEY: RandomKey = RandomKey { seed: 0x0123_4567_89ab_cdef, counter: 0xfedc_ba98_7654_3210 };

#[test]
fn the_same_bits_everywhere() {
    let blocks: Vec<u32> = (0..300).flat_map(|block| KEY.block(block)).collect();
    for device in devices() {
        let zero = Tensor::rand_bits([4], RandomKey::default(), &device).to_vec::<u32>().unwrap();
        assert_eq!(zero, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8], "Random123's vector on {device}");
        assert_eq!(Tensor::rand_bits([1199], KEY, &device).to_vec::<u32>().unwrap(), blocks[..1199], "{device}");
        let unit = Tensor::rand_uniform(0.0, 1.0, [7, 11], KEY, &device).to_vec::<f32>().unwrap();
        let want: Vec<f32> = blocks[..77].iter().map(|b| (b >> 8) as f32 / (1 << 24) as f32).collect();
        assert_eq!(unit, want, "{device}");
        assert_eq!(Tensor::rand_normal(0.0, 1.0, [0, 3], KEY, &device).len(), 0);
    }
}

#[test]
fn floats_agree_and_are_distributed() {
    let n = 100_000;
    let moments = |x: &Tensor, p: f32| x.abs().powf(p).mean().item().unwrap();
    let cpu = Device::cpu();
    for device in devices() {
        let uniform = |d: &Device| Tensor::rand_uniform(-3.0, 5.0, [n], KEY, d);
        let normal = |d: &Device| Tensor::rand_normal(0.0, 2.0, [n], KEY, d);
        for make in [&uniform as &dyn Fn(&Device) -> Tensor, &normal] {
            let (got, want) = (make(&device).to_vec::<f32>().unwrap(), make(&cpu).to_vec::<f32>().unwrap());
            assert!(nmse(&got, &want) < 1e-10, "{} on {device}", nmse(&got, &want));
        }
        let x = uniform(&device);
        assert!((x.mean().item().unwrap() - 1.0).abs() < 0.03);
        assert!(x.min().item().unwrap() >= -3.0 && x.max().item().unwrap() <= 5.0);
        assert!((x.affine(1.0, -1.0).square().mean().item().unwrap() - 64.0 / 12.0).abs() < 0.05);
        // Absolute moments of a normal with deviation 2: 2 sqrt(2/pi), 4, 3 * 16.
        let x = normal(&device);
        assert!(x.mean().item().unwrap().abs() < 0.03);
        assert!((moments(&x, 1.0) - 1.595_77).abs() < 0.02 && (moments(&x, 2.0) - 4.0).abs() < 0.08);
        assert!((moments(&x, 4.0) - 48.0).abs() < 2.0);
        let x = Tensor::rand_normal(10.0, 0.5, [n], KEY, &device);
        assert!((x.mean().item().unwrap() - 10.0).abs() < 0.01);
    }
}

#[test]
fn dropout_keeps_the_mean_and_repeats_its_mask() {
    for rate in [0.0, 0.25, 0.5, 0.9, 1.0] {
        check(&format!("dropout {rate}"), &[random([7, 9], 1, 0.5, 1.0)], |x| x[0].dropout(rate, KEY));
    }
    for device in devices() {
        let x = Tensor::ones([100_001], &device).requires_grad();
        let y = x.dropout(0.3, KEY);
        let values = y.to_vec::<f32>().unwrap();
        let kept = values.iter().filter(|v| **v != 0.0).count();
        assert!(values.iter().all(|v| *v == 0.0 || *v == 1.0 / 0.7), "scaled by 1 / (1 - rate)");
        assert!((kept as f32 / 100_001.0 - 0.7).abs() < 0.006, "{kept} kept on {device}");
        let dx = y.backward().get(&x).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(dx, values, "the gradient has forward's mask");
        assert_eq!(y.tape().entries()[0].saved_bytes, 0);
        assert_eq!(Tensor::ones([100_001], &Device::cpu()).dropout(0.3, KEY).to_vec::<f32>().unwrap(), values);
        // A view at an odd offset has the mask of its own positions.
        let part = x.detach().slice(&[3..1000]).dropout(0.3, KEY).to_vec::<f32>().unwrap();
        assert_eq!(part, values[..997]);
        // NaN passes where it is kept.
        let nan = Tensor::full(f32::NAN, [64], &device).dropout(0.5, KEY).to_vec::<f32>().unwrap();
        assert!(nan.iter().any(|v| v.is_nan()) && nan.contains(&0.0));
    }
    let message = panic_message(|| Tensor::ones([1], &Device::cpu()).dropout(1.5, KEY));
    assert_eq!(message, "dropout: rate 1.5 is outside 0 to 1");
}

#[test]
fn keys_don_t_repeat_and_can_be_restored() {
    let mut rng = Rng::new(3);
    let first: Vec<RandomKey> = (0..3).map(|_| rng.next_key()).collect();
    assert!(first[0] != first[1] && first[1] != first[2]);
    let mut restored = Rng::from_state(rng.state());
    assert_eq!(restored, rng.clone());
    assert_eq!(restored.next_key(), rng.next_key());
    assert_ne!(first[0].block(0), first[1].block(0));
    assert_ne!(Rng::new(4).next_key().block(0), first[0].block(0));
}
