//! Callbacks: when they are called, what they do, what they refuse.

mod common;

use std::fs;

use common::devices;
use tilegrad::data::{Dataset, Digits};
use tilegrad::nn::callbacks::{Batch, Goal, Monitor};
use tilegrad::nn::layers::{Dense, Flatten};
use tilegrad::nn::{
    Activation, Adam, Callback, CsvLogger, EarlyStopping, Epoch, FitOptions, Flow, History, LambdaCallback,
    LearningRateScheduler, Metric, Model, ModelCheckpoint, ReduceLrOnPlateau, Sequential, Sgd,
    SparseCategoricalCrossentropy, StepDecay, TensorBoard, TerminateOnNan, Verbose, load_model,
};
use tilegrad::{Device, Result};

fn model(device: &Device, rate: f32) -> Model {
    let mut model = Sequential::new([8, 8, 1]).add(Flatten::new()).add(Dense::new(10).activation(Activation::Softmax));
    model.build(device, 1).unwrap();
    model.compile(Sgd::new(rate), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
    model.into()
}

fn data() -> Dataset {
    Digits::load().train
}

fn options<'a>(epochs: usize) -> FitOptions<'a> {
    FitOptions::new().epochs(epochs).batch_size(100).validation_split(0.2).verbose(Verbose::Off)
}

/// Writes down what is called.
#[derive(Default)]
struct Calls(Vec<String>);

impl Callback for Calls {
    fn on_train_begin(&mut self, _: &mut Model) -> Result<()> {
        self.0.push("begin".into());
        Ok(())
    }
    fn on_epoch_begin(&mut self, epoch: usize, _: &mut Model) -> Result<()> {
        self.0.push(format!("epoch {epoch}"));
        Ok(())
    }
    fn on_batch_end(&mut self, batch: &Batch<'_>, _: &mut Model) -> Result<Flow> {
        if batch.batch == 0 || batch.batch + 1 == batch.batches {
            self.0.push(format!("batch {} of {}", batch.batch, batch.batches));
        }
        Ok(Flow::Continue)
    }
    fn on_epoch_end(&mut self, epoch: &Epoch, _: &mut Model) -> Result<Flow> {
        self.0.push(format!("end {}", epoch.epoch));
        Ok(Flow::Continue)
    }
    fn on_train_end(&mut self, _: &mut Model) -> Result<()> {
        self.0.push("end".into());
        Ok(())
    }
}

#[test]
fn calls_come_in_order() {
    for device in devices() {
        let mut calls = Calls::default();
        model(&device, 0.1).fit(&data(), options(2).callback(&mut calls)).unwrap();
        let n = (data().len() * 4 / 5).div_ceil(100);
        let batches = |i: usize| [format!("batch 0 of {n}"), format!("batch {} of {n}", n - 1), format!("end {i}")];
        let mut want = vec!["begin".to_string(), "epoch 0".into()];
        want.extend(batches(0));
        want.push("epoch 1".into());
        want.extend(batches(1));
        want.push("end".into());
        assert_eq!(calls.0, want, "on {device}");
    }
}

#[test]
fn closures_see_losses_and_stop() {
    for device in devices() {
        let (mut losses, mut seen) = (Vec::new(), 0);
        let watch = LambdaCallback::new().on_batch_end(|batch, _| {
            losses.push(batch.loss()?);
            Ok(if losses.len() == 5 { Flow::Stop } else { Flow::Continue })
        });
        let count = LambdaCallback::new().on_epoch_end(|_, _| {
            seen += 1;
            Ok(Flow::Continue)
        });
        let history = model(&device, 0.5).fit(&data(), options(3).callback(watch).callback(count)).unwrap();
        assert!(history.stopped && history.epochs.len() == 1 && seen == 1, "an epoch that is cut short still ends");
        assert_eq!(losses.len(), 5);
        assert!(losses[4] < losses[0] && history.epochs[0].loss == losses[4], "{losses:?}");
        assert!(history.epochs[0].val_loss.is_some());
    }
}

#[test]
fn the_best_epochs_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs/a");
    for device in devices() {
        let best = ModelCheckpoint::new(runs.join("best.safetensors")).monitor("val_accuracy").save_best_only(true);
        let mut last = ModelCheckpoint::new(runs.join("{epoch:02}-{val_loss:.3}.safetensors")).keep_last(2);
        let weights = ModelCheckpoint::new(runs.join("weights.safetensors")).save_weights_only(true);
        let options = options(4).callback(best).callback(&mut last).callback(weights);
        let mut trained = model(&device, 0.3);
        let history = trained.fit(&data(), options).unwrap();
        let mut files: Vec<String> =
            fs::read_dir(&runs).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let name = |i: usize| format!("{:02}-{:.3}.safetensors", i + 1, history.epochs[i].val_loss.unwrap());
        assert_eq!(files, [name(2), name(3), "best.safetensors".into(), "weights.safetensors".into()]);
        assert_eq!(last.last().unwrap(), runs.join(name(3)));
        let mut best = load_model(runs.join("best.safetensors"), &device).unwrap();
        let want = history.series("val_accuracy").into_iter().fold(0.0, f32::max);
        let n = data().len() as u32;
        let held = data().select(&((n * 4).div_euclid(5)..n).collect::<Vec<u32>>());
        assert_eq!(best.evaluate(&held).unwrap().accuracy, Some(want));
        assert!(load_model(runs.join("weights.safetensors"), &device).is_err());
        fs::remove_dir_all(&runs).unwrap();
    }
}

