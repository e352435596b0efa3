//! What server and client have to say, as lines: on standard error, or in a file.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use clap::ArgMatches;
use trace_virt::client::ClientEvent;
use trace_virt::server::ServerEvent;

use crate::error::Error;
use crate::files::open_log;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Log(Option<File>);

impl Log {
    /// The file of `--log`, behind what is there; without one, standard error.
    pub(super) fn open(matches: &ArgMatches) -> Result<Self, Error> {
        let open = |path: &PathBuf| {
            open_log(path).map_err(|error| {
                Error::failure(format!("cannot write {}", path.display()))
                    .because(error)
                    .hint("choose another log with -l FILE")
            })
        };
        matches.get_one::<PathBuf>("log").map(open).transpose().map(Self)
    }

    /// A line; where nobody reads them any more, serving goes on. One write keeps lines whole.
    pub(super) fn say(&self, line: &str) {
        let text = format!("virt-server: {line}\n");
        let _ = match &self.0 {
            Some(file) => { file }.write_all(text.as_bytes()),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}

/// A line about what the server saw.
pub(super) fn of_server(event: ServerEvent<'_>) -> String {
    match event {
        ServerEvent::Connected { guest, pid } => format!("guest {guest}: QEMU {pid} is connected"),
        ServerEvent::Rejected { pid, reason } => format!("process {pid} was sent away: {reason}"),
        ServerEvent::ClientReady { guest } => format!("guest {guest}: its client answers"),
        ServerEvent::Disconnected { guest } => format!("guest {guest}: QEMU went away"),
        ServerEvent::SessionStarted { guest, pid } => {
            format!("guest {guest}: process {pid} records it")
        }
        ServerEvent::SessionEnded { guest, reason } => {
            format!("guest {guest}: recording ended: {reason}")
        }
        ServerEvent::Wished { guest, refused: None } => {
            format!("guest {guest}: it starts a recording by itself")
        }
        ServerEvent::Wished { guest, refused: Some(reason) } => {
            format!("guest {guest}: it wants to be recorded, and is not: {reason}")
        }
        other => format!("{other:?}"),
    }
}

/// A line about what the client did.
pub(super) fn of_client(event: ClientEvent) -> String {
    match event {
        ClientEvent::Waiting => "waiting for the host".to_owned(),
        ClientEvent::Connected => "the host answers".to_owned(),
        ClientEvent::Started { args } => format!("recording for the host: {}", args.join(" ")),
        ClientEvent::Refused { reason } => format!("refused: {reason}"),
        ClientEvent::Executing { command } => {
            format!("running for the host: {}", command.join(" "))
        }
        ClientEvent::Stopped => "the recording is over".to_owned(),
        ClientEvent::Aborted => "the host went away; the recording was aborted".to_owned(),
        other => format!("{other:?}"),
    }
}
