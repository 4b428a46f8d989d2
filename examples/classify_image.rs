//! A trained model in a file and a picture from disk: the five most likely classes.
//!
//! `cargo run --release --example classify_image -- model.safetensors picture.png --dataset fashion-mnist`

mod common;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tilegrad::prelude::*;

/// Classifies a picture with a model that `fashion_mnist --save` or another example wrote.
#[derive(Parser)]
struct Args {
    /// The model's file
    model: PathBuf,
    /// A PNG, JPEG or BMP file
    picture: PathBuf,
    /// What the classes are called [default: by their numbers]
    #[arg(long, value_enum)]
    dataset: Option<Names>,
    /// The picture is dark on light, unlike what the model was trained on
    #[arg(long)]
    invert: bool,
    /// Device: auto, cpu, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Data sets whose classes have names.
#[derive(Clone, Copy, ValueEnum)]
enum Names {
    FashionMnist,
    Cifar10,
}

const FASHION: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
const CIFAR: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
    let model = load_model(&args.model, &device)?;
    let input = model.input_shape().expect("a loaded model knows its input");
    let [height, width, channels] = input[..] else {
        return Err(Error::invalid("input of the model", "images, [H, W, C]", input));
    };
    let picture = read_image(&args.picture, channels, Some([height, width]), &device)?;
    let picture = if args.invert { picture.affine(-1.0, 1.0) } else { picture };
    let probabilities = model.predict(&picture.unsqueeze(0))?.to_vec::<f32>()?;

    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    for &class in order.iter().take(5) {
        let name = match args.dataset {
            Some(Names::FashionMnist) => FASHION.get(class),
            Some(Names::Cifar10) => CIFAR.get(class),
            None => None,
        };
        println!(
            "{:6.2} %  {}",
            100.0 * probabilities[class],
            name.map_or_else(|| class.to_string(), |n| n.to_string())
        );
    }
    Ok(())
}
