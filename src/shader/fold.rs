//! What the host works out before a compiler sees an unrolled shader.
//!
//! Unrolled code is full of indices that are numbers: `let at = (2u * STEP_H + 1u) * WINDOW_W + 3u;`. Compilers work them out too,
//! but naga's front end keeps an expression for every part of each and takes time that grows with the square of their
//! number in a function: a third of what it took to compile a block of `broadcast`. So here
//! - a `let` whose value is known goes away, and its name becomes the number;
//! - an index that is known becomes the number;
//! - an `if` without `else` goes away if its condition is known to be false. (If it is true it stays: what follows a block that
//!   returns would be an error.)
//!
//! What is known: numbers, `true` and `false`, the module's constants, and arithmetic on them that WGSL defines; what would be
//! an error there stays as it stands, for the compiler to say so. Lines are taken as the shaders are written: a statement
//! each.

use std::collections::HashMap;

use super::Value;
use super::unroll::closing_brace;

/// The text with known values in place of what computes them, inside functions.
pub(super) fn folded(text: &str) -> String {
    let mut folder = Folder { scopes: vec![HashMap::new()], out: String::with_capacity(text.len()) };
    let mut rest = text;
    while let Some(line) = rest.split_inclusive('\n').next() {
        rest = folder.line(line, &rest[line.len()..]);
    }
    folder.out
}

/// Names that hide others have no value if theirs is not known.
type Scope = HashMap<String, Option<Value>>;

struct Folder {
    /// The module's, then one for each open brace.
    scopes: Vec<Scope>,
    out: String,
}

impl Folder {
    /// Takes a line, and returns what is to be taken after it: what follows, or less.
    fn line<'t>(&mut self, line: &str, following: &'t str) -> &'t str {
        let code = line.split("//").next().unwrap_or(line).trim();
        if self.scopes.len() == 1 {
            if let Some((name, value)) = declaration(code, "const ") {
                let value = self.known(value);
                self.declare(name, value);
            }
            self.copy(line);
            return following;
        }
        if let Some((name, value)) = declaration(code, "let ")
            && let Some(value) = self.known(value)
        {
            self.declare(name, Some(value));
            return following;
        }
        if let Some(condition) = code.strip_prefix("if ").and_then(|code| code.strip_suffix('{'))
            && let Some(Value::Bool(holds)) = self.known(condition)
            && let Some(end) = closing_brace(following)
            && !following[end + 1..].trim_start().starts_with("else")
        {
            if holds {
                self.copy("if true {\n");
                return following;
            }
            let after = &following[end + 1..];
            return after.strip_prefix('\n').unwrap_or(after);
        }
        // The variable of a loop that is kept belongs to the loop.
        if let Some((name, _)) = code.strip_prefix("for (").and_then(|head| declaration(head, "var ")) {
            let level = self.scopes.len() - 1;
            let hidden = self.scopes[level].get(name).copied();
            self.copy(line);
            self.declare(name, None);
            if let Some(value) = hidden {
                self.scopes[level].insert(name.to_owned(), value);
            }
            return following;
        }
        self.copy(line);
        following
    }

    fn declare(&mut self, name: &str, value: Option<Value>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), value);
        }
    }

    /// Appends text with the names and the indices in it that are known as numbers, and follows its braces.
    fn copy(&mut self, text: &str) {
        let (code, comment) = text.split_at(text.find("//").unwrap_or(text.len()));
        let mut open = Vec::new();
        let mut previous = "";
        let mut rest = code;
        while let Some(at) = rest.find(|c: char| is_part(c) || "{}[]".contains(c)) {
            self.out.push_str(&rest[..at]);
            rest = &rest[at..];
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(1);
            let (token, after) = rest.split_at(length);
            match token {
                "{" => self.scopes.push(Scope::new()),
                // The module's own scope is never closed.
                "}" if self.scopes.len() > 1 => drop(self.scopes.pop()),
                "[" => open.push(self.out.len() + 1),
                "]" => {
                    if let Some(from) = open.pop()
                        && let Some(value) = self.known(&self.out[from..])
                    {
                        self.out.truncate(from);
                        self.out.push_str(&value.to_string());
                    }
                }
                _ if ["let", "var"].contains(&previous) => self.declare(token, None),
                _ => {}
            }
            previous = token;
            // Constants of the module keep their names.
            match self.scopes[1..].iter().rev().find_map(|scope| scope.get(token)) {
                Some(Some(value)) if !self.out.ends_with('.') => self.out.push_str(&value.to_string()),
                _ => self.out.push_str(token),
            }
            rest = after;
        }
        self.out.push_str(rest);
        self.out.push_str(comment);
    }

    /// The value of an expression, if it is known.
    fn known(&self, text: &str) -> Option<Value> {
        let mut parser = Parser { rest: text, scopes: &self.scopes };
        let value = parser.expression(0)?;
        parser.rest.trim().is_empty().then_some(value)
    }
}

