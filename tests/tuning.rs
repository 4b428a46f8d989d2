//! Tiles that were measured, and the file they are kept in: every tile gives the CPU's numbers, and nothing but a file for
//! this adapter is used.
//!
//! A process of its own, since tiles are the device's.

mod common;

use std::process::Command;

use common::random;
use tilegrad::{Conv2dOptions, Device, Error, ProductClass, ProductKind, Tensor, Tuning};

/// A matrix product and a convolution with its gradients, each as numbers.
fn results(device: &Device) -> Vec<Vec<f32>> {
    let on = |x: &Tensor| x.to(device).expect("it fits");
    let (a, b) = (on(&random([70, 600], 1, -1.0, 1.0)), on(&random([600, 65], 2, -1.0, 1.0)));
    let x = on(&random([3, 9, 9, 4], 3, -1.0, 1.0)).requires_grad();
    let w = on(&random([3, 3, 4, 8], 4, -1.0, 1.0)).requires_grad();
    let y = x.conv2d(&w, None, &Conv2dOptions::default());
    let gradients = y.backward();
    let [dx, dw] = [&x, &w].map(|leaf| gradients.get(leaf).expect("both take part"));
    [&a.matmul(&b), &y, dx, dw].map(|t| t.to_vec().expect("it fits")).into()
}

/// The classes of [`results`].
fn classes() -> [ProductClass; 4] {
    let conv = |size| ProductClass::new(ProductKind::Conv2d, size);
    [
        ProductClass::new(ProductKind::Matmul, [70, 65, 600]),
        conv([3 * 49, 8, 36]),
        conv([3 * 81, 4, 72]),
        conv([36, 8, 3 * 49]),
    ]
}

/// One test, since all of it is about the one device.
#[test]
fn every_tile_gives_the_same_numbers_and_files_are_for_one_adapter() {
    let Some(device) = common::gpu() else { return };
    let expected = results(&Device::cpu());
    for hardware in [false, true] {
        device.set_hardware_kernels(hardware);
        assert!(!device.tiles().is_empty());
        for tile in device.tiles() {
            for splits in [0, 3] {
                let mut tuning = Tuning::new();
                classes().into_iter().for_each(|class| tuning.set(class, &tile, splits).expect("it is listed"));
                device.set_tuning(tuning.clone()).expect("it fits");
                assert_eq!(device.tuning(), tuning);
                let got = results(&device);
                for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                    assert!(
                        (got - expected).abs() <= 2e-4 + 1e-4 * expected.abs(),
                        "{tile}, {splits}: {got} {expected}"
                    );
                }
                assert_eq!(got, results(&device), "{tile}, {splits}: not the same bits again");
            }
        }
    }
    device.set_hardware_kernels(false);
    file(&device);
    device.set_tuning(Tuning::new()).expect("nothing to run");
}

fn file(device: &Device) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new").join("tiles.toml");
    let mut tuning = Tuning::new();
    for (class, tile) in classes().into_iter().zip(device.tiles().iter().cycle()) {
        tuning.set(class, tile, 2).expect("it is listed");
    }
    tuning.save(&path, device).expect("the folder can be written");
    assert_eq!(Tuning::load(&path, device).expect("just written"), tuning);
    assert!(matches!(Tuning::load(folder.path().join("none"), device), Err(Error::Io { .. })));
    assert!(tuning.save(&path, &Device::cpu()).is_err() && Tuning::default_path(&Device::cpu()).is_none());

    let text = std::fs::read_to_string(&path).expect("just written");
    let opened = |text: &str| {
        std::fs::write(&path, text).expect("a file");
        lines_of_opening(&path.display().to_string())
    };
    assert_eq!(opened(&text), [""; 0]);
    for (damage, why) in [
        (text.replace("adapter = \"", "adapter = \"Another "), "adapter: expected"),
        (text.replace("driver = \"", "driver = \"Another "), "driver: expected"),
        (text.replace("tilegrad = \"", "tilegrad = \"9."), "tilegrad: expected"),
        (text.replace("splits", "\0\r"), "line "),
        (String::new(), "end of the file"),
    ] {
        let lines = opened(&damage);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(why) && lines[0].contains("TILEGRAD_TUNE=off"), "{lines:?}");
    }
    std::fs::write(&path, [0xff, 0xfe]).expect("a file");
    assert_eq!(lines_of_opening(&path.display().to_string()).len(), 1);
    assert_eq!(lines_of_opening(&folder.path().join("none").display().to_string()).len(), 1);
    assert_eq!(lines_of_opening("off"), [""; 0]);
}

/// What a process says about its tune file.
fn lines_of_opening(tune: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["opens_the_device", "--exact", "--nocapture"]).env("TILEGRAD_TUNE", tune);
    let output = child.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| line.contains("tune file")).map(String::from).collect()
}

/// What [`lines_of_opening`] runs; by itself it sees the user's tune file, if there is one.
#[test]
fn opens_the_device() {
    if let Some(device) = common::gpu() {
        assert_eq!(Tensor::ones([2, 2], &device).sum().item().expect("it runs"), 4.0);
    }
}

#[test]
fn an_unknown_tile_is_refused() {
    let error = Tuning::new().set(classes()[0], "TILE_M=7", 0).expect_err("there is none");
    assert!(error.to_string().contains("TILE_M=7"), "{error}");
}
