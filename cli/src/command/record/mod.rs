//! `trace-cmd record`: events of this kernel, and of its guests, into files.
//!
//! `args` (words in order) → `plan` (who records what) → `run` (the kernel is touched) → `live`
//! (where the data goes).

mod agent_address;
mod agents;
mod ahead;
pub(crate) mod args;
pub(super) mod close_up;
mod daemon;
pub(super) mod date;
mod destination;
pub(super) mod dry_run;
mod extras;
pub(super) mod file;
pub(crate) mod guest_policy;
pub(crate) mod guest_side;
pub(crate) mod guests;
pub(super) mod latency;
pub(super) mod live;
pub(super) mod local;
pub(crate) mod marker_clock;
pub(super) mod multiplex;
pub(super) mod output;
pub(crate) mod plan;
mod remote;
mod run;
mod session;
mod status;
pub(super) mod summary;
pub(super) mod texts;
pub(super) mod tsc;
mod virt;
pub(super) mod wait;

use clap::ArgMatches;

use crate::error::Error;
use crate::exit_code::Exit;

pub(crate) use args::command;
pub(super) use local::kernel_error;

/// A number that ties the files of one run together.
pub(super) fn new_trace_id() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState has new random keys, so even the hash of nothing is unique.
    RandomState::new().hash_one(std::process::id())
}

/// Runs `record`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let args = args::Args::from_matches(matches)?;
    let plan = plan::Plan::new(&args)?;
    if args.setup.dry_run {
        dry_run::print(&args, &plan)?;
        return Ok(Exit::Success);
    }
    if args.virt {
        return virt::record(args, &plan);
    }
    if args.daemonize {
        return daemon::detach(args.quiet);
    }
    let daemon = args.daemonized.then(daemon::leave_terminal);
    let has_begun = || {
        if let Some(daemon) = &daemon {
            daemon.has_begun();
        }
    };
    if plan.host.measures_latency() {
        return latency::record(&args, &plan, &has_begun);
    }
    if agents::are_all(&args, &plan) {
        return agents::record(&args, &plan, &has_begun);
    }
    run::record(&args, plan, &has_begun)
}
