//! What shall be traced where on one machine: what the words mean. Touches nothing.

use tracefs::function::FunctionCommand;
use tracefs::{CpuMask, FunctionPattern};

use super::profile;
use super::word::Word;
use crate::error::Error;

/// The clock that counts ticks of the processor: KVM tells exactly what a guest's has to do with the host's.
pub(crate) const COUNTER: &str = "x86-tsc";
/// The same, with its factor to nanoseconds in the file.
const TSC_TO_NSEC: &str = "tsc2nsec";

/// Tracers whose result is the text of `trace`, not the ring buffer.
const LATENCY_TRACERS: [&str; 6] =
    ["irqsoff", "preemptoff", "preemptirqsoff", "wakeup", "wakeup_rt", "wakeup_dl"];

/// Whether a tracer keeps the text of its largest latency, and no events.
pub(crate) fn is_latency_tracer(name: &str) -> bool {
    LATENCY_TRACERS.contains(&name)
}

/// What one machine traces.
#[derive(Debug, Default)]
pub(crate) struct MachinePlan {
    /// The top-level buffer.
    pub(crate) top: InstancePlan,
    /// Named instances, in the order of their `-B`.
    pub(crate) instances: Vec<(String, InstancePlan)>,
    /// Instances that stand behind `-v`: `set` deletes them.
    pub(crate) deleted: Vec<String>,
    pub(crate) cmdlines_size: Option<u64>,
    pub(crate) graph_functions: Vec<FunctionPattern>,
    pub(crate) graph_depth: Option<u64>,
    /// `-C tsc2nsec`: the factor of the clock is wanted in the file.
    pub(crate) tsc_to_nsec: bool,
    /// The clock of those that have no `-C` of their own: events of several clocks have no order.
    common_clock: Option<String>,
}

/// What one instance traces.
#[derive(Clone, Debug, Default)]
pub(crate) struct InstancePlan {
    pub(crate) clock: Option<String>,
    pub(crate) buffer_kb: Option<u64>,
    pub(crate) sub_buffer_kb: Option<u64>,
    pub(crate) cpu_mask: Option<Cpus>,
    pub(crate) events: Vec<EventRequest>,
    pub(crate) tracer: Option<String>,
    pub(crate) functions: Vec<FunctionPattern>,
    pub(crate) not_functions: Vec<FunctionPattern>,
    /// What is done when functions are called, filtered or not.
    pub(crate) function_commands: Vec<FunctionCommand>,
    /// Trace options, as typed: with a `no` before those that are cleared.
    pub(crate) options: Vec<String>,
    pub(crate) function_stack: bool,
    /// `-F`
    pub(crate) only_command: bool,
    /// `-P`
    pub(crate) pids: Vec<i32>,
    /// `-c`
    pub(crate) children: bool,
    /// What `--profile` adds where the kernel has it.
    pub(crate) profiles: bool,
    module: Option<Module>,
    inverts: bool,
}

/// `-M`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cpus {
    All,
    Mask(CpuMask),
}

/// `-e PATTERN` with its `-f` and `-R`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRequest {
    pub(crate) pattern: String,
    /// `false` behind `-v`.
    pub(crate) on: bool,
    /// Several `-f` of one event, joined.
    pub(crate) filter: Option<String>,
    pub(crate) triggers: Vec<String>,
    /// A kernel without it is no reason to stop.
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
struct Module {
    name: String,
    is_used: bool,
}

/// What `--profile` and its companions ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProfileRequest {
    pub(crate) profile: bool,
    /// `-S`: only what `-e` and `-H` name.
    pub(crate) only_selected: bool,
    /// `-H`, checked.
    pub(crate) hooks: Vec<String>,
}

impl EventRequest {
    pub(super) fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            on: true,
            filter: None,
            triggers: Vec::new(),
            optional: false,
        }
    }
}

impl MachinePlan {
    /// Reads words that are all for this machine.
    ///
    /// # Errors
    /// An option that has nothing to bind to, or a value that means nothing.
    pub(crate) fn new(words: &[Word], profile: &ProfileRequest) -> Result<Self, Error> {
        let mut machine = Self::default();
        for word in words {
            machine.add(word)?;
        }
        machine.finish(profile)?;
        Ok(machine)
    }

    /// The size that was asked for of the ring buffers of an instance; `None`: the top-level one.
    pub(crate) fn buffer_kb(&self, instance: Option<&str>) -> Option<u64> {
        self.all().find(|(name, _)| *name == instance).and_then(|(_, plan)| plan.buffer_kb)
    }

