//! TensorBoard's event files: records of protocol buffers, each with checksums.
//!
//! ```text
//! record    length u64 | checksum of length u32 | data | checksum of data u32     TFRecord, little-endian
//! data      Event { wall_time = 1, step = 2, file_version = 3, summary = 5 }
//! summary   Value { tag = 1, simple_value = 2, histo = 5 }, each as field 1
//! ```
//!
//! Field numbers are those of TensorFlow's `event.proto`, `summary.proto` and `histogram.proto`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};
use tilegrad_core::{Error, Result};

/// TFRecord's checksum: CRC-32C.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Buckets of a histogram: as many as Keras takes.
const BUCKETS: usize = 30;

/// An open event file in a folder of its own.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in this folder, which is made if it is not there. Files of earlier runs stay: TensorBoard shows all.
    pub(crate) fn create(folder: &Path) -> Result<EventFile> {
        // Several files may begin in one second.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let (seconds, process, count) = (wall_time() as u64, std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = folder.join(format!("events.out.tfevents.{seconds}.tilegrad.{process}.{count}.v2"));
        let file = File::create_new(&path).map_err(|e| Error::io(&path, e))?;
        let mut events = EventFile { path, file };
        let mut first = Message::default();
        first.double(1, wall_time());
        first.bytes(3, b"brain.Event:2");
        events.write(first)?;
        Ok(events)
    }

    /// Numbers at a step, by name.
    pub(crate) fn scalars(&mut self, step: u64, values: impl Iterator<Item = (String, f32)>) -> Result<()> {
        let mut summary = Message::default();
        for (tag, number) in values {
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, number);
            summary.bytes(1, &value.0);
        }
        self.write(event(wall_time(), step, &summary))
    }

    /// How the numbers of a tensor are spread at a step.
    pub(crate) fn histogram(&mut self, step: u64, tag: &str, values: &[f32]) -> Result<()> {
        self.write(event(wall_time(), step, &histogram(tag, values)))
    }

    fn write(&mut self, message: Message) -> Result<()> {
        self.file.write_all(&record(&message.0)).map_err(|e| Error::io(&self.path, e))
    }
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn event(wall_time: f64, step: u64, summary: &Message) -> Message {
    let mut event = Message::default();
    event.double(1, wall_time);
    event.number(2, step);
    event.bytes(5, &summary.0);
    event
}

/// The summary of a tensor's numbers in buckets of one width. What is not finite is left out.
fn histogram(tag: &str, values: &[f32]) -> Message {
    let finite = || values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
    let (mut low, mut high) = finite().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        (low, high) = (0.0, 0.0);
    }
    let width = (high - low) / BUCKETS as f64;
    let mut counts = [0.0; BUCKETS];
    for v in finite() {
        let place = if width > 0.0 { ((v - low) / width) as usize } else { 0 };
        counts[place.min(BUCKETS - 1)] += 1.0;
    }
    let limits: Vec<f64> = (1..=BUCKETS).map(|i| if i == BUCKETS { high } else { low + i as f64 * width }).collect();
    let sums = [counts.iter().sum(), finite().sum(), finite().map(|v| v * v).sum()];
    histogram_of(tag, [low, high], sums, &limits, &counts)
}

fn histogram_of(tag: &str, range: [f64; 2], sums: [f64; 3], limits: &[f64], counts: &[f64]) -> Message {
    let mut histo = Message::default();
    for (field, value) in (1..).zip(range.into_iter().chain(sums)) {
        histo.double(field, value);
    }
    histo.doubles(6, limits);
    histo.doubles(7, counts);
    let mut value = Message::default();
    value.bytes(1, tag.as_bytes());
    value.bytes(5, &histo.0);
    let mut summary = Message::default();
    summary.bytes(1, &value.0);
    summary
}

/// Data with its length and both checksums.
fn record(data: &[u8]) -> Vec<u8> {
    // A rotation and an offset, so that a checksum of data with checksums in it says something.
    let masked = |bytes: &[u8]| CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// A protocol buffer in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn doubles(&mut self, field: u64, values: &[f64]) {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(message: &Message) -> String {
        record(&message.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Against what TensorBoard's own writer makes of the same.
    #[test]
    fn records_are_tensorboards() {
        let mut first = Message::default();
        first.double(1, 1_700_000_000.5);
        first.bytes(3, b"brain.Event:2");
        assert_eq!(hex(&first), "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110");
        let (mut value, mut summary) = (Message::default(), Message::default());
        value.bytes(1, b"epoch_loss");
        value.float(2, 0.125);
        summary.bytes(1, &value.0);
        let want = "2100000000000000017becf60900005040fc54d94110ac022a130a110a0a65706f63685f6c6f7373150000003ee7019086";
        assert_eq!(hex(&event(1_700_000_001.25, 300, &summary)), want);
        let summary = histogram_of("conv2d/kernel", [-1.0, 2.0], [4.0, 2.5, 5.75], &[0.5, 2.0], &[3.0, 1.0]);
        let want = "71000000000000009c97e77309000000000000004010012a640a620a0d636f6e7632642f6b65726e656c2a51090000000\
                    00000f0bf1100000000000000401900000000000010402100000000000004402900000000000017403210000000000000e03f\
                    00000000000000403a100000000000000840000000000000f03fe31e9350";
        assert_eq!(hex(&event(2.0, 1, &summary)), want);
    }

    #[test]
    fn histograms_count_all_that_is_finite() {
        for values in [vec![], vec![f32::NAN], vec![1.0; 5], vec![-1.0, 0.0, 2.0, f32::INFINITY]] {
            let _ = histogram("x", &values);
        }
        let even: Vec<f32> = (0..300).map(|i| i as f32 / 299.0).collect();
        let Message(bytes) = histogram("x", &even);
        let counts: Vec<f64> =
            bytes[bytes.len() - 8 * BUCKETS..].chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        assert!(counts.iter().all(|count| (9.0..=11.0).contains(count)), "{counts:?}");
    }
}
