//! A plan as what is written to tracefs, in order. Reads what is there; changes nothing.

use tracefs::capture;
use tracefs::function::FunctionList;
use tracefs::{CpuMask, EventName, EventSelection, Instance, PidFilter, TracingDir, select_from};

use super::plan::{Cpus, EventRequest, InstancePlan, MachinePlan};
use super::step::{Change, Place, Step, Task};

/// The option without which the function tracers trace nothing.
const FUNCTION_TRACE: &str = "function-trace";

/// What takes the filter of an event away.
const NO_FILTER: &str = "0";

/// What becomes of what is set already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is turned off: events, tracer, filters of the events that are wanted, lists of tasks and
    /// functions.
    #[default]
    Reset,
    /// It stays (`-K`), and nothing is traced until all is set.
    Keep,
    /// It stays, and tracing goes on or rests meanwhile as before (`set`).
    GoOn,
}

/// What holds for all instances.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    pub(crate) before: Before,
    /// `-i`
    pub(crate) ignore_missing: bool,
    /// `-d`
    pub(crate) no_function_trace: bool,
    /// `-D`
    pub(crate) no_ftrace: bool,
}

/// What is done before tracing begins.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) steps: Vec<Step>,
    begin: Vec<Step>,
    triggers: Vec<Step>,
    /// Where is traced: the top-level instance first, if it is used.
    pub(crate) places: Vec<Place>,
    /// All events that may occur.
    pub(crate) events: EventSelection,
    /// `-e` that matched nothing and were passed over.
    pub(crate) skipped: Vec<String>,
}

impl Setup {
    /// Works out what has to be written.
    ///
    /// # Errors
    /// An unknown event or tracer, or what the kernel answers to being read.
    pub(crate) fn new(
        plan: &MachinePlan,
        choices: Choices,
        dir: &TracingDir,
    ) -> Result<Self, tracefs::Error> {
        let known = dir.top().events()?;
        let mut setup = Self::default();
        for name in &plan.deleted {
            dir.instance(name)?;
            setup.add(&Place::Instance(name.clone()), Change::DeleteInstance);
        }
        // A new instance begins with the options of the top-level one, which are not to be those set here.
        for (name, _) in &plan.instances {
            setup.add(&Place::Instance(name.clone()), Change::CreateInstance);
        }
        for (name, instance) in plan.all() {
            let place = Place::of(name);
            let is_used = name.is_some() || plan.uses_top();
            // Settings alone are worth something only where they stay and all else does.
            if is_used || choices.before == Before::GoOn {
                setup.add_instance(&place, instance, choices, dir, &known)?;
            }
            if is_used {
                if choices.before != Before::GoOn {
                    setup.begin.push(Step::new(&place, Change::TracingOn(true)));
                }
                setup.places.push(place);
            }
        }
        setup.add_global(plan, choices);
        for (name, instance) in plan.all() {
            if let Some(tracer) = &instance.tracer {
                setup.add(&Place::of(name), Change::Tracer(tracer.clone()));
            } else if instance.profiles && has_graph_tracer(dir) {
                setup.add(&Place::of(name), Change::Tracer("function_graph".to_owned()));
            }
        }
        Ok(setup)
    }

    /// What is done last: the ring buffers are let take events, and triggers are set. These count
    /// also while nothing is recorded.
    pub(crate) fn begin(&self) -> impl Iterator<Item = &Step> {
        self.begin.iter().chain(&self.triggers)
    }

    fn add(&mut self, place: &Place, change: Change) {
        self.steps.push(Step::new(place, change));
    }

    fn add_optional(&mut self, place: &Place, change: Change) {
        self.steps.push(Step::new(place, change).optional());
    }

