//! Reads, writes, merges and prints `trace.dat`, the file format of Linux ftrace recordings.
//!
//! ```text
//! bytes ─► source ─► read (v6, v7: sections, options, CPU data) ─► ring_buffer (sub-buffers, entries)
//!                                       │ metadata                      │ records, merged by time
//!                                       ▼                               ▼
//!                        event_format, print_fmt, plugin ──────────► report (lines of text)
//! ```
#![forbid(unsafe_code)]

pub mod abi;
pub mod clock;
pub mod compress;
pub mod cursor;
pub mod error;
pub mod event;
pub mod event_format;
pub mod layout;
pub mod metadata;
pub mod plugin;
pub mod print_fmt;
pub mod printk_formats;
pub mod read;
pub mod report;
pub mod ring_buffer;
pub mod source;
pub mod symbols;
pub mod tasks;
#[doc(hidden)]
pub mod testing;
pub mod write;

pub use abi::{Abi, ByteOrder};
pub use error::{DecodeError, FormatError, ReadError};
pub use metadata::Metadata;
pub use read::Reader;
pub use ring_buffer::{MissedEvents, Record};
pub use write::{WriteError, Writer};
