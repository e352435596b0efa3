//! Fuzzes [`trace_fuzz::sql`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_fuzz::sql::run(data));
