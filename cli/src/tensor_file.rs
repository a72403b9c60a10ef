//! Tensors in files: .npy, and .safetensors with a tensor's name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use wgpu_conv::DType;

use crate::{npy, output};

/// A tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its sizes, slowest axis first.
    pub shape: Vec<u64>,
    /// What it consists of in its file.
    pub dtype: DType,
    /// As many numbers as the product of the sizes, each of which its type can hold.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Makes it one of another type, each number rounded to the nearest.
    pub fn convert(&mut self, dtype: DType) {
        if dtype != self.dtype {
            self.data.iter_mut().for_each(|number| *number = dtype.round(*number));
            self.dtype = dtype;
        }
    }
}

/// A tensor of whole numbers, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its sizes, slowest axis first.
    pub shape: Vec<u64>,
    /// As many numbers as the product of the sizes.
    pub data: Vec<i32>,
}

/// The whole numbers in these bytes, little-endian; none if they are of another type.
pub fn whole_numbers(dtype: DType, bytes: &[u8]) -> Option<Vec<i32>> {
    match dtype {
        DType::I32 => Some(bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect()),
        // Exact: they have 8 bits.
        DType::I8 | DType::U8 => Some(dtype.decode(bytes).into_iter().map(|number| number as i32).collect()),
        _ => None,
    }
}

/// Where a tensor is: `FILE.npy`, `FILE.safetensors` or `FILE.safetensors:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPath {
    /// The file.
    pub file: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    Npy,
    /// With the tensor's name, where one is given.
    Safetensors(Option<String>),
}

const SAFETENSORS: &str = ".safetensors";
/// Name of the tensor in a new .safetensors file, where none is given.
const DEFAULT_NAME: &str = "output";

impl FromStr for TensorPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends_with = |end: &str| text.len() > end.len() && text.ends_with(end);
        let (file, format) = if ends_with(".npy") {
            (text, Format::Npy)
        } else if ends_with(SAFETENSORS) {
            (text, Format::Safetensors(None))
        } else if let Some(at) = text.find(".safetensors:").filter(|&at| at > 0) {
            let (file, name) = text.split_at(at + SAFETENSORS.len());
            if name.len() == 1 {
                return Err(format!("{text:?} has no tensor name after the colon"));
            }
            (file, Format::Safetensors(Some(name[1..].to_owned())))
        } else {
            return Err(format!(
                "{text:?} names no tensor file; it must end in .npy, .safetensors or .safetensors:NAME"
            ));
        };
        Ok(Self { file: file.into(), format })
    }
}

impl fmt::Display for TensorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match &self.format {
            Format::Safetensors(Some(name)) => write!(f, ":{name}"),
            _ => Ok(()),
        }
    }
}

impl TensorPath {
    /// Reads the tensor; `flag` names it in errors.
    pub fn read(&self, flag: &str) -> Result<Tensor> {
        self.read_unnamed().with_context(|| format!("{flag} {self}"))
    }

    fn read_unnamed(&self) -> Result<Tensor> {
        let bytes = std::fs::read(&self.file).context("the file cannot be read")?;
        match &self.format {
            Format::Npy => npy::read(&bytes),
            Format::Safetensors(name) => read_safetensors(&bytes, name.as_deref()),
        }
    }

    /// Reads a tensor of whole numbers; `flag` names it in errors.
    pub fn read_whole(&self, flag: &str) -> Result<Whole> {
        self.read_whole_unnamed().with_context(|| format!("{flag} {self}"))
    }

    fn read_whole_unnamed(&self) -> Result<Whole> {
        let bytes = std::fs::read(&self.file).context("the file cannot be read")?;
        match &self.format {
            Format::Npy => npy::read_whole(&bytes),
            Format::Safetensors(name) => {
                let raw = Raw::read(&bytes, name.as_deref())?;
                let dtype = known_type(raw.dtype).filter(|dtype| !dtype.is_float());
                let data = dtype.and_then(|dtype| whole_numbers(dtype, &raw.bytes));
                let data = data.with_context(|| {
                    format!("the dtype of tensor {:?} is {:?}; required is I32, I8 or U8", raw.name, raw.dtype)
                })?;
                Ok(Whole { shape: raw.shape, data })
            }
        }
    }

