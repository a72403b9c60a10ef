//! From the numbers of a case, as a file gives them, to a [`Problem`]. Numbers may be anything: negative, of the wrong
//! count, not even numbers.

use serde_json::{Map, Value, json};
use wgpu_conv::{Activation, Conv2d, Epilogue, Error, Padding, PaddingMode, Problem, Result};

/// The shapes that a case gives, as JSON lists.
pub(super) struct Shapes {
    pub input: Value,
    pub weight: Value,
    pub bias: Option<Value>,
    pub residual: Option<Value>,
}

/// A case as a problem.
pub(super) struct Described {
    pub problem: Problem,
    /// For PReLU.
    pub slopes: Option<Vec<f32>>,
}

/// The activation of a case.
pub(super) enum Wanted {
    /// With the slopes of PReLU: one for all channels, or a list.
    Known(Activation, Option<Value>),
    /// One that this library does not have.
    Unsupported(String),
}

/// Most output channels for which one PReLU slope is repeated.
const MOST_REPEATED: u32 = 1 << 24;
const SIZE: &str = "a whole number from 0 to 4294967295";

/// Makes a problem of a case. `dimensions` is 1 or 2; a row of one dimension becomes an image with one row.
pub(super) fn describe(
    case: &Map<String, Value>,
    dimensions: usize,
    shapes: &Shapes,
    activation: (Activation, Option<Value>),
) -> Result<Described> {
    let field = |name: &str| case.get(name).unwrap_or(&Value::Null);
    let [batch, channels, height, width] = shape("input", &shapes.input, dimensions)?;
    let weight_shape = shape("weight", &shapes.weight, dimensions)?;
    let groups = number("groups", field("groups"))?;
    let [top, left] = per_axis("padding", field("padding_begin"), dimensions, 0)?;
    let [bottom, right] = per_axis("padding", field("padding_end"), dimensions, 0)?;
    let conv = Conv2d::from_weight_shape(weight_shape, groups)?
        .stride(per_axis("stride", field("stride"), dimensions, 1)?)
        .dilation(per_axis("dilation", field("dilation"), dimensions, 1)?)
        .padding(Padding::sides(top, bottom, left, right))
        .padding_mode(case.get("padding_mode").map_or(Ok(PaddingMode::Zeros), padding_mode)?)
        .bias(shapes.bias.is_some());
    let (activation, slopes) = activation;
    let problem = Problem::new(&conv, [batch, channels, height, width])?
        .with_epilogue(Epilogue { residual: shapes.residual.is_some(), activation })?;
    if let Some(bias) = &shapes.bias {
        same_shape("bias", bias, &[conv.out_channels])?;
    }
    if let Some(residual) = &shapes.residual {
        same_shape("residual", residual, &output_shape(&problem, dimensions))?;
    }
    let slopes = slopes.map(|slopes| per_channel(&slopes, conv.out_channels)).transpose()?;
    Ok(Described { problem, slopes })
}

/// The output's shape in as many dimensions as the case has.
pub(super) fn output_shape(problem: &Problem, dimensions: usize) -> Vec<u32> {
    let mut shape = problem.output_shape().to_vec();
    if dimensions == 1 {
        shape.remove(2);
    }
    shape
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
pub(super) fn activation(value: &Value) -> Result<Wanted> {
    let bad = |required: &str| Error::Parameter {
        parameter: "activation",
        actual: value.to_string(),
        required: required.into(),
    };
    if value.is_null() {
        return Ok(Wanted::Known(Activation::Identity, None));
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
            if nested || value.get("alpha_layout").and_then(Value::as_str) == Some("CHW") {
                return Ok(Wanted::Unsupported("prelu with a slope for each element".into()));
            }
            return Ok(Wanted::Known(Activation::Prelu, Some(alpha.clone())));
        }
        "hardsigmoid" => return Ok(Wanted::Unsupported(name.into())),
        _ => {
            return Err(bad("relu, relu6, clip, leakyrelu, prelu, sigmoid, tanh, elu, hardsigmoid or silu"));
        }
    };
    Ok(Wanted::Known(known, None))
}

/// PReLU slopes: a number for all channels, or a list with one for each.
fn per_channel(alpha: &Value, channels: u32) -> Result<Vec<f32>> {
    let bad = |alpha: &Value| Error::Parameter {
        parameter: "activation",
        actual: format!("prelu with alpha {alpha}"),
        required: "given with a finite number, or a list of one for each output channel".into(),
    };
    let slope = |alpha: &Value| {
        let number = alpha.as_f64().map(|number| number as f32);
        number.filter(|number| number.is_finite()).ok_or_else(|| bad(alpha))
    };
    let Some(list) = alpha.as_array() else {
        // A file of a few bytes must not ask for gigabytes.
        if channels > MOST_REPEATED {
            let factors = format!("{channels} output channels");
            return Err(Error::TooLarge { what: "one slope repeated", factors, limit: MOST_REPEATED.to_string() });
        }
        return Ok(vec![slope(alpha)?; channels as usize]);
    };
    if list.len() as u64 != u64::from(channels) {
        return Err(Error::Length { name: "slopes", required: channels.into(), actual: list.len() as u64 });
    }
    list.iter().map(slope).collect()
}

fn padding_mode(value: &Value) -> Result<PaddingMode> {
    value.as_str().and_then(PaddingMode::from_name).ok_or_else(|| Error::Parameter {
        parameter: "padding_mode",
        actual: value.to_string(),
        required: "zeros, reflect, replicate or circular".into(),
    })
}

