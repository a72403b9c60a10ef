//! What comes out is what the filter's name says, to the last level. These tests need a GPU.

use std::fs;

use image::ExtendedColorType::{self, L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};

use super::files::{jpeg, noise, pixels, png, webp};
use super::oracle::{self, Channel};
use super::{filtered, gpu_tests};

const NAMES: [&str; 11] = [
    "gaussian:0.3",
    "gaussian:1.2",
    "box:2",
    "box:3",
    "box:6",
    "sharpen",
    "unsharp",
    "unsharp:0.3,2.5",
    "edge",
    "laplacian",
    "emboss",
];
const BORDERS: [&str; 4] = ["reflect", "replicate", "zeros", "circular"];

/// Channel `index` of interleaved pixels, from 0 to 1.
fn channel(pixels: &[u16], index: usize, channels: usize, width: usize, largest: f64) -> Channel {
    let values: Vec<f64> =
        pixels.iter().skip(index).step_by(channels).map(|&level| f64::from(level) / largest).collect();
    Channel { width, height: values.len() / width, values }
}

/// Asserts that a channel of the result is what is expected, within one level.
fn assert_close(found: &[u16], index: usize, channels: usize, expected: &[f64], largest: f64, what: &str) {
    for (place, (&level, &value)) in found.iter().skip(index).step_by(channels).zip(expected).enumerate() {
        let expected = value.clamp(0.0, 1.0) * largest;
        assert!(
            (f64::from(level) - expected).abs() <= 1.0,
            "{what}: channel {index}, pixel {place}: {level}, not {expected}"
        );
    }
}

fn channels_of(colour: ExtendedColorType) -> usize {
    usize::from(colour.channel_count())
}

/// Noise of the right length for a picture.
fn picture(width: u32, height: u32, colour: ExtendedColorType, seed: u32) -> Vec<u8> {
    noise((width * height) as usize * usize::from(colour.bits_per_pixel()) / 8, seed)
}

#[test]
fn the_identity_gives_the_same_pixels() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out.png"));
    for (seed, colour) in [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16].into_iter().enumerate() {
        fs::write(&input, png(19, 11, colour, &picture(19, 11, colour, seed as u32))).unwrap();
        for matrix in ["1", "0,0,0;0,1,0;0,0,0"] {
            filtered(folder.path(), &["in", "out.png", "--matrix", matrix]);
            assert_eq!(
                image::open(&output).unwrap().color(),
                image::load_from_memory(&fs::read(&input).unwrap()).unwrap().color()
            );
            let expected = image::load_from_memory(&fs::read(&input).unwrap()).unwrap();
            assert_eq!(image::open(&output).unwrap(), expected, "{colour:?} {matrix}");
        }
    }
    // WebP holds 8 bits, and its own input comes out as it went in.
    fs::write(&input, webp(19, 11, Rgba8, &picture(19, 11, Rgba8, 9))).unwrap();
    filtered(folder.path(), &["in", "out.webp", "--matrix", "1"]);
    let expected = image::load_from_memory(&fs::read(&input).unwrap()).unwrap();
    assert_eq!(image::open(folder.path().join("out.webp")).unwrap(), expected);
    // From JPEG too, once decoded.
    fs::write(&input, jpeg(19, 11, Rgb8, &picture(19, 11, Rgb8, 9))).unwrap();
    filtered(folder.path(), &["in", "out.png", "--matrix", "1"]);
    let expected = image::load_from_memory(&fs::read(&input).unwrap()).unwrap();
    assert_eq!(image::open(&output).unwrap(), expected);
}

#[test]
fn a_mean_of_a_flat_picture_is_flat() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flat: Vec<u8> = [40_000u16, 123, 65_535].repeat(12 * 9).iter().flat_map(|level| level.to_ne_bytes()).collect();
    fs::write(folder.path().join("in.png"), png(12, 9, Rgb16, &flat)).unwrap();
    for border in ["reflect", "replicate", "circular"] {
        for name in ["box:3", "box:4", "box:7", "gaussian:1", "unsharp", "sharpen"] {
            filtered(folder.path(), &["in.png", "out.png", "--kernel", name, "--border", border]);
            let found = pixels(&folder.path().join("out.png"));
            assert!(found.chunks(3).all(|pixel| pixel == [40_000, 123, 65_535]), "{name} {border}: {found:?}");
        }
    }
}

#[test]
fn every_filter_does_what_its_name_says() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (17, 13);
    for (colour, largest, depth, borders) in [(Rgb8, 255.0, 8, &BORDERS[..]), (L16, 65535.0, 16, &BORDERS[..1])] {
        let input = folder.path().join("in.png");
        fs::write(&input, png(width, height, colour, &picture(width, height, colour, 5))).unwrap();
        let source = pixels(&input);
        for name in NAMES {
            for border in borders {
                let report = filtered(folder.path(), &["in.png", "out.png", "--kernel", name, "--border", border]);
                assert!(report.contains(&format!("{depth} bits")) && report.contains(name), "{report}");
                let found = pixels(&folder.path().join("out.png"));
                let channels = channels_of(colour);
                for index in 0..channels {
                    let channel = channel(&source, index, channels, width as usize, largest);
                    let expected = oracle::apply(name, &channel, border).values;
                    assert_close(&found, index, channels, &expected, largest, &format!("{name}, {border}, {colour:?}"));
                }
            }
        }
    }
}

