//! Tiles that were measured on an adapter, in place of the built-in table of `ops/gemm_tiles.rs`.
//!
//! A tuning is a list of sizes with a tile for each, looked up by shape alone: the same tuning makes the same choices, and
//! gives the same bits, in every run. `tune_file.rs` keeps it from one process to the next.

use std::fmt;
use std::sync::Arc;

use crate::device::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::gemm_tiles::{self, Limits, Tile};

/// Which kernels a size is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProductKind {
    /// Matrix products.
    Matmul,
    /// Convolutions and their gradients.
    Conv2d,
}

impl ProductKind {
    pub(crate) const ALL: [ProductKind; 2] = [ProductKind::Matmul, ProductKind::Conv2d];

    pub(crate) fn name(self) -> &'static str {
        match self {
            ProductKind::Matmul => "matmul",
            ProductKind::Conv2d => "conv2d",
        }
    }
}

/// A size of product, `rows x depth` by `depth x columns`, with each length rounded up to a power of two: sizes that are
/// within a factor of two want the same tile. docs/performance.md says what rows, columns and depth of a convolution are.
///
/// ```
/// use tilegrad_core::{ProductClass, ProductKind};
/// let class = ProductClass::new(ProductKind::Matmul, [100, 64, 3136]);
/// assert_eq!(class, ProductClass::new(ProductKind::Matmul, [128, 33, 4096]));
/// assert_eq!(class.to_string(), "matmul 128x64x4096");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProductClass {
    pub(crate) kind: ProductKind,
    pub(crate) size: [usize; 3],
}

impl ProductClass {
    /// The class of a product of this size: rows, columns, depth.
    pub fn new(kind: ProductKind, size: [usize; 3]) -> ProductClass {
        ProductClass { kind, size: size.map(|n| n.max(1).checked_next_power_of_two().unwrap_or(usize::MAX)) }
    }

    /// The length of its sums, rounded up.
    pub fn depth(&self) -> usize {
        self.size[2]
    }

    pub(crate) fn size_text(&self) -> String {
        self.size.map(|n| n.to_string()).join("x")
    }
}

impl fmt::Display for ProductClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.size_text())
    }
}

/// Tiles by size. Sizes that it doesn't have are left to the built-in table. Cloning is cheap.
///
/// ```no_run
/// # fn main() -> tilegrad_core::Result<()> {
/// use tilegrad_core::{Device, ProductClass, ProductKind, Tuning};
/// let device = Device::gpu()?;
/// let mut tuning = device.tuning();
/// tuning.set(ProductClass::new(ProductKind::Matmul, [512, 512, 512]), &device.tiles()[0], 0)?;
/// device.set_tuning(tuning)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning(Arc<Vec<(ProductClass, Tile)>>);

impl Tuning {
    /// Without a size: everything is left to the built-in table.
    pub fn new() -> Tuning {
        Tuning::default()
    }

    /// Number of sizes with a tile.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everything is left to the built-in table.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Chooses a tile, by a name that [`Device::tiles`] gives, and into how many parts the depth is split; 0 leaves that to
    /// the built-in rule. Replaces what was chosen for the class before, among the tiles for the same kind of adapter.
    ///
    /// # Errors
    /// When there is no such tile.
    pub fn set(&mut self, class: ProductClass, tile: &str, splits: usize) -> Result<()> {
        let found = gemm_tiles::all().find(|t| t.name() == tile);
        let found = found.ok_or_else(|| Error::invalid("tile", "one of this version", format!("{tile:?}")))?;
        let rows = Arc::make_mut(&mut self.0);
        rows.retain(|(c, t)| *c != class || t.is_software() != found.is_software());
        rows.push((class, found.with_splits(splits)));
        Ok(())
    }

    pub(crate) fn find(&self, class: ProductClass, software: bool) -> Option<Tile> {
        // A few dozen rows: comparing numbers down a list takes less time than hashing them.
        self.0.iter().find(|(c, t)| *c == class && t.is_software() == software).map(|(_, tile)| *tile)
    }

    /// Class, tile and splits of each size, in the order in which they were set.
    pub fn rows(&self) -> impl Iterator<Item = (ProductClass, String, usize)> + '_ {
        self.0.iter().map(|(class, tile)| (*class, tile.name(), tile.splits))
    }

    /// The first size whose tile needs more than an adapter has.
    pub(crate) fn past(&self, limits: &Limits) -> Option<(ProductClass, String)> {
        self.0.iter().find(|(_, tile)| !tile.fits(limits)).map(|(class, tile)| (*class, tile.name()))
    }
}

impl Device {
    /// The tiles that were measured on this adapter, and are used where they have the size; what a tune file holds, until
    /// [`Device::set_tuning`]. Empty on the CPU.
    pub fn tuning(&self) -> Tuning {
        self.gpu_of_tuning().map(Gpu::tuning).unwrap_or_default()
    }

    /// Uses these tiles from now on. Results change by rounding at most. No effect on the CPU.
    ///
    /// # Errors
    /// When the adapter has not the workgroup memory, the threads or the subgroups for one of them; then nothing changes.
    pub fn set_tuning(&self, tuning: Tuning) -> Result<()> {
        if let Some(gpu) = self.gpu_of_tuning() {
            if let Some((class, tile)) = tuning.past(&Limits::of(gpu.description())) {
                let expected = format!("one within the limits of {}", gpu.description().name);
                return Err(Error::invalid(format!("tile for {class}"), expected, tile));
            }
            gpu.set_tuning(tuning);
        }
        Ok(())
    }

    /// Names of the tiles that this device runs its products with now: those for hardware, or those for software adapters,
    /// as far as the adapter's limits allow. None on the CPU.
    pub fn tiles(&self) -> Vec<String> {
        self.gpu_of_tuning().map_or(vec![], |gpu| {
            let (software, limits) = (gpu.wants_software_kernels(), Limits::of(gpu.description()));
            // As `gemm_tiles::choose` does: subgroups that are too small leave the tiles for hardware.
            let software = software && gemm_tiles::all().any(|t| t.is_software() && t.fits(&limits));
            let fitting = gemm_tiles::all().filter(|t| t.is_software() == software && t.fits(&limits));
            fitting.map(Tile::name).collect()
        })
    }

    fn gpu_of_tuning(&self) -> Option<&Gpu> {
        match self.kind() {
            Kind::Gpu(gpu) => Some(gpu),
            Kind::Cpu(_) => None,
        }
    }
}
