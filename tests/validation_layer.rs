//! Shows that a message of Vulkan's validation layer fails a test: provokes one, and finds that the guard objects to it.
//!
//! Where the layer is not installed this says so and passes, unless `WGPU_CONV_REQUIRE_VALIDATION=1`.

#![cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", windows))]

#[path = "common/gpu.rs"]
mod gpu;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ash::vk;
use wgpu_conv::wgpu::{InstanceFlags, hal};

const REQUIRE_VARIABLE: &str = "WGPU_CONV_REQUIRE_VALIDATION";
/// The rule that the test breaks.
const RULE: &str = "VUID-VkBufferCreateInfo-size-00912";

/// Why no message can come; fails if the environment insists on one.
fn without_validation(reason: &str) {
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| !value.is_empty() && value != "0");
    assert!(!required, "{REQUIRE_VARIABLE} is set, but {reason}");
    let _ = writeln!(std::io::stderr(), "nothing is validated: {reason}");
}

/// A buffer of size 0, which Vulkan forbids.
fn break_the_rule(device: &ash::Device) {
    let create = vk::BufferCreateInfo::default().size(0).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
    // SAFETY: the rule is broken on purpose; drivers make an empty buffer or fail. Nobody uses the buffer.
    unsafe {
        if let Ok(buffer) = device.create_buffer(&create, None) {
            device.destroy_buffer(buffer, None);
        }
    }
}

// One test alone in its binary: the message must not end in the guard of another one.
#[test]
fn a_provoked_message_is_caught_and_fails_the_test() {
    let Some(gpu) = gpu::open() else { return };
    if !InstanceFlags::from_build_config().with_env().contains(InstanceFlags::VALIDATION) {
        return without_validation("wgpu does not ask for it (release builds, or WGPU_VALIDATION=0)");
    }
    // SAFETY: the device outlives the test, and the test destroys nothing of it.
    let Some(device) = (unsafe { gpu.context().device.as_hal::<hal::api::Vulkan>() }) else {
        return without_validation("the adapter is not one of Vulkan");
    };
    // SAFETY: enumerating layers has no preconditions.
    let layers = unsafe { device.shared_instance().entry().enumerate_instance_layer_properties() }.unwrap_or_default();
    if !layers.iter().any(|layer| layer.layer_name_as_c_str() == Ok(c"VK_LAYER_KHRONOS_validation")) {
        return without_validation("VK_LAYER_KHRONOS_validation is not installed (Debian: vulkan-validationlayers)");
    }

    break_the_rule(device.raw_device());
    let messages = gpu.take_messages();
    let rules: Vec<&str> = messages.iter().map(|message| message.rule.as_str()).collect();
    assert!(rules.contains(&RULE), "the layer is installed, and these are its messages: {messages:?}");

    break_the_rule(device.raw_device());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(gpu))).expect_err("the guard objects to the message");
    let text = panic.downcast_ref::<String>().expect("it says why");
    assert!(text.contains(RULE), "{text}");
}
