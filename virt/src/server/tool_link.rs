//! One host tool's connection.

use std::time::Duration;

use trace_transport::message::{Command, Decoder, Message, Totals};
use trace_transport::{Deadline, MessageError, Stream};

use crate::input::read_once;
use crate::out_queue::OutQueue;
use crate::protocol::RefuseCode;
use crate::setup::GuestName;

/// How long a tool has to take the last message it gets.
const LEAVING_TIME: Duration = Duration::from_secs(5);

/// What a host tool may send to a guest.
const TO_CLIENT: [Command; 6] = [
    Command::CLOSE,
    Command::NOT_SUPP,
    Command::TRACE_REQ,
    Command::TIME_SYNC,
    Command::CONT,
    Command::EXEC,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolState {
    /// Has not said what it wants.
    New,
    /// Waits for a guest's QEMU.
    Waiting,
    /// Waits for a guest's client.
    Asking(u64),
    /// Has a guest.
    Relay(u64),
    /// Gets what is still to be sent, then it is closed.
    Leaving,
}

/// What came from a tool.
pub(super) enum ToolNews {
    Nothing,
    Open(String),
    List,
    Status,
    Totals(u64, Totals),
    Message(u64, Vec<u8>),
    Broken(&'static str),
}

#[derive(Debug)]
pub(super) struct ToolLink {
    pub(super) stream: Stream,
    pub(super) pid: i32,
    pub(super) state: ToolState,
    pub(super) deadline: Deadline,
    /// The guest it waits for.
    pub(super) wanted: String,
    /// It can tell how far it is.
    pub(super) tells_totals: bool,
    pub(super) out: OutQueue,
    decoder: Decoder,
}

impl ToolLink {
    pub(super) fn new(stream: Stream, pid: i32, deadline: Deadline) -> Self {
        Self {
            stream,
            pid,
            state: ToolState::New,
            deadline,
            wanted: String::new(),
            tells_totals: false,
            out: OutQueue::default(),
            decoder: Decoder::new(),
        }
    }

    pub(super) fn waits_for(&self, guest: &GuestName) -> bool {
        self.state == ToolState::Waiting && self.wanted == guest.as_str()
    }

    /// Says why not, and closes after that.
    pub(super) fn refuse(&mut self, code: RefuseCode, reason: &str) {
        // Reasons are written here, and short.
        let _: Result<(), MessageError> = self.out.push(&Message::Refuse { code: code.0, reason });
        self.state = ToolState::Leaving;
        self.deadline = Deadline::after(LEAVING_TIME);
        self.flush();
    }

    /// False when the connection is gone.
    pub(super) fn flush(&mut self) -> bool {
        self.out.flush(&mut self.stream).is_ok()
    }

    /// Reads once, as much as there is room for; false at the end.
    pub(super) fn read(&mut self) -> bool {
        read_once(&mut self.stream, &mut self.decoder)
    }

    pub(super) fn next(&mut self) -> ToolNews {
        if matches!(self.state, ToolState::Waiting | ToolState::Asking(_) | ToolState::Leaving) {
            return ToolNews::Nothing;
        }
        let frame = match self.decoder.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return ToolNews::Nothing,
            Err(_) => return ToolNews::Broken("not a message"),
        };
        match self.state {
            ToolState::Relay(guest) if TO_CLIENT.contains(&frame.command) => {
                ToolNews::Message(guest, frame.bytes().to_vec())
            }
            ToolState::Relay(guest) if frame.command == Command::TOTALS => {
                match Message::decode(&frame) {
                    Ok(Message::Totals(totals)) => ToolNews::Totals(guest, totals),
                    _ => ToolNews::Broken("not totals"),
                }
            }
            ToolState::New => match Message::decode(&frame) {
                Ok(Message::Open { version, guest }) => {
                    self.tells_totals = version > 0;
                    ToolNews::Open(guest.to_owned())
                }
                Ok(Message::GuestList) => ToolNews::List,
                Ok(Message::Status { .. }) => ToolNews::Status,
                _ => ToolNews::Broken("this message is not expected before a guest is opened"),
            },
            _ => ToolNews::Broken("this message is not for a guest"),
        }
    }
}
