//! One problem's tuning: candidates are made, verified, timed in turns.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;

use super::decide::{MIN_ROUNDS, decide, median};
use super::trial::{BLANK, Trial};
use super::{TuneCandidate, TuneOptions, TuneOutcome, TuneProgress, TuneReport};
use crate::accuracy::Rounding;
use crate::bind::{Bound, Buffers};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::scoped;
use crate::kernels::{Checks, Choice};
use crate::memory::{Reservation, tensor_bytes};
use crate::packing::Packing;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::reference::Reference;
use crate::select::{Candidate, PlanOptions, select};
use crate::timer::{Clock, Sample, Timer};
use crate::tuning_file::DeviceKey;
use crate::weights::Weights;

/// Share of the budget after which no new candidate is begun.
const CANDIDATES_SHARE: f64 = 0.6;
/// Times as slow as the fastest: such a candidate is timed no more.
const FAR_BEHIND: f64 = 1.5;
/// Rounds of measurement, among the best and again for the last two.
const ROUNDS: usize = 9;
/// A sample is the smallest of several runs where they are short, up to so many and so many milliseconds.
const REPEATS: f64 = 8.0;
const REPEATS_MS: f64 = 4.0;

/// Elements behind the output that nobody may write.
const GUARD: u64 = 64;
/// Elements of the buffer that blanks the output piece by piece.
const BLANK_PIECE: u64 = 1 << 16;

/// What makes plans and times them. Tests have their own, which gives wrong plans and any times.
pub(super) trait Bench: wgpu::WasmNotSend + wgpu::WasmNotSync {
    fn plan(
        &self,
        engine: &Engine,
        problem: &Problem,
        choice: Choice,
        checks: Checks,
    ) -> impl Future<Output = Result<Plan>> + wgpu::WasmNotSend;

    fn time(&mut self, choice: Choice, bound: &Bound) -> impl Future<Output = Result<Sample>> + wgpu::WasmNotSend;
}

/// The real one.
pub(super) struct Gpu(pub Timer);

impl Bench for Gpu {
    fn plan(
        &self,
        engine: &Engine,
        problem: &Problem,
        choice: Choice,
        checks: Checks,
    ) -> impl Future<Output = Result<Plan>> + wgpu::WasmNotSend {
        let (kernel, variant) = (Some(choice.kernel), Some(choice.name().into()));
        engine.plan(problem, &PlanOptions { kernel, variant, checks: Some(checks), ..PlanOptions::default() })
    }

    fn time(&mut self, _: Choice, bound: &Bound) -> impl Future<Output = Result<Sample>> + wgpu::WasmNotSend {
        self.0.time(bound)
    }
}

/// How much of the time is gone.
struct Budget {
    clock: Clock,
    /// Without a clock: what was measured.
    gpu_ms: f64,
    limit_ms: f64,
}

impl Budget {
    fn spent(&self, share: f64) -> bool {
        self.clock.ms().unwrap_or(self.gpu_ms) >= share * self.limit_ms
    }
}

/// A candidate whose result was right.
struct Contender {
    /// Its place among the candidates.
    row: usize,
    choice: Choice,
    bound: Bound,
    /// Runs that make one sample.
    repeats: usize,
    samples: Vec<f64>,
}

pub(super) struct Session<B> {
    bench: B,
    budget: Budget,
    on_gpu: bool,
}

