//! [`TensorFile`]: safetensors files, of which nothing is believed before it is checked.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use wgpu_conv::DType;

/// A tensor as it lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first; their product is the number of elements.
    pub shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl FileTensor {
    /// The elements, if they are of this type.
    pub fn to_f32(&self, dtype: DType) -> Option<Vec<f32>> {
        let wanted = match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::I8 => Dtype::I8,
            DType::U8 => Dtype::U8,
            _ => return None,
        };
        (self.dtype == wanted).then(|| dtype.decode(&self.bytes))
    }

    /// The elements, if they are whole numbers of up to 32 bits.
    pub fn to_i32(&self) -> Option<Vec<i32>> {
        match self.dtype {
            Dtype::I32 => Some(self.elements(i32::from_le_bytes)),
            Dtype::I8 => Some(self.elements(|byte| i8::from_le_bytes(byte).into())),
            Dtype::U8 => Some(self.elements(|byte| u8::from_le_bytes(byte).into())),
            _ => None,
        }
    }

    /// The elements, if they are floats of 16, 32 or 64 bits.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        match self.dtype {
            Dtype::F64 => Some(self.elements(f64::from_le_bytes)),
            Dtype::F16 => self.to_f32(DType::F16).map(wide),
            _ => self.to_f32(DType::F32).map(wide),
        }
    }

    fn elements<const SIZE: usize, T>(&self, read: fn([u8; SIZE]) -> T) -> Vec<T> {
        self.bytes.as_chunks().0.iter().map(|&chunk| read(chunk)).collect()
    }
}

/// The tensors of one file by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorFile {
    tensors: BTreeMap<String, FileTensor>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file (it does not name the file).
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read(path).map_err(|error| error.to_string())?)
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        check_offsets(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| format!("not a safetensors file: {error}"))?;
        let tensors = file.iter().map(|(name, view)| {
            let tensor = FileTensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            (name.to_string(), tensor)
        });
        Ok(Self { tensors: tensors.collect() })
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&FileTensor> {
        self.tensors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// Checks that every tensor ends within the file. The safetensors crate adds up the ends before it compares them with
/// the length of the file, which overflows (and panics in debug builds) if a header claims enough.
fn check_offsets(bytes: &[u8]) -> Result<(), String> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(format!(
            "not a safetensors file: it has {} bytes, fewer than the 8 of a header length",
            bytes.len()
        ));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| {
        format!("not a safetensors file: the header should have {length} bytes, but only {} follow", rest.len())
    })?;
    let data = rest.len() - header.len();
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|error| format!("not a safetensors file: its header: {error}"))?;
    for (name, tensor) in &header {
        let Some(offsets) = tensor.get("data_offsets").and_then(serde_json::Value::as_array) else {
            // Metadata, or something that the crate will refuse.
            continue;
        };
        for end in offsets {
            if end.as_u64().is_none_or(|end| end > data as u64) {
                return Err(format!("tensor {name:?} ends at byte {end}, but the file has {data} bytes of data"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn tensors_are_read() {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}"#;
        let mut data = Vec::new();
        data.extend([1.5_f32, -2.0].map(f32::to_le_bytes).concat());
        data.extend(0.1_f64.to_le_bytes());
        let file = TensorFile::parse(&file(header, &data)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(file.get("a").unwrap().to_f32(DType::F32).unwrap(), [1.5, -2.0]);
        assert_eq!(file.get("a").unwrap().to_f64().unwrap(), [1.5, -2.0]);
        assert_eq!(file.get("b").unwrap().to_f64().unwrap(), [0.1]);
        assert_eq!(file.get("b").unwrap().to_f32(DType::F32), None);
        assert!(file.get("c").is_none());
    }

    #[test]
    fn headers_that_claim_more_than_memory_are_errors() {
        let size = (1_u64 << 61) - 1;
        let tensors: Vec<String> = (0..8_u64)
            .map(|i| {
                let (start, end) = (i * size, (i + 1) * size);
                format!(r#""t{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
            })
            .collect();
        let error = TensorFile::parse(&file(&format!("{{{}}}", tensors.join(",")), b"")).unwrap_err();
        assert!(error.contains("0 bytes of data"), "{error}");
    }
}
