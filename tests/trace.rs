//! Traces: what is in the file of a training step, and when there is none.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;
use tilegrad::nn::layers::{Activation, Conv2d, Dense, Flatten, MaxPool2d};
use tilegrad::nn::{Adam, Metric, Sequential, SparseCategoricalCrossentropy};
use tilegrad::{Device, Error, Tensor};

/// There is one trace at a time, and it holds what every thread does.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn train(device: &Device, steps: usize) {
    let mut model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(8, 3).activation(Activation::Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 1).unwrap();
    model.compile(Adam::new(0.01), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    let x = common::random([16, 8, 8, 1], 3, 0.0, 1.0).to(device).unwrap();
    let y = Tensor::new(&[3u32; 16], [16], device);
    for _ in 0..steps {
        model.train_on_batch(&x, &y).unwrap();
    }
}

/// A span of the file: its name, start and end in microseconds, and arguments.
struct Span {
    name: String,
    times: [f64; 2],
    args: Value,
}

/// The spans on each track, which is named by its process and thread. Checks what every trace has to keep.
fn tracks(path: &Path) -> HashMap<String, Vec<Span>> {
    let text = std::fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).expect("a trace is JSON at any time");
    let mut names: HashMap<(u64, u64), [String; 2]> = HashMap::new();
    let mut tracks: HashMap<(u64, u64), Vec<Span>> = HashMap::new();
    for event in file["traceEvents"].as_array().unwrap() {
        let text = |key: &str| event[key].as_str().unwrap().to_string();
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap_or(0));
        match (text("ph").as_str(), text("name").as_str()) {
            ("M", "process_name") => {
                names.entry(track).or_default()[0] = event["args"]["name"].as_str().unwrap().into()
            }
            ("M", "thread_name") => names.entry(track).or_default()[1] = event["args"]["name"].as_str().unwrap().into(),
            ("M", "process_sort_index") | ("i", _) => {}
            ("X", name) => {
                let (start, length) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
                assert!(length > 0.0 && start >= 0.0, "{event}");
                let span = Span { name: name.into(), times: [start, start + length], args: event["args"].clone() };
                tracks.entry(track).or_default().push(span);
            }
            other => panic!("an event of another kind: {other:?}"),
        }
    }
    let mut named = HashMap::new();
    for (track, mut spans) in tracks {
        check_nesting(&mut spans);
        named.insert(names[&track].join("/"), spans);
    }
    named
}

/// Of two spans on a track, either one lies in the other or they have nothing in common.
fn check_nesting(spans: &mut [Span]) {
    spans.sort_by(|a, b| a.times[0].total_cmp(&b.times[0]).then(b.times[1].total_cmp(&a.times[1])));
    let mut open: Vec<&Span> = Vec::new();
    // Microseconds as text, as sums of decimals have a rounding error.
    const ROUNDING: f64 = 2e-4;
    for span in spans.iter() {
        while open.last().is_some_and(|o| o.times[1] <= span.times[0] + ROUNDING) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            assert!(
                span.times[1] <= outer.times[1] + ROUNDING,
                "{} {:?} sticks out of {} {:?}",
                span.name,
                span.times,
                outer.name,
                outer.times
            );
        }
        open.push(span);
    }
}

fn find<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let names: Vec<&str> = spans.iter().map(|s| s.name.as_str()).collect();
    spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

#[test]
fn a_training_step_on_the_cpu() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let device = Device::cpu();
    device.trace(&path, || train(&device, 1)).unwrap();
    let tracks = tracks(&path);
    let ops = tracks.values().next().unwrap();
    assert_eq!(tracks.len(), 1, "{:?}", tracks.keys());
    let product = find(ops, "matmul");
    assert_eq!(product.args["op"], "matmul (1,16,72)x(1,72,10)x(10)");
    assert!(product.args["GFLOP/s"].as_f64().unwrap() > 0.0 && product.args["GB/s"].as_f64().unwrap() > 0.0);
    for name in ["conv2d", "pack", "adam_step"] {
        find(ops, name);
    }
}

