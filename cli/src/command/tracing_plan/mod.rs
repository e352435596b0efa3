//! What shall be traced: the ordered words of `record`, `start` and `set`, and what they mean.
//!
//! `options` (words in order) → `plan` (what is traced where) → `steps` (what is written where) →
//! `step` (one thing that is written) → `applied` (it is done). Only the last touches the kernel.

mod applied;
pub(super) mod options;
pub(super) mod plan;
mod profile;
pub(super) mod setup_args;
mod step;
mod steps;
mod word;

pub(super) use applied::Applied;
pub(super) use plan::{COUNTER, MachinePlan};
pub(super) use step::{Change, Place};
pub(super) use steps::{Before, Choices, Setup};
pub(super) use word::Word;