impl<B: Bench> Session<B> {
    pub async fn run<F>(
        engine: &Engine,
        problem: &Problem,
        options: &TuneOptions,
        bench: B,
        mut progress: F,
    ) -> Result<TuneReport>
    where
        F: FnMut(TuneProgress<'_>) + wgpu::WasmNotSend,
    {
        if problem.output_len() == 0 {
            let required = "at least 1: without outputs there is nothing to time".into();
            return Err(Error::Parameter { parameter: "batch", actual: "0".into(), required });
        }
        let limit_ms = options.budget.as_secs_f64() * 1e3;
        let budget = Budget { clock: Clock::start(), gpu_ms: 0.0, limit_ms };
        let mut session = Self { bench, budget, on_gpu: false };
        let checks = options.checks.unwrap_or(engine.options().checks);
        // The estimates alone: what was learned before does not count.
        let accuracy = options.accuracy.unwrap_or(engine.options().accuracy);
        let plan_options = PlanOptions { checks: Some(checks), accuracy: Some(accuracy), ..PlanOptions::default() };
        let selection = select(problem, engine.capabilities(), &plan_options)?;
        let mut candidates: Vec<TuneCandidate> = selection.candidates.iter().map(not_tried).collect();
        let able = selection.candidates.iter().filter(|candidate| candidate.verdict.is_ok()).count();
        let tried = able.min(options.max_candidates.max(1));
        let total = tried + 3;

        progress(TuneProgress { done: 0, total, what: "computing the reference" });
        let trial = Trial::new(problem)?;
        let mut stage = Stage::new(engine, problem, &trial)?;
        let mut contenders = Vec::new();
        for (row, candidate) in candidates.iter_mut().enumerate().take(able) {
            if row >= tried {
                candidate.outcome = TuneOutcome::NotTried(format!("only {tried} candidates were to be tried"));
                continue;
            }
            if row > 0 && session.budget.spent(CANDIDATES_SHARE) {
                candidate.outcome = TuneOutcome::NotTried("the time was used up".into());
                continue;
            }
            let what = format!("{} {}", candidate.kernel, candidate.variant);
            progress(TuneProgress { done: 1 + row, total, what: &what });
            let choice = candidate.kernel.variant(candidate.variant)?;
            match session.prepare(&mut stage, choice, checks).await {
                Ok(Ok((bound, repeats, ms))) => {
                    contenders.push(Contender { row, choice, bound, repeats, samples: vec![ms] });
                }
                Ok(Err(wrong)) => candidate.outcome = TuneOutcome::Wrong(wrong),
                Err(error @ (Error::DeviceLost { .. } | Error::Missing { .. })) => return Err(error),
                Err(error) => candidate.outcome = TuneOutcome::Failed(error.to_string()),
            }
        }
        let default = selection.choice;
        let winner = session
            .compete(&mut contenders, default, |step, what| {
                progress(TuneProgress { done: 1 + tried + step, total, what });
            })
            .await?;
        for contender in &contenders {
            let samples = contender.samples.len();
            let min_ms = contender.samples.iter().copied().fold(f64::INFINITY, f64::min);
            candidates[contender.row].outcome = TuneOutcome::Measured { ms: contender.ms(), min_ms, samples };
        }
        let Some(chosen) = winner.map(|winner| &contenders[winner]) else {
            return Err(unverified(problem, &candidates));
        };
        Ok(TuneReport {
            problem: *problem,
            checks,
            on_gpu: session.on_gpu,
            chosen_ms: chosen.ms(),
            default_ms: contenders.iter().find(|contender| contender.choice == default).map(Contender::ms),
            verified: trial.verified,
            candidates,
            chosen: chosen.choice,
            default,
            device: DeviceKey::of(engine.device()),
        })
    }

    /// Makes and verifies a candidate, and times it once; or says what is wrong with its result.
    async fn prepare(
        &mut self,
        stage: &mut Stage<'_>,
        choice: Choice,
        checks: Checks,
    ) -> Result<Result<(Bound, usize, f64), String>> {
        let plan = self.bench.plan(stage.engine, stage.problem, choice, checks).await?;
        let bound = stage.bind(&plan).await?;
        if let Err(wrong) = stage.verify(&bound, plan.rounding()).await? {
            return Ok(Err(wrong));
        }
        let Sample { ms, on_gpu } = self.sample(choice, &bound, 1).await?;
        self.on_gpu = on_gpu;
        let repeats = (REPEATS_MS / ms.max(1e-6)).clamp(1.0, REPEATS) as usize;
        Ok(Ok((bound, repeats, ms)))
    }

    /// The smallest time of some runs.
    async fn sample(&mut self, choice: Choice, bound: &Bound, repeats: usize) -> Result<Sample> {
        let mut smallest = self.run_once(choice, bound).await?;
        for _ in 1..repeats {
            let sample = self.run_once(choice, bound).await?;
            // Times of two clocks are not compared; the wall clock, once begun, stays.
            if sample.ms < smallest.ms || sample.on_gpu != smallest.on_gpu {
                smallest = sample;
            }
        }
        Ok(smallest)
    }

    async fn run_once(&mut self, choice: Choice, bound: &Bound) -> Result<Sample> {
        let sample = self.bench.time(choice, bound).await?;
        self.budget.gpu_ms += sample.ms;
        Ok(sample)
    }

    /// Times the contenders in turns and says which of them to take, if there are any.
    async fn compete<F>(
        &mut self,
        contenders: &mut [Contender],
        default: Choice,
        mut progress: F,
    ) -> Result<Option<usize>>
    where
        F: FnMut(usize, &str) + wgpu::WasmNotSend,
    {
        let best = contenders.iter().map(Contender::ms).fold(f64::INFINITY, f64::min);
        let near = |contender: &Contender| contender.choice == default || contender.ms() <= FAR_BEHIND * best;
        let field: Vec<usize> = (0..contenders.len()).filter(|&index| near(&contenders[index])).collect();
        progress(0, "measuring the best in turns");
        self.measure(contenders, &field).await?;
        let winner = pick(contenders, &field, default);
        let own = field.iter().copied().find(|&index| contenders[index].choice == default);
        let (Some(winner), Some(own)) = (winner, own) else { return Ok(winner) };
        if winner == own {
            return Ok(Some(own));
        }
        // Among many, somebody is lucky. Alone against the default, with new numbers, luck does not help.
        progress(1, "measuring the best against the estimate's choice");
        let pair = [own, winner];
        let confirmed = self.measure(contenders, &pair).await? >= MIN_ROUNDS;
        Ok(if confirmed { pick(contenders, &pair, default) } else { Some(own) })
    }

    /// Times those of `field` in turns and keeps the times of whole rounds; how many there were.
    async fn measure(&mut self, contenders: &mut [Contender], field: &[usize]) -> Result<usize> {
        let mut rounds: Vec<Vec<f64>> = Vec::new();
        while rounds.len() < ROUNDS && !self.budget.spent(1.0) {
            let mut round = vec![0.0; field.len()];
            let mut one_clock = true;
            for turn in 0..field.len() {
                // Every other round goes backwards, so that nobody always follows the same one.
                let place = if rounds.len().is_multiple_of(2) { turn } else { field.len() - 1 - turn };
                let Contender { choice, bound, repeats, .. } = &contenders[field[place]];
                let sample = self.sample(*choice, bound, *repeats).await?;
                one_clock &= sample.on_gpu == self.on_gpu;
                self.on_gpu = sample.on_gpu;
                round[place] = sample.ms;
            }
            if one_clock {
                rounds.push(round);
            } else {
                // The GPU's clock made no sense: all begins anew by the wall clock.
                rounds.clear();
            }
        }
        if !rounds.is_empty() {
            for (place, &index) in field.iter().enumerate() {
                contenders[index].samples = rounds.iter().map(|round| round[place]).collect();
            }
        }
        Ok(rounds.len())
    }
}

impl Contender {
    fn ms(&self) -> f64 {
        median(&self.samples)
    }
}

/// Which of `field` to take.
fn pick(contenders: &[Contender], field: &[usize], default: Choice) -> Option<usize> {
    let samples: Vec<&[f64]> = field.iter().map(|&index| contenders[index].samples.as_slice()).collect();
    let own = field.iter().position(|&index| contenders[index].choice == default);
    decide(own, &samples).map(|place| field[place])
}

fn not_tried(candidate: &Candidate) -> TuneCandidate {
    let outcome = match &candidate.verdict {
        Ok(_) => TuneOutcome::NotTried(String::new()),
        Err(refusal) => TuneOutcome::Refused(refusal.clone()),
    };
    TuneCandidate { kernel: candidate.kernel, variant: candidate.variant, outcome }
}

fn unverified(problem: &Problem, candidates: &[TuneCandidate]) -> Error {
    let reasons = candidates.iter().filter_map(|TuneCandidate { kernel, variant, outcome }| match outcome {
        TuneOutcome::Wrong(reason) | TuneOutcome::Failed(reason) => Some(format!("{kernel} {variant}: {reason}")),
        _ => None,
    });
    Error::Unverified { problem: problem.to_string(), reasons: reasons.collect::<Vec<_>>().join("; ") }
}

/// The buffers that all candidates run on.
struct Stage<'a> {
    engine: &'a Engine,
    problem: &'a Problem,
    trial: &'a Trial,
    input: wgpu::Buffer,
    residual: Option<wgpu::Buffer>,
    offset: Option<wgpu::Buffer>,
    mask: Option<wgpu::Buffer>,
    /// The output and its guard.
    output: wgpu::Buffer,
    blank: wgpu::Buffer,
    weights: HashMap<Packing, Weights>,
    /// What must come out, by how a kernel rounds.
    expected: HashMap<Rounding, Reference>,
    #[expect(dead_code, reason = "its buffers count as in use")]
    reservation: Reservation,
}

