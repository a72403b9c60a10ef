//! A soak: problems drawn from the whole parameter space, each on one kernel, variant and mode drawn among those that accept it.
//!
//! A draw depends on the seed, its number and the filter alone, so that a run can go on from where another one was stopped, and a
//! failure is repeated by its number. What fails is made smaller as long as it fails on the same unit.
//!
//! On a software adapter nearly all the time goes into compiling. Generic variants are compiled once, so each of their draws is a
//! problem of its own; those on other variants come in families of a problem in several sizes, which share their shaders.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::tuple::TupleValueTree;
use wgpu_conv::{Checks, Engine, Error, Problem, Result, wgpu};

use crate::data::{DataKind, ProblemData};
use crate::problems::{self, any_activation, any_problem, in_any_format, or_deformable, three_taps};
use crate::report::{Progress, Report, Status};
use crate::runner::{Placement, Runner, Unit, UnitResult, judge};
use crate::verify::{self, Case, Filter, Session};

/// Keeps a draw to milliseconds on a software adapter.
const MAX_MACS: u64 = 200_000;

/// Consecutive draws that are one problem in several sizes, where they are not on generic variants.
const FAMILY: u64 = 4;

/// Attempts to make a failing draw smaller: each may compile a shader.
const MAX_SHRINKING: u32 = 200;

/// Which draws to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomOptions {
    /// The seed of all of them.
    pub seed: u64,
    /// Number of the first.
    pub from: u64,
    /// How many.
    pub count: u64,
}

/// Bytes that engines bind at once which have to split tensors, the least first: not all problems can be split so far.
const BINDINGS: [u64; 3] = [1 << 10, 1 << 12, 1 << 14];

/// What draws run on: an engine of each device, and others of the same device that split work, and tensors, as far as they can.
struct Runners {
    plain: Runner,
    small: Runner,
    windows: [Runner; BINDINGS.len()],
}

impl Runners {
    fn new(engine: &Engine) -> Self {
        let runner = |options| Runner::new(&Engine::with_options(engine.device(), engine.queue(), options));
        let options = engine.options().clone();
        let small = runner(options.clone().max_segment_macs(1).max_workspace(0));
        let windows = BINDINGS.map(|bytes| runner(options.clone().max_binding(bytes)));
        Self { plain: Runner::new(engine), small, windows }
    }

    fn of(&self, draw: &Draw) -> &Runner {
        match draw.split {
            Split::Nothing => &self.plain,
            Split::Work => &self.small,
            Split::Tensors => {
                let takes = |runner: &&Runner| {
                    let limits = &runner.engine().capabilities().limits;
                    bound_anywhere(limits, &draw.problem) && !runner.units(&draw.problem).0.is_empty()
                };
                self.windows.iter().find(takes).unwrap_or(&self.plain)
            }
        }
    }

    /// The engines that only draws use.
    fn own(&self) -> impl Iterator<Item = &Engine> {
        std::iter::once(&self.small).chain(&self.windows).map(Runner::engine)
    }
}

/// Whether no tensor fits a binding by less than what its place may take of it: where only sums could be cut, such a tensor is
/// bound whole, and refused at most places.
fn bound_anywhere(limits: &wgpu::Limits, problem: &Problem) -> bool {
    let binding = limits.max_storage_buffer_binding_size;
    let lost = u64::from(limits.min_storage_buffer_offset_alignment).max(4) + 4;
    let (input, output) = (problem.dtype().size(), problem.output_dtype().size());
    [
        problem.input_len() * input,
        problem.output_len() * output,
        problem.offset_len() * input,
        problem.mask_len() * input,
    ]
    .into_iter()
    .all(|bytes| bytes > binding || bytes + lost <= binding)
}

/// What an engine splits though it need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Nothing,
    /// Work and workspace, as far as can be.
    Work,
    /// Tensors, into windows as small as can be.
    Tensors,
}

/// One draw.
#[derive(Debug, Clone)]
struct Draw {
    problem: Problem,
    /// Which of the units that take the problem, and whether it is a generic one: those are compiled once for all draws.
    unit: u32,
    generic: bool,
    kind: DataKind,
    placement: Placement,
    split: Split,
}

