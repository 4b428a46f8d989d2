//! Inside a trained network: its kernels, how they are spread before and after training, what they find in one image, and which
//! parts of the image decided.
//!
//! `cargo run --release --example look_inside -- --model fashion.safetensors --out pictures`

mod common;

use std::path::PathBuf;

use clap::Parser;
use tilegrad::data::FashionMnist;
use tilegrad::prelude::*;
use tilegrad_plot::{feature_maps, grad_cam, kernels, weight_histogram};

/// Pictures of a trained network.
#[derive(Parser)]
struct Args {
    /// What `fashion_mnist --save` wrote [default: a network is trained for an epoch]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder for the pictures
    #[arg(long, default_value = "pictures")]
    out: PathBuf,
    /// Which test image to look at
    #[arg(long, default_value_t = 0)]
    image: u32,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

/// The network of `fashion_mnist`.
fn network() -> Sequential {
    let conv = |filters| Conv2d::new(filters, 3).padding(Padding::Same).activation(Activation::Relu);
    Sequential::new([28, 28, 1])
        .add(conv(32))
        .add(MaxPool2d::new(2))
        .add(conv(64))
        .add(MaxPool2d::new(2))
        .add(Flatten::new())
        .add(Dense::new(100).activation(Activation::Relu))
        .add(Dropout::new(0.4))
        .add(Dense::new(10).activation(Activation::Softmax))
}

/// The kernels of the first convolution, `(3, 3, 1, 32)`.
fn first_kernels(model: &Model) -> Result<Tensor> {
    let first = model.layers().iter().find(|layer| layer.layer().kind() == "Conv2D");
    let first = first.ok_or_else(|| Error::invalid("model", "a convolution", "none"))?;
    Ok(first.weights()[0].tensor().detach())
}

fn run(args: &Args) -> Result<()> {
    let device = Device::cpu();
    let data = FashionMnist::load()?;
    let model = match &args.model {
        Some(path) => load_model(path, &device)?,
        None => {
            let mut model = network();
            model.build(&device, 42)?;
            model.compile(Adam::default(), SparseCategoricalCrossentropy::new(), [Metric::Accuracy]);
            model.fit(&data.train, FitOptions::new())?;
            model.into()
        }
    };
    let mut untrained = network();
    untrained.build(&device, 42)?;

    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    let save = |name: &str, picture: tilegrad_plot::Picture| {
        let path = args.out.join(name);
        picture.save(&path)?;
        println!("{}", path.display());
        Ok::<(), Error>(())
    };
    let (before, after) = (first_kernels(&untrained)?, first_kernels(&model)?);
    for (name, kernels) in [("untrained", &before), ("trained", &after)] {
        println!("{name}: mean {:.3}, standard deviation {:.3}", kernels.mean().item()?, kernels.std(0).item()?);
    }
    save("kernels.png", kernels(&after, 16)?)?;
    save("weights.png", weight_histogram(&[("untrained", &before), ("trained", &after)])?)?;

    if args.image as usize >= data.test.len() {
        return Err(Error::invalid("--image", format!("below {}", data.test.len()), args.image));
    }
    let one = data.test.select(&[args.image]);
    let pixels: Vec<f32> = one.images().iter().map(|&byte| f32::from(byte) / one.scale()).collect();
    let x = Tensor::new(&pixels, [1, 28, 28, 1], &device);
    let name = model.layers()[0].name();
    let features = Model::new(model.input(), model.layer(name)?.output());
    save("feature_maps.png", feature_maps(&features.predict(&x)?, 8)?)?;
    let last = model.layers().iter().rev().find(|layer| layer.layer().kind() == "Conv2D").expect("there is a first");
    let cam = grad_cam(&model, last.name(), &x, None)?;
    println!("the image is {:?}, the model says {:?}", one.class_name(one.label(0)), one.class_name(cam.class as u32));
    save("grad_cam.png", cam.picture)
}
