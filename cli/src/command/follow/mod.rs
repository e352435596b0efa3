//! A recording without a file: its records are taken as they happen, by `stream` and `profile`.
//!
//! ```text
//! tracefs::Recorder ─► channel (a bounded queue) ─► LiveMerge ─► lines, or a profile
//! ```

mod args;
mod channel;
mod machine;
mod output;
mod running;

pub(super) use args::{FollowArgs, Offered, follow_args};
pub(super) use running::Following;
