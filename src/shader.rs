//! WGSL as it is handed to wgpu: a file of `shaders/` with its constants set by name.
//!
//! Shaders stay plain WGSL. What depends on a configuration stands there as `const NAME: type = value;` on a line of its
//! own, and [`Source`] replaces the value; a name that is not there exactly once is an error. `override` could not size
//! function-local arrays, and a template language would hide the shader from every WGSL tool.

mod fold;
mod unroll;

use std::borrow::Cow;
use std::collections::HashMap;
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

/// A shader module in the making: its lines, and where the declarations are among them. A plan makes as many modules as it has
/// passes, so none is searched through for each of its constants.
pub(crate) struct Source {
    lines: Vec<Cow<'static, str>>,
    /// By what a line says up to the name's end: `const NAME`, `alias NAME`, `var<storage, read> NAME`.
    declarations: HashMap<&'static str, Place>,
}

/// Where a declaration stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Line(usize),
    Several,
}

impl Source {
    /// One module of these files, in order.
    pub fn new(files: &[&'static str]) -> Self {
        let lines = files.iter().flat_map(|file| file.split('\n'));
        let mut source = Self { lines: Vec::new(), declarations: HashMap::new() };
        for (number, line) in lines.enumerate() {
            if let Some(declared) = declared(line) {
                let place = source.declarations.entry(declared);
                place.and_modify(|place| *place = Place::Several).or_insert(Place::Line(number));
            }
            source.lines.push(line.into());
        }
        source
    }

    /// Sets constants by name.
    ///
    /// # Errors
    /// [`Error::Internal`] unless each is there exactly once, with that type.
    pub fn set(&mut self, constants: &[Constant]) -> Result<()> {
        for &(name, value) in constants {
            let declared = format!("const {name}");
            let start = format!("{declared}: {} = ", value.type_name());
            self.replace(&declared, &start, ";", &value.to_string())?;
        }
        Ok(())
    }

    /// Sets type aliases by name.
    ///
    /// # Errors
    /// [`Error::Internal`] unless each is there exactly once.
    pub fn set_types(&mut self, aliases: &[(&str, &str)]) -> Result<()> {
        aliases.iter().try_for_each(|(name, value)| {
            let declared = format!("alias {name}");
            self.replace(&declared, &format!("{declared} = "), ";", value)
        })
    }

    /// Makes the storage variable `name` read_write: needed when its buffer is also bound for writing.
    ///
    /// # Errors
    /// [`Error::Internal`] unless it is there exactly once.
    pub fn make_writable(&mut self, name: &str) -> Result<()> {
        let declared = format!("{READ_ONLY}{name}");
        self.replace(&declared, "var<storage, ", ">", "read_write")?;
        self.declarations.remove(declared.as_str());
        Ok(())
    }

    /// The module's text; its marked loops are still to be [`unrolled`].
    pub fn finish(self) -> String {
        self.lines.join("\n")
    }

    /// In the line that declares this, replaces what stands between `start` and `end`.
    fn replace(&mut self, declared: &str, start: &str, end: &str, value: &str) -> Result<()> {
        let number = match self.declarations.get(declared) {
            Some(Place::Line(number)) => *number,
            Some(Place::Several) => {
                return Err(Error::Internal(format!("more than one line {declared:?} in the shader")));
            }
            None => return Err(Error::Internal(format!("no line {declared:?} in the shader"))),
        };
        let line = &mut self.lines[number];
        let (before, rest) = line
            .split_once(start)
            .ok_or_else(|| Error::Internal(format!("no {start:?} in the shader's line {line:?}")))?;
        let (_, after) = rest
            .split_once(end)
            .ok_or_else(|| Error::Internal(format!("the line {line:?} of the shader has no end")))?;
        *line = format!("{before}{start}{value}{end}{after}").into();
        Ok(())
    }
}

/// How the declaration of a buffer begins that is only read, behind its group and binding.
const READ_ONLY: &str = "var<storage, read> ";

/// What a line declares that can be set, with the word before it.
fn declared(line: &'static str) -> Option<&'static str> {
    let (from, word) = match line.find(READ_ONLY) {
        Some(at) if line.starts_with('@') || at == 0 => (at, READ_ONLY),
        _ => (0, ["const ", "alias "].into_iter().find(|word| line.starts_with(word))?),
    };
    let text = &line[from..];
    let name = text[word.len()..].find(|c| !fold::is_part(c))?;
    Some(&text[..word.len() + name])
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
