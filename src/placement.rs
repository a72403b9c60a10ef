//! Where the caller's tensors are in their buffers, and how each is bound: here they are checked and compared with each other.

use std::ops::Range;

use crate::bind::Buffers;
use crate::dtype::DType;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::{Access, Aliasing};
use crate::packing::Packing;
use crate::params::{Block, Params, SampleParams};
use crate::plan::{Plan, Program, Role, View, Views};
use crate::tensors::{Needs, check_presence};
use crate::weights::Weights;

/// A tensor's place in a buffer, found large enough and aligned.
#[derive(Clone)]
pub(crate) struct Placed<'a> {
    pub name: &'static str,
    dtype: DType,
    pub buffer: &'a wgpu::Buffer,
    /// Where the tensor begins, and the bytes of it, or of a part of it.
    first: u64,
    bytes: Range<u64>,
}

/// The tensors of a bind.
pub(crate) struct PlacedTensors<'a> {
    input: Placed<'a>,
    output: Placed<'a>,
    residual: Option<Placed<'a>>,
    offset: Option<Placed<'a>>,
    mask: Option<Placed<'a>>,
}

impl<'a> Placed<'a> {
    pub fn new(name: &'static str, slice: wgpu::BufferSlice<'a>, elements: u64, dtype: DType) -> Result<Self> {
        let required = dtype.size() * elements;
        if slice.offset() % dtype.size() != 0 {
            return Err(Error::BufferAlignment { name, offset: slice.offset(), required: dtype.size() });
        }
        if slice.size() < required {
            return Err(Error::BufferTooSmall { name, required, actual: slice.size() });
        }
        // Bindings consist of whole words, so the last one has to be there.
        let end = (slice.offset() + required).next_multiple_of(4);
        if required > 0 && end > slice.buffer().size() {
            return Err(Error::BufferTooSmall { name, required: end, actual: slice.buffer().size() });
        }
        if required > 0 {
            check_usage(name, slice.buffer(), wgpu::BufferUsages::STORAGE)?;
        }
        let first = slice.offset();
        Ok(Self { name, dtype, buffer: slice.buffer(), first, bytes: first..first + required })
    }

    /// The tensors of a bind, each large enough, and none where another is written.
    pub fn check(plan: &Plan, buffers: &Buffers<'a>) -> Result<PlacedTensors<'a>> {
        let problem = plan.problem();
        let needs = Needs::of(problem);
        for (name, needed, given) in [
            ("residual", needs.residual, buffers.residual),
            ("offset", needs.offset, buffers.offset),
            ("mask", needs.mask, buffers.mask),
        ] {
            check_presence(name, needed, given.is_some())?;
        }
        let (dtype, length) = (problem.output_dtype(), problem.output_len());
        let input = Self::new("input", buffers.input, problem.input_len(), problem.dtype())?;
        let output = Self::new("output", buffers.output, length, dtype)?;
        let optional =
            |name, slice: Option<_>, length| slice.map(|slice| Self::new(name, slice, length, dtype)).transpose();
        let residual = optional("residual", buffers.residual, length)?;
        let offset = optional("offset", buffers.offset, problem.offset_len())?;
        let mask = optional("mask", buffers.mask, problem.mask_len())?;
        let read = std::iter::once(&input).chain(&offset).chain(&mask).map(|tensor| (tensor, false));
        for (tensor, in_place) in read.chain(residual.iter().map(|tensor| (tensor, true))) {
            let same = in_place && tensor.bytes == output.bytes;
            if !same {
                tensor.check_apart(&output)?;
            }
        }
        Ok(PlacedTensors { input, output, residual, offset, mask })
    }

    /// What a program binds of it.
    fn within(&self, view: &View) -> Self {
        let start = self.bytes.start;
        let bytes = match &view.window {
            Some(window) if !self.bytes.is_empty() => {
                start + window.start * self.dtype.size()..start + window.end * self.dtype.size()
            }
            _ => self.bytes.clone(),
        };
        Self { bytes, ..self.clone() }
    }

    /// The whole tensor's first element, counted from the beginning of a binding of this part of it.
    fn first_of_whole(&self, binding: &Range<u64>) -> Result<i64> {
        let into_binding = i64::from(element_offset(self, binding)?);
        Ok(into_binding - ((self.bytes.start - self.first) / self.dtype.size()) as i64)
    }

    /// Whatever is read may not be where something is written.
    pub fn check_apart(&self, written: &Self) -> Result<()> {
        if self.buffer == written.buffer && overlap(&self.bytes, &written.bytes) {
            return Err(Error::Overlap {
                first: self.name,
                first_start: self.bytes.start,
                first_end: self.bytes.end,
                second: written.name,
                second_start: written.bytes.start,
                second_end: written.bytes.end,
            });
        }
        Ok(())
    }

    /// The bytes to bind: the start moved down to what the device can bind at, the end up to a whole word.
    pub fn bindable(&self, alignment: u64) -> Range<u64> {
        self.bytes.start - self.bytes.start % alignment..self.bytes.end.next_multiple_of(4)
    }

    /// Whether the device can bind this range, in which it lies, at once.
    pub fn check_binding(&self, engine: &Engine, range: &Range<u64>) -> Result<()> {
        let Self { name, bytes, .. } = self;
        let what = format!(
            "the binding of the {name} (bytes {} to {} of its buffer, bound from byte {} on)",
            bytes.start, bytes.end, range.start
        );
        engine.check_binding(&what, range.end - range.start)
    }
}

pub(crate) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end
}

