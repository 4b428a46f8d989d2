//! ONNX's movement and indexing in the forms that its own backend tests have no case of here: attributes of old operator
//! sets, every mode, integers and truth values. Expected values are the examples of ONNX's specification, or worked out
//! by hand from it.

mod common;
mod onnx_runner;

use common::devices;
use onnx_runner::fixture::{Fixture, Part, bytes, floats, ints, longs, truths};
use serde_json::{Value, json};

/// The node gives these outputs, on every device.
#[track_caller]
fn gives(op: &str, opset: i64, attrs: Value, inputs: &[Part], outputs: &[Part]) {
    let fixture = Fixture::new(op, attrs, inputs, outputs).opset(opset);
    for device in devices() {
        fixture.distance(&device);
    }
}

fn counted(name: &'static str, shape: &[usize]) -> Part {
    let n: usize = shape.iter().product();
    floats(name, &(0..n).map(|i| i as f32).collect::<Vec<_>>(), shape)
}

#[test]
fn slices() {
    let x = || counted("x", &[2, 4]);
    let attrs = json!({
        "axes": {"t": "ints", "v": [0, 1]}, "starts": {"t": "ints", "v": [1, 0]}, "ends": {"t": "ints", "v": [2, 3]},
    });
    gives("Slice", 1, attrs, &[x()], &[floats("y", &[4.0, 5.0, 6.0], &[1, 3])]);
    let attrs = json!({"starts": {"t": "ints", "v": [0, 1]}, "ends": {"t": "ints", "v": [-1, 1000]}});
    gives("Slice", 9, attrs, &[x()], &[floats("y", &[1.0, 2.0, 3.0], &[1, 3])]);
    let all = [
        x(),
        ints("starts", &[-1, 3], &[2]),
        ints("ends", &[i32::MIN, 0], &[2]),
        ints("axes", &[0, -1], &[2]),
        ints("steps", &[-1, -2], &[2]),
    ];
    gives("Slice", 13, json!({}), &all, &[floats("y", &[7.0, 5.0, 3.0, 1.0], &[2, 2])]);
    let far = [x(), longs("starts", &[0], &[1]), longs("ends", &[i64::MAX], &[1]), longs("axes", &[1], &[1])];
    gives("Slice", 11, json!({}), &far, &[counted("y", &[2, 4])]);
    let of_truths = [truths("x", &[true, false, false], &[3]), longs("s", &[-1], &[1]), longs("e", &[-9], &[1])];
    let of_truths: Vec<Part> = of_truths.into_iter().chain([longs("a", &[0], &[1]), longs("t", &[-1], &[1])]).collect();
    gives("Slice", 13, json!({}), &of_truths, &[truths("y", &[false, false, true], &[3])]);
}

#[test]
fn padding() {
    let x = || floats("x", &[1.0, 1.2, 2.3, 3.4, 4.5, 5.7], &[3, 2]);
    let pads = || longs("pads", &[0, 2, 0, 0], &[4]);
    let zeros = [0.0, 0.0, 1.0, 1.2, 0.0, 0.0, 2.3, 3.4, 0.0, 0.0, 4.5, 5.7];
    let attrs = json!({"pads": {"t": "ints", "v": [0, 2, 0, 0]}});
    gives("Pad", 2, attrs, &[x()], &[floats("y", &zeros, &[3, 4])]);
    let attrs = json!({"paddings": {"t": "ints", "v": [0, 0, 0, 1]}, "value": {"t": "float", "v": 9.0}});
    gives("Pad", 1, attrs, &[x()], &[floats("y", &[1.0, 1.2, 9.0, 2.3, 3.4, 9.0, 4.5, 5.7, 9.0], &[3, 3])]);
    gives("Pad", 18, json!({}), &[x(), pads()], &[floats("y", &zeros, &[3, 4])]);
    let row = || floats("x", &[1.0, 2.0, 3.0], &[1, 3]);
    let wide = || longs("pads", &[0, 2, 0, 4], &[4]);
    let mode = |mode: &str| json!({"mode": {"t": "string", "v": mode}});
    let of = |values: &[f32]| [floats("y", values, &[1, 9])];
    gives("Pad", 18, mode("reflect"), &[row(), wide()], &of(&[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0]));
    gives("Pad", 18, mode("edge"), &[row(), wide()], &of(&[1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0]));
    gives("Pad", 19, mode("wrap"), &[row(), wide()], &of(&[2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]));
    let crop = [ints("x", &[1, 2, 3], &[3]), longs("pads", &[-1, 2], &[2]), ints("value", &[1 << 30], &[])];
    gives("Pad", 13, json!({}), &crop, &[ints("y", &[2, 3, 1 << 30, 1 << 30], &[4])]);
    let some =
        [bytes("x", &[1, 2], &[1, 2]), longs("p", &[1, 0], &[2]), bytes("v", &[7], &[1]), ints("a", &[-1], &[1])];
    gives("Pad", 18, json!({}), &some, &[bytes("y", &[7, 1, 2], &[1, 3])]);
    let truth = [truths("x", &[true], &[1]), longs("p", &[1, 1], &[2]), truths("v", &[false], &[])];
    gives("Pad", 23, json!({}), &truth, &[truths("y", &[false, true, false], &[3])]);

    let lengths = [counted("x", &[3, 4]), longs("shape", &[2, 5], &[2])];
    let want = [0.0, 1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 7.0, 0.0];
    gives("CenterCropPad", 18, json!({}), &lengths, &[floats("y", &want, &[2, 5])]);
    let axes = json!({"axes": {"t": "ints", "v": [-1]}});
    let lengths = [counted("x", &[2, 5]), longs("shape", &[2], &[1])];
    gives("CenterCropPad", 18, axes, &lengths, &[floats("y", &[1.0, 2.0, 6.0, 7.0], &[2, 2])]);
}

