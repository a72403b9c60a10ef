//! Tensors that are larger than what a device binds at once: a problem's passes are cut into pieces, each of which binds windows
//! of the caller's buffers.
//!
//! - A packed weight is cut by groups and output channels into parts that are packed each on its own. These cuts depend on the
//!   weight alone, so that weights serve all input sizes.
//! - Input and output are cut along what lies farthest apart in memory: images first, then, with channels first, groups and
//!   output channels, with channels last rows. A window is a stretch of memory, so that rows of several channels that lie one
//!   behind the other are none: where a plane of a channel is too large, pieces have one channel.
//! - Input channels of an image that are too many for a window are taken a few at a time: parts of the sums, as of any long
//!   sum (`kernels/tiling.rs`), each with a window of its own. Only this changes the order in which sums are formed.
//!
//! A piece is a pass like any other, a smaller convolution; and where everything fits, nothing here has any effect.

use std::collections::HashMap;
use std::ops::Range;

use crate::capabilities::Capabilities;
use crate::conv::PaddingMode;
use crate::kernels::{Choice, Kernel, Storage, windows};
use crate::layout::Layout;
use crate::lowered::{self, Line, Lowered, MAX_PASSES, Steps};
use crate::packing::Packing;
use crate::prepare::Prepare;
use crate::problem::Problem;
use crate::ranges::INDEX_LIMIT;
use crate::shape::MAX_AXES;
use crate::tensors::Needs;

/// The packed part of a weight that a pass reads, and what it has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Groups and output channels of a group that are packed together.
    pub groups: u32,
    pub group_out: u32,
    /// The first of each that the pass has.
    pub first_group: u32,
    pub first_out: u32,
}

impl Share {
    pub fn all(groups: u32, group_out: u32) -> Self {
        Self { groups, group_out, first_group: 0, first_out: 0 }
    }
}

/// What a pass can be cut along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Images,
    Groups,
    /// Output channels of a single group.
    Outputs,
    /// Input channels: parts of the sums.
    Inputs,
    /// Slices, rows or columns of the output.
    Axis(usize),
}

/// From the first element to behind the last one of so many images, channels and elements along each axis.
pub(crate) fn reach(steps: &Steps, images: u32, channels: u64, sizes: [u32; 3]) -> u64 {
    let counts = [(u64::from(images), steps.image), (channels, steps.channel)];
    let axes = sizes.into_iter().zip(steps.axes).map(|(size, step)| (u64::from(size), step));
    counts
        .into_iter()
        .chain(axes)
        .try_fold(1_u64, |sum, (count, step)| Some(sum.saturating_add(count.checked_sub(1)?.saturating_mul(step))))
        .unwrap_or(0)
}

impl Line {
    /// Outputs `begin..end` of it, on the stretch of the input that they need, and where that begins.
    fn piece(&self, begin: u32, end: u32, mode: PaddingMode) -> (Self, u32) {
        let last = i128::from(self.input.max(1)) - 1;
        let position = |output: u32| i128::from(output) * i128::from(self.stride) - i128::from(self.before);
        let first_tap = position(begin);
        let last_tap = position(end - 1) + i128::from(self.extent()) - 1;
        let (mut low, mut high) = (first_tap.clamp(0, last), last_tap.clamp(0, last));
        match mode {
            PaddingMode::Zeros | PaddingMode::Replicate => {}
            PaddingMode::Reflect => {
                if first_tap < 0 {
                    high = high.max((-first_tap).min(last));
                }
                if last_tap > last {
                    low = low.min((2 * last - last_tap).max(0));
                }
            }
            // What joins the end to the beginning needs both.
            PaddingMode::Circular if first_tap < 0 || last_tap > last => (low, high) = (0, last),
            PaddingMode::Circular => {}
        }
        let line =
            Self { input: (high - low + 1) as u32, output: end - begin, before: (low - first_tap) as i64, ..*self };
        (line, low as u32)
    }
}

