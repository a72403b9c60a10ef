//! From the numbers of a case, as a file gives them, to a [`Problem`]. Numbers may be anything: negative, of the wrong
//! count, not even numbers.

use serde_json::{Map, Value, json};
use wgpu_conv::{Activation, AnyPadding, DType, Epilogue, Error, Op, PaddingMode, Parameters, Problem, Result};

/// The shapes that a case gives, as JSON lists.
#[derive(Default)]
pub(super) struct Shapes {
    pub input: Value,
    pub weight: Value,
    pub bias: Option<Value>,
    pub residual: Option<Value>,
    /// Of a deformable convolution.
    pub offset: Option<Value>,
    pub mask: Option<Value>,
}

/// What kind of convolution a case is, over how many spatial axes, of what: of integers the type of the input, and the problem
/// is told of them later.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub op: Op,
    pub dimensions: usize,
    pub dtype: DType,
}

/// A case as a problem.
pub(super) struct Described {
    pub problem: Problem,
    /// For PReLU.
    pub slopes: Option<Vec<f32>>,
}

/// The activation of a case, for PReLU with its slopes as they are given.
pub(super) type Given = (Activation, Option<Value>);

/// Most PReLU slopes of a case.
const MOST_REPEATED: u64 = 1 << 24;
const SIZE: &str = "a whole number from 0 to 4294967295";

/// Makes a problem of a case. What the library does not check is checked here: that the case has as many spatial axes as it
/// says (`dimensions`), and what goes with it.
pub(super) fn describe(
    case: &Map<String, Value>,
    Kind { op, dimensions, dtype }: Kind,
    shapes: &Shapes,
    activation: Given,
) -> Result<Described> {
    let field = |name: &str| case.get(name).unwrap_or(&Value::Null);
    let weight_shape = sizes("weight", &shapes.weight)?;
    if weight_shape.len() != 2 + dimensions {
        let required = format!("{} sizes, as a convolution over {dimensions} spatial axes has", 2 + dimensions);
        return Err(Error::Shape { tensor: "weight", actual: shapes.weight.to_string(), required });
    }
    let parameters = Parameters {
        stride: numbers("stride", field("stride"))?,
        dilation: numbers("dilation", field("dilation"))?,
        padding: AnyPadding::Explicit(sides(field("padding_begin"), field("padding_end"))?),
        output_padding: match field("output_padding") {
            Value::Null => vec![0; dimensions],
            given => numbers("output_padding", given)?,
        },
        padding_mode: case.get("padding_mode").map_or(Ok(PaddingMode::Zeros), padding_mode)?,
        bias: shapes.bias.is_some(),
        offset_groups: match field("offset_group") {
            Value::Null => 1,
            given => number("offset_groups", given)?,
        },
        mask: shapes.mask.is_some(),
        ..Parameters::from_weight_shape(op, &weight_shape, number("groups", field("groups"))?)?
    };
    let (activation, alpha) = activation;
    let problem = Problem::from_parameters(&parameters, &sizes("input", &shapes.input)?)?
        .with_epilogue(Epilogue { residual: shapes.residual.is_some(), activation })?
        .with_dtype(if dtype.is_float() { dtype } else { DType::F32 })?;
    if let Some(bias) = &shapes.bias {
        same_shape("bias", bias, &[problem.out_channels()])?;
    }
    if let Some(residual) = &shapes.residual {
        same_shape("residual", residual, &problem.output_shape())?;
    }
    for (name, given, required) in
        [("offset", &shapes.offset, problem.offset_shape()), ("mask", &shapes.mask, problem.mask_shape())]
    {
        match (given, required) {
            (Some(given), Some(required)) => same_shape(name, given, &required)?,
            (None, Some(_)) => return Err(Error::Missing { name, reason: "the convolution is deformable".into() }),
            (Some(_), None) => {
                return Err(Error::Unexpected { name, reason: "the convolution is not deformable".into() });
            }
            (None, None) => {}
        }
    }
    let output = problem.output_shape();
    let shape = if activation == Activation::PreluEach { &output[1..] } else { &output[1..2] };
    let slopes = alpha.map(|alpha| slopes(&alpha, shape)).transpose()?;
    Ok(Described { problem, slopes })
}

