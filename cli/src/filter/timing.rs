//! Time of a bound convolution.

use wgpu_conv::{Bound, Engine, Result};

pub struct Timing {
    pub median_ms: f64,
    pub min_ms: f64,
    pub on_gpu: bool,
}

/// Wall clock around submission and waiting.
pub fn measure(_engine: &Engine, bound: &Bound, runs: usize) -> Result<Timing> {
    let mut times = Vec::new();
    for _ in 0..runs.max(1) {
        let start = std::time::Instant::now();
        bound.run_blocking()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(Timing { median_ms: times[times.len() / 2], min_ms: times[0], on_gpu: false })
}
