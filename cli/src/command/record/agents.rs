//! Guests that are reached through their agents: where they are, and recordings of nothing else.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use trace_transport::Key;
use trace_transport::session::agent::PORT;
use trace_virt::agent::possible_cpus;
use trace_virt::host::{AgentGuest, AgentTarget, ProxyGuest};
use trace_virt::setup::VirtDir;

use super::agent_address::AgentAddress;
use super::args::{AgentArgs, Args};
use super::guests::{self, Conclusion, Guests, HostFile, guest_error, with_something_left};
use super::plan::{GuestPlan, Plan};
use super::session::{Ended, Session};
use super::wait::{Signals, Tasks};
use super::{extras, summary};
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;

/// What `-A` or `--proxy` names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AgentPlace {
    /// What the machine is called in files.
    pub(crate) name: String,
    pub(crate) address: AgentAddress,
}

impl AgentPlace {
    /// Reads `NAME`, `HOST[:PORT]`, `CID[:PORT]`, `NAME@CID[:PORT]`, or an address.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn parse(option: &str, text: &str) -> Result<Self, Error> {
        let bad = |error| {
            Error::usage(format!("{option} {text}: this is no place of an agent")).because(error)
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let address = text.parse().map_err(bad)?;
            let path = path.rsplit_once(':').map_or(path, |(path, _)| path);
            let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
            return Ok(Self { name: name.into_owned(), address: AgentAddress::At(address) });
        }
        let (name, place) = match text.split_once('@') {
            Some((name, place)) => (Some(name), place),
            None => (None, text),
        };
        let place = place.strip_prefix("vsock:").unwrap_or(place);
        let (machine, port) = match place.rsplit_once(':') {
            Some((machine, port)) if !machine.contains(':') || machine.ends_with(']') => {
                (machine, port.to_owned())
            }
            _ => (place, PORT.to_string()),
        };
        let is_cid = !machine.is_empty() && machine.bytes().all(|byte| byte.is_ascii_digit());
        let is_vsock = is_cid || name.is_some() || text.starts_with("vsock:");
        let address =
            if is_vsock { format!("vsock:{machine}:{port}") } else { format!("{machine}:{port}") };
        let name = name.unwrap_or(machine).trim_matches(['[', ']']).replace('/', "_");
        if name.is_empty() {
            return Err(Error::usage(format!("{option} {text}: it names nobody"))
                .hint("name it as HOST, CID or NAME@CID"));
        }
        let address = address.parse().map_err(bad)?;
        // Nothing but a name: libvirt may know it.
        let is_bare = text == name && text.parse::<IpAddr>().is_err() && !is_vsock;
        let address =
            if is_bare { AgentAddress::Named(text.to_owned()) } else { AgentAddress::At(address) };
        Ok(Self { name, address })
    }
}

/// Reaches the agent of a guest.
pub(super) fn connect(
    dir: &VirtDir,
    plan: &GuestPlan,
    address: &AgentAddress,
    args: &AgentArgs,
) -> Result<AgentGuest, Error> {
    let key = match &args.key_file {
        Some(path) => Some(Arc::new(
            Key::read(path)
                .map_err(|error| Error::failure("this key cannot be used").because(error))?,
        )),
        None => None,
    };
    let address = address.resolve()?;
    let agent = if plan.is_proxy { "agent -P CID' on the host" } else { "agent'" };
    let hint = format!("does 'trace-cmd {agent} listen at {address}?");
    let target = AgentTarget {
        guest: plan.name.clone(),
        address,
        key,
        fifos: (!args.no_fifos).then(|| dir.clone()),
        interval: args.interval,
        proxy: plan.is_proxy.then(|| ProxyGuest { cpus: possible_cpus(), siblings: 0 }),
    };
    AgentGuest::connect(target).map_err(|error| guest_error(error).hint(hint))
}

/// Whether agents record all there is to record, and this machine nothing: it then stays as it is.
pub(super) fn are_all(args: &Args, plan: &Plan) -> bool {
    let guests = &plan.guests;
    args.remote.is_none()
        && !guests.is_empty()
        && guests.iter().all(|guest| guest.agent.is_some())
        && !plan.host.traces_something()
}

/// Records guests only.
pub(super) fn record(args: &Args, plan: &Plan, has_begun: &dyn Fn()) -> Result<Exit, Error> {
    let signals = Signals::take()?;
    let tasks = Tasks::open(&[])?;
    let virt_dir = VirtDir::locate(args.virt_dir.as_deref().map(Path::new));
    let tsc_to_nsec = extras::factor(args, plan)?;
    let trace_id = super::new_trace_id();
    Workload::check(&args.command)?;
    let connected = guests::connect(&virt_dir, &plan.guests, &args.agents)?;
    let connected = with_something_left(connected, plan)?;
    let workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
    let mut session = Session { local: None, guests: Guests::default(), workload, tasks };
    session.begin(connected, plan, args, trace_id)?;
    has_begun();
    session.run(&signals, args, plan)?;
    let Ended { guests: finished, .. } = session.end(&HostFile { trace_id, tsc_to_nsec });
    if args.json {
        summary::print_json(&args.output_path(), &[], &[], 0, &finished, None)?;
    }
    let Conclusion { exit, has_losses } = guests::conclude(&finished, args.quiet || args.json)?;
    let only_losses = exit == Exit::Success && has_losses && args.fail_on_loss;
    Ok(if only_losses { Exit::Lost } else { exit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named_as_in_the_c_version_and_by_address() {
        for (text, name, address) in [
            ("host", "host", "host"),
            ("host:823", "host", "host:823"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1:823"),
            ("10.0.0.1:99", "10.0.0.1", "10.0.0.1:99"),
            ("[::1]:99", "::1", "[::1]:99"),
            ("[::1]", "::1", "[::1]:823"),
            ("3", "3", "vsock:3:823"),
            ("3:99", "3", "vsock:3:99"),
            ("g1@3", "g1", "vsock:3:823"),
            ("g1@3:99", "g1", "vsock:3:99"),
            ("vsock:3", "3", "vsock:3:823"),
            ("vsock:3:99", "3", "vsock:3:99"),
            ("unix:/run/vm/g1.sock:99", "g1", "unix:/run/vm/g1.sock:99"),
        ] {
            let place = AgentPlace::parse("-A", text).unwrap();
            assert_eq!((place.name.as_str(), place.address.to_string().as_str()), (name, address));
        }
        for bad in ["", "@3", "host:x", "g1@nowhere", "3:99999999999"] {
            assert!(AgentPlace::parse("-A", bad).is_err(), "{bad}");
        }
    }
}