    /// Takes one more word.
    pub(crate) fn add(&mut self, word: &Word) -> Result<(), Error> {
        let instance = self.instances.last_mut().map_or(&mut self.top, |(_, instance)| instance);
        match word {
            Word::Clock(clock) if clock == TSC_TO_NSEC => {
                self.tsc_to_nsec = true;
                instance.clock = Some(COUNTER.to_owned());
                self.common_clock.get_or_insert_with(|| COUNTER.to_owned());
            }
            Word::Clock(clock) => {
                instance.clock = Some(clock.clone());
                self.common_clock.get_or_insert_with(|| clock.clone());
            }
            Word::CmdlinesSize(count) => self.cmdlines_size = Some(*count),
            Word::GraphDepth(depth) => self.graph_depth = Some(*depth),
            Word::GraphFunction(text) => {
                self.graph_functions.push(FunctionPattern::parse(text).map_err(bad_function)?);
            }
            Word::Instance(name) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err(Error::usage(format!("-B '{name}' is not an instance name"))
                        .hint("use letters, digits, '-' and '_'"));
                }
                if instance.inverts {
                    self.deleted.push(name.clone());
                    return Ok(());
                }
                // -B with a name seen before goes on with that instance.
                let known = self.instances.iter().position(|(known, _)| known == name);
                let instance = known.map(|place| self.instances.remove(place));
                let new = || (name.clone(), InstancePlan::default());
                self.instances.push(instance.unwrap_or_else(new));
            }
            Word::Exec(_) => {
                return Err(Error::usage(
                    "--exec runs a command in a guest, but no --dom is before it",
                )
                .hint("a command of this host stands at the end, without --exec"));
            }
            Word::GuestTitle(name) => {
                return Err(Error::usage(format!("--name {name} stands before any --dom"))
                    .hint("put it behind the guest it renames"));
            }
            Word::OnFull(_) => {
                return Err(Error::usage("--on-full stands before any --dom")
                    .hint("put it behind the guest it is for"));
            }
            Word::Guest(_) | Word::Agent(_) | Word::Proxy(_) => {
                return Err(Error::usage("--dom, -A and --proxy are not for a guest"));
            }
            of_instance => instance.add(of_instance)?,
        }
        Ok(())
    }

    /// Checks what can be known only at the end of the words, and adds what profiles want.
    pub(crate) fn finish(&mut self, profile: &ProfileRequest) -> Result<(), Error> {
        for (name, instance) in self.all_mut() {
            instance.finish(name)?;
        }
        profile::add(self, profile)?;
        self.share_clock();
        Ok(())
    }

    fn share_clock(&mut self) {
        let Some(clock) = self.common_clock.clone() else { return };
        for (name, instance) in self.all_mut() {
            // Where nothing is traced, nothing else is changed than what was said.
            if instance.clock.is_none() && (name.is_some() || instance.traces_something()) {
                instance.clock = Some(clock.clone());
            }
        }
    }

    /// All instances, the top-level one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Option<&str>, &InstancePlan)> {
        let named = self.instances.iter().map(|(name, plan)| (Some(name.as_str()), plan));
        std::iter::once((None, &self.top)).chain(named)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = (Option<&str>, &mut InstancePlan)> {
        let named = self.instances.iter_mut().map(|(name, plan)| (Some(name.as_str()), plan));
        std::iter::once((None, &mut self.top)).chain(named)
    }

    /// Whether the top-level buffer is recorded: not when only instances are.
    pub(crate) fn uses_top(&self) -> bool {
        self.top.traces_something() || self.instances.is_empty()
    }

    /// Whether any instance has an event or a tracer.
    pub(crate) fn traces_something(&self) -> bool {
        self.all().any(|(_, plan)| plan.traces_something())
    }

    /// Whether some tracer measures latencies, so that `trace` is what there is to keep.
    pub(crate) fn measures_latency(&self) -> bool {
        self.all().any(|(_, plan)| plan.tracer.as_deref().is_some_and(is_latency_tracer))
    }

    /// Whether some tracer records calls of functions.
    pub(crate) fn traces_functions(&self) -> bool {
        self.all().any(|(_, plan)| plan.profiles || plan.has_function_tracer())
    }

    /// Whether some instance is for the command only.
    pub(crate) fn wants_command(&self) -> bool {
        self.all().any(|(_, plan)| plan.only_command)
    }

    /// The tasks of all `-P`, each once.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self.all().flat_map(|(_, plan)| plan.pids.clone()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

