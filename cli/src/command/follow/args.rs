//! The words that `stream` and `profile` share: those of `record` without its file.

use std::io::Write;
use std::time::Duration;

use clap::{Arg, ArgMatches};
use trace_virt::time_sync::Clock;

use crate::command::record::args::{
    AgentArgs, Args, RecorderArgs, agent_args, agent_key_arg, recorder_args, virt_dir,
};
use crate::command::record::dry_run;
use crate::command::record::plan::Plan;
use crate::command::tracing_plan::setup_args::{
    PassedOver, Refused, SetupArgs, command_arg, command_of, flag, keep_after_arg, keep_arg,
    setup_args, switch,
};
use crate::command::tracing_plan::{Before, Word, options};
use crate::error::Error;
use crate::output;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowArgs {
    pub(super) words: Vec<Word>,
    pub(crate) setup: SetupArgs,
    pub(super) recorder: RecorderArgs,
    pub(super) no_filter: bool,
    /// `-k`, which `-K` implies.
    pub(super) keep_after: bool,
    pub(crate) quiet: bool,
    pub(crate) fail_on_loss: bool,
    pub(crate) virt_dir: Option<String>,
    pub(crate) agents: AgentArgs,
    pub(crate) command: Vec<String>,
}

/// How often the ring buffers are looked at. A record of a CPU comes out after two looks at the others.
const INTERVAL: Duration = Duration::from_millis(100);

/// A command that has these words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) name: &'static str,
    /// What it does with the records, for `--dry-run`.
    pub(crate) does: &'static str,
    /// Whether guests are followed, too.
    pub(crate) guests: bool,
}

/// Options of `record` that are about its file, or listeners.
const REFUSED: [Refused; 7] = [
    refused("N", "nothing is sent: record does that"),
    refused("V", "nothing is sent: record does that"),
    refused("m", "no file is made that could grow"),
    refused("compression", "no file is made"),
    refused("file-version", "no file is made"),
    refused("daemonize", "what is printed would have nowhere to go"),
    refused("proxy", "guests are followed by 'trace-cmd stream --dom'"),
];

const NO_FILE: &str = "no file is made";

/// Others of these, which the C version takes too.
const PASSED_OVER: [PassedOver; 5] = [
    PassedOver::flag("a", NO_FILE),
    PassedOver::flag("date", NO_FILE),
    PassedOver::flag("proc-map", NO_FILE),
    PassedOver::with_value("temp", NO_FILE),
    PassedOver::with_value("ts-offset", NO_FILE),
];

/// Options about guests, of commands that have none.
const REFUSED_WITHOUT_GUESTS: [Refused; 4] = [
    refused("A", "guests are recorded by 'trace-cmd record --dom'"),
    refused("dom", "guests are recorded by 'trace-cmd record --dom'"),
    refused("tsync-interval", "guests are recorded by 'trace-cmd record --dom'"),
    refused("nofifos", "guests are recorded by 'trace-cmd record --dom'"),
];

const fn refused(name: &'static str, why: &'static str) -> Refused {
    Refused { name, why }
}

/// The options, for help and parsing.
pub(crate) fn follow_args(command: Offered) -> impl Iterator<Item = Arg> {
    let own = [
        keep_after_arg(),
        keep_arg("Do not turn off what is set before; with it, -k"),
        flag("quiet", 'q', "Print no messages but errors").long("quiet"),
        switch("fail-on-loss", "End with exit code 6 if anything was lost"),
        command_arg("Run this command, and end with it; without it, with Ctrl-C"),
    ];
    options::args()
        .chain(recorder_args())
        .chain(setup_args())
        .chain(own)
        .chain(command.guest_args())
        .chain(command.refused().map(Refused::arg))
        .chain(PASSED_OVER.iter().map(PassedOver::arg))
}

impl Offered {
    fn guest_args(self) -> Vec<Arg> {
        let args = || {
            let own = [virt_dir().help_heading(options::heading::GUESTS), agent_key_arg()];
            options::guest_args().into_iter().chain(own).chain(agent_args()).collect()
        };
        self.guests.then(args).unwrap_or_default()
    }

    fn refused(self) -> impl Iterator<Item = &'static Refused> {
        let of_guests: &[Refused] = if self.guests { &[] } else { &REFUSED_WITHOUT_GUESTS };
        REFUSED.iter().chain(of_guests)
    }
}

impl FollowArgs {
    /// Reads what clap matched.
    ///
    /// # Errors
    /// An option that has no meaning here.
    pub(crate) fn from_matches(matches: &ArgMatches, command: Offered) -> Result<Self, Error> {
        command.refused().try_for_each(|option| option.check(command.name, matches))?;
        PASSED_OVER.iter().for_each(|option| option.note(matches));
        Ok(Self {
            words: options::words(matches),
            setup: SetupArgs::from_matches(matches, Before::Reset)?,
            recorder: RecorderArgs::from_matches(matches),
            no_filter: matches.get_flag("no-filter"),
            keep_after: matches.get_flag("keep-after") || matches.get_flag("keep-before"),
            quiet: matches.get_flag("quiet"),
            fail_on_loss: matches.get_flag("fail-on-loss"),
            virt_dir: matches.try_get_one("virt-dir").ok().flatten().cloned(),
            agents: if command.guests {
                AgentArgs::from_matches(matches)
            } else {
                AgentArgs::default()
            },
            command: command_of(matches),
        })
    }

