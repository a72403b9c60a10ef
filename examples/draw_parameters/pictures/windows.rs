//! Where the window goes: stride, padding, dilation, padding mode.

use super::Result;
use super::panel::{Grid, Panel, Words, draw_panels};
use super::probe::Taps;
use super::svg::{Cell, Kind, Mark, Svg};

/// A padded input and its output, with up to two outputs highlighted together with what they read.
struct Window {
    taps: Taps,
    panel: Panel,
    /// Outputs (row, column) to highlight.
    marks: Vec<[usize; 2]>,
}

impl Window {
    fn new(title: &str, problem: &str, marks: &[[usize; 2]]) -> Result<Self> {
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
        let grid = |columns, cells| Grid { columns, cells };
        let panel = Panel {
            title: title.into(),
            code: taps.problem.to_string(),
            left: grid(wide, Vec::new()),
            right: grid(columns as usize, Vec::new()),
            notes: vec![sizes],
        };
        let mut window = Self { taps, panel, marks: marks.to_vec() };
        window.panel.left.cells = (0..window.taps.source.len()).map(|cell| window.input_cell(cell)).collect();
        window.panel.right.cells = (0..window.taps.reads.len())
            .map(|output| Cell::new(Kind::Output).mark(window.mark(|marked| marked == output)))
            .collect();
        Ok(window)
    }

    /// Names each input cell with a letter, and each padded cell with that of the cell whose value it has.
    fn letters(mut self) -> Self {
        for (cell, source) in self.panel.left.cells.iter_mut().zip(&self.taps.source) {
            if let Some(source) = *source {
                *cell = cell.clone().label(letter(source));
            }
        }
        self
    }

    fn note(mut self, note: impl FnOnce(&Taps) -> String) -> Self {
        self.panel.notes.push(note(&self.taps));
        self
    }

    fn mark(&self, belongs: impl Fn(usize) -> bool) -> Mark {
        let columns = self.panel.right.columns;
        let hit = |n: usize| self.marks.get(n).is_some_and(|&[row, column]| belongs(row * columns + column));
        Mark::of(hit(0), hit(1))
    }

    fn input_cell(&self, cell: usize) -> Cell {
        let kind = if self.taps.is_input(cell) { Kind::Input } else { Kind::Padding };
        let drawn = Cell::new(kind)
            .unread(!self.taps.is_read(cell))
            .mark(self.mark(|output| self.taps.reads[output].contains(&cell)));
        if self.taps.source[cell].is_none() { drawn.label(0) } else { drawn }
    }
}

fn letter(index: usize) -> char {
    char::from_u32('a' as u32 + index as u32).unwrap_or('?')
}

/// Panels in rows of two.
fn draw_windows(windows: impl IntoIterator<Item = Window>) -> Svg {
    let panels: Vec<Panel> = windows.into_iter().map(|window| window.panel).collect();
    let words = Words {
        marked: [Kind::Output, Kind::Input],
        padding: "padding",
        unread: "read by no output",
        first: "one output, and the cells it reads",
        both: "read by both",
    };
    draw_panels(&panels, 2, &words)
}

pub fn stride() -> Result<String> {
    let panels = [
        Window::new("stride = 1", "n1c1h7w7o1k3", &[[0, 0], [0, 1]])?,
        Window::new("stride = 2", "n1c1h7w7o1k3s2", &[[0, 0], [0, 1]])?,
        Window::new("stride = (2, 1)", "n1c1h7w7o1k3s2x1", &[[0, 0], [1, 0]])?,
        Window::new("stride = 2 on an even size", "n1c1h8w8o1k3s2", &[[0, 0], [0, 1]])?,
    ];
    Ok(draw_windows(panels).finish(
        "stride",
        "Four convolutions with a 3 by 3 kernel. With stride 2 neighbouring outputs read windows two cells apart; on an \
         8 by 8 input the last row and column are read by no output.",
    ))
}

pub fn padding() -> Result<String> {
    let sides = |taps: &Taps| {
        let names = ["top", "bottom", "left", "right"].into_iter();
        let sides: Vec<String> =
            names.zip(taps.problem.padding().concat()).map(|(name, amount)| format!("{name} {amount}")).collect();
        sides.join(", ")
    };
    let panels = [
        ("padding(0), Padding::Valid", "n1c1h6w6o1k3s2"),
        ("padding(1)", "n1c1h6w6o1k3s2p1"),
        ("padding([2, 0])", "n1c1h6w6o1k3s2p2x0"),
        ("Padding::sides(0, 1, 2, 3)", "n1c1h6w6o1k3s2p0,1,2,3"),
        ("Padding::Same", "n1c1h6w6o1k3s2psame"),
        ("Padding::SameLower", "n1c1h6w6o1k3s2psamelower"),
    ];
    let panels: Vec<Window> = panels
        .into_iter()
        .map(|(title, problem)| Ok(Window::new(title, problem, &[[0, 0]])?.note(sides)))
        .collect::<Result<_>>()?;
    Ok(draw_windows(panels).finish(
        "padding",
        "A 6 by 6 input with a 3 by 3 kernel and stride 2 under six paddings: none, 1, per axis, per side, Same and \
         SameLower. The cells of the padding hold zero.",
    ))
}

pub fn dilation() -> Result<String> {
    let covers = |taps: &Taps| {
        let sizes: Vec<String> = taps.problem.receptive_field().iter().map(ToString::to_string).collect();
        format!("9 taps over {}", sizes.join(" × "))
    };
    let panels = [
        Window::new("dilation = 1", "n1c1h7w7o1k3", &[[1, 1]])?.note(covers),
        Window::new("dilation = 2", "n1c1h7w7o1k3d2", &[[1, 1]])?.note(covers),
        Window::new("dilation = 3", "n1c1h7w7o1k3d3", &[[0, 0]])?.note(covers),
        Window::new("dilation = (1, 3)", "n1c1h7w7o1k3d1x3", &[[2, 0]])?.note(covers),
    ];
    Ok(draw_windows(panels).finish(
        "dilation",
        "The nine taps of a 3 by 3 kernel on a 7 by 7 input, side by side with dilation 1, and one, two or more cells \
         apart with larger dilations.",
    ))
}

pub fn padding_mode() -> Result<String> {
    let panels = [
        ("zeros", "n1c1h3w4o1k3p2"),
        ("reflect", "n1c1h3w4o1k3p2:reflect"),
        ("replicate", "n1c1h3w4o1k3p2:replicate"),
        ("circular", "n1c1h3w4o1k3p2:circular"),
    ];
    let panels: Vec<Window> = panels
        .into_iter()
        .map(|(title, problem)| Ok(Window::new(title, problem, &[[0, 0]])?.letters()))
        .collect::<Result<_>>()?;
    Ok(draw_windows(panels).finish(
        "padding_mode",
        "A 3 by 4 input, its cells lettered a to l, padded by 2 on every side in the four modes. Each cell of the padding \
         shows the letter of the input cell whose value it has, or zero.",
    ))
}
