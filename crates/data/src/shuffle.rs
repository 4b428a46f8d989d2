//! Seeded order: the same seed gives the same order on every machine, compiler and release of this crate.
//!
//! SplitMix64 (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014) is a counter
//! stepped by the golden ratio and scrambled: the k-th number needs no state but seed and k. Shuffling is
//! Fisher-Yates. Bounded numbers come from Lemire's multiplication (*Fast Random Integer Generation in an
//! Interval*, 2019) with its rejection step, so that every order is equally likely, which `random % n` is not.
//! None of it touches floating point or the width of `usize`.

/// SplitMix64: a small counter-based generator of 64-bit numbers. Not for secrets.
///
/// Neighbouring seeds give unrelated sequences, so `seed + epoch` is a fine seed for an epoch.
///
/// ```
/// use tilegrad_data::shuffle::SplitMix64;
/// let mut random = SplitMix64::new(0);
/// assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
/// ```
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    counter: u64,
}

impl SplitMix64 {
    /// A generator at the start of the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { counter: seed }
    }

    /// The next number, any of the 2⁶⁴.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.counter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`, each equally likely.
    ///
    /// # Panics
    /// When `bound` is 0.
    #[track_caller]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "below: expected a bound of at least 1, got 0");
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            // The low half is uneven for the first 2^64 mod bound of its values; those are drawn again.
            if wide as u64 >= bound.wrapping_neg() % bound {
                return (wide >> 64) as u64;
            }
        }
    }
}

/// The numbers `0..len` in an order that depends on `seed` only.
///
/// They are `u32` because that is what an index buffer on the device holds.
///
/// # Panics
/// When `len` is over 2³² - 1.
///
/// ```
/// use tilegrad_data::shuffle::permutation;
/// assert_eq!(permutation(6, 42), permutation(6, 42));
/// ```
#[track_caller]
pub fn permutation(len: usize, seed: u64) -> Vec<u32> {
    let len = u32::try_from(len).expect("permutation: expected a length under 2^32");
    let mut order: Vec<u32> = (0..len).collect();
    let mut random = SplitMix64::new(seed);
    for last in (1..order.len()).rev() {
        let other = random.below(last as u64 + 1) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567 in the reference implementation (Vigna, splitmix64.c).
    #[test]
    fn matches_the_reference() {
        let mut random = SplitMix64::new(1_234_567);
        let numbers: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            numbers,
            [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
        );
    }

    /// Written down so that a change of the order, which would change every seeded split, is noticed.
    #[test]
    fn the_order_of_a_seed_is_fixed() {
        assert_eq!(permutation(10, 42), [8, 3, 6, 5, 4, 0, 9, 2, 1, 7]);
    }

    #[test]
    fn every_number_once() {
        for len in [0, 1, 2, 1000] {
            let mut order = permutation(len, 7);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len as u32));
        }
    }

    /// The 24 orders of four things, 240,000 times: chi-squared with 23 degrees of freedom, whose 99.9 %
    /// point is 49.7.
    #[test]
    fn every_order_is_as_likely() {
        let mut counts = std::collections::HashMap::new();
        for seed in 0..240_000 {
            *counts.entry(permutation(4, seed)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi_squared: f64 = counts.values().map(|&n| (f64::from(n) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_squared < 49.7, "chi-squared {chi_squared}");
    }

    #[test]
    fn bounds_hold() {
        let mut random = SplitMix64::new(3);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert!((0..100).all(|_| random.below(1) == 0));
        // A bound just over 2^63 rejects nearly half of the draws.
        assert!((0..100).all(|_| random.below((1 << 63) + 1) <= 1 << 63));
    }
}
