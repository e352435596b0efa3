//! The work of each stage, in the order an event comes by: what the benchmarks time, and what callgrind counts.

mod clock_sync;
mod decode;
mod filter;
mod formats;
mod guest;
mod merge;
mod open;
mod print;
mod record;
mod report;
mod transport;
mod write;

use crate::Outcome;
use crate::workload::Traces;

/// Something that can be done over and over, always with the same result, which it asserts.
pub struct Work {
    /// What it is, within its stage.
    pub name: String,
    /// Events, or what else there is many of, in one time.
    pub items: u64,
    /// Bytes in one time; 0 where they tell nothing.
    pub bytes: u64,
    /// Whether it always takes the same instructions.
    pub is_steady: bool,
    /// What has to be done before each time, and is not to be timed.
    pub prepare: Box<dyn FnMut()>,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

impl Work {
    fn new(name: impl Into<String>, items: u64, bytes: u64, run: impl FnMut() + 'static) -> Self {
        let (name, run) = (name.into(), Box::new(run));
        Self { name, items, bytes, is_steady: true, prepare: Box::new(|| {}), run }
    }

    /// For work of several threads or of the kernel.
    fn unsteady(self) -> Self {
        Self { is_steady: false, ..self }
    }

    fn prepared_by(self, prepare: impl FnMut() + 'static) -> Self {
        Self { prepare: Box::new(prepare), ..self }
    }
}

/// Makes the works of a stage, or says what this machine lacks for them.
pub type Works = fn(&Traces) -> Outcome<Vec<Work>>;

/// All stages by name.
pub const ALL: [(&str, Works); 12] = [
    ("record", record::works),
    ("transport", transport::works),
    ("guest", guest::works),
    ("clock_sync", clock_sync::works),
    ("write", write::works),
    ("open", open::works),
    ("decode", decode::works),
    ("merge", merge::works),
    ("filter", filter::works),
    ("formats", formats::works),
    ("print", print::works),
    ("report", report::works),
];
