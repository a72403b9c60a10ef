//! [`Suite`]: a folder of conformance cases, loaded and checked, and run on every kernel, variant and mode.
//!
//! A folder holds pairs `NAME.json` and `NAME.safetensors` (cases with tensors and their expected result), files
//! `…refusals.json` (what must be an error) and `…_shapes.json` (sizes only, which are left alone unless asked for).
//! Files are not trusted: what cannot be read is an error that names the file and the case.

mod describe;
mod integers;
mod load;
mod run;

use std::collections::BTreeSet;
use std::path::Path;

use wgpu_conv::reference::Reference;
use wgpu_conv::{Engine, Error, Problem};

use crate::data::ProblemData;
use crate::report::{Progress, Report, SkipKind};
use crate::verify::Filter;

/// Why a suite cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// The folder cannot be read, or holds no suite.
    #[error("{folder}: {message}")]
    Folder {
        /// The folder.
        folder: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read.
    #[error("{file}: {message}")]
    File {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A case lacks something, or contradicts itself.
    #[error("{file}, case {case}: {message}")]
    Case {
        /// Name of the file.
        file: String,
        /// Name of the case, or its position where it has no name.
        case: String,
        /// What is wrong with it.
        message: String,
    },
}

/// What of a folder is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteOptions {
    /// Whether the rows of `…_shapes.json` are run too, with random data against this project's own reference.
    pub shapes: bool,
    /// Most multiply-adds of such a row: its batch is lowered to that, and it is skipped if one image exceeds it.
    pub max_macs: u64,
}

impl Default for SuiteOptions {
    fn default() -> Self {
        Self { shapes: false, max_macs: 200_000_000 }
    }
}

/// Loaded cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    cases: Vec<SuiteCase>,
}

#[derive(Debug, Clone, PartialEq)]
struct SuiteCase {
    /// Name of the JSON file.
    file: String,
    name: String,
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    /// Tensors and what must come out; an error if the library refuses the case, which is a failure.
    Tensors(Result<Box<TensorCase>, Error>),
    /// What must be an error: the error, or the problem if none was given so far.
    Refusal(Result<Problem, Error>),
    /// A problem for random data; an error as for tensors.
    Shape(Result<Problem, Error>),
    /// Not supported.
    Skipped(SkipKind),
}

#[derive(Debug, Clone, PartialEq)]
struct TensorCase {
    problem: Problem,
    data: ProblemData,
    /// The source's expected values, with bounds from the case's tolerance.
    expected: Reference,
}

impl Suite {
    /// Loads every suite in a folder (not in folders below it).
    ///
    /// # Errors
    /// [`SuiteError`] if the folder holds no suite, a file of a pair is missing, a file cannot be read, or a case lacks a
    /// field or a tensor. A convolution that the library refuses is no such error: running it counts as failed.
    pub fn load(folder: &Path, options: &SuiteOptions) -> Result<Self, SuiteError> {
        let unusable = |message: String| SuiteError::Folder { folder: folder.display().to_string(), message };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(|error| unusable(error.to_string()))? {
            names
                .insert(entry.map_err(|error| unusable(error.to_string()))?.file_name().to_string_lossy().into_owned());
        }
        let mut cases = Vec::new();
        let mut found = false;
        for name in &names {
            if let Some(stem) = name.strip_suffix(".safetensors")
                && !names.contains(&format!("{stem}.json"))
            {
                let message = format!("there is no {stem}.json beside it");
                return Err(SuiteError::File { file: name.clone(), message });
            }
            let Some(stem) = name.strip_suffix(".json") else { continue };
            found = true;
            cases.extend(if stem.ends_with("refusals") {
                load::refusals(folder, name)?
            } else if stem.ends_with("_shapes") {
                if options.shapes { load::shapes(folder, name, options.max_macs)? } else { Vec::new() }
            } else if names.contains(&format!("{stem}.safetensors")) {
                load::tensors(folder, name, &format!("{stem}.safetensors"))?
            } else {
                let message =
                    format!("there is no {stem}.safetensors beside it, and it is neither refusals nor shapes");
                return Err(SuiteError::File { file: name.clone(), message });
            });
        }
        if !found {
            return Err(unusable("there is no conformance suite in it (NAME.json with NAME.safetensors)".into()));
        }
        Ok(Self { cases })
    }

    /// Number of cases, skipped ones included.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Keeps the cases whose names `wanted` accepts.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.cases.retain(|case| wanted(&case.name));
    }

    /// Whether there are no cases.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Runs every case on every unit that accepts it and that `filter` admits.
    pub fn run(&self, engine: &Engine, filter: &Filter, progress: &mut dyn Progress) -> Report {
        self.run_on(std::slice::from_ref(engine), filter, progress)
    }

    /// [`Suite::run`] on several engines at once, each with a device of its own.
    pub fn run_on(&self, engines: &[Engine], filter: &Filter, progress: &mut dyn Progress) -> Report {
        run::suite(self, engines, filter, progress)
    }

    /// The cases that no unit can pass because the library refuses what they describe, with the error.
    pub fn unusable_cases(&self) -> impl Iterator<Item = (&str, &Error)> {
        self.cases.iter().filter_map(|case| match &case.content {
            Content::Tensors(Err(error)) | Content::Shape(Err(error)) => Some((case.name.as_str(), error)),
            _ => None,
        })
    }
}
