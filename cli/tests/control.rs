//! Live control and inspection: on a directory that looks like tracefs, and on the running kernel, compared
//! with the C trace-cmd.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{
    Case, check, complaint, success, trace_cmd, tracing_state, with_reference, with_tracefs,
};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{Guest, GuestOptions, Missing, Reference};
use tracefs::{Changes, TracingDir};

const CASES: &[Case] = &[
    Case { name: "stop_and_restart_switch_what_is_named", needs: nothing, test: switches },
    Case { name: "clear_empties_what_is_named", needs: nothing, test: clear },
    Case { name: "show_prints_the_named_file", needs: nothing, test: show },
    Case { name: "snapshot_asks_the_named_instance", needs: nothing, test: snapshot },
    Case { name: "list_and_stat_print_json", needs: nothing, test: json },
    Case { name: "expressions_choose_what_is_listed", needs: nothing, test: expressions },
    Case { name: "functions_are_listed_as_declared", needs: nothing, test: prototypes },
    Case { name: "reset_puts_defaults_back_where_it_is_told", needs: nothing, test: reset },
    Case { name: "reset_stale_repairs_what_the_killed_left", needs: nothing, test: reset_stale },
    Case { name: "refusals_name_the_way_out", needs: nothing, test: refusals },
    Case {
        name: "root_text_is_the_references_with_everything_set",
        needs: with_reference,
        test: same_text_of_fake,
    },
    Case {
        name: "root_text_is_the_references_on_this_kernel",
        needs: with_recording_reference,
        test: same_text_of_kernel,
    },
    Case {
        name: "root_text_is_the_references_in_a_guest_with_tracers",
        needs: with_guest,
        test: same_text_of_guest,
    },
    Case { name: "root_an_instance_is_controlled", needs: with_tracefs, test: live_instance },
];

/// Set for the copy of this program that changes tracing and is killed: tracing directory and journals.
const KILLED: &str = "TRACE_TEST_KILLED";

fn main() -> ExitCode {
    if let Some(places) = std::env::var_os(KILLED) {
        let error = change_and_die(Path::new(&places));
        eprintln!("{error:?}");
        return ExitCode::FAILURE;
    }
    common::run(CASES)
}

/// Comes back only when something else went wrong.
fn change_and_die(place: &Path) -> Result<(), tracefs::Error> {
    let dir = TracingDir::at(place);
    let mut changes = Changes::journaled(&dir, &place.join("journals"))?;
    changes.set_tracing_on(&dir.top(), false)?;
    changes.set_trace_clock(&dir.top(), "mono")?;
    std::process::abort()
}

fn nothing() -> Result<(), Missing> {
    Ok(())
}

fn with_recording_reference() -> Result<(), Missing> {
    requirements::recording_reference()?.exact().map(drop)
}

fn with_guest() -> Result<(), Missing> {
    with_reference()?;
    requirements::guest()
}

/// A directory that looks like tracefs to those who only read and write.
struct Fake {
    temp: TempDir,
}

const EVENTS: [(&str, &str); 4] = [
    ("sched", "sched_switch"),
    ("sched", "sched_wakeup"),
    ("irq", "irq_handler_entry"),
    ("irq", "irq_handler_exit"),
];

impl Fake {
    /// With nothing set, and the instances `a` and `b`.
    fn new() -> Result<Self, Failed> {
        let fake = Self { temp: TempDir::new()? };
        for prefix in ["", "instances/a/", "instances/b/"] {
            fake.put_instance(prefix)?;
        }
        let events = EVENTS.map(|(system, event)| format!("{system}:{event}\n"));
        for (name, text) in [
            ("available_events", events.concat().as_str()),
            ("available_tracers", "blk function nop\n"),
            ("available_filter_functions", "schedule\nkvm_exit [kvm]\n__schedule\n"),
            ("set_graph_function", "#### all functions enabled ####\n"),
            ("set_graph_notrace", "#### all functions enabled ####\n"),
            ("kprobe_events", ""),
            ("uprobe_events", ""),
            ("synthetic_events", ""),
            ("dynamic_events", ""),
            ("stack_trace", "        Depth    Size   Location    (0 entries)\n"),
            ("stack_max_size", "96\n"),
            // Stands for /proc/sys/kernel where the stack tracer is asked about.
            ("sysctl/stack_tracer_enabled", "0\n"),
        ] {
            fake.put(name, text)?;
        }
        Ok(fake)
    }

