//! `docs/parameters.md` is true: its pictures are what the drawing program draws, and the numbers in its tables are what
//! [`Problem`] computes.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use wgpu_conv::{PaddingMode, Problem, Tensors, reference};

#[path = "../examples/draw_parameters/pictures/mod.rs"]
mod pictures;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// A text file of the project; git may have given it the line ends of the system.
fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.replace("\r\n", "\n"))
}

#[test]
fn committed_pictures_are_what_is_drawn() -> Result<(), Box<dyn Error>> {
    let folder = docs().join("parameters");
    for (name, drawn) in pictures::all()? {
        let committed = read(&folder.join(name))?;
        let line = committed.lines().zip(drawn.lines()).take_while(|(a, b)| a == b).count() + 1;
        assert!(
            committed == drawn,
            "docs/parameters/{name} differs from what is drawn, from line {line} on: look at the change, then run \
             `cargo run --example draw_parameters`"
        );
    }
    Ok(())
}

#[test]
fn every_picture_is_shown_and_every_shown_picture_is_drawn() -> Result<(), Box<dyn Error>> {
    let page = read(&docs().join("parameters.md"))?;
    let shown: BTreeSet<&str> = page.split("](parameters/").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let drawn: Vec<(&str, String)> = pictures::all()?;
    assert_eq!(shown, drawn.iter().map(|(name, _)| *name).collect());
    let files = fs::read_dir(docs().join("parameters"))?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let files: BTreeSet<String> = files.collect::<Result<Option<_>, std::io::Error>>()?.ok_or("a name is no UTF-8")?;
    assert_eq!(files, drawn.iter().map(|(name, _)| String::from(*name)).collect());
    Ok(())
}

/// The cells of the table rows whose first cell is headed `problem`: (heading, problem string, cell).
fn table_cells(page: &str) -> Vec<(String, String, String)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()
    };
    let mut found = Vec::new();
    let mut headings: Vec<String> = Vec::new();
    for line in page.lines() {
        if !line.starts_with('|') {
            headings.clear();
        } else if headings.is_empty() {
            headings = cells(line);
        } else if headings[0] == "problem" && !line.starts_with("| ---") {
            let row = cells(line);
            let problem = row[0].trim_matches('`').to_string();
            assert_eq!(row.len(), headings.len(), "cells in {line}");
            for (heading, cell) in headings.iter().zip(&row).skip(1) {
                found.push((heading.clone(), problem.clone(), cell.clone()));
            }
        }
    }
    found
}

fn tuple<T: ToString>(numbers: &[T]) -> String {
    format!("({})", numbers.iter().map(T::to_string).collect::<Vec<_>>().join(", "))
}

#[test]
fn numbers_in_the_tables_are_computed() -> Result<(), Box<dyn Error>> {
    let cells = table_cells(&read(&docs().join("parameters.md"))?);
    assert!(cells.len() >= 80, "{} cells found: the tables are no longer read", cells.len());
    for (heading, text, written) in cells {
        let parsed = text.parse::<Problem>();
        if heading == "error" {
            let error = parsed.err().ok_or_else(|| format!("{text} is not refused"))?;
            assert_eq!(error.to_string(), written, "the error of {text}");
            continue;
        }
        let problem = parsed?;
        let computed = match heading.as_str() {
            "weight" => tuple(&problem.weight_shape()),
            "output" => tuple(&problem.output_shape()),
            "offset" => problem.offset_shape().map_or("none".into(), |shape| tuple(&shape)),
            "mask" => problem.mask_shape().map_or("none".into(), |shape| tuple(&shape)),
            "padding (top, bottom, left, right)" | "padding (before and after each axis)" => {
                tuple(problem.padding().as_flattened())
            }
            "receptive field" => tuple(&problem.receptive_field()),
            "products per output" | "most products per output" => problem.sum_length().to_string(),
            "multiply-adds" => problem.macs().to_string(),
            other => return Err(format!("a table has the column {other:?}, which this test does not know").into()),
        };
        assert_eq!(computed, written, "{heading} of {text}");
    }
    Ok(())
}

#[test]
fn padded_rows_are_computed() -> Result<(), Box<dyn Error>> {
    let page = read(&docs().join("parameters.md"))?;
    for mode in PaddingMode::ALL {
        // A 1×1 weight of 1 copies the row with its padding; 1 to 4 stand for a to d.
        let problem: Problem = format!("n1c1h1w4o1k1p0x2:{mode}:nobias").parse()?;
        let row = reference::convolve(&problem, &Tensors::new(&[1.0, 2.0, 3.0, 4.0], &[1.0]))?.values;
        let names = ["0", "a", "b", "c", "d"];
        let row: Vec<&str> = row.iter().filter_map(|&value| names.get(value as usize).copied()).collect();
        let (name, row) = (format!("| `{mode}`"), format!("| `{}` |", row.join(" ")));
        let line = page.lines().find(|line| line.starts_with(&name)).ok_or_else(|| format!("no row for {mode}"))?;
        assert!(line.contains(&row), "{line} should have {row}");
    }
    Ok(())
}
