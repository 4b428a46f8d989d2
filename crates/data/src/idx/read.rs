//! The reader: believes a header only after holding it against the file.
//!
//! The header is written by whoever made the file. So memory is claimed for bytes that are there, never for bytes
//! that a header promises, and a gzip stream is decompressed up to one byte past what its header announces, which is
//! enough to tell a longer one.
//!
//! Whether a file is gzipped is read from its first two bytes, not from its name: browsers and mirrors add and
//! drop `.gz` as they please, and an IDX file cannot start with gzip's signature.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{Idx, IdxType, MAX_BYTES};
use crate::error::{Error, Result};

/// The first two bytes of every gzip stream.
const GZIP_SIGNATURE: [u8; 2] = [0x1f, 0x8b];

/// No gzip stream grows by more than this factor: deflate spends at least two bits on 258 equal bytes.
const MAX_GZIP_RATIO: u64 = 1032;

/// Reads an IDX file of bytes, plain or gzipped, of any rank from 1.
///
/// The outermost dimension may be 0 (a file with no samples); the others may not.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Malformed`] when the file is no IDX file, has another type
/// than `u8`, is longer or shorter than its header says, is a damaged gzip stream, or holds more than
/// [`MAX_BYTES`]. Offsets count decompressed bytes.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("labels-idx1-ubyte");
/// # std::fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]).unwrap();
/// let labels = tilegrad_data::idx::read(&path)?;
/// assert_eq!((labels.shape(), labels.values()), (&[3][..], &[7, 2, 1][..]));
/// # Ok::<(), tilegrad_data::Error>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let io = |source| Error::io(path, source);
    // Asked before opening: opening a named pipe would wait for a writer for ever.
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file")));
    }
    let mut file = File::open(path).map_err(io)?;
    let mut signature = Vec::new();
    (&mut file).take(2).read_to_end(&mut signature).map_err(io)?;
    file.rewind().map_err(io)?;
    let mut reader = BufReader::new(file);
    if signature == GZIP_SIGNATURE {
        let most = metadata.len().saturating_mul(MAX_GZIP_RATIO);
        read_from(&mut MultiGzDecoder::new(reader), path, most, true)
    } else {
        read_from(&mut reader, path, metadata.len(), false)
    }
}

/// Reads an IDX file of the rank expected: 3 for images `(N, H, W)`, 1 for labels `(N)`.
///
/// # Errors
/// Those of [`read`], and [`Error::Malformed`] for another rank.
pub fn read_rank(path: impl AsRef<Path>, rank: usize) -> Result<Idx> {
    let path = path.as_ref();
    let idx = read(path)?;
    if idx.shape.len() != rank {
        let got = format!("{} in the shape {:?}", idx.shape.len(), idx.shape);
        return Err(malformed(path, 3, "number of dimensions", rank.to_string(), got));
    }
    Ok(idx)
}

/// Reads IDX from memory, plain or gzipped; `name` stands for the file in messages.
///
/// # Errors
/// [`Error::Malformed`], as for [`read`].
pub fn parse(bytes: &[u8], name: impl AsRef<Path>) -> Result<Idx> {
    let length = bytes.len() as u64;
    if bytes.starts_with(&GZIP_SIGNATURE) {
        let most = length.saturating_mul(MAX_GZIP_RATIO);
        read_from(&mut MultiGzDecoder::new(bytes), name.as_ref(), most, true)
    } else {
        read_from(&mut &bytes[..], name.as_ref(), length, false)
    }
}

/// Reads header and values. `most` is the number of bytes `reader` can give at most: the file's length, or what
/// its length can decompress to.
fn read_from(reader: &mut dyn Read, path: &Path, most: u64, gzip: bool) -> Result<Idx> {
    let mut magic = [0; 4];
    read_header(reader, &mut magic, 0, path, gzip)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    if magic[..2] != [0, 0] {
        return Err(malformed(path, 0, "magic number", "00 00 08 and the rank".into(), hex(&magic)));
    }
    match IdxType::from_code(magic[2]) {
        Some(IdxType::U8) => {}
        Some(other) => {
            return Err(malformed(path, 2, "value type", "u8".into(), format!("{other}, not supported")));
        }
        None => {
            return Err(malformed(path, 2, "value type", "08 (u8)".into(), hex(&magic[2..3])));
        }
    }
    if magic[3] == 0 {
        return Err(malformed(path, 3, "number of dimensions", "at least 1".into(), "0".into()));
    }

    let mut shape = Vec::with_capacity(magic[3].into());
    // The product in 128 bits cannot wrap: it is held under 2^30 before each factor of at most 2^32.
    let mut count = 1u128;
    for axis in 0..u64::from(magic[3]) {
        let offset = 4 + 4 * axis;
        let mut size = [0; 4];
        read_header(reader, &mut size, offset, path, gzip)?;
        let size = u32::from_be_bytes(size);
        if size == 0 && axis > 0 {
            return Err(malformed(path, offset, "size of a dimension", "at least 1".into(), "0".into()));
        }
        shape.push(size as usize);
        count *= u128::from(size);
        if count > u128::from(MAX_BYTES) {
            let got = format!("at least {count} from the sizes {shape:?}");
            return Err(malformed(path, offset, "number of values", format!("at most {MAX_BYTES}"), got));
        }
    }

    let header = 4 + 4 * u64::from(magic[3]);
    let count = count as u64;
    if header + count > most {
        let what = if gzip { "length, even if gzip compressed as well as it can" } else { "length of the file" };
        let expected = format!("{} bytes for the sizes {shape:?}", header + count);
        return Err(malformed(path, header, what, expected, format!("{most} bytes")));
    }
    let mut values = Vec::new();
    if !gzip {
        // The file is this long, so the claim is honest; a gzip stream's length shows only as it unfolds.
        values.reserve_exact(count as usize + 1);
    }
    // One byte more than wanted tells a longer file, and makes the decoder check the stream's own checksum.
    if let Err(error) = reader.take(count + 1).read_to_end(&mut values) {
        return Err(read_error(error, header + values.len() as u64, path, gzip));
    }
    let got = values.len() as u64;
    if got != count {
        let expected = format!("{count} values for the sizes {shape:?}");
        let got = if got > count { "more".into() } else { format!("{got} values") };
        return Err(malformed(path, header + count.min(values.len() as u64), "end of the file", expected, got));
    }
    values.shrink_to_fit();
    Ok(Idx { shape, values })
}

