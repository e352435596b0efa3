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
//! ```
//! # use tracedat::testing::{TraceBuilder, Workload};
//! # let dir = tempfile::tempdir()?;
//! # std::fs::write(dir.path().join("trace.dat"), TraceBuilder::new(Workload::new(1)).build())?;
//! # std::env::set_current_dir(&dir)?;
//! let tracedat::Reader { metadata, mut records } = tracedat::Reader::open("trace.dat")?;
//! while let Some(record) = records.next()? {       // oldest first, over all CPUs and instances
//!     println!("{}", metadata.event(&record)?);    // decoded only when asked for
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
//! - [`link`]: files of a host and a guest tied together afterwards;
//! - [`mod@write`]: heads, options and CPU data to files ([`Writer`]);
//! - [`histogram`]: call chains, counted; [`memory`]: who holds memory;
//! - [`export`]: records to tables, for other programs;
//! - [`split`]: one file to several, cut by time or number;
//! - [`view`]: one web page that shows CPUs and tasks of several machines;
//! - [`ring_buffer`], [`layout`], [`compress`]: the encodings underneath.
//!
//! # Fields by name, and a filter
//!
//! ```
//! use tracedat::filter::{Filter, FilterContext};
//! # use tracedat::testing::{TraceBuilder, Workload};
//! # let trace = TraceBuilder::new(Workload::new(1)).build();
//!
//! // From a file, from memory, or from a stream: Reader::stream(std::io::stdin().lock()).
//! let tracedat::Reader { metadata, mut records } = tracedat::Reader::parse(trace)?;
//! let filter = Filter::parse("sched_switch: next_pid != 0")?;
//! let mut switches = 0;
//! while let Some(record) = records.next()? {
//!     let event = metadata.event(&record)?;
//!     let Some(filter) = filter.for_event(&event.kind().format) else { continue };
//!     let comm = |pid| metadata.tasks().comm(pid);
//!     let context = FilterContext { cpu: record.cpu, comm: &comm, names: &metadata };
//!     if filter.compile().matches(record.data, &context) {
//!         assert!(event.int("next_pid") != Some(0) && event.text("next_comm").is_some());
//!         switches += 1;
//!     }
//! }
//! assert!(switches > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Host and guest as one
//!
//! ```
//! use tracedat::read::{Merge, Reader};
//! # use tracedat::testing::{TraceBuilder, Workload};
//! # let (host, guest) = (TraceBuilder::new(Workload::new(1)).build(), TraceBuilder::new(Workload::new(2)).build());
//!
//! let (files, mut records) = Merge::new(vec![Reader::parse(host)?, Reader::parse(guest)?]);
//! let mut last = 0;
//! while let Some((file, record)) = records.next()? {
//!     assert!(record.time >= last, "guest times are corrected to those of the host");
//!     last = record.time;
//!     files[file].event(&record)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Writing and converting
//!
//! See [`mod@write`] for a whole file; [`convert`](convert::convert) writes what was read in
//! another version or compression.
//!
//! ```
//! # #[cfg(feature = "zstd")] {
//! use std::io::Cursor;
//! use tracedat::{compress::Codec, convert::convert, write::Version};
//! # use tracedat::testing::{TraceBuilder, Workload};
//! # let trace = TraceBuilder::new(Workload::new(1)).version(6).build();
//!
//! let before = tracedat::Reader::parse(trace)?;
//! let mut file = Cursor::new(Vec::new());
//! convert(&before.metadata, &mut file, Version::V7, Codec::Zstd)?;
//! let after = tracedat::Reader::parse(file.into_inner())?;
//! assert_eq!(after.metadata.compression.name, "zstd");
//! assert!(after.metadata.file_size < before.metadata.file_size);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A handler of your own
//!
//! ```
//! use tracedat::plugin::{Binding, HandledRecord, Handler, IntField, Registration};
//! use tracedat::read::{Merge, Reader};
//! use tracedat::report::{Report, ReportInput, ReportOptions};
//! # use tracedat::testing::{TraceBuilder, Workload};
//! # let trace = TraceBuilder::new(Workload::new(1)).build();
//!
//! struct NextPid(IntField);
//!
//! impl Handler for NextPid {
//!     fn print(&self, record: &HandledRecord<'_>, out: &mut Vec<u8>) {
//!         let pid = self.0.signed(record.data).unwrap_or(-1);
//!         out.extend_from_slice(format!("now {pid}").as_bytes());
//!     }
//! }
//!
//! fn bind(binding: &Binding<'_>) -> Option<Box<dyn Handler>> {
//!     Some(Box::new(NextPid(binding.int("next_pid")?)))
//! }
//!
//! let (files, mut records) = Merge::new(vec![Reader::parse(trace)?]);
//! let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
//! let mut report = Report::new(ReportOptions::default());
//! report.registry_mut().register(Registration { system: "sched", event: "sched_switch", bind });
//! let mut text = Vec::new();
//! report.print(&inputs, &mut records, &mut text)?;
//! assert!(String::from_utf8(text)?.contains("now "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod abi;
pub mod btf;
pub mod clock;
pub mod compress;
pub mod convert;
pub mod cursor;
pub mod error;
pub mod event;
pub mod event_format;
pub mod export;
pub mod filter;
pub mod histogram;
pub mod layout;
pub mod link;
pub mod memory;
pub mod metadata;
pub mod plugin;
pub mod print_fmt;
pub mod printk_formats;
pub mod profile;
pub mod read;
pub mod report;
pub mod ring_buffer;
mod sched;
pub mod source;
pub mod split;
pub mod symbols;
pub mod tasks;
#[doc(hidden)]
pub mod testing;
mod text;
pub mod vcpu;
pub mod view;
pub mod write;

pub use abi::{Abi, ByteOrder};
pub use error::{DecodeError, FormatError, ReadError};
pub use metadata::Metadata;
pub use read::Reader;
pub use ring_buffer::{MissedEvents, Record};
pub use write::{WriteError, Writer};