/// Checks a shape against the one that is needed.
pub(super) fn same_shape(tensor: &'static str, actual: &Value, required: &[u32]) -> Result<()> {
    let required = json!(required);
    if *actual != required {
        return Err(Error::Shape { tensor, actual: actual.to_string(), required: required.to_string() });
    }
    Ok(())
}

/// Reads an activation: null, or an object with a type and its numbers.
pub(super) fn activation(value: &Value) -> Result<Given> {
    let bad = |required: &str| Error::Parameter {
        parameter: "activation",
        actual: value.to_string(),
        required: required.into(),
    };
    if value.is_null() {
        return Ok((Activation::Identity, None));
    }
    let name = value.get("type").and_then(Value::as_str).ok_or_else(|| bad("null or an object with a type"))?;
    let finite = |name: &str| {
        let number = value.get(name).and_then(Value::as_f64).map(|number| number as f32);
        number.filter(|number| number.is_finite()).ok_or_else(|| bad(&format!("given with a finite number {name}")))
    };
    // A clip may have one end only.
    let end =
        |name: &str, absent: f32| if value.get(name).is_none_or(Value::is_null) { Ok(absent) } else { finite(name) };
    let known = match name {
        "relu" => Activation::Relu,
        "relu6" => Activation::RELU6,
        "clip" => Activation::Clip { min: end("min", f32::NEG_INFINITY)?, max: end("max", f32::INFINITY)? },
        "leakyrelu" => Activation::LeakyRelu { slope: finite("alpha")? },
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "elu" => Activation::Elu { alpha: finite("alpha")? },
        "silu" => Activation::Silu,
        "prelu" => {
            let alpha = value.get("alpha").unwrap_or(&Value::Null);
            let nested = alpha.as_array().is_some_and(|list| list.iter().any(Value::is_array));
            let each = nested || value.get("alpha_layout").and_then(Value::as_str) == Some("CHW");
            let kind = if each { Activation::PreluEach } else { Activation::Prelu };
            return Ok((kind, Some(alpha.clone())));
        }
        "hardsigmoid" => Activation::HardSigmoid { alpha: finite("alpha")?, beta: finite("beta")? },
        _ => {
            return Err(bad("relu, relu6, clip, leakyrelu, prelu, sigmoid, tanh, elu, hardsigmoid or silu"));
        }
    };
    Ok((known, None))
}

/// PReLU slopes for a shape: one number for all, or a list with one entry (a number, or again a list) for each element along
/// the first axis, or a single one for all of them.
fn slopes(alpha: &Value, shape: &[u32]) -> Result<Vec<f32>> {
    let count = shape.iter().fold(1_u64, |count, &size| count.saturating_mul(size.into()));
    // A file of a few bytes must not ask for gigabytes.
    if count > MOST_REPEATED {
        let factors = format!("{count} outputs of one image");
        return Err(Error::TooLarge { what: "slopes", factors, limit: MOST_REPEATED.to_string() });
    }
    let Some(list) = alpha.as_array() else {
        let number = alpha.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
        let number = number.ok_or_else(|| Error::Parameter {
            parameter: "activation",
            actual: format!("prelu with alpha {alpha}"),
            required: "given with a finite number, or lists of them for channels (rows, columns)".into(),
        })?;
        return Ok(vec![number; count as usize]);
    };
    let (&size, inner) = shape.split_first().ok_or_else(|| Error::Parameter {
        parameter: "activation",
        actual: format!("prelu with alpha {alpha}"),
        required: "a number where the lists end".into(),
    })?;
    match list.as_slice() {
        [one] => Ok(vec![slopes(one, inner)?; size as usize].concat()),
        each if each.len() as u64 == u64::from(size) => {
            Ok(each.iter().map(|alpha| slopes(alpha, inner)).collect::<Result<Vec<_>>>()?.concat())
        }
        _ => Err(Error::Length { name: "slopes", required: size.into(), actual: list.len() as u64 }),
    }
}