/// Fills `field` from `reader`, or says how much of the header is there.
fn read_header(reader: &mut dyn Read, field: &mut [u8], offset: u64, path: &Path, gzip: bool) -> Result<()> {
    let mut got = 0;
    while got < field.len() {
        match reader.read(&mut field[got..]) {
            Ok(0) => {
                let expected = format!("{} bytes", field.len());
                let end = offset + got as u64;
                return Err(malformed(path, end, "header cut short", expected, format!("{got} bytes")));
            }
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error, offset + got as u64, path, gzip)),
        }
    }
    Ok(())
}

/// Tells a damaged gzip stream from a disk that fails: the decoder reports both as `io::Error`.
fn read_error(error: io::Error, offset: u64, path: &Path, gzip: bool) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof if gzip => {
            malformed(path, offset, "gzip stream", "a complete one".into(), "one cut short".into())
        }
        InvalidData | InvalidInput if gzip => {
            malformed(path, offset, "gzip stream", "a sound one".into(), error.to_string())
        }
        _ => Error::io(path, error),
    }
}

fn malformed(path: &Path, offset: u64, what: &'static str, expected: String, got: String) -> Error {
    Error::Malformed { path: path.to_path_buf(), offset, what, expected, got }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(code: u8, sizes: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes
    }

    /// The offset and the part named by the error of a malformed file.
    fn fault(bytes: &[u8]) -> (u64, &'static str) {
        match parse(bytes, "file") {
            Err(Error::Malformed { offset, what, .. }) => (offset, what),
            other => panic!("expected a malformed file, got {other:?}"),
        }
    }

    #[test]
    fn round_trip_plain_and_gzipped() {
        let idx = Idx::new(vec![2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(parse(&idx.to_bytes(), "plain").unwrap(), idx);
        assert_eq!(parse(&gzip(&idx.to_bytes()), "gzipped").unwrap(), idx);
    }

    #[test]
    fn every_other_type_is_named() {
        for (code, name) in [(0x09, "i8"), (0x0b, "i16"), (0x0c, "i32"), (0x0d, "f32"), (0x0e, "f64")] {
            let message = parse(&header(code, &[0]), "file").unwrap_err().to_string();
            assert_eq!(message, format!("file: at byte 2: value type: expected u8, got {name}, not supported"));
        }
        assert_eq!(fault(&header(0x0a, &[0])), (2, "value type"));
    }

    #[test]
    fn lengths_are_exact() {
        let good = Idx::new(vec![2, 3], vec![9; 6]).unwrap().to_bytes();
        for length in 0..good.len() {
            assert!(parse(&good[..length], "cut").is_err(), "{length} bytes of {}", good.len());
            assert!(parse(&gzip(&good[..length]), "cut, then gzipped").is_err(), "{length} bytes");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(fault(&long), (18, "end of the file"));
        assert_eq!(fault(&gzip(&long)), (18, "end of the file"));
    }

    #[test]
    fn a_gzip_stream_is_whole_or_refused() {
        let good = gzip(&Idx::new(vec![400], vec![9; 400]).unwrap().to_bytes());
        for length in 0..good.len() {
            assert!(parse(&good[..length], "cut").is_err(), "{length} bytes of {}", good.len());
        }
        let mut wrong_crc = good.clone();
        let at = good.len() - 8;
        wrong_crc[at] ^= 1;
        assert_eq!(fault(&wrong_crc).1, "gzip stream");
        let mut trailing = good;
        trailing.extend(b"more");
        assert_eq!(fault(&trailing).1, "gzip stream");
    }

    #[test]
    fn a_header_claims_no_memory() {
        assert_eq!(fault(&header(8, &[u32::MAX, u32::MAX, u32::MAX])), (4, "number of values"));
        assert_eq!(fault(&header(8, &[1 << 30])), (8, "length of the file"));
        // Products of 2^64, which wrap to the length of an empty body.
        assert_eq!(fault(&header(8, &[1 << 29, 1 << 31, 16])), (8, "number of values"));
        // 1 GiB promised by a few compressed bytes: refused before a byte is decompressed.
        assert!(fault(&gzip(&header(8, &[1 << 30]))).1.starts_with("length, even if"));
    }

    #[test]
    fn no_samples_is_a_file_but_no_width_is_not() {
        assert_eq!(parse(&header(8, &[0, 28, 28]), "none").unwrap().shape(), [0, 28, 28]);
        assert_eq!(fault(&header(8, &[2, 28, 0])), (12, "size of a dimension"));
        assert_eq!(fault(&header(8, &[])), (3, "number of dimensions"));
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(Error::Io { .. })));
        assert!(matches!(read(folder.path().join("absent")), Err(Error::Io { .. })));
    }
}
