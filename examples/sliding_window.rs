//! Strides: a thin circle through a convolution of stride 1 and of stride 3, and pooling. The large stride loses the line.
//!
//! `cargo run --release --example sliding_window -- --out pictures`

mod common;

use std::path::PathBuf;

use clap::Parser;
use tilegrad::prelude::*;
use tilegrad_plot::Extraction;

/// A circle through convolutions of different strides.
#[derive(Parser)]
struct Args {
    /// Folder for the pictures
    #[arg(long, default_value = "pictures")]
    out: PathBuf,
}

fn main() -> std::process::ExitCode {
    common::exit_with(run(&Args::parse()))
}

/// A circle of radius 24 on 64 by 64 pixels, one pixel wide.
fn circle(device: &Device) -> Tensor {
    let pixel = |i: usize| {
        let (y, x) = ((i / 64) as f32 - 31.5, (i % 64) as f32 - 31.5);
        f32::from(u8::from((x.hypot(y) - 24.0).abs() < 0.6))
    };
    Tensor::new(&(0..64 * 64).map(pixel).collect::<Vec<_>>(), [64, 64], device)
}

fn run(args: &Args) -> Result<()> {
    let device = Device::cpu();
    let image = circle(&device);
    let kernel = Tensor::new(&[-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0], [3, 3], &device);
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    for stride in [1, 3] {
        let extraction = Extraction::new().conv_stride(stride).conv_padding(Padding::Valid).pool_size(2).pool_stride(2);
        let path = args.out.join(format!("circle_stride_{stride}.png"));
        extraction.pool_padding(Padding::Same).show(&image, &kernel)?.save(&path)?;
        println!("stride {stride}: {}", path.display());
    }
    Ok(())
}
