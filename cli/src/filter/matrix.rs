//! [`Matrix`]: rows of numbers, read from the command line or from a file.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Most rows, and most columns, of a filter. Beyond any use on images, and a guard against a slip in a number.
pub const MAX_SIDE: usize = 4096;
/// Most bytes of a matrix file.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Rows of numbers, all rows of one length, at least one number, all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// A matrix of fixed numbers, row after row. `values` must be a whole number of rows.
    pub fn of(columns: usize, values: impl Into<Vec<f64>>) -> Self {
        let values = values.into();
        debug_assert!(columns > 0 && !values.is_empty() && values.len().is_multiple_of(columns));
        Self { columns, values }
    }

    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The numbers, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Reads `"0,-1,0; -1,5,-1; 0,-1,0"`: rows separated by `;`, numbers by commas or spaces.
    pub fn from_inline(text: &str) -> Result<Self> {
        ensure!(!text.trim().is_empty(), "the matrix is empty; write it as in \"0,-1,0; -1,5,-1; 0,-1,0\"");
        let rows = text.split(';').enumerate();
        Self::from_rows(rows.map(|(index, row)| (Place::Row(index + 1), row)))
    }

    /// Reads a file: one row a line, numbers separated by commas or white space; `#` starts a comment, lines without
    /// numbers do not count.
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::read_file(path).with_context(|| format!("matrix file {}", path.display()))
    }

    fn read_file(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        ensure!(!file.metadata()?.is_dir(), "this is a folder");
        let mut bytes = Vec::new();
        // A device or a pipe has no length to look at beforehand.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MAX_FILE_BYTES, "the file has more than {MAX_FILE_BYTES} bytes");
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => bail!("the file is not text: byte {} is not UTF-8", error.valid_up_to() + 1),
        };
        Self::from_text(text)
    }

    fn from_text(text: &str) -> Result<Self> {
        // Some editors put a byte order mark first.
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let rows = lines.map(|(index, line)| (Place::Line(index + 1), line.split('#').next().unwrap_or_default()));
        Self::from_rows(rows.filter(|(_, row)| !row.trim().is_empty()))
    }

    fn from_rows<'a>(rows: impl Iterator<Item = (Place, &'a str)>) -> Result<Self> {
        let mut first: Option<(Place, usize)> = None;
        let mut values = Vec::new();
        for (index, (place, text)) in rows.enumerate() {
            ensure!(index < MAX_SIDE, "{place}: the matrix has more than {MAX_SIDE} rows");
            let before = values.len();
            read_row(place, text, &mut values)?;
            let count = values.len() - before;
            ensure!(count <= MAX_SIDE, "{place} has {count} columns; at most {MAX_SIDE} are allowed");
            let (first, columns) = *first.get_or_insert((place, count));
            ensure!(count == columns, "{place} has {} but {first} has {}", numbers(count), numbers(columns));
        }
        match first {
            Some((_, columns)) => Ok(Self { columns, values }),
            None => bail!("the matrix is empty: there is no number in it"),
        }
    }
}

/// Appends the numbers of one row.
fn read_row(place: Place, text: &str, values: &mut Vec<f64>) -> Result<()> {
    ensure!(!text.trim().is_empty(), "{place} is empty");
    let mut column = 0;
    for field in text.split(',') {
        // Without this, `1,,2` would quietly be a row of two.
        ensure!(!field.trim().is_empty(), "{place}, column {}: a number is missing", column + 1);
        for word in field.split_whitespace() {
            column += 1;
            match word.parse::<f64>() {
                Ok(value) if value.is_finite() => values.push(value),
                Ok(_) => bail!("{place}, column {column}: {} is not a finite number", quoted(word)),
                Err(_) => bail!("{place}, column {column}: {} is not a number", quoted(word)),
            }
        }
    }
    Ok(())
}

/// Where a row was found: by its number inline, by its line in a file.
#[derive(Clone, Copy)]
enum Place {
    Row(usize),
    Line(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(number) => write!(f, "row {number}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

fn numbers(count: usize) -> String {
    format!("{count} number{}", if count == 1 { "" } else { "s" })
}

/// `text` in quotes, shortened where it is long: a file that is no matrix may be one word of megabytes.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}… ({} characters)", &text[..end], text.chars().count()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_and_file_forms_read_the_same() {
        let expected = Matrix::of(3, [0.0, -1.0, 0.5, 2e3, 1.0, 0.0]);
        assert_eq!(Matrix::from_inline("0,-1,.5;2e3,1,0").unwrap(), expected);
        assert_eq!(Matrix::from_inline(" 0 -1 0.5 ; +2e3, 1 ,0 ").unwrap(), expected);
        let text = "\u{feff}# a comment\n\n0 -1\t0.5 # and another\r\n  \n2e3,1, 0\n";
        assert_eq!(Matrix::from_text(text).unwrap(), expected);
        assert_eq!((expected.rows(), expected.columns()), (2, 3));
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = |text: &str| Matrix::from_inline(text).unwrap_err().to_string();
        assert_eq!(error("1,2;3,x4"), "row 2, column 2: \"x4\" is not a number");
        assert_eq!(error("1,2;3"), "row 2 has 1 number but row 1 has 2 numbers");
        assert_eq!(error("1,,2"), "row 1, column 2: a number is missing");
        assert_eq!(error("1,2;"), "row 2 is empty");
        assert_eq!(error("1,inf"), "row 1, column 2: \"inf\" is not a finite number");
        assert_eq!(error("1,1e999"), "row 1, column 2: \"1e999\" is not a finite number");
        assert!(error(" ").contains("empty"));
        assert!(error(&"1 ".repeat(MAX_SIDE + 1)).contains("4097 columns"));
        assert!(error(&vec!["1"; MAX_SIDE + 1].join(";")).contains("more than 4096 rows"));
        let error = |text: &str| Matrix::from_text(text).unwrap_err().to_string();
        assert_eq!(error("1 2\n# between\n3 4 5"), "line 3 has 3 numbers but line 1 has 2 numbers");
        assert!(error("# nothing\n\n").contains("no number"));
        assert!(error(&"z".repeat(1000)).ends_with("… (1000 characters) is not a number"));
    }
}
