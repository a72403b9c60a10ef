//! [`Weights`]: uploaded once, packed on the GPU as a kernel wants them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use crate::capabilities::Capabilities;
use crate::dtype::DType;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Pending, scoped};
use crate::integers::{Integers, Quantization};
use crate::kernels::pack_source;
use crate::layout::WeightLayout;
use crate::lowered::{self, Lowered, WeightPlace};
use crate::memory::Reservation;
use crate::parameters::Op;
use crate::pipelines::Layout;
use crate::problem::Problem;
use crate::shape::Shape;
use crate::split::{Share, weight_parts};
use crate::tensors::{Needs, Tensors, check_length, check_presence, check_quantization};
use crate::winograd::{self, Block};

/// A layout of the weight in GPU memory. K counts (input channel of the group, row, column), the last fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packing {
    /// As PyTorch has it: (C_out, C_in / groups, KH, KW).
    Oihw,
    /// (groups, blocks of four output channels, K, 4), the last block of each group filled up with zeros.
    Blocked4,
    /// (groups, blocks of input channels, rows and columns of the kernel, channels of a block, output channels of the
    /// group rounded up to a multiple of four): K with a tap's channels next to each other. Blocks are the longest of 8, 4, 2
    /// and 1 channels that fill up little with zeros; each group's K is filled up to a multiple of 16.
    KMajor,
    /// The positions along K of `KMajor` for matrix units: (groups, ceil(K / 16), channels of the group rounded up to a multiple of
    /// four, 16), 16-bit floats whatever the weight's type.
    Matrix,
    /// As `KMajor`, for the products of Winograd's algorithm with tiles of two outputs along an axis: a group for each position
    /// in the tile and each group, float32 whatever the weight's type.
    Winograd2,
    /// The same with tiles of four outputs.
    Winograd4,
    /// The same with tiles of six outputs.
    Winograd6,
}