impl Lowered {
    fn size(&self, cut: Cut) -> u32 {
        match cut {
            Cut::Images => self.batch,
            Cut::Groups => self.groups,
            Cut::Outputs => self.group_out,
            Cut::Inputs => self.input_channels(),
            Cut::Axis(axis) => self.lines[axis].output,
        }
    }

    /// Numbers `begin..end` along a cut.
    fn piece(&self, cut: Cut, begin: u32, end: u32) -> Self {
        let mut piece = *self;
        let count = end - begin;
        let first = u64::from(begin);
        match cut {
            Cut::Images => {
                piece.batch = count;
                piece.first_output += first * self.output_steps.image;
                match &mut piece.prepare {
                    Some(Prepare::Sample(sampling)) => {
                        sampling.first_image += begin;
                        sampling.images = count;
                    }
                    _ => piece.first_input += first * self.input_steps.image,
                }
            }
            Cut::Groups => {
                piece.groups = count;
                piece.share.first_group += begin;
                piece.first_channel += begin * self.group_out;
                piece.first_input += first * u64::from(self.group_in) * self.input_steps.channel;
                piece.first_output += first * u64::from(self.group_out) * self.output_steps.channel;
            }
            Cut::Outputs => {
                piece.group_out = count;
                piece.share.first_out += begin;
                piece.first_channel += begin;
                piece.first_output += first * self.output_steps.channel;
            }
            Cut::Inputs => {}
            Cut::Axis(axis) => {
                let (line, first_input) = self.lines[axis].piece(begin, end, self.padding_mode);
                piece.lines[axis] = line;
                piece.first_input += u64::from(first_input) * self.input_steps.axes[axis];
                piece.first_output += first * self.output_steps.axes[axis];
            }
        }
        piece
    }

    /// The same with a weight of its own.
    fn part(&self, cut: Cut, begin: u32, end: u32) -> Self {
        let part = self.piece(cut, begin, end);
        let mut weight = part.weight;
        weight.first += match cut {
            Cut::Groups => u64::from(begin) * weight.groups,
            _ => u64::from(begin) * weight.outputs,
        };
        let whole = (part.whole.0, part.groups, part.group_out);
        Self { weight, whole, share: Share::all(part.groups, part.group_out), ..part }
    }

    /// Input channels that its window holds, of a single group or of all.
    fn input_channels(&self) -> u32 {
        match self.windows {
            Some(most) if self.groups == 1 => self.group_in.min(most),
            _ => self.group_in,
        }
    }

    /// Whether a window holds a part of the input channels of its sums only.
    pub fn cuts_sums(&self) -> bool {
        self.input_channels() < self.group_in
    }

    /// The stretch of the input that these input channels of a group need, of a pass that reads it as it comes.
    pub fn input_window(&self, channels: Range<u32>) -> Range<u64> {
        // With several groups, always all channels.
        let first = self.first_input + u64::from(channels.start) * self.input_steps.channel;
        let channels = match self.groups {
            1 => (channels.end - channels.start).into(),
            groups => u64::from(groups) * u64::from(self.group_in),
        };
        // Sums of nothing read nothing, but what is bound may not be empty.
        let sizes = self.lines.map(|line| line.input);
        first..first.saturating_add(reach(&self.input_steps, self.batch, channels.max(1), sizes))
    }

    /// The stretch of the output that it writes.
    pub fn output_window(&self) -> Range<u64> {
        let sizes = self.lines.map(|line| line.output);
        let length = reach(&self.output_steps, self.batch, self.out_channels().into(), sizes);
        self.first_output..self.first_output.saturating_add(length)
    }

