//! Measures which tiles are fastest for matrix products and convolutions on this adapter, and writes a tune file that every
//! program here uses from then on. Once for each adapter, and again after a new driver or version.
//!
//! ```text
//! cargo run --release --example tune                       # the best GPU; the file goes to the default place
//! cargo run --release --example tune -- --device software --out tiles.toml
//! TILEGRAD_TUNE=tiles.toml cargo run --release --example fashion_mnist
//! ```
//!
//! Results change by rounding at most, and are the same bits in each run with the same file.
#![allow(unreachable_pub, dead_code, reason = "an example exports nothing, and this one uses a part of `bench`")]

#[path = "bench/ceiling.rs"]
mod ceiling;
#[path = "bench/kernels.rs"]
mod kernels;
#[path = "bench/nets.rs"]
mod nets;
#[path = "bench/report.rs"]
mod report;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use tilegrad::{ConvAlgorithm, Device, Error, ProductClass, Result, Tuning};

use kernels::Case;
use nets::Net;
use report::median;

#[derive(Parser)]
#[command(about = "Measures which tiles are fastest on this adapter, and writes a tune file")]
struct Args {
    /// Device: auto, gpu, software, an index, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Networks whose products are measured, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    model: Vec<Net>,
    /// Batch sizes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "32,128,512,1024")]
    batch: Vec<usize>,
    /// Where the file goes [default: the user's cache folder, where it is found by itself]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ends the search after this many seconds, with what is known by then
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    longest: f64,
    /// Measures and prints, and writes no file
    #[arg(long)]
    dry_run: bool,
}

/// How much faster a tile must be than the built-in one: less is noise.
const WORTH: f64 = 1.03;

/// Runs of each choice, in turn with the others'.
const ROUNDS: usize = 5;

/// Parts that the depth is split into, besides what the built-in rule says.
const SPLITS: [usize; 4] = [1, 4, 16, 64];

/// Shorter sums are not worth a second pass.
const LEAST_DEPTH: usize = 512;

/// What takes longer than this once is left to the built-in table.
const LONGEST_RUN: f64 = 0.5;

/// A tile with its splits; `None` is what the built-in table has.
type Choice = Option<(String, usize)>;

fn name_of(choice: &Choice) -> String {
    match choice {
        None => "built-in".into(),
        Some((tile, 0)) => tile.clone(),
        Some((tile, splits)) => format!("{tile}, splits {splits}"),
    }
}

fn apply(device: &Device, class: ProductClass, choice: &Choice) -> Result<()> {
    let mut tuning = Tuning::new();
    if let Some((tile, splits)) = choice {
        tuning.set(class, tile, *splits)?;
    }
    device.set_tuning(tuning)
}

/// Median seconds of each choice. One that does not run, for want of memory, takes for ever.
fn measure(device: &Device, case: &Case, class: ProductClass, choices: &[Choice]) -> Result<Vec<f64>> {
    let mut seconds = vec![vec![]; choices.len()];
    // The first round compiles.
    for round in 0..=ROUNDS {
        for (choice, seconds) in choices.iter().zip(&mut seconds) {
            apply(device, class, choice)?;
            let time = case.time(device).unwrap_or(f64::INFINITY);
            if round > 0 {
                seconds.push(time);
            }
        }
    }
    Ok(seconds.into_iter().map(median).collect())
}

fn fastest(choices: &[Choice], seconds: &[f64]) -> usize {
    (0..choices.len()).min_by(|&a, &b| seconds[a].total_cmp(&seconds[b])).expect("there is the built-in one")
}

