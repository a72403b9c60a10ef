//! The uniform block of a segment: [`Params`], as `shaders/common.wgsl` declares it, or of a program that writes a
//! convolution's input [`SampleParams`].

use crate::epilogue::Activation;
use crate::kernels::Tiling;
use crate::lowered::{Lowered, Steps};
use crate::packing::KOrder;

/// Same fields, in the same order, as `Params` in `shaders/common.wgsl`; a test compares the two.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Params {
    pub in_depth: u32,
    pub in_height: u32,
    pub in_width: u32,
    pub in_image: u32,
    pub in_channel: u32,
    pub in_slice: u32,
    pub in_row: u32,
    pub in_column: u32,
    pub out_depth: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub out_image: u32,
    pub out_channel: u32,
    pub out_slice: u32,
    pub out_row: u32,
    pub out_column: u32,
    pub plane_pixels: u32,
    pub out_channels: u32,
    pub group_in: u32,
    pub group_out: u32,
    pub sum_length: u32,
    pub pixels: u32,
    pub pad_front: i32,
    pub pad_top: i32,
    pub pad_left: i32,
    pub input_offset: u32,
    pub output_offset: u32,
    pub residual_offset: u32,
    pub weight_offset: u32,
    pub first_output: u32,
    pub tile_begin: u32,
    pub tile_end: u32,
    pub grid_width: u32,
    pub part_begin: u32,
    pub part_end: u32,
    pub unfinished: u32,
    pub tiles_pixels: u32,
    pub tiles_channels: u32,
    pub tiles_run: u32,
    pub alpha: f32,
    pub beta: f32,
    pub kernel_d: u32,
    pub kernel_h: u32,
    pub kernel_w: u32,
    pub stride_d: u32,
    pub stride_h: u32,
    pub stride_w: u32,
    pub dilation_d: u32,
    pub dilation_h: u32,
    pub dilation_w: u32,
    pub padding_mode: u32,
    pub activation: u32,
    pub has_bias: u32,
    pub has_residual: u32,
    pub channel_block: u32,
    pub weight_rows: u32,
    pub weight_quads: u32,
    pub first_channel: u32,
    pub all_channels: u32,
    pub splits: u32,
    pub split_length: u32,
}

impl Params {
    /// Everything but the offsets and the segment. Steps and offsets are taken modulo 2^32, as shaders add and multiply (claim 1
    /// of `ranges`). The output is dense in a workspace if it is `partial`, else where the pass
    /// has it. The ranges are proved before: every number fits.
    pub fn new(pass: &Lowered, tiling: &Tiling, weight_offset: u32, partial: bool) -> Self {
        let order = KOrder::of(pass);
        let (alpha, beta) = activation_numbers(pass.epilogue.activation);
        let [slices, rows, columns] = pass.lines;
        let narrow = |Steps { image, channel, axes: [slice, row, column] }: Steps| {
            [image, channel, slice, row, column].map(|step| step as u32)
        };
        let output = if partial { pass.workspace_steps() } else { pass.output_steps };
        let [in_image, in_channel, in_slice, in_row, in_column] = narrow(pass.input_steps);
        let [out_image, out_channel, out_slice, out_row, out_column] = narrow(output);
        Self {
            in_depth: slices.input,
            in_height: rows.input,
            in_width: columns.input,
            in_image,
            in_channel,
            in_slice,
            in_row,
            in_column,
            out_depth: slices.output,
            out_height: rows.output,
            out_width: columns.output,
            out_image,
            out_channel,
            out_slice,
            out_row,
            out_column,
            plane_pixels: rows.output * columns.output,
            out_channels: pass.out_channels(),
            group_in: pass.group_in,
            group_out: pass.group_out,
            sum_length: pass.sum_length() as u32,
            pixels: tiling.pixels,
            pad_front: slices.before as i32,
            pad_top: rows.before as i32,
            pad_left: columns.before as i32,
            input_offset: 0,
            output_offset: 0,
            residual_offset: 0,
            weight_offset,
            // Slopes of all elements of an image: which one is the first.
            first_output: (pass.first_output % pass.output_steps.image.max(1)) as u32,
            tile_begin: 0,
            tile_end: 0,
            grid_width: 0,
            part_begin: 0,
            part_end: 0,
            unfinished: 0,
            tiles_pixels: tiling.tiles_pixels,
            tiles_channels: tiling.tiles_channels,
            tiles_run: tiling.tiles_run,
            alpha,
            beta,
            kernel_d: slices.kernel,
            kernel_h: rows.kernel,
            kernel_w: columns.kernel,
            stride_d: slices.stride,
            stride_h: rows.stride,
            stride_w: columns.stride,
            dilation_d: slices.dilation,
            dilation_h: rows.dilation,
            dilation_w: columns.dilation,
            padding_mode: pass.padding_mode as u32,
            activation: activation_code(pass.epilogue.activation),
            has_bias: pass.bias.into(),
            has_residual: pass.epilogue.residual.into(),
            channel_block: order.block,
            weight_rows: order.rows().min(u64::from(u32::MAX)) as u32,
            weight_quads: pass.share.group_out.div_ceil(4),
            first_channel: pass.first_channel,
            all_channels: pass.all_channels,
            splits: tiling.splits,
            split_length: tiling.split_length,
        }
    }
}

