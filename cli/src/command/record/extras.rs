//! Options of a file that were asked for by name: wall time, offset, factor of the clock, profile
//! hooks, memory maps.

use tracedat::Abi;
use tracedat::layout::OptionId;
use tracedat::metadata::{ProcMaps, TscToNsec};
use tracedat::write::option;

use super::args::Args;
use super::plan::Plan;
use super::{date, summary, tsc};
use crate::command::workload::{TaskMaps, Workload, maps_of};
use crate::error::Error;

/// The factor from ticks to nanoseconds, if files shall have it.
pub(crate) fn factor(args: &Args, plan: &Plan) -> Result<Option<TscToNsec>, Error> {
    (args.tsc_to_nsec || plan.host.tsc_to_nsec).then(tsc::factor).transpose()
}

/// What can be known before anything is recorded.
pub(crate) fn before(
    args: &Args,
    plan: &Plan,
    factor: Option<&TscToNsec>,
) -> Result<Vec<(OptionId, Vec<u8>)>, Error> {
    let mut options = Vec::new();
    if args.date {
        let clock = plan.host.top.clock.as_deref();
        let wall_time = date::wall_time_of(clock)?;
        if !args.quiet && !args.json {
            summary::wall_time(wall_time);
        }
        options.push(option::date_within(wall_time.offset, wall_time.uncertainty));
    }
    options.extend(args.ts_offset.map(option::offset));
    options.extend(factor.map(|factor| option::tsc_to_nsec(factor, Abi::NATIVE.byte_order)));
    options.extend(args.setup.profile.hooks.iter().map(|text| option::hook(text)));
    Ok(options)
}

/// The memory maps of the tasks that were traced.
pub(crate) fn maps(before: &[TaskMaps], workload: Option<&Workload>) -> Vec<(OptionId, Vec<u8>)> {
    let of_command = workload.and_then(Workload::maps);
    // Those that still run are asked again: they may have mapped more.
    let now = before.iter().map(|maps| maps_of(maps.pid).unwrap_or_else(|| maps.clone()));
    let option = |maps: TaskMaps| {
        option::proc_maps(&ProcMaps { pid: maps.pid, name: &maps.name, lines: &maps.lines })
    };
    now.chain(of_command).map(option).collect()
}
