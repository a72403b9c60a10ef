//! Reading the files of a suite.

use std::path::Path;

use serde_json::{Map, Value, json};
use wgpu_conv::reference::Reference;
use wgpu_conv::{Activation, DType, Error, Op, Problem};

use super::describe::{self, Described, Given, Kind, Shapes};
use super::integers;
use super::{Content, SuiteCase, SuiteError, TensorCase};
use crate::data::ProblemData;
use crate::report::SkipKind;
use crate::tensor_file::{FileTensor, TensorFile};

pub(super) type Result<T, E = SuiteError> = std::result::Result<T, E>;

/// Most spatial axes of a case.
const MOST_AXES: u64 = 3;

/// Cases with tensors.
pub(super) fn tensors(folder: &Path, json: &str, safetensors: &str) -> Result<Vec<SuiteCase>> {
    let read = TensorFile::read(&folder.join(safetensors));
    let file = read.map_err(|message| SuiteError::File { file: safetensors.into(), message })?;
    cases(folder, json, true, |entry, kind, activation| {
        Ok(Content::Tensors(tensor_case(entry, &file, kind, activation)?.map(Box::new)))
    })
}

/// Cases that must be an error.
pub(super) fn refusals(folder: &Path, json: &str) -> Result<Vec<SuiteCase>> {
    cases(folder, json, true, |entry, kind, activation| {
        if entry.text("expect")? != "error" {
            return Err(entry.error("\"expect\" must be \"error\""));
        }
        entry.geometry(kind.op)?;
        let shapes = Shapes {
            input: entry.value("input_shape")?.clone(),
            weight: entry.value("weight_shape")?.clone(),
            bias: entry.optional("bias_shape").cloned(),
            residual: entry.optional("residual_shape").cloned(),
            offset: entry.optional("offset_shape").cloned(),
            mask: entry.optional("mask_shape").cloned(),
        };
        let described = activation.and_then(|activation| describe::describe(entry.map, kind, &shapes, activation));
        Ok(Content::Refusal(described.map(|described| described.problem)))
    })
}

/// Rows of sizes.
pub(super) fn shapes(folder: &Path, json: &str, max_macs: u64) -> Result<Vec<SuiteCase>> {
    // Rows have no dtype; they are about sizes.
    cases(folder, json, false, |entry, kind, activation| {
        let content = activation.and_then(|activation| shape_content(entry, kind, activation, max_macs));
        Ok(content.unwrap_or_else(|error| Content::Shape(Err(error))))
    })
}

/// The activation with its slopes, or what is wrong with it.
type ActivationResult = Result<Given, Error>;

/// Reads a list of cases; those that are not supported are skipped without looking at the rest of them. Without
/// a dtype of their own they are about float32.
fn cases(
    folder: &Path,
    file: &str,
    has_dtype: bool,
    read: impl Fn(&Entry<'_>, Kind, ActivationResult) -> Result<Content>,
) -> Result<Vec<SuiteCase>> {
    let unreadable = |message: String| SuiteError::File { file: file.into(), message };
    let bytes = std::fs::read(folder.join(file)).map_err(|error| unreadable(error.to_string()))?;
    let values: Vec<Value> =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(format!("not a JSON list of cases: {error}")))?;
    let mut cases = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let position = format!("number {}", index + 1);
        let Some(map) = value.as_object() else {
            return Err(SuiteError::Case { file: file.into(), case: position, message: "not a JSON object".into() });
        };
        let name = Entry { file, name: &position, map }.text("name")?.to_string();
        let entry = Entry { file, name: &name, map };
        let content = entry.content(has_dtype, &read)?;
        cases.push(SuiteCase { file: file.into(), name, content });
    }
    Ok(cases)
}

/// One case in a JSON file.
pub(super) struct Entry<'a> {
    file: &'a str,
    name: &'a str,
    map: &'a Map<String, Value>,
}

