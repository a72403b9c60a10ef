//! What tests, benches and the command line share to check `wgpu-conv`: problems, data, the forced-variant runner,
//! conformance suites and timing.
//!
//! - [`table`]: the built-in named problems; [`coverage`]: which variants each of them runs on; [`workloads`]: the
//!   twelve workloads of the benchmarks; [`networks`]: the layers of two networks.
//! - [`data`]: seeded tensors for a problem; [`quantized`]: what integers of them stand for.
//! - [`runner`]: one problem on one kernel, variant and mode, between guard zones; [`verify`]: many of them.
//! - [`problems`]: strategies for random problems; [`random`]: any number of them, each on one kernel, variant and mode.
//! - [`suite`]: folders of conformance cases; [`tensor_file`]: the safetensors files in them.
//! - [`report`]: rows, counts and the closing line; [`timing`]: how long a convolution takes.
//!
//! In browsers, where nothing may block, there are data, problems and [`Runner::outcome`].

pub mod coverage;
pub mod data;
pub mod networks;
#[cfg(not(target_family = "wasm"))]
pub mod problems;
pub mod quantized;
#[cfg(not(target_family = "wasm"))]
pub mod random;
#[cfg(not(target_family = "wasm"))]
pub mod report;
pub mod runner;
#[cfg(not(target_family = "wasm"))]
pub mod suite;
pub mod table;
pub mod tensor_file;
#[cfg(not(target_family = "wasm"))]
pub mod timing;
#[cfg(not(target_family = "wasm"))]
pub mod verify;
pub mod workloads;

pub use coverage::{Coverage, Extent};
pub use data::{DataKind, ProblemData, References};
pub use networks::{Layer, NETWORKS, Network, network};
pub use quantized::QuantizationData;
#[cfg(not(target_family = "wasm"))]
pub use random::RandomOptions;
#[cfg(not(target_family = "wasm"))]
pub use report::{Event, Progress, Report, Row, Status};
pub use runner::{Outcome, Placement, Refusal, Runner, Stage, Unit, UnitResult};
#[cfg(not(target_family = "wasm"))]
pub use suite::{Suite, SuiteError, SuiteOptions};
#[cfg(not(target_family = "wasm"))]
pub use timing::{GpuClock, Timing, measure};
#[cfg(not(target_family = "wasm"))]
pub use verify::Filter;
pub use workloads::{WORKLOADS, Workload, problem_or_workload};
