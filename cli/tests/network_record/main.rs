//! `record -N` and `listen`ers: the C version's, an old one, a counting one, and some that are none.

#[path = "../common/mod.rs"]
mod common;
mod full;
mod hosts;
mod listener;
mod marks;
mod ours;
mod reference;
mod scripted;
mod stall;

use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;

use common::bench::Bench;
use common::listener::PATIENCE;
use common::{Case, check, stderr, success, trace_cmd, with_reference, with_tracefs};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trace_virt::lab::{Missing, requirements};

use listener::{Listener, Loss};
use reference::ReferenceListener;

const CASES: &[Case] = &[
    Case {
        name: "root_files_of_the_c_listener_are_whole",
        needs: with_reference,
        test: c_listener,
    },
    Case { name: "root_a_killed_listener_ends_the_recording", needs: with_reference, test: killed },
    Case { name: "root_an_old_listener_gets_version_6", needs: with_tracefs, test: old },
    Case { name: "root_what_is_lost_on_the_way_is_counted", needs: with_tracefs, test: loss },
    Case { name: "root_instances_go_to_who_takes_them", needs: with_tracefs, test: instances },
    Case { name: "root_who_does_not_listen_is_told", needs: with_tracefs, test: refusals },
    Case { name: "root_who_does_not_read_is_told", needs: with_tracefs, test: stalled },
    Case {
        name: "root_a_listener_whose_disk_gets_full_ends_the_recording",
        needs: with_tracefs,
        test: full::disk,
    },
    Case { name: "root_a_link_that_goes_away_ends_both", needs: two_hosts, test: hosts::gone },
    Case {
        name: "root_datagrams_of_a_link_that_comes_back_are_counted",
        needs: two_hosts,
        test: hosts::back,
    },
    Case {
        name: "root_a_stall_costs_events_and_is_told",
        needs: with_tracefs,
        test: stall::passes,
    },
    Case { name: "root_a_stall_for_good_ends_it", needs: with_tracefs, test: stall::stays },
    Case { name: "root_only_who_has_the_key_is_recorded", needs: with_tracefs, test: ours::keys },
    Case {
        name: "root_the_reference_is_told_that_a_key_is_missing",
        needs: recording_reference,
        test: ours::reference_without_key,
    },
    Case { name: "root_only_who_is_allowed_is_recorded", needs: with_tracefs, test: ours::access },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn two_hosts() -> Result<(), Missing> {
    with_tracefs()?;
    requirements::network_namespaces()
}

fn recording_reference() -> Result<(), Missing> {
    with_reference()?;
    requirements::recording_reference().map(drop)
}

/// So many programs are started, which is seen in the trace.
const PROGRAMS: usize = 8;
const LOAD: &str = "for i in 1 2 3 4 5 6 7 8; do /bin/ls / >/dev/null; done";
const EVENTS: [&str; 4] = ["-e", "sched_process_exec", "-e", "sched_switch"];

fn record(listener: &str, words: &[&str]) -> Command {
    let mut record = trace_cmd();
    record.args(["record", "-N", listener]).args(words);
    record
}

/// The numbers of all members of one name, in their order.
fn numbers(json: &str, name: &str) -> Vec<u64> {
    let name = format!("\"{name}\":");
    let values = json.split(name.as_str()).skip(1);
    values.filter_map(|rest| rest.split([',', '}']).next()?.parse().ok()).collect()
}

fn c_listener() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for version in ["7", "6"] {
        for words in [&["-t"][..], &[]] {
            let listener = ReferenceListener::start()?;
            let mut record = record(&listener.address(), &["--file-version", version]);
            // Datagrams that the C listener has no time for are lost: so few that the kernel keeps them.
            let events = if words.is_empty() { &EVENTS[..2] } else { &EVENTS[..] };
            let said = success(record.args(words).args(events).args(["sh", "-c", LOAD]))?;
            let lines = said.lines().filter(|line| line.contains("data sent to")).count();
            check(lines > 0, || format!("nothing is said of what was sent: {said}"))?;
            let unseen = said.contains("cannot be seen with this listener");
            check(unseen == words.is_empty(), || format!("{words:?}: {said}"))?;
            let file = listener.file()?;
            let reference = requirements::reference()?.exact()?;
            let theirs = success(reference.reader().args(["report", "-i"]).arg(&file))?;
            let mut report = trace_cmd();
            report.env("TRACE_CMD_COMPAT", "3.1.6").env("TZ", "UTC");
            let ours = success(report.args(["report", "-i"]).arg(&file))?;
            let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
            check(theirs == ours, || {
                format!("{version} {words:?}: reports differ: {different:?}")
            })?;
            let programs = ours.lines().filter(|line| line.contains("filename=/bin/ls")).count();
            check(programs == PROGRAMS, || format!("{version} {words:?}: {programs} programs"))?;
        }
    }
    bench.is_as_before("recording")
}

fn killed() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let listener = ReferenceListener::start()?;
    let mut record = record(&listener.address(), &["-t"]);
    let record = record.args(EVENTS).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = record.stderr(Stdio::piped()).spawn()?;
    let started = listener.waits_for_client();
    listener.kill();
    let output = match started {
        Ok(()) => ends(child)?,
        Err(error) => {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL)?;
            return Err(error);
        }
    };
    let text = stderr(&output);
    check(output.status.code() == Some(1), || format!("{}: {text}", output.status))?;
    // What could not be sent is told of each CPU before.
    let last = text.lines().last().unwrap_or_default();
    check(last.contains("has gone") && text.matches("has gone").count() == 1, || text.clone())?;
    bench.is_as_before("recording")
}

