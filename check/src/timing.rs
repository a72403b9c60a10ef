//! How long a convolution takes: on the GPU's own clock where it has one that makes sense, else by the wall clock.

use std::time::Instant;

use wgpu_conv::{Bound, Engine, Result, wgpu};

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

/// Runs `bound` once to warm up and then `runs` times (at least once), each timed by itself.
///
/// Timestamps are used if the device has [`wgpu::Features::TIMESTAMP_QUERY`] and every pair of them is plausible: not
/// zero, the end after the begin, and no more time between them than passed on the wall clock.
///
/// # Errors
/// What running and reading back say.
pub fn measure(engine: &Engine, bound: &Bound, runs: usize) -> Result<Timing> {
    let runs = runs.max(1);
    bound.run_blocking()?;
    if bound.segments() > 0
        && let Some(clock) = GpuClock::new(engine)
        && let Some(samples) = (0..runs).map(|_| clock.sample(bound, 1)).collect::<Result<Option<Vec<f64>>>>()?
    {
        return Ok(Timing::of(samples, true));
    }
    let mut samples = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        bound.run_blocking()?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Timing::of(samples, false))
}

/// Two timestamps.
const PAIR_BYTES: u64 = 16;

/// The GPU's own clock, by timestamp queries around compute passes.
#[derive(Debug)]
pub struct GpuClock {
    engine: Engine,
    query_set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    period_ms: f64,
}

impl GpuClock {
    /// The clock of the engine's device; `None` if it lacks [`wgpu::Features::TIMESTAMP_QUERY`].
    pub fn new(engine: &Engine) -> Option<Self> {
        let device = engine.device();
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let query_set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timing"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Some(Self {
            engine: engine.clone(),
            query_set,
            resolved: buffer(engine, "timing resolved", PAIR_BYTES, usage),
            period_ms: f64::from(engine.queue().get_timestamp_period()) * 1e-6,
        })
    }

    /// Milliseconds that the GPU takes for `repeats` runs, one after the other; `None` if the timestamps make no sense.
    ///
    /// A convolution of one segment is recorded so often into one pass, and it is for the caller to see that this takes
    /// no longer than a driver allows a submission to take (seconds). Larger ones are submitted segment by segment, as in
    /// real use.
    ///
    /// # Errors
    /// What recording and reading back say.
    pub fn sample(&self, bound: &Bound, repeats: u32) -> Result<Option<f64>> {
        let (passes, repeats) = match bound.segments() {
            1 => (1, repeats),
            segments => (u64::from(segments) * u64::from(repeats), 1),
        };
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let pairs = buffer(&self.engine, "timing pairs", PAIR_BYTES * passes.max(1), usage);
        let start = Instant::now();
        for pass in 0..passes {
            let segment = (pass % u64::from(bound.segments())) as u32;
            self.submit(bound, segment, repeats, (&pairs, PAIR_BYTES * pass))?;
        }
        // Waits until everything is done. The bits are those of whole numbers; as floats they are only carried.
        let stamps = self.engine.read_blocking(pairs.slice(..PAIR_BYTES * passes))?;
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        let bits: Vec<u32> = stamps.into_iter().map(f32::to_bits).collect();
        Ok(plausible_ms(&bits, self.period_ms, wall_ms))
    }

    /// Submits a segment, so often in one pass, and brings the timestamps to a place in a buffer.
    fn submit(&self, bound: &Bound, segment: u32, repeats: u32, to: (&wgpu::Buffer, u64)) -> Result<()> {
        let device = self.engine.device();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timing") });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("timing"),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &self.query_set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            for _ in 0..repeats {
                bound.record_segment(segment, &mut pass)?;
            }
        }
        encoder.resolve_query_set(&self.query_set, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, to.0, to.1, PAIR_BYTES);
        self.engine.queue().submit([encoder.finish()]);
        Ok(())
    }
}

fn buffer(engine: &Engine, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    engine.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// Sum of the times between pairs of timestamps, each of which is two little-endian halves of 64 bits.
fn plausible_ms(bits: &[u32], period_ms: f64, wall_ms: f64) -> Option<f64> {
    // The two clocks need not run at exactly the same speed.
    const CLOCK_TOLERANCE: f64 = 1.02;
    let (pairs, []) = bits.as_chunks::<4>() else { return None };
    let mut ticks = 0_u64;
    for &[begin_low, begin_high, end_low, end_high] in pairs {
        let stamp = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let (begin, end) = (stamp(begin_low, begin_high), stamp(end_low, end_high));
        if begin == 0 || end <= begin {
            return None;
        }
        ticks = ticks.checked_add(end - begin)?;
    }
    let elapsed = ticks as f64 * period_ms;
    (elapsed > 0.0 && elapsed <= wall_ms * CLOCK_TOLERANCE).then_some(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plausible_timestamps_add_up() {
        let bits = [5, 1, 25, 1, 100, 1, 130, 1];
        assert_eq!(plausible_ms(&bits, 0.5, 30.0), Some(25.0));
        // The low half wraps around between the two.
        assert_eq!(plausible_ms(&[u32::MAX, 0, 1, 1], 1.0, 10.0), Some(2.0));
    }

    #[test]
    fn senseless_timestamps_are_refused() {
        for bits in [
            [0, 0, 9, 0],  // never written at the begin
            [9, 0, 0, 0],  // never written at the end
            [9, 0, 9, 0],  // no time at all
            [9, 1, 8, 1],  // backwards
            [1, 0, 99, 0], // longer than the wall clock
        ] {
            assert_eq!(plausible_ms(&bits, 1.0, 50.0), None, "{bits:?}");
        }
        assert_eq!(plausible_ms(&[1, 0, 5, 0, 9, 0, 9, 0], 1.0, 50.0), None, "one of two took no time");
        assert_eq!(plausible_ms(&[1, 0, 2], 1.0, 50.0), None, "half a pair");
        assert_eq!(plausible_ms(&[1, 0, 2, 0], 0.0, 50.0), None, "a period of zero");
        assert_eq!(plausible_ms(&[1, 0, 2, 0], f64::NAN, 50.0), None);
        assert_eq!(plausible_ms(&[], 1.0, 50.0), None, "nothing was timed");
    }

    #[test]
    fn medians_and_minima() {
        let timing = Timing::of(vec![3.0, 1.0, 2.0], true);
        assert_eq!((timing.median_ms, timing.min_ms), (2.0, 1.0));
        let timing = Timing::of(vec![4.0, 1.0, 2.0, 3.0], false);
        assert_eq!((timing.median_ms, timing.min_ms), (2.5, 1.0));
        assert_eq!(timing.samples_ms, [4.0, 1.0, 2.0, 3.0]);
    }
}
