//! Vectors of `f32`, as wide as the registers of the processor that runs this. The program is compiled for any processor of
//! its kind, so code that uses them is compiled once for each width, and [`run`] picks.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector.
///
/// # Safety
/// Its functions may only be called where the processor has such vectors: by a [`Kernel`] that [`run`] runs.
pub(crate) trait Lanes: Copy {
    /// Elements of it.
    const LANES: usize;

    /// `x` everywhere.
    unsafe fn splat(x: f32) -> Self;
    /// The elements from `x` on.
    unsafe fn load(x: *const f32) -> Self;
    /// Writes the elements from `y` on.
    unsafe fn store(self, y: *mut f32);
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// 0 in place of what is at most 0; NaN stays.
    unsafe fn relu(self) -> Self;
}

/// Code for vectors of any width. `run` should be `#[inline(always)]`, and all that it calls: what is not inlined is compiled
/// for any processor.
pub(crate) trait Kernel {
    /// Runs it.
    ///
    /// # Safety
    /// The processor must have such vectors.
    unsafe fn run<L: Lanes>(self);
}

/// A loop over plain numbers, which compiles to vector code of any width. `run` should be `#[inline(always)]` as above.
pub(crate) trait Loop {
    /// Runs it.
    fn run(self);
}

/// Runs a loop as it was compiled for this processor's vectors.
pub(crate) fn wide(code: impl Loop) {
    struct OfAnyWidth<T>(T);
    impl<T: Loop> Kernel for OfAnyWidth<T> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            self.0.run();
        }
    }
    if has_vectors() { run(OfAnyWidth(code)) } else { code.run() }
}

/// Whether [`run`] runs anything.
pub(crate) fn has_vectors() -> bool {
    lanes() > 0
}

/// Runs `kernel` with the widest vectors there are. Without any, or with none made use of here, does nothing.
pub(crate) fn run(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    match lanes() {
        // SAFETY: such numbers of lanes are of these instructions, and the processor has them.
        16 => unsafe { avx512(kernel) },
        // SAFETY: as above.
        8 => unsafe { avx2(kernel) },
        _ => {}
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: every such processor has these vectors.
    unsafe {
        kernel.run::<float32x4_t>()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = kernel;
}

/// Elements of the vectors that [`run`] uses, or 0.
pub(crate) fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return 16;
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return 8;
    }
    if cfg!(target_arch = "aarch64") { 4 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(kernel: impl Kernel) {
    // SAFETY: the caller has made sure.
    unsafe { kernel.run::<__m512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(kernel: impl Kernel) {
    // SAFETY: the caller has made sure.
    unsafe { kernel.run::<__m256>() }
}

// SAFETY of all below: the trait's functions are called where the processor has the vectors, with pointers to as many
// elements.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store(self, y: *mut f32) {
        unsafe { _mm512_storeu_ps(y, self) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { _mm512_add_ps(self, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // The second operand where one is NaN or both are zeros.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store(self, y: *mut f32) {
        unsafe { _mm256_storeu_ps(y, self) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { _mm256_add_ps(self, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // As above.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Self {
        unsafe { vld1q_f32(x) }
    }
    #[inline(always)]
    unsafe fn store(self, y: *mut f32) {
        unsafe { vst1q_f32(y, self) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { vaddq_f32(self, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { vfmaq_f32(c, self, b) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // NaN where either is NaN.
        unsafe { vmaxq_f32(self, vdupq_n_f32(0.0)) }
    }
}
