//! The parameters of a convolution as flags.

use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;
use wgpu_conv::{Activation, AnyPadding, Op, PaddingMode, Parameters};

use crate::tensor_file::shape_text;

/// The parameters of torch.nn.Conv1d to ConvTranspose3d, and of torchvision.ops.DeformConv2d.
#[derive(Args)]
#[command(
    next_help_heading = "Parameters of torch.nn.Conv1d/2d/3d, ConvTranspose1d/2d/3d and torchvision.ops.DeformConv2d (N: one number, or one for each spatial axis with commas: columns; rows,columns; slices,rows,columns)"
)]
pub struct ConvArgs {
    /// A transposed convolution: ConvTranspose1d, 2d or 3d
    #[arg(long)]
    transposed: bool,
    /// A deformable convolution, DeformConv2d: needs --offset
    #[arg(long, conflicts_with = "transposed")]
    deform: bool,
    /// Deformable: number of groups of input channels with offsets (and mask) of their own
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    offset_groups: u32,
    /// Step between neighbouring outputs; transposed: between the outputs of neighbouring inputs
    #[arg(long, value_name = "N", default_value = "1")]
    stride: Numbers,
    /// N, or before,after of each axis (1-D: left,right; 2-D: top,bottom,left,right; 3-D: front,back and these), or same,
    /// same-lower, valid
    #[arg(long, default_value = "0")]
    padding: PaddingArg,
    /// Transposed: additional outputs at the end of each axis
    #[arg(long, value_name = "N", default_value = "0")]
    output_padding: Numbers,
    /// Distance between neighbouring taps
    #[arg(long, value_name = "N", default_value = "1")]
    dilation: Numbers,
    /// Number of independent groups of channels
    #[arg(long, default_value_t = 1)]
    groups: u32,
    /// What padded elements hold: zeros, reflect, replicate, circular; transposed and deformable: zeros
    #[arg(long, value_name = "MODE", default_value = "zeros", value_parser = parse_mode)]
    padding_mode: PaddingMode,
    /// relu, relu6, clip=MIN,MAX, leaky_relu=SLOPE, prelu, prelu_each, sigmoid, hard_sigmoid=ALPHA,BETA, tanh, silu, gelu,
    /// gelu_tanh, hard_swish, elu=ALPHA
    #[arg(long, value_name = "NAME", default_value = "identity")]
    pub activation: Activation,
    /// Must be the input's [default: the input's]
    #[arg(long, value_name = "COUNT")]
    in_channels: Option<u32>,
    /// Must be that of the tensors [default: the weight's]
    #[arg(long, value_name = "COUNT")]
    out_channels: Option<u32>,
    /// Must be the weight's [default: the weight's]
    #[arg(long, value_name = "N")]
    kernel_size: Option<Numbers>,
}

impl ConvArgs {
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// The convolution that these flags make of a weight. Lists of a wrong length are left to the library, which says so.
    pub fn parameters(&self, weight: &[u32], bias: bool, mask: bool) -> Result<Parameters> {
        let op = match (self.transposed, self.deform) {
            (true, _) => Op::ConvTranspose,
            (_, true) => Op::DeformConv,
            _ => Op::Conv,
        };
        let plain = Parameters::from_weight_shape(op, weight, self.groups)?;
        let axes = plain.kernel_size.len();
        Ok(Parameters {
            stride: self.stride.on_each_of(axes),
            padding: self.padding.on_each_of(axes),
            output_padding: self.output_padding.on_each_of(axes),
            dilation: self.dilation.on_each_of(axes),
            padding_mode: self.padding_mode,
            bias,
            offset_groups: self.offset_groups,
            mask,
            ..plain
        })
    }

    /// Compares what the flags say of the tensors with what they are.
    pub fn check(&self, parameters: &Parameters, input_channels: u32) -> Result<()> {
        for (name, wanted, given) in [
            ("--in-channels", self.in_channels, input_channels),
            ("--out-channels", self.out_channels, parameters.out_channels),
        ] {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != given) {
                bail!("{name} is {wanted}; the tensors have {given}");
            }
        }
        let given = &parameters.kernel_size;
        let wanted = self.kernel_size.as_ref().map(|wanted| wanted.on_each_of(given.len()));
        if let Some(wanted) = wanted.filter(|wanted| wanted != given) {
            bail!("--kernel-size is {}; the weight has {}", shape_text(&wanted), shape_text(given));
        }
        Ok(())
    }
}

/// Whole numbers with commas in between.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbers(Vec<u32>);

impl Numbers {
    /// One number counts for every axis.
    fn on_each_of(&self, axes: usize) -> Vec<u32> {
        match self.0[..] {
            [all] => vec![all; axes],
            _ => self.0.clone(),
        }
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let part = part.trim();
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| part.parse().ok()).flatten();
            number.ok_or_else(|| format!("{part:?} is not a whole number from 0 to {}", u32::MAX))
        };
        text.split(',').map(number).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PaddingArg {
    Named(AnyPadding),
    Amounts(Numbers),
}

