//! A recording without a file: its records are taken as they happen, by `stream` and `profile`.
//!
//! ```text
//! tracefs::Recorder ──────────────┐
//!                                 ├─► channel (bounded) ─► LiveMerge ─► lines, or a profile
//! guests ─► FIFOs ─► whole pages ─┘                           ▲
//!       └─► comparisons of clocks ────────────────────────────┘
//! ```

mod args;
mod channel;
mod clocks;
mod guest;
mod host;
mod machine;
mod output;
mod patience;
mod running;

pub(super) use args::{FollowArgs, Offered, follow_args};
pub(super) use machine::FollowedMachine;
pub(super) use running::Following;