impl Entry<'_> {
    pub fn error(&self, message: impl Into<String>) -> SuiteError {
        SuiteError::Case { file: self.file.into(), case: self.name.into(), message: message.into() }
    }

    fn value(&self, field: &str) -> Result<&Value> {
        self.map.get(field).ok_or_else(|| self.error(format!("the field {field:?} is missing")))
    }

    /// A field that may be absent or null.
    fn optional(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub fn text(&self, field: &str) -> Result<&str> {
        let value = self.value(field)?;
        value.as_str().ok_or_else(|| self.error(format!("the field {field:?} must be a text, and is {value}")))
    }

    /// The fields that every convolution has must be there; what they hold is looked at later.
    fn geometry(&self, op: Op) -> Result<()> {
        let all = ["stride", "padding_begin", "padding_end", "dilation", "groups", "padding_mode"];
        all.into_iter()
            .chain((op == Op::ConvTranspose).then_some("output_padding"))
            .try_for_each(|field| self.value(field).map(|_| ()))
    }

    fn content(
        &self,
        has_dtype: bool,
        read: impl Fn(&Self, Kind, ActivationResult) -> Result<Content>,
    ) -> Result<Content> {
        let name = self.text("op")?;
        let op = match name {
            "conv" | "conv_integer" | "qlinear_conv" => Some(Op::Conv),
            "conv_transpose" => Some(Op::ConvTranspose),
            "deform_conv" => Some(Op::DeformConv),
            _ => None,
        };
        let dimensions = self.value("spatial_dims")?;
        let spatial_dims = dimensions.as_u64().filter(|&count| count > 0).ok_or_else(|| {
            self.error(format!("the field \"spatial_dims\" must be a number from 1 on, and is {dimensions}"))
        })?;
        let dtype = if has_dtype { self.text("dtype")? } else { "float32" };
        let known = match dtype {
            "uint8" | "int8" if !matches!(name, "conv_integer" | "qlinear_conv") => None,
            "uint8" => Some(DType::U8),
            "int8" => Some(DType::I8),
            _ if matches!(name, "conv_integer" | "qlinear_conv") => None,
            "float32" => Some(DType::F32),
            "float16" => Some(DType::F16),
            _ => None,
        };
        let skip = |op: String| Ok(Content::Skipped(SkipKind { op, spatial_dims, dtype: dtype.into() }));
        let axes = (1..=MOST_AXES).contains(&spatial_dims);
        let Some((op, known)) = op.zip(known).filter(|_| axes) else {
            return skip(name.into());
        };
        let activation = describe::activation(self.map.get("activation").unwrap_or(&Value::Null));
        read(self, Kind { op, dimensions: spatial_dims as usize, dtype: known }, activation)
    }

    /// The tensor that a field names.
    pub fn tensor<'t>(&self, file: &'t TensorFile, field: &str) -> Result<&'t FileTensor> {
        let key = self.text(field)?;
        file.get(key).ok_or_else(|| self.error(format!("the {field} tensor {key:?} is not in the safetensors file")))
    }

    /// The tensor that a field names, unless that is absent or null.
    pub fn optional_tensor<'t>(&self, file: &'t TensorFile, field: &str) -> Result<Option<&'t FileTensor>> {
        self.optional(field).map(|_| self.tensor(file, field)).transpose()
    }

    fn floats(&self, tensor: &FileTensor, field: &str, dtype: DType) -> Result<Vec<f32>> {
        tensor.to_f32(dtype).ok_or_else(|| {
            self.error(format!("the {field} tensor has dtype {:?}; the case says {dtype}", tensor.dtype))
        })
    }

    /// The bound of each expected value: abs + rel · |expected|.
    fn bounds(&self, expected: &[f64]) -> Result<Vec<f64>> {
        let value = self.value("tolerance")?;
        let part = |name: &str| {
            value.get(name).and_then(Value::as_f64).filter(|part| part.is_finite() && *part >= 0.0).ok_or_else(|| {
                self.error(format!("the tolerance must have a number {name:?} that is not negative, and is {value}"))
            })
        };
        let (abs, rel) = (part("abs")?, part("rel")?);
        Ok(expected.iter().map(|value| abs + rel * value.abs()).collect())
    }
}