    fn put_instance(&self, prefix: &str) -> Result<(), Failed> {
        let put = |name: &str, text: &str| self.put(&format!("{prefix}{name}"), text);
        for (name, text) in [
            ("buffer_percent", "50\n"),
            ("buffer_size_kb", "1410\n"),
            ("buffer_total_size_kb", "2820\n"),
            ("current_tracer", "nop\n"),
            ("error_log", ""),
            ("events/enable", "0\n"),
            ("options/print-parent", "1\n"),
            ("options/raw", "0\n"),
            ("set_event", ""),
            ("set_event_notrace_pid", ""),
            ("set_event_pid", ""),
            ("set_ftrace_filter", "#### all functions enabled ####\n"),
            ("set_ftrace_notrace", "#### no functions disabled ####\n"),
            ("set_ftrace_notrace_pid", "no pid\n"),
            ("set_ftrace_pid", "no pid\n"),
            ("snapshot", "# a snapshot\n"),
            ("trace", "# a trace\n"),
            ("trace_clock", "[local] global mono\n"),
            ("trace_options", "print-parent\nnoraw\n"),
            ("trace_pipe", "# a pipe\n"),
            ("tracing_cpumask", "3\n"),
            ("tracing_max_latency", "0\n"),
            ("tracing_on", "1\n"),
        ] {
            put(name, text)?;
        }
        for cpu in [0, 1] {
            put(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), &format!("{}\n", 100 + cpu))?;
            put(&format!("per_cpu/cpu{cpu}/trace"), &format!("# trace of CPU {cpu}\n"))?;
            put(&format!("per_cpu/cpu{cpu}/snapshot"), &format!("# snapshot of CPU {cpu}\n"))?;
        }
        for (system, event) in EVENTS {
            put(&format!("events/{system}/enable"), "0\n")?;
            put(&format!("events/{system}/filter"), "none\n")?;
            let put =
                |name: &str, text: &str| put(&format!("events/{system}/{event}/{name}"), text);
            put("enable", "0\n")?;
            put("filter", "none\n")?;
            put("trigger", "# Available triggers:\n# traceon traceoff\n")?;
            put("hist", &format!("# event histogram of {event}\n"))?;
            let fields = "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:int irq;\toffset:8;";
            put(
                "format",
                &format!(
                    "name: {event}\nID: 1\nformat:\n{fields}\n\nprint fmt: \"%d\", REC->irq\n"
                ),
            )?;
        }
        Ok(())
    }

    /// With something set wherever `stat` looks.
    fn with_everything_set() -> Result<Self, Failed> {
        let fake = Self::new()?;
        for (name, text) in [
            ("current_tracer", "function\n"),
            ("error_log", "[ 1.0] x: error: y\n  Command: foo\n           ^\n"),
            ("events/enable", "X\n"),
            ("events/irq/enable", "X\n"),
            ("events/irq/irq_handler_exit/enable", "1*\n"),
            ("events/irq/irq_handler_exit/filter", "irq > 1 && irq < 7\n"),
            ("events/sched/enable", "1\n"),
            ("events/sched/sched_switch/trigger", "hist:keys=pid:size=2048 [active]\ntraceoff\n"),
            ("instances/a/buffer_size_kb", "7 (expanded: 1408)\n"),
            ("instances/a/events/enable", "1\n"),
            ("instances/b/buffer_size_kb", "X\n"),
            ("instances/b/events/enable", "X\n"),
            ("instances/b/set_event_pid", "3\n"),
            ("instances/b/trace_clock", "local global [mono]\n"),
            ("instances/b/tracing_cpumask", "1\n"),
            ("instances/b/tracing_on", "0\n"),
            ("kprobe_events", "p:kprobes/foo schedule\n"),
            ("set_event_notrace_pid", "7\n"),
            ("set_ftrace_filter", "#### all functions enabled ####\nschedule:traceon:unlimited\n"),
            ("set_ftrace_notrace", "kvm_exit [kvm]\n"),
            ("set_ftrace_notrace_pid", "9\n"),
            ("set_ftrace_pid", "12\n13\n"),
            ("set_graph_function", "schedule\n"),
            ("set_graph_notrace", "__schedule\n"),
            ("synthetic_events", "lat\tpid_t pid; u64 delta\n"),
            ("sysctl/stack_tracer_enabled", "1\n"),
            ("tracing_max_latency", "17\n"),
            ("uprobe_events", "p:uprobes/u /bin/sh:0x10\nr:uprobes/v /bin/sh:0x10\n"),
        ] {
            fake.put(name, text)?;
        }
        Ok(fake)
    }

    fn put(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(self.path()))?;
        Ok(fs::write(path, text)?)
    }

    fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.path().join(name))?)
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Our binary on this directory.
    fn trace_cmd(&self, words: &str) -> Command {
        let mut command = trace_cmd();
        command.args(words.split_whitespace()).arg("--tracing-dir").arg(self.path());
        command
    }

    /// A program that sees this directory in the place of tracefs.
    fn inside(&self, program: &OsStr, words: &str) -> Result<Command, Failed> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]).arg(
            "mount --bind \"$0\" \"$1\" && mount --bind \"$0/sysctl\" /proc/sys/kernel && shift && exec \"$@\"",
        );
        command.arg(self.path()).arg(requirements::tracefs()?).arg(program);
        command.args(words.split_whitespace()).env("LC_ALL", "C");
        Ok(command)
    }
}

