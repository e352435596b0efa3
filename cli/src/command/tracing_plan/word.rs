//! Options whose place on the command line matters.

/// One option with its value, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// `-e EVENT`
    Event(String),
    /// `-f FILTER`
    Filter(String),
    /// `-R TRIGGER`
    Trigger(String),
    /// `-v`
    Invert,
    /// `-p TRACER`
    Tracer(String),
    /// `-l FUNCTION`
    Function(String),
    /// `-n FUNCTION`
    NotFunction(String),
    /// `-g FUNCTION`
    GraphFunction(String),
    /// `--module NAME`
    Module(String),
    /// `--max-graph-depth N`
    GraphDepth(u64),
    /// `--func-stack`
    FunctionStack,
    /// `-O OPTION`; `-T` is `-O stacktrace`
    TraceOption(String),
    /// `-F`
    OnlyCommand,
    /// `-P PID,…`
    Pids(String),
    /// `-c`
    Children,
    /// `-b KB`
    BufferKb(u64),
    /// `--subbuf-size KB`
    SubBufferKb(u64),
    /// `-M MASK`
    CpuMask(String),
    /// `-C CLOCK`
    Clock(String),
    /// `--cmdlines-size N`
    CmdlinesSize(u64),
    /// `-B NAME`
    Instance(String),
    /// `--dom NAME`
    Guest(String),
    /// `-A GUEST`
    Agent(String),
    /// `--proxy HOST`
    Proxy(String),
    /// `--name NAME`
    GuestTitle(String),
    /// `--on-full drop|block`
    OnFull(String),
    /// `--exec COMMAND ARGUMENT… ;`
    Exec(Vec<String>),
}

impl Word {
    /// The word as a guest's own parser takes it; none for those that are the host's.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let flag = |name: &str| vec![name.to_owned()];
        let option = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
        let number = |name: &str, value: u64| vec![name.to_owned(), value.to_string()];
        match self {
            Self::Event(text) => option("-e", text),
            Self::Filter(text) => option("-f", text),
            Self::Trigger(text) => option("-R", text),
            Self::Invert => flag("-v"),
            Self::Tracer(name) => option("-p", name),
            Self::Function(text) => option("-l", text),
            Self::NotFunction(text) => option("-n", text),
            Self::GraphFunction(text) => option("-g", text),
            Self::Module(name) => option("--module", name),
            Self::GraphDepth(depth) => number("--max-graph-depth", *depth),
            Self::FunctionStack => flag("--func-stack"),
            Self::TraceOption(name) => option("-O", name),
            Self::OnlyCommand => flag("-F"),
            Self::Pids(pids) => option("-P", pids),
            Self::Children => flag("-c"),
            Self::BufferKb(kb) => number("-b", *kb),
            Self::SubBufferKb(kb) => number("--subbuf-size", *kb),
            Self::CpuMask(mask) => option("-M", mask),
            Self::Clock(clock) => option("-C", clock),
            Self::CmdlinesSize(count) => number("--cmdlines-size", *count),
            // What is so anyway need not be said, so that a client that knows no such word does not mind.
            Self::OnFull(choice) if choice == "drop" => Vec::new(),
            Self::OnFull(choice) => option("--on-full", choice),
            Self::Instance(name) => option("-B", name),
            Self::Guest(_)
            | Self::Agent(_)
            | Self::Proxy(_)
            | Self::GuestTitle(_)
            | Self::Exec(_) => Vec::new(),
        }
    }
}
