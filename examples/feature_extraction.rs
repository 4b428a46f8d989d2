//! Filter, detect, condense: what a convolution with a hand-made kernel, relu and max-pooling do to one image.
//!
//! `cargo run --release --example feature_extraction -- --out pictures`

mod common;

use std::path::PathBuf;

use clap::Parser;
use tilegrad::prelude::*;
use tilegrad_plot::{Extraction, show_kernel};

/// Hand-made kernels on one image.
#[derive(Parser)]
struct Args {
    /// An image, PNG [default: one that is drawn: a house under the moon]
    #[arg(long)]
    image: Option<PathBuf>,
    /// Folder for the pictures
    #[arg(long, default_value = "pictures")]
    out: PathBuf,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

/// A grey image `(H, W)` of numbers from 0 to 1.
fn read(path: &PathBuf, device: &Device) -> Result<Tensor> {
    let image = image::open(path).map_err(|e| Error::io(path, std::io::Error::other(e)))?.to_luma32f();
    let shape = [image.height() as usize, image.width() as usize];
    Ok(Tensor::new(image.as_raw(), shape, device))
}

/// What is looked at if there is no image: edges in all directions.
fn drawn(device: &Device) -> Tensor {
    let pixel = |i: usize| {
        let (y, x) = ((i / 160) as f32, (i % 160) as f32);
        let moon = (x - 125.0).hypot(y - 30.0) < 18.0;
        let roof = y > 60.0 && y < 95.0 && (x - 65.0).abs() < y - 60.0;
        let wall = (95.0..140.0).contains(&y) && (35.0..95.0).contains(&x);
        let door = (112.0..140.0).contains(&y) && (58.0..74.0).contains(&x);
        0.15 + 0.7 * f32::from(u8::from(moon))
            + 0.5 * f32::from(u8::from(roof))
            + 0.35 * f32::from(u8::from(wall && !door))
    };
    Tensor::new(&(0..160 * 160).map(pixel).collect::<Vec<_>>(), [160, 160], device)
}

fn run(args: &Args) -> Result<()> {
    let device = Device::cpu();
    let image = match &args.image {
        Some(path) => read(path, &device)?,
        None => drawn(&device),
    };
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    let edge = [-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0];
    let bottom_sobel = [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    for (name, kernel) in [("edge", edge), ("bottom_sobel", bottom_sobel)] {
        let kernel = Tensor::new(&kernel, [3, 3], &device);
        let save = |what: &str, picture: tilegrad_plot::Picture| {
            let path = args.out.join(format!("{name}_{what}.png"));
            picture.save(&path)?;
            println!("{}", path.display());
            Ok::<(), Error>(())
        };
        save("kernel", show_kernel(&kernel)?)?;
        save("extraction", Extraction::new().gamma(0.7).show(&image, &kernel)?)?;
    }
    Ok(())
}
