//! Control and recording against a temporary directory that looks like tracefs.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tracefs::recorder::{Follower, Lender, SinkError};
use tracefs::{
    Capture, Changes, Error, Instance, Ledger, Recorder, RecorderOptions, Sink, Stalls, TracingDir,
    Way,
};

const SUB_BUFFER: usize = 4096;

struct Fake {
    temp: TempDir,
    dir: TracingDir,
}

impl Fake {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let dir = TracingDir::at(temp.path());
        let fake = Self { temp, dir };
        fake.put("available_events", "sched:sched_switch\nsched:sched_waking\nirq:irq_entry\n");
        fake.put("set_event", "");
        fake.put("events/enable", "0\n");
        fake.put("events/header_page", "field: u64 timestamp;\n");
        fake.put("events/header_event", "type_len : 5 bits\n");
        fake.put("events/ftrace/print/format", "name: print\n");
        for (system, event) in
            [("sched", "sched_switch"), ("sched", "sched_waking"), ("irq", "irq_entry")]
        {
            fake.put(&format!("events/{system}/enable"), "0\n");
            fake.put(&format!("events/{system}/filter"), "none\n");
            fake.put(&format!("events/{system}/{event}/enable"), "0\n");
            fake.put(&format!("events/{system}/{event}/filter"), "none\n");
            fake.put(&format!("events/{system}/{event}/format"), format!("name: {event}\n"));
        }
        fake.put("trace_clock", "[local] global mono\n");
        fake.put("tracing_on", "1\n");
        fake.put("buffer_size_kb", "1410\n");
        fake.put("buffer_subbuf_size_kb", "4\n");
        fake.put("options/overwrite", "1\n");
        fake.put("trace_options", "overwrite\nnostacktrace\n");
        fs::create_dir(fake.temp.path().join("instances")).unwrap();
        fake
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.temp.path().join(name)).unwrap()
    }

    fn cpu(&self, cpu: u32, data: &[u8]) {
        self.put(&format!("per_cpu/cpu{cpu}/trace_pipe_raw"), data);
        // What is left at the end is taken up to this size.
        self.put(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), "100000\n");
        self.put(&format!("per_cpu/cpu{cpu}/stats"), "overrun: 0\n");
    }

    fn top(&self) -> Instance {
        self.dir.top()
    }
}

/// Sub-buffers that are full, so that a reader goes on to the next, each of its own number.
fn sub_buffers(count: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for number in 0..count {
        let mut page = vec![u8::try_from(number % 251).unwrap(); SUB_BUFFER];
        page[8..16].copy_from_slice(&4080u64.to_ne_bytes());
        data.extend(page);
    }
    data
}

fn options(way: Way) -> RecorderOptions {
    let mut options = RecorderOptions::default();
    options.way = way;
    options.interval = Duration::from_millis(20);
    options.stop_timeout = PATIENCE;
    options
}

/// How long a loaded machine may take for what takes no time.
const PATIENCE: Duration = Duration::from_secs(240);

fn record(fake: &Fake, sinks: Vec<(u32, Sink)>, way: Way) -> Ledger {
    let recorder = Recorder::start(&fake.top(), sinks, &options(way)).unwrap();
    let started = Instant::now();
    let ledger = recorder.stop();
    assert!(started.elapsed() < PATIENCE, "stopping took {:?}", started.elapsed());
    ledger
}

#[test]
fn values_are_put_back_in_reverse_and_what_stood_first_counts() {
    let fake = Fake::new();
    let top = fake.top();
    let mut changes = Changes::new();
    changes.set_tracing_on(&top, false).unwrap();
    changes.set_trace_clock(&top, "mono").unwrap();
    changes.set_buffer_size_kb(&top, 64).unwrap();
    changes.set_buffer_size_kb(&top, 128).unwrap();
    changes.set_trace_option(&top, "overwrite", false).unwrap();
    changes.set_tracing_on(&top, true).unwrap();
    assert_eq!(fake.get("buffer_size_kb"), "128");
    assert_eq!(fake.get("trace_clock"), "mono");
    changes.restore().unwrap();
    assert_eq!(fake.get("tracing_on"), "1");
    assert_eq!(fake.get("trace_clock"), "local");
    assert_eq!(fake.get("buffer_size_kb"), "1410");
    assert_eq!(fake.get("options/overwrite"), "1");
}

