//! NumPy's .npy format, for arrays of float32, float16, and integers of 8 and 32 bits. Files are written through the crate npyz. They are read here: files come from
//! anywhere, so the reader takes exactly the grammar that NumPy writes, bounds every size before it uses it, and says what
//! it found where it stops.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail, ensure};
use npyz::WriterBuilder as _;

use wgpu_conv::{DType, f16};

use crate::tensor_file::{Tensor, Whole, element_count, shape_text, whole_numbers};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Bytes before the header text, by format version: magic, version, and a length of 2 or 4 bytes.
const PRELUDE: [usize; 2] = [10, 12];

/// Reads a whole file of numbers that float32 can hold, either byte order, C or Fortran order; the result is row-major.
pub fn read(bytes: &[u8]) -> Result<Tensor> {
    let raw = Raw::parse(bytes)?;
    ensure!(
        raw.dtype != DType::I32,
        "the dtype is {:?} (int32); required is float32, float16, int8 or uint8: convert it with x.astype(numpy.float32), \
         or x.float() in PyTorch",
        raw.descr
    );
    let data = raw.row_major(raw.dtype.decode(&raw.bytes));
    Ok(Tensor { shape: raw.shape, dtype: raw.dtype, data })
}

/// Reads a whole file of integers of up to 32 bits, likewise.
pub fn read_whole(bytes: &[u8]) -> Result<Whole> {
    let raw = Raw::parse(bytes)?;
    let values = whole_numbers(raw.dtype, &raw.bytes)
        .with_context(|| format!("the dtype is {:?}; required is int32, int8 or uint8", raw.descr))?;
    let data = raw.row_major(values);
    Ok(Whole { shape: raw.shape, data })
}

/// An array as it lies in a file, but for the order of bytes.
struct Raw<'a> {
    descr: String,
    shape: Vec<u64>,
    dtype: DType,
    fortran_order: bool,
    /// Little-endian.
    bytes: Cow<'a, [u8]>,
}

impl<'a> Raw<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (text, data) = split(bytes)?;
        let header = Header::parse(text).with_context(|| format!("the .npy header {text:?} cannot be read"))?;
        let (dtype, big_endian) = header.check_dtype()?;
        let count = element_count(&header.shape)?;
        let required = count.checked_mul(dtype.size()).filter(|&bytes| bytes == data.len() as u64);
        ensure!(
            required.is_some(),
            "shape {} needs {count} elements of {} bytes; after the header the file has {} bytes",
            shape_text(&header.shape),
            dtype.size(),
            data.len()
        );
        let bytes = if big_endian {
            data.chunks_exact(dtype.size() as usize).flat_map(|element| element.iter().rev().copied()).collect()
        } else {
            data.into()
        };
        let Header { descr, fortran_order, shape } = header;
        Ok(Self { descr, shape, dtype, fortran_order, bytes })
    }

    fn row_major<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        if self.fortran_order { row_major(&self.shape, &values) } else { values }
    }
}

/// The bytes of a row-major little-endian file.
pub fn write(tensor: &Tensor) -> Result<Vec<u8>> {
    let Tensor { shape, dtype, data } = tensor;
    let numbers = data.iter().copied();
    match dtype {
        DType::F32 => write_as("<f4", shape, numbers),
        DType::F16 => write_as("<f2", shape, numbers.map(f16::from_f32)),
        // Each is a number that its type can hold.
        DType::I8 => write_as("|i1", shape, numbers.map(|number| number as i8)),
        DType::U8 => write_as("|u1", shape, numbers.map(|number| number as u8)),
        other => bail!("tensors of type {other} cannot be written so"),
    }
}

/// The bytes of a row-major little-endian file of 32-bit integers.
pub fn write_whole(tensor: &Whole) -> Result<Vec<u8>> {
    write_as("<i4", &tensor.shape, tensor.data.iter().copied())
}

fn write_as<T: npyz::Serialize>(descr: &str, shape: &[u64], elements: impl Iterator<Item = T>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let dtype = npyz::DType::new_scalar(descr.parse().with_context(|| format!("npyz does not know {descr}"))?);
    let mut writer = npyz::WriteOptions::new().dtype(dtype).shape(shape).writer(&mut bytes).begin_nd()?;
    writer.extend(elements)?;
    writer.finish()?;
    Ok(bytes)
}

