//! The ordered options on a command line: their help, and their words in the order they were typed.
//!
//! Options bind to what comes before them: `-f` to the last `-e`, `-e` to the last `-B` or `--dom`.

use clap::{Arg, ArgAction, ArgMatches};

use super::word::Word;

/// Headings of the help.
pub(crate) mod heading {
    pub(crate) const EVENTS: &str = "Events";
    pub(crate) const FUNCTIONS: &str = "Tracers and functions";
    pub(crate) const TASKS: &str = "Tasks";
    pub(crate) const BUFFERS: &str = "Buffers and clock";
    pub(crate) const GUESTS: &str = "Guests";
}

/// How an option becomes a word.
enum Kind {
    Flag(fn() -> Word),
    Text(&'static str, fn(String) -> Word),
    Number(&'static str, u64, fn(u64) -> Word),
}

/// One ordered option.
struct Ordered {
    /// Long name, or what stands for it inside.
    id: &'static str,
    short: Option<char>,
    is_long: bool,
    kind: Kind,
    heading: &'static str,
    help: &'static str,
}

const fn short(
    id: &'static str,
    letter: char,
    kind: Kind,
    heading: &'static str,
    help: &'static str,
) -> Ordered {
    Ordered { id, short: Some(letter), is_long: false, kind, heading, help }
}

const fn long(id: &'static str, kind: Kind, heading: &'static str, help: &'static str) -> Ordered {
    Ordered { id, short: None, is_long: true, kind, heading, help }
}

use Kind::{Flag, Number, Text};
use heading::{BUFFERS, EVENTS, FUNCTIONS, TASKS};

const ORDERED: &[Ordered] = &[
    short(
        "event",
        'e',
        Text("EVENT", Word::Event),
        EVENTS,
        "Trace events: SYSTEM, SYSTEM:EVENT, EVENT, with globs, or 'all'",
    ),
    short(
        "filter",
        'f',
        Text("FILTER", Word::Filter),
        EVENTS,
        "Kernel filter for the events of the last -e; several are joined with &&",
    ),
    short(
        "trigger",
        'R',
        Text("TRIGGER", Word::Trigger),
        EVENTS,
        "Trigger for the events of the last -e, as 'stacktrace if pid > 100'",
    ),
    short(
        "invert",
        'v',
        Flag(|| Word::Invert),
        EVENTS,
        "Turn the events of later -e off instead of on; with -R, only set the trigger",
    ),
    short(
        "tracer",
        'p',
        Text("TRACER", Word::Tracer),
        FUNCTIONS,
        "Tracer: function, function_graph, nop, irqsoff, …; see available_tracers",
    ),
    short(
        "function",
        'l',
        Text("FUNCTION", Word::Function),
        FUNCTIONS,
        "Trace this function only: a name, a glob or a regular expression; or FUNCTION:COMMAND, as schedule:traceoff; may be repeated",
    ),
    short(
        "not-function",
        'n',
        Text("FUNCTION", Word::NotFunction),
        FUNCTIONS,
        "Do not trace this function",
    ),
    short(
        "graph-function",
        'g',
        Text("FUNCTION", Word::GraphFunction),
        FUNCTIONS,
        "Begin graphs at this function; holds for all instances",
    ),
    long(
        "module",
        Text("NAME", Word::Module),
        FUNCTIONS,
        "Later -l and -n mean functions of this module; alone: all of its functions",
    ),
    long(
        "max-graph-depth",
        Number("N", 0, Word::GraphDepth),
        FUNCTIONS,
        "Follow calls N levels deep; 0 is without limit",
    ),
    long(
        "func-stack",
        Flag(|| Word::FunctionStack),
        FUNCTIONS,
        "Record a stack trace for each function; wants -l",
    ),
    short(
        "trace-option",
        'O',
        Text("OPTION", Word::TraceOption),
        FUNCTIONS,
        "Set a trace option; with 'no' before its name, clear it",
    ),
    short(
        "stacktrace",
        'T',
        Flag(|| Word::TraceOption("stacktrace".to_owned())),
        FUNCTIONS,
        "Record a stack trace for each event; as -O stacktrace",
    ),
    short(
        "only-command",
        'F',
        Flag(|| Word::OnlyCommand),
        TASKS,
        "Trace only the command that is given",
    ),
    short(
        "pids",
        'P',
        Text("PID,...", Word::Pids),
        TASKS,
        "Trace only these tasks; a recording without a command ends when all of them have",
    ),
    short("children", 'c', Flag(|| Word::Children), TASKS, "With -F or -P: their children too"),
    short(
        "buffer-kb",
        'b',
        Number("KB", 1, Word::BufferKb),
        BUFFERS,
        "Ring buffer size of each CPU in KiB",
    ),
    long(
        "subbuf-size",
        Number("KB", 1, Word::SubBufferKb),
        BUFFERS,
        "Size of a sub-buffer in KiB, a power of two (Linux 6.8)",
    ),
    short(
        "cpu-mask",
        'M',
        Text("MASK", Word::CpuMask),
        BUFFERS,
        "Trace these CPUs only: a hexadecimal mask, -1 for all",
    ),
    short(
        "clock",
        'C',
        Text("CLOCK", Word::Clock),
        BUFFERS,
        "Trace clock, or tsc2nsec: x86-tsc, with its factor to nanoseconds in the file; with guests: \
         mono_raw, boot, tai, mono or x86-tsc; by default the last where KVM tells exactly of guests' ticks, else mono",
    ),
    long(
        "cmdlines-size",
        Number("N", 1, Word::CmdlinesSize),
        BUFFERS,
        "How many names of tasks the kernel keeps; holds for all instances",
    ),
    short(
        "instance",
        'B',
        Text("NAME", Word::Instance),
        BUFFERS,
        "Trace what follows in the tracing instance NAME",
    ),
];

/// Options for what is traced on this machine.
pub(crate) fn args() -> impl Iterator<Item = Arg> {
    ORDERED.iter().map(Ordered::arg)
}

/// Options for what is traced in guests.
pub(crate) fn guest_args() -> [Arg; 5] {
    [
        Arg::new("agent")
            .short('A')
            .value_name("GUEST[:PORT]")
            .action(ArgAction::Append)
            .help_heading(heading::GUESTS)
            .help(
                "Record what follows in a guest, through its 'trace-cmd agent': HOST, CID, NAME@CID, vsock:CID:PORT, \
                 unix:PATH:PORT [default port: 823]",
            ),
        Arg::new("dom")
            .long("dom")
            .value_name("GUEST")
            .action(ArgAction::Append)
            .help_heading(heading::GUESTS)
            .help("Record what follows in the guest GUEST, through virt-server"),
        Arg::new("title")
            .long("name")
            .value_name("NAME")
            .action(ArgAction::Append)
            .help_heading(heading::GUESTS)
            .help("Call the guest of the last --dom or -A NAME in its file and the file's name"),
        Arg::new("exec")
            .long("exec")
            .value_name("COMMAND")
            .action(ArgAction::Append)
            .num_args(1..)
            .value_terminator(";")
            .allow_hyphen_values(true)
            .help_heading(heading::GUESTS)
            .help("Run COMMAND in the guest; ends with a word ';'. The guest must allow it"),
        Arg::new("on-full")
            .long("on-full")
            .value_name("drop|block")
            .action(ArgAction::Append)
            .value_parser(["drop", "block"])
            .help_heading(heading::GUESTS)
            .help("When the host is slower than the guest: lose events, and count them, or have the guest's COMMAND wait [default: drop]"),
    ]
}

/// The option for what is recorded on the host of this machine.
pub(crate) fn proxy_arg() -> Arg {
    Arg::new("proxy")
        .long("proxy")
        .value_name("CID[:PORT]")
        .action(ArgAction::Append)
        .help_heading(heading::GUESTS)
        .help(
            "In a guest: record what follows on its host, through 'trace-cmd agent -P' there; named as for -A, \
             the host's CID is 2",
        )
}

/// The words clap matched, in the order in which they stood.
pub(crate) fn words(matches: &ArgMatches) -> Vec<Word> {
    let mut placed = Vec::new();
    for option in ORDERED {
        option.collect(matches, &mut placed);
    }
    if matches.try_contains_id("dom").unwrap_or(false) {
        collect_texts(matches, "dom", Word::Guest, &mut placed);
    }
    if matches.try_contains_id("proxy").unwrap_or(false) {
        collect_texts(matches, "proxy", Word::Proxy, &mut placed);
    }
    if matches.try_contains_id("agent").unwrap_or(false) {
        collect_texts(matches, "agent", Word::Agent, &mut placed);
    }
    if matches.try_contains_id("title").unwrap_or(false) {
        collect_texts(matches, "title", Word::GuestTitle, &mut placed);
    }
    if matches.try_contains_id("on-full").unwrap_or(false) {
        collect_texts(matches, "on-full", Word::OnFull, &mut placed);
    }
    if matches.try_contains_id("exec").unwrap_or(false) {
        // An --exec has one index per word; its first one is its place.
        let mut indices = matches.indices_of("exec").into_iter().flatten();
        for words in matches.get_occurrences::<String>("exec").into_iter().flatten() {
            let words: Vec<String> = words.cloned().collect();
            let place = indices.by_ref().take(words.len()).min().unwrap_or(usize::MAX);
            placed.push((place, Word::Exec(words)));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, word)| word).collect()
}

fn collect_texts(
    matches: &ArgMatches,
    id: &str,
    word: fn(String) -> Word,
    placed: &mut Vec<(usize, Word)>,
) {
    let values = matches.get_many::<String>(id).into_iter().flatten().cloned().map(word);
    placed.extend(matches.indices_of(id).into_iter().flatten().zip(values));
}

impl Ordered {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.id).action(ArgAction::Append).help_heading(self.heading);
        let arg = arg.help(self.help);
        let arg = match self.short {
            Some(letter) => arg.short(letter),
            None => arg,
        };
        let arg = if self.is_long { arg.long(self.id) } else { arg };
        match self.kind {
            // A flag has no place of its own in clap; an option whose value is left out has.
            Flag(_) => arg.num_args(0).default_missing_value("on"),
            Text(name, _) => arg.value_name(name).allow_hyphen_values(true),
            Number(name, least, _) => {
                arg.value_name(name).value_parser(clap::value_parser!(u64).range(least..))
            }
        }
    }