#[test]
fn a_buffer_not_expanded_yet_gets_the_size_it_would_have_had() {
    let fake = Fake::new();
    fake.put("buffer_size_kb", "7 (expanded: 1408)\n");
    let mut changes = Changes::new();
    changes.set_buffer_size_kb(&fake.top(), 64).unwrap();
    drop(changes);
    assert_eq!(fake.get("buffer_size_kb"), "1408");
}

#[test]
fn buffers_that_differ_by_cpu_get_their_own_sizes_back() {
    let fake = Fake::new();
    fake.put("buffer_size_kb", "X\n");
    for (cpu, size) in [(0, "100\n"), (1, "200\n")] {
        fake.put(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), size);
    }
    let mut changes = Changes::new();
    changes.set_buffer_size_kb(&fake.top(), 64).unwrap();
    for cpu in 0..2 {
        fake.put(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), "64\n");
    }
    changes.restore().unwrap();
    assert_eq!(fake.get("per_cpu/cpu0/buffer_size_kb"), "100");
    assert_eq!(fake.get("per_cpu/cpu1/buffer_size_kb"), "200");
}

#[test]
fn buffers_have_their_size_after_another_size_of_sub_buffers() {
    let fake = Fake::new();
    let mut changes = Changes::new();
    changes.set_sub_buffer_size_kb(&fake.top(), 64).unwrap();
    assert_eq!(fake.get("buffer_subbuf_size_kb"), "64");
    // As the kernel rounds it up.
    fake.put("buffer_size_kb", "1471\n");
    changes.restore().unwrap();
    assert_eq!(fake.get("buffer_subbuf_size_kb"), "4");
    assert_eq!(fake.get("buffer_size_kb"), "1410");
}

#[test]
fn a_panic_puts_everything_back() {
    let fake = Fake::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut changes = Changes::new();
        changes.set_tracing_on(&fake.top(), false).unwrap();
        changes.create_instance(&fake.dir, "mine").unwrap();
        assert_eq!(fake.dir.instances().unwrap(), ["mine"]);
        panic!("in the middle of it");
    }));
    assert!(result.is_err());
    assert_eq!(fake.get("tracing_on"), "1");
    assert!(fake.dir.instances().unwrap().is_empty());
}

#[test]
fn kept_changes_stay_and_instances_that_existed_too() {
    let fake = Fake::new();
    fs::create_dir(fake.temp.path().join("instances/old")).unwrap();
    let mut changes = Changes::new();
    let (_, existed) = changes.create_instance(&fake.dir, "old").unwrap();
    assert!(existed);
    drop(changes);
    assert_eq!(fake.dir.instances().unwrap(), ["old"]);

    let mut changes = Changes::new();
    changes.set_tracing_on(&fake.top(), false).unwrap();
    changes.keep();
    assert_eq!(fake.get("tracing_on"), "0");
}

#[test]
fn all_events_are_enabled_and_disabled_by_one_write() {
    let fake = Fake::new();
    let top = fake.top();
    let all = top.select("all").unwrap();
    let mut changes = Changes::new();
    changes.enable(&top, &all).unwrap();
    assert_eq!(fake.get("events/enable"), "1");
    assert_eq!(fake.get("events/sched/enable"), "0\n");
    changes.restore().unwrap();
    assert_eq!(fake.get("events/enable"), "0");
    assert_eq!(fake.get("events/sched/sched_switch/enable"), "0\n");
}

#[test]
fn events_somebody_else_enabled_stay_enabled() {
    let fake = Fake::new();
    let top = fake.top();
    fake.put("set_event", "sched:sched_switch\n");
    let mut changes = Changes::new();
    changes.enable(&top, &top.select("sched").unwrap()).unwrap();
    assert_eq!(fake.get("events/sched/enable"), "1");
    // As the kernel shows it now; an event of another system came on meanwhile.
    fake.put("set_event", "sched:sched_switch\nsched:sched_waking\nirq:irq_entry\n");
    changes.restore().unwrap();
    assert_eq!(fake.get("events/sched/sched_waking/enable"), "0");
    assert_eq!(fake.get("events/sched/sched_switch/enable"), "0\n", "not touched");
    assert_eq!(fake.get("events/sched/enable"), "1", "not touched");
    assert_eq!(fake.get("events/irq/irq_entry/enable"), "0\n", "not touched");
}

