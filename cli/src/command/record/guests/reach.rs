//! Guests are reached, through the running server or by their agents.

use trace_virt::host::{AgentGuest, Guest, HostError};
use trace_virt::setup::{GuestName, VirtDir};

use super::clock::Counters;
use super::{LostGuest, side_by_side};
use crate::command::record::args::AgentArgs;
use crate::command::record::plan::GuestPlan;
use crate::command::record::{agents, tsc};
use crate::command::tracing_plan::COUNTER;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::nearest::did_you_mean_guest;

/// A guest that answers.
pub(crate) enum Reached {
    /// By way of the running server.
    Server(Box<Guest>),
    /// Its agent.
    Agent(Box<AgentGuest>),
}

impl Reached {
    /// Id of its QEMU's process, where that is known.
    pub(super) fn qemu(&self) -> Option<i32> {
        match self {
            Self::Server(guest) => guest.qemu(),
            Self::Agent(guest) => guest.qemu(),
        }
    }
}

/// Reaches all guests of a plan through the running server, or their agents, side by side.
///
/// # Errors
/// A name that no guest can have.
pub(crate) fn connect(
    dir: &VirtDir,
    plans: &[GuestPlan],
    args: &AgentArgs,
) -> Result<Vec<Result<Reached, LostGuest>>, Error> {
    let mut names = Vec::with_capacity(plans.len());
    for plan in plans {
        let usage = |error| Error::usage(format!("--dom {}", plan.name)).because(error);
        let name = plan.agent.is_none().then(|| GuestName::new(&plan.name));
        names.push(name.transpose().map_err(usage)?);
    }
    let connect = |(name, plan): (Option<GuestName>, &GuestPlan)| {
        let reached = match (name, &plan.agent) {
            (Some(name), _) => {
                let guest = Guest::connect(dir, &name).map_err(guest_error);
                guest.map(|guest| Reached::Server(Box::new(guest)))
            }
            (None, Some(address)) => {
                let agent = agents::connect(dir, plan, address, args);
                agent.map(|agent| Reached::Agent(Box::new(agent)))
            }
            (None, None) => Err(Error::failure("a guest without a name")),
        };
        reached.map_err(|error| plan.lost(error))
    };
    Ok(side_by_side(names.into_iter().zip(plans), connect))
}

/// Whether KVM tells of all that were reached, and of all their CPUs, how their ticks follow from those of this machine, so
/// that no clocks need to be measured.
pub(crate) fn have_exact_ticks(connected: &[Result<Reached, LostGuest>]) -> bool {
    let is_exact = |guest: &Reached| {
        let told = |cpus| guest.qemu().is_some_and(|pid| Counters::read(pid, cpus).is_some());
        match guest {
            Reached::Server(guest) => {
                let counts_ticks = guest.info().clocks.iter().any(|clock| clock == COUNTER);
                counts_ticks && told(guest.info().cpus)
            }
            // How many CPUs it has it tells when it records; which clocks, not at all.
            Reached::Agent(_) => told(1),
        }
    };
    let mut reached = connected.iter().flatten().peekable();
    reached.peek().is_some() && reached.all(is_exact) && tsc::is_constant()
}

pub(crate) fn guest_error(error: HostError) -> Error {
    let near = match &error {
        HostError::NoDirectory { guest, path } => {
            path.parent().and_then(|dir| did_you_mean_guest(&VirtDir::new(dir), guest))
        }
        _ => None,
    };
    let failed = Error::new(Exit::Guest, "").because(error);
    match near {
        Some(near) => failed.hint(near),
        None => failed,
    }
}
