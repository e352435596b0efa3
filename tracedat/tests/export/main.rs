//! What is exported, read back by readers of the formats that know nothing of the writers.

#![allow(clippy::unwrap_used, reason = "a test")]

mod parquet;
mod perfetto;
