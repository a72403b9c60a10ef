//! Random problems for property tests (proptest). In a test file: `#[path = "common/problems.rs"] mod problems;`.
//!
//! Every draw is a valid problem: what does not fit together (a kernel larger than the padded image, more padding than
//! the mode can supply, too much work) is mended, not thrown away, so nothing is rejected and a failing case shrinks
//! towards one channel, one pixel and a 1×1 kernel.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::fmt;

use proptest::prelude::*;
use wgpu_conv::{Activation, Conv2d, Epilogue, Padding, PaddingMode, Problem};

/// A problem that proptest prints as its problem string.
#[derive(Clone, Copy, PartialEq)]
pub struct Case(pub Problem);

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Problems of every kind, with at most `max_macs` (at least 9) multiply-adds.
pub fn any_problem(max_macs: u64) -> impl Strategy<Value = Case> {
    problem_with(max_macs, any_activation())
}

/// Problems whose epilogue turns integers into integers, for exact tests. PReLU is among them: give it integer slopes.
pub fn integer_problem(max_macs: u64) -> impl Strategy<Value = Case> {
    problem_with(max_macs, integer_activation())
}

/// Problems whose activation comes from `activation`.
pub fn problem_with(max_macs: u64, activation: impl Strategy<Value = Activation>) -> impl Strategy<Value = Case> {
    let sizes = (rarely_zero(3), rarely_zero(9), 1..=9u32, prop_oneof![3 => Just(1u32), 2 => 2..=5u32]);
    let row_axis = prop_oneof![7 => axis(), 1 => Just(Axis::TRIVIAL)];
    let options = (padding_kind(), padding_mode(), any::<bool>(), any::<bool>());
    (sizes, row_axis, axis(), options, activation).prop_map(move |(sizes, rows, columns, options, activation)| {
        let (batch, in_per_group, out_per_group, groups) = sizes;
        let (padding, mode, bias, residual) = options;
        let axes = [rows, columns];
        Draw { batch, in_per_group, out_per_group, groups, axes, padding, mode, bias, residual, activation }
            .mend(max_macs)
    })
}

/// Every activation, with numbers that a problem string writes out in full.
pub fn any_activation() -> impl Strategy<Value = Activation> {
    let number = || (-16..=16i8).prop_map(|eighths| f32::from(eighths) / 8.0);
    prop_oneof![
        4 => integer_activation(),
        1 => number().prop_map(|slope| Activation::LeakyRelu { slope }),
        1 => number().prop_map(|alpha| Activation::Elu { alpha }),
        1 => (number(), number()).prop_map(|(a, b)| Activation::Clip { min: a.min(b), max: a.max(b) }),
        4 => prop::sample::select(vec![
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::HardSwish,
        ]),
    ]
}

/// Activations that turn integers into integers.
pub fn integer_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        6 => Just(Activation::Identity),
        2 => Just(Activation::Relu),
        1 => Just(Activation::RELU6),
        1 => Just(Activation::Clip { min: -5.0, max: f32::INFINITY }),
        1 => (-3..=3i8).prop_map(|slope| Activation::LeakyRelu { slope: f32::from(slope) }),
        1 => Just(Activation::Prelu),
    ]
}

fn rarely_zero(max: u32) -> impl Strategy<Value = u32> {
    prop_oneof![15 => 1..=max, 1 => Just(0)]
}

fn padding_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::PerSide),
        2 => Just(Kind::PerAxis),
        1 => Just(Kind::Named(Padding::Valid)),
        1 => Just(Kind::Named(Padding::Same)),
        1 => Just(Kind::Named(Padding::SameLower)),
    ]
}

fn padding_mode() -> impl Strategy<Value = PaddingMode> {
    prop_oneof![
        3 => Just(PaddingMode::Zeros),
        1 => Just(PaddingMode::Reflect),
        1 => Just(PaddingMode::Replicate),
        1 => Just(PaddingMode::Circular),
    ]
}

