//! What the benchmarks of the workspace share: seeded traces, a recording of the running kernel, the work of
//! each stage, and programs that are measured from outside.

pub mod measure;
pub mod options;
pub mod program;
pub mod recording;
pub mod session;
pub mod stage;
pub mod sys;
pub mod workload;

use std::error::Error;

/// What a benchmark has come to.
pub type Outcome<T> = Result<T, Box<dyn Error>>;
