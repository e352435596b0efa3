//! A day of events in fast motion: however long a recording is, it takes as much memory as a short one, and its file has
//! the day from end to end, or the end of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::time::Duration;

use tracedat::compress::Codec;
use tracedat::testing::{SubBufferBuilder, TraceBuilder, Workload};
use tracedat::write::{
    Cap, ChunkSink, EndSink, LiveBuffer, LiveLayout, Region, RegionFile, Settings, Writer,
};
use tracedat::{Abi, Reader};

const PAGE: usize = 4096;
const CPUS: u32 = 2;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Sub-buffers of each CPU: 64 MiB.
const PAGES: u64 = 16 << 10;
const EVENTS_OF_PAGE: u64 = 4;
/// Bytes of each CPU that a capped recording keeps.
const CAP: u64 = 4 << 20;

/// What may wait to be compressed.
const WAITING: u64 = 64 << 20;
const MEMORY: u64 = WAITING + MEMORY_WITHOUT;
/// For who has nothing waiting.
const MEMORY_WITHOUT: u64 = 24 << 20;

/// Nanoseconds from one sub-buffer to the next.
fn step() -> u64 {
    DAY.as_nanos() as u64 / PAGES
}

/// Some events of a sub-buffer, with what no codec finds too easy.
fn page(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut builder = SubBufferBuilder::little_endian_64();
    for _ in 0..EVENTS_OF_PAGE {
        let payload: Vec<u8> = (0..900_u32)
            .map(|at| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if at < 300 { (state >> 56) as u8 } else { at as u8 }
            })
            .collect();
        builder = builder.event(1000, &payload);
    }
    builder.build()
}

/// Sub-buffers of a day, one after the other.
fn generate(mut sink: impl Write, cpu: u32) -> io::Result<()> {
    let mut page = page(u64::from(cpu) + 1);
    for number in 0..PAGES {
        page[..8].copy_from_slice(&(number * step()).to_le_bytes());
        sink.write_all(&page)?;
    }
    sink.flush()
}

/// Where holes cannot be made, as here, the disk has all until the end.
fn keeps(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn record(file: &tempfile::NamedTempFile, codec: Codec, is_capped: bool) {
    let buffer = LiveBuffer {
        name: String::new(),
        clock: "mono".to_owned(),
        page_size: PAGE as u32,
        cpus: (0..CPUS).collect(),
    };
    let layout = LiveLayout::with_room(vec![buffer], 4096, 1 << 20, 1 << 30).unwrap();
    let layout = if is_capped { layout.keeping_the_end() } else { layout };
    let settings = Settings { codec, ..Settings::new(Abi::NATIVE, PAGE as u32) };
    let head = TraceBuilder::new(Workload { cpus: CPUS, ..Workload::new(1) }).head();
    let mut writer = Writer::create(file.reopen().unwrap(), settings, &head).unwrap();
    writer.reserve(&layout).unwrap();
    let target = |index: usize, region: &Region| {
        let target = RegionFile::new(file.reopen().unwrap(), *region, Abi::NATIVE.byte_order);
        if !is_capped {
            return target;
        }
        let start_place = writer.start_place(&layout, index).unwrap();
        target.capped(Cap { max: CAP, start_place, release: keeps }, PAGE as u32)
    };
    std::thread::scope(|scope| {
        for (index, region) in layout.regions().iter().enumerate() {
            let (target, cpu, offset) = (target(index, region), region.cpu, region.offset);
            let mut file = file.reopen().unwrap();
            scope.spawn(move || {
                if codec == Codec::None && is_capped {
                    return generate(EndSink::new(target), cpu).unwrap();
                }
                if codec == Codec::None {
                    // As the recorder does, which writes sub-buffers to where the region is.
                    file.seek(SeekFrom::Start(offset)).unwrap();
                    return generate(file, cpu).unwrap();
                }
                let (sink, pending) =
                    ChunkSink::start(target, codec, PAGE as u32, CPUS as usize, || {}).unwrap();
                generate(sink, cpu).unwrap();
                pending.finish().1.unwrap();
            });
        }
    });
}

/// First and last time of each CPU, and how many events.
fn read(file: &tempfile::NamedTempFile) -> Vec<(u64, u64, u64)> {
    let Reader { mut records, .. } = Reader::open(file.path()).unwrap();
    let mut found = vec![(u64::MAX, 0, 0); CPUS as usize];
    let mut last = 0;
    while let Some(record) = records.next().unwrap() {
        assert!(record.time >= last, "out of order");
        last = record.time;
        let (first, end, count) = &mut found[record.cpu as usize];
        (*first, *end) = (record.time.min(*first), record.time);
        *count += 1;
    }
    found
}

/// Largest resident size of this process since it was last asked, in bytes.
fn high_water() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let bytes = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    // It starts over, where the kernel lets it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    bytes
}

#[test]
fn a_day_takes_no_more_memory_than_an_hour() {
    let all = PAGES * EVENTS_OF_PAGE;
    for (codec, most) in [(Codec::None, MEMORY_WITHOUT), (Codec::Zstd, MEMORY)] {
        for is_capped in [true, false] {
            let file = tempfile::NamedTempFile::new().unwrap();
            high_water();
            record(&file, codec, is_capped);
            let written = high_water();
            let found = read(&file);
            let while_read = high_water();
            println!(
                "{codec}, capped: {is_capped}: {} MiB of memory written, {} MiB read",
                written >> 20,
                while_read >> 20
            );
            assert!(written < most, "{written} bytes to write");
            assert!(while_read < most, "{while_read} bytes to read");
            for (first, last, count) in found {
                let end = DAY.as_nanos() as u64 - step();
                assert!((end..end + step()).contains(&last), "the end is missing: {last}");
                if is_capped {
                    let kept = count / EVENTS_OF_PAGE * PAGE as u64;
                    assert!((CAP / 2..=CAP).contains(&kept), "{kept} bytes are kept");
                    assert!(first > end - CAP / PAGE as u64 * step());
                } else {
                    assert!(first < step() && count == all, "{count} events from {first} on");
                }
            }
        }
    }
}