impl InstancePlan {
    fn add(&mut self, word: &Word) -> Result<(), Error> {
        match word {
            Word::Event(pattern) => {
                self.events.push(EventRequest { on: !self.inverts, ..EventRequest::new(pattern) });
            }
            Word::Filter(filter) => {
                let event = self.last_event("-f", "filter", filter)?;
                event.filter = Some(match event.filter.take() {
                    Some(first) => format!("{first}&&({filter})"),
                    None => format!("({filter})"),
                });
            }
            Word::Trigger(trigger) => {
                self.last_event("-R", "trigger", trigger)?.triggers.push(trigger.clone());
            }
            Word::Invert => self.inverts = true,
            Word::Tracer(name) => {
                if let Some(first) = &self.tracer {
                    return Err(Error::usage(format!("-p {first} and -p {name}: one at a time"))
                        .hint("an instance has one tracer; put the other behind a -B NAME"));
                }
                self.tracer = Some(name.clone());
            }
            Word::Function(text) if is_command(text) => {
                let command = FunctionCommand::parse(text).ok_or_else(|| bad_command(text))?;
                self.function_commands.push(command);
            }
            Word::Function(text) => {
                let pattern = self.function(text)?;
                self.functions.push(pattern);
            }
            Word::NotFunction(text) => {
                let pattern = self.function(text)?;
                self.not_functions.push(pattern);
            }
            Word::Module(name) => {
                self.all_of_module()?;
                self.module = Some(Module { name: name.clone(), is_used: false });
            }
            Word::FunctionStack => self.function_stack = true,
            Word::TraceOption(name) => self.options.push(name.clone()),
            Word::OnlyCommand => self.only_command = true,
            Word::Pids(text) => {
                for pid in text.split(',').map(str::trim) {
                    match pid.parse() {
                        Ok(pid) if pid > 0 => self.pids.push(pid),
                        _ => {
                            return Err(Error::usage(format!("-P '{text}': '{pid}' is no pid"))
                                .hint("name tasks by number: -P 17,42"));
                        }
                    }
                }
            }
            Word::Children => self.children = true,
            Word::BufferKb(kb) => self.buffer_kb = Some(*kb),
            Word::SubBufferKb(kb) => self.sub_buffer_kb = Some(*kb),
            Word::CpuMask(text) => self.cpu_mask = Some(Cpus::parse(text)?),
            // The rest is not of one instance.
            _ => {}
        }
        Ok(())
    }

    fn last_event(
        &mut self,
        option: &str,
        what: &str,
        value: &str,
    ) -> Result<&mut EventRequest, Error> {
        self.events.last_mut().ok_or_else(|| {
            Error::usage(format!("{option} '{value}' stands before any -e"))
                .hint(format!("put the {what} behind its event"))
        })
    }

    fn function(&mut self, text: &str) -> Result<FunctionPattern, Error> {
        let pattern = match &mut self.module {
            Some(module) if !text.contains(":mod:") => {
                module.is_used = true;
                FunctionPattern::of_module(text, &module.name)
            }
            _ => FunctionPattern::parse(text),
        };
        pattern.map_err(bad_function)
    }

    /// A module that no `-l` or `-n` stands behind is meant as a whole.
    fn all_of_module(&mut self) -> Result<(), Error> {
        if let Some(module) = self.module.take().filter(|module| !module.is_used) {
            let all = FunctionPattern::of_module("", &module.name).map_err(bad_function)?;
            self.functions.push(all);
        }
        Ok(())
    }

    fn finish(&mut self, name: Option<&str>) -> Result<(), Error> {
        self.all_of_module()?;
        if self.children && !self.only_command && self.pids.is_empty() {
            return Err(Error::usage("-c follows the children of -F or -P, and there is neither")
                .hint("add -F to trace the command, or -P PID"));
        }
        if self.function_stack
            && self.has_function_tracer()
            && name.is_none()
            && self.functions.is_empty()
        {
            let message = "--func-stack records a stack for every function of the kernel";
            return Err(Error::usage(message).hint("name those you want with -l"));
        }
        Ok(())
    }

    pub(super) fn has_function_tracer(&self) -> bool {
        self.tracer.as_deref().is_some_and(|name| name.starts_with("function"))
    }

    pub(crate) fn traces_something(&self) -> bool {
        !self.events.is_empty() || self.tracer.is_some() || self.profiles
    }
}

impl Cpus {
    fn parse(text: &str) -> Result<Self, Error> {
        if text == "-1" {
            return Ok(Self::All);
        }
        let bare = text.strip_prefix("0x").unwrap_or(text);
        let problem = match CpuMask::parse_mask(bare) {
            Some(mask) if !mask.is_empty() => return Ok(Self::Mask(mask)),
            Some(_) => "has no CPU",
            None => "is not a mask",
        };
        Err(Error::usage(format!("-M {text} {problem}"))
            .hint("give a hexadecimal mask, as 5 for CPUs 0 and 2, or -1 for all"))
    }
}

/// No function has such a name.
fn is_command(text: &str) -> bool {
    text.contains(':') && !text.contains(":mod:")
}

fn bad_command(text: &str) -> Error {
    Error::usage(format!("-l {text} is neither a function nor a command of one"))
        .hint("a command is FUNCTION:traceoff, traceon, snapshot, stacktrace, dump, cpudump, enable_event:SYSTEM:EVENT or disable_event:SYSTEM:EVENT, and a ':COUNT' if it ends")
}