/// Where the first elements of whole tensors are, counted from the beginning of their bindings; a binding of a window may begin
/// behind that.
#[derive(Clone, Copy, Default)]
pub(crate) struct Offsets {
    input: i64,
    output: i64,
    residual: i64,
    /// Of what an input is prepared from.
    sources: [i64; SOURCES],
    /// Of the packed weight, in bytes.
    weight: u64,
}

impl Offsets {
    /// The parameters of a program; in the workspace everything begins at its first element.
    pub fn apply(&self, program: &Program, views: &Views, packing: Packing) -> Block {
        // Modulo 2^32, as shaders count.
        let place = |offset: i64, view: &View| offset.wrapping_add(view.first as i64) as u32;
        let source = |index: usize| place(self.sources[index], &views.sources[index]);
        match program.params {
            Block::Convolution(params) => {
                let input = place(self.input, &views.input);
                let [output, residual] = [self.output, self.residual].map(|offset| place(offset, &views.output));
                let (input_offset, output_offset, residual_offset) = match program.role {
                    Role::Prepare => (source(0), 0, 0),
                    Role::Reduce | Role::Requantize => (0, output, residual),
                    // Behind the sums of products.
                    Role::Windows => (0, params.output_offset, 0),
                    Role::ConvolvePartially => (input, 0, 0),
                    Role::Convolve => (input, output, residual),
                };
                let vectors = views.weight.start - self.weight / views.vector;
                let unit = if packing == Packing::Oihw { 4 } else { 1 };
                let weight_offset = params.weight_offset + (unit * vectors) as u32;
                Block::Convolution(Params { input_offset, output_offset, residual_offset, weight_offset, ..params })
            }
            Block::Sample(params) => {
                let [input_first, offset_first, mask_first] = [0, 1, 2].map(source);
                Block::Sample(SampleParams { input_first, offset_first, mask_first, ..params })
            }
        }
    }
}

/// Most tensors that an input is prepared from.
pub(crate) const SOURCES: usize = 3;

/// A part of a buffer to bind.
pub(crate) type Place = (wgpu::Buffer, Range<u64>);

/// How each tensor is bound.
pub(crate) struct Placement {
    pub aliasing: Aliasing,
    pub offsets: Offsets,
    /// What the input is prepared from: the input itself, offsets, mask. They are only read, by a program that binds nothing else
    /// of the caller's, so that they need not be told apart.
    pub sources: [Option<Place>; SOURCES],
    pub input: Option<Place>,
    pub residual: Option<Place>,
    pub output: Place,
    pub weight: Place,
}

