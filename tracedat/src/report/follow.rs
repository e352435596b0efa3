//! The text of a trace that is still recorded.

use std::io::Write;

use super::batch::Batch;
use super::json::JsonFormat;
use super::line::LineFormat;
use super::pipeline::Format;
use super::sequence::Sequencer;
use super::{Printed, Report, ReportError, ReportInput};
use crate::read::LiveMerge;
use crate::tasks::Tasks;

/// Names of tasks as they are now, beside those that the traces began with.
#[derive(Debug, Default)]
pub struct TaskNames(Vec<(usize, Tasks)>);

impl TaskNames {
    /// Takes the text of `saved_cmdlines` of a file's machine: lines from now on have its names.
    pub fn set(&mut self, file: usize, saved_cmdlines: &[u8]) {
        self.0.push((file, Tasks::parse(saved_cmdlines)));
    }
}

impl Report {
    /// Writes the lines of records as they come. Prints and flushes what is due, then calls `more` to feed the
    /// records, and so on until that says that nothing comes any more; then prints the rest.
    ///
    /// A leaf of a function graph is one line if its end has come by the time that its beginning is due.
    ///
    /// # Errors
    ///
    /// The text cannot be written, or what `more` says.
    pub fn follow<E: From<ReportError>>(
        &self,
        inputs: &[ReportInput<'_>],
        records: &mut LiveMerge,
        out: &mut dyn Write,
        more: &mut dyn FnMut(&mut LiveMerge, &mut TaskNames) -> Result<bool, E>,
    ) -> Result<Printed, E> {
        let files = self.files(inputs);
        let sequencer = Sequencer::new(records, &files, &self.options);
        let format = LineFormat { files: &files, options: &self.options };
        match self.options.json {
            None => follow(sequencer, &format, true, out, more),
            Some(json) => {
                let format = JsonFormat { lines: format, json };
                follow(sequencer, &format, false, out, more)
            }
        }
    }
}

fn follow<E: From<ReportError>>(
    mut sequencer: Sequencer<'_, '_, &mut LiveMerge>,
    format: &impl Format,
    sums_up: bool,
    out: &mut dyn Write,
    more: &mut dyn FnMut(&mut LiveMerge, &mut TaskNames) -> Result<bool, E>,
) -> Result<Printed, E> {
    let mut batch = Batch::default();
    let mut text = Vec::new();
    let mut goes_on = true;
    loop {
        while sequencer.pull(&mut batch) {
            text.clear();
            format.format(&batch, &mut text);
            out.write_all(&text).map_err(ReportError::Write)?;
        }
        out.flush().map_err(ReportError::Write)?;
        let records = sequencer.resume().map_err(ReportError::Read)?;
        if !goes_on {
            break;
        }
        let mut names = TaskNames::default();
        goes_on = more(records, &mut names)?;
        if !goes_on {
            records.finish();
        }
        for (file, tasks) in names.0 {
            sequencer.name_tasks(file, &tasks);
        }
    }
    let end = sequencer.finish();
    if sums_up {
        out.write_all(&end.summary).and_then(|()| out.flush()).map_err(ReportError::Write)?;
    }
    Ok(Printed { backwards: end.backwards })
}
