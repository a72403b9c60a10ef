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
    let mut result = String::with_capacity(8 * text.len());
    let parts = parse(text, text, &mut Vec::new())?;
    write(&parts, &mut Vec::new(), &mut result);
    Ok(folded(&result))
}

/// A part of a shader, read once and written as often as the loops around it say.
enum Part<'t> {
    Text(&'t str),
    /// The number of the loop that is so many levels below the outermost one.
    Number(usize),
    Loop {
        count: u32,
        body: Vec<Part<'t>>,
    },
}

/// The parts of a text within loops over these variables; `module` is where bounds are looked up.
fn parse<'t>(mut text: &'t str, module: &str, variables: &mut Vec<&'t str>) -> Result<Vec<Part<'t>>> {
    let mut parts = Vec::new();
    while let Some(mark) = text.find(UNROLL) {
        let start = text[..mark].rfind('\n').map_or(0, |newline| newline + 1);
        let head = &text[start..mark];
        let malformed = || Error::Internal(format!("the shader's line {:?} cannot be unrolled", head.trim()));
        let (variable, bound) = loop_head(head).ok_or_else(malformed)?;
        let count = constant(module, bound).ok_or_else(malformed)?;
        let rest = &text[mark + UNROLL.len()..];
        let end = closing_brace(rest).ok_or_else(malformed)?;
        split(&text[..start], variables, &mut parts);
        variables.push(variable);
        let body = parse(&rest[..end], module, variables)?;
        variables.pop();
        parts.push(Part::Loop { count, body });
        text = &rest[end + 1..];
    }
    split(text, variables, &mut parts);
    Ok(parts)
}

/// Appends a text without marked loops, variables apart.
fn split<'t>(text: &'t str, variables: &[&str], parts: &mut Vec<Part<'t>>) {
    // Up to where the text has become parts.
    let mut done = 0;
    let mut at = 0;
    while let Some(from) = text[at..].find(is_part).map(|more| at + more) {
        at = text[from..].find(|c| !is_part(c)).map_or(text.len(), |length| from + length);
        // An inner loop's variable hides an outer one's. A field is something else.
        let level = variables.iter().rposition(|variable| *variable == &text[from..at]);
        if let Some(level) = level.filter(|_| !text[..from].ends_with('.')) {
            parts.push(Part::Text(&text[done..from]));
            parts.push(Part::Number(level));
            done = at;
        }
    }
    parts.push(Part::Text(&text[done..]));
}

/// Appends parts within loops that have come to these numbers.
fn write(parts: &[Part<'_>], numbers: &mut Vec<String>, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Number(level) => out.push_str(&numbers[*level]),
            Part::Loop { count, body } => {
                for number in 0..*count {
                    out.push_str("{\n");
                    numbers.push(format!("{number}u"));
                    write(body, numbers, out);
                    numbers.pop();
                    out.push('}');
                }
            }
        }
    }
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
