//! A picture, and drawing on it: rectangles, pixels, text.

use std::io::Write;
use std::path::Path;
use std::sync::Once;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use plotters::prelude::{BitMapBackend, Color, DrawingArea, FontStyle, IntoDrawingArea, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoFont, RGBColor, register_font};
use tilegrad_core::{Error, Result};

/// A picture in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture(RgbImage);

impl Picture {
    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        [self.0.width(), self.0.height()]
    }

    /// Red, green and blue of a pixel, counted from the left and from the top.
    ///
    /// # Panics
    /// When the pixel lies outside.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        self.0.get_pixel(x, y).0
    }

    /// The picture as a PNG file's bytes.
    pub fn to_png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&self.0, self.0.width(), self.0.height(), ExtendedColorType::Rgb8)
            .expect("a picture of this size fits memory, so its file does");
        bytes
    }

    /// Writes a PNG file, whole or not at all.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_png())
    }
}

/// Writes a file beside its place and renames it: whoever looks finds the old or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".tilegrad-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error).map(|_| ())
    };
    write().map_err(|e| Error::io(path, e))
}

pub(crate) const BLACK: [u8; 3] = [30, 30, 30];
pub(crate) const GREY: [u8; 3] = [130, 130, 130];
pub(crate) const WHITE: [u8; 3] = [255, 255, 255];
pub(crate) const RED: [u8; 3] = [200, 30, 30];
pub(crate) const GREEN: [u8; 3] = [0, 120, 60];

/// Which point of a text stands at the place given.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) width: i32,
    pub(crate) height: i32,
}

/// A picture that is being drawn. Drawing in memory can't fail, so nothing here returns an error.
pub(crate) struct Canvas(RgbImage);

/// Makes the fonts known to plotters, which keeps them for the process.
fn fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [
            (FontStyle::Normal, &include_bytes!("../assets/DejaVuSans.ttf")[..]),
            (FontStyle::Bold, &include_bytes!("../assets/DejaVuSans-Bold.ttf")[..]),
        ] {
            assert!(register_font(FONT, style, bytes).is_ok(), "the font is part of the crate");
        }
    });
}

/// What the embedded font goes by.
pub(crate) const FONT: &str = "tilegrad";

const IN_MEMORY: &str = "drawing in memory does not fail";

impl Canvas {
    pub(crate) fn new(width: i32, height: i32) -> Canvas {
        fonts();
        Canvas(RgbImage::from_pixel(width.max(1) as u32, height.max(1) as u32, image::Rgb(WHITE)))
    }

    pub(crate) fn finish(self) -> Picture {
        Picture(self.0)
    }

    /// The whole picture for plotters.
    pub(crate) fn root(&mut self) -> DrawingArea<BitMapBackend<'_>, plotters::coord::Shift> {
        let size = self.0.dimensions();
        BitMapBackend::with_buffer(&mut self.0, size).into_drawing_area()
    }

    pub(crate) fn rectangle(&mut self, area: Area, colour: [u8; 3]) {
        let Area { left, top, width, height } = area;
        for y in top.max(0)..(top + height).min(self.0.height() as i32) {
            for x in left.max(0)..(left + width).min(self.0.width() as i32) {
                self.0.put_pixel(x as u32, y as u32, image::Rgb(colour));
            }
        }
    }

    /// The outline of an area, just outside of it.
    pub(crate) fn frame(&mut self, area: Area, colour: [u8; 3]) {
        let corners = [(area.left - 1, area.top - 1), (area.left + area.width, area.top + area.height)];
        self.root().draw(&Rectangle::new(corners, rgb(colour))).expect(IN_MEMORY);
    }

    pub(crate) fn line(&mut self, from: (i32, i32), to: (i32, i32), colour: [u8; 3]) {
        let path = plotters::prelude::PathElement::new(vec![from, to], rgb(colour).stroke_width(2));
        self.root().draw(&path).expect(IN_MEMORY);
    }

    /// Colours in rows, stretched over an area, each a block.
    pub(crate) fn pixels(&mut self, area: Area, columns: usize, colours: &[[u8; 3]]) {
        let rows = colours.len() / columns.max(1);
        for y in 0..area.height {
            for x in 0..area.width {
                let (row, column) =
                    (y as usize * rows / area.height as usize, x as usize * columns / area.width as usize);
                let (x, y) = ((area.left + x) as u32, (area.top + y) as u32);
                if x < self.0.width() && y < self.0.height() {
                    self.0.put_pixel(x, y, image::Rgb(colours[row * columns + column]));
                }
            }
        }
    }

    /// Text whose middle is at height `y`.
    pub(crate) fn text(&mut self, text: &str, (x, y): (i32, i32), size: i32, anchor: Anchor, colour: [u8; 3]) {
        self.styled(text, (x, y), size, anchor, colour, FontStyle::Normal);
    }

    pub(crate) fn title(&mut self, text: &str) {
        let middle = self.0.width() as i32 / 2;
        self.styled(text, (middle, 20), 18, Anchor::Centre, BLACK, FontStyle::Bold);
    }

    fn styled(&mut self, text: &str, place: (i32, i32), size: i32, anchor: Anchor, colour: [u8; 3], style: FontStyle) {
        let across = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let font = (FONT, size, style).into_font().color(&rgb(colour)).pos(Pos::new(across, VPos::Center));
        self.root().draw(&Text::new(text.to_string(), place, font)).expect(IN_MEMORY);
    }

    /// A colour bar with its least, middle and largest value.
    pub(crate) fn colour_bar(&mut self, area: Area, map: crate::ColourMap, range: [f32; 2]) {
        let colours: Vec<[u8; 3]> =
            (0..area.height).map(|i| map.at(1.0 - i as f32 / (area.height - 1).max(1) as f32)).collect();
        self.pixels(area, 1, &colours);
        self.frame(area, GREY);
        let x = area.left + area.width + 6;
        for (part, value) in [(0.0, range[1]), (0.5, (range[0] + range[1]) / 2.0), (1.0, range[0])] {
            let y = area.top + (part * (area.height - 1) as f32) as i32;
            self.text(&number(value), (x, y), 12, Anchor::Left, BLACK);
        }
    }
}

pub(crate) fn rgb([r, g, b]: [u8; 3]) -> RGBColor {
    RGBColor(r, g, b)
}

/// A number short enough for a label.
pub(crate) fn number(value: f32) -> String {
    let text = match value.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e5).contains(&a) => format!("{value:.1e}"),
        a if a < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    };
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}
