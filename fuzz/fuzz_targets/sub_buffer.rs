//! Fuzzes [`trace_fuzz::sub_buffer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::sub_buffer::run(data));
