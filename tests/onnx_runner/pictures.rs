//! Encoded images for `ImageDecoder`: PNG and WebP by their libraries, BMP and PNM, which are hardly encoded, here.

use std::io::Cursor;

/// `(height, width, channels)` bytes; grey, grey with alpha, RGB or RGBA by the number of channels.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Three bytes a pixel, without what alpha there was.
    pub fn to_rgb(&self) -> Vec<u8> {
        let pixels = self.pixels.chunks_exact(self.channels);
        pixels.flat_map(|p| if self.channels < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] }).collect()
    }
}

/// Reads a PNG, WebP, BMP (8, 24 or 32 bits, not compressed) or PNM (binary grey or RGB of 8 bits).
///
/// # Errors
/// For other formats, and for bytes that are none of these.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(bytes),
        [b'B', b'M', ..] => bmp(bytes).ok_or_else(|| "a BMP of a kind that isn't read, or cut short".into()),
        [b'P', b'5' | b'6', ..] => pnm(bytes).ok_or_else(|| "a PNM of a kind that isn't read, or cut short".into()),
        _ => Err("no PNG, WebP, BMP or PNM".into()),
    }
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let size = reader.output_buffer_size().ok_or("a PNG that is too large")?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
    pixels.truncate(info.buffer_size());
    let channels = info.color_type.samples();
    Ok(Picture { width: info.width as usize, height: info.height as usize, channels, pixels })
}

fn webp(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("a WebP that is too large")?];
    decoder.read_image(&mut pixels).map_err(|e| e.to_string())?;
    let ((width, height), channels) = (decoder.dimensions(), if decoder.has_alpha() { 4 } else { 3 });
    Ok(Picture { width: width as usize, height: height as usize, channels, pixels })
}

/// Rows of blue, green, red from the bottom up (from the top down if the height is negative), padded to four bytes; or, with 8
/// bits, numbers of colours in a table after the header.
fn bmp(bytes: &[u8]) -> Option<Picture> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (start, header) = (word(10)? as usize, word(14)? as usize);
    let (width, signed) = (usize::try_from(word(18)? as i32).ok()?, word(22)? as i32);
    let (bits, compression) = ((word(28)? & 0xffff) as usize, word(30)?);
    if !matches!(bits, 8 | 24 | 32) || compression != 0 {
        return None;
    }
    let (height, stride) = (signed.unsigned_abs() as usize, width.checked_mul(bits / 8)?.next_multiple_of(4));
    let mut pixels = Vec::new();
    for row in 0..height {
        let from_top = if signed < 0 { row } else { height - 1 - row };
        let line = bytes.get(start.checked_add(from_top.checked_mul(stride)?)?..)?.get(..stride)?;
        for pixel in line[..width * bits / 8].chunks_exact(bits / 8) {
            let colour = match pixel {
                [index] => bytes.get(14 + header + 4 * *index as usize..)?.get(..3)?,
                _ => pixel,
            };
            pixels.extend([colour[2], colour[1], colour[0]]);
        }
    }
    Some(Picture { width, height, channels: 3, pixels })
}

/// `P5` or `P6`, width, height and 255 as text between spaces and comments, one space, then the bytes.
fn pnm(bytes: &[u8]) -> Option<Picture> {
    let mut at = 2;
    let mut number = || {
        while bytes.get(at)?.is_ascii_whitespace() || bytes[at] == b'#' {
            let comment = bytes[at] == b'#';
            at += if comment { bytes[at..].iter().position(|&b| b == b'\n')? } else { 1 };
        }
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        at += digits;
        std::str::from_utf8(&bytes[at - digits..at]).ok()?.parse::<usize>().ok()
    };
    let (width, height, white) = (number()?, number()?, number()?);
    let channels = if bytes[1] == b'6' { 3 } else { 1 };
    let length = width.checked_mul(height)?.checked_mul(channels)?;
    let pixels = bytes.get(at + 1..)?.get(..length)?.to_vec();
    (white == 255).then_some(Picture { width, height, channels, pixels })
}
