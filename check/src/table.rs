//! The built-in table of named problems: each parameter alone and in pairs, the tails of every tile, extremes, and the
//! shapes that broke other implementations.
//!
//! Most problems have a few hundred thousand multiply-adds at most, so that every kernel variant runs through all of
//! them in minutes on a software adapter. Shaders are compiled per kernel size, stride, dilation and so on, but not per
//! image size or number of channels, so the long sweeps vary only the latter.

mod deform;
mod features;
mod formats;
mod geometry;
mod lines;
mod sizes;
mod transposed;
mod volumes;

use wgpu_conv::{Problem, Result};

/// A named problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is there for, in words joined by hyphens; unique in the table.
    pub name: String,
    /// The problem string; unique in the table.
    pub problem: String,
}

impl Entry {
    fn new(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), problem: problem.into() }
    }

    /// The problem. (A test reads every string of the table.)
    ///
    /// # Errors
    /// What reading a problem string says.
    pub fn parse(&self) -> Result<Problem> {
        self.problem.parse()
    }
}

/// All named problems, in a fixed order.
pub fn entries() -> Vec<Entry> {
    let sections: [fn() -> Vec<Entry>; 26] = [
        features::alone,
        features::pairs,
        sizes::channel_tails,
        sizes::image_tails,
        sizes::batches_and_primes,
        sizes::long_axes,
        geometry::kernels,
        geometry::strides_and_dilations,
        geometry::paddings,
        geometry::padding_modes,
        geometry::named_paddings,
        features::groups,
        features::one_dimensional,
        features::activations,
        features::no_input_channels,
        sizes::small_workloads,
        features::traps,
        lines::lines,
        volumes::volumes,
        transposed::lines,
        transposed::images,
        transposed::volumes,
        deform::deformable,
        formats::layouts,
        formats::halves,
        formats::integers,
    ];
    sections.iter().flat_map(|section| section()).collect()
}

