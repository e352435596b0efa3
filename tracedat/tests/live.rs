//! A file can be read at every moment of its recording, and is a plain one afterwards.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Cursor, Write};

use tracedat::compress::Codec;
use tracedat::testing::{Generated, TraceBuilder, Workload};
use tracedat::write::{
    Cap, ChunkSink, EndSink, Head, LiveBuffer, LiveLayout, Recorded, RegionFile, Settings, Writer,
    option,
};
use tracedat::{Abi, ByteOrder, Reader};

const CODECS: [Codec; 3] = [Codec::None, Codec::Zlib, Codec::Zstd];

fn workload(seed: u64) -> Workload {
    Workload {
        cpus: 3,
        events_per_cpu: 2000,
        instances: vec!["one".to_owned(), "two".to_owned()],
        ..Workload::new(seed)
    }
}

/// Buffer, CPU, time and bytes of every record.
fn records(file: Vec<u8>) -> Vec<(u32, u32, u64, Vec<u8>)> {
    let Reader { mut records, .. } = Reader::parse(file).unwrap();
    let mut all = Vec::new();
    while let Some(record) = records.next().unwrap() {
        all.push((record.buffer, record.cpu, record.time, record.data.to_vec()));
    }
    all
}

fn layout(made: &Generated, page_size: u32) -> LiveLayout {
    let buffers = made.buffers.iter().map(|buffer| LiveBuffer {
        name: buffer.name.clone(),
        clock: "local".to_owned(),
        page_size,
        cpus: (0..).take(buffer.cpus.len()).collect(),
    });
    LiveLayout::with_room(buffers.collect(), 4096, 1 << 20, 1 << 20).unwrap()
}

/// A recording: what is known first, then data, then what was read meanwhile.
struct Recording {
    layout: LiveLayout,
    file: tempfile::NamedTempFile,
    recorded: Vec<Recorded>,
}

impl Recording {
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.file.path()).unwrap()
    }

    /// Takes bytes out of the file.
    fn collapse(&self, gap: tracedat::layout::Gap) {
        let mut bytes = self.bytes();
        let (start, end) = (gap.offset as usize, (gap.offset + gap.len) as usize);
        assert!(start.is_multiple_of(4096) && end.is_multiple_of(4096) && end < bytes.len());
        bytes.drain(start..end);
        std::fs::write(self.file.path(), bytes).unwrap();
    }
}

fn record(
    trace: &TraceBuilder,
    made: &Generated,
    codec: Codec,
) -> (Recording, Writer<std::fs::File>) {
    let workload = &trace.workload;
    let layout = layout(made, workload.page_size);
    let settings = Settings { codec, ..Settings::new(workload.abi, workload.page_size) };
    let file = tempfile::NamedTempFile::new().unwrap();
    let whole = trace.head();
    let first = Head {
        header_page: whole.header_page.clone(),
        header_event: whole.header_event.clone(),
        cpus: whole.cpus,
        options: whole.options.clone(),
        ..Head::default()
    };
    let mut writer = Writer::create(file.reopen().unwrap(), settings, &first).unwrap();
    writer.reserve(&layout).unwrap();
    let mut recorded = Vec::new();
    for region in layout.regions() {
        let data = &made.buffers[region.buffer].cpus[region.cpu as usize].bytes;
        if codec == Codec::None {
            use std::os::unix::fs::FileExt;
            file.as_file().write_all_at(data, region.offset).unwrap();
            let size = data.len() as u64;
            recorded.push(Recorded { size_on_disk: size, size, ..Recorded::default() });
        } else {
            let output = file.reopen().unwrap();
            let order = workload.abi.byte_order;
            let region = RegionFile::new(output, *region, order);
            let (mut sink, pending) =
                ChunkSink::start(region, codec, workload.page_size, 3, || {}).unwrap();
            for sub_buffer in data.chunks(workload.page_size as usize) {
                sink.write_all(sub_buffer).unwrap();
            }
            drop(sink);
            let (written, result) = pending.finish();
            result.unwrap();
            recorded.push(written);
        }
    }
    let rest =
        Head { header_page: Vec::new(), header_event: Vec::new(), options: Vec::new(), ..whole };
    writer.add_head(&rest).unwrap();
    (Recording { layout, file, recorded }, writer)
}

