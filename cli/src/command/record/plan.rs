//! What shall be recorded where: the ordered words of `record`, read as a plan. Touches nothing.

use std::path::{Path, PathBuf};

use super::args::{Args, Word};
use crate::error::Error;

/// The clock of sessions with guests: user space reads the same one, so machines can be compared.
const CLOCK_WITH_GUESTS: &str = "mono";

/// All machines of one recording.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) host: MachinePlan,
    pub(crate) guests: Vec<GuestPlan>,
}

/// What one machine records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MachinePlan {
    /// The top-level buffer.
    pub(crate) top: InstancePlan,
    /// Named instances, in the order of their `-B`.
    pub(crate) instances: Vec<(String, InstancePlan)>,
}

/// What one instance records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InstancePlan {
    pub(crate) clock: Option<String>,
    pub(crate) buffer_kb: Option<u64>,
    pub(crate) events: Vec<EventRequest>,
}

/// `-e PATTERN` with its `-f`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRequest {
    pub(crate) pattern: String,
    /// Several `-f` of one event, joined.
    pub(crate) filter: Option<String>,
}

/// What one guest is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GuestPlan {
    pub(crate) name: String,
    /// Its part of the command line, for its own `record` parser.
    pub(crate) arguments: Vec<String>,
    /// The command to run there.
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) clock: Option<String>,
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
            if let Word::Guest(name) = word {
                if guests.iter().any(|guest| guest.name == *name) {
                    return Err(Error::usage(format!("--dom {name} is given twice"))
                        .hint("put all its options behind one --dom"));
                }
                guests.push(GuestPlan {
                    name: name.clone(),
                    arguments: vec!["--compression".to_owned(), args.compression.clone()],
                    exec: None,
                    clock: None,
                });
            } else if let Some(guest) = guests.last_mut() {
                guest.add(word)?;
            } else {
                host.add(word)?;
            }
        }
        let plan = Self { host, guests };
        if plan.guests.is_empty() && !plan.host.records_something() {
            return Err(Error::usage("no event was specified")
                .hint("name what to record, for instance -e sched"));
        }
        if let Some(guest) = plan.guests.iter().find(|g| !g.arguments.iter().any(|a| a == "-e")) {
            return Err(Error::usage(format!("no event was specified for guest '{}'", guest.name))
                .hint(format!("for instance --dom {} -e sched", guest.name)));
        }
        plan.with_common_clock()
    }

    /// With guests, all machines use one clock that can be compared.
    fn with_common_clock(mut self) -> Result<Self, Error> {
        if self.guests.is_empty() {
            return Ok(self);
        }
        let clock = self.host.top.clock.get_or_insert_with(|| CLOCK_WITH_GUESTS.to_owned()).clone();
        for guest in &mut self.guests {
            match &guest.clock {
                Some(own) if *own != clock => {
                    return Err(Error::usage(format!(
                        "guest '{}' has clock {own}, the host {clock}",
                        guest.name
                    ))
                    .hint("give -C once, before the first --dom"));
                }
                Some(_) => {}
                None => {
                    guest.arguments.splice(0..0, ["-C".to_owned(), clock.clone()]);
                    guest.clock = Some(clock.clone());
                }
            }
        }
        Ok(self)
    }
}

impl MachinePlan {
    /// What a request from a host asks this machine, as its guest, to record.
    ///
    /// # Errors
    /// An option that is the host's alone.
    pub(crate) fn of_guest(args: &Args) -> Result<Self, Error> {
        let mut machine = Self::default();
        for word in &args.words {
            machine.add(word)?;
        }
        if args.output.is_some() || args.virt_dir.is_some() || !args.command.is_empty() {
            return Err(Error::usage("-o, --virt-dir and commands are not for a guest"));
        }
        if !machine.instances.is_empty() {
            return Err(Error::usage("-B is not available in a guest"));
        }
        Ok(machine)
    }

    /// Whether the top-level buffer is recorded: not when only instances are.
    pub(crate) fn uses_top(&self) -> bool {
        !self.top.events.is_empty() || self.instances.is_empty()
    }

    fn records_something(&self) -> bool {
        !self.top.events.is_empty() || !self.instances.is_empty()
    }