#[test]
fn events_that_are_listed_for_their_triggers_are_not_on() {
    let fake = Fake::new();
    let top = fake.top();
    fake.put("set_event", "sched:sched_switch\nsched:sched_waking\n");
    fake.put("events/sched/sched_switch/enable", "0*\n");
    fake.put("events/sched/sched_waking/enable", "1*\n");
    let enabled: Vec<String> =
        top.enabled_events().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(enabled, ["sched:sched_waking"]);
}

#[test]
fn a_filter_that_was_refused_is_none() {
    let fake = Fake::new();
    fake.put("events/irq/irq_entry/filter", "nosuch == 2\n^\nparse_error: Field not found\n");
    let name = tracefs::EventName::new("irq", "irq_entry");
    assert_eq!(fake.top().event_filter(&name).unwrap(), None);
}

#[test]
fn filters_are_put_back_by_event() {
    let fake = Fake::new();
    let top = fake.top();
    fake.put("events/sched/sched_waking/filter", "prio < 3\n");
    let mut changes = Changes::new();
    changes.set_event_filter(&top, &top.select("sched").unwrap(), "pid > 0").unwrap();
    assert_eq!(fake.get("events/sched/filter"), "pid > 0");
    fake.put("events/sched/sched_waking/filter", "pid > 0\n");
    changes.restore().unwrap();
    assert_eq!(fake.get("events/sched/filter"), "0");
    assert_eq!(fake.get("events/sched/sched_waking/filter"), "prio < 3");
}

#[test]
fn what_went_away_with_its_module_needs_no_putting_back() {
    let fake = Fake::new();
    let top = fake.top();
    for file in ["enable", "filter", "trigger", "nullb_zone_op/enable", "nullb_zone_op/trigger"] {
        fake.put(&format!("events/nullb/{file}"), "");
    }
    fake.put("events/sched/sched_switch/trigger", "");
    let name = |system, event| tracefs::EventName::new(system, event);
    let mut both: tracefs::EventSelection =
        [name("nullb", "nullb_zone_op"), name("sched", "sched_switch")].into_iter().collect();
    let mut changes = Changes::new();
    changes.set_tracing_on(&top, false).unwrap();
    fake.put("events/nullb/nullb_zone_op/filter", "none");
    changes.set_event_filter(&top, &both, "common_pid > 0").unwrap();
    for name in both.events() {
        changes.add_trigger_text(&top, &name, "stacktrace").unwrap();
    }
    changes.enable(&top, &both).unwrap();

    fs::remove_dir_all(fake.temp.path().join("events/nullb")).unwrap();
    assert_eq!(top.take_removed(&mut both).words(), ["nullb:*"]);
    assert_eq!(both.words(), ["sched:sched_switch"]);
    changes.restore().unwrap();
    assert_eq!(fake.get("tracing_on"), "1");
    assert_eq!(fake.get("events/sched/sched_switch/filter"), "0");
    let trigger = fake.get("events/sched/sched_switch/trigger");
    assert!(trigger.contains("!stacktrace"), "{trigger}");
}

#[test]
fn tracefs_that_is_gone_was_not_put_back() {
    let fake = Fake::new();
    let top = fake.top();
    let mut changes = Changes::new();
    changes.set_event_filter(&top, &top.select("sched:sched_switch").unwrap(), "pid > 0").unwrap();
    changes.set_tracing_on(&top, false).unwrap();
    fs::remove_dir_all(fake.temp.path().join("events")).unwrap();
    fs::remove_file(fake.temp.path().join("tracing_on")).unwrap();
    let error = changes.restore().unwrap_err();
    assert!(error.to_string().contains("2 of the changes"), "{error}");
}

