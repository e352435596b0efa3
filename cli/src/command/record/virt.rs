//! `record --virt`: in a guest, into a file of the host's.
//!
//! Who has the control port is this guest's client: for the time of the recording that is this process. The host is told
//! that there is something to record; the rest goes as when the host starts it.

use std::os::fd::AsFd;

use trace_virt::client::{Client, ClientError, ClientOptions, OwnRecording};
use trace_virt::stop::StopSignals;
use trace_virt::wish::Wish;

use super::args::Args;
use super::guest_side::OwnRecorder;
use super::plan::{self, CLOCK_WITH_GUESTS, Plan};
use super::summary;
use crate::command::tracing_plan::Word;
use crate::command::workload::Workload;
use crate::error::Error;
use crate::exit_code::Exit;

/// Records this machine while the command runs, or until Ctrl-C.
pub(super) fn record(mut args: Args, plan: &Plan) -> Result<Exit, Error> {
    let stop = StopSignals::new()
        .map_err(|error| Error::failure("cannot take over signals").because(error))?;
    let clock = one_clock(&mut args.words)?;
    // Known before the host is asked.
    plan::of_guest(&args)?;
    Workload::check(&args.command)?;
    let instances = args.words.iter().filter_map(|word| match word {
        Word::Instance(name) => Some(name.clone()),
        _ => None,
    });
    let wish = Wish { clock, instances: instances.collect() };
    let own = OwnRecording { wish, command: args.command.clone() };
    let is_quiet = args.quiet;
    let options = ClientOptions {
        version: format!("trace-cmd {}", env!("CARGO_PKG_VERSION")),
        ..ClientOptions::default()
    };
    let client = Client::new(options, Box::new(OwnRecorder(args))).map_err(failed)?;
    if !is_quiet {
        summary::tracers(&plan.host);
        if own.command.is_empty() {
            summary::how_to_stop();
        }
    }
    client.record(own, stop.as_fd(), &mut |_| {}).map_err(failed)?;
    if !is_quiet {
        summary::pass_on(&mut std::io::stdout(), b"the host has the recording\n");
    }
    Ok(Exit::Success)
}

/// Takes the clock out of the words and puts it first, where it is that of all instances: the host compares one.
fn one_clock(words: &mut Vec<Word>) -> Result<String, Error> {
    let mut clock: Option<String> = None;
    for word in &*words {
        let Word::Clock(name) = word else { continue };
        if name == "tsc2nsec" {
            return Err(Error::usage("-C tsc2nsec stands with --virt").hint("use -C x86-tsc"));
        }
        if let Some(other) = clock.replace(name.clone()).filter(|other| other != name) {
            return Err(Error::usage(format!("--virt with clocks {other} and {name}"))
                .hint("give -C once, before the first -B"));
        }
    }
    let clock = clock.unwrap_or_else(|| CLOCK_WITH_GUESTS.to_owned());
    words.retain(|word| !matches!(word, Word::Clock(_)));
    words.insert(0, Word::Clock(clock.clone()));
    Ok(clock)
}

fn failed(error: ClientError) -> Error {
    let hint = match error {
        ClientError::Busy { .. } => {
            "end that client, or record from the host: trace-cmd record --dom GUEST"
        }
        ClientError::NoServer | ClientError::HostRefused { .. } => {
            "on the host: trace-cmd virt-server --accept DIR"
        }
        ClientError::NoPort { .. } => "on the host: trace-cmd virt-server --dom GUEST -c CPUS",
        _ => "",
    };
    let error = Error::new(Exit::Guest, "record --virt").because(error);
    if hint.is_empty() { error } else { error.hint(hint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(line: &str) -> Result<(String, Args), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut args = Args::parse(&words)?;
        Plan::new(&args).map_err(|error| error.to_string())?;
        let clock = one_clock(&mut args.words).map_err(|error| error.to_string())?;
        plan::of_guest(&args).map_err(|error| error.to_string())?;
        Ok((clock, args))
    }

    #[test]
    fn one_clock_is_that_of_all_instances() {
        let (clock, args) = plan_of("--virt -e irq -B foo -C boot -e sched").unwrap();
        assert_eq!(clock, "boot");
        let plan = plan::of_guest(&args).unwrap();
        let clocks: Vec<_> = plan.all().map(|(_, instance)| instance.clock.as_deref()).collect();
        assert!(!clocks.is_empty() && clocks.iter().all(|one| *one == Some("boot")), "{clocks:?}");
        assert_eq!(plan_of("--virt -e irq").unwrap().0, "mono");
    }

    #[test]
    fn what_is_the_hosts_is_refused() {
        for (line, part) in [
            ("--virt -e a -o x", "cannot be used with"),
            ("--virt -e a -m 100", "cannot be used with"),
            ("--virt -e a --dom g -e b", "cannot be used with"),
            ("--virt -e a --daemonize", "cannot be used with"),
            ("--virt -N 1 -e a", "cannot be used with"),
            ("--virt -C boot -e a -B b -C mono -e c", "clocks boot and mono"),
            ("--virt -C tsc2nsec -e a", "-C x86-tsc"),
            ("--virt -F -e a true", "-F"),
            ("--virt", "no event was specified"),
        ] {
            let error = plan_of(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
