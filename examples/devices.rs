//! The devices of this machine, and which one would be used.
//!
//! `cargo run --example devices`

use tilegrad::Device;

fn main() {
    println!("devices, by the index that TILEGRAD_DEVICE and --device take:");
    for (index, device) in Device::list().iter().enumerate() {
        println!("  {index}: {device}");
    }
    println!();

    let (chosen, why) = match std::env::var("TILEGRAD_DEVICE") {
        Ok(name) if !name.is_empty() && name != "auto" => (Device::auto(), format!("TILEGRAD_DEVICE={name} says so")),
        _ => {
            let chosen = Device::auto();
            let why = match &chosen {
                Ok(device) if device.is_gpu() => "it is the best hardware GPU",
                _ => "there is no hardware GPU; TILEGRAD_DEVICE=software runs the kernels on the CPU's cores",
            };
            (chosen, why.to_string())
        }
    };
    match chosen {
        Ok(device) => println!("Device::auto() chooses {device}\n  because {why}"),
        Err(error) => println!("Device::auto() fails: {error}"),
    }
    match Device::gpu() {
        Ok(device) => println!("Device::gpu() chooses {device}"),
        Err(error) => println!("Device::gpu() fails: {error}"),
    }
}
