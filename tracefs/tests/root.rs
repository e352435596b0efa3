//! The same against the running kernel. Needs root and tracefs; without, every test is ignored
//! with the reason.

#![expect(clippy::unwrap_used, reason = "in a closure that is to panic anyway")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;
use tracefs::dynamic_event::{FetchArg, Uprobe};
use tracefs::pid_filter::PidFilter;
use tracefs::{
    Capture, Changes, CommandTrigger, DynamicEvent, Error, EventName, EventSelection, Instance,
    Journal, Ledger, Recorder, RecorderOptions, Sink, TracingDir, TriggerCommand, Way,
};

/// How long a loaded machine may take for what takes no time.
const PATIENCE: Duration = Duration::from_secs(240);

type Test = fn(&TracingDir) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("root_splice_records_whole_sub_buffers", splice_records),
    ("root_read_records_whole_sub_buffers", read_records),
    ("root_map_records_whole_sub_buffers", map_records),
    ("root_a_buffer_full_at_the_end_is_taken_whole", full_buffer),
    ("root_all_ways_record_and_lose_the_same", same_by_all_ways),
    ("root_top_instance_is_left_as_found", top_is_left_as_found),
    ("root_all_events_are_left_as_found", all_events_are_left_as_found),
    ("root_a_panic_leaves_everything_as_found", panic_leaves_as_found),
    ("root_stop_ends_while_tracing_goes_on", stop_ends),
    ("root_unknown_events_and_clocks_name_what_there_is", unknown_names),
    ("root_of_several_events_those_with_the_field_are_filtered", filter_of_some),
    ("root_refused_filters_are_explained_by_the_kernel", refused_filter),
    ("root_function_tracer_files_work_or_are_refused", function_tracer),
    ("root_capture_has_what_a_trace_needs", capture),
    ("root_recorder_threads_can_be_left_out", left_out),
    ("root_uprobes_are_listed_as_they_were_made", uprobes),
    ("root_triggers_come_and_go", triggers),
    ("root_raw_markers_are_entries", raw_markers),
    ("root_journaled_changes_are_put_back", journaled),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = |&(name, test): &(&'static str, Test)| {
        Trial::ignorable_test(name, move || match TracingDir::find_or_mount() {
            Err(error @ (Error::NotRoot { .. } | Error::NoTracefs | Error::Mount { .. })) => {
                Ok(Completion::ignored_with(error))
            }
            Err(error) => Err(error.into()),
            Ok(dir) => {
                // The tracing directory is shared by all on the machine.
                let lock = File::create("/tmp/tracefs.lock")?;
                let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e)?;
                test(&dir).map(|()| Completion::Completed)
            }
        })
    };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

/// What recordings change, as text.
fn state(dir: &TracingDir) -> Vec<String> {
    let files = [
        "tracing_on",
        "trace_clock",
        "buffer_size_kb",
        "buffer_subbuf_size_kb",
        "buffer_percent",
        "trace_options",
        "set_event",
        "set_event_pid",
        "set_event_notrace_pid",
        "current_tracer",
        "tracing_cpumask",
        "events/sched/filter",
        "events/sched/sched_switch/filter",
        "events/sched/sched_waking/filter",
    ];
    let read = |name: &&str| format!("{name}: {:?}", dir.file(name).read_text().ok());
    let mut state: Vec<String> = files.iter().map(read).collect();
    state.push(format!("instances: {:?}", dir.instances().ok()));
    state
}

fn left_as_found(
    dir: &TracingDir,
    work: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let before = state(dir);
    work()?;
    let after = state(dir);
    for (before, after) in before.iter().zip(&after) {
        check(before == after, || format!("was {before}\nis  {after}"))?;
    }
    Ok(())
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(message().into()) }
}

