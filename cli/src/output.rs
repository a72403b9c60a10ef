//! What the program leaves behind: files that are whole or not there, and text on standard output.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Writes a file under another name beside it, then renames: whoever looks sees the old file or the whole new one. A link
/// stays one, and what is no file (a pipe, a device such as /dev/null) is written to: a rename would put a file in its place.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let attempt = || -> io::Result<()> {
        let path = &path.canonicalize().unwrap_or_else(|_| path.into());
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
        let mut builder = tempfile::Builder::new();
        let permissions = new_file_permissions();
        if let Some(permissions) = permissions {
            builder.permissions(permissions);
        }
        let mut file = builder.prefix(".wgpu-conv-").tempfile_in(folder_of(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().with_context(|| format!("{} cannot be written", path.display()))
}

/// Temporary files are private by default, and the finished file should be like any other: the process's mask decides.
fn new_file_permissions() -> Option<Permissions> {
    #[cfg(unix)]
    return Some(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    #[cfg(not(unix))]
    return None;
}

/// Finds out before the work whether a file can be made there.
pub fn check_writable(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} cannot be written: it is a folder", path.display());
    let folder = folder_of(path);
    ensure!(folder.is_dir(), "{} cannot be written: there is no folder {}", path.display(), folder.display());
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Prints a text and a newline on standard output. A closed pipe is an error as any other; `main` ends quietly on it.
pub fn print(text: &str) -> Result<()> {
    let attempt = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    attempt().context("standard output cannot be written")
}

/// Prints a line on standard error; nobody reading it is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether an error is (or was caused by) a reader that has gone, such as `head`.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A standard stream that a table goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Whether somebody is looking at it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Out => io::stdout().is_terminal(),
            Self::Err => io::stderr().is_terminal(),
        }
    }
}

/// Columns of a terminal that a table can be fitted into.
const NARROWEST: u16 = 60;

/// An empty table: columns whose names start with `>` are aligned to the right. Cells wrap only on a terminal, so that
/// what another program reads has one line a row; colours only on a terminal too, unless NO_COLOR is set.
pub fn table(stream: Stream, columns: &[&str]) -> Table {
    let mut table = Table::new();
    // A line below the header and nothing else.
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    if stream == Stream::Err {
        table.use_stderr();
    }
    // Some terminals say that they have no columns at all.
    if stream.is_terminal() && table.width().is_some_and(|width| width >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if !stream.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    table.set_header(
        columns.iter().map(|name| Cell::new(name.trim_start_matches('>')).add_attribute(comfy_table::Attribute::Bold)),
    );
    for (index, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index).filter(|_| name.starts_with('>')) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A cell in green or red (on a terminal).
pub fn verdict(good: bool, text: impl ToString) -> Cell {
    Cell::new(text).fg(if good { comfy_table::Color::Green } else { comfy_table::Color::Red })
}

/// A number with its thousands set apart: 115,605,504.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a unit that keeps the number short.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{} {}", short(value), UNITS[unit]) }
}

/// A positive number with three or four digits that count.
pub fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v if v >= 1e-3 || v == 0.0 => format!("{v:.4}"),
        v => format!("{v:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(115_605_504), "115,605,504");
        assert_eq!(bytes_text(1023), "1023 bytes");
        assert_eq!(bytes_text(1_802_240), "1.72 MiB");
        assert_eq!(short(1234.6), "1235");
        assert_eq!(short(0.01234), "0.0123");
        assert_eq!(short(1.5e-7), "1.50e-7");
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no/such/b.bin");
        assert!(write_file(&nowhere, b"x").unwrap_err().to_string().contains("b.bin"));
        assert!(check_writable(&nowhere).is_err() && check_writable(folder.path()).is_err());
        assert!(check_writable(&path).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn links_and_pipes_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
        std::fs::write(&file, b"old").unwrap();
        symlink(&file, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::read_link(&link).unwrap(), file);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        write_file(&pipe, b"through").unwrap();
        // Were it a file now, the reader of the pipe would wait for ever.
        assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), b"through");
    }

    #[test]
    #[cfg(unix)]
    fn a_new_file_is_not_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours", "plain"].map(|name| folder.path().join(name));
        write_file(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