#[test]
fn early_stopping_watches_what_it_is_told() {
    let run = |stop: EarlyStopping| {
        let mut stop = stop;
        let history = model(&Device::cpu(), 0.0).fit(&data(), options(8).callback(&mut stop)).unwrap();
        (history.epochs.len(), history.stopped, stop.best_epoch())
    };
    // Nothing ever changes at a rate of 0.
    assert_eq!(run(EarlyStopping::new(2)), (3, true, Some(0)));
    assert_eq!(run(EarlyStopping::new(2).start_from_epoch(3)), (6, true, Some(3)));
    assert_eq!(run(EarlyStopping::new(1).baseline(0.0)), (1, true, None));
    let accuracy = Monitor::new("accuracy").goal(Goal::Max);
    assert_eq!(run(EarlyStopping::new(3).monitor(accuracy)), (4, true, Some(0)));

    let error = model(&Device::cpu(), 0.1).fit(&data(), options(2).callback(EarlyStopping::new(1).monitor("val_auc")));
    let text = error.unwrap_err().to_string();
    let want = "one of loss, accuracy, val_loss, val_accuracy, learning_rate, got \"val_auc\"";
    assert!(text.contains(want), "{text}");

    // Small steps are no improvement.
    let mut stop = EarlyStopping::new(1).monitor(Monitor::new("loss").min_delta(10.0));
    let history = model(&Device::cpu(), 0.1).fit(&data(), options(5).callback(&mut stop)).unwrap();
    assert_eq!(history.epochs.len(), 2);
}

#[test]
fn training_that_explodes_is_ended() {
    for device in devices() {
        let history =
            model(&device, f32::MAX).fit(&data(), options(5).callback(TerminateOnNan::new().every(2))).unwrap();
        assert!(history.stopped && history.epochs.len() == 1, "{history}");
    }
}

