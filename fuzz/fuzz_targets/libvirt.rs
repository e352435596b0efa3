//! Fuzzes [`trace_fuzz::libvirt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::libvirt::run(data));
