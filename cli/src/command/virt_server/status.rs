//! `virt-server --status`: how the running server's guests are, as a table or as JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use trace_virt::host::{self, ConnectedGuest, ExecAllowed, GuestState, HostError};
use trace_virt::setup::VirtDir;

use crate::error::Error;
use crate::exit_code::Exit;
use crate::json::Json;
use crate::output;
use crate::status_line::size;

/// The question.
pub(super) fn arg() -> Arg {
    Arg::new("status")
        .long("status")
        .action(ArgAction::SetTrue)
        .conflicts_with_all(["dom", "client", "daemon", "group"])
        .help("Print which guests the running server has, and who records them")
}

/// A guest that is set up, connected, or both.
type Guests = BTreeMap<String, Option<ConnectedGuest>>;

/// Asks the server and prints what it says.
pub(super) fn run(dir: &VirtDir, matches: &ArgMatches) -> Result<Exit, Error> {
    let connected = host::status(dir).map_err(failed)?;
    let set_up = dir.guests().unwrap_or_default();
    let mut guests: Guests = set_up.iter().map(|name| (name.to_string(), None)).collect();
    guests.extend(connected.into_iter().map(|guest| (guest.name.clone(), Some(guest))));
    let mut out = output::stdout();
    if matches.get_flag("json") {
        writeln!(out, "{}", json(&guests))?;
    } else {
        out.write_all(table(&guests).as_bytes())?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

fn failed(error: HostError) -> Error {
    match error {
        HostError::ServerNotRunning { path, .. } => {
            Error::new(Exit::Guest, format!("no virt-server answers on {}", path.display()))
                .hint("start it: trace-cmd virt-server")
        }
        error => Error::new(Exit::Guest, "the virt-server does not tell").because(error),
    }
}

fn state(guest: Option<&ConnectedGuest>) -> &'static str {
    match guest.map(|guest| guest.state) {
        None => "not connected",
        Some(GuestState::Connected) => "no client",
        Some(GuestState::Ready) => "ready",
        Some(_) => "recording",
    }
}

fn exec(rule: ExecAllowed) -> &'static str {
    match rule {
        ExecAllowed::Nothing => "none",
        ExecAllowed::Some => "some",
        _ => "any",
    }
}

const TITLES: [&str; 12] = [
    "GUEST", "STATE", "QEMU", "THREADS", "CPUS", "CLIENT", "EXEC", "RECORDER", "FOR", "DATA",
    "RATE", "LOST",
];

fn table(guests: &Guests) -> String {
    if guests.is_empty() {
        return "no guests; set one up with 'trace-cmd virt-server --dom NAME -c CPUS'\n"
            .to_owned();
    }
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(guests.iter().map(|(name, guest)| row(name, guest.as_ref())));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..TITLES.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(name: &str, guest: Option<&ConnectedGuest>) -> [String; 12] {
    let mut cells = TITLES.map(|_| "-".to_owned());
    let mut put = |title: &str, text: String| {
        let place = TITLES.iter().position(|one| *one == title);
        if let Some(cell) = place.and_then(|place| cells.get_mut(place)) {
            *cell = text;
        }
    };
    put("GUEST", name.to_owned());
    put("STATE", state(guest).to_owned());
    let Some(guest) = guest else { return cells };
    put("QEMU", guest.qemu.to_string());
    if !guest.vcpus.is_empty() {
        let threads = guest.vcpus.iter().map(|(cpu, thread)| format!("{cpu}:{thread}"));
        put("THREADS", threads.collect::<Vec<_>>().join(","));
    }
    if let Some(client) = &guest.client {
        put("CPUS", client.cpus.to_string());
        put("CLIENT", client.version.clone());
        put("EXEC", exec(client.exec).to_owned());
    }
    if let Some(session) = &guest.session {
        put("RECORDER", session.pid.to_string());
        put("FOR", format!("{} s", session.age.as_secs()));
        put("DATA", size(session.bytes as f64));
        put("RATE", format!("{}/s", size(session.rate as f64)));
        put("LOST", size(session.lost as f64));
    }
    cells
}

fn json(guests: &Guests) -> Json {
    let guests = guests.iter().map(|(name, guest)| json_of(name, guest.as_ref()));
    Json::object([("guests", guests.collect::<Json>())])
}

fn json_of(name: &str, guest: Option<&ConnectedGuest>) -> Json {
    let number = |pid: i32| Json::Number(u64::try_from(pid).unwrap_or(0));
    let ms = |time: Duration| Json::Number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let mut members = vec![("name", Json::from(name)), ("state", Json::from(state(guest)))];
    let Some(guest) = guest else { return Json::object(members) };
    members.push(("qemu_pid", number(guest.qemu)));
    members.push(("connected_ms", ms(guest.connected)));
    let vcpus = guest.vcpus.iter().map(|(cpu, thread)| {
        Json::object([("cpu", Json::Number(cpu.into())), ("thread", number(thread))])
    });
    members.push(("vcpus", vcpus.collect()));
    members.push((
        "client",
        guest.client.as_ref().map_or(Json::Null, |client| {
            Json::object([
                ("version", Json::from(client.version.as_str())),
                ("cpus", Json::Number(client.cpus.into())),
                ("exec", Json::from(exec(client.exec))),
                ("clocks", client.clocks.iter().map(String::as_str).collect()),
            ])
        }),
    ));
    members.push((
        "session",
        guest.session.as_ref().map_or(Json::Null, |session| {
            Json::object([
                ("pid", number(session.pid)),
                ("ms", ms(session.age)),
                ("control_bytes", Json::Number(session.relayed)),
                ("bytes", Json::Number(session.bytes)),
                ("bytes_per_second", Json::Number(session.rate)),
                ("lost_bytes", Json::Number(session.lost)),
                ("clock_error", session.clock_error.into()),
            ])
        }),
    ));
    Json::object(members)
}