impl Packing {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oihw => "oihw",
            Self::Blocked4 => "blocked4",
            Self::KMajor => "kmajor",
            Self::Matrix => "matrix",
            Self::Winograd2 => "winograd2",
            Self::Winograd4 => "winograd4",
            Self::Winograd6 => "winograd6",
        }
    }

    /// Its number in `shaders/pack.wgsl`; those of Winograd's algorithm have a shader of their own.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Oihw => 0,
            Self::Blocked4 => 1,
            Self::KMajor | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => 2,
            Self::Matrix => 3,
        }
    }

    /// The passes whose weights lie behind each other.
    fn passes(self, problem: &Problem, capabilities: &Capabilities) -> Result<Vec<Lowered>> {
        // Only a plan comes here, which has made them before.
        let parts = weight_parts(problem, self, capabilities).map_err(Error::Internal)?;
        let finished = |pass: Lowered| lowered::finished(problem, pass);
        let passes: Vec<Vec<Lowered>> =
            parts.into_iter().map(|parts| parts.into_iter().map(finished).collect()).collect();
        match self.tile_outputs() {
            None => Ok(passes.concat()),
            Some(outputs) => winograd::passes(&passes, outputs, Block::ONE, capabilities).map_err(Error::Internal),
        }
    }

    /// Outputs of a tile along an axis, of Winograd's algorithm.
    const fn tile_outputs(self) -> Option<u32> {
        match self {
            Self::Oihw | Self::Blocked4 | Self::KMajor | Self::Matrix => None,
            Self::Winograd2 => Some(2),
            Self::Winograd4 => Some(4),
            Self::Winograd6 => Some(6),
        }
    }

    /// Vectors of four numbers that the packed part has which a pass reads.
    pub(crate) fn vectors(self, pass: &Lowered) -> u64 {
        let Share { groups, group_out, .. } = pass.share;
        match self {
            Self::Oihw => (u64::from(groups) * u64::from(group_out)).saturating_mul(pass.sum_length()).div_ceil(4),
            Self::Blocked4 | Self::KMajor | Self::Matrix | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => {
                let quads = u64::from(group_out).div_ceil(4);
                let depth = if self == Self::Blocked4 { pass.sum_length() } else { KOrder::of(pass).rows() };
                u64::from(groups).saturating_mul(quads).saturating_mul(depth)
            }
        }
    }

    /// Where in that part the pass begins: elements in the packing `oihw`, else vectors.
    pub(crate) fn first_of_share(self, pass: &Lowered) -> u64 {
        let Share { group_out, first_group, first_out, .. } = pass.share;
        let [group_out, first_group, first_out] = [group_out, first_group, first_out].map(u64::from);
        let quads = group_out.div_ceil(4);
        match self {
            Self::Oihw => (first_group * group_out + first_out) * pass.sum_length(),
            Self::Blocked4 => (first_group * quads + first_out / 4) * pass.sum_length(),
            Self::KMajor | Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => {
                first_group * KOrder::of(pass).rows() * quads + first_out / 4
            }
            Self::Matrix => first_group * KOrder::of(pass).rows() * quads + first_out * 4,
        }
    }

    /// Bytes of a number of a packed weight.
    pub(crate) fn element_size(self, pass: &Lowered) -> u64 {
        match self {
            Self::Matrix => DType::F16.size(),
            Self::Winograd2 | Self::Winograd4 | Self::Winograd6 => 4,
            Self::Oihw | Self::Blocked4 | Self::KMajor => pass.element_size(),
        }
    }

    /// Bytes of the packed parts of these passes, as they are before a kernel makes others of them.
    ///
    /// # Errors
    /// A sentence, if the packing is not for them.
    pub(crate) fn estimate(self, passes: &[Lowered]) -> Result<u64, String> {
        if self.tile_outputs().is_some() {
            winograd::of_one(passes.len())?;
        }
        passes.iter().try_fold(0_u64, |sum, pass| {
            let positions = match self.tile_outputs() {
                None => 1,
                Some(outputs) => winograd::Tile::of(pass, outputs)?.positions(),
            };
            let vectors = self.vectors(pass).saturating_mul(positions.into());
            Ok(sum.saturating_add(vectors.saturating_mul(4 * self.element_size(pass))))
        })
    }

    /// Bytes of a packed weight, the parts of all passes behind each other.
    pub(crate) fn bytes(self, passes: &[Lowered]) -> u64 {
        let ends = passes
            .iter()
            .zip(self.offsets(passes))
            .map(|(pass, first)| first.saturating_add(self.vectors(pass)).saturating_mul(4 * self.element_size(pass)));
        ends.max().unwrap_or(0)
    }

    /// The first vector of the part that each pass reads: passes with the same weight read the same one.
    pub(crate) fn offsets(self, passes: &[Lowered]) -> Vec<u64> {
        let mut parts = HashMap::new();
        let mut next = 0_u64;
        passes
            .iter()
            .map(|pass| {
                // Axes may be in another order in a piece of one element along one of them, which then has one tap, too.
                let axes = pass.lines.iter().zip(pass.weight.taps).filter(|(line, _)| line.kernel > 1);
                let taps: Vec<(u32, i64)> = axes.map(|(line, step)| (line.kernel, step)).collect();
                let WeightPlace { first, groups, outputs, inputs, .. } = pass.weight;
                let place = [first, groups, outputs, inputs];
                let sizes = [pass.share.groups, pass.share.group_out, pass.group_in];
                *parts.entry((place, taps, sizes)).or_insert_with(|| {
                    let first = next;
                    next = next.saturating_add(self.vectors(pass));
                    first
                })
            })
            .collect()
    }
}

/// The order of K in the packing `kmajor`: blocks of channels, then taps, then the channels of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KOrder {
    /// Channels of a block.
    pub block: u32,
    /// Positions along K, the last block filled up.
    pub length: u64,
}

