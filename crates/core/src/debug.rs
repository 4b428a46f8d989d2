//! What `TILEGRAD_DEBUG` and `TILEGRAD_CHECK` switch on: see docs/debugging.md.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::op::Op;
use crate::tensor::Tensor;
use crate::trace;

struct Switches {
    level: u32,
    check: bool,
}

fn switches() -> &'static Switches {
    static SWITCHES: OnceLock<Switches> = OnceLock::new();
    SWITCHES.get_or_init(|| Switches {
        level: std::env::var("TILEGRAD_DEBUG").ok().and_then(|v| v.parse().ok()).unwrap_or(0),
        check: std::env::var("TILEGRAD_CHECK").is_ok_and(|v| v == "1"),
    })
}

/// Level 1 names the device; level 2 prints a line for each kernel; a trace gets them too.
pub(crate) fn device_opened(gpu: &Gpu) -> Result<()> {
    trace::start_from_environment()?;
    if switches().level >= 1 {
        eprintln!("tilegrad: opened {}", gpu.description());
    }
    let lines = switches().level >= 2;
    if (lines || trace::is_on()) && !gpu.description().timestamps {
        eprintln!("tilegrad: this adapter has no timestamps, so there are no times of kernels");
        return Ok(());
    }
    if lines {
        gpu.print_kernels()?;
    }
    if trace::is_on() {
        gpu.trace_kernels()?;
    }
    Ok(())
}

/// After each op: level 1 looks for NaN, level 3 prints the runtime's counters, and the check runs the op on the CPU too.
pub(crate) fn after(op: &dyn Op, x: &[Tensor], y: &[Tensor]) {
    let Switches { level, check } = *switches();
    if level == 0 && !check {
        return;
    }
    // Reading a tensor back runs ops of its own, which are not looked at again.
    thread_local! {
        static LOOKING: Cell<bool> = const { Cell::new(false) };
    }
    if LOOKING.replace(true) {
        return;
    }
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            LOOKING.set(false);
        }
    }
    let _done = Done;
    look(op, x, y, level, check);
}

fn look(op: &dyn Op, x: &[Tensor], y: &[Tensor], level: u32, check: bool) {
    if check && y[0].device().is_gpu() {
        compare(op, x, y);
    }
    if level >= 1 && y[0].dtype() == DType::F32 {
        let nan = |t: &Tensor| t.dtype() == DType::F32 && t.to_vec::<f32>().is_ok_and(|v| v.iter().any(|v| v.is_nan()));
        if nan(&y[0]) && !x.iter().any(nan) {
            eprintln!("tilegrad: {} makes the first NaN, from inputs without one: {x:?} -> {:?}", op.name(), y[0]);
        }
    }
    if level >= 3 {
        eprintln!("tilegrad: after {}: {:?}", op.name(), y[0].device().stats());
    }
}

/// Runs the op on the CPU with the GPU's inputs.
///
/// # Panics
/// When the outputs differ: with the op's name, the shapes and the worst element.
fn compare(op: &dyn Op, x: &[Tensor], y: &[Tensor]) {
    let here = |t: &Tensor| t.to(&Device::cpu()).unwrap_or_else(|e| panic!("{}: {e}", op.name()));
    let inputs: Vec<Tensor> = x.iter().map(here).collect();
    let want = crate::op::run_on_cpu(op, &inputs, y);
    for (y, want) in y.iter().zip(&want).filter(|(y, _)| y.dtype() == DType::F32) {
        let (got, want) = (here(y), want);
        let (got, want) = (got.to_vec::<f32>().expect("on the CPU"), want.to_vec::<f32>().expect("on the CPU"));
        let differs =
            |(g, w): (&f32, &f32)| !((g - w).abs() <= 1e-4 + 1e-3 * w.abs() || (g.is_nan() && w.is_nan()) || g == w);
        if let Some(i) = got.iter().zip(&want).position(differs) {
            panic!(
                "TILEGRAD_CHECK: {} differs between GPU and CPU\n  inputs: {x:?}\n  element {i}: GPU {}, CPU {}",
                op.name(),
                got[i],
                want[i]
            );
        }
    }
}