    /// The stretch of the weight, as it came, that it was packed from.
    pub fn weight_window(&self) -> Range<u64> {
        let place = &self.weight;
        let kernel = self.winograd.map_or(self.lines, |transform| transform.lines).map(|line| line.kernel);
        let inputs = match self.quads {
            None => u64::from(self.group_in).saturating_sub(1).saturating_mul(place.inputs),
            Some(quads) => u64::from(quads.channels).saturating_sub(1).saturating_mul(quads.step),
        };
        let taps = kernel.into_iter().zip(place.taps).map(|(count, step)| i64::from(count.saturating_sub(1)) * step);
        let before: i64 = taps.clone().map(|reach| reach.min(0)).sum();
        let behind: i64 = taps.map(|reach| reach.max(0)).sum();
        let positions = self.winograd.map_or(1, |transform| transform.tile().positions());
        let groups = u64::from(self.share.groups / positions).saturating_sub(1).saturating_mul(place.groups);
        let outputs = u64::from(self.share.group_out).saturating_sub(1).saturating_mul(place.outputs);
        let first = place.first.saturating_add_signed(before);
        let last = place.first.saturating_add(groups).saturating_add(outputs).saturating_add(inputs);
        first..last.saturating_add_signed(behind).saturating_add(1)
    }
}

/// What fits into windows.
struct Room {
    /// Bytes of a window.
    bytes: u64,
    /// What the device binds at once.
    binding: u64,
}

impl Room {
    /// Windows begin at any element, bindings at multiples of the device's alignment; and they end with whole words.
    fn of(capabilities: &Capabilities, share: u64) -> Self {
        let limits = &capabilities.limits;
        let binding = limits.max_storage_buffer_binding_size;
        let lost = u64::from(limits.min_storage_buffer_offset_alignment).max(4) + 4;
        Self { bytes: (binding / share).saturating_sub(lost), binding }
    }

    fn holds(&self, elements: u64, size: u64) -> bool {
        elements < INDEX_LIMIT && elements.saturating_mul(size) <= self.bytes
    }
}

/// The passes of a problem, its weight in parts that can be bound: for each pass, its parts.
///
/// # Errors
/// A sentence, if there would be too many passes, or a part that cannot be bound.
pub(crate) fn weight_parts(problem: &Problem, packing: Packing, capabilities: &Capabilities) -> Result<Pieces, String> {
    let phases = lowered::phases(problem)?;
    let finished: Vec<Lowered> = phases.iter().map(|&pass| lowered::finished(problem, pass)).collect();
    let binding = capabilities.limits.max_storage_buffer_binding_size;
    let raw = problem.weight_len();
    let raw_bytes = raw.saturating_mul(problem.weight_dtype().size());
    let whole = packing.estimate(&finished)?;
    let fits = |elements: u64, bytes: u64| elements < INDEX_LIMIT && bytes <= binding;
    if fits(raw, raw_bytes) && fits(whole / finished.first().map_or(4, |pass| packing.element_size(pass)), whole) {
        return Ok(phases.into_iter().map(|pass| vec![pass]).collect());
    }
    let room = Room::of(capabilities, 1);
    let fits = |part: &Lowered| -> Result<bool, String> {
        let finished = [lowered::finished(problem, *part)];
        let bytes = packing.estimate(&finished)?;
        let size = packing.element_size(&finished[0]);
        let window = finished[0].weight_window();
        let raw_fits = room.holds(window.end - window.start, problem.weight_dtype().size());
        Ok(room.holds(bytes / size, size) && raw_fits)
    };
    let (mut parts, mut counts) = (Vec::new(), Vec::new());
    for pass in phases {
        let before = parts.len();
        cut_weight(&pass, &fits, binding, &mut parts)?.map_err(|part| {
            let finished = [lowered::finished(problem, part)];
            let window = finished[0].weight_window();
            format!(
                "the weight of {} output channels takes {} bytes packed and reaches over {} as it comes ({}); max_storage_buffer_binding_size is {binding}",
                part.out_channels(),
                packing.estimate(&finished).unwrap_or(u64::MAX),
                (window.end - window.start).saturating_mul(problem.weight_dtype().size()),
                problem.weight_layout(),
            )
        })?;
        counts.push(parts.len() - before);
    }
    Ok(divided(parts, counts))
}