    /// Writes the tensor as a new file, or in place of an old one; never a part of it.
    pub fn write(&self, tensor: &Tensor) -> Result<()> {
        let bytes = match &self.format {
            Format::Npy => npy::write(tensor)?,
            Format::Safetensors(name) => write_safetensors(tensor, name.as_deref().unwrap_or(DEFAULT_NAME))?,
        };
        output::write_file(&self.file, &bytes)
    }

    /// The same with a tensor of 32-bit integers.
    pub fn write_whole(&self, tensor: &Whole) -> Result<()> {
        let bytes = match &self.format {
            Format::Npy => npy::write_whole(tensor)?,
            Format::Safetensors(name) => {
                let bytes: Vec<u8> = tensor.data.iter().flat_map(|number| number.to_le_bytes()).collect();
                safetensors_of(Dtype::I32, &tensor.shape, &bytes, name.as_deref().unwrap_or(DEFAULT_NAME))?
            }
        };
        output::write_file(&self.file, &bytes)
    }
}

pub(crate) fn read_safetensors(bytes: &[u8], name: Option<&str>) -> Result<Tensor> {
    let raw = Raw::read(bytes, name)?;
    let dtype = known_type(raw.dtype).filter(|&dtype| dtype != DType::I32).with_context(|| {
        format!(
            "the dtype of tensor {:?} is {:?}; required is F32, F16, I8 or U8: convert it with tensor.float() in PyTorch",
            raw.name, raw.dtype
        )
    })?;
    Ok(Tensor { shape: raw.shape, dtype, data: dtype.decode(&raw.bytes) })
}

/// The library's type for a file's.
fn known_type(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::I8 => Some(DType::I8),
        Dtype::U8 => Some(DType::U8),
        Dtype::I32 => Some(DType::I32),
        _ => None,
    }
}

/// A tensor as it lies in a .safetensors file.
struct Raw {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

impl Raw {
    fn read(bytes: &[u8], name: Option<&str>) -> Result<Self> {
        check_offsets(bytes)?;
        let file = SafeTensors::deserialize(bytes)
            .with_context(|| format!("this is no valid .safetensors file of {} bytes", bytes.len()))?;
        let mut names = file.names();
        names.sort_unstable();
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        let name = match (name, &names[..]) {
            (Some(name), _) => name,
            (None, [only]) => only,
            (None, _) => {
                bail!(
                    "the file has {} tensors; say which one as FILE.safetensors:NAME (there are: {known})",
                    names.len()
                )
            }
        };
        let view = file
            .tensor(name)
            .ok()
            .with_context(|| format!("there is no tensor {name:?} in the file (there are: {known})"))?;
        let shape = view.shape().iter().map(|&size| size as u64).collect();
        Ok(Self { name: name.into(), dtype: view.dtype(), shape, bytes: view.data().to_vec() })
    }
}

/// Compares the offsets in a .safetensors header with the size of the file. The crate adds them up unchecked, and says
/// less of what is wrong with them; anything else that is malformed is left to it.
fn check_offsets(bytes: &[u8]) -> Result<()> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        bail!("this is no .safetensors file: it has {} bytes, and the length of the header alone takes 8", bytes.len());
    };
    let length = u64::from_le_bytes(*length);
    let Some(header) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
        bail!("the .safetensors header should have {length} bytes; the file has {} after the length", rest.len());
    };
    let data = (rest.len() - header.len()) as u64;
    let header: serde_json::Value = serde_json::from_slice(header)
        .with_context(|| format!("the .safetensors header of {length} bytes is not JSON"))?;
    for (name, entry) in header.as_object().into_iter().flatten() {
        let offsets = entry.get("data_offsets").and_then(|offsets| offsets.as_array());
        for offset in offsets.into_iter().flatten().filter_map(serde_json::Value::as_u64) {
            ensure!(offset <= data, "tensor {name:?} reaches to byte {offset} of the data; the file has {data}");
        }
    }
    Ok(())
}

pub(crate) fn write_safetensors(tensor: &Tensor, name: &str) -> Result<Vec<u8>> {
    let dtype = match tensor.dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::I8 => Dtype::I8,
        DType::U8 => Dtype::U8,
        other => bail!("tensors of type {other} cannot be written so"),
    };
    safetensors_of(dtype, &tensor.shape, &tensor.dtype.encode(&tensor.data), name)
}

