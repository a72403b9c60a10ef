//! [`Choice`]: one variant of one kernel, and what follows from it: passes, parts of sums, limits, cost, the module.

use super::modules::{Access, Build, Storage, USUAL_SUBGROUP, module, set_epilogue};
use super::{Checks, Depth, Kernel, MAX_SPECIAL_TAPS, Part, Prices, Tiling};
use crate::accuracy::Rounding;
use crate::capabilities::{AdapterClass, Capabilities};
use crate::error::Result;
use crate::lowered::Lowered;
use crate::matrix_units;
use crate::packing::Packing;
use crate::prepare::Prepare;
use crate::problem::Problem;
use crate::ranges;
use crate::split::{self, Splits};

/// One variant of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Choice {
    pub kernel: Kernel,
    pub(super) variant: usize,
}

impl Choice {
    /// Every variant of every kernel, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        Kernel::ALL
            .iter()
            .flat_map(|&kernel| (0..kernel.recipe().variant_count()).map(move |variant| Self { kernel, variant }))
    }

    pub fn name(self) -> &'static str {
        self.kernel.recipe().variant_name(self.variant)
    }

    pub fn packing(self) -> Packing {
        self.kernel.recipe().packing(self.variant)
    }

    /// How it arrives at its results.
    pub fn rounding(self) -> Rounding {
        self.kernel.recipe().rounding(self.variant)
    }

    /// The passes of a problem, as this variant runs it.
    ///
    /// # Errors
    /// A sentence, if it does not.
    pub fn passes(self, problem: &Problem, capabilities: &Capabilities) -> Result<Vec<Lowered>, String> {
        self.passes_among(problem, capabilities, &mut Splits::default())
    }

    /// The same, where other variants are asked about the same problem and device.
    ///
    /// # Errors
    /// As [`Choice::passes`].
    pub fn passes_among(
        self,
        problem: &Problem,
        capabilities: &Capabilities,
        splits: &mut Splits,
    ) -> Result<Vec<Lowered>, String> {
        split::passes(self, problem, capabilities, splits)
    }

    /// What this variant makes of passes, each of which may be in pieces.
    ///
    /// # Errors
    /// A sentence, if it does not run them.
    pub fn adapt(self, passes: Vec<Vec<Lowered>>, capabilities: &Capabilities) -> Result<Vec<Lowered>, String> {
        self.kernel.recipe().passes(self.variant, passes, capabilities)
    }

    /// Whether [`Choice::workspace_of`] may be more than nothing.
    pub fn has_workspace(self) -> bool {
        self.kernel.recipe().has_workspace(self.variant)
    }

    pub fn workspace_of(self, pass: &Lowered) -> u64 {
        self.kernel.recipe().workspace(pass, self.variant)
    }

    pub fn tiling(self, pass: &Lowered) -> Result<Tiling, String> {
        self.kernel.recipe().tiling(pass, self.variant)
    }

    pub fn depth(self, pass: &Lowered, checks: Checks) -> Depth {
        self.kernel.recipe().depth(pass, self.variant, checks)
    }

    /// The parts in which sums are formed: at least so many, where they have so many steps.
    ///
    /// # Errors
    /// A sentence, if a step takes more than the driver's loops or a window of the input allow.
    pub fn parts(
        self,
        pass: &Lowered,
        checks: Checks,
        capabilities: &Capabilities,
        at_least: u64,
    ) -> Result<Vec<Part>, String> {
        let depth = self.depth(pass, checks);
        let rounds = capabilities.max_loop_rounds;
        match pass.windows.filter(|_| pass.cuts_sums()) {
            Some(_) if self.tiling(pass)?.splits > 1 => {
                Err("its workgroups share sums, and a window of the input holds a part of the channels only".into())
            }
            Some(most) => depth.parts_of_windows(most, pass.group_in, rounds, at_least),
            None => depth.parts(rounds, at_least),
        }
    }

    /// Whether the kernel takes all passes of a problem on such a device, or a sentence with numbers why not.
    pub fn supports(self, passes: &[Lowered], capabilities: &Capabilities, checks: Checks) -> Result<(), String> {
        let recipe = self.kernel.recipe();
        if passes.is_empty() {
            return Ok(());
        }
        for pass in passes {
            let taps = pass.taps();
            if !recipe.generic(self.variant) && taps > MAX_SPECIAL_TAPS {
                let sizes: Vec<String> = pass.lines.iter().map(|line| line.kernel.to_string()).collect();
                // A kernel of one slice is known as rows × columns.
                let sizes = sizes[usize::from(pass.lines[0].kernel == 1)..].join("×");
                return Err(format!(
                    "{sizes} has {taps} taps; up to {MAX_SPECIAL_TAPS} are compiled into a shader, the generic variants take any"
                ));
            }
            ranges::prove(pass)?;
            self.tiling(pass)?;
            self.parts(pass, checks, capabilities, 1)?;
        }
        let limits = &capabilities.limits;
        let ([x, y], shared) = recipe.workgroup(self.variant, capabilities.subgroup_size());
        for (what, limit, required, actual) in [
            ("the workgroup's width", "max_compute_workgroup_size_x", x, limits.max_compute_workgroup_size_x),
            ("the workgroup's height", "max_compute_workgroup_size_y", y, limits.max_compute_workgroup_size_y),
            (
                "the workgroup",
                "max_compute_invocations_per_workgroup",
                x * y,
                limits.max_compute_invocations_per_workgroup,
            ),
            (
                "workgroup memory",
                "max_compute_workgroup_storage_size",
                shared,
                limits.max_compute_workgroup_storage_size,
            ),
            ("bindings", "max_storage_buffers_per_shader_stage", 5, limits.max_storage_buffers_per_shader_stage),
        ] {
            check_limit(what, limit, required.into(), actual.into())?;
        }
        check_limit("the packed weight", "max_buffer_size", self.packing().bytes(passes), limits.max_buffer_size)
    }

    /// Estimated cost of a problem in multiply-adds of one invocation: what is computed (tails included) times what each
    /// multiply-add costs, times how much of the device would idle.
    pub fn cost(self, passes: &[Lowered], class: AdapterClass) -> f64 {
        let prices = Prices::of(class);
        passes.iter().map(|pass| self.pass_cost(pass, class, &prices)).sum()
    }

    fn pass_cost(self, pass: &Lowered, class: AdapterClass, prices: &Prices) -> f64 {
        let recipe = self.kernel.recipe();
        let Ok(tiling) = self.tiling(pass) else { return f64::INFINITY };
        let work = f64::from(tiling.tiles) * tiling.tile_macs as f64;
        // A GPU is busy when it has invocations enough and they fill its subgroups, a processor when it has workgroups enough.
        let ([x, y], _) = recipe.workgroup(self.variant, USUAL_SUBGROUP);
        let invocations = f64::from(x * y);
        let (size, filled) = match class {
            AdapterClass::Software => (1.0, 1.0),
            _ => (invocations / 64.0, (invocations / f64::from(USUAL_SUBGROUP)).min(1.0)),
        };
        let idle = (prices.workgroups / (f64::from(tiling.tiles.max(1)) * size)).max(1.0) / filled;
        // Partial sums are written, and read by one more dispatch.
        let reduce = match self.workspace_of(pass) {
            0 => 0.0,
            _ if pass.winograd.is_some() => 0.0,
            bytes => prices.pass + 2.0 * prices.load * bytes as f64 / 4.0,
        };
        // Run-time sizes keep the compiler from unrolling taps.
        let generic = if recipe.generic(self.variant) { 2.0 } else { 1.0 };
        let other = recipe.other_cost(pass, self.variant, prices);
        work * recipe.unit_cost(pass, self.variant, prices) * idle * generic + reduce + other
    }

    /// The convolution's WGSL, a whole module whose marked loops are still to be unrolled; `split` if sums are formed in parts.
    pub fn source(self, pass: &Lowered, build: &Build) -> Result<String> {
        let recipe = self.kernel.recipe();
        let Build { aliasing, split, partial, storage, subgroup_size: _, scalar_slices } = *build;
        let output = if partial && storage != Storage::Quads { Storage::Words } else { storage };
        let input = pass.prepare.as_ref().map_or(storage, Prepare::storage);
        let slices = recipe.matrix_side(self.variant).map(|_| matrix_units::slices_file(scalar_slices));
        let main = [slices.unwrap_or_default(), recipe.source(self.variant)];
        let mut source = module(recipe.products(), [input, storage, output], &main)?;
        if let Some(side) = recipe.matrix_side(self.variant) {
            source.set_types(&matrix_units::matrix_types(side))?;
        }
        if recipe.generic(self.variant) {
            source.set(&[("GENERIC", true.into()), ("INPUT_DENSE", false.into()), ("OUTPUT_DENSE", false.into())])?;
        } else {
            let [kernel, stride, dilation] = [pass.kernel(), pass.stride(), pass.dilation()];
            source.set(&[
                ("KERNEL_H", kernel[0].into()),
                ("KERNEL_W", kernel[1].into()),
                ("STRIDE_H", stride[0].into()),
                ("STRIDE_W", stride[1].into()),
                ("DILATION_H", dilation[0].into()),
                ("DILATION_W", dilation[1].into()),
                ("PADDING_MODE", (pass.padding_mode as u32).into()),
                ("DEEP", pass.is_deep().into()),
                ("INPUT_DENSE", (pass.input_steps.axes[2] == 1).into()),
                // Partial sums lie dense in their workspace.
                ("OUTPUT_DENSE", (pass.output_steps.axes[2] == 1 || partial).into()),
            ])?;
            set_epilogue(&mut source, pass)?;
        }
        source.set(&[("SPLIT", split.into()), ("PARTIAL", partial.into())])?;
        source.set(&recipe.constants(pass, self.variant, build))?;
        for (name, constant, access) in
            [("input", "INPUT_IN_OUTPUT", aliasing.input), ("residual", "RESIDUAL_IN_OUTPUT", aliasing.residual)]
        {
            match access {
                Access::Separate => {}
                Access::SharedBuffer => source.make_writable(name)?,
                Access::ThroughOutput => source.set(&[(constant, true.into())])?,
            }
        }
        Ok(source.finish())
    }
}

fn check_limit(what: &str, limit: &str, required: u64, actual: u64) -> Result<(), String> {
    if required <= actual {
        return Ok(());
    }
    Err(format!("{what} needs {limit} of {required}; this device has {actual}"))
}
