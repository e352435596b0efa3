//! What shall be recorded where: the ordered words of `record`, read as a plan. Touches nothing.

use std::path::{Path, PathBuf};

use trace_virt::wish::{OWN_RECORDING, Wish};

use super::agent_address::AgentAddress;
use super::agents::AgentPlace;
use super::args::Args;
use super::guests::LostGuest;
use crate::command::tracing_plan::{Before, COUNTER, MachinePlan, Word};
use crate::error::Error;

/// The clock of sessions with guests: user space reads the same one, so machines can be compared.
pub(super) const CLOCK_WITH_GUESTS: &str = "mono";

/// All machines of one recording.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) host: MachinePlan,
    pub(crate) guests: Vec<GuestPlan>,
    /// Nobody named a clock: any that can be compared will do.
    clock_is_free: bool,
}

/// What one guest is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GuestPlan {
    pub(crate) name: String,
    /// Where its agent is; without one it is reached through virt-server.
    pub(crate) agent: Option<AgentAddress>,
    /// It is the host of this machine, and its agent records it for this machine.
    pub(crate) is_proxy: bool,
    /// What it is called in files, if not by its name.
    title: Option<String>,
    /// Its part of the command line, for its own `record` parser.
    pub(crate) arguments: Vec<String>,
    /// The command to run there.
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) clock: Option<String>,
    /// Its instances that are recorded.
    pub(crate) instances: Vec<String>,
    /// Of all its CPUs together; what is beyond is not kept.
    pub(crate) max_bytes: Option<u64>,
    /// It started the recording by itself: what its command writes stays there.
    pub(crate) is_own: bool,
}

impl Plan {
    /// Reads the words.
    ///
    /// # Errors
    /// An option that has nothing to bind to, a guest named twice, or nothing to record.
    pub(crate) fn new(args: &Args) -> Result<Self, Error> {
        let mut host = MachinePlan::default();
        let mut guests: Vec<GuestPlan> = Vec::new();
        for word in &args.words {
            let guest = match word {
                Word::Guest(name) => Some(("--dom", GuestPlan::new(name, args))),
                Word::Agent(place) => Some(("-A", GuestPlan::of_agent("-A", place, args)?)),
                Word::Proxy(place) => {
                    let host = GuestPlan::of_agent("--proxy", place, args)?;
                    if guests.iter().any(|guest| guest.is_proxy) {
                        return Err(Error::usage("--proxy is given twice").hint(
                            "a machine has one host: put all its options behind one --proxy",
                        ));
                    }
                    let mut host = GuestPlan { is_proxy: true, ..host };
                    // It is the host that compares.
                    host.arguments.extend(args.agents.interval_words());
                    Some(("--proxy", host))
                }
                _ => None,
            };
            if let Some((option, new)) = guest {
                let name = &new.name;
                if guests.iter().any(|guest| guest.name == *name) {
                    return Err(Error::usage(format!("{option} {name} is given twice"))
                        .hint(format!("put all its options behind one {option}")));
                }
                guests.push(new);
            } else if let Some(guest) = guests.last_mut() {
                guest.add(word)?;
            } else {
                host.add(word)?;
            }
        }
        host.finish(&args.setup.profile)?;
        // Wall time is that of a clock in nanoseconds.
        let clock_is_free = !args.tsc_to_nsec
            && !args.date
            && !args.words.iter().any(|word| matches!(word, Word::Clock(_)));
        let plan = Self { host, guests, clock_is_free };
        plan.check(args)?;
        plan.with_common_clock()
    }