impl KOrder {
    pub fn of(pass: &Lowered) -> Self {
        let channels = u64::from(pass.group_in);
        let taps = pass.taps();
        // Up to an eighth is filled up: what a kernel saves by asking less often where a tap lies is worth no more.
        let fits = |block: &u64| channels.next_multiple_of(*block) * 8 <= channels * 9;
        let block = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        Self { block: block as u32, length: channels.next_multiple_of(block).saturating_mul(taps) }
    }

    /// Rows of a group's packed weight: slices of up to 32 rows are read whole.
    pub fn rows(&self) -> u64 {
        self.length.checked_next_multiple_of(32).unwrap_or(u64::MAX)
    }
}

/// Numbers on the host, or in a buffer of the caller's.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// On the host. A weight of another type than float32 is rounded to the nearest on its way.
    Host(&'a [f32]),
    /// On the host, elements of their own type as they lie in memory (little-endian): the problem's weight of 16-bit floats or
    /// 8-bit integers, which a program has as such.
    Bytes(&'a [u8]),
    /// In a buffer with usage COPY_SRC, at an offset that is a multiple of 4: a weight of the problem's type; bias and slopes
    /// are always 32-bit. What is in it when the packing runs counts: work that writes it has to be submitted before.
    Gpu(wgpu::BufferSlice<'a>),
}

impl<'a> From<&'a [f32]> for Source<'a> {
    fn from(data: &'a [f32]) -> Self {
        Self::Host(data)
    }
}

impl<'a> From<&'a Vec<f32>> for Source<'a> {
    fn from(data: &'a Vec<f32>) -> Self {
        Self::Host(data)
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(data: &'a [u8]) -> Self {
        Self::Bytes(data)
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for Source<'a> {
    fn from(slice: wgpu::BufferSlice<'a>) -> Self {
        Self::Gpu(slice)
    }
}

/// What [`Plan::weights`](crate::Plan::weights) takes; from [`Tensors`], all that those have.
#[derive(Debug, Clone, Copy)]
pub struct WeightData<'a> {
    /// (C_out, C_in / groups, KH, KW).
    pub weight: Source<'a>,
    /// (C_out); required exactly if the convolution has a bias.
    pub bias: Option<Source<'a>>,
    /// (C_out), PReLU slopes, or one for each element of an output image; required exactly if the activation is PReLU.
    pub slopes: Option<Source<'a>>,
    /// What integers stand for, their bias included; required exactly if the tensors are integers, whose slopes come from the
    /// host.
    pub quantization: Option<Quantization<'a>>,
    /// Whether the weight is also kept as it came, so that [`Plan::repack`](crate::Plan::repack) can pack it for another
    /// kernel without a new upload. Default false.
    pub keep_raw: bool,
}

impl<'a> From<&Tensors<'a>> for WeightData<'a> {
    fn from(tensors: &Tensors<'a>) -> Self {
        Self {
            weight: tensors.weight.into(),
            bias: tensors.bias.map(Into::into),
            slopes: tensors.slopes.map(Into::into),
            quantization: tensors.quantization,
            keep_raw: false,
        }
    }
}

impl<'a> WeightData<'a> {
    /// A weight without bias.
    pub fn new(weight: impl Into<Source<'a>>) -> Self {
        Self { weight: weight.into(), bias: None, slopes: None, quantization: None, keep_raw: false }
    }

    /// Sets the bias.
    #[must_use]
    pub fn bias(self, bias: impl Into<Source<'a>>) -> Self {
        Self { bias: Some(bias.into()), ..self }
    }

    /// Sets the PReLU slopes.
    #[must_use]
    pub fn slopes(self, slopes: impl Into<Source<'a>>) -> Self {
        Self { slopes: Some(slopes.into()), ..self }
    }

    /// Sets what integers stand for.
    #[must_use]
    pub fn quantization(self, quantization: Quantization<'a>) -> Self {
        Self { quantization: Some(quantization), ..self }
    }

    /// Sets [`keep_raw`](Self::keep_raw).
    #[must_use]
    pub fn keep_raw(self, keep_raw: bool) -> Self {
        Self { keep_raw, ..self }
    }
}

