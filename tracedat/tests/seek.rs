//! Records of some times, found without reading the others, are those that reading all of them gives.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "other tests use the rest")]
mod damage;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use damage::Damage;
use proptest::prelude::*;
use tracedat::clock::{ClockSample, TimeShift};
use tracedat::compress::Codec;
use tracedat::read::{self, Merge, Reader, Records};
use tracedat::report::{Compat, Report, ReportInput, ReportOptions, TimeStyle};
use tracedat::source::ReadAt;
use tracedat::split::{SplitOptions, Splitter};
use tracedat::testing::{SubBufferBuilder, TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer, option};
use tracedat::{Abi, ByteOrder, MissedEvents};

/// All that is told of a record.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    place: (u32, u32),
    time: u64,
    missed: MissedEvents,
    starts_sub_buffer: bool,
    data: Vec<u8>,
}

fn rest(records: &mut Records) -> Vec<Found> {
    let mut found = Vec::new();
    while let Some(record) = records.next().unwrap() {
        found.push(Found {
            place: (record.buffer, record.cpu),
            time: record.time,
            missed: record.missed,
            starts_sub_buffer: record.starts_sub_buffer,
            data: record.data.to_vec(),
        });
    }
    found
}

fn within(all: &[Found], from: u64, to: u64) -> Vec<Found> {
    all.iter().filter(|found| (from..=to).contains(&found.time)).cloned().collect()
}

fn by_cpu(all: &[Found]) -> BTreeMap<(u32, u32), Vec<Found>> {
    let mut cpus = BTreeMap::<_, Vec<Found>>::new();
    for found in all {
        cpus.entry(found.place).or_default().push(found.clone());
    }
    cpus
}

/// A trace with many sub-buffers in few bytes.
#[derive(Clone, Debug)]
struct Made {
    workload: Workload,
    version: u8,
    codec: Codec,
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        TraceBuilder::new(self.workload.clone()).version(self.version).codec(self.codec).build()
    }
}

fn made() -> impl Strategy<Value = Made> {
    let format = prop_oneof![
        Just((6, Codec::None)),
        Just((7, Codec::None)),
        Just((7, Codec::Zlib)),
        Just((7, Codec::Zstd)),
    ];
    let abi = (any::<bool>(), prop_oneof![Just(4), Just(8)]);
    (any::<u64>(), 1..4_u32, 1..1500_usize, any::<bool>(), any::<bool>(), abi, format).prop_map(
        |(seed, cpus, events_per_cpu, instance, odd_entries, (big, long_size), format)| Made {
            workload: Workload {
                abi: Abi {
                    byte_order: if big { ByteOrder::Big } else { ByteOrder::Little },
                    long_size,
                },
                cpus,
                events_per_cpu,
                odd_entries,
                page_size: 512,
                instances: instance.then(|| "one".to_owned()).into_iter().collect(),
                ..Workload::new(seed)
            },
            version: format.0,
            codec: format.1,
        },
    )
}

/// Some times around those of records, the earlier one first.
fn window(all: &[Found], (one, other): (prop::sample::Index, prop::sample::Index)) -> (u64, u64) {
    let pick = |index: prop::sample::Index| match all {
        [] => 0,
        _ => index.get(all).time,
    };
    let (one, other) = (pick(one), pick(other));
    (one.min(other), one.max(other))
}

