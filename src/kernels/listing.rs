//! [`shader_source`]: what a plan hands to wgpu, to read, without a device.

use super::modules::{Access, Build, Storage, pack_source, reduce_source};
use super::{Checks, Choice, Kernel, output_transform_source, requantize_source, window_sums_source};
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::integers::Integers;
use crate::problem::Problem;
use crate::shader::unrolled;

/// The WGSL of a kernel for a problem as it is handed to wgpu: a whole module, and nothing else. Part 0 is the
/// convolution, part 1 the program that packs its weight, part 2, where sums go to a
/// workspace, what becomes of them there; then the program that makes what the convolution reads, if there is one (of a
/// deformable one, or of integers, and there the sums of windows too); then the other convolutions of a problem that takes
/// several. Needs no adapter: it is a device of WebGPU's default limits (for kernel `matrix`, one with matrix units as usual).
/// Without a name, the kernel's first variant that takes the problem there.
///
/// # Errors
/// [`Error::Unknown`] for a variant or a part that does not exist, [`Error::Refused`] if the variant (or every one)
/// refuses the problem.
pub fn shader_source(problem: &Problem, kernel: Kernel, variant: Option<&str>, part: u32) -> Result<String> {
    let capabilities = match kernel {
        Kernel::Matrix => Capabilities::baseline().with_matrix_units(),
        _ => Capabilities::baseline(),
    };
    let refused = |name: &str, refusal| Error::Refused {
        kernel: format!("{kernel}{name}"),
        problem: problem.to_string(),
        refusal,
    };
    let supported = |choice: Choice| {
        let passes = choice.passes(problem, &capabilities)?;
        choice.supports(&passes, &capabilities, Checks::default()).map(|()| (choice, passes))
    };
    let (choice, passes) = match variant {
        Some(name) => supported(kernel.variant(name)?).map_err(|refusal| refused(&format!(" {name}"), refusal))?,
        None => {
            let mut last = String::new();
            Choice::all()
                .filter(|choice| choice.kernel == kernel)
                .find_map(|choice| supported(choice).map_err(|refusal| last = refusal).ok())
                .ok_or_else(|| refused("", last))?
        }
    };
    let mut modules = Vec::new();
    for (number, pass) in passes.iter().enumerate() {
        let storage = Storage::of(pass.dtype, capabilities.shader_f16);
        let partial = choice.workspace_of(pass) > 0 || storage.needs_workspace(false);
        let build = Build { partial, storage, ..Build::default() };
        let module = choice.source(pass, &build)?;
        if !modules.contains(&module) {
            modules.push(module);
        }
        if number == 0 {
            modules.push(pack_source(choice.packing(), Some(pass), problem.weight_dtype())?);
            match problem.integers() {
                Some(integers) => modules.push(requantize_source(problem, integers)?),
                None if pass.winograd.is_some() => {
                    modules.push(output_transform_source(pass, Access::Separate, capabilities.shader_f16)?);
                }
                None if partial => modules.push(reduce_source(pass, Access::Separate, build.storage)?),
                None => {}
            }
            if let Some(prepare) = &pass.prepare {
                modules.push(prepare.source(capabilities.shader_f16)?);
            }
            if problem.integers().is_some_and(Integers::needs_windows) {
                modules.push(window_sums_source()?);
            }
        }
    }
    match modules.get(part as usize) {
        Some(module) => unrolled(module),
        None => Err(Error::Unknown {
            what: "part",
            name: part.to_string(),
            known: format!(
                "0 to {}: the convolution, the packing of its weight, where there are such programs what becomes of sums in a workspace and what makes the input, further convolutions",
                modules.len() - 1
            ),
        }),
    }
}