fn switches() -> Result<(), Failed> {
    let fake = Fake::new()?;
    let cases: [(&str, [&str; 3]); 6] = [
        ("", ["0", "1\n", "1\n"]),
        ("-B a", ["1\n", "0", "1\n"]),
        ("-B a -t", ["0", "0", "1\n"]),
        ("-a", ["1\n", "0", "0"]),
        ("-a -t", ["0", "0", "0"]),
        ("-B a -B b", ["1\n", "0", "0"]),
    ];
    let files = ["tracing_on", "instances/a/tracing_on", "instances/b/tracing_on"];
    for (words, expected) in cases {
        for file in files {
            fake.put(file, "1\n")?;
        }
        success(&mut fake.trace_cmd(&format!("stop {words}")))?;
        for (file, expected) in files.iter().zip(expected) {
            let found = fake.read(file)?;
            check(found == expected, || format!("stop {words}: {file} holds {found:?}"))?;
        }
    }
    success(&mut fake.trace_cmd("restart -B b -t"))?;
    let states: Vec<String> = files.iter().map(|file| fake.read(file)).collect::<Result<_, _>>()?;
    check(states == ["1", "0", "1"], || format!("{states:?}"))
}

fn clear() -> Result<(), Failed> {
    for (words, expected) in [
        ("", [true, false, false]),
        ("-B a", [false, true, false]),
        ("-t -B b", [true, false, true]),
        ("-a", [true, true, true]),
        ("--all", [true, true, true]),
    ] {
        let fake = Fake::new()?;
        success(&mut fake.trace_cmd(&format!("clear {words}")))?;
        for (file, expected) in
            ["trace", "instances/a/trace", "instances/b/trace"].iter().zip(expected)
        {
            let found = fake.read(file)?;
            check(found.is_empty() == expected, || format!("clear {words}: {file}: {found:?}"))?;
        }
    }
    Ok(())
}

fn show() -> Result<(), Failed> {
    let fake = Fake::new()?;
    fake.put("instances/a/buffer_percent", "33\n")?;
    let path = fake.path().join("instances/b/per_cpu/cpu1/trace");
    let with_path = format!("{}\n# trace of CPU 1\n", path.display());
    for (words, expected) in [
        ("", "# a trace\n"),
        ("-p", "# a pipe\n"),
        ("-s -c 0", "# snapshot of CPU 0\n"),
        ("-f -c 1 -B b", with_path.as_str()),
        ("--cpumask --tracing_on", "3\n1\n"),
        ("--buffer_percent -B a --buffer_percent --current_tracer", "50\n33\nnop\n"),
        ("-B a --graph_function", "#### all functions enabled ####\n"),
        ("--max_latency", "0\n"),
        ("--hist sched_switch", "# event histogram of sched_switch\n"),
        ("--hist sched/sched_w*", "# event histogram of sched_wakeup\n"),
        ("--trigger irq:irq_handler_exit -B a", "# Available triggers:\n# traceon traceoff\n"),
    ] {
        let found = success(&mut fake.trace_cmd(&format!("show {words}")))?;
        check(found == expected, || format!("show {words}: {found:?}"))?;
    }
    Ok(())
}

fn snapshot() -> Result<(), Failed> {
    let fake = Fake::new()?;
    for (words, file, expected) in [
        ("-s", "snapshot", "1"),
        ("-r -B a", "instances/a/snapshot", "2"),
        ("-f -c 1", "per_cpu/cpu1/snapshot", "0"),
        ("-s -c 0 -B b", "instances/b/per_cpu/cpu0/snapshot", "1"),
    ] {
        let said = success(&mut fake.trace_cmd(&format!("snapshot {words}")))?;
        let found = fake.read(file)?;
        check(said.is_empty() && found == expected, || format!("snapshot {words}: {found:?}"))?;
    }
    let printed = success(&mut fake.trace_cmd("snapshot -B b"))?;
    check(printed == "# a snapshot\n", || printed.clone())
}

