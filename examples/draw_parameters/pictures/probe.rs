//! What the pictures show, asked of the crate: sizes from `Problem`, and which cell feeds which from the CPU reference.
//!
//! The reference computes sums, so it is asked with numbers that give the answer away: an input whose cells are numbered
//! 1, 2, 3, … and a weight that is 1 at one tap and 0 elsewhere make each output the number of the cell which that tap read
//! (0: a zero of the padding).

use wgpu_conv::{AnyPadding, Op, Parameters, Problem, Tensors, reference};

use super::Result;

/// The exact integers that the reference computes; a bias that is not given is 0.
pub fn integers(problem: &Problem, tensors: Tensors<'_>) -> Result<Vec<i64>> {
    let zeros = vec![0.0; problem.out_channels() as usize];
    let bias = tensors.bias.unwrap_or(&zeros);
    let tensors = Tensors { bias: problem.bias().then_some(bias), ..tensors };
    let values = reference::convolve(problem, &tensors)?.values;
    if let Some(value) = values.iter().find(|value| value.fract() != 0.0) {
        return Err(format!("{problem}: {value} is no integer").into());
    }
    Ok(values.into_iter().map(|value| value as i64).collect())
}

/// Rows and columns of a one-channel problem, cell by cell.
pub struct Taps {
    pub problem: Problem,
    /// Rows and columns of the input with its padding.
    pub padded: [usize; 2],
    /// For each padded cell, the input cell whose value it has; `None` for zero.
    pub source: Vec<Option<usize>>,
    /// For each output, the padded cells that it reads, one for each tap.
    pub reads: Vec<Vec<usize>>,
}

impl Taps {
    /// Finds out about the problem written as `text`, which has one channel and a batch of one.
    pub fn of(text: &str) -> Result<Self> {
        let problem: Problem = text.parse()?;
        let input = problem.input_shape();
        if input[0] != 1 || input[1] != 1 || problem.out_channels() != 1 {
            return Err(format!("{text}: pictures of cells show one channel").into());
        }
        // A 1×1 weight of 1 copies the padded image.
        let parameters = problem.parameters();
        let copy = Parameters {
            kernel_size: vec![1; 2],
            stride: vec![1; 2],
            dilation: vec![1; 2],
            padding: AnyPadding::Explicit(problem.padding().to_vec()),
            ..parameters.clone()
        };
        let copy = Problem::from_parameters(&copy, &input)?;
        let [_, _, _, rows, columns] = copy.output_shape().five();
        let source = read_by_tap(&copy, 0)?;
        // Without padding, on the padded image, every tap reads a cell that has a number.
        let bare = Parameters { padding: AnyPadding::Valid, ..parameters };
        let bare = Problem::from_parameters(&bare, &[1, 1, rows, columns])?;
        if bare.output_shape() != problem.output_shape() {
            return Err(format!("{text}: {:?} on the padded image", bare.output_shape()).into());
        }
        let mut reads = vec![Vec::new(); problem.output_len() as usize];
        for tap in 0..problem.weight_len() as usize {
            let direct = read_by_tap(&problem, tap)?;
            for (output, cell) in read_by_tap(&bare, tap)?.into_iter().enumerate() {
                let cell = cell.ok_or_else(|| format!("{text}: output {output} reads beyond the padding"))?;
                if direct[output] != source[cell] {
                    return Err(format!("{text}: tap {tap} of output {output} reads another cell when padded").into());
                }
                reads[output].push(cell);
            }
        }
        Ok(Self { problem, padded: [rows as usize, columns as usize], source, reads })
    }

    /// Whether a padded cell belongs to the input itself.
    pub fn is_input(&self, cell: usize) -> bool {
        within(cell, self.padded[1], &self.problem, &self.problem.input_shape()[2..])
    }

    /// Whether any output reads a padded cell.
    pub fn is_read(&self, cell: usize) -> bool {
        self.reads.iter().any(|cells| cells.contains(&cell))
    }
}

