//! Pictures that add up: kernel_size, bias and the epilogue, with small integers.

use wgpu_conv::{Problem, Tensors};

use super::Result;
use super::planes::{Item, Plane, draw_row, signed};
use super::probe::{Taps, integers};
use super::svg::{Cell, Kind, Mark, Svg, Type};

/// Small integers to compute with, the same in every run.
pub fn some_numbers(count: u64, from: i64, to: i64, seed: u64) -> Vec<i64> {
    // The high bits of a linear congruential generator.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + ((state >> 33) % (to - from + 1) as u64) as i64
    };
    (0..count).map(|_| next()).collect()
}

pub fn floats(numbers: &[i64]) -> Vec<f32> {
    numbers.iter().map(|&number| number as f32).collect()
}

pub fn kernel_size() -> Result<String> {
    let taps = Taps::of("n1c1h5w6o1k2x3")?;
    let problem = &taps.problem;
    let input = some_numbers(problem.input_len(), 0, 5, 1);
    let weight = [1, 2, 1, -1, 0, 3];
    let output = integers(problem, Tensors::new(&floats(&input), &floats(&weight)))?;
    let [_, _, _, rows, columns] = problem.output_shape().five();
    let chosen = (columns + 2) as usize;
    let [height, width] = [problem.input_shape()[2], problem.input_shape()[3]];

    let products: Vec<[i64; 2]> = taps.reads[chosen].iter().zip(weight).map(|(&cell, w)| [input[cell], w]).collect();
    let sum: i64 = products.iter().map(|[x, w]| x * w).sum();
    if sum != output[chosen] {
        return Err(format!("the products add up to {sum}, the reference says {}", output[chosen]).into());
    }
    let terms: Vec<String> = products.iter().map(|[x, w]| format!("{x}·{}", bracketed(*w))).collect();

    let mark = |marked: bool| if marked { Mark::First } else { Mark::None };
    let items = [
        Item::Plane(
            Plane::new(&format!("input {height} × {width}"), Kind::Input, width as usize, &input)
                .map(|cell, drawn| drawn.mark(mark(taps.reads[chosen].contains(&cell)))),
        ),
        Item::Sign("∗"),
        Item::Plane(Plane::new("weight 2 × 3", Kind::Weight, 3, &weight)),
        Item::Sign("="),
        Item::Plane(
            Plane::new(&format!("output {rows} × {columns}"), Kind::Output, columns as usize, &output)
                .map(|index, drawn| drawn.mark(mark(index == chosen))),
        ),
    ];
    let mut svg = heading("kernel_size = (2, 3)", problem);
    draw_row(&mut svg, 20, 140, &items);
    let y = svg.bottom() + 22;
    svg.text(20, y, Type::Code, &format!("{} = {}", terms.join(" + "), signed(sum)));
    svg.legend(&[
        (Cell::new(Kind::Input), "input"),
        (Cell::new(Kind::Weight), "weight"),
        (Cell::new(Kind::Output), "output"),
        (Cell::new(Kind::Output).mark(Mark::First), "one output, and the cells it reads"),
    ]);
    Ok(svg.finish(
        "kernel_size",
        "A 5 by 6 input, a weight of 2 rows and 3 columns, and the 4 by 4 output, with one output written out as the sum \
         of six products.",
    ))
}