fn draws(generic: bool) -> impl Strategy<Value = Draw> {
    let general = in_any_format(or_deformable(any_problem(MAX_MACS), MAX_MACS, any_activation()));
    // On the heap: one after the other they are too much for a stack.
    let problems = prop_oneof![5 => general.boxed(), 1 => three_taps().boxed()];
    let split = prop_oneof![2 => Just(Split::Nothing), 1 => Just(Split::Work), 1 => Just(Split::Tensors)];
    (problems, any::<u32>(), kinds(), any::<u16>(), split).prop_map(
        move |(problems::Case(problem), unit, kind, placement, split)| Draw {
            problem,
            unit,
            generic,
            kind,
            placement: Placement::numbered(placement.into()),
            split,
        },
    )
}

fn kinds() -> impl Strategy<Value = DataKind> {
    prop::sample::select(DataKind::ALL.to_vec())
}

/// What a later member of a family has of its own: sizes, numbers, and where they lie.
#[derive(Debug, Clone, Copy)]
struct Member {
    /// Added to the batch, less [`LESS`], and to the size along each axis.
    batch: u32,
    sizes: [u32; 3],
    kind: DataKind,
    placement: u16,
}

/// Taken from a size before a [`Member`]'s number is added.
const LESS: u32 = 3;

fn members() -> impl Strategy<Value = Member> {
    let size = || prop_oneof![4 => 0..=2 * LESS, 1 => 0..=30u32];
    (LESS..=LESS + 2, [size(), size(), size()], kinds(), any::<u16>())
        .prop_map(|(batch, sizes, kind, placement)| Member { batch, sizes, kind, placement })
}

impl Draw {
    /// The same in other sizes: smaller ones, where others would be too much work, or its own, where those are too small.
    fn member(self, member: &Member) -> Self {
        let own = self.problem.input_shape();
        let changes = [member.batch, LESS].into_iter().chain(member.sizes);
        let changed = own.iter().zip(changes).map(|(size, more)| size.saturating_add(more).saturating_sub(LESS));
        let changed: Vec<u32> = changed.collect();
        let smaller: Vec<u32> = changed.iter().zip(&own[..]).map(|(changed, own)| *changed.min(own)).collect();
        let work = |problem: &Problem| problem.macs().max(problem.output_len());
        let most = work(&self.problem).max(MAX_MACS);
        let resized = |shape: &Vec<u32>| self.problem.with_input(shape).ok().filter(|problem| work(problem) <= most);
        let problem = [changed, smaller].iter().find_map(resized).unwrap_or(self.problem);
        Self { problem, kind: member.kind, placement: Placement::numbered(member.placement.into()), ..self }
    }
}

/// A draw that can be made smaller.
struct Tree<T> {
    both: T,
    /// Whether the draw is a later member of its family.
    later: bool,
}

impl<T: ValueTree<Value = (Draw, Member)>> ValueTree for Tree<T> {
    type Value = Draw;

    fn current(&self) -> Draw {
        let (draw, member) = self.both.current();
        if self.later { draw.member(&member) } else { draw }
    }

    fn simplify(&mut self) -> bool {
        self.both.simplify()
    }

    fn complicate(&mut self) -> bool {
        self.both.complicate()
    }
}

fn draw(seed: u64, number: u64) -> Result<impl ValueTree<Value = Draw>> {
    // Each with numbers of its own.
    let source = |words: [u64; 3]| {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng)
    };
    let nothing = |reason| Error::Internal(format!("nothing could be drawn: {reason}"));
    let family = number / FAMILY;
    let generic = any::<bool>().new_tree(&mut source([seed, family, 1])).map_err(nothing)?.current();
    let first = if generic { number } else { family };
    let later = !generic && !number.is_multiple_of(FAMILY);
    let draw = draws(generic).new_tree(&mut source([seed, first, 2])).map_err(nothing)?;
    let member = members().new_tree(&mut source([seed, number, 3])).map_err(nothing)?;
    Ok(Tree { both: TupleValueTree::new((draw, member)), later })
}

