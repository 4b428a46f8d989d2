//! The published MNIST and Fashion-MNIST, where this machine has them (`scripts/setup.sh` sees to that).
//!
//! Without the files these tests say so and pass, unless `TILEGRAD_REQUIRE_DATA` is set, as it is in CI: there,
//! nothing may be left out silently.

use tilegrad_data::{Error, FashionMnist, Finder, Mnist, TrainTest};

/// The dataset, or `None` when it is not on this machine and need not be.
fn load(finder: Finder) -> Option<TrainTest> {
    match finder.offline().load() {
        Ok(data) => Some(data),
        Err(Error::Missing { dataset, .. }) if std::env::var_os("TILEGRAD_REQUIRE_DATA").is_none() => {
            eprintln!("left out: {dataset} is not on this machine; scripts/setup.sh gets it");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn check(data: &TrainTest, name: &str) {
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!((data.train.shape(), data.test.shape()), ([28, 28, 1], [28, 28, 1]));
    assert_eq!((data.train.name(), data.test.name()), (&*format!("{name} train"), &*format!("{name} test")));
    assert_eq!((data.train.scale(), data.train.classes().len()), (255.0, 10));
    assert_eq!(data.train.images().iter().max(), Some(&255));
}

#[test]
fn mnist() {
    let Some(data) = load(Mnist::builder()) else {
        return;
    };
    check(&data, "MNIST");
    // The counts and first labels that the authors publish.
    assert_eq!(data.train.class_counts(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(data.train.labels()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(data.test.labels()[..5], [7, 2, 1, 0, 4]);
}

#[test]
fn fashion_mnist() {
    let Some(data) = load(FashionMnist::builder()) else {
        return;
    };
    check(&data, "Fashion-MNIST");
    assert_eq!(data.train.class_counts(), [6000; 10]);
    assert_eq!(data.train.class_name(data.train.label(0)), "Ankle boot");
    assert_eq!(data.test.labels()[..5], [9, 2, 1, 1, 6]);
}

/// Both datasets use the same file names; taking one for the other would train on the wrong pictures.
#[test]
fn one_is_not_taken_for_the_other() {
    let Some(folder) = load(FashionMnist::builder()).and_then(|data| data.folder) else {
        return;
    };
    let error = Mnist::load_from(&folder).unwrap_err();
    assert!(matches!(error, Error::WrongDataset { expected: "MNIST", got: "Fashion-MNIST", .. }), "{error}");
}