/// The header's text and the data after it.
fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
    if !bytes.starts_with(MAGIC) {
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        bail!("this is no .npy file: its {} bytes start with {start:02x?}, not with {MAGIC:02x?}", bytes.len());
    }
    let version = bytes.get(6..8).unwrap_or_default();
    let (length_bytes, prelude) = match version {
        [1, 0] => (2, PRELUDE[0]),
        [2 | 3, 0] => (4, PRELUDE[1]),
        [major, minor] => bail!(".npy format version {major}.{minor} is not known; known are 1.0, 2.0 and 3.0"),
        _ => bail!("the file ends within the .npy header: it has {} bytes", bytes.len()),
    };
    let Some(length) = bytes.get(8..8 + length_bytes) else {
        bail!("the file ends within the .npy header: it has {} bytes, the length ends at {prelude}", bytes.len());
    };
    let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    let Some(text) = bytes.get(prelude..prelude + length) else {
        bail!("the .npy header should have {length} bytes; the file ends {} bytes into it", bytes.len() - prelude);
    };
    // NumPy itself refuses longer headers unless told otherwise.
    ensure!(length <= 10_000, "the .npy header has {length} bytes; at most 10000 are read");
    let text = std::str::from_utf8(text).context("the .npy header is not UTF-8 text")?;
    Ok((text, &bytes[prelude + length..]))
}