pub fn bias() -> Result<String> {
    let problem: Problem = "n1c1h4w5o2k3".parse()?;
    let bare: Problem = "n1c1h4w5o2k3:nobias".parse()?;
    let input = floats(&some_numbers(problem.input_len(), 0, 3, 2));
    let weight = floats(&some_numbers(problem.weight_len(), -1, 1, 4));
    let bias = [10, -4];
    let sums = integers(&bare, Tensors::new(&input, &weight))?;
    let output = integers(&problem, Tensors::new(&input, &weight).bias(&floats(&bias)))?;
    let [_, _, _, rows, columns] = problem.output_shape().five();
    let plane = (rows * columns) as usize;

    let mut svg = heading("bias = true", &problem);
    for (channel, b) in bias.into_iter().enumerate() {
        let part = |numbers: &[i64]| numbers[channel * plane..(channel + 1) * plane].to_vec();
        let items = [
            Item::Plane(Plane::new(&format!("sums, channel {channel}"), Kind::Value, columns as usize, &part(&sums))),
            Item::Sign("+"),
            Item::Plane(Plane::new(&format!("bias[{channel}]"), Kind::Weight, 1, &[b])),
            Item::Sign("="),
            Item::Plane(Plane::new(
                &format!("output, channel {channel}"),
                Kind::Output,
                columns as usize,
                &part(&output),
            )),
        ];
        draw_row(&mut svg, 20, 96 + 100 * channel as i32, &items);
    }
    svg.legend(&[
        (Cell::new(Kind::Value), "sum of products"),
        (Cell::new(Kind::Weight), "bias"),
        (Cell::new(Kind::Output), "output"),
    ]);
    Ok(svg.finish("bias", "Two output channels; one number of the bias is added to every sum of each channel."))
}

pub fn epilogue() -> Result<String> {
    let [sum_only, with_bias, with_residual, all]: [Problem; 4] =
        ["n1c1h4w5o1k3:nobias", "n1c1h4w5o1k3", "n1c1h4w5o1k3+residual", "n1c1h4w5o1k3+residual+relu"]
            .map(str::parse)
            .into_iter()
            .collect::<wgpu_conv::Result<Vec<_>>>()?
            .try_into()
            .map_err(|_| "four problems")?;
    let input = floats(&some_numbers(all.input_len(), 0, 3, 2));
    let weight = floats(&some_numbers(all.weight_len(), -1, 1, 4));
    let (bias, residual) = ([2], [-14, 1, 0, 2, -12, -1]);
    let (bias_f, residual_f) = (floats(&bias), floats(&residual));
    let tensors = Tensors::new(&input, &weight);
    let sums = integers(&sum_only, tensors)?;
    let biased = integers(&with_bias, tensors.bias(&bias_f))?;
    let added = integers(&with_residual, tensors.bias(&bias_f).residual(&residual_f))?;
    let output = integers(&all, tensors.bias(&bias_f).residual(&residual_f))?;
    let agrees = sums.iter().zip(&biased).all(|(sum, value)| sum + bias[0] == *value)
        && biased.iter().zip(residual).zip(&added).all(|((value, r), sum)| value + r == *sum);
    if !agrees {
        return Err("the reference does not add bias and residual as the picture says".into());
    }
    let columns = all.output_shape()[3] as usize;
    let items = [
        Item::Plane(Plane::new("sums", Kind::Value, columns, &sums)),
        Item::Sign("+"),
        Item::Plane(Plane::new("bias", Kind::Weight, 1, &bias)),
        Item::Sign("+"),
        Item::Plane(Plane::new("residual", Kind::Input, columns, &residual)),
        Item::Sign("="),
        Item::Plane(Plane::new("total", Kind::Value, columns, &added)),
        Item::Step("relu"),
        Item::Plane(Plane::new("output", Kind::Output, columns, &output)),
    ];
    let mut svg = heading("residual and activation", &all);
    draw_row(&mut svg, 20, 96, &items);
    svg.legend(&[
        (Cell::new(Kind::Value), "not stored"),
        (Cell::new(Kind::Weight), "bias"),
        (Cell::new(Kind::Input), "residual, read from memory"),
        (Cell::new(Kind::Output), "output"),
    ]);
    Ok(svg.finish(
        "epilogue",
        "Each sum of products is given the bias, then the residual, then the activation relu, and only then stored.",
    ))
}

/// The title and the problem string.
pub fn heading(title: &str, problem: &Problem) -> Svg {
    let mut svg = Svg::default();
    svg.text(20, 32, Type::Title, title);
    svg.text(20, 50, Type::Code, &problem.to_string());
    svg
}

fn bracketed(number: i64) -> String {
    if number < 0 { format!("({})", signed(number)) } else { signed(number) }
}
