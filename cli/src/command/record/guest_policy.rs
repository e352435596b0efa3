//! What a guest lets its host record, checked on what would be written to tracefs, before any of it is.

use trace_virt::client::Refusal;
use tracefs::buffer_control::BufferSize;
use tracefs::event_pattern::matches;
use tracefs::function::{FunctionAction, FunctionCommand};
use tracefs::trigger::without_filter;
use tracefs::{TracingDir, capture};

use super::args::Args;
use crate::command::tracing_plan::{Change, Setup};

/// The rules, as they were given to the client. Without any, all is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestPolicy {
    /// `--allow-events`
    pub(crate) events: Option<Vec<EventRule>>,
    /// `--max-buffer`, in KiB of all CPUs together.
    pub(crate) max_buffer_kb: Option<u64>,
}

/// Events that may be recorded: `sched`, `sched:sched_switch`, `irq:softirq_*`, `ftrace:function`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRule {
    system: String,
    event: String,
}

/// One that would be recorded, as `SYSTEM` and `EVENT`, and the words that bring it.
struct Wanted {
    system: String,
    event: String,
    by: String,
}

impl EventRule {
    /// Reads `SYSTEM` or `SYSTEM:EVENT`, both with `*`, `?` and `[a-z]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (system, event) = text.split_once([':', '/']).unwrap_or((text, "*"));
        if system.is_empty() || event.is_empty() {
            return Err("not SYSTEM or SYSTEM:EVENT, as in sched,irq:softirq_*".to_owned());
        }
        Ok(Self { system: system.to_owned(), event: event.to_owned() })
    }

    fn allows(&self, system: &str, event: &str) -> bool {
        matches(&self.system, system) && matches(&self.event, event)
    }
}

impl std::fmt::Display for EventRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.event.as_str() {
            "*" => f.write_str(&self.system),
            event => write!(f, "{}:{event}", self.system),
        }
    }
}

impl GuestPolicy {
    /// Whether there is any rule.
    pub(crate) fn limits(&self) -> bool {
        self.events.is_some() || self.max_buffer_kb.is_some()
    }

    /// Whether this may be recorded.
    ///
    /// # Errors
    /// What is not allowed, by name, and what is.
    pub(crate) fn check(&self, setup: &Setup, dir: &TracingDir) -> Result<(), Refusal> {
        self.check_events(setup)?;
        self.check_buffers(setup, dir)
    }