impl Placement {
    /// WebGPU knows one access per buffer and dispatch, and in browsers writable bindings of one buffer may not overlap.
    /// So a tensor in the output's buffer is bound read-write beside the output if the two bindings are disjoint, and
    /// else (neighbours within one alignment step, or the output itself) read through an output binding that spans both.
    pub fn new(
        engine: &Engine,
        tensors: &PlacedTensors<'_>,
        views: &Views,
        prepared: bool,
        weights: &Weights,
    ) -> Result<Self> {
        let alignment = u64::from(engine.capabilities().limits.min_storage_buffer_offset_alignment).max(1);
        let [of_input, of_offset, of_mask] = &views.sources;
        let input = &tensors.input.within(if prepared { of_input } else { &views.input });
        let output = &tensors.output.within(&views.output);
        let residual = &tensors.residual.as_ref().map(|tensor| tensor.within(&views.output));
        let offset = &tensors.offset.as_ref().map(|tensor| tensor.within(of_offset));
        let mask = &tensors.mask.as_ref().map(|tensor| tensor.within(of_mask));
        let not_empty = |tensor: &&Placed<'_>| !tensor.bytes.is_empty();
        // Kernels do not see an input that is prepared for them.
        let read = [Some(input).filter(|_| !prepared), residual.as_ref()].map(|tensor| tensor.filter(not_empty));
        let shares = read.map(|tensor| tensor.is_some_and(|tensor| tensor.buffer == output.buffer));
        let both_overlap = match read {
            [Some(a), Some(b)] => overlap(&a.bindable(alignment), &b.bindable(alignment)),
            _ => false,
        };
        let access = [0, 1].map(|index| match read[index] {
            Some(tensor) if shares[index] => {
                let crowded = overlap(&tensor.bindable(alignment), &output.bindable(alignment));
                if crowded || (both_overlap && shares == [true, true]) {
                    Access::ThroughOutput
                } else {
                    Access::SharedBuffer
                }
            }
            _ => Access::Separate,
        });
        // The output's binding spans all that is read through it.
        let through = [0, 1].into_iter().filter(|&index| access[index] == Access::ThroughOutput);
        let span = through.filter_map(|index| read[index]).fold(output.bindable(alignment), |span, tensor| {
            let range = tensor.bindable(alignment);
            span.start.min(range.start)..span.end.max(range.end)
        });
        let ranges = [0, 1].map(|index| {
            read[index].map(|tensor| match access[index] {
                Access::ThroughOutput => (tensor, span.clone()),
                _ => (tensor, tensor.bindable(alignment)),
            })
        });
        let mut first = [0, 0];
        for (index, range) in ranges.iter().enumerate() {
            if let Some((tensor, range)) = range {
                tensor.check_binding(engine, range)?;
                first[index] = tensor.first_of_whole(range)?;
            }
        }
        output.check_binding(engine, &span)?;
        let mut sources = [None, None, None];
        let mut first_of_sources = [0; SOURCES];
        let given = [Some(input).filter(|_| prepared), offset.as_ref(), mask.as_ref()];
        for (index, tensor) in given.into_iter().enumerate() {
            if let Some(tensor) = tensor.filter(not_empty) {
                let range = tensor.bindable(alignment);
                tensor.check_binding(engine, &range)?;
                first_of_sources[index] = tensor.first_of_whole(&range)?;
                sources[index] = Some((tensor.buffer.clone(), range));
            }
        }
        let [own_input, own_residual] = [0, 1].map(|index| {
            let (tensor, range) = ranges[index].clone()?;
            (access[index] != Access::ThroughOutput).then(|| (tensor.buffer.clone(), range))
        });
        // Of a pass whose outputs no tap meets there is none, and no binding may be empty.
        let part = if views.weight.is_empty() { 0..1 } else { views.weight.clone() };
        let part = part.start * views.vector..part.end * views.vector;
        let weight = engine.window_of("the packed weight", weights.packed.size(), part)?;
        Ok(Self {
            aliasing: Aliasing { input: access[0], residual: access[1] },
            offsets: Offsets {
                input: first[0],
                output: output.first_of_whole(&span)?,
                residual: first[1],
                sources: first_of_sources,
                weight: weight.start,
            },
            sources,
            input: own_input,
            residual: own_residual,
            output: (output.buffer.clone(), span),
            weight: (weights.packed.clone(), weight),
        })
    }
}

/// Where a tensor begins within its binding, in elements.
pub(crate) fn element_offset(tensor: &Placed<'_>, binding: &Range<u64>) -> Result<u32> {
    let elements = (tensor.bytes.start - binding.start) / tensor.dtype.size();
    // A shader adds this to an index below 2^31.
    if elements >= crate::ranges::INDEX_LIMIT {
        return Err(Error::TooLarge {
            what: "the distance between two tensors of one buffer",
            factors: format!("{elements} elements before the {}", tensor.name),
            limit: format!("{} elements", crate::ranges::INDEX_LIMIT),
        });
    }
    Ok(elements as u32)
}

/// A buffer needs this usage.
pub(crate) fn check_usage(name: &'static str, buffer: &wgpu::Buffer, required: wgpu::BufferUsages) -> Result<()> {
    if buffer.usage().contains(required) {
        return Ok(());
    }
    Err(Error::BufferUsage { name, required: usage_names(required), actual: usage_names(buffer.usage()) })
}