fn sinks(instance: &Instance, out: &Path) -> Result<Vec<(u32, Sink)>, Failed> {
    let mut sinks = Vec::new();
    for cpu in instance.cpus()? {
        sinks.push((cpu, File::create(out.join(format!("cpu{cpu}")))?.into()));
    }
    Ok(sinks)
}

/// Makes events on every CPU: threads that go to sleep and wake up again.
fn load() {
    let busy = || (0..200).for_each(|_| thread::sleep(Duration::from_micros(200)));
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(busy)).collect();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Checks that a file is whole sub-buffers in the order of time, as the ledger says.
fn check_sub_buffers(out: &Path, ledger: &Ledger, size: usize) -> Result<(), Failed> {
    for cpu in &ledger.cpus {
        let data = fs::read(out.join(format!("cpu{}", cpu.cpu)))?;
        check(cpu.error.is_none(), || format!("{cpu:?}"))?;
        check(
            data.len() as u64 == cpu.bytes && cpu.bytes == cpu.sub_buffers * size as u64,
            || format!("{} bytes in the file, {cpu:?}", data.len()),
        )?;
        let mut last = 0;
        for (index, page) in data.chunks(size).enumerate() {
            let stamp = u64::from_ne_bytes(page[..8].try_into()?);
            let commit = u64::from_ne_bytes(page[8..16].try_into()?) & 0x07ff_ffff;
            check(stamp >= last && stamp > 0, || format!("sub-buffer {index}: {stamp} < {last}"))?;
            check(commit > 0 && commit as usize <= size - 16, || {
                format!("sub-buffer {index} has {commit} bytes")
            })?;
            last = stamp;
        }
    }
    Ok(())
}

fn records(dir: &TracingDir, way: Way) -> Result<(), Failed> {
    left_as_found(dir, || {
        let out = TempDir::new()?;
        let mut changes = Changes::new();
        let (instance, existed) = changes.create_instance(dir, "root-test-records")?;
        check(!existed, || "left over from another run".to_owned())?;
        changes.set_trace_clock(&instance, "mono")?;
        changes.set_buffer_size_kb(&instance, 256)?;
        let mut options = RecorderOptions::default();
        options.way = way;
        let recorder = Recorder::start(&instance, sinks(&instance, out.path())?, &options)?;
        changes.enable(&instance, &instance.select("sched")?)?;
        load();
        changes.set_tracing_on(&instance, false)?;
        let started = Instant::now();
        let ledger = recorder.stop();
        check(started.elapsed() < PATIENCE, || "slow stop".to_owned())?;
        let left: u64 = instance
            .cpus()?
            .iter()
            .map(|cpu| instance.buffer_stats(*cpu).map_or(0, |stats| stats.entries))
            .sum();
        check(left == 0, || format!("{left} events left in the ring buffers"))?;
        let read: u64 = ledger.cpus.iter().map(|cpu| cpu.stats.read_events).sum();
        check(read >= 800, || format!("{read} events only"))?;
        check(ledger.cpus.iter().all(|cpu| cpu.way == way), || format!("{ledger:?}"))?;
        check_sub_buffers(out.path(), &ledger, instance.sub_buffer_size()?)?;
        changes.restore()?;
        Ok(())
    })
}

fn splice_records(dir: &TracingDir) -> Result<(), Failed> {
    records(dir, Way::Splice)
}

fn read_records(dir: &TracingDir) -> Result<(), Failed> {
    records(dir, Way::Read)
}

fn map_records(dir: &TracingDir) -> Result<(), Failed> {
    records(dir, Way::Map)
}