/// (N, channels, rows, columns) of a tensor of 2 + `dimensions` sizes.
fn shape(tensor: &'static str, value: &Value, dimensions: usize) -> Result<[u32; 4]> {
    let sizes: Option<Vec<u32>> =
        value.as_array().and_then(|sizes| sizes.iter().map(|size| u32::try_from(size.as_u64()?).ok()).collect());
    match (dimensions, sizes.as_deref()) {
        (1, Some(&[outer, channels, columns])) => Ok([outer, channels, 1, columns]),
        (2, Some(&[outer, channels, rows, columns])) => Ok([outer, channels, rows, columns]),
        _ => Err(Error::Shape {
            tensor,
            actual: value.to_string(),
            required: format!("{} sizes, each {SIZE}", 2 + dimensions),
        }),
    }
}

/// A list with one number for each spatial axis; `rows` is what an axis has that the case does not.
fn per_axis(parameter: &'static str, value: &Value, dimensions: usize, rows: u32) -> Result<[u32; 2]> {
    let list = value.as_array().filter(|list| list.len() == dimensions).ok_or_else(|| Error::Parameter {
        parameter,
        actual: value.to_string(),
        required: format!("a list of {dimensions}, one for each spatial axis"),
    })?;
    match list.as_slice() {
        [columns] => Ok([rows, number(parameter, columns)?]),
        [rows, columns] => Ok([number(parameter, rows)?, number(parameter, columns)?]),
        _ => Err(Error::Internal(format!("{dimensions} spatial axes"))),
    }
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
        Shapes { input: json!([2, 4, 9, 8]), weight: json!([6, 2, 3, 3]), bias: Some(json!([6])), residual: None }
    }

    fn described(case: &Map<String, Value>, shapes: &Shapes, dimensions: usize) -> Result<String> {
        describe(case, dimensions, shapes, (Activation::Relu, None)).map(|described| described.problem.to_string())
    }

    #[test]
    fn every_number_reaches_its_place() {
        assert_eq!(described(&case(), &shapes(), 2).unwrap(), "n2c4h9w8o6k3s2x1p1,0,0,2d1x2g2:reflect+relu");
    }

    #[test]
    fn a_row_is_an_image_with_one_row() {
        let case = json!({"stride": [2], "padding_begin": [3], "padding_end": [1], "dilation": [2], "groups": 1,
            "padding_mode": "zeros"});
        let shapes =
            Shapes { input: json!([2, 4, 9]), weight: json!([6, 4, 3]), bias: None, residual: Some(json!([2, 6, 5])) };
        assert_eq!(
            described(case.as_object().unwrap(), &shapes, 1).unwrap(),
            "n2c4h1w9o6k1x3s1x2p0,0,3,1d1x2:nobias+residual+relu"
        );
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
            ("groups", json!([1])),
            ("groups", json!(1e30)),
            ("padding_mode", json!("mirror")),
            ("padding_mode", json!(3)),
        ] {
            let mut case = case();
            case.insert(field.into(), value.clone());
            let error = described(&case, &shapes(), 2).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{field} {value}: {error:?}");
        }
        for (name, input, weight, bias) in [
            ("input", json!([4, 8]), json!([6, 2, 3, 3]), json!([6])),
            ("input", json!([1, -4, 8, 8]), json!([6, 2, 3, 3]), json!([6])),
            ("weight", json!([1, 4, 8, 8]), json!([6, 2, 3]), json!([6])),
            ("bias", json!([1, 4, 9, 8]), json!([6, 2, 3, 3]), json!([5])),
            ("bias", json!([1, 4, 9, 8]), json!([6, 2, 3, 3]), json!([6, 1])),
        ] {
            let error = described(&case(), &Shapes { input, weight, bias: Some(bias), residual: None }, 2).unwrap_err();
            assert!(matches!(error, Error::Shape { tensor, .. } if tensor == name), "{name}: {error:?}");
        }
    }

    #[test]
    fn activations_are_read() {
        let known = |value: Value| match activation(&value).unwrap() {
            Wanted::Known(activation, slopes) => (activation.to_string(), slopes),
            Wanted::Unsupported(name) => panic!("{name} is unsupported"),
        };
        assert_eq!(known(json!(null)).0, "identity");
        assert_eq!(known(json!({"type": "relu6"})).0, "clip=0,6");
        assert_eq!(known(json!({"type": "clip", "min": -1, "max": null})).0, "clip=-1,inf");
        assert_eq!(known(json!({"type": "leakyrelu", "alpha": 0.5})).0, "leaky_relu=0.5");
        assert_eq!(known(json!({"type": "elu", "alpha": 2})).0, "elu=2");
        let (name, slopes) = known(json!({"type": "prelu", "alpha": [0.5, 2]}));
        assert_eq!((name.as_str(), per_channel(&slopes.unwrap(), 2).unwrap()), ("prelu", vec![0.5, 2.0]));
        assert_eq!(per_channel(&json!(0.25), 3).unwrap(), [0.25; 3]);
        for unsupported in [
            json!({"type": "hardsigmoid", "alpha": 0.2, "beta": 0.5}),
            json!({"type": "prelu", "alpha": [[[1.0]]], "alpha_layout": "CHW"}),
        ] {
            assert!(matches!(activation(&unsupported), Ok(Wanted::Unsupported(_))), "{unsupported}");
        }
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
        assert!(per_channel(&json!([1.0, 2.0]), 3).is_err() && per_channel(&json!([1.0, null]), 2).is_err());
        assert!(matches!(per_channel(&json!(1.0), u32::MAX), Err(Error::TooLarge { .. })));
    }
}