    fn check(&self, args: &Args) -> Result<(), Error> {
        let host = &self.host;
        if let Some(name) = host.deleted.first() {
            return Err(Error::usage(format!("-B {name} behind -v would delete it"))
                .hint("delete it with 'trace-cmd set -v -B NAME'; put -B before -v to record it"));
        }
        if self.guests.is_empty() && !host.traces_something() && args.setup.before == Before::Reset
        {
            return Err(Error::usage("no event was specified")
                .hint("name what to record, for instance -e sched, or -p TRACER"));
        }
        let has_agents = self.guests.iter().any(|guest| guest.agent.is_some());
        if let Some(option) = args.agents.named.filter(|_| !has_agents) {
            return Err(Error::usage(format!("{option} belongs to -A"))
                .hint("clocks of --dom are compared all the time, and their data comes in FIFOs"));
        }
        if host.wants_command() && args.command.is_empty() {
            return Err(Error::usage("-F traces the command, and there is none")
                .hint("put a command at the end, or name tasks with -P"));
        }
        if args.proc_map && args.command.is_empty() && host.pids().is_empty() {
            return Err(Error::usage("--proc-map is for the command or the tasks of -P")
                .hint("put a command at the end, or name tasks with -P"));
        }
        if host.measures_latency() && !self.guests.is_empty() {
            return Err(Error::usage("latency tracers cannot be recorded together with guests")
                .hint("leave --dom out"));
        }
        if args.remote.is_some() && !self.guests.is_empty() {
            return Err(Error::usage("guests are recorded into files, not to a listener")
                .hint("leave -N out, or record the guest by itself"));
        }
        if args.remote.is_some() && host.measures_latency() {
            return Err(Error::usage("latency tracers leave a text, which no listener takes")
                .hint("leave -N out"));
        }
        if let Some(guest) = self.guests.iter().find(|guest| guest.blocks() && guest.exec.is_none())
        {
            let message = format!(
                "--on-full block lets the command of guest '{}' wait, and there is none",
                guest.name
            );
            return Err(Error::usage(message).hint("add --exec COMMAND, or leave it out"));
        }
        if let Some(guest) = self.guests.iter().find(|guest| !guest.traces_something()) {
            return Err(Error::usage(format!("no event was specified for guest '{}'", guest.name))
                .hint(format!("for instance --dom {} -e sched", guest.name)));
        }
        Ok(())
    }

    /// With guests, all machines use one clock that can be compared.
    fn with_common_clock(mut self) -> Result<Self, Error> {
        if self.guests.is_empty() {
            return Ok(self);
        }
        let host = &mut self.host;
        let traces_something = host.traces_something();
        // A buffer without events has no clock that the others must follow.
        if host.top.clock.is_none() && !host.top.traces_something() {
            host.top.clock = host.instances.iter().find_map(|(_, plan)| plan.clock.clone());
        }
        if host.top.clock.is_none() && !traces_something {
            host.top.clock = self.guests.iter().find_map(|guest| guest.clock.clone());
        }
        let clock = host.top.clock.get_or_insert_with(|| CLOCK_WITH_GUESTS.to_owned()).clone();
        for (name, instance) in &mut host.instances {
            let own = instance.clock.get_or_insert_with(|| clock.clone());
            if *own != clock {
                return Err(Error::usage(format!(
                    "instance '{name}' has clock {own}, with guests all have {clock}"
                ))
                .hint("give -C once, before the first -B"));
            }
        }
        for guest in &mut self.guests {
            match &guest.clock {
                Some(own) if *own != clock => {
                    return Err(Error::usage(format!(
                        "guest '{}' has clock {own}, the host {clock}",
                        guest.name
                    ))
                    .hint("give -C once, before the first --dom"));
                }
                _ => guest.set_clock(&clock),
            }
        }
        Ok(self)
    }

    /// Whether all machines may [count ticks](Self::count_ticks).
    pub(super) fn may_count_ticks(&self) -> bool {
        self.clock_is_free && !self.guests.is_empty()
    }

    /// All machines count ticks of their processors, and files have the factor that makes nanoseconds of them.
    pub(super) fn count_ticks(&mut self) {
        self.host.tsc_to_nsec = true;
        self.host.top.clock = Some(COUNTER.to_owned());
        for (_, instance) in &mut self.host.instances {
            instance.clock = Some(COUNTER.to_owned());
        }
        for guest in &mut self.guests {
            guest.arguments.drain(..2);
            guest.set_clock(COUNTER);
        }
    }
}

