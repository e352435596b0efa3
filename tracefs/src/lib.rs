//! Control of Linux ftrace through the tracefs file system, and the recorder of its ring buffers.
//!
//! ```text
//! TracingDir ──► Instance (top or named) ──► events, filters, triggers, functions, clock, sizes …
//!     │               │
//!     │               ├──► Changes   remembers what was there, puts it back; Journal: by another
//!     │               ├──► Reset     puts back what it is after boot
//!     │               └──► Recorder  one thread per CPU: trace_pipe_raw ──► Sink ──► Ledger
//!     ├──► DynamicEvent, SqlQuery   probes and synthetic events, made and listed
//!     └──► Capture    what a trace must carry along, as plain bytes
//! ```
//!
//! The crate knows no file format and no socket: it meets others in bytes and descriptors. The
//! tracing directory is a value, so a temporary directory will do in a test.
//!
//! ```no_run
//! use tracefs::{Changes, Recorder, RecorderOptions, Sink, TracingDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = TracingDir::find_or_mount()?;
//! let mut changes = Changes::new();
//! let (instance, _existed) = changes.create_instance(&dir, "example")?;
//! let sched = instance.select("sched:sched_sw*")?;
//!
//! let mut sinks = Vec::new();
//! for cpu in instance.cpus()? {
//!     sinks.push((cpu, Sink::from(std::fs::File::create(format!("switches.cpu{cpu}"))?)));
//! }
//! let recorder = Recorder::start(&instance, sinks, &RecorderOptions::default())?;
//! changes.enable(&instance, &sched)?;
//! std::thread::sleep(std::time::Duration::from_secs(1));
//! changes.set_tracing_on(&instance, false)?;
//! let ledger = recorder.stop();
//! changes.restore()?;
//! println!("{} bytes, {} events lost", ledger.bytes(), ledger.lost_events());
//! # Ok(())
//! # }
//! ```

pub mod buffer_control;
pub mod buffer_stats;
pub mod capture;
pub mod changes;
pub mod control_file;
pub mod cpu_mask;
pub mod dynamic_event;
pub mod error;
pub mod error_log;
pub mod event;
pub mod event_pattern;
pub mod function;
pub mod histogram;
pub mod instance;
pub mod last_boot;
pub mod latency;
pub mod listing;
pub mod marker;
pub mod pid_filter;
pub mod recorder;
pub mod reset;
pub mod ring_buffer;
pub mod saved_cmdlines;
pub mod snapshot;
pub mod sql;
pub mod stack_tracer;
pub mod trace_clock;
pub mod trace_options;
pub mod tracer;
pub mod tracing_dir;
pub mod trigger;

mod sys;

pub use buffer_stats::BufferStats;
pub use capture::{Capture, Formats};
pub use changes::{Changes, Journal};
pub use control_file::ControlFile;
pub use cpu_mask::CpuMask;
pub use dynamic_event::{DynamicEvent, DynamicKind};
pub use error::{Action, Error};
pub use event::{EventName, EventSelection, select_from};
pub use function::{FunctionAction, FunctionCommand, FunctionList, FunctionPattern};
pub use histogram::Histogram;
pub use instance::Instance;
pub use marker::{Marker, RawMarker};
pub use pid_filter::PidFilter;
pub use recorder::{
    CpuLedger, Ledger, Priority, Recorder, RecorderOptions, RecorderProgress, Sink, Stalls,
};
pub use reset::Reset;
pub use ring_buffer::Way;
pub use snapshot::Snapshot;
pub use sql::{SqlError, SqlPlan, SqlQuery};
pub use stack_tracer::StackTracer;
pub use trace_clock::TraceClocks;
pub use tracing_dir::TracingDir;
pub use trigger::{CommandTrigger, HistTrigger, Trigger, TriggerCommand};
