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
