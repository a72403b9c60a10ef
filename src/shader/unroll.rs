//! Loops that are unrolled as text. One that says so,
//!
//! ```wgsl
//! for (var y = 0u; y < ROWS; y++) { // unroll
//! ```
//!
//! becomes a block for each `y`, with the number in its place. Compilers have limits beyond which they keep a loop, and then
//! a block of sums lies in memory instead of registers: on lavapipe that made a shader twenty times as slow.

use super::fold::{folded, is_part};
use crate::error::{Error, Result};

/// What marks a loop, at the end of its first line.
const UNROLL: &str = " // unroll\n";

/// The text with its marked loops unrolled, then [`folded`]. It may become a hundred times as long.
///
/// # Errors
/// [`Error::Internal`] if a marked loop is not of the form above.
pub(crate) fn unrolled(text: &str) -> Result<String> {
    let mut result = String::with_capacity(4 * text.len());
    unroll(text, text, &mut result)?;
    Ok(folded(&result))
}

/// Appends `text` with its marked loops unrolled, outer ones first; `module` is where bounds are looked up.
fn unroll(text: &str, module: &str, out: &mut String) -> Result<()> {
    let Some(mark) = text.find(UNROLL) else {
        out.push_str(text);
        return Ok(());
    };
    let start = text[..mark].rfind('\n').map_or(0, |newline| newline + 1);
    let head = &text[start..mark];
    let malformed = || Error::Internal(format!("the shader's line {:?} cannot be unrolled", head.trim()));
    let (variable, bound) = loop_head(head).ok_or_else(malformed)?;
    let count = constant(module, bound).ok_or_else(malformed)?;
    let rest = &text[mark + UNROLL.len()..];
    let end = closing_brace(rest).ok_or_else(malformed)?;
    out.push_str(&text[..start]);
    for number in 0..count {
        out.push_str("{\n");
        unroll(&substitute(&rest[..end], variable, &format!("{number}u")), module, out)?;
        out.push('}');
    }
    unroll(&rest[end + 1..], module, out)
}

/// Variable and bound of `for (var i = 0u; i < BOUND; i++) {`.
fn loop_head(line: &str) -> Option<(&str, &str)> {
    let (variable, rest) = line.trim().strip_prefix("for (var ")?.split_once(" = 0u; ")?;
    let bound = rest.strip_prefix(variable)?.strip_prefix(" < ")?;
    let bound = bound.strip_suffix(&format!("; {variable}++) {{"))?;
    Some((variable, bound))
}

/// A number as it stands, or the value of `const NAME: u32 = 7u;`.
fn constant(module: &str, name: &str) -> Option<u32> {
    if let Some(number) = name.strip_suffix('u') {
        return number.parse().ok();
    }
    let (_, rest) = module.split_once(&format!("\nconst {name}: u32 = "))?;
    rest.split_once("u;")?.0.parse().ok()
}

/// Where the brace stands that closes a block whose opening brace was just read.
pub(super) fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.bytes().position(|byte| {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        depth == 0
    })
}

/// Replaces an identifier.
fn substitute(text: &str, identifier: &str, value: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(identifier) {
        let (before, after) = (&rest[..at], &rest[at + identifier.len()..]);
        let previous = before.chars().next_back().or_else(|| result.chars().next_back());
        let whole = !previous.is_some_and(|c| is_part(c) || c == '.') && !after.starts_with(is_part);
        result.push_str(before);
        result.push_str(if whole { value } else { identifier });
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_line(text: &str) -> Result<String> {
        let text = format!("\nconst TWO: u32 = 2u;\nconst NONE: u32 = 0u;\n{text}");
        unrolled(&text).map(|text| text.lines().skip(3).map(str::trim).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn marked_loops_are_unrolled_and_no_others() {
        assert_eq!(
            one_line("for (var i = 0u; i < TWO; i++) { // unroll\na[i] = ii + i_0 + s.i;\n}\nreturn i;").unwrap(),
            "{ a[0u] = ii + i_0 + s.i; }{ a[1u] = ii + i_0 + s.i; } return i;"
        );
        let kept = "for (var i = 0u; i < TWO; i++) {\nf(i);\n}";
        assert_eq!(one_line(kept).unwrap(), kept.replace('\n', " "));
        assert_eq!(one_line("for (var i = 0u; i < 1u; i++) { // unroll\nf(i);\n}").unwrap(), "{ f(0u); }");
        assert_eq!(one_line("for (var i = 0u; i < NONE; i++) { // unroll\nf(i);\n}\ng();").unwrap(), " g();");
    }

    #[test]
    fn nested_loops_are_unrolled() {
        let text =
            "for (var i = 0u; i < TWO; i++) { // unroll\nfor (var j = 0u; j < TWO; j++) { // unroll\nf(i, j);\n}\n}";
        assert_eq!(one_line(text).unwrap(), "{ { f(0u, 0u); }{ f(0u, 1u); } }{ { f(1u, 0u); }{ f(1u, 1u); } }");
    }

    #[test]
    fn what_cannot_be_unrolled_is_an_error() {
        for text in [
            "for (var i = 0u; i < MANY; i++) { // unroll\n}",
            "for (var i = 1u; i < TWO; i++) { // unroll\n}",
            "for (var i = 0u; j < TWO; i++) { // unroll\n}",
            "for (var i = 0u; i < TWO; i++) { // unroll\n",
            "while true { // unroll\n}",
        ] {
            assert!(matches!(one_line(text), Err(Error::Internal(_))), "{text}");
        }
    }
}
