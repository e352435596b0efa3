//! Text of a trace: records to lines, on as many threads as there are, in order.
//!
//! ```text
//! records ─► sequence (one at a time: order, names of tasks, handlers' notes) ─► batches
//!                                                                        │ many threads
//!                                                    line, plugin, print_fmt ─► text, in order
//! ```

mod batch;
mod by_id;
mod comms;
// mod file;
// mod line;
pub(crate) mod number;
mod options;
// mod pipeline;
// mod sequence;

pub use options::{Compat, EventSelector, Layout, ReportOptions, TimeStyle};
