//! [`Tuning`]: what was measured, as a small text file that can be shipped with an app.
//!
//! ```text
//! wgpu-conv tuning 1
//!
//! [entry]
//! version = 0.1.0
//! adapter = llvmpipe (LLVM 19.1.7, 256 bits)
//! driver = llvmpipe
//! driver_info = Mesa 26.2.6 (LLVM 19.1.7)
//! backend = vulkan
//! checks = trusted
//! problem = n1c64h56w56o64k3p1
//! kernel = direct
//! variant = c4x14
//! ms = 8.25
//! sum = 0123456789abcdef
//! ```
//!
//! Each entry stands for itself and carries a checksum, so that damage costs the entries that it hits and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::kernels::{Checks, Choice, Kernel};
use crate::problem::Problem;
use crate::tune::TuneReport;

const HEADER: &str = "wgpu-conv tuning 1";
const ENTRY: &str = "[entry]";
/// Fields of an entry in their order.
const FIELDS: [&str; 11] =
    ["version", "adapter", "driver", "driver_info", "backend", "checks", "problem", "kernel", "variant", "ms", "sum"];
/// The field that covers all others.
const SUM: usize = FIELDS.len() - 1;

/// Longest value that is kept of an adapter's or a driver's own words, in characters.
const MAX_NAME: usize = 160;
/// Longest line, in bytes: a name of characters that take four bytes each fits.
const MAX_LINE: usize = 1000;
/// Warnings that are spelled out; the rest are counted.
const MAX_WARNINGS: usize = 20;

/// This crate's version: what another one measured says nothing about its kernels.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The fastest verified kernel variants of problems, as [`Engine::tune`](crate::Engine::tune) found them, for any number
/// of adapters.
///
/// An entry counts only for the adapter, driver, backend, mode (trusted or checked) and version of this crate that it was
/// measured with. [`Tuning::parse`] reads the text that [`Display`](fmt::Display) writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuning {
    entries: BTreeMap<Key, Learned>,
}

/// The result of [`Tuning::parse`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ParsedTuning {
    /// All entries that are whole.
    pub tuning: Tuning,
    /// What was ignored, each with its line and the reason; empty if nothing was.
    pub warnings: Vec<String>,
}

/// What a device is told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceKey {
    adapter: String,
    driver: String,
    driver_info: String,
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    device: DeviceKey,
    checks: &'static str,
    problem: String,
}

/// The choice for one problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Learned {
    pub choice: Choice,
    /// Measured milliseconds.
    pub ms: f64,
}

impl DeviceKey {
    pub fn of(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        Self {
            adapter: clean(&info.name),
            driver: clean(&info.driver),
            driver_info: clean(&info.driver_info),
            backend: info.backend.to_str().into(),
        }
    }
}

/// A driver's words as they can stand in a line: without control characters and outer spaces, not too long.
fn clean(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let short: String = spaced.trim().chars().take(MAX_NAME).collect();
    short.trim_end().into()
}

impl Tuning {
    /// Most bytes of a text that is looked at; longer ones are ignored as a whole.
    pub const MAX_BYTES: usize = 4 << 20;

    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a tuning file. What is damaged, of another version, or unknown is left out and named in the warnings: this
    /// never fails, and no entry comes out that did not go in.
    pub fn parse(text: impl AsRef<[u8]>) -> ParsedTuning {
        let mut reader = Reader::default();
        reader.read(text.as_ref());
        ParsedTuning { tuning: reader.tuning, warnings: reader.warnings.finish() }
    }

    /// Takes over what was measured, in place of what was known of the same problem on the same device.
    pub fn add(&mut self, report: &TuneReport) {
        let (device, choice) = (report.device.clone(), report.chosen);
        let key = Key { device, checks: report.checks.name(), problem: report.problem.to_string() };
        // A millionth of a millisecond is fine enough for a file.
        let ms = ((report.chosen_ms * 1e6).round() / 1e6).max(1e-6);
        self.entries.insert(key, Learned { choice, ms });
    }

    /// Takes over all entries of `other`; where both know the same problem on the same device, `other` counts.
    pub fn merge(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().map(|(key, learned)| (key.clone(), *learned)));
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of entries that count for this device.
    pub fn len_for(&self, device: &wgpu::Device) -> usize {
        self.for_device(&DeviceKey::of(device)).count()
    }

    /// Problem string, mode and choice of each entry for this device.
    pub(crate) fn for_device(&self, device: &DeviceKey) -> impl Iterator<Item = (&str, &'static str, Learned)> {
        self.entries
            .iter()
            .filter(move |(key, _)| key.device == *device)
            .map(|(key, learned)| (key.problem.as_str(), key.checks, *learned))
    }
}

impl fmt::Display for Tuning {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\n# Each entry counts for its adapter, driver and version of wgpu-conv alone.")?;
        for (key, learned) in &self.entries {
            let values = fields_of(key, learned);
            writeln!(f, "\n{ENTRY}")?;
            for (name, value) in FIELDS.iter().zip(&values) {
                writeln!(f, "{name} = {value}")?;
            }
            writeln!(f, "{} = {:016x}", FIELDS[SUM], checksum(&values))?;
        }
        Ok(())
    }
}

/// All fields but the checksum.
fn fields_of(key: &Key, learned: &Learned) -> [String; SUM] {
    let DeviceKey { adapter, driver, driver_info, backend } = key.device.clone();
    let (kernel, variant) = (learned.choice.kernel.name().into(), learned.choice.name().into());
    let (checks, problem, ms) = (key.checks.into(), key.problem.clone(), learned.ms.to_string());
    [VERSION.into(), adapter, driver, driver_info, backend, checks, problem, kernel, variant, ms]
}