#[test]
fn every_moment_of_a_recording_can_be_read() {
    for (seed, codec) in CODECS.into_iter().enumerate() {
        let trace = TraceBuilder::new(workload(seed as u64)).codec(codec);
        let made = trace.workload.generate();
        let expected = records(trace.build_from(&made));
        assert!(expected.len() > 1000);
        let (recording, writer) = record(&trace, &made, codec);
        assert!(records(recording.bytes()) == expected, "{codec}: while recording");
        let options = [option::trace_id(7, trace.workload.abi.byte_order)];
        let closing = writer.close(&options, &recording.layout, &recording.recorded).unwrap();
        assert!(records(recording.bytes()) == expected, "{codec}: before the first gap is closed");
        for &gap in closing.gaps() {
            recording.collapse(gap);
            assert!(records(recording.bytes()) == expected, "{codec}: without {gap:?}");
        }
        assert!(Reader::parse(recording.bytes()).unwrap().metadata.warnings().len() == 1);
        let len = closing.file_len();
        let placements = closing.commit().unwrap();
        assert_eq!(placements.len(), 9);
        let file = recording.bytes();
        assert_eq!(file.len() as u64, len);
        let metadata = Reader::parse(file.clone()).unwrap().metadata;
        assert_eq!((metadata.warnings().len(), metadata.trace_id()), (0, Some(7)));
        assert_eq!(metadata.options_of(tracedat::layout::OptionId::LIVE).count(), 0);
        assert_eq!(metadata.kallsyms_text(), trace.head().kallsyms);
        assert!(records(file) == expected, "{codec}: complete");
    }
}

#[test]
fn a_recording_can_become_version_6() {
    let abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
    let trace = TraceBuilder::new(Workload { abi, ..workload(9) }).version(6).codec(Codec::None);
    let made = trace.workload.generate();
    let expected = records(trace.build_from(&made));
    let (recording, writer) = record(&trace, &made, Codec::None);
    let closing =
        writer.close_as_version_6(&trace.head(), &recording.layout, &recording.recorded).unwrap();
    for &gap in closing.gaps() {
        assert!(records(recording.bytes()) == expected, "before {gap:?} is closed");
        assert_eq!(Reader::parse(recording.bytes()).unwrap().metadata.version, 7);
        recording.collapse(gap);
    }
    let len = closing.file_len();
    closing.commit().unwrap();
    assert_eq!(recording.bytes().len() as u64, len);
    let metadata = Reader::parse(recording.bytes()).unwrap().metadata;
    assert_eq!((metadata.version, metadata.warnings().len()), (6, 0));
    assert!(records(recording.bytes()) == expected);
}

#[test]
fn what_was_killed_anywhere_has_all_that_was_whole() {
    let trace = TraceBuilder::new(workload(3)).codec(Codec::None);
    let made = trace.workload.generate();
    let (recording, _writer) = record(&trace, &made, Codec::None);
    let page_size = trace.workload.page_size as usize;
    let last = recording.layout.regions().last().unwrap();
    let all = records(recording.bytes()).len();
    let mut file = recording.bytes();
    // In the middle of the last sub-buffer of the last CPU.
    file.truncate(file.len() - page_size / 2);
    let left = records(file.clone()).len();
    assert!(left < all && left + 500 > all, "{left} of {all}");
    file.truncate(last.offset as usize);
    let Reader { metadata, .. } = Reader::parse(file).unwrap();
    assert_eq!(metadata.buffers[2].cpus[2].size, 0);
}

#[test]
fn a_region_that_is_full_is_an_error_and_keeps_what_it_has() {
    let buffer =
        LiveBuffer { name: String::new(), clock: String::new(), page_size: 4096, cpus: vec![0] };
    let layout = LiveLayout::with_room(vec![buffer], 4096, 1 << 20, 4096).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let region = layout.regions()[0];
    let region = RegionFile::new(file.reopen().unwrap(), region, ByteOrder::Little);
    let (mut sink, pending) = ChunkSink::start(region, Codec::Zstd, 4096, 1, || {}).unwrap();
    // Nothing that any compression makes fit.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(40_960)
    .collect();
    let mut failed = false;
    for _ in 0..1000 {
        failed |= sink.write_all(&noise).is_err();
    }
    drop(sink);
    assert!(failed);
    let (written, result) = pending.finish();
    assert_eq!(written, Recorded::default());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("data of a CPU"), "{error}");
    let mut output = Cursor::new(Vec::new());
    let settings = Settings::new(Abi::NATIVE, 4096);
    let mut writer = Writer::create(&mut output, settings, &Head::default()).unwrap();
    writer.reserve(&layout).unwrap();
    writer
        .close(&[], &layout, &[Recorded { size_on_disk: 8192, size: 8192, ..Recorded::default() }])
        .unwrap_err();
}

/// What a disk does with a hole.
fn zeros(file: &std::fs::File, offset: u64, len: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(&vec![0; len as usize], offset)
}

