//! A trace of what runs and when, in the form that ui.perfetto.dev and chrome://tracing read: `TILEGRAD_TRACE` and
//! [`Device::trace`](crate::Device::trace).
//!
//! The host has a track for each of its threads, with spans that lie in each other; a GPU has one with its kernels, whose
//! own clock is put on the host's. Each write leaves a complete file, so that a program that is killed leaves one too.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::gpu::{KernelTime, OpNote};

/// Events after which a trace ends: some hundred training steps, and a file that a browser opens at once.
const MAX_EVENTS: usize = 20_000;

/// What closes the file. Every write puts its events over it, and another one behind them.
const CLOSING: &str = "\n]}\n";

/// Whether a trace is being written: all that is looked at when none is.
static ON: AtomicBool = AtomicBool::new(false);

static TRACE: Mutex<Option<Trace>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Trace>> {
    TRACE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(crate) fn is_on() -> bool {
    ON.load(Relaxed)
}

/// Nanoseconds on the host's clock, for all traces of the process. Whole ones: rounding must not push a span out of the
/// one that it lies in.
fn now() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as i64
}

/// An open trace.
struct Trace {
    path: PathBuf,
    file: File,
    /// Where the closing lies, which is where the next event goes.
    end: u64,
    events: usize,
    /// Processes and threads that have been given a name: see [`Trace::name`].
    named: Vec<(u32, u32)>,
    /// GPUs, by the numbers of their tracks.
    gpus: Vec<String>,
}

/// The host's process number in the file; GPUs have those after it.
const HOST: u32 = 1;

impl Trace {
    /// Writes events, each a JSON object behind a comma.
    fn write(&mut self, events: &str) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(format!("{events}{CLOSING}").as_bytes())?;
        self.end += events.len() as u64;
        Ok(())
    }

    /// The text that names a track, if nothing has lain on it so far.
    fn name(&mut self, process: u32, thread: u32, process_name: &str, thread_name: &str) -> String {
        if self.named.contains(&(process, thread)) {
            return String::new();
        }
        self.named.push((process, thread));
        let mut text = String::new();
        for (what, name) in [("process_name", process_name), ("thread_name", thread_name)] {
            let name = quoted(name);
            write!(
                text,
                ",\n{{\"ph\":\"M\",\"name\":\"{what}\",\"pid\":{process},\"tid\":{thread},\"args\":{{\"name\":{name}}}}}"
            )
            .expect("writing to a String");
        }
        text
    }
}

/// Adds events to the trace, if there is one, and ends it when it is full. `text` makes them.
fn add(events: usize, text: impl FnOnce(&mut Trace) -> String) {
    let mut open = lock();
    let Some(trace) = open.as_mut() else { return };
    let mut text = text(trace);
    trace.events += events;
    let full = trace.events >= MAX_EVENTS;
    if full {
        write!(
            text,
            ",\n{{\"ph\":\"i\",\"s\":\"g\",\"name\":\"the trace ends after {} events\",\"pid\":{HOST},\"tid\":0,\"ts\":{}}}",
            trace.events,
            microseconds(now())
        )
        .expect("writing to a String");
    }
    let written = trace.write(&text);
    if let Err(error) = &written {
        eprintln!("tilegrad: the trace {} ends here: {error}", trace.path.display());
    } else if full {
        eprintln!("tilegrad: the trace {} is full, with {} events", trace.path.display(), trace.events);
    }
    if full || written.is_err() {
        ON.store(false, Relaxed);
        *open = None;
    }
}

/// Starts a trace.
///
/// # Errors
/// When the file can't be written, or another trace has not ended.
pub(crate) fn start(path: &Path) -> Result<()> {
    let mut open = lock();
    if let Some(other) = &*open {
        return Err(Error::invalid("trace", "one at a time", format!("{} is being written", other.path.display())));
    }
    let io = |error| Error::io(path, error);
    let mut file = File::create(path).map_err(io)?;
    // The first element has no comma before it, all others have.
    let opening = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":1,\"args\":{\"sort_index\":1}}";
    file.write_all(format!("{opening}{CLOSING}").as_bytes()).map_err(io)?;
    let (path, end) = (path.to_path_buf(), opening.len() as u64);
    *open = Some(Trace { path, file, end, events: 0, named: Vec::new(), gpus: Vec::new() });
    now();
    ON.store(true, Relaxed);
    Ok(())
}

/// Ends the trace, if there is one.
pub(crate) fn end() {
    ON.store(false, Relaxed);
    *lock() = None;
}

/// Starts the trace that `TILEGRAD_TRACE` names, once a process.
///
/// # Errors
/// When the file can't be written: each time.
pub(crate) fn start_from_environment() -> Result<()> {
    static STARTED: OnceLock<Result<()>> = OnceLock::new();
    STARTED
        .get_or_init(|| match std::env::var_os("TILEGRAD_TRACE") {
            Some(path) if !path.is_empty() => start(Path::new(&path)),
            _ => Ok(()),
        })
        .clone()
}

/// What a thread of the host does, from where this is made until it is dropped.
pub(crate) struct Span {
    name: &'static str,
    start: i64,
    /// The op and its cost.
    note: Option<OpNote>,
    /// Whether the op runs in the span, which then tells how fast it was; else it is only recorded.
    runs: bool,
    /// Bytes that are moved.
    bytes: Option<u64>,
}

