//! Fuzzes [`trace_fuzz::virt_server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::virt_server::run(data));
