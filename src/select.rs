//! Which kernel and variant runs a problem, and why.

use crate::accuracy::Accuracy;
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};
use crate::kernels::{Checks, Choice, Kernel};
use crate::packing::Packing;
use crate::problem::Problem;
use crate::split::Splits;
use crate::tuning_file::Learned;

/// What a caller wants of a plan. The default leaves every choice to the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Forces a kernel. If it cannot run the problem, planning fails: there is no quiet fallback.
    pub kernel: Option<Kernel>,
    /// Forces a variant by name, of the forced kernel or of whichever has it.
    pub variant: Option<String>,
    /// Forces trusted or checked shaders; by default what the engine was made with.
    pub checks: Option<Checks>,
    /// What a kernel may do with the numbers, also one that is forced; by default what the engine was made with.
    pub accuracy: Option<Accuracy>,
}

/// One kernel variant as selection saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The kernel.
    pub kernel: Kernel,
    /// Its variant.
    pub variant: &'static str,
    /// The estimated cost in multiply-adds of one invocation (lower is better), or the sentence with which the kernel
    /// refuses.
    pub verdict: Result<f64, String>,
    /// Milliseconds that tuning measured, of the variant that is chosen because of it.
    pub tuned_ms: Option<f64>,
}

/// A choice, and what else there was.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The kernel chosen.
    pub kernel: Kernel,
    /// The variant chosen.
    pub variant: &'static str,
    /// Every candidate: the tuned choice if there is one, then by estimated cost, refusals last.
    pub candidates: Vec<Candidate>,
    pub(crate) choice: Choice,
}

/// Chooses a kernel and a variant; needs no GPU.
///
/// Among the variants that take the problem on a device with these capabilities, the one with the lowest estimated cost
/// wins: multiply-adds that its tiles execute (tails included), times what each costs with its share of loads, times how
/// much of the device would idle. What a load costs depends on the class of the adapter.
///
/// # Errors
/// [`Error::Unknown`] for a variant that does not exist, [`Error::Refused`] if what is forced refuses the problem,
/// [`Error::NoKernel`] if every kernel does.
pub fn select(problem: &Problem, capabilities: &Capabilities, options: &PlanOptions) -> Result<Selection> {
    select_for(problem, capabilities, options, None, None)
}

/// As [`select`], only among kernels that read `packing` if one is given; what was learned by tuning counts more than the
/// estimates, unless a kernel or a variant is forced or the learned one refuses.
pub(crate) fn select_for(
    problem: &Problem,
    capabilities: &Capabilities,
    options: &PlanOptions,
    packing: Option<Packing>,
    learned: Option<Learned>,
) -> Result<Selection> {
    check_names(options)?;
    let mut splits = Splits::default();
    let mut verdict = |choice: Choice| {
        if options.kernel.is_some_and(|kernel| kernel != choice.kernel) {
            return Err(format!("kernel {} was asked for", options.kernel.map_or("", Kernel::name)));
        }
        if let Some(variant) = options.variant.as_deref().filter(|&variant| variant != choice.name()) {
            return Err(format!("variant {variant} was asked for"));
        }
        let (needed, allowed) = (choice.rounding().needs(problem.dtype()), options.accuracy.unwrap_or_default());
        if needed > allowed {
            return Err(format!("it needs accuracy {needed}, and {allowed} was asked for"));
        }
        let mut passes = choice.passes_among(problem, capabilities, &mut splits)?;
        // Passes without outputs are not run.
        passes.retain(|pass| pass.outputs() > 0);
        choice.supports(&passes, capabilities, options.checks.unwrap_or_default())?;
        match packing {
            Some(packing) if packing != choice.packing() => {
                Err(format!("it reads {} weights, and there are {} ones", choice.packing().name(), packing.name()))
            }
            _ => Ok(choice.cost(&passes, capabilities.class)),
        }
    };
    let mut judged: Vec<(Choice, Result<f64, String>)> =
        Choice::all().map(|choice| (choice, verdict(choice))).collect();
    // Stable: among equals the order of the list decides.
    judged.sort_by(|(_, a), (_, b)| cost_or_infinity(a).total_cmp(&cost_or_infinity(b)));
    let free = options.kernel.is_none() && options.variant.is_none();
    let learned = learned.filter(|_| free);
    let tuned = learned
        .and_then(|learned| judged.iter().position(|(choice, verdict)| *choice == learned.choice && verdict.is_ok()));
    if let Some(place) = tuned {
        judged[..=place].rotate_right(1);
    }
    let mut candidates: Vec<Candidate> = judged
        .iter()
        .map(|(choice, verdict)| Candidate {
            kernel: choice.kernel,
            variant: choice.name(),
            verdict: verdict.clone(),
            tuned_ms: None,
        })
        .collect();
    if let (Some(_), Some(first)) = (tuned, candidates.first_mut()) {
        first.tuned_ms = learned.map(|learned| learned.ms);
    }
    match judged.first() {
        Some(&(choice, Ok(_))) => Ok(Selection { kernel: choice.kernel, variant: choice.name(), candidates, choice }),
        _ => Err(refusal(problem, options, &candidates)),
    }
}

