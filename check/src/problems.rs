//! Strategies (proptest) for random problems: property tests draw from them, and so does [`random`](crate::random).
//!
//! Every draw is a valid problem of one to three spatial axes, a convolution, a transposed or (of two axes) a deformable one: what does not fit together
//! (a kernel larger than the padded image, more padding than the mode can supply or than a transposed convolution has
//! outputs, too much work) is mended, not thrown away, so nothing is rejected and a failing case shrinks towards two axes, one
//! channel, one pixel and a 1×1 kernel.

use std::fmt;

use proptest::prelude::*;
use wgpu_conv::{
    Activation, AnyPadding, DType, Epilogue, Integers, Layout, Op, PaddingMode, Parameters, Problem, WeightLayout,
};

/// A problem that proptest prints as its problem string.
#[derive(Clone, Copy, PartialEq)]
pub struct Case(pub Problem);

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Problems of every kind, with at most `max_macs` (at least 27) multiply-adds, and as many outputs.
pub fn any_problem(max_macs: u64) -> impl Strategy<Value = Case> {
    problem_with(max_macs, any_op(), any_activation())
}

/// Problems whose epilogue turns integers into integers, for exact tests. PReLU is among them: give it integer slopes.
pub fn integer_problem(max_macs: u64) -> impl Strategy<Value = Case> {
    problem_with(max_macs, any_op(), integer_activation())
}

/// The same, of one kind.
pub fn integer_problem_of(op: Op, max_macs: u64) -> impl Strategy<Value = Case> {
    problem_with(max_macs, Just(op), integer_activation())
}

/// Problems that Winograd's algorithm takes, which are few among the others: three taps along rows, columns or both.
pub fn three_taps() -> impl Strategy<Value = Case> {
    let sizes = (1..=3u32, 1..=4u32, 1..=9u32, 1..=21u32, 1..=19u32, 1..=19u32);
    let kinds = (0..4usize, 0..4usize, 0..3usize, 0..2usize, 0..2usize, 0..4usize, 0..4u32);
    (sizes, kinds).prop_map(|((batch, groups, ins, outs, height, width), kinds)| {
        let (axes, mode, dtype, layout, bias, epilogue, padding) = kinds;
        let (image, kernel) = [
            (format!("h{}w{}", height + 2, width + 2), "k3"),
            (format!("w{}", height * width + 2), "k3"),
            (format!("h{}w{}", height + 2, width), "k3x1"),
            (format!("h{height}w{}", width + 2), "k1x3"),
        ][axes]
            .clone();
        // Along an axis with one tap there may be padding too, and reflecting takes less than there are elements.
        let padding = if mode == 1 { padding.min(height.min(width) - 1) } else { padding };
        let padding = if mode == 3 { padding.min(height.min(width)) } else { padding };
        let mode = [":zeros", ":reflect", ":replicate", ":circular"][mode];
        // A transposed one leaves its padding out of the output, of which something must remain.
        let transposed = batch == 3 && padding < 2 && 2 * padding < height.min(width);
        let mode = if mode == ":zeros" && transposed { ":transposed" } else { mode };
        let text = format!(
            "n{batch}c{}{image}o{}{kernel}p{padding}g{groups}{mode}{}{}{}{}",
            ins * groups,
            outs * groups,
            ["", ":f16", ""][dtype],
            ["", ":nhwc"][layout],
            ["", ":nobias"][bias],
            ["", "+relu", "+residual", "+residual+prelu"][epilogue],
        );
        Case(text.parse().unwrap_or_else(|error| panic!("the strategy must draw valid problems: {error}: {text}")))
    })
}

/// One problem in eight is deformable; [`any_problem`] draws none of those.
pub fn or_deformable(
    problems: impl Strategy<Value = Case> + 'static,
    max_macs: u64,
    activation: impl Strategy<Value = Activation> + 'static,
) -> impl Strategy<Value = Case> {
    // On the heap: the stack of a test's thread does not hold both.
    prop_oneof![7 => problems.boxed(), 1 => problem_with(max_macs, Just(Op::DeformConv), activation).boxed()]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![5 => Just(Op::Conv), 3 => Just(Op::ConvTranspose)]
}

