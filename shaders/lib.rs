//! tilegrad's compute shaders: hand-written WGSL, one file for each op family, checked by naga with no GPU in sight.
//!
//! A shader is static text that a person can read. What varies (tile sizes, flags, baked shapes) is a short header of
//! constants that [`Shader::with_header`] puts in front; nothing else is templated. Every file declares
//! `struct Params` and reads it as `p`; the header declares `p`, since it is an immediate on adapters that have
//! them and a uniform with a dynamic offset elsewhere.

#![forbid(unsafe_code)]

use std::fmt::Write;

/// One WGSL file.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem.
    pub name: &'static str,
    /// The file's text, without a header.
    pub source: &'static str,
    /// Whether it is a user's. Its header comes behind it then, so that lines are counted in its own text, and it is compiled
    /// with wgpu's bounds checks; the shaders of this crate carry their own.
    pub custom: bool,
    /// What comes in front of everything, since extensions are enabled first. Not empty only where an adapter has to offer
    /// cooperative matrices.
    pub prelude: &'static str,
    /// Whether its inputs are images, which a software rasteriser reads faster than buffers.
    pub images: bool,
}

/// How a kernel gets its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamsIn {
    /// `var<immediate>` (push constants): no buffer at all.
    Immediates,
    /// A uniform buffer in group 1 with a dynamic offset.
    Uniform,
}

impl ParamsIn {
    /// The line that declares `p`.
    pub fn declaration(self) -> &'static str {
        match self {
            ParamsIn::Immediates => "var<immediate> p: Params;\n",
            ParamsIn::Uniform => "@group(1) @binding(0) var<uniform> p: Params;\n",
        }
    }
}

impl Shader {
    /// The complete module: the constants, the declaration of the parameters, then the file. Of a custom shader the text comes
    /// first.
    ///
    /// ```
    /// use tilegrad_shaders::{ParamsIn, UNARY};
    /// let wgsl = UNARY.with_header(&[("OP", 3)], ParamsIn::Immediates);
    /// assert!(wgsl.starts_with("const OP: u32 = 3u;\nvar<immediate> p: Params;\n"));
    /// ```
    pub fn with_header(&self, constants: &[(&'static str, u32)], params: ParamsIn) -> String {
        let mut text = String::with_capacity(self.source.len() + 64 * constants.len() + 256);
        text.push_str(self.prelude);
        if self.custom {
            text.push_str(self.source);
            text.push('\n');
        }
        for (name, value) in constants {
            writeln!(text, "const {name}: u32 = {value}u;").expect("writing to a String");
        }
        text.push_str(params.declaration());
        if !self.custom {
            text.push_str(self.source);
        }
        text
    }
}

/// Declares each shader as a constant named like its file, and lists them all.
macro_rules! shaders {
    ($($constant:ident = $file:literal, $doc:literal $(, images: $images:literal)?;)*) => {
        $(#[doc = $doc]
        pub static $constant: Shader = Shader {
            name: $file,
            source: include_str!(concat!($file, ".wgsl")),
            custom: false,
            prelude: "",
            images: false $(|| $images)?,
        };)*

        /// Every shader of the crate.
        pub static ALL: &[&Shader] = &[&MATMUL_COOPERATIVE_8, &MATMUL_COOPERATIVE_16, $(&$constant),*];
    };
}

/// The matrix product of cooperative matrices, with their size and types in front: WGSL has no constant that chooses a type.
const fn cooperative(prelude: &'static str) -> Shader {
    let source = include_str!("matmul_cooperative.wgsl");
    Shader { name: "matmul_cooperative", source, custom: false, images: false, prelude }
}

/// Matrix product of f16 by cooperative matrices of 8 x 8.
pub static MATMUL_COOPERATIVE_8: Shader = cooperative(
    "enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;
",
);

/// Matrix product of f16 by cooperative matrices of 16 x 16.
pub static MATMUL_COOPERATIVE_16: Shader = cooperative(
    "enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
const SIZE: u32 = 16u;
",
);

shaders! {
    UNARY = "unary", "Elementwise functions of one tensor and their derivatives.";
    UNARY_SERIES = "unary_series", "Elementwise functions of one tensor that are made of polynomials.";
    BINARY = "binary", "Elementwise functions of two tensors, with broadcasting.";
    AFFINE_WARP = "affine_warp", "Images turned, scaled and moved.";
    ARGMAX = "argmax", "Positions of extremes along an axis.";
    BATCH_NORM = "batch_norm", "Batch normalisation: statistics, output, gradients.";
    CAST = "cast", "Element types converted.";
    CLOCK = "clock", "Counters of a training loop.";
    COMPARE = "compare", "Comparisons, logic, and kinds of numbers.";
    COPY = "copy", "Copies between strided layouts.";
    CROSS_ENTROPY = "cross_entropy", "Softmax cross-entropy, its derivative, and correct predictions.";
    CROSS_ENTROPY_STEP = "cross_entropy_step", "Softmax cross-entropy, its gradient and right answers in one pass.";
    CUMULATIVE = "cumulative", "Running sums and products along an axis.";
    FILL = "fill", "A constant everywhere.";
    INTEGER = "integer", "Arithmetic of integers, with broadcasting.";
    IM2COL = "im2col", "Images to columns and back.";
    MATMUL = "matmul", "Matrix product for software adapters: register tiles, no workgroup memory.", images: true;
    MATMUL_TILED = "matmul_tiled", "Matrix product for hardware: tiles in workgroup memory.";
    CONV2D_DIRECT = "conv2d_direct", "Direct convolution for software adapters, forward and both gradients.", images: true;
    CONV2D_TILED = "conv2d_tiled", "Direct convolution for hardware, forward and both gradients.";
    GATHER_AXIS = "gather_axis", "Elements by index along an axis.";
    GATHER_ND = "gather_nd", "Positions on several axes as one.";
    JOIN = "join", "Parts of bytes side by side.";
    GATHER = "gather", "Rows and images by index, and one-hot rows.";
    NLL_LOSS = "nll_loss", "Negative log-likelihood of classes and its derivative.";
    OPTIMIZER = "optimizer", "Optimizer steps over flat arenas.";
    PACK = "pack", "Tensors copied to their places in an arena.";
    LP_POOL2D = "lp_pool2d", "Norms of image windows.";
    MAX_UNPOOL = "max_unpool", "Elements back at the positions that max-pooling had them from.";
    POOL2D = "pool2d", "Largest elements and means of image windows.";
    RANDOM = "random", "Random numbers from a counter, and dropout.";
    REDUCE = "reduce", "Sums, products and extremes along axes.";
    SCATTER = "scatter", "Elements put to places by index.";
    RESTORE = "restore", "A tensor as it was before an update.";
    RESAMPLE = "resample", "Weighted elements along an axis.";
    SOFTMAX = "softmax", "Softmax and log-softmax along an axis.";
    SORT = "sort", "Sorting along an axis.";
    WHERE_COND = "where_cond", "A choice between two tensors by a condition.";
}
