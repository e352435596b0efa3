//! Records for other programs: one typed table per event, as CSV; a trace for Perfetto.
//!
//! ```text
//! record ─► table (columns, cells) ─► csv
//!        └► perfetto
//! ```

pub mod csv;
mod machine;
mod perfetto;
mod table;

pub use machine::{Day, machine_name, machine_names};
pub use perfetto::Perfetto;
pub use table::{Cell, Column, ColumnType, EventTable};
