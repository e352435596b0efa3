//! Fuzzes [`trace_fuzz::virt_client`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::virt_client::run(data));