    fn check_events(&self, setup: &Setup) -> Result<(), Refusal> {
        let Some(rules) = &self.events else { return Ok(()) };
        let allows =
            |system: &str, event: &str| rules.iter().any(|rule| rule.allows(system, event));
        let rules_text = || rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut forbidden = setup.events.events().filter(|e| !allows(&e.system, &e.event));
        if let Some(first) = forbidden.next() {
            let others = match forbidden.count() {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            return Err(Refusal::not_allowed(format!(
                "this guest does not allow {first}{others} to be recorded, only {}; name the events one by one with -e",
                rules_text()
            )));
        }
        for step in setup.steps.iter().chain(setup.begin()) {
            for Wanted { system, event, by } in wanted(&step.change)? {
                if !allows(&system, &event) {
                    return Err(Refusal::not_allowed(format!(
                        "this guest does not allow {system}:{event} to be recorded, which {by} does, only {}",
                        rules_text()
                    )));
                }
            }
        }
        Ok(())
    }

    /// KiB that each CPU may have in each of so many buffers, where no size was asked for.
    pub(crate) fn cpu_buffer_kb(&self, buffers: usize) -> Option<u64> {
        let each = u64::from(capture::possible_cpus().max(1)).saturating_mul(buffers.max(1) as u64);
        self.max_buffer_kb.map(|all| all / each)
    }

    fn check_buffers(&self, setup: &Setup, dir: &TracingDir) -> Result<(), Refusal> {
        let Some(max) = self.max_buffer_kb else { return Ok(()) };
        let cpus = u64::from(capture::possible_cpus().max(1));
        let mut all = 0_u64;
        for place in &setup.places {
            let asked = setup.steps.iter().filter(|step| step.place == *place).rev();
            let asked = asked.into_iter().find_map(|step| match step.change {
                Change::BufferKb(kb) => Some(kb),
                _ => None,
            });
            let is_there = || {
                let instance = place.instance(dir).unwrap_or_else(|_| dir.top());
                match instance.buffer_size() {
                    Ok(BufferSize::Same(kb) | BufferSize::NotExpanded(kb)) => kb,
                    Ok(BufferSize::PerCpu) => (0..capture::possible_cpus())
                        .filter_map(|cpu| match instance.cpu_buffer_size(cpu) {
                            Ok(BufferSize::Same(kb) | BufferSize::NotExpanded(kb)) => Some(kb),
                            _ => None,
                        })
                        .max()
                        .unwrap_or(0),
                    Err(_) => 0,
                }
            };
            // A snapshot is a second buffer of the same size.
            let copies = if takes_snapshots(setup) { 2 } else { 1 };
            let kb = asked.unwrap_or_else(is_there);
            all = all.saturating_add(kb.saturating_mul(cpus).saturating_mul(copies));
        }
        if all <= max {
            return Ok(());
        }
        Err(Refusal::not_allowed(format!(
            "this guest allows {max} KiB of ring buffers, and this would need {all}; give -b {} or less",
            max / cpus
        )))
    }
}

fn takes_snapshots(setup: &Setup) -> bool {
    setup.begin().chain(&setup.steps).any(|step| match &step.change {
        Change::Trigger(_, text) => text.contains("snapshot"),
        Change::FunctionCommand(command) => command.action == FunctionAction::Snapshot,
        Change::Tracer(name) => crate::command::tracing_plan::plan::is_latency_tracer(name),
        _ => false,
    })
}

/// What one change has recorded besides the events that are enabled.
fn wanted(change: &Change) -> Result<Vec<Wanted>, Refusal> {
    let ftrace = |event: &str, by: String| Wanted {
        system: "ftrace".to_owned(),
        event: event.to_owned(),
        by,
    };
    Ok(match change {
        Change::Tracer(name) if name == "nop" => Vec::new(),
        Change::Tracer(name) => vec![ftrace(name, format!("-p {name} or --profile"))],
        Change::Option(name) => match name.as_str() {
            "stacktrace" | "func_stack_trace" => {
                vec![ftrace("kernel_stack", format!("the option {name}"))]
            }
            "userstacktrace" => vec![ftrace("user_stack", format!("the option {name}"))],
            _ => Vec::new(),
        },
        Change::Trigger(_, text) => of_trigger(text)?,
        Change::FunctionCommand(command) => of_function(command),
        // Events that are enabled are known; the rest records nothing by itself.
        Change::Enable(_)
        | Change::Disable(_)
        | Change::Filter(..)
        | Change::CreateInstance
        | Change::DeleteInstance
        | Change::TracingOn(_)
        | Change::Clear
        | Change::Clock(_)
        | Change::BufferKb(_)
        | Change::SubBufferKb(_)
        | Change::CpuMask(_)
        | Change::CmdlinesSize(_)
        | Change::FtraceOff
        | Change::Functions { .. }
        | Change::GraphDepth(_)
        | Change::Pids { .. } => Vec::new(),
    })
}

/// What the command of a function has recorded when it is called.
fn of_function(command: &FunctionCommand) -> Vec<Wanted> {
    let by = format!("the command '{command}'");
    match &command.action {
        FunctionAction::Stacktrace => {
            vec![Wanted { system: "ftrace".to_owned(), event: "kernel_stack".to_owned(), by }]
        }
        FunctionAction::EnableEvent(name) | FunctionAction::DisableEvent(name) => {
            vec![Wanted { system: name.system.clone(), event: name.event.clone(), by }]
        }
        FunctionAction::TraceOn
        | FunctionAction::TraceOff
        | FunctionAction::Snapshot
        | FunctionAction::Dump
        | FunctionAction::CpuDump => Vec::new(),
    }
}

/// What a trigger has recorded when its event occurs.
fn of_trigger(text: &str) -> Result<Vec<Wanted>, Refusal> {
    let by = || format!("the trigger '{text}'");
    let unclear = || {
        Refusal::not_allowed(format!(
            "this guest allows certain events only, and cannot tell which {} would record",
            by()
        ))
    };
    let event = |system: &str, event: &str| Wanted {
        system: system.to_owned(),
        event: event.to_owned(),
        by: by(),
    };
    let command = without_filter(text).trim();
    let (name, rest) = command.split_once(':').unwrap_or((command, ""));
    let mut parts = rest.split(':');
    Ok(match name {
        "traceon" | "traceoff" | "snapshot" => Vec::new(),
        "stacktrace" => vec![event("ftrace", "kernel_stack")],
        "enable_event" | "disable_event" | "enable_hist" | "disable_hist" => {
            match (parts.next(), parts.next()) {
                (Some(system), Some(name)) => vec![event(system, name)],
                _ => return Err(unclear()),
            }
        }
        "hist" => {
            let mut found = Vec::new();
            for handler in parts.filter(|part| part.starts_with("on")) {
                let (condition, action) = handler.split_once(").").ok_or_else(unclear)?;
                if let Some(matched) = condition.strip_prefix("onmatch(") {
                    let (system, name) = matched.split_once('.').ok_or_else(unclear)?;
                    found.push(event(system.trim(), name.trim()));
                }
                let (name, arguments) = action.split_once('(').ok_or_else(unclear)?;
                match name {
                    "save" | "snapshot" => {}
                    // The older form has the synthetic event as the name of the action.
                    "trace" => {
                        let made = arguments.split([',', ')']).next().unwrap_or_default();
                        found.push(event("synthetic", made.trim()));
                    }
                    made => found.push(event("synthetic", made)),
                }
            }
            found
        }
        _ => return Err(unclear()),
    })
}

/// Words of `record` that are not a host's to give: where files are, who runs, what stays behind.
///
/// # Errors
/// Which of them was given.
pub(crate) fn check_words(args: &Args) -> Result<(), Refusal> {
    let given = [
        ("-o", args.output.is_some()),
        ("-m", args.max_kb.is_some()),
        ("-N and -V", args.remote.is_some()),
        ("--virt", args.virt),
        ("--virt-dir", args.virt_dir.is_some()),
        ("--daemonize", args.daemonize || args.daemonized),
        ("--user", args.setup.user.is_some()),
        ("--proc-map", args.proc_map),
        ("-k and -K", args.keep_after),
        ("a command without --exec", !args.command.is_empty()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            Err(Refusal::not_allowed(format!("{option} cannot be given to a guest by its host")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::record::plan;

    /// A tracing directory with three events and buffers of 1408 KiB per CPU.
    fn fake() -> (tempfile::TempDir, TracingDir) {
        let temp = tempfile::TempDir::new().unwrap();
        for (name, text) in [
            ("available_events", "irq:softirq_raise\nsched:sched_switch\nsched:sched_waking\n"),
            ("available_tracers", "function_graph function nop\n"),
            ("current_tracer", "nop\n"),
            ("buffer_size_kb", "1408\n"),
            ("set_event", ""),
        ] {
            std::fs::write(temp.path().join(name), text).unwrap();
        }
        let dir = TracingDir::at(temp.path());
        (temp, dir)
    }

    fn check(policy: &GuestPolicy, line: &str) -> Result<(), Refusal> {
        let (_temp, dir) = fake();
        let words: Vec<String> = line.split('|').map(str::to_owned).collect();
        let args = Args::parse(&words).unwrap();
        check_words(&args)?;
        let plan = plan::of_guest(&args).unwrap();
        let setup = Setup::new(&plan, args.setup.choices(), &dir).unwrap();
        policy.check(&setup, &dir)
    }

    fn allowing(rules: &str) -> GuestPolicy {
        let rules = rules.split(',').map(|rule| EventRule::parse(rule).unwrap()).collect();
        GuestPolicy { events: Some(rules), max_buffer_kb: None }
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_its_name() {
        for (rules, line, forbidden) in [
            ("sched", "-e|sched", None),
            ("sched", "-e|sched_switch", None),
            ("sched:sched_s*", "-e|sched", Some("sched:sched_waking")),
            ("sched", "-e|all", Some("irq:softirq_raise")),
            ("sched,irq", "-e|all", None),
            ("*", "-e|all|-p|function|-R|stacktrace", None),
            ("irq", "-e|all", Some("sched:sched_switch and 1 more")),
            ("sched", "-p|function", Some("ftrace:function")),
            ("sched", "-e|sched|-l|f:enable_event:irq:softirq_raise", Some("irq:softirq_raise")),
            ("sched", "-e|sched|-l|f:stacktrace:3", Some("ftrace:kernel_stack")),
            ("sched", "-e|sched|-l|f:enable_event:sched:sched_waking|-l|f:traceoff", None),
            ("sched,ftrace:function", "-p|function", None),
            ("ftrace:function", "-p|function_graph", Some("ftrace:function_graph")),
            ("sched", "-e|sched|-T", Some("ftrace:kernel_stack")),
            ("sched", "-e|sched|-O|userstacktrace", Some("ftrace:user_stack")),
            ("sched", "-e|sched_switch|-R|stacktrace:3 if prev_pid > 1", Some("kernel_stack")),
            (
                "sched",
                "-e|sched_switch|-R|enable_event:irq:softirq_raise:1",
                Some("irq:softirq_raise"),
            ),
            ("sched", "-e|sched_switch|-R|enable_event:sched:sched_waking", None),
            ("sched", "-e|sched_switch|-R|traceoff", None),
            ("sched", "-e|sched_switch|-R|eprobe:x", Some("eprobe:x")),
            ("sched", "-e|sched_switch|-R|hist:keys=next_pid", None),
            (
                "sched",
                "-e|sched_switch|-R|hist:keys=next_pid:lat=1:onmatch(irq.softirq_raise).trace(late,$lat)",
                Some("irq:softirq_raise"),
            ),
            (
                "sched",
                "-e|sched_switch|-R|hist:keys=next_pid:onmatch(sched.sched_waking).late($lat)",
                Some("synthetic:late"),
            ),
            (
                "sched,synthetic:late",
                "-e|sched_switch|-R|hist:keys=next_pid:onmatch(sched.sched_waking).late($lat)",
                None,
            ),
            // Off, but with a trigger that sees it.
            ("sched", "-v|-e|irq|-R|traceoff", Some("irq:softirq_raise")),
            ("sched", "-e|sched|--profile", Some("irq:softirq_raise")),
            ("sched,irq,ftrace:kernel_stack", "--profile", Some("ftrace:function_graph")),
        ] {
            let result = check(&allowing(rules), line);
            match (forbidden, result) {
                (None, result) => assert_eq!(result, Ok(()), "{rules}: {line}"),
                (Some(name), Err(refusal)) => {
                    assert!(refusal.reason.contains(name), "{rules}: {line}: {}", refusal.reason);
                }
                (Some(_), Ok(())) => panic!("{rules}: {line} was allowed"),
            }
        }
    }

    #[test]
    fn ring_buffers_of_all_cpus_and_snapshots_count_together() {
        let cpus = u64::from(capture::possible_cpus());
        let policy = |kb: u64| GuestPolicy { events: None, max_buffer_kb: Some(kb) };
        assert_eq!(check(&policy(64 * cpus), "-e|sched|-b|64"), Ok(()));
        let refusal = check(&policy(64 * cpus), "-e|sched|-b|65").unwrap_err();
        assert!(refusal.reason.contains("-b 64"), "{}", refusal.reason);
        assert!(check(&policy(1408 * cpus), "-e|sched").is_ok());
        assert!(check(&policy(1408 * cpus - 1), "-e|sched").is_err(), "the usual size counts");
        assert!(check(&policy(64 * cpus), "-e|sched_switch|-b|64|-R|snapshot").is_err());
        assert!(check(&policy(64 * cpus), "-e|sched_switch|-b|64|-l|f:traceoff").is_ok());
        assert!(check(&policy(64 * cpus), "-e|sched_switch|-b|64|-l|f:snapshot").is_err());
        assert!(check(&policy(u64::MAX), "-e|sched|-b|18446744073709551615").is_ok());
    }

    #[test]
    fn files_users_and_what_stays_are_not_the_hosts_to_say() {
        for (line, option) in [
            ("-e|sched|-o|/etc/passwd", "-o"),
            ("-e|sched|-N|evil:1", "-N"),
            ("-e|sched|-m|9", "-m"),
            ("-e|sched|-k", "-k"),
            ("-e|sched|--daemonize", "--daemonize"),
            ("-e|sched|--virt-dir|/x", "--virt-dir"),
            ("-e|sched|sh", "a command"),
        ] {
            let refusal = check(&GuestPolicy::default(), line).unwrap_err();
            assert!(refusal.reason.starts_with(option), "{line}: {}", refusal.reason);
        }
    }

    #[test]
    fn rules_are_systems_or_events() {
        assert_eq!(EventRule::parse("irq/x").unwrap().to_string(), "irq:x");
        assert_eq!(EventRule::parse("sched").unwrap().to_string(), "sched");
        for bad in ["", ":x", "x:"] {
            assert!(EventRule::parse(bad).is_err(), "{bad}");
        }
    }
}
