//! Image files made for the tests: good ones, and bytes for broken ones.

use std::path::Path;

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// A PNG of the given pixels.
pub fn png(width: u32, height: u32, colour: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, colour).unwrap();
    bytes
}

pub fn jpeg(width: u32, height: u32, colour: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).write_image(pixels, width, height, colour).unwrap();
    bytes
}

pub fn webp(width: u32, height: u32, colour: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    WebPEncoder::new_lossless(&mut bytes).write_image(pixels, width, height, colour).unwrap();
    bytes
}

/// Bytes without a visible pattern, the same for the same seed.
pub fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A PNG from its chunks, each with a right checksum.
pub fn png_of_chunks(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let body = [&kind[..], data].concat();
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(&body);
        file.extend(crc32(&body).to_be_bytes());
    }
    file
}

/// The header of an 8-bit RGB PNG.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// The same PNG with one more chunk after its header.
pub fn with_png_chunk(file: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let chunk = png_of_chunks(&[(kind, data)]);
    let header_end = 8 + 8 + 13 + 4;
    [&file[..header_end], &chunk[8..], &file[header_end..]].concat()
}

/// The same JPEG with EXIF data that hold nothing but an orientation.
pub fn with_orientation(file: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
    let body = [b"Exif\0\0", &tiff[..]].concat();
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xFF, 0xE1], &length, &body, &file[2..]].concat()
}

/// An animated WebP of one frame, made of a still one of 8 × 8 pixels.
pub fn animated_webp(still: &[u8]) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| [&kind[..], &(data.len() as u32).to_le_bytes(), data].concat();
    let still = &still[12..];
    let frame = [&[0; 6][..], &[7, 0, 0, 7, 0, 0], &[100, 0, 0, 0], still].concat();
    let body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &[0x02, 0, 0, 0, 7, 0, 0, 7, 0, 0]),
        chunk(b"ANIM", &[0; 6]),
        chunk(b"ANMF", &frame),
    ]
    .concat();
    chunk(b"RIFF", &body)
}

/// Pixels of a file as 16-bit numbers, whatever its depth.
pub fn pixels(path: &Path) -> Vec<u16> {
    match image::open(path).unwrap() {
        image::DynamicImage::ImageLuma8(image) => widen(image.as_raw()),
        image::DynamicImage::ImageLumaA8(image) => widen(image.as_raw()),
        image::DynamicImage::ImageRgb8(image) => widen(image.as_raw()),
        image::DynamicImage::ImageRgba8(image) => widen(image.as_raw()),
        image::DynamicImage::ImageLuma16(image) => image.into_raw(),
        image::DynamicImage::ImageLumaA16(image) => image.into_raw(),
        image::DynamicImage::ImageRgb16(image) => image.into_raw(),
        image::DynamicImage::ImageRgba16(image) => image.into_raw(),
        other => panic!("{:?}", other.color()),
    }
}

fn widen(bytes: &[u8]) -> Vec<u16> {
    bytes.iter().map(|&byte| u16::from(byte)).collect()
}