fn padding_mode(value: &Value) -> Result<PaddingMode> {
    value.as_str().and_then(PaddingMode::from_name).ok_or_else(|| Error::Parameter {
        parameter: "padding_mode",
        actual: value.to_string(),
        required: "zeros, reflect, replicate or circular".into(),
    })
}

/// The sizes of a tensor, as many as there are.
fn sizes(tensor: &'static str, value: &Value) -> Result<Vec<u32>> {
    let sizes: Option<Vec<u32>> =
        value.as_array().and_then(|sizes| sizes.iter().map(|size| u32::try_from(size.as_u64()?).ok()).collect());
    sizes.ok_or_else(|| Error::Shape {
        tensor,
        actual: value.to_string(),
        required: format!("a list of sizes, each {SIZE}"),
    })
}

/// A list of numbers, as many as there are.
fn numbers(parameter: &'static str, value: &Value) -> Result<Vec<u32>> {
    let list = value.as_array().ok_or_else(|| Error::Parameter {
        parameter,
        actual: value.to_string(),
        required: "a list with one number for each spatial axis".into(),
    })?;
    list.iter().map(|value| number(parameter, value)).collect()
}

/// Padding before and after each axis.
fn sides(begin: &Value, end: &Value) -> Result<Vec<[u32; 2]>> {
    let (before, after) = (numbers("padding", begin)?, numbers("padding", end)?);
    if before.len() != after.len() {
        return Err(Error::Parameter {
            parameter: "padding",
            actual: format!("{begin} at the beginning and {end} at the end"),
            required: "as many numbers at the beginning as at the end".into(),
        });
    }
    Ok(before.into_iter().zip(after).map(|(before, after)| [before, after]).collect())
}

