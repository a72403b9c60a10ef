//! WGSL as it is handed to wgpu: a file of `shaders/` with its constants set by name.
//!
//! Shaders stay plain WGSL. What depends on a configuration stands there as `const NAME: type = value;` on a line of its
//! own, and [`Source`] replaces the value; a name that is not there exactly once is an error. `override` could not size
//! function-local arrays, and a template language would hide the shader from every WGSL tool.

mod fold;
mod unroll;

use std::fmt;

use crate::error::{Error, Result};
pub(crate) use unroll::unrolled;

/// The value of a shader constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    U32(u32),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::U32(value) => write!(f, "{value}u"),
        }
    }
}

impl Value {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::U32(_) => "u32",
        }
    }
}

/// A constant's name and value.
pub(crate) type Constant = (&'static str, Value);

/// A shader module in the making.
pub(crate) struct Source {
    text: String,
}

impl Source {
    /// One module of these files, in order.
    pub fn new(files: &[&str]) -> Self {
        Self { text: files.join("\n") }
    }

    /// Sets constants by name.
    ///
    /// # Errors
    /// [`Error::Internal`] unless each is there exactly once, with that type.
    pub fn set(&mut self, constants: &[Constant]) -> Result<()> {
        for &(name, value) in constants {
            let start = format!("const {name}: {} = ", value.type_name());
            self.replace_line(&start, ";", &value.to_string())?;
        }
        Ok(())
    }

    /// Sets type aliases by name.
    ///
    /// # Errors
    /// [`Error::Internal`] unless each is there exactly once.
    pub fn set_types(&mut self, aliases: &[(&str, &str)]) -> Result<()> {
        aliases.iter().try_for_each(|(name, value)| self.replace_line(&format!("alias {name} = "), ";", value))
    }

    /// Makes the storage variable `name` read_write: needed when its buffer is also bound for writing.
    ///
    /// # Errors
    /// [`Error::Internal`] unless it is there exactly once.
    pub fn make_writable(&mut self, name: &str) -> Result<()> {
        let line = format!("var<storage, read> {name}:");
        self.check_count(&line)?;
        self.text = self.text.replace(&line, &format!("var<storage, read_write> {name}:"));
        Ok(())
    }

    /// The module's text; its marked loops are still to be [`unrolled`].
    pub fn finish(self) -> String {
        self.text
    }

    fn check_count(&self, needle: &str) -> Result<usize> {
        let mut found = self.text.match_indices(needle);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(Error::Internal(format!("no line {needle:?} in the shader"))),
            _ => Err(Error::Internal(format!("more than one line {needle:?} in the shader"))),
        }
    }

    fn replace_line(&mut self, start: &str, end: &str, value: &str) -> Result<()> {
        let from = self.check_count(start)? + start.len();
        let length = self.text[from..]
            .find(end)
            .ok_or_else(|| Error::Internal(format!("the line {start:?} of the shader has no end")))?;
        self.text.replace_range(from..from + length, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_set_by_name_and_exactly_once() {
        let mut source = Source::new(&["const A: u32 = 1u;\nconst B: bool = false;\n", "const AB: u32 = 2u;"]);
        source.set(&[("A", 7.into()), ("B", true.into())]).unwrap();
        assert!(source.set(&[("C", 1.into())]).is_err(), "absent");
        assert!(source.set(&[("B", 1.into())]).is_err(), "of another type");
        assert_eq!(source.finish(), "const A: u32 = 7u;\nconst B: bool = true;\n\nconst AB: u32 = 2u;");
        let mut twice = Source::new(&["const A: u32 = 1u;", "const A: u32 = 2u;"]);
        assert!(twice.set(&[("A", 1.into())]).is_err());
    }

    #[test]
    fn access_is_widened_by_name() {
        let mut source = Source::new(&["var<storage, read> a: array<f32>;\nvar<storage, read> ab: array<f32>;"]);
        source.make_writable("a").unwrap();
        assert!(source.make_writable("a").is_err());
        assert!(source.finish().starts_with("var<storage, read_write> a:"));
    }
}
