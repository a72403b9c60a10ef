//! [`Weights`]: uploaded once, packed on the GPU as a kernel wants them.

use std::borrow::Cow;

use crate::dtype::DType;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Pending, scoped};
use crate::integers::{Integers, Quantization};
use crate::kernels::pack_source;
use crate::layout::WeightLayout;
use crate::memory::Reservation;
use crate::packing::Packing;
use crate::packing::program::{own_parts, pack, pack_stride, sums_of_weights};
use crate::parameters::Op;
use crate::pipelines::Layout;
use crate::placement::check_usage;
use crate::problem::Problem;
use crate::shape::Shape;
use crate::tensors::{Needs, Tensors, check_length, check_presence, check_quantization};

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

impl<'a, const N: usize> From<&'a [f32; N]> for Source<'a> {
    fn from(data: &'a [f32; N]) -> Self {
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
            check_usage(name, slice.buffer(), wgpu::BufferUsages::COPY_SRC)?;
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