fn json() -> Result<(), Failed> {
    let fake = Fake::with_everything_set()?;
    let clocks = success(&mut fake.trace_cmd("list --json -C -t"))?;
    let expected = "{\"tracers\":[\"blk\",\"function\",\"nop\"],\"clocks\":[\"local\",\"global\",\"mono\"],\"clock\":\"local\"}\n";
    check(clocks == expected, || clocks.clone())?;
    let filters = success(&mut fake.trace_cmd("list --json -e exit$ -l"))?;
    let expected =
        "{\"events\":[{\"event\":\"irq:irq_handler_exit\",\"filter\":\"irq > 1 && irq < 7\"}]}\n";
    check(filters == expected, || filters.clone())?;

    let stat = success(&mut fake.trace_cmd("stat --json -t -B b"))?;
    let lines: Vec<&str> = stat.lines().collect();
    let [top, instance] = lines.as_slice() else { return Err(stat.into()) };
    for part in [
        r#"{"instance":null,"current_tracer":"function","all_events":false,"enabled_systems":["sched"],"enabled_events":["irq:irq_handler_exit"],"#,
        r#""filters":{"irq:irq_handler_exit":"irq > 1 && irq < 7"},"#,
        r#""triggers":{"sched:sched_switch":["hist:keys=pid:size=2048 [active]","traceoff"]},"#,
        r#""set_ftrace_filter":["schedule:traceon:unlimited"],"#,
        r#""buffer_size_kb":1410,"cpu_buffer_size_kb":{},"buffer_total_size_kb":2820,"#,
        r#""set_ftrace_pid":["12","13"],"#,
        r#""error_log":"[ 1.0] x: error: y\n  Command: foo\n           ^","#,
    ] {
        check(top.contains(part), || format!("no {part} in {top}"))?;
    }
    for part in [
        r#"{"instance":"b","current_tracer":"nop","#,
        r#""set_graph_function":null,"#,
        r#""buffer_size_kb":null,"cpu_buffer_size_kb":{"0":100,"1":101},"#,
        r#""trace_clock":"mono","tracing_cpumask":"1","#,
        r#""tracing_on":false,"error_log":"","instances":null,"#,
    ] {
        check(instance.contains(part), || format!("no {part} in {instance}"))?;
    }
    Ok(())
}

fn expressions() -> Result<(), Failed> {
    let fake = Fake::new()?;
    let lines = |words: &str| -> Result<Vec<String>, Failed> {
        let text = success(&mut fake.trace_cmd(&format!("list {words}")))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    for (words, expected) in [
        ("-e SCHED_s", vec!["sched:sched_switch"]),
        ("-e ^irq$", vec!["irq:irq_handler_entry", "irq:irq_handler_exit"]),
        ("-e d:w", vec!["sched:sched_switch", "sched:sched_wakeup"]),
        (
            "-e sw\\|exit -e entry",
            vec!["irq:irq_handler_entry", "irq:irq_handler_exit", "sched:sched_switch"],
        ),
        ("-e nothing", vec![]),
        ("-o RAW", vec!["noraw"]),
        ("-f ^sched -o parent", vec!["print-parent", "schedule"]),
    ] {
        let found = lines(words)?;
        check(found == expected, || format!("list {words}: {found:?}"))?;
    }
    Ok(())
}

fn prototypes() -> Result<(), Failed> {
    let fake = Fake::new()?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        let line = complaint(&mut fake.trace_cmd("list -f --proto"))?;
        return check(line.contains("CONFIG_DEBUG_INFO_BTF"), || line.clone());
    }
    fake.put("available_filter_functions", "vfs_fsync\nno_such_function [kvm]\nvfs_write\n")?;
    let text = success(&mut fake.trace_cmd("list -f ^vfs_f -f such --proto"))?;
    let expected = "int vfs_fsync(struct file *file, int datasync)\nno_such_function [kvm]\n";
    check(text == expected, || text.clone())?;
    let json = success(&mut fake.trace_cmd("list -f ^vfs_f --proto --json"))?;
    check(json.contains("\"int vfs_fsync(struct file *file, int datasync)\""), || json.clone())?;
    let line = complaint(&mut fake.trace_cmd("list --proto"))?;
    check(line.contains("required arguments were not provided"), || line.clone())
}

fn reset() -> Result<(), Failed> {
    let fake = Fake::with_everything_set()?;
    fake.put("dynamic_events", "p:kprobes/foo schedule\ns:lat pid_t pid; u64 us\n")?;
    fake.put("trace_clock", "local global [mono]\n")?;
    fake.put("set_event", "sched:sched_switch\nsched:sched_wakeup\nirq:irq_handler_exit\n")?;
    success(&mut fake.trace_cmd("reset -b 50 -k synth"))?;
    for (name, expected) in [
        ("buffer_size_kb", "50"),
        ("current_tracer", "nop"),
        ("error_log", ""),
        ("events/enable", "0"),
        ("events/irq/filter", "0"),
        (
            "events/sched/sched_switch/trigger",
            "hist:keys=pid:size=2048 [active]\ntraceoff\n!hist:keys=pid:size=2048\n!traceoff\n",
        ),
        ("events/sched/sched_wakeup/filter", "none\n"),
        ("set_event_notrace_pid", ""),
        ("set_ftrace_notrace", ""),
        ("set_ftrace_pid", ""),
        ("set_graph_function", ""),
        ("trace", ""),
        ("trace_clock", "local"),
        ("tracing_cpumask", "3\n"),
        ("tracing_max_latency", "0"),
        ("tracing_on", "1"),
        ("dynamic_events", "p:kprobes/foo schedule\ns:lat pid_t pid; u64 us\n-:kprobes/foo\n"),
        // Of others nothing was said.
        ("instances/a/events/enable", "1\n"),
        ("instances/b/tracing_on", "0\n"),
        ("instances/b/trace_clock", "local global [mono]\n"),
    ] {
        let found = fake.read(name)?;
        check(found == expected, || format!("{name}: {found:?}"))?;
    }

    let fake = Fake::with_everything_set()?;
    fake.put("instances/a/set_event", "irq:irq_handler_exit\n")?;
    success(&mut fake.trace_cmd("reset -B b -b 8 -B a"))?;
    for (name, expected) in [
        ("instances/a/buffer_size_kb", "7 (expanded: 1408)\n"),
        ("instances/a/events/enable", "0"),
        ("instances/b/buffer_size_kb", "8"),
        ("instances/b/set_event_pid", ""),
        ("instances/b/tracing_on", "1"),
        ("kprobe_events", "p:kprobes/foo schedule\n"),
        ("events/enable", "X\n"),
        ("set_graph_function", "schedule\n"),
    ] {
        let found = fake.read(name)?;
        check(found == expected, || format!("{name}: {found:?}"))?;
    }
    Ok(())
}