fn usage_names(usage: wgpu::BufferUsages) -> String {
    let names: Vec<&str> = usage.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "none".into() } else { names.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use crate::weights::WeightData;
    use Access::{Separate, SharedBuffer, ThroughOutput};

    /// Input, residual and output of 100 bytes each; `None` for the start means a buffer of its own.
    fn place(input: Option<u64>, residual: Option<u64>, output: u64) -> Placement {
        place_with(EngineOptions::default(), input, residual, output).unwrap()
    }

    fn place_with(options: EngineOptions, input: Option<u64>, residual: Option<u64>, output: u64) -> Result<Placement> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let engine = Engine::with_options(&device, &queue, options);
        let buffer = || engine.buffer_zeroed("test", 2000).unwrap();
        let (shared, own_input, own_residual) = (buffer(), buffer(), buffer());
        let placed = |name, start: Option<u64>, own| Placed {
            dtype: DType::F32,
            name,
            buffer: if start.is_some() { &shared } else { own },
            first: start.unwrap_or(0),
            bytes: start.unwrap_or(0)..start.unwrap_or(0) + 100,
        };
        let tensors = PlacedTensors {
            input: placed("input", input, &own_input),
            output: placed("output", Some(output), &shared),
            residual: Some(placed("residual", residual, &own_residual)),
            offset: None,
            mask: None,
        };
        let plan = engine.plan_blocking(&"c1h5w5o1k1:nobias".parse().unwrap(), &Default::default()).unwrap();
        let weights = plan.weights_blocking(&WeightData::new(&[1.0])).unwrap();
        let all = View { first: 0, window: None };
        let views =
            Views { input: all.clone(), output: all.clone(), sources: Default::default(), weight: 0..1, vector: 16 };
        Placement::new(&engine, &tensors, &views, false, &weights)
    }

    #[test]
    fn what_fits_but_not_from_there_is_refused_with_the_place() {
        let options = || EngineOptions::default().max_binding(120);
        assert!(place_with(options(), Some(512), None, 768).is_ok());
        assert!(place_with(options(), Some(532), None, 768).is_ok());
        for (input, output, message) in [
            (536, 768, "the binding of the input (bytes 536 to 636 of its buffer, bound from byte 512 on) needs "),
            (512, 796, "the binding of the output (bytes 796 to 896 of its buffer, bound from byte 768 on) needs "),
        ] {
            let error = place_with(options(), Some(input), None, output).err().unwrap().to_string();
            assert!(error.starts_with(message) && error.ends_with("; this device has 120"), "{error}");
        }
    }

    #[test]
    fn writable_bindings_of_one_buffer_never_overlap() {
        // Bindings start at multiples of 256 bytes.
        for (input, residual, output, expected) in [
            (None, None, 4, [Separate, Separate]),
            (Some(512), None, 4, [SharedBuffer, Separate]),
            (Some(252), None, 4, [ThroughOutput, Separate]),
            (None, Some(4), 4, [Separate, ThroughOutput]),
            (Some(512), Some(4), 4, [SharedBuffer, ThroughOutput]),
            (Some(512), Some(1024), 4, [SharedBuffer, SharedBuffer]),
            (Some(512), Some(612), 4, [ThroughOutput, ThroughOutput]),
            (Some(512), Some(512), 4, [ThroughOutput, ThroughOutput]),
            (Some(104), Some(1024), 4, [ThroughOutput, SharedBuffer]),
            (Some(1024), Some(104), 204, [SharedBuffer, ThroughOutput]),
            (Some(4), Some(104), 204, [ThroughOutput, ThroughOutput]),
        ] {
            let name = format!("{input:?} {residual:?} {output}");
            let placement = place(input, residual, output);
            let Aliasing { input: of_input, residual: of_residual } = placement.aliasing;
            assert_eq!([of_input, of_residual], expected, "{name}");
            let writable = [(of_input, &placement.input), (of_residual, &placement.residual)]
                .into_iter()
                .filter(|(access, _)| *access == SharedBuffer)
                .map(|(_, place)| place.as_ref().unwrap().1.clone())
                .chain([placement.output.1.clone()]);
            let mut ranges: Vec<Range<u64>> = writable.collect();
            ranges.sort_by_key(|range| range.start);
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{name}: {ranges:?}");
            assert!(ranges.iter().all(|range| range.start % 256 == 0), "{name}: {ranges:?}");
        }
    }
}