fn full_buffer(dir: &TracingDir) -> Result<(), Failed> {
    for way in [Way::Splice, Way::Map, Way::Read] {
        let out = TempDir::new()?;
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-full")?;
        changes.set_buffer_size_kb(&instance, 64)?;
        changes.enable(&instance, &instance.select("raw_syscalls")?)?;
        let cpus = instance.cpus()?;
        let stats = |cpu: &u32| instance.buffer_stats(*cpu).unwrap();
        let until = Instant::now() + PATIENCE;
        while cpus.iter().any(|cpu| stats(cpu).overrun == 0) {
            check(Instant::now() < until, || "the buffers do not fill".to_owned())?;
            load();
        }
        changes.set_tracing_on(&instance, false)?;
        let there: u64 = cpus.iter().map(|cpu| stats(cpu).entries).sum();
        let mut options = RecorderOptions::default();
        options.way = way;
        let ledger = Recorder::start(&instance, sinks(&instance, out.path())?, &options)?.stop();
        let left: u64 = cpus.iter().map(|cpu| stats(cpu).entries).sum();
        let read: u64 = ledger.cpus.iter().map(|cpu| cpu.stats.read_events).sum();
        // What was on its way into the buffer when tracing ended is not counted yet.
        check(left == 0 && read >= there, || format!("{there} there, {read} read, {left} left"))?;
        check_sub_buffers(out.path(), &ledger, instance.sub_buffer_size()?)?;
        changes.restore()?;
    }
    Ok(())
}

/// What a way makes of marks that were written before, more than the buffers hold.
fn marks_taken(dir: &TracingDir, way: Way, written: usize) -> Result<Vec<usize>, Failed> {
    const MISSED: u32 = 1 << 31;
    const COUNTED: u32 = 1 << 30;
    let out = TempDir::new()?;
    let mut changes = Changes::new();
    let (instance, _) = changes.create_instance(dir, "root-test-marks")?;
    changes.set_buffer_size_kb(&instance, 64)?;
    let mut marker =
        fs::OpenOptions::new().write(true).open(instance.file("trace_marker").path())?;
    for number in 0..written {
        marker.write_all(format!("mark-{number:06}").as_bytes())?;
    }
    drop(marker);
    changes.set_tracing_on(&instance, false)?;
    let lost_of = |cpu: &u32| instance.buffer_stats(*cpu).map_or(0, |stats| stats.overrun);
    let lost: Vec<u64> = instance.cpus()?.iter().map(lost_of).collect();
    let mut options = RecorderOptions::default();
    options.way = way;
    let ledger = Recorder::start(&instance, sinks(&instance, out.path())?, &options)?.stop();
    let size = instance.sub_buffer_size()?;
    check_sub_buffers(out.path(), &ledger, size)?;
    let mut marks = Vec::new();
    for (cpu, lost) in ledger.cpus.iter().zip(&lost) {
        let data = fs::read(out.path().join(format!("cpu{}", cpu.cpu)))?;
        if let Some(page) = data.chunks(size).next() {
            let word = u64::from_ne_bytes(page[8..16].try_into()?);
            let (flags, len) = (word as u32 & (MISSED | COUNTED), word as usize & 0x07ff_ffff);
            let missed = match page.get(16 + len..24 + len) {
                Some(count) if flags == MISSED | COUNTED => u64::from_ne_bytes(count.try_into()?),
                _ => 0,
            };
            check(missed == *lost, || {
                format!("{way:?}: {lost} lost, {flags:x} and {missed} told")
            })?;
        }
        let all = data.windows(11).filter(|window| window.starts_with(b"mark-"));
        marks.extend(all.filter_map(|mark| str::from_utf8(&mark[5..]).ok()?.parse::<usize>().ok()));
    }
    marks.sort_unstable();
    let lost = usize::try_from(lost.iter().sum::<u64>())?;
    check(marks.len() + lost == written, || {
        format!("{way:?}: {written} written, {lost} lost, {} there", marks.len())
    })?;
    changes.restore()?;
    Ok(marks)
}

fn same_by_all_ways(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        for written in [10, 50_000] {
            for way in [Way::Read, Way::Splice, Way::Map] {
                let marks = marks_taken(dir, way, written)?;
                check(marks.windows(2).all(|pair| pair[0] < pair[1]), || {
                    format!("{way:?}: a mark came twice")
                })?;
                check(marks.last() == Some(&(written - 1)), || format!("{way:?}: {marks:?}"))?;
                check((marks.len() == written) == (written == 10), || {
                    format!("{way:?}: {} of {written} marks", marks.len())
                })?;
            }
        }
        Ok(())
    })
}