/// Weight, bias and slopes on the GPU, for every plan of the same convolution whose kernel reads this packing, whatever
/// the size of its input. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Weights {
    engine: Engine,
    key: Key,
    packing: Packing,
    pub(crate) packed: wgpu::Buffer,
    /// Bias of all channels, then slopes; of integers what `requantize.wgsl` says.
    pub(crate) channel_data: wgpu::Buffer,
    /// What the weights of each output channel add up to, of integers.
    pub(crate) weight_sums: Option<wgpu::Buffer>,
    raw: Option<wgpu::Buffer>,
    /// For bias, slopes and raw weight, which repacked weights share; and for the rest.
    pub(crate) reservations: [Reservation; 2],
}

/// What two problems must have in common to share weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    op: Op,
    shape: Shape,
    groups: u32,
    bias: bool,
    /// How many.
    slopes: Option<u64>,
    /// Of a transposed convolution, whose passes they decide.
    strides: Option<[Shape; 2]>,
    layout: WeightLayout,
    dtype: DType,
    integers: Option<Integers>,
}

impl Key {
    fn of(problem: &Problem) -> Self {
        let strides = [problem.stride(), problem.dilation()].map(|numbers| Shape::new(numbers.iter().copied()));
        Self {
            op: problem.op(),
            shape: problem.weight_shape(),
            groups: problem.groups(),
            bias: problem.bias(),
            slopes: Needs::of(problem).slopes,
            strides: (problem.op() == Op::ConvTranspose).then_some(strides),
            layout: problem.weight_layout(),
            dtype: problem.weight_dtype(),
            integers: problem.integers(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let with = |given| if given { "with" } else { "without" };
        write!(
            f,
            "weight shape {:?} ({}, {}), groups {}, {} bias, {} slopes",
            self.shape,
            self.layout,
            self.dtype,
            self.groups,
            with(self.bias),
            self.slopes.map_or("without".into(), |count| format!("with {count}"))
        )?;
        if self.op == Op::DeformConv {
            write!(f, ", deformable")?;
        }
        match &self.strides {
            Some([stride, dilation]) => write!(f, ", transposed with stride {stride:?} and dilation {dilation:?}"),
            None => Ok(()),
        }
    }
}

impl Weights {
    /// The packing that they have.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Bytes of GPU memory that they hold.
    pub fn size(&self) -> u64 {
        [Some(&self.packed), Some(&self.channel_data), self.weight_sums.as_ref(), self.raw.as_ref()]
            .into_iter()
            .flatten()
            .map(wgpu::Buffer::size)
            .sum()
    }

    /// Checks that a plan of `engine` for `problem` that reads `packing` can use them.
    pub(crate) fn check(&self, engine: &Engine, problem: &Problem, packing: Packing) -> Result<()> {
        if !self.engine.is_same(engine) {
            return Err(Error::ForeignEngine { what: "the weights" });
        }
        let required = Key::of(problem);
        if required != self.key {
            return Err(Error::WeightsMismatch { required: required.to_string(), actual: self.key.to_string() });
        }
        if packing != self.packing {
            return Err(Error::Packing { required: packing.name(), actual: self.packing.name().into() });
        }
        Ok(())
    }

    /// Uploads and packs.
    pub(crate) fn create(
        engine: &Engine,
        problem: &Problem,
        packing: Packing,
        data: &WeightData<'_>,
    ) -> Result<Pending<Self>> {
        let needs = Needs::of(problem);
        check_presence("bias", needs.bias, data.bias.is_some())?;
        check_presence("slopes", needs.slopes.is_some(), data.slopes.is_some())?;
        check_quantization(problem, data.quantization.as_ref())?;
        let channels = u64::from(problem.out_channels());
        let dtype = problem.weight_dtype();
        let weight_bytes = check_source("weight", data.weight, problem.weight_len(), dtype)?;
        let slopes = needs.slopes.unwrap_or(0);
        for (name, source, count) in [("bias", data.bias, channels), ("slopes", data.slopes, slopes)] {
            source.map_or(Ok(0), |source| check_source(name, source, count, DType::F32))?;
        }
        let words = match (problem.integers(), &data.quantization, data.slopes) {
            (Some(integers), Some(quantization), None) => Some(quantization.words(problem, integers, None)),
            (Some(integers), Some(quantization), Some(Source::Host(slopes))) => {
                Some(quantization.words(problem, integers, Some(slopes)))
            }
            (Some(_), _, _) => {
                let actual = "bytes or a GPU buffer".into();
                let required = "numbers on the host where the tensors are integers".into();
                return Err(Error::Parameter { parameter: "slopes", actual, required });
            }
            (None, _, _) => None,
        };
        let sizes = WeightSizes::of(engine, problem, packing)?;
        let channel_bytes = sizes.channel_data;
        engine.check_binding("the bias with the slopes", channel_bytes)?;
        let shared = engine.reserve("the weights", sizes.shared(data.keep_raw))?;
        let reservations = [shared, engine.reserve("the packed weight", sizes.own())?];
        let on_host = |source: Option<Source<'_>>| matches!(source, Some(Source::Host(_) | Source::Bytes(_)));
        let staged = match (on_host(Some(data.weight)), words.is_some() || on_host(data.bias) || on_host(data.slopes)) {
            (true, true) => sizes.staged(),
            (true, false) => sizes.raw,
            (false, true) => sizes.given_channel_data,
            (false, false) => 0,
        };
        let passing = engine.reserve("uploading the weights", sizes.passing(data.keep_raw, staged))?;
        let passes = packing.passes(problem, engine.capabilities())?;
        let packer = engine.pipeline(
            pack_source(packing, passes.first(), problem.weight_dtype())?,
            engine.options().checks,
            Layout::Automatic,
            "wgpu-conv: pack weights",
        );
        let (engine, problem, keep_raw) = (engine.clone(), *problem, data.keep_raw);
        let raw_usage = if keep_raw { wgpu::BufferUsages::COPY_SRC } else { wgpu::BufferUsages::empty() };
        let make = || {
            let mut encoder = engine.encoder("wgpu-conv: upload weights");
            let raw =
                engine.storage_buffer("wgpu-conv: raw weight", weight_bytes, raw_usage | wgpu::BufferUsages::COPY_DST);
            put(&engine, &mut encoder, data.weight, dtype, &raw, 0, weight_bytes)?;
            // Slopes lie behind the bias even where there is none: the shader knows one place.
            let channel_data =
                engine.storage_buffer("wgpu-conv: bias and slopes", channel_bytes, wgpu::BufferUsages::COPY_DST);
            let parts = match &words {
                Some(words) => {
                    [(Some(Source::Bytes(bytemuck::cast_slice(words))), 0, words.len() as u64), (None, 0, 0)]
                }
                None => [(data.bias, 0, channels), (data.slopes, 4 * channels, slopes)],
            };
            for (source, offset, count) in parts {
                source.map_or(Ok(()), |source| {
                    put(&engine, &mut encoder, source, DType::F32, &channel_data, offset, 4 * count)
                })?;
            }
            Ok((encoder, raw, channel_data))
        };
        let (made, made_pending) = scoped(engine.device(), engine.lost(), "uploading weights", make);
        // On a lost device there is no memory either, and the loss is what counts.
        let (encoder, raw, channel_data) = made.or_else(|error| engine.lost().check().and(Err(error)))?;
        let key = Key::of(&problem);
        Ok(Box::pin(async move {
            made_pending.await?;
            let packer = packer.await?;
            let (packed, pending) = scoped(engine.device(), engine.lost(), "packing weights", || {
                pack(&engine, encoder, &packer, &problem, packing, &raw)
            });
            pending.await?;
            let (packed, weight_sums) = packed?;
            let raw = keep_raw.then_some(raw);
            drop(passing);
            Ok(Self { engine, key, packing, packed, channel_data, weight_sums, raw, reservations })
        }))
    }

    /// Packs the kept raw weight for another kernel of the same convolution.
    pub(crate) fn repack(&self, engine: &Engine, problem: &Problem, packing: Packing) -> Result<Pending<Self>> {
        self.check(engine, problem, self.packing)?;
        let raw = self.raw.clone().ok_or_else(|| Error::Missing {
            name: "raw weight",
            reason: format!("packing {} as {} needs weights made with keep_raw", self.packing.name(), packing.name()),
        })?;
        let passes = packing.passes(problem, engine.capabilities())?;
        let sizes = WeightSizes::of(engine, problem, packing)?;
        let own = engine.reserve("the packed weight", sizes.own())?;
        let passing = engine.reserve("packing the weights", sizes.parameters)?;
        let packer = engine.pipeline(
            pack_source(packing, passes.first(), problem.weight_dtype())?,
            engine.options().checks,
            Layout::Automatic,
            "wgpu-conv: pack weights",
        );
        let (this, problem) = (self.clone(), *problem);
        Ok(Box::pin(async move {
            let packer = packer.await?;
            let engine = &this.engine;
            let (packed, pending) = scoped(engine.device(), engine.lost(), "packing weights", || {
                pack(engine, engine.encoder("wgpu-conv: repack weights"), &packer, &problem, packing, &raw)
            });
            pending.await?;
            let (packed, weight_sums) = packed?;
            drop(passing);
            let reservations = [this.reservations[0].clone(), own];
            Ok(Self { packing, packed, weight_sums, reservations, ..this })
        }))
    }
}

/// Bytes of the buffers that weights take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightSizes {
    /// As it came, in whole words.
    pub raw: u64,
    /// Bias and slopes, or what integers have.
    channel_data: u64,
    /// The same, or nothing where there is none of it but its place.
    given_channel_data: u64,
    packed: u64,
    weight_sums: u64,
    /// Of the packing.
    parameters: u64,
}

impl WeightSizes {
    pub fn of(engine: &Engine, problem: &Problem, packing: Packing) -> Result<Self> {
        let passes = packing.passes(problem, engine.capabilities())?;
        let channels = u64::from(problem.out_channels());
        let words = match problem.integers() {
            Some(_) => Quantization::words_for(channels),
            None => channels + Needs::of(problem).slopes.unwrap_or(0),
        };
        let raw = (problem.weight_dtype().size() * problem.weight_len()).next_multiple_of(4);
        let has_channel_data = problem.bias() || Needs::of(problem).slopes.is_some() || problem.integers().is_some();
        Ok(Self {
            raw: Engine::storage_size(raw),
            channel_data: Engine::storage_size(4 * words),
            given_channel_data: if has_channel_data { Engine::storage_size(4 * words) } else { 0 },
            packed: Engine::storage_size(packing.bytes(&passes)),
            weight_sums: sums_of_weights(&passes).map_or(0, Engine::storage_size),
            parameters: own_parts(packing, &passes).len() as u64 * pack_stride(engine) as u64,
        })
    }

