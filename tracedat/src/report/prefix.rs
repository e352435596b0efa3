//! What tells lines of several files and buffers apart.

use super::file::BufferStyle;
use super::{Compat, ReportInput, ReportOptions, json, number};
use crate::metadata::{Buffer, Metadata, selected_clock};

/// File names, aligned, with their colon; empty when there is only one file.
pub(crate) fn file_prefixes(inputs: &[ReportInput<'_>]) -> Vec<Vec<u8>> {
    let width = inputs.iter().map(|input| input.name.len()).max().unwrap_or(0);
    let several = inputs.len() > 1;
    inputs
        .iter()
        .map(|input| if several { prefix(input.name, width) } else { Vec::new() })
        .collect()
}

/// For each file and buffer how its lines begin, and what its time stamps are.
pub(crate) fn buffer_styles(
    inputs: &[ReportInput<'_>],
    options: &ReportOptions,
) -> Vec<Vec<BufferStyle>> {
    let several_files = inputs.len() > 1;
    let name = |input: &ReportInput<'_>, buffer: &Buffer| {
        let name = if buffer.name.is_empty() && several_files { input.name } else { &buffer.name };
        name.to_owned()
    };
    let shown = |input: &&ReportInput<'_>| several_files || input.metadata.buffers.len() > 1;
    let width = inputs
        .iter()
        .filter(shown)
        .flat_map(|input| {
            input.metadata.buffers.iter().map(move |buffer| name(input, buffer).len())
        })
        .max()
        .unwrap_or(0);
    inputs
        .iter()
        .map(|input| {
            let buffers = input.metadata.buffers.iter();
            buffers
                .map(|buffer| BufferStyle {
                    prefix: match shown(&input) {
                        true => prefix(&name(input, buffer), width),
                        false => Vec::new(),
                    },
                    seconds: shows_seconds(input.metadata, buffer, options),
                    has_clock: has_clock(input.metadata),
                    nanoseconds: counts_nanoseconds(input.metadata, buffer, options),
                    json_source: json_source(several_files.then_some(input.name), &buffer.name),
                })
                .collect()
        })
        .collect()
}

/// `name: ` right-aligned; all blanks without a name.
fn prefix(name: &str, width: usize) -> Vec<u8> {
    let mut text = Vec::new();
    number::right(&mut text, name.as_bytes(), width);
    text.extend_from_slice(if name.is_empty() { b"  " } else { b": " });
    text
}

/// Whether the file says what its clock is; old ones do not.
fn has_clock(metadata: &Metadata) -> bool {
    metadata.trace_clock_text().is_some()
}

/// Whether a buffer's time stamps are printed as seconds.
pub(crate) fn shows_seconds(metadata: &Metadata, buffer: &Buffer, options: &ReportOptions) -> bool {
    let clock = match options.compat {
        // It prints instances that have clocks of their own as if they had the file's.
        Compat::V3_1_6 => metadata.trace_clock().unwrap_or_else(|| clock(metadata, buffer)),
        Compat::V3_4 => clock(metadata, buffer),
    };
    // Without a name there is nothing that could count in ticks.
    if options.raw_time && !clock.is_empty() {
        return false;
    }
    is_seconds_clock(clock) || metadata.tsc_to_nsec().is_some()
}

/// Whether a file's time stamps are nanoseconds.
pub(crate) fn is_in_nanoseconds(metadata: &Metadata, options: &ReportOptions) -> bool {
    let buffer = metadata.buffers.first();
    buffer.is_none_or(|buffer| counts_nanoseconds(metadata, buffer, options))
}

/// Whether a buffer's time stamps are nanoseconds. That is not what the reference prints as seconds:
/// it knows `boot` for no clock of nanoseconds, and `uptime` for one.
fn counts_nanoseconds(metadata: &Metadata, buffer: &Buffer, options: &ReportOptions) -> bool {
    let clock = clock(metadata, buffer);
    matches!(clock, "" | "local" | "global" | "perf" | "mono" | "mono_raw" | "boot" | "tai")
        || metadata.tsc_to_nsec().is_some() && !options.raw_time
}

/// `"file":"…","instance":"…",`, as far as there is something to tell apart.
fn json_source(file: Option<&str>, instance: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let instance = (!instance.is_empty()).then_some(instance);
    for (key, value) in [("file", file), ("instance", instance)] {
        if let Some(value) = value {
            json::string(&mut text, key.as_bytes());
            text.push(b':');
            json::string(&mut text, value.as_bytes());
            text.push(b',');
        }
    }
    text
}

/// The name of a buffer's clock.
fn clock<'a>(metadata: &'a Metadata, buffer: &'a Buffer) -> &'a str {
    match buffer.clock.as_str() {
        "" => metadata.trace_clock().unwrap_or_default(),
        // Some files have the whole list, the clock in brackets.
        clock => selected_clock(clock).unwrap_or(clock),
    }
}

/// Whether stamps of a trace clock are printed as seconds: what ticks in nanoseconds, as far as the
/// reference knows, and a clock without a name.
pub fn is_seconds_clock(clock: &str) -> bool {
    matches!(clock, "" | "local" | "global" | "uptime" | "perf" | "tai" | "tsc2nsec")
        || clock.starts_with("mono")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Reader;
    use crate::testing::{TraceBuilder, Workload};

    #[test]
    fn prefix_is_aligned_and_blank_for_the_top_level_buffer() {
        assert_eq!(prefix("foo", 5), b"  foo: ");
        assert_eq!(prefix("", 3), b"     ");
    }

    #[test]
    fn older_release_prints_instances_by_the_clock_of_the_file() {
        let mut workload = Workload::new(1);
        workload.instances = vec!["counted".to_owned()];
        let mut reader = Reader::parse(TraceBuilder::new(workload).build()).unwrap();
        reader.metadata.buffers[1].clock = "counter".to_owned();
        assert_eq!(reader.metadata.trace_clock(), Some("local"));
        let buffer = &reader.metadata.buffers[1];
        for (compat, seconds) in [(Compat::V3_1_6, true), (Compat::V3_4, false)] {
            let options = ReportOptions { compat, ..ReportOptions::default() };
            assert_eq!(shows_seconds(&reader.metadata, buffer, &options), seconds, "{compat:?}");
        }
    }

    #[test]
    fn clocks_that_tick_in_nanoseconds_are_known_by_name() {
        for clock in ["", "local", "mono", "mono_raw", "tai"] {
            assert!(is_seconds_clock(clock), "{clock}");
        }
        for clock in ["counter", "x86-tsc", "boot", "ppc-tb"] {
            assert!(!is_seconds_clock(clock), "{clock}");
        }
    }
}
