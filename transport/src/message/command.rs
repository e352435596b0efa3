//! Command numbers.

use std::fmt;

/// What a message is about. Unknown numbers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Command(pub u32);

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Command {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The command's name, if it is known.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// End of the session, or a request to end it.
    CLOSE = 0, "CLOSE";
    /// A network recorder introduces its data streams.
    TINIT = 1, "TINIT";
    /// The listener's answer: ports.
    RINIT = 2, "RINIT";
    /// A piece of the head of a trace file.
    SEND_DATA = 3, "SEND_DATA";
    /// The head is complete.
    FIN_DATA = 4, "FIN_DATA";
    /// The last message was not understood here.
    NOT_SUPP = 5, "NOT_SUPP";
    /// Asks a guest to record.
    TRACE_REQ = 6, "TRACE_REQ";
    /// The guest's answer.
    TRACE_RESP = 7, "TRACE_RESP";
    /// All is sent.
    CLOSE_RESP = 8, "CLOSE_RESP";
    /// A message of a time sync protocol.
    TIME_SYNC = 9, "TIME_SYNC";
    /// A guest asks its host to record too.
    TRACE_PROXY = 10, "TRACE_PROXY";
    /// Goes on after a pause in the proxy protocol.
    CONT = 11, "CONT";
    /// Who is there; starts every exchange of this project's own messages.
    HELLO = 64, "HELLO";
    /// Why a request is not done.
    REFUSE = 65, "REFUSE";
    /// Asks a virt-server for a guest by name.
    OPEN = 66, "OPEN";
    /// Runs the command named in TRACE_REQ.
    EXEC = 67, "EXEC";
    /// How the command ended.
    EXEC_EXIT = 68, "EXEC_EXIT";
    /// What the command wrote.
    OUTPUT = 69, "OUTPUT";
    /// How many bytes a data stream carried.
    DATA_END = 70, "DATA_END";
    /// What a trace file needs after the CPU data.
    TAIL = 71, "TAIL";
    /// Asks a virt-server which guests it knows.
    GUEST_LIST = 72, "GUEST_LIST";
    /// One guest of the answer.
    GUEST_ENTRY = 73, "GUEST_ENTRY";
    /// What of a data stream the listener has.
    RECEIVED = 74, "RECEIVED";
    /// A network recorder introduces one more buffer.
    INSTANCE = 75, "INSTANCE";
    /// The listener shows that it knows the key, and asks for the same.
    CHALLENGE = 76, "CHALLENGE";
    /// The recorder shows that it knows the key.
    PROOF = 77, "PROOF";
    /// Asks a virt-server how it and its guests are; to a tool that opens a guest, says that it takes TOTALS.
    STATUS = 78, "STATUS";
    /// One guest of the answer.
    GUEST_STATUS = 79, "GUEST_STATUS";
    /// How far a host tool is with its guest.
    TOTALS = 80, "TOTALS";
    /// How long a command had to wait for the host; sent where it was asked to wait.
    HELD = 81, "HELD";
    /// A guest wants to be recorded by its host.
    WISH = 82, "WISH";
    /// A guest that was told to go on records.
    BEGUN = 83, "BEGUN";
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command {}", self.0),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