fn number(parameter: &'static str, value: &Value) -> Result<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).ok_or_else(|| Error::Parameter {
        parameter,
        actual: value.to_string(),
        required: SIZE.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Map<String, Value> {
        let case = json!({"stride": [2, 1], "padding_begin": [1, 0], "padding_end": [0, 2], "dilation": [1, 2],
            "groups": 2, "padding_mode": "reflect"});
        case.as_object().unwrap().clone()
    }

    fn shapes() -> Shapes {
        Shapes { input: json!([2, 4, 9, 8]), weight: json!([6, 2, 3, 3]), bias: Some(json!([6])), ..Shapes::default() }
    }

    fn described(case: &Map<String, Value>, op: Op, shapes: &Shapes, dimensions: usize) -> Result<String> {
        describe(case, Kind { op, dimensions, dtype: DType::F32 }, shapes, (Activation::Relu, None))
            .map(|described| described.problem.to_string())
    }

    #[test]
    fn every_number_reaches_its_place() {
        assert_eq!(described(&case(), Op::Conv, &shapes(), 2).unwrap(), "n2c4h9w8o6k3s2x1p1,0,0,2d1x2g2:reflect+relu");
    }

    #[test]
    fn cases_have_their_own_number_of_axes() {
        let row = json!({"stride": [2], "padding_begin": [3], "padding_end": [1], "dilation": [2], "groups": 1});
        let shapes = Shapes {
            input: json!([2, 4, 9]),
            weight: json!([6, 4, 3]),
            residual: Some(json!([2, 6, 5])),
            ..Shapes::default()
        };
        assert_eq!(
            described(row.as_object().unwrap(), Op::Conv, &shapes, 1).unwrap(),
            "n2c4w9o6k3s2p3,1d2:nobias+residual+relu"
        );
        let volume = json!({"stride": [1, 2, 3], "padding_begin": [0, 1, 2], "padding_end": [0, 1, 2],
            "dilation": [3, 2, 1], "groups": 2, "output_padding": [0, 0, 0]});
        let shapes = Shapes { input: json!([1, 4, 5, 6, 7]), weight: json!([6, 2, 1, 3, 2]), ..Shapes::default() };
        assert_eq!(
            described(volume.as_object().unwrap(), Op::Conv, &shapes, 3).unwrap(),
            "n1c4z5h6w7o6k1x3x2s1x2x3p0x1x2d3x2x1g2:nobias+relu"
        );
    }

    /// The weight's first two sizes change places, and what is to be added must have the output's shape.
    #[test]
    fn transposed_cases() {
        let case = json!({"stride": [3, 2], "padding_begin": [0, 1], "padding_end": [1, 1], "dilation": [1, 1],
            "groups": 2, "output_padding": [2, 0], "padding_mode": "zeros"});
        // Rows: (3 - 1) · 3 - 1 + 2 + 2 + 1 = 10; columns: (4 - 1) · 2 - 2 + 2 + 0 + 1 = 7.
        let shapes = |residual: Value| Shapes {
            input: json!([1, 4, 3, 4]),
            weight: json!([4, 3, 3, 3]),
            bias: Some(json!([6])),
            residual: Some(residual),
            ..Shapes::default()
        };
        let described = |shapes| described(case.as_object().unwrap(), Op::ConvTranspose, &shapes, 2);
        assert_eq!(
            described(shapes(json!([1, 6, 10, 7]))).unwrap(),
            "n1c4h3w4o6k3s3x2p0,1,1,1g2:transposed=2x0+residual+relu"
        );
        let error = described(shapes(json!([1, 6, 10, 8]))).unwrap_err();
        assert!(matches!(error, Error::Shape { tensor: "residual", .. }), "{error:?}");
    }

    #[test]
    fn deformable_cases() {
        let mut case = json!({"stride": [1, 1], "padding_begin": [1, 1], "padding_end": [1, 1], "dilation": [1, 1],
            "groups": 1, "offset_group": 2})
        .as_object()
        .unwrap()
        .clone();
        let shapes = |offset: Value, mask: Value| Shapes {
            input: json!([1, 4, 5, 6]),
            weight: json!([3, 4, 3, 3]),
            offset: Some(offset).filter(|offset| !offset.is_null()),
            mask: Some(mask).filter(|mask| !mask.is_null()),
            ..Shapes::default()
        };
        let (offset, mask) = (json!([1, 36, 5, 6]), json!([1, 18, 5, 6]));
        let with_both = described(&case, Op::DeformConv, &shapes(offset.clone(), mask.clone()), 2).unwrap();
        assert_eq!(with_both, "n1c4h5w6o3k3p1:deform:offset_groups=2:mask:nobias+relu");
        assert!(described(&case, Op::DeformConv, &shapes(offset.clone(), json!(null)), 2).is_ok());
        let error = |op, case: &Map<String, Value>, shapes: Shapes| described(case, op, &shapes, 2).unwrap_err();
        let short = error(Op::DeformConv, &case, shapes(json!([1, 18, 5, 6]), mask.clone()));
        assert!(matches!(short, Error::Shape { tensor: "offset", .. }), "{short:?}");
        let short = error(Op::DeformConv, &case, shapes(offset.clone(), json!([1, 18, 5, 5])));
        assert!(matches!(short, Error::Shape { tensor: "mask", .. }), "{short:?}");
        let missing = error(Op::DeformConv, &case, shapes(json!(null), mask.clone()));
        assert!(matches!(missing, Error::Missing { name: "offset", .. }), "{missing:?}");
        case.insert("offset_group".into(), json!(3));
        let uneven = error(Op::DeformConv, &case, shapes(offset.clone(), mask));
        assert!(uneven.to_string().contains("offset_groups is 3"), "{uneven}");
        case.insert("offset_group".into(), json!(1));
        let unexpected = error(Op::Conv, &case, shapes(offset, json!(null)));
        assert!(matches!(unexpected, Error::Unexpected { name: "offset", .. }), "{unexpected:?}");
    }

    #[test]
    fn numbers_that_are_none_are_typed_errors() {
        for (field, value) in [
            ("stride", json!([-1, 1])),
            ("stride", json!([1, 1, 1])),
            ("stride", json!(2)),
            ("stride", json!(null)),
            ("dilation", json!([1.5, 1])),
            ("dilation", json!(["1", 1])),
            ("padding_begin", json!([0, 4_294_967_296_u64])),
            ("padding_end", json!([])),
            ("padding_end", json!([0, 2, 0])),
            ("output_padding", json!([0])),
            ("output_padding", json!([0, -1])),
            ("output_padding", json!([0, 1])),
            ("groups", json!([1])),
            ("groups", json!(1e30)),
            ("padding_mode", json!("mirror")),
            ("padding_mode", json!(3)),
        ] {
            let mut case = case();
            case.insert(field.into(), value.clone());
            let error = described(&case, Op::Conv, &shapes(), 2).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{field} {value}: {error:?}");
        }
        for (name, input, weight, bias) in [
            ("input", json!([4, 8]), json!([6, 2, 3, 3]), json!([6])),
            ("input", json!([1, -4, 8, 8]), json!([6, 2, 3, 3]), json!([6])),
            ("input", json!([1, 4, 8]), json!([6, 2, 3, 3]), json!([6])),
            ("weight", json!([1, 4, 8]), json!([6, 2, 3]), json!([6])),
            ("weight", json!([1, 4, 8, 8, 8]), json!([6, 2, 3, 3, 3]), json!([6])),
            ("weight", json!([1, 4, 8, 8]), json!([6, 2, 3]), json!([6])),
            ("bias", json!([1, 4, 9, 8]), json!([6, 2, 3, 3]), json!([5])),
            ("bias", json!([1, 4, 9, 8]), json!([6, 2, 3, 3]), json!([6, 1])),
        ] {
            let shapes = Shapes { input, weight, bias: Some(bias), ..Shapes::default() };
            let error = described(&case(), Op::Conv, &shapes, 2).unwrap_err();
            assert!(matches!(error, Error::Shape { tensor, .. } if tensor == name), "{name}: {error:?}");
        }
    }

    #[test]
    fn activations_are_read() {
        let known = |value: Value| {
            let (activation, alpha) = activation(&value).unwrap();
            (activation.to_string(), alpha)
        };
        assert_eq!(known(json!(null)).0, "identity");
        assert_eq!(known(json!({"type": "relu6"})).0, "clip=0,6");
        assert_eq!(known(json!({"type": "clip", "min": -1, "max": null})).0, "clip=-1,inf");
        assert_eq!(known(json!({"type": "leakyrelu", "alpha": 0.5})).0, "leaky_relu=0.5");
        assert_eq!(known(json!({"type": "elu", "alpha": 2})).0, "elu=2");
        assert_eq!(known(json!({"type": "hardsigmoid", "alpha": 0.5, "beta": 0.25})).0, "hard_sigmoid=0.5,0.25");
        let (name, alpha) = known(json!({"type": "prelu", "alpha": [0.5, 2]}));
        assert_eq!((name.as_str(), slopes(&alpha.unwrap(), &[2]).unwrap()), ("prelu", vec![0.5, 2.0]));
        assert_eq!(slopes(&json!(0.25), &[3]).unwrap(), [0.25; 3]);
        let (name, alpha) = known(json!({"type": "prelu", "alpha": [[[1, 2]], [[3, 4]]], "alpha_layout": "CHW"}));
        assert_eq!(name, "prelu_each");
        assert_eq!(slopes(&alpha.unwrap(), &[2, 2, 2]).unwrap(), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
    }

    #[test]
    fn bad_activations_are_typed_errors() {
        for value in [
            json!("relu"),
            json!({"type": "softmax"}),
            json!({"type": "elu"}),
            json!({"type": "leakyrelu", "alpha": "much"}),
            json!({"type": "leakyrelu", "alpha": 1e300}),
        ] {
            assert!(matches!(activation(&value), Err(Error::Parameter { .. })), "{value}");
        }
        assert!(slopes(&json!([1.0, 2.0]), &[3]).is_err() && slopes(&json!([1.0, null]), &[2]).is_err());
        assert!(slopes(&json!([[1.0], [2.0]]), &[2]).is_err());
        assert!(matches!(slopes(&json!(1.0), &[u32::MAX, u32::MAX, u32::MAX]), Err(Error::TooLarge { .. })));
    }
}