/// What a request from a host asks this machine, as its guest, to record.
///
/// # Errors
/// An option that is the host's alone.
pub(crate) fn of_guest(args: &Args) -> Result<MachinePlan, Error> {
    let of_machine = args.words.iter().filter(|word| !matches!(word, Word::OnFull(_)));
    let words: Vec<Word> = of_machine.cloned().collect();
    let machine = MachinePlan::new(&words, &args.setup.profile)?;
    if let Some(name) = machine.deleted.first() {
        return Err(Error::usage(format!("-B {name} behind -v is not available in a guest")));
    }
    if machine.wants_command() || machine.measures_latency() {
        return Err(Error::usage("-F and latency tracers are not available in a guest"));
    }
    Ok(machine)
}

impl GuestPlan {
    fn new(name: &str, args: &Args) -> Self {
        let compression = args.compression.clone().unwrap_or_else(|| "any".to_owned());
        Self {
            name: name.to_owned(),
            agent: None,
            is_proxy: false,
            title: None,
            arguments: vec!["--compression".to_owned(), compression],
            exec: None,
            clock: None,
            instances: Vec::new(),
            max_bytes: None,
            is_own: false,
        }
    }

    fn of_agent(option: &str, place: &str, args: &Args) -> Result<Self, Error> {
        let AgentPlace { name, address } = AgentPlace::parse(option, place)?;
        Ok(Self { agent: Some(address), ..Self::new(&name, args) })
    }

    /// What a guest wants recorded that knows the rest by itself.
    pub(crate) fn of_wish(name: &str, wish: Wish, max_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            agent: None,
            is_proxy: false,
            title: None,
            arguments: vec![OWN_RECORDING.to_owned()],
            // It is its own, whichever that is, and its end is that of the recording.
            exec: Some(Vec::new()),
            clock: Some(wish.clock),
            instances: wish.instances,
            max_bytes: Some(max_bytes),
            is_own: true,
        }
    }

    /// What it is called in files.
    pub(crate) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// Given first, before all other words, it is that of all its instances.
    fn set_clock(&mut self, clock: &str) {
        self.arguments.splice(0..0, ["-C".to_owned(), clock.to_owned()]);
        self.clock = Some(clock.to_owned());
    }

    /// Whether its command shall wait for the host.
    fn blocks(&self) -> bool {
        self.arguments.windows(2).any(|pair| pair == ["--on-full", "block"])
    }

    /// Why it is not recorded.
    pub(crate) fn lost(&self, error: Error) -> LostGuest {
        LostGuest { name: self.title().to_owned(), error }
    }

    fn traces_something(&self) -> bool {
        self.arguments.iter().any(|word| word == "-e" || word == "-p")
    }

    fn add(&mut self, word: &Word) -> Result<(), Error> {
        match word {
            Word::Exec(_) if self.is_proxy => {
                return Err(Error::usage("--exec stands behind --proxy")
                    .hint("a guest runs nothing on its host"));
            }
            Word::Exec(command) if self.exec.is_none() => self.exec = Some(command.clone()),
            Word::Exec(_) => {
                return Err(Error::usage(format!("guest '{}' has two --exec", self.name))
                    .hint("join them: --exec sh -c 'first; second'"));
            }
            Word::OnlyCommand => {
                return Err(Error::usage(format!("-F stands behind --dom {}", self.name))
                    .hint("in a guest, name tasks with -P"));
            }
            Word::Instance(name) => self.instances.push(name.clone()),
            Word::GuestTitle(title) => self.title = Some(title.clone()),
            Word::Clock(clock) if clock == "tsc2nsec" => {
                return Err(Error::usage(format!("-C tsc2nsec stands behind --dom {}", self.name))
                    .hint("in guests, use -C x86-tsc"));
            }
            // Given once, when that of all machines is known.
            Word::Clock(clock) => {
                let other = self.clock.replace(clock.clone()).filter(|other| other != clock);
                return match other {
                    Some(other) => Err(Error::usage(format!(
                        "guest '{}' has clocks {other} and {clock}",
                        self.name
                    ))
                    .hint("give -C once, before the first --dom")),
                    None => Ok(()),
                };
            }
            _ => {}
        }
        self.arguments.extend(word.to_arguments());
        Ok(())
    }
}

