//! Shows wgpu-conv to a browser: its shaders, for the browser's own compiler, and the library itself, compiled to
//! WebAssembly. Starts the browser, collects what the page says, and ends with `N passed, N failed`.
//!
//!     wgpu-conv-browser BROWSER [--shaders] [--pipelines N] [--library PAGE.wasm] [--timeout SECONDS] [-- ARGUMENTS OF THE BROWSER]
//!
//! With --pipelines every N-th shader becomes a pipeline, too, which takes a software adapter seconds for each.

mod modules;
mod server;

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use server::{Event, Files, Server};

/// The wasm-bindgen command line, without installing it.
fn bindings(wasm: &PathBuf, files: &mut Files) -> Result<()> {
    let folder = tempfile::tempdir()?;
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(wasm)
        .out_name("page")
        .web(true)
        .and_then(|bindgen| bindgen.typescript(false).generate(folder.path()))
        .context("making JavaScript of the library")?;
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        files.insert(format!("/{}", entry.file_name().to_string_lossy()), std::fs::read(entry.path())?);
    }
    Ok(())
}

struct Arguments {
    browser: PathBuf,
    shaders: bool,
    library: Option<PathBuf>,
    pipelines: u32,
    timeout: Duration,
    others: Vec<String>,
}

fn arguments() -> Result<Arguments> {
    let mut given = std::env::args().skip(1);
    let browser = given.next().context("which browser?")?.into();
    let timeout = Duration::from_secs(300);
    let mut all = Arguments { browser, shaders: false, library: None, pipelines: 0, timeout, others: Vec::new() };
    while let Some(name) = given.next() {
        let mut value = || given.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--shaders" => all.shaders = true,
            "--library" => all.library = Some(value()?.into()),
            "--pipelines" => all.pipelines = value()?.parse()?,
            "--timeout" => all.timeout = Duration::from_secs(value()?.parse()?),
            "--" => all.others = given.by_ref().collect(),
            _ => bail!("unknown argument {name}"),
        }
    }
    Ok(all)
}

/// A browser without a window, with WebGPU on whatever there is, that asks nobody anything.
fn start(arguments: &Arguments, profile: &std::path::Path, address: &str) -> Result<Child> {
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-unsafe-webgpu",
    ];
    Command::new(&arguments.browser)
        .args(fixed)
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(&arguments.others)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(profile.join("messages"))?)
        .spawn()
        .with_context(|| format!("starting {}", arguments.browser.display()))
}

/// Ends the browser and what it started, which end with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run() -> Result<bool> {
    let arguments = arguments()?;
    let mut files = Files::from([
        ("/".into(), include_bytes!("../../site/index.html").to_vec()),
        ("/check.mjs".into(), include_bytes!("../../site/check.mjs").to_vec()),
    ]);
    let mut parts = format!("pipelines={}", arguments.pipelines);
    if arguments.shaders {
        let list = modules::all()?;
        println!("{} modules", list.len());
        files.insert("/modules.json".into(), serde_json::to_vec(&list.iter().collect::<Vec<_>>())?);
        parts += "&shaders";
    }
    if let Some(wasm) = &arguments.library {
        bindings(wasm, &mut files)?;
        parts += "&library";
    }

    let server = Server::start(files)?;
    let profile = tempfile::tempdir()?;
    let mut browser = Running(start(&arguments, profile.path(), &format!("{}/?{parts}", server.address()))?);
    let (mut passed, mut failed) = (0, 0);
    let end = Instant::now() + arguments.timeout;
    loop {
        match server.next(end.saturating_duration_since(Instant::now()).min(Duration::from_secs(1))) {
            Some(Event::Passed(what)) => {
                passed += 1;
                if !what.is_empty() {
                    println!("passed: {what}");
                }
            }
            Some(Event::Failed(what)) => {
                failed += 1;
                println!("FAILED: {what}");
            }
            Some(Event::Note(what)) => println!("{what}"),
            Some(Event::End) => break,
            None => {
                let ended = browser.0.try_wait()?;
                if ended.is_some() || Instant::now() >= end {
                    failed += 1;
                    let what = ended.map_or_else(
                        || format!("the page was not done after {} s", arguments.timeout.as_secs()),
                        |status| format!("the browser ended too early, with {status}"),
                    );
                    let messages = std::fs::read_to_string(profile.path().join("messages")).unwrap_or_default();
                    println!("FAILED: {what}; what the browser said last:");
                    let lines: Vec<&str> = messages.lines().collect();
                    lines[lines.len().saturating_sub(10)..].iter().for_each(|line| println!("  {line}"));
                    break;
                }
            }
        }
    }
    drop(browser);
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
