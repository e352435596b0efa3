//! How wrong time stamps of guests may be: `report --ts-error`.

use std::sync::Arc;

use super::{ReportInput, ReportOptions, number};
use crate::clock::ErrorBounds;

/// Columns of the bound, its unit and a blank included.
const WIDTH: usize = 14;

/// The bounds of a file's time stamps, CPU by CPU.
#[derive(Debug)]
pub(crate) struct TimeErrors {
    cpus: Vec<Option<Arc<ErrorBounds>>>,
    /// Whether its clock was corrected, well or not.
    corrected: bool,
    unit: &'static str,
}

impl TimeErrors {
    /// Those of the file at a place among the inputs; `None` unless asked for.
    pub(crate) fn new(
        index: usize,
        input: &ReportInput<'_>,
        options: &ReportOptions,
        nanoseconds: bool,
    ) -> Option<Self> {
        let clock = options.time_errors.as_ref()?.get(index)?;
        let corrected = input.metadata.time_shift().is_some();
        let cpus = ErrorBounds::of_cpus(input.metadata, clock);
        Some(Self { cpus, corrected, unit: if nanoseconds { "ns" } else { "" } })
    }

    /// The bound of a CPU's time stamp; `None` where the file does not tell.
    pub(crate) fn at(&self, cpu: u32, time: u64) -> Option<u64> {
        Some(self.cpus.get(cpu as usize)?.as_ref()?.at(time))
    }

    /// Appends `±123ns ` right-aligned, and blanks where nothing is known.
    pub(crate) fn print(&self, cpu: u32, time: u64, out: &mut Vec<u8>) {
        let Some(bound) = self.at(cpu, time) else { return number::blanks(out, WIDTH) };
        let digits = bound.checked_ilog10().unwrap_or(0) as usize + 1;
        // A sign before it, and a blank behind.
        number::blanks(out, WIDTH.saturating_sub(digits + self.unit.len() + 2));
        out.extend_from_slice("±".as_bytes());
        number::decimal(out, bound);
        out.extend_from_slice(self.unit.as_bytes());
        out.push(b' ');
    }

    /// What the file as a whole has to say, in a line.
    pub(crate) fn summary(&self) -> String {
        let mut known: Vec<&ErrorBounds> = self.cpus.iter().flatten().map(Arc::as_ref).collect();
        // Those of one clock are one.
        known.dedup_by(|a, b| std::ptr::eq(*a, *b));
        let unit = self.unit;
        let worst = known.iter().map(|bounds| bounds.worst()).max();
        match (worst, known.iter().map(|bounds| bounds.median()).max()) {
            (Some(worst), Some(median)) => {
                format!(
                    "clock: corrected to the host's within ±{worst}{unit}, ±{median}{unit} most of the time\n"
                )
            }
            _ if !self.corrected => "clock: not corrected\n".to_owned(),
            _ => "clock: corrected to the host's, how well is not known\n".to_owned(),
        }
    }
}
