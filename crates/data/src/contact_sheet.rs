//! A PNG of a dataset's first images side by side: the quickest way to see that a reader read right.

use std::io::{self, Write};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// Pixels between two images and round the sheet.
const GAP: usize = 2;

/// Images are enlarged by a whole number until their shorter side has this many pixels.
const SHORTEST_SIDE: usize = 56;

/// The most pixels a sheet may have: 64 Mi, a square of 8,192.
const MAX_PIXELS: usize = 1 << 26;

impl Dataset {
    /// Writes the first `rows * cols` images as a grid, left to right and top to bottom, to a PNG at `path`.
    ///
    /// Small images are enlarged, each pixel to a square; [`scale`](Dataset::scale) is shown as white. Cells past
    /// the last image stay dark. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no image, row or column; [`Error::Shape`] when images have other than 1
    /// (grey), 3 (RGB) or 4 (RGBA) channels or the sheet would have over 64 Mi pixels; [`Error::Io`] when it
    /// cannot be written.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("digits.png");
    /// tilegrad_data::Digits::all().contact_sheet(&path, 4, 10)?;
    /// # assert!(path.exists());
    /// # Ok::<(), tilegrad_data::Error>(())
    /// ```
    pub fn contact_sheet(&self, path: impl AsRef<Path>, rows: usize, cols: usize) -> Result<()> {
        let path = path.as_ref();
        let Sheet { width, height, color, pixels } = Sheet::draw(self, rows, cols)?;
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(&pixels, width as u32, height as u32, color)
            .map_err(|error| Error::Picture { path: path.to_path_buf(), reason: error.to_string() })?;
        write_whole(path, &png).map_err(|source| Error::io(path, source))
    }
}

/// A picture in memory, `(height, width, channels)`.
struct Sheet {
    width: usize,
    height: usize,
    color: ExtendedColorType,
    pixels: Vec<u8>,
}

impl Sheet {
    fn draw(data: &Dataset, rows: usize, cols: usize) -> Result<Sheet> {
        for (count, what) in [(data.len(), "images"), (rows, "rows"), (cols, "columns")] {
            if count == 0 {
                return Err(Error::Empty { what: format!("contact sheet of {}: {what}", data.name()) });
            }
        }
        let [h, w, channels] = data.shape();
        let (color, background): (_, &[u8]) = match channels {
            1 => (ExtendedColorType::L8, &[32]),
            3 => (ExtendedColorType::Rgb8, &[32; 3]),
            4 => (ExtendedColorType::Rgba8, &[32, 32, 32, 255]),
            _ => {
                let what = format!("contact sheet of {}: channels", data.name());
                return Err(Error::Shape { what, expected: "1, 3 or 4".into(), got: channels.to_string() });
            }
        };
        let zoom = SHORTEST_SIDE.div_ceil(h.min(w));
        let side =
            |cells: usize, size: usize| size.checked_mul(zoom)?.checked_add(GAP)?.checked_mul(cells)?.checked_add(GAP);
        let sides = side(cols, w).zip(side(rows, h));
        let Some((width, height)) =
            sides.filter(|(width, height)| width.checked_mul(*height).is_some_and(|area| area <= MAX_PIXELS))
        else {
            return Err(Error::Shape {
                what: format!("contact sheet of {}", data.name()),
                expected: format!("at most {MAX_PIXELS} pixels"),
                got: format!("{rows} x {cols} images of {h}x{w}, each pixel {zoom}x{zoom}"),
            });
        };

        let mut pixels = background.repeat(width * height);
        for index in 0..data.len().min(rows * cols) {
            let image = data.image(index);
            let top = GAP + (index / cols) * (h * zoom + GAP);
            let left = GAP + (index % cols) * (w * zoom + GAP);
            for y in 0..h * zoom {
                for x in 0..w * zoom {
                    let from = (y / zoom * w + x / zoom) * channels;
                    let to = ((top + y) * width + left + x) * channels;
                    for channel in 0..channels {
                        pixels[to + channel] = to_grey(image[from + channel], data.scale());
                    }
                }
            }
        }
        Ok(Sheet { width, height, color, pixels })
    }
}

/// A pixel as 0..=255: `scale` is white.
fn to_grey(pixel: u8, scale: f32) -> u8 {
    // A cast from float to integer saturates, so a pixel over `scale` is white too.
    (f32::from(pixel) * (255.0 / scale)).round() as u8
}

/// Writes a file beside `path` and renames it into place once it is complete and on disk.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the user's umask
    let mut temporary = builder.tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(count: usize, shape: [usize; 3]) -> Dataset {
        let pixels = shape.iter().product::<usize>();
        let images = (0..count * pixels).map(|i| (i / pixels) as u8).collect();
        Dataset::new(images, shape, vec![0; count], ["only"]).unwrap().with_scale(count as f32)
    }

    #[test]
    fn cells_hold_the_images_in_order() {
        let sheet = Sheet::draw(&dataset(5, [56, 56, 1]), 2, 3).unwrap();
        assert_eq!((sheet.width, sheet.height), (2 + 3 * 58, 2 + 2 * 58));
        let middle = |row: usize, col: usize| sheet.pixels[(30 + row * 58) * sheet.width + 30 + col * 58];
        // Pixel value i of scale 5 is shown as 51 i; the sixth cell is empty.
        assert_eq!([middle(0, 0), middle(0, 1), middle(0, 2), middle(1, 0), middle(1, 1)], [0, 51, 102, 153, 204]);
        assert_eq!((middle(1, 2), sheet.pixels[0]), (32, 32));
    }

    #[test]
    fn the_png_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        for (channels, color) in [(1, image::ColorType::L8), (3, image::ColorType::Rgb8), (4, image::ColorType::Rgba8)]
        {
            let path = folder.path().join(format!("{channels}.png"));
            dataset(2, [8, 4, channels]).contact_sheet(&path, 1, 2).unwrap();
            let picture = image::open(&path).unwrap();
            assert_eq!(picture.color(), color);
            // 4 wide is enlarged 14 times.
            assert_eq!((picture.width(), picture.height()), (2 + 2 * 58, 2 + 114));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file stays");
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let refuse = |data: Dataset, rows, cols| data.contact_sheet("never-written.png", rows, cols).unwrap_err();
        let data = || dataset(1, [4, 4, 1]);
        assert!(matches!(refuse(data().take(0), 1, 1), Error::Empty { .. }));
        assert!(matches!(refuse(data(), 0, 1), Error::Empty { .. }));
        assert!(matches!(refuse(dataset(1, [4, 4, 2]), 1, 1), Error::Shape { .. }));
        assert!(matches!(refuse(data(), 1 << 20, 1 << 20), Error::Shape { .. }));
        assert!(matches!(refuse(data(), usize::MAX, 2), Error::Shape { .. }));
        let nowhere = data().contact_sheet("no/such/folder/sheet.png", 1, 1);
        assert!(matches!(nowhere, Err(Error::Io { .. })));
    }

    #[test]
    fn scale_is_white() {
        assert_eq!([to_grey(0, 16.0), to_grey(8, 16.0), to_grey(16, 16.0), to_grey(17, 16.0)], [0, 128, 255, 255]);
        assert!((0..=255).all(|pixel| to_grey(pixel, 255.0) == pixel));
    }
}