fn top_is_left_as_found(dir: &TracingDir) -> Result<(), Failed> {
    let top = dir.top();
    let name = EventName::new("sched", "sched_wakeup");
    let was_on = top.enabled_events()?.contains(&name);
    // Somebody else traces this one already.
    top.event_file(&name, "enable").write("1")?;
    let result = left_as_found(dir, || {
        let out = TempDir::new()?;
        let mut changes = Changes::new();
        changes.set_tracing_on(&top, false)?;
        changes.set_trace_clock(&top, "boot")?;
        changes.set_buffer_size_kb(&top, 300)?;
        top.clear()?;
        let sched = top.select("sched")?;
        changes.set_event_filter(&top, &sched, "common_pid != 1")?;
        let waking = top.select("sched_waking")?;
        changes.set_event_filter(&top, &waking, "prio < 200")?;
        let recorder =
            Recorder::start(&top, sinks(&top, out.path())?, &RecorderOptions::default())?;
        changes.exclude_pids(&top, recorder.thread_ids())?;
        changes.enable(&top, &sched)?;
        changes.set_tracing_on(&top, true)?;
        load();
        changes.set_tracing_on(&top, false)?;
        let ledger = recorder.stop();
        check(ledger.bytes() > 0, || format!("{ledger:?}"))?;
        check_sub_buffers(out.path(), &ledger, top.sub_buffer_size()?)?;
        changes.restore()?;
        Ok(())
    });
    top.event_file(&name, "enable").write(if was_on { "1" } else { "0" })?;
    result
}

fn all_events_are_left_as_found(dir: &TracingDir) -> Result<(), Failed> {
    let top = dir.top();
    left_as_found(dir, || {
        let before = top.enabled_events()?;
        let mut changes = Changes::new();
        changes.set_tracing_on(&top, false)?;
        changes.enable(&top, &top.select("all")?)?;
        let on = top.enabled_events()?;
        check(on.len() > before.len() + 500, || format!("{} events on", on.len()))?;
        changes.restore()?;
        check(top.enabled_events()? == before, || "other events are on".to_owned())
    })
}

fn panic_leaves_as_found(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let out = TempDir::new()?;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut changes = Changes::new();
            let (instance, _) = changes.create_instance(dir, "root-test-panic").unwrap();
            changes.enable(&dir.top(), &dir.top().select("irq").unwrap()).unwrap();
            let sinks = sinks(&instance, out.path()).unwrap();
            let _recorder = Recorder::start(&instance, sinks, &RecorderOptions::default()).unwrap();
            std::panic::resume_unwind(Box::new("in the middle of it"));
        }));
        check(result.is_err(), || "no panic".to_owned())
    })
}

fn stop_ends(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-stop")?;
        changes.set_buffer_size_kb(&instance, 64)?;
        changes.enable(&instance, &instance.select("raw_syscalls")?)?;
        let running = File::create("/dev/null")?;
        let until = Instant::now() + PATIENCE;
        let (stopped, is_stopped) = mpsc::channel::<()>();
        let noise = thread::spawn(move || {
            while is_stopped.try_recv() == Err(TryRecvError::Empty) && Instant::now() < until {
                let _ = (&running).write(b"x");
            }
        });
        let cpus = instance.cpus()?;
        let sinks = cpus.iter().map(|cpu| Ok((*cpu, File::create("/dev/null")?.into())));
        let sinks = sinks.collect::<Result<Vec<_>, Failed>>()?;
        let recorder = Recorder::start(&instance, sinks, &RecorderOptions::default())?;
        thread::sleep(Duration::from_millis(200));
        // Tracing stays on: there is always more to take.
        let ledger = recorder.stop();
        check(Instant::now() < until, || "it stopped when no more came".to_owned())?;
        drop(stopped);
        check(ledger.bytes() > 0 && ledger.errors().count() == 0, || format!("{ledger:?}"))?;
        let _ = noise.join();
        changes.restore()?;
        Ok(())
    })
}