/// The file of one guest: `trace.dat` and `guest1` give `trace-guest1.dat`.
pub(crate) fn guest_output(output: &Path, guest: &str) -> PathBuf {
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let name = match output.extension() {
        Some(extension) => format!("{stem}-{guest}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{guest}"),
    };
    output.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &str) -> Result<Plan, Error> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Plan::new(&Args::parse(&words).unwrap())
    }

    #[test]
    fn guests_get_their_words_and_the_hosts_clock() {
        let plan =
            plan("-C boot -e kvm --dom g1 -e all --exec app foo ; --dom g2 -e sched").unwrap();
        assert_eq!(plan.guests[0].arguments, ["-C", "boot", "--compression", "any", "-e", "all"]);
        assert_eq!(plan.guests[0].exec.as_deref(), Some(&["app".to_owned(), "foo".to_owned()][..]));
        assert_eq!(plan.guests[1].arguments, ["-C", "boot", "--compression", "any", "-e", "sched"]);
    }

    #[test]
    fn instances_of_a_guest_have_the_clock_of_all() {
        let ours = plan("-e kvm -B host -e irq --dom g1 -e irq -B -B -e sched -b 64").unwrap();
        let words = "-C mono --compression any -e irq -B -B -e sched -b 64";
        assert_eq!(ours.guests[0].arguments.join(" "), words);
        assert_eq!(ours.host.instances[0].1.clock.as_deref(), Some("mono"));
        // Without events in the top-level buffer it is that of the instances.
        let own = plan("-B host -C boot -e irq --dom g1 -e irq").unwrap();
        assert_eq!(own.host.top.clock.as_deref(), Some("boot"));
        assert_eq!(own.guests[0].clock.as_deref(), Some("boot"));
        let other = "-e kvm --dom g1 -e irq -C mono -B foo -C mono_raw -e sched";
        assert!(plan(other).unwrap_err().to_string().contains("clocks mono and"));
    }

    #[test]
    fn guests_are_told_what_they_shall_do_when_full_only_if_it_is_not_the_usual() {
        let arguments = |words: &str| plan(words).unwrap().guests[0].arguments.join(" ");
        let block = arguments("--dom g1 -e all --on-full block --exec app ;");
        assert!(block.ends_with("-e all --on-full block"), "{block}");
        assert!(!arguments("--dom g1 -e all --on-full drop").contains("full"));
        // The guest reads it back, and has nothing to plan with it.
        let words: Vec<String> = block.split(' ').map(str::to_owned).collect();
        let args = Args::parse(&words).unwrap();
        assert!(args.words.contains(&Word::OnFull("block".to_owned())));
        assert!(of_guest(&args).is_ok());
    }

    #[test]
    fn agents_are_guests_whose_clock_is_the_hosts_unless_that_has_no_events() {
        let guests = plan("-e kvm -A 3:99 -e all --name g1 --tsync-interval 0").unwrap().guests;
        assert_eq!(
            guests[0].agent.as_ref().map(ToString::to_string).as_deref(),
            Some("vsock:3:99")
        );
        assert_eq!(guests[0].title(), "g1");
        assert_eq!(guests[0].arguments, ["-C", "mono", "--compression", "any", "-e", "all"]);
        let guests = plan("-A host -C local -e all").unwrap().guests;
        assert_eq!(guests[0].clock.as_deref(), Some("local"));
        assert!(plan("-e kvm -A host -C local -e all").is_err());
    }

    #[test]
    fn a_host_is_asked_as_an_agent_is() {
        let plan = plan("-e irq --tsync-interval 250 --proxy 2 -e kvm --name host").unwrap();
        let [host] = &plan.guests[..] else { panic!("{plan:?}") };
        let address = host.agent.as_ref().map(ToString::to_string);
        assert_eq!((host.is_proxy, address.as_deref()), (true, Some("vsock:2:823")));
        assert_eq!(host.title(), "host");
        let words = "-C mono --compression any --tsync-interval 250 -e kvm";
        assert_eq!(host.arguments.join(" "), words);
    }

    #[test]
    fn without_a_clock_guests_and_host_use_one_that_can_be_compared() {
        let plan = plan("-e kvm --dom g1 -e all").unwrap();
        assert_eq!(plan.host.top.clock.as_deref(), Some("mono"));
        assert_eq!(plan.guests[0].clock.as_deref(), Some("mono"));
    }

    #[test]
    fn ticks_are_counted_only_where_nobody_named_a_clock() {
        let mut free = plan("-e kvm -B host -e irq --dom g1 -e all -B own -e irq").unwrap();
        assert!(free.may_count_ticks());
        free.count_ticks();
        let words = "-C x86-tsc --compression any -e all -B own -e irq";
        assert_eq!(free.guests[0].arguments.join(" "), words);
        assert_eq!(free.guests[0].clock.as_deref(), Some("x86-tsc"));
        assert_eq!(free.host.top.clock.as_deref(), Some("x86-tsc"));
        assert_eq!(free.host.instances[0].1.clock.as_deref(), Some("x86-tsc"));
        assert!(free.host.tsc_to_nsec);
        for words in [
            "-C mono -e kvm --dom g1 -e all",
            "-e kvm --dom g1 -C mono -e all",
            "--date -e kvm --dom g1 -e all",
            "-e kvm",
        ] {
            assert!(!plan(words).unwrap().may_count_ticks(), "{words}");
        }
    }

    #[test]
    fn options_without_their_place_are_refused_with_a_next_step() {
        for (words, part) in [
            ("-f a<1 -e sched", "before any -e"),
            ("-e sched --exec app ;", "no --dom"),
            ("--dom g -e a --dom g -e b", "twice"),
            ("--dom g", "no event was specified for guest"),
            ("-b 100", "no event"),
            ("-B foo", "no event"),
            ("-e x -B a/b -e y", "not an instance name"),
            ("-e x --dom g -C mono_raw -e y", "has clock"),
            ("-C mono -e x -B a -C boot -e y --dom g -e z", "instance 'a' has clock boot"),
            ("-e x -F", "there is none"),
            ("-e x --proc-map", "--proc-map is for"),
            ("-e x --name g", "before any --dom"),
            ("-e x --dom g -e y -F", "behind --dom"),
            ("-p wakeup --dom g -e y", "latency tracers"),
            ("-e x -v -B foo -e y", "would delete it"),
            ("-N 1 -e x --dom g -e y", "not to a listener"),
            ("-e x --on-full block --dom g -e y", "before any --dom"),
            ("--dom g -e y --on-full block", "there is none"),
            ("-N 1 -p wakeup", "which no listener takes"),
            ("-A g -e a -A g -e b", "-A g is given twice"),
            ("-A g", "no event was specified for guest"),
            ("-e x --proxy 2", "no event was specified for guest"),
            ("--proxy 2 -e a --proxy 3 -e b", "given twice"),
            ("--proxy 2 -e a --exec app ;", "runs nothing on its host"),
            ("--proxy @2 -e a", "names nobody"),
            ("--tsync-interval -1 -e x --dom g -e y", "belongs to -A"),
            ("--nofifos -e x", "belongs to -A"),
        ] {
            let error = plan(words).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("; "), "{words}: {error}");
        }
    }

    #[test]
    fn guest_files_stand_beside_the_hosts() {
        assert_eq!(guest_output(Path::new("out/trace.dat"), "g1"), Path::new("out/trace-g1.dat"));
        assert_eq!(guest_output(Path::new("t"), "g1"), Path::new("t-g1"));
    }
}