/// Problems whose kind and activation come from `op` and `activation`.
pub fn problem_with(
    max_macs: u64,
    op: impl Strategy<Value = Op>,
    activation: impl Strategy<Value = Activation>,
) -> impl Strategy<Value = Case> {
    let sizes = (rarely_zero(3), rarely_zero(9), 1..=9u32, prop_oneof![3 => Just(1u32), 2 => 2..=5u32]);
    // An image of one row is what a line looks like to programs that know images only; so is a volume of one slice.
    let outer_axis = || prop_oneof![7 => axis(), 1 => Just(Axis::TRIVIAL)];
    let axes = prop_oneof![
        4 => (outer_axis(), axis()).prop_map(|(rows, columns)| vec![rows, columns]),
        2 => axis().prop_map(|columns| vec![columns]),
        2 => (outer_axis(), outer_axis(), axis()).prop_map(|(slices, rows, columns)| vec![slices, rows, columns]),
    ];
    let options = (padding_kind(), padding_mode(), any::<bool>(), any::<bool>());
    let deformation = (any::<prop::sample::Index>(), any::<bool>());
    (op, sizes, axes, options, deformation, activation).prop_map(
        move |(op, sizes, mut axes, options, (offset_groups, mask), activation)| {
            let (batch, in_per_group, out_per_group, groups) = sizes;
            let (padding, mode, bias, residual) = options;
            // The others know no other mode.
            let mode = if op == Op::Conv { mode } else { PaddingMode::Zeros };
            let deformation = (op == Op::DeformConv).then_some((offset_groups, mask));
            if deformation.is_some() {
                axes.resize(2, Axis::TRIVIAL);
            }
            Draw {
                op,
                batch,
                in_per_group,
                out_per_group,
                groups,
                axes,
                padding,
                mode,
                bias,
                residual,
                deformation,
                activation,
            }
            .mend(max_macs)
        },
    )
}

/// Every activation, with numbers that a problem string writes out in full.
pub fn any_activation() -> impl Strategy<Value = Activation> {
    let number = || (-16..=16i8).prop_map(|eighths| f32::from(eighths) / 8.0);
    prop_oneof![
        4 => integer_activation(),
        1 => number().prop_map(|slope| Activation::LeakyRelu { slope }),
        1 => number().prop_map(|alpha| Activation::Elu { alpha }),
        1 => (number(), number()).prop_map(|(alpha, beta)| Activation::HardSigmoid { alpha, beta }),
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

/// The same problems with other orders in memory and types of elements, and with slopes for each element.
pub fn in_any_format(problems: impl Strategy<Value = Case>) -> impl Strategy<Value = Case> {
    let formats = (
        prop_oneof![3 => Just(Layout::Nchw), 1 => Just(Layout::Nhwc)],
        prop_oneof![4 => Just(WeightLayout::Oihw), 1 => Just(WeightLayout::Ohwi), 1 => Just(WeightLayout::Hwio)],
        prop_oneof![4 => Just(DType::F32), 1 => Just(DType::F16)],
        any::<bool>(),
        prop_oneof![5 => Just(None), 1 => integers().prop_map(Some)],
    );
    (problems, formats).prop_map(|(Case(problem), (layout, weight_layout, dtype, each, integers))| {
        let epilogue = problem.epilogue();
        let each = each && epilogue.activation == Activation::Prelu;
        let activation = if each { Activation::PreluEach } else { epilogue.activation };
        let problem = problem.with_epilogue(Epilogue { activation, ..epilogue }).unwrap_or(problem);
        let problem = problem.with_layout(layout).with_weight_layout(weight_layout);
        let of_integers = integers.and_then(|integers| {
            let activation = match activation {
                _ if integers.output == DType::I32 => Activation::Identity,
                Activation::PreluEach => Activation::Prelu,
                other => other,
            };
            let problem = problem.with_epilogue(Epilogue { residual: false, activation }).ok()?;
            // Those that are transposed stay floats.
            problem.with_integers(integers).ok()
        });
        Case(of_integers.unwrap_or(problem.with_dtype(dtype).unwrap_or(problem)))
    })
}

fn integers() -> impl Strategy<Value = Integers> {
    let eight = || prop_oneof![Just(DType::I8), Just(DType::U8)];
    let output = prop_oneof![Just(DType::I32), Just(DType::I8), Just(DType::U8)];
    (eight(), eight(), output, any::<bool>()).prop_map(|(input, weight, output, weight_zero_points)| Integers {
        input,
        weight,
        output,
        weight_zero_points,
    })
}

fn rarely_zero(max: u32) -> impl Strategy<Value = u32> {
    prop_oneof![15 => 1..=max, 1 => Just(0)]
}

fn padding_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::PerSide),
        2 => Just(Kind::PerAxis),
        1 => Just(Kind::Valid),
        1 => Just(Kind::Same),
        1 => Just(Kind::SameLower),
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
    let more = prop_oneof![2 => Just(0u32), 1 => 1..=8u32];
    (size, kernel, step(), step(), padding(), padding(), more).prop_map(
        |(size, kernel, stride, dilation, before, after, more)| Axis {
            size,
            kernel,
            stride,
            dilation,
            before,
            after,
            more,
        },
    )
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    size: u32,
    kernel: u32,
    stride: u32,
    dilation: u32,
    before: u32,
    after: u32,
    /// Output padding.
    more: u32,
}

impl Axis {
    /// The rows of a 1-D convolution.
    const TRIVIAL: Self = Self { size: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, more: 0 };

    /// What the taps cover.
    fn extent(&self) -> u32 {
        self.dilation * (self.kernel - 1) + 1
    }

    /// The size that makes room for one output.
    fn needed(&self, op: Op) -> u32 {
        let padding = self.before + self.after;
        match op {
            // (size - 1) · stride + extent + output padding exceeds the padding.
            Op::ConvTranspose => (padding + 1).saturating_sub(self.extent() + self.more).div_ceil(self.stride) + 1,
            _ => self.extent().saturating_sub(padding),
        }
    }

