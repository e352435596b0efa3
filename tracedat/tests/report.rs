//! Made-up traces printed and compared with checked-in text: see `fixtures/README.md`.
//!
//! `WRITE_TRACES=DIR` writes the traces to a directory, for another program to print.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::num::NonZeroUsize;
use std::path::Path;

use tracedat::read::{Damage, Merge, Reader};
use tracedat::report::{Compat, Layout, Report, ReportInput, ReportOptions, TimeStyle};
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::{Abi, ByteOrder};

fn workload(seed: u64) -> Workload {
    let mut workload = Workload::new(seed);
    workload.events_per_cpu = 60;
    workload
}

fn trace(name: &str) -> Vec<u8> {
    let bytes = match name {
        "plain" => TraceBuilder::new(workload(1)).version(6),
        "instances" => {
            let mut workload = workload(2);
            workload.instances = vec!["irqs".to_owned(), "io".to_owned()];
            TraceBuilder::new(workload)
        }
        "big-endian" => {
            let mut workload = workload(3);
            workload.abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
            TraceBuilder::new(workload).version(6)
        }
        _ => panic!("no trace of that name: {name}"),
    }
    .build();
    if let Some(dir) = std::env::var_os("WRITE_TRACES") {
        std::fs::write(Path::new(&dir).join(format!("{name}.dat")), &bytes).unwrap();
    }
    bytes
}

fn print(names: &[&str], options: ReportOptions) -> Vec<u8> {
    let readers = names.iter().map(|name| Reader::parse(trace(name)).unwrap()).collect();
    let (files, mut records) = Merge::new(readers);
    let files_and_names: Vec<(String, _)> =
        names.iter().zip(&files).map(|(name, file)| (format!("{name}.dat"), file)).collect();
    let inputs: Vec<ReportInput<'_>> =
        files_and_names.iter().map(|(name, metadata)| ReportInput { name, metadata }).collect();
    let report = Report::new(options);
    let mut text = report.headers(&inputs).concat();
    report.print(&inputs, &mut records, &mut text).unwrap();
    text
}

fn options(change: impl FnOnce(&mut ReportOptions)) -> ReportOptions {
    let mut options = ReportOptions::default();
    options.threads = NonZeroUsize::new(1);
    change(&mut options);
    options
}

fn check(expected: &str, text: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(expected);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read(&path).unwrap();
    for (number, (line, wanted)) in
        text.split(|&b| b == b'\n').zip(wanted.split(|&b| b == b'\n')).enumerate()
    {
        let (line, wanted) = (String::from_utf8_lossy(line), String::from_utf8_lossy(wanted));
        assert_eq!(line, wanted, "{expected}, line {}", number + 1);
    }
    assert_eq!(text.len(), wanted.len(), "{expected}: length");
}

#[test]
fn plain_text_is_that_of_the_older_release() {
    let text = print(&["plain"], options(|o| o.compat = Compat::V3_1_6));
    check("plain.3.1.6.report", &text);
}

#[test]
fn flags_have_a_column_by_default() {
    check("plain.3.4.report", &print(&["plain"], options(|_| {})));
}

#[test]
fn latency_layout_has_nanoseconds_when_asked_for() {
    let text = print(
        &["plain"],
        options(|o| {
            o.layout = Layout::Latency;
            o.time = TimeStyle::Nanoseconds;
        }),
    );
    check("plain.latency.report", &text);
}

#[test]
fn raw_lines_have_flags_as_a_number() {
    let text = print(
        &["plain"],
        options(|o| {
            o.layout = Layout::Latency;
            o.raw = true;
            o.compat = Compat::V3_1_6;
        }),
    );
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| line.contains("=")).filter(|line| line.contains(": "));
    let flags: Vec<_> =
        lines.filter_map(|line| line.get(15..)?.split_whitespace().next()).collect();
    assert!(flags.len() > 100, "{text}");
    assert!(flags.iter().all(|flags| flags.contains("-0x")), "{flags:?}");
}

#[test]
fn differences_are_counted_from_a_time_that_is_not_0() {
    let text = print(
        &["plain"],
        options(|o| {
            o.align_time = true;
            o.time_differences = true;
            o.compat = Compat::V3_1_6;
        }),
    );
    let text = String::from_utf8(text).unwrap();
    let mut previous = "0.000000";
    let mut counted = 0;
    for line in text.lines().filter(|line| line.contains("] ")) {
        let (_, rest) = line.split_once("] ").unwrap();
        let (time, rest) = rest.trim_start().split_once(':').unwrap();
        assert_eq!(rest.trim_start().starts_with("(+"), previous != "0.000000", "{line}");
        counted += usize::from(previous != "0.000000");
        previous = time;
    }
    assert!(counted > 100, "{text}");
}

#[test]
fn instances_are_told_apart() {
    let text = print(&["instances"], options(|o| o.compat = Compat::V3_1_6));
    check("instances.3.1.6.report", &text);
}

#[test]
fn big_endian_32_bit_trace_is_read_by_its_own_rules() {
    let text = print(&["big-endian"], options(|o| o.compat = Compat::V3_1_6));
    check("big-endian.3.1.6.report", &text);
}

#[test]
fn several_files_are_one_report() {
    let text = print(&["plain", "big-endian"], options(|o| o.compat = Compat::V3_1_6));
    check("two-files.3.1.6.report", &text);
}

/// A field may claim bytes that its record does not have: they are those of the next sub-buffer where damage is taken
/// as found.
#[test]
fn bytes_behind_a_record_end_with_its_sub_buffer_unless_damage_is_taken_as_found() {
    for (damage, goes_on) in [(Damage::LeaveOut, false), (Damage::AsFound, true)] {
        let mut workload = workload(6);
        workload.events_per_cpu = 2000;
        let page_size = workload.page_size as usize;
        let mut reader = Reader::parse(TraceBuilder::new(workload).version(6).build()).unwrap();
        reader.set_damage(damage);
        let mut most = 0;
        while let Some(record) = reader.records.next().unwrap() {
            most = most.max(record.behind.len());
        }
        assert_eq!(most > page_size, goes_on, "{damage:?}: {most}");
    }
}

#[test]
fn threads_change_nothing() {
    let mut large = Workload::new(4);
    large.events_per_cpu = 20_000;
    let bytes: std::sync::Arc<[u8]> = TraceBuilder::new(large).build().into();
    let text = |threads| {
        let (files, mut records) = Merge::new(vec![Reader::parse(bytes.clone()).unwrap()]);
        let inputs = [ReportInput { name: "large.dat", metadata: &files[0] }];
        let mut text = Vec::new();
        let report = Report::new(options(|o| o.threads = NonZeroUsize::new(threads)));
        report.print(&inputs, &mut records, &mut text).unwrap();
        text
    };
    let one = text(1);
    assert!(one.split(|&b| b == b'\n').count() > 40_000);
    for threads in [2, 5] {
        assert!(text(threads) == one, "{threads} threads");
    }
}