#[test]
fn a_training_step_on_a_gpu() {
    let _alone = alone();
    let Some(device) = common::gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    // A first step compiles kernels.
    train(&device, 1);
    device.trace(&path, || train(&device, 2)).unwrap();
    let mut tracks = tracks(&path);
    let kernels: Vec<Vec<Span>> = tracks.extract_if(|track, _| track.ends_with("/kernels")).map(|(_, s)| s).collect();
    let [kernels] = &kernels[..] else { panic!("one GPU has one track") };
    let host = tracks.values().next().unwrap();
    let product = find(kernels, "matmul_forward");
    assert_eq!(product.args["op"], "matmul (1,16,72)x(1,72,10)x(10)");
    assert!(product.args["GFLOP/s"].as_f64().unwrap() > 0.0);
    let [mut submits, mut waits] = [0; 2];
    for span in host {
        submits += usize::from(span.name == "submit");
        waits += usize::from(span.name == "wait");
    }
    assert!(submits > 0 && waits > 0);
    assert!(find(host, "upload").args["bytes"].as_u64().unwrap() > 0);
    assert!(find(host, "read").args["bytes"].as_u64().unwrap() > 0);
    assert_eq!(find(host, "conv2d").args["op"], "conv2d (16,8,8,1)x(3,3,1,8)x(8)");
    assert!(find(host, "conv2d").args["GFLOP/s"].is_null(), "the host only records it");
    // The GPU's clock is on the host's: a kernel starts after the first submission and ends before the host is done.
    let first = find(host, "submit").times[0];
    let last = host.iter().map(|s| s.times[1]).fold(0.0, f64::max);
    assert!(kernels.iter().all(|k| k.times[0] >= first && k.times[1] <= last + 1.0));
    // And that was all.
    let written = std::fs::read(&path).unwrap();
    train(&device, 1);
    assert_eq!(std::fs::read(&path).unwrap(), written);
}

#[test]
fn a_trace_is_bounded_and_there_is_one_at_a_time() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let device = Device::cpu();
    let x = Tensor::ones([4], &device);
    device
        .trace(&path, || {
            let other = device.trace(folder.path().join("other.json"), || ());
            assert!(matches!(other, Err(Error::Invalid { .. })), "{other:?}");
            for _ in 0..30_000 {
                x.affine(2.0, 1.0);
            }
        })
        .unwrap();
    assert_eq!(tracks(&path).values().map(Vec::len).sum::<usize>(), 20_000);
    assert!(std::fs::read_to_string(&path).unwrap().contains("the trace ends after 20000 events"));
    assert!(!folder.path().join("other.json").exists());
    let nowhere = device.trace(folder.path().join("no/such/folder.json"), || ());
    assert!(matches!(nowhere, Err(Error::Io { .. })), "{nowhere:?}");
}

/// What the test below runs in a process of its own.
const CHILD: &str = "TILEGRAD_TEST_TRACED_CHILD";

#[test]
fn the_environment_traces_a_process_until_it_is_killed() {
    if let Ok(name) = std::env::var(CHILD) {
        match Device::named(&name) {
            Ok(device) => train(&device, 1),
            Err(error) => eprintln!("no device: {error}"),
        }
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let devices = [Some("cpu"), common::gpu().map(|_| "gpu")];
    for device in devices.into_iter().flatten() {
        let run = |path: &Path| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "the_environment_traces_a_process_until_it_is_killed", "--nocapture"])
                .env(CHILD, device)
                .env("TILEGRAD_TRACE", path)
                .output()
                .unwrap()
        };
        let path = folder.path().join(format!("{device}.json"));
        let child = run(&path);
        assert!(!child.status.success());
        let tracks = tracks(&path);
        assert_eq!(tracks.keys().any(|track| track.ends_with("/kernels")), device == "gpu");
        assert!(tracks.values().flatten().any(|span| span.name == "adam_step"), "{device}");
        let child = run(&folder.path().join("no/such/folder.json"));
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("no device: ") && said.contains("folder.json: "), "{said}");
    }
}
