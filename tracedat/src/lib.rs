//! Reads, writes, merges and prints `trace.dat`, the file format of Linux ftrace recordings.
//!
//! ```text
//! bytes ─► source ─► read (v6, v7: sections, options, CPU data) ─► ring_buffer (sub-buffers, entries)
//!                                       │ metadata                      │ records, merged by time
//!                                       ▼                               ▼
//!                        event_format, print_fmt, plugin ──────────► report (lines of text)
//! ```
//!
//! What is known about a trace and the stream of its records are two values, so a loop can borrow one while it advances
//! the other. Nothing is decoded before it is asked for.
//!
//! ```no_run
//! let tracedat::Reader { metadata, mut records } = tracedat::Reader::open("trace.dat")?;
//! while let Some(record) = records.next()? {
//!     println!("[{:03}] {} {}", record.cpu, record.time, metadata.describe(&record)?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`read`]: files to records ([`Reader`]), several files to one stream ([`read::Merge`]);
//! - [`event_format`], [`print_fmt`], [`event`]: records to fields and text;
//! - [`filter`]: which records are meant;
//! - [`plugin`], [`report`]: whole lines, as `trace-cmd report` prints them, on all processors;
//! - [`profile`]: where the time of each task goes;
//! - [`convert`]: files to another version or compression;
//! - [`mod@write`]: heads, options and CPU data to files ([`Writer`]);
//! - [`split`]: one file to several, cut by time or number;
//! - [`ring_buffer`], [`layout`], [`compress`]: the encodings underneath.
#![forbid(unsafe_code)]

pub mod abi;
pub mod clock;
pub mod compress;
pub mod convert;
pub mod cursor;
pub mod error;
pub mod event;
pub mod event_format;
pub mod filter;
pub mod layout;
pub mod metadata;
pub mod plugin;
pub mod print_fmt;
pub mod printk_formats;
pub mod profile;
pub mod read;
pub mod report;
pub mod ring_buffer;
pub mod source;
pub mod split;
pub mod symbols;
pub mod tasks;
#[doc(hidden)]
pub mod testing;
mod text;
pub mod write;

pub use abi::{Abi, ByteOrder};
pub use error::{DecodeError, FormatError, ReadError};
pub use metadata::Metadata;
pub use read::Reader;
pub use ring_buffer::{MissedEvents, Record};
pub use write::{WriteError, Writer};
