//! [`Context`]: an adapter and a device for programs that own none.

use std::future::Future;

use crate::error::{Error, NoAdapter, Result};
use crate::matrix_units;

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct ContextOptions {
    /// Part of the adapter's name, upper and lower case alike. Default: the environment variable `WGPU_ADAPTER_NAME`, else
    /// any.
    pub adapter_name: Option<String>,
    /// Backends to look at. Default: the environment variable `WGPU_BACKEND` (a list such as `vulkan,metal`), else all
    /// that this crate's feature `context` brings.
    pub backends: Option<wgpu::Backends>,
    /// Whether the device may use its matrix units, where it has any: an experimental feature of wgpu, which the kernel `matrix`
    /// tests before it uses them. Default: true.
    pub matrix_units: Option<bool>,
    /// Instance flags. Default: wgpu's own, which the environment can change (`WGPU_VALIDATION` and its kin).
    pub flags: Option<wgpu::InstanceFlags>,
}

impl ContextOptions {
    fn name(&self) -> Option<String> {
        let name = self.adapter_name.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok());
        name.filter(|name| !name.is_empty())
    }

    fn backends(&self) -> wgpu::Backends {
        self.backends.or_else(wgpu::Backends::from_env).unwrap_or_else(built_in)
    }

    fn instance(&self) -> wgpu::Instance {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        descriptor.backends = self.backends();
        if let Some(flags) = self.flags {
            descriptor.flags = flags;
        }
        wgpu::Instance::new(descriptor)
    }
}

/// An adapter with a device and a queue, for programs that own none.
#[derive(Debug, Clone)]
pub struct Context {
    /// The adapter.
    pub adapter: wgpu::Adapter,
    /// The device: all of the adapter's limits, and those of its features that this crate can use (timestamp
    /// queries, pipeline cache, 16-bit floats, matrix units). Where the GPU has no memory of its own (an integrated or software
    /// adapter), buffers for storage may also be mapped (`MAPPABLE_PRIMARY_BUFFERS`), which saves a program the copies to
    /// and from buffers that only the host uses.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
}

/// The features that this crate has a use for, where they are there.
const USED_FEATURES: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::PIPELINE_CACHE).union(wgpu::Features::SHADER_F16);

/// What a device is asked for where the adapter has it: the features that this crate has a use for, and mapping buffers for
/// storage where nothing is lost by it: elsewhere such buffers would lie in the host's memory, which the GPU reads slowly.
fn wanted_features(kind: wgpu::DeviceType) -> wgpu::Features {
    match kind {
        wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::Cpu => {
            USED_FEATURES | wgpu::Features::MAPPABLE_PRIMARY_BUFFERS
        }
        _ => USED_FEATURES,
    }
}

impl Context {
    /// Picks an adapter and makes a device on it. Among the adapters that match, a discrete GPU is taken first, then an
    /// integrated one, then others, a software adapter last.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], whose message says what to install, or [`Error::NoDevice`].
    pub fn new(options: &ContextOptions) -> impl Future<Output = Result<Self>> + use<> {
        let (name, backends, instance) = (options.name(), options.backends(), options.instance());
        let matrix_units = options.matrix_units.unwrap_or(true);
        async move {
            let adapters = instance.enumerate_adapters(backends).await;
            let available = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            let adapter = matching(adapters, name.as_deref())
                .into_iter()
                .next()
                .ok_or_else(|| Error::NoAdapter(NoAdapter { backends: tried(backends), wanted: name, available }))?;
            let (device, queue) = make_device(&adapter, matrix_units).await?;
            Ok(Self { adapter, device, queue })
        }
    }

    /// Every adapter that matches, in the order of preference, without making a device.
    pub fn adapters(options: &ContextOptions) -> impl Future<Output = Vec<wgpu::Adapter>> + use<> {
        let (name, backends, instance) = (options.name(), options.backends(), options.instance());
        async move { matching(instance.enumerate_adapters(backends).await, name.as_deref()) }
    }

    /// An engine on this device, with [`engine_options`](Self::engine_options).
    pub fn engine(&self) -> crate::Engine {
        crate::Engine::with_options(&self.device, &self.queue, self.engine_options())
    }

    /// Default options, with the matrix units that the device may use.
    pub fn engine_options(&self) -> crate::EngineOptions {
        let may = self.device.features().contains(matrix_units::FEATURES);
        let properties = if may { self.adapter.cooperative_matrix_properties() } else { Vec::new() };
        crate::EngineOptions::default().matrix_units(properties)
    }
}

