//! A folder of files, and the program run on them as a process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use wgpu_conv::f16;

/// A temporary folder with good and bad files in it.
pub struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// Writes a float32 .npy file.
    pub fn npy(&self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> &Self {
        self.write(name, npy(shape, values))
    }

    pub fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The program in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-conv"));
        command.current_dir(self.folder.path()).args(args);
        command
    }

    /// Runs the program where it finds no adapter: an error that it reports is one that needs none.
    pub fn run_without_adapter(&self, args: &[&str]) -> Output {
        self.command(args).env("WGPU_ADAPTER_NAME", NO_ADAPTER).output().unwrap()
    }

    /// Runs the program and expects success; its standard output.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {:?}\n{}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// Writes a float16 .npy file.
    pub fn npy_halves(&self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> &Self {
        self.write(name, npy_with_header(&npy_header("<f2", false, shape), &le_halves(values)))
    }

    /// Shape (as Python writes it) and numbers of a float32 .npy file.
    pub fn read_npy(&self, name: &str) -> (String, Vec<f32>) {
        let (shape, data) = self.read_npy_of(name, "<f4");
        (shape, f32s(&data))
    }

    /// Shape and numbers of a float16 .npy file.
    pub fn read_npy_halves(&self, name: &str) -> (String, Vec<f32>) {
        let (shape, data) = self.read_npy_of(name, "<f2");
        (shape, data.chunks_exact(2).map(|c| f16::from_le_bytes(c.try_into().unwrap()).to_f32()).collect())
    }

    pub fn read_npy_of(&self, name: &str, dtype: &str) -> (String, Vec<u8>) {
        let bytes = std::fs::read(self.path(name)).unwrap();
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = text(&bytes[10..10 + length]);
        let descr = format!("'descr': '{dtype}'");
        assert!(header.contains(&descr) && header.contains("'fortran_order': False"), "{header}");
        let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
        (format!("({})", shape.trim_end_matches([' ', ','])), bytes[10 + length..].to_vec())
    }
}

/// A name that no adapter has.
pub const NO_ADAPTER: &str = "no adapter is called this";

/// Whether tests that need a GPU are to be left out, which only an explicit variable decides.
pub fn skip_gpu_test() -> bool {
    let skip = std::env::var("WGPU_CONV_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("skipped: WGPU_CONV_SKIP_GPU_TESTS=1");
    }
    skip
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn le_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub fn le_halves(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// An .npy file of version 1.0 with this header text.
pub fn npy_with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

pub fn npy_header(descr: &str, fortran_order: bool, shape: &[usize]) -> String {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let order = if fortran_order { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}\n")
}

pub fn npy(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    npy_with_header(&npy_header("<f4", false, shape), &le_bytes(values))
}

/// A .safetensors file with this header text.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// 1, 2, 3, ….
pub fn counting(count: usize) -> impl Iterator<Item = f32> {
    (1..=count).map(|i| i as f32)
}