    fn add(&mut self, word: &Word) -> Result<(), Error> {
        let inherited = self.top.clock.clone();
        let instance = self.instances.last_mut().map_or(&mut self.top, |(_, instance)| instance);
        match word {
            Word::Event(pattern) => {
                instance.events.push(EventRequest { pattern: pattern.clone(), filter: None });
            }
            Word::Filter(filter) => {
                let Some(event) = instance.events.last_mut() else {
                    return Err(Error::usage(format!("-f '{filter}' stands before any -e"))
                        .hint("put the filter behind its event"));
                };
                event.filter = Some(match event.filter.take() {
                    Some(first) => format!("{first}&&({filter})"),
                    None => format!("({filter})"),
                });
            }
            Word::BufferKb(kb) => instance.buffer_kb = Some(*kb),
            Word::Clock(clock) => instance.clock = Some(clock.clone()),
            Word::Instance(name) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err(Error::usage(format!("-B '{name}' is not an instance name"))
                        .hint("use letters, digits, '-' and '_'"));
                }
                // -B with a name seen before goes on with that instance.
                let known = self.instances.iter().position(|(known, _)| known == name);
                let instance = known.map(|place| self.instances.remove(place));
                let new =
                    || (name.clone(), InstancePlan { clock: inherited, ..InstancePlan::default() });
                self.instances.push(instance.unwrap_or_else(new));
            }
            Word::Exec(_) => {
                return Err(Error::usage(
                    "--exec runs a command in a guest, but no --dom is before it",
                )
                .hint("a command of this host stands at the end, without --exec"));
            }
            Word::Guest(_) => return Err(Error::usage("--dom is not for a guest")),
        }
        Ok(())
    }
}

impl GuestPlan {
    fn add(&mut self, word: &Word) -> Result<(), Error> {
        let mut option = |name: &str, value: &str| {
            self.arguments.extend([name.to_owned(), value.to_owned()]);
        };
        match word {
            Word::Event(pattern) => option("-e", pattern),
            Word::Filter(filter) => option("-f", filter),
            Word::BufferKb(kb) => option("-b", &kb.to_string()),
            Word::Clock(clock) => {
                option("-C", clock);
                self.clock = Some(clock.clone());
            }
            Word::Exec(command) if self.exec.is_none() => self.exec = Some(command.clone()),
            Word::Exec(_) => {
                return Err(Error::usage(format!("guest '{}' has two --exec", self.name))
                    .hint("join them: --exec sh -c 'first; second'"));
            }
            Word::Instance(name) => {
                return Err(Error::usage(format!("-B {name} stands behind --dom {}", self.name))
                    .hint("instances are recorded on the host only: put -B before --dom"));
            }
            Word::Guest(_) => {}
        }
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
    fn filters_bind_to_the_event_before_and_events_to_the_instance_before() {
        let plan = plan("-e sched -f a<1 -f b<2 -B foo -e irq -b 64 -C mono").unwrap();
        assert_eq!(plan.host.top.events[0].filter.as_deref(), Some("(a<1)&&(b<2)"));
        let (name, foo) = &plan.host.instances[0];
        assert_eq!(name, "foo");
        assert_eq!(foo.events[0].pattern, "irq");
        assert_eq!((foo.buffer_kb, foo.clock.as_deref()), (Some(64), Some("mono")));
        assert_eq!(plan.host.top.buffer_kb, None);
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
    fn without_a_clock_guests_and_host_use_one_that_can_be_compared() {
        let plan = plan("-e kvm --dom g1 -e all").unwrap();
        assert_eq!(plan.host.top.clock.as_deref(), Some("mono"));
        assert_eq!(plan.guests[0].clock.as_deref(), Some("mono"));
    }

    #[test]
    fn options_without_their_place_are_refused_with_a_next_step() {
        for (words, part) in [
            ("-f a<1 -e sched", "before any -e"),
            ("-e sched --exec app ;", "no --dom"),
            ("--dom g -e a --dom g -e b", "twice"),
            ("--dom g", "no event was specified for guest"),
            ("-b 100", "no event"),
            ("-e x -B a/b -e y", "not an instance name"),
            ("-e x --dom g -C mono_raw -e y", "has clock"),
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
