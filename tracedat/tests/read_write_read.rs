//! Traces that are read and written again, in any version and compression, are the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Cursor;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tracedat::clock::{ClockSample, TimeShift};
use tracedat::compress::Codec;
use tracedat::convert::convert;
use tracedat::layout::OptionId;
use tracedat::metadata::{Guest, ProcMaps, RecorderStat, TscToNsec, VirtualCpu};
use tracedat::testing::{Contents, TraceBuilder, Workload};
use tracedat::write::option::{self, RawOption};
use tracedat::write::{Settings, TextData, Version, Writer};
use tracedat::{Abi, ByteOrder, Metadata, Reader};

type Format = (Version, Codec);

const FORMATS: [Format; 4] = [
    (Version::V6, Codec::None),
    (Version::V7, Codec::None),
    (Version::V7, Codec::Zlib),
    (Version::V7, Codec::Zstd),
];

fn formats() -> impl Strategy<Value = Format> {
    (0..FORMATS.len()).prop_map(|at| FORMATS[at])
}

fn workloads() -> impl Strategy<Value = Workload> {
    let machine = (any::<bool>(), any::<bool>(), 12_u32..17);
    let amount = (1_u32..5, 0_usize..300, 0_usize..3, 0_u64..6);
    (any::<u64>(), machine, amount).prop_map(|(seed, (big, short, page_bits), amount)| {
        let (cpus, events_per_cpu, instances, missed_every) = amount;
        let byte_order = if big { ByteOrder::Big } else { ByteOrder::Little };
        Workload {
            abi: Abi { byte_order, long_size: if short { 4 } else { 8 } },
            page_size: 1 << page_bits,
            cpus,
            events_per_cpu,
            instances: (0..instances).map(|index| format!("instance {index}")).collect(),
            missed_every,
            ..Workload::new(seed)
        }
    })
}

/// What options of all kinds tell.
#[derive(Clone, Debug)]
struct Told {
    date: u32,
    offset: i64,
    shifts: Vec<TimeShift>,
    guests: Vec<Guest>,
    tsc: Option<TscToNsec>,
    trace_id: u64,
    maps: Vec<(i32, Vec<u32>)>,
    unknown: Vec<(u16, Vec<u8>)>,
}

fn told() -> impl Strategy<Value = Told> {
    let sample =
        any::<(u64, i64, u64, u64)>().prop_map(|(time, offset, scaling, fraction_bits)| {
            ClockSample { time, offset, scaling, fraction_bits }
        });
    let samples = vec(sample, 0..5).prop_map(|mut samples| {
        samples.sort_by_key(|sample| sample.time);
        samples
    });
    let shift = (any::<u64>(), any::<bool>(), vec(samples, 0..4))
        .prop_map(|(peer, interpolate, cpus)| TimeShift { peer, interpolate, cpus });
    let cpu = any::<(u32, i32)>().prop_map(|(cpu, pid)| VirtualCpu { cpu, pid });
    let guest = ("[a-zA-Z0-9_é-]{0,12}", any::<u64>(), vec(cpu, 0..5))
        .prop_map(|(name, trace_id, cpus)| Guest { name, trace_id, cpus });
    let tsc = any::<(u32, u32, u64)>().prop_map(|(mult, shift, offset)| TscToNsec {
        mult,
        shift,
        offset,
    });
    let unknown = (26_u16.., vec(any::<u8>(), 0..40));
    (
        (any::<u32>(), -1_000_000_000_000..1_000_000_000_000_i64, any::<u64>()),
        vec(shift, 0..3),
        vec(guest, 0..3),
        prop::option::of(tsc),
        vec((0..i32::MAX, vec(any::<u32>(), 0..4)), 0..3),
        vec(unknown, 0..4),
    )
        .prop_map(|((date, offset, trace_id), shifts, guests, tsc, maps, unknown)| Told {
            date,
            offset,
            shifts,
            guests,
            tsc,
            trace_id,
            maps,
            unknown,
        })
}