fn reset_stale() -> Result<(), Failed> {
    let fake = Fake::new()?;
    let journals = fake.path().join("journals");
    let repair =
        |fake: &Fake| success(fake.trace_cmd("reset --stale").arg("--journals").arg(&journals));
    let said = repair(&fake)?;
    check(said == "nothing to put back\n", || said.clone())?;
    let killed = Command::new(std::env::current_exe()?).env(KILLED, fake.path()).output()?;
    check(killed.status.signal().is_some(), || common::stderr(&killed))?;
    let changed = [fake.read("tracing_on")?, fake.read("trace_clock")?];
    check(changed == ["0", "mono"], || format!("{changed:?}"))?;
    let said = repair(&fake)?;
    check(said.starts_with("put back 2 changes of process "), || said.clone())?;
    let back = [fake.read("tracing_on")?, fake.read("trace_clock")?];
    check(back == ["1", "local"], || format!("{back:?}"))?;
    let said = repair(&fake)?;
    check(said == "nothing to put back\n", || said.clone())
}

fn refusals() -> Result<(), Failed> {
    let fake = Fake::new()?;
    fake.put("instances/recorder/tracing_on", "1\n")?;
    for (words, parts) in [
        ("stop -B recoder", ["no tracing instance 'recoder'", "did you mean recorder?"]),
        ("stat -B elsewhere", ["no tracing instance 'elsewhere'", "there are: a b recorder"]),
        ("show -c 7", ["no CPU 7", "there are: 0 1"]),
        ("show --hist sched", ["'sched' means 2 events", "name one of them, as sched:"]),
        ("show --trigger sched_swich", ["'sched_swich'", "did you mean sched_switch?"]),
        ("show -p -s", ["'-p'", "'-s'"]),
        ("show -B recorder", ["instances/recorder/trace", "not supported"]),
        ("snapshot -s -f", ["'-s'", "'-f'"]),
        ("snapshot -B recorder", ["snapshots are not supported", "CONFIG_TRACER_SNAPSHOT"]),
        ("reset -d", ["the top-level buffer cannot be deleted", "the -B or -a before it"]),
        ("reset -b 50 -B a", ["-b stands before", "the -B, -a or -t before it"]),
        ("reset -k kprob", ["no kind of dynamic event 'kprob'", "kretprobe"]),
        ("reset -B recoder", ["no tracing instance 'recoder'", "did you mean recorder?"]),
        ("list -e [", ["'[' is not a regular expression", "backslash"]),
        ("list -e -F", ["-F, -R and -l need an event", "-e REGEX"]),
        ("list -e sched --full", ["-F", "--help"]),
    ] {
        let line = complaint(&mut fake.trace_cmd(words))?;
        for part in parts {
            check(line.contains(part), || format!("{words}: {line}"))?;
        }
    }
    let on: [String; 2] = [fake.read("tracing_on")?, fake.read("instances/recorder/tracing_on")?];
    check(on == ["1\n", "1\n"], || format!("a refused stop wrote {on:?}"))?;
    let line = complaint(trace_cmd().args(["stop", "--tracing-dir", "/nonexistent"]))?;
    check(line.contains("/nonexistent is not a tracing directory"), || line.clone())
}

/// The first line in which two texts differ.
fn same(words: &str, theirs: &str, ours: &str) -> Result<(), Failed> {
    let mut lines = theirs.lines().zip(ours.lines());
    let differing = lines.position(|(theirs, ours)| theirs != ours);
    check(theirs == ours, || {
        let at = differing.unwrap_or(theirs.lines().count().min(ours.lines().count()));
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        format!("{words}, line {at}:\n{}\n{}", line(theirs), line(ours))
    })
}

