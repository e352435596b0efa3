//! Generated traces are split; the pieces one after the other have the same records.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cmp::Ordering;
use std::io::Cursor;
use std::sync::Arc;

use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::metadata::Warning;
use tracedat::source::ReadAt;
use tracedat::split::{Limit, Selection, SplitError, SplitOptions, Splitter};
use tracedat::testing::{Contents, FoundRecord, TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer};
use tracedat::{Abi, ByteOrder, Reader};

fn workload(big: bool, long_size: u8) -> Workload {
    let byte_order = if big { ByteOrder::Big } else { ByteOrder::Little };
    Workload {
        abi: Abi { byte_order, long_size },
        events_per_cpu: 500,
        instances: vec!["one".to_owned()],
        missed_every: 2,
        ..Workload::new(11)
    }
}

/// A file with an option that nobody knows, and a section that only an option knows.
fn file(workload: Workload, version: Version, codec: Codec) -> Vec<u8> {
    let made = workload.generate();
    let trace = TraceBuilder::new(workload);
    let workload = &trace.workload;
    let settings = Settings { version, codec, ..Settings::new(workload.abi, workload.page_size) };
    let mut head = trace.head();
    head.options.push((OptionId(999), b"from the future".to_vec()));
    let mut file = Cursor::new(Vec::new());
    let mut writer = Writer::create(&mut file, settings, &head).unwrap();
    if version == Version::V7 {
        writer.add_section(OptionId::MODULES_FILE, "modules", b"kvm 1 0 - Live").unwrap();
    }
    made.finish(writer, workload, &[]).unwrap();
    file.into_inner()
}

fn records(file: Vec<u8>) -> Vec<FoundRecord> {
    let contents = Contents::of(Reader::parse(file).unwrap()).unwrap();
    let of_the_unknown = |warning: &Warning| warning.message.starts_with("option 999");
    assert!(contents.warnings.iter().all(of_the_unknown), "{:?}", contents.warnings);
    contents.records
}

fn by_cpu(a: &FoundRecord, b: &FoundRecord) -> Ordering {
    (&a.buffer, a.cpu).cmp(&(&b.buffer, b.cpu))
}

fn splitter(file: &[u8], options: SplitOptions) -> Result<Splitter, SplitError> {
    let source: Arc<dyn ReadAt> = Arc::new(Arc::<[u8]>::from(file));
    Splitter::from_source(source, options)
}

/// All pieces up to the end.
fn pieces(file: &[u8], options: SplitOptions) -> Vec<Vec<u8>> {
    let mut splitter = splitter(file, options).unwrap();
    let mut pieces = Vec::new();
    while splitter.has_more() {
        let mut piece = Cursor::new(Vec::new());
        let told = splitter.write_piece(&mut piece).unwrap();
        let found = records(piece.get_ref().clone());
        assert_eq!(told.events, found.len() as u64);
        let times = found.iter().map(|record| record.ticks);
        assert_eq!(told.times, times.clone().min().zip(times.max()));
        pieces.push(piece.into_inner());
    }
    pieces
}

fn limited(limit: Limit, per_cpu: bool) -> SplitOptions {
    SplitOptions { limit: Some(limit), per_cpu, ..SplitOptions::default() }
}

const FORMATS: [(Version, Codec); 4] = [
    (Version::V6, Codec::None),
    (Version::V7, Codec::None),
    (Version::V7, Codec::Zlib),
    (Version::V7, Codec::Zstd),
];

#[test]
fn pieces_have_all_records_in_their_order() {
    for (at, (version, codec)) in FORMATS.into_iter().enumerate() {
        let input = file(workload(at % 2 == 1, if at < 2 { 8 } else { 4 }), version, codec);
        let all = records(input.clone());
        for limit in [Limit::Events(37), Limit::Nanoseconds(200_000)] {
            let pieces = pieces(&input, limited(limit, false));
            assert!(pieces.len() > 3, "{limit:?}: {} pieces", pieces.len());
            let joined: Vec<FoundRecord> = pieces.into_iter().flat_map(records).collect();
            assert_eq!(joined, all, "{version:?} {codec} {limit:?}");
        }
    }
}

#[test]
fn limits_hold_for_each_cpu() {
    let input = file(workload(false, 8), Version::V7, Codec::Zstd);
    let mut all = records(input.clone());
    all.sort_by(by_cpu);
    for limit in [Limit::Events(100), Limit::Nanoseconds(300_000), Limit::SubBuffers(2)] {
        let pieces = pieces(&input, limited(limit, true));
        if limit == Limit::Events(100) {
            assert_eq!(pieces.len(), 5);
        }
        let mut joined: Vec<FoundRecord> = pieces.into_iter().flat_map(records).collect();
        joined.sort_by(by_cpu);
        assert_eq!(joined, all, "{limit:?}");
    }
}

