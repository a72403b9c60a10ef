//! How long a convolution takes: on the GPU's own clock where it has one that makes sense, else by the wall clock.

use wgpu_conv::{Bound, Engine, Result, Timer, wgpu};

/// Times of one convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Median in milliseconds.
    pub median_ms: f64,
    /// Smallest in milliseconds.
    pub min_ms: f64,
    /// Whether the GPU's timestamps were used; otherwise the wall time from submitting until the GPU was done.
    pub on_gpu: bool,
    /// Every run, in order.
    pub samples_ms: Vec<f64>,
}

impl Timing {
    fn of(samples_ms: Vec<f64>, on_gpu: bool) -> Self {
        let min_ms = samples_ms.iter().copied().min_by(f64::total_cmp).unwrap_or(f64::NAN);
        Self { median_ms: median(&samples_ms), min_ms, on_gpu, samples_ms }
    }
}

/// The middle value, or the mean of the two in the middle; NaN where there are none.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Runs `bound` once to warm up and then `runs` times (at least once), each timed by itself, all by the same clock: the
/// GPU's where it makes sense (see [`Timer`]).
///
/// # Errors
/// What running and reading back say.
pub fn measure(engine: &Engine, bound: &Bound, runs: usize) -> Result<Timing> {
    let runs = runs.max(1);
    bound.run_blocking()?;
    let mut timer = Timer::new(engine);
    let mut samples = Vec::with_capacity(runs);
    let mut on_gpu = None;
    while samples.len() < runs {
        let sample = timer.time_blocking(bound)?;
        // Timestamps that make no sense end their use: all begins anew by the wall clock.
        if on_gpu.replace(sample.on_gpu) == Some(!sample.on_gpu) {
            samples.clear();
        }
        samples.push(sample.ms);
    }
    Ok(Timing::of(samples, on_gpu == Some(true)))
}

/// The GPU's own clock, by timestamp queries around compute passes.
#[derive(Debug)]
pub struct GpuClock(Timer);

impl GpuClock {
    /// The clock of the engine's device; `None` if it lacks [`wgpu::Features::TIMESTAMP_QUERY`].
    pub fn new(engine: &Engine) -> Option<Self> {
        let has_one = engine.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        has_one.then(|| Self(Timer::new(engine)))
    }

    /// As [`Timer::time_on_gpu`], blocking.
    ///
    /// # Errors
    /// As there.
    pub fn sample(&self, bound: &Bound, repeats: u32) -> Result<Option<f64>> {
        self.0.time_on_gpu_blocking(bound, repeats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_minima() {
        let timing = Timing::of(vec![3.0, 1.0, 2.0], true);
        assert_eq!((timing.median_ms, timing.min_ms), (2.0, 1.0));
        let timing = Timing::of(vec![4.0, 1.0, 2.0, 3.0], false);
        assert_eq!((timing.median_ms, timing.min_ms), (2.5, 1.0));
        assert_eq!(timing.samples_ms, [4.0, 1.0, 2.0, 3.0]);
    }
}
