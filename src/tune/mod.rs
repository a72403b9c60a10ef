//! [`Engine::tune`]: which kernel variant is the fastest for a problem on this very device, found by measuring.
//!
//! Nothing is timed before its result was found right. The estimate's choice is replaced only by what is clearly faster in
//! runs that alternate, twice: among the best, and then alone against it.

mod decide;
mod session;
mod trial;

use std::time::Duration;

use crate::accuracy::Accuracy;
use crate::engine::Engine;
use crate::error::Result;
use crate::kernels::{Checks, Choice, Kernel};
use crate::problem::Problem;
use crate::timer::Timer;
use crate::tuning_file::DeviceKey;

/// How to tune.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TuneOptions {
    /// Time for one problem: no new candidate is begun after 60 % of it, and no new round of measurement after all of it.
    /// What has begun is finished, and the estimate's choice is looked at in any case. In browsers, which have no clock
    /// for this, it is the time measured on the GPU. Default: 10 s.
    pub budget: Duration,
    /// Most candidates that are tried, those with the lowest estimated cost first; at least 1. Default: all.
    pub max_candidates: usize,
    /// Trusted or checked shaders. Default: what the engine was made with.
    pub checks: Option<Checks>,
    /// What the candidates may do with the numbers. Default: what the engine was made with.
    pub accuracy: Option<Accuracy>,
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self { budget: Duration::from_secs(10), max_candidates: usize::MAX, checks: None, accuracy: None }
    }
}

impl TuneOptions {
    /// Sets [`budget`](Self::budget).
    #[must_use]
    pub fn budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    /// Sets [`max_candidates`](Self::max_candidates).
    #[must_use]
    pub fn max_candidates(self, max_candidates: usize) -> Self {
        Self { max_candidates, ..self }
    }

    /// Sets [`checks`](Self::checks).
    #[must_use]
    pub fn checks(self, checks: Checks) -> Self {
        Self { checks: Some(checks), ..self }
    }

    /// Sets [`accuracy`](Self::accuracy).
    #[must_use]
    pub fn accuracy(self, accuracy: Accuracy) -> Self {
        Self { accuracy: Some(accuracy), ..self }
    }
}

/// How far tuning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TuneProgress<'a> {
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// What is done now.
    pub what: &'a str,
}

/// What came of one variant.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TuneOutcome {
    /// Its result was right; it was timed.
    Measured {
        /// Median in milliseconds.
        ms: f64,
        /// Smallest in milliseconds.
        min_ms: f64,
        /// How many times went into those; variants that are far behind are timed once.
        samples: usize,
    },
    /// Its result was wrong, so that it was not timed: where, what it gave and what it should have given.
    Wrong(String),
    /// It could not be made or run: the error.
    Failed(String),
    /// It does not take the problem: its own sentence.
    Refused(String),
    /// It was not looked at: why.
    NotTried(String),
}

/// One kernel variant as tuning saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneCandidate {
    /// The kernel.
    pub kernel: Kernel,
    /// Its variant.
    pub variant: &'static str,
    /// What came of it.
    pub outcome: TuneOutcome,
}

/// The result of tuning one problem. [`Tuning::add`](crate::Tuning::add) keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneReport {
    /// The problem.
    pub problem: Problem,
    /// Trusted or checked shaders.
    pub checks: Checks,
    /// Whether the times are from the GPU's own clock; otherwise from submitting until the GPU was done.
    pub on_gpu: bool,
    /// Milliseconds of the chosen variant (median), measured in turns with [`default_ms`](Self::default_ms).
    pub chosen_ms: f64,
    /// Milliseconds of what the estimates choose (median); `None` if its result was wrong or it did not run.
    pub default_ms: Option<f64>,
    /// How results were verified, in words.
    pub verified: String,
    /// Every variant, by estimated cost, refusals last.
    pub candidates: Vec<TuneCandidate>,
    pub(crate) chosen: Choice,
    pub(crate) default: Choice,
    pub(crate) device: DeviceKey,
}

impl TuneReport {
    /// The kernel and variant to use.
    pub fn chosen(&self) -> (Kernel, &'static str) {
        (self.chosen.kernel, self.chosen.name())
    }

    /// The kernel and variant that the estimates choose.
    pub fn default_choice(&self) -> (Kernel, &'static str) {
        (self.default.kernel, self.default.name())
    }
}

impl Engine {
    /// Finds the fastest kernel variant for `problem` by running the candidates on random data of the problem's shapes.
    ///
    /// Each candidate's result is verified before it is timed: whole numbers, whose sums are exact in float32, against the
    /// CPU reference, all outputs or (for problems of more than 2^31 multiply-adds; in browsers 2^27) a sample of them that
    /// is spread over the output; outputs that were not written, writes behind the output, and other bits in a second run
    /// count as wrong too. What the estimates choose is replaced only by what is at least 5 % faster in runs that take turns
    /// with it. Allocates buffers for one run, compiles, submits and waits; meant for an app's set-up, not for a frame.
    ///
    /// `progress` is called before each step. Nothing changes for this engine until [`Engine::add_tuning`].
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) if there are no outputs, [`Error::NoKernel`](crate::Error::NoKernel),
    /// [`Error::Unverified`](crate::Error::Unverified) if no candidate gave a right result,
    /// [`Error::TooLarge`](crate::Error::TooLarge) or [`Error::Limit`](crate::Error::Limit) if the data do not fit in memory,
    /// [`Error::Missing`](crate::Error::Missing) in browsers without timestamp queries, or wgpu's.
    pub async fn tune<F>(&self, problem: &Problem, options: &TuneOptions, progress: F) -> Result<TuneReport>
    where
        F: FnMut(TuneProgress<'_>) + wgpu::WasmNotSend,
    {
        let bench = session::Gpu(Timer::new(self));
        session::Session::run(self, problem, options, bench, progress).await
    }

    /// [`Engine::tune`], blocking.
    ///
    /// # Errors
    /// As [`Engine::tune`].
    #[cfg(not(target_family = "wasm"))]
    pub fn tune_blocking<F>(&self, problem: &Problem, options: &TuneOptions, progress: F) -> Result<TuneReport>
    where
        F: FnMut(TuneProgress<'_>) + Send,
    {
        pollster::block_on(self.tune(problem, options, progress))
    }
}

#[cfg(all(test, feature = "context"))]
pub(crate) mod tests;
