//! Grids of numbers in a row with signs between them, as in a written sum.

use super::svg::{Cell, Kind, Svg, Type};

/// Side of a cell, in pixels.
pub const CELL: i32 = 28;
const SIGN: i32 = 34;

pub struct Plane {
    pub caption: String,
    pub columns: usize,
    pub cells: Vec<Cell>,
}

impl Plane {
    /// A grid of numbers.
    pub fn new(caption: &str, kind: Kind, columns: usize, numbers: &[i64]) -> Self {
        let cells = numbers.iter().map(|&number| Cell::new(kind).label(signed(number))).collect();
        Self { caption: caption.into(), columns, cells }
    }

    pub fn map(mut self, mark: impl Fn(usize, Cell) -> Cell) -> Self {
        self.cells = self.cells.into_iter().enumerate().map(|(index, cell)| mark(index, cell)).collect();
        self
    }

    /// Width and height of the grid alone.
    pub fn size(&self) -> [i32; 2] {
        let rows = self.cells.len().div_ceil(self.columns.max(1));
        [self.columns as i32 * CELL, rows as i32 * CELL]
    }

    fn width(&self) -> i32 {
        self.size()[0].max(Type::Note.width(&self.caption))
    }
}

pub enum Item {
    Plane(Plane),
    Sign(&'static str),
    /// An arrow with a word above it.
    Step(&'static str),
}

/// Draws items from left to right, centred on the line `middle`, with the captions below. Returns the right end.
pub fn draw_row(svg: &mut Svg, mut x: i32, middle: i32, items: &[Item]) -> i32 {
    for item in items {
        match item {
            Item::Plane(plane) => {
                let ([width, height], wide) = (plane.size(), plane.width());
                svg.grid(x + (wide - width) / 2, middle - height / 2, CELL, plane.columns, &plane.cells);
                svg.centred(x + wide / 2, middle + height / 2 + 18, Type::Note, &plane.caption);
                x += wide;
            }
            Item::Sign(sign) => {
                svg.centred(x + SIGN / 2, middle + 7, Type::Sign, sign);
                x += SIGN;
            }
            Item::Step(word) => {
                let wide = Type::Note.width(word).max(30) + 24;
                svg.centred(x + wide / 2, middle - 10, Type::Note, word);
                svg.arrow([x + 10, middle], [x + wide - 10, middle]);
                x += wide;
            }
        }
    }
    x
}

/// A number with a proper minus sign.
pub fn signed(number: i64) -> String {
    number.to_string().replace('-', "−")
}
