//! Guests that are reached through their agents: where they are, and recordings of nothing else.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use trace_transport::session::agent::PORT;
use trace_transport::{Address, Key};
use trace_virt::host::{AgentGuest, AgentTarget};
use trace_virt::setup::VirtDir;

use super::args::{AgentArgs, Args};
use super::guests::{self, RunningGuest, guest_error, joined};
use super::plan::{GuestPlan, Plan, guest_output};
use super::summary;
use super::wait::{Event, Signals, Tasks};
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

/// How often guests are asked for news; signals come at once.
const TICK: Duration = Duration::from_millis(20);

/// What `-A` names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AgentPlace {
    /// What the guest is called in files.
    pub(crate) name: String,
    pub(crate) address: Address,
}

impl AgentPlace {
    /// Reads `HOST[:PORT]`, `CID[:PORT]`, `NAME@CID[:PORT]`, or an address.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad =
            |error| Error::usage(format!("-A {text}: this is no place of an agent")).because(error);
        if let Some(path) = text.strip_prefix("unix:") {
            let address = text.parse().map_err(bad)?;
            let path = path.rsplit_once(':').map_or(path, |(path, _)| path);
            let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
            return Ok(Self { name: name.into_owned(), address });
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
            return Err(Error::usage(format!("-A {text}: it names no guest"))
                .hint("name it as HOST, CID or NAME@CID"));
        }
        Ok(Self { name, address: address.parse().map_err(bad)? })
    }
}

/// Reaches the agent of a guest.
pub(super) fn connect(
    dir: &VirtDir,
    name: &str,
    address: &Address,
    args: &AgentArgs,
) -> Result<AgentGuest, Error> {
    let key = match &args.key_file {
        Some(path) => Some(Arc::new(
            Key::read(path)
                .map_err(|error| Error::failure("this key cannot be used").because(error))?,
        )),
        None => None,
    };
    let target = AgentTarget {
        guest: name.to_owned(),
        address: address.clone(),
        key,
        fifos: (!args.no_fifos).then(|| dir.clone()),
        interval: args.interval,
    };
    AgentGuest::connect(target).map_err(guest_error)
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
    let trace_id = super::new_trace_id();
    Workload::check(&args.command)?;
    let mut connected = Vec::new();
    for guest in &plan.guests {
        connected.push(guests::connect(&virt_dir, guest, &args.agents)?);
    }
    let mut workload = Workload::hold(&args.command, args.setup.user.as_deref())?;
    let output = args.output_path();
    let started: Vec<Result<RunningGuest, Error>> = thread::scope(|scope| {
        let start = |(guest, plan): (guests::Reached, &GuestPlan)| {
            let path = guest_output(&output, plan.title());
            RunningGuest::start(guest, plan, &path, &args.temp_path(&path), trace_id)
        };
        let starting = connected.into_iter().zip(&plan.guests);
        let threads: Vec<_> = starting.map(|one| scope.spawn(move || start(one))).collect();
        threads.into_iter().map(joined).collect()
    });
    let mut running = started.into_iter().collect::<Result<Vec<_>, _>>()?;
    has_begun();
    running.iter_mut().for_each(RunningGuest::exec);
    if let Some(workload) = &mut workload {
        workload.release()?;
    }
    let ends_with_guests = workload.is_none() && running.iter().any(RunningGuest::has_command);
    if workload.is_none() && !ends_with_guests && !args.quiet && !args.json {
        summary::how_to_stop();
    }
    let mut ended = false;
    while !ended {
        ended = signals.wait(&tasks, Some(TICK))? == Event::Interrupted;
        running.iter_mut().for_each(RunningGuest::take_news);
        ended |= workload.as_mut().is_some_and(Workload::has_ended);
        ended |= ends_with_guests && !running.iter().any(RunningGuest::is_running);
    }
    let finished: Vec<_> = thread::scope(|scope| {
        let finish = |guest: RunningGuest| scope.spawn(move || guest.finish(trace_id));
        let threads: Vec<_> = running.into_iter().map(finish).collect();
        threads.into_iter().map(joined).collect()
    });
    conclude(args, &finished)
}

/// Says what became of each guest.
fn conclude(args: &Args, finished: &[Result<guests::FinishedGuest, Error>]) -> Result<Exit, Error> {
    let mut exit = Exit::Success;
    for guest in finished {
        match guest {
            Ok(guest) if guest.missing_bytes > 0 && args.fail_on_loss => exit = Exit::Lost,
            Ok(_) => {}
            Err(error) => tell(&error.to_string()),
        }
    }
    if finished.iter().any(Result::is_err) {
        exit = Exit::Guest;
    }
    if args.json {
        summary::print_json(&args.output_path(), &[], &[], 0, finished, None)?;
    }
    for guest in finished.iter().flatten() {
        summary::of_guest(guest, args.quiet || args.json)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_named_as_in_the_c_version_and_by_address() {
        for (text, name, address) in [
            ("host", "host", "host:823"),
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
            let place = AgentPlace::parse(text).unwrap();
            assert_eq!((place.name.as_str(), place.address.to_string().as_str()), (name, address));
        }
        for bad in ["", "@3", "host:x", "g1@nowhere", "3:99999999999"] {
            assert!(AgentPlace::parse(bad).is_err(), "{bad}");
        }
    }
}
