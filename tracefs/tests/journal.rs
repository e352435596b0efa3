//! Whatever a recording changes is as before afterwards: when it puts everything back itself, and
//! when it is killed and another process does.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod fake_kernel;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use fake_kernel::FakeKernel;
use libtest_mimic::{Arguments, Trial};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use tracefs::dynamic_event::{Kprobe, SyntheticEvent};
use tracefs::trigger::HistTrigger;
use tracefs::{
    Changes, CommandTrigger, CpuMask, Error, EventName, FunctionList, Instance, Journal, PidFilter,
    TracingDir, TriggerCommand,
};

/// Tells this program to be the process that is killed.
const VICTIM: &str = "TRACEFS_JOURNAL_VICTIM";

/// No process has this number.
const DEAD: &str = "4194305-1-0.journal";

fn main() -> ExitCode {
    if let Some(place) = std::env::var_os(VICTIM) {
        be_killed(&place);
        return ExitCode::SUCCESS;
    }
    let tests: [(&'static str, fn()); 9] = [
        ("state_is_as_before_after_any_changes", any_changes_restored),
        ("state_is_as_before_when_another_process_repairs", any_changes_repaired),
        ("a_killed_process_is_repaired_and_a_living_one_is_not", killed),
        ("a_process_killed_at_any_moment_is_repaired", killed_at_any_moment),
        ("kept_changes_leave_no_journal", kept),
        ("what_is_refused_is_not_undone", refused),
        ("what_cannot_be_undone_stays_in_the_journal", stays),
        ("journals_of_others_are_not_carried_out", not_ours),
        ("an_instance_made_anew_by_another_stays", made_anew),
    ];
    let trial = |(name, test): (&'static str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One change, of any kind.
#[derive(Clone, Debug)]
enum Change {
    TracingOn(bool),
    Clock(&'static str),
    Tracer(&'static str),
    BufferSize(u64),
    SubBufferSize(u64),
    BufferPercent(u64),
    Option(&'static str, bool),
    CpuMask(u32),
    MaxGraphDepth(u64),
    Threshold(u64),
    MaxLatency(u64),
    CmdlinesSize(u64),
    Enable(&'static str),
    Disable(&'static str),
    Filter(&'static str),
    Trigger(&'static str, u8),
    RemoveTrigger,
    AddFunctions(FunctionList, &'static str),
    SetFunctions(FunctionList, &'static str),
    DynamicEvent(bool),
    Pids(PidFilter, i32),
    Instance(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    use prop::sample::select;
    let patterns = || select(vec!["all", "sched", "irq", "sched:sched_switch", "irq_exit"]);
    let lists = || {
        let lists = [FunctionList::Filter, FunctionList::Notrace, FunctionList::Graph];
        (select(lists.to_vec()), select(vec!["schedule", "vfs_*", "do_exit"]))
    };
    let pids = [PidFilter::Only, PidFilter::Except, PidFilter::FunctionsOnly];
    prop_oneof![
        any::<bool>().prop_map(Change::TracingOn),
        select(vec!["local", "global", "mono"]).prop_map(Change::Clock),
        select(vec!["nop", "function"]).prop_map(Change::Tracer),
        (1u64..999).prop_map(Change::BufferSize),
        (1u64..99).prop_map(Change::SubBufferSize),
        (0u64..100).prop_map(Change::BufferPercent),
        (select(vec!["overwrite", "event-fork"]), any::<bool>())
            .prop_map(|(name, on)| Change::Option(name, on)),
        (0u32..3).prop_map(Change::CpuMask),
        (0u64..9).prop_map(Change::MaxGraphDepth),
        (0u64..9).prop_map(Change::Threshold),
        (0u64..9).prop_map(Change::MaxLatency),
        (1u64..999).prop_map(Change::CmdlinesSize),
        patterns().prop_map(Change::Enable),
        patterns().prop_map(Change::Disable),
        select(vec!["sched", "irq_entry"]).prop_map(Change::Filter),
        (select(vec!["sched_switch", "sched_waking"]), 0u8..3)
            .prop_map(|(event, which)| Change::Trigger(event, which)),
        Just(Change::RemoveTrigger),
        lists().prop_map(|(list, words)| Change::AddFunctions(list, words)),
        lists().prop_map(|(list, words)| Change::SetFunctions(list, words)),
        any::<bool>().prop_map(Change::DynamicEvent),
        (select(pids.to_vec()), 1i32..99).prop_map(|(filter, pid)| Change::Pids(filter, pid)),
        select(vec!["mine", "theirs", "other"]).prop_map(Change::Instance),
    ]
}

impl Change {
    fn apply(&self, changes: &mut Changes, dir: &TracingDir) -> Result<(), Error> {
        let top = dir.top();
        match *self {
            Self::TracingOn(on) => changes.set_tracing_on(&top, on),
            Self::Clock(name) => changes.set_trace_clock(&top, name),
            Self::Tracer(name) => changes.set_current_tracer(&top, name),
            Self::BufferSize(kb) => changes.set_buffer_size_kb(&top, kb),
            Self::SubBufferSize(kb) => changes.set_sub_buffer_size_kb(&top, kb),
            Self::BufferPercent(percent) => changes.set_buffer_percent(&top, percent),
            Self::Option(name, on) => changes.set_trace_option(&top, name, on),
            Self::CpuMask(cpu) => changes.set_cpu_mask(&top, &CpuMask::from_iter([cpu])),
            Self::MaxGraphDepth(depth) => changes.set_max_graph_depth(dir, depth),
            Self::Threshold(us) => changes.set_tracing_threshold_us(dir, us),
            Self::MaxLatency(us) => changes.set_max_latency_us(&top, us),
            Self::CmdlinesSize(count) => changes.set_saved_cmdlines_size(dir, count),
            Self::Enable(pattern) => changes.enable(&top, &top.select(pattern)?),
            Self::Disable(pattern) => changes.disable(&top, &top.select(pattern)?),
            Self::Filter(pattern) => {
                changes.set_event_filter(&top, &top.select(pattern)?, "pid > 0")
            }
            Self::Trigger(event, which) => {
                let event = EventName::new("sched", event);
                let off = CommandTrigger::new(TriggerCommand::TraceOff).times(3).only_if("pid > 1");
                match which {
                    0 => changes.add_trigger(&top, &event, &off.into()),
                    1 => changes.add_trigger_text(&top, &event, "snapshot:1"),
                    _ => {
                        let hist = HistTrigger::new(["pid".into()]).only_if("pid > 1");
                        changes.add_trigger(&top, &event, &hist.into())
                    }
                }
            }
            Self::RemoveTrigger => {
                let event = EventName::new("irq", "irq_entry");
                changes.add_trigger_text(&top, &event, "!stacktrace")
            }
            Self::AddFunctions(list, word) => changes.add_functions(&top, list, &[word.to_owned()]),
            Self::SetFunctions(list, word) => changes.set_functions(&top, list, &[word.to_owned()]),
            Self::DynamicEvent(synthetic) => {
                let event = if synthetic {
                    SyntheticEvent::new("lat").field("u64", "us").into()
                } else {
                    Kprobe::new("mine", "vfs_read").into()
                };
                match changes.create_dynamic_event(dir, &event) {
                    Err(Error::EventExists { .. }) => Ok(()),
                    other => other,
                }
            }
            Self::Pids(filter, pid) => changes.add_pids(&top, filter, &[pid]),
            Self::Instance(name) => changes.create_instance(dir, name).map(drop),
        }
    }
}

fn for_any_changes(test: impl Fn(Vec<Change>)) {
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let changes = prop::collection::vec(change(), 1..16);
    let result = TestRunner::new(config).run(&changes, |changes| {
        test(changes);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn any_changes_restored() {
    for_any_changes(|list| {
        let mut kernel = FakeKernel::new();
        let before = kernel.state();
        let mut changes = Changes::new();
        for change in &list {
            change.apply(&mut changes, &kernel.dir()).unwrap();
            kernel.settle();
        }
        changes.restore().unwrap();
        kernel.settle();
        assert_same(&before, &kernel.state());
    });
}

fn any_changes_repaired() {
    for_any_changes(|list| {
        let mut kernel = FakeKernel::new();
        let journals = TempDir::new().unwrap();
        let before = kernel.state();
        let mut changes = Changes::journaled(&kernel.dir(), journals.path()).unwrap();
        for change in &list {
            change.apply(&mut changes, &kernel.dir()).unwrap();
            kernel.settle();
        }
        die(changes, journals.path(), "write \"tracing_on\" \"ha");
        let found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
        assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
        for journal in found.journals {
            journal.repair().unwrap();
        }
        kernel.settle();
        assert_same(&before, &kernel.state());
        assert_eq!(names(journals.path()), [""; 0]);
    });
}

fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let was: Vec<_> = before.iter().filter(|(name, text)| after.get(*name) != Some(text)).collect();
    let is: Vec<_> = after.iter().filter(|(name, text)| before.get(*name) != Some(text)).collect();
    assert!(was.is_empty() && is.is_empty(), "was {was:?}, is {is:?}");
}

/// Leaves a journal as a process does that dies in the middle of writing its next line.
fn die(changes: Changes, journals: &Path, torn: &str) {
    std::mem::forget(changes);
    let [name] = names(journals).try_into().unwrap();
    let path = journals.join(name);
    let text = fs::read_to_string(&path).unwrap();
    // This process lives on, with the lock of the file, so another file takes its place.
    fs::remove_file(&path).unwrap();
    fs::write(journals.join(DEAD), as_of_the_dead(&text) + torn).unwrap();
}

fn as_of_the_dead(text: &str) -> String {
    let process = |line: &str| {
        if line.starts_with("process ") {
            "process 4194305 started 1".into()
        } else {
            line.to_owned()
        }
    };
    text.lines().map(process).map(|line| line + "\n").collect()
}

fn names(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    fs::read_dir(path).unwrap().map(name).map(|name| name.into_string().unwrap()).collect()
}

fn killed() {
    let mut kernel = FakeKernel::new();
    let journals = TempDir::new().unwrap();
    let before = kernel.state();
    let place = std::env::join_paths([kernel.path(), journals.path()]).unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .env(VICTIM, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "changed\n");
    kernel.settle();
    assert_ne!(kernel.state(), before);
    let found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
    assert!(found.journals.is_empty(), "its process lives");

    victim.kill().unwrap();
    // Not waited for yet: a zombie is dead as well.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(240);
    let journal = loop {
        let mut found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
        if let Some(journal) = found.journals.pop() {
            break journal;
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", found.unreadable);
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert_eq!(journal.pid(), victim.id());
    assert!(journal.changes().any(|line| line == "write \"tracing_on\" \"1\""));
    let again = Journal::stale(&kernel.dir(), journals.path()).unwrap();
    assert!(again.journals.is_empty(), "no two repair at once");
    journal.repair().unwrap();
    kernel.settle();
    assert_same(&before, &kernel.state());
    assert_eq!(names(journals.path()), [""; 0]);
    victim.wait().unwrap();
}

fn killed_at_any_moment() {
    let mut kernel = FakeKernel::new();
    let journals = TempDir::new().unwrap();
    let before = kernel.state();
    let again = Path::new("again");
    let place = std::env::join_paths([kernel.path(), journals.path(), again]).unwrap();
    let mut repaired = 0;
    for round in 0..60 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .env(VICTIM, &place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // Steps that are prime to how long its rounds take.
        std::thread::sleep(std::time::Duration::from_micros(round * 97 % 1500));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
        assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
        for journal in found.journals {
            repaired += 1;
            journal.repair().unwrap();
        }
        kernel.settle();
        assert_same(&before, &kernel.state());
        assert_eq!(names(journals.path()), [""; 0]);
    }
    assert!(repaired > 0, "none was killed while something was changed");
}

/// Makes changes and puts them back, without end.
fn change_without_end(dir: &TracingDir, journals: &Path) {
    println!("changing");
    std::io::stdout().flush().unwrap();
    loop {
        let mut changes = Changes::journaled(dir, journals).unwrap();
        let top = dir.top();
        changes.set_tracing_on(&top, false).unwrap();
        changes.set_trace_option(&top, "event-fork", true).unwrap();
        changes.set_cpu_mask(&top, &CpuMask::from_iter([1])).unwrap();
        changes.create_instance(dir, "mine").unwrap();
        changes.set_functions(&top, FunctionList::Notrace, &["do_exit".to_owned()]).unwrap();
        changes.add_pids(&top, PidFilter::Only, &[42]).unwrap();
        changes.set_max_graph_depth(dir, 2).unwrap();
        changes.restore().unwrap();
    }
}

fn be_killed(place: &OsStr) {
    let places: Vec<PathBuf> = std::env::split_paths(place).collect();
    let dir = TracingDir::at(&places[0]);
    if places.len() > 2 {
        return change_without_end(&dir, &places[1]);
    }
    let top: Instance = dir.top();
    let mut changes = Changes::journaled(&dir, &places[1]).unwrap();
    changes.set_tracing_on(&top, false).unwrap();
    changes.enable(&top, &top.select("irq").unwrap()).unwrap();
    changes.add_functions(&top, FunctionList::Notrace, &["do_exit".to_owned()]).unwrap();
    changes.create_instance(&dir, "mine").unwrap();
    println!("changed");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(600));
}

fn kept() {
    let kernel = FakeKernel::new();
    let journals = TempDir::new().unwrap();
    let place = journals.path().join("deep/down");
    let mut changes = Changes::journaled(&kernel.dir(), &place).unwrap();
    changes.set_tracing_on(&kernel.dir().top(), false).unwrap();
    assert_eq!(names(&place).len(), 1);
    let mode = fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    changes.keep();
    assert_eq!(names(&place), [""; 0]);
    assert_eq!(fs::read_to_string(kernel.path().join("tracing_on")).unwrap(), "0");
}

fn refused() {
    let kernel = FakeKernel::new();
    let (dir, top) = (kernel.dir(), kernel.dir().top());
    let journals = TempDir::new().unwrap();
    let mut changes = Changes::journaled(&dir, journals.path()).unwrap();
    let missing = EventName::new("sched", "none");
    let trigger = CommandTrigger::new(TriggerCommand::TraceOff).into();
    assert!(changes.add_trigger(&top, &missing, &trigger).is_err());
    let theirs = Kprobe::new("theirs", "vfs_write").into();
    let exists = changes.create_dynamic_event(&dir, &theirs);
    assert!(matches!(exists, Err(Error::EventExists { .. })), "{exists:?}");
    assert!(changes.create_instance(&dir, "a/b").is_err());
    let [name] = names(journals.path()).try_into().unwrap();
    let text = fs::read_to_string(journals.path().join(name)).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    let outside = TempDir::new().unwrap();
    let file = tracefs::ControlFile::at(outside.path().join("x"));
    fs::write(file.path(), "1").unwrap();
    assert!(matches!(changes.write(&file, "2"), Err(Error::Journal { .. })));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "1", "what is not journaled is not done");
    changes.restore().unwrap();
}

fn stays() {
    let kernel = FakeKernel::new();
    let (dir, top) = (kernel.dir(), kernel.dir().top());
    let journals = TempDir::new().unwrap();
    let mut changes = Changes::journaled(&dir, journals.path()).unwrap();
    changes.set_tracing_on(&top, false).unwrap();
    changes.set_max_graph_depth(&dir, 3).unwrap();
    fs::remove_file(kernel.path().join("max_graph_depth")).unwrap();
    assert_eq!(changes.restore().unwrap_err().errors.len(), 1);
    let [name] = names(journals.path()).try_into().unwrap();
    let text = fs::read_to_string(journals.path().join(name)).unwrap();
    assert_eq!(text.lines().skip(4).collect::<Vec<_>>(), ["write \"max_graph_depth\" \"0\""]);
}

fn not_ours() {
    let kernel = FakeKernel::new();
    let journals = TempDir::new().unwrap();
    let mut changes = Changes::journaled(&kernel.dir(), journals.path()).unwrap();
    changes.set_tracing_on(&kernel.dir().top(), false).unwrap();
    die(changes, journals.path(), "");
    let elsewhere = TracingDir::at("/nonexistent");
    assert!(Journal::stale(&elsewhere, journals.path()).unwrap().journals.is_empty());
    let path = journals.path().join(DEAD);
    let text = fs::read_to_string(&path).unwrap();
    for wrong in ["write \"../../etc/x\" \"1\"\n", "nonsense\n"] {
        fs::write(&path, text.clone() + wrong).unwrap();
        let found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
        assert!(found.journals.is_empty());
        let [Error::BadJournal { line: 6, .. }] = found.unreadable[..] else {
            panic!("{:?}", found.unreadable);
        };
    }
    fs::remove_file(&path).unwrap();
    let hidden = journals.path().join("hidden");
    fs::write(&hidden, &text).unwrap();
    std::os::unix::fs::symlink(&hidden, &path).unwrap();
    let found = Journal::stale(&kernel.dir(), journals.path()).unwrap();
    assert!(found.journals.is_empty() && found.unreadable.len() == 1, "links are not followed");
}

fn made_anew() {
    let kernel = FakeKernel::new();
    let dir = kernel.dir();
    let journals = TempDir::new().unwrap();
    let mut changes = Changes::journaled(&dir, journals.path()).unwrap();
    changes.create_instance(&dir, "mine").unwrap();
    die(changes, journals.path(), "");
    // Made before the old one goes, so that it is another one for certain.
    fs::create_dir(kernel.path().join("instances/anew")).unwrap();
    dir.remove_instance("mine").unwrap();
    fs::rename(kernel.path().join("instances/anew"), kernel.path().join("instances/mine")).unwrap();
    let found = Journal::stale(&dir, journals.path()).unwrap();
    for journal in found.journals {
        journal.repair().unwrap();
    }
    assert_eq!(dir.instances().unwrap(), ["mine", "theirs"]);
}
