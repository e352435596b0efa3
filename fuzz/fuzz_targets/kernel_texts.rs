//! Fuzzes [`trace_fuzz::kernel_texts`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::kernel_texts::run(data));
