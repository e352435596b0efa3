//! The words of `record`: what is traced, in the order it was typed, and how it is recorded.

use std::path::PathBuf;
use std::time::Duration;

use trace_transport::Address;
use trace_virt::host::SyncInterval;

use clap::{Arg, ArgMatches, Command, value_parser};
use tracefs::Way;

use crate::command::peer_timeout;
use crate::command::report::signed;
use crate::command::tracing_plan::setup_args::{
    PassedOver, SetupArgs, command_arg, command_of, flag, keep_after_arg, keep_arg, profile_args,
    setup_args, switch,
};
use crate::command::tracing_plan::{Before, Word, options};
use crate::error::Error;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// Options that bind to what is before them.
    pub(crate) words: Vec<Word>,
    pub(crate) output: Option<String>,
    pub(crate) file_version: u8,
    pub(crate) compression: Option<String>,
    /// `-m`: KiB to keep of each CPU.
    pub(crate) max_kb: Option<u64>,
    pub(crate) all_formats: bool,
    pub(crate) setup: SetupArgs,
    /// `-k`, which `-K` implies.
    pub(crate) keep_after: bool,
    pub(crate) date: bool,
    pub(crate) ts_offset: Option<i64>,
    pub(crate) tsc_to_nsec: bool,
    pub(crate) recorder: RecorderArgs,
    pub(crate) no_filter: bool,
    pub(crate) proc_map: bool,
    pub(crate) quiet: bool,
    pub(crate) json: bool,
    pub(crate) fail_on_loss: bool,
    pub(crate) daemonize: bool,
    /// This is the process in the background.
    pub(crate) daemonized: bool,
    pub(crate) virt_dir: Option<String>,
    /// The host writes the file.
    pub(crate) virt: bool,
    pub(crate) agents: AgentArgs,
    /// The data goes to a listener.
    pub(crate) remote: Option<RemoteArgs>,
    pub(crate) command: Vec<String>,
}

/// Who listens, and how the data gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteArgs {
    pub(crate) address: Address,
    /// `-t`: over connections rather than in datagrams.
    pub(crate) tcp: bool,
    pub(crate) key_file: Option<PathBuf>,
    /// How long the listener may answer nothing, or take nothing.
    pub(crate) peer_timeout: Duration,
}

/// How agents of guests are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentArgs {
    /// `--tsync-interval`
    pub(crate) interval: SyncInterval,
    pub(crate) no_fifos: bool,
    pub(crate) key_file: Option<PathBuf>,
    /// One of these options that was given. Hosts of the C version send them to their guests, which have no use for them.
    pub(crate) named: Option<&'static str>,
}

/// How sub-buffers are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecorderArgs {
    /// `-s`; zero wakes at every event.
    pub(crate) sleep: Option<Duration>,
    /// `-r`
    pub(crate) real_time: Option<i32>,
    pub(crate) nice: Option<i32>,
    pub(crate) poll: bool,
    /// `--source`, or `--nosplice`.
    pub(crate) way: Way,
}

/// The option of the user, and the one of the process it starts.
pub(super) const DAEMONIZE: &str = "--daemonize";
pub(super) const DAEMONIZED: &str = "--daemonized";

impl RecorderArgs {
    /// Reads what clap matched of [`recorder_args`].
    pub(crate) fn from_matches(matches: &ArgMatches) -> Self {
        Self {
            sleep: matches.get_one::<u64>("sleep").copied().map(Duration::from_micros),
            real_time: matches
                .get_one::<i32>("real-time")
                .copied()
                .filter(|priority| *priority > 0),
            nice: matches.get_one::<i32>("nice").copied(),
            poll: matches.get_flag("poll"),
            way: way(matches),
        }
    }
}

fn way(matches: &ArgMatches) -> Way {
    match matches.get_one::<String>("source").map(String::as_str) {
        Some("splice") => Way::Splice,
        Some("map") => Way::Map,
        Some("read") => Way::Read,
        _ if matches.get_flag("nosplice") => Way::Read,
        _ => Way::Auto,
    }
}

const FILE: &str = "File";
const RECORDER: &str = "Recorder";
const OUTPUT: &str = "What is said";
const REMOTE: &str = "Another machine";