fn bad_function(error: tracefs::Error) -> Error {
    Error::usage("").because(error).hint("give a name, a glob, or a regular expression")
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::*;

    fn plan(line: &str) -> Result<MachinePlan, Error> {
        let command = clap::Command::new("start").args(options::args());
        let words = std::iter::once("start").chain(line.split_whitespace());
        let words = options::words(&command.try_get_matches_from(words).unwrap());
        MachinePlan::new(&words, &ProfileRequest::default())
    }

    #[test]
    fn filters_and_triggers_bind_to_the_event_before_and_events_to_the_instance_before() {
        let plan =
            plan("-e sched -f a<1 -f b<2 -R stacktrace -B foo -e irq -b 64 -C mono").unwrap();
        let sched = &plan.top.events[0];
        assert_eq!(sched.filter.as_deref(), Some("(a<1)&&(b<2)"));
        assert_eq!(sched.triggers, ["stacktrace"]);
        let (name, foo) = &plan.instances[0];
        assert_eq!(name, "foo");
        assert_eq!(foo.events[0].pattern, "irq");
        assert_eq!((foo.buffer_kb, foo.clock.as_deref()), (Some(64), Some("mono")));
        assert_eq!(plan.top.buffer_kb, None);
    }

    #[test]
    fn those_without_a_clock_of_their_own_have_the_first() {
        let clocks = |line: &str| {
            let plan = plan(line).unwrap();
            let clocks: Vec<_> = plan.all().map(|(_, i)| i.clock.clone()).collect();
            clocks.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            clocks("-e x -B a -C mono -e y -B b -C boot -e z -B c -e w"),
            "mono mono boot mono"
        );
        assert_eq!(clocks("-C mono -e x -B a -C boot -e y -B b -e z"), "mono boot mono");
        assert_eq!(clocks("-B a -e x -C tsc2nsec -B b -e y"), " x86-tsc x86-tsc");
        assert_eq!(clocks("-e x -B a -e y"), " ");
    }

    #[test]
    fn minus_v_turns_later_events_off_and_instances_away() {
        let plan = plan("-e sched -v -e sched_switch -B old -e irq").unwrap();
        let events: Vec<_> = plan.top.events.iter().map(|e| (e.pattern.as_str(), e.on)).collect();
        assert_eq!(events, [("sched", true), ("sched_switch", false), ("irq", false)]);
        assert_eq!(plan.deleted, ["old"]);
    }

    #[test]
    fn an_instance_seen_before_goes_on() {
        let plan = plan("-B a -e x -B b -e y -B a -F -c -P 3,4").unwrap();
        let names: Vec<_> = plan.instances.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let a = &plan.instances[1].1;
        assert!(a.only_command && a.children && a.events.len() == 1);
        assert_eq!(plan.pids(), [3, 4]);
        assert!(plan.wants_command() && !plan.uses_top());
    }

    #[test]
    fn modules_are_for_the_functions_behind_them() {
        let texts = |patterns: &[FunctionPattern]| -> Vec<String> {
            patterns.iter().map(ToString::to_string).collect()
        };
        let plan = plan("-p function -l a --module kvm -l b -n c -B x --module ext4").unwrap();
        assert_eq!(texts(&plan.top.functions), ["a", "b:mod:kvm"]);
        assert_eq!(texts(&plan.top.not_functions), ["c:mod:kvm"]);
        assert_eq!(texts(&plan.instances[0].1.functions), ["*:mod:ext4"]);
    }

    #[test]
    fn latency_tracers_and_clocks_with_a_factor_are_known() {
        assert!(plan("-p wakeup_rt").unwrap().measures_latency());
        assert!(plan("-e x -B foo -p irqsoff").unwrap().measures_latency());
        assert!(!plan("-p function").unwrap().measures_latency());
        let tsc = plan("-C tsc2nsec -e x").unwrap();
        assert!(tsc.tsc_to_nsec);
        assert_eq!(tsc.top.clock.as_deref(), Some("x86-tsc"));
    }

    #[test]
    fn what_means_nothing_is_refused_with_a_next_step() {
        for (line, part) in [
            ("-f a<1 -e sched", "before any -e"),
            ("-e sched -B x -R traceoff", "before any -e"),
            ("-e x -B a/b -e y", "not an instance name"),
            ("-p nop -p function", "one at a time"),
            ("-e x -c", "-c follows"),
            ("-p function -l do_exit:traceof", "neither a function nor a command"),
            ("-e x -P 1,zwei", "'zwei' is no pid"),
            ("-e x -P 0", "is no pid"),
            ("-e x -M 0", "has no CPU"),
            ("-e x -M g", "not a mask"),
            ("-p function -l (", "neither a glob"),
            ("-p function --func-stack", "every function"),
        ] {
            let error = plan(line).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("; "), "{line}: {error}");
        }
    }
}
