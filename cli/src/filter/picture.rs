//! [`Picture`]: an image file as numbers from 0 to 1.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, Limits};

use super::format::Format;

/// Most pixels of a picture. Each takes some hundred bytes of memory on its way; a file may claim any size.
const MAX_PIXELS: u64 = 1 << 27;
/// Most bytes of an image file.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Most bytes that a decoder may allocate.
const MAX_DECODER_BYTES: u64 = 2 << 30;

/// A decoded image, upright.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub colours: Colours,
    pub alpha: bool,
    pub depth: Depth,
    /// Pixel after pixel: its colour channels, then alpha if there is one, each from 0 to 1.
    pub samples: Vec<f32>,
    /// The ICC colour profile, as it stands in the file.
    pub profile: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Grey,
    Rgb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Eight,
    Sixteen,
}

impl Picture {
    /// Reads a PNG, JPEG or WebP file (told apart by their first bytes) and turns it upright, as EXIF says.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_file(path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn read_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        ensure!(!file.metadata()?.is_dir(), "this is a folder");
        // The first bytes by themselves, so that an endless file that is no image is refused at once.
        let mut bytes = Vec::new();
        file.by_ref().take(16).read_to_end(&mut bytes)?;
        Format::of_content(&bytes)?;
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MAX_FILE_BYTES, "the file has more than {MAX_FILE_BYTES} bytes");
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_within(bytes, MAX_PIXELS, MAX_DECODER_BYTES)
    }

    /// The same with limits of one's own: the most pixels, and bytes that a decoder may allocate.
    pub fn decode_within(bytes: &[u8], max_pixels: u64, max_decoder_bytes: u64) -> Result<Self> {
        let (format, input) = (Format::of_content(bytes)?, Cursor::new(bytes));
        let mut limits = Limits::default();
        limits.max_alloc = Some(max_decoder_bytes);
        let damaged = || format!("the {format} data cannot be decoded");
        match format {
            Format::Png => {
                let decoder = PngDecoder::with_limits(input, limits.clone()).with_context(damaged)?;
                refuse_animation(decoder.is_apng()?)?;
                Self::of_decoder(decoder, limits, max_pixels).with_context(damaged)
            }
            Format::WebP => {
                let decoder = WebPDecoder::new(input).with_context(damaged)?;
                refuse_animation(decoder.has_animation())?;
                Self::of_decoder(decoder, limits, max_pixels).with_context(damaged)
            }
            Format::Jpeg => {
                let decoder = JpegDecoder::new(input).with_context(damaged)?;
                // The decoder fills what is missing with grey and says nothing.
                ensure!(
                    jpeg_is_complete(bytes),
                    "the JPEG data stop before their end marker, after {} bytes: the file is truncated",
                    bytes.len()
                );
                Self::of_decoder(decoder, limits, max_pixels).with_context(damaged)
            }
        }
    }

    fn of_decoder(mut decoder: impl ImageDecoder, limits: Limits, max_pixels: u64) -> Result<Self> {
        let (width, height) = decoder.dimensions();
        ensure!(width > 0 && height > 0, "the image has {width} × {height} pixels");
        let pixels = u64::from(width) * u64::from(height);
        ensure!(
            pixels <= max_pixels,
            "the image claims {width} × {height} = {pixels} pixels; at most {max_pixels} are allowed"
        );
        decoder.set_limits(limits)?;
        let profile = decoder.icc_profile()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        let (width, height) = (image.width(), image.height());
        let (colours, alpha, depth, samples) = match image {
            DynamicImage::ImageLuma8(image) => (Colours::Grey, false, Depth::Eight, of_eight(&image)),
            DynamicImage::ImageLumaA8(image) => (Colours::Grey, true, Depth::Eight, of_eight(&image)),
            DynamicImage::ImageRgb8(image) => (Colours::Rgb, false, Depth::Eight, of_eight(&image)),
            DynamicImage::ImageRgba8(image) => (Colours::Rgb, true, Depth::Eight, of_eight(&image)),
            DynamicImage::ImageLuma16(image) => (Colours::Grey, false, Depth::Sixteen, of_sixteen(&image)),
            DynamicImage::ImageLumaA16(image) => (Colours::Grey, true, Depth::Sixteen, of_sixteen(&image)),
            DynamicImage::ImageRgb16(image) => (Colours::Rgb, false, Depth::Sixteen, of_sixteen(&image)),
            DynamicImage::ImageRgba16(image) => (Colours::Rgb, true, Depth::Sixteen, of_sixteen(&image)),
            other => bail!("pixels of type {:?} are not supported", other.color()),
        };
        Ok(Self { width, height, colours, alpha, depth, samples, profile })
    }

    /// Channels of a pixel without alpha.
    pub fn colour_channels(&self) -> usize {
        match self.colours {
            Colours::Grey => 1,
            Colours::Rgb => 3,
        }
    }

    /// Channels of a pixel, alpha included.
    pub fn channels(&self) -> usize {
        self.colour_channels() + usize::from(self.alpha)
    }

    /// The samples as integers from 0 to 255, rounded to the nearest; what is outside 0 to 1 is cut off.
    pub fn to_eight(&self) -> Vec<u8> {
        self.samples.iter().map(|&sample| quantise(sample, f32::from(u8::MAX)) as u8).collect()
    }

    /// The samples as integers from 0 to 65535.
    pub fn to_sixteen(&self) -> Vec<u16> {
        self.samples.iter().map(|&sample| quantise(sample, f32::from(u16::MAX)) as u16).collect()
    }
}

