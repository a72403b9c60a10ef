//! How far a command is, on standard error: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Stream};

/// A bar, or what stands for it.
pub struct Bar {
    bar: Option<ProgressBar>,
    tenths: usize,
}

impl Bar {
    /// At the start.
    pub fn new() -> Self {
        let bar = Stream::Err.is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {percent}% {elapsed} {wide_msg}");
            let bar = ProgressBar::new(0);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, tenths: 0 }
    }

    /// Shows that `done` of `total` is done: a bar with what comes now, or elsewhere a line for each tenth.
    pub fn show(&mut self, done: usize, total: usize, what: &str, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(what.to_owned());
            return;
        }
        let tenths = 10 * done / total.max(1);
        if tenths > self.tenths {
            self.tenths = tenths;
            output::note(&line());
        }
    }

    /// Prints a line on standard error, above the bar.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
