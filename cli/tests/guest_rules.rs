//! A real guest whose client was started with rules: what its host may do, what it may not and is told why, and what
//! becomes of a command there.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Case, check, stderr, success, trace_cmd, with_guest};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_virt::host::{
    self, ExecStatus, Finished, GuestSession, SessionEvent, Sink, StartRequest,
};
use trace_virt::lab::requirements::TracefsLock;
use trace_virt::lab::{self, Guest, GuestFile, GuestOptions};
use trace_virt::setup::{GuestName, VirtDir};

const CASES: &[Case] =
    &[Case { name: "root_a_guest_with_rules", needs: with_guest, test: guest_with_rules }];

const BOOT: Duration = Duration::from_secs(240);
/// An emulated guest beside a busy host takes its time.
const SOON: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    common::run(CASES)
}

/// A server that ends with the test.
struct Server(Child);

impl Server {
    fn start(virt_dir: &Path, words: &[&str]) -> Result<Self, Failed> {
        let log = File::create(virt_dir.join("server.log"))?;
        let mut server = trace_cmd();
        server
            .args(["virt-server", "--virt-dir"])
            .arg(virt_dir)
            .args(words)
            .stdout(Stdio::null())
            .stderr(log);
        Ok(Self(server.spawn()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let start = Instant::now();
    while !is_so()? {
        check(start.elapsed() < SOON, || format!("never: {what}"))?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn guest_with_rules() -> Result<(), Failed> {
    let (virt_dir, out) = (TempDir::new()?, TempDir::new()?);
    let (virt_dir, out) = (virt_dir.path(), out.path());
    let mut options = GuestOptions::new("guest1");
    options.virt_dir = Some(virt_dir.to_owned());
    options.trace_cmd = Some(lab::static_binary()?);
    let file = |path: &str, text: &str| GuestFile {
        path: path.to_owned(),
        mode: 0o644,
        data: text.as_bytes().to_vec(),
    };
    // Threads of QEMU have names, as with libvirt.
    options.qemu_args = ["-name", "guest=guest1,debug-threads=on"].map(str::to_owned).to_vec();
    options.files = vec![
        file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nworker:x:1234:1235::/tmp:/bin/sh\n"),
        file("/etc/group", "root:x:0:\nworker:x:1235:\nextra:x:77:worker\n"),
    ];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    // As in an initramfs: no udev's links, no tracefs.
    guest.run("rm -r /dev/virtio-ports; umount /sys/kernel/tracing; umount /sys/kernel/debug; ! mount | grep tracefs")?;
    guest.run(
        "trace-cmd virt-server --client --allow-exec --exec-user worker --allow-events 'sched,irq:softirq_*,raw_syscalls' \
         --max-buffer 8M >/run/client.log 2>&1 & echo $! >/run/client.pid",
    )?;
    waits_at_no_cost(&guest)?;

    let server = Server::start(virt_dir, &[])?;
    eventually("the client answers", || {
        Ok(guest.run("cat /run/client.log")?.contains("the host answers"))
    })?;
    let second = guest.output("trace-cmd virt-server --client", SOON)?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    check(second.status == 5 && said.contains("another client has the port"), || said.clone())?;

    let mut status = String::new();
    eventually("the server has the client's answer", || {
        let mut ask = trace_cmd();
        status =
            success(ask.args(["virt-server", "--status", "--json", "--virt-dir"]).arg(virt_dir))?;
        Ok(status.contains("\"ready\""))
    })?;
    let qemu = guest.pid();
    let thread = status.split("\"thread\":").nth(1).and_then(|rest| rest.trim().split('}').next());
    let thread: u32 = thread.ok_or(status.as_str())?.parse()?;
    let name = fs::read_to_string(format!("/proc/{qemu}/task/{thread}/comm"))?;
    check(name.starts_with("CPU 0/"), || format!("thread {thread} is {name}"))?;
    for part in [qemu.to_string(), "\"exec\":\"any\"".to_owned(), "\"mono\"".to_owned()] {
        check(status.contains(&part), || format!("no {part} in {status}"))?;
    }

    let _lock = TracefsLock::take()?;
    commands(virt_dir, out)?;
    refusals(virt_dir, out)?;
    full(&guest, virt_dir, "drop")?;
    full(&guest, virt_dir, "block")?;
    nothing_is_left(&guest)?;
    refused_wishes(&guest)?;
    drop(server);
    accepted(&guest, virt_dir, out)?;
    nothing_is_left(&guest)?;
    guest.power_off(SOON)?;
    Ok(())
}

/// Tracing in the guest is as it was.
fn nothing_is_left(guest: &Guest) -> Result<(), Failed> {
    // Where the client mounted it.
    let script = "dir=$(mount | awk '/type tracefs/ { print $3; exit }'); \
                  cat $dir/set_event $dir/current_tracer; ls $dir/instances";
    let left = guest.run(script)?;
    check(left.trim() == "nop", || format!("left in the guest: {left}"))
}

/// Somebody in the guest wants to record it, and is told why that cannot be.
fn refused_wishes(guest: &Guest) -> Result<(), Failed> {
    let output = guest.output("trace-cmd record --virt -e sched true", SOON)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status == 5 && said.contains("another client has the port"), || said.clone())?;
    guest.run("kill $(cat /run/client.pid)")?;
    let mut said = String::new();
    eventually("the server refuses", || {
        let output = guest.output("trace-cmd record --virt -e sched true", SOON)?;
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(output.status == 5 && said.contains("without --accept"))
    })
    .map_err(|_| said)?;
    Ok(())
}

/// With a server that takes it, it is in a file of the host's.
fn accepted(guest: &Guest, virt_dir: &Path, out: &Path) -> Result<(), Failed> {
    let _server = Server::start(virt_dir, &["--accept", out.to_str().ok_or("no text")?])?;
    let file = out.join("trace-guest1.dat");
    let script = "echo here; ls -l /sys/module >/dev/null";
    let line = format!(
        "trace-cmd record --virt -e sched_switch -B calls -e raw_syscalls sh -c '{script}'"
    );
    let mut said = String::new();
    // QEMU needs a moment to find the new server.
    eventually("the guest records itself", || {
        let output = guest.output(&line, SOON)?;
        said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Ok(output.status == 0)
    })
    .map_err(|_| said.clone())?;
    check(said.contains("here\n") && said.contains("the host has the recording"), || said.clone())?;
    has_events(virt_dir, &file, 0, &["sched_switch", "calls:", "sys_exit"])?;

    // Without a command, until somebody ends it.
    let before = recorded(virt_dir);
    let script = "trace-cmd record --virt -e sched_switch >/run/own.log 2>&1 & pid=$!; \
                  dir=$(mount | awk '/type tracefs/ { print $3; exit }'); \
                  until grep -q 1 $dir/events/sched/sched_switch/enable; do kill -0 $pid || exit 1; sleep 0.1; done; \
                  ls -l /sys/module >/dev/null; kill -INT $pid; wait $pid && cat /run/own.log";
    let said = guest.run(script)?;
    check(said.contains("the host has the recording"), || said.clone())?;
    has_events(virt_dir, &file, before, &["sched_switch"])
}

/// How many files the server says are complete.
fn recorded(virt_dir: &Path) -> usize {
    let log = fs::read_to_string(virt_dir.join("server.log")).unwrap_or_default();
    log.matches("recorded in").count()
}

/// The file is complete, which were so many `before`, and has these words in its report.
fn has_events(virt_dir: &Path, file: &Path, before: usize, words: &[&str]) -> Result<(), Failed> {
    let log = || fs::read_to_string(virt_dir.join("server.log")).unwrap_or_default();
    eventually("the file is complete", || Ok(recorded(virt_dir) > before)).map_err(|_| log())?;
    let text = success(trace_cmd().arg("report").arg("-i").arg(file))?;
    for word in words {
        check(text.contains(word), || {
            let start: String = text.chars().take(500).collect();
            format!("no {word} in {} bytes: {start}", text.len())
        })?;
    }
    Ok(())
}

/// Over some seconds no thread of the client runs, at least twice: every ten seconds it looks whether it missed something.
fn waits_at_no_cost(guest: &Guest) -> Result<(), Failed> {
    eventually("it waits", || Ok(guest.run("cat /run/client.log")?.contains("waiting for")))?;
    let switches = "cat /proc/$(cat /run/client.pid)/task/*/status | grep ctxt_switches | tr -dc '0-9\\n' | \
                    awk '{ all += $1 } END { print all }'";
    let count = || -> Result<u64, Failed> { Ok(guest.run(switches)?.trim().parse()?) };
    let mut counts = vec![count()?];
    let free =
        |counts: &[u64]| counts.windows(2).filter(|pair| pair.first() == pair.last()).count();
    // Three seconds of a guest that has not its processor all the time may be many.
    while free(&counts) < 2 {
        check(counts.len() < 12, || format!("context switches: {counts:?}"))?;
        guest.run("sleep 3")?;
        counts.push(count()?);
    }
    Ok(())
}

fn record(virt_dir: &Path, out: &Path, words: &[&str]) -> Command {
    let mut record = trace_cmd();
    record.arg("record").arg("--virt-dir").arg(virt_dir).arg("-o").arg(out.join("trace.dat"));
    record.args(["--dom", "guest1"]).args(words);
    record
}

fn run(virt_dir: &Path, out: &Path, script: &str) -> Result<(String, String), Failed> {
    let words = ["-e", "sched_switch", "--exec", "sh", "-c", script];
    let output: Output = record(virt_dir, out, &words).output()?;
    let text = stderr(&output);
    check(output.status.success(), || format!("{script}: {}: {text}", output.status))?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), text))
}

/// What a command writes and how it ends is known at the host.
fn commands(virt_dir: &Path, out: &Path) -> Result<(), Failed> {
    let (said, complained) = run(virt_dir, out, "echo a; echo b >&2; id; exit 3")?;
    check(said.contains("a\n") && complained.contains("b\n"), || format!("{said}{complained}"))?;
    check(complained.contains("guest1: its command ended with exit code 3"), || {
        complained.clone()
    })?;
    check(said.contains("uid=1234") && said.contains("gid=1235"), || said.clone())?;
    check(said.contains("77") && !said.contains("(root)"), || format!("groups: {said}"))?;

    let script = "read line || echo nothing to read; seq 300000; kill -9 $$";
    let (said, complained) = run(virt_dir, out, script)?;
    check(said.contains("nothing to read\n1\n2\n") && said.contains("\n300000\n"), || {
        format!("{} bytes: {}", said.len(), said.chars().take(200).collect::<String>())
    })?;
    check(complained.contains("ended by signal 9"), || complained.clone())
}

/// Every refusal is one line that names the guest, what is not allowed, and what is.
fn refusals(virt_dir: &Path, out: &Path) -> Result<(), Failed> {
    let trigger = "enable_event:irq:irq_handler_entry";
    for (words, reason) in [
        (&["-e", "irq"][..], "irq:irq_handler_entry"),
        (&["-e", "all"], "and"),
        (&["-p", "function"], "ftrace:function"),
        (&["-e", "sched", "-T"], "ftrace:kernel_stack"),
        (&["-e", "sched_switch", "-R", trigger], trigger),
        (&["-e", "sched", "-b", "8193"], "8192 KiB"),
    ] {
        let mut words = words.to_vec();
        words.extend(["--exec", "true"]);
        let output = record(virt_dir, out, &words).output()?;
        check(!output.status.success(), || format!("{words:?} was allowed"))?;
        // Before it there may be word of other recordings on this machine.
        let line = stderr(&output).lines().last().unwrap_or_default().to_owned();
        let is_told =
            line.contains("guest1") && line.contains("this guest") && line.contains(reason);
        check(is_told, || format!("{words:?}: {line}"))?;
    }
    // All that is allowed, in as much memory as there may be.
    let words = ["-e", "sched", "-e", "softirq_entry", "-b", "8192", "--exec", "true"];
    let output = record(virt_dir, out, &words).output()?;
    check(output.status.success(), || stderr(&output))
}

/// Nobody takes the data at the host: with `drop` the command runs to its end and events are lost, with `block` it
/// waits until they are taken.
fn full(guest: &Guest, virt_dir: &Path, choice: &str) -> Result<(), Failed> {
    // More than fits on the way: some MB in the FIFO, in QEMU and in the port.
    const SCRIPT: &str =
        "echo $$; dd if=/dev/zero of=/dev/null bs=1 count=60000 2>/dev/null; echo done";
    let dir = VirtDir::new(virt_dir);
    let mut request = StartRequest {
        args: ["--compression", "none", "-e", "raw_syscalls", "-b", "16"]
            .map(str::to_owned)
            .to_vec(),
        exec: Some(["sh", "-c", SCRIPT].map(str::to_owned).to_vec()),
        ..StartRequest::default()
    };
    if choice != "drop" {
        request.args.extend(["--on-full".to_owned(), choice.to_owned()]);
    }
    let mut session = host::Guest::connect(&dir, &GuestName::new("guest1")?)?.start(&request)?;
    session.exec();
    let mut said = String::new();
    says(&session, "\n", &mut said)?;
    let pid = said.lines().next().unwrap_or_default().to_owned();
    if choice == "block" {
        eventually("the command waits", || {
            let state = guest.run(&format!("cat /proc/{}/stat || echo", pid.trim()))?;
            check(!state.trim().is_empty(), || "it ended and did not wait".to_owned())?;
            Ok(state.rsplit(") ").next().is_some_and(|state| state.starts_with('T')))
        })?;
    } else {
        says(&session, "done\n", &mut said)?;
    }
    let sink = File::create(virt_dir.join("data"))?;
    session.collect(vec![Sink { to: sink.into(), offset: None }], None)?;
    if choice == "block" {
        says(&session, "done\n", &mut said)?;
    }
    let status = session.events().recv_timeout(SOON)?;
    check(status == SessionEvent::Exited(ExecStatus::Code(0)), || format!("{status:?}"))?;
    let finished = session.close()?;
    check(finished.problems.is_empty(), || format!("{:?}", finished.problems))?;
    let overrun = overrun(&finished)?;
    let bytes = fs::metadata(virt_dir.join("data"))?.len();
    match finished.held {
        Some((times @ 1.., _)) if choice == "block" => {
            // What it made until it was stopped may have been too much already, but little.
            check(bytes > 0, || format!("waited {times} times for nothing"))
        }
        None if choice == "drop" => {
            check(overrun > 0, || format!("nothing was lost of {bytes} bytes"))
        }
        held => Err(format!("{choice}: {held:?}").into()),
    }
}

/// Adds what the command says, in whatever pieces, until this is part of it.
fn says(session: &GuestSession, part: &str, said: &mut String) -> Result<(), Failed> {
    while !said.contains(part) {
        match session.events().recv_timeout(SOON)? {
            SessionEvent::Output { bytes, .. } => said.push_str(&String::from_utf8_lossy(&bytes)),
            other => return Err(format!("{other:?} after {said:?}").into()),
        }
    }
    Ok(())
}

/// Events that the guest's kernel overwrote, as its counters in the tail say.
fn overrun(finished: &Finished) -> Result<u64, Failed> {
    let text = String::from_utf8_lossy(&finished.tail);
    let words = text.split("\noverrun: ").nth(1).and_then(|rest| rest.lines().next());
    Ok(words.ok_or("no counters in the tail")?.trim().parse()?)
}
