//! Fuzzes [`trace_fuzz::qmp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::qmp::run(data));