fn safetensors_of(dtype: Dtype, shape: &[u64], bytes: &[u8], name: &str) -> Result<Vec<u8>> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.with_context(|| format!("shape {} exceeds this machine's addresses", shape_text(shape)))?;
    let view = TensorView::new(dtype, sizes, bytes)?;
    Ok(safetensors::serialize([(name, view)], None)?)
}

/// The product of the sizes. That of those other than zero must exist too: whoever multiplies one after the other relies on it.
pub(crate) fn element_count(shape: &[u64]) -> Result<u64> {
    let count = shape.iter().filter(|&&size| size > 0).try_fold(1u64, |count, &size| count.checked_mul(size));
    let count = count.with_context(|| {
        format!("the sizes of shape {}, zeros left out, multiply to more than 64 bits can count", shape_text(shape))
    })?;
    Ok(if shape.contains(&0) { 0 } else { count })
}

/// A shape as Python writes a tuple.
pub(crate) fn shape_text<T: fmt::Display>(shape: &[T]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({}{})", sizes.join(", "), if sizes.len() == 1 { "," } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let path = |text: &str| text.parse::<TensorPath>();
        assert_eq!(path("a/x.npy").unwrap().format, Format::Npy);
        assert_eq!(path("x.safetensors").unwrap().format, Format::Safetensors(None));
        let named = path("dir:1/x.safetensors:layer:0.weight").unwrap();
        assert_eq!(named.file, PathBuf::from("dir:1/x.safetensors"));
        assert_eq!(named.format, Format::Safetensors(Some("layer:0.weight".into())));
        assert_eq!(named.to_string(), "dir:1/x.safetensors:layer:0.weight");
        for bad in ["", "x", "x.npz", ".npy", "x.npy:name", "x.safetensors:", ".safetensors:a"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_that_no_number_counts_are_refused_beside_a_zero_too() {
        assert_eq!(element_count(&[]).unwrap(), 1);
        assert_eq!(element_count(&[3, 0, 5]).unwrap(), 0);
        assert_eq!(element_count(&[1 << 32, (1 << 32) - 1]).unwrap(), (1 << 32) * ((1 << 32) - 1));
        for shape in [[1 << 32, 1 << 32, 1], [1 << 32, 1 << 32, 0], [0, 1 << 32, 1 << 32]] {
            let error = element_count(&shape).unwrap_err().to_string();
            assert!(error.contains(&shape_text(&shape)), "{error}");
        }
    }

    #[test]
    fn safetensors_round_trip() {
        let data = vec![0.0, -1.0, 2.5, f32::MIN_POSITIVE, 4.0, -0.0];
        let tensor = Tensor { shape: vec![1, 2, 3], dtype: DType::F32, data };
        let bytes = write_safetensors(&tensor, "a").unwrap();
        assert_eq!(read_safetensors(&bytes, Some("a")).unwrap(), tensor);
        assert_eq!(read_safetensors(&bytes, None).unwrap(), tensor);
        let error = read_safetensors(&bytes, Some("b")).unwrap_err().to_string();
        assert!(error.contains("\"b\"") && error.contains("there are: a"), "{error}");
        for length in 0..bytes.len() {
            assert!(read_safetensors(&bytes[..length], None).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn halves_round_trip_and_are_half_as_large() {
        let mut tensor = Tensor { shape: vec![5], dtype: DType::F32, data: vec![0.1, -1.0, 65504.0, 6e-8, -0.0] };
        let wide = write_safetensors(&tensor, "a").unwrap();
        tensor.convert(DType::F16);
        assert_ne!(tensor.data[0], 0.1);
        let bytes = write_safetensors(&tensor, "a").unwrap();
        assert_eq!(wide.len() - bytes.len(), 10);
        assert_eq!(read_safetensors(&bytes, None).unwrap(), tensor);
    }

    /// Eight tensors of 2^61 - 1 bytes: the crate's own sum of header and data would overflow.
    #[test]
    fn offsets_near_the_end_of_64_bits_are_refused() {
        let size = (1u64 << 61) - 1;
        let entries: Vec<String> = (0..8)
            .map(|i| {
                format!(r#""t{i}":{{"dtype":"I8","shape":[{size}],"data_offsets":[{},{}]}}"#, i * size, (i + 1) * size)
            })
            .collect();
        let header = format!("{{{}}}", entries.join(","));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let error = read_safetensors(&bytes, None).unwrap_err().to_string();
        assert!(error.contains("the file has 0"), "{error}");
    }
}