/// These in stretches of so many each.
fn divided(passes: Vec<Lowered>, counts: Vec<usize>) -> Pieces {
    let mut rest = passes.into_iter();
    counts.into_iter().map(|count| rest.by_ref().take(count).collect()).collect()
}

/// To be asked as pieces are made: those of a large problem may be more than memory holds.
///
/// # Errors
/// A sentence, if these are too many.
fn check_count(pieces: &[Lowered], binding: u64) -> Result<(), String> {
    if pieces.len() as u64 > MAX_PASSES {
        return Err(format!(
            "more than {MAX_PASSES} pieces for bindings of {binding} bytes; there may be {MAX_PASSES}"
        ));
    }
    Ok(())
}

/// Parts of a pass's weight that fit, by groups and then by output channels; or one that does not.
fn cut_weight(
    pass: &Lowered,
    fits: &impl Fn(&Lowered) -> Result<bool, String>,
    binding: u64,
    parts: &mut Vec<Lowered>,
) -> Result<Result<(), Lowered>, String> {
    if fits(pass)? {
        parts.push(*pass);
        return check_count(parts, binding).map(Ok);
    }
    // Packings fill up channels to a multiple of four.
    let (cut, granule) = if pass.groups > 1 { (Cut::Groups, 1) } else { (Cut::Outputs, 4) };
    let size = pass.size(cut);
    if size <= granule {
        return Ok(Err(*pass));
    }
    let mut failed = None;
    let most = most_of(size, granule, |count| {
        fits(&pass.part(cut, 0, count)).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    for (begin, end) in chunks(size, most, if most >= 64 { 64.max(granule) } else { granule }) {
        if let Err(part) = cut_weight(&pass.part(cut, begin, end), fits, binding, parts)? {
            return Ok(Err(part));
        }
    }
    Ok(Ok(()))
}

/// The largest multiple of `granule` below `size` that fits, at least one: what fits does so below, too.
fn most_of(size: u32, granule: u32, mut fits: impl FnMut(u32) -> bool) -> u32 {
    // Counted in granules.
    let (mut fitting, mut beyond) = (1, size.div_ceil(granule));
    while beyond - fitting > 1 {
        let middle = fitting + (beyond - fitting) / 2;
        if fits(middle * granule) {
            fitting = middle;
        } else {
            beyond = middle;
        }
    }
    fitting * granule
}

/// As few stretches of at most `most` as there can be, of equal lengths as nearly as whole granules allow.
fn chunks(size: u32, most: u32, granule: u32) -> impl Iterator<Item = (u32, u32)> {
    let most = (most - most % granule).max(granule);
    let length = size.div_ceil(size.div_ceil(most)).next_multiple_of(granule);
    (0..size).step_by(length as usize).map(move |begin| (begin, begin.saturating_add(length).min(size)))
}

/// The pieces of one problem on one device, kept from one variant to the next: there may be thousands, and most variants have the
/// same.
#[derive(Default)]
pub(crate) struct Splits(HashMap<(u64, Kind), Result<Pieces, String>>);

/// For each pass, its pieces.
type Pieces = Vec<Vec<Lowered>>;

/// All that pieces depend on of a variant: its packing, whether its algorithm is Winograd's, and which it is if it has a workspace.
type Kind = (Packing, bool, Option<Choice>);

/// The passes of a problem as a variant of a kernel runs them: whole where all tensors can be bound as they are, else in pieces.
///
/// # Errors
/// A sentence, if the kernel does not run them, or not in pieces.
pub(crate) fn passes(
    choice: Choice,
    problem: &Problem,
    capabilities: &Capabilities,
    splits: &mut Splits,
) -> Result<Vec<Lowered>, String> {
    let phases = weight_parts(problem, choice.packing(), capabilities)?;
    check_channel_data(problem, capabilities)?;
    let finish = |phases: &[Vec<Lowered>]| -> Result<Vec<Lowered>, String> {
        let finished = |pass: &Lowered| lowered::finished(problem, *pass);
        choice.adapt(phases.iter().map(|pieces| pieces.iter().map(finished).collect()).collect(), capabilities)
    };
    if phases.iter().flatten().all(|pass| pass.outputs() == 0) {
        return finish(&phases);
    }
    let binding = capabilities.limits.max_storage_buffer_binding_size;
    let tensors = tensors(problem);
    let fits = |elements: u64, bytes: u64| elements < INDEX_LIMIT && bytes <= binding;
    let too_large = tensors.iter().find(|&&(_, elements, size)| !fits(elements, elements.saturating_mul(size)));
    let parts = phases.iter().any(|parts| parts.len() > 1);
    // As good as nothing else where a tensor fits a binding, but not from every place.
    let mut whole = None;
    if too_large.is_none() && !parts {
        let passes = finish(&phases)?;
        let packed = choice.packing().bytes(&passes);
        let own =
            |pass: &Lowered| pass.prepare.as_ref().map_or(0, Prepare::bytes).max(choice.sums_bytes(pass, capabilities));
        if packed <= binding && passes.iter().all(|pass| own(pass) <= binding) {
            let room = Room::of(capabilities, 1);
            if tensors.iter().all(|&(_, elements, size)| room.holds(elements, size)) {
                return Ok(passes);
            }
            whole = Some(passes);
        }
    }
    // Windows that are a part of a binding first: those that lie side by side in one buffer (input, output and residual) can
    // then be read through one binding. But not where sums are cut for it that need not be.
    let beside = if problem.epilogue().residual { 3 } else { 2 };
    let (mut found, mut refusal) = (None, String::new());
    for share in [beside, 1] {
        let splitter = Splitter { choice, problem, capabilities, room: Room::of(capabilities, share) };
        let pieces = splits.0.entry((share, splitter.kind())).or_insert_with(|| splitter.split(&phases));
        match pieces.as_ref().map_err(String::clone).and_then(|pieces| finish(pieces)) {
            Ok(passes) if passes.len() as u64 > MAX_PASSES => {
                refusal = format!("{} pieces for bindings of {binding} bytes; there may be {MAX_PASSES}", passes.len());
            }
            Ok(passes) if !passes.iter().any(Lowered::cuts_sums) => return Ok(passes),
            Ok(passes) => found = found.or(Some(passes)),
            Err(sentence) => refusal = sentence,
        }
    }
    whole.or(found).ok_or(refusal)
}

/// The caller's tensors but for the weight: name, elements, bytes of an element.
fn tensors(problem: &Problem) -> [(&'static str, u64, u64); 4] {
    let (input, output) = (problem.dtype().size(), problem.output_dtype().size());
    [
        ("the input", problem.input_len(), input),
        ("the output", problem.output_len(), output),
        ("the offset", problem.offset_len(), input),
        ("the mask", problem.mask_len(), input),
    ]
}

/// Bias and slopes are bound whole.
fn check_channel_data(problem: &Problem, capabilities: &Capabilities) -> Result<(), String> {
    let binding = capabilities.limits.max_storage_buffer_binding_size;
    let numbers = match problem.integers() {
        Some(_) => 8 + 4 * u64::from(problem.out_channels()),
        None => u64::from(problem.out_channels()).saturating_add(Needs::of(problem).slopes.unwrap_or(0)),
    };
    let bytes = numbers.saturating_mul(4);
    if bytes > binding {
        return Err(format!(
            "the bias with the slopes needs max_storage_buffer_binding_size of {bytes}; this device has {binding}"
        ));
    }
    Ok(())
}

/// Something that a pass binds.
struct Need {
    what: &'static str,
    elements: u64,
    size: u64,
    /// Where its neighbours along each cut are.
    steps: [(Cut, u64); 7],
}

struct Splitter<'a> {
    choice: Choice,
    problem: &'a Problem,
    capabilities: &'a Capabilities,
    room: Room,
}

impl Splitter<'_> {
    fn kind(&self) -> Kind {
        let choice = self.choice;
        (choice.packing(), choice.kernel == Kernel::Winograd, choice.has_workspace().then_some(choice))
    }

    fn split(&self, phases: &[Vec<Lowered>]) -> Result<Pieces, String> {
        let (mut pieces, mut counts) = (Vec::new(), Vec::with_capacity(phases.len()));
        for parts in phases {
            let before = pieces.len();
            for part in parts {
                let part = Lowered { windows: Some(u32::MAX), ..*part };
                // Of a part without outputs only the weight is needed.
                if part.outputs() == 0 {
                    pieces.push(part);
                } else {
                    self.cut(&part, &mut pieces)?;
                }
            }
            counts.push(pieces.len() - before);
        }
        Ok(divided(pieces, counts))
    }

    fn cut(&self, pass: &Lowered, pieces: &mut Vec<Lowered>) -> Result<(), String> {
        let needs = self.needs(pass);
        let Some(number) = needs.iter().position(|need| !self.room.holds(need.elements, need.size)) else {
            pieces.push(self.with_more_channels(pass));
            return check_count(pieces, self.room.binding);
        };
        let need = &needs[number];
        let Some(cut) = self.order(pass, need).find(|&cut| pass.size(cut) > self.granule(cut)) else {
            return Err(format!(
                "{} of the smallest piece that it can take, of {} × {} output channels, has {} bytes; a window of them may have {}, since max_storage_buffer_binding_size, {}, is all that can be bound",
                need.what,
                pass.groups,
                pass.group_out,
                need.elements.saturating_mul(need.size),
                self.room.bytes,
                self.room.binding
            ));
        };
        if cut == Cut::Inputs {
            return self.cut(&Lowered { windows: Some(1), ..*pass }, pieces);
        }
        let (size, granule) = (pass.size(cut), self.granule(cut));
        // At an edge a piece may need less than elsewhere.
        let fits = |count: u32| {
            [0, (size - count) / 2, size - count].into_iter().all(|begin| {
                let need = &self.needs(&pass.piece(cut, begin, begin + count))[number];
                self.room.holds(need.elements, need.size)
            })
        };
        for (begin, end) in chunks(size, most_of(size, granule, fits), granule) {
            self.cut(&pass.piece(cut, begin, end), pieces)?;
        }
        Ok(())
    }

    /// As many input channels in a window as fit.
    fn with_more_channels(&self, pass: &Lowered) -> Lowered {
        if pass.windows != Some(1) || pass.groups > 1 {
            return *pass;
        }
        let window = pass.input_window(0..1);
        let size = self.problem.dtype().size();
        let elements = (self.room.bytes / size).min(INDEX_LIMIT - 1);
        let more = elements.saturating_sub(window.end - window.start) / pass.input_steps.channel.max(1);
        Lowered { windows: Some(more.saturating_add(1).min(pass.group_in.into()) as u32), ..*pass }
    }

    /// What a pass binds, in an order that does not depend on it.
    fn needs(&self, pass: &Lowered) -> Vec<Need> {
        let finished = lowered::finished(self.problem, *pass);
        let between = |steps: &Steps, group: u32| {
            [
                (Cut::Images, steps.image),
                (Cut::Groups, u64::from(group).saturating_mul(steps.channel)),
                (Cut::Outputs, steps.channel),
                (Cut::Inputs, steps.channel),
                (Cut::Axis(0), steps.axes[0]),
                (Cut::Axis(1), steps.axes[1]),
                (Cut::Axis(2), steps.axes[2]),
            ]
        };
        let of_input = between(&pass.input_steps, pass.group_in);
        let of_output = between(&pass.output_steps, pass.group_out);
        let of_sums = between(&pass.workspace_steps(), pass.group_out);
        let (input_size, output_size) = (self.problem.dtype().size(), self.problem.output_dtype().size());
        let length = |range: Range<u64>| range.end - range.start;
        let mut needs = vec![Need {
            what: "the output",
            elements: length(pass.output_window()),
            size: output_size,
            steps: of_output,
        }];
        let mut add = |what, elements, size, steps| needs.push(Need { what, elements, size, steps });
        match &finished.prepare {
            Some(prepare) => {
                let windows = prepare.windows();
                for (what, window) in ["the input", "the offset", "the mask"].into_iter().zip(windows) {
                    add(what, length(window), input_size, of_input);
                }
                add(prepare.name(), prepare.bytes() / 4, 4, of_sums);
            }
            None => add("the input", length(pass.input_window(0..pass.input_channels())), input_size, of_input),
        }
        // Winograd's algorithm goes by strips that keep its own buffers small.
        if self.choice.kernel != Kernel::Winograd {
            let sums = self.choice.sums_bytes(&finished, self.capabilities);
            add("the workspace", sums / 4, 4, of_sums);
        }
        needs
    }

    /// The cuts that there are for what a pass binds, in the order in which they are tried.
    fn order(&self, pass: &Lowered, need: &Need) -> impl Iterator<Item = Cut> + use<> {
        let mut cuts: Vec<(Cut, u64)> =
            need.steps.into_iter().filter(|&(cut, _)| self.allows(pass, need, cut)).collect();
        cuts.sort_by_key(|&(_, step)| std::cmp::Reverse(step));
        if self.problem.integers().is_some() {
            // Words of their outputs are made in the order of memory: pixels of a piece follow each other there.
            let first = (0..MAX_AXES).find(|&axis| pass.size(Cut::Axis(axis)) > 1);
            cuts.retain(|(cut, _)| !matches!(cut, Cut::Axis(axis) if Some(*axis) != first));
            // And those of other channels between the pixels are passed over.
            let last = self.problem.layout() == Layout::Nhwc;
            cuts.sort_by_key(|(cut, _)| last && matches!(cut, Cut::Groups | Cut::Outputs));
        }
        cuts.into_iter().map(|(cut, _)| cut)
    }

    fn allows(&self, pass: &Lowered, need: &Need, cut: Cut) -> bool {
        let of_input = need.what == "the input";
        let of_outputs = matches!(need.what, "the output" | "the workspace");
        let integers = self.problem.integers().is_some();
        let sampled = pass.prepare.is_some();
        let winograd = self.choice.kernel == Kernel::Winograd;
        match cut {
            Cut::Images => true,
            // The transformed weight lies by positions first, then by groups.
            Cut::Groups => !winograd && (!sampled || of_outputs),
            Cut::Outputs => pass.groups == 1 && of_outputs,
            Cut::Inputs => of_input && pass.groups == 1 && !winograd && !integers && !sampled,
            Cut::Axis(axis) => !sampled && (axis > 0 || !winograd),
        }
    }

    /// Pieces begin at multiples of this.
    fn granule(&self, cut: Cut) -> u32 {
        match cut {
            // Packed weights are read four channels at a time.
            Cut::Outputs if self.choice.packing() != Packing::Oihw => 4,
            // Tiles of the algorithm stay what they are.
            Cut::Axis(_) if self.choice.kernel == Kernel::Winograd => 4,
            _ => 1,
        }
    }
}

impl Choice {
    /// Bytes of sums that a pass may leave in the workspace; those of 16-bit tensors, which go there where they have parts,
    /// count always.
    fn sums_bytes(self, pass: &Lowered, capabilities: &Capabilities) -> u64 {
        let of_windows = if pass.quads.is_some() { windows(pass).saturating_mul(4) } else { 0 };
        let of_outputs = match Storage::of(pass.dtype, capabilities.shader_f16) {
            storage if storage.needs_workspace(true) => pass.outputs().saturating_mul(4),
            _ => 0,
        };
        self.workspace_of(pass).max(of_outputs).saturating_add(of_windows)
    }
}

#[cfg(test)]
mod tests;
