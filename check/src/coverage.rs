//! Which units the problems of the table run on.
//!
//! Sizes and channels are no part of a pipeline, so the problems of the table fall into configurations that share one. Most
//! problems have one of a few configurations; the rest have one nearly to themselves, and each of those compiled for every
//! variant in both modes takes hours on a software adapter, and finds little more than one variant of each kernel does.

use std::collections::HashMap;

use wgpu_conv::{Checks, Kernel, Problem, shader_source};

use crate::runner::Unit;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What tests have time for. Configurations of very many problems run on every variant in both modes, those of many on
    /// every third variant, in checked mode on every fourth; each other one, in turn, on one variant of two of the kernels, and
    /// in checked mode a fifth of them on one of each. Which problems share a shader is asked of each kernel here. Problems take
    /// turns on the variants of Winograd's algorithm.
    Tests,
    /// Configurations of many problems on every variant in both modes, each other one on one variant of each kernel in either
    /// mode, in turn.
    Usual,
    /// Every problem on every variant in both modes.
    Everything,
}

/// Configurations with as many problems are those of very many.
const MOST: usize = 20;
/// Configurations with as many problems are those of many.
const MANY: usize = 7;

/// Problems with more groups run on some variants only: each group fills a tile of its own, nearly all of it with tails. Minutes
/// on a slow adapter.
const MANY_GROUPS: u32 = 10_000;

/// Which units problems run on.
#[derive(Debug, Clone)]
pub struct Coverage {
    extent: Extent,
    /// By the shaders of kernels with windows, and of those that gather.
    windows: Configurations,
    gathers: Configurations,
}

/// Problems whose shaders are the same.
#[derive(Debug, Clone)]
struct Configurations {
    /// Number of each problem's; none if only the generic variants take it.
    numbers: Vec<Option<usize>>,
    /// How many problems each has.
    sharing: Vec<usize>,
}

impl Configurations {
    /// Of these problems, as this variant tells them apart.
    fn new(problems: &[Option<&Problem>], kernel: Kernel, variant: &str) -> Self {
        let (mut known, mut sharing) = (HashMap::new(), Vec::new());
        let numbers = problems
            .iter()
            .map(|&problem| {
                let number = *known.entry(shaders(problem?, kernel, variant)?).or_insert(sharing.len());
                sharing.resize(sharing.len().max(number + 1), 0);
                sharing[number] += 1;
                Some(number)
            })
            .collect();
        Self { numbers, sharing }
    }
}

