//! Where the window goes: stride, padding, dilation, padding mode.

use super::Result;
use super::panel::{Panel, draw_panels};
use super::probe::Taps;

pub fn stride() -> Result<String> {
    let panels = [
        Panel::new("stride = 1", "n1c1h7w7o1k3", &[[0, 0], [0, 1]])?,
        Panel::new("stride = 2", "n1c1h7w7o1k3s2", &[[0, 0], [0, 1]])?,
        Panel::new("stride = (2, 1)", "n1c1h7w7o1k3s2x1", &[[0, 0], [1, 0]])?,
        Panel::new("stride = 2 on an even size", "n1c1h8w8o1k3s2", &[[0, 0], [0, 1]])?,
    ];
    Ok(draw_panels(&panels, 2).finish(
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
    let panels: Vec<Panel> = panels
        .into_iter()
        .map(|(title, problem)| Ok(Panel::new(title, problem, &[[0, 0]])?.note(sides)))
        .collect::<Result<_>>()?;
    Ok(draw_panels(&panels, 2).finish(
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
        Panel::new("dilation = 1", "n1c1h7w7o1k3", &[[1, 1]])?.note(covers),
        Panel::new("dilation = 2", "n1c1h7w7o1k3d2", &[[1, 1]])?.note(covers),
        Panel::new("dilation = 3", "n1c1h7w7o1k3d3", &[[0, 0]])?.note(covers),
        Panel::new("dilation = (1, 3)", "n1c1h7w7o1k3d1x3", &[[2, 0]])?.note(covers),
    ];
    Ok(draw_panels(&panels, 2).finish(
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
    let panels: Vec<Panel> = panels
        .into_iter()
        .map(|(title, problem)| Ok(Panel::new(title, problem, &[[0, 0]])?.letters()))
        .collect::<Result<_>>()?;
    Ok(draw_panels(&panels, 2).finish(
        "padding_mode",
        "A 3 by 4 input, its cells lettered a to l, padded by 2 on every side in the four modes. Each cell of the padding \
         shows the letter of the input cell whose value it has, or zero.",
    ))
}
