//! Errors as a user meets them, where neither the kernel nor a guest is needed: one line, with a next step.

mod common;

use std::fs;
use std::io::Read;
use std::process::ExitCode;

use common::{Case, check, complaint, trace_cmd};
use libtest_mimic::Failed;
use tempfile::TempDir;
use tracedat::testing::{TraceBuilder, Workload};

const CASES: &[Case] = &[
    Case { name: "unusable_inputs_are_named", needs: || Ok(()), test: unusable_inputs },
    Case {
        name: "outputs_that_cannot_be_written_are_named_first",
        needs: || Ok(()),
        test: unusable_output,
    },
    Case {
        name: "guests_that_cannot_be_reached_are_explained",
        needs: || Ok(()),
        test: unreachable_guests,
    },
    Case { name: "slips_of_the_pen_are_answered", needs: || Ok(()), test: slips_of_the_pen },
    Case {
        name: "root_names_that_the_kernel_does_not_know_are_answered",
        needs: common::with_tracefs,
        test: unknown_to_the_kernel,
    },
    Case { name: "nothing_is_coloured", needs: || Ok(()), test: plain },
    Case { name: "set_up_can_be_repeated", needs: || Ok(()), test: set_up_twice },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn expect(line: &str, parts: &[&str]) -> Result<(), Failed> {
    for part in parts {
        check(line.contains(part), || format!("no {part:?} in: {line}"))?;
    }
    Ok(())
}

fn unusable_inputs() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let missing = dir.path().join("no.dat");
    expect(
        &complaint(trace_cmd().args(["report", "-i"]).arg(&missing))?,
        &["no.dat", "No such file", "trace-cmd record"],
    )?;

    let text = dir.path().join("text.dat");
    fs::write(&text, "this is not a trace\n".repeat(100))?;
    expect(
        &complaint(trace_cmd().args(["report", "-i"]).arg(&text))?,
        &["text.dat", "not a trace.dat"],
    )?;

    let cut = dir.path().join("cut.dat");
    // A version 7 file that ends in the middle of its header.
    fs::write(&cut, b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0zst")?;
    expect(&complaint(trace_cmd().args(["report", "-i"]).arg(&cut))?, &["cut.dat", "0x"])
}

fn slips_of_the_pen() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let file = TraceBuilder::new(Workload { events_per_cpu: 10, ..Workload::new(9) }).build();
    fs::write(dir.path().join("trace.dat"), file)?;
    for (words, near) in [
        (&["report", "-F", "shced"][..], "did you mean sched?"),
        (&["report", "-F", "sched/sched_swich: prev_pid == 0"], "did you mean sched_switch?"),
        (&["recrod"], "'record'"),
        (&["record", "--exce", "x"], "'--exec'"),
        (&["help", "recodring"], "did you mean recording?"),
        (&["man", "recrod"], "did you mean record?"),
        (&["completions", "bsh"], "'bash'"),
        (&["convert", "--compression", "zst"], "'zstd'"),
    ] {
        let line = complaint(trace_cmd().current_dir(dir.path()).args(words))?;
        expect(&line, &[near])?;
    }
    Ok(())
}

fn unknown_to_the_kernel() -> Result<(), Failed> {
    let bench = common::bench::Bench::new()?;
    for (words, near) in [
        (["-e", "shced"], "did you mean sched?"),
        (["-e", "sched:sched_swich"], "did you mean sched:sched_switch?"),
        (["-p", "npo"], "did you mean nop?"),
        (["-C", "mnoo"], "did you mean mono?"),
        (["-O", "stacktrcae"], "did you mean stacktrace?"),
    ] {
        let dir = TempDir::new()?;
        let mut record = trace_cmd();
        record.current_dir(dir.path()).arg("record").args(words).args(["-e", "sched", "true"]);
        expect(&complaint(&mut record)?, &[near])?;
    }
    bench.is_as_before("a slip of the pen")
}

