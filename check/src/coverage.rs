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
    /// every third variant, in checked mode on every fourth; each other one on one variant of each kernel, in turn, and in
    /// checked mode a fifth of them does. Problems take turns on the variants of Winograd's algorithm.
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
    /// Number of each problem's configuration; none if only the generic variants take it.
    configurations: Vec<Option<usize>>,
    /// How many problems each configuration has.
    sharing: Vec<usize>,
}

impl Coverage {
    /// Of these problems. (`None`, of which nothing is to be said, keeps a place.)
    pub fn new<'p>(problems: impl IntoIterator<Item = Option<&'p Problem>>, extent: Extent) -> Self {
        let (mut numbers, mut sharing) = (HashMap::new(), Vec::new());
        let configurations = problems
            .into_iter()
            .map(|problem| {
                let number = *numbers.entry(shaders(problem?)?).or_insert(sharing.len());
                sharing.resize(sharing.len().max(number + 1), 0);
                sharing[number] += 1;
                Some(number)
            })
            .collect();
        Self { extent, configurations, sharing }
    }

    /// Number of a problem's configuration; none if only the generic variants take it.
    pub fn configuration(&self, index: usize) -> Option<usize> {
        self.configurations[index]
    }

    /// Whether a problem has a configuration that runs on every variant, in both modes.
    fn is_whole(&self, index: usize) -> bool {
        let least = match self.extent {
            Extent::Tests => MOST,
            Extent::Usual => MANY,
            Extent::Everything => 0,
        };
        self.configurations[index].is_some_and(|number| self.sharing[number] >= least)
    }

    /// Whether problem number `index` runs on this unit, if that takes it.
    pub fn runs(&self, index: usize, problem: &Problem, unit: &Unit) -> bool {
        if self.extent == Extent::Everything || unit.is_generic() {
            return true;
        }
        let Some(number) = self.configurations[index] else { return false };
        let variants = unit.kernel.variants();
        let place = variants.iter().position(|&variant| variant == unit.variant).unwrap_or_default();
        // The two modes take turns that differ.
        let place = place + usize::from(unit.checks == Checks::Checked);
        // Three programs each, and they depend on sizes.
        if unit.kernel == Kernel::Winograd {
            return (index + place).is_multiple_of(4) || self.extent == Extent::Usual && self.is_whole(index);
        }
        let special = variants.iter().filter(|variant| !variant.starts_with("generic")).count();
        let one_of = match (self.extent, unit.checks) {
            _ if problem.groups() > MANY_GROUPS => 4,
            _ if self.is_whole(index) => 1,
            (Extent::Tests, Checks::Trusted) if self.sharing[number] >= MANY => 3,
            (Extent::Tests, Checks::Checked) if self.sharing[number] >= MANY => 4,
            (Extent::Tests, Checks::Checked) => 5 * special + 1,
            _ => special,
        };
        (number + place).is_multiple_of(one_of)
    }
}

/// The shaders of any one specialised variant tell configurations apart, by what they declare; a transposed convolution has
/// several. None if only the generic variants take the problem.
fn shaders(problem: &Problem) -> Option<Vec<String>> {
    let declares = |line: &&str| ["const ", "alias ", "@group", "fn "].iter().any(|start| line.starts_with(start));
    // Whether an edge cuts a block depends on sizes.
    let counts = |line: &&str| declares(line) && !line.starts_with("const INSIDE:");
    let shader = |part| {
        let source = shader_source(problem, Kernel::Direct, Some("c4x8"), part).ok()?;
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