#[test]
fn axes_and_tiles() {
    let x = || counted("x", &[1, 3, 1]);
    let axes = |axes: &[i64]| json!({"axes": {"t": "ints", "v": axes}});
    gives("Squeeze", 1, axes(&[0]), &[x()], &[counted("y", &[3, 1])]);
    gives("Squeeze", 11, axes(&[-1]), &[x()], &[counted("y", &[1, 3])]);
    gives("Squeeze", 13, json!({}), &[x()], &[counted("y", &[3])]);
    gives("Squeeze", 13, json!({}), &[x(), longs("axes", &[0, -1], &[2])], &[counted("y", &[3])]);
    gives("Unsqueeze", 1, axes(&[0, 4]), &[x()], &[counted("y", &[1, 1, 3, 1, 1])]);
    let reshape = json!({"shape": {"t": "ints", "v": [0, -1]}});
    gives("Reshape", 1, reshape, &[counted("x", &[2, 3, 2])], &[counted("y", &[2, 6])]);
    let keep = [floats("x", &[], &[0, 3]), longs("shape", &[3, 0], &[2])];
    gives("Reshape", 14, json!({"allowzero": {"t": "int", "v": 1}}), &keep, &[floats("y", &[], &[3, 0])]);
    let tiles = [counted("x", &[1, 2]), longs("tiles", &[2], &[1]), longs("axis", &[1], &[1])];
    gives("Tile", 1, json!({}), &tiles, &[floats("y", &[0.0, 1.0, 0.0, 1.0], &[1, 4])]);
    let repeats = [truths("x", &[true, false], &[2]), longs("repeats", &[3], &[1])];
    gives("Tile", 13, json!({}), &repeats, &[truths("y", &[true, false, true, false, true, false], &[6])]);
    let joined = [bytes("a", &[1], &[1, 1]), bytes("b", &[2, 3, 4], &[1, 3]), bytes("c", &[], &[1, 0])];
    let at = |axis: i64| json!({"axis": {"t": "int", "v": axis}});
    gives("Concat", 13, at(-1), &joined, &[bytes("y", &[1, 2, 3, 4], &[1, 4])]);
    gives("Concat", 1, json!({}), &joined, &[bytes("y", &[1, 2, 3, 4], &[1, 4])]);
    let sizes = json!({"axis": {"t": "int", "v": 0}, "split": {"t": "ints", "v": [1, 2]}});
    let parts = || [counted("a", &[1]), floats("b", &[1.0, 2.0], &[2])];
    gives("Split", 2, sizes, &[counted("x", &[3])], &parts());
    gives("Split", 13, json!({}), &[counted("x", &[3]), longs("split", &[1, 2], &[2])], &parts());
    let three = json!({"num_outputs": {"t": "int", "v": 3}});
    let uneven = [floats("a", &[0.0, 1.0, 2.0], &[3]), floats("b", &[3.0, 4.0, 5.0], &[3]), floats("c", &[6.0], &[1])];
    gives("Split", 18, three, &[counted("x", &[7])], &uneven);
    gives("Flatten", 13, at(0), &[counted("x", &[2, 3])], &[counted("y", &[1, 6])]);
    let shape = longs("shape", &[2, 1, 1], &[3]);
    gives("Expand", 13, json!({}), &[longs("x", &[4, 5], &[2, 1]), shape], &[longs("y", &[4, 5, 4, 5], &[2, 2, 1])]);
}

