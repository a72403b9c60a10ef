//! A plan's programs while it is made. A problem in thousands of pieces has a few different shaders, and making a shader's text
//! takes longer than all else that a piece needs: each is made once.

use std::collections::HashMap;

use crate::error::Result;
use crate::gpu::Pending;
use crate::kernels::Build;
use crate::lowered::Lowered;
use crate::params::Block;
use crate::plan::{Program, Role};
use crate::segments::Segment;

/// A program whose pipeline may still be being compiled.
struct Draft {
    /// Its pipeline, unless it has that of another.
    pipeline: Option<Pending<wgpu::ComputePipeline>>,
    /// Number of the program that its shader was made for.
    shader: usize,
    /// The pass, wherever it lies.
    like: Lowered,
    role: Role,
    pass: usize,
    params: Block,
    segments: Vec<Segment>,
    build: Build,
}

/// Programs, in order.
#[derive(Default)]
pub(crate) struct Drafts {
    drafts: Vec<Draft>,
    /// For each role the last program with a new pipeline.
    last: HashMap<Role, usize>,
}

/// The pass that a program belongs to, by its number, and how it is built.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub number: usize,
    pub pass: &'a Lowered,
    pub build: Build,
}

impl Drafts {
    /// Adds a program. Its pipeline is asked for unless that of the last pass serves, which it does if only the place differs.
    ///
    /// # Errors
    /// Those of asking for the pipeline.
    pub fn add(
        &mut self,
        role: Role,
        Of { number, pass, build }: Of<'_>,
        params: Block,
        segments: Vec<Segment>,
        pipeline: impl FnOnce() -> Result<Pending<wgpu::ComputePipeline>>,
    ) -> Result<()> {
        let like = pass.without_place();
        let next = self.drafts.len();
        let last = self.last.get(&role).copied();
        let same = last.filter(|&last| (self.drafts[last].like, self.drafts[last].build) == (like, build));
        let pipeline = if same.is_none() { Some(pipeline()?) } else { None };
        let shader = same.unwrap_or(next);
        self.last.insert(role, shader);
        self.drafts.push(Draft { pipeline, shader, like, role, pass: number, params, segments, build });
        Ok(())
    }

    /// The programs, once all pipelines are compiled.
    ///
    /// # Errors
    /// Those of compiling.
    pub async fn finish(self) -> Result<Vec<Program>> {
        let mut programs: Vec<Program> = Vec::with_capacity(self.drafts.len());
        for Draft { pipeline, shader, like: _, role, pass, params, segments, build } in self.drafts {
            let pipeline = match pipeline {
                Some(pending) => pending.await?,
                None => programs[shader].pipeline.clone(),
            };
            programs.push(Program { role, pass, shader, pipeline, params, segments, build });
        }
        Ok(programs)
    }
}