/// Blocking forms, for programs without an async runtime.
#[cfg(not(target_family = "wasm"))]
impl Context {
    /// [`Context::new`], blocking.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn new_blocking(options: &ContextOptions) -> Result<Self> {
        pollster::block_on(Self::new(options))
    }

    /// [`Context::adapters`], blocking.
    pub fn adapters_blocking(options: &ContextOptions) -> Vec<wgpu::Adapter> {
        pollster::block_on(Self::adapters(options))
    }
}

/// Adapters with `name` in their name that can run compute shaders, most capable kind first.
fn matching(mut adapters: Vec<wgpu::Adapter>, name: Option<&str>) -> Vec<wgpu::Adapter> {
    let name = name.map(str::to_lowercase);
    adapters.retain(|adapter| {
        let named = name.as_ref().is_none_or(|name| adapter.get_info().name.to_lowercase().contains(name));
        named && adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

async fn make_device(adapter: &wgpu::Adapter, matrix_units: bool) -> Result<(wgpu::Device, wgpu::Queue)> {
    let there = adapter.features();
    let experimental = if matrix_units && there.contains(matrix_units::FEATURES) {
        // SAFETY: wgpu asks to be told that experimental features may break its promises. Of those, the device gets cooperative
        // matrices alone, and our only shaders with such are `matrix.wgsl`, whose indices the host has proved, and its test.
        (matrix_units::FEATURES, unsafe { wgpu::ExperimentalFeatures::enabled() })
    } else {
        (wgpu::Features::empty(), wgpu::ExperimentalFeatures::disabled())
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgpu-conv"),
        required_features: there & wanted_features(adapter.get_info().device_type) | experimental.0,
        required_limits: adapter.limits(),
        experimental_features: experimental.1,
        ..Default::default()
    };
    adapter
        .request_device(&descriptor)
        .await
        .map_err(|error| Error::NoDevice { adapter: adapter.get_info().name, message: error.to_string() })
}

/// The backends that this build has on this platform; wgpu's noop backend, which computes nothing, is not counted.
fn built_in() -> wgpu::Backends {
    wgpu::Instance::enabled_backend_features() - wgpu::Backends::NOOP
}

/// Those of the backends asked for that could be tried, or a remark that none of them is built in.
fn tried(asked: wgpu::Backends) -> String {
    match asked & built_in() {
        tried if tried.is_empty() => format!("none: asked for {}, built in {}", names(asked), names(built_in())),
        tried => names(tried),
    }
}

fn names(backends: wgpu::Backends) -> String {
    let names: Vec<String> = backends.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(asked: Option<wgpu::Backends>) -> String {
        let options = ContextOptions { backends: asked, ..ContextOptions::default() };
        tried(options.backends())
    }

    #[test]
    fn only_backends_of_this_build_are_named() {
        assert_eq!(backends(Some(wgpu::Backends::all())), names(built_in()));
        assert!(!names(built_in()).contains("noop"));
        #[cfg(target_os = "linux")]
        {
            assert_eq!(names(built_in()), "vulkan");
            assert_eq!(backends(Some(wgpu::Backends::VULKAN | wgpu::Backends::METAL)), "vulkan");
            assert_eq!(backends(Some(wgpu::Backends::DX12)), "none: asked for dx12, built in vulkan");
            assert_eq!(backends(Some(wgpu::Backends::empty())), "none: asked for none, built in vulkan");
        }
    }

    #[test]
    fn storage_is_mapped_only_where_memory_is_shared() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let mapped = |kind| wanted_features(kind).contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        assert!([IntegratedGpu, Cpu].into_iter().all(mapped));
        assert!(![DiscreteGpu, VirtualGpu, Other].into_iter().any(mapped));
    }

    #[test]
    fn without_an_adapter_the_error_says_what_was_looked_for() {
        let options = ContextOptions {
            adapter_name: Some("no such adapter".into()),
            backends: Some(wgpu::Backends::NOOP),
            ..ContextOptions::default()
        };
        let error = Context::new_blocking(&options).unwrap_err();
        let Error::NoAdapter(NoAdapter { wanted, available, .. }) = &error else { panic!("{error:?}") };
        assert_eq!((wanted.as_deref(), available.len()), (Some("no such adapter"), 0));
        assert!(error.to_string().contains("no such adapter") && error.to_string().contains("noop"), "{error}");
    }
}
