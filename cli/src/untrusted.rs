//! Reading of files that come from anywhere, from memory: what the fuzz targets and the tests of their corpora call. Each
//! returns an error for what cannot be read, and panics only if what was read contradicts itself.

use anyhow::{Result, ensure};

use crate::filter::picture::Picture;
use crate::npy;
use crate::tensor_file::{self, Tensor, Whole};

/// Most pixels of a picture here, and bytes that its decoder may allocate.
const PICTURE: [u64; 2] = [1 << 20, 1 << 26];

/// A NumPy file, as numbers and as whole numbers. What was read is written, and must be read again as the same.
///
/// # Errors
/// What the readers say.
pub fn read_npy(bytes: &[u8]) -> Result<()> {
    let whole = npy::read_whole(bytes);
    if let Ok(whole) = &whole {
        check_whole(whole);
        assert_eq!(&npy::read_whole(&npy::write_whole(whole)?)?, whole);
    }
    let tensor = npy::read(bytes);
    if let Ok(tensor) = &tensor {
        check_tensor(tensor);
        assert_same(&npy::read(&npy::write(tensor)?)?, tensor);
    }
    whole.map(drop).or(tensor.map(drop))
}

/// A .safetensors file: the only tensor, or that with this name.
///
/// # Errors
/// What the reader says.
pub fn read_safetensors(bytes: &[u8], name: Option<&str>) -> Result<()> {
    let tensor = tensor_file::read_safetensors(bytes, name)?;
    check_tensor(&tensor);
    let written = tensor_file::write_safetensors(&tensor, "again")?;
    assert_same(&tensor_file::read_safetensors(&written, None)?, &tensor);
    Ok(())
}

/// An image file.
///
/// # Errors
/// What the decoders say.
pub fn read_picture(bytes: &[u8]) -> Result<()> {
    let [pixels, memory] = PICTURE;
    let picture = Picture::decode_within(bytes, pixels, memory)?;
    let samples = picture.width as usize * picture.height as usize * picture.channels();
    assert_eq!(picture.samples.len(), samples, "{picture}");
    assert!(picture.samples.iter().all(|sample| (0.0..=1.0).contains(sample)), "{picture}");
    ensure!(samples > 0, "no sample");
    Ok(())
}

fn check_tensor(tensor: &Tensor) {
    check_count(&tensor.shape, tensor.data.len());
}

fn check_whole(whole: &Whole) {
    check_count(&whole.shape, whole.data.len());
}

fn check_count(shape: &[u64], count: usize) {
    assert_eq!(tensor_file::element_count(shape).ok(), Some(count as u64), "{shape:?}");
}

/// Equal bit by bit, but for the payloads of NaNs.
fn assert_same(read: &Tensor, written: &Tensor) {
    assert_eq!((&read.shape, read.dtype), (&written.shape, written.dtype));
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    assert!(read.data.iter().zip(&written.data).all(same));
}
