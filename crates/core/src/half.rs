//! The 16-bit floating point number: what a tensor of [`DType::F16`](crate::DType::F16) holds.

use std::fmt;

use bytemuck::{Pod, Zeroable};

/// A 16-bit floating point number (IEEE 754 binary16): 11 significant bits, magnitudes from 6e-8 to 65504. It is for
/// storage: convert it to `f32` to calculate.
///
/// ```
/// use tilegrad_core::Half;
/// assert_eq!(f32::from(Half::from(0.1)), 0.099975586);
/// assert_eq!(Half::from(65519.0).to_string(), "65504");
/// assert_eq!(f32::from(Half::from(65520.0)), f32::INFINITY);
/// ```
// Written out, in place of a crate: it is two functions, and cast.wgsl has the same ones.
#[repr(transparent)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub struct Half(u16);

impl Half {
    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Half {
        Half(bits)
    }

    /// Sign, 5 bits of exponent, 10 of mantissa.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl From<f32> for Half {
    /// The nearest number, of two as near the one whose last bit is 0; infinity from 65520 on. NaN stays NaN.
    fn from(value: f32) -> Half {
        let bits = value.to_bits();
        let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
        // Drops `n` bits, rounding to nearest, ties to even.
        let round = |v: u32, n: u32| (v + (1 << (n - 1)) - 1 + (v >> n & 1)) >> n;
        let half = match magnitude {
            0x7f80_0001.. => 0x7e00 | magnitude >> 13 & 0x3ff,
            // From 2^16 on; what rounds up to it becomes infinity by the carry into the exponent.
            0x4780_0000.. => 0x7c00,
            // From 2^-14 on: another bias of the exponent.
            0x3880_0000.. => round(magnitude - (112 << 23), 13),
            // From 2^-25 on: a multiple of 2^-24.
            0x3300_0000.. => round(magnitude & 0x7f_ffff | 0x80_0000, 126 - (magnitude >> 23)),
            _ => 0,
        };
        Half((sign | half) as u16)
    }
}

impl From<Half> for f32 {
    fn from(half: Half) -> f32 {
        let bits = u32::from(half.0);
        let (sign, exponent, mantissa) = ((bits & 0x8000) << 16, bits >> 10 & 0x1f, bits & 0x3ff);
        let magnitude = match exponent {
            0 => (mantissa as f32 * 2.0f32.powi(-24)).to_bits(),
            31 => 0x7f80_0000 | mantissa << 13,
            _ => (exponent + 112) << 23 | mantissa << 13,
        };
        f32::from_bits(sign | magnitude)
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f32::from(*self).fmt(f)
    }
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&f32::from(*self), f)
    }
}

impl PartialEq for Half {
    fn eq(&self, other: &Half) -> bool {
        f32::from(*self) == f32::from(*other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by the value of each bit.
    fn value(bits: u16) -> f64 {
        let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        if bits & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn every_half_has_its_value_and_comes_back() {
        for bits in 0..=u16::MAX {
            let (half, want) = (Half::from_bits(bits), value(bits));
            let got = f32::from(half);
            assert!(f64::from(got) == want || got.is_nan() && want.is_nan(), "{bits:04x}: {got}, not {want}");
            assert_eq!(got.is_sign_negative(), bits & 0x8000 != 0, "{bits:04x}");
            // NaN is made a quiet one.
            let quiet = if want.is_nan() { bits | 0x200 } else { bits };
            assert_eq!(Half::from(got).to_bits(), quiet, "{bits:04x}: {got}");
        }
    }

    #[test]
    fn between_two_halves_the_nearer_is_taken_and_then_the_even() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (value(bits), if bits == 0x7bff { 65536.0 } else { value(bits + 1) });
            // Exact in f32: one bit more than a half has.
            let middle = ((low + high) / 2.0) as f32;
            let even = bits + (bits & 1);
            for (v, want) in [(middle.next_down(), bits), (middle, even), (middle.next_up(), bits + 1)] {
                assert_eq!(Half::from(v).to_bits(), want, "{v} between {low} and {high}");
                assert_eq!(Half::from(-v).to_bits(), want | 0x8000, "{v} between {low} and {high}");
            }
        }
        for (v, want) in [(65536.0, 0x7c00), (f32::MAX, 0x7c00), (f32::INFINITY, 0x7c00), (f32::MIN_POSITIVE, 0)] {
            assert_eq!(Half::from(v).to_bits(), want, "{v}");
        }
        assert_eq!(Half::from(f32::from_bits(1)).to_bits(), 0);
    }
}