fn unknown_names(dir: &TracingDir) -> Result<(), Failed> {
    let top = dir.top();
    match top.select("sched:sched_swich") {
        Err(Error::UnknownEvent { nearest, .. }) => {
            check(nearest.first().is_some_and(|name| name == "sched:sched_switch"), || {
                format!("{nearest:?}")
            })?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    match top.set_trace_clock("mono_") {
        Err(Error::UnknownName { available, .. }) => {
            let available: BTreeSet<_> = available.iter().map(String::as_str).collect();
            check(available.contains("mono") && available.contains("local"), || {
                format!("{available:?}")
            })
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn filter_of_some(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-filter-some")?;
        let names = ["sched_switch", "sched_waking"].map(|name| EventName::new("sched", name));
        let selection: EventSelection = names.iter().cloned().collect();
        instance.set_event_filter(&selection, Some("prev_pid > 3"))?;
        let filters = [instance.event_filter(&names[0])?, instance.event_filter(&names[1])?];
        check(filters == [Some("prev_pid > 3".to_owned()), None], || format!("{filters:?}"))?;
        changes.restore()?;
        Ok(())
    })
}

fn refused_filter(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-filter")?;
        let selection = instance.select("sched:sched_switch")?;
        let error = match instance.set_event_filter(&selection, Some("prev_pdi > 3")) {
            Err(error) => error.to_string(),
            Ok(()) => return Err("a filter of no field was taken".into()),
        };
        check(error.contains("writing \"prev_pdi > 3\" to"), || error.clone())?;
        check(error.contains("(kernel: Field not found"), || error.clone())?;
        changes.restore()?;
        Ok(())
    })
}

/// Lockdown refuses these files; elsewhere they work. Either way the crate must say the same as
/// the kernel.
fn function_tracer(dir: &TracingDir) -> Result<(), Failed> {
    for name in ["set_ftrace_filter", "available_filter_functions"] {
        let refused = File::open(dir.path().join(name)).err();
        let refused = refused.map(|error| error.kind());
        match (refused, dir.file(name).read()) {
            (Some(std::io::ErrorKind::PermissionDenied), Err(Error::Refused { path, .. })) => {
                check(path.ends_with(name), || format!("{}", path.display()))?;
            }
            (Some(std::io::ErrorKind::NotFound), Err(Error::NotSupported { .. }))
            | (None, Ok(_)) => {}
            (kernel, crate_) => return Err(format!("{name}: {kernel:?}, {crate_:?}").into()),
        }
    }
    Ok(())
}

fn capture(dir: &TracingDir) -> Result<(), Failed> {
    let selection = dir.top().select("sched")?;
    let capture = Capture::read(dir, Some(&selection))?;
    check(capture.header_page.starts_with(b"\tfield: u64 timestamp"), || "header".to_owned())?;
    let whole = capture.header_page.windows(9).any(|w| w == b"char data");
    check(whole, || String::from_utf8_lossy(&capture.header_page).into_owned())?;
    check(capture.ftrace_formats.len() > 5, || "ftrace formats".to_owned())?;
    check(capture.event_formats.len() == 1, || "one system".to_owned())?;
    check(capture.event_formats[0].formats.len() == selection.len(), || "formats".to_owned())?;
    check(capture.kallsyms.ends_with(b"\n"), || "kallsyms".to_owned())?;
    let stats = dir.top().buffer_stats_text(0)?;
    check(stats.starts_with("entries: "), || stats.clone())?;
    check(tracefs::capture::possible_cpus() >= tracefs::capture::online_cpus(), || {
        "fewer CPUs possible than on-line".to_owned()
    })?;
    let uname = tracefs::capture::uname();
    check(uname.starts_with("Linux ") && uname.split(' ').count() == 4, || uname.clone())
}

fn left_out(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let out = TempDir::new()?;
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-pids")?;
        let recorder =
            Recorder::start(&instance, sinks(&instance, out.path())?, &RecorderOptions::default())?;
        let ids: BTreeSet<i32> = recorder.thread_ids().iter().copied().collect();
        check(ids.len() == instance.cpus()?.len(), || format!("{ids:?}"))?;
        changes.exclude_pids(&instance, recorder.thread_ids())?;
        let listed: BTreeSet<i32> = instance.pid_filter(PidFilter::Except)?.into_iter().collect();
        check(listed == ids, || format!("{listed:?}, not {ids:?}"))?;
        drop(recorder);
        changes.restore()?;
        Ok(())
    })
}