    /// Brings padding under what the mode can supply, and makes the image large enough for one output.
    fn mend(&mut self, op: Op, padding: Kind, mode: PaddingMode) {
        self.more = if op == Op::ConvTranspose { self.more.min(self.stride.max(self.dilation) - 1) } else { 0 };
        match padding {
            Kind::PerSide => {}
            Kind::PerAxis => (self.before, self.after) = [self.before.min(self.after); 2].into(),
            Kind::Valid | Kind::Same | Kind::SameLower => (self.before, self.after) = (0, 0),
        }
        let most = match mode {
            PaddingMode::Reflect => self.size - 1,
            PaddingMode::Circular => self.size,
            PaddingMode::Zeros | PaddingMode::Replicate => u32::MAX,
        };
        (self.before, self.after) = (self.before.min(most), self.after.min(most));
        // `Same` pads by less than the extent, half of it on either side.
        let same = matches!(padding, Kind::Same | Kind::SameLower);
        if !same || most != u32::MAX {
            self.size = self.size.max(self.needed(op));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    PerSide,
    PerAxis,
    Valid,
    Same,
    SameLower,
}

/// Most passes of a transposed convolution: the product of its strides. Each may be a pipeline of its own.
const MAX_PASSES: u32 = 36;

#[derive(Debug, Clone)]
struct Draw {
    op: Op,
    batch: u32,
    in_per_group: u32,
    out_per_group: u32,
    groups: u32,
    axes: Vec<Axis>,
    padding: Kind,
    mode: PaddingMode,
    bias: bool,
    residual: bool,
    /// Which of the divisors of the input channels is the number of offset groups, and whether there is a mask.
    deformation: Option<(prop::sample::Index, bool)>,
    activation: Activation,
}

impl Draw {
    fn mend(mut self, max_macs: u64) -> Case {
        while self.op == Op::ConvTranspose && self.axes.iter().map(|axis| axis.stride).product::<u32>() > MAX_PASSES {
            if let Some(largest) = self.axes.iter_mut().map(|axis| &mut axis.stride).max() {
                *largest /= 2;
            }
        }
        loop {
            for axis in &mut self.axes {
                axis.mend(self.op, self.padding, self.mode);
            }
            let problem = self.problem();
            // Without input channels there are no products, and where strides skip inputs few of them.
            let work = problem.macs().max(problem.output_len()).max(problem.input_len() / 8);
            if work <= max_macs || !self.halve_largest() {
                return Case(problem);
            }
        }
    }

    /// Halves the largest of the numbers that stand for work; false if nothing is left to halve. Mending never raises
    /// any of them but a size, and a size that it would restore is left alone: so each call makes progress.
    fn halve_largest(&mut self) -> bool {
        let mut numbers = vec![&mut self.batch, &mut self.in_per_group, &mut self.out_per_group, &mut self.groups];
        for axis in &mut self.axes {
            if axis.size > axis.needed(self.op) {
                numbers.push(&mut axis.size);
            }
            numbers.extend([&mut axis.kernel, &mut axis.dilation, &mut axis.before, &mut axis.after]);
            if self.op == Op::ConvTranspose {
                numbers.push(&mut axis.stride);
            }
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
        let each = |number: fn(&Axis) -> u32| self.axes.iter().map(number).collect::<Vec<u32>>();
        let padding = match self.padding {
            Kind::Valid => AnyPadding::Valid,
            Kind::Same => AnyPadding::Same,
            Kind::SameLower => AnyPadding::SameLower,
            Kind::PerSide | Kind::PerAxis => {
                AnyPadding::Explicit(self.axes.iter().map(|axis| [axis.before, axis.after]).collect())
            }
        };
        let in_channels = self.in_per_group * self.groups;
        let divisors: Vec<u32> =
            (1..=in_channels.max(1)).filter(|number| in_channels.is_multiple_of(*number)).collect();
        let (offset_groups, mask) =
            self.deformation.map_or((1, false), |(divisor, mask)| (divisors[divisor.index(divisors.len())], mask));
        let parameters = Parameters {
            op: self.op,
            in_channels,
            out_channels: self.out_per_group * self.groups,
            kernel_size: each(|axis| axis.kernel),
            stride: each(|axis| axis.stride),
            padding,
            dilation: each(|axis| axis.dilation),
            output_padding: each(|axis| axis.more),
            groups: self.groups,
            bias: self.bias,
            padding_mode: self.mode,
            offset_groups,
            mask,
        };
        let input: Vec<u32> = [self.batch, parameters.in_channels].into_iter().chain(each(|axis| axis.size)).collect();
        Problem::from_parameters(&parameters, &input)
            .and_then(|problem| {
                problem.with_epilogue(Epilogue { residual: self.residual, activation: self.activation })
            })
            .unwrap_or_else(|error| panic!("the strategy must draw valid problems: {error}\n{self:?}"))
    }
}
