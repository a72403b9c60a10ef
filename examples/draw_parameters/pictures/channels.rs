//! Pictures of channels: in_channels, out_channels and groups.

use wgpu_conv::{Problem, Tensors};

use super::Result;
use super::numbers::{floats, heading, some_numbers};
use super::planes::{CELL, Item, Plane, draw_row};
use super::probe::{Taps, channels_read, integers};
use super::svg::{Cell, Kind, Mark, Svg, Type};

/// The convolution of the first two pictures: 3 channels to 2.
const CONV: &str = "n1c3h5w5o2k3";

struct Example {
    problem: Problem,
    /// One plane of it.
    taps: Taps,
    input: Vec<i64>,
    weight: Vec<i64>,
    output: Vec<i64>,
    /// The output position that is highlighted.
    chosen: usize,
}

impl Example {
    fn new() -> Result<Self> {
        let problem: Problem = CONV.parse()?;
        let input = some_numbers(problem.input_len(), 0, 3, 3);
        let weight = some_numbers(problem.weight_len(), -1, 1, 8);
        let output = integers(&problem, Tensors::new(&floats(&input), &floats(&weight)))?;
        Ok(Self { problem, taps: Taps::of("n1c1h5w5o1k3")?, input, weight, output, chosen: 1 })
    }

    fn input_plane(&self, channel: usize, mark: Mark) -> Plane {
        let numbers = &self.input[channel * 25..(channel + 1) * 25];
        Plane::new(&format!("input channel {channel}"), Kind::Input, 5, numbers)
            .map(|cell, drawn| drawn.mark(if self.taps.reads[self.chosen].contains(&cell) { mark } else { Mark::None }))
    }

    /// The 3×3 numbers that output channel `o` has for input channel `c`.
    fn weight_slice(&self, o: usize, c: usize) -> &[i64] {
        &self.weight[(o * 3 + c) * 9..][..9]
    }

    fn weight_plane(&self, o: usize, c: usize) -> Plane {
        Plane::new(&format!("weight[{o}, {c}]"), Kind::Weight, 3, self.weight_slice(o, c))
    }

    fn output_plane(&self, o: usize, mark: Mark) -> Plane {
        Plane::new(&format!("output channel {o}"), Kind::Output, 3, &self.output[o * 9..][..9])
            .map(|index, drawn| drawn.mark(if index == self.chosen { mark } else { Mark::None }))
    }
}

pub fn in_channels() -> Result<String> {
    let example = Example::new()?;
    let mut svg = heading("in_channels = 3 (shown for output channel 0)", &example.problem);
    let (mut right, pitch, first, mut total) = (0, 180, 146, 0);
    for channel in 0..3 {
        // This channel alone, under its own slice of the weight.
        let plane = floats(&example.input[channel * 25..(channel + 1) * 25]);
        let slice = floats(example.weight_slice(0, channel));
        let share = integers(&example.taps.problem, Tensors::new(&plane, &slice))?[example.chosen];
        total += share;
        let items = [
            Item::Plane(example.input_plane(channel, Mark::First)),
            Item::Sign("∗"),
            Item::Plane(example.weight_plane(0, channel)),
            Item::Sign("="),
            Item::Plane(Plane::new("its share", Kind::Value, 1, &[share]).map(|_, drawn| drawn.mark(Mark::First))),
        ];
        right = draw_row(&mut svg, 20, first + pitch * channel as i32, &items);
    }
    if total != example.output[example.chosen] {
        return Err(
            format!("the shares add up to {total}, the reference says {}", example.output[example.chosen]).into()
        );
    }
    let middle = first + pitch;
    let x = right + 70;
    for channel in 0..3 {
        let from = first + pitch * channel;
        svg.arrow([right - 10, from + (channel - 1) * -4], [x - 6, middle + (channel - 1) * 14]);
    }
    svg.centred(x + 12, middle + 8, Type::Sign, "+");
    draw_row(&mut svg, x + 30, middle, &[Item::Plane(example.output_plane(0, Mark::First))]);
    svg.legend(&[
        (Cell::new(Kind::Input), "input"),
        (Cell::new(Kind::Weight), "weight"),
        (Cell::new(Kind::Output), "output"),
        (Cell::new(Kind::Output).mark(Mark::First), "one output, what it reads, and the shares of each channel"),
    ]);
    Ok(svg.finish(
        "in_channels",
        "Three input channels, each multiplied by its own 3 by 3 slice of the weight; the three results are added up to \
         one output.",
    ))
}

