//! A panel: two grids with an arrow in between, a title above and notes below; and pictures that consist of panels.

use super::svg::{Cell, Kind, Mark, Svg, Type};

/// Side of a cell, in pixels.
const CELL: i32 = 22;
const GAP: i32 = 50;
const HEAD: i32 = 44;
const LEFT: i32 = 20;

/// Cells in row-major order.
pub struct Grid {
    pub columns: usize,
    pub cells: Vec<Cell>,
}

impl Grid {
    /// Rows and columns.
    fn size(&self) -> [i32; 2] {
        [self.cells.len().div_ceil(self.columns.max(1)) as i32, self.columns as i32]
    }
}

pub struct Panel {
    pub title: String,
    /// The problem string.
    pub code: String,
    pub left: Grid,
    pub right: Grid,
    pub notes: Vec<String>,
}

impl Panel {
    /// Width and height in pixels.
    fn size(&self) -> [i32; 2] {
        let ([rows, columns], [out_rows, out_columns]) = (self.left.size(), self.right.size());
        let texts = [Type::Title.width(&self.title), Type::Code.width(&self.code)];
        let notes = self.notes.iter().map(|note| Type::Note.width(note));
        let widest = texts.into_iter().chain(notes).max().unwrap_or(0);
        let height = HEAD + rows.max(out_rows) * CELL + 20 * self.notes.len() as i32;
        [widest.max((columns + out_columns) * CELL + GAP), height]
    }

    fn draw(&self, svg: &mut Svg, x: i32, y: i32) {
        svg.text(x, y + 14, Type::Title, &self.title);
        svg.text(x, y + 32, Type::Code, &self.code);
        let ([rows, columns], [out_rows, _]) = (self.left.size(), self.right.size());
        let (top, height) = (y + HEAD, rows.max(out_rows) * CELL);
        svg.grid(x, top + (height - rows * CELL) / 2, CELL, self.left.columns, &self.left.cells);
        let middle = top + height / 2;
        let right = x + columns * CELL;
        svg.arrow([right + 12, middle], [right + GAP - 12, middle]);
        svg.grid(right + GAP, top + (height - out_rows * CELL) / 2, CELL, self.right.columns, &self.right.cells);
        for (line, note) in self.notes.iter().enumerate() {
            svg.text(x, top + height + 19 + 20 * line as i32, Type::Note, note);
        }
    }

    /// Whether a cell of this kind occurs, for the legend.
    fn has(&self, test: impl Fn(&Cell) -> bool) -> bool {
        self.left.cells.iter().chain(&self.right.cells).any(test)
    }
}

/// The words of a legend, for the cells of which there are some.
pub struct Words {
    /// Which kind of cell is highlighted first, and which follows from that.
    pub marked: [Kind; 2],
    pub padding: &'static str,
    pub unread: &'static str,
    pub first: &'static str,
    pub both: &'static str,
}

/// Draws panels in rows of `columns`, and a legend of what occurs in them.
pub fn draw_panels(panels: &[Panel], columns: usize, words: &Words) -> Svg {
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
    let some = |test: &dyn Fn(&Cell) -> bool| panels.iter().any(|panel| panel.has(test));
    let [marked, following] = words.marked.map(Cell::new);
    let mut legend = vec![(Cell::new(Kind::Input), "input")];
    if some(&|cell| cell.kind == Kind::Padding) {
        legend.push((Cell::new(Kind::Padding), words.padding));
    }
    if some(&|cell| cell.unread) {
        legend.push((Cell::new(Kind::Input).unread(true), words.unread));
    }
    legend.push((Cell::new(Kind::Output), "output"));
    legend.push((marked.clone().mark(Mark::First), words.first));
    if some(&|cell| cell.mark == Mark::Second) {
        legend.push((marked.mark(Mark::Second), "the next one"));
        legend.push((following.mark(Mark::Both), words.both));
    }
    svg.legend(&legend);
    svg
}
