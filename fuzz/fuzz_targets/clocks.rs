//! Fuzzes [`trace_fuzz::clocks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::clocks::run(data));
