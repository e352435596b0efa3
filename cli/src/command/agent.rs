//! `trace-cmd agent`: records this machine for hosts that connect to it.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use trace_transport::session::agent::PORT;
use trace_transport::{Address, Listener, Rule};
use trace_virt::agent::{AgentNews, AgentOptions, MarkClock, ProxyOptions, RecordFor, serve};
use trace_virt::client::ClientEvent;
use trace_virt::host::SyncInterval;
use trace_virt::stop::StopSignals;
use trace_virt::time_sync::ClockSample;
use tracedat::Abi;
use tracedat::write::{ahead, option};

use super::guest_rules::{self, GuestRules};
use super::peer_rules;
use super::record::args::Args;
use super::record::guest_side::Recorder;
use super::record::guests::clock;
use super::record::marker_clock::mark_clock;
use super::record::plan;
use crate::error::Error;
use crate::exit_code::Exit;

const AFTER_HELP: &str = "\
Run this in a guest, and on its host 'record -A'. Who may connect may have anything recorded: over TCP, let --key-file or \
a firewall say who. A recording beside others has an instance of its own; what is of the whole kernel, as -g, it cannot have.

Examples:
  trace-cmd agent                          in the guest, on vsock port 823
  trace-cmd record -A guest1@3 -e sched    on the host; 3 is the guest's vsock CID

  trace-cmd agent -N 192.0.2.1 --key-file FILE      over TCP, for that host, if it has the key
  trace-cmd record -A guest1 --key-file FILE -e sched

  trace-cmd agent -P 3                          on the host, for its guest with CID 3
  trace-cmd record -e irq --proxy 2 -e kvm      in that guest: it and its host, on one clock";

/// A thread, a ring buffer and a port for each CPU is what each takes.
const MAX_SESSIONS: i64 = 64;

/// The options of `agent`.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).action(ArgAction::SetTrue);
    Command::new("agent")
        .about("Record this machine for a host that asks for it")
        .after_help(AFTER_HELP)
        .args([
            Arg::new("port")
                .short('p')
                .value_name("PORT")
                .value_parser(value_parser!(u32))
                .help("Port to listen on [default: 823]"),
            Arg::new("network")
                .short('N')
                .value_name("ADDRESS")
                .help("Listen on TCP rather than on vsock, for the host with this address or name"),
            Arg::new("bind")
                .long("bind")
                .value_name("ADDRESS")
                .help("Listen here: ADDRESS, ADDRESS:PORT, vsock:CID:PORT [default: vsock:any]"),
            Arg::new("proxy")
                .short('P')
                .value_name("CID")
                .value_parser(value_parser!(u32))
                .help("On a host: record it for its guest with this CID, which asks by 'record --proxy', and for nobody else"),
            flag("daemon").short('D').help("Go on in the background"),
            flag("nofifos").long("nofifos").help("Never send data through virtio-serial ports"),
            flag("notimeout").long("notimeout").help("Wait for hosts for ever"),
            Arg::new("verbose")
                .long("verbose")
                .value_name("LEVEL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("info")
                .help("Say more"),
            flag("debug").long("debug").hide(true),
            Arg::new("max-sessions")
                .long("max-sessions")
                .value_name("NUMBER")
                .value_parser(value_parser!(u32).range(1..=MAX_SESSIONS))
                .default_value("4")
                .help("Recordings at the same time, each of what the rules allow; 1 is as the C version has it"),
        ])
        .args(peer_rules::args(
            "Let only these connect; vsock:CID, too",
            "Let only those connect who know this key, and prove to know it, too",
        ))
        .args(guest_rules::args())
}

/// Runs `agent`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let address = address(matches)?;
    let options = options(matches, &address)?;
    let listener = Listener::bind(&address).map_err(|error| {
        Error::failure(format!("cannot listen on {address}"))
            .because(error)
            .hint("choose another port with -p PORT, or TCP with -N ADDRESS")
    })?;
    say(&format!("listening on {}", listener.address()));
    if matches!(address, Address::Tcp { .. }) && options.key.is_none() {
        say(
            "without --key-file, whoever has an address that is allowed may have anything recorded",
        );
    }
    if matches.get_flag("daemon") {
        nix::unistd::daemon(true, false)
            .map_err(|error| Error::failure("cannot go on in the background").because(error))?;
    }
    let stop = StopSignals::new()
        .map_err(|error| Error::failure("cannot take over signals").because(error))?;
    let is_verbose = matches.contains_id("verbose") || matches.get_flag("debug");
    let log = Arc::new(move |news: AgentNews| {
        if let Some(line) = line(&news, is_verbose) {
            say(&line);
        }
    });
    let log: trace_virt::agent::Log = log;
    serve(&listener, &options, stop.as_fd(), &log)
        .map_err(|error| Error::failure("the agent cannot serve").because(error))?;
    Ok(Exit::Success)
}