/// Not on a terminal either.
fn plain() -> Result<(), Failed> {
    for words in ["help", "record --help", "recrod", "report -i missing.dat"] {
        let pty = nix::pty::openpty(None, None)?;
        let terminal = fs::File::from(pty.slave);
        let mut command = trace_cmd();
        command.args(words.split(' ')).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdout(terminal.try_clone()?).stderr(terminal);
        let mut child = command.spawn()?;
        drop(command);
        let mut said = Vec::new();
        // What is left when the other end is closed is an error, behind all that was said.
        let _ = fs::File::from(pty.master).read_to_end(&mut said);
        child.wait()?;
        check(said.len() > 20 && !said.contains(&0x1b), || {
            format!("{words}: {}", String::from_utf8_lossy(&said))
        })?;
    }
    Ok(())
}

fn unusable_output() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let file = dir.path().join("no/such/dir/trace.dat");
    let mut record = trace_cmd();
    record.args(["record", "-e", "sched", "-o"]).arg(&file).arg("true");
    expect(&complaint(&mut record)?, &["cannot write", "no/such/dir/trace.dat", "-o FILE"])
}

fn unreachable_guests() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let record = || {
        let mut record = trace_cmd();
        record.current_dir(dir.path()).args(["record", "--virt-dir"]).arg(dir.path());
        record.args(["--dom", "guest1", "-e", "sched"]);
        record
    };
    expect(&complaint(&mut record())?, &["guest1", "virt-server --dom guest1 -c"])?;
    let mut set_up = trace_cmd();
    set_up.arg("virt-server").env("TRACE_CMD_VIRT_DIR", dir.path());
    common::success(set_up.args(["--dom", "guest1", "-c", "2"]))?;
    expect(&complaint(&mut record())?, &["guest1", "server", "trace-cmd virt-server"])?;
    let mut slip = trace_cmd();
    slip.current_dir(dir.path()).args(["record", "--virt-dir"]).arg(dir.path());
    slip.args(["--dom", "gust1", "-e", "sched"]);
    expect(&complaint(&mut slip)?, &["gust1", "did you mean guest1?"])?;
    let mut doctor = trace_cmd();
    doctor.args(["virt-server", "--doctor", "gust1", "--virt-dir"]).arg(dir.path());
    let said = String::from_utf8(doctor.output()?.stdout)?;
    expect(&said, &["no directory", "did you mean guest1?"])?;

    let mut named = trace_cmd();
    named.args(["virt-server", "--virt-dir"]).arg(dir.path()).args(["--dom", "../up", "-c", "1"]);
    expect(&complaint(&mut named)?, &["../up"])?;
    let mut uncounted = trace_cmd();
    uncounted.args(["virt-server", "--virt-dir"]).arg(dir.path()).args(["--dom", "guest2"]);
    expect(&complaint(&mut uncounted)?, &["guest2", "-c CPUS"])
}

fn set_up_twice() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let set_up = |words: &[&str]| {
        let mut command = trace_cmd();
        command
            .args(["virt-server", "--virt-dir"])
            .arg(dir.path())
            .args(["--dom", "guest1"])
            .args(words);
        common::success(&mut command)
    };
    let first = set_up(&["-c", "2"])?;
    expect(
        &first,
        &["-chardev pipe", "trace-path-cpu1", "<channel type='pipe'>", "agent-ctl-path"],
    )?;
    let second = set_up(&[])?;
    expect(&second, &["(0 files made"])?;
    let qemu = set_up(&["--qemu"])?;
    check(
        qemu.lines().all(|line| line.starts_with("-device ") || line.starts_with("-chardev ")),
        || qemu.clone(),
    )?;
    let xml = set_up(&["--libvirt"])?;
    check(xml.trim_start().starts_with('<') && !xml.contains("-chardev"), || xml.clone())?;
    set_up(&["--remove"])?;
    check(!dir.path().join("guest1").exists(), || "guest1 is still there".to_owned())
}