    fn collect(&self, matches: &ArgMatches, placed: &mut Vec<(usize, Word)>) {
        match self.kind {
            Flag(word) => {
                let places = matches.indices_of(self.id).into_iter().flatten();
                placed.extend(places.map(|place| (place, word())));
            }
            Text(_, word) => collect_texts(matches, self.id, word, placed),
            Number(_, _, word) => {
                let values = matches.get_many::<u64>(self.id).into_iter().flatten();
                let places = matches.indices_of(self.id).into_iter().flatten();
                placed.extend(places.zip(values.copied().map(word)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn parse(line: &str) -> Vec<Word> {
        let command = Command::new("record").args(args()).args(guest_args()).arg(proxy_arg());
        let words = std::iter::once("record").chain(line.split_whitespace());
        words_of(&command.try_get_matches_from(words).unwrap())
    }

    fn words_of(matches: &ArgMatches) -> Vec<Word> {
        words(matches)
    }

    #[test]
    fn flags_and_values_keep_the_order_they_were_typed_in() {
        let text = |text: &str| text.to_owned();
        assert_eq!(
            parse("-e a -v -e b -R traceoff -TF -B foo -c -M -1 -v -b 64 -P 3,4 --func-stack -O x"),
            [
                Word::Event(text("a")),
                Word::Invert,
                Word::Event(text("b")),
                Word::Trigger(text("traceoff")),
                Word::TraceOption(text("stacktrace")),
                Word::OnlyCommand,
                Word::Instance(text("foo")),
                Word::Children,
                Word::CpuMask(text("-1")),
                Word::Invert,
                Word::BufferKb(64),
                Word::Pids(text("3,4")),
                Word::FunctionStack,
                Word::TraceOption(text("x")),
            ]
        );
    }

    #[test]
    fn guests_read_back_the_words_they_are_sent() {
        let line = "-e a -f x<1 -R snapshot -v -p function -l f* -n g -g h --module m \
                    --max-graph-depth 3 --func-stack -O a -F -P 1 -c -b 1 --subbuf-size 8 -M f \
                    -C mono --cmdlines-size 9";
        let words = parse(line);
        assert_eq!(words.len(), ORDERED.len() - 2, "all but -B, and -T, which is an -O");
        let sent: Vec<String> = words.iter().flat_map(Word::to_arguments).collect();
        assert_eq!(parse(&sent.join(" ")), words);
    }
}