fn same_text_of_fake() -> Result<(), Failed> {
    let reference = requirements::reference()?.exact()?;
    let theirs = reference.program().as_os_str();
    let ours = OsStr::new(env!("CARGO_BIN_EXE_trace-cmd"));
    let fakes = [Fake::new()?, Fake::with_everything_set()?];
    for words in [
        "stat",
        "stat -o",
        "stat -B a",
        "stat -B a -B b",
        "stat -t -o -B b -B a",
        "list -s",
        "list -t",
        "list -p",
        "list -o",
        "list -f",
        "list -f ^SCHED",
        "list -B",
        "list -C",
        "list -O",
        "list -e",
        "list -e irq",
        "list -e sched:w -l",
        "list -e sched -R",
        "list -e irq:exit$ -F",
        "list -e . -F --full",
        "list -C -s -o -B -t -e ^sched -f kvm",
        "show",
        "show -f -c 1 -B a",
        "show -p",
        "show -s",
        "show --cpumask --ftrace_filter --buffer_size",
        "show --tracing_on -B b --tracing_on",
        "snapshot",
        "snapshot -c 1",
        "stack",
    ] {
        for fake in &fakes {
            let theirs = success(&mut fake.inside(theirs, words)?)?;
            check(!theirs.is_empty(), || format!("{words}: the reference says nothing"))?;
            // It says so of instances, when the stack tracer does not run.
            let theirs = theirs.replace("Error reading stack tracer status\n\n", "");
            same(words, &theirs, &success(&mut fake.inside(ours, words)?)?)?;
        }
    }
    // What they write is the same too.
    for words in [
        "stop",
        "stop -B a -t",
        "restart -a -t",
        "clear",
        "clear -a",
        "snapshot -s",
        "snapshot -r",
        "snapshot -c 1 -f",
        "stack --start",
        "stack --stop",
        "stack --reset",
    ] {
        let [left, right] = [Fake::new()?, Fake::new()?];
        for fake in [&left, &right] {
            // The reference writes over what is there; only the kernel takes that for a new value.
            for file in written().iter().filter(|f| f.ends_with("snapshot") || f.ends_with("size"))
            {
                fake.put(file, "")?;
            }
        }
        success(&mut left.inside(theirs, words)?)?;
        success(&mut right.inside(ours, words)?)?;
        for file in written() {
            let left = left.read(&file)?.trim_end().to_owned();
            let right = right.read(&file)?.trim_end().to_owned();
            // Opening it clears a buffer; the reference writes a zero besides.
            let is_cleared = file.ends_with("trace") && left == "0" && right.is_empty();
            check(left == right || is_cleared, || format!("{words}: {file}: {left:?} {right:?}"))?;
        }
    }
    Ok(())
}

/// Files that control commands write.
fn written() -> Vec<String> {
    let mut files = vec!["sysctl/stack_tracer_enabled".to_owned(), "stack_max_size".to_owned()];
    for prefix in ["", "instances/a/", "instances/b/"] {
        for name in ["tracing_on", "trace", "snapshot", "per_cpu/cpu1/snapshot"] {
            files.push(format!("{prefix}{name}"));
        }
    }
    files
}

/// Values written to the running kernel's files, and what puts them back; the last is undone first.
struct Put {
    dir: PathBuf,
    undo: Vec<(PathBuf, String)>,
    instances: Vec<PathBuf>,
}

impl Put {
    fn new(dir: PathBuf) -> Self {
        Self { dir, undo: Vec::new(), instances: Vec::new() }
    }

    fn write(&mut self, name: &str, value: &str, undo: &str) -> Result<(), Failed> {
        let path = self.dir.join(name);
        fs::write(&path, value).map_err(|error| format!("{name} < {value:?}: {error}"))?;
        self.undo.push((path, undo.to_owned()));
        Ok(())
    }

    fn instance(&mut self, name: &str) -> Result<(), Failed> {
        let path = self.dir.join("instances").join(name);
        fs::create_dir(&path)?;
        self.instances.push(path);
        Ok(())
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        for (path, value) in self.undo.iter().rev() {
            if let Err(error) = fs::write(path, value) {
                eprintln!("{} < {value:?}: {error}", path.display());
            }
        }
        for path in &self.instances {
            if let Err(error) = fs::remove_dir(path) {
                eprintln!("removing {}: {error}", path.display());
            }
        }
    }
}

