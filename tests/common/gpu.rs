//! The context of tests that run on a GPU. In a test file: `#[path = "common/gpu.rs"] mod gpu;`, and first thing in each
//! test: `let Some(gpu) = gpu::open() else { return };`.
//!
//! - One [`Context`] and one [`Engine`] serve the tests of a binary, so that a pipeline is compiled once ([`open_own`] gives
//!   a test its own).
//! - Vulkan's validation layer, where it is installed, watches everything (wgpu asks for it in debug builds). What it says
//!   goes through the `log` crate; a logger collects it, and the guard that [`open`] returns fails its test for it.
//! - No adapter is a failure, with the crate's own message. Only `WGPU_CONV_SKIP_GPU_TESTS=1` skips, and says so.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use wgpu_conv::{Context, ContextOptions, Engine};

/// Set to 1 to skip the tests that need a GPU.
const SKIP_VARIABLE: &str = "WGPU_CONV_SKIP_GPU_TESTS";

/// Messages of the validation layer that this crate has no part in, wrong ones and such that are about wgpu: the rule (its VUID) and
/// a part of the text, since a rule that is wrong once is not always wrong; and the reason.
const NOT_OURS: &[[&str; 3]] = &[
    [
        "UNASSIGNED-CoreValidation-Shader-InconsistentSpirv",
        "Invalid source language operand: 10",
        "10 stands for WGSL, in modules with debug information; the layer of Vulkan 1.3.239 (Debian 12) does not know it yet",
    ],
    [
        "VUID-vkDestroyDevice-device-00378",
        "[(wgpu internal) Staging] has not been destroyed",
        "where a device is destroyed while another thread fills a buffer that is mapped at creation, wgpu 30 destroys the buffer without unmapping it (`Device::release_gpu_resources`), and forgets what it staged",
    ],
];

/// Opens the GPU for a test; `None` if the environment says to skip.
///
/// # Panics
/// If there is no adapter.
pub fn open() -> Option<Gpu> {
    static SHARED: OnceLock<Result<Context, String>> = OnceLock::new();
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if skipped() {
        return None;
    }
    let context = SHARED.get_or_init(make_context).clone().unwrap_or_else(|error| no_adapter(&error));
    let engine = ENGINE.get_or_init(|| context.engine()).clone();
    Some(Gpu { context, engine })
}

/// As [`open`], with a device and an engine that no other test uses. Software adapters compile and run on one thread for
/// each device, so tests with much to compile that run side by side each take one of their own.
///
/// # Panics
/// If there is no adapter.
pub fn open_own() -> Option<Gpu> {
    if skipped() {
        return None;
    }
    let context = make_context().unwrap_or_else(|error| no_adapter(&error));
    let engine = context.engine();
    Some(Gpu { context, engine })
}

fn make_context() -> Result<Context, String> {
    install_logger();
    let context = Context::new_blocking(&ContextOptions::default()).map_err(|error| error.to_string())?;
    let info = context.adapter.get_info();
    println!("adapter: {} ({} {})", info.name, info.driver, info.driver_info);
    Ok(context)
}

fn no_adapter(error: &str) -> ! {
    panic!("{error}\n({SKIP_VARIABLE}=1 skips the tests that need a GPU.)")
}

/// Whether the environment says to skip; if so, says that a test is skipped.
fn skipped() -> bool {
    let skipped = std::env::var(SKIP_VARIABLE).is_ok_and(|value| !value.is_empty() && value != "0");
    if skipped {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        // Straight to the terminal: the test harness swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "skipped, since {SKIP_VARIABLE} is set: {name}");
    }
    skipped
}

/// The open GPU. Dropping it fails the test if the validation layer had anything to say since the last guard was dropped:
/// tests run side by side, so the message may stem from another test of the same binary.
pub struct Gpu {
    context: Context,
    engine: Engine,
}

impl Gpu {
    /// Adapter, device and queue.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The engine on them.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Everything that the validation layer said so far, those in `NOT_OURS` included; none of it fails a test any more.
    pub fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut *lock(&LOG.messages))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let messages: Vec<String> =
            self.take_messages().iter().filter(|message| !message.is_not_ours()).map(ToString::to_string).collect();
        if messages.is_empty() {
            return;
        }
        let text = format!("{} messages of the validation layer:\n{}", messages.len(), messages.join("\n"));
        // A second panic would abort the whole binary; the test has failed already.
        if std::thread::panicking() {
            eprintln!("{text}");
        } else {
            panic!("{text}");
        }
    }
}

/// What the validation layer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The rule that it is about, such as `VUID-VkBufferCreateInfo-size-00912`.
    pub rule: String,
    /// All of it.
    pub text: String,
}

impl Message {
    /// Reads `VALIDATION [rule (0x123)]` and the text below it, the form in which wgpu logs what came from the layer.
    /// Lines of other types (loader, driver) and wgpu's own give `None`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(" [")?;
        let is_validation = kind.split(" | ").any(|kind| kind == "VALIDATION");
        let rule = rest.split(" (0x").next().unwrap_or(rest);
        is_validation.then(|| Self { rule: rule.into(), text: text.into() })
    }

    fn is_not_ours(&self) -> bool {
        NOT_OURS.iter().any(|[rule, part, _]| *rule == self.rule && self.text.contains(part))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Collects what the validation layer says; everything else that is worth a warning goes to standard error.
struct Log {
    messages: Mutex<Vec<Message>>,
}

static LOG: Log = Log { messages: Mutex::new(Vec::new()) };

impl Log {
    /// Where wgpu-hal logs from the layer's callback.
    const TARGET: &str = "wgpu_hal::vulkan::instance";
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        if record.target() == Self::TARGET {
            let mut messages = lock(&self.messages);
            if let Some(message) = Message::parse(&text) {
                return messages.push(message);
            }
            // What a message is about follows in lines of its own: names of queues, command buffers and objects.
            if let (true, Some(last)) = (text.starts_with('\t'), messages.last_mut()) {
                last.text.push('\n');
                return last.text.push_str(&text);
            }
        }
        eprintln!("{} {}: {text}", record.level(), record.target());
    }

    fn flush(&self) {}
}

fn install_logger() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LOG).expect("no test binary installs a logger of its own");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