/// Waits for a recording that has to end by itself.
fn ends(child: std::process::Child) -> Result<Output, Failed> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = is_done.recv_timeout(PATIENCE).is_err();
        late.then(|| kill(pid, Signal::SIGKILL))
    });
    let output = child.wait_with_output()?;
    let _ = done.send(());
    let late = watch.join().map_err(|_| "the watch panicked")?;
    check(late.is_none(), || "it went on without its listener".to_owned())?;
    Ok(output)
}

fn old() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let listener = scripted::version_1()?;
    let mut record = record(&listener.address, &["-t", "--json"]);
    let output = record.args(EVENTS).args(["sh", "-c", LOAD]).output()?;
    let text = stderr(&output);
    check(output.status.success(), || text.clone())?;
    check(text.contains("will be of version 6"), || text.clone())?;
    let scripted::Sent { head, data } = listener.result()?;
    check(head.starts_with(b"\x17\x08\x44tracing6\0"), || "no head of version 6".to_owned())?;
    let arrived: Vec<u64> = data.iter().map(|bytes| bytes.len() as u64).collect();
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    check(arrived.iter().sum::<u64>() > 0, || "no data came".to_owned())?;
    check(numbers(&json, "sent_bytes") == arrived, || format!("{arrived:?} of {json}"))?;
    check(numbers(&json, "lost_bytes") == vec![0; arrived.len()], || json.clone())?;
    bench.is_as_before("recording")
}

fn loss() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let listener = Listener::start(Loss::Some)?;
    let words = ["--json", "--fail-on-loss", "-e", "raw_syscalls"];
    let flood = "for i in 1 2; do dd if=/dev/zero of=/dev/null bs=1 count=20000 2>/dev/null; done";
    let output = record(&listener.address, &words).args(["sh", "-c", flood]).output()?;
    let text = stderr(&output);
    check(output.status.code() == Some(6), || format!("{}: {text}", output.status))?;
    check(text.contains("lost on the way"), || text.clone())?;
    let json = String::from_utf8_lossy(&output.stdout).into_owned();
    let [sent, arrived, lost] =
        ["sent_bytes", "arrived_bytes", "lost_bytes"].map(|name| numbers(&json, name));
    let taken = listener.result()?;
    check(taken.streams == arrived, || format!("{:?} of {json}", taken.streams))?;
    check(lost.iter().sum::<u64>() > 0 && sent.len() == lost.len(), || json.clone())?;
    for ((sent, arrived), lost) in sent.iter().zip(&arrived).zip(&lost) {
        check(arrived + lost == *sent, || format!("{arrived} and {lost} of {sent}"))?;
    }
    check(taken.tail.starts_with(b"\x17\x08\x44tracing7\0"), || "no tail came".to_owned())?;
    bench.is_as_before("recording")
}

fn instances() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let listener = Listener::start(Loss::None)?;
    let words = ["-t", "--json", "-e", "sched_switch", "-B", "network-test", "-e", "sched_waking"];
    let json = success(record(&listener.address, &words).args(["sh", "-c", LOAD]))?;
    let taken = listener.result()?;
    check(taken.instances == ["network-test"], || format!("{:?}", taken.instances))?;
    let arrived = numbers(&json, "arrived_bytes");
    check(taken.streams == arrived && arrived == numbers(&json, "sent_bytes"), || {
        format!("{:?} of {json}", taken.streams)
    })?;
    let (top, further) = arrived.split_at(arrived.len() / 2);
    let is_something = |bytes: &[u64]| bytes.iter().sum::<u64>() > 0;
    check(is_something(top) && is_something(further), || json.clone())?;
    bench.is_as_before("recording")
}

/// Each is one line, and nothing is left of it.
fn refusals() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let cases = [
        (scripted::says(b"HTTP/1.0 400 Bad Request\r\n")?, "no trace-cmd listens there"),
        (scripted::says(b"")?, "timed out waiting for the listener's greeting"),
        (scripted::says(b"tracecmdV3\0OK")?, "timed out waiting for RINIT"),
        (scripted::says(b"tracecmdV3\0OK\0\0\0\x01\0\0\0\0\0\0\0\0")?, "message size 1 at offset"),
        (scripted::refuses("the disk here is full")?, "refuses: the disk here is full"),
        (scripted::nobody()?, "cannot reach the listener"),
    ];
    for (listener, part) in cases {
        let mut record = record(&listener, &["-t"]);
        if part.starts_with("timed out") {
            record.args(["--peer-timeout", "5"]);
        }
        let line = common::complaint(record.args(EVENTS).args(["sh", "-c", LOAD]))?;
        check(line.contains(part), || format!("{part}: {line}"))?;
    }
    bench.is_as_before("recording")
}

fn stalled() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let listener = scripted::reads_no_data()?;
    let mut record = record(&listener.address, &["-t", "-q"]);
    let line = common::complaint(record.args(EVENTS).args(["sh", "-c", LOAD]))?;
    check(line.contains("did not say that it has all"), || line.clone())?;
    drop(listener);
    bench.is_as_before("recording")
}
