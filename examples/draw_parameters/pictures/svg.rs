//! A small SVG writer: cells, text, arrows and a legend in one style. It grows with what is drawn.
//! Colours are meant for the picture's own white card, so that it reads the same on light and dark pages.

use std::fmt::Write;

const MARGIN: i32 = 20;
const SANS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const MONO: &str = "Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace";
const INK: &str = "#1f2933";
const FAINT: &str = "#52606d";

/// What a cell is part of.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Input,
    Padding,
    Weight,
    Output,
    /// One number of another tensor: a bias, a residual, a sum on its way.
    Value,
}

/// Which highlighted output a cell belongs to.
#[derive(Clone, Copy, PartialEq)]
pub enum Mark {
    None,
    First,
    Second,
    Both,
}

impl Mark {
    /// What belongs to the first of two, to the second, or to both.
    pub fn of(first: bool, second: bool) -> Self {
        match (first, second) {
            (false, false) => Self::None,
            (true, false) => Self::First,
            (false, true) => Self::Second,
            (true, true) => Self::Both,
        }
    }

    fn color(self) -> &'static str {
        if self == Self::Second { "#b8a2ea" } else { "#f8b24a" }
    }
}

#[derive(Clone)]
pub struct Cell {
    pub kind: Kind,
    pub mark: Mark,
    /// Crossed out: no output reads it. Such a cell shows no label.
    pub unread: bool,
    pub label: String,
}

impl Cell {
    pub fn new(kind: Kind) -> Self {
        Self { kind, mark: Mark::None, unread: false, label: String::new() }
    }
    pub fn mark(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }
    pub fn unread(self, unread: bool) -> Self {
        Self { unread, ..self }
    }
    pub fn label(self, label: impl ToString) -> Self {
        Self { label: label.to_string(), ..self }
    }
}

/// How a line of text is set.
#[derive(Clone, Copy, PartialEq)]
pub enum Type {
    Title,
    Code,
    Note,
    /// A sign between two grids.
    Sign,
}

impl Type {
    /// Size, font, other attributes, and a generous width of one character in hundredths of a pixel.
    fn look(self) -> (i32, &'static str, &'static str, i32) {
        match self {
            Self::Title => (15, SANS, " font-weight=\"bold\"", 920),
            Self::Code => (12, MONO, "", 740),
            Self::Note => (13, SANS, "", 700),
            Self::Sign => (22, SANS, "", 1300),
        }
    }

    pub fn width(self, text: &str) -> i32 {
        (text.chars().count() as i32 * self.look().3 + 99) / 100
    }
}

#[derive(Default)]
pub struct Svg {
    body: String,
    right: i32,
    bottom: i32,
}

impl Svg {
    /// Lowest point drawn so far.
    pub fn bottom(&self) -> i32 {
        self.bottom
    }

    fn reach(&mut self, x: i32, y: i32) {
        self.right = self.right.max(x);
        self.bottom = self.bottom.max(y);
    }

    fn push(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(line);
        self.body.push('\n');
    }

    fn set(&mut self, [x, y]: [i32; 2], anchor: &str, style: Type, text: &str) {
        let (size, font, extra, _) = style.look();
        let color = if matches!(style, Type::Code | Type::Note) { FAINT } else { INK };
        let text = escape(text);
        self.push(format_args!(
            r#"<text x="{x}" y="{y}" font-family="{font}" font-size="{size}"{extra} fill="{color}" text-anchor="{anchor}">{text}</text>"#
        ));
        self.bottom = self.bottom.max(y + 4);
    }

    /// Text that starts at `x`, on the baseline `y`.
    pub fn text(&mut self, x: i32, y: i32, style: Type, text: &str) {
        self.set([x, y], "start", style, text);
        self.reach(x + style.width(text), y);
    }

    /// Text centred on `x`, on the baseline `y`.
    pub fn centred(&mut self, x: i32, y: i32, style: Type, text: &str) {
        self.set([x, y], "middle", style, text);
        self.reach(x + (style.width(text) + 1) / 2, y);
    }

