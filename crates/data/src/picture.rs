//! Pictures from files that nobody has checked: decoded within limits, and brought to one size.

use std::path::Path;

use image::imageops::{FilterType, crop_imm, resize};
use image::{DynamicImage, ImageBuffer, ImageReader, Limits, Pixel};
use tilegrad_core::{Device, Tensor};

use crate::error::{Error, Result};

/// The largest width and height that are decoded.
const MAX_SIDE: u32 = 16_384;
/// The most memory that decoding one picture may take.
const MAX_MEMORY: u64 = 256 << 20;

/// Reads a PNG, JPEG or BMP file as `f32 (H, W, C)` with values from 0 to 1; `channels` is 1 (grey) or 3 (red, green,
/// blue). `size` is `[H, W]` to resize to, or `None` to keep the file's. Transparency is dropped.
///
/// # Errors
/// [`Error::Picture`] with the file and the reason when it can't be decoded or is over 16,384 pixels wide or high;
/// [`Error::Shape`] for other channels or a size that has a zero or is over 16,384.
pub fn read_image(
    path: impl AsRef<Path>,
    channels: usize,
    size: Option<[usize; 2]>,
    device: &Device,
) -> Result<Tensor> {
    let path = path.as_ref();
    check_channels(channels)?;
    size.map_or(Ok(()), check_size)?;
    let picture = decode(path).map_err(|reason| Error::Picture { path: path.to_path_buf(), reason })?;
    let [height, width] = size.unwrap_or([picture.height() as usize, picture.width() as usize]);
    let bytes = to_bytes(picture, [height, width], channels, false);
    let values: Vec<f32> = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Ok(Tensor::new(&values, [height, width, channels], device))
}

/// Refuses anything but grey and colours.
pub(crate) fn check_channels(channels: usize) -> Result<()> {
    if matches!(channels, 1 | 3) {
        return Ok(());
    }
    Err(Error::Shape { what: "channels of a picture".into(), expected: "1 or 3".into(), got: channels.to_string() })
}

/// Refuses sizes that no picture has.
pub(crate) fn check_size(size: [usize; 2]) -> Result<()> {
    if size.iter().all(|side| (1..=MAX_SIDE as usize).contains(side)) {
        return Ok(());
    }
    let expected = format!("from 1 to {MAX_SIDE} each");
    Err(Error::Shape { what: "picture size [H, W]".into(), expected, got: format!("{size:?}") })
}

/// The picture in a file, whatever its name ends in, or why it can't be read.
pub(crate) fn decode(path: &Path) -> Result<DynamicImage, String> {
    let mut reader = ImageReader::open(path).map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    reader.decode().map_err(|error| error.to_string())
}

/// The picture as `(H, W, C)` bytes. With `crop`, the largest part in its middle that has the shape of `size` is taken, so
/// that nothing is distorted.
pub(crate) fn to_bytes(picture: DynamicImage, size: [usize; 2], channels: usize, crop: bool) -> Vec<u8> {
    match channels {
        1 => resized(picture.into_luma8(), size, crop),
        _ => resized(picture.into_rgb8(), size, crop),
    }
}

fn resized<P: Pixel<Subpixel = u8> + 'static>(
    picture: ImageBuffer<P, Vec<u8>>,
    size: [usize; 2],
    crop: bool,
) -> Vec<u8> {
    let [height, width] = size.map(|side| side as u32);
    if picture.dimensions() == (width, height) {
        return picture.into_raw();
    }
    let picture = if crop { middle(&picture, height, width) } else { picture };
    resize(&picture, width, height, FilterType::Triangle).into_raw()
}

/// The largest part in the middle whose sides are as `height` to `width`.
fn middle<P: Pixel<Subpixel = u8> + 'static>(
    picture: &ImageBuffer<P, Vec<u8>>,
    height: u32,
    width: u32,
) -> ImageBuffer<P, Vec<u8>> {
    let scale = |side: u32, by: u32, of: u32| ((u64::from(side) * u64::from(by) / u64::from(of)) as u32).max(1);
    let (w, h) = picture.dimensions();
    let (part_w, part_h) = (w.min(scale(h, width, height)), h.min(scale(w, height, width)));
    crop_imm(picture, (w - part_w) / 2, (h - part_h) / 2, part_w, part_h).to_image()
}