fn tensor_case(
    entry: &Entry<'_>,
    file: &TensorFile,
    kind: Kind,
    activation: ActivationResult,
) -> Result<Result<TensorCase, Error>> {
    entry.geometry(kind.op)?;
    let input = entry.tensor(file, "input")?;
    let weight = entry.tensor(file, "weight")?;
    let bias = entry.optional_tensor(file, "bias")?;
    let residual = entry.optional_tensor(file, "residual")?;
    let offset = entry.optional_tensor(file, "offset")?;
    let mask = entry.optional_tensor(file, "mask")?;
    let expected = entry.tensor(file, "expected")?;
    let (values, types) = if kind.dtype.is_float() {
        (expected.to_f64(), "F16, F32 or F64")
    } else {
        (expected.to_i32().map(|values| values.into_iter().map(f64::from).collect()), "I32, I8 or U8")
    };
    let expected_values: Vec<f64> = values.ok_or_else(|| {
        entry.error(format!("the expected tensor has dtype {:?}; it must be {types}", expected.dtype))
    })?;
    let mut bounds = entry.bounds(&expected_values)?;
    // Where a value lies near the middle of two, either will do.
    if entry.optional("near_ties").and_then(Value::as_u64).is_some_and(|count| count > 0) {
        bounds.iter_mut().for_each(|bound| *bound += 1.0);
    }
    let floats =
        |field: &str, tensor: Option<&FileTensor>| tensor.map(|t| entry.floats(t, field, kind.dtype)).transpose();
    let quantized = if kind.dtype.is_float() { None } else { Some(integers::read(entry, file, kind.dtype)?) };
    let weight_dtype = quantized.as_ref().map_or(kind.dtype, |(integers, _)| integers.weight);
    let mut data = ProblemData {
        input: entry.floats(input, "input", kind.dtype)?,
        weight: entry.floats(weight, "weight", weight_dtype)?,
        bias: if quantized.is_some() { None } else { floats("bias", bias)? },
        residual: floats("residual", residual)?,
        slopes: None,
        quantization: quantized.as_ref().map(|(_, data)| data.clone()),
        offset: floats("offset", offset)?,
        mask: floats("mask", mask)?,
        exact: false,
    };
    let shape = |tensor: &FileTensor| json!(tensor.shape);
    let shapes = Shapes {
        input: shape(input),
        weight: shape(weight),
        bias: bias.map(shape),
        residual: residual.map(shape),
        offset: offset.map(shape),
        mask: mask.map(shape),
    };
    let described = activation
        .and_then(|activation| describe::describe(entry.map, kind, &shapes, activation))
        .and_then(|described| match &quantized {
            None => Ok(described),
            Some((integers, data)) => {
                let problem = described.problem.with_integers(*integers)?;
                data.borrowed().check(&problem)?;
                Ok(Described { problem, ..described })
            }
        })
        .and_then(|described| {
            describe::same_shape("expected", &shape(expected), &described.problem.output_shape())?;
            Ok(described)
        });
    Ok(described.map(|Described { problem, slopes }| {
        data.slopes = slopes;
        TensorCase { problem, data, expected: Reference { values: expected_values, bounds } }
    }))
}