fn indices() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index)> {
    (any::<prop::sample::Index>(), any::<prop::sample::Index>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_window_has_what_reading_all_finds_in_it(made in made(), picks in indices(), close in any::<bool>()) {
        let mut records = Reader::parse(made.bytes()).unwrap().records;
        let all = rest(&mut records);
        let (from, mut to) = window(&all, picks);
        if close {
            to = from + (to - from) / 50;
        }
        for (from, to) in [(from, to), (from + 1, to.wrapping_sub(1)), (to, u64::MAX), (0, from), (to, from)] {
            records.between(from, to).unwrap();
            prop_assert_eq!(rest(&mut records), within(&all, from, to), "{} to {}", from, to);
        }
        records.seek(from).unwrap();
        let next = records.next().unwrap().map(|record| record.time);
        prop_assert_eq!(next, within(&all, from, u64::MAX).first().map(|found| found.time));
        for (&(buffer, cpu), own) in &by_cpu(&all) {
            let times = records.times_of_cpu(buffer, cpu).unwrap();
            prop_assert_eq!(times, Some((own[0].time, own[own.len() - 1].time)));
        }
        // Asking starts over.
        prop_assert_eq!(rest(&mut records), all);
    }

    #[test]
    fn damage_hides_no_record_of_a_cpu_whose_records_are_in_order(
        made in made(), picks in indices(), seed in any::<u64>(), cut in any::<prop::sample::Index>()
    ) {
        let whole = made.bytes();
        let damage = match seed % 4 {
            0 => Damage::CutTo(cut.index(whole.len())),
            _ => Damage::FlipBits { seed },
        };
        let Ok(Reader { mut records, .. }) = Reader::parse(damage.apply(&whole)) else {
            return Ok(());
        };
        let all = rest(&mut records);
        let (from, to) = window(&all, picks);
        records.between(from, to).unwrap();
        let mut found = by_cpu(&rest(&mut records));
        for (&(buffer, cpu), own) in &by_cpu(&all) {
            let found = found.remove(&(buffer, cpu)).unwrap_or_default();
            let wanted = within(own, from, to);
            if own.is_sorted_by_key(|found| found.time) {
                prop_assert_eq!(found, wanted);
            } else {
                prop_assert!(found.iter().all(|found| wanted.contains(found)));
            }
            let times = records.times_of_cpu(buffer, cpu).unwrap();
            prop_assert_eq!(times, Some((own[0].time, own[own.len() - 1].time)));
        }
        prop_assert!(found.is_empty());
    }

    #[test]
    fn files_are_merged_in_a_window_as_without_one(
        (host, guest) in (made(), made()), picks in indices(),
        offsets in prop::collection::vec(-900_000..900_000_i64, 0..4), interpolate in any::<bool>(),
    ) {
        let open = || {
            let guest = shifted(&guest, &offsets, interpolate);
            vec![Reader::parse(host.bytes()).unwrap(), Reader::parse(guest).unwrap()]
        };
        let rest = |records: &mut Merge| {
            let mut found = Vec::new();
            while let Some((file, record)) = records.next().unwrap() {
                found.push((file, record.buffer, record.cpu, record.time, record.data.to_vec()));
            }
            found
        };
        let mut records = Merge::new(open()).1;
        let all = rest(&mut records);
        let pick = |index: prop::sample::Index| index.get(&all).3;
        let (from, to) = (pick(picks.0).min(pick(picks.1)), pick(picks.0).max(pick(picks.1)));
        records.between(from, to).unwrap();
        let next = records.next_time().unwrap();
        let mut wanted = all;
        wanted.retain(|found| (from..=to).contains(&found.3));
        let mut found = rest(&mut records);
        if offsets.is_sorted() {
            prop_assert_eq!(next, Some(from));
        } else {
            // Where offsets fall faster than time passes, records are not in order, and merged another way
            // when some are missing.
            found.sort();
            wanted.sort();
        }
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn a_report_of_a_window_has_the_lines_of_a_piece(made in made(), picks in indices()) {
        let bytes = made.bytes();
        let all = rest(&mut Reader::parse(bytes.clone()).unwrap().records);
        let (from, to) = window(&all, picks);
        let mut piece = io::Cursor::new(Vec::new());
        let options = SplitOptions { start: Some(from), end: Some(to), ..SplitOptions::default() };
        let source: Arc<dyn ReadAt> = Arc::new(bytes.clone());
        let told = Splitter::from_source(source, options).unwrap().write_piece(&mut piece).unwrap();
        prop_assert_eq!(told.events, within(&all, from, to).len() as u64);
        // Losses before the first event of a sub-buffer that was cut are gone with that event.
        let mut options = ReportOptions::default();
        options.time = TimeStyle::Nanoseconds;
        let of_piece = report(piece.into_inner(), options.clone());
        (options.from, options.to) = (Some(from), Some(to));
        prop_assert_eq!(report(bytes, options), of_piece);
    }

    #[test]
    fn cpus_that_are_not_wanted_need_not_be_read(made in made(), cpu in 0..3_u32, old in any::<bool>()) {
        let mut options = ReportOptions::default();
        options.cpus = Some(vec![cpu]);
        options.compat = if old { Compat::V3_1_6 } else { Compat::V3_4 };
        let few = report(made.bytes(), options.clone());
        // It is watched on all CPUs.
        options.check_time = true;
        prop_assert_eq!(few, report(made.bytes(), options));
    }
}

/// The file of a guest whose offset to its host changes.
fn shifted(made: &Made, offsets: &[i64], interpolate: bool) -> Vec<u8> {
    let workload = &made.workload;
    let version = if made.version == 6 { Version::V6 } else { Version::V7 };
    let settings =
        Settings { version, codec: made.codec, ..Settings::new(workload.abi, workload.page_size) };
    let mut head = TraceBuilder::new(workload.clone()).head();
    let samples = offsets.iter().zip(0..).map(|(&offset, number)| ClockSample {
        time: 1_000_000_000_000 + number * 1_000_000,
        offset,
        scaling: 1,
        fraction_bits: 0,
    });
    let cpus = vec![samples.collect(); workload.cpus as usize];
    let shift = TimeShift { peer: 1, interpolate, cpus };
    head.options.push(option::time_shift(&shift, workload.abi.byte_order));
    let mut file = io::Cursor::new(Vec::new());
    let writer = Writer::create(&mut file, settings, &head).unwrap();
    workload.generate().finish(writer, workload, &[]).unwrap();
    file.into_inner()
}

fn report(bytes: Vec<u8>, mut options: ReportOptions) -> String {
    options.threads = NonZeroUsize::new(1);
    let (files, mut records) = Merge::new(vec![Reader::parse(bytes).unwrap()]);
    let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
    let mut text = Vec::new();
    Report::new(options).print(&inputs, &mut records, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Formats of the events of the function graph tracer, as Linux 6.1 has them.
const GRAPH_ENTRY: &str = "name: funcgraph_entry
ID: 11
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long func;\toffset:8;\tsize:8;\tsigned:0;
\tfield:int depth;\toffset:16;\tsize:4;\tsigned:1;

print fmt: \"--> %ps (%d)\", (void *)REC->func, REC->depth
";
const GRAPH_EXIT: &str = "name: funcgraph_exit
ID: 10
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long func;\toffset:8;\tsize:8;\tsigned:0;
\tfield:int depth;\toffset:16;\tsize:4;\tsigned:1;
\tfield:unsigned int overrun;\toffset:20;\tsize:4;\tsigned:0;
\tfield:unsigned long long calltime;\toffset:24;\tsize:8;\tsigned:0;
\tfield:unsigned long long rettime;\toffset:32;\tsize:8;\tsigned:0;

print fmt: \"<-- %ps (%d)\", (void *)REC->func, REC->depth
";

/// A trace of calls on CPU 0, of which some are interrupted by what CPU 1 does.
fn graph() -> Vec<u8> {
    let common = |id: u16| [&id.to_le_bytes()[..], &[0, 0], &7_u32.to_le_bytes()].concat();
    let (mut calls, mut others) = (Vec::new(), Vec::new());
    for start in (1_000_000..1_100_000_u64).step_by(1000) {
        let function = 0xffff_ffff_8110_0000_u64.to_le_bytes();
        let entry = [&common(11)[..], &function, &0_u32.to_le_bytes()].concat();
        let times = [start.to_le_bytes(), (start + 500).to_le_bytes()].concat();
        let exit = [&common(10)[..], &function, &[0; 8], &times].concat();
        let page = SubBufferBuilder::little_endian_64().timestamp(start);
        calls.extend(page.event(0, &entry).event(500, &exit).build());
        if start % 7000 < 3000 {
            let page = SubBufferBuilder::little_endian_64().timestamp(start + 200);
            others.extend(page.event(0, &entry).event(600, &exit).build());
        }
    }
    let workload = Workload { events_per_cpu: 1, ..Workload::new(1) };
    let mut made = workload.generate();
    made.buffers[0].cpus[0].bytes = calls;
    made.buffers[0].cpus[1].bytes = others;
    let mut head = TraceBuilder::new(workload.clone()).head();
    head.ftrace_formats.extend([GRAPH_ENTRY.into(), GRAPH_EXIT.into()]);
    let mut file = io::Cursor::new(Vec::new());
    let settings = Settings::new(workload.abi, workload.page_size);
    made.finish(Writer::create(&mut file, settings, &head).unwrap(), &workload, &[]).unwrap();
    file.into_inner()
}

#[test]
fn a_cpu_that_is_not_wanted_still_keeps_a_call_and_its_return_apart() {
    for (from, to) in [(None, None), (Some(1_020_000), Some(1_060_300))] {
        let mut options = ReportOptions::default();
        options.cpus = Some(vec![0]);
        (options.from, options.to) = (from, to);
        let few = report(graph(), options.clone());
        assert!(few.contains("();") && few.contains("() {") && !few.contains("[001]"), "{few}");
        options.check_time = true;
        assert_eq!(few, report(graph(), options));
    }
}

#[test]
fn data_as_found_is_read_from_its_start() {
    let made = Made {
        workload: Workload { page_size: 4096, ..Workload::new(3) },
        version: 7,
        codec: Codec::Zstd,
    };
    let open = || {
        let mut reader = Reader::parse(made.bytes()).unwrap();
        reader.set_damage(read::Damage::AsFound);
        reader.records
    };
    let all = rest(&mut open());
    let (from, to) = (all[all.len() / 2].time, all[all.len() / 2 + 50].time);
    let mut records = open();
    records.between(from, to).unwrap();
    assert_eq!(rest(&mut records), within(&all, from, to));
}

#[test]
fn what_lies_between_sub_buffers_that_are_not_in_order_is_found() {
    let page = |time: u64| {
        let builder = SubBufferBuilder::little_endian_64().timestamp(time);
        (0..20).fold(builder, |builder, _| builder.event(7, &[1, 0, 0, 0, 0, 0, 0, 0])).build()
    };
    // A clock that was set back.
    let times = (0..400).map(|n| 5000 + n * 200).chain((0..300).map(|n| 9000 + n * 300));
    let pages: Vec<u8> = times.flat_map(page).collect();
    let mut made = Workload { cpus: 1, events_per_cpu: 1, ..Workload::new(1) }.generate();
    made.buffers[0].cpus[0].bytes = pages;
    let builder = TraceBuilder::new(Workload { cpus: 1, ..Workload::new(1) });
    for codec in [Codec::None, Codec::Zlib, Codec::Zstd] {
        let file = builder.clone().codec(codec).build_from(&made);
        let mut records = Reader::parse(file).unwrap().records;
        let all = rest(&mut records);
        assert_eq!(all.len(), 700 * 20);
        for (from, to) in [(6000, 6100), (20_000, 20_500), (84_000, 98_000), (98_700, 99_000)] {
            records.between(from, to).unwrap();
            let found = rest(&mut records);
            assert_eq!(found, within(&all, from, to), "{from} to {to}, {codec}");
            assert!(!found.is_empty(), "{from} to {to}");
        }
    }
}

/// A file of which is counted how much is read.
struct Counted<F> {
    read: Arc<AtomicU64>,
    source: F,
}

impl<F: ReadAt> ReadAt for Counted<F> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.source.read_at(buffer, offset)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        self.source.len()
    }
}

/// Sub-buffers of each CPU in the files below, each with 100 events in 100 µs.
const SUB_BUFFERS: u64 = 12_000;

/// What lies before the data of CPUs that are made as they are read: 200 MB that take no memory.
struct Large {
    head: Vec<u8>,
    /// Where the data of the CPUs starts, one after the other.
    data: u64,
    page: Vec<u8>,
}

const CPUS: u64 = 4;

fn first_time(cpu: u64, number: u64) -> u64 {
    1_000_000_000 + number * 100_000 + cpu
}

fn template() -> Vec<u8> {
    let event = [1, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    let builder = SubBufferBuilder::little_endian_64();
    (0..100).fold(builder, |builder, _| builder.event(1000, &event)).build()
}

impl Large {
    fn new() -> Self {
        let workload = Workload { cpus: CPUS as u32, events_per_cpu: 1, ..Workload::new(1) };
        let mut head = TraceBuilder::new(workload).version(6).build();
        let table = head.windows(10).position(|bytes| bytes == b"flyrecord\0").unwrap() + 10;
        let data = u64::from_le_bytes(head[table..table + 8].try_into().unwrap());
        head.truncate(data as usize);
        for cpu in 0..CPUS {
            let entry = table + 16 * cpu as usize;
            let size = SUB_BUFFERS * 4096;
            head[entry..entry + 8].copy_from_slice(&(data + cpu * size).to_le_bytes());
            head[entry + 8..entry + 16].copy_from_slice(&size.to_le_bytes());
        }
        Self { head, data, page: template() }
    }
}

impl ReadAt for Large {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.data {
            return self.head.read_at(buffer, offset);
        }
        let (page, inside) = ((offset - self.data) / 4096, (offset - self.data) % 4096);
        if page >= CPUS * SUB_BUFFERS {
            return Ok(0);
        }
        let time = first_time(page / SUB_BUFFERS, page % SUB_BUFFERS);
        let mut bytes = self.page.clone();
        bytes[..8].copy_from_slice(&time.to_le_bytes());
        bytes.read_at(buffer, inside)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.data + CPUS * SUB_BUFFERS * 4096)
    }
}

/// Bytes that are read for one hundredth of the time, and for the first and last times, after the head was.
fn bytes_read(source: impl ReadAt + 'static, sub_buffers: u64, cpus: u64) -> (u64, u64) {
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { read: Arc::clone(&read), source };
    let mut records = Reader::from_source(Arc::new(counted)).unwrap().records;
    read.store(0, Ordering::Relaxed);
    let from = first_time(0, sub_buffers * 7 / 10);
    let to = first_time(0, sub_buffers * 71 / 100) - 1;
    records.between(from, to).unwrap();
    let found = rest(&mut records);
    assert!(found.iter().all(|found| (from..=to).contains(&found.time)));
    let expected = cpus * sub_buffers / 100 * 100;
    assert!(found.len() as u64 + 4 * cpus >= expected, "{} of {expected}", found.len());
    let window = read.swap(0, Ordering::Relaxed);
    for cpu in 0..cpus {
        let last = first_time(cpu, sub_buffers - 1) + 100_000;
        let times = records.times_of_cpu(0, cpu as u32).unwrap();
        assert_eq!(times, Some((first_time(cpu, 0) + 1000, last)));
    }
    (window, read.load(Ordering::Relaxed))
}

#[test]
fn a_hundredth_of_200_mb_is_read_with_little_else() {
    let source = Large::new();
    let len = source.len().unwrap();
    assert!(len > 190_000_000, "{len}");
    let (window, ends) = bytes_read(source, SUB_BUFFERS, CPUS);
    assert!(window < len / 50, "{window} of {len}");
    // One window of the file at the start of each CPU, and one sub-buffer at its end.
    assert!(ends < CPUS * (256 << 10) * 2, "{ends} of {len}");
}

/// A file that cannot be read where one CPU's data is.
struct WithoutCpu {
    source: Large,
    cpu: u64,
}

impl ReadAt for WithoutCpu {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = self.source.data + self.cpu * SUB_BUFFERS * 4096;
        if (start..start + SUB_BUFFERS * 4096).contains(&offset) {
            return Err(io::Error::other("not to be read"));
        }
        self.source.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.source.len()
    }
}