fn axis() -> impl Strategy<Value = Axis> {
    let kernel = prop_oneof![6 => 1..=4u32, 2 => 5..=7u32, 1 => 8..=13u32];
    let step = || prop_oneof![5 => Just(1u32), 4 => 2..=3u32, 1 => 4..=9u32];
    let padding = || prop_oneof![3 => Just(0u32), 4 => 1..=3u32, 1 => 4..=14u32];
    let size = prop_oneof![4 => 1..=12u32, 2 => 13..=40u32, 1 => 41..=100u32];
    (size, kernel, step(), step(), padding(), padding()).prop_map(|(size, kernel, stride, dilation, before, after)| {
        Axis { size, kernel, stride, dilation, before, after }
    })
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    size: u32,
    kernel: u32,
    stride: u32,
    dilation: u32,
    before: u32,
    after: u32,
}

impl Axis {
    /// The rows of a 1-D convolution.
    const TRIVIAL: Self = Self { size: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// The size that makes room for one output.
    fn needed(&self) -> u32 {
        (self.dilation * (self.kernel - 1) + 1).saturating_sub(self.before + self.after)
    }

    /// Brings padding under what the mode can supply, and makes the image large enough for one output.
    fn mend(&mut self, padding: Kind, mode: PaddingMode) {
        match padding {
            Kind::PerSide => {}
            Kind::PerAxis => (self.before, self.after) = [self.before.min(self.after); 2].into(),
            Kind::Named(_) => (self.before, self.after) = (0, 0),
        }
        let most = match mode {
            PaddingMode::Reflect => self.size - 1,
            PaddingMode::Circular => self.size,
            PaddingMode::Zeros | PaddingMode::Replicate => u32::MAX,
        };
        (self.before, self.after) = (self.before.min(most), self.after.min(most));
        // `Same` pads by less than the extent, half of it on either side.
        let same = matches!(padding, Kind::Named(Padding::Same | Padding::SameLower));
        if !same || most != u32::MAX {
            self.size = self.size.max(self.needed());
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    PerSide,
    PerAxis,
    Named(Padding),
}

#[derive(Debug, Clone, Copy)]
struct Draw {
    batch: u32,
    in_per_group: u32,
    out_per_group: u32,
    groups: u32,
    axes: [Axis; 2],
    padding: Kind,
    mode: PaddingMode,
    bias: bool,
    residual: bool,
    activation: Activation,
}

impl Draw {
    fn mend(mut self, max_macs: u64) -> Case {
        loop {
            for axis in &mut self.axes {
                axis.mend(self.padding, self.mode);
            }
            let problem = self.problem();
            if problem.macs() <= max_macs || !self.halve_largest() {
                return Case(problem);
            }
        }
    }

    /// Halves the largest of the numbers that stand for work; false if nothing is left to halve. Mending never raises
    /// any of them but a size, and a size that it would restore is left alone: so each call makes progress.
    fn halve_largest(&mut self) -> bool {
        let [rows, columns] = &mut self.axes;
        let mut numbers = vec![&mut self.batch, &mut self.in_per_group, &mut self.out_per_group, &mut self.groups];
        for axis in [rows, columns] {
            if axis.size > axis.needed() {
                numbers.push(&mut axis.size);
            }
            numbers.extend([&mut axis.kernel, &mut axis.dilation, &mut axis.before, &mut axis.after]);
        }
        match numbers.into_iter().max() {
            Some(largest) if *largest > 1 => {
                *largest /= 2;
                true
            }
            _ => false,
        }
    }

    fn problem(&self) -> Problem {
        let [rows, columns] = self.axes;
        let padding = match self.padding {
            Kind::Named(padding) => padding,
            _ => Padding::sides(rows.before, rows.after, columns.before, columns.after),
        };
        let in_channels = self.in_per_group * self.groups;
        let conv = Conv2d::new(in_channels, self.out_per_group * self.groups, [rows.kernel, columns.kernel])
            .stride([rows.stride, columns.stride])
            .padding(padding)
            .dilation([rows.dilation, columns.dilation])
            .groups(self.groups)
            .bias(self.bias)
            .padding_mode(self.mode);
        Problem::new(&conv, [self.batch, in_channels, rows.size, columns.size])
            .and_then(|problem| {
                problem.with_epilogue(Epilogue { residual: self.residual, activation: self.activation })
            })
            .unwrap_or_else(|error| panic!("the strategy must draw valid problems: {error}\n{self:?}"))
    }
}
