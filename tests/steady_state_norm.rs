//! Normalisation and losses that are repeated make no buffer, no bind group and no pipeline, though labels that don't count
//! are uploaded anew. Alone in its process, as `steady_state.rs` is.

mod common;

use tilegrad::{CrossEntropyOptions, Reduction, RunningAverage, Tensor};

struct Inputs {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    labels: Tensor,
}

fn step(i: &Inputs) -> Tensor {
    let (gamma, beta) = (Some(&i.gamma), Some(&i.beta));
    // A momentum of 1 keeps the statistics, so that the next step gives the same numbers.
    let average = RunningAverage::Keras { momentum: 1.0 };
    let y = i.x.batch_norm_training(&i.gamma, &i.beta, &i.mean, &i.variance, 1e-3, average);
    let y = y.layer_norm(-1, gamma, beta, 1e-3).group_norm(2, gamma, beta, 1e-3).instance_norm(gamma, beta, 1e-3);
    let y = y.rms_norm(-1, gamma, 1e-3).local_response_norm(&Default::default()).lp_normalize(-1, 2.0);
    let options = CrossEntropyOptions {
        weight: Some(i.beta.detach()),
        ignore_index: Some(2),
        label_smoothing: 0.1,
        ..Default::default()
    };
    let loss = y.cross_entropy_with(&i.labels, &options);
    let t = y.detach().square();
    let loss = loss.add(&y.huber_loss(&t, 0.3, Reduction::Mean)).add(&y.bce_with_logits_loss(&t, None, Reduction::Sum));
    let loss = loss.add(&y.log_softmax(-1).kl_div_loss(&t, Reduction::Sum));
    let gradients = loss.backward();
    let gradient = |t: &Tensor| gradients.get(t).expect("the loss depends on it").square().sum();
    gradient(&i.x).add(&gradient(&i.gamma)).add(&gradient(&i.beta))
}

#[test]
fn a_repeated_step_makes_nothing_new() {
    let Some(device) = common::gpu() else { return };
    let leaf = |shape: &[usize], seed| common::random(shape, seed, 0.5, 1.5).to(&device).unwrap().requires_grad();
    let (x, gamma, beta) = (leaf(&[2, 3, 4, 6], 1), leaf(&[6], 2), leaf(&[6], 3));
    let (mean, variance) = (Tensor::zeros([6], &device), Tensor::ones([6], &device));
    let labels = Tensor::new(&(0..24).map(|i| i % 6).collect::<Vec<i32>>(), [2, 3, 4], &device);
    let inputs = Inputs { x, gamma, beta, mean, variance, labels };
    let mut values = Vec::new();
    for _ in 0..3 {
        values.push(step(&inputs).item().unwrap());
    }
    let before = device.stats();
    for _ in 0..20 {
        values.push(step(&inputs).item().unwrap());
    }
    let after = device.stats();
    assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()), "the same step gives the same bits: {values:?}");
    assert!(values[0].is_finite() && values[0] > 0.0, "{values:?}");
    assert_eq!(after.pipelines_created, before.pipelines_created, "pipelines");
    assert_eq!(after.buffers_created, before.buffers_created, "buffers");
    assert_eq!(after.bind_groups_created, before.bind_groups_created, "bind groups");
    assert_eq!(after.live_bytes, before.live_bytes, "live bytes");
}
