//! `virt-server` on the host: serves all guests.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use trace_virt::server::{Server, ServerEvent, ServerOptions};
use trace_virt::setup::VirtDir;

use super::accept::{self, Acceptor};
use super::log::{self, Log};
use super::stop_signals;
use crate::error::Error;
use crate::exit_code::Exit;

/// Who can be sent a signal.
const PID_FILE: &str = "/run/trace-cmd-virt-server.pid";

/// Options of the process that serves.
pub(super) fn args() -> [Arg; 4] {
    [
        Arg::new("manager-group")
            .long("manager-group")
            .value_name("GROUP")
            .conflicts_with_all(["dom", "client"])
            .help("Group whose members may record guests [default: the server's user alone]"),
        Arg::new("daemon")
            .short('D')
            .long("daemon")
            .action(ArgAction::SetTrue)
            .conflicts_with("dom")
            .help("Go on in the background once guests can connect"),
        Arg::new("pid-file")
            .long("pid-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("daemon")
            .help("Where -D writes its pid [default: /run/trace-cmd-virt-server.pid]"),
        Arg::new("log")
            .short('l')
            .long("log")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("dom")
            .help("Append what is said to a file"),
    ]
}

/// Serves until told to stop.
pub(super) fn run(dir: &VirtDir, matches: &ArgMatches) -> Result<Exit, Error> {
    let stop = stop_signals()?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let log = Log::open(matches)?;
    let shelf = accept::shelf(matches)?;
    let options = ServerOptions { group: text("group"), manager_group: text("manager-group") };
    let failed = |error| Error::failure("virt-server cannot serve").because(error);
    let server = Server::bind(dir, &options).map_err(failed)?;
    log.say(&format!("serving guests on {}", dir.agent_socket().display()));
    let pid_file = go_on_alone(matches)?;
    let mut tell = |event: ServerEvent<'_>| log.say(&log::of_server(event));
    let served = match &shelf {
        None => server.run(stop.as_fd(), &mut tell),
        Some(shelf) => {
            log.say(&format!("guests may record into {}", shelf.directory.display()));
            let acceptor = Acceptor::new(dir, shelf, &log);
            // Recordings end with the server, which has their connections.
            thread::scope(|scope| {
                let mut accept = |guest: &_, wish| acceptor.accept(scope, guest, wish);
                server.run_accepting(stop.as_fd(), &mut tell, &mut accept)
            })
        }
    };
    drop(pid_file);
    served.map_err(failed)?;
    Ok(Exit::Success)
}

/// With `-D`: goes on in the background, without a terminal.
fn go_on_alone(matches: &ArgMatches) -> Result<Option<PidFile>, Error> {
    if !matches.get_flag("daemon") {
        return Ok(None);
    }
    nix::unistd::daemon(true, false)
        .map_err(|error| Error::failure("cannot go on in the background").because(error))?;
    let path = matches.get_one::<PathBuf>("pid-file");
    Ok(Some(PidFile::write(path.map_or(Path::new(PID_FILE), PathBuf::as_path))))
}

/// Tells which process serves, as long as it does.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Self {
        // Without the file it can be stopped all the same.
        let _ = fs::write(path, format!("{}\n", std::process::id()));
        Self(path.to_owned())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = format!("{}\n", std::process::id());
        if fs::read_to_string(&self.0).is_ok_and(|text| text == ours) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