impl Draw {
    /// The unit, among those that take the problem and are admitted; `None` if there is none.
    fn unit(&self, runner: &Runner, filter: &Filter) -> Result<Option<Unit>> {
        let (mut units, refusals) = runner.units(&self.problem);
        if units.is_empty() {
            let reasons: Vec<String> = refusals.into_iter().map(|refusal| refusal.reason).collect();
            return Err(Error::Internal(format!("no kernel accepts it: {}", reasons.join("; "))));
        }
        units.retain(|unit| filter.admits(unit));
        let wanted = |unit: &Unit| unit.is_generic() == self.generic;
        if units.iter().any(wanted) {
            units.retain(wanted);
        }
        Ok(match units.len() {
            0 => None,
            count => Some(units[self.unit as usize % count]),
        })
    }

    /// Runs it on a unit.
    fn run(&self, runner: &Runner, unit: &Unit) -> Result<UnitResult> {
        let seed = verify::seed_of(&self.problem.to_string());
        let data = ProblemData::generate(&self.problem, self.kind, seed)?;
        let outcome = runner.run(&self.problem, &data, unit, self.placement)?;
        Ok(judge(&self.problem, &data.reference_as(&self.problem, unit.rounding()?)?, &outcome))
    }

    /// What it is, in words.
    fn describe(&self) -> String {
        let split = match self.split {
            Split::Nothing => "",
            Split::Work => ", work split as far as can be",
            Split::Tensors => ", tensors split as far as can be",
        };
        format!("{}, {} data, output from element {}{split}", self.problem, self.kind.name(), self.placement.output)
    }
}

/// Runs draws on several engines at once, as [`verify::entries_on`] does.
pub fn random_on(engines: &[Engine], options: &RandomOptions, filter: &Filter, progress: &mut dyn Progress) -> Report {
    let RandomOptions { seed, from, count } = *options;
    let numbers: Vec<u64> = (0..count).map(|index| from.saturating_add(index)).collect();
    let names: Vec<String> = numbers.iter().map(|number| format!("random-{seed}-{number}")).collect();
    let name = |index: usize| names[index].as_str();
    let runners: Vec<Runners> = engines.iter().map(Runners::new).collect();
    verify::share(engines, names.len(), FAMILY as usize, name, filter, progress, |session, index| {
        let here = |runners: &&Runners| runners.plain.engine().device() == session.runner.engine().device();
        let Some(runners) = runners.iter().find(here) else { return };
        let (name, number) = (&names[index], numbers[index]);
        if let Err(error) = run_one(session, runners, name, seed, number) {
            session.add(case(name).row(Status::Failed, format!("{error}; {}", repeat(seed, number, filter))));
        }
        for engine in runners.own() {
            verify::bound_pipelines(engine);
        }
    })
}

fn case(name: &str) -> Case<'_> {
    Case { source: "random", name }
}

/// The command that runs a draw once more.
fn repeat(seed: u64, number: u64, filter: &Filter) -> String {
    let kernel = filter.kernel.map(|kernel| format!(" --kernel {kernel}")).unwrap_or_default();
    let variant = filter.variant.as_ref().map(|variant| format!(" --variant {variant}")).unwrap_or_default();
    let mode = filter.checks.map(|checks: Checks| format!(" --mode {checks}")).unwrap_or_default();
    format!("again: wgpu-conv verify --random 1 --seed {seed} --from {number}{kernel}{variant}{mode}")
}

fn run_one(session: &mut Session<'_>, runners: &Runners, name: &str, seed: u64, number: u64) -> Result<()> {
    let filter = session.filter;
    let mut tree = draw(seed, number)?;
    let first = tree.current();
    let runner = runners.of(&first);
    let Some(unit) = first.unit(runner, filter)? else {
        let row = case(name).row(Status::Refused, "no kernel asked for takes it".into());
        session.add(row.with_problem(&first.problem));
        return Ok(());
    };
    let mut result = first.run(runner, &unit).unwrap_or_else(|error| UnitResult::failure(error.to_string()));
    if !result.passed {
        let smallest = shrunk(runners, &unit, &mut tree).unwrap_or_else(|| first.clone());
        result.message =
            format!("{}; smallest: {}; {}", result.message, smallest.describe(), repeat(seed, number, filter));
    }
    session.add(case(name).result_row(&first.problem, &unit, Ok(result)));
    Ok(())
}