#[test]
fn matrices_are_not_turned_around() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.png");
    fs::write(&input, png(14, 10, L8, &picture(14, 10, L8, 6))).unwrap();
    let channel = channel(&pixels(&input), 0, 1, 14, 255.0);
    fs::write(folder.path().join("weights.txt"), "# two rows\n0.1 0.2 0.3 0.15\n0.05, 0.4, 0.1, -0.3\n").unwrap();
    let weights = [vec![0.1, 0.2, 0.3, 0.15], vec![0.05, 0.4, 0.1, -0.3]];
    for border in BORDERS {
        let inline = ["--matrix", "1 2 3 1.5; .5,4,1,-3", "--divisor", "10", "--border", border];
        let file = ["--matrix-file", "weights.txt", "--border", border];
        for (what, offset) in [(&inline[..], 0.0), (&file[..], 0.0), (&file[..], -0.25)] {
            let offset_text = offset.to_string();
            let arguments = [&["in.png", "out.png"][..], what, &["--offset", &offset_text]].concat();
            filtered(folder.path(), &arguments);
            let mut expected = channel.correlate(&weights, border).values;
            expected.iter_mut().for_each(|value| *value += offset);
            assert_close(&pixels(&folder.path().join("out.png")), 0, 1, &expected, 255.0, &format!("{arguments:?}"));
        }
    }
}

#[test]
fn alpha_stays_and_hidden_colours_do_not_bleed() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (16, 12);
    let mut source = picture(width, height, Rgba8, 7);
    // Some pixels opaque, some not to be seen at all.
    source.chunks_mut(4).enumerate().for_each(|(index, pixel)| match index % 4 {
        0 => pixel[3] = 0,
        1 => pixel[3] = 255,
        _ => {}
    });
    let input = folder.path().join("in.png");
    fs::write(&input, png(width, height, Rgba8, &source)).unwrap();
    let levels = pixels(&input);
    let alpha = channel(&levels, 3, 4, width as usize, 255.0);
    for name in ["gaussian:1.2", "box:3", "sharpen", "unsharp", "edge", "emboss"] {
        filtered(folder.path(), &["in.png", "out.png", "--kernel", name]);
        let found = pixels(&folder.path().join("out.png"));
        assert!(found.iter().skip(3).step_by(4).eq(levels.iter().skip(3).step_by(4)), "{name}: alpha has changed");
        for index in 0..3 {
            let own = channel(&levels, index, 4, width as usize, 255.0);
            // Pixel by pixel, as the rule says: a neighbour counts as far as it is opaque, else the pixel itself does.
            let expected: Vec<f64> = (0..own.values.len())
                .map(|place| {
                    let mut seen = own.clone();
                    for (value, opaque) in seen.values.iter_mut().zip(&alpha.values) {
                        *value = opaque * *value + (1.0 - opaque) * own.values[place];
                    }
                    oracle::apply(name, &seen, "reflect").values[place]
                })
                .collect();
            assert_close(&found, index, 4, &expected, 255.0, name);
        }
    }
}

#[test]
fn linear_light_is_filtered_as_light() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.png");
    fs::write(&input, png(15, 12, Rgb8, &picture(15, 12, Rgb8, 8))).unwrap();
    let report = filtered(folder.path(), &["in.png", "out.png", "--kernel", "gaussian:1.2", "--linear"]);
    assert!(report.contains("linear light"), "{report}");
    let (levels, found) = (pixels(&input), pixels(&folder.path().join("out.png")));
    for index in 0..3 {
        let mut channel = channel(&levels, index, 3, 15, 255.0);
        channel.values.iter_mut().for_each(|value| *value = oracle::light(*value));
        let mut expected = oracle::apply("gaussian:1.2", &channel, "reflect").values;
        expected.iter_mut().for_each(|value| *value = oracle::stored(*value));
        assert_close(&found, index, 3, &expected, 255.0, "linear");
    }
}

#[test]
fn kernels_can_be_forced_and_the_report_says_what_ran() {
    if !gpu_tests() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.png"), png(20, 20, Rgb8, &picture(20, 20, Rgb8, 4))).unwrap();
    let mut results = Vec::new();
    for kernel in ["direct", "tiled"] {
        let report =
            filtered(folder.path(), &["in.png", "out.png", "--kernel", "gaussian:1.2", "--compute-kernel", kernel]);
        for part in [
            "20 × 20, RGB, 8 bits",
            "gaussian:1.2",
            "reflect",
            "adapter",
            "driver",
            "GFLOP/s",
            "1 × 9",
            "9 × 1",
            kernel,
        ] {
            assert!(report.contains(part), "{part:?} is not in\n{report}");
        }
        let unchecked = ["in.png", "out.png", "--matrix", "1", "--compute-kernel", kernel, "--no-check"];
        assert!(filtered(folder.path(), &unchecked).contains("not checked"));
        filtered(folder.path(), &["in.png", "out.png", "--kernel", "gaussian:1.2", "--compute-kernel", kernel]);
        results.push(pixels(&folder.path().join("out.png")));
    }
    assert!(results[0].iter().zip(&results[1]).all(|(&a, &b)| a.abs_diff(b) <= 1));
}