/// Whether it may be part of an identifier.
pub(super) fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Name and value of a declaration on a line of its own.
fn declaration<'t>(code: &'t str, keyword: &str) -> Option<(&'t str, &'t str)> {
    let (head, value) = code.strip_prefix(keyword)?.split_once(" = ")?;
    Some((head.split(|c| !is_part(c)).next()?, value.strip_suffix(';').unwrap_or_default()))
}

/// Works out an expression. Every operation that is not known makes the whole unknown.
struct Parser<'t, 's> {
    rest: &'t str,
    scopes: &'s [Scope],
}

/// Operators with two sides, weakest first; those of a row bind alike. Of one that begins like another, the longer comes first.
const OPERATORS: [&[&str]; 5] = [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

impl Parser<'_, '_> {
    /// An expression of operators that bind at least as strongly as those of row `strength`.
    fn expression(&mut self, strength: usize) -> Option<Value> {
        let Some(operators) = OPERATORS.get(strength) else { return self.operand() };
        let mut value = self.expression(strength + 1)?;
        loop {
            let Some(operator) = operators.iter().find(|operator| self.take(operator)) else { return Some(value) };
            let right = self.expression(strength + 1)?;
            value = apply(operator, value, right)?;
        }
    }

    fn operand(&mut self) -> Option<Value> {
        if self.take("!") {
            return match self.operand()? {
                Value::Bool(value) => Some(Value::Bool(!value)),
                Value::U32(_) => None,
            };
        }
        if self.take("(") {
            let value = self.expression(0)?;
            return self.take(")").then_some(value);
        }
        self.rest = self.rest.trim_start();
        let (word, rest) = self.rest.split_at(self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "select" => {
                let [no, yes] = [self.argument("(")?, self.argument(",")?];
                let condition = self.argument(",")?;
                let value = match condition {
                    Value::Bool(true) => yes,
                    Value::Bool(false) => no,
                    Value::U32(_) => return None,
                };
                self.take(")").then_some(value)
            }
            _ if word.starts_with(|c: char| c.is_ascii_digit()) => word.strip_suffix('u')?.parse().ok().map(Value::U32),
            // A field, an element or a function is something else.
            _ if [".", "[", "("].iter().any(|next| self.rest.starts_with(next)) => None,
            _ => self.scopes.iter().rev().find_map(|scope| scope.get(word)).copied().flatten(),
        }
    }

    fn argument(&mut self, before: &str) -> Option<Value> {
        if self.take(before) { self.expression(0) } else { None }
    }

    /// Whether this comes next; it is then passed.
    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// `None` where WGSL has no such operation, or an error.
fn apply(operator: &str, left: Value, right: Value) -> Option<Value> {
    let value = match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Value::Bool(match operator {
            "||" => a || b,
            "&&" => a && b,
            "==" => a == b,
            "!=" => a != b,
            _ => return None,
        }),
        (Value::U32(a), Value::U32(b)) => match operator {
            "+" => Value::U32(a.checked_add(b)?),
            "-" => Value::U32(a.checked_sub(b)?),
            "*" => Value::U32(a.checked_mul(b)?),
            "/" => Value::U32(a.checked_div(b)?),
            "%" => Value::U32(a.checked_rem(b)?),
            "==" => Value::Bool(a == b),
            "!=" => Value::Bool(a != b),
            "<" => Value::Bool(a < b),
            "<=" => Value::Bool(a <= b),
            ">" => Value::Bool(a > b),
            ">=" => Value::Bool(a >= b),
            _ => return None,
        },
        _ => return None,
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANTS: &str = "const TWO: u32 = 2u;\nconst SIX: u32 = select(TWO, TWO * 3u, YES && TWO < 3u);\n";

    /// The lines of a function's body, folded.
    fn body(text: &str) -> String {
        let text = folded(&format!("const YES: bool = true;\n{CONSTANTS}fn main() {{\n{text}\n}}\n"));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines[4..lines.len() - 1].join(" ")
    }

    #[test]
    fn known_values_take_the_place_of_their_names() {
        assert_eq!(body("let at = (2u + 1u) * SIX + TWO;\na[at] = at_0 + at + s.at;"), "a[20u] = at_0 + 20u + s.at;");
        assert_eq!(body("let x = y;\na[x + 1u] = x;"), "let x = y; a[x + 1u] = x;");
        assert_eq!(body("a[b[TWO + 1u] + SIX % 4u] = c[1u];"), "a[b[3u] + SIX % 4u] = c[1u];");
        assert_eq!(body("let at = SIX; // of at\nf(at); // at"), "f(6u); // at");
    }

    #[test]
    fn names_end_with_their_block_and_hide_others() {
        assert_eq!(body("{\nlet x = 1u;\n}\nf(x);"), "{ } f(x);");
        assert_eq!(body("let x = 1u;\n{\nlet x = g();\nf(x);\n}\nf(x);"), "{ let x = g(); f(x); } f(1u);");
        assert_eq!(body("let x = 1u;\n{\nvar x: u32;\nf(x);\n}{\nf(x);\n}"), "{ var x: u32; f(x); }{ f(1u); }");
        assert_eq!(body("let x = 1u;\n{ let x = g(); f(x); }\nf(x);"), "{ let x = g(); f(x); } f(1u);");
        assert_eq!(
            body("let i = 1u;\nfor (var i = 0u; i < n; i++) {\nf(i);\n}\nf(i);"),
            "for (var i = 0u; i < n; i++) { f(i); } f(1u);"
        );
    }

    #[test]
    fn known_conditions_are_decided() {
        assert_eq!(body("if TWO == 2u || SIX < 1u {\nf();\n}\ng();"), "if true { f(); } g();");
        assert_eq!(body("if !YES {\nif x {\nf();\n}\n}\ng();"), "g();");
        let kept = "if x && YES { f(); } if YES { f(); } else { g(); }";
        assert_eq!(body(&kept.replace(" { ", " {\n").replace("; }", ";\n}")), kept);
    }

    #[test]
    fn what_is_no_number_stays() {
        for text in [
            "0u - 1u",
            "1u / 0u",
            "4294967295u + 1u",
            "2i",
            "1.0",
            "TWO + YES",
            "f(1u)",
            "TWO.x",
            "min(1u, 2u)",
            "1u +",
            "(1u",
            "-1u",
            "1u & 1u",
            "1u << 1u",
        ] {
            let line = format!("let x = {text};");
            assert_eq!(body(&line), line);
        }
        assert_eq!(body("let x = 1u\n    + y;"), "let x = 1u + y;");
        assert_eq!(body("let x = 7u - 2u - 1u + 6u / 4u * 2u;\nf(x);"), "f(6u);");
    }
}
