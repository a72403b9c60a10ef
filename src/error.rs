//! The one error type of the crate. Every variant carries the numbers that a caller needs to see what is wrong.

use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, as a value: nothing in this crate panics on public input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyper-parameter has a value that no convolution can have.
    #[error("{parameter} is {actual}; it must be {required}")]
    Parameter {
        /// Name of the parameter, as in `torch.nn.Conv2d`.
        parameter: &'static str,
        /// What was given.
        actual: String,
        /// What would be accepted.
        required: String,
    },
    /// `groups` does not divide a number of channels.
    #[error("groups is {groups}, which does not divide {parameter} = {channels}")]
    Groups {
        /// `in_channels` or `out_channels`.
        parameter: &'static str,
        /// The number of channels.
        channels: u32,
        /// The number of groups.
        groups: u32,
    },
    /// A tensor does not have the shape that the convolution needs.
    #[error("{tensor} has shape {actual}; required is {required}")]
    Shape {
        /// `input`, `weight`, `bias`, ….
        tensor: &'static str,
        /// The shape that was given.
        actual: String,
        /// The shape that is needed.
        required: String,
    },
    /// The kernel does not fit the padded image even once.
    #[error(
        "the output would have no {axis}: the kernel covers {extent} (dilation included), \
         but the input has {size} {axis} with {before} + {after} of padding"
    )]
    EmptyOutput {
        /// `slices`, `rows` or `columns`.
        axis: &'static str,
        /// Input size along the axis.
        size: u32,
        /// Padding before the first element.
        before: u32,
        /// Padding after the last element.
        after: u32,
        /// `dilation * (kernel_size - 1) + 1`.
        extent: u64,
    },
    /// The padding of a transposed convolution leaves nothing of its output.
    #[error(
        "the output would have no {axis}: {size} {axis} of input make {covered} of output, of which padding leaves \
         out {before} + {after}"
    )]
    EmptyTransposed {
        /// `slices`, `rows` or `columns`.
        axis: &'static str,
        /// Input size along the axis.
        size: u32,
        /// Output size along the axis without padding.
        covered: u64,
        /// Outputs left out at the beginning.
        before: u32,
        /// Outputs left out at the end.
        after: u32,
    },
    /// A padding mode cannot supply that much padding from an image of this size.
    #[error(
        "{mode} padding of {padding} {axis} needs {relation} {padding} {axis} of input; \
         there are {size}"
    )]
    PaddingTooLarge {
        /// `reflect` or `circular`.
        mode: &'static str,
        /// `slices`, `rows` or `columns`.
        axis: &'static str,
        /// The padding asked for on one side.
        padding: u32,
        /// `more than` or `at least`.
        relation: &'static str,
        /// Input size along the axis.
        size: u32,
    },
    /// A product of sizes is too large to be counted or indexed.
    #[error("{what} ({factors}) exceeds {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The factors, written out.
        factors: String,
        /// The largest value that is allowed, or the width of the counter.
        limit: String,
    },
    /// A problem string (or a part of one) cannot be read.
    #[error("cannot read {text:?} at character {position}: {reason}")]
    Parse {
        /// The text as given.
        text: String,
        /// Where reading stopped, counted in characters from 1.
        position: usize,
        /// What was expected there.
        reason: String,
    },
    /// A slice of numbers has the wrong length.
    #[error("{name} has {actual} elements; required are {required}")]
    Length {
        /// Name of the data.
        name: &'static str,
        /// Elements required.
        required: u64,
        /// Elements given.
        actual: u64,
    },
    /// Something that the problem needs was not given.
    #[error("{name} is missing: {reason}")]
    Missing {
        /// Name of the data or buffer.
        name: &'static str,
        /// Why it is needed.
        reason: String,
    },
    /// Something was given that the problem does not use.
    #[error("{name} was given, but {reason}")]
    Unexpected {
        /// Name of the data or buffer.
        name: &'static str,
        /// Why it has no use.
        reason: String,
    },
    /// A kernel was forced that cannot run the problem.
    #[error("kernel {kernel} cannot run {problem}: {refusal}")]
    Refused {
        /// The kernel (and variant).
        kernel: String,
        /// The problem string.
        problem: String,
        /// The kernel's own sentence, with numbers.
        refusal: String,
    },
    /// No kernel accepts the problem on this device.
    #[error("no kernel can run {problem} here: {refusals}")]
    NoKernel {
        /// The problem string.
        problem: String,
        /// Each kernel with its refusal.
        refusals: String,
    },
    /// Tuning found no kernel whose result was right.
    #[error("no kernel gave a right result for {problem}: {reasons}")]
    Unverified {
        /// The problem string.
        problem: String,
        /// Each kernel with what was wrong.
        reasons: String,
    },
    /// A kernel or variant name that does not exist.
    #[error("there is no {what} named {name:?}; known are {known}")]
    Unknown {
        /// `kernel`, `variant`, ….
        what: &'static str,
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// Weights are packed in a layout that the plan's kernel does not read.
    #[error("these weights are packed as {actual}; the plan's kernel reads {required}")]
    Packing {
        /// The packing that the plan needs.
        required: &'static str,
        /// The packing that the weights have.
        actual: String,
    },
    /// Weights belong to a convolution of another configuration.
    #[error("these weights were made for {actual}; the plan is for {required}")]
    WeightsMismatch {
        /// What the plan needs.
        required: String,
        /// What the weights are for.
        actual: String,
    },
    /// Objects of two engines (that is, of two devices) were mixed.
    #[error("{what} belongs to another engine than the plan")]
    ForeignEngine {
        /// Which object.
        what: &'static str,
    },
    /// A buffer or slice is too small.
    #[error("{name} buffer has {actual} bytes; required are {required}")]
    BufferTooSmall {
        /// Name of the binding.
        name: &'static str,
        /// Bytes required.
        required: u64,
        /// Bytes in the slice given.
        actual: u64,
    },
    /// A slice does not start at a whole element.
    #[error("{name} buffer slice starts at byte {offset}, which is not a multiple of {required}")]
    BufferAlignment {
        /// Name of the binding.
        name: &'static str,
        /// The offset in bytes.
        offset: u64,
        /// The alignment in bytes.
        required: u64,
    },
    /// A buffer lacks a usage.
    #[error("{name} buffer was created with usage {actual}; it needs {required}")]
    BufferUsage {
        /// Name of the binding.
        name: &'static str,
        /// The usage that is needed.
        required: String,
        /// The usages that it has.
        actual: String,
    },
    /// Two slices of one buffer overlap in a way that has no defined result.
    #[error(
        "{first} (bytes {first_start}..{first_end}) overlaps {second} (bytes {second_start}..{second_end}) of the same buffer"
    )]
    Overlap {
        /// Name of one binding.
        first: &'static str,
        /// First byte of it.
        first_start: u64,
        /// One past its last byte.
        first_end: u64,
        /// Name of the other binding.
        second: &'static str,
        /// First byte of it.
        second_start: u64,
        /// One past its last byte.
        second_end: u64,
    },
    /// A limit of the device is exceeded.
    #[error("{what} needs {limit} of {required}; this device has {actual}")]
    Limit {
        /// What exceeds the limit.
        what: String,
        /// Name of the limit, as in `wgpu::Limits`.
        limit: &'static str,
        /// What is needed.
        required: u64,
        /// What the device was created with.
        actual: u64,
    },
    /// A segment index beyond the plan's segments.
    #[error("segment {index} does not exist: the plan has {count}")]
    Segment {
        /// The index that was given.
        index: u32,
        /// How many segments there are.
        count: u32,
    },
    /// wgpu reported an error while something was made.
    #[error("the GPU reported an error while {during}: {message}")]
    Gpu {
        /// What was being done.
        during: &'static str,
        /// wgpu's message.
        message: String,
    },
    /// An engine's own buffers would take more memory than [`EngineOptions::max_memory`](crate::EngineOptions::max_memory)
    /// allows.
    #[error(
        "{what} needs {required} bytes of GPU memory; the engine has {in_use} in use, and EngineOptions::max_memory is {limit}"
    )]
    MemoryLimit {
        /// What the memory is for.
        what: &'static str,
        /// Bytes that it needs.
        required: u64,
        /// Bytes that the engine's buffers have already.
        in_use: u64,
        /// The most that they may have together.
        limit: u64,
    },
    /// The GPU ran out of memory.
    #[error("out of GPU memory while {during}")]
    OutOfMemory {
        /// What was being done.
        during: &'static str,
    },
    /// The device is lost; a new device and a new engine are needed.
    #[error("the GPU device is lost: {reason}")]
    DeviceLost {
        /// What is known about the cause.
        reason: String,
    },
    /// No adapter was found.
    #[error("{0}")]
    NoAdapter(NoAdapter),
    /// An adapter was found, but it gave no device.
    #[error("adapter {adapter} gave no device: {message}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// wgpu's message.
        message: String,
    },
    /// A defect of this crate, reported instead of a panic.
    #[error("internal error of wgpu-conv, please report it: {0}")]
    Internal(String),
}

/// What was looked for when no adapter was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAdapter {
    /// The backends that were tried.
    pub backends: String,
    /// The adapter name that was asked for, if any.
    pub wanted: Option<String>,
    /// The adapters that are there (under another name than the one wanted).
    pub available: Vec<String>,
}

impl fmt::Display for NoAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Some(name) => write!(f, "no GPU adapter has {name:?} in its name (backends tried: {})", self.backends)?,
            None => write!(f, "no GPU adapter was found (backends tried: {})", self.backends)?,
        }
        if !self.available.is_empty() {
            return write!(f, "; there are: {}", self.available.join(", "));
        }
        f.write_str(
            ". Install a Vulkan driver for your GPU, or the software adapter lavapipe: \
             `apt-get install mesa-vulkan-drivers libvulkan1` (Debian, Ubuntu), \
             `dnf install mesa-vulkan-drivers vulkan-loader` (Fedora), \
             `pacman -S vulkan-swrast vulkan-icd-loader` (Arch)",
        )
    }
}
