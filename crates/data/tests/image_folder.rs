//! Folders of pictures, sound and not.

use std::fs;
use std::path::Path;

use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use tilegrad_core::Device;
use tilegrad_data::{Error, ImageFolder, Loader, read_image};

/// A picture of one colour.
fn plain(path: &Path, colour: [u8; 3], format: ImageFormat) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
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
    fs::write(at("cats/notes.txt"), "not a picture").unwrap();
    fs::write(at("top.png"), "in no class").unwrap();
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
    fs::create_dir(path.parent().unwrap()).unwrap();
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
    fs::write(root.path().join("cats/aa.png"), "text").unwrap();
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
    let mut bytes = fs::read(&path).unwrap();
    bytes[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    fs::write(&path, bytes).unwrap();
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

#[test]
fn a_loader_reads_what_load_reads_and_tells_what_it_left_out() {
    let root = tempfile::tempdir().unwrap();
    let folder = ImageFolder::new(root.path()).size([4, 4]).channels(1).max_skipped(0.2);
    for i in 0..12u8 {
        let class = root.path().join(if i % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&class).unwrap();
        GrayImage::from_pixel(4, 4, image::Luma([i])).save(class.join(format!("{i:02}.png"))).unwrap();
    }
    let whole = folder.load().unwrap().data;
    let order: Vec<u32> = [3, 11, 0, 7, 5, 1, 2].into();
    // Parts of two batches of two images: 16 bytes an image, and as much for the next part.
    let loader = Loader::new(folder.open().unwrap()).memory(128);
    let parts: Vec<_> = loader.parts(order.clone(), 2).map(Result::unwrap).collect();
    assert_eq!(parts.iter().map(|part| part.data.len()).collect::<Vec<_>>(), [4, 3]);
    let positions: Vec<u32> = parts.iter().flat_map(|part| part.positions.clone()).collect();
    assert_eq!(positions, order);
    let images: Vec<u8> = parts.iter().flat_map(|part| part.data.images().to_vec()).collect();
    assert_eq!(images, whole.select(&order).images());

    // Another picture in its place: whatever it says it is, it is not readable.
    fs::write(root.path().join("even/04.png"), "no picture").unwrap();
    let (first, rest) = loader.split(0.5, 1);
    assert_eq!((first.len(), rest.len()), (6, 6));
    let mut seen = Vec::new();
    for part in [&first, &rest].into_iter().flat_map(|half| half.parts((0..6).collect(), 4)) {
        let part = part.unwrap();
        assert_eq!(part.data.len(), part.positions.len());
        seen.extend(part.data.images().iter().step_by(16).copied());
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]);
    let skipped = loader.images().skipped();
    assert_eq!((skipped.len(), skipped[0].path.file_name().unwrap()), (1, "04.png".as_ref()));

    for i in [6, 8] {
        fs::write(root.path().join(format!("even/{i:02}.png")), "no picture").unwrap();
    }
    let error = loader.parts((0..12).collect(), 2).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("unreadable pictures: expected at most 2 of 12, got 3"), "{error}");
}