pub fn out_channels() -> Result<String> {
    let example = Example::new()?;
    let shape = example.problem.weight_shape();
    let mut svg = heading(&format!("out_channels = 2 (weight shape {shape:?})"), &example.problem);
    // The input channels as a stack of cards, channel 0 in front.
    let (x, step) = (20, 16);
    let top = 128;
    for channel in (0..3).rev() {
        let offset = step * channel as i32;
        svg.grid(x + offset, top + 2 * step - offset, CELL, 5, &example.input_plane(channel, Mark::Both).cells);
    }
    let (width, bottom) = (5 * CELL + 2 * step, top + 5 * CELL + 2 * step);
    svg.centred(x + width / 2, bottom + 18, Type::Note, "input, 3 channels");
    let middle = (top + bottom) / 2;
    for (channel, mark) in [Mark::First, Mark::Second].into_iter().enumerate() {
        let y = middle - 76 + 152 * channel as i32;
        let mut items = Vec::new();
        for c in 0..3 {
            items.push(Item::Plane(example.weight_plane(channel, c)));
            items.push(Item::Sign(if c < 2 { "" } else { "=" }));
        }
        items.push(Item::Plane(example.output_plane(channel, mark)));
        svg.arrow([x + width + 8, middle - 12 + 24 * channel as i32], [x + width + 52, y]);
        draw_row(&mut svg, x + width + 64, y, &items);
    }
    svg.legend(&[
        (Cell::new(Kind::Input), "input"),
        (Cell::new(Kind::Weight), "weight"),
        (Cell::new(Kind::Output), "output"),
        (Cell::new(Kind::Output).mark(Mark::First), "one output of channel 0"),
        (Cell::new(Kind::Output).mark(Mark::Second), "of channel 1"),
        (Cell::new(Kind::Input).mark(Mark::Both), "read by both"),
    ]);
    Ok(svg.finish(
        "out_channels",
        "One input of three channels read by two filters of three 3 by 3 slices each; each filter makes one output channel.",
    ))
}

pub fn groups() -> Result<String> {
    let panels = [
        ("groups = 1", "n1c4h5w5o4k3"),
        ("groups = 2", "n1c4h5w5o4k3g2"),
        ("groups = 4 (depthwise)", "n1c4h5w5o4k3g4"),
        ("groups = 4, multiplier 2", "n1c4h5w5o8k3g4"),
    ];
    let mut svg = Svg::default();
    let mut x = 20;
    let height = 8 * 30 - 6;
    for (title, text) in panels {
        let problem: Problem = text.parse()?;
        svg.text(x, 32, Type::Title, title);
        svg.text(x, 50, Type::Code, text);
        svg.text(x, 70, Type::Note, &format!("weight {:?}", problem.weight_shape()));
        draw_links(&mut svg, x, 86, height, &channels_read(&problem)?, problem.input_shape()[1] as usize);
        x += 212;
    }
    svg.text(
        20,
        svg.bottom() + 24,
        Type::Note,
        "left: input channels; right: output channels; a line: this output reads this input; one colour: one group",
    );
    Ok(svg.finish(
        "groups",
        "Four convolutions of 4 input channels. With one group every output channel reads every input channel; with two, \
         each reads two; with four, each reads one.",
    ))
}

const FILLS: [&str; 4] = ["#fbd9a5", "#bfdcf7", "#c9ebcf", "#ddd0f5"];
const LINES: [&str; 4] = ["#d08a1d", "#3d7fc1", "#4a9a5d", "#8463c9"];

/// Input channels on the left, output channels on the right, a line where one depends on the other.
fn draw_links(svg: &mut Svg, x: i32, y: i32, height: i32, read: &[Vec<usize>], inputs: usize) {
    let (box_size, gap) = ([44, 24], 72);
    let place = |index: usize, count: usize| y + (height - 30 * count as i32 + 6) / 2 + 30 * index as i32;
    let right = x + box_size[0] + gap;
    // Channels are of one group when they read the same input channels.
    let mut sets: Vec<&Vec<usize>> = Vec::new();
    for set in read {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let group = |set: &Vec<usize>| sets.iter().position(|other| *other == set).unwrap_or(0) % FILLS.len();
    for (output, set) in read.iter().enumerate() {
        for &input in set {
            let from = [x + box_size[0], place(input, inputs) + 12];
            svg.line(from, [right, place(output, read.len()) + 12], LINES[group(set)]);
        }
    }
    for set in &sets {
        for &input in *set {
            svg.tag(x, place(input, inputs), box_size, FILLS[group(set)], &format!("in {input}"));
        }
    }
    for (output, set) in read.iter().enumerate() {
        svg.tag(right, place(output, read.len()), box_size, FILLS[group(set)], &format!("out {output}"));
    }
}