/// What each input of a one-channel transposed problem is spread over.
pub struct Spread {
    pub problem: Problem,
    /// Rows and columns of the output with what the padding leaves out.
    pub covered: [usize; 2],
    /// For each input, the cells of the whole that it adds to, one for each tap.
    pub reaches: Vec<Vec<usize>>,
}

impl Spread {
    /// Finds out about the problem written as `text`, which has one channel and a batch of one.
    pub fn of(text: &str) -> Result<Self> {
        let problem: Problem = text.parse()?;
        let input = problem.input_shape();
        if input[0] != 1 || input[1] != 1 || problem.out_channels() != 1 || problem.op() != Op::ConvTranspose {
            return Err(format!("{text}: pictures of what is spread show one channel, transposed").into());
        }
        let whole = Parameters { padding: AnyPadding::Valid, ..problem.parameters() };
        let whole = Problem::from_parameters(&whole, &input)?;
        let [_, _, _, rows, columns] = whole.output_shape().five().map(|size| size as usize);
        let mut spread =
            Self { problem, covered: [rows, columns], reaches: vec![Vec::new(); input.elements() as usize] };
        for tap in 0..problem.weight_len() as usize {
            let read = read_by_tap(&whole, tap)?;
            let kept: Vec<Option<usize>> =
                (0..read.len()).filter(|&cell| spread.is_kept(cell)).map(|cell| read[cell]).collect();
            if kept != read_by_tap(&problem, tap)? {
                return Err(format!("{text}: padding does not leave out the cells at the edges").into());
            }
            for (cell, input) in read.into_iter().enumerate() {
                if let Some(input) = input {
                    spread.reaches[input].push(cell);
                }
            }
        }
        Ok(spread)
    }

    /// Whether a cell of the whole belongs to the output.
    pub fn is_kept(&self, cell: usize) -> bool {
        within(cell, self.covered[1], &self.problem, &self.problem.output_shape()[2..])
    }

    /// Whether any input reaches a cell of the whole.
    pub fn is_reached(&self, cell: usize) -> bool {
        self.reaches.iter().any(|cells| cells.contains(&cell))
    }
}

/// Whether a cell of a grid with so many columns is in the part of these sizes that the padding surrounds.
fn within(cell: usize, columns: usize, problem: &Problem, sizes: &[u32]) -> bool {
    let position = [cell / columns, cell % columns];
    let mut axes = position.into_iter().zip(problem.padding()).zip(sizes);
    axes.all(|((position, [before, _]), size)| (*before..before + size).contains(&(position as u32)))
}

/// For each output of a one-channel problem, the input cell that one tap reads.
fn read_by_tap(problem: &Problem, tap: usize) -> Result<Vec<Option<usize>>> {
    let numbered: Vec<f32> = (1..=problem.input_len()).map(|number| number as f32).collect();
    let mut weight = vec![0.0; problem.weight_len() as usize];
    weight[tap] = 1.0;
    let numbers = integers(problem, Tensors::new(&numbered, &weight))?;
    Ok(numbers.into_iter().map(|number| usize::try_from(number - 1).ok()).collect())
}

/// For each output channel, the input channels that it depends on.
pub fn channels_read(problem: &Problem) -> Result<Vec<Vec<usize>>> {
    let [_, channels, _, height, width] = problem.input_shape().five();
    let weight = vec![1.0; problem.weight_len() as usize];
    let [_, outputs, _, rows, columns] = problem.output_shape().five();
    let mut read = vec![Vec::new(); outputs as usize];
    let plane = (height * width) as usize;
    for channel in 0..channels as usize {
        let mut input = vec![0.0; problem.input_len() as usize];
        input[channel * plane..(channel + 1) * plane].fill(1.0);
        let values = integers(problem, Tensors::new(&input, &weight))?;
        for (output, values) in values.chunks((rows * columns) as usize).enumerate() {
            if values.iter().any(|&value| value != 0) {
                read[output].push(channel);
            }
        }
    }
    Ok(read)
}
