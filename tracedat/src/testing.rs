//! Made-up sub-buffers and files for tests, benchmarks and fuzzing.
//!
//! Every number of the formats is spelled out here and nothing is taken from [`crate::layout`], so
//! that a wrong constant there is found.

mod contents;
mod formats;
mod story;
mod sub_buffer;
mod trace;
mod workload;

pub use contents::{Contents, FoundRecord};
pub use formats::{FormatTexts, event_id};
pub use story::Story;
pub use sub_buffer::SubBufferBuilder;
pub use trace::TraceBuilder;
pub use workload::{Generated, GeneratedBuffer, GeneratedCpu, GeneratedRecord, Workload};