/// The smallest draw that was found to fail on the unit; `None` if no smaller one does.
fn shrunk(runners: &Runners, unit: &Unit, tree: &mut impl ValueTree<Value = Draw>) -> Option<Draw> {
    let fails = |draw: &Draw| {
        let runner = runners.of(draw);
        let takes = runner.units(&draw.problem).0.contains(unit);
        takes && !draw.run(runner, unit).is_ok_and(|result| result.passed)
    };
    let mut smallest = None;
    let mut more = tree.simplify();
    for _ in 0..MAX_SHRINKING {
        if !more {
            break;
        }
        let draw = tree.current();
        more = if fails(&draw) {
            smallest = Some(draw);
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    smallest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wgpu_conv::{Kernel, Op};

    use super::*;

    fn problem(seed: u64, number: u64) -> Problem {
        draw(seed, number).unwrap().current().problem
    }

    #[test]
    fn a_draw_depends_on_seed_and_number_alone() {
        // One of each family: its members may have the same sizes.
        let texts = |seed| (0..40).map(|family| problem(seed, family * FAMILY).to_string()).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        assert!(texts(1).into_iter().collect::<BTreeSet<_>>().len() > 35);
    }

    /// A strategy that draws what is no problem panics.
    #[test]
    fn every_draw_is_a_problem() {
        assert!((0..20_000).all(|number| problem(3, number).to_string().parse::<Problem>().is_ok()));
    }

    /// Members of a family differ in their sizes alone, so their shaders are the same; most of them do.
    #[test]
    fn families_are_one_problem_in_several_sizes() {
        let draws: Vec<Draw> = (0..800).map(|number| draw(5, number).unwrap().current()).collect();
        let (mut families, mut sizes) = (0, BTreeSet::new());
        for family in draws.chunks(FAMILY as usize).filter(|family| !family[0].generic) {
            families += 1;
            for member in family {
                let [own, first] = [member, &family[0]].map(|draw| draw.problem.input_shape());
                assert_eq!(member.problem.with_input(&first), Ok(family[0].problem), "{}", member.problem);
                assert_eq!((member.unit, member.split), (family[0].unit, family[0].split));
                sizes.insert((families, own.to_vec()));
            }
        }
        assert!((60..140).contains(&families) && sizes.len() > 3 * families, "{families}, {} sizes", sizes.len());
    }

    /// The first two are what seed 12 drew as its numbers 8,292 and 8,301.
    #[test]
    fn tensors_that_fit_from_some_places_only_are_not_drawn() {
        let limits = |max_storage_buffer_binding_size| wgpu::Limits {
            max_storage_buffer_binding_size,
            min_storage_buffer_offset_alignment: 32,
            ..wgpu::Limits::default()
        };
        for (problem, binding, expected) in [
            ("n1c16h4w11o2k2x4s3x1g2:deform:offset_groups=16:mask:f16", 4096, false),
            ("n1c5h25w4o4k4x3s3x1p2,1,0,1d3x1:reflect:f16", 1024, false),
            ("n1c5h25w4o1k1:f16", 1036, true),
            ("n1c5h25w4o1k1:f16", 1035, false),
            ("n1c5h25w4o1k1:f16", 999, true),
        ] {
            assert_eq!(bound_anywhere(&limits(binding), &problem.parse().unwrap()), expected, "{problem} {binding}");
        }
    }

    #[test]
    fn every_kind_is_drawn() {
        let problems: Vec<Problem> = (0..300).map(|number| problem(7, number)).collect();
        for op in [Op::Conv, Op::ConvTranspose, Op::DeformConv] {
            assert!(problems.iter().any(|problem| problem.op() == op), "{op:?}");
        }
        assert!(problems.iter().any(|problem| problem.integers().is_some()));
        let taken = |problem: &&Problem| {
            let options = wgpu_conv::PlanOptions { kernel: Some(Kernel::Winograd), ..Default::default() };
            wgpu_conv::select(problem, &wgpu_conv::Capabilities::baseline(), &options).is_ok()
        };
        assert!(problems.iter().filter(taken).count() > 20);
    }

    #[test]
    fn the_command_names_what_was_asked_for() {
        let filter = Filter { kernel: Some(Kernel::Tiled), variant: None, checks: Some(Checks::Checked) };
        assert_eq!(
            repeat(3, 14, &filter),
            "again: wgpu-conv verify --random 1 --seed 3 --from 14 --kernel tiled --mode checked"
        );
    }
}