fn same_text_of_kernel() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let reference = requirements::recording_reference()?.exact()?;
    let dir = requirements::tracefs()?;
    let before = tracing_state(&dir);
    {
        let on = fs::read_to_string(dir.join("tracing_on"))?;
        let mask = fs::read_to_string(dir.join("tracing_cpumask"))?;
        let clocks = fs::read_to_string(dir.join("trace_clock"))?;
        let clock = clocks.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let (clock, _) = clock.ok_or_else(|| clocks.clone())?;
        let mut put = Put::new(dir.clone());
        put.instance("control-a")?;
        put.instance("control-b")?;
        put.write("tracing_on", "0", &on)?;
        put.write("events/sched/sched_switch/filter", "prev_pid != 0", "0")?;
        put.write("events/irq/filter", "common_pid != 1", "0")?;
        let trigger = "traceoff:5 if prev_pid == 3";
        put.write("events/sched/sched_switch/trigger", trigger, &format!("!{trigger}"))?;
        put.write("events/irq/irq_handler_entry/trigger", "stacktrace", "!stacktrace")?;
        put.write("events/sched/sched_switch/enable", "1", "0")?;
        put.write("events/irq/enable", "1", "0")?;
        put.write("trace_clock", "mono", clock)?;
        put.write("tracing_cpumask", "1", &mask)?;
        put.write("set_event_pid", "1 2 3", "")?;
        put.write("instances/control-a/tracing_on", "0", "1")?;
        put.write("instances/control-a/per_cpu/cpu0/buffer_size_kb", "200", "1408")?;
        put.write("instances/control-a/events/sched/sched_wakeup/enable", "1", "0")?;
        for words in [
            "stat",
            "stat -o",
            "stat -B control-a",
            "stat -B control-b -B control-a -t",
            "list -s",
            "list -e",
            "list -e .",
            "list -e i.q:.*entry$",
            "list -e ^sched$ -l",
            "list -e ^irq$ -R",
            "list -e kvm -F",
            "list -e sys_enter -F --full",
            "list -t",
            "list -o",
            "list -B",
            "list -C",
            "show -B control-a",
            "show --tracing_on --cpumask",
            "show -B control-a --buffer_size --buffer_total_size",
        ] {
            let theirs = success(reference.recorder()?.args(words.split(' ')))?;
            same(words, &theirs, &success(trace_cmd().args(words.split(' ')))?)?;
        }
        same_list(&reference)?;
    }
    let after = tracing_state(&dir);
    check(before == after, || format!("tracefs changed: {before:#?} {after:#?}"))
}

/// Without options all is the same but the compressions of each.
fn same_list(reference: &Reference) -> Result<(), Failed> {
    let until = |text: String| {
        let end = text.find("Supported compression").unwrap_or(text.len());
        text.get(..end).unwrap_or_default().to_owned()
    };
    let theirs = until(success(reference.recorder()?.arg("list"))?);
    check(theirs.lines().count() > 1000, || format!("only this: {theirs}"))?;
    same("list", &theirs, &until(success(trace_cmd().arg("list"))?))
}

/// Sets what the kernel of most machines under test has not, or does not let be set.
const SET_UP: &str = "cd /sys/kernel/tracing && echo 0 >tracing_on && \
    echo 'p:control_probe vfs_read' >kprobe_events && echo 'lat pid_t pid; u64 us' >synthetic_events && \
    echo 'hist:keys=next_pid' >events/sched/sched_switch/trigger && \
    echo 'next_prio < 100' >events/sched/sched_switch/filter && \
    echo vfs_read >set_ftrace_filter && echo vfs_write:traceoff:3 >>set_ftrace_filter && \
    echo vfs_open >set_ftrace_notrace && echo schedule >set_graph_function && echo $$ >set_ftrace_pid && \
    echo function >current_tracer && echo 1 >events/kprobes/enable && mkdir instances/foo && \
    echo 'hist:keys=pid' >instances/foo/events/sched/sched_wakeup/trigger && \
    echo vfs_fsync >instances/foo/set_ftrace_filter && echo 0 >instances/foo/tracing_on && \
    echo 1 >tracing_on && read x <trace_clock && echo 0 >tracing_on";

/// Prints what `stat` leaves out.
const STATE: &str = "cat tracing_on current_tracer set_event set_event_pid dynamic_events \
    set_ftrace_filter set_ftrace_notrace set_graph_function set_ftrace_pid tracing_cpumask trace_clock \
    buffer_size_kb error_log events/sched/sched_switch/trigger events/sched/sched_switch/filter";

