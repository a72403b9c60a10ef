//! Winograd's algorithm (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks"): tiles of the input and the
//! weight are transformed, multiplied position by position, and the products transformed back into tiles of the output. The
//! multiplication is a 1×1 convolution with a group for each position in a tile (and each group of the convolution), which the
//! other kernels run; a program before it transforms the input ([`Prepare`]), one behind it makes outputs.
//!
//! The transformed input is larger than the input, 2.25 times for tiles of 4×4 outputs and 1.8 times for 6×6, and so are the
//! products; so passes are strips of the image, or as many images, as keep to a limit.

use std::ops::Range;

use crate::capabilities::Capabilities;
use crate::conv::PaddingMode;
use crate::dtype::DType;
use crate::epilogue::Epilogue;
use crate::lowered::{Line, Lowered, MAX_PASSES, Steps};
use crate::params::Params;
use crate::prepare::Prepare;
use crate::ranges;
use crate::shape::MAX_AXES;
use crate::split::{Share, reach};

/// Invocations of a workgroup of `winograd_input.wgsl` and `winograd_output.wgsl`.
const WORKGROUP: u64 = 64;

/// Outputs of a tile along rows and columns: 1 along an axis with one tap, whose inputs are not transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile([u32; 2]);

impl Tile {
    /// With `outputs` along the axes that have three taps.
    ///
    /// # Errors
    /// A sentence, if the convolution is none that the algorithm takes.
    pub fn of(pass: &Lowered, outputs: u32) -> Result<Self, String> {
        let [slices, rows, columns] = pass.lines;
        if pass.quads.is_some() {
            return Err("Winograd's algorithm rounds, integers do not".into());
        }
        if pass.prepare.is_some() {
            return Err("Winograd's algorithm takes the input as it is, and samples have no neighbours".into());
        }
        if slices.kernel != 1 || slices.stride != 1 || slices.before != 0 || slices.output != slices.input {
            return Err(format!(
                "it has {} taps along slices; Winograd's algorithm is for rows and columns",
                slices.kernel
            ));
        }
        let of_line = |line: Line| match line {
            Line { kernel: 1, stride: 1, .. } => Some(1),
            Line { kernel: 3, stride: 1, dilation: 1, .. } => Some(outputs),
            _ => None,
        };
        match (of_line(rows), of_line(columns)) {
            (Some(rows), Some(columns)) if rows * columns > 1 => Ok(Self([rows, columns])),
            _ => Err(format!(
                "a {}×{} kernel with stride {}×{} and dilation {}×{}; Winograd's algorithm is for 3 taps along rows, columns or both, with stride and dilation 1",
                rows.kernel, columns.kernel, rows.stride, columns.stride, rows.dilation, columns.dilation
            )),
        }
    }

    /// Inputs of a tile along each axis.
    fn sides(self) -> [u32; 2] {
        self.0.map(|outputs| if outputs == 1 { 1 } else { outputs + 2 })
    }

    /// Products of a tile.
    pub fn positions(self) -> u32 {
        self.sides().iter().product()
    }

    /// The constants of `shaders/winograd.wgsl`.
    pub fn constants(self) -> [crate::shader::Constant; 4] {
        let ([rows, columns], [height, width]) = (self.0, self.sides());
        [("TILE_H", rows.into()), ("TILE_W", columns.into()), ("SIDE_H", height.into()), ("SIDE_W", width.into())]
    }
}

/// The tiles of a pass: `rows` rows of tiles of each of `planes` planes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tiles {
    tile: Tile,
    planes: u32,
    first_row: u32,
    rows: u32,
    columns: u32,
    /// Places of a channel: its tiles, and what fills up the last block of what multiplies.
    places: u32,
    /// How many of them lie together: a number that divides them.
    run: u32,
}

/// The input of a pass, tile by tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InputTransform {
    pub dtype: DType,
    tiles: Tiles,
    pub channels: u32,
    pub lines: [Line; MAX_AXES],
    pub padding_mode: PaddingMode,
    pub steps: Steps,
    /// First element of the pass.
    pub first: u64,
}

impl InputTransform {
    pub fn tile(&self) -> Tile {
        self.tiles.tile
    }

    /// Places of all channels.
    fn places(&self) -> u64 {
        u64::from(self.tiles.places).saturating_mul(self.channels.into())
    }

    /// Numbers that it writes.
    pub fn numbers(&self) -> u64 {
        self.places().saturating_mul(self.tile().positions().into())
    }

    pub fn workgroups(&self) -> u64 {
        self.places().div_ceil(WORKGROUP)
    }