/// Where to listen.
fn address(matches: &ArgMatches) -> Result<Address, Error> {
    let port = matches.get_one::<u32>("port").copied();
    let tcp = |host: &str| -> Result<Address, Error> {
        let port = u16::try_from(port.unwrap_or(PORT))
            .map_err(|_| Error::usage("-p: TCP ports end at 65535"))?;
        Ok(Address::Tcp { host: host.to_owned(), port })
    };
    if let Some(text) = matches.get_one::<String>("bind") {
        let address = match text.parse::<Address>() {
            _ if text.parse::<std::net::IpAddr>().is_ok() => return tcp(text),
            Ok(address) => address,
            Err(_) if !text.contains([':', '/']) => return tcp(text),
            Err(error) => return Err(Error::usage("cannot listen there").because(error)),
        };
        let is_proxy = matches.contains_id("proxy");
        return match address {
            Address::Tcp { .. } | Address::Vsock { .. } => Ok(address),
            // Where a guest's connections to its host arrive.
            Address::Hybrid { .. } if is_proxy => Ok(address),
            _ => Err(Error::usage(format!("--bind {text}: agents listen on TCP or vsock"))
                .hint("a host reaches vsock by way of unix:PATH:PORT, too")),
        };
    }
    if matches.contains_id("network") {
        // As the C version: of whom it takes connections says nothing about where.
        return tcp("0.0.0.0");
    }
    Ok(Address::Vsock { cid: trace_transport::vsock::CID_ANY, port: port.unwrap_or(PORT) })
}

fn options(matches: &ArgMatches, address: &Address) -> Result<AgentOptions, Error> {
    let mut access = peer_rules::access(matches);
    if let Some(host) = matches.get_one::<String>("network") {
        for rule in addresses_of(host)? {
            access.allow(rule);
        }
    }
    let proxy = matches.get_one::<u32>("proxy").copied();
    if let (Some(cid), Address::Vsock { .. }) = (proxy, address) {
        access.allow(Rule::Cid(cid));
    }
    let key = peer_rules::key(matches)?;
    let GuestRules { exec, exec_user, policy } = GuestRules::from_matches(matches)?;
    let sessions = matches.get_one::<u32>("max-sessions").copied().unwrap_or(1);
    let waits = matches.get_flag("notimeout") || matches.get_flag("debug");
    Ok(AgentOptions {
        // Hosts of the C version take no data of several instances.
        recorder: Arc::new(move |RecordFor { instance, guest }| {
            Box::new(Recorder { policy: policy.clone(), has_frames: false, instance, guest })
        }),
        clock: Arc::new(|args| clock_of(args).map_err(|error| error.to_string())),
        exec,
        exec_user,
        access,
        key,
        patience: (!waits).then_some(Duration::from_secs(60)),
        fifos: !matches.get_flag("nofifos"),
        proxy: proxy
            .map(|_| ProxyOptions { options: Arc::new(options_for_guest), interval: interval_of }),
        max_sessions: usize::try_from(sessions).unwrap_or(usize::MAX),
    })
}

/// How often a guest wants its clocks compared.
fn interval_of(args: &[String]) -> SyncInterval {
    Args::parse(args).map(|args| args.agents.interval).unwrap_or_default()
}

/// What a guest's own file gets: how its clocks are made that of this machine, whose trace has this id.
fn options_for_guest(samples: &[Vec<ClockSample>], trace_id: u64) -> Vec<u8> {
    let order = Abi::NATIVE.byte_order;
    let shift = clock::of_vcpus(samples, trace_id);
    let options: Vec<_> = shift.iter().map(|shift| option::time_shift(shift, order)).collect();
    // A list that is too long for its size would be of more samples than are kept.
    ahead::packed_options(&options, order).unwrap_or_default()
}

/// All addresses of a host by name or number.
fn addresses_of(host: &str) -> Result<Vec<Rule>, Error> {
    use std::net::ToSocketAddrs;
    let unknown = || Error::usage(format!("-N {host}: there is no such host"));
    let found = (host, 0).to_socket_addrs().map_err(|error| unknown().because(error))?;
    let rules = found.map(|address| address.ip().to_string().parse::<Rule>());
    rules.collect::<Result<_, _>>().map_err(|error| unknown().because(error))
}

/// What stamps are made with for a recording with these arguments.
fn clock_of(args: &[String]) -> Result<Box<dyn MarkClock>, Error> {
    let args = Args::parse(args).map_err(Error::usage)?;
    let plan = plan::of_guest(&args)?;
    mark_clock(plan.top.clock.as_deref().unwrap_or("local"))
}

/// A line about what happened, if it is worth one.
fn line(news: &AgentNews, is_verbose: bool) -> Option<String> {
    Some(match news {
        AgentNews::SentAway { peer, reason } => format!("{peer} was sent away: {reason}"),
        AgentNews::Connected { peer } if is_verbose => format!("connected with {peer}"),
        AgentNews::Connected { .. } => return None,
        AgentNews::Broken { peer, reason } => format!("{peer}: {reason}"),
        AgentNews::ThroughPorts { peer } if is_verbose => {
            format!("{peer}: data goes through virtio-serial ports")
        }
        AgentNews::InInstance { peer, instance } => {
            format!("{peer}: beside another recording, in instance {instance}")
        }
        AgentNews::NoClock { peer, reason } => format!("{peer}: no clocks are compared: {reason}"),
        AgentNews::Session { peer, event } => match event {
            ClientEvent::Started { args } => format!("{peer}: recording: {}", args.join(" ")),
            ClientEvent::Refused { reason } => format!("{peer}: refused: {reason}"),
            ClientEvent::Executing { command } => format!("{peer}: running: {}", command.join(" ")),
            ClientEvent::Stopped => format!("{peer}: the recording is over"),
            ClientEvent::Aborted => format!("{peer}: went away; the recording was aborted"),
            _ => return None,
        },
        _ => return None,
    })
}

/// A log line; where nobody reads them any more, serving goes on.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "agent: {line}");
}