impl Params {
    /// For this activation in place of the pass's own.
    pub fn with_activation(self, activation: Activation) -> Self {
        let (alpha, beta) = activation_numbers(activation);
        Self { alpha, beta, activation: activation_code(activation), ..self }
    }
}

/// Same fields, in the same order, as `Params` in `shaders/sample.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct SampleParams {
    pub in_height: u32,
    pub in_width: u32,
    pub in_image: u32,
    pub in_channel: u32,
    pub in_row: u32,
    pub in_column: u32,
    pub offset_image: u32,
    pub offset_channel: u32,
    pub offset_row: u32,
    pub offset_column: u32,
    pub mask_image: u32,
    pub mask_channel: u32,
    pub mask_row: u32,
    pub mask_column: u32,
    pub input_first: u32,
    pub offset_first: u32,
    pub mask_first: u32,
    pub channels: u32,
    pub group_in: u32,
    pub group_offset: u32,
    pub pieces: u32,
    pub offset_groups: u32,
    pub taps: u32,
    pub kernel_w: u32,
    pub stride_h: u32,
    pub stride_w: u32,
    pub dilation_h: u32,
    pub dilation_w: u32,
    pub pad_top: i32,
    pub pad_left: i32,
    pub out_width: u32,
    pub pixels: u32,
    pub channel_columns: u32,
    pub tap_columns: u32,
    pub items: u32,
    pub tile_begin: u32,
    pub grid_width: u32,
}

/// The parameters of any program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Block {
    /// Of a kernel, or the addition of partial sums.
    Convolution(Params),
    /// Of `shaders/sample.wgsl`.
    Sample(SampleParams),
}

impl Block {
    /// What a binding of parameters has, whatever they are.
    pub const SIZE: usize = size_of::<Params>();

    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Convolution(params) => bytemuck::bytes_of(params),
            Self::Sample(params) => bytemuck::bytes_of(params),
        }
    }
}

const _: () = assert!(size_of::<SampleParams>() <= Block::SIZE);

/// The number of an activation in `activate()` of `shaders/activation.wgsl`.
pub(crate) fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Clip { .. } => 2,
        Activation::LeakyRelu { .. } => 3,
        Activation::Prelu => 4,
        Activation::Sigmoid => 5,
        Activation::Tanh => 6,
        Activation::Silu => 7,
        Activation::Gelu => 8,
        Activation::GeluTanh => 9,
        Activation::HardSwish => 10,
        Activation::Elu { .. } => 11,
        Activation::PreluEach => 12,
        Activation::HardSigmoid { .. } => 13,
    }
}

/// alpha and beta; an infinite end of a range becomes the largest number, since WGSL knows no infinity.
fn activation_numbers(activation: Activation) -> (f32, f32) {
    let numbers = activation.numbers();
    let number = |index: usize| numbers.get(index).map_or(0.0, |n: &f32| n.clamp(f32::MIN, f32::MAX));
    (number(0), number(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets of the Rust fields, by name, for comparison with naga's.
    macro_rules! offsets {
        ($block:ident: $($field:ident)*) => {
            (vec![$((stringify!($field), std::mem::offset_of!($block, $field) as u32)),*], size_of::<$block>())
        };
    }

    fn compare(source: &str, (host, size): (Vec<(&str, u32)>, usize)) {
        let module = naga::front::wgsl::parse_str(source).unwrap();
        let (_, declared) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Params")).unwrap();
        let naga::TypeInner::Struct { members, span } = &declared.inner else { panic!("Params is a struct") };
        let shader: Vec<(&str, u32)> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset)).collect();
        assert_eq!(shader, host);
        assert_eq!(*span as usize, size);
        assert!(*span <= 256, "a segment's parameters take {span} bytes; one dynamic offset step has 256");
    }

    #[test]
    fn layout_is_that_of_the_shader() {
        let host = offsets!(Params: in_depth in_height in_width in_image in_channel in_slice in_row in_column out_depth out_height out_width out_image out_channel out_slice out_row out_column plane_pixels out_channels group_in group_out sum_length pixels pad_front pad_top pad_left input_offset output_offset residual_offset weight_offset first_output tile_begin tile_end grid_width part_begin part_end unfinished tiles_pixels tiles_channels tiles_run alpha beta kernel_d kernel_h kernel_w stride_d stride_h stride_w dilation_d dilation_h dilation_w padding_mode activation has_bias has_residual channel_block weight_rows weight_quads first_channel all_channels splits split_length);
        compare(&crate::kernels::common_source_for_tests(), host);
    }

    #[test]
    fn layout_is_that_of_the_sampling_shader() {
        let host = offsets!(SampleParams: in_height in_width in_image in_channel in_row in_column offset_image offset_channel offset_row offset_column mask_image mask_channel mask_row mask_column input_first offset_first mask_first channels group_in group_offset pieces offset_groups taps kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left out_width pixels channel_columns tap_columns items tile_begin grid_width);
        let files = [include_str!("../shaders/sample_words.wgsl"), include_str!("../shaders/sample.wgsl")];
        compare(&files.concat(), host);
    }
}
