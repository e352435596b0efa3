//! What a guest wants recorded by itself, written down on the host.

use std::path::PathBuf;

use trace_virt::host::SessionEnd;
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::wish::Wish;

use super::file::place_beside;
use super::{FinishedGuest, HostFile, LostGuest};
use crate::command::record::args::AgentArgs;
use crate::command::record::plan::{GuestPlan, guest_output};
use crate::error::Error;

/// Where recordings of guests go.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) directory: PathBuf,
    /// Bytes of trace data in each.
    pub(crate) max_bytes: u64,
}

impl Shelf {
    /// The file whose name those of guests are made of.
    fn base(&self) -> PathBuf {
        self.directory.join("trace.dat")
    }

    /// The file of one guest.
    pub(crate) fn file_of(&self, guest: &str) -> PathBuf {
        guest_output(&self.base(), guest)
    }
}

/// Records a guest through the running server until it has enough, or is gone. Returns what is to be told of it, in lines.
///
/// # Errors
/// Nothing of it was recorded.
pub(crate) fn record(
    dir: &VirtDir,
    guest: &GuestName,
    wish: Wish,
    shelf: &Shelf,
) -> Result<Vec<String>, Error> {
    let plans = [GuestPlan::of_wish(guest.as_str(), wish, shelf.max_bytes)];
    let trace_id = crate::command::record::new_trace_id();
    let connected = super::connect(dir, &plans, &AgentArgs::default())?;
    let place = |guest: &GuestPlan| place_beside(&shelf.base(), guest);
    let started = super::start(connected, &plans, &place, trace_id);
    let mut running = started.into_iter().collect::<Result<Vec<_>, _>>().map_err(error_of)?;
    for guest in &mut running {
        guest.publish()?;
        guest.exec();
        guest.wait();
    }
    let finished = super::finish(running, &HostFile { trace_id, tsc_to_nsec: None });
    let finished = finished.into_iter().collect::<Result<Vec<_>, _>>().map_err(error_of)?;
    Ok(finished.iter().flat_map(told).collect())
}

fn error_of(lost: LostGuest) -> Error {
    lost.error
}

fn told(guest: &FinishedGuest) -> Vec<String> {
    let path = guest.path.iter().map(|path| format!("recorded in {}", path.display()));
    let mut lines: Vec<String> = path.collect();
    if guest.end != SessionEnd::Complete {
        lines.push("it went away; what it still had is lost, what came is in the file".to_owned());
    }
    if guest.lost_events > 0 {
        lines.push(format!("{} events lost in its ring buffers", guest.lost_events));
    }
    let (discarded, missing) = (guest.discarded_bytes(), guest.missing_bytes().unwrap_or(0));
    if discarded > 0 {
        let hint = if guest.has_failed { "" } else { ": see --max-size" };
        lines.push(format!("{discarded} bytes of its data were not kept{hint}"));
    }
    if missing > 0 {
        lines.push(format!("{missing} bytes of its data are missing"));
    }
    // The server says whose lines these are.
    let name = format!("guest {}: ", guest.name);
    let problems = guest.problems.iter();
    lines.extend(problems.map(|line| line.strip_prefix(&name).unwrap_or(line).to_owned()));
    lines
}
