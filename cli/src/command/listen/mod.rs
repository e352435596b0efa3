//! `trace-cmd listen`: writes what recorders send.

mod account;
mod budget;
mod client;
mod log;
mod ports;
mod server;
mod sink;
mod status;
mod stream;
mod workshop;

use std::fs;
use std::path::{Path, PathBuf};

use caps::Capability;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use trace_transport::{Address, Listener};
use trace_virt::stop::StopSignals;

use self::log::Log;
use self::server::{Limits, Settings};
use crate::command::{peer_rules, peer_timeout};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::files::directory_of;
use crate::pid_file::PidFile;
use crate::sandbox::{self, NewUser, Sandbox};

/// Who can be sent a signal, as the C version has it.
const PID_FILE: &str = "/run/trace-cmd-net.pid";

/// The port of the domain name system.
const DNS: u16 = 53;

/// What names of hosts are found with.
const NAME_SERVICE: &[&str] = &[
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
];

const AFTER_HELP: &str = "\
Each recorder gets a file DIR/BASE.HOST:PORT.dat of its own, complete and readable at every moment.

On vsock, with -V, HOST is the guest's number. Where guests' vsock ends in UNIX sockets of their monitor (Firecracker, \
Cloud Hypervisor, vhost-device-vsock), give the monitor's socket and the port: a guest that records with -V 2:PORT comes to \
the socket PATH_PORT beside it.

Everyone who reaches the port may send, unless --bind, --allow or --key-file say otherwise. Once the port is open, what is \
not needed is given up: root's capabilities but those for large socket buffers, pipes and priority, and, where the kernel has \
landlock, all files but those beneath DIR and what names of hosts are found with; --user gives up root itself, and then buffers \
for datagrams are as large as net.core.rmem_max allows. --verbose tells what a kernel cannot do, --no-sandbox keeps all.

Examples:
  trace-cmd listen -p 12345 -d /var/trace          here
  trace-cmd record -N thishost:12345 -t -e sched   there

  trace-cmd listen --bind unix:PATH:PORT           here
  trace-cmd record -V 2:PORT -e sched              in the guest";

/// The options of `listen`.
pub(crate) fn command() -> Command {
    Command::new("listen")
        .about("Write what recorders on other machines send")
        .after_help(AFTER_HELP)
        .args([
            Arg::new("port")
                .short('p')
                .value_name("PORT")
                .value_parser(value_parser!(u32))
                .required_unless_present("bind")
                .help("Port to listen on; 0 takes a free one"),
            Arg::new("bind")
                .long("bind")
                .value_name("ADDRESS")
                .help("Listen here: ADDRESS, ADDRESS:PORT, vsock:CID:PORT, unix:PATH, unix:PATH:PORT [default: all addresses]"),
            flag("vsock").short('V').help("Listen on vsock"),
            flag("daemon").short('D').help("Go on in the background"),
            Arg::new("directory")
                .short('d')
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Directory of the files [default: this one]"),
            Arg::new("base")
                .short('o')
                .value_name("BASE")
                .default_value("trace")
                .help("How the names of files begin"),
            Arg::new("log")
                .short('l')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Append what is said to a file"),
            flag("verbose").long("verbose").help("Say more"),
            flag("debug").long("debug").hide(true),
            peer_timeout::arg(
                "Complete the file of a recorder whose machine answers nothing for so long [default: 30]",
            ),
            number("max-clients", "NUMBER", "Recorders at the same time"),
            number("max-client-size", "BYTES", "Trace data of one recorder (suffix k, M, G)"),
            number("max-total-size", "BYTES", "Trace data of all recorders (suffix k, M, G)"),
            Arg::new("user")
                .long("user")
                .value_name("USER")
                .help("Become this user once the port is open"),
            sandbox::arg(),
        ])
        .args(peer_rules::args(
            "Let only these send; vsock:CID and uid:USER, too",
            "Let only those send who know this key, and prove to know it, too",
        ))
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).action(ArgAction::SetTrue)
}

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(parse_size).help(help)
}

/// A number of bytes, or of anything.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| "not a number such as 500, 64k or 2G".to_owned())
}

