//! Fuzzes [`trace_fuzz::trace_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::trace_file(data));