/// As in `451 × 300, RGB with alpha, 8 bits`.
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colours = match self.colours {
            Colours::Grey => "grey",
            Colours::Rgb => "RGB",
        };
        let alpha = if self.alpha { " with alpha" } else { "" };
        write!(f, "{} × {}, {colours}{alpha}, {} bits", self.width, self.height, self.depth.bits())
    }
}

impl Depth {
    pub fn bits(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

fn quantise(sample: f32, largest: f32) -> f32 {
    (sample.clamp(0.0, 1.0) * largest).round()
}

fn of_eight(samples: &[u8]) -> Vec<f32> {
    samples.iter().map(|&sample| f32::from(sample) / f32::from(u8::MAX)).collect()
}

fn of_sixteen(samples: &[u16]) -> Vec<f32> {
    samples.iter().map(|&sample| f32::from(sample) / f32::from(u16::MAX)).collect()
}

fn refuse_animation(animated: bool) -> Result<()> {
    ensure!(!animated, "the file is an animation; only still images can be filtered");
    Ok(())
}

/// Whether the end marker (FF D9) follows the image data. Marker segments before the data are stepped over by their
/// length, since one of them may hold a thumbnail, which is a JPEG of its own.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut at = 2;
    loop {
        match bytes.get(at..at + 4) {
            Some(&[0xFF, START_OF_SCAN, ..]) => return bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            // A marker may be padded with FF bytes.
            Some(&[0xFF, 0xFF, ..]) => at += 1,
            Some(&[0xFF, _, high, low]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            // Not where a marker should be: the decoder is the judge of that.
            Some(_) => return true,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// A small picture of every layout, in every format that holds it.
    fn samples() -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = (0..6 * 5 * 8).map(|i| (i * 37 % 251) as u8).collect();
        let mut files = Vec::new();
        for colour in
            [ExtendedColorType::L8, ExtendedColorType::La16, ExtendedColorType::Rgb8, ExtendedColorType::Rgba16]
        {
            let pixels = &bytes[..6 * 5 * usize::from(colour.bits_per_pixel()) / 8];
            let mut file = Vec::new();
            image::codecs::png::PngEncoder::new(&mut file).write_image(pixels, 6, 5, colour).unwrap();
            files.push(file);
        }
        let mut file = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut file)
            .write_image(&bytes[..90], 6, 5, ExtendedColorType::Rgb8)
            .unwrap();
        files.push(file);
        let mut file = Vec::new();
        let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut file);
        encoder.write_image(&bytes[..120], 6, 5, ExtendedColorType::Rgba8).unwrap();
        files.push(file);
        files
    }

    #[test]
    fn integers_survive_the_way_to_floating_point_and_back() {
        let mut picture = Picture {
            width: 256,
            height: 256,
            colours: Colours::Grey,
            alpha: false,
            depth: Depth::Sixteen,
            samples: of_sixteen(&(0..=u16::MAX).collect::<Vec<_>>()),
            profile: None,
        };
        assert_eq!(picture.to_sixteen(), (0..=u16::MAX).collect::<Vec<_>>());
        picture.samples = of_eight(&(0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!(picture.to_eight(), (0..=u8::MAX).collect::<Vec<_>>());
        picture.samples = vec![-0.1, 1.1, f32::NAN, f32::INFINITY];
        assert_eq!(picture.to_eight(), [0, 255, 0, 255]);
    }

    #[test]
    fn layouts_and_depths_are_kept() {
        let found: Vec<String> = samples().iter().map(|file| Picture::decode(file).unwrap().to_string()).collect();
        let expected =
            ["grey, 8", "grey with alpha, 16", "RGB, 8", "RGB with alpha, 16", "RGB, 8", "RGB with alpha, 8"];
        assert_eq!(found, expected.map(|layout| format!("6 × 5, {layout} bits")));
        let picture = Picture::decode(&samples()[3]).unwrap();
        assert_eq!((picture.channels(), picture.colour_channels(), picture.samples.len()), (4, 3, 6 * 5 * 4));
    }

    #[test]
    fn no_damage_makes_the_decoders_panic() {
        for file in samples() {
            for length in 0..file.len() {
                assert!(Picture::decode(&file[..length]).is_err() || length + 12 >= file.len(), "cut at {length}");
            }
            for position in 0..file.len() {
                for change in [0x01, 0x80, 0xFF] {
                    let mut damaged = file.clone();
                    damaged[position] ^= change;
                    // Some damage cannot be seen; only a panic or a wrong count of samples is wrong.
                    if let Ok(picture) = Picture::decode(&damaged) {
                        let pixels = picture.width as usize * picture.height as usize;
                        assert_eq!(picture.samples.len(), pixels * picture.channels());
                    }
                }
            }
        }
    }

    #[test]
    fn a_thumbnail_does_not_end_a_jpeg() {
        let start = [0xFF, 0xD8, 0xFF, 0xE1, 0, 4, 0xFF, 0xD9, 0xFF, 0xFF, 0xDA, 0, 2, 1, 2];
        assert!(!jpeg_is_complete(&start));
        assert!(!jpeg_is_complete(&start[..7]));
        assert!(jpeg_is_complete(&[&start[..], &[0xFF, 0xD9]].concat()));
    }
}
