//! Normalisation, losses and dropout beyond the samples: operator sets and attributes that no case has, with values by hand
//! from ONNX's specification. On every device.

use serde_json::{Value, json};

use crate::common::devices;
use crate::onnx_runner::fixture::{Fixture, Part, floats, ints, longs, truths};

#[track_caller]
fn passes(case: Fixture) {
    for device in devices() {
        case.distance(&device);
    }
}

fn attributes(ints: &[(&str, i64)], floats: &[(&str, f32)]) -> Value {
    let ints = ints.iter().map(|(name, v)| (name.to_string(), json!({"t": "int", "v": v})));
    let floats = floats.iter().map(|(name, v)| (name.to_string(), json!({"t": "float", "v": v})));
    Value::Object(ints.chain(floats).collect())
}

#[test]
fn batch_normalization_of_old_operator_sets() {
    let parameters = |shape: &[usize], values: [[f32; 2]; 4]| -> Vec<Part> {
        let names = ["scale", "bias", "mean", "var"];
        let x = floats("x", &[1.0, 2.0, 3.0, 4.0], &[2, 1, 2]);
        [x].into_iter().chain(names.iter().zip(&values).map(|(name, v)| floats(name, v, shape))).collect()
    };
    let y = |v: &[f32; 4]| floats("y", v, &[2, 1, 2]);
    // Each element of an image is a channel of its own, until operator set 9.
    let own = [("spatial", 0)];
    let inputs = parameters(&[1, 2], [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [1.0, 4.0]]);
    let attrs = attributes(&own, &[("epsilon", 0.0)]);
    passes(Fixture::new("BatchNormalization", attrs, &inputs, &[y(&[0.0, 1.0, 2.0, 3.0])]).opset(7));
    // Five outputs are those of training, and so is a node that is not a test until operator set 7.
    let inputs = parameters(&[1, 2], [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]);
    let outputs = |mean: &[f32; 2]| {
        let statistics = [("m", *mean), ("v", [1.0, 1.0]), ("sm", [2.0, 3.0]), ("sv", [1.0, 1.0])];
        let statistics = statistics.iter().map(|(name, v)| floats(name, v, &[1, 2]));
        [y(&[-1.0, -1.0, 1.0, 1.0])].into_iter().chain(statistics).collect::<Vec<_>>()
    };
    for opset in [6, 7, 8] {
        let attrs = attributes(&own, &[("epsilon", 0.0)]);
        passes(Fixture::new("BatchNormalization", attrs, &inputs, &outputs(&[0.2, 0.3])).opset(opset));
        let attrs = attributes(&own, &[("epsilon", 0.0), ("momentum", 0.5)]);
        passes(Fixture::new("BatchNormalization", attrs, &inputs, &outputs(&[1.0, 1.5])).opset(opset));
    }
    let attrs = attributes(&own, &[("epsilon", 0.0)]);
    passes(Fixture::new("BatchNormalization", attrs, &inputs, &[y(&[-1.0, -1.0, 1.0, 1.0])]).opset(6));
    // One axis has one channel.
    let one = |name, v| floats(name, &[v], &[1]);
    let inputs = [floats("x", &[1.0, 3.0], &[2]), one("s", 2.0), one("b", 1.0), one("m", 1.0), one("v", 4.0)];
    let attrs = attributes(&[], &[("epsilon", 0.0)]);
    passes(Fixture::new("BatchNormalization", attrs, &inputs, &[floats("y", &[1.0, 3.0], &[2])]).opset(15));
}

#[test]
fn scales_of_groups_and_of_channels() {
    let x = || floats("x", &[1.0, 3.0, 10.0, 30.0], &[1, 4, 1]);
    let y = || floats("y", &[-2.0, 2.0, -2.0, 4.0], &[1, 4, 1]);
    let attrs = || attributes(&[("num_groups", 2)], &[("epsilon", 0.0)]);
    let of_groups = [x(), floats("scale", &[2.0, 3.0], &[2]), floats("bias", &[0.0, 1.0], &[2])];
    passes(Fixture::new("GroupNormalization", attrs(), &of_groups, &[y()]).opset(18));
    let of_channels = [x(), floats("scale", &[2.0, 2.0, 3.0, 3.0], &[4]), floats("bias", &[0.0, 0.0, 1.0, 1.0], &[4])];
    passes(Fixture::new("GroupNormalization", attrs(), &of_channels, &[y()]).opset(21));
    let uneven = Fixture::new("GroupNormalization", attributes(&[("num_groups", 3)], &[]), &of_channels, &[y()]);
    assert!(uneven.failure().contains("group_norm: 3 groups do not divide 4 channels evenly"), "{}", uneven.failure());
}

