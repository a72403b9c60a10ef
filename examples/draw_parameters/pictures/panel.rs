//! A panel: one padded input, an arrow, and the output, with up to two outputs highlighted together with what they read.

use super::Result;
use super::probe::Taps;
use super::svg::{Cell, Kind, Mark, Svg, Type};

/// Side of a cell, in pixels.
const CELL: i32 = 22;
const GAP: i32 = 50;
const HEAD: i32 = 44;
const LEFT: i32 = 20;

pub struct Panel {
    title: String,
    taps: Taps,
    /// Outputs (row, column) to highlight, at most two.
    marks: Vec<[usize; 2]>,
    letters: bool,
    notes: Vec<String>,
}

impl Panel {
    pub fn new(title: &str, problem: &str, marks: &[[usize; 2]]) -> Result<Self> {
        let taps = Taps::of(problem)?;
        let [_, _, _, height, width] = taps.problem.input_shape().five();
        let [_, _, _, rows, columns] = taps.problem.output_shape().five();
        let [tall, wide] = taps.padded;
        let padded = if taps.padded == [height as usize, width as usize] {
            String::new()
        } else {
            format!(", padded {tall} × {wide}")
        };
        let sizes = format!("{height} × {width}{padded} → {rows} × {columns}");
        Ok(Self { title: title.into(), taps, marks: marks.to_vec(), letters: false, notes: vec![sizes] })
    }

    /// Names each input cell with a letter, and each padded cell with that of the cell whose value it has.
    pub fn letters(self) -> Self {
        Self { letters: true, ..self }
    }

    pub fn note(mut self, note: impl FnOnce(&Taps) -> String) -> Self {
        self.notes.push(note(&self.taps));
        self
    }

    fn output_size(&self) -> [i32; 2] {
        let [_, _, _, rows, columns] = self.taps.problem.output_shape().five();
        [rows as i32, columns as i32]
    }

    /// Width and height in pixels.
    fn size(&self) -> [i32; 2] {
        let ([rows, columns], [out_rows, out_columns]) = (self.taps.padded.map(|n| n as i32), self.output_size());
        let texts = [Type::Title.width(&self.title), Type::Code.width(&self.taps.problem.to_string())];
        let notes = self.notes.iter().map(|note| Type::Note.width(note));
        let widest = texts.into_iter().chain(notes).max().unwrap_or(0);
        let height = HEAD + rows.max(out_rows) * CELL + 20 * self.notes.len() as i32;
        [widest.max((columns + out_columns) * CELL + GAP), height]
    }

    fn mark(&self, belongs: impl Fn(usize) -> bool) -> Mark {
        let columns = self.output_size()[1] as usize;
        let hit = |n: usize| self.marks.get(n).is_some_and(|&[row, column]| belongs(row * columns + column));
        match (hit(0), hit(1)) {
            (false, false) => Mark::None,
            (true, false) => Mark::First,
            (false, true) => Mark::Second,
            (true, true) => Mark::Both,
        }
    }

    fn input_cell(&self, cell: usize) -> Cell {
        let kind = if self.taps.is_input(cell) { Kind::Input } else { Kind::Padding };
        let drawn = Cell::new(kind)
            .unread(!self.taps.is_read(cell))
            .mark(self.mark(|output| self.taps.reads[output].contains(&cell)));
        match self.taps.source[cell] {
            Some(source) if self.letters => drawn.label(letter(source)),
            None => drawn.label(0),
            _ => drawn,
        }
    }

    fn draw(&self, svg: &mut Svg, x: i32, y: i32) {
        svg.text(x, y + 14, Type::Title, &self.title);
        svg.text(x, y + 32, Type::Code, &self.taps.problem.to_string());
        let ([rows, columns], [out_rows, out_columns]) = (self.taps.padded.map(|n| n as i32), self.output_size());
        let (top, height) = (y + HEAD, rows.max(out_rows) * CELL);
        let input: Vec<Cell> = (0..self.taps.source.len()).map(|cell| self.input_cell(cell)).collect();
        svg.grid(x, top + (height - rows * CELL) / 2, CELL, columns as usize, &input);
        let middle = top + height / 2;
        let right = x + columns * CELL;
        svg.arrow([right + 12, middle], [right + GAP - 12, middle]);
        let output: Vec<Cell> = (0..self.taps.reads.len())
            .map(|output| Cell::new(Kind::Output).mark(self.mark(|marked| marked == output)))
            .collect();
        svg.grid(right + GAP, top + (height - out_rows * CELL) / 2, CELL, out_columns as usize, &output);
        for (line, note) in self.notes.iter().enumerate() {
            svg.text(x, top + height + 19 + 20 * line as i32, Type::Note, note);
        }
    }

    /// Whether a cell of this kind occurs, for the legend.
    fn has(&self, test: impl Fn(&Cell) -> bool) -> bool {
        (0..self.taps.source.len()).any(|cell| test(&self.input_cell(cell)))
    }
}

fn letter(index: usize) -> char {
    char::from_u32('a' as u32 + index as u32).unwrap_or('?')
}

/// Draws panels in rows of `columns`, and a legend of what occurs in them.
pub fn draw_panels(panels: &[Panel], columns: usize) -> Svg {
    let mut svg = Svg::default();
    let widths: Vec<i32> = (0..columns)
        .map(|column| panels.iter().skip(column).step_by(columns).map(|panel| panel.size()[0]).max().unwrap_or(0))
        .collect();
    let mut y = 18;
    for row in panels.chunks(columns) {
        let mut x = LEFT;
        for (panel, width) in row.iter().zip(&widths) {
            panel.draw(&mut svg, x, y);
            x += width + 40;
        }
        y += row.iter().map(|panel| panel.size()[1]).max().unwrap_or(0) + 26;
    }
    let several = panels.iter().any(|panel| panel.marks.len() > 1);
    let mut legend = vec![(Cell::new(Kind::Input), "input")];
    if panels.iter().any(|panel| panel.has(|cell| cell.kind == Kind::Padding)) {
        legend.push((Cell::new(Kind::Padding), "padding"));
    }
    if panels.iter().any(|panel| panel.has(|cell| cell.unread)) {
        legend.push((Cell::new(Kind::Input).unread(true), "read by no output"));
    }
    legend.push((Cell::new(Kind::Output), "output"));
    legend.push((Cell::new(Kind::Output).mark(Mark::First), "one output, and the cells it reads"));
    if several {
        legend.push((Cell::new(Kind::Output).mark(Mark::Second), "the next one"));
        legend.push((Cell::new(Kind::Input).mark(Mark::Both), "read by both"));
    }
    svg.legend(&legend);
    svg
}
