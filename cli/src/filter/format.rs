//! [`Format`]: the image file formats, and what each can hold. [`Target`]: the file to be written.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};

use crate::output;

use super::picture::{Colours, Depth, Picture};

const DEFAULT_QUALITY: u8 = 90;

/// An image file format that is read and written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
        })
    }
}

impl Format {
    /// The format of a file that starts like this.
    pub fn of_content(bytes: &[u8]) -> Result<Self> {
        match image::guess_format(bytes) {
            Ok(ImageFormat::Png) => Ok(Self::Png),
            Ok(ImageFormat::Jpeg) => Ok(Self::Jpeg),
            Ok(ImageFormat::WebP) => Ok(Self::WebP),
            Ok(other) => bail!("this is a {other:?} file; only PNG, JPEG and WebP images can be read"),
            Err(_) if bytes.is_empty() => bail!("the file is empty; it should be a PNG, JPEG or WebP image"),
            Err(_) => {
                let start = &bytes[..bytes.len().min(8)];
                bail!("this is no PNG, JPEG or WebP image: it starts with the bytes {start:02x?}")
            }
        }
    }

    /// The format that a file of this name should have.
    fn of_name(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("png") => Ok(Self::Png),
            Some("jpg" | "jpeg") => Ok(Self::Jpeg),
            Some("webp") => Ok(Self::WebP),
            Some(other) => bail!("the extension {other:?} is not known; known are .png, .jpg, .jpeg and .webp"),
            None => bail!("the name has no extension; known are .png, .jpg, .jpeg and .webp"),
        }
    }

    /// Most pixels along each side.
    fn max_side(self) -> u32 {
        match self {
            Self::Png => i32::MAX as u32,
            Self::Jpeg => 65_535,
            Self::WebP => 16_384,
        }
    }

    fn max_depth(self) -> Depth {
        match self {
            Self::Png => Depth::Sixteen,
            Self::Jpeg | Self::WebP => Depth::Eight,
        }
    }
}

/// Where a picture goes: everything that can be known to fail is found when it is made.
#[derive(Debug)]
pub struct Target {
    /// As the user wrote it.
    name: PathBuf,
    /// Behind links: replacing a link itself would surprise.
    path: PathBuf,
    format: Format,
    quality: u8,
    /// Of the file that is replaced.
    permissions: Option<std::fs::Permissions>,
}

impl Target {
    /// Checks the name and the folder.
    pub fn new(name: &Path, quality: Option<u8>) -> Result<Self> {
        let target = Self::check(name, quality).with_context(|| format!("cannot write {}", name.display()))?;
        output::check_writable(&target.path)?;
        Ok(target)
    }

    fn check(name: &Path, quality: Option<u8>) -> Result<Self> {
        let format = Format::of_name(name)?;
        if let Some(quality) = quality {
            ensure!(
                format == Format::Jpeg,
                "--quality is {quality}, but only JPEG has a quality, and this is {format}"
            );
        }
        let quality = quality.unwrap_or(DEFAULT_QUALITY);
        let path = std::fs::canonicalize(name).unwrap_or_else(|_| name.to_path_buf());
        let permissions = match std::fs::metadata(&path) {
            Ok(existing) => {
                ensure!(existing.is_file(), "there is something of this name that is not a file");
                ensure!(!existing.permissions().readonly(), "the file is read-only");
                Some(existing.permissions())
            }
            Err(_) => None,
        };
        Ok(Self { name: name.to_path_buf(), path, format, quality, permissions })
    }

    /// Checks that the format can hold such a picture. Returns what it cannot hold but is done without.
    pub fn check_picture(&self, picture: &Picture) -> Result<Vec<String>> {
        let (format, most) = (self.format, self.format.max_side());
        let refused = |reason: String| anyhow::anyhow!("cannot write {}: {reason}", self.name.display());
        if format == Format::Jpeg && picture.alpha {
            return Err(refused("JPEG has no alpha channel, and the image has one; write PNG or WebP".into()));
        }
        if picture.width > most || picture.height > most {
            let (width, height) = (picture.width, picture.height);
            return Err(refused(format!(
                "{format} holds at most {most} × {most} pixels; the image has {width} × {height}"
            )));
        }
        let mut losses = Vec::new();
        if self.depth(picture) != picture.depth {
            losses.push(format!("{format} holds 8 bits a channel: the image's 16 are rounded"));
        }
        if picture.profile.is_some() && self.profile(picture).is_none() {
            losses.push("the image's colour profile does not describe the pixels as written and is left out".into());
        }
        Ok(losses)
    }

    fn depth(&self, picture: &Picture) -> Depth {
        if self.format.max_depth() == Depth::Eight { Depth::Eight } else { picture.depth }
    }

    /// The profile, if it is one for pixels as they are written: the colour space stands at byte 16 of a profile.
    /// Decoding turns CMYK into RGB, and WebP stores grey as RGB.
    fn profile(&self, picture: &Picture) -> Option<Vec<u8>> {
        let space = match picture.colours {
            Colours::Grey if self.format != Format::WebP => b"GRAY",
            _ => b"RGB ",
        };
        picture.profile.clone().filter(|profile| profile.get(16..20) == Some(space))
    }

