//! Fuzzes [`trace_fuzz::control_texts`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::control_texts::run(data));