/// Runs `listen`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let address = address(matches)?;
    let directory = directory(matches)?;
    let path = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let log = Log::open(path("log"), matches.get_flag("verbose") || matches.get_flag("debug"))?;
    let key = peer_rules::key(matches)?;
    let base = matches.get_one::<String>("base").cloned().unwrap_or_default();
    if base.is_empty() || base.contains('/') {
        return Err(Error::usage(format!("-o {base}: not the beginning of a name"))
            .hint("choose a directory with -d DIR"));
    }
    let access = peer_rules::access(matches);
    let size = |name: &str| matches.get_one::<u64>(name).copied();
    let peer_timeout = peer_timeout::of(matches).unwrap_or(peer_timeout::DEFAULT);
    let limits = Limits {
        clients: size("max-clients").map(|clients| usize::try_from(clients).unwrap_or(usize::MAX)),
        client_bytes: size("max-client-size"),
        total_bytes: size("max-total-size"),
    };
    let user = matches.get_one::<String>("user").map(|name| NewUser::find(name)).transpose()?;
    let mut bound = Listener::bind(&address);
    if bound.is_err() && !matches.contains_id("bind") && is_any(&address) {
        // There may be no IPv6 on this machine.
        if let Address::Tcp { port, .. } = address {
            let all = Address::Tcp { host: "0.0.0.0".to_owned(), port };
            bound = Listener::bind(&all).or(bound);
        }
    }
    let listener = bound.map_err(|error| {
        Error::failure(format!("cannot listen on {address}"))
            .because(error)
            .hint("choose another port with -p PORT")
    })?;
    let is_open = access.is_open() && key.is_none() && is_any(&address);
    log.say(&format!("Listening on {}", listener.address()));
    if is_open {
        log.say("Everyone may send from everywhere: see --bind, --allow and --key-file");
    }
    let is_daemon = matches.get_flag("daemon");
    let pid_file = if is_daemon { go_on_alone()? } else { None };
    let signals =
        StopSignals::new().map_err(|error| Error::failure("cannot listen").because(error))?;
    if let Some(user) = user {
        user.become_it()?;
    }
    for line in sandbox(listener.address(), &directory, is_daemon).enter(matches) {
        log.verbose(&line);
    }
    let settings = Settings { directory, base, limits, access, key, peer_timeout };
    server::run(&listener, settings, log, &signals)?;
    drop(pid_file);
    Ok(Exit::Success)
}

/// Where to listen.
fn address(matches: &ArgMatches) -> Result<Address, Error> {
    let port = matches.get_one::<u32>("port").copied();
    let bad = |error| Error::usage("cannot listen there").because(error);
    let mut address = match matches.get_one::<String>("bind") {
        Some(text) => match (text.parse::<Address>(), port) {
            (_, Some(port)) if text.parse::<std::net::IpAddr>().is_ok() => {
                Address::Tcp { host: text.clone(), port: tcp_port(port)? }
            }
            (Ok(address), _) => address,
            (Err(_), Some(port)) if !text.contains(':') && !text.contains('/') => {
                Address::Tcp { host: text.clone(), port: tcp_port(port)? }
            }
            (Err(error), _) => return Err(bad(error)),
        },
        None if matches.get_flag("vsock") => {
            format!("vsock:any:{}", port.unwrap_or(0)).parse().map_err(bad)?
        }
        None => Address::Tcp { host: "::".to_owned(), port: tcp_port(port.unwrap_or(0))? },
    };
    if let (Address::Vsock { port: of, .. } | Address::Hybrid { port: of, .. }, Some(port)) =
        (&mut address, port)
    {
        *of = port;
    }
    Ok(address)
}

fn tcp_port(port: u32) -> Result<u16, Error> {
    u16::try_from(port).map_err(|_| Error::usage(format!("-p {port}: ports end at 65535")))
}

fn is_any(address: &Address) -> bool {
    match address {
        Address::Tcp { host, .. } => {
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
        }
        Address::Vsock { .. } => true,
        _ => false,
    }
}

/// The directory of the files, by a path that stays right.
fn directory(matches: &ArgMatches) -> Result<PathBuf, Error> {
    let path = matches.get_one::<PathBuf>("directory").map_or(Path::new("."), PathBuf::as_path);
    fs::canonicalize(path).map_err(|error| {
        Error::failure(format!("cannot write to {}", path.display()))
            .because(error)
            .hint("choose a directory that is there with -d DIR")
    })
}

/// With `-D`: goes on in the background, without a terminal.
fn go_on_alone() -> Result<Option<PidFile>, Error> {
    nix::unistd::daemon(true, false)
        .map_err(|error| Error::failure("cannot go on in the background").because(error))?;
    Ok(PidFile::of_this(Path::new(PID_FILE)))
}

/// What is needed once the port is open: the names of hosts, the files of recorders, their ports.
fn sandbox(address: &Address, directory: &Path, is_daemon: bool) -> Sandbox {
    let mut sandbox = Sandbox::new()
        .capability(Capability::CAP_SYS_NICE)
        // Room in pipes for more recorders than an ordinary user may have.
        .capability(Capability::CAP_SYS_RESOURCE)
        .reading(NAME_SERVICE)
        .directory(directory);
    match address {
        Address::Tcp { .. } => {
            // Data comes to ports of the system's choice; long answers about names come over TCP.
            sandbox = sandbox.listening(0).connecting(DNS);
            if !ports::may_have_large_buffers() {
                sandbox = sandbox.capability(Capability::CAP_NET_ADMIN);
            }
        }
        Address::Unix(path) | Address::Path(path) | Address::Hybrid { path, .. } => {
            // Sockets for data are made beside it.
            sandbox = sandbox.directory(directory_of(path));
        }
        _ => {}
    }
    if is_daemon {
        sandbox = sandbox.removing(directory_of(Path::new(PID_FILE)));
    }
    sandbox
}
