//! Host side of `shaders/gather.wgsl`: what the kernels have in common that gather tiles of the matrix view.

use crate::lowered::{Lowered, Steps};
use crate::packing::KOrder;
use crate::shader::Constant;

/// The constants of a tile (output channels × pixels × depth of a slice) and of its gathering by so many invocations.
pub(super) fn constants(pass: &Lowered, tile: [u32; 3], threads: u32, generic: bool, partial: bool) -> Vec<Constant> {
    let order = KOrder::of(pass);
    // A block or a slice may reach beyond the last channel.
    let ragged = generic || !pass.group_in.is_multiple_of(order.block) || !order.length.is_multiple_of(tile[2].into());
    // Invocations that share the gathering of a column: they take parts of a channel block, which none may overrun.
    let phases = threads / tile[1];
    let phases = if phases > 1 && order.block >= 4 * phases && !ragged { phases } else { 1 };
    let plain = pass.lines.iter().all(|line| line.is_plain()) && !pass.is_deep();
    let follow = |steps: &Steps| steps.axes[1] == u64::from(pass.lines[2].output) * steps.axes[2];
    vec![
        ("TILE_M", tile[0].into()),
        ("TILE_N", tile[1].into()),
        ("TILE_K", tile[2].into()),
        ("PHASES", phases.into()),
        ("CHANNEL_BLOCK", if generic { 1 } else { order.block }.into()),
        ("KERNEL_D", if generic { 1 } else { pass.lines[0].kernel }.into()),
        ("PADDED", (pass.is_padded() || generic).into()),
        ("POINTWISE", (plain && follow(&pass.input_steps) && !generic).into()),
        ("OUTPUT_LINEAR", (partial || follow(&pass.output_steps) && !generic).into()),
        ("RAGGED", ragged.into()),
    ]
}