#[test]
fn missing_files_are_told_from_wrong_values() {
    let fake = Fake::new();
    let error = fake.top().set_buffer_percent(10).unwrap_err();
    assert!(error.is_unavailable());
    assert!(matches!(error, Error::NotSupported { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("writing \"10\" to") && text.contains("buffer_percent"), "{text}");
    assert!(!fake.temp.path().join("buffer_percent").exists(), "control files are not made");

    let Err(Error::UnknownName { available, .. }) = fake.top().set_trace_clock("monotonic") else {
        panic!("an unknown clock was taken");
    };
    assert_eq!(available, ["local", "global", "mono"]);
    fake.put("tracing_on", "maybe\n");
    assert!(matches!(fake.top().tracing_on(), Err(Error::Unexpected { .. })));
    assert!(matches!(fake.dir.instance("none"), Err(Error::UnknownInstance { .. })));
}

#[test]
fn a_capture_has_the_formats_that_were_asked_for() {
    let fake = Fake::new();
    let selection = fake.top().select("sched_waking").unwrap();
    assert!(selection.contains("sched", "sched_waking"));
    let capture = Capture::read(&fake.dir, Some(&selection)).unwrap();
    assert_eq!(capture.header_event, b"type_len : 5 bits\n");
    assert_eq!(capture.ftrace_formats, [b"name: print\n"]);
    assert_eq!(capture.event_formats.len(), 1);
    assert_eq!(capture.event_formats[0].system, "sched");
    assert_eq!(capture.event_formats[0].formats, [b"name: sched_waking\n"]);
    let all = Capture::read(&fake.dir, None).unwrap();
    let systems: Vec<_> = all.event_formats.iter().map(|s| (&*s.system, s.formats.len())).collect();
    assert_eq!(systems, [("irq", 1), ("sched", 2)]);
}

#[test]
fn both_ways_deliver_every_sub_buffer() {
    let fake = Fake::new();
    let data = [sub_buffers(700), sub_buffers(3)];
    for way in [Way::Auto, Way::Splice, Way::Read] {
        let mut sinks = Vec::new();
        for (cpu, data) in (0u32..).zip(&data) {
            fake.cpu(cpu, data);
            let file = File::create(fake.temp.path().join(format!("out{cpu}"))).unwrap();
            sinks.push((cpu, Sink::from(file)));
        }
        let ledger = record(&fake, sinks, way);
        assert_eq!(ledger.errors().count(), 0);
        assert_eq!(ledger.bytes(), 703 * SUB_BUFFER as u64);
        for (cpu, data) in data.iter().enumerate() {
            assert!(fs::read(fake.temp.path().join(format!("out{cpu}"))).unwrap() == *data);
        }
        let used = if way == Way::Read { Way::Read } else { Way::Splice };
        assert_eq!((ledger.cpus[0].way, ledger.cpus[0].sub_buffers), (used, 700));
    }
}

#[test]
fn a_sub_buffer_that_is_not_full_is_padded_with_zeros() {
    let fake = Fake::new();
    fake.cpu(0, &sub_buffers(3)[SUB_BUFFER..2 * SUB_BUFFER + 100]);
    let out = fake.temp.path().join("out");
    let ledger = record(&fake, vec![(0, File::create(&out).unwrap().into())], Way::Read);
    assert_eq!((ledger.cpus[0].sub_buffers, ledger.cpus[0].discarded_bytes), (2, 0));
    let written = fs::read(&out).unwrap();
    assert_eq!(written.len(), 2 * SUB_BUFFER);
    assert!(written[SUB_BUFFER + 100..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_is_left_is_taken_up_to_the_size_of_the_ring_buffer() {
    let fake = Fake::new();
    fake.cpu(0, &sub_buffers(500));
    fake.put("per_cpu/cpu0/buffer_size_kb", "40\n");
    // Nothing is taken before the end: the sink is a pipe that is full at first.
    let (mut reader, mut pipe) = std::io::pipe().unwrap();
    pipe.write_all(&vec![0; 65536]).unwrap();
    let recorder =
        Recorder::start(&fake.top(), vec![(0, Sink::Fd(pipe.into()))], &options(Way::Read))
            .unwrap();
    let (stopping, is_stopping) = mpsc::channel();
    let consumer = std::thread::spawn(move || {
        // It is told to stop at the next moment.
        is_stopping.recv().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all.len()
    });
    stopping.send(()).unwrap();
    let ledger = recorder.stop();
    assert!(ledger.cpus[0].error.is_none(), "{ledger:?}");
    // Twice what fits and four more; and the round that was under way, if one was.
    let rest = 2 * 10 + 4;
    assert!([rest, rest + 64].contains(&ledger.cpus[0].sub_buffers), "{ledger:?}");
    assert_eq!(consumer.join().unwrap() as u64, 65536 + ledger.bytes());
}

#[test]
fn a_full_disk_ends_its_cpu_and_no_other() {
    let fake = Fake::new();
    let data = sub_buffers(40);
    fake.cpu(0, &data);
    fake.cpu(1, &data);
    for way in [Way::Auto, Way::Read] {
        let out = fake.temp.path().join("out");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sinks = vec![(0, full.into()), (1, File::create(&out).unwrap().into())];
        let ledger = record(&fake, sinks, way);
        let Some(SinkError::Write { cpu: 0, source }) = &ledger.cpus[0].error else {
            panic!("{:?}", ledger.cpus[0]);
        };
        assert_eq!(source.raw_os_error(), Some(28));
        assert_eq!(ledger.cpus[0].bytes, 0);
        assert!(ledger.cpus[0].discarded_bytes >= SUB_BUFFER as u64);
        assert!(ledger.cpus[1].error.is_none());
        assert!(fs::read(&out).unwrap() == data);
    }
}

#[test]
fn a_closed_pipe_and_a_closed_socket_are_errors() {
    let fake = Fake::new();
    for cpu in 0..2 {
        fake.cpu(cpu, &sub_buffers(40));
    }
    let (reader, pipe) = std::io::pipe().unwrap();
    let (peer, socket) = UnixStream::pair().unwrap();
    drop((reader, peer));
    let sinks = vec![(0, Sink::Fd(pipe.into())), (1, Sink::Fd(socket.into()))];
    let ledger = record(&fake, sinks, Way::Auto);
    for cpu in &ledger.cpus {
        let Some(SinkError::Write { source, .. }) = &cpu.error else { panic!("{cpu:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(cpu.discarded_bytes + cpu.bytes, 40 * SUB_BUFFER as u64);
    }
}

#[test]
fn a_pipe_nobody_reads_is_given_up_after_the_timeout() {
    let fake = Fake::new();
    for way in [Way::Splice, Way::Read] {
        fake.cpu(0, &sub_buffers(100));
        let (reader, pipe) = std::io::pipe().unwrap();
        let timeout = Duration::from_millis(200);
        let mut options = options(way);
        options.stop_timeout = timeout;
        let sinks = vec![(0, Sink::Fd(pipe.into()))];
        let ledger = Recorder::start(&fake.top(), sinks, &options).unwrap().stop();
        let Some(SinkError::Stalled { waited, .. }) = ledger.cpus[0].error else {
            panic!("{ledger:?}");
        };
        assert!(waited >= timeout, "{waited:?}");
        // By the thread itself: of one that is left behind it is not known what it discarded.
        assert!(ledger.cpus[0].discarded_bytes > 0, "{ledger:?}");
        assert!(ledger.bytes() > 0 && ledger.bytes() < 100 * SUB_BUFFER as u64);
        drop(reader);
    }
}

#[test]
fn a_slow_reader_gets_all_in_order() {
    let fake = Fake::new();
    let data = sub_buffers(300);
    fake.cpu(0, &data);
    let (mut peer, socket) = UnixStream::pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        let mut part = vec![0; 10_000];
        loop {
            std::thread::sleep(Duration::from_millis(1));
            match peer.read(&mut part).unwrap() {
                0 => return got,
                length => got.extend_from_slice(&part[..length]),
            }
        }
    });
    let ledger = record(&fake, vec![(0, Sink::Fd(socket.into()))], Way::Auto);
    assert!(ledger.cpus[0].error.is_none(), "{:?}", ledger.cpus[0]);
    assert!(reader.join().unwrap() == data);
}

#[test]
fn a_sink_that_takes_its_time_stalls_the_recorder() {
    struct Slow(mpsc::Sender<()>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::thread::sleep(Stalls::LIMIT);
            let _ = self.0.send(());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fake = Fake::new();
    fake.cpu(0, &sub_buffers(1));
    let (told, taken) = mpsc::channel();
    let sinks = vec![(0, Sink::Writer(Box::new(Slow(told))))];
    let recorder = Recorder::start(&fake.top(), sinks, &options(Way::Auto)).unwrap();
    taken.recv_timeout(PATIENCE).unwrap();
    let stalls = recorder.stop().cpus[0].stalls;
    // The machine may stall it as well.
    assert!(stalls.count >= 1 && stalls.longest >= Stalls::LIMIT, "{stalls:?}");
}

#[test]
fn a_sink_that_cannot_be_spliced_to_is_written_to() {
    let fake = Fake::new();
    let data = sub_buffers(600);
    fake.cpu(0, &data);
    let out = fake.temp.path().join("out");
    let append = || OpenOptions::new().append(true).create(true).open(&out).unwrap();
    let ledger = record(&fake, vec![(0, append().into())], Way::Auto);
    assert!(ledger.cpus[0].error.is_none());
    assert_eq!(ledger.cpus[0].way, Way::Read);
    assert!(fs::read(&out).unwrap() == data);
    let forced = record(&fake, vec![(0, append().into())], Way::Splice);
    assert!(matches!(forced.cpus[0].error, Some(SinkError::Write { .. })));
}

#[test]
fn a_writer_is_a_sink() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            assert!(bytes.len().is_multiple_of(SUB_BUFFER));
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fake = Fake::new();
    let data = sub_buffers(5);
    fake.cpu(0, &data);
    let shared = Shared::default();
    let ledger = record(&fake, vec![(0, Sink::Writer(Box::new(shared.clone())))], Way::Auto);
    assert_eq!(ledger.cpus[0].sub_buffers, 5);
    assert!(*shared.0.lock().unwrap() == data);
}

/// Takes what is written to it and what is in its memory, of which it counts the latter.
#[derive(Clone, Default)]
struct Lends {
    taken: Arc<Mutex<(Vec<u8>, usize)>>,
    memory: Vec<u8>,
}

impl Write for Lends {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.taken.lock().unwrap().0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lender for Lends {
    fn lend(&mut self, len: usize) -> std::io::Result<&mut [u8]> {
        self.memory.resize(len, 0);
        Ok(&mut self.memory)
    }
    fn take_lent(&mut self) -> std::io::Result<()> {
        let mut taken = self.taken.lock().unwrap();
        taken.0.extend_from_slice(&self.memory);
        taken.1 += 1;
        Ok(())
    }
}

#[test]
fn what_wakes_the_recorder_is_read_into_lent_memory() {
    let fake = Fake::new();
    fake.cpu(0, &[]);
    fake.put("per_cpu/cpu0/buffer_size_kb", "40\n");
    let raw = fake.top().cpu_file(0, "trace_pipe_raw");
    let mut raw = File::options().append(true).open(raw.path()).unwrap();
    let lends = Lends::default();
    let sinks = vec![(0, Sink::Lender(Box::new(lends.clone())))];
    let recorder = Recorder::start(&fake.top(), sinks, &options(Way::Auto)).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut written = Vec::new();
    // What is there when the recorder has not slept yet, it splices.
    while lends.taken.lock().unwrap().1 == 0 {
        assert!(Instant::now() < until, "nothing was read into lent memory");
        let data = sub_buffers(7);
        raw.write_all(&data).unwrap();
        written.extend(data);
        while recorder.bytes() < written.len() as u64 {
            assert!(Instant::now() < until, "not taken");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let ledger = recorder.stop();
    assert_eq!(ledger.cpus[0].bytes, written.len() as u64);
    assert!(lends.taken.lock().unwrap().0 == written);
}

#[test]
fn a_follower_is_told_when_it_has_all() {
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<(usize, Vec<usize>)>>);
    impl Follower for Told {
        fn take(&mut self, sub_buffers: &[u8]) -> std::io::Result<()> {
            self.0.lock().unwrap().0 += sub_buffers.len();
            Ok(())
        }
        fn caught_up(&mut self) -> std::io::Result<()> {
            let mut told = self.0.lock().unwrap();
            let taken = told.0;
            told.1.push(taken);
            Ok(())
        }
    }
    let fake = Fake::new();
    fake.cpu(0, &sub_buffers(5));
    let told = Told::default();
    let sinks = vec![(0, Sink::Follower(Box::new(told.clone())))];
    let recorder = Recorder::start(&fake.top(), sinks, &options(Way::Read)).unwrap();
    let until = Instant::now() + PATIENCE;
    while told.0.lock().unwrap().1.len() < 2 {
        assert!(Instant::now() < until, "never told");
        std::thread::sleep(Duration::from_millis(1));
    }
    let ledger = recorder.stop();
    assert!(ledger.cpus[0].sub_buffers == 5 && ledger.cpus[0].error.is_none());
    assert!(told.0.lock().unwrap().1.iter().all(|taken| *taken == 5 * SUB_BUFFER));
}

#[test]
fn a_ring_buffer_that_cannot_be_opened_starts_nothing() {
    let fake = Fake::new();
    fake.cpu(0, &[]);
    let sink = |name: &str| Sink::from(File::create(fake.temp.path().join(name)).unwrap());
    let started =
        Recorder::start(&fake.top(), vec![(0, sink("a")), (7, sink("b"))], &options(Way::Auto));
    let error = started.unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error}");
    assert!(error.to_string().contains("cpu7"), "{error}");
}

#[test]
fn the_directory_needs_no_mount_to_be_a_value() {
    let dir = TracingDir::at(Path::new("/does/not/exist"));
    assert!(dir.instances().unwrap().is_empty());
    assert!(matches!(dir.top().tracing_on(), Err(Error::NotSupported { .. })));
}
