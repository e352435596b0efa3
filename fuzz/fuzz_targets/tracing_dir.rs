//! Fuzzes [`trace_fuzz::tracing_dir`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::tracing_dir::run(data));