/// The problem of a row of sizes, with a batch that keeps it within `max_macs`.
fn shape_content(
    entry: &Entry<'_>,
    kind: Kind,
    activation: (Activation, Option<Value>),
    max_macs: u64,
) -> Result<Content, Error> {
    let field = |name: &str| entry.map.get(name).cloned().unwrap_or(Value::Null);
    let list = |name: &str, head: [Value; 2]| match field(name) {
        Value::Array(sizes) => Value::Array(head.into_iter().chain(sizes).collect()),
        other => other,
    };
    let per_group = |channels: &str| {
        json!(
            field(channels)
                .as_u64()
                .zip(field("groups").as_u64())
                .and_then(|(channels, groups)| channels.checked_div(groups))
                .unwrap_or(0)
        )
    };
    let outer = match kind.op {
        Op::ConvTranspose => [field("cin"), per_group("cout")],
        _ => [field("cout"), per_group("cin")],
    };
    let problem = |batch: Value| -> Result<Problem, Error> {
        let shapes = Shapes {
            input: list("input", [batch, field("cin")]),
            weight: list("kernel", outer.clone()),
            bias: Some(json!([field("cout")])),
            ..Shapes::default()
        };
        Ok(describe::describe(entry.map, kind, &shapes, activation.clone())?.problem)
    };
    let as_given = problem(field("n"))?;
    if as_given.macs() <= max_macs {
        return Ok(Content::Shape(Ok(as_given)));
    }
    // A batch of 0 has no multiply-adds, so there is at least one image.
    let per_image = as_given.macs() / u64::from(as_given.input_shape()[0]);
    if per_image > max_macs {
        let op = format!("{} of more than {max_macs} multiply-adds an image", entry.text("op").unwrap_or_default());
        return Ok(Content::Skipped(SkipKind { op, spatial_dims: kind.dimensions as u64, dtype: "float32".into() }));
    }
    Ok(Content::Shape(Ok(problem(json!(max_macs / per_image))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is loaded from a folder with these files.
    fn load<T>(files: &[(&str, &[u8])], load: impl FnOnce(&Path) -> Result<T>) -> T {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let folder = std::env::temp_dir().join(format!("wgpu-conv-load-{}-{}", std::process::id(), names.join("-")));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let loaded = load(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        loaded.unwrap()
    }

    fn case(name: &str, changes: Value) -> Value {
        let mut case = json!({"name": name, "op": "conv", "spatial_dims": 1, "dtype": "float32", "stride": [1],
            "padding_begin": [1], "padding_end": [0], "dilation": [1], "groups": 1, "padding_mode": "zeros",
            "activation": {"type": "prelu", "alpha": 0.5}, "input": "x", "weight": "w", "bias": null, "residual": "y",
            "expected": "y", "tolerance": {"abs": 0.5, "rel": 0.25}});
        let changes = changes.as_object().unwrap().clone();
        case.as_object_mut().unwrap().extend(changes);
        case
    }

    #[test]
    fn tensor_cases_are_loaded_and_others_skipped() {
        let header = json!({"x": {"dtype": "F32", "shape": [1, 1, 3], "data_offsets": [0, 12]},
            "w": {"dtype": "F32", "shape": [1, 1, 2], "data_offsets": [12, 20]},
            "y": {"dtype": "F32", "shape": [1, 1, 3], "data_offsets": [20, 32]}})
        .to_string();
        let numbers = [1.0_f32, 2.0, 3.0, 10.0, 20.0, 100.0, -200.0, 300.0].map(f32::to_le_bytes);
        let tensors = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers.concat()].concat();
        let cases = json!([
            case("row", json!({})),
            // Length 3, spread over 4 by the two taps, of which padding leaves out the first.
            case("transposed", json!({"op": "conv_transpose", "output_padding": [0]})),
            case("no integers", json!({"op": "conv_integer"})),
            case("integers", json!({"dtype": "int8"})),
            case("other rank", json!({"spatial_dims": 4})),
            case("other dtype", json!({"dtype": "float64", "input": "absent"})),
        ]);
        let files = [("a.json", cases.to_string().into_bytes()), ("a.safetensors", tensors)];
        let loaded = load(&files.each_ref().map(|(name, bytes)| (*name, &bytes[..])), |folder| {
            super::tensors(folder, "a.json", "a.safetensors")
        });
        let Content::Tensors(Ok(first)) = &loaded[0].content else { panic!("{:?}", loaded[0]) };
        assert_eq!(first.problem.to_string(), "n1c1w3o1k2p1,0:nobias+residual+prelu");
        assert_eq!((&first.data.input[..], &first.data.weight[..]), (&[1.0, 2.0, 3.0][..], &[10.0, 20.0][..]));
        assert_eq!(first.data.slopes.as_deref(), Some(&[0.5][..]));
        assert_eq!(first.expected.values, [100.0, -200.0, 300.0]);
        assert_eq!(first.expected.bounds, [25.5, 50.5, 75.5]);
        let Content::Tensors(Ok(transposed)) = &loaded[1].content else { panic!("{:?}", loaded[1]) };
        assert_eq!(transposed.problem.to_string(), "n1c1w3o1k2p1,0:transposed:nobias+residual+prelu");
        let skipped: Vec<String> = loaded[2..]
            .iter()
            .map(|case| match &case.content {
                Content::Skipped(kind) => format!("{} {} {}", kind.op, kind.spatial_dims, kind.dtype),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(skipped, ["conv_integer 1 float32", "conv 1 int8", "conv 4 float32", "conv 1 float64"]);
    }

    #[test]
    fn a_transposed_case_says_its_output_padding() {
        let cases = json!([case("transposed", json!({"op": "conv_transpose", "expect": "error"}))]).to_string();
        let files = [("refusals.json", cases.as_bytes())];
        load(&files, |folder| {
            let error = refusals(folder, "refusals.json").unwrap_err();
            assert!(error.to_string().contains("\"output_padding\" is missing"), "{error}");
            Ok(())
        });
    }

    #[test]
    fn rows_of_every_kind() {
        let row = |changes: Value| {
            let mut row = json!({"name": "row", "op": "conv", "spatial_dims": 1, "n": 2, "cin": 4, "input": [8], "cout": 6,
                "kernel": [3], "stride": [2], "padding_begin": [1], "padding_end": [0], "dilation": [1], "groups": 2});
            row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            row
        };
        let volume = json!({"spatial_dims": 3, "input": [5, 6, 7], "kernel": [1, 2, 3], "stride": [1, 2, 1],
            "padding_begin": [0, 1, 2], "padding_end": [0, 1, 2], "dilation": [1, 1, 2]});
        let rows = json!([
            row(json!({})),
            row(json!({"op": "conv_transpose", "output_padding": [1]})),
            row(json!({"op": "conv_transpose"})),
            row(volume),
            row(json!({"groups": 0})),
            row(json!({"input": 8})),
        ])
        .to_string();
        let loaded = load(&[("c_shapes.json", rows.as_bytes())], |folder| shapes(folder, "c_shapes.json", u64::MAX));
        let expected = [
            Ok("n2c4w8o6k3s2p1,0g2"),
            Ok("n2c4w8o6k3s2p1,0g2:transposed=1"),
            Ok("n2c4w8o6k3s2p1,0g2:transposed"),
            Ok("n2c4z5h6w7o6k1x2x3s1x2x1p0x1x2d1x1x2g2"),
            Err("groups is 0"),
            Err("input"),
        ];
        for (case, expected) in loaded.iter().zip(expected) {
            match (&case.content, expected) {
                (Content::Shape(Ok(problem)), Ok(text)) => assert_eq!(problem.to_string(), text),
                (Content::Shape(Err(error)), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (content, expected) => panic!("{content:?} instead of {expected:?}"),
            }
        }
        assert_eq!(loaded.len(), expected.len());
    }

    #[test]
    fn batches_of_rows_are_lowered() {
        let row =
            json!([{"name": "row", "op": "conv", "spatial_dims": 2, "n": 50, "cin": 4, "input": [8, 8], "cout": 6,
            "kernel": [3, 3], "stride": [1, 1], "padding_begin": [1, 1], "padding_end": [1, 1], "dilation": [1, 1],
            "groups": 2}])
            .to_string();
        // One image has 8 · 8 · 6 outputs of 2 · 9 products each.
        const IMAGE: u64 = 64 * 6 * 18;
        let content = |max_macs| {
            let files = [("b_shapes.json", row.as_bytes())];
            load(&files, |folder| shapes(folder, "b_shapes.json", max_macs)).remove(0).content
        };
        for (max_macs, batch) in [(u64::MAX, 50), (50 * IMAGE, 50), (50 * IMAGE - 1, 49), (4 * IMAGE, 4), (IMAGE, 1)] {
            let expected = format!("n{batch}c4h8w8o6k3p1g2").parse().unwrap();
            assert_eq!(content(max_macs), Content::Shape(Ok(expected)));
        }
        assert!(matches!(content(IMAGE - 1), Content::Skipped(kind) if kind.op.contains("more than 6911")));
    }
}
