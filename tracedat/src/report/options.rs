//! What a report looks like.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::json::Json;
use super::prefix;
use crate::clock::ClockOptions;
use crate::filter::Filter;
use crate::metadata::Metadata;
pub use crate::print_fmt::Compat;

/// How the columns before the event's name look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Long task names, time, and flags if the release prints them.
    #[default]
    Default,
    /// Short task names, CPU and flags glued together: `report -l`.
    Latency,
}

/// How time stamps are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// Seconds and microseconds, rounded half up, for clocks that tick in nanoseconds; else ticks.
    #[default]
    Microseconds,
    /// Seconds and nanoseconds for clocks that tick in nanoseconds; else ticks.
    Nanoseconds,
}

/// What a report looks like and how many threads make it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReportOptions {
    /// Prints JSON, one object a line, instead of text: the options about columns, time stamps and
    /// wake-ups then count for nothing.
    pub json: Option<Json>,
    /// Which release's text is printed.
    pub compat: Compat,
    /// Reads the events' print formats as the C that they are and prints what the kernel prints, also
    /// where the reference gives up (`[FAILED TO PARSE]`) or has habits of its own. What a format
    /// does not tell, such as a structure's members, is `?`; a function that is not known is printed
    /// as its call. Handlers print as ever.
    pub full_formats: bool,
    /// Columns before the event's name.
    pub layout: Layout,
    /// Digits of time stamps.
    pub time: TimeStyle,
    /// Prints integer ticks whatever the clock is.
    pub raw_time: bool,
    /// Counts time from the first record; of release 3.1.6 it is the first of a top-level buffer.
    /// Without effect on raw stamps.
    pub align_time: bool,
    /// Prints by how much time stamps of guests may be wrong, given the corrections of each input's clock that were
    /// [set](crate::read::Records::set_clock).
    pub time_errors: Option<Vec<ClockOptions>>,
    /// Whether it is watched that the time of no CPU goes backwards: see [`super::Printed`].
    pub check_time: bool,
    /// Prints the time since the line before.
    pub time_differences: bool,
    /// Prints fields and their values instead of the event's own text.
    pub raw: bool,
    /// Prints fields and their values for events this accepts, by system and name.
    pub raw_events: Option<EventSelector>,
    /// Uses no handler, only the events' own print formats.
    pub no_handlers: bool,
    /// Uses no handler for events this accepts.
    pub no_handler_events: Option<EventSelector>,
    /// Only these CPUs; `None` for all. The data of others is not read, unless [`ReportOptions::check_time`] or
    /// [`ReportOptions::align_time`] asks for it, or two records of a function graph may become one line.
    pub cpus: Option<Vec<u32>>,
    /// Only records from this time on, as lines have it, in nanoseconds, or in ticks for clocks that count others:
    /// the report is that of a trace that has no older ones. What only those tell (names of tasks in `sched_switch`, the
    /// calls that a return belongs to) it does not know. Little more is read than what is printed, see
    /// [`crate::read::Merge::between`].
    pub from: Option<u64>,
    /// Only records up to this time, the same way.
    pub to: Option<u64>,
    /// Tells how long tasks of the first file waited for a CPU, and sums it up at the end.
    pub wakeups: bool,
    /// Leaves out what was recorded in a hard interrupt.
    pub no_hard_irq: bool,
    /// Leaves out what was recorded in a soft interrupt.
    pub no_soft_irq: bool,
    /// Marks where sub-buffers start.
    pub boundaries: bool,
    /// Options of handlers, as `plugin:name=value`.
    pub handler_options: crate::plugin::HandlerOptions,
    /// Which events are shown; without any, all.
    pub filters: Vec<ReportFilter>,
    /// Worker threads; `None` for as many as the machine runs at once.
    pub threads: Option<NonZeroUsize>,
}

impl ReportOptions {
    /// Whether lines of a file's top-level buffer have seconds, rather than ticks of its clock.
    pub fn shows_seconds(&self, metadata: &Metadata) -> bool {
        let buffer = metadata.buffers.first();
        buffer.is_none_or(|buffer| prefix::shows_seconds(metadata, buffer, self))
    }

    /// Whether time stamps of a file's top-level buffer are nanoseconds.
    pub fn is_in_nanoseconds(&self, metadata: &Metadata) -> bool {
        prefix::is_in_nanoseconds(metadata, self)
    }
}

/// A filter, and what it holds for. A record is shown when any filter that shows matches, or there
/// is none, and no filter that hides does. A stack trace is shown with the event before it.
#[derive(Clone, Debug)]
pub struct ReportFilter {
    /// What matches.
    pub filter: Filter,
    /// Whether what matches is left out.
    pub hides: bool,
    /// The only input it is for, as its place in the list; `None` for all.
    pub input: Option<usize>,
}

/// Says by system and name whether an event is meant.
#[derive(Clone)]
pub struct EventSelector(Arc<Accepts>);

type Accepts = dyn Fn(&str, &str) -> bool + Send + Sync;

impl EventSelector {
    /// Selects the events for which `accepts(system, name)` holds.
    pub fn new(accepts: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(accepts))
    }

    /// Whether the event is meant.
    pub fn accepts(&self, system: &str, name: &str) -> bool {
        (self.0)(system, name)
    }
}

impl std::fmt::Debug for EventSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSelector")
    }
}