fn same_text_of_guest() -> Result<(), Failed> {
    let reference = requirements::reference()?.exact()?;
    let ours = env!("CARGO_BIN_EXE_trace-cmd");
    let mut options = GuestOptions::new("control");
    options.memory_mb = 1024;
    options.programs = vec![reference.program().into(), ours.into()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(Duration::from_secs(240))?;
    let run = |words: &str| guest.run(words);
    run(SET_UP)?;
    let both = |words: &str| -> Result<String, Failed> {
        let theirs = run(&format!("{} {words}", reference.program().display()))?;
        let ours = run(&format!("{ours} {words}"))?;
        check(!theirs.is_empty(), || format!("{words}: the reference says nothing"))?;
        same(words, &theirs.replace("Error reading stack tracer status\n\n", ""), &ours)?;
        Ok(ours)
    };
    for words in [
        "stat",
        "stat -o",
        "stat -B foo -t",
        "list -t",
        "list -o",
        "list -e ^kprobes$ -F --full",
        "list -e sched_s -R",
        "list -e sched_s -l",
        "list -f ^vfs_w",
        "show",
        "show -c 0",
        "show --ftrace_filter --ftrace_notrace --graph_function --ftrace_pid",
        "show -B foo --ftrace_filter",
    ] {
        both(words)?;
    }
    let hist = run(&format!("{ours} show --hist sched_switch"))?;
    check(hist.contains("# trigger info: hist:keys=next_pid"), || hist.clone())?;

    run(&format!("{ours} snapshot -s"))?;
    let taken = both("snapshot")?;
    check(taken.contains("vfs_read"), || taken.clone())?;
    run(&format!("{ours} snapshot -r"))?;
    let emptied = both("snapshot")?;
    check(!emptied.contains("vfs_read"), || emptied.clone())?;
    run(&format!("{ours} snapshot -f"))?;
    let freed = both("show -s")?;
    check(freed.contains("* Snapshot is freed *"), || freed.clone())?;
    run(&format!("{ours} snapshot -s -B foo"))?;
    let taken = run(&format!("{ours} snapshot -B foo"))?;
    check(!taken.contains("is freed"), || taken.clone())?;

    run(&format!("{ours} stack --start"))?;
    run("ls / >/dev/null; sleep 1")?;
    let running = run(&format!("{ours} stack"))?;
    check(running.starts_with("(stack tracer running)\n"), || running.clone())?;
    check(both("stat")?.ends_with("Stack tracing is enabled\n\n"), || {
        "no stack tracer".to_owned()
    })?;
    run(&format!("{ours} stack --stop"))?;
    let stopped = both("stack")?;
    check(stopped.lines().count() > 4, || stopped.clone())?;
    run(&format!("{ours} stack --reset"))?;

    // Each has to leave the same behind.
    let state = || -> Result<String, Failed> {
        Ok(run(&format!("{ours} stat -o -t; {ours} list -B; cd /sys/kernel/tracing; {STATE}"))?)
    };
    let reset = |program: &str| -> Result<String, Failed> {
        run(&format!("{program} reset -t -b 64 -B foo -d"))?;
        state()
    };
    let before = state()?;
    let theirs = reset(&reference.program().display().to_string())?;
    check(before.contains("kprobes") && !theirs.contains("kprobes"), || theirs.clone())?;
    run(SET_UP)?;
    let ours_left = reset(ours)?;
    same("reset", &theirs, &ours_left)?;
    guest.power_off(Duration::from_secs(240))?;
    Ok(())
}

fn live_instance() -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = requirements::tracefs()?;
    let before = tracing_state(&dir);
    {
        let mut put = Put::new(dir.clone());
        put.instance("control-live")?;
        let run = |words: &str| success(trace_cmd().args(words.split(' ')));
        let mark = |text: &str| fs::write(dir.join("instances/control-live/trace_marker"), text);
        mark("first")?;
        run("stop -B control-live")?;
        // A stopped buffer refuses it.
        check(mark("second").is_err(), || "a stopped buffer took a mark".to_owned())?;
        run("restart -B control-live")?;
        mark("third")?;
        let shown = run("show -B control-live")?;
        let found = ["first", "second", "third"].map(|text| shown.contains(text));
        check(found == [true, false, true], || shown.clone())?;
        run("clear -B control-live")?;
        let shown = run("show -B control-live")?;
        check(!shown.contains("first") && shown.starts_with("# tracer: nop"), || shown.clone())?;

        let file = |name: &str| dir.join("instances/control-live").join(name);
        fs::write(file("events/sched/sched_switch/filter"), "prev_pid != 0")?;
        fs::write(file("events/sched/sched_switch/trigger"), "traceoff:5 if prev_pid == 3")?;
        fs::write(file("events/sched/enable"), "1")?;
        fs::write(file("trace_clock"), "mono")?;
        fs::write(file("tracing_cpumask"), "1")?;
        run("reset -B control-live -b 100")?;
        let stat = run("stat --json -B control-live")?;
        for part in [
            r#""enabled_systems":[],"enabled_events":[],"filters":{},"triggers":{},"#,
            r#""trace_clock":"local","#,
            r#""tracing_on":true,"#,
        ] {
            check(stat.contains(part), || format!("no {part} in {stat}"))?;
        }
        let text = run("stat -B control-live")?;
        check(!text.contains("CPU mask") && !text.contains("1408"), || text.clone())?;
        let reader = fs::File::open(file("trace_pipe"))?;
        let line = complaint(trace_cmd().args(["reset", "-B", "control-live", "-d"]))?;
        check(line.contains("instances/control-live") && line.contains("end what"), || {
            line.clone()
        })?;
        drop(reader);
        run("reset -B control-live -d")?;
        check(!file("").exists(), || "the instance was not deleted".to_owned())?;
        put.instances.clear();
    }
    let after = tracing_state(&dir);
    check(before == after, || format!("tracefs changed: {before:#?} {after:#?}"))
}
