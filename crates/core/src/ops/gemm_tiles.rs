//! The tile table: which tiles for which adapter and size of a matrix product, and how many splits of its summed axis.
//!
//! A hardware GPU wants tiles in workgroup memory that many threads share; a software rasteriser wants none, and large
//! register tiles instead (the same tile is six times slower there). The figures are in docs/performance.md.

use tilegrad_shaders::Shader;

use crate::gpu::{AdapterDescription, Stream};
use crate::tuning::{ProductClass, ProductKind};

/// What one workgroup makes: a tile of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Rows of the result in a tile.
    pub(super) rows: usize,
    /// Columns of the result in a tile.
    pub(super) columns: usize,
    /// Splits of the summed axis are multiples of this.
    pub(super) step: usize,
    /// Into how many parts the summed axis is split; 0 leaves that to the built-in rule.
    pub(crate) splits: usize,
    /// The tile as the shaders take it.
    pub(super) constants: &'static [(&'static str, u32)],
}

macro_rules! software {
    ($lanes:literal, $rows:literal) => {
        Tile { rows: $rows, columns: 4 * $lanes, step: 4, splits: 0, constants: &[("LANES", $lanes), ("ROWS", $rows)] }
    };
}

macro_rules! hardware {
    ($size:literal, $thread:literal) => {
        Tile {
            rows: $size,
            columns: $size,
            step: 16,
            splits: 0,
            constants: &[
                ("TILE_M", $size),
                ("TILE_N", $size),
                ("TILE_K", 16),
                ("THREAD_M", $thread),
                ("THREAD_N", $thread),
            ],
        }
    };
}

/// For software adapters, smallest first; 8 lanes and then 16.
pub(super) static SOFTWARE: [Tile; 5] =
    [software!(8, 8), software!(8, 16), software!(8, 32), software!(16, 16), software!(16, 32)];

/// For hardware, smallest first.
pub(super) static HARDWARE: [Tile; 3] = [hardware!(32, 4), hardware!(64, 4), hardware!(128, 8)];

/// Every tile that a tune file may name.
pub(crate) fn all() -> impl Iterator<Item = &'static Tile> {
    SOFTWARE.iter().chain(&HARDWARE)
}

/// What an adapter allows a workgroup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Workgroup memory.
    pub(crate) workgroup_bytes: u32,
    pub(crate) threads: u32,
    /// Fewest and most invocations of a subgroup; zeros without subgroups.
    pub(crate) subgroup: (u32, u32),
}

impl Limits {
    pub(crate) fn of(adapter: &AdapterDescription) -> Limits {
        Limits {
            workgroup_bytes: adapter.max_workgroup_bytes,
            threads: adapter.max_workgroup_threads,
            subgroup: adapter.subgroup_sizes.unwrap_or_default(),
        }
    }
}

/// Whether the adapter runs the software kernels: a rasteriser on the CPU whose subgroups hold at least 8 invocations.
/// Returns the lanes. Other adapters run the hardware kernels, which assume nothing about subgroups.
fn software_lanes(gpu: &Stream, columns: usize) -> Option<usize> {
    let sizes = gpu.wants_software_kernels().then(|| gpu.gpu().subgroup_sizes());
    match sizes.flatten() {
        Some((16, 16)) if columns > 32 => Some(16),
        Some((8.., _)) => Some(8),
        _ => None,
    }
}

