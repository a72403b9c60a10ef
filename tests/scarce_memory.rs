//! Memory that runs out, as wgpu sees it: errors and no loss while it is scarce, and a loss where wgpu gives the device up. A
//! binary of its own, since wgpu leaves a message of the validation layer where it makes no device for lack of memory.

use wgpu_conv::{Buffers, Checks, Engine, Error, Kernel, wgpu};

#[path = "common/exact.rs"]
mod exact;
#[path = "common/gpu.rs"]
mod gpu;

use exact::{Case, assert_same, forced};

// One test alone: the message must not end in the guard of another one.
#[test]
fn memory_runs_out() {
    let Some(gpu) = gpu::open() else { return };
    without_memory_there_are_errors_and_no_loss(&gpu);
    a_device_that_wgpu_gives_up_is_lost(&gpu);
}

/// Whether wgpu hears of a budget: from lavapipe since Mesa 23, for one.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", windows))]
fn tells_its_budget(device: &wgpu::Device) -> bool {
    // SAFETY: nothing is made or destroyed through this handle.
    let hal = unsafe { device.as_hal::<wgpu::hal::api::Vulkan>() };
    hal.is_some_and(|hal| hal.enabled_device_extensions().contains(&c"VK_EXT_memory_budget"))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", windows)))]
fn tells_its_budget(_: &wgpu::Device) -> bool {
    false
}

/// A device on the tests' adapter, with a memory budget that is a part of what the driver says there is; none if that is too
/// little to make one, or nobody says so.
fn with_budget(gpu: &gpu::Gpu, budget: wgpu::MemoryBudgetThresholds) -> Option<(wgpu::Device, wgpu::Queue)> {
    let info = gpu.context().adapter.get_info();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = info.backend.into();
    descriptor.memory_budget_thresholds = budget;
    let adapters = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(info.backend.into()));
    let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == info.name).unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).ok()?;
    let told = tells_its_budget(&device);
    if !told {
        println!("not tested: the driver does not tell its memory budget");
    }
    told.then_some((device, queue))
}

/// Memory becomes scarce and then there is some again. wgpu refuses every buffer in between, the smallest one too, and that
/// is no loss of the device.
fn without_memory_there_are_errors_and_no_loss(gpu: &gpu::Gpu) {
    // The tightest budget with which there is a device at all, and some hundredths of the memory more.
    let budget = |percent| wgpu::MemoryBudgetThresholds { for_resource_creation: Some(percent), for_device_loss: None };
    if with_budget(gpu, wgpu::MemoryBudgetThresholds::default()).is_none() {
        return;
    }
    let tightest = (1..=100).find(|&percent| with_budget(gpu, budget(percent)).is_some());
    let tightest = tightest.and_then(|percent| with_budget(gpu, budget(percent + 3)));
    // wgpu forgets a semaphore where it makes no device.
    gpu.take_messages();
    let Some((device, queue)) = tightest else { return };
    let engine = Engine::new(&device, &queue);
    let case = Case::new("c2h9w9o4k3p1:nobias");
    let options = forced(Kernel::Direct, Checks::Trusted);
    let plan = case.plan(&engine, &options);
    let (bound, output) = case.bind(&plan, &engine);
    let weights = case.weights(&plan);
    let input = case.input(&engine);
    const PIECE: usize = 32 << 20;
    let mut ballast: Vec<Vec<u8>> = Vec::new();
    let mut more = |pieces: usize| ballast.extend((0..pieces).map(|_| vec![1; PIECE]));
    let refused = (0..100).any(|_| {
        more(1);
        engine.buffer_zeroed("is there any left?", 1).is_err()
    });
    assert!(refused, "3 GiB are more than some hundredths of the memory");
    more(8);
    let bind = || plan.bind_blocking(&weights, &Buffers::new(input.slice(..), output.slice(..)));
    for round in 0..3 {
        for (name, result) in [
            ("buffer_zeroed", engine.buffer_zeroed("zeroed", 1 << 10).map(drop)),
            ("buffer_from", engine.buffer_from("from", &case.data.input).map(drop)),
            ("weights", plan.weights_blocking(&case.weight_data()).map(drop)),
            ("bind", bind().map(drop)),
            ("read", engine.read_blocking(output.slice(..)).map(drop)),
            ("convolve", engine.convolve_blocking(&case.problem, &case.data.tensors()).map(drop)),
        ] {
            // Other programs may leave some at any time.
            assert!(matches!(result, Ok(()) | Err(Error::OutOfMemory { .. })), "{name}, round {round}: {result:?}");
        }
        // These take none.
        bound.run_blocking().expect("what was bound before still runs");
        engine.plan_blocking(&case.problem, &options).expect("the pipeline is there");
    }
    ballast.clear();
    let again = || -> wgpu_conv::Result<()> {
        bind()?.run_blocking()?;
        assert_same(&engine.read_blocking(output.slice(..))?, &case.expected, "when there was memory again");
        Ok(())
    };
    // Other programs may take some, too, and some systems take their time to count what was given back: a minute.
    let succeeded = (0..1200).any(|_| match again() {
        Ok(()) => true,
        Err(Error::OutOfMemory { .. }) => {
            std::thread::sleep(std::time::Duration::from_millis(50));
            false
        }
        Err(other) => panic!("{other:?}"),
    });
    assert!(succeeded, "the engine goes on when there is memory again");
}

/// wgpu gives the device up here as soon as it looks at the memory, which is a loss that nobody asked for.
fn a_device_that_wgpu_gives_up_is_lost(gpu: &gpu::Gpu) {
    let none = wgpu::MemoryBudgetThresholds { for_resource_creation: None, for_device_loss: Some(0) };
    let Some((device, queue)) = with_budget(gpu, none) else { return };
    let engine = Engine::new(&device, &queue);
    let case = Case::new("c2h9w9o4k3p1:nobias");
    let plan = case.plan(&engine, &forced(Kernel::Direct, Checks::Trusted));
    let output = case.output(&engine);
    // Whichever submits or waits first finds out.
    let errors = [
        plan.weights_blocking(&case.weight_data()).map(drop).unwrap_err(),
        engine.read_blocking(output.slice(..)).map(drop).unwrap_err(),
        engine.buffer_zeroed("after", 1).map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::DeviceLost { .. }), "{error:?}");
    }
}