#[test]
fn gathers() {
    let data = || floats("x", &[1.0, 1.2, 1.9, 2.3, 3.4, 3.9, 4.5, 5.7, 5.9], &[3, 3]);
    let axis = |axis: i64| json!({"axis": {"t": "int", "v": axis}});
    let want = floats("y", &[1.0, 1.9, 2.3, 3.9, 4.5, 5.9], &[3, 1, 2]);
    gives("Gather", 1, axis(1), &[data(), longs("i", &[0, 2], &[1, 2])], &[want]);
    gives("Gather", 13, axis(-1), &[data(), ints("i", &[-1], &[])], &[floats("y", &[1.9, 3.9, 5.9], &[3])]);
    let of_bytes = [bytes("x", &[5, 6, 7], &[3]), longs("i", &[2, -3], &[2])];
    gives("Gather", 13, json!({}), &of_bytes, &[bytes("y", &[7, 5], &[2])]);
    let elements = [ints("x", &[1, 2, 3, 4, 5, 6, 7, 8, 9], &[3, 3]), longs("i", &[1, 2, 0, 2, 0, 0], &[2, 3])];
    gives("GatherElements", 11, json!({}), &elements, &[ints("y", &[4, 8, 3, 7, 2, 3], &[2, 3])]);

    let cube = || ints("x", &[0, 1, 2, 3, 4, 5, 6, 7], &[2, 2, 2]);
    let nd = [cube(), longs("i", &[0, 1, 1, 0], &[2, 2])];
    gives("GatherND", 11, json!({}), &nd, &[ints("y", &[2, 3, 4, 5], &[2, 2])]);
    let nd = [cube(), longs("i", &[0, 1, 1, 0], &[2, 1, 2])];
    gives("GatherND", 12, json!({}), &nd, &[ints("y", &[2, 3, 4, 5], &[2, 1, 2])]);
    let nd = [cube(), longs("i", &[1, 0], &[2, 1])];
    gives("GatherND", 12, json!({"batch_dims": {"t": "int", "v": 1}}), &nd, &[ints("y", &[2, 3, 4, 5], &[2, 2])]);

    let sequence = || floats("x", &[0., 4., 8., 12., 1., 5., 9., 13., 2., 6., 10., 14., 3., 7., 11., 15.], &[4, 4]);
    let attrs =
        |time: i64, batch: i64| json!({"time_axis": {"t": "int", "v": time}, "batch_axis": {"t": "int", "v": batch}});
    let by_columns = floats("y", &[3., 6., 9., 12., 2., 5., 8., 13., 1., 4., 10., 14., 0., 7., 11., 15.], &[4, 4]);
    gives("ReverseSequence", 10, attrs(0, 1), &[sequence(), longs("l", &[4, 3, 2, 1], &[4])], &[by_columns]);
    let rows = counted("x", &[4, 4]);
    let by_rows = floats("y", &[0., 1., 2., 3., 5., 4., 6., 7., 10., 9., 8., 11., 15., 14., 13., 12.], &[4, 4]);
    gives("ReverseSequence", 10, attrs(1, 0), &[rows, longs("l", &[1, 2, 3, 4], &[4])], &[by_rows]);
}

#[test]
fn scatters() {
    let axis = |axis: i64| json!({"axis": {"t": "int", "v": axis}});
    let zeros = || floats("x", &[0.0; 9], &[3, 3]);
    let index = || longs("i", &[1, 0, 2, 0, 2, 1], &[2, 3]);
    let updates = || floats("u", &[1.0, 1.1, 1.2, 2.0, 2.1, 2.2], &[2, 3]);
    let want = || floats("y", &[2.0, 1.1, 0.0, 1.0, 0.0, 2.2, 0.0, 2.1, 1.2], &[3, 3]);
    gives("Scatter", 9, json!({}), &[zeros(), index(), updates()], &[want()]);
    gives("ScatterElements", 11, axis(-2), &[zeros(), index(), updates()], &[want()]);
    let row = || ints("x", &[1, 2, 3, 4, 5], &[1, 5]);
    let by = || longs("i", &[1, -2], &[1, 2]);
    let of = |reduction: &str| json!({"axis": {"t": "int", "v": 1}, "reduction": {"t": "string", "v": reduction}});
    for (reduction, second, fourth) in [("none", 3, -1), ("add", 5, 3), ("mul", 6, -4), ("max", 3, 4), ("min", 2, -1)] {
        let want = ints("y", &[1, second, 3, fourth, 5], &[1, 5]);
        gives("ScatterElements", 18, of(reduction), &[row(), by(), ints("u", &[3, -1], &[1, 2])], &[want]);
    }
    let nd = [
        ints("x", &[1, 2, 3, 4, 5, 6, 7, 8], &[8]),
        longs("i", &[4, 3, 1, 7], &[4, 1]),
        ints("u", &[9, 10, 11, 12], &[4]),
    ];
    gives("ScatterND", 11, json!({}), &nd, &[ints("y", &[1, 11, 3, 10, 9, 6, 7, 12], &[8])]);
    let nd = [
        floats("x", &[1.0; 4], &[2, 2]),
        longs("i", &[0, 0], &[2, 1]),
        floats("u", &[2.0, 3.0, 4.0, f32::NAN], &[2, 2]),
    ];
    let most = json!({"reduction": {"t": "string", "v": "max"}});
    gives("ScatterND", 18, most, &nd, &[floats("y", &[4.0, f32::NAN, 1.0, 1.0], &[2, 2])]);
}

