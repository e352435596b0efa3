//! SQL about events, made into histograms and synthetic events.
//!
//! Events are tables and their fields are columns. `SELECT` from one event is a histogram of what
//! is selected; from two that are joined, a synthetic event whose fields are what is selected.
//!
//! ```text
//! SELECT common_pid, CAST(bytes_req AS _COUNTER_) FROM kmalloc WHERE bytes_req > 100
//!
//! SELECT end.next_comm AS comm, (end.TIMESTAMP_USECS - start.TIMESTAMP_USECS) AS lat
//!   FROM sched_waking AS start JOIN sched_switch AS end ON start.pid = end.next_pid
//!   WHERE end.next_prio < 100
//! ```
//!
//! `CAST` says how a key of a histogram is shown (`HEX`, `SYM`, `SYM-OFFSET`, `SYSCALL`, `EXECNAME`,
//! `LOG2`, `BUCKETS=n`, `STACKTRACE`) or, with `_COUNTER_`, that it is summed up; `COUNT(*)` is the
//! number of events. `TIMESTAMP` and `TIMESTAMP_USECS` are the time of an event in nanoseconds and
//! microseconds, `TIMESTAMP_DELTA` and `TIMESTAMP_DELTA_USECS` the time between two. A name that is
//! also a keyword has a backslash before it.
//!
//! ```no_run
//! use tracefs::{SqlQuery, TracingDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let top = TracingDir::find_or_mount()?.top();
//! let query = SqlQuery::parse("SELECT common_pid, CAST(bytes_req AS _COUNTER_) FROM kmalloc")?;
//! let plan = query.plan("allocated", &top)?;
//! for command in plan.commands(&top) {
//!     println!("{command}"); // echo 'hist:keys=common_pid:vals=bytes_req' >> …
//! }
//! plan.apply(&top)?;
//! # Ok(())
//! # }
//! ```

mod error;
mod event_fields;
mod filter;
mod histogram;
mod joining;
mod lexer;
mod parse;
mod plan;
mod query;
#[cfg(test)]
mod tests;

pub use error::SqlError;
pub use event_fields::EventFields;
pub use plan::{SqlHistogram, SqlJoin, SqlPlan};
pub use query::SqlQuery;
