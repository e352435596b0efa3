//! The server, and through it the guest's client.

use super::Fault;
use crate::host::{self, Guest, GuestInfo, HostError};
use crate::setup::{GuestName, VirtDir};
use crate::time_sync::Clock;

/// How far one gets through the server.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) running: bool,
    pub(super) connected: bool,
    pub(super) client: Option<GuestInfo>,
}

pub(super) fn examine(dir: &VirtDir, guest: &GuestName, faults: &mut Vec<Fault>) -> Outcome {
    let listed = match host::list(dir) {
        Ok(guests) => guests.iter().any(|status| status.name == guest.as_str()),
        Err(HostError::ServerNotRunning { path, .. }) => {
            let left = [dir.agent_socket(), path].into_iter().find(|path| path.exists());
            faults.push(match left {
                Some(path) => Fault::StaleSocket { path },
                None => Fault::ServerNotRunning { path: dir.path().to_owned() },
            });
            return Outcome::default();
        }
        Err(error) => {
            faults.push(Fault::Server { why: chain(&error) });
            return Outcome::default();
        }
    };
    let mut outcome = Outcome { running: true, connected: listed, client: None };
    let name = guest.to_string();
    // A server that was just started gives guests a moment to come back.
    match Guest::connect(dir, guest) {
        Ok(guest) => {
            outcome.connected = true;
            outcome.client = Some(guest.info().clone());
        }
        Err(HostError::NoClient { .. }) => {
            outcome.connected = true;
            faults.push(Fault::NoClient { guest: name });
        }
        Err(HostError::Busy { .. }) => {
            outcome.connected = true;
            faults.push(Fault::Busy { guest: name });
        }
        Err(HostError::NoFifo { cpus, fifos, .. }) if fifos > 0 => {
            outcome.connected = true;
            faults.push(Fault::FewerFifos { guest: name, fifos, vcpus: cpus });
        }
        // The first two were found in the directory, the third is told with the VM.
        Err(
            HostError::NoDirectory { .. }
            | HostError::NoFifo { .. }
            | HostError::Setup { .. }
            | HostError::NotConnected { .. },
        ) => {}
        Err(error) => faults.push(Fault::Server { why: chain(&error) }),
    }
    outcome
}

/// What the client says of its guest.
pub(super) fn examine_client(
    info: &GuestInfo,
    version: &str,
    vcpus: Option<u32>,
    guest: &GuestName,
    faults: &mut Vec<Fault>,
) {
    let (found, wanted) = (info.version.clone(), version.to_owned());
    match (numbers(&info.version), numbers(version)) {
        (Some(theirs), Some(ours)) if theirs < ours => {
            faults.push(Fault::ClientTooOld { found, wanted });
        }
        (Some(_), Some(_)) => {}
        _ => faults.push(Fault::ClientUnknown { found, wanted }),
    }
    if let Some(vcpus) = vcpus.filter(|&vcpus| info.cpus < vcpus) {
        faults.push(Fault::FewerPorts { guest: guest.to_string(), ports: info.cpus, vcpus });
    }
    let theirs = |clock: Clock| info.clocks.iter().any(|name| name == clock.name());
    if !Clock::available().any(theirs) {
        faults.push(Fault::NoClock { clocks: info.clocks.clone() });
    } else if Clock::X86Tsc.now().is_some() && !theirs(Clock::X86Tsc) {
        faults.push(Fault::NoTsc);
    }
    if !info.allows_exec {
        faults.push(Fault::NoExec);
    }
}

/// The three numbers of `trace-cmd 1.2.3`.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let (program, rest) = version.split_once(' ')?;
    let mut numbers = rest.split(['.', '-', '+', ' ']).map(|word| word.parse().ok());
    let mut next = || numbers.next().flatten();
    (program == "trace-cmd").then_some(())?;
    Some([next()?, next()?, next()?])
}

fn chain(error: &HostError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut GuestInfo), vcpus: Option<u32>) -> Vec<&'static str> {
        let mut info = GuestInfo {
            cpus: 2,
            page_size: 4096,
            version: "trace-cmd 0.2.0".into(),
            allows_exec: true,
            clocks: Clock::available().map(|clock| clock.name().to_owned()).collect(),
        };
        change(&mut info);
        let mut faults = Vec::new();
        let guest = GuestName::new("g").unwrap();
        examine_client(&info, "trace-cmd 0.2.0", vcpus, &guest, &mut faults);
        faults.iter().map(Fault::id).collect()
    }

    #[test]
    fn clients_are_measured_by_what_they_say() {
        assert!(found(|_| {}, Some(2)).is_empty());
        assert_eq!(found(|info| info.version = "trace-cmd 0.1.9".into(), None), ["client-too-old"]);
        assert!(found(|info| info.version = "trace-cmd 0.10.0-rc1".into(), None).is_empty());
        assert_eq!(found(|info| info.version = "agent".into(), None), ["client-unknown"]);
        assert_eq!(found(|_| {}, Some(3)), ["fewer-ports"]);
        assert_eq!(found(|info| info.clocks.clear(), None), ["no-clock"]);
        assert_eq!(found(|info| info.clocks = vec!["local".into()], None), ["no-clock"]);
        assert_eq!(found(|info| info.allows_exec = false, None), ["no-exec"]);
        if Clock::X86Tsc.now().is_some() {
            assert_eq!(found(|info| info.clocks = vec!["mono".into()], None), ["no-tsc"]);
        }
    }
}
