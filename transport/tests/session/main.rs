//! Both sides of a session against each other, against recorded bytes of trace-cmd 3.1.6, and against nonsense.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

mod datagrams;
mod hang_up;
mod hostile;
mod link;
mod pairings;
mod recorded;