#[test]
fn chosen_and_made() {
    let condition = || truths("c", &[false, true], &[2]);
    let axis = |axis: i64| json!({"axis": {"t": "int", "v": axis}});
    gives("Compress", 9, axis(-1), &[counted("x", &[2, 3]), condition()], &[floats("y", &[1.0, 4.0], &[2, 1])]);
    gives("Compress", 11, json!({}), &[bytes("x", &[4, 5, 6], &[3]), condition()], &[bytes("y", &[5], &[1])]);
    let nonzero = [truths("x", &[true, false, true, true], &[2, 2])];
    gives("NonZero", 13, json!({}), &nonzero, &[longs("y", &[0, 1, 1, 0, 0, 1], &[2, 3])]);
    let hot = [floats("i", &[1.0, -1.0, 3.0], &[3]), floats("depth", &[3.0], &[1]), ints("v", &[-2, 7], &[2])];
    gives("OneHot", 11, axis(0), &hot, &[ints("y", &[-2, -2, -2, 7, -2, -2, -2, 7, -2], &[3, 3])]);
    let eye = [longs("x", &[0; 6], &[2, 3])];
    gives("EyeLike", 9, json!({"k": {"t": "int", "v": -1}}), &eye, &[longs("y", &[0, 0, 0, 1, 0, 0], &[2, 3])]);
    let as_floats = json!({"dtype": {"t": "int", "v": 1}});
    gives("EyeLike", 22, as_floats, &eye, &[floats("y", &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[2, 3])]);
    let range = [longs("start", &[10], &[]), longs("limit", &[4], &[]), longs("delta", &[-4], &[])];
    gives("Range", 11, json!({}), &range, &[longs("y", &[10, 6], &[2])]);
    let none = [floats("start", &[1.0], &[]), floats("limit", &[0.0], &[]), floats("delta", &[1.0], &[])];
    gives("Range", 11, json!({}), &none, &[floats("y", &[], &[0])]);
    let upper = [truths("x", &[true; 4], &[2, 2]), longs("k", &[1], &[])];
    gives("Trilu", 14, json!({}), &upper, &[truths("y", &[false, true, false, false], &[2, 2])]);
    let blocks = json!({"blocksize": {"t": "int", "v": 2}});
    gives("DepthToSpace", 1, blocks.clone(), &[counted("x", &[1, 4, 1, 1])], &[counted("y", &[1, 1, 2, 2])]);
    gives("SpaceToDepth", 1, blocks, &[counted("x", &[1, 1, 2, 2])], &[counted("y", &[1, 4, 1, 1])]);
    let shape = [longs("shape", &[2, 0], &[2])];
    gives("ConstantOfShape", 9, json!({}), &shape, &[floats("y", &[], &[2, 0])]);
}

#[test]
fn mistakes_fail() {
    let lack =
        |op: &str, attrs: Value, inputs: &[Part]| Fixture::new(op, attrs, inputs, &[counted("y", &[1])]).failure();
    let widths = lack("Pad", json!({}), &[counted("x", &[2, 2]), longs("pads", &[1, 1], &[2])]);
    assert_eq!(widths, "2 pads for 2 axes");
    let steps = [counted("x", &[2]), longs("s", &[0], &[1]), longs("e", &[1], &[1]), longs("a", &[0], &[1])];
    let steps: Vec<Part> = steps.into_iter().chain([longs("t", &[0], &[1])]).collect();
    assert_eq!(lack("Slice", json!({}), &steps), "panicked: slice_ranges: the step of axis 0 is 0\n  x: [2]");
    let tiles = [counted("x", &[2]), longs("repeats", &[-1], &[1])];
    assert_eq!(lack("Tile", json!({}), &tiles), "a length is -1");
    let reduction = json!({"reduction": {"t": "string", "v": "mean"}});
    let scatter = [counted("x", &[2]), longs("i", &[0], &[1]), counted("u", &[1])];
    assert_eq!(lack("ScatterElements", reduction, &scatter), "reduction mean");
}