/// Refusals sort after every cost.
fn cost_or_infinity(verdict: &Result<f64, String>) -> f64 {
    verdict.as_ref().map_or(f64::INFINITY, |cost| cost.min(f64::MAX))
}

fn check_names(options: &PlanOptions) -> Result<()> {
    let Some(variant) = options.variant.as_deref() else { return Ok(()) };
    if let Some(kernel) = options.kernel {
        return kernel.variant(variant).map(drop);
    }
    if Choice::all().any(|choice| choice.name() == variant) {
        return Ok(());
    }
    let known: Vec<&str> = Choice::all().map(Choice::name).collect();
    Err(Error::Unknown { what: "variant", name: variant.into(), known: known.join(", ") })
}

fn refusal(problem: &Problem, options: &PlanOptions, candidates: &[Candidate]) -> Error {
    let forced = |candidate: &&Candidate| {
        options.kernel.is_none_or(|kernel| kernel == candidate.kernel)
            && options.variant.as_deref().is_none_or(|variant| variant == candidate.variant)
    };
    let mut sentences: Vec<(String, &str)> = Vec::new();
    for candidate in candidates.iter().filter(forced) {
        if let Err(sentence) = &candidate.verdict {
            let name = format!("{} {}", candidate.kernel, candidate.variant);
            match sentences.iter_mut().find(|(_, known)| known == sentence) {
                Some((names, _)) => *names = format!("{names}, {name}"),
                None => sentences.push((name, sentence)),
            }
        }
    }
    let problem = problem.to_string();
    match (&options.kernel, &options.variant, sentences.as_slice()) {
        (None, None, _) => {
            let refusals: Vec<String> = sentences.iter().map(|(names, why)| format!("{names}: {why}")).collect();
            Error::NoKernel { problem, refusals: refusals.join("; ") }
        }
        (_, _, sentences) => {
            let names: Vec<&str> = sentences.iter().map(|(names, _)| names.as_str()).collect();
            let whys: Vec<&str> = sentences.iter().map(|&(_, why)| why).collect();
            Error::Refused { kernel: names.join(", "), problem, refusal: whys.join("; ") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::AdapterClass;

    fn plain_sums() -> PlanOptions {
        PlanOptions { accuracy: Some(Accuracy::Sums), ..PlanOptions::default() }
    }

    fn choose(text: &str, class: AdapterClass) -> Selection {
        let capabilities = Capabilities { class, ..Capabilities::baseline() };
        select(&text.parse().unwrap(), &capabilities, &plain_sums()).unwrap()
    }

    #[test]
    fn classes_differ() {
        assert_eq!(choose("n8c64h56w56o64k3p1", AdapterClass::Discrete).kernel, Kernel::Tiled);
        assert_eq!(choose("n8c64h56w56o64k3p1", AdapterClass::Software).kernel, Kernel::Broadcast);
        let depthwise = choose("c96h112w112o96k3p1g96", AdapterClass::Discrete);
        assert_eq!((depthwise.kernel, &depthwise.variant[..2]), (Kernel::Direct, "c1"));
    }

    #[test]
    fn every_candidate_is_listed_best_first() {
        let selection = choose("c64h56w56o64k9p1", AdapterClass::Discrete);
        assert_eq!(selection.candidates.len(), Choice::all().count());
        let costs: Vec<f64> = selection.candidates.iter().filter_map(|c| c.verdict.clone().ok()).collect();
        assert!(costs.is_sorted() && !costs.is_empty());
        assert!(selection.variant.starts_with("generic"), "81 taps are not compiled in");
        let refused = |variant: &str| {
            let candidate = selection.candidates.iter().find(|candidate| candidate.variant == variant);
            candidate.unwrap().verdict.clone().unwrap_err()
        };
        assert!(refused("m64n64k8").contains("81 taps"));
        assert!(refused("f4-m64n64k8").contains("accuracy"));
        assert!(selection.candidates.last().unwrap().verdict.is_err());
    }

    #[test]
    fn what_is_forced_is_taken_or_refused() {
        let problem: Problem = "c64h56w56o64k9p1".parse().unwrap();
        let capabilities = Capabilities::baseline();
        let force = |kernel, variant: Option<&str>| {
            let options = PlanOptions { kernel, variant: variant.map(Into::into), ..PlanOptions::default() };
            select(&problem, &capabilities, &options)
        };
        assert_eq!(force(Some(Kernel::Direct), None).unwrap().kernel, Kernel::Direct);
        assert!(
            matches!(force(Some(Kernel::Tiled), Some("m64n64k8")), Err(Error::Refused { refusal, .. }) if refusal.contains("81"))
        );
        assert!(matches!(force(Some(Kernel::Tiled), Some("c4x8")), Err(Error::Unknown { .. })));
        assert!(matches!(force(None, Some("nonsense")), Err(Error::Unknown { .. })));
        assert_eq!(force(None, Some("generic-c4x4")).unwrap().variant, "generic-c4x4");
    }

    #[test]
    fn what_was_learned_is_taken_unless_it_may_not_be() {
        let problem: Problem = "c64h56w56o64k3p1".parse().unwrap();
        let capabilities = Capabilities::baseline();
        let learned = |kernel: Kernel, variant| Learned { choice: kernel.variant(variant).unwrap(), ms: 1.25 };
        let chosen = |options: &PlanOptions, packing, learned| {
            let selection = select_for(&problem, &capabilities, options, packing, learned).unwrap();
            let marked: Vec<_> = selection.candidates.iter().map(|candidate| candidate.tuned_ms).collect();
            assert_eq!(marked[1..].iter().flatten().count(), 0, "only the first can be tuned");
            assert_eq!((selection.kernel, selection.variant), {
                (selection.candidates[0].kernel, selection.candidates[0].variant)
            });
            (selection.kernel, selection.variant, marked[0])
        };
        let default = plain_sums();
        let (kernel, variant, none) = chosen(&default, None, None);
        assert_eq!((kernel, none), (Kernel::Tiled, None));
        let direct = Some(learned(Kernel::Direct, "c4x8"));
        assert_eq!(chosen(&default, None, direct), (Kernel::Direct, "c4x8", Some(1.25)));
        // The rest stays in order of cost.
        let selection = select_for(&problem, &capabilities, &default, None, direct).unwrap();
        let costs: Vec<f64> = selection.candidates[1..].iter().filter_map(|c| c.verdict.clone().ok()).collect();
        assert!(costs.is_sorted() && costs.len() + 2 > Choice::all().count() / 2);
        // What is forced counts more.
        let forced = PlanOptions { kernel: Some(Kernel::Tiled), ..default.clone() };
        assert_eq!(chosen(&forced, None, direct), (kernel, variant, None));
        let forced = PlanOptions { variant: Some("generic-c4x4".into()), ..default.clone() };
        assert_eq!(chosen(&forced, None, direct), (Kernel::Direct, "generic-c4x4", None));
        let worst = Some(learned(Kernel::Direct, "generic-c1x4"));
        let forced = PlanOptions { kernel: Some(Kernel::Direct), ..default.clone() };
        assert_eq!(chosen(&forced, None, worst), chosen(&forced, None, None));
        // Weights in another packing, and a variant that refuses, leave the estimates.
        let packing = kernel.variant(variant).unwrap().packing();
        assert_eq!(chosen(&default, Some(packing), direct), (kernel, variant, None));
        let many_taps: Problem = "c64h56w56o64k9p1".parse().unwrap();
        let selection = select_for(&many_taps, &capabilities, &default, None, direct).unwrap();
        assert!(selection.variant.starts_with("generic") && selection.candidates[0].tuned_ms.is_none());
    }

    #[test]
    fn limits_refuse_with_numbers() {
        let mut capabilities = Capabilities::baseline();
        capabilities.limits.max_storage_buffer_binding_size = 1000;
        let problem: Problem = "c4h64w64o4k3p1:circular".parse().unwrap();
        match select(&problem, &capabilities, &PlanOptions::default()) {
            Err(Error::NoKernel { refusals, .. }) => {
                assert!(refusals.contains("the input of the smallest piece") && refusals.contains("16384 bytes"));
                assert!(refusals.contains("max_storage_buffer_binding_size, 1000"));
            }
            other => panic!("{other:?}"),
        }
    }
}
