//! `virt-server` on the host: serves all guests.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use caps::Capability;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use trace_virt::server::{Server, ServerEvent, ServerOptions};
use trace_virt::setup::VirtDir;

use super::accept::{self, Acceptor};
use super::log::{self, Log};
use super::stop_signals;
use crate::command::record::guests::wished::Shelf;
use crate::error::Error;
use crate::exit_code::Exit;
use crate::files::directory_of;
use crate::pid_file::PidFile;
use crate::sandbox::{self, NewUser, Sandbox};

/// Who can be sent a signal.
const PID_FILE: &str = "/run/trace-cmd-virt-server.pid";

/// Options of the process that serves.
pub(super) fn args() -> [Arg; 6] {
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
        Arg::new("user")
            .long("user")
            .value_name("USER")
            .conflicts_with_all(["dom", "client", "status", "doctor"])
            .help("Become this user once guests can connect"),
        sandbox::arg().conflicts_with_all(["dom", "client", "status", "doctor"]),
    ]
}

/// Serves until told to stop.
pub(super) fn run(dir: &VirtDir, matches: &ArgMatches) -> Result<Exit, Error> {
    let stop = stop_signals()?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let log = Log::open(matches)?;
    let shelf = accept::shelf(matches)?;
    let user = matches.get_one::<String>("user").map(|name| NewUser::find(name)).transpose()?;
    let options = ServerOptions { group: text("group"), manager_group: text("manager-group") };
    let failed = |error| Error::failure("virt-server cannot serve").because(error);
    let server = Server::bind(dir, &options).map_err(failed)?;
    log.say(&format!("serving guests on {}", dir.agent_socket().display()));
    let pid_file = go_on_alone(matches)?;
    if let Some(user) = user {
        user.become_it()?;
    }
    for line in sandbox(dir, shelf.as_ref(), matches).enter(matches) {
        log.say(&line);
    }
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
    Ok(PidFile::of_this(pid_path(matches)))
}

fn pid_path(matches: &ArgMatches) -> &Path {
    matches.get_one::<PathBuf>("pid-file").map_or(Path::new(PID_FILE), PathBuf::as_path)
}

/// What is needed once the sockets are there: to look at whose QEMU connects, and to write down what guests
/// record by themselves.
fn sandbox(dir: &VirtDir, shelf: Option<&Shelf>, matches: &ArgMatches) -> Sandbox {
    // Its sockets are removed at the end.
    let mut sandbox = Sandbox::new()
        .looking_at_processes()
        .reading(&["/proc", "/run/libvirt/qemu"])
        .directory(dir.path());
    if let Some(shelf) = shelf {
        // Room in pipes for more guests than an ordinary user may have; clocks of KVM.
        sandbox = sandbox
            .capability(Capability::CAP_SYS_RESOURCE)
            .reading(&["/dev/urandom", "/sys"])
            .writing("/dev/null")
            .directory(&shelf.directory);
    }
    if matches.get_flag("daemon") {
        sandbox = sandbox.removing(directory_of(pid_path(matches)));
    }
    sandbox
}
