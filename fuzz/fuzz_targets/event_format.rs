//! Fuzzes [`trace_fuzz::event_format`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::event_format::run(data));