/// A span of work that no op does: a submission, a wait.
pub(crate) fn span(name: &'static str) -> Option<Span> {
    is_on().then(|| Span { name, start: now(), note: None, runs: false, bytes: None })
}

/// A span in which bytes go to a device, or come from it.
pub(crate) fn transfer(name: &'static str, bytes: u64) -> Option<Span> {
    is_on().then(|| Span { name, start: now(), note: None, runs: false, bytes: Some(bytes) })
}

/// A span in which an op runs, or is recorded for a GPU.
pub(crate) fn op(name: &'static str, runs: bool, note: impl FnOnce() -> OpNote) -> Option<Span> {
    is_on().then(|| Span { name, note: Some(note()), start: now(), runs, bytes: None })
}

impl Drop for Span {
    fn drop(&mut self) {
        let end = now();
        let mut args = String::new();
        if let Some(note) = &self.note {
            let cost = if self.runs { (note.flops, note.bytes) } else { (0, 0) };
            args = op_args(&note.op, cost, (end - self.start) as f64 * 1e-3);
        } else if let Some(bytes) = self.bytes {
            args = format!("\"bytes\":{bytes}");
        }
        let thread = thread();
        add(1, |trace| {
            let thread_name = if thread == 1 { "host".to_string() } else { format!("host, thread {thread}") };
            let mut text = trace.name(HOST, thread, "host", &thread_name);
            push_event(&mut text, [HOST, thread], self.name, [self.start, end], &args);
            text
        });
    }
}

/// This thread's number, in the order in which threads are seen.
fn thread() -> u32 {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: u32 = SEEN.fetch_add(1, Relaxed) + 1;
    }
    NUMBER.with(|number| *number)
}

/// The kernels of a GPU on their way into the trace.
#[derive(Debug)]
pub(crate) struct KernelTrack {
    gpu: String,
    submitted: i64,
    /// What is added to the GPU's clock.
    offset: Option<i64>,
}

impl KernelTrack {
    pub(crate) fn new(gpu: &str) -> KernelTrack {
        KernelTrack { gpu: gpu.to_string(), submitted: 0, offset: None }
    }

    /// Notes that kernels are about to be submitted: none of them starts before.
    pub(crate) fn submit(&mut self) {
        self.submitted = now();
    }

    /// Adds the kernels of the submission, which have all ended.
    pub(crate) fn finish(&mut self, kernels: &[KernelTime]) {
        let nanoseconds =
            |k: &KernelTime| [k.start_microseconds, k.start_microseconds + k.microseconds].map(|t| (t * 1e3) as i64);
        let (Some(first), Some(last)) = (kernels.first(), kernels.last()) else { return };
        // The two clocks have different origins and may drift. What is known is that a kernel starts after its submission
        // and ends before now, which over many submissions leaves little room.
        let (earliest, latest) = (self.submitted - nanoseconds(first)[0], now() - nanoseconds(last)[1]);
        let offset = self.offset.map_or(earliest, |offset| offset.min(latest).max(earliest));
        self.offset = Some(offset);
        add(kernels.len(), |trace| {
            let at = trace.gpus.iter().position(|name| *name == self.gpu).unwrap_or_else(|| {
                trace.gpus.push(self.gpu.clone());
                trace.gpus.len() - 1
            });
            let process = HOST + 1 + at as u32;
            let mut text = trace.name(process, 1, &self.gpu, "kernels");
            let mut free = self.submitted;
            for k in kernels {
                // Kernels that overlap can't be drawn on one track.
                let [start, end] = nanoseconds(k).map(|t| t + offset);
                let start = start.max(free);
                free = end.max(start + 1);
                push_event(
                    &mut text,
                    [process, 1],
                    k.kernel,
                    [start, free],
                    &op_args(&k.op, (k.flops, k.bytes), k.microseconds),
                );
            }
            text
        });
    }
}

fn op_args(op: &str, (flops, bytes): (u64, u64), microseconds: f64) -> String {
    let mut args = format!("\"op\":{}", quoted(op));
    let per_us = 1e-3 / microseconds.max(1e-3);
    for (name, n) in [("GFLOP/s", flops), ("GB/s", bytes)] {
        if n > 0 {
            write!(args, ",\"{name}\":{:.2}", n as f64 * per_us).expect("writing to a String");
        }
    }
    args
}

fn push_event(text: &mut String, [process, thread]: [u32; 2], name: &str, [start, end]: [i64; 2], args: &str) {
    // At least a nanosecond: a span of no length can't be clicked on.
    let (name, start, length) = (quoted(name), microseconds(start), microseconds((end - start).max(1)));
    write!(
        text,
        ",\n{{\"ph\":\"X\",\"name\":{name},\"pid\":{process},\"tid\":{thread},\"ts\":{start},\"dur\":{length},\"args\":{{{args}}}}}"
    )
    .expect("writing to a String");
}

/// The unit of the file, to the nanosecond.
fn microseconds(nanoseconds: i64) -> String {
    format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => write!(quoted, "\\u{:04x}", c as u32).expect("writing to a String"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
