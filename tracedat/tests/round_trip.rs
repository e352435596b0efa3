//! Generated traces are written, read back, and have the same records and metadata.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Cursor;

use proptest::prelude::*;
use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::testing::{Contents, FoundRecord, Generated, TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer, option};
use tracedat::{Abi, ByteOrder, Reader};

/// A file's version and compression.
fn formats() -> impl Strategy<Value = (Version, Codec)> {
    prop_oneof![
        Just((Version::V6, Codec::None)),
        Just((Version::V7, Codec::None)),
        Just((Version::V7, Codec::Zlib)),
        Just((Version::V7, Codec::Zstd)),
    ]
}

fn workloads() -> impl Strategy<Value = Workload> {
    let machine = (prop::bool::ANY, prop::bool::ANY, 12_u32..17);
    let amount = (1_u32..5, 0_usize..600, 0_usize..3, 0_u64..6, prop::bool::ANY);
    (any::<u64>(), machine, amount).prop_map(|(seed, machine, amount)| {
        let (big, short, page_bits) = machine;
        let (cpus, events_per_cpu, instances, missed_every, odd_entries) = amount;
        let byte_order = if big { ByteOrder::Big } else { ByteOrder::Little };
        Workload {
            abi: Abi { byte_order, long_size: if short { 4 } else { 8 } },
            page_size: 1 << page_bits,
            cpus,
            events_per_cpu,
            instances: (0..instances).map(|index| format!("instance {index}")).collect(),
            missed_every,
            odd_entries,
            ..Workload::new(seed)
        }
    })
}

fn write(
    trace: &TraceBuilder,
    made: &Generated,
    (version, codec): (Version, Codec),
    resume: bool,
) -> Vec<u8> {
    let workload = &trace.workload;
    let settings = Settings { version, codec, ..Settings::new(workload.abi, workload.page_size) };
    let mut file = Cursor::new(Vec::new());
    let mut writer = Writer::create(&mut file, settings, &trace.head()).unwrap();
    if resume {
        drop(writer);
        writer = Writer::resume(&mut file).unwrap();
    }
    let id = option::trace_id(workload.seed, workload.abi.byte_order);
    made.finish(writer, workload, &[id]).unwrap();
    file.into_inner()
}

fn check(file: Vec<u8>, trace: &TraceBuilder, made: &Generated) {
    let Reader { metadata, records } = Reader::parse(file).unwrap();
    let head = trace.head();
    assert_eq!(metadata.abi, trace.workload.abi);
    assert_eq!(metadata.page_size, trace.workload.page_size);
    assert_eq!(metadata.cpus, trace.workload.cpus);
    let names: Vec<&str> = metadata.buffers.iter().map(|buffer| buffer.name.as_str()).collect();
    let expected: Vec<&str> = made.buffers.iter().map(|buffer| buffer.name.as_str()).collect();
    assert_eq!(names, expected);
    for (id, data) in &head.options {
        let found = metadata.options().iter().any(|found| found.id == *id && found.data == *data);
        assert!(found, "{id}");
    }
    let found = Contents::of(Reader { metadata, records }).unwrap();
    let ftrace = head.ftrace_formats.iter().map(|text| ("ftrace".to_owned(), text.clone()));
    let others = head
        .systems
        .iter()
        .flat_map(|system| system.formats.iter().map(|text| (system.name.clone(), text.clone())));
    assert!(found.texts.ends_with(&ftrace.chain(others).collect::<Vec<_>>()));

    let expected = made.merged().into_iter().map(|(buffer, cpu, record)| FoundRecord {
        buffer: made.buffers[buffer as usize].name.clone(),
        cpu,
        ticks: record.ticks,
        missed: record.missed,
        data: made.buffers[buffer as usize].cpus[cpu as usize].data(&record).to_vec(),
    });
    assert_eq!(found.records, expected.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_the_writer_wrote_is_read_back(workload in workloads(), format in formats()) {
        let made = workload.generate();
        let trace = TraceBuilder::new(workload);
        check(write(&trace, &made, format, false), &trace, &made);
    }

    #[test]
    fn a_resumed_head_makes_the_same_file(workload in workloads(), zstd in prop::bool::ANY) {
        let made = workload.generate();
        let trace = TraceBuilder::new(workload);
        let format = (Version::V7, if zstd { Codec::Zstd } else { Codec::None });
        let whole = write(&trace, &made, format, false);
        prop_assert!(write(&trace, &made, format, true) == whole);
    }

    #[test]
    fn a_file_spelled_out_by_hand_is_read(workload in workloads(), (version, codec) in formats()) {
        let made = workload.generate();
        let version = if version == Version::V6 { 6 } else { 7 };
        let trace = TraceBuilder::new(workload).version(version).codec(codec);
        check(trace.build_from(&made), &trace, &made);
    }
}

#[test]
fn a_damaged_head_is_refused_and_never_trusted() {
    let trace = TraceBuilder::new(Workload { events_per_cpu: 0, ..Workload::new(1) });
    let settings = Settings::new(trace.workload.abi, 4096);
    let mut file = Cursor::new(Vec::new());
    Writer::create(&mut file, settings, &trace.head()).unwrap();
    let head = file.into_inner();
    for len in (0..head.len()).step_by(7) {
        let cut = Cursor::new(head[..len].to_vec());
        assert!(Writer::resume(cut).is_err(), "cut to {len} of {}", head.len());
    }
    for (at, bit) in (0..head.len() * 8).step_by(101).map(|bit| (bit / 8, bit % 8)) {
        let mut damaged = head.clone();
        damaged[at] ^= 1 << bit;
        // Some damage is harmless here; none may panic or hang.
        if let Ok(writer) = Writer::resume(Cursor::new(damaged)) {
            writer.finish(&[(OptionId(999), vec![1])], Vec::new()).unwrap();
        }
    }
}