#[test]
fn layers_neighbours_and_lengths() {
    let x = || floats("x", &[1.0, 3.0, 5.0, 5.0], &[2, 2]);
    let y = |v: &[f32; 4]| floats("y", v, &[2, 2]);
    // One number scales all; there is no bias; nobody wants the statistics.
    let inputs = [x(), floats("scale", &[2.0], &[1])];
    let attrs = attributes(&[("stash_type", 1)], &[("epsilon", 3.0)]);
    passes(Fixture::new("LayerNormalization", attrs, &inputs, &[y(&[-1.0, 1.0, 0.0, 0.0])]).opset(17));
    let halves = attributes(&[("stash_type", 10)], &[]);
    assert_eq!(
        Fixture::new("LayerNormalization", halves, &inputs, &[y(&[0.0; 4])]).lack(),
        "statistics of element type 10"
    );
    let axes = json!({"axes": {"t": "ints", "v": [-1]}});
    passes(Fixture::new("MeanVarianceNormalization", axes, &[x()], &[y(&[-1.0, 1.0, 0.0, 0.0])]).opset(13));
    // A window of two is the channel and the one after it.
    let image = floats("x", &[1.0, 1.0, 2.0], &[1, 3, 1]);
    let want = floats("y", &[0.5, 0.2, 0.5], &[1, 3, 1]);
    let attrs = attributes(&[("size", 2)], &[("alpha", 2.0), ("beta", 1.0), ("bias", 0.0)]);
    passes(Fixture::new("LRN", attrs, &[image], &[want]));
    let zeros = floats("x", &[3.0, 0.0, -4.0, 0.0], &[2, 2]);
    let of_columns = |p: i64, y: Part| {
        let attrs = attributes(&[("axis", -2), ("p", p)], &[]);
        Fixture::new("LpNormalization", attrs, &[floats("x", &[3.0, 0.0, -4.0, 0.0], &[2, 2])], &[y])
    };
    passes(of_columns(2, y(&[0.6, 0.0, -0.8, 0.0])));
    passes(of_columns(1, y(&[3.0 / 7.0, 0.0, -4.0 / 7.0, 0.0])));
    let rows = Fixture::new("LpNormalization", json!({}), &[zeros], &[y(&[1.0, 0.0, -1.0, 0.0])]);
    passes(rows.opset(1));
}

#[test]
fn losses_of_labels_that_no_case_has() {
    let (half, quarter) = (0.5f32.ln(), 0.25f32.ln());
    // (2, 2, 2): examples, classes, places. Probabilities 1/2 and 1/2, or 1/4 and 3/4.
    let log_p = [half, quarter, half, 0.75f32.ln(), quarter, half, 0.75f32.ln(), half];
    let x = || floats("x", &log_p, &[2, 2, 2]);
    let none = || json!({"reduction": {"t": "string", "v": "none"}, "ignore_index": {"t": "int", "v": -7}});
    let labels = || ints("t", &[0, 0, -7, 1], &[2, 2]);
    let losses = || floats("y", &[-half, -quarter, 0.0, -half], &[2, 2]);
    passes(Fixture::new("NegativeLogLikelihoodLoss", none(), &[x(), labels()], &[losses()]).opset(12));
    let outputs = [losses(), floats("log_prob", &log_p, &[2, 2, 2])];
    passes(Fixture::new("SoftmaxCrossEntropyLoss", none(), &[x(), labels()], &outputs).opset(12));
    // The mean is over the weights of what counts, and over nothing it is not a number.
    let weight = || floats("w", &[3.0, 1.0], &[2]);
    let mean = [floats("y", &[(-3.0 * half - 3.0 * quarter - half) / 7.0], &[])];
    let ignore = attributes(&[("ignore_index", -7)], &[]);
    passes(Fixture::new("SoftmaxCrossEntropyLoss", ignore.clone(), &[x(), labels(), weight()], &mean));
    let nothing = longs("t", &[-7; 4], &[2, 2]);
    passes(Fixture::new("NegativeLogLikelihoodLoss", ignore, &[x(), nothing], &[floats("y", &[f32::NAN], &[])]));
    let median = json!({"reduction": {"t": "string", "v": "median"}});
    let median = Fixture::new("NegativeLogLikelihoodLoss", median, &[x(), labels()], &mean);
    assert_eq!(median.failure(), "reduction median");
}

#[test]
fn dropout_of_old_operator_sets() {
    let x = || floats("x", &[1.0, 0.0, -3.0], &[3]);
    let y = || floats("y", &[1.0, 0.0, -3.0], &[3]);
    let (numbers, conditions) = (|| floats("mask", &[1.0; 3], &[3]), || truths("mask", &[true; 3], &[3]));
    let ratio = |more: &[(&str, i64)]| attributes(more, &[("ratio", 0.9)]);
    for opset in [1, 6] {
        let case = Fixture::new("Dropout", ratio(&[("is_test", 1)]), &[x()], &[y(), numbers()]);
        passes(case.opset(opset));
        let training = attributes(&[("is_test", 0)], &[("ratio", 0.0)]);
        passes(Fixture::new("Dropout", training, &[x()], &[y(), numbers()]).opset(opset));
    }
    passes(Fixture::new("Dropout", ratio(&[]), &[x()], &[y(), numbers()]).opset(7));
    passes(Fixture::new("Dropout", ratio(&[]), &[x()], &[y(), conditions()]).opset(10));
    let inputs = [x(), floats("ratio", &[0.9], &[]), truths("training", &[false], &[])];
    passes(Fixture::new("Dropout", json!({}), &inputs, &[y(), conditions()]).opset(12));
    // All are dropped; what a mask says does not depend on what is dropped.
    let inputs = [x(), floats("ratio", &[1.0], &[]), truths("training", &[true], &[])];
    let outputs = [floats("y", &[0.0; 3], &[3]), truths("mask", &[false; 3], &[3])];
    passes(Fixture::new("Dropout", json!({}), &inputs, &outputs).opset(13));
}