fn uprobes(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let program = std::env::current_exe()?;
        let probe = Uprobe::new("root_test", &program, 0x1000);
        let probe = DynamicEvent::from(probe.arg(FetchArg::new("%ip").named("ip").of_type("x64")));
        if !dir.file("uprobe_events").exists() {
            let lacking = dir.create_dynamic_event(&probe);
            return check(lacking.is_err_and(|error: Error| error.is_unavailable()), || {
                "taken".to_owned()
            });
        }
        let mut changes = Changes::new();
        changes.create_dynamic_event(dir, &probe)?;
        check(dir.dynamic_events()?.contains(&probe), || format!("{:?}", dir.dynamic_events()))?;
        let exists = changes.create_dynamic_event(dir, &probe);
        check(matches!(exists, Err(Error::EventExists { .. })), || format!("{exists:?}"))?;
        changes.restore()?;
        check(!dir.dynamic_events()?.contains(&probe), || "left behind".to_owned())
    })
}

fn triggers(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-trigger")?;
        let event = EventName::new("sched", "sched_switch");
        let off = CommandTrigger::new(TriggerCommand::TraceOff).times(3).only_if("prev_pid == -1");
        let off = off.into();
        instance.add_trigger(&event, &off)?;
        let shown = instance.event_triggers(&event)?;
        check(shown == ["traceoff:count=3 if prev_pid == -1"], || format!("{shown:?}"))?;
        let listed = instance.enabled_events()?;
        check(listed.is_empty(), || format!("a trigger is no enabling: {listed:?}"))?;
        instance.remove_trigger(&event, &off)?;
        let shown = instance.event_triggers(&event)?;
        check(shown.is_empty(), || format!("{shown:?}"))?;
        changes.restore()?;
        Ok(())
    })
}

fn raw_markers(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        let (instance, _) = changes.create_instance(dir, "root-test-raw")?;
        instance.raw_marker()?.write(7, b"four")?;
        let text = instance.file("trace").read_text()?;
        check(text.contains("# 7 buf:"), || text.clone())?;
        changes.restore()?;
        Ok(())
    })
}

fn journaled(dir: &TracingDir) -> Result<(), Failed> {
    left_as_found(dir, || {
        let journals = TempDir::new()?;
        let top = dir.top();
        let mut changes = Changes::journaled(dir, journals.path())?;
        changes.set_tracing_on(&top, false)?;
        changes.set_buffer_percent(&top, 17)?;
        changes.enable(&top, &top.select("sched:sched_switch")?)?;
        let (instance, _) = changes.create_instance(dir, "root-test-journal")?;
        changes.set_trace_clock(&instance, "mono")?;
        let stale = Journal::stale(dir, journals.path())?;
        check(stale.journals.is_empty(), || format!("{stale:?}"))?;
        changes.restore()?;
        check(fs::read_dir(journals.path())?.next().is_none(), || "a journal is left".to_owned())
    })
}