impl Coverage {
    /// Of these problems. (`None`, of which nothing is to be said, keeps a place.)
    pub fn new<'p>(problems: impl IntoIterator<Item = Option<&'p Problem>>, extent: Extent) -> Self {
        let problems: Vec<Option<&Problem>> = problems.into_iter().collect();
        let windows = Configurations::new(&problems, Kernel::Direct, "c4x8");
        let gathers = Configurations::new(&problems, Kernel::Tiled, "m32n32k16");
        Self { extent, windows, gathers }
    }

    /// Number of a problem's configuration; none if only the generic variants take it.
    pub fn configuration(&self, index: usize) -> Option<usize> {
        self.windows.numbers[index]
    }

    /// Whether a problem has a configuration that runs on every variant, in both modes.
    fn is_whole(&self, index: usize) -> bool {
        self.sharing(index, &self.windows) >= self.least()
    }

    /// How many problems must share a shader to run on every variant.
    fn least(&self) -> usize {
        match self.extent {
            Extent::Tests => MOST,
            Extent::Usual => MANY,
            Extent::Everything => 0,
        }
    }

    /// How many problems have the same shaders as this one; 0 if only the generic variants take it.
    fn sharing(&self, index: usize, configurations: &Configurations) -> usize {
        configurations.numbers[index].map_or(0, |number| configurations.sharing[number])
    }

    /// The kernel whose specialised variants tests leave out if few problems share the shader.
    fn left_out(&self, index: usize) -> Option<Kernel> {
        self.configuration(index).map(|number| TURNS[number % TURNS.len()])
    }

    /// Whether problem number `index` runs on this unit, if that takes it.
    pub fn runs(&self, index: usize, problem: &Problem, unit: &Unit) -> bool {
        if self.extent == Extent::Everything || unit.is_generic() {
            return true;
        }
        let own = match unit.kernel {
            Kernel::Tiled | Kernel::Matrix => &self.gathers,
            _ => &self.windows,
        };
        let Some(number) = own.numbers[index] else { return false };
        let variants = unit.kernel.variants();
        let place = variants.iter().position(|&variant| variant == unit.variant).unwrap_or_default();
        // The two modes take turns that differ.
        let place = place + usize::from(unit.checks == Checks::Checked);
        // Three programs each, and they depend on sizes.
        if unit.kernel == Kernel::Winograd {
            let one_of = if self.extent == Extent::Tests { 8 } else { 4 };
            return (index + place).is_multiple_of(one_of) || self.extent == Extent::Usual && self.is_whole(index);
        }
        let special = variants.iter().filter(|variant| !variant.starts_with("generic")).count();
        // Tests count shaders; else the problems that run on every variant are the same ones for every kernel.
        let sharing = self.sharing(index, if self.extent == Extent::Tests { own } else { &self.windows });
        let one_of = match (self.extent, unit.checks) {
            _ if problem.groups() > MANY_GROUPS => 4,
            _ if sharing >= self.least() => 1,
            (Extent::Tests, Checks::Trusted) if sharing >= MANY => 3,
            (Extent::Tests, Checks::Checked) if sharing >= MANY => 4,
            (Extent::Tests, Checks::Trusted) if self.left_out(index) == Some(unit.kernel) => return false,
            (Extent::Tests, Checks::Checked) => 5 * special + 1,
            _ => special,
        };
        (number + place).is_multiple_of(one_of)
    }
}

/// The kernels that take turns on configurations of few problems. (Variants take turns too, so three must not divide how many
/// a kernel has; the tests on the table count.)
const TURNS: [Kernel; 3] = [Kernel::Direct, Kernel::Tiled, Kernel::Broadcast];

/// The shaders of any one specialised variant of a kernel tell configurations apart, by what they declare; a transposed convolution
/// has several. None if only the generic variants take the problem.
fn shaders(problem: &Problem, kernel: Kernel, variant: &str) -> Option<Vec<String>> {
    let declares = |line: &&str| ["const ", "alias ", "@group", "fn "].iter().any(|start| line.starts_with(start));
    // Whether an edge cuts a block depends on sizes.
    let counts = |line: &&str| declares(line) && !line.starts_with("const INSIDE:");
    let shader = |part| {
        let source = shader_source(problem, kernel, Some(variant), part).ok()?;
        Some(source.lines().filter(counts).collect())
    };
    let all: Vec<String> = (0..).map_while(shader).collect();
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    /// What `verify` promises, and that everything is everything.
    #[test]
    fn at_least_300_problems_run_on_every_variant() {
        let problems: Vec<Problem> = table::entries().iter().map(|entry| entry.parse().unwrap()).collect();
        let coverage = |extent| Coverage::new(problems.iter().map(Some), extent);
        let whole = |extent| {
            let coverage = coverage(extent);
            let everywhere = |&(index, problem): &(usize, &Problem)| {
                Unit::all().iter().all(|unit| coverage.runs(index, problem, unit))
                    && coverage.configuration(index).is_some()
            };
            problems.iter().enumerate().filter(everywhere).count()
        };
        let (usual, everything) = (whole(Extent::Usual), whole(Extent::Everything));
        assert!(usual >= 400, "{usual} problems");
        assert!(everything > usual);

        let (tests, usual) = (coverage(Extent::Tests), coverage(Extent::Usual));
        for (index, problem) in problems.iter().enumerate() {
            for unit in Unit::all() {
                let [less, more] = [&tests, &usual].map(|coverage| coverage.runs(index, problem, &unit));
                assert!(more || !less || unit.checks == Checks::Checked, "{problem} on {unit:?}: in tests alone");
            }
        }
    }
}