const AFTER_HELP: &str = "\
Options bind to what comes before them: -f and -R to the last -e; -e, -p, -l, -n, -O, -T, -F, -P, -c, -M, -b, \
--subbuf-size, --module and -C to the last -B, --dom, -A or --proxy.

What tracing was set to is turned off before, and put back after: -K and -k leave it. With a latency tracer \
(irqsoff, preemptoff, preemptirqsoff, wakeup, wakeup_rt, wakeup_dl) the text of the largest latency is kept instead of \
events.

The guests' events go to OUTPUT-GUEST: trace-guest1.dat beside trace.dat. 'trace-cmd report' with an -i for each prints all \
on one clock.

Exit code 6 with --fail-on-loss: the file is complete, and events are missing in it. --json prints one object: \
\"output\", \"buffers\" (per instance and CPU: bytes, lost events by kind, discarded bytes, error, place in the \
file), \"guests\", \"delivery\" (with -N, per instance and CPU: bytes sent, arrived, lost).

Examples:
  trace-cmd record -e sched -e irq sleep 1
  trace-cmd record -e sched_switch -f 'prev_pid != 0' -o switch.dat make
  trace-cmd record -e sched -B interrupts -e irq -b 8192
  trace-cmd record -F -c -e syscalls -e exceptions ls      only ls and its children
  trace-cmd record -P 1234 -e all                          until that task ends
  trace-cmd record -p function -l 'vfs_*' -n vfs_read ls
  trace-cmd record -p function_graph -g do_sys_openat2 --max-graph-depth 3 ls
  trace-cmd record -e sched_switch -R 'stacktrace if prev_state & 2' sleep 10
  trace-cmd record -N host:1234 -t -e sched sleep 1        to 'trace-cmd listen -p 1234' there
  trace-cmd record --virt -e sched sleep 1                 in a guest: to a file on its host
  trace-cmd record --dry-run -e sched -B foo -e irq        what would be written where
  trace-cmd record -e kvm --dom guest1 -e all --exec app \\; --dom guest2 -e sched \\; sleep 10
  trace-cmd record -e irq --proxy 2 -e kvm sleep 10        in a guest: it and its host
  trace-cmd record -e kvm -A guest1@3 -e all sleep 10      the guest of CID 3: 'agent' runs there
  trace-cmd report -i trace.dat -i trace-guest1.dat        both, on one clock";