    fn add_instance(
        &mut self,
        place: &Place,
        plan: &InstancePlan,
        choices: Choices,
        dir: &TracingDir,
        known: &[EventName],
    ) -> Result<(), tracefs::Error> {
        let reset = choices.before == Before::Reset;
        let instance = place.instance(dir).ok();
        if choices.before != Before::GoOn {
            self.add(place, Change::TracingOn(false));
        }
        if let Some(instance) = &instance {
            let on: EventSelection =
                instance.enabled_events().unwrap_or_default().into_iter().collect();
            if reset {
                if !on.is_empty() {
                    self.add(place, Change::Disable(on));
                }
                if instance.current_tracer().is_ok_and(|name| name != "nop") {
                    self.add(place, Change::Tracer("nop".to_owned()));
                }
                for filter in PidFilter::ALL {
                    if instance.pid_filter(filter).is_ok_and(|pids| !pids.is_empty()) {
                        let (pids, replace) = (Vec::new(), true);
                        self.add(place, Change::Pids { filter, pids, replace });
                    }
                }
            } else {
                // What is on already is recorded too, so its formats are needed.
                self.events.add(&on);
            }
        }
        if let Some(clock) = &plan.clock {
            self.add(place, Change::Clock(clock.clone()));
        }
        if let Some(kb) = plan.sub_buffer_kb {
            self.add(place, Change::SubBufferKb(kb));
        }
        if let Some(kb) = plan.buffer_kb {
            self.add(place, Change::BufferKb(kb));
        }
        match &plan.cpu_mask {
            Some(Cpus::Mask(mask)) => self.add(place, Change::CpuMask(mask.clone())),
            Some(Cpus::All) => {
                let all: CpuMask = (0..capture::possible_cpus()).collect();
                self.add(place, Change::CpuMask(all));
            }
            None => {}
        }
        if reset && !instance.as_ref().is_some_and(is_clear) {
            self.add(place, Change::Clear);
        }
        let leaves_functions_out = |instance: Instance| {
            let is_asked = plan.options.iter().any(|option| option.ends_with(FUNCTION_TRACE));
            !is_asked && instance.trace_option(FUNCTION_TRACE).is_ok_and(|on| !on)
        };
        for option in &plan.options {
            self.add(place, Change::Option(option.clone()));
        }
        if choices.no_function_trace || choices.no_ftrace {
            self.add(place, Change::Option("nofunction-trace".to_owned()));
        } else if plan.has_function_tracer() && instance.clone().is_some_and(leaves_functions_out) {
            // An earlier -d would leave the tracer with nothing to trace.
            self.add(place, Change::Option(FUNCTION_TRACE.to_owned()));
        }
        self.add_functions(place, plan, reset);
        self.add_tasks(place, plan);
        self.add_events(place, plan, choices, known, instance.as_ref())
    }

    fn add_functions(&mut self, place: &Place, plan: &InstancePlan, reset: bool) {
        let lists =
            [(FunctionList::Filter, &plan.functions), (FunctionList::Notrace, &plan.not_functions)];
        let traces_functions =
            plan.tracer.as_ref().is_some_and(|name| name.starts_with("function"));
        for (list, patterns) in lists {
            let change = Change::Functions { list, patterns: patterns.clone(), replace: reset };
            if !patterns.is_empty() {
                self.add(place, change);
            } else if traces_functions && reset {
                // A list of somebody else would hide functions.
                self.add_optional(place, change);
            }
        }
        for command in &plan.function_commands {
            self.add(place, Change::FunctionCommand(command.clone()));
        }
        if plan.function_stack {
            self.add(place, Change::Option("func_stack_trace".to_owned()));
        }
    }

    fn add_tasks(&mut self, place: &Place, plan: &InstancePlan) {
        let mut pids: Vec<Task> = plan.pids.iter().copied().map(Task::Pid).collect();
        if plan.only_command {
            pids.push(Task::Command);
        }
        if pids.is_empty() {
            return;
        }
        let of = |filter| Change::Pids { filter, pids: pids.clone(), replace: true };
        self.add(place, of(PidFilter::Only));
        // Only functions need it, which some kernels have not, or refuse.
        let functions = Step::new(place, of(PidFilter::FunctionsOnly));
        let wanted = plan.tracer.as_ref().is_some_and(|name| name.starts_with("function"));
        self.steps.push(if wanted { functions } else { functions.optional() });
        if plan.children {
            self.add(place, Change::Option("event-fork".to_owned()));
            if wanted {
                self.add(place, Change::Option("function-fork".to_owned()));
            }
        }
    }

