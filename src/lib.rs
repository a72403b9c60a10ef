#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod accuracy;
mod bind;
mod capabilities;
#[cfg(feature = "context")]
mod context;
mod conv;
mod convert;
mod drafts;
mod dtype;
mod engine;
mod epilogue;
mod error;
mod gpu;
mod integers;
mod kernels;
mod layout;
mod lowered;
mod matrix_units;
mod memory;
mod packing;
mod parameters;
mod params;
mod pipelines;
mod placement;
mod plan;
mod prepare;
mod problem;
pub mod problem_string;
mod ranges;
pub mod reference;
mod segments;
mod select;
mod shader;
mod shape;
mod split;
mod tensors;
mod timer;
mod tune;
mod tuning_file;
mod weights;
mod winograd;
mod workspace;

pub use accuracy::{Accuracy, Rounding};
pub use bind::{Bound, Buffers};
pub use capabilities::{AdapterClass, Capabilities};
#[cfg(feature = "context")]
pub use context::{Context, ContextOptions};
pub use conv::{
    Conv, Conv1d, Conv2d, Conv3d, ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, DeformConv2d,
    Padding, PaddingMode, PerAxis,
};
pub use convert::{Conversion, Elements};
pub use dtype::{DType, f16};
pub use engine::{Engine, EngineOptions};
pub use epilogue::{Activation, Epilogue};
pub use error::{Error, NoAdapter, Result};
pub use integers::{Integers, Quantization};
pub use kernels::{Checks, Kernel, shader_source};
pub use layout::{Layout, WeightLayout};
pub use matrix_units::MatrixUnits;
pub use memory::PlanMemory;
pub use packing::Packing;
pub use parameters::{AnyPadding, Convolution, Op, Parameters};
pub use plan::Plan;
pub use problem::Problem;
pub use select::{Candidate, PlanOptions, Selection, select};
pub use shape::Shape;
pub use tensors::Tensors;
pub use timer::{Sample, Timer};
pub use tune::{TuneCandidate, TuneOptions, TuneOutcome, TuneProgress, TuneReport};
pub use tuning_file::{ParsedTuning, Tuning};
pub use weights::{Source, WeightData, Weights};
pub use wgpu;
pub use workspace::Workspace;

/// The examples of that page, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/parameters.md")]
struct ParametersPage;
