//! What the benchmarks of the workspace share: seeded traces of known size.

pub mod workload;
