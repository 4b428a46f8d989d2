//! The tune file: a [`Tuning`] kept for the next process, written by `examples/tune.rs` and read when a device is opened.
//!
//! ```text
//! format = 1
//! tilegrad = "0.1.0"
//! adapter = "NVIDIA H200"
//! driver = "NVIDIA 570.0"
//!
//! [matmul]
//! "128x128x4096" = "TILE_M=64 TILE_N=64 TILE_K=16 THREAD_M=4 THREAD_N=4, splits 8"
//! ```
//!
//! It is a small part of TOML. What was measured with another version, adapter or driver says nothing about this one, so
//! such a file is not used, and neither is a damaged one.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::device::{Device, DeviceInfo};
use crate::error::{Error, Result};
use crate::gpu::AdapterDescription;
use crate::ops::gemm_tiles::Limits;
use crate::tuning::{ProductClass, ProductKind, Tuning};

const FORMAT: &str = "1";

/// More than any table takes.
const MAX_BYTES: u64 = 1 << 20;

impl Tuning {
    /// Where the tune file of a device is looked for: `tilegrad/tune`, in the user's cache folder, with the adapter's name.
    /// `None` on the CPU, and without a home folder.
    pub fn default_path(device: &Device) -> Option<PathBuf> {
        match device.info() {
            DeviceInfo::Gpu(adapter) => default_path(&adapter),
            DeviceInfo::Cpu { .. } => None,
        }
    }

    /// Reads a tune file that was written on this adapter.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be read; [`Error::Malformed`] when it is damaged, or of another version, adapter or driver,
    /// or has tiles that the adapter can't run; [`Error::Invalid`] on the CPU.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Tuning> {
        read(path.as_ref(), &adapter_of(device)?)
    }

    /// Writes a tune file for this adapter, with its folder.
    ///
    /// # Errors
    /// When it can't be written, and on the CPU.
    pub fn save(&self, path: impl AsRef<Path>, device: &Device) -> Result<()> {
        let (path, adapter) = (path.as_ref(), adapter_of(device)?);
        let failed = |e| Error::io(path, e);
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        // Beside its place first, so that nobody reads half a file.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let written =
            std::fs::write(&beside, self.text(&header(&adapter))).and_then(|()| std::fs::rename(&beside, path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&beside);
            failed(e)
        })
    }

    fn text(&self, header: &Header) -> String {
        let mut text =
            String::from("# Tiles that are fastest on this adapter. Without this file the built-in table is used.\n");
        for (key, value) in header {
            let _ = writeln!(text, "{key} = {value}");
        }
        for kind in ProductKind::ALL {
            let _ = writeln!(text, "\n# rows x columns x depth, rounded up to powers of two\n[{}]", kind.name());
            for (class, tile, splits) in self.rows().filter(|(class, ..)| class.kind == kind) {
                let _ = writeln!(text, "\"{}\" = \"{tile}, splits {splits}\"", class.size_text());
            }
        }
        text
    }
}

fn adapter_of(device: &Device) -> Result<AdapterDescription> {
    match device.info() {
        DeviceInfo::Gpu(adapter) => Ok(adapter),
        DeviceInfo::Cpu { .. } => Err(Error::invalid("tune file", "a GPU device", device)),
    }
}

fn default_path(adapter: &AdapterDescription) -> Option<PathBuf> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = format!("{} {}", adapter.name, adapter.backend).chars().map(plain).collect();
    let name: Vec<&str> = words.split('-').filter(|w| !w.is_empty()).collect();
    Some(dirs::cache_dir()?.join("tilegrad").join("tune").join(format!("{}.toml", name.join("-"))))
}