#[derive(Debug)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }`, keys in any order.
    fn parse(text: &str) -> Result<Self> {
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect('{')?;
        while !cursor.take("}") {
            let key = cursor.string()?;
            cursor.expect(':')?;
            let fresh = match key {
                "descr" => descr.replace(cursor.string()?.to_owned()).is_none(),
                "fortran_order" => fortran_order.replace(cursor.boolean()?).is_none(),
                "shape" => shape.replace(cursor.shape()?).is_none(),
                _ => bail!("the key {key:?} is not known"),
            };
            ensure!(fresh, "the key {key:?} is there twice");
            if !cursor.take(",") {
                cursor.expect('}')?;
                break;
            }
        }
        ensure!(cursor.rest.trim().is_empty(), "there is text after the closing brace: {:?}", cursor.rest.trim());
        Ok(Self {
            descr: descr.context("the key \"descr\" is missing")?,
            fortran_order: fortran_order.context("the key \"fortran_order\" is missing")?,
            shape: shape.context("the key \"shape\" is missing")?,
        })
    }

    /// What the numbers are, and whether they are big-endian; an error unless they are float32 or float16.
    fn check_dtype(&self) -> Result<(DType, bool)> {
        let name = match self.descr.as_str() {
            "<f4" | "=f4" => return Ok((DType::F32, false)),
            ">f4" => return Ok((DType::F32, true)),
            "<f2" | "=f2" => return Ok((DType::F16, false)),
            ">f2" => return Ok((DType::F16, true)),
            "|i1" | "<i1" | "=i1" | ">i1" => return Ok((DType::I8, false)),
            "|u1" | "<u1" | "=u1" | ">u1" => return Ok((DType::U8, false)),
            "<i4" | "=i4" => return Ok((DType::I32, false)),
            ">i4" => return Ok((DType::I32, true)),
            other => match other.trim_start_matches(['<', '>', '=', '|']) {
                "f8" => "float64",
                "i2" => "int16",
                "i8" => "int64",
                "b1" => "bool",
                "c8" => "complex64",
                _ => "another type",
            },
        };
        bail!(
            "the dtype is {:?} ({name}); required is float32, float16, int8 or uint8: convert it with x.astype(numpy.float32), or x.float() in PyTorch",
            self.descr
        )
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn found(&self) -> String {
        match self.rest.chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end of the header".into(),
        }
    }

    fn expect(&mut self, token: char) -> Result<()> {
        if !self.take(token.encode_utf8(&mut [0; 4])) {
            bail!("expected {token:?}, found {}", self.found());
        }
        Ok(())
    }

    /// A string in single or double quotes, without escapes (NumPy writes none for plain types).
    fn string(&mut self) -> Result<&'a str> {
        self.rest = self.rest.trim_start();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            if self.rest.starts_with('[') {
                bail!("the dtype is a structure; required is float32 or float16");
            }
            bail!("expected a quoted string, found {}", self.found());
        };
        let (text, rest) = self.rest[1..].split_once(quote).context("a quoted string has no end")?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool> {
        if self.take("True") {
            Ok(true)
        } else if self.take("False") {
            Ok(false)
        } else {
            bail!("expected True or False for fortran_order, found {}", self.found())
        }
    }

    fn shape(&mut self) -> Result<Vec<u64>> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.take(")") {
            shape.push(self.size()?);
            if !self.take(",") {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn size(&mut self) -> Result<u64> {
        self.rest = self.rest.trim_start();
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        ensure!(digits > 0, "expected a size in the shape, found {}", self.found());
        let size =
            self.rest[..digits].parse().with_context(|| format!("the size {} in the shape", &self.rest[..digits]))?;
        self.rest = &self.rest[digits..];
        // Python 2 wrote long integers with an L.
        self.take("L");
        Ok(size)
    }
}

/// Reorders from Fortran order (first axis fastest) to row-major.
fn row_major<T: Copy>(shape: &[u64], values: &[T]) -> Vec<T> {
    let mut strides = vec![1usize; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1] as usize;
    }
    let mut index = vec![0u64; shape.len()];
    let mut at = 0;
    let mut result = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        result.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as usize;
            index[axis] = 0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tensor {
        Tensor { shape: vec![2, 3, 1, 4], dtype: DType::F32, data: (0..24u8).map(|i| f32::from(i) - 3.5).collect() }
    }

    /// An odd count of 16-bit floats.
    fn half_sample() -> Tensor {
        Tensor { shape: vec![3, 1, 3], dtype: DType::F16, data: (0..9u8).map(|i| f32::from(i) * 0.25 - 1.0).collect() }
    }

    /// Written by another implementation, in an order and a byte order of its choice.
    fn foreign<T: npyz::Serialize>(tensor: &Tensor, order: npyz::Order, dtype: &str, values: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .dtype(npyz::DType::new_scalar(dtype.parse().unwrap()))
            .shape(&tensor.shape)
            .order(order)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn what_is_written_another_implementation_reads() {
        let tensor = sample();
        let bytes = write(&tensor).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), tensor.shape);
        assert_eq!(file.into_vec::<f32>().unwrap(), tensor.data);
        let tensor = half_sample();
        let bytes = write(&tensor).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        let halves: Vec<f32> = file.into_vec::<f16>().unwrap().into_iter().map(f16::to_f32).collect();
        assert_eq!(halves, tensor.data);
    }

    #[test]
    fn what_another_implementation_writes_is_read() {
        let tensor = sample();
        for dtype in ["<f4", ">f4"] {
            let bytes = foreign(&tensor, npyz::Order::C, dtype, &tensor.data);
            assert_eq!(read(&bytes).unwrap(), tensor, "{dtype}");
        }
        let tensor = half_sample();
        let halves: Vec<f16> = tensor.data.iter().copied().map(f16::from_f32).collect();
        for dtype in ["<f2", ">f2"] {
            let bytes = foreign(&tensor, npyz::Order::C, dtype, &halves);
            assert_eq!(read(&bytes).unwrap(), tensor, "{dtype}");
        }
    }

    #[test]
    fn fortran_order_becomes_row_major() {
        let tensor = Tensor { shape: vec![2, 3], dtype: DType::F32, data: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0] };
        let bytes = foreign(&tensor, npyz::Order::Fortran, "<f4", &[0.0f32, 10.0, 1.0, 11.0, 2.0, 12.0]);
        assert_eq!(read(&bytes).unwrap(), tensor);
        let scalar = Tensor { shape: vec![], dtype: DType::F32, data: vec![7.0] };
        assert_eq!(read(&foreign(&scalar, npyz::Order::Fortran, "<f4", &[7.0f32])).unwrap(), scalar);
    }

    #[test]
    fn round_trips() {
        for shape in [vec![], vec![0], vec![5], vec![1, 2, 3], vec![0, 4_000_000_000, 3]] {
            let count = element_count(&shape).unwrap() as usize;
            for dtype in DType::FLOATS {
                let tensor = Tensor { shape: shape.clone(), dtype, data: vec![1.25; count] };
                assert_eq!(read(&write(&tensor).unwrap()).unwrap(), tensor);
            }
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for (tensor, more) in [(sample(), "97 bytes"), (half_sample(), "19 bytes")] {
            let bytes = write(&tensor).unwrap();
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err(), "{length} bytes");
            }
            let mut long = bytes;
            long.push(0);
            assert!(read(&long).unwrap_err().to_string().contains(more));
        }
    }

    #[test]
    fn every_damaged_byte_is_survived() {
        let bytes = write(&sample()).unwrap();
        for at in 0..128 {
            for value in [0, 1, b'9', b'(', b'\'', 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                // Either outcome is right, a panic is not.
                let _ = read(&damaged);
            }
        }
    }
}