impl Told {
    /// Numbers as good as any.
    fn recorder(&self) -> RecorderStat<'static> {
        let stalls = u64::from(self.date);
        let longest_stall = Duration::from_millis(stalls / 3);
        let error = (stalls % 2 == 1).then_some("no room: CPU 0");
        RecorderStat { stalls, longest_stall, discarded_bytes: self.trace_id, error }
    }

    fn options(&self, order: ByteOrder) -> Vec<RawOption> {
        let mut options = vec![
            option::date(self.date.into()),
            option::offset(self.offset),
            option::version("3.1.6 (none)"),
            option::trace_id(self.trace_id, order),
            option::cpu_stat(0, "entries: 1\noverrun: 0\n", &RecorderStat::default()),
            option::cpu_stat_heading("instance 0"),
            option::cpu_stat(0, "entries: 2\n", &self.recorder()),
            (OptionId::HOOK, b"sched:sched_switch,next_pid/sched:sched_switch,prev_pid\0".into()),
            (OptionId::LAST_BOOT_INFO, b"boot_map:ffffffff81000000\t[kernel]\n\0".into()),
        ];
        options.extend(self.shifts.iter().map(|shift| option::time_shift(shift, order)));
        options.extend(self.guests.iter().map(|guest| option::guest(guest, order)));
        options.extend(self.tsc.iter().map(|tsc| option::tsc_to_nsec(tsc, order)));
        for (pid, starts) in &self.maps {
            let line = |start: &u32| format!("{start:x} {start:x}f /lib/lib{start}.so\n");
            let lines: String = starts.iter().map(line).collect();
            let maps = ProcMaps { pid: *pid, name: "/usr/bin/some program", lines: &lines };
            options.push(option::proc_maps(&maps));
        }
        options.extend(self.unknown.iter().map(|(id, data)| (OptionId(*id), data.clone())));
        options
    }

    /// That the reader understands what the writer was told.
    fn check(&self, metadata: &Metadata) {
        assert_eq!(metadata.date(), Some(self.date.into()));
        assert_eq!(metadata.ts_offset(), Some(self.offset));
        assert_eq!(metadata.trace_id(), Some(self.trace_id));
        assert_eq!(metadata.guests(), self.guests);
        assert_eq!(metadata.time_shift(), self.shifts.last());
        assert_eq!(metadata.tsc_to_nsec(), self.tsc);
        let maps = metadata.proc_maps().map(|maps| (maps.pid, maps.lines.lines().count()));
        let expected = self.maps.iter().map(|(pid, starts)| (*pid, starts.len()));
        assert_eq!(maps.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let stats = metadata.cpu_stats().map(|stat| (stat.buffer, stat.cpu(), stat.recorder()));
        let expected =
            [("", Some(0), RecorderStat::default()), ("instance 0", Some(0), self.recorder())];
        assert_eq!(stats.collect::<Vec<_>>(), expected);
    }
}

fn writer<'a>(
    trace: &TraceBuilder,
    (version, codec): Format,
    options: &[RawOption],
    file: &'a mut Cursor<Vec<u8>>,
) -> Writer<&'a mut Cursor<Vec<u8>>> {
    let Workload { abi, page_size, .. } = trace.workload;
    let settings = Settings { version, codec, ..Settings::new(abi, page_size) };
    let mut head = trace.head();
    head.options.extend_from_slice(options);
    Writer::create(file, settings, &head).unwrap()
}

fn contents(file: &[u8]) -> Contents {
    Contents::of(Reader::parse(file).unwrap()).unwrap()
}

