//! Colour maps: numbers from 0 to 1 as colours.

use colorous::{BLUES, Gradient, MAGMA, RED_BLUE, VIRIDIS};

/// The colour maps that people know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourMap {
    /// Black through purple to light yellow.
    Magma,
    /// Dark blue through green to yellow.
    #[default]
    Viridis,
    /// Black to white.
    Gray,
    /// White to dark blue.
    Blues,
    /// Blue through white to red: for numbers around 0.
    CoolWarm,
}

impl ColourMap {
    /// The colour of a number from 0 to 1; others count as the nearest of the two. What is no number is red.
    ///
    /// ```
    /// use tilegrad_plot::ColourMap;
    /// assert_eq!(ColourMap::Gray.at(0.5), [128, 128, 128]);
    /// ```
    pub fn at(self, value: f32) -> [u8; 3] {
        if value.is_nan() {
            return [255, 0, 0];
        }
        let value = value.clamp(0.0, 1.0);
        let of = |map: Gradient, value: f32| {
            let colour = map.eval_continuous(value.into());
            [colour.r, colour.g, colour.b]
        };
        match self {
            ColourMap::Magma => of(MAGMA, value),
            ColourMap::Viridis => of(VIRIDIS, value),
            ColourMap::Gray => [(255.0 * value).round() as u8; 3],
            ColourMap::Blues => of(BLUES, value),
            ColourMap::CoolWarm => of(RED_BLUE, 1.0 - value),
        }
    }

    /// The colours of values, of which the range becomes 0 to 1.
    pub(crate) fn colours(self, values: &[f32], [low, high]: [f32; 2]) -> Vec<[u8; 3]> {
        let span = if high > low { high - low } else { 1.0 };
        values.iter().map(|value| self.at((value - low) / span)).collect()
    }
}

/// The least and the largest value; 0 and 1 where there is none.
pub(crate) fn range(values: &[f32]) -> [f32; 2] {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    if low <= high { [low, high] } else { [0.0, 1.0] }
}

/// Black on light colours, white on dark ones.
pub(crate) fn readable_on([r, g, b]: [u8; 3]) -> [u8; 3] {
    let luminance = 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
    if luminance > 140.0 { [0; 3] } else { [255; 3] }
}
