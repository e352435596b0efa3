//! Probes: of kernel code, of programs, of other events.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fetch_arg::FetchArg;
use crate::event::EventName;

/// A place in the kernel: `p:kprobes/open do_sys_open+4 dfd=%di`; or the return from a function:
/// `r8:kprobes/opened do_sys_open ret=$retval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kprobe {
    /// System and name of its event.
    pub name: EventName,
    /// `[MODULE:]SYMBOL[+OFFSET]`, or an address.
    pub location: String,
    /// Whether it is the return that counts.
    pub returns: bool,
    /// How many calls may be under way at once while their returns are waited for; `None` for the
    /// kernel's choice. Only for returns.
    pub max_active: Option<u32>,
    /// Its fields.
    pub args: Vec<FetchArg>,
}

/// A place in a program or library: `p:uprobes/main /bin/bash:0x4710`; or the return from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uprobe {
    /// System and name of its event.
    pub name: EventName,
    /// The file.
    pub path: PathBuf,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// Offset in the file of a counter that is held above zero while the probe exists.
    pub reference_counter: Option<u64>,
    /// Whether it is the return that counts.
    pub returns: bool,
    /// Its fields.
    pub args: Vec<FetchArg>,
}

/// Another event with other fields: `e:eprobes/open syscalls.sys_enter_openat
/// file=+0($filename):ustring`. Since Linux 5.15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eprobe {
    /// System and name of its event.
    pub name: EventName,
    /// The event it stands on.
    pub event: EventName,
    /// Its fields.
    pub args: Vec<FetchArg>,
    /// Which events count, in the language of event filters; `None` for all. Since Linux 6.1.
    pub filter: Option<String>,
}

impl Kprobe {
    /// A probe of a place, in the system `kprobes`.
    pub fn new(event: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            name: EventName::new("kprobes", event),
            location: location.into(),
            returns: false,
            max_active: None,
            args: Vec::new(),
        }
    }

    /// Counts the return rather than the call.
    #[must_use]
    pub fn on_return(mut self) -> Self {
        self.returns = true;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn arg(mut self, arg: FetchArg) -> Self {
        self.args.push(arg);
        self
    }
}

impl Uprobe {
    /// A probe of a place in a file, in the system `uprobes`.
    pub fn new(event: impl Into<String>, path: impl AsRef<Path>, offset: u64) -> Self {
        Self {
            name: EventName::new("uprobes", event),
            path: path.as_ref().to_owned(),
            offset,
            reference_counter: None,
            returns: false,
            args: Vec::new(),
        }
    }

    /// Counts the return rather than the call.
    #[must_use]
    pub fn on_return(mut self) -> Self {
        self.returns = true;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn arg(mut self, arg: FetchArg) -> Self {
        self.args.push(arg);
        self
    }
}

impl Eprobe {
    /// A probe of an event, in the system `eprobes`.
    pub fn new(name: impl Into<String>, event: EventName) -> Self {
        let name = EventName::new("eprobes", name);
        Self { name, event, args: Vec::new(), filter: None }
    }

    /// Adds a field.
    #[must_use]
    pub fn arg(mut self, arg: FetchArg) -> Self {
        self.args.push(arg);
        self
    }
}

impl fmt::Display for Kprobe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.returns { "r" } else { "p" })?;
        if let (true, Some(max_active)) = (self.returns, self.max_active) {
            write!(f, "{max_active}")?;
        }
        write!(f, ":{}/{} {}", self.name.system, self.name.event, self.location)?;
        args(f, &self.args)
    }
}

impl fmt::Display for Uprobe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.returns { 'r' } else { 'p' };
        let (system, event) = (&self.name.system, &self.name.event);
        write!(f, "{letter}:{system}/{event} {}:{:#x}", self.path.display(), self.offset)?;
        if let Some(counter) = self.reference_counter {
            write!(f, "({counter:#x})")?;
        }
        args(f, &self.args)
    }
}

impl fmt::Display for Eprobe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e:{}/{} ", self.name.system, self.name.event)?;
        write!(f, "{}.{}", self.event.system, self.event.event)?;
        args(f, &self.args)?;
        match &self.filter {
            Some(filter) => write!(f, " if {filter}"),
            None => Ok(()),
        }
    }
}

fn args(f: &mut fmt::Formatter<'_>, args: &[FetchArg]) -> fmt::Result {
    args.iter().try_for_each(|arg| write!(f, " {arg}"))
}