/// Of each CPU the last records, and not all: the file is told apart from one that has everything.
fn is_end(found: Vec<(u32, u32, u64, Vec<u8>)>, all: &[(u32, u32, u64, Vec<u8>)], when: &str) {
    let mut cpus = std::collections::BTreeMap::<_, Vec<_>>::new();
    for record in found {
        cpus.entry((record.0, record.1)).or_default().push(record);
    }
    assert_eq!(cpus.len(), 9, "{when}");
    for ((buffer, cpu), found) in cpus {
        let of_cpu = all.iter().filter(|record| (record.0, record.1) == (buffer, cpu));
        let of_cpu: Vec<_> = of_cpu.cloned().collect();
        assert!(found.len() < of_cpu.len(), "{when}: nothing is left out");
        assert!(found.len() > 100, "{when}: only {} records", found.len());
        assert!(of_cpu.ends_with(&found), "{when}: buffer {buffer}, CPU {cpu}");
    }
}

/// Closes a recording up, and looks at it at every moment.
fn close(
    recording: &Recording,
    closing: tracedat::write::Closing<std::fs::File>,
    all: &[(u32, u32, u64, Vec<u8>)],
) {
    for (number, &gap) in closing.gaps().iter().enumerate() {
        is_end(records(recording.bytes()), all, &format!("before gap {number} is taken out"));
        recording.collapse(gap);
    }
    // What was given back behind the data of the last CPU.
    recording.file.as_file().set_len(closing.file_len()).unwrap();
    closing.commit().unwrap();
    let file = recording.bytes();
    assert_eq!(Reader::parse(file.clone()).unwrap().metadata.warnings().len(), 0);
    is_end(records(file), all, "complete");
}

/// A recording of which the last 40 KiB of each CPU are kept, in regions that are used up several times.
fn record_end(
    trace: &TraceBuilder,
    made: &Generated,
    codec: Codec,
) -> (Recording, Writer<std::fs::File>) {
    let (cap, region_len) = (40 << 10, 160 << 10);
    let Workload { page_size, abi, .. } = trace.workload;
    let all = layout(made, page_size);
    let mut buffers = Vec::new();
    for region in all.regions() {
        if buffers.len() == region.buffer {
            let name = made.buffers[region.buffer].name.clone();
            let cpus = (0..).take(made.buffers[region.buffer].cpus.len()).collect();
            buffers.push(LiveBuffer { name, clock: "local".to_owned(), page_size, cpus });
        }
    }
    let layout = LiveLayout::with_room(buffers, 4096, 1 << 20, region_len).unwrap();
    let layout = layout.keeping_the_end();
    let file = tempfile::NamedTempFile::new().unwrap();
    let whole = trace.head();
    let settings = Settings { codec, ..Settings::new(abi, page_size) };
    let mut writer = Writer::create(file.reopen().unwrap(), settings, &whole).unwrap();
    writer.reserve(&layout).unwrap();
    let mut recorded = Vec::new();
    for (index, region) in layout.regions().iter().enumerate() {
        let start_place = writer.start_place(&layout, index).unwrap();
        let cap = Cap { max: cap, start_place, release: zeros };
        let target = RegionFile::new(file.reopen().unwrap(), *region, abi.byte_order);
        let target = target.capped(cap, page_size);
        let data = &made.buffers[region.buffer].cpus[region.cpu as usize].bytes;
        recorded.push(if codec == Codec::None {
            let mut sink = EndSink::new(target);
            for sub_buffers in data.chunks(3 * page_size as usize) {
                sink.write_all(sub_buffers).unwrap();
            }
            sink.kept().recorded()
        } else {
            let (mut sink, pending) = ChunkSink::start(target, codec, page_size, 9, || {}).unwrap();
            sink.write_all(data).unwrap();
            drop(sink);
            let (recorded, result) = pending.finish();
            result.unwrap();
            recorded
        });
    }
    (Recording { layout, file, recorded }, writer)
}

#[test]
fn every_moment_of_a_capped_recording_has_the_end() {
    for (seed, codec) in CODECS.into_iter().enumerate() {
        let workload = Workload { events_per_cpu: 6000, ..workload(seed as u64) };
        let trace = TraceBuilder::new(workload).codec(codec);
        let made = trace.workload.generate();
        let all = records(trace.build_from(&made));
        let (recording, writer) = record_end(&trace, &made, codec);
        is_end(records(recording.bytes()), &all, &format!("{codec}: while recording"));
        let options = [option::trace_id(7, trace.workload.abi.byte_order)];
        let closing = writer.close(&options, &recording.layout, &recording.recorded).unwrap();
        close(&recording, closing, &all);
    }
}

#[test]
fn a_capped_recording_can_become_version_6() {
    let abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };
    let workload = Workload { abi, events_per_cpu: 6000, ..workload(9) };
    let trace = TraceBuilder::new(workload).version(6).codec(Codec::None);
    let made = trace.workload.generate();
    let all = records(trace.build_from(&made));
    let (recording, writer) = record_end(&trace, &made, Codec::None);
    let closing =
        writer.close_as_version_6(&trace.head(), &recording.layout, &recording.recorded).unwrap();
    close(&recording, closing, &all);
}
