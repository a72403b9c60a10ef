//! The file that is written: format, metadata, what it replaces. These tests need a GPU.

use std::fs;

use image::ExtendedColorType::{L8, La8, Rgb8, Rgb16, Rgba8};
use image::{ImageDecoder, ImageEncoder, ImageReader};

use super::files::{jpeg, noise, pixels, png, with_orientation};
use super::{filter, filtered, gpu_tests, stderr};

#[test]
fn the_input_may_be_the_output() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.png");
    fs::write(&file, png(9, 9, L8, &noise(81, 1))).unwrap();
    let before = pixels(&file);
    filtered(folder.path(), &["image.png", "image.png", "--matrix", "-1", "--offset", "1"]);
    assert!(pixels(&file).iter().zip(&before).all(|(after, before)| after + before == 255));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[cfg(unix)]
#[test]
fn a_new_file_can_be_read_by_others_and_links_stay_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("in.png"), png(9, 9, L8, &noise(81, 1))).unwrap();
    fs::write(at("plain"), "").unwrap();
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    filtered(folder.path(), &["in.png", "out.png", "--matrix", "1"]);
    assert_eq!(mode("out.png"), mode("plain"));
    fs::set_permissions(at("out.png"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("out.png", at("link.png")).unwrap();
    filtered(folder.path(), &["in.png", "link.png", "--matrix", "0.5"]);
    assert_eq!(mode("out.png"), 0o640);
    assert!(fs::symlink_metadata(at("link.png")).unwrap().is_symlink());
    assert_ne!(pixels(&at("out.png")), pixels(&at("in.png")));
}

#[test]
fn formats_are_what_the_extension_says() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A smooth picture, which JPEG does little to.
    let smooth: Vec<u8> = (0..24 * 16).flat_map(|i| [(i % 24 * 10) as u8, (i / 24 * 15) as u8, 90]).collect();
    fs::write(folder.path().join("in"), png(24, 16, Rgb8, &smooth)).unwrap();
    for (name, format, tolerance) in [
        ("a.png", image::ImageFormat::Png, 0),
        ("a.WEBP", image::ImageFormat::WebP, 0),
        ("a.jpg", image::ImageFormat::Jpeg, 12),
        ("a.JPEG", image::ImageFormat::Jpeg, 12),
    ] {
        filtered(folder.path(), &["in", name, "--matrix", "1"]);
        let bytes = fs::read(folder.path().join(name)).unwrap();
        assert_eq!(image::guess_format(&bytes).unwrap(), format, "{name}");
        let found = image::load_from_memory(&bytes).unwrap().into_rgb8().into_raw();
        assert!(found.iter().zip(&smooth).all(|(a, b)| a.abs_diff(*b) <= tolerance), "{name}");
    }
    let size = |quality: &str| {
        filtered(folder.path(), &["in", "q.jpg", "--matrix", "1", "--quality", quality]);
        fs::metadata(folder.path().join("q.jpg")).unwrap().len()
    };
    assert!(size("10") < size("100"));
}

#[test]
fn what_a_format_cannot_hold_is_said() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("deep.png"), png(8, 8, Rgb16, &noise(8 * 8 * 6, 1))).unwrap();
    for name in ["out.jpg", "out.webp"] {
        let output = filter(folder.path(), &["deep.png", name, "--matrix", "1"]).output().unwrap();
        assert!(output.status.success() && stderr(&output).contains("16 are rounded"), "{}", stderr(&output));
        assert_eq!(image::open(folder.path().join(name)).unwrap().color(), image::ColorType::Rgb8);
    }
    for (colour, channels) in [(La8, 2), (Rgba8, 4)] {
        fs::write(folder.path().join("alpha.png"), png(8, 8, colour, &noise(64 * channels, 2))).unwrap();
        filtered(folder.path(), &["alpha.png", "out.webp", "--kernel", "sharpen"]);
        assert!(image::open(folder.path().join("out.webp")).unwrap().color().has_alpha());
    }
}

#[test]
fn pictures_are_turned_upright() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dark_left: Vec<u8> = (0..16 * 8).map(|i| if i % 16 < 8 { 0 } else { 255 }).collect();
    let file = jpeg(16, 8, L8, &dark_left);
    // 6: the first row of the file is the right side of the picture; what is left in the file is above.
    fs::write(folder.path().join("in.jpg"), with_orientation(&file, 6)).unwrap();
    for name in ["out.png", "out.jpg"] {
        filtered(folder.path(), &["in.jpg", name, "--matrix", "1"]);
        let image = image::open(folder.path().join(name)).unwrap().into_luma8();
        assert_eq!(image.dimensions(), (8, 16), "{name}");
        assert!(image.rows().take(8).flatten().all(|pixel| pixel.0[0] < 20), "{name}");
        assert!(image.rows().skip(8).flatten().all(|pixel| pixel.0[0] > 235), "{name}");
    }
}

#[test]
fn colour_profiles_are_kept_where_they_fit() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut profile = noise(200, 3);
    profile[16..20].copy_from_slice(b"RGB ");
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile.clone()).unwrap();
    encoder.write_image(&noise(8 * 8 * 3, 4), 8, 8, Rgb8).unwrap();
    fs::write(folder.path().join("in.png"), &bytes).unwrap();
    let found = |name: &str| {
        let reader = ImageReader::open(folder.path().join(name)).unwrap();
        reader.into_decoder().unwrap().icc_profile().unwrap()
    };
    for name in ["out.png", "out.jpg", "out.webp"] {
        filtered(folder.path(), &["in.png", name, "--matrix", "1"]);
        assert_eq!(found(name).as_ref(), Some(&profile), "{name}");
    }
    let linear = filter(folder.path(), &["in.png", "out.png", "--matrix", "1", "--linear"]).output().unwrap();
    assert!(stderr(&linear).contains("sRGB"), "{}", stderr(&linear));

    // A profile for CMYK says nothing about the RGB that decoding makes of it.
    profile[16..20].copy_from_slice(b"CMYK");
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).unwrap();
    encoder.write_image(&noise(8 * 8 * 3, 4), 8, 8, Rgb8).unwrap();
    fs::write(folder.path().join("in.png"), &bytes).unwrap();
    let output = filter(folder.path(), &["in.png", "out.png", "--matrix", "1"]).output().unwrap();
    assert!(output.status.success() && stderr(&output).contains("left out"), "{}", stderr(&output));
    assert_eq!(found("out.png"), None);
}