    fn add_events(
        &mut self,
        place: &Place,
        plan: &InstancePlan,
        choices: Choices,
        known: &[EventName],
        instance: Option<&Instance>,
    ) -> Result<(), tracefs::Error> {
        let mut chosen: Vec<(EventSelection, &EventRequest)> = Vec::new();
        for request in &plan.events {
            match select_from(known, &request.pattern) {
                Ok(selection) => chosen.push((selection, request)),
                Err(tracefs::Error::UnknownEvent { .. }) if request.optional => {}
                Err(tracefs::Error::UnknownEvent { .. }) if choices.ignore_missing => {
                    self.skipped.push(request.pattern.clone());
                }
                Err(error) => return Err(error),
            }
        }
        if choices.before == Before::Reset
            && let Some(instance) = instance
        {
            let filtered = chosen.iter().flat_map(|(selection, _)| selection.events());
            let is_filtered = |name: &EventName| matches!(instance.event_filter(name), Ok(Some(_)));
            let filtered: EventSelection = filtered.filter(is_filtered).collect();
            if !filtered.is_empty() {
                self.add(place, Change::Filter(filtered, NO_FILTER.to_owned()));
            }
        }
        for (selection, request) in &chosen {
            let step = |change| {
                let step = Step::new(place, change);
                if request.optional { step.optional() } else { step }
            };
            if let Some(filter) = &request.filter {
                self.steps.push(step(Change::Filter(selection.clone(), filter.clone())));
            }
            for trigger in &request.triggers {
                self.triggers.push(step(Change::Trigger(selection.clone(), trigger.clone())));
            }
        }
        for (selection, request) in chosen {
            self.events.add(&selection);
            if request.on {
                self.add(place, Change::Enable(selection));
            } else if request.triggers.is_empty() {
                self.add(place, Change::Disable(selection));
            }
        }
        Ok(())
    }

    fn add_global(&mut self, plan: &MachinePlan, choices: Choices) {
        let top = Place::Top;
        if let Some(count) = plan.cmdlines_size {
            self.add(&top, Change::CmdlinesSize(count));
        }
        if choices.no_ftrace {
            self.add(&top, Change::FtraceOff);
        }
        if !plan.graph_functions.is_empty() {
            let (list, patterns) = (FunctionList::Graph, plan.graph_functions.clone());
            let replace = choices.before == Before::Reset;
            self.add(&top, Change::Functions { list, patterns, replace });
        }
        if let Some(depth) = plan.graph_depth {
            let step = Step::new(&top, Change::GraphDepth(depth));
            // A profile takes it where there is one.
            let profiles = plan.all().any(|(_, instance)| instance.profiles);
            self.steps.push(if profiles { step.optional() } else { step });
        }
    }
}

/// Whether the ring buffers hold nothing and nothing fills them. Emptying them takes long, also when
/// there is nothing in them.
fn is_clear(instance: &Instance) -> bool {
    let is_idle = instance.enabled_events().is_ok_and(|events| events.is_empty())
        && instance.current_tracer().is_ok_and(|name| name == "nop");
    is_idle
        && instance.cpus().is_ok_and(|cpus| {
            cpus.into_iter()
                .all(|cpu| instance.buffer_stats(cpu).is_ok_and(|stats| stats.entries == 0))
        })
}

