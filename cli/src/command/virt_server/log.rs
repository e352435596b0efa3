//! What server and client have to say, as lines.

use trace_virt::client::ClientEvent;
use trace_virt::server::ServerEvent;

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