    /// What weights have in common with those that are repacked from them.
    fn shared(&self, keep_raw: bool) -> u64 {
        self.channel_data + if keep_raw { self.raw } else { 0 }
    }

    /// What they have for themselves.
    fn own(&self) -> u64 {
        self.packed + self.weight_sums
    }

    /// What they hold.
    pub fn kept(&self, keep_raw: bool) -> u64 {
        self.shared(keep_raw) + self.own()
    }

    /// What comes from the host on its way, if all of it does.
    pub fn staged(&self) -> u64 {
        self.raw + self.given_channel_data
    }

    /// What is there beside what they hold until they are packed, with so much on its way: the raw weight, too.
    pub fn passing(&self, keep_raw: bool, staged: u64) -> u64 {
        staged + self.parameters + if keep_raw { 0 } else { self.raw }
    }
}

/// Bytes of what the weights of each output channel add up to, of integers.
fn sums_of_weights(passes: &[Lowered]) -> Option<u64> {
    passes.iter().find(|pass| pass.quads.is_some()).map(|pass| 4 * u64::from(pass.all_channels))
}

/// The passes that have a part of the packed weight of their own, and the first vector of it.
fn own_parts(packing: Packing, passes: &[Lowered]) -> Vec<(&Lowered, u64)> {
    let mut packed = 0;
    let parts = passes.iter().zip(packing.offsets(passes));
    let own = parts.filter(|(pass, first)| {
        let end = first + packing.vectors(pass);
        let own = end > packed;
        packed = packed.max(end);
        own
    });
    own.collect()
}

/// Bytes from the parameters of one pass to those of the next.
fn pack_stride(engine: &Engine) -> usize {
    let alignment = engine.capabilities().limits.min_uniform_buffer_offset_alignment.max(1) as usize;
    size_of::<Pack>().next_multiple_of(alignment)
}

/// Checks length, offset and usage; gives the bytes to copy, in whole words.
fn check_source(name: &'static str, source: Source<'_>, elements: u64, dtype: DType) -> Result<u64> {
    let required = dtype.size() * elements;
    let bytes = required.next_multiple_of(4);
    match source {
        Source::Host(data) => check_length(name, elements, data.len() as u64)?,
        Source::Bytes(data) => check_length(name, required, data.len() as u64)?,
        Source::Gpu(slice) => {
            if slice.size() < required {
                return Err(Error::BufferTooSmall { name, required, actual: slice.size() });
            }
            if slice.offset() % 4 != 0 {
                return Err(Error::BufferAlignment { name, offset: slice.offset(), required: 4 });
            }
            let (end, size) = (slice.offset() + bytes, slice.buffer().size());
            if end > size {
                return Err(Error::BufferTooSmall { name, required: end, actual: size });
            }
            crate::bind::check_usage(name, slice.buffer(), wgpu::BufferUsages::COPY_SRC)?;
        }
    }
    Ok(bytes)
}

/// Brings a source's numbers to `offset` of `to`.
fn put(
    engine: &Engine,
    encoder: &mut wgpu::CommandEncoder,
    source: Source<'_>,
    dtype: DType,
    to: &wgpu::Buffer,
    offset: u64,
    bytes: u64,
) -> Result<()> {
    let staged;
    let upload = |mut words: Cow<'_, [u8]>| {
        let whole = words.len().next_multiple_of(4);
        if words.len() != whole {
            words.to_mut().resize(whole, 0);
        }
        engine.staged("wgpu-conv: weights on their way", &words, wgpu::BufferUsages::COPY_SRC)
    };
    let slice = match source {
        Source::Host([]) | Source::Bytes([]) => return Ok(()),
        Source::Host(data) => {
            staged = upload(dtype.encode(data))?;
            staged.slice(..)
        }
        Source::Bytes(data) => {
            staged = upload(data.into())?;
            staged.slice(..)
        }
        Source::Gpu(slice) => slice,
    };
    if bytes > 0 {
        encoder.copy_buffer_to_buffer(slice.buffer(), slice.offset(), to, offset, bytes);
    }
    Ok(())
}