impl<'a> Stage<'a> {
    fn new(engine: &'a Engine, problem: &'a Problem, trial: &'a Trial) -> Result<Self> {
        // Where the largest buffer is just large enough, there is no guard.
        let dtype = problem.output_dtype();
        let fits = dtype.size() * (problem.output_len() + GUARD) <= engine.capabilities().limits.max_buffer_size;
        let length = problem.output_len() + if fits { GUARD } else { 0 };
        let words = (dtype.size() * length).div_ceil(4);
        let optional = |label: &str, data: &Option<Vec<f32>>| {
            data.as_ref().map(|data| engine.buffer_from_as(label, data, dtype)).transpose()
        };
        let piece = vec![f32::from_bits(BLANK); words.min(BLANK_PIECE) as usize];
        let bytes = tensor_bytes(problem) + dtype.size() * GUARD + 4 * piece.len() as u64;
        Ok(Self {
            reservation: engine.reserve("the tensors of tuning", bytes)?,
            engine,
            problem,
            trial,
            input: engine.buffer_from_as("wgpu-conv: tuning input", &trial.input, problem.dtype())?,
            residual: optional("wgpu-conv: tuning residual", &trial.residual)?,
            offset: optional("wgpu-conv: tuning offset", &trial.offset)?,
            mask: optional("wgpu-conv: tuning mask", &trial.mask)?,
            output: engine.buffer_zeroed_as("wgpu-conv: tuning output", length, dtype)?,
            blank: engine.buffer_from("wgpu-conv: tuning blank", &piece)?,
            weights: HashMap::new(),
            expected: HashMap::new(),
        })
    }