/// The options of `record`, for help and parsing.
pub(crate) fn command() -> Command {
    Command::new("record")
        .about("Record events of this kernel, and of its guests, into a file")
        .override_usage("trace-cmd record [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args(options::args())
        .args(options::guest_args())
        .arg(options::proxy_arg())
        .arg(virt_dir().help_heading(options::heading::GUESTS))
        .args(agent_args())
        .args(file_args())
        .args(remote_args())
        .args(recorder_args())
        .args(setup_args())
        .arg(keep_after_arg())
        .arg(keep_arg("Do not turn off what is set before; with it, -k"))
        .args(profile_args())
        .args(said_args())
        .args(PASSED_OVER.iter().map(PassedOver::arg))
        .arg(command_arg("Record while this command runs; without it, until Ctrl-C"))
}

/// `--file-version`, the same on every command that makes a file.
pub(crate) fn file_version_arg() -> Arg {
    Arg::new("file-version")
        .long("file-version")
        .value_name("N")
        .default_value("7")
        .value_parser(value_parser!(u8).range(6..=7))
        .help("Version of trace.dat; with a --compression it is 7")
}

/// `--compression`, likewise.
pub(crate) fn compression_arg() -> Arg {
    Arg::new("compression")
        .long("compression")
        .value_name("NAME")
        .value_parser(["any", "none", "zlib", "zstd"])
        .help("Compression of a version 7 file [default: any]")
}

fn file_args() -> [Arg; 10] {
    [
        Arg::new("output").short('o').value_name("FILE").help("Output file [default: trace.dat]"),
        Arg::new("temp")
            .long("temp")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("Accepted: nothing is written but the files themselves"),
        file_version_arg(),
        compression_arg(),
        Arg::new("max-kb")
            .short('m')
            .value_name("KB")
            .value_parser(value_parser!(u64).range(1..))
            .help("Keep the last KB KiB of each CPU, between the half of it and all"),
        flag("all-formats", 'a', "Store the formats of all events, not only of those recorded"),
        switch("proc-map", "Store where the command, or the tasks of -P, have their code mapped"),
        switch("date", "Store the distance of the trace clock to wall time"),
        Arg::new("ts-offset")
            .long("ts-offset")
            .value_name("N")
            .allow_hyphen_values(true)
            .value_parser(signed)
            .conflicts_with("date")
            .help("Store N, in units of the trace clock, to be added to all stamps"),
        switch("tsc2nsec", "Store the factor from TSC cycles to nanoseconds; the clock stays"),
    ]
    .map(|arg| arg.help_heading(FILE))
}

/// Options for sending to a listener. What is about a file here does not go with them.
fn remote_args() -> [Arg; 6] {
    const OF_A_FILE: [&str; 3] = ["output", "max-kb", "temp"];
    // What is for the file, the host or others; the rest is as ever.
    const NOT_IN_A_GUEST: [&str; 19] = [
        "agent",
        "daemonize",
        "date",
        "dom",
        "exec",
        "fail-on-loss",
        "file-version",
        "json",
        "keep-after",
        "keep-before",
        "network",
        "on-full",
        "proc-map",
        "proxy",
        "ts-offset",
        "tsc2nsec",
        "user",
        "virt-dir",
        "vsock",
    ];
    [
        Arg::new("network")
            .short('N')
            .value_name("[HOST:]PORT")
            .conflicts_with_all(OF_A_FILE)
            .conflicts_with("vsock")
            .help(
                "Send to 'trace-cmd listen' there; also vsock:CID:PORT, unix:PATH, or unix:PATH:PORT for a guest's vsock port \
                 behind the socket of its monitor",
            ),
        Arg::new("vsock")
            .short('V')
            .value_name("CID:PORT")
            .conflicts_with_all(OF_A_FILE)
            .help("As -N vsock:CID:PORT"),
        switch(
            "virt",
            "In a guest: have the host's virt-server write the file, where that was started with --accept",
        )
        .conflicts_with_all(OF_A_FILE)
        .conflicts_with_all(NOT_IN_A_GUEST),
        flag("tcp", 't', "With -N: send data over TCP, where nothing gets lost, rather than UDP"),
        Arg::new("key-file")
            .long("key-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("With -N, -V or -A: a key that the other side must have too; data then goes over TCP"),
        peer_timeout::arg(
            "With -N or -V: end once the listener answers nothing, or takes nothing, for so long [default: 30]",
        ),
    ]
    .map(|arg| arg.help_heading(REMOTE))
}

/// Options for how sub-buffers are taken.
pub(crate) fn recorder_args() -> [Arg; 7] {
    [
        Arg::new("sleep")
            .short('s')
            .value_name("USEC")
            .value_parser(value_parser!(u64))
            .help("Look at the buffers this often, in microseconds; 0 for at every event"),
        Arg::new("real-time")
            .short('r')
            .value_name("PRIORITY")
            .value_parser(value_parser!(i32).range(0..=99))
            .conflicts_with("nice")
            .help("Real-time priority (SCHED_FIFO) of the recorder, 1 to 99; 0 is as without"),
        Arg::new("nice")
            .long("nice")
            .value_name("N")
            .allow_hyphen_values(true)
            .value_parser(value_parser!(i32).range(-20..=19))
            .help("Nice value of the recorder, -20 (first) to 19 (last)"),
        switch("poll", "Look at the buffers all the time, without being woken"),
        switch("nosplice", "Copy through memory instead of splicing: --source read"),
        Arg::new("source")
            .long("source")
            .value_name("WAY")
            .value_parser(["auto", "splice", "map", "read"])
            .conflicts_with("nosplice")
            .help("How data leaves the kernel; map needs Linux 6.10 [default: auto, the fastest]"),
        switch("no-filter", "Record what the recorder itself does, too"),
    ]
    .map(|arg| arg.help_heading(RECORDER))
}

/// `--key-file`, where it is for agents only.
pub(crate) fn agent_key_arg() -> Arg {
    Arg::new("key-file")
        .long("key-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help_heading(options::heading::GUESTS)
        .help("With -A: a key that the agent must have too")
}

/// Options for agents.
pub(crate) fn agent_args() -> [Arg; 2] {
    [
        Arg::new("tsync-interval")
            .long("tsync-interval")
            .value_name("MS")
            .allow_hyphen_values(true)
            .value_parser(value_parser!(i64))
            .help(
                "Compare clocks with -A guests this often, in milliseconds; 0 for at start and end, -1 for never \
                 [default: all the time; with agents of the C version, and --proxy, at start and end]",
            ),
        switch("nofifos", "With -A: do not fetch data through the guest's FIFOs"),
    ]
    .map(|arg| arg.help_heading(options::heading::GUESTS))
}

impl AgentArgs {
    /// `--tsync-interval` as another `record` takes it.
    pub(super) fn interval_words(&self) -> Vec<String> {
        let milliseconds = match self.interval {
            SyncInterval::Default => return Vec::new(),
            SyncInterval::Ends => "0".to_owned(),
            SyncInterval::Every(interval) => interval.as_millis().to_string(),
            SyncInterval::Off => "-1".to_owned(),
        };
        vec!["--tsync-interval".to_owned(), milliseconds]
    }

    /// Reads what clap matched of [`agent_args`], and of `--key-file`.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Self {
        let interval = matches.get_one::<i64>("tsync-interval").copied();
        let no_fifos = matches.get_flag("nofifos");
        Self {
            interval: match interval {
                None => SyncInterval::Default,
                Some(0) => SyncInterval::Ends,
                Some(ms) => match u64::try_from(ms) {
                    Ok(ms) => SyncInterval::Every(Duration::from_millis(ms)),
                    Err(_) => SyncInterval::Off,
                },
            },
            no_fifos,
            key_file: matches.get_one::<PathBuf>("key-file").cloned(),
            named: match (interval, no_fifos) {
                (Some(_), _) => Some("--tsync-interval"),
                (None, true) => Some("--nofifos"),
                (None, false) => None,
            },
        }
    }
}

fn said_args() -> [Arg; 8] {
    [
        flag("quiet", 'q', "Print errors and losses only").long("quiet"),
        switch("json", "Print what was recorded, and what was lost, as one JSON object"),
        switch("fail-on-loss", "End with exit code 6 if anything was lost"),
        switch("daemonize", "Go on in the background once recording has begun"),
        switch("daemonized", "Set by --daemonize for itself").hide(true),
        switch(
            "notimeout",
            "Taken for compatibility: recordings here wait by deadlines of their own",
        ),
        switch("debug", "As --verbose=debug"),
        Arg::new("verbose")
            .long("verbose")
            .value_name("LEVEL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("info")
            .help("Taken for compatibility: what goes wrong is always said"),
    ]
    .map(|arg| arg.help_heading(OUTPUT))
}

/// Options of the C version that have no meaning here.
const PASSED_OVER: [PassedOver; 3] = [
    PassedOver::flag("G", OF_REPORT),
    PassedOver::flag("by-comm", OF_REPORT),
    PassedOver::flag("stderr", OF_REPORT),
];

const OF_REPORT: &str =
    "it is about how a profile is printed; give it to 'trace-cmd report --profile'";

/// `--virt-dir`, the same on every command that talks of guests.
pub(crate) fn virt_dir() -> Arg {
    Arg::new("virt-dir").long("virt-dir").value_name("DIR").env_hint()
}

trait EnvHint {
    fn env_hint(self) -> Self;
}

impl EnvHint for Arg {
    fn env_hint(self) -> Self {
        self.help("Directory of the guests' control socket and FIFOs [default: $TRACE_CMD_VIRT_DIR, else /var/lib/trace-cmd/virt]")
    }
}

impl RemoteArgs {
    /// Reads what clap matched of [`remote_args`].
    fn from_matches(matches: &ArgMatches) -> Result<Option<Self>, Error> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let tcp = matches.get_flag("tcp");
        let key_file = matches.get_one::<PathBuf>("key-file").cloned();
        let has_agents = matches.contains_id("agent") || matches.contains_id("proxy");
        let vsock = text("vsock").map(|place| format!("vsock:{place}"));
        let peer_timeout = peer_timeout::of(matches);
        let Some(place) = text("network").or(vsock) else {
            let alone = [
                ("-t", tcp),
                ("--key-file", key_file.is_some() && !has_agents),
                ("--peer-timeout", peer_timeout.is_some()),
            ];
            if let Some((option, _)) = alone.into_iter().find(|(_, is_there)| *is_there) {
                return Err(Error::usage(format!("{option} belongs to -N"))
                    .hint("say who listens: -N HOST:PORT"));
            }
            return Ok(None);
        };
        let address = place
            .parse()
            .map_err(|error| Error::usage("-N and -V name a listener").because(error))?;
        if let Address::Path(path) = &address {
            return Err(Error::usage(format!("nobody can listen on {}", path.display()))
                .hint("a UNIX socket is unix:PATH"));
        }
        let peer_timeout = peer_timeout.unwrap_or(peer_timeout::DEFAULT);
        Ok(Some(Self { address, tcp, key_file, peer_timeout }))
    }
}

impl Args {
    /// Reads what clap matched.
    ///
    /// # Errors
    /// An option that has no meaning here.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        PASSED_OVER.iter().for_each(|option| option.note(matches));
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let compression = text("compression");
        let version = matches.get_one::<u8>("file-version").copied().unwrap_or(7);
        let compresses = compression.as_ref().is_some_and(|name| name != "none");
        Ok(Self {
            words: options::words(matches),
            output: text("output"),
            // As the C version: asking for a compression is asking for version 7.
            file_version: if compresses { 7 } else { version },
            compression,
            max_kb: matches.get_one::<u64>("max-kb").copied(),
            all_formats: matches.get_flag("all-formats"),
            setup: SetupArgs::from_matches(matches, Before::Reset)?,
            // What was not turned off is not put back either.
            keep_after: matches.get_flag("keep-after") || matches.get_flag("keep-before"),
            date: matches.get_flag("date"),
            ts_offset: matches.get_one::<i64>("ts-offset").copied(),
            tsc_to_nsec: matches.get_flag("tsc2nsec"),
            recorder: RecorderArgs::from_matches(matches),
            no_filter: matches.get_flag("no-filter"),
            proc_map: matches.get_flag("proc-map"),
            quiet: matches.get_flag("quiet"),
            json: matches.get_flag("json"),
            fail_on_loss: matches.get_flag("fail-on-loss"),
            daemonize: matches.get_flag("daemonize"),
            daemonized: matches.get_flag("daemonized"),
            virt_dir: text("virt-dir"),
            virt: matches.get_flag("virt"),
            agents: AgentArgs::from_matches(matches),
            remote: RemoteArgs::from_matches(matches)?,
            command: command_of(matches),
        })
    }

    /// The file of this machine.
    pub(crate) fn output_path(&self) -> PathBuf {
        PathBuf::from(self.output.as_deref().unwrap_or("trace.dat"))
    }

    /// Parses words as they come from a host's request, without a command line around them.
    ///
    /// # Errors
    /// What clap says of them, in one line.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let words = std::iter::once("record").chain(words.iter().map(String::as_str));
        match command().no_binary_name(false).try_get_matches_from(words) {
            Ok(matches) => Self::from_matches(&matches).map_err(|error| error.to_string()),
            Err(error) => {
                let text = error.to_string();
                Err(text
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    fn parse(words: &[&str]) -> Args {
        try_parse(words).unwrap()
    }

    #[test]
    fn words_keep_the_order_they_were_typed_in() {
        let args = parse(&[
            "-e", "kvm", "--dom", "g1", "-e", "all", "-b", "64", "--exec", "app", "-x", "foo", ";",
            "--dom", "g2", "-e", "sched", "-f", "prio<3", "--exec", "app2", ";", "hostapp", "-e",
            "x",
        ]);
        assert_eq!(
            args.words,
            [
                Word::Event("kvm".into()),
                Word::Guest("g1".into()),
                Word::Event("all".into()),
                Word::BufferKb(64),
                Word::Exec(vec!["app".into(), "-x".into(), "foo".into()]),
                Word::Guest("g2".into()),
                Word::Event("sched".into()),
                Word::Filter("prio<3".into()),
                Word::Exec(vec!["app2".into()]),
            ]
        );
        assert_eq!(args.command, ["hostapp", "-e", "x"]);
    }

    #[test]
    fn what_is_about_a_printed_profile_is_passed_over() {
        let args = parse(&["-G", "-e", "a", "--by-comm", "--stderr", "-G", "-e", "b", "ls", "-G"]);
        assert_eq!(args.words, [Word::Event("a".into()), Word::Event("b".into())]);
        assert_eq!(args.command, ["ls", "-G"]);
    }

    #[test]
    fn refused_words_are_named_in_one_line() {
        let error = Args::parse(&["--frobnicate".to_owned()]).unwrap_err();
        assert!(error.contains("--frobnicate") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn asking_for_a_compression_is_asking_for_version_7() {
        let version = |words: &[&str]| parse(words).file_version;
        assert_eq!(version(&["--file-version", "6", "--compression", "zlib"]), 7);
        assert_eq!(version(&["--file-version", "6", "--compression", "none"]), 6);
        assert_eq!(version(&["--file-version", "6"]), 6);
        assert_eq!(version(&[]), 7);
    }

    #[test]
    fn keeping_what_was_before_keeps_it_after() {
        let args = parse(&["-K", "-i"]);
        assert!(args.keep_after && args.setup.ignore_missing);
        assert_eq!(args.setup.choices().before, Before::Keep);
        assert_eq!(parse(&["-k"]).setup.before, Before::Reset);
    }

    #[test]
    fn options_of_other_times_and_places_say_where_to_go() {
        for (words, part) in [
            (&["-t", "-e", "x"][..], "belongs to -N"),
            (&["--key-file", "k", "-e", "x"], "belongs to -N"),
            (&["--peer-timeout", "9", "-e", "x"], "belongs to -N"),
            (&["-N", "host", "-e", "x"], "no port at character 5"),
            (&["-V", "3", "-e", "x"], "no port at character 8"),
            (&["-N", "/tmp/x", "-e", "x"], "nobody can listen"),
            (&["-N", "1", "-V", "3:1", "-e", "x"], "cannot be used with"),
            (&["-N", "1", "-o", "f", "-e", "x"], "cannot be used with"),
            (&["-V", "3:1", "-m", "9", "-e", "x"], "cannot be used with"),
            (&["-H", "a,b/c,d"], "belong to --profile"),
            (&["--date", "--ts-offset", "3"], "--ts-offset"),
        ] {
            let error = try_parse(words).unwrap_err();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }

    #[test]
    fn listeners_are_named_as_in_the_c_version_and_by_address() {
        let address = |words: &[&str]| parse(words).remote.map(|remote| remote.address.to_string());
        assert_eq!(address(&["-N", "1234"]).as_deref(), Some("localhost:1234"));
        assert_eq!(address(&["-N", "host:12"]).as_deref(), Some("host:12"));
        assert_eq!(address(&["-V", "3:12"]).as_deref(), Some("vsock:3:12"));
        assert_eq!(address(&["-N", "unix:/a"]).as_deref(), Some("unix:/a"));
        assert_eq!(address(&[]), None);
        assert!(parse(&["-N", "1", "-t"]).remote.is_some_and(|remote| remote.tcp));
    }

    #[test]
    fn numbers_are_in_their_units() {
        let offset = |text: &str| parse(&["--ts-offset", text]).ts_offset;
        assert_eq!((offset("0x10"), offset("-0x10")), (Some(16), Some(-16)));
        assert_eq!(parse(&["-r", "0"]).recorder.real_time, None);
        let args = parse(&["-s", "1500", "-r", "5", "-m", "100", "--ts-offset", "-7"]);
        assert_eq!(args.recorder.sleep, Some(Duration::from_micros(1500)));
        assert_eq!((args.recorder.real_time, args.max_kb), (Some(5), Some(100)));
        assert_eq!(args.ts_offset, Some(-7));
    }
}
