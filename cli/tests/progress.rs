//! How far a long command is shows on a terminal, and nowhere else.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use common::{Case, check, stderr, success, trace_cmd};
use libtest_mimic::Failed;
use nix::pty::openpty;
use tempfile::TempDir;
use tracedat::testing::{TraceBuilder, Workload};

const CASES: &[Case] = &[
    Case { name: "a_terminal_shows_how_far_a_report_is", needs: || Ok(()), test: report },
    Case { name: "short_commands_and_pipes_show_nothing", needs: || Ok(()), test: silent },
];

fn main() -> ExitCode {
    common::run(CASES)
}

fn write_trace(file: &Path, events_per_cpu: usize) -> Result<(), Failed> {
    let workload = Workload { events_per_cpu, missed_every: 0, ..Workload::new(5) };
    Ok(fs::write(file, TraceBuilder::new(workload).build())?)
}

/// Runs a command; standard output goes to a file. Returns what standard error, a terminal, has shown.
fn on_terminal(words: &[&str], dir: &Path, out: &Path) -> Result<String, Failed> {
    let pty = openpty(None, None)?;
    let mut terminal = File::from(pty.master);
    let shown = thread::spawn(move || {
        let mut text = Vec::new();
        // Its end is an error, once nobody has the other side any more.
        let _ = terminal.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut command = trace_cmd();
    command.args(words).current_dir(dir).stdout(File::create(out)?).stderr(pty.slave);
    let status = command.status();
    // It holds the terminal too.
    drop(command);
    let shown = shown.join().map_err(|_| "nothing came from the terminal")?;
    let status = status?;
    check(status.success(), || format!("{words:?}: {status}: {shown}"))?;
    Ok(shown)
}

fn report() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let (trace, out) = (dir.path().join("trace.dat"), dir.path().join("out.txt"));
    let mut events = 20_000;
    // As long as it takes to be worth a word on this machine.
    let shown = loop {
        write_trace(&trace, events)?;
        let shown = on_terminal(&["report", "--json"], dir.path(), &out)?;
        if !shown.is_empty() || events > 2_000_000 {
            break shown;
        }
        events *= 4;
    };
    check(shown.starts_with("\r\x1b[Kreport: ") && shown.contains("% of "), || shown.clone())?;
    check(shown.ends_with("\r\x1b[K") && !shown.contains('\n'), || shown.clone())?;
    let piped = trace_cmd().args(["report", "--json"]).current_dir(dir.path()).output()?;
    check(piped.stderr.is_empty(), || stderr(&piped))?;
    check(piped.stdout == fs::read(&out)?, || "the text is another".to_owned())
}

fn silent() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    write_trace(&dir.path().join("trace.dat"), 20)?;
    for words in [&["report"][..], &["convert", "-o", "other.dat"], &["split", "-o", "piece.dat"]] {
        let shown = on_terminal(words, dir.path(), &dir.path().join("out.txt"))?;
        // A machine that is very busy may take long for anything.
        check(shown.is_empty() || shown.ends_with("\r\x1b[K"), || format!("{words:?}: {shown}"))?;
        let output = trace_cmd().args(words).current_dir(dir.path()).output()?;
        check(output.stderr.is_empty(), || format!("{words:?}: {}", stderr(&output)))?;
    }
    success(trace_cmd().arg("report").arg(dir.path().join("other.dat"))).map(drop)
}
