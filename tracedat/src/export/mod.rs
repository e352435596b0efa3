//! Records for other programs: one typed table per event, as CSV, JSON or Parquet; a trace for Perfetto.
//!
//! ```text
//! record ─► table (columns, cells) ─► csv, json, parquet
//!        └► perfetto
//! ```

pub mod csv;
pub mod json;
mod machine;
mod parquet;
mod perfetto;
mod table;
mod text;
mod varint;

pub use machine::{Day, machine_name, machine_names};
pub use parquet::Parquet;
pub use perfetto::Perfetto;
pub use table::{Cell, Column, ColumnType, EventTable};
