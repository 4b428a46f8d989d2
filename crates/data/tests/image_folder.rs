//! Folders of pictures, sound and not.

use std::path::Path;

use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use tilegrad_core::Device;
use tilegrad_data::{Error, ImageFolder, read_image};

/// A picture of one colour.
fn plain(path: &Path, colour: [u8; 3], format: ImageFormat) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(4, 4, Rgb(colour)).save_with_format(path, format).unwrap();
}

/// Two classes: cats `a.png`, `b.JPG`; dogs `c.bmp`; and things to pass over.
fn pets() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    plain(&at("dogs/c.bmp"), [0, 0, 255], ImageFormat::Bmp);
    plain(&at("cats/b.JPG"), [200, 200, 200], ImageFormat::Jpeg);
    plain(&at("cats/a.png"), [255, 0, 0], ImageFormat::Png);
    plain(&at("cats/more/d.png"), [0, 255, 0], ImageFormat::Png);
    plain(&at(".hidden/e.png"), [0, 0, 0], ImageFormat::Png);
    std::fs::write(at("cats/notes.txt"), "not a picture").unwrap();
    std::fs::write(at("top.png"), "in no class").unwrap();
    root
}

#[test]
fn classes_and_images_come_in_the_order_of_names() {
    let root = pets();
    let loaded = ImageFolder::new(root.path()).size([2, 3]).load().unwrap();
    let data = &loaded.data;
    assert_eq!(data.classes(), ["cats", "dogs"]);
    assert_eq!((data.shape(), data.labels()), ([2, 3, 3], &[0, 0, 1][..]));
    assert_eq!(data.image(0), [255, 0, 0].repeat(6));
    assert!(data.image(1).iter().all(|&byte| byte.abs_diff(200) <= 1), "JPEG keeps a plain grey: {:?}", data.image(1));
    assert_eq!(data.image(2), [0, 0, 255].repeat(6));
    assert!(loaded.to_string().ends_with("3 images of 2x3x3, 2 classes, 1 to 2 each; 0 files skipped"), "{loaded}");
    assert_eq!(ImageFolder::new(root.path()).size([2, 3]).recursive(true).load().unwrap().data.len(), 4);
    assert_eq!(ImageFolder::new(root.path()).channels(1).load().unwrap().data.shape(), [256, 256, 1]);
}

/// Sample positions with half-pixel centres: -0.25, 0.25, 0.75 and 1.25 between two pixels.
#[test]
fn resizing_is_bilinear_and_cropping_keeps_the_middle() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ramp/x.png");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    GrayImage::from_raw(2, 1, vec![0, 100]).unwrap().save(&path).unwrap();
    let folder = ImageFolder::new(root.path()).channels(1);
    assert_eq!(folder.clone().size([1, 4]).load().unwrap().data.images(), [0, 25, 75, 100]);
    let tensor = read_image(&path, 1, None, &Device::cpu()).unwrap();
    assert_eq!((tensor.shape().dims(), tensor.to_vec::<f32>().unwrap()), (&[1, 2, 1][..], vec![0.0, 100.0 / 255.0]));

    GrayImage::from_raw(4, 2, vec![9, 1, 2, 9, 9, 3, 4, 9]).unwrap().save(&path).unwrap();
    assert_eq!(folder.size([2, 2]).crop_to_aspect_ratio(true).load().unwrap().data.images(), [1, 2, 3, 4]);
}

#[test]
fn unreadable_files_are_listed_and_too_many_are_an_error() {
    let root = pets();
    std::fs::write(root.path().join("cats/aa.png"), "text").unwrap();
    let folder = ImageFolder::new(root.path()).size([1, 1]);
    let loaded = folder.clone().max_skipped(0.25).load().unwrap();
    assert_eq!(loaded.skipped.len(), 1);
    assert!(loaded.skipped[0].path.ends_with("cats/aa.png") && !loaded.skipped[0].reason.is_empty());
    assert_eq!(loaded.data.labels(), [0, 0, 1]);
    assert_eq!(loaded.data.image(2), [0, 0, 255], "the images behind the gap have moved up with their labels");
    let error = folder.load().unwrap_err();
    assert!(matches!(&error, Error::Skipped { skipped, total: 4, allowed: 0, .. } if skipped.len() == 1), "{error}");
    assert!(error.to_string().contains("aa.png: ") && error.to_string().contains("at most 0 of 4, got 1"), "{error}");
}

/// A PNG that declares 100,000 by 100,000 pixels is refused before memory is taken for them.
#[test]
fn a_hostile_size_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("big.png");
    GrayImage::new(1, 1).save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = read_image(&path, 3, None, &Device::cpu()).unwrap_err();
    assert!(matches!(error, Error::Picture { .. }) && error.to_string().contains("big.png"), "{error}");
}

#[test]
fn what_cannot_be_asked_for_is_an_error() {
    let root = pets();
    let folder = ImageFolder::new(root.path());
    let message = |folder: ImageFolder| folder.load().unwrap_err().to_string();
    assert_eq!(message(folder.clone().channels(4)), "channels of a picture: expected 1 or 3, got 4");
    assert!(message(folder.clone().size([0, 3])).contains("got [0, 3]"));
    assert!(message(folder.clone().max_skipped(f64::NAN)).contains("from 0 to 1, got NaN"));
    assert!(message(folder.max_bytes(1000)).contains("at most 1000 bytes in memory, got 3 images of 196608 bytes"));
    assert!(message(ImageFolder::new(root.path().join("cats/more"))).contains("folders of classes"));
    assert!(message(ImageFolder::new(root.path().join("none"))).contains("none"));
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
