//! Texts of events against those of trace-cmd 3.1.6, and formats cut at every place.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use tracedat::event::Event;
use tracedat::event_format::EventFormat;
use tracedat::print_fmt::{Compat, Names, PrintContext, Program};
use tracedat::printk_formats::PrintkFormats;
use tracedat::symbols::Symbols;
use tracedat::{Abi, ByteOrder};

const ABI: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };

struct Fixture {
    symbols: Symbols,
    printk_formats: PrintkFormats,
}

impl Names for Fixture {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn printk_formats(&self) -> &PrintkFormats {
        &self.printk_formats
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

fn names() -> Fixture {
    Fixture {
        symbols: Symbols::parse(fs::read(folder().join("kallsyms")).unwrap()),
        printk_formats: PrintkFormats::default(),
    }
}

fn event(name: &str) -> Event {
    let (system, event) = name.split_once('/').unwrap();
    let text = fs::read(folder().join(format!("{system}.{event}.format"))).unwrap();
    Event::new(system, &text, ABI).unwrap()
}

/// Event, bytes, text, raw text.
fn records() -> Vec<(String, Vec<u8>, String, String)> {
    let text = fs::read_to_string(folder().join("records.tsv")).unwrap();
    text.lines()
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [event, hex, text, raw] = columns[..] else { panic!("{line}") };
            let bytes = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            (event.to_owned(), bytes, text.replace("\\t", "\t"), raw.to_owned())
        })
        .collect()
}

#[test]
fn records_print_as_the_reference_prints_them() {
    let names = names();
    let cx = PrintContext { names: &names, plugins: false, full: false, compat: Compat::V3_1_6 };
    let records = records();
    assert!(records.len() > 100);
    for (name, data, text, raw) in records {
        let event = event(&name);
        let mut out = Vec::new();
        event.print(&data, &cx, &mut out);
        let printed = String::from_utf8_lossy(&out);
        assert_eq!(printed.strip_suffix('\n').unwrap_or(&printed), text, "{name}");
        out.clear();
        event.print_raw(&data, &cx, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), raw, "{name}");
    }
}

#[test]
fn short_records_and_other_machines_print_something() {
    let names = names();
    let cx = PrintContext { names: &names, plugins: true, full: false, compat: Compat::V3_4 };
    for (name, data, ..) in records() {
        let (system, event) = name.split_once('/').unwrap();
        let text = fs::read(folder().join(format!("{system}.{event}.format"))).unwrap();
        for (byte_order, long_size) in [(ByteOrder::Little, 8), (ByteOrder::Big, 4)] {
            let event = Event::new(system, &text, Abi { byte_order, long_size }).unwrap();
            let mut out = Vec::new();
            for len in 0..=data.len() {
                out.clear();
                event.print(&data[..len], &cx, &mut out);
                event.print_raw(&data[..len], &cx, &mut out);
                assert!(!out.is_empty(), "{name} with {len} bytes");
            }
        }
    }
}

#[test]
fn formats_cut_or_changed_anywhere_do_not_stop_the_program() {
    let names = names();
    let cx = PrintContext { names: &names, plugins: true, full: false, compat: Compat::V3_4 };
    for name in ["sched/sched_switch", "ipi/ipi_send_cpumask", "kvm/kvm_exit"] {
        let (system, event) = name.split_once('/').unwrap();
        let text = fs::read(folder().join(format!("{system}.{event}.format"))).unwrap();
        let mut out = Vec::new();
        for at in (0..text.len()).step_by(3) {
            let mut changed = text.clone();
            changed[at] = changed[at].wrapping_add(at as u8 | 1);
            for text in [&text[..at], &changed] {
                let Ok(format) = EventFormat::parse(system, text, ABI) else { continue };
                out.clear();
                Program::compile(&format, ABI).run(&[0xff; 64], &cx, &mut out);
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let names = names();
    let cx = PrintContext { names: &names, plugins: true, full: false, compat: Compat::V3_1_6 };
    let opened = "(".repeat(100_000);
    let chained = "1 + ".repeat(100_000);
    let signs = "-".repeat(100_000);
    for argument in [opened, chained, signs] {
        let text = format!(
            "name: deep\nID: 1\nformat:\n\tfield:int a;\toffset:0;\tsize:4;\tsigned:1;\n\nprint fmt: \"%d\", {argument}1\n"
        );
        let event = Event::new("test", text.as_bytes(), ABI).unwrap();
        assert!(event.program(true).has_failed());
        let mut out = Vec::new();
        event.print(&[0; 4], &cx, &mut out);
        assert!(out.starts_with(b"[FAILED TO PARSE]"));
    }
}

/// Kernels have such fields since a probe's argument may be an array.
#[test]
fn the_older_release_stops_at_an_array_of_texts() {
    let text = "name: probe\nID: 1\nformat:\n\
         \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
         \tfield:int a;\toffset:4;\tsize:4;\tsigned:1;\n\
         \tfield:__data_loc char[][2] texts;\toffset:8;\tsize:8;\tsigned:1;\n\
         \tfield:int b;\toffset:16;\tsize:4;\tsigned:1;\n\n\
         print fmt: \"%d %d\", REC->a, REC->b\n";
    let event = Event::new("test", text.as_bytes(), ABI).unwrap();
    let names = names();
    let mut data = [0; 20];
    (data[4], data[16]) = (1, 2);
    for (compat, expected) in [(Compat::V3_1_6, "[FAILED TO PARSE] a=1"), (Compat::V3_4, "1 2")] {
        let cx = PrintContext { names: &names, plugins: true, full: false, compat };
        let mut out = Vec::new();
        event.print(&data, &cx, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