    /// Writes the picture. The file appears whole under its name, or not at all.
    pub fn write(&self, picture: &Picture) -> Result<()> {
        let bytes = self.encode(picture).with_context(|| format!("cannot write {}", self.name.display()))?;
        output::write_file(&self.path, &bytes)?;
        if let Some(permissions) = &self.permissions {
            std::fs::set_permissions(&self.path, permissions.clone())
                .with_context(|| format!("cannot give {} its old permissions", self.name.display()))?;
        }
        Ok(())
    }

    fn encode(&self, picture: &Picture) -> Result<Vec<u8>> {
        use ExtendedColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
        let depth = self.depth(picture);
        let colour = match (picture.colours, picture.alpha, depth) {
            (Colours::Grey, false, Depth::Eight) => L8,
            (Colours::Grey, true, Depth::Eight) => La8,
            (Colours::Rgb, false, Depth::Eight) => Rgb8,
            (Colours::Rgb, true, Depth::Eight) => Rgba8,
            (Colours::Grey, false, Depth::Sixteen) => L16,
            (Colours::Grey, true, Depth::Sixteen) => La16,
            (Colours::Rgb, false, Depth::Sixteen) => Rgb16,
            (Colours::Rgb, true, Depth::Sixteen) => Rgba16,
        };
        let pixels = match depth {
            Depth::Eight => picture.to_eight(),
            Depth::Sixteen => bytemuck::cast_slice(&picture.to_sixteen()).to_vec(),
        };
        let profile = self.profile(picture);
        let size = (picture.width, picture.height);
        let mut bytes = Vec::new();
        match self.format {
            Format::Png => encode_with(PngEncoder::new(&mut bytes), &pixels, size, colour, profile)?,
            Format::WebP => encode_with(WebPEncoder::new_lossless(&mut bytes), &pixels, size, colour, profile)?,
            Format::Jpeg => {
                let encoder = JpegEncoder::new_with_quality(&mut bytes, self.quality);
                encode_with(encoder, &pixels, size, colour, profile)?;
            }
        }
        Ok(bytes)
    }
}

fn encode_with(
    mut encoder: impl ImageEncoder,
    pixels: &[u8],
    (width, height): (u32, u32),
    colour: ExtendedColorType,
    profile: Option<Vec<u8>>,
) -> Result<()> {
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile)?;
    }
    Ok(encoder.write_image(pixels, width, height, colour)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(colours: Colours, alpha: bool, depth: Depth) -> Picture {
        let mut picture = Picture { width: 5, height: 4, colours, alpha, depth, samples: Vec::new(), profile: None };
        let count = 5 * 4 * picture.channels();
        picture.samples = (0..count).map(|index| (index * 53 % 256) as f32 / 255.0).collect();
        picture
    }

    #[test]
    fn every_layout_is_written_as_it_is_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.webp", "a.jpg"] {
            let path = folder.path().join(name);
            let target = Target::new(&path, None).unwrap();
            for colours in [Colours::Grey, Colours::Rgb] {
                for alpha in [false, true] {
                    for depth in [Depth::Eight, Depth::Sixteen] {
                        let picture = picture(colours, alpha, depth);
                        let checked = target.check_picture(&picture);
                        if name == "a.jpg" && alpha {
                            assert!(checked.unwrap_err().to_string().contains("JPEG has no alpha"));
                            continue;
                        }
                        let rounded = name != "a.png" && depth == Depth::Sixteen;
                        assert_eq!(checked.unwrap().len(), usize::from(rounded), "{name} {picture}");
                        target.write(&picture).unwrap();
                        let back = Picture::read(&path).unwrap();
                        assert_eq!((back.width, back.height, back.alpha), (5, 4, alpha));
                        assert_eq!(back.depth, if rounded { Depth::Eight } else { depth });
                        // WebP stores grey as RGB.
                        if name == "a.png" || (name == "a.webp" && colours == Colours::Rgb) {
                            assert_eq!(back.to_eight(), picture.to_eight(), "{name} {picture}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn profiles_are_written_only_for_pixels_that_they_describe() {
        let profile = |space: &[u8; 4]| [&[0; 16][..], space, &[0; 20]].concat();
        for (name, colours, space, kept) in [
            ("a.png", Colours::Rgb, b"RGB ", true),
            ("a.png", Colours::Rgb, b"CMYK", false),
            ("a.png", Colours::Grey, b"GRAY", true),
            ("a.jpg", Colours::Grey, b"RGB ", false),
            ("a.webp", Colours::Grey, b"GRAY", false),
        ] {
            let target = Target::new(Path::new(name), None).unwrap();
            let mut picture = picture(colours, false, Depth::Eight);
            picture.profile = Some(profile(space));
            assert_eq!(target.profile(&picture).is_some(), kept, "{name} {colours:?}");
            assert_eq!(target.check_picture(&picture).unwrap().is_empty(), kept);
            picture.profile = Some(vec![1; 7]);
            assert_eq!(target.profile(&picture), None, "too short to be one");
        }
    }
}
