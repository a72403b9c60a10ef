#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wgpu_conv_fuzz::safetensors(data));
