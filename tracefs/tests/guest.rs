//! The crate against a kernel that has everything: function tracers, probes, histograms, synthetic
//! events, snapshots. This program copies itself into a guest and runs there.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use trace_virt::lab::{Guest, GuestOptions, requirements};
use tracefs::dynamic_event::{Eprobe, FetchArg, Kprobe, SyntheticEvent, Uprobe};
use tracefs::histogram::{HistogramEntry, KeyValue};
use tracefs::trigger::{HistKey, HistModifier, HistState, HistTrigger};
use tracefs::{
    Changes, CommandTrigger, CpuMask, DynamicEvent, DynamicKind, Error, EventName, FunctionAction,
    FunctionCommand, FunctionList, FunctionPattern, Journal, PidFilter, Reset, SqlPlan, SqlQuery,
    StackTracer, TracingDir, Trigger, TriggerCommand,
};

/// Tells this program that it is in the guest.
const INSIDE: &str = "TRACEFS_IN_GUEST";

const BOOT: Duration = Duration::from_secs(240);
const TESTS_TAKE: Duration = Duration::from_secs(600);

type Test = fn(&TracingDir);

const IN_GUEST: [(&str, Test); 13] = [
    ("function_filters_take_globs_and_names", function_filters),
    ("function_commands_come_and_go", function_commands),
    ("triggers_come_and_go", triggers),
    ("histograms_count_what_happened", histograms),
    ("stacks_are_keys_of_histograms", stack_histograms),
    ("dynamic_events_are_listed_as_they_were_made", dynamic_events),
    ("refusals_point_at_the_offending_word", refusals),
    ("sql_makes_events_that_occur", sql_join),
    ("sql_makes_histograms", sql_histogram),
    ("snapshots_are_taken_and_freed", snapshots),
    ("the_stack_tracer_sees_a_stack", stack_tracer),
    ("changes_are_put_back_by_hand_and_from_the_journal", changes),
    ("a_reset_leaves_nothing", reset),
];

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        let trial = |(name, test): (&'static str, Test)| {
            Trial::test(name, move || {
                test(&TracingDir::find_or_mount()?);
                Ok(())
            })
        };
        // The first use of the ring buffers makes them larger, once and for all.
        TracingDir::find_or_mount().unwrap().top().set_buffer_size_kb(1408).unwrap();
        // All of them use the one tracing directory there is.
        let mut arguments = Arguments::from_args();
        arguments.test_threads = Some(1);
        return libtest_mimic::run(&arguments, IN_GUEST.map(trial).into()).exit_code();
    }
    let trial =
        Trial::ignorable_test("guest_kernel_does_as_it_is_told", || match requirements::guest() {
            Ok(()) => in_guest().map(|()| Completion::Completed),
            Err(missing) => Ok(Completion::ignored_with(missing)),
        });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn in_guest() -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let mut options = GuestOptions::new("tracefs");
    // A second CPU that may come, and does not: kernels that patch their code while another emulated CPU
    // runs it get stuck now and then.
    options.qemu_args = ["-smp", "1,maxcpus=2"].map(str::to_owned).to_vec();
    options.programs = vec![program.clone()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    let command = format!("{INSIDE}=1 RUST_BACKTRACE=0 {} 2>&1", program.display());
    let output = guest.output(&command, TESTS_TAKE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    if output.status != 0 {
        return Err(format!("status {}:\n{text}", output.status).into());
    }
    let passed = format!("{} passed; 0 failed", IN_GUEST.len());
    if text.contains(&passed) { Ok(()) } else { Err(text.into_owned().into()) }
}

/// What this crate changes, as the kernel shows it.
fn state(dir: &TracingDir) -> Vec<(String, String)> {
    let mut files: Vec<String> = [
        "tracing_on",
        "trace_clock",
        "buffer_size_kb",
        "buffer_percent",
        "trace_options",
        "set_event",
        "set_event_pid",
        "set_event_notrace_pid",
        "set_ftrace_pid",
        "set_ftrace_notrace_pid",
        "set_ftrace_filter",
        "set_ftrace_notrace",
        "set_graph_function",
        "set_graph_notrace",
        "max_graph_depth",
        "tracing_thresh",
        "saved_cmdlines_size",
        "current_tracer",
        "tracing_cpumask",
        "dynamic_events",
    ]
    .map(str::to_owned)
    .to_vec();
    for event in ["sched/sched_switch", "sched/sched_waking", "kmem/kmalloc"] {
        for file in ["enable", "filter", "trigger"] {
            files.push(format!("events/{event}/{file}"));
        }
    }
    let read = |name: String| {
        let text = dir.file(&name).read_text().unwrap();
        (name, text)
    };
    let mut state: Vec<_> = files.into_iter().map(read).collect();
    state.push(("instances".to_owned(), dir.instances().unwrap().join(" ")));
    state
}

/// Runs a test that is to leave the tracing directory as it finds it.
fn left_as_found(dir: &TracingDir, work: impl FnOnce()) {
    let before = state(dir);
    work();
    for (before, after) in before.iter().zip(state(dir)) {
        assert_eq!(*before, after);
    }
}

/// Makes events: files are read and memory is allocated, tasks sleep and wake up.
fn load() {
    for _ in 0..50 {
        fs::read("/proc/self/status").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sched(event: &str) -> EventName {
    EventName::new("sched", event)
}

fn function_filters(dir: &TracingDir) {
    left_as_found(dir, || {
        let top = dir.top();
        let mut changes = Changes::new();
        let glob = top.resolve_functions(&FunctionPattern::parse("vfs_*").unwrap()).unwrap();
        changes.add_functions(&top, FunctionList::Filter, &glob).unwrap();
        let many = top.functions(FunctionList::Filter).unwrap();
        assert!(many.len() > 10 && many.iter().all(|name| name.starts_with("vfs_")), "{many:?}");
        let exact = FunctionPattern::parse("^vfs_(read|write)$").unwrap();
        let exact = top.resolve_functions(&exact).unwrap();
        changes.set_functions(&top, FunctionList::Filter, &exact).unwrap();
        assert_eq!(top.functions(FunctionList::Filter).unwrap().len(), 2);
        for list in [FunctionList::Notrace, FunctionList::Graph, FunctionList::GraphNotrace] {
            changes.add_functions(&top, list, &["schedule".to_owned()]).unwrap();
            assert_eq!(top.functions(list).unwrap(), ["schedule"]);
        }
        let nothing = FunctionPattern::parse("^no such$").unwrap();
        let unknown = top.resolve_functions(&nothing);
        assert!(matches!(unknown, Err(Error::UnknownFunction { .. })), "{unknown:?}");
        let refused = top.add_functions(FunctionList::Filter, &["no_such_function".to_owned()]);
        assert!(matches!(refused, Err(Error::Control { .. })), "{refused:?}");

        changes.set_max_graph_depth(dir, 2).unwrap();
        changes.set_current_tracer(&top, "function_graph").unwrap();
        changes.add_pids(&top, PidFilter::FunctionsOnly, &[1]).unwrap();
        assert_eq!(top.pid_filter(PidFilter::FunctionsOnly).unwrap(), [1]);
        changes.restore().unwrap();
    });
}

fn function_commands(dir: &TracingDir) {
    left_as_found(dir, || {
        let top = dir.top();
        let mut changes = Changes::new();
        let event = FunctionAction::EnableEvent(sched("sched_switch"));
        let commands = [
            FunctionCommand::new("vfs_rename", FunctionAction::TraceOff),
            FunctionCommand::new("vfs_rename", FunctionAction::Stacktrace).times(3),
            FunctionCommand::new("vfs_rename", event).times(2),
        ];
        for command in &commands {
            changes.add_function_command(&top, command).unwrap();
        }
        let mut shown = top.function_commands().unwrap();
        shown.sort_unstable();
        assert_eq!(
            shown,
            [
                "vfs_rename:enable_event:sched:sched_switch:count=2",
                "vfs_rename:stacktrace:count=3",
                "vfs_rename:traceoff:unlimited",
            ]
        );
        changes.restore().unwrap();
    });
}

fn triggers(dir: &TracingDir) {
    left_as_found(dir, || {
        let (top, event) = (dir.top(), sched("sched_switch"));
        let hist = HistTrigger::new([HistKey::with("common_pid", HistModifier::Execname)])
            .value("next_prio")
            .sort_by("hitcount", true)
            .only_if("next_pid > 0");
        let all: [Trigger; 6] = [
            CommandTrigger::new(TriggerCommand::TraceOff).times(3).only_if("prev_pid == -1").into(),
            CommandTrigger::new(TriggerCommand::Stacktrace).only_if("prev_pid == -1").into(),
            CommandTrigger::new(TriggerCommand::Snapshot).only_if("prev_pid == -1").into(),
            CommandTrigger::new(TriggerCommand::EnableEvent(sched("sched_waking")))
                .times(1)
                .only_if("prev_pid == -1")
                .into(),
            hist.clone().into(),
            CommandTrigger::new(TriggerCommand::DisableHist(sched("sched_waking")))
                .only_if("prev_pid == -1")
                .into(),
        ];
        for trigger in &all {
            top.add_trigger(&event, trigger).unwrap();
        }
        let shown = top.event_triggers(&event).unwrap();
        assert_eq!(shown.len(), all.len(), "{shown:?}");
        top.add_trigger(&event, &hist.clone().state(HistState::Pause).into()).unwrap();
        assert!(top.event_triggers(&event).unwrap().iter().any(|line| line.ends_with("[paused]")));
        let twice = top.add_trigger(&event, &all[1]);
        assert!(matches!(twice, Err(Error::Control { .. })), "{twice:?}");
        for trigger in &all {
            top.remove_trigger(&event, trigger).unwrap();
        }
        assert_eq!(top.event_triggers(&event).unwrap(), [""; 0]);
        dir.top().snapshot().free().unwrap();
    });
}

fn histograms(dir: &TracingDir) {
    left_as_found(dir, || {
        let (top, event) = (dir.top(), EventName::new("kmem", "kmalloc"));
        let keys = [
            HistKey::with("common_pid", HistModifier::Execname),
            HistKey::with("call_site", HistModifier::Sym),
        ];
        let hist = HistTrigger::new(keys).value("bytes_req").sort_by("bytes_req", true);
        let mut changes = Changes::new();
        changes.add_trigger(&top, &event, &hist.clone().into()).unwrap();
        load();
        // Or it goes on counting while it is read.
        top.add_trigger(&event, &hist.state(HistState::Pause).into()).unwrap();
        let [histogram] = top.histograms(&event).unwrap().try_into().unwrap();
        assert!(histogram.entries.len() > 1, "{histogram:?}");
        let hits: u64 = histogram.entries.iter().filter_map(HistogramEntry::hit_count).sum();
        assert_eq!(hits, histogram.totals.hits);
        assert_eq!(histogram.entries.len() as u64, histogram.totals.entries);
        for entry in &histogram.entries {
            assert!(entry.value("bytes_req").is_some() && entry.keys.len() == 2, "{entry:?}");
            let Some(KeyValue::Text(site)) = entry.key("call_site") else { panic!("{entry:?}") };
            assert!(site.starts_with('['), "{site}");
        }
        changes.restore().unwrap();
    });
}

fn stack_histograms(dir: &TracingDir) {
    left_as_found(dir, || {
        let (top, event) = (dir.top(), EventName::new("kmem", "kmalloc"));
        let mut changes = Changes::new();
        let hist = HistTrigger::new(["stacktrace".into()]);
        changes.add_trigger(&top, &event, &hist.into()).unwrap();
        load();
        let [histogram] = top.histograms(&event).unwrap().try_into().unwrap();
        assert!(!histogram.entries.is_empty());
        for entry in &histogram.entries {
            let KeyValue::Stack(functions) = &entry.keys[0].value else { panic!("{entry:?}") };
            assert!(functions.iter().all(|name| name.contains("+0x")), "{functions:?}");
        }
        changes.restore().unwrap();
    });
}

fn dynamic_events(dir: &TracingDir) {
    left_as_found(dir, || {
        let own = std::env::current_exe().unwrap();
        let mut kretprobe = Kprobe::new("opened", "do_sys_openat2")
            .on_return()
            .arg(FetchArg::new("$retval").named("ret"));
        kretprobe.max_active = Some(8);
        let file = FetchArg::new("+0($filename)").named("file").of_type("ustring");
        let events: [DynamicEvent; 6] = [
            Kprobe::new("open", "do_sys_openat2")
                .arg(FetchArg::new("%di").named("dfd").of_type("s32"))
                .arg(FetchArg::new("+0(%si)").named("file").of_type("ustring"))
                .into(),
            kretprobe.into(),
            Uprobe::new("main", &own, 0x1000)
                .arg(FetchArg::new("%ip").named("ip").of_type("x64"))
                .into(),
            Uprobe::new("main_ret", &own, 0x1000).on_return().into(),
            Eprobe::new("file", EventName::new("syscalls", "sys_enter_openat")).arg(file).into(),
            SyntheticEvent::new("lat").field("pid_t", "pid").field("u64", "us").into(),
        ];
        let mut changes = Changes::new();
        for event in &events {
            changes.create_dynamic_event(dir, event).unwrap();
        }
        let listed = dir.dynamic_events().unwrap();
        assert_eq!(listed.len(), events.len());
        for event in &events {
            let same = listed.iter().find(|other| other.name() == event.name()).unwrap();
            assert_eq!(same.kind(), event.kind());
            if matches!(event, DynamicEvent::Synthetic(_)) {
                assert_eq!(same, event);
            }
        }
        // They occur, and what they tell is what happened.
        let top = dir.top();
        let selection = top.select("kprobes:open").unwrap();
        changes.enable(&top, &selection).unwrap();
        load();
        let trace = top.file("trace").read_text().unwrap();
        assert!(trace.contains("file=\"/proc/self/status\""), "{trace:.2000}");
        let exists = changes.create_dynamic_event(dir, &events[0]);
        assert!(matches!(exists, Err(Error::EventExists { .. })), "{exists:?}");
        changes.restore().unwrap();
        top.clear().unwrap();

        dir.create_dynamic_event(&events[0]).unwrap();
        dir.create_dynamic_event(&events[5]).unwrap();
        assert_eq!(dir.remove_dynamic_events(DynamicKind::Kprobe).unwrap(), [events[0].name()]);
        dir.remove_dynamic_event(&events[5]).unwrap();
    });
}

/// The word the kernel points at, of an error that carries its explanation.
fn word<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Control { explanation: Some(explanation), .. }) => {
            explanation.token().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn refusals(dir: &TracingDir) {
    left_as_found(dir, || {
        let (top, event) = (dir.top(), sched("sched_switch"));
        let hist = HistTrigger::new(["next_pid".into(), "nosuch".into()]).only_if("next_pid > 1");
        assert_eq!(word(top.add_trigger(&event, &hist.into())), "nosuch");
        let selection = top.select("sched:sched_switch").unwrap();
        assert_eq!(
            word(top.set_event_filter(&selection, Some("next_pid > 1 && nosuch == 2"))),
            "nosuch"
        );
        // What was refused stays in the file, and is no filter.
        assert_eq!(top.event_filter(&event).unwrap(), None);
        top.set_event_filter(&selection, None).unwrap();
        let probe = Kprobe::new("mine", "vfs_read").arg(FetchArg::new("%nosuch").named("x"));
        assert_eq!(word(dir.create_dynamic_event(&probe.into())), "%nosuch");
        let synthetic = SyntheticEvent::new("mine").field("u46", "us");
        assert_eq!(word(dir.create_dynamic_event(&synthetic.into())), "u46");
    });
}

fn sql_join(dir: &TracingDir) {
    left_as_found(dir, || {
        let top = dir.top();
        let query = "SELECT start.pid, start.comm, end.prev_comm AS before, \
                     (end.TIMESTAMP_USECS - start.TIMESTAMP_USECS) AS lat \
                     FROM sched_waking AS start JOIN sched_switch AS end \
                     ON start.pid = end.next_pid WHERE start.pid > 1 AND end.next_prio < 200";
        let plan = SqlQuery::parse(query).unwrap().plan("wake", &top).unwrap();
        let mut changes = Changes::new();
        changes.apply_sql(&top, &plan).unwrap();
        let selection = top.select("synthetic:wake").unwrap();
        changes.enable(&top, &selection).unwrap();
        load();
        let trace = top.file("trace").read_text().unwrap();
        let line = trace.lines().find(|line| line.contains(" wake: ")).unwrap();
        assert!(
            line.contains(" pid=") && line.contains(" lat=") && line.contains(" before="),
            "{line}"
        );
        changes.restore().unwrap();
        top.clear().unwrap();

        let SqlPlan::Join(join) = plan else { panic!("no join") };
        let trace = join.trace_action();
        let largest = join.on_max("lat", trace).unwrap();
        let mut changes = Changes::new();
        changes.apply_sql(&top, &SqlPlan::Join(Box::new(largest))).unwrap();
        load();
        let histograms = top.histograms(&sched("sched_switch")).unwrap();
        assert!(
            histograms[0].entries.iter().any(|entry| entry.value("max").is_some()),
            "{histograms:?}"
        );
        changes.restore().unwrap();
    });
}

fn sql_histogram(dir: &TracingDir) {
    left_as_found(dir, || {
        let top = dir.top();
        let query = "SELECT CAST(common_pid AS EXECNAME), CAST(call_site AS SYM-OFFSET), \
                     CAST(bytes_req AS _COUNTER_), COUNT(*) FROM kmalloc WHERE bytes_req >= 8";
        let plan = SqlQuery::parse(query).unwrap().plan("none", &top).unwrap();
        let mut changes = Changes::new();
        changes.apply_sql(&top, &plan).unwrap();
        load();
        let [histogram] =
            top.histograms(&EventName::new("kmem", "kmalloc")).unwrap().try_into().unwrap();
        assert!(histogram.totals.hits > 0 && histogram.entries[0].value("bytes_req") >= Some(8));
        changes.restore().unwrap();
    });
}

fn snapshots(dir: &TracingDir) {
    left_as_found(dir, || {
        let top = dir.top();
        let snapshot = top.snapshot();
        assert!(!snapshot.is_allocated().unwrap());
        top.marker().unwrap().write(b"before the snapshot").unwrap();
        top.raw_marker().unwrap().write(7, b"raw bytes").unwrap();
        snapshot.take().unwrap();
        assert!(snapshot.is_allocated().unwrap());
        let text = std::io::read_to_string(snapshot.open().unwrap()).unwrap();
        assert!(text.contains("before the snapshot") && text.contains("# 7 buf:"), "{text:.2000}");
        snapshot.reset().unwrap();
        let text = std::io::read_to_string(snapshot.open().unwrap()).unwrap();
        assert!(!text.contains("before the snapshot"));
        // This kernel can exchange the buffers of all CPUs only.
        assert!(matches!(top.cpu_snapshot(0).take(), Err(Error::Control { .. })));
        snapshot.free().unwrap();
        assert!(!snapshot.is_allocated().unwrap());
    });
}

fn stack_tracer(dir: &TracingDir) {
    left_as_found(dir, || {
        let tracer = StackTracer::new(dir);
        assert!(!tracer.is_on().unwrap());
        tracer.set_on(true).unwrap();
        load();
        tracer.set_on(false).unwrap();
        let frames = tracer.frames().unwrap();
        assert!(frames.len() > 3 && frames[0].depth >= frames[1].depth, "{frames:?}");
        assert_eq!(tracer.max_size().unwrap(), frames[0].depth);
        tracer.reset().unwrap();
        assert_eq!(tracer.max_size().unwrap(), 0);
    });
}

/// One change of every kind.
fn change_all(changes: &mut Changes, dir: &TracingDir) {
    let top = dir.top();
    changes.set_tracing_on(&top, false).unwrap();
    changes.set_trace_clock(&top, "mono").unwrap();
    changes.set_buffer_size_kb(&top, 2048).unwrap();
    changes.set_buffer_percent(&top, 10).unwrap();
    changes.set_trace_option(&top, "event-fork", true).unwrap();
    changes.set_cpu_mask(&top, &CpuMask::from_iter([1])).unwrap();
    changes.set_max_graph_depth(dir, 3).unwrap();
    changes.set_tracing_threshold_us(dir, 100).unwrap();
    changes.set_saved_cmdlines_size(dir, 1024).unwrap();
    changes.add_functions(&top, FunctionList::Filter, &["vfs_*".to_owned()]).unwrap();
    changes.add_functions(&top, FunctionList::Graph, &["vfs_read".to_owned()]).unwrap();
    let command = FunctionCommand::new("vfs_rename", FunctionAction::TraceOff).times(3);
    changes.add_function_command(&top, &command).unwrap();
    changes.set_current_tracer(&top, "function").unwrap();
    changes.set_function_stacks(&top, true).unwrap();
    let probe = Kprobe::new("mine", "vfs_read").into();
    changes.create_dynamic_event(dir, &probe).unwrap();
    changes
        .set_event_filter(&top, &top.select("sched:sched_switch").unwrap(), "next_pid > 1")
        .unwrap();
    let off = CommandTrigger::new(TriggerCommand::TraceOff).times(3).only_if("next_pid == -1");
    changes.add_trigger(&top, &sched("sched_switch"), &off.into()).unwrap();
    let query = "SELECT s.pid, TIMESTAMP_DELTA AS ns FROM sched_waking s \
                 JOIN sched_switch e ON s.pid = e.next_pid";
    let plan = SqlQuery::parse(query).unwrap().plan("wake", &top).unwrap();
    changes.apply_sql(&top, &plan).unwrap();
    for pattern in ["kprobes:mine", "synthetic:wake", "sched"] {
        changes.enable(&top, &top.select(pattern).unwrap()).unwrap();
    }
    changes.include_pids(&top, &[1]).unwrap();
    changes.exclude_pids(&top, &[2]).unwrap();
    changes.create_instance(dir, "mine").unwrap();
    changes.set_tracing_on(&top, true).unwrap();
    load();
}

fn changes(dir: &TracingDir) {
    left_as_found(dir, || {
        let mut changes = Changes::new();
        change_all(&mut changes, dir);
        changes.restore().unwrap();
    });
    left_as_found(dir, || {
        let journals = std::env::temp_dir().join("tracefs-journals");
        let mut changes = Changes::journaled(dir, &journals).unwrap();
        change_all(&mut changes, dir);
        std::mem::forget(changes);
        // As of a process that is gone: in another file, since this one holds the lock.
        let entry = fs::read_dir(&journals).unwrap().next().unwrap().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        fs::remove_file(entry.path()).unwrap();
        let head = text.lines().nth(1).unwrap();
        let text = text.replacen(head, "process 4194305 started 1", 1);
        // Twice, as after a process that was killed when it had just put everything back.
        for _ in 0..2 {
            fs::write(journals.join("4194305-1-0.journal"), &text).unwrap();
            let [journal] = Journal::stale(dir, &journals).unwrap().journals.try_into().unwrap();
            journal.repair().unwrap();
        }
    });
}

fn reset(dir: &TracingDir) {
    let mut changes = Changes::new();
    change_all(&mut changes, dir);
    changes.keep();
    let report = Reset::new().top(dir);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let state = state(dir);
    let shown = |wanted: &str| {
        state.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.as_str()).unwrap()
    };
    for (name, text) in [
        ("tracing_on", "1"),
        ("current_tracer", "nop"),
        ("set_event", ""),
        ("set_event_pid", ""),
        ("dynamic_events", ""),
        ("set_ftrace_filter", "#### all functions enabled ####"),
        ("set_graph_function", "#### all functions enabled ####"),
        ("events/sched/sched_switch/filter", "none"),
        ("tracing_cpumask", "3"),
    ] {
        assert_eq!(shown(name), text, "{name}");
    }
    assert_eq!(dir.top().trace_clocks().unwrap().current, "local");
    assert_eq!(dir.top().event_triggers(&sched("sched_switch")).unwrap(), [""; 0]);
    assert!(report.put_back.len() > 10, "{:?}", report.put_back);
    dir.remove_instance("mine").unwrap();
    let again = Reset::new().top(dir);
    assert!(again.put_back.is_empty(), "{:?}", again.put_back);
}