/// 64-bit FNV-1a over all values, each closed by a byte that none can contain.
fn checksum(values: &[String; SUM]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[derive(Default)]
struct Warnings {
    spelled: Vec<String>,
    more: usize,
}

impl Warnings {
    fn add(&mut self, warning: String) {
        if self.spelled.len() < MAX_WARNINGS {
            self.spelled.push(warning);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.spelled.push(format!("and {} more", self.more));
        }
        self.spelled
    }
}

/// An entry in the making.
#[derive(Default)]
struct Draft {
    line: usize,
    values: [Option<String>; FIELDS.len()],
    /// What is wrong with it, if something is.
    wrong: Option<String>,
}

#[derive(Default)]
struct Reader {
    tuning: Tuning,
    /// Keys that occurred more than once.
    ambiguous: BTreeSet<Key>,
    warnings: Warnings,
    draft: Option<Draft>,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) {
        if bytes.len() > Tuning::MAX_BYTES {
            let (actual, most) = (bytes.len(), Tuning::MAX_BYTES);
            return self.warnings.add(format!("ignored as a whole: it has {actual} bytes; at most {most} are read"));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.warnings.add("ignored as a whole: it is not text (UTF-8)".into());
        };
        let mut lines = (1..).zip(text.lines());
        match lines.next() {
            Some((_, first)) if first.trim_end() == HEADER => {}
            first => {
                let first: String = first.map_or("", |(_, line)| line).chars().take(60).collect();
                return self
                    .warnings
                    .add(format!("ignored as a whole: its first line is {first:?} instead of {HEADER:?}"));
            }
        }
        for (number, line) in lines {
            self.line(number, line);
        }
        self.close();
    }

    fn line(&mut self, number: usize, line: &str) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return;
        }
        if trimmed == ENTRY {
            self.close();
            self.draft = Some(Draft { line: number, ..Draft::default() });
            return;
        }
        match &mut self.draft {
            None => self.warnings.add(format!("line {number} belongs to no {ENTRY}")),
            Some(draft) => {
                if let Err(reason) = draft.field(line) {
                    draft.wrong.get_or_insert(format!("line {number}: {reason}"));
                }
            }
        }
    }

    /// Takes the entry that has ended, or says what is wrong with it.
    fn close(&mut self) {
        let Some(draft) = self.draft.take() else { return };
        let line = draft.line;
        let outcome = draft.finish().and_then(|(key, learned)| {
            if self.tuning.entries.remove(&key).is_some() || self.ambiguous.contains(&key) {
                let problem = key.problem.clone();
                self.ambiguous.insert(key);
                return Err(format!("{problem} occurs more than once for the same device, and none of them counts"));
            }
            self.tuning.entries.insert(key, learned);
            Ok(())
        });
        if let Err(reason) = outcome {
            self.warnings.add(format!("the entry at line {line} is ignored: {reason}"));
        }
    }
}

impl Draft {
    fn field(&mut self, line: &str) -> Result<(), String> {
        if line.len() > MAX_LINE {
            return Err(format!("it has {} bytes; a line may have {MAX_LINE}", line.len()));
        }
        let (name, value) = line.split_once('=').ok_or("it is no `name = value`")?;
        let (name, value) = (name.trim(), value.trim());
        let at = FIELDS.iter().position(|&known| known == name).ok_or_else(|| format!("{name:?} is unknown"))?;
        match self.values[at].replace(value.into()) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is there twice")),
        }
    }

    fn finish(self) -> Result<(Key, Learned), String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let mut values = self.values;
        for (name, value) in FIELDS.iter().zip(&values) {
            if value.is_none() {
                return Err(format!("{name} is missing"));
            }
        }
        let [version, adapter, driver, driver_info, backend, checks, problem, kernel, variant, ms, sum] =
            values.each_mut().map(|value| value.take().unwrap_or_default());
        if version != VERSION {
            return Err(format!("it is of version {version:?} of wgpu-conv; this is {VERSION}"));
        }
        for (name, value) in FIELDS[1..].iter().zip([&adapter, &driver, &driver_info, &backend]) {
            if clean(value) != *value {
                return Err(format!("{name} is longer than {MAX_NAME} characters, or has control characters"));
            }
        }
        let checks = Checks::ALL
            .into_iter()
            .map(Checks::name)
            .find(|&name| name == checks)
            .ok_or_else(|| format!("there is no mode {checks:?}"))?;
        let canonical = problem.parse::<Problem>().map_err(|error| error.to_string())?.to_string();
        if canonical != problem {
            return Err(format!("the problem is written {problem:?} instead of {canonical:?}"));
        }
        let kernel: Kernel = kernel.parse().map_err(|error: crate::Error| error.to_string())?;
        let choice = kernel.variant(&variant).map_err(|error| error.to_string())?;
        let ms: f64 = ms
            .parse()
            .ok()
            .filter(|ms: &f64| ms.is_finite() && *ms > 0.0)
            .ok_or_else(|| format!("{ms:?} is no time in milliseconds"))?;
        let key = Key { device: DeviceKey { adapter, driver, driver_info, backend }, checks, problem };
        let learned = Learned { choice, ms };
        let expected = format!("{:016x}", checksum(&fields_of(&key, &learned)));
        if sum != expected {
            return Err(format!("its checksum is {sum:?} instead of {expected}: it was damaged or edited"));
        }
        Ok((key, learned))
    }
}

#[cfg(test)]
mod tests;