fn has_graph_tracer(dir: &TracingDir) -> bool {
    dir.top().available_tracers().is_ok_and(|names| names.iter().any(|n| n == "function_graph"))
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::super::plan::ProfileRequest;
    use super::*;

    /// A directory with two events, one of them on, and a tracer somebody left.
    fn fake() -> (tempfile::TempDir, TracingDir) {
        let temp = tempfile::TempDir::new().unwrap();
        for (name, text) in [
            ("available_events", "sched:sched_switch\nsched:sched_waking\nirq:softirq_raise\n"),
            ("set_event", "irq:softirq_raise\n"),
            ("current_tracer", "function\n"),
            ("available_tracers", "function_graph function nop\n"),
            ("set_event_pid", "7\n"),
            ("events/sched/sched_waking/filter", "pid > 1\n"),
        ] {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let dir = TracingDir::at(temp.path());
        (temp, dir)
    }

    fn setup(line: &str, choices: Choices) -> Result<Setup, tracefs::Error> {
        let (_temp, dir) = fake();
        let command = clap::Command::new("start").args(options::args());
        let words = std::iter::once("start").chain(line.split_whitespace());
        let words = options::words(&command.try_get_matches_from(words).unwrap());
        let plan = MachinePlan::new(&words, &ProfileRequest::default()).unwrap();
        Setup::new(&plan, choices, &dir)
    }

    fn text(setup: &Setup) -> String {
        setup.steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_on_is_turned_off_first_and_events_come_on_after_their_filters() {
        let setup =
            setup("-e sched:* -e sched_switch -f prev_pid>1 -b 64 -O nofoo", Choices::default());
        assert_eq!(
            text(&setup.unwrap()),
            "tracing_on: 0\nevents/irq/softirq_raise/enable: 0\ncurrent_tracer: nop\n\
             set_event_pid: emptied\nbuffer_size_kb: 64\ntrace: emptied\ntrace_options: nofoo\n\
             events/sched/sched_waking/filter: 0\n\
             events/sched/sched_switch/filter: (prev_pid>1)\n\
             events/sched/enable: 1\nevents/sched/sched_switch/enable: 1\n"
        );
    }

    #[test]
    fn a_function_tracer_has_functions_to_trace_unless_told_otherwise() {
        let setup = |line: &str| {
            let (temp, dir) = fake();
            std::fs::create_dir(temp.path().join("options")).unwrap();
            std::fs::write(temp.path().join("options/function-trace"), "0\n").unwrap();
            let command = clap::Command::new("start").args(options::args());
            let words = std::iter::once("start").chain(line.split_whitespace());
            let words = options::words(&command.try_get_matches_from(words).unwrap());
            let plan = MachinePlan::new(&words, &ProfileRequest::default()).unwrap();
            text(&Setup::new(&plan, Choices::default(), &dir).unwrap())
        };
        assert!(setup("-p function").contains("trace_options: function-trace\n"));
        assert!(!setup("-e sched").contains("function-trace"));
        assert!(!setup("-p function -O nofunction-trace").contains(": function-trace\n"));
    }

    #[test]
    fn minus_k_leaves_all_that_is_set_and_counts_it_in() {
        let keep = Choices { before: Before::Keep, ..Choices::default() };
        let setup = setup("-e sched_switch", keep).unwrap();
        assert_eq!(text(&setup), "tracing_on: 0\nevents/sched/sched_switch/enable: 1\n");
        assert!(setup.events.contains("irq", "softirq_raise"));
    }

    #[test]
    fn set_adds_to_what_goes_on() {
        let choices = Choices { before: Before::GoOn, ..Choices::default() };
        let setup = setup("-e sched -f pid>2 -v -e softirq_raise", choices).unwrap();
        assert_eq!(
            text(&setup),
            "events/sched/filter: (pid>2)\nevents/sched/enable: 1\n\
             events/irq/softirq_raise/enable: 0\n"
        );
    }

    #[test]
    fn set_takes_settings_alone() {
        let choices = Choices { before: Before::GoOn, ..Choices::default() };
        let setup = setup("-O foo -B other -e irq", choices).unwrap();
        let wanted = "instances/other: made, if missing\ntrace_options: foo\ninstances/other/";
        assert!(text(&setup).starts_with(wanted), "{}", text(&setup));
    }

    #[test]
    fn instances_alone_leave_the_top_one_as_it_is() {
        let line = "-B foo -p function -l sched* -l do_exit:traceoff:3 -n x -F -c -P 9 -e irq -M 3 -v -e softirq_raise";
        let setup = setup(line, Choices::default()).unwrap();
        assert_eq!(setup.places, [Place::Instance("foo".to_owned())]);
        let wanted = "instances/foo: made, if missing\n\
             tracing_on: 0\ntracing_cpumask: 3\ntrace: emptied\n\
             set_ftrace_filter: emptied\nset_ftrace_filter: sched*\n\
             set_ftrace_notrace: emptied\nset_ftrace_notrace: x\n\
             set_ftrace_filter: do_exit:traceoff:3\n\
             set_event_pid: emptied\nset_event_pid: 9\nset_event_pid: the command's pid\n\
             set_ftrace_pid: emptied\nset_ftrace_pid: 9\nset_ftrace_pid: the command's pid\n\
             trace_options: event-fork\ntrace_options: function-fork\n\
             events/irq/enable: 1\nevents/irq/softirq_raise/enable: 0\ncurrent_tracer: function\n";
        let wanted: Vec<String> = wanted
            .lines()
            .map(|line| match line.strip_prefix("instances/foo:") {
                Some(_) => line.to_owned(),
                None => format!("instances/foo/{line}"),
            })
            .collect();
        assert_eq!(text(&setup).lines().collect::<Vec<_>>(), wanted);
        let begin: String = setup.begin().map(ToString::to_string).collect();
        assert_eq!(begin, "instances/foo/tracing_on: 1\n");
    }

    #[test]
    fn a_trigger_of_an_inverted_event_leaves_the_event_alone() {
        let setup = setup("-v -e sched_switch -R traceoff:1", Choices::default()).unwrap();
        assert!(!text(&setup).contains("sched_switch/enable"));
        let begin: String = setup.begin().map(ToString::to_string).collect();
        assert_eq!(begin, "tracing_on: 1\nevents/sched/sched_switch/trigger: traceoff:1\n");
    }

    #[test]
    fn unknown_events_are_errors_unless_ignored() {
        assert!(setup("-e nothing", Choices::default()).is_err());
        let ignore = Choices { ignore_missing: true, ..Choices::default() };
        let setup = setup("-e nothing -e sched", ignore).unwrap();
        assert_eq!(setup.skipped, ["nothing"]);
        assert_eq!(setup.events.len(), 2);
    }
}
