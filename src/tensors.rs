//! [`Tensors`]: the numbers of one convolution on the host.

use crate::error::{Error, Result};
use crate::integers::Quantization;
use crate::parameters::Op;
use crate::problem::Problem;

/// Host data of one convolution, each slice row-major (see [`Problem`] for the shapes).
#[derive(Debug, Clone, Copy, Default)]
pub struct Tensors<'a> {
    /// (N, C_in, H, W).
    pub input: &'a [f32],
    /// (C_out, C_in / groups, KH, KW).
    pub weight: &'a [f32],
    /// (C_out); required exactly if the convolution has a bias.
    pub bias: Option<&'a [f32]>,
    /// (N, C_out, OH, OW); required exactly if the epilogue adds a residual.
    pub residual: Option<&'a [f32]>,
    /// (C_out), one slope per output channel, or one for each element of an output image; required exactly if the activation
    /// is PReLU.
    pub slopes: Option<&'a [f32]>,
    /// What integers stand for; required exactly if the tensors are integers, which also have their bias there.
    pub quantization: Option<Quantization<'a>>,
    /// (N, offset_groups · 2 · KH · KW, OH, OW); required exactly if the convolution is deformable.
    pub offset: Option<&'a [f32]>,
    /// (N, offset_groups · KH · KW, OH, OW); required exactly if the convolution has a mask.
    pub mask: Option<&'a [f32]>,
}

impl<'a> Tensors<'a> {
    /// An input and a weight; the rest absent.
    pub fn new(input: &'a [f32], weight: &'a [f32]) -> Self {
        Self { input, weight, ..Self::default() }
    }

    /// Sets the bias.
    #[must_use]
    pub fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// Sets the residual.
    #[must_use]
    pub fn residual(self, residual: &'a [f32]) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// Sets the PReLU slopes.
    #[must_use]
    pub fn slopes(self, slopes: &'a [f32]) -> Self {
        Self { slopes: Some(slopes), ..self }
    }

    /// Sets what integers stand for.
    #[must_use]
    pub fn quantization(self, quantization: Quantization<'a>) -> Self {
        Self { quantization: Some(quantization), ..self }
    }

    /// Sets the offsets of a deformable convolution.
    #[must_use]
    pub fn offset(self, offset: &'a [f32]) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// Sets the mask of a deformable convolution.
    #[must_use]
    pub fn mask(self, mask: &'a [f32]) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// Checks that everything that `problem` needs is there, in the right length, and nothing else.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Missing`] or [`Error::Unexpected`].
    pub fn check(&self, problem: &Problem) -> Result<()> {
        let channels = u64::from(problem.out_channels());
        let needs = Needs::of(problem);
        check_length("input", problem.input_len(), self.input.len() as u64)?;
        check_length("weight", problem.weight_len(), self.weight.len() as u64)?;
        for (name, required, needed, given) in [
            ("bias", channels, needs.bias, self.bias),
            ("residual", problem.output_len(), needs.residual, self.residual),
            ("slopes", needs.slopes.unwrap_or(0), needs.slopes.is_some(), self.slopes),
            ("offset", problem.offset_len(), needs.offset, self.offset),
            ("mask", problem.mask_len(), needs.mask, self.mask),
        ] {
            check_presence(name, needed, given.is_some())?;
            if let Some(given) = given {
                check_length(name, required, given.len() as u64)?;
            }
        }
        check_quantization(problem, self.quantization.as_ref())
    }
}

/// Which optional tensors a problem needs: the one owner of that rule.
pub(crate) struct Needs {
    pub bias: bool,
    pub residual: bool,
    /// How many.
    pub slopes: Option<u64>,
    pub offset: bool,
    pub mask: bool,
}

impl Needs {
    pub fn of(problem: &Problem) -> Self {
        Self {
            // That of integers is a part of what they stand for.
            bias: problem.bias() && problem.integers().is_none(),
            residual: problem.epilogue().residual,
            slopes: problem.slopes_len(),
            offset: problem.op() == Op::DeformConv,
            mask: problem.mask(),
        }
    }
}

/// What integers stand for must be known, and fit; floats stand for themselves.
pub(crate) fn check_quantization(problem: &Problem, given: Option<&Quantization<'_>>) -> Result<()> {
    check_presence("quantization", problem.integers().is_some(), given.is_some())?;
    given.map_or(Ok(()), |given| given.check(problem))
}

/// Compares the length of some data with what is required.
pub(crate) fn check_length(name: &'static str, required: u64, actual: u64) -> Result<()> {
    if required != actual {
        return Err(Error::Length { name, required, actual });
    }
    Ok(())
}

/// An optional tensor must be there exactly if it is needed.
pub(crate) fn check_presence(name: &'static str, needed: bool, given: bool) -> Result<()> {
    let reason = match name {
        "bias" => [
            "the convolution has bias = true",
            "the convolution has bias = false, or integers, whose bias is a part of their quantization",
        ],
        "quantization" => ["the tensors are integers", "the tensors are floats"],
        "residual" => ["the epilogue adds a residual", "the epilogue adds no residual"],
        "offset" => ["the convolution is deformable", "the convolution is not deformable"],
        "mask" => ["the convolution has mask = true", "the convolution has mask = false"],
        _ => ["the activation is prelu", "the activation is not prelu"],
    };
    match (needed, given) {
        (true, false) => Err(Error::Missing { name, reason: reason[0].into() }),
        (false, true) => Err(Error::Unexpected { name, reason: reason[1].into() }),
        _ => Ok(()),
    }
}