    /// One cell with its upper left corner at (x, y).
    pub fn cell(&mut self, x: i32, y: i32, size: i32, cell: &Cell) {
        let (fill, stroke, dash) = match cell.kind {
            Kind::Input if cell.unread => ("#ffffff", "#8a939c", ""),
            Kind::Input => ("#dbe8fb", "#4a6fa5", ""),
            Kind::Padding => ("#eceef0", "#8a939c", r#" stroke-dasharray="3 2""#),
            Kind::Weight => ("#fdeccd", "#a8701a", ""),
            Kind::Output => ("#d8f0dd", "#3f8052", ""),
            Kind::Value => ("#f6f3fb", "#7a6a9b", ""),
        };
        let fill = if cell.mark == Mark::None { fill } else { cell.mark.color() };
        self.push(format_args!(
            r#"<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="{fill}" stroke="{stroke}"{dash}/>"#
        ));
        let (x2, y2) = (x + size, y + size);
        if cell.mark == Mark::Both {
            let color = Mark::Second.color();
            self.push(format_args!(r#"<path d="M{x2} {y}V{y2}H{x}Z" fill="{color}"/>"#));
            self.push(format_args!(
                r#"<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="none" stroke="{stroke}"{dash}/>"#
            ));
        }
        if cell.unread {
            let (a, b, c, d) = (x + 6, y + 6, x2 - 6, y2 - 6);
            self.push(format_args!(r##"<path d="M{a} {b}L{c} {d}M{c} {b}L{a} {d}" stroke="#a5adb5"/>"##));
        } else if !cell.label.is_empty() {
            let color = if cell.kind == Kind::Padding && cell.mark == Mark::None { FAINT } else { INK };
            let (middle, base, text) = (x + size / 2, y + size / 2 + 4, escape(&cell.label));
            self.push(format_args!(
                r#"<text x="{middle}" y="{base}" font-family="{SANS}" font-size="12" fill="{color}" text-anchor="middle">{text}</text>"#
            ));
        }
        self.reach(x2, y2);
    }

    /// Cells in row-major order, `columns` to a row.
    pub fn grid(&mut self, x: i32, y: i32, size: i32, columns: usize, cells: &[Cell]) {
        for (index, cell) in cells.iter().enumerate() {
            let (row, column) = ((index / columns) as i32, (index % columns) as i32);
            self.cell(x + column * size, y + row * size, size, cell);
        }
    }

    /// An arrow from one point to another, which ends with its tip there.
    pub fn arrow(&mut self, from: [i32; 2], to: [i32; 2]) {
        let direction = f64::from(to[1] - from[1]).atan2(f64::from(to[0] - from[0])).to_degrees();
        let ([x1, y1], [x2, y2]) = (from, to);
        self.push(format_args!(r#"<path d="M{x1} {y1}L{x2} {y2}" stroke="{FAINT}" stroke-width="1.5"/>"#));
        self.push(format_args!(
            r#"<path d="M0 0L-9 -4.5V4.5Z" fill="{FAINT}" transform="translate({x2} {y2}) rotate({direction:.1})"/>"#
        ));
        self.reach(x1.max(x2), y1.max(y2) + 5);
    }

    /// A plain line of one colour.
    pub fn line(&mut self, from: [i32; 2], to: [i32; 2], color: &str) {
        let ([x1, y1], [x2, y2]) = (from, to);
        self.push(format_args!(r#"<path d="M{x1} {y1}L{x2} {y2}" stroke="{color}" stroke-width="2"/>"#));
        self.reach(x1.max(x2), y1.max(y2));
    }

    /// A rounded box with centred text.
    pub fn tag(&mut self, x: i32, y: i32, [width, height]: [i32; 2], fill: &str, text: &str) {
        self.push(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{FAINT}"/>"#
        ));
        let (middle, base, text) = (x + width / 2, y + height / 2 + 5, escape(text));
        self.push(format_args!(
            r#"<text x="{middle}" y="{base}" font-family="{SANS}" font-size="13" fill="{INK}" text-anchor="middle">{text}</text>"#
        ));
        self.reach(x + width, y + height);
    }

    /// Explains the cells that occur, in rows below everything drawn so far.
    pub fn legend(&mut self, entries: &[(Cell, &str)]) {
        let (limit, mut x, mut y) = (self.right.max(520), MARGIN, self.bottom + 24);
        for (cell, text) in entries {
            let width = 24 + Type::Note.width(text) + 16;
            if x > MARGIN && x + width - 16 > limit {
                (x, y) = (MARGIN, y + 24);
            }
            self.cell(x, y, 16, &Cell { label: String::new(), ..cell.clone() });
            self.text(x + 24, y + 13, Type::Note, text);
            x += width;
        }
    }

    /// The whole file. `title` names it for screen readers, `description` says what is to be seen.
    pub fn finish(self, title: &str, description: &str) -> String {
        let (width, height) = (self.right + MARGIN, self.bottom + MARGIN);
        let (w, h) = (width - 1, height - 1);
        let (title, description, body) = (escape(title), escape(description), self.body);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title description">
<title id="title">{title}</title>
<desc id="description">{description}</desc>
<rect x="0.5" y="0.5" width="{w}" height="{h}" rx="8" fill="#ffffff" stroke="#c4ccd4"/>
{body}</svg>
"##
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