impl PaddingArg {
    fn on_each_of(&self, axes: usize) -> AnyPadding {
        match self {
            Self::Named(named) => named.clone(),
            Self::Amounts(Numbers(sides)) if sides.len() == 2 * axes => {
                AnyPadding::Explicit(sides.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
            }
            Self::Amounts(numbers) => {
                AnyPadding::Explicit(numbers.on_each_of(axes).into_iter().map(|both| [both, both]).collect())
            }
        }
    }
}

impl FromStr for PaddingArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self::Named(match text {
            "same" => AnyPadding::Same,
            "same-lower" => AnyPadding::SameLower,
            "valid" => AnyPadding::Valid,
            _ => {
                let amounts = text.parse().map_err(|error| format!("{error}, nor is it same, same-lower or valid"))?;
                return Ok(Self::Amounts(amounts));
            }
        }))
    }
}

/// PyTorch's name of a padding mode.
pub fn parse_mode(text: &str) -> Result<PaddingMode, String> {
    PaddingMode::from_name(text).ok_or_else(|| {
        let known: Vec<&str> = PaddingMode::ALL.iter().map(|mode| mode.name()).collect();
        format!("known are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        let numbers = |text: &str, axes| text.parse::<Numbers>().unwrap().on_each_of(axes);
        assert_eq!(numbers("2", 2), [2, 2]);
        assert_eq!(numbers("2,1", 2), [2, 1]);
        assert_eq!(numbers("2, 1, 3", 3), [2, 1, 3]);
        assert_eq!(parse_mode("circular").unwrap(), PaddingMode::Circular);
        for bad in ["", "1,", "-1", "+1", "1.5", "x", "99999999999"] {
            assert!(bad.parse::<Numbers>().is_err() && bad.parse::<PaddingArg>().is_err(), "{bad:?}");
        }
        assert!(parse_mode("mirror").unwrap_err().contains("reflect"));
    }

    #[test]
    fn padding_is_for_all_axes_or_each_of_them_or_both_sides() {
        let padding = |text: &str, axes| text.parse::<PaddingArg>().unwrap().on_each_of(axes);
        let explicit = |sides: &[[u32; 2]]| AnyPadding::Explicit(sides.to_vec());
        assert_eq!(padding("3", 2), explicit(&[[3, 3], [3, 3]]));
        assert_eq!(padding("3,1", 2), explicit(&[[3, 3], [1, 1]]));
        assert_eq!(padding("0,1,2,3", 2), explicit(&[[0, 1], [2, 3]]));
        assert_eq!(padding("3,1", 1), explicit(&[[3, 1]]));
        assert_eq!(padding("4", 1), explicit(&[[4, 4]]));
        assert_eq!(padding("1,2,3", 3), explicit(&[[1, 1], [2, 2], [3, 3]]));
        assert_eq!(padding("1,2,3,4,5,6", 3), explicit(&[[1, 2], [3, 4], [5, 6]]));
        assert_eq!(padding("same-lower", 3), AnyPadding::SameLower);
        // No number of axes has these; the library says what it needs.
        assert_eq!(padding("1,2,3", 2), explicit(&[[1, 1], [2, 2], [3, 3]]));
    }

    #[test]
    fn a_weight_is_read_as_the_kind_of_convolution_has_it() {
        let args = |flags: &[&str]| {
            let command = ConvArgs::augment_args(clap::Command::new("test"));
            let matches = command.get_matches_from(["test", "--groups", "2"].iter().chain(flags));
            <ConvArgs as clap::FromArgMatches>::from_arg_matches(&matches).unwrap()
        };
        let forward = args(&[]).parameters(&[6, 4, 3], true, false).unwrap();
        assert_eq!((forward.op, forward.in_channels, forward.out_channels), (Op::Conv, 8, 6));
        let transposed =
            args(&["--transposed", "--output-padding", "1"]).parameters(&[6, 4, 3, 5], false, false).unwrap();
        assert_eq!((transposed.op, transposed.in_channels, transposed.out_channels), (Op::ConvTranspose, 6, 8));
        assert_eq!((&transposed.output_padding[..], &transposed.kernel_size[..]), (&[1, 1][..], &[3, 5][..]));
        let deformable = args(&["--deform", "--offset-groups", "4"]).parameters(&[6, 4, 3, 5], false, true).unwrap();
        assert_eq!((deformable.op, deformable.in_channels, deformable.out_channels), (Op::DeformConv, 8, 6));
        assert_eq!((deformable.offset_groups, deformable.mask), (4, true));
    }
}