#[test]
fn learning_rates_follow_callbacks() {
    let data = data();
    let rates = |callback: &mut dyn Callback, rate: f32| {
        model(&Device::cpu(), rate).fit(&data, options(5).callback(callback)).unwrap().series("learning_rate")
    };
    let got = rates(&mut LearningRateScheduler::new(|epoch, rate| if epoch < 2 { rate } else { rate * 0.5 }), 0.5);
    assert_eq!(got, [0.5, 0.5, 0.25, 0.125, 0.0625]);
    // Nothing improves by this much.
    let plateau =
        || ReduceLrOnPlateau::new().monitor(Monitor::new("val_loss").min_delta(100.0)).factor(0.5).patience(1);
    assert_eq!(rates(&mut plateau(), 0.5), [0.5, 0.5, 0.25, 0.125, 0.0625]);
    assert_eq!(rates(&mut plateau().min_rate(0.2), 0.5), [0.5, 0.5, 0.25, 0.2, 0.2]);
    assert_eq!(rates(&mut plateau().cooldown(1), 0.5), [0.5, 0.5, 0.25, 0.25 / 2.0, 0.25 / 4.0]);
    assert_eq!(rates(&mut plateau().patience(2), 0.5), [0.5, 0.5, 0.5, 0.25, 0.25]);
    let text =
        model(&Device::cpu(), 0.1).fit(&data, options(1).callback(plateau().factor(1.0))).unwrap_err().to_string();
    assert!(text.contains("factor of ReduceLrOnPlateau"), "{text}");

    let mut scheduled = model(&Device::cpu(), 0.1);
    scheduled.compile(Adam::new(StepDecay::new(0.1, 10, 0.5)), SparseCategoricalCrossentropy::new(), []);
    let text = scheduled.set_learning_rate(0.5).unwrap_err().to_string();
    assert!(text.contains("a schedule, which decides it"), "{text}");
}

#[test]
fn histories_are_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut trained = model(&Device::cpu(), 0.1);
    let history = trained.fit(&data(), options(2).callback(CsvLogger::new(path("log.csv")))).unwrap();
    let more = CsvLogger::new(path("log.csv")).append(true);
    trained.fit(&data(), options(3).initial_epoch(2).callback(more)).unwrap();
    let text = fs::read_to_string(path("log.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate");
    assert_eq!((lines.len(), lines[3].starts_with("2,")), (4, true), "{text}");
    let row: Vec<f32> = lines[2].split(',').map(|cell| cell.parse().unwrap()).collect();
    assert_eq!(row[1..3], [history.epochs[1].loss, history.epochs[1].accuracy.unwrap()]);

    history.save_csv(path("history.csv")).unwrap();
    let text = fs::read_to_string(path("history.csv")).unwrap();
    assert!(text.starts_with("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n0,"), "{text}");
    history.save_json(path("history.json")).unwrap();
    let again: History = serde_json::from_slice(&fs::read(path("history.json")).unwrap()).unwrap();
    assert_eq!(again, history);
    assert!(history.save_csv(path("none/history.csv")).unwrap_err().to_string().contains("none/history.csv"));
    let nowhere = CsvLogger::new(path("none/log.csv"));
    assert!(trained.fit(&data(), options(1).callback(nowhere)).unwrap_err().to_string().contains("none/log.csv"));
}

/// The texts of an event file that are names: what TensorBoard lists. The records themselves are held against its own.
#[test]
fn tensorboard_gets_a_run_for_training_and_one_for_validation() {
    let names = |folder: &std::path::Path| {
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        String::from_utf8_lossy(&fs::read(&files[0]).unwrap()).into_owned()
    };
    for device in devices() {
        let folder = tempfile::tempdir().unwrap();
        let data = Digits::load();
        let mut model = model(&device, 0.1);
        let options = || FitOptions::new().epochs(2).verbose(Verbose::Off);
        let validation = data.test.take(32);
        let board = TensorBoard::new(folder.path()).histogram_freq(2).update_freq(5);
        model.fit(&data.train.take(320), options().validation(&validation).callback(board)).unwrap();
        let train = names(&folder.path().join("train"));
        let counts = ["epoch_loss", "epoch_accuracy", "epoch_learning_rate", "batch_loss", "/kernel"]
            .map(|name| train.matches(name).count());
        assert_eq!(counts[..4], [2, 2, 2, 4], "two epochs of ten batches");
        assert_eq!(counts[4], model.named_weights().filter(|(name, _)| name.ends_with("kernel")).count());
        let validation = names(&folder.path().join("validation"));
        assert_eq!(["epoch_loss", "epoch_accuracy"].map(|name| validation.matches(name).count()), [2, 2]);

        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = model.fit(&data.train, options().callback(TensorBoard::new(&blocked))).unwrap_err().to_string();
        assert!(error.contains("file/train"), "{error}");
    }
}
