//! Identifiers of options.

use std::fmt;

/// An option identifier. Unknown values are kept, so a newer file still round-trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OptionId(pub u16);

impl OptionId {
    /// End of a list. Version 6: nothing follows, not even a size. Version 7: size 8, then the
    /// `u64` offset of the next options section, 0 for none.
    pub const DONE: Self = Self(0);
    /// ASCII `0x<hex>`: microseconds that make wall-clock time of the clock's. Behind its NUL may stand, in decimal, by how
    /// many they may be wrong.
    pub const DATE: Self = Self(1);
    /// Text: statistics of one CPU's buffer, NUL-terminated.
    pub const CPU_STAT: Self = Self(2);
    /// A buffer: where it is and its name; version 7 also clock, page size and the CPUs' data.
    pub const BUFFER: Self = Self(3);
    /// Text of `trace_clock`, the selected one in brackets.
    pub const TRACE_CLOCK: Self = Self(4);
    /// `sysname nodename release machine`, NUL-terminated.
    pub const UNAME: Self = Self(5);
    /// Definition of one profiling hook.
    pub const HOOK: Self = Self(6);
    /// ASCII number: nanoseconds to add to the time stamps.
    pub const OFFSET: Self = Self(7);
    /// `u32`: number of CPUs; in version 6 that of the preceding buffer, when it follows one.
    pub const CPU_COUNT: Self = Self(8);
    /// `<version> <git or empty>` of the writer, NUL-terminated.
    pub const VERSION: Self = Self(9);
    /// Text: address ranges of one process.
    pub const PROC_MAPS: Self = Self(10);
    /// `u64`: names this trace in files of other machines.
    pub const TRACE_ID: Self = Self(11);
    /// Correction of a guest's clock to its host's.
    pub const TIME_SHIFT: Self = Self(12);
    /// A guest: name, trace id, virtual CPUs and their threads.
    pub const GUEST: Self = Self(13);
    /// `u32` multiplier, `u32` shift, `u64` offset: cycles to nanoseconds.
    pub const TSC_TO_NSEC: Self = Self(14);
    /// Section of strings; never in a list.
    pub const STRINGS: Self = Self(15);
    /// `u64` offset of the section with the ring buffer's own formats.
    pub const HEADER_INFO: Self = Self(16);
    /// `u64` offset of the section with formats of ftrace's own events.
    pub const FTRACE_EVENTS: Self = Self(17);
    /// `u64` offset of the section with all other event formats.
    pub const EVENT_FORMATS: Self = Self(18);
    /// `u64` offset of the section with the text of `kallsyms`.
    pub const KALLSYMS: Self = Self(19);
    /// `u64` offset of the section with the text of `printk_formats`.
    pub const PRINTK: Self = Self(20);
    /// `u64` offset of the section with the text of `saved_cmdlines`.
    pub const CMDLINES: Self = Self(21);
    /// `u64` offset of the section with the text of `trace`, name, clock.
    pub const BUFFER_TEXT: Self = Self(22);
    /// `u64` offset of the section with the kernel's type information.
    pub const BTF_FILE: Self = Self(23);
    /// `INSTANCE:` and the text of that instance's `last_boot_info`.
    pub const LAST_BOOT_INFO: Self = Self(24);
    /// `u64` offset of the section with the text of `/proc/modules`.
    pub const MODULES_FILE: Self = Self(25);
    /// How wrong TIME_SHIFT may be; of this crate alone. `u32` number of lists, then each list: `u32` number of samples, and for
    /// each `u64` guest time, `u64` bound, `u64` what is to be added up to the next. Lists are by virtual CPU; the last counts
    /// for all behind it.
    pub const TIME_ERROR: Self = Self(0x5445);
    /// A recording that nobody has completed yet: see [`Live`](super::Live). Of this crate alone,
    /// and out of the chain of options once the file is complete.
    pub const LIVE: Self = Self(0x4c56);

    /// The name in the documentation of the format; `None` for unknown ones.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::DONE => "DONE",
            Self::DATE => "DATE",
            Self::CPU_STAT => "CPUSTAT",
            Self::BUFFER => "BUFFER",
            Self::TRACE_CLOCK => "TRACECLOCK",
            Self::UNAME => "UNAME",
            Self::HOOK => "HOOK",
            Self::OFFSET => "OFFSET",
            Self::CPU_COUNT => "CPUCOUNT",
            Self::VERSION => "VERSION",
            Self::PROC_MAPS => "PROCMAPS",
            Self::TRACE_ID => "TRACEID",
            Self::TIME_SHIFT => "TIME_SHIFT",
            Self::GUEST => "GUEST",
            Self::TSC_TO_NSEC => "TSC2NSEC",
            Self::STRINGS => "STRINGS",
            Self::HEADER_INFO => "HEADER_INFO",
            Self::FTRACE_EVENTS => "FTRACE_EVENTS",
            Self::EVENT_FORMATS => "EVENT_FORMATS",
            Self::KALLSYMS => "KALLSYMS",
            Self::PRINTK => "PRINTK",
            Self::CMDLINES => "CMDLINES",
            Self::BUFFER_TEXT => "BUFFER_TEXT",
            Self::BTF_FILE => "BTF_FILE",
            Self::LAST_BOOT_INFO => "LAST_BOOT_INFO",
            Self::MODULES_FILE => "MODULES_FILE",
            Self::TIME_ERROR => "TIME_ERROR",
            Self::LIVE => "LIVE",
            _ => return None,
        })
    }
}

impl fmt::Display for OptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "option {}", self.0),
        }
    }
}
