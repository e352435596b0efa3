//! The records that a report would print, for those who make something else of them.

use super::selection::Selection;
use super::sequence::wants;
use super::{Report, ReportInput};
use crate::error::ReadError;
use crate::filter::FilterContext;
use crate::read::Merge;
use crate::ring_buffer::Record;

impl Report {
    /// Calls `visit` with each record that is left and that the options select, oldest first, and the index of its
    /// file. Filters know the task names that the files have.
    ///
    /// # Errors
    ///
    /// A file cannot be read on.
    pub fn visit(
        &self,
        inputs: &[ReportInput<'_>],
        records: &mut Merge,
        mut visit: impl FnMut(usize, &Record<'_>),
    ) -> Result<(), ReadError> {
        self.try_visit(inputs, records, |file, record| {
            visit(file, record);
            Ok(())
        })
    }

    /// The same for a `visit` that may fail, which ends it.
    ///
    /// # Errors
    ///
    /// A file cannot be read on, or `visit` failed.
    pub fn try_visit<E: From<ReadError>>(
        &self,
        inputs: &[ReportInput<'_>],
        records: &mut Merge,
        mut visit: impl FnMut(usize, &Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let files = self.files(inputs);
        let mut selection = Selection::new(&self.options, files.len());
        records.read_ahead(self.threads().get() - 1);
        self.choose(records)?;
        while let Some((index, record)) = records.next()? {
            let Some(file) = files.get(index) else { continue };
            if !wants(&self.options, Some(file), &record) {
                continue;
            }
            if selection.is_filtered(index) {
                let context = FilterContext {
                    cpu: record.cpu,
                    comm: &|pid| file.saved_comm(pid),
                    names: file.names(),
                };
                let slot = file.event_id(record.data).and_then(|id| file.slot(id));
                let filters = slot.map(|slot| &slot.filters);
                if !selection.shows((index, record.buffer), filters, record.data, &context) {
                    continue;
                }
            }
            visit(index, &record)?;
        }
        Ok(())
    }
}
