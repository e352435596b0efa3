//! Text of a trace: records to lines, on as many threads as there are, in order.
//!
//! ```text
//! records ─► sequence (one at a time: order, names of tasks, handlers' notes) ─► batches
//!                                                                        │ many threads
//!                                                    line, plugin, print_fmt ─► text, in order
//! ```

mod backwards;
mod batch;
mod binary_texts;
mod by_id;
mod comms;
mod errors;
mod file;
mod follow;
mod head;
pub mod json;
mod line;
pub(crate) mod number;
mod options;
mod pipeline;
mod prefix;
mod selection;
mod sequence;
mod visit;
mod wakeups;

pub use backwards::Backwards;
pub use follow::TaskNames;
pub use json::Json;
pub(crate) use line::microseconds;
pub use options::{Compat, EventSelector, Layout, ReportFilter, ReportOptions, TimeStyle};
pub use prefix::is_seconds_clock;

use std::io::{self, Write};
use std::num::NonZeroUsize;

use thiserror::Error;

use crate::error::ReadError;
use crate::metadata::Metadata;
use crate::plugin::Registry;
use crate::read::Merge;
use errors::TimeErrors;
use file::ReportFile;
use json::JsonFormat;
use line::LineFormat;
use sequence::{Sequencer, selects_cpu};

/// More threads than this only wait for the one that reads.
const MAX_DEFAULT_THREADS: usize = 8;

/// A report that ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A trace cannot be read on; the records before are printed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The text cannot be written, or its reader is gone.
    #[error("cannot write the report")]
    Write(#[source] io::Error),
}

/// One file of a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// How its lines are marked when there are several files.
    pub name: &'a str,
    /// What is known about it.
    pub metadata: &'a Metadata,
}

/// What was noticed while printing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Printed {
    /// The first places where the time of a CPU goes backwards, with [`ReportOptions::check_time`].
    pub backwards: Vec<Backwards>,
}

/// Prints records as lines.
///
/// ```no_run
/// use tracedat::read::{Merge, Reader};
/// use tracedat::report::{Report, ReportInput, ReportOptions};
///
/// let (files, mut records) = Merge::new(vec![Reader::open("trace.dat")?]);
/// let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
/// Report::new(ReportOptions::default()).print(&inputs, &mut records, &mut std::io::stdout())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Report {
    options: ReportOptions,
    registry: Registry,
}

impl Report {
    /// A report with all handlers of this crate.
    pub fn new(options: ReportOptions) -> Self {
        Self { options, registry: Registry::default() }
    }

    /// What its lines look like.
    pub fn options(&self) -> &ReportOptions {
        &self.options
    }

    pub(crate) fn options_mut(&mut self) -> &mut ReportOptions {
        &mut self.options
    }

    /// The handlers, to add some.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Writes the lines of all records that are left, `inputs` being the files of `records` in order.
    /// Many lines go out in one write, and the text is the same for any number of threads.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the text cannot be written.
    pub fn print(
        &self,
        inputs: &[ReportInput<'_>],
        records: &mut Merge,
        out: &mut (dyn Write + Send),
    ) -> Result<Printed, ReportError> {
        let files = self.files(inputs);
        match self.threads().get() - 1 {
            0 => {}
            // What filters leave is little to format: all there is to do is to read.
            others if !self.options.filters.is_empty() => records.read_ahead(others),
            // Two threads that format keep two processors busy.
            1 => {}
            // Of more of them, reading is what is waited for.
            _ => records.read_ahead(1),
        }
        self.choose(records)?;
        let sequencer = Sequencer::new(records, &files, &self.options);
        let format = LineFormat { files: &files, options: &self.options };
        let end = match self.options.json {
            None => pipeline::run(sequencer, &format, self.threads(), out),
            Some(json) => {
                let format = JsonFormat { lines: format, json };
                pipeline::run(sequencer, &format, self.threads(), out)
            }
        }
        .map_err(ReportError::Write)?;
        let mut last = end.summary;
        if self.options.json.is_some() {
            last.clear();
            for (input, file) in inputs.iter().zip(&files) {
                json::losses::print(input.metadata, file, &self.options, &mut last);
            }
        }
        out.write_all(&last).map_err(ReportError::Write)?;
        match end.error {
            None => Ok(Printed { backwards: end.backwards }),
            Some(error) => Err(ReportError::Read(error)),
        }
    }

    fn files<'a>(&'a self, inputs: &[ReportInput<'a>]) -> Vec<ReportFile<'a>> {
        let styles = prefix::buffer_styles(inputs, &self.options);
        inputs
            .iter()
            .zip(styles)
            .enumerate()
            .map(|(file, (input, styles))| {
                let nanoseconds = prefix::is_in_nanoseconds(input.metadata, &self.options);
                let errors = TimeErrors::new(file, input, &self.options, nanoseconds);
                let file =
                    ReportFile::new(file, input.metadata, &self.options, &self.registry, styles);
                file.with_errors(errors)
            })
            .collect()
    }

    /// Leaves what has to be read of the records, as far as CPU and time tell.
    fn choose(&self, records: &mut Merge) -> Result<(), ReadError> {
        let ReportOptions { cpus, from, to, .. } = &self.options;
        let of_release = self.options.compat;
        if self.options.align_time && !self.options.raw_time {
            records.count_from_start(of_release == Compat::V3_1_6)?;
        }
        // Whether time goes backwards is watched on all CPUs.
        if let (Some(cpus), false) = (cpus, self.options.check_time) {
            records.only_cpus(|_, buffer, cpu| selects_cpu(cpus, of_release, buffer, cpu))?;
        }
        if from.is_some() || to.is_some() {
            records.between(from.unwrap_or(0), to.unwrap_or(u64::MAX))?;
        }
        Ok(())
    }

    /// For each file the line that comes before those of its records: how many CPUs it has, and with
    /// [`ReportOptions::time_errors`] another: how well its clock is known.
    /// JSON has none.
    pub fn headers(&self, inputs: &[ReportInput<'_>]) -> Vec<Vec<u8>> {
        if self.options.json.is_some() {
            return vec![Vec::new(); inputs.len()];
        }
        let mut headers = prefix::file_prefixes(inputs);
        let prefixes = headers.clone();
        for (index, (header, input)) in headers.iter_mut().zip(inputs).enumerate() {
            header.extend_from_slice(b"cpus=");
            number::decimal(header, u64::from(input.metadata.cpus));
            header.push(b'\n');
            let nanoseconds = prefix::is_in_nanoseconds(input.metadata, &self.options);
            if let Some(errors) = TimeErrors::new(index, input, &self.options, nanoseconds) {
                header.extend(prefixes.get(index).into_iter().flatten());
                header.extend_from_slice(errors.summary().as_bytes());
            }
        }
        headers
    }

    /// A time stamp of a file's top-level buffer as its lines have it, without the colon.
    pub fn time(&self, metadata: &Metadata, time: u64) -> Vec<u8> {
        let mut text = Vec::new();
        if self.options.shows_seconds(metadata) {
            line::print_seconds(&self.options, time, &mut text);
        } else {
            number::decimal_right(&mut text, time, line::TICKS_WIDTH);
        }
        text
    }

    fn threads(&self) -> NonZeroUsize {
        self.options.threads.unwrap_or_else(|| {
            let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            available.min(const { NonZeroUsize::new(MAX_DEFAULT_THREADS).unwrap() })
        })
    }
}
