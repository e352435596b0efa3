//! Fuzzes [`trace_fuzz::agent::agent`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    trace_fuzz::agent::agent(data);
});
