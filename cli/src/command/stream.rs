//! `trace-cmd stream`: prints events while they happen.

use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};
use tracedat::read::LiveMerge;
use tracedat::report::{Json, Report, ReportOptions, TaskNames, TimeStyle};

use super::follow::{FollowArgs, FollowedMachine, Following, Offered, follow_args};
use super::report::args::{FilterArg, release};
use super::report::filters;
use super::tracing_plan::setup_args::{PassedOver, flag, switch};
use crate::error::Error;
use crate::exit_code::Exit;
use crate::output::tell;

const STREAM: Offered = Offered { name: "stream", does: "print events of", guests: true };

/// How often names of tasks are asked for: more often than it takes an event to be printed.
const NAMES_EVERY: Duration = Duration::from_millis(100);

const AFTER_HELP: &str = "\
Lines are those of 'trace-cmd report'. They come in the order of time, over all CPUs and instances, about a quarter of \
a second after the event: a line is printed when every CPU was found to have nothing older. For a CPU that cannot be \
read it is waited half a second; what it brings then comes behind younger lines. Where events come faster than they \
can be printed, '[EVENTS DROPPED]' stands in their place, and the end tells how many were lost.

With --dom and -A, lines of guests come between those of this machine, which are called 'host', in the order of time by \
the host's clock. Clocks are compared all the time; the end tells by how much the time of a guest's line may have been \
wrong. A line is printed within a second: it waits for CPUs of which more is coming, and 0.7 seconds for those of which \
nothing comes. What takes longer comes behind younger lines; the end tells how many events that were, of which machine. A guest that goes away is told, and the others go on. What \
commands of guests (--exec) write goes to standard error. Tasks of a guest have the names that they had when tracing \
began there, or that events such as sched_switch tell.

Options bind to what comes before them, as those of 'trace-cmd record': see there. What was set is put back at the end.

Examples:
  trace-cmd stream -e sched_process_exec -e sched_process_exit   until Ctrl-C
  trace-cmd stream -e sched make                        until make has ended
  trace-cmd stream -F -c -e syscalls ls                 only ls and its children
  trace-cmd stream -e irq --filter 'irq_handler_entry: irq > 30'
  trace-cmd stream -p function -l 'vfs_*' -B disk -e block
  trace-cmd stream -e sched_switch --json | jq .fields.next_comm
  trace-cmd stream -e kvm --dom guest1 -e sched --dom guest2 -e irq
  trace-cmd stream --dom guest1 -e sched --exec make \\;     one guest, until its command has ended";

/// Options for profiles, which the C version takes here too.
const PASSED_OVER: [PassedOver; 4] = [
    PassedOver::flag("G", OF_PROFILE),
    PassedOver::flag("S", OF_PROFILE),
    PassedOver::flag("by-comm", OF_PROFILE),
    PassedOver::flag("stderr", OF_PROFILE),
];

const OF_PROFILE: &str = "it is for 'trace-cmd profile'";

/// Words and help of `stream`.
pub(crate) fn command() -> Command {
    const SHOWN: &str = "What is shown";
    let shown = [
        Arg::new("shown-filter")
            .long("filter")
            .value_name("FILTER")
            .action(clap::ArgAction::Append)
            .help("Only events that match this filter of report; several are ORed"),
        flag("nanoseconds", 't', "Time stamps with nanoseconds"),
        Arg::new("json")
            .long("json")
            .value_name("text")
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(["text"])
            .help("One JSON object a line, with the event's own text too if =text"),
        switch(
            "full-formats",
            "Read print formats as C, so that events that FAILED TO PARSE have their text",
        ),
    ];
    Command::new("stream")
        .about("Print events while they happen")
        .override_usage("trace-cmd stream [OPTIONS] [COMMAND [ARGUMENT]...]")
        .after_help(AFTER_HELP)
        .args(follow_args(STREAM))
        .args(PASSED_OVER.iter().map(PassedOver::arg))
        .args(shown.map(|arg| arg.help_heading(SHOWN)))
}

/// Runs `stream`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let args = FollowArgs::from_matches(matches, STREAM)?;
    PASSED_OVER.iter().for_each(|option| option.note(matches));
    let plan = args.plan(STREAM)?;
    let options = report_options(matches)?;
    if args.setup.dry_run {
        args.print(&plan, STREAM)?;
        return Ok(Exit::Success);
    }
    let (mut following, machines) = Following::start(&args, &plan)?;
    let inputs: Vec<_> = machines.iter().map(FollowedMachine::input).collect();
    filters::check(&options.filters, &inputs)?;
    let mut records = following.records(&machines);
    let mut out = following.output()?;
    let mut asked: Option<Instant> = None;
    let mut more = |records: &mut LiveMerge, names: &mut TaskNames| {
        let goes_on = following.more(records)?;
        if !goes_on || asked.is_none_or(|at| at.elapsed() >= NAMES_EVERY) {
            asked = Some(Instant::now());
            // This machine is the first, if it is followed.
            if let Some(now) = following.task_names() {
                names.set(0, &now);
            }
        }
        Ok::<_, Error>(goes_on)
    };
    let report = Report::new(options);
    report.follow(&inputs, &mut records, &mut out, &mut more)?;
    let ended = following.end(&args, &records);
    if !args.quiet {
        for (file, FollowedMachine { name, metadata, .. }) in machines.iter().enumerate() {
            for warning in metadata.warnings().iter().chain(records.warnings(file)) {
                match machines.len() {
                    1 => tell(&warning.to_string()),
                    _ => tell(&format!("{name}: {warning}")),
                }
            }
        }
    }
    ended
}

fn report_options(matches: &ArgMatches) -> Result<ReportOptions, Error> {
    let compat = std::env::var("TRACE_CMD_COMPAT").ok();
    let mut options = ReportOptions::default();
    options.compat = release(compat.as_deref())?;
    options.full_formats = matches.get_flag("full-formats");
    if matches.get_flag("nanoseconds") {
        options.time = TimeStyle::Nanoseconds;
    }
    options.json = matches
        .contains_id("json")
        .then(|| Json { text: matches.get_one::<String>("json").is_some() });
    let texts = matches.get_many::<String>("shown-filter").into_iter().flatten();
    let filter = |text: &String| FilterArg { text: text.clone(), hides: false, input: None };
    options.filters = filters::parse(&texts.map(filter).collect::<Vec<_>>())?;
    Ok(options)
}