/// Picks the shader of a pair (software, hardware) and the tile for a product of `rows x depth` by `depth x columns`: what
/// was measured on the adapter, or else what the built-in table has.
pub(super) fn choose(gpu: &Stream, size: [usize; 3], shaders: [&'static Shader; 2]) -> (Tile, &'static Shader) {
    let lanes = software_lanes(gpu, size[1]);
    let shader = shaders[usize::from(lanes.is_none())];
    let kind = if shaders[0].name.starts_with("conv2d") { ProductKind::Conv2d } else { ProductKind::Matmul };
    let measured = gpu.gpu().tuning().find(ProductClass::new(kind, size), lanes.is_some());
    (measured.unwrap_or_else(|| built_in(gpu, size, lanes)), shader)
}

/// The table for adapters that nobody has measured.
fn built_in(gpu: &Stream, [rows, columns, depth]: [usize; 3], lanes: Option<usize>) -> Tile {
    let flops = 2 * rows * columns * depth;
    match lanes {
        Some(lanes) => {
            // Larger tiles load less for each multiplication, and take longer to compile: 0.1 s to 0.25 s.
            let wanted = match flops {
                50_000_000.. if rows >= 32 => 32,
                2_000_000.. if rows >= 16 => 16,
                _ if lanes == 16 => 16,
                _ => 8,
            };
            let fits = |t: &&Tile| t.rows == wanted && t.columns == 4 * lanes;
            *SOFTWARE.iter().find(fits).expect("each number of lanes has these tiles")
        }
        None => {
            let [small, medium, large] = HARDWARE;
            let limits = Limits::of(gpu.gpu().description());
            match () {
                _ if columns >= 96 && large.count(rows, columns) >= 128 && large.fits(&limits) => large,
                _ if columns <= 32 || medium.count(rows, columns) < 16 => small,
                _ => medium,
            }
        }
    }
}

impl Tile {
    /// Tiles that cover a result.
    pub(super) fn count(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * columns.div_ceil(self.columns)
    }

    pub(crate) fn is_software(&self) -> bool {
        self.constants[0].0 == "LANES"
    }

    /// The constants in a line: `LANES=8 ROWS=32`.
    pub(crate) fn name(&self) -> String {
        self.constants.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn with_splits(self, splits: usize) -> Tile {
        Tile { splits, ..self }
    }

    fn constant(&self, wanted: &str) -> u32 {
        self.constants.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, value)| *value)
    }

    /// Whether an adapter has the threads, the workgroup memory and the subgroups.
    pub(crate) fn fits(&self, limits: &Limits) -> bool {
        match self.constant("LANES") {
            // Lanes hand values round in their subgroup.
            16 => limits.subgroup == (16, 16),
            lanes @ 1.. => limits.subgroup.0 >= lanes,
            0 => {
                let [m, n, k] = ["TILE_M", "TILE_N", "TILE_K"].map(|name| self.constant(name));
                let threads = m * n / (self.constant("THREAD_M") * self.constant("THREAD_N"));
                // A piece of each operand, with a vector of padding for each row.
                let bytes = 16 * (m * (k / 4 + 1) + k * (n / 4 + 1));
                threads <= limits.threads && bytes <= limits.workgroup_bytes
            }
        }
    }

    /// Into how many parts the summed axis is split, and the length of one, for `tiles` tiles in all. `traffic` is what
    /// one pass over the summed axis reads, in elements a step.
    ///
    /// Software: the operands of one split should stay in the cache (1.5 MB of it), since every tile of rows reads them
    /// again. Hardware: few tiles leave most of the device idle.
    /// All parts' results, of `bytes` bytes each, have to fit one buffer.
    pub(super) fn split(&self, gpu: &Stream, tiles: usize, depth: usize, traffic: usize, bytes: u64) -> (usize, usize) {
        // llvmpipe silently ends a kernel after 65,535 rounds of its loops; a round is four steps. Bounds checks keep the
        // loops over a tile's rows from being unrolled, and then their rounds count too.
        let rounds = if gpu.is_checked() { 512 } else { 16_384 };
        let least = if self.is_software() { depth.div_ceil(4 * rounds) } else { 1 };
        let useful = match self.splits {
            0 if self.is_software() && depth >= 512 => {
                // Two parts win no more than it costs to add them up.
                let for_cache = match (4 * traffic * depth).div_ceil(1_500_000) {
                    2 => 1,
                    parts => parts,
                };
                for_cache.max(8usize.div_ceil(tiles.max(1))).min(64)
            }
            0 if !self.is_software() && depth >= 2048 && tiles < 128 => (256 / tiles.max(1)).clamp(1, depth / 256),
            0 => 1,
            measured => measured.min(depth.div_ceil(self.step)),
        };
        let most = (gpu.gpu().description().max_tensor_bytes / bytes.max(1)).max(1) as usize;
        let wanted = useful.min(most).max(least);
        let length = depth.div_ceil(wanted).next_multiple_of(self.step);
        (depth.div_ceil(length), length)
    }
}