/// Same fields as `Pack` in `shaders/pack_params.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Pack {
    groups: u32,
    group_out: u32,
    channels: u32,
    kernel: [u32; 3],
    first: u32,
    group_step: u32,
    output_step: u32,
    input_step: u32,
    tap_steps: [i32; 3],
    first_vector: u32,
    vectors: u32,
    grid_width: u32,
    channel_block: u32,
    rows: u32,
    single_channels: u32,
    single_step: u32,
    first_channel: u32,
}

/// A dispatch of a packing program, and what it reads and writes, in bytes.
struct Run {
    from: Range<u64>,
    to: Range<u64>,
    grid: [u32; 2],
}

fn part_of<'a>(buffer: &'a wgpu::Buffer, range: &Range<u64>) -> wgpu::BindingResource<'a> {
    let size = wgpu::BufferSize::new(range.end - range.start);
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: range.start, size })
}

/// Submits what `encoder` holds and the packing of `raw` behind it, pass by pass.
fn pack(
    engine: &Engine,
    mut encoder: wgpu::CommandEncoder,
    pipeline: &wgpu::ComputePipeline,
    problem: &Problem,
    packing: Packing,
    raw: &wgpu::Buffer,
) -> Result<(wgpu::Buffer, Option<wgpu::Buffer>)> {
    const THREADS: u64 = 64;
    let passes = &packing.passes(problem, engine.capabilities())?[..];
    let bytes = packing.bytes(passes);
    engine.check_buffer("the packed weight", bytes)?;
    let packed = engine.storage_buffer("wgpu-conv: packed weight", bytes, wgpu::BufferUsages::empty());
    // wgpu makes it zero; the packing adds to it.
    let weight_sums = sums_of_weights(passes)
        .map(|bytes| engine.storage_buffer("wgpu-conv: sums of weights", bytes, wgpu::BufferUsages::empty()));
    let stride = pack_stride(engine);
    let mut parameters = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    for (pass, first_vector) in own_parts(packing, passes) {
        let vectors = packing.vectors(pass);
        // One invocation for each vector, or for the vectors of all positions of a tile.
        let (positions, lines) = match &pass.winograd {
            None => (1, pass.lines),
            Some(transform) => (transform.tile().positions(), transform.lines),
        };
        let grid = engine.grid((vectors / u64::from(positions)).div_ceil(THREADS))?;
        let order = KOrder::of(pass);
        let place = &pass.weight;
        let element = problem.weight_dtype().size();
        let window = pass.weight_window();
        let from = engine.window_of("the weight", raw.size(), window.start * element..window.end * element)?;
        let vector = 4 * packing.element_size(pass);
        let to = engine.window_of(
            "the packed weight",
            packed.size(),
            first_vector * vector..(first_vector + vectors) * vector,
        )?;
        // The ranges are proved when a plan is made, and only a plan comes here: these all fit 32 bits.
        let pack = Pack {
            groups: pass.share.groups / positions,
            group_out: pass.share.group_out,
            channels: pass.group_in,
            kernel: lines.map(|line| line.kernel),
            first: (place.first - from.start / element) as u32,
            group_step: place.groups as u32,
            output_step: place.outputs as u32,
            input_step: place.inputs as u32,
            tap_steps: place.taps.map(|step| step as i32),
            first_vector: (first_vector - to.start / vector) as u32,
            vectors: vectors as u32,
            grid_width: grid[0],
            channel_block: order.block,
            rows: order.rows() as u32,
            single_channels: pass.quads.map_or(0, |quads| quads.channels),
            single_step: pass.quads.map_or(0, |quads| quads.step as u32),
            first_channel: pass.first_channel,
        };
        parameters.extend_from_slice(bytemuck::bytes_of(&pack));
        parameters.resize(stride * (runs.len() + 1), 0);
        runs.push(Run { from, to, grid });
    }
    if !runs.is_empty() {
        let uniform = engine.staged("wgpu-conv: packing parameters", &parameters, wgpu::BufferUsages::UNIFORM)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("wgpu-conv: pack weights"),
            timestamp_writes: None,
        });
        pass.set_pipeline(pipeline);
        for (number, Run { from, to, grid }) in runs.into_iter().enumerate() {
            let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &uniform,
                offset: (number * stride) as u64,
                size: wgpu::BufferSize::new(size_of::<Pack>() as u64),
            });
            let bind_group = engine.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("wgpu-conv: pack weights"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &[(0, uniform), (1, part_of(raw, &from)), (2, part_of(&packed, &to))]
                    .into_iter()
                    .chain(weight_sums.iter().map(|sums| (3, sums.as_entire_binding())))
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect::<Vec<_>>(),
            });
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(grid[0], grid[1], 1);
        }
    }
    engine.queue().submit([encoder.finish()]);
    Ok((packed, weight_sums))
}
