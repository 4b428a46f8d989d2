//! The tile table: which tiles for which adapter and size of a matrix product, and how many splits of its summed axis.
//!
//! A hardware GPU wants tiles in workgroup memory that many threads share; a software rasteriser wants none, and large
//! register tiles instead (the same tile is six times slower there). The figures are in docs/performance.md.

use tilegrad_shaders::Shader;

use crate::gpu::Stream;

/// What one workgroup makes: a tile of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of the result in a tile.
    pub(super) rows: usize,
    /// Columns of the result in a tile.
    pub(super) columns: usize,
    /// Splits of the summed axis are multiples of this.
    pub(super) step: usize,
    /// The tile as the shaders take it.
    pub(super) constants: &'static [(&'static str, u32)],
}

macro_rules! software {
    ($lanes:literal, $rows:literal) => {
        Tile { rows: $rows, columns: 4 * $lanes, step: 4, constants: &[("LANES", $lanes), ("ROWS", $rows)] }
    };
}

macro_rules! hardware {
    ($size:literal, $thread:literal) => {
        Tile {
            rows: $size,
            columns: $size,
            step: 16,
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

/// Picks the shader of a pair (software, hardware) and the tile for a product of `rows x depth` by `depth x columns`.
pub(super) fn choose(
    gpu: &Stream,
    [rows, columns, depth]: [usize; 3],
    shaders: [&'static Shader; 2],
) -> (Tile, &'static Shader) {
    let flops = 2 * rows * columns * depth;
    match software_lanes(gpu, columns) {
        Some(lanes) => {
            // Larger tiles load less for each multiplication, and take longer to compile: 0.1 s to 0.25 s.
            let wanted = match flops {
                50_000_000.. if rows >= 32 => 32,
                2_000_000.. if rows >= 16 => 16,
                _ if lanes == 16 => 16,
                _ => 8,
            };
            let fits = |t: &&Tile| t.rows == wanted && t.columns == 4 * lanes;
            (*SOFTWARE.iter().find(fits).expect("each number of lanes has these tiles"), shaders[0])
        }
        None => {
            let [small, medium, large] = HARDWARE;
            let tile = match () {
                _ if columns >= 96 && large.count(rows, columns) >= 128 => large,
                _ if columns <= 32 || medium.count(rows, columns) < 16 => small,
                _ => medium,
            };
            (tile, shaders[1])
        }
    }
}

impl Tile {
    /// Tiles that cover a result.
    pub(super) fn count(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * columns.div_ceil(self.columns)
    }

    pub(super) fn is_software(&self) -> bool {
        self.constants[0].0 == "LANES"
    }

    /// Into how many parts the summed axis is split, and the length of one, for `tiles` tiles in all. `traffic` is what
    /// one pass over the summed axis reads, in elements a step.
    ///
    /// Software: the operands of one split should stay in the cache (1.5 MB of it), since every tile of rows reads them
    /// again. Hardware: few tiles leave most of the device idle.
    pub(super) fn split(&self, gpu: &Stream, tiles: usize, depth: usize, traffic: usize) -> (usize, usize) {
        let wanted = if self.is_software() {
            // Two parts win no more than it costs to add them up.
            let for_cache = match (4 * traffic * depth).div_ceil(1_500_000) {
                2 => 1,
                parts => parts,
            };
            let useful = if depth < 512 { 1 } else { for_cache.max(8usize.div_ceil(tiles.max(1))).min(64) };
            // llvmpipe silently ends a kernel after 65,535 rounds of its loops; a round is four steps. Bounds checks keep the
            // loops over a tile's rows from being unrolled, and then their rounds count too.
            let rounds = if gpu.is_checked() { 512 } else { 16_384 };
            useful.max(depth.div_ceil(4 * rounds))
        } else if depth >= 2048 && tiles < 128 {
            (256 / tiles.max(1)).clamp(1, depth / 256)
        } else {
            1
        };
        let length = depth.div_ceil(wanted).next_multiple_of(self.step);
        (depth.div_ceil(length), length)
    }
}