/// Entries from pairs of literals.
fn listed(rows: &[(&str, &str)]) -> Vec<Entry> {
    rows.iter().map(|&(name, problem)| Entry::new(name, problem)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wgpu_conv::{Activation, DType, Layout, Op, PaddingMode, WeightLayout};

    use super::*;

    #[test]
    fn there_are_enough_and_no_two_are_alike() {
        let entries = entries();
        assert!(entries.len() >= 650, "{}", entries.len());
        let (mut names, mut problems) = (BTreeSet::new(), BTreeSet::new());
        for entry in &entries {
            assert!(names.insert(&entry.name), "two problems are named {}", entry.name);
            assert!(problems.insert(&entry.problem), "{}: {} is there twice", entry.name, entry.problem);
        }
    }

    #[test]
    fn every_problem_is_legal_and_written_in_its_shortest_form() {
        for Entry { name, problem } in entries() {
            let parsed: Problem = problem.parse().unwrap_or_else(|error| panic!("{name}: {problem}: {error}"));
            assert_eq!(parsed.to_string(), problem, "{name}");
        }
    }

    #[test]
    fn every_problem_is_small() {
        let problems: Vec<Problem> = entries().iter().map(|entry| entry.parse().unwrap()).collect();
        assert!(problems.iter().all(|problem| problem.macs() <= 4_000_000));
        let large = problems.iter().filter(|problem| problem.macs() > 300_000).count();
        assert!(large <= 23, "{large} problems have more than 300,000 multiply-adds");
    }

    #[test]
    fn names_are_plain() {
        for Entry { name, .. } in entries() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(plain) && !name.contains("--"), "{name}");
        }
    }

    #[test]
    fn what_the_table_promises_is_in_it() {
        let problems: Vec<Problem> = entries().iter().map(|entry| entry.parse().unwrap()).collect();
        let seen = |what: &str, test: &dyn Fn(&Problem) -> bool| {
            assert!(problems.iter().any(test), "no problem with {what}");
        };
        for channels in (1..=9).chain([15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]) {
            seen("so many output channels", &|p| p.out_channels() == channels);
            seen("so many input channels", &|p| p.in_channels() == channels);
        }
        for width in (1..=20).chain([31, 32, 33, 55, 56, 57, 63, 64, 65]) {
            seen("this width", &|p| p.input_shape().last() == Some(&width));
        }
        for batch in [0, 2, 3, 5] {
            seen("this batch", &|p| p.input_shape()[0] == batch);
        }
        seen("no input channels", &|p| p.in_channels() == 0);
        seen("a stride larger than the kernel", &|p| p.op() == Op::Conv && p.stride()[0] > p.kernel_size()[0]);
        seen("padding larger than the input", &|p| p.padding()[0][0] > p.input_shape()[2]);
        seen("more than 49 taps", &|p| p.kernel_size().iter().product::<u32>() > 49);
        seen("depthwise with dilation", &|p| p.in_channels_per_group() == 1 && p.dilation()[0] > 1);
    }

    /// Of each kind and number of axes.
    #[test]
    fn every_kind_has_each_parameter_on_each_axis() {
        let problems: Vec<Problem> = entries().iter().map(|entry| entry.parse().unwrap()).collect();
        let mut missing = Vec::new();
        for (op, axes) in [Op::Conv, Op::ConvTranspose].into_iter().flat_map(|op| (1..=3).map(move |axes| (op, axes))) {
            let mut seen = |what: &str, test: &dyn Fn(&Problem) -> bool| {
                let mut all = problems.iter().filter(|p| (p.op(), p.dimensions()) == (op, axes));
                if !all.any(test) {
                    missing.push(format!("{op:?} over {axes} axes with {what}"));
                }
            };
            seen("a batch", &|p| p.input_shape()[0] > 1);
            seen("groups", &|p| p.groups() > 1 && p.in_channels_per_group() > 1);
            seen("depthwise", &|p| p.groups() > 1 && p.groups() == p.in_channels());
            seen("no bias", &|p| !p.bias());
            seen("a residual", &|p| p.epilogue().residual);
            seen("an activation", &|p| p.epilogue().activation != Activation::Identity);
            seen("a long sum", &|p| p.sum_length() > 1000);
            seen("a named padding", &|p| p.to_string().contains("psame"));
            seen("tails", &|p| p.out_channels() > 8 && p.out_channels() % 8 != 0 && p.input_shape()[1 + axes] % 4 != 0);
            for axis in 0..axes {
                seen(&format!("a stride on axis {axis}"), &|p| p.stride()[axis] > 1);
                seen(&format!("a dilation on axis {axis}"), &|p| p.dilation()[axis] > 1 && p.kernel_size()[axis] > 1);
                seen(&format!("padding that differs on axis {axis}"), &|p| {
                    p.padding()[axis][0] != p.padding()[axis][1]
                });
                seen(&format!("one tap on axis {axis}"), &|p| p.kernel_size()[axis] == 1);
                if op == Op::Conv {
                    for mode in PaddingMode::ALL {
                        seen(&format!("{mode} padding on axis {axis}"), &|p| {
                            p.padding_mode() == mode && p.padding()[axis] > [0, 0]
                        });
                    }
                } else {
                    let (kernel, stride) = (|p: &Problem| p.kernel_size()[axis], |p: &Problem| p.stride()[axis]);
                    seen(&format!("output padding on axis {axis}"), &|p| p.output_padding()[axis] > 0);
                    seen(&format!("a kernel below the stride on axis {axis}"), &|p| kernel(p) < stride(p));
                    seen(&format!("a kernel as long as the stride on axis {axis}"), &|p| {
                        stride(p) > 1 && kernel(p) == stride(p)
                    });
                    seen(&format!("a kernel beyond the stride on axis {axis}"), &|p| {
                        stride(p) > 1 && kernel(p) > stride(p)
                    });
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
        let seen = |what: &str, test: &dyn Fn(&Problem) -> bool| assert!(problems.iter().any(test), "no {what}");
        let transposed = |p: &Problem| p.op() == Op::ConvTranspose;
        for stride in 1..=4 {
            seen("such a stride", &|p| transposed(p) && p.stride()[0] == stride);
        }
        seen("strides that differ", &|p| {
            transposed(p) && p.stride()[0] != p.stride()[1..].first().copied().unwrap_or(p.stride()[0])
        });
        // A stride of 2 and a dilation of 3 have no common divisor, 4 and 6 have one, and neither divides the other.
        for (stride, dilation) in [(2, 2), (2, 3), (4, 6)] {
            seen("such a dilation", &|p| transposed(p) && (p.stride()[0], p.dilation()[0]) == (stride, dilation));
        }
        seen("padding beyond the kernel", &|p| transposed(p) && p.padding()[0][0] > p.kernel_size()[0]);
        seen("output padding beyond the stride", &|p| p.output_padding()[0] >= p.stride()[0]);
        let deformable = |p: &Problem| p.op() == Op::DeformConv;
        for mask in [false, true] {
            seen("deformable ones with and without a mask", &|p| deformable(p) && p.mask() == mask);
            seen("offset groups", &|p| deformable(p) && p.mask() == mask && p.offset_groups() > 1);
        }
        seen("offset groups with several channels", &|p| {
            deformable(p) && p.offset_groups() > 1 && p.in_channels() / p.offset_groups() > 8
        });
        seen("groups across offset groups", &|p| {
            deformable(p) && p.groups() > 1 && p.offset_groups() > 1 && p.offset_groups() % p.groups() != 0
        });
        for axis in 0..2 {
            seen("a deformable stride", &|p| deformable(p) && p.stride()[axis] > 1);
            seen("a deformable dilation", &|p| deformable(p) && p.dilation()[axis] > 1);
            seen("deformable padding that differs", &|p| deformable(p) && p.padding()[axis][0] != p.padding()[axis][1]);
        }
        for dtype in DType::FLOATS {
            for layout in Layout::ALL {
                seen("deformable formats", &|p| deformable(p) && (p.dtype(), p.layout()) == (dtype, layout));
            }
            let weights = if dtype == DType::F32 { &WeightLayout::ALL[..] } else { &[] };
            for &order in weights {
                seen("orders of a deformable weight", &|p| deformable(p) && p.weight_layout() == order);
            }
        }
        seen("a line of 70,000", &|p| p.dimensions() == 1 && p.input_shape()[2] == 70_000);
        seen("a volume with more than 49 taps", &|p| {
            p.dimensions() == 3 && p.kernel_size().iter().product::<u32>() > 49
        });
        seen("taps along slices only", &|p| {
            p.dimensions() == 3 && p.kernel_size()[0] > 1 && p.kernel_size()[1..] == [1, 1]
        });
    }
}