fn converted(file: &[u8], (version, codec): Format) -> Vec<u8> {
    let metadata = Reader::parse(file).unwrap().metadata;
    let mut output = Cursor::new(Vec::new());
    assert_eq!(convert(&metadata, &mut output, version, codec).unwrap(), []);
    output.into_inner()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reading_and_writing_changes_nothing(
        workload in workloads(),
        told in told(),
        first in formats(),
        second in formats(),
    ) {
        let made = workload.generate();
        let trace = TraceBuilder::new(workload);
        let options = told.options(trace.workload.abi.byte_order);
        let mut file = Cursor::new(Vec::new());
        // Half of the options are known only at the end.
        let (early, late) = options.split_at(options.len() / 2);
        made.finish(writer(&trace, first, early, &mut file), &trace.workload, late).unwrap();
        let file = file.into_inner();

        told.check(&Reader::parse(file.as_slice()).unwrap().metadata);
        let before = contents(&file);
        prop_assert_eq!(&before.options[2..], options);
        prop_assert_eq!(before.records.len(), made.event_count());
        let other = converted(&file, second);
        prop_assert_eq!(before.difference(&contents(&other)), None);
        let back = converted(&other, first);
        prop_assert_eq!(before.difference(&contents(&back)), None);
    }

    #[test]
    fn texts_of_latency_tracers_stay(
        workload in workloads(),
        first in formats(),
        second in formats(),
        lines in 0..2000_usize,
    ) {
        let text = "# tracer: wakeup\n".to_owned() + &"  <idle>-0 0d..2. 1us+\n".repeat(lines);
        let trace = TraceBuilder::new(workload);
        let mut file = Cursor::new(Vec::new());
        let mut data = text.as_bytes();
        let texts = vec![TextData { name: "", clock: "local", data: &mut data }];
        writer(&trace, first, &[], &mut file).finish_text(&[], texts).unwrap();
        let file = file.into_inner();

        let before = contents(&file);
        prop_assert!(before.texts.contains(&("trace".to_owned(), text.into_bytes())));
        let other = converted(&file, second);
        prop_assert_eq!(before.difference(&contents(&other)), None);
        let back = converted(&other, first);
        prop_assert_eq!(before.difference(&contents(&back)), None);
    }
}

/// Bodies of the sections that options with these identifiers point to.
fn bodies(file: &[u8], ids: &[OptionId]) -> Vec<Vec<u8>> {
    let metadata = Reader::parse(file).unwrap().metadata;
    let sections = metadata.walk_sections().unwrap();
    let body = |id: &OptionId| {
        let option = metadata.options_of(*id).next().unwrap();
        let at = metadata.abi.byte_order.u64(*option.data.first_chunk().unwrap());
        let (_, header) = sections.iter().find(|(offset, _)| *offset == at).unwrap();
        assert_eq!(header.id.0, id.0);
        metadata.section_body(at, header).unwrap()
    };
    ids.iter().map(body).collect()
}

#[test]
fn sections_that_only_an_option_knows_stay() {
    let ids = [OptionId::BTF_FILE, OptionId::MODULES_FILE, OptionId(4000)];
    let expected = [b"\x9f\xeb\x01\0".repeat(5000), b"kvm 1 0 - Live\n".to_vec(), Vec::new()];
    let trace = TraceBuilder::new(Workload { events_per_cpu: 50, ..Workload::new(8) });
    for (first, second) in
        FORMATS[1..].iter().flat_map(|a| FORMATS[1..].iter().map(move |b| (a, b)))
    {
        let mut file = Cursor::new(Vec::new());
        let mut writer = writer(&trace, *first, &[], &mut file);
        for (id, body) in ids.iter().zip(&expected) {
            writer.add_section(*id, "of the test", body).unwrap();
        }
        trace.workload.generate().finish(writer, &trace.workload, &[]).unwrap();
        let file = file.into_inner();
        assert_eq!(bodies(&file, &ids), expected);
        let other = converted(&file, *second);
        assert!(bodies(&other, &ids) == expected, "{first:?} {second:?}");
        assert!(contents(&file).records == contents(&other).records, "{first:?} {second:?}");
    }
}