    async fn bind(&mut self, plan: &Plan) -> Result<Bound> {
        let weights = match self.weights.get(&plan.packing()) {
            Some(weights) => weights.clone(),
            None => {
                let weights = plan.weights(&self.trial.weight_data()).await?;
                self.weights.insert(plan.packing(), weights.clone());
                weights
            }
        };
        let output = self.output.slice(..self.problem.output_dtype().size() * self.problem.output_len());
        let mut buffers = Buffers::new(self.input.slice(..), output);
        buffers.residual = self.residual.as_ref().map(|buffer| buffer.slice(..));
        buffers.offset = self.offset.as_ref().map(|buffer| buffer.slice(..));
        buffers.mask = self.mask.as_ref().map(|buffer| buffer.slice(..));
        let binding = plan.bind(&weights, &buffers);
        binding.await
    }

    /// Runs twice on a blank output; what is wrong with the result, if anything is.
    async fn verify(&mut self, bound: &Bound, rounding: Rounding) -> Result<Result<(), String>> {
        let first = self.execute(bound).await?;
        let second = self.execute(bound).await?;
        let expected = match self.expected.entry(rounding) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.trial.expected_as(self.problem, rounding)?),
        };
        Ok(self.trial.judge_runs(expected, self.problem.output_len() as usize, &first, &second))
    }

    async fn execute(&self, bound: &Bound) -> Result<Vec<f32>> {
        let (device, queue) = (self.engine.device(), self.engine.queue());
        let ((), pending) = scoped(device, self.engine.lost(), "blanking an output", || {
            let mut encoder = self.engine.encoder("wgpu-conv: tuning blank");
            let mut at = 0;
            while at < self.output.size() {
                let bytes = self.blank.size().min(self.output.size() - at);
                encoder.copy_buffer_to_buffer(&self.blank, 0, &self.output, at, bytes);
                at += bytes;
            }
            queue.submit([encoder.finish()]);
        });
        pending.await?;
        bound.submit().await?;
        let read = self.engine.read_as(self.output.slice(..), self.problem.output_dtype());
        read.await
    }
}