    pub fn prove(&self) -> Result<(), String> {
        ranges::below("the number of transformed inputs", self.numbers().saturating_add(WORKGROUP))?;
        for (line, name) in self.lines[1..].iter().zip(["row", "column"]) {
            let reach = u64::from(line.output) + ranges::TILE_MARGIN + line.before.unsigned_abs();
            ranges::below(&format!("the largest padded {name} that a tile touches"), reach)?;
        }
        let window = self.window();
        ranges::below("the number of input elements of a window", window.end - window.start)
    }

    /// The stretch of the input that it reads.
    pub fn window(&self) -> Range<u64> {
        let sizes = self.lines.map(|line| line.input);
        self.first..self.first.saturating_add(reach(&self.steps, self.tiles.planes, self.channels.into(), sizes))
    }

    /// Everything but where the input begins in its binding, and the segment. The ranges are proved: every number fits.
    pub fn params(&self) -> Params {
        let [_, rows, columns] = self.lines;
        let Steps { image, channel, axes: [_, row, column] } = self.steps;
        Params {
            in_depth: self.tiles.first_row,
            in_height: rows.input,
            in_width: columns.input,
            in_image: image as u32,
            in_channel: channel as u32,
            in_row: row as u32,
            in_column: column as u32,
            pad_top: rows.before as i32,
            pad_left: columns.before as i32,
            padding_mode: self.padding_mode as u32,
            out_depth: self.tiles.planes,
            out_height: self.tiles.rows,
            out_width: self.tiles.columns,
            out_row: self.tiles.run,
            plane_pixels: self.tiles.places,
            out_channels: self.channels,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

/// What becomes of the products of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutputTransform {
    /// Of output and residual, and of the weight before its transform.
    pub dtype: DType,
    tiles: Tiles,
    /// Of the convolution.
    pub groups: u32,
    pub lines: [Line; MAX_AXES],
    pub bias: bool,
    pub epilogue: Epilogue,
    pub output_steps: Steps,
    pub first_output: u64,
}

impl OutputTransform {
    pub fn tile(&self) -> Tile {
        self.tiles.tile
    }

    /// The convolution whose outputs these are: the pass that multiplies, but for what the algorithm makes of it.
    pub fn convolution(&self, pass: &Lowered) -> Lowered {
        Lowered {
            dtype: self.dtype,
            batch: self.tiles.planes,
            groups: self.groups,
            lines: self.lines,
            bias: self.bias,
            epilogue: self.epilogue,
            output_steps: self.output_steps,
            first_output: self.first_output,
            prepare: None,
            winograd: None,
            ..*pass
        }
    }

    /// Parameters of `winograd_output.wgsl`, from those of [`convolution`](Self::convolution).
    pub fn params(&self, params: Params) -> Params {
        Params {
            in_depth: self.tiles.first_row,
            in_height: self.tiles.rows,
            in_width: self.tiles.columns,
            in_row: self.tiles.run,
            in_image: self.tiles.planes,
            plane_pixels: self.tiles.places,
            ..params
        }
    }

    pub fn workgroups(&self, pass: &Lowered) -> u64 {
        let channels = u64::from(pass.group_out) * u64::from(self.groups);
        u64::from(self.tiles.places).saturating_mul(channels).div_ceil(WORKGROUP)
    }
}

/// The tiles that a program multiplies at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub places: u32,
    /// Whether numbers of all channels for a block lie together: a processor fetches what lies in a row ahead of its use, but
    /// not the short pieces of as many rows as there are channels.
    pub together: bool,
}

impl Block {
    /// For who asks for the weight alone, which does not depend on it.
    pub const ONE: Self = Self { places: 1, together: false };
}

/// The passes of a convolution with tiles of `outputs` outputs along each axis that has three taps, for a program that multiplies
/// a block of them at a time.
///
/// # Errors
/// A sentence, if the algorithm does not take one of the passes.
pub(crate) fn passes(
    passes: &[Vec<Lowered>],
    outputs: u32,
    block: Block,
    capabilities: &Capabilities,
) -> Result<Vec<Lowered>, String> {
    of_one(passes.len())?;
    let mut all = Vec::new();
    for pass in passes.iter().flatten() {
        strips(pass, Tile::of(pass, outputs)?, block, capabilities, &mut all)?;
    }
    Ok(all)
}

/// Refuses a convolution of several passes (in how many pieces they may be).
pub(crate) fn of_one(passes: usize) -> Result<(), String> {
    if passes > 1 {
        return Err(format!("it takes {passes} passes; Winograd's algorithm is for a convolution of one"));
    }
    Ok(())
}

fn strips(
    pass: &Lowered,
    tile: Tile,
    block: Block,
    capabilities: &Capabilities,
    all: &mut Vec<Lowered>,
) -> Result<(), String> {
    let [slices, rows, columns] = pass.lines;
    if slices.output > 1 {
        return Err(format!("it has {} slices; Winograd's algorithm is for images", slices.output));
    }
    let [tile_rows, tile_columns] =
        [(rows, tile.0[0]), (columns, tile.0[1])].map(|(line, outputs)| line.output.div_ceil(outputs));
    // Of a place: transformed inputs, each of which has a binding, and products, which have another.
    let of_place = |channels: u32| {
        let numbers = u64::from(tile.positions()) * u64::from(pass.groups);
        numbers.saturating_mul(4 * u64::from(channels)).max(1)
    };
    let [inputs, products] = [pass.group_in, pass.group_out].map(of_place);
    let in_workspace = capabilities.max_workspace / inputs.saturating_add(products);
    let in_binding = capabilities.limits.max_storage_buffer_binding_size / inputs.max(products);
    // Whole rows, and room for what fills up the last block.
    let most_places = in_workspace.min(in_binding).saturating_sub(u64::from(block.places - 1));
    let most_rows = (most_places / u64::from(tile_columns.max(1))).max(1);
    let of_image = u64::from(tile_rows).max(1);
    let most_images = (most_rows / of_image).clamp(1, u32::MAX.into()) as u32;
    // Strips of the same height, as nearly as may be.
    let strips_of_image = of_image.div_ceil(most_rows);
    let strip = of_image.div_ceil(strips_of_image) as u32;
    let count = u64::from(pass.batch.div_ceil(most_images)).saturating_mul(strips_of_image);
    if count > MAX_PASSES {
        return Err(format!("{count} strips of its images; there may be {MAX_PASSES}"));
    }
    let positions = tile.positions();
    let groups = pass.groups.checked_mul(positions).filter(|groups| {
        let most = u64::from(pass.group_in.max(pass.group_out)) * u64::from(*groups);
        most < ranges::INDEX_LIMIT
    });
    let Some(groups) = groups else {
        return Err(format!("{} groups in {positions} positions are too many channels", pass.groups));
    };
    // One where there is nothing to compute, for the weight, which does not depend on sizes.
    for first_image in (0..pass.batch.max(1)).step_by(most_images as usize) {
        for first_row in (0..tile_rows.max(1)).step_by(strip as usize) {
            let planes = most_images.min(pass.batch - first_image);
            let rows = strip.min(tile_rows - first_row);
            let count = u64::from(planes) * u64::from(rows) * u64::from(tile_columns);
            ranges::below("the number of tiles of a pass", count.saturating_add(block.places.into()))?;
            let places = (count as u32).next_multiple_of(block.places);
            let run = if block.together { block.places } else { places };
            let runs = places.checked_div(run).unwrap_or(0);
            let tiles = Tiles { tile, planes, first_row, rows, columns: tile_columns, places, run };
            let one = Line { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 };
            let row = Line { input: run, output: run, ..one };
            let of_tiles = |channels: u32| Steps::planar([runs, channels, 1, 1, run]);
            let input = InputTransform {
                dtype: pass.dtype,
                tiles,
                channels: pass.group_in * pass.groups,
                lines: pass.lines,
                padding_mode: pass.padding_mode,
                steps: pass.input_steps,
                first: pass.first_input + u64::from(first_image) * pass.input_steps.image,
            };
            let output = OutputTransform {
                dtype: pass.dtype,
                tiles,
                groups: pass.groups,
                lines: pass.lines,
                bias: pass.bias,
                epilogue: pass.epilogue,
                output_steps: pass.output_steps,
                first_output: pass.first_output + u64::from(first_image) * pass.output_steps.image,
            };
            all.push(Lowered {
                dtype: DType::F32,
                batch: runs,
                groups,
                lines: [one, one, row],
                padding_mode: PaddingMode::Zeros,
                bias: false,
                epilogue: Epilogue::NONE,
                input_steps: of_tiles(pass.group_in * groups),
                output_steps: of_tiles(pass.group_out * groups),
                first_input: 0,
                first_output: 0,
                share: Share { groups: pass.share.groups * positions, ..pass.share },
                windows: pass.windows.map(|_| u32::MAX),
                prepare: Some(Prepare::Winograd(input)),
                winograd: Some(output),
                ..*pass
            });
        }
    }
    Ok(())
}