#[test]
fn data_of_other_cpus_is_not_touched() {
    let print = |cpus| {
        let source = WithoutCpu { source: Large::new(), cpu: 2 };
        let reader = Reader::from_source(Arc::new(source)).unwrap();
        let (files, mut records) = Merge::new(vec![reader]);
        let mut options = ReportOptions::default();
        options.cpus = Some(cpus);
        (options.from, options.to) = (Some(first_time(0, 500)), Some(first_time(0, 510)));
        let inputs = [ReportInput { name: "trace.dat", metadata: &files[0] }];
        let mut text = Vec::new();
        let printed = Report::new(options).print(&inputs, &mut records, &mut text).is_ok();
        (printed, text.iter().filter(|&&byte| byte == b'\n').count())
    };
    // CPU 3 is 3 ns later.
    assert_eq!(print(vec![1, 3]), (true, 1000 + 1000));
    assert_eq!(print(vec![1, 2]), (false, 0));
}

#[test]
#[cfg(feature = "zstd")]
fn few_chunks_are_decompressed() {
    const COUNT: u64 = 20_000;
    let page = template();
    let mut pages = Vec::new();
    for number in 0..COUNT {
        let start = pages.len();
        pages.extend_from_slice(&page);
        pages[start..start + 8].copy_from_slice(&first_time(0, number).to_le_bytes());
    }
    let workload = Workload { cpus: 1, events_per_cpu: 1, ..Workload::new(1) };
    let mut made = workload.generate();
    made.buffers[0].cpus[0].bytes = pages;
    let file = TraceBuilder::new(workload).codec(Codec::Zstd).build_from(&made);
    let len = file.len() as u64;
    let (window, ends) = bytes_read(file, COUNT, 1);
    // The sizes of all chunks, eight bytes each, are as much as these chunks are themselves.
    let sizes = 8 * COUNT / 10;
    assert!(window - sizes < len / 20, "{window} of {len}");
    assert!(ends - sizes < len / 100, "{ends} of {len}");
}
