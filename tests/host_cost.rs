//! What recording costs on the CPU: as many allocations as wgpu's own calls written by hand, and none of our own. (How
//! long it takes is measured by `benches/host.rs`.) On wgpu's noop backend: no GPU is needed.

#[path = "common/allocations.rs"]
mod allocations;
#[path = "common/recording.rs"]
mod recording;

use allocations::{Counting, count};
use recording::{Chain, LENGTH};
use wgpu_conv::{Engine, wgpu};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn engine() -> Engine {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    Engine::new(&device, &queue)
}

#[test]
fn recording_allocates_as_often_as_the_same_calls_by_hand() {
    let engine = engine();
    let chain = Chain::new(&engine).unwrap();
    // wgpu keeps encoders for later, so first times are different.
    for _ in 0..3 {
        drop((chain.record(&engine), chain.record_by_hand(&engine)));
    }
    let ours = count(|| drop(chain.record(&engine)));
    let by_hand = count(|| drop(chain.record_by_hand(&engine)));
    assert_eq!(ours, by_hand, "allocations of {LENGTH} convolutions in one pass");
    // A counter that counts nothing would find them equal, too.
    assert!(by_hand > 0);
}

#[test]
fn allocations_are_counted() {
    assert_eq!(count(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(count(|| drop(std::hint::black_box(vec![0_u8; 10]))), 1);
    assert_eq!(count(|| std::hint::black_box(Vec::<u8>::with_capacity(1)).reserve(100)), 2);
    assert_eq!(count(|| ()), 0);
}
