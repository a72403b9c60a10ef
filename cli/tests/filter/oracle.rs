//! The filters once more, written as plainly as can be from what their documentation says: no separated passes, no
//! tensors, 64-bit floating point.

/// One channel, from 0 to 1.
#[derive(Clone)]
pub struct Channel {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f64>,
}

impl Channel {
    /// The value at a place that may lie outside.
    fn at(&self, row: i64, column: i64, border: &str) -> f64 {
        let inside = |place: i64, size: usize| -> Option<i64> {
            let size = size as i64;
            if (0..size).contains(&place) {
                return Some(place);
            }
            match border {
                "replicate" => Some(if place < 0 { 0 } else { size - 1 }),
                "circular" => Some((place + size) % size),
                "reflect" => Some(if place < 0 { -place } else { 2 * (size - 1) - place }),
                _ => None,
            }
        };
        match (inside(row, self.height), inside(column, self.width)) {
            (Some(row), Some(column)) => self.values[row as usize * self.width + column as usize],
            _ => 0.0,
        }
    }

    /// Sum of neighbours times weights. Of an even number of rows or columns the one before the half is the middle.
    pub fn correlate(&self, weights: &[Vec<f64>], border: &str) -> Self {
        let (middle_row, middle_column) = ((weights.len() as i64 - 1) / 2, (weights[0].len() as i64 - 1) / 2);
        let mut values = Vec::new();
        for row in 0..self.height as i64 {
            for column in 0..self.width as i64 {
                let mut sum = 0.0;
                for (i, line) in weights.iter().enumerate() {
                    for (j, weight) in line.iter().enumerate() {
                        let (y, x) = (row + i as i64 - middle_row, column + j as i64 - middle_column);
                        sum += weight * self.at(y, x, border);
                    }
                }
                values.push(sum);
            }
        }
        Self { values, ..*self }
    }

    fn with(&self, other: &Self, both: impl Fn(f64, f64) -> f64) -> Self {
        let values = self.values.iter().zip(&other.values).map(|(&a, &b)| both(a, b)).collect();
        Self { values, ..*self }
    }
}

fn rows(numbers: [[f64; 3]; 3]) -> Vec<Vec<f64>> {
    numbers.map(|row| row.to_vec()).to_vec()
}

fn bell(sigma: f64) -> Vec<Vec<f64>> {
    let radius = (3.0 * sigma).ceil() as i64;
    let height = |x: i64, y: i64| (-((x * x + y * y) as f64) / (2.0 * sigma * sigma)).exp();
    let sum: f64 = (-radius..=radius).flat_map(|y| (-radius..=radius).map(move |x| height(x, y))).sum();
    (-radius..=radius).map(|y| (-radius..=radius).map(|x| height(x, y) / sum).collect()).collect()
}

/// The filter of this name, as the documentation describes it.
pub fn apply(name: &str, channel: &Channel, border: &str) -> Channel {
    match name {
        "gaussian:0.3" => channel.correlate(&bell(0.3), border),
        "gaussian:1.2" => channel.correlate(&bell(1.2), border),
        "box:2" => channel.correlate(&vec![vec![0.25; 2]; 2], border),
        "box:3" => channel.correlate(&vec![vec![1.0 / 9.0; 3]; 3], border),
        "box:6" => channel.correlate(&vec![vec![1.0 / 36.0; 6]; 6], border),
        "sharpen" => channel.correlate(&rows([[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]), border),
        "unsharp" => channel.with(&channel.correlate(&bell(1.0), border), |own, blurred| own + (own - blurred)),
        "unsharp:0.3,2.5" => {
            channel.with(&channel.correlate(&bell(0.3), border), |own, blurred| own + 2.5 * (own - blurred))
        }
        "edge" => {
            let across = channel.correlate(&rows([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]), border);
            let down = channel.correlate(&rows([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]), border);
            across.with(&down, |x, y| (x * x + y * y).sqrt())
        }
        "laplacian" => channel.correlate(&rows([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]), border),
        "emboss" => {
            let relief = channel.correlate(&rows([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]), border);
            relief.with(&relief, |value, _| value + 0.5)
        }
        _ => panic!("{name}"),
    }
}

/// Light from a stored number, by the formula of IEC 61966-2-1.
pub fn light(stored: f64) -> f64 {
    if stored <= 0.04045 { stored / 12.92 } else { ((stored + 0.055) / 1.055).powf(2.4) }
}

/// And back.
pub fn stored(light: f64) -> f64 {
    if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}