/// What must be as it is here, as the file has it.
type Header = [(&'static str, String); 5];

fn header(adapter: &AdapterDescription) -> Header {
    header_of([&adapter.name, &adapter.driver, &adapter.backend])
}

fn header_of([adapter, driver, backend]: [&str; 3]) -> Header {
    let quoted = |text: &str| format!("\"{}\"", text.replace(['"', '\\', '\n', '\r'], "'"));
    [
        ("format", FORMAT.to_string()),
        ("tilegrad", quoted(env!("CARGO_PKG_VERSION"))),
        ("adapter", quoted(adapter)),
        ("driver", quoted(driver)),
        ("backend", quoted(backend)),
    ]
}

/// What `TILEGRAD_TUNE` names, or else the default file if there is one; none with `off`. Whatever keeps the file from
/// being used is said in one line.
pub(crate) fn for_adapter(adapter: &AdapterDescription) -> Tuning {
    let asked = std::env::var_os("TILEGRAD_TUNE").filter(|v| !v.is_empty());
    let path = match &asked {
        Some(value) if value == "off" => None,
        Some(value) => Some(PathBuf::from(value)),
        None => default_path(adapter).filter(|path| path.exists()),
    };
    let Some(path) = path else { return Tuning::new() };
    read(&path, adapter).unwrap_or_else(|error| {
        let help = "measure again with the example `tune`, or set TILEGRAD_TUNE=off";
        eprintln!("tilegrad: the tune file is not used: {error}; {help}");
        Tuning::new()
    })
}

fn read(path: &Path, adapter: &AdapterDescription) -> Result<Tuning> {
    let mut text = String::new();
    let file = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    file.map_err(|e| Error::io(path, e))?;
    let parsed = parse(&text, &header(adapter), &Limits::of(adapter));
    parsed.map_err(|[what, expected, got]| Error::Malformed { path: path.into(), what, expected, got })
}

/// What is wrong, what should be there, and what is.
type Wrong = [String; 3];

fn parse(text: &str, header: &Header, limits: &Limits) -> Result<Tuning, Wrong> {
    let mut wanted = header.iter();
    let (mut tuning, mut kind) = (Tuning::new(), None);
    for (number, line) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
        let wrong = |expected: &str| [format!("line {number}"), expected.to_string(), format!("{line:?}")];
        if let Some((key, value)) = wanted.next() {
            let got = line.split_once('=').filter(|(k, _)| k.trim() == *key).map(|(_, v)| v.trim());
            match got.ok_or_else(|| wrong(&format!("{key} = {value}")))? {
                got if got == value => {}
                got => return Err([key.to_string(), value.clone(), got.escape_debug().to_string()]),
            }
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let found = ProductKind::ALL.into_iter().find(|k| k.name() == name);
            kind = Some(found.ok_or_else(|| wrong("[matmul] or [conv2d]"))?);
        } else {
            let kind = kind.ok_or_else(|| wrong("[matmul] or [conv2d]"))?;
            let (size, tile, splits) = row(line).ok_or_else(|| wrong("\"ROWSxCOLUMNSxDEPTH\" = \"TILE, splits N\""))?;
            tuning.set(ProductClass::new(kind, size), tile, splits).map_err(|_| wrong("a tile of this version"))?;
        }
    }
    if let Some((key, value)) = wanted.next() {
        return Err(["end of the file".into(), format!("{key} = {value}"), "nothing".into()]);
    }
    match tuning.past(limits) {
        Some((class, tile)) => Err([format!("tile for {class}"), "one within the adapter's limits".into(), tile]),
        None => Ok(tuning),
    }
}

fn row(line: &str) -> Option<([usize; 3], &str, usize)> {
    let (size, choice) = line.split_once(" = ")?;
    let (size, choice) = (size.strip_prefix('"')?.strip_suffix('"')?, choice.strip_prefix('"')?.strip_suffix('"')?);
    let (tile, splits) = choice.split_once(", splits ")?;
    let lengths = size.split('x').map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()?;
    Some((lengths.try_into().ok()?, tile, splits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { workgroup_bytes: 32 << 10, threads: 1024, subgroup: (0, 0) };

    fn header() -> Header {
        header_of(["Example \"One\"", "driver 1.2", "vulkan"])
    }

    fn tuning() -> Tuning {
        let mut tuning = Tuning::new();
        let tile = "TILE_M=64 TILE_N=64 TILE_K=16 THREAD_M=4 THREAD_N=4";
        tuning.set(ProductClass::new(ProductKind::Matmul, [128, 100, 3136]), tile, 8).unwrap();
        tuning.set(ProductClass::new(ProductKind::Conv2d, [25_088, 64, 288]), tile, 0).unwrap();
        tuning
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = tuning().text(&header());
        assert!(text.contains("\"128x128x4096\" = \"TILE_M=64"), "{text}");
        assert_eq!(parse(&text, &header(), &LIMITS).unwrap(), tuning());
        assert_eq!(parse(&Tuning::new().text(&header()), &header(), &LIMITS).unwrap(), Tuning::new());
    }

    #[test]
    fn another_adapter_driver_or_version_and_damage_are_refused() {
        let text = tuning().text(&header());
        let refused = |text: &str, what: &str| {
            let wrong = parse(text, &header(), &LIMITS).expect_err(text);
            assert!(wrong[0].contains(what) && !wrong.concat().contains('\n'), "{wrong:?}");
        };
        refused(&text.replace("Example", "Another"), "adapter");
        refused(&text.replace("driver 1.2", "driver 1.3"), "driver");
        refused(&text.replace("format = 1", "format = 2"), "format");
        refused(&text.replace(env!("CARGO_PKG_VERSION"), "0.0.1"), "tilegrad");
        refused("", "end of the file");
        refused("\0\u{1b}[31m", "line 1");
        refused(&text.replace("[conv2d]", "[conv4d]"), "line");
        refused(&text.replace("TILE_M=64", "TILE_M=63"), "line");
        refused(&text.replace("splits 8", "splits -8"), "line");
        refused(&text.replace("128x128x4096", "128x4096"), "line");
        for end in (0..text.len() - 1).filter(|&end| !text[..end].ends_with("\n")) {
            // Cut anywhere: refused, or a table with fewer rows where a comment or a line's end was cut.
            if let Ok(cut) = parse(&text[..end], &header(), &LIMITS) {
                assert!(cut.len() < 2 || cut == tuning(), "{}", &text[..end]);
            }
        }
    }

    #[test]
    fn limits_of_the_adapter_hold() {
        let small = Limits { workgroup_bytes: 4096, ..LIMITS };
        let wrong = parse(&tuning().text(&header()), &header(), &small).unwrap_err();
        assert!(wrong[2].contains("TILE_M=64"), "{wrong:?}");
    }
}
