//! What the cost model rests on.

use crate::capabilities::AdapterClass;

/// What an adapter class pays for the parts of a kernel, in units of one multiply-add of one invocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prices {
    /// A scalar loaded from a storage buffer.
    pub load: f64,
    /// How many times that, if those of neighbouring invocations are apart.
    pub scattered: f64,
    /// A scalar loaded from a storage buffer, the same one for the whole workgroup.
    pub uniform: f64,
    /// A scalar loaded from a storage buffer, next to those of the neighbouring invocations.
    pub neighbours: f64,
    /// A sum that is carried from one round of the loop over channels to the next.
    pub carry: f64,
    /// A scalar loaded from workgroup memory.
    pub shared: f64,
    /// A multiply-add of matrix units.
    pub matrix: f64,
    /// An element gathered from the image into workgroup memory: index arithmetic, load and store.
    pub gather: f64,
    /// A stretch of a row that a workgroup reads or writes of tensors too large for `cache`, where stretches are so short that
    /// nothing is fetched ahead of its use.
    pub stretch: f64,
    /// Bytes of input and output together that stay in caches.
    pub cache: u64,
    /// A number that Winograd's algorithm transforms: one program writes it, another reads it.
    pub transform: f64,
    /// Workgroups of 64 invocations that are needed to keep the device busy.
    pub workgroups: f64,
    /// One more dispatch that waits for the one before.
    pub pass: f64,
}

impl Prices {
    /// Measured on lavapipe for software; for GPUs, estimates from compiled code (see `benches/README.md`).
    pub fn of(class: AdapterClass) -> Self {
        match class {
            AdapterClass::Software => Self {
                load: 12.0,
                scattered: 1.3,
                uniform: 4.0,
                neighbours: 8.0,
                carry: 2.0,
                shared: 16.0,
                matrix: 40.0,
                gather: 50.0,
                stretch: 1000.0,
                cache: 8 << 20,
                transform: 63.0,
                workgroups: 4.0,
                pass: 1e5,
            },
            AdapterClass::Integrated => Self {
                load: 3.0,
                scattered: 4.0,
                uniform: 5.0,
                neighbours: 3.0,
                carry: 0.0,
                shared: 0.3,
                // Estimated: eight times as fast as a multiply-add, as on AMD's and NVIDIA's current chips.
                matrix: 0.12,
                gather: 4.0,
                // A GPU has other invocations to run meanwhile.
                stretch: 0.0,
                cache: 0,
                // Eight bytes to memory and back, while so many multiply-adds are made.
                transform: 120.0,
                workgroups: 32.0,
                pass: 4e6,
            },
            // More of everything, and the same for what is measured in multiply-adds.
            AdapterClass::Discrete => {
                Self { workgroups: 256.0, pass: 2e7, transform: 60.0, ..Self::of(AdapterClass::Integrated) }
            }
        }
    }
}
