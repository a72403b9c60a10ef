//! What tests, benches and the command line share to check `wgpu-conv`: problems, data, the forced-variant runner,
//! conformance suites and timing.
//!
//! - [`table`]: the built-in named problems; [`workloads`]: the twelve workloads of the benchmarks; [`networks`]: the
//!   layers of two networks.
//! - [`data`]: seeded tensors for a problem; [`quantized`]: what integers of them stand for.
//! - [`runner`]: one problem on one kernel, variant and mode, between guard zones; [`verify`]: many of them.
//! - [`problems`]: strategies for random problems; [`random`]: any number of them, each on one kernel, variant and mode.
//! - [`suite`]: folders of conformance cases; [`tensor_file`]: the safetensors files in them.
//! - [`report`]: rows, counts and the closing line; [`timing`]: how long a convolution takes.

pub mod data;
pub mod networks;
pub mod problems;
pub mod quantized;
pub mod random;
pub mod report;
pub mod runner;
pub mod suite;
pub mod table;
pub mod tensor_file;
pub mod timing;
pub mod verify;
pub mod workloads;

pub use data::{DataKind, ProblemData, References};
pub use networks::{Layer, NETWORKS, Network, network};
pub use quantized::QuantizationData;
pub use random::RandomOptions;
pub use report::{Event, Progress, Report, Row, Status};
pub use runner::{Outcome, Placement, Refusal, Runner, Stage, Unit, UnitResult};
pub use suite::{Suite, SuiteError, SuiteOptions};
pub use timing::{GpuClock, Timing, measure};
pub use verify::Filter;
pub use workloads::{WORKLOADS, Workload, problem_or_workload};