#[test]
fn whole_sub_buffers_are_copied_as_they_are() {
    let input = file(workload(false, 8), Version::V6, Codec::None);
    let output = pieces(&input, limited(Limit::SubBuffers(1), true)).swap_remove(0);
    let pages = |file: &[u8]| {
        let metadata = Reader::parse(file.to_vec()).unwrap().metadata;
        let data = metadata.buffers.iter().flat_map(|buffer| buffer.cpus.clone());
        let page = |at: u64| file[at as usize..][..4096].to_vec();
        data.map(|data| page(data.offset)).collect::<Vec<_>>()
    };
    assert_eq!(pages(&output), pages(&input));
}

#[test]
fn what_is_known_about_the_trace_goes_into_every_piece() {
    for (version, codec) in FORMATS {
        let input = file(workload(false, 8), version, codec);
        let before = Reader::parse(input.clone()).unwrap().metadata;
        for piece in pieces(&input, limited(Limit::Events(900), false)) {
            let bytes = piece.clone();
            let after = Reader::parse(piece).unwrap().metadata;
            assert_eq!((after.version, after.cpus), (before.version, before.cpus));
            assert_eq!(after.compression.name, before.compression.name);
            assert!(after.event_texts().eq(before.event_texts()));
            assert_eq!(after.kallsyms_text(), before.kallsyms_text());
            assert_eq!(after.cmdlines_text(), before.cmdlines_text());
            assert_eq!(after.trace_clock_text(), before.trace_clock_text());
            let unknown = after.options_of(OptionId(999)).next().unwrap();
            assert_eq!(unknown.data, b"from the future");
            if version == Version::V7 {
                let option = after.options_of(OptionId::MODULES_FILE).next().unwrap();
                let at = u64::from_le_bytes(option.data[..8].try_into().unwrap()) as usize;
                assert_eq!(bytes[at..at + 2], OptionId::MODULES_FILE.0.to_le_bytes());
            }
        }
    }
}

#[test]
fn times_cpus_and_buffers_are_selected() {
    let input = file(workload(false, 8), Version::V7, Codec::Zstd);
    let all = records(input.clone());
    let (start, end) = (all[300].ticks, all[700].ticks);
    let options = SplitOptions { start: Some(start), end: Some(end), ..SplitOptions::default() };
    let found = records(pieces(&input, options).swap_remove(0));
    let inside = |record: &&FoundRecord| (start..=end).contains(&record.ticks);
    let data = |record: &FoundRecord| (record.ticks, record.cpu, record.data.clone());
    let expected: Vec<_> = all.iter().filter(inside).map(data).collect();
    assert_eq!(found.iter().map(data).collect::<Vec<_>>(), expected);

    let only = Selection { name: "one".to_owned(), new_name: String::new() };
    let options = SplitOptions { cpu: Some(1), buffers: vec![only], ..SplitOptions::default() };
    let found = records(pieces(&input, options).swap_remove(0));
    let wanted = |record: &&FoundRecord| record.cpu == 1 && record.buffer == "one";
    let expected: Vec<_> = all.iter().filter(wanted).map(data).collect();
    assert_eq!(found.iter().map(data).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|record| record.buffer.is_empty()));

    let options = SplitOptions { cpu: Some(7), ..SplitOptions::default() };
    assert!(matches!(splitter(&input, options), Err(SplitError::NoCpu { cpu: 7 })));
    let none = Selection { name: "none".to_owned(), new_name: String::new() };
    let options = SplitOptions { buffers: vec![none], ..SplitOptions::default() };
    assert!(matches!(splitter(&input, options), Err(SplitError::NoBuffer { .. })));
}

#[test]
fn damaged_traces_are_split_or_refused() {
    let input = file(workload(false, 8), Version::V7, Codec::Zstd);
    for (at, bit) in (0..input.len() * 8).step_by(9973).map(|bit| (bit / 8, bit % 8)) {
        let mut damaged = input.clone();
        damaged[at] ^= 1 << bit;
        let Ok(mut splitter) = splitter(&damaged, limited(Limit::Events(600), false)) else {
            continue;
        };
        let mut left = 20;
        while splitter.has_more() && left > 0 {
            left -= 1;
            if splitter.write_piece(Cursor::new(Vec::new())).is_err() {
                break;
            }
        }
        assert!(left > 0, "no end with byte {at} damaged");
    }
}
