//! One error type for everything the outside world can cause, and the wording of its messages.
//!
//! A wrong shape in a tensor expression is no such thing: it is a bug in the calling line and panics there.

use std::path::PathBuf;
use std::sync::Arc;

use crate::shape::ShapeError;

/// What can go wrong at run time through no fault of the calling code.
///
/// Cloning is cheap: a failed allocation surfaces at every readback that depends on it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No graphics adapter that could run compute shaders.
    #[error(
        "no suitable GPU adapter found\n  backends tried: {backends}\n  adapters seen: {seen}\n  help: on Debian or Ubuntu \
         `apt install libvulkan1 mesa-vulkan-drivers` gives a software adapter (lavapipe); for a graphics card \
         install its vendor's Vulkan driver; TILEGRAD_DEVICE=cpu runs without one"
    )]
    NoAdapter {
        /// The backends that this build can use here.
        backends: String,
        /// Adapters that were found but could not be used, with the reason.
        seen: String,
    },

    /// A device name that nothing answers to.
    #[error(
        "no device matches {wanted:?}\n  devices: {available}\n  help: use auto, cpu, gpu, software, an index, or part of a name"
    )]
    UnknownDevice {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },

    /// The adapter would not open.
    #[error("adapter {adapter} could not be opened: {reason}")]
    OpenDevice {
        /// Its name.
        adapter: String,
        /// What the driver said.
        reason: String,
    },

    /// The driver gave up on the device: a reset, a removed card, a dispatch that took too long.
    #[error("the GPU device was lost: {reason}")]
    DeviceLost {
        /// What the driver said.
        reason: String,
    },

    /// The device has no room for a buffer.
    #[error("out of memory on {device}: {what} wants {wanted} bytes, {live} bytes are in use")]
    OutOfMemory {
        /// Which device.
        device: String,
        /// What was to be stored.
        what: String,
        /// Size of the request.
        wanted: u64,
        /// Bytes in live buffers at the time.
        live: u64,
    },

    /// A buffer past a limit of the adapter.
    #[error("{what} takes {wanted} bytes, more than the {limit} bytes that {device} allows in one buffer")]
    TooLarge {
        /// Which device.
        device: String,
        /// What was to be stored.
        what: String,
        /// Size of the request.
        wanted: u64,
        /// The adapter's limit.
        limit: u64,
    },

    /// A kernel that takes more than the adapter has: of workgroup memory, of threads, of buffers or of parameters.
    #[error("kernel {kernel} takes {wanted} {limit}, {device} has {available} for one")]
    KernelLimit {
        /// Which device.
        device: String,
        /// The shader and its entry point.
        kernel: String,
        /// What is counted.
        limit: String,
        /// How much the kernel takes.
        wanted: u64,
        /// How much it may take.
        available: u64,
    },

    /// Something the graphics stack refused: a bug in a kernel or a driver.
    #[error("the graphics driver reported an error: {0}")]
    Driver(String),

    /// A kernel from outside the crate that is no valid WGSL, or not what it was announced as.
    #[error("shader {name}: {message}")]
    Shader {
        /// The kernel's name.
        name: String,
        /// What is wrong, with line and column in the user's text where there are any.
        message: String,
    },

    /// Shapes that don't fit, found before anything ran.
    #[error(transparent)]
    Shape(#[from] ShapeError),

    /// A layer that doesn't fit the one before it.
    #[error("layer {index} ({layer}): {source}")]
    Layer {
        /// Position in the model, from 0.
        index: usize,
        /// The layer's name.
        layer: String,
        /// What doesn't fit.
        source: Box<ShapeError>,
    },

    /// A label outside the classes.
    #[error("label {label} of example {index} is not one of the {classes} classes (0 to {})", .classes.saturating_sub(1))]
    Label {
        /// Which example.
        index: usize,
        /// Its label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },

    /// An argument out of its range: a batch size of 0, an empty data set, a rate above 1.
    #[error("{what}: expected {expected}, got {got}")]
    Invalid {
        /// Which argument or thing.
        what: String,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },

    /// A file that can't be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },

    /// A checkpoint that is damaged: truncated, or with sizes that don't add up.
    #[error("{}: {what}: expected {expected}, got {got}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which part of it, with the offset in bytes where one is known.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },

    /// A checkpoint that is not this model's: every difference, by layer name.
    #[error("{}: the checkpoint does not fit this model\n  {}", .path.display(), .differences.join("\n  "))]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// One line for each tensor that is missing, unknown, or of another shape or type.
        differences: Vec<String>,
    },

    /// A data set that is missing, damaged or inconsistent; inside is a `tilegrad_data::Error`.
    #[error(transparent)]
    Data(Arc<dyn std::error::Error + Send + Sync>),

    /// A model used before it was built or compiled.
    #[error("{0}")]
    NotReady(String),
}

impl Error {
    /// An I/O error with the file it happened to.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { path: path.into(), source: Arc::new(source) }
    }

    /// An argument out of its range.
    pub fn invalid(what: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Error {
        Error::Invalid { what: what.into(), expected: expected.into(), got: got.to_string() }
    }
}

/// `Result` with tilegrad's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
