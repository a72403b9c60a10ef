//! Transposed convolutions: what each input is spread over.

use super::Result;
use super::panel::{Grid, Panel, Words, draw_panels};
use super::probe::Spread;
use super::svg::{Cell, Kind, Mark};

pub fn transposed() -> Result<String> {
    let panels = [
        panel("stride(1)", "n1c1h3w3o1k3:transposed")?,
        panel("stride(2)", "n1c1h3w3o1k3s2:transposed")?,
        panel("stride(2).padding(1)", "n1c1h3w3o1k3s2p1:transposed")?,
        panel("stride(2).padding(1).output_padding(1)", "n1c1h3w3o1k3s2p1:transposed=1")?,
    ];
    let words = Words {
        marked: [Kind::Input, Kind::Output],
        padding: "left out by the padding",
        unread: "reached by no input",
        first: "one input, and the cells it adds to",
        both: "both add to it",
    };
    Ok(draw_panels(&panels, 2, &words).finish(
        "transposed",
        "Four transposed convolutions of a 3 by 3 input with a 3 by 3 kernel. Each input is spread over a window of the \
         output; with stride 2 neighbouring windows lie two cells apart. Padding leaves out the outermost cells, and \
         output padding gives the output a further row and column at its end.",
    ))
}

/// An input with two neighbouring cells highlighted, and the output with what the padding leaves out.
fn panel(title: &str, text: &str) -> Result<Panel> {
    let spread = Spread::of(text)?;
    let [_, _, _, height, width] = spread.problem.input_shape().five().map(|size| size as usize);
    let [_, _, _, rows, columns] = spread.problem.output_shape().five();
    let marks = [width, width + 1];
    let input = (0..spread.reaches.len())
        .map(|cell| Cell::new(Kind::Input).mark(Mark::of(cell == marks[0], cell == marks[1])))
        .collect();
    let output = (0..spread.covered[0] * spread.covered[1])
        .map(|cell| {
            let [first, second] = marks.map(|input| spread.reaches[input].contains(&cell));
            Cell::new(if spread.is_kept(cell) { Kind::Output } else { Kind::Padding })
                .mark(Mark::of(first, second))
                .unread(!spread.is_reached(cell))
        })
        .collect();
    let [tall, wide] = spread.covered;
    let whole = if [tall, wide] == [rows as usize, columns as usize] {
        String::new()
    } else {
        format!("{tall} × {wide}, of which ")
    };
    Ok(Panel {
        title: title.into(),
        code: spread.problem.to_string(),
        left: Grid { columns: width, cells: input },
        right: Grid { columns: wide, cells: output },
        notes: vec![format!("{height} × {width} → {whole}{rows} × {columns}")],
    })
}
