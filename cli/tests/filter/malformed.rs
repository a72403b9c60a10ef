//! Everything that a user can get wrong: each gives an error that says what and how much, and leaves no file behind.
//! None of it needs a GPU.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::ExtendedColorType::{La8, Rgb8, Rgb16, Rgba8};

use super::files::{animated_webp, jpeg, noise, png, png_header, png_of_chunks, webp, with_png_chunk};
use super::{filter, stderr};

fn make_files(folder: &Path) {
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let rgb = noise(8 * 8 * 3, 1);
    let good = png(8, 8, Rgb8, &rgb);
    put("good.png", &good);
    put("deep.png", &png(8, 8, Rgb16, &noise(8 * 8 * 6, 2)));
    put("alpha.png", &png(8, 8, Rgba8, &noise(8 * 8 * 4, 3)));
    put("grey-alpha.png", &png(8, 8, La8, &noise(8 * 8 * 2, 3)));
    put("small.png", &png(2, 3, Rgb8, &rgb[..18]));
    put("wide.png", &png(70_000, 1, Rgb8, &vec![7; 210_000]));
    put("empty.png", b"");
    put("one-byte.png", b"\x89");
    put("text.png", b"this is not an image");
    put("gif.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;");
    put("zeros.png", &[0; 4096]);
    put("signature.png", &good[..8]);
    put("header.png", &good[..20]);
    put("truncated.png", &good[..good.len() / 2]);
    put("no-data.png", &png_of_chunks(&[(b"IHDR", &png_header(8, 8)), (b"IEND", b"")]));
    put("no-width.png", &png_of_chunks(&[(b"IHDR", &png_header(0, 8)), (b"IDAT", b""), (b"IEND", b"")]));
    put("no-height.png", &png_of_chunks(&[(b"IHDR", &png_header(8, 0)), (b"IDAT", b""), (b"IEND", b"")]));
    put("huge.png", &png_of_chunks(&[(b"IHDR", &png_header(100_000, 90_000)), (b"IDAT", b"x"), (b"IEND", b"")]));
    put("huger.png", &png_of_chunks(&[(b"IHDR", &png_header(1 << 30, 1 << 30)), (b"IDAT", b"x"), (b"IEND", b"")]));
    let mut damaged = good.clone();
    damaged[17] ^= 1;
    put("checksum.png", &damaged);
    put("rubbish.png", &png_of_chunks(&[(b"IHDR", &png_header(8, 8)), (b"IDAT", b"rubbish"), (b"IEND", b"")]));
    let mut depth = png_header(8, 8);
    depth[8] = 3;
    put("depth.png", &png_of_chunks(&[(b"IHDR", &depth), (b"IDAT", b"x"), (b"IEND", b"")]));
    put("animated.png", &with_png_chunk(&good, b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]));
    let photo = jpeg(8, 8, Rgb8, &rgb);
    put("truncated.jpg", &photo[..photo.len() - 20]);
    put("header.jpg", &photo[..100]);
    put("signature.jpg", &photo[..3]);
    let frame = photo.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let sized = |height: [u8; 2], width: [u8; 2]| [&photo[..frame + 5], &height, &width, &photo[frame + 9..]].concat();
    put("huge.jpg", &sized([0xFF, 0xFF], [0xFF, 0xFE]));
    put("no-width.jpg", &sized([0, 8], [0, 0]));
    let still = webp(8, 8, Rgb8, &rgb);
    put("truncated.webp", &still[..still.len() / 2]);
    put("signature.webp", &still[..12]);
    put("animated.webp", &animated_webp(&still));
    put("not-a-folder", b"a file");
    fs::create_dir(folder.join("folder.png")).unwrap();
    put("read-only.png", b"somebody's");
    let mut permissions = fs::metadata(folder.join("read-only.png")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(folder.join("read-only.png"), permissions).unwrap();
    put("ragged.txt", b"# a comment\n1 2 3\n4 5\n");
    put("word.txt", b"1 2\n3 four\n");
    put("empty.txt", b"");
    put("comments.txt", b"# 1 2 3\n\n   # 4\n");
    put("missing.txt", b"1,2\n3,,4\n");
    put("infinite.txt", b"1 inf\n");
    put("binary.txt", b"1 2\n\xFF\xFE\n");
    put("long.txt", &b"x".repeat(1 << 16));
    put("wide.txt", &b"1 ".repeat(5000));
    put("tall.txt", &b"1\n".repeat(5000));
    put("big.txt", &b"1 2 3 4 5 6 7 8\n".repeat((16 << 20) / 16 + 1));
}