/// The best choice for a case, with its time and that of the built-in one.
fn best(device: &Device, case: &Case, class: ProductClass) -> Result<(Choice, f64, f64)> {
    let tiles = device.tiles().into_iter().map(|tile| Some((tile, 0)));
    let choices: Vec<Choice> = [None].into_iter().chain(tiles).collect();
    let seconds = measure(device, case, class, &choices)?;
    let (mut best, built_in) = (fastest(&choices, &seconds), seconds[0]);
    let (mut choice, mut time) = (choices[best].clone(), seconds[best]);
    if class.depth() >= LEAST_DEPTH {
        // The built-in table's tile is among the tiles, so the fastest of those stands for it.
        best = 1 + fastest(&choices[1..], &seconds[1..]);
        let (tile, _) = choices[best].clone().expect("a tile");
        let split: Vec<Choice> = [None].into_iter().chain(SPLITS.map(|n| Some((tile.clone(), n)))).collect();
        let times = measure(device, case, class, &split)?;
        let at = fastest(&split, &times);
        // Relative to the built-in one of its own round: the machine's speed may have changed between the two.
        if at > 0 && times[at] / times[0] < time / built_in {
            (choice, time) = (split[at].clone(), built_in * times[at] / times[0]);
        }
    }
    let choice = if built_in / time >= WORTH { choice } else { None };
    Ok((choice, time, built_in))
}

fn run(args: &Args) -> Result<()> {
    if args.batch.contains(&0) {
        return Err(Error::invalid("--batch", "at least 1", 0));
    }
    let device = if args.device == "auto" { Device::auto()? } else { Device::named(&args.device)? };
    let path = args.out.clone().or_else(|| Tuning::default_path(&device));
    if !device.is_gpu() {
        return Err(Error::invalid("--device", "a GPU or a software adapter; the CPU backend has no tiles", &device));
    }
    let path = path.ok_or_else(|| Error::invalid("--out", "a file, since there is no cache folder", "nothing"))?;
    println!("device: {device}\ntiles: {}", device.tiles().join("; "));
    println!("\n{:<30} {:>11} {:>11} {:>7}  chosen", "rows x columns x depth", "built-in us", "best us", "ratio");
    let (before, started, mut tuning, mut seen) = (device.tuning(), Instant::now(), Tuning::new(), vec![]);
    let nets = if args.model.is_empty() { Net::value_variants() } else { &args.model };
    let of_net = |net: Net| args.batch.iter().map(move |&batch| (net, batch));
    let of_nets = nets.iter().flat_map(|&net| of_net(net));
    let cases = of_nets.flat_map(|(net, n)| kernels::of_net(net, n, &device, ConvAlgorithm::Direct));
    for make in cases.chain(kernels::products(&device)) {
        if started.elapsed().as_secs_f64() > args.longest {
            println!("the search ends here, after {:.0} s (--longest)", args.longest);
            break;
        }
        // The built-in tiles make what the cases need.
        device.set_tuning(Tuning::new())?;
        let Ok(case) = make() else { continue };
        let Some(class) = case.class.filter(|class| !seen.contains(class)) else { continue };
        let once = case.time(&device).and_then(|_| case.time(&device));
        if !once.as_ref().is_ok_and(|&seconds| seconds < LONGEST_RUN) {
            let why = once.map_or("for want of memory", |_| "takes too long");
            println!("{:<30} left out, {why}", class.to_string());
            continue;
        }
        seen.push(class);
        let (choice, time, built_in) = best(&device, &case, class)?;
        let ratio = built_in / time;
        let [built_in_us, us] = [built_in, time].map(|s| 1e6 * s);
        println!("{:<30} {built_in_us:>11.1} {us:>11.1} {ratio:>7.2}  {}", class.to_string(), name_of(&choice));
        if let Some((tile, splits)) = choice {
            tuning.set(class, &tile, splits)?;
        }
    }
    println!("\n{} of {} sizes are faster than with the built-in table", tuning.len(), seen.len());
    if args.dry_run {
        return device.set_tuning(before);
    }
    tuning.save(&path, &device)?;
    println!("written to {}", path.display());
    if args.out.is_some() {
        println!("to use it: TILEGRAD_TUNE={}", path.display());
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