    /// What shall be traced.
    ///
    /// # Errors
    /// An option that has nothing to bind to, or nothing to trace.
    pub(crate) fn plan(&self, command: Offered) -> Result<Plan, Error> {
        let mut plan = Plan::new(&Args {
            words: self.words.clone(),
            setup: self.setup.clone(),
            agents: self.agents.clone(),
            command: self.command.clone(),
            ..Args::default()
        })?;
        if plan.host.measures_latency() {
            let message =
                format!("'{}' cannot follow latency tracers, which make no events", command.name);
            return Err(Error::usage(message).hint("record them with 'trace-cmd record -p TRACER'"));
        }
        let clock = clock_with_guests(&plan)?;
        if clock.is_some() && plan.host.tsc_to_nsec {
            return Err(Error::usage("-C tsc2nsec is for one machine").hint("use -C x86-tsc"));
        }
        for guest in &mut plan.guests {
            // Splicing takes only what is full.
            let interval = self.interval().as_micros().to_string();
            guest.arguments.extend(["--nosplice", "-s", &interval].map(str::to_owned));
        }
        Ok(plan)
    }

    /// How often the ring buffers are looked at.
    pub(super) fn interval(&self) -> Duration {
        self.recorder.sleep.unwrap_or(INTERVAL)
    }

    /// Whether this machine is traced, and not guests only.
    pub(super) fn follows_host(&self, plan: &Plan) -> bool {
        plan.guests.is_empty() || plan.host.traces_something() || self.setup.before == Before::Keep
    }

    /// Prints what would be done; changes nothing.
    pub(crate) fn print(&self, plan: &Plan, command: Offered) -> Result<(), Error> {
        let mut out = output::stdout();
        if self.follows_host(plan) {
            let places = dry_run::print_setup(&plan.host, self.setup.choices(), &mut out)?;
            writeln!(out, "{} {}", command.does, places.join(", "))?;
        }
        for guest in &plan.guests {
            let (name, words) = (guest.title(), guest.arguments.join(" "));
            writeln!(out, "{} guest {name} with {words}", command.does)?;
            if let Some(command) = &guest.exec {
                writeln!(out, "run in guest {name}: {}", command.join(" "))?;
            }
        }
        match self.command.as_slice() {
            [] => writeln!(out, "wait for Ctrl-C")?,
            words => writeln!(out, "run: {}", words.join(" "))?,
        }
        if !self.keep_after && self.follows_host(plan) {
            writeln!(out, "put back what was written")?;
        }
        Ok(out.flush()?)
    }
}

/// The clock that all machines of a plan are corrected to; `None` without guests.
///
/// # Errors
/// It cannot be compared.
pub(super) fn clock_with_guests(plan: &Plan) -> Result<Option<Clock>, Error> {
    if plan.guests.is_empty() {
        return Ok(None);
    }
    let name = plan.host.top.clock.as_deref().unwrap_or_default();
    match Clock::of_trace_clock(name) {
        Ok(clock) => Ok(Some(clock)),
        Err(error) => Err(Error::usage(format!("lines of several machines with -C {name}"))
            .because(error)
            .hint("leave -C out for mono")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    const TRY: Offered = Offered { name: "try", does: "try", guests: false };

    fn plan_of(command: Offered, line: &str) -> Result<Plan, Error> {
        let words = std::iter::once("try").chain(line.split_whitespace());
        let clap = Command::new("try").args(follow_args(command));
        let matches = clap.try_get_matches_from(words).unwrap();
        FollowArgs::from_matches(&matches, command)?.plan(command)
    }

    fn plan(line: &str) -> Result<Plan, Error> {
        plan_of(TRY, line)
    }

    #[test]
    fn words_are_those_of_record() {
        let plan =
            plan("-e sched -f prev_pid>1 -B other -p function -l vfs_* -F -c ls -e").unwrap();
        assert_eq!(plan.host.top.events.len(), 1);
        assert_eq!(plan.host.instances[0].1.tracer.as_deref(), Some("function"));
        assert!(plan.host.traces_functions() && plan.host.wants_command());
    }

    #[test]
    fn guests_have_their_words_and_read_often() {
        let guests = Offered { guests: true, ..TRY };
        let plan = |line| plan_of(guests, line);
        let both = plan("-e kvm --dom g1 -e sched --exec ls ; --dom g2 -e irq").unwrap();
        let words = "-C mono --compression any -e sched --nosplice -s 100000";
        assert_eq!(both.guests[0].arguments.join(" "), words);
        assert_eq!((both.guests.len(), both.host.top.clock.as_deref()), (2, Some("mono")));
        let rare = plan("-s 5000 -A g1@3 -e sched").unwrap();
        assert!(rare.guests[0].arguments.ends_with(&["-s".to_owned(), "5000".to_owned()]));
        for (line, part) in [
            ("-e x -C local --dom g -e y", "cannot be compared"),
            ("-e x -C tsc2nsec --dom g -e y", "for one machine"),
            ("-e x --dom g", "no event was specified for guest"),
            ("-e x --dom g -e y --proxy 1", "--proxy is not for 'try'"),
            ("-e x --tsync-interval 5", "belongs to -A"),
        ] {
            let error = plan(line).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("; "), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_about_a_file_and_does_no_harm_is_passed_over() {
        let plan = plan("-a -e x --date --temp /tmp --ts-offset -3 --proc-map -e y").unwrap();
        assert_eq!(plan.host.top.events.len(), 2);
    }

    #[test]
    fn what_needs_a_file_or_a_guest_is_refused_with_a_next_step() {
        for (line, part) in [
            ("-e x -N 1", "-N is not for 'try'"),
            ("-e x --dom g", "--dom is not for 'try'"),
            ("-e x --compression any", "no file is made"),
            ("-e x -m 9", "no file is made"),
            ("-p irqsoff", "'try' cannot follow latency tracers"),
            ("-b 100", "no event was specified"),
            ("-B foo", "no event was specified"),
            ("-e x -F", "there is none"),
            ("-e x -v -B foo -e y", "would delete it"),
        ] {
            let error = plan(line).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("; "), "{line}: {error}");
        }
    }
}