/// Arguments separated by spaces (`_` stands for a space within one), exit status, and what the message must say.
type Case = (&'static str, i32, &'static [&'static str]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // The command line.
    ("", 2, &["required"]),
    ("good.png", 2, &["<OUT>"]),
    ("good.png out.png", 2, &["--kernel", "--matrix"]),
    ("good.png out.png --kernel", 2, &["--kernel"]),
    ("good.png out.png --kernel sharpen --matrix 1", 2, &["cannot be used with"]),
    ("good.png out.png --matrix 1 --matrix-file ragged.txt", 2, &["cannot be used with"]),
    ("good.png out.png --kernel sharpen --border mirror", 2, &["mirror", "reflect", "circular"]),
    ("good.png out.png --kernel sharpen --border", 2, &["--border"]),
    ("good.png out.png --kernel sharpen --compute-kernel fast", 2, &["fast", "direct", "tiled"]),
    ("good.png out.jpg --kernel sharpen --quality 0", 2, &["0 is not in 1..=100"]),
    ("good.png out.jpg --kernel sharpen --quality 101", 2, &["101 is not in 1..=100"]),
    ("good.png out.jpg --kernel sharpen --quality high", 2, &["high"]),
    ("good.png out.png --kernel sharpen --divisor x", 2, &["'x'", "--divisor"]),
    ("good.png out.png --kernel sharpen --offset x", 2, &["'x'", "--offset"]),
    ("good.png out.png --kernel sharpen --blur", 2, &["--blur"]),
    ("good.png out.png third.png --kernel sharpen", 2, &["third.png"]),
    ("good.png out.png --kernel sharpen --variant no-such", 2, &["\"no-such\"", "known are"]),
    ("good.png out.png --kernel sharpen --compute-kernel direct --variant no-such", 2, &["\"no-such\"", "known are"]),
    // Filters by name.
    ("good.png out.png --kernel blur", 1, &["\"blur\"", "known are", "gaussian:SIGMA"]),
    ("good.png out.png --kernel Sharpen", 1, &["\"Sharpen\"", "known are"]),
    ("good.png out.png --kernel=", 1, &["no filter named \"\""]),
    ("good.png out.png --kernel gaussian", 1, &["sigma is missing", "gaussian:2"]),
    ("good.png out.png --kernel gaussian:", 1, &["\"\"", "not a number"]),
    ("good.png out.png --kernel gaussian:0", 1, &["sigma is 0", "above 0"]),
    ("good.png out.png --kernel gaussian:-2", 1, &["sigma is -2", "above 0"]),
    ("good.png out.png --kernel gaussian:nan", 1, &["sigma is NaN"]),
    ("good.png out.png --kernel gaussian:inf", 1, &["sigma is inf", "at most 682"]),
    ("good.png out.png --kernel gaussian:1e9", 1, &["sigma is 1000000000", "at most 682"]),
    ("good.png out.png --kernel gaussian:two", 1, &["\"two\"", "not a number"]),
    ("good.png out.png --kernel gaussian:1,2", 1, &["\"1,2\"", "not a number"]),
    ("good.png out.png --kernel box", 1, &["size is missing", "box:5"]),
    ("good.png out.png --kernel box:0", 1, &["size is 0", "from 1 to 4096"]),
    ("good.png out.png --kernel box:-3", 1, &["size is -3", "from 1 to 4096"]),
    ("good.png out.png --kernel box:2.5", 1, &["\"2.5\"", "whole number"]),
    ("good.png out.png --kernel box:5000", 1, &["size is 5000", "from 1 to 4096"]),
    ("good.png out.png --kernel box:99999999999999999999", 1, &["whole number from 1 to 4096"]),
    ("good.png out.png --kernel unsharp:0", 1, &["sigma is 0"]),
    ("good.png out.png --kernel unsharp:1,-1", 1, &["the amount is -1", "above 0"]),
    ("good.png out.png --kernel unsharp:1,nan", 1, &["the amount is NaN"]),
    ("good.png out.png --kernel unsharp:1,2000", 1, &["the amount is 2000", "at most 1000"]),
    ("good.png out.png --kernel unsharp:1,2,3", 1, &["3 numbers"]),
    ("good.png out.png --kernel edge:3", 1, &["takes no numbers", "\"3\""]),
    ("good.png out.png --kernel edge --offset 0.5", 1, &["--offset is 0.5", "edge"]),
    // Matrices.
    ("good.png out.png --matrix=", 1, &["--matrix", "empty"]),
    ("good.png out.png --matrix _", 1, &["--matrix", "empty"]),
    ("good.png out.png --matrix ;", 1, &["row 1 is empty"]),
    ("good.png out.png --matrix 1,2;3", 1, &["row 2 has 1 number", "row 1 has 2 numbers"]),
    ("good.png out.png --matrix 1,2;3,4;", 1, &["row 3 is empty"]),
    ("good.png out.png --matrix 1,,2", 1, &["row 1, column 2", "missing"]),
    ("good.png out.png --matrix 1,2;a,3", 1, &["row 2, column 1", "\"a\""]),
    ("good.png out.png --matrix 1,nan", 1, &["row 1, column 2", "\"nan\"", "finite"]),
    ("good.png out.png --matrix -inf", 1, &["row 1, column 1", "\"-inf\"", "finite"]),
    ("good.png out.png --matrix 1e300", 1, &["1e300", "1e30"]),
    ("good.png out.png --matrix 1 --divisor 0", 1, &["--divisor is 0"]),
    ("good.png out.png --matrix 1 --divisor nan", 1, &["--divisor is NaN"]),
    ("good.png out.png --matrix 1 --divisor 1e-40", 1, &["1e40", "1e30"]),
    ("good.png out.png --matrix 1 --offset inf", 1, &["--offset is inf"]),
    ("good.png out.png --matrix-file none.txt", 1, &["matrix file none.txt"]),
    ("good.png out.png --matrix-file folder.png", 1, &["folder.png", "folder"]),
    ("good.png out.png --matrix-file ragged.txt", 1, &["ragged.txt", "line 3 has 2 numbers", "line 2 has 3 numbers"]),
    ("good.png out.png --matrix-file word.txt", 1, &["word.txt", "line 2, column 2", "\"four\""]),
    ("good.png out.png --matrix-file empty.txt", 1, &["empty.txt", "no number"]),
    ("good.png out.png --matrix-file comments.txt", 1, &["comments.txt", "no number"]),
    ("good.png out.png --matrix-file missing.txt", 1, &["line 2, column 2", "missing"]),
    ("good.png out.png --matrix-file infinite.txt", 1, &["line 1, column 2", "\"inf\"", "finite"]),
    ("good.png out.png --matrix-file binary.txt", 1, &["binary.txt", "byte 5 is not UTF-8"]),
    ("good.png out.png --matrix-file long.txt", 1, &["line 1, column 1", "65536 characters"]),
    ("good.png out.png --matrix-file wide.txt", 1, &["line 1 has 5000 columns", "at most 4096"]),
    ("good.png out.png --matrix-file tall.txt", 1, &["line 4097", "more than 4096 rows"]),
    ("good.png out.png --matrix-file big.txt", 1, &["big.txt", "more than 16777216 bytes"]),
    ("good.png out.png --matrix-file good.png", 1, &["good.png", "byte 1 is not UTF-8"]),
    // Files to read.
    ("none.png out.png --kernel sharpen", 1, &["cannot read none.png"]),
    ("folder.png out.png --kernel sharpen", 1, &["cannot read folder.png", "folder"]),
    ("empty.png out.png --kernel sharpen", 1, &["cannot read empty.png", "the file is empty"]),
    ("one-byte.png out.png --kernel sharpen", 1, &["no PNG, JPEG or WebP", "[89]"]),
    ("text.png out.png --kernel sharpen", 1, &["no PNG, JPEG or WebP", "[74, 68, 69, 73"]),
    ("zeros.png out.png --kernel sharpen", 1, &["no PNG, JPEG or WebP", "[00, 00"]),
    ("gif.png out.png --kernel sharpen", 1, &["this is a Gif file", "only PNG, JPEG and WebP"]),
    ("signature.png out.png --kernel sharpen", 1, &["signature.png", "PNG data cannot be decoded"]),
    ("header.png out.png --kernel sharpen", 1, &["header.png", "PNG data cannot be decoded"]),
    ("truncated.png out.png --kernel sharpen", 1, &["truncated.png", "PNG data cannot be decoded"]),
    ("no-data.png out.png --kernel sharpen", 1, &["no-data.png", "PNG data cannot be decoded"]),
    ("no-width.png out.png --kernel sharpen", 1, &["no-width.png", "PNG data cannot be decoded"]),
    ("no-height.png out.png --kernel sharpen", 1, &["no-height.png", "PNG data cannot be decoded"]),
    ("huge.png out.png --kernel sharpen", 1, &["100000 × 90000 = 9000000000 pixels", "at most 134217728"]),
    ("huger.png out.png --kernel sharpen", 1, &["huger.png", "PNG"]),
    ("checksum.png out.png --kernel sharpen", 1, &["checksum.png", "PNG data cannot be decoded", "CRC"]),
    ("rubbish.png out.png --kernel sharpen", 1, &["rubbish.png", "PNG data cannot be decoded"]),
    ("depth.png out.png --kernel sharpen", 1, &["depth.png", "PNG data cannot be decoded"]),
    ("animated.png out.png --kernel sharpen", 1, &["animated.png", "still images"]),
    ("signature.jpg out.png --kernel sharpen", 1, &["signature.jpg", "JPEG data cannot be decoded"]),
    ("header.jpg out.png --kernel sharpen", 1, &["header.jpg", "JPEG data cannot be decoded"]),
    ("truncated.jpg out.png --kernel sharpen", 1, &["truncated.jpg", "truncated", "bytes"]),
    ("huge.jpg out.png --kernel sharpen", 1, &["65534 × 65535", "at most 134217728"]),
    ("no-width.jpg out.png --kernel sharpen", 1, &["no-width.jpg"]),
    ("signature.webp out.png --kernel sharpen", 1, &["signature.webp", "WebP data cannot be decoded"]),
    ("truncated.webp out.png --kernel sharpen", 1, &["truncated.webp", "WebP data cannot be decoded"]),
    ("animated.webp out.png --kernel sharpen", 1, &["animated.webp", "still images"]),
    ("small.png out.png --kernel gaussian:2", 1, &["1 × 13 weights", "there are 2", "--border replicate"]),
    ("small.png out.png --kernel box:10", 1, &["1 × 10 weights", "there are 2"]),
    ("small.png out.png --kernel box:13 --border circular", 1, &["circular", "there are 2"]),
    // Files to write.
    ("good.png out --kernel sharpen", 1, &["cannot write out", "no extension", ".png"]),
    ("good.png out.gif --kernel sharpen", 1, &["cannot write out.gif", "\"gif\"", ".png"]),
    ("good.png .png --kernel sharpen", 1, &["no extension"]),
    ("good.png none/out.png --kernel sharpen", 1, &["none/out.png", "there is no folder none"]),
    ("good.png not-a-folder/out.png --kernel sharpen", 1, &["not-a-folder"]),
    ("good.png folder.png --kernel sharpen", 1, &["cannot write folder.png", "not a file"]),
    ("good.png read-only.png --kernel sharpen", 1, &["cannot write read-only.png", "read-only"]),
    ("alpha.png out.jpg --kernel sharpen", 1, &["JPEG has no alpha", "PNG or WebP"]),
    ("grey-alpha.png out.jpeg --kernel sharpen", 1, &["JPEG has no alpha"]),
    ("wide.png out.jpg --matrix 1", 1, &["65535 × 65535", "70000 × 1"]),
    ("wide.png out.webp --matrix 1", 1, &["16384 × 16384", "70000 × 1"]),
    ("good.png out.png --kernel sharpen --quality 90", 1, &["--quality is 90", "PNG"]),
];

#[test]
fn every_mistake_is_named_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    let before = listing(folder.path());
    let mut wrong = Vec::new();
    for (line, status, fragments) in CASES {
        let arguments: Vec<String> =
            line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('_', " ")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Whoever gets as far as looking for a GPU finds none.
        let output = filter(folder.path(), &arguments).env("WGPU_ADAPTER_NAME", "no such adapter").output().unwrap();
        let message = stderr(&output);
        let complaint = if output.status.code() != Some(*status) {
            format!("exit status {:?}, not {status}", output.status.code())
        } else if let Some(fragment) = fragments.iter().find(|fragment| !message.contains(**fragment)) {
            format!("{fragment:?} is not in the message")
        } else if !output.stdout.is_empty() {
            "there is standard output".into()
        } else if message.contains("panicked") || message.len() > 2000 {
            "that is no message for a user".into()
        } else if listing(folder.path()) != before {
            "files have changed".into()
        } else {
            continue;
        };
        wrong.push(format!("filter {line}\n    {complaint}\n    {}", message.trim().replace('\n', "\n    ")));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    assert!(CASES.len() >= 100);
}

#[test]
fn without_an_adapter_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    make_files(folder.path());
    let before = listing(folder.path());
    for output in ["out.png", "good.png"] {
        let arguments = ["good.png", output, "--kernel", "sharpen"];
        let output = filter(folder.path(), &arguments).env("WGPU_ADAPTER_NAME", "no such adapter").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("no such adapter"), "{}", stderr(&output));
        assert_eq!(listing(folder.path()), before);
    }
}

/// Names and contents of all files of a folder.
fn listing(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entry = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).ok());
    fs::read_dir(folder).unwrap().map(|found| entry(found.unwrap())).collect()
}
