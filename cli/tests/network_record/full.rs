//! A listener whose disk gets full.

use std::process::Stdio;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::bench::Bench;
use crate::common::disk::Disk;
use crate::common::listener::{Listener, eventually};
use crate::common::{check, stderr};
use crate::marks::{self, Marks, Pace};
use crate::record;

/// What is left of the disk.
const FREE: u64 = 400 << 10;

/// The recorder ends by itself and says why; the file has all that came before, and tracing is as it was.
pub(crate) fn disk() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for words in [&["-t"][..], &[]] {
        let disk = Disk::tmpfs("16m")?;
        let dir = TempDir::new_in(disk.root())?;
        let mut listener = Listener::start_in(dir, &["--bind", "127.0.0.1", "-p", "0"])?;
        let mut record = record(&listener.address, &["--compression", "none"]);
        record.args(["-e", "sched_process_exec"]).args(words).stdin(Stdio::null());
        let mut child = record.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        eventually("there is no file", || Ok(listener.names()?.len() == 1))?;
        let _filler = disk.fill(FREE)?;
        let marks = Marks::start(&bench.dir, Pace::Slow)?;
        let ended = eventually("the recorder goes on", || Ok(child.try_wait()?.is_some()));
        drop(marks);
        if ended.is_err() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        ended?;
        let said = stderr(&output);
        check(output.status.code() == Some(1), || format!("{}: {said}", output.status))?;
        let last = said.lines().last().unwrap_or_default();
        let is_told = last.contains(&listener.address) && last.contains("No space left on device");
        check(is_told, || said.clone())?;
        let outcome = listener.wait_for("ended early")?;
        check(outcome.contains("No space left on device"), || outcome)?;
        let names = listener.names()?;
        let [file] = &names[..] else { return Err(format!("{names:?}").into()) };
        let arrived = marks::in_file(&listener.dir().join(file))?;
        check(arrived.len() > 50, || format!("{} marks", arrived.len()))?;
        marks::have_no_gap(&arrived)?;
        listener.end(Signal::SIGTERM)?;
        bench.is_as_before("recording")?;
    }
    Ok(())
}
