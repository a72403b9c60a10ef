//! [`Timer`]: how long a convolution takes, by the GPU's own clock where it has one that makes sense.

use std::ops::Range;
use std::time::Instant;

use crate::bind::Bound;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{scoped, wait};

/// Times convolutions, one run after the other.
///
/// Timestamps of the GPU are used if the device has [`wgpu::Features::TIMESTAMP_QUERY`] and as long as every pair of them is
/// plausible: not zero, the end after the begin, and no more time between them than passed on the wall clock. Otherwise it
/// is the wall time from submitting until the GPU is done, which browsers do not offer.
#[derive(Debug)]
pub struct Timer {
    engine: Engine,
    /// Whether [`Timer::time`] uses timestamps; those that made no sense once are not trusted again.
    timestamps: bool,
}

/// The time of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds.
    pub ms: f64,
    /// Whether the GPU's timestamps were used; otherwise it is wall time.
    pub on_gpu: bool,
}

/// The wall clock, where there is one: in browsers asking for the time would panic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Option<Instant>);

impl Clock {
    pub fn start() -> Self {
        Self((!cfg!(target_family = "wasm")).then(Instant::now))
    }

    /// Milliseconds since the start.
    pub fn ms(&self) -> Option<f64> {
        self.0.map(|start| start.elapsed().as_secs_f64() * 1e3)
    }
}

impl Timer {
    /// A timer for what `engine` runs.
    pub fn new(engine: &Engine) -> Self {
        let timestamps = engine.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        Self { engine: engine.clone(), timestamps }
    }

    /// Runs `bound` once, submitted as [`Bound::submissions`] says, and waits for it. Natively this blocks.
    ///
    /// # Errors
    /// What [`Bound::submit`] and [`Engine::read`] say; [`Error::Missing`] in browsers where there are no timestamps.
    pub async fn time(&mut self, bound: &Bound) -> Result<Sample> {
        if self.timestamps && bound.segments() > 0 {
            if let Some(ms) = self.time_on_gpu(bound, 1).await? {
                return Ok(Sample { ms, on_gpu: true });
            }
            self.timestamps = false;
        }
        let clock = Clock::start();
        bound.submit().await?;
        let (device, lost) = (self.engine.device(), self.engine.lost());
        wait(device, lost)?;
        let ms = clock.ms().ok_or_else(|| Error::Missing {
            name: "a clock",
            reason: "browsers have none for this, and the device has no timestamp queries that make sense".into(),
        })?;
        // Nobody reports a device that was lost while the work ran: this looks.
        scoped(device, lost, "waiting for the GPU", || ()).1.await?;
        Ok(Sample { ms, on_gpu: false })
    }

    /// Milliseconds that the GPU takes for `repeats` runs, one after the other, by its own clock; `None` if it has none, or
    /// its timestamps make no sense, or there is nothing to run. Natively this blocks.
    ///
    /// A convolution of one submission is recorded so often into one pass, and it is for the caller to see that this takes no
    /// longer than a driver allows a submission to take (seconds). Larger ones are submitted part by part, as in real use.
    ///
    /// # Errors
    /// What [`Bound::submit`] and [`Engine::read`] say.
    pub async fn time_on_gpu(&self, bound: &Bound, repeats: u32) -> Result<Option<f64>> {
        if !self.timestamps || bound.segments() == 0 || repeats == 0 {
            return Ok(None);
        }
        let clock = Clock::start();
        let bits = self.stamps(bound, repeats).await?;
        let period_ms = f64::from(self.engine.queue().get_timestamp_period()) * 1e-6;
        Ok(plausible_ms(&bits, period_ms, clock.ms().unwrap_or(f64::INFINITY)))
    }

    /// [`Timer::time`], blocking.
    ///
    /// # Errors
    /// As [`Timer::time`].
    #[cfg(not(target_family = "wasm"))]
    pub fn time_blocking(&mut self, bound: &Bound) -> Result<Sample> {
        pollster::block_on(self.time(bound))
    }

    /// [`Timer::time_on_gpu`], blocking.
    ///
    /// # Errors
    /// As [`Timer::time_on_gpu`].
    #[cfg(not(target_family = "wasm"))]
    pub fn time_on_gpu_blocking(&self, bound: &Bound, repeats: u32) -> Result<Option<f64>> {
        pollster::block_on(self.time_on_gpu(bound, repeats))
    }

    /// Runs with timestamps: the bits of two of them for each pass.
    async fn stamps(&self, bound: &Bound, repeats: u32) -> Result<Vec<u32>> {
        let device = self.engine.device();
        let submissions: Vec<Range<u32>> = bound.submissions().collect();
        let (turns, repeats) = if submissions.len() == 1 { (1, repeats) } else { (repeats, 1) };
        let passes = submissions.len() as u64 * u64::from(turns);
        let _reservation = self.engine.reserve("timing a convolution", PAIR_BYTES * (passes + 1))?;
        let (pairs, pending) = scoped(device, self.engine.lost(), "timing a convolution", || {
            let query_set = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("wgpu-conv: timing"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let buffer = |label, size, usage| {
                let mapped_at_creation = false;
                device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation })
            };
            let (resolve, from, to) =
                (wgpu::BufferUsages::QUERY_RESOLVE, wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
            let resolved = buffer("wgpu-conv: timing resolved", PAIR_BYTES, resolve | from);
            let pairs = buffer("wgpu-conv: timing pairs", PAIR_BYTES * passes, to | from);
            let turns = (0..turns).flat_map(|_| &submissions);
            for (pass_number, segments) in (0..).zip(turns) {
                let mut encoder = self.engine.encoder("wgpu-conv: timing");
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("wgpu-conv: timing"),
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &query_set,
                        beginning_of_pass_write_index: Some(0),
                        end_of_pass_write_index: Some(1),
                    }),
                });
                for _ in 0..repeats {
                    for segment in segments.clone() {
                        // There is such a segment.
                        let _ = bound.record_segment(segment, &mut pass);
                    }
                }
                drop(pass);
                encoder.resolve_query_set(&query_set, 0..2, &resolved, 0);
                encoder.copy_buffer_to_buffer(&resolved, 0, &pairs, PAIR_BYTES * pass_number, PAIR_BYTES);
                self.engine.queue().submit([encoder.finish()]);
            }
            pairs
        });
        pending.await?;
        // Waits until everything is done. The bits are those of whole numbers; as floats they are only carried.
        let numbers = self.engine.read(pairs.slice(..)).await?;
        Ok(numbers.into_iter().map(f32::to_bits).collect())
    }
}

/// Two timestamps.
const PAIR_BYTES: u64 = 16;

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
}
