//! Frames to messages and back.

use super::hello::{self, ExecRule, Hello, HelloKind};
use super::status::{GuestStatus, Totals};
use super::words::{Parameters, ProtocolName, Words};
use super::{Command, Frame, HEADER_SIZE, MAX_MESSAGE};
use crate::MessageError;

/// A control message, borrowing what it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// End the session.
    Close,
    /// A network recorder's streams.
    Tinit {
        /// Number of CPUs.
        cpus: u32,
        /// Bytes per sub-buffer.
        page_size: u32,
        /// `tcp`, `vsock`, extensions; unknown ones are to be ignored.
        options: Words<'a>,
    },
    /// A listener's ports.
    Rinit {
        /// Number of CPUs.
        cpus: u32,
        /// Extensions that are taken up, a bit each; 0 is not sent, as old peers know no such field.
        accepted: u32,
        /// A decimal port for each.
        ports: Words<'a>,
    },
    /// A piece of the head.
    SendData(&'a [u8]),
    /// The head is complete.
    FinData,
    /// Not understood.
    NotSupported,
    /// Record this.
    TraceReq {
        /// Bit 0: data through FIFOs.
        flags: u32,
        /// Ties the files of one run together.
        trace_id: u64,
        /// Arguments and more.
        parameters: Parameters<'a>,
    },
    /// A recording starts.
    TraceResp {
        /// Bit 0: data through FIFOs.
        flags: u32,
        /// Number of CPUs that send data.
        cpus: u32,
        /// Bytes per sub-buffer.
        page_size: u32,
        /// As in the request.
        trace_id: u64,
        /// The chosen protocol; empty: none.
        time_sync: ProtocolName,
        /// Port of the time sync connection.
        time_sync_port: u32,
        /// Extensions that are taken up, a bit each; 0 is not sent, as old peers know no such field.
        accepted: u32,
        /// A decimal port for each CPU, unless through FIFOs.
        ports: Words<'a>,
    },
    /// All is sent.
    CloseResp,
    /// A message of a time sync protocol.
    TimeSync {
        /// Which protocol.
        protocol: ProtocolName,
        /// Its message.
        id: u32,
        /// What that carries.
        payload: &'a [u8],
    },
    /// A guest asks its host to record too.
    TraceProxy {
        /// As in `TraceReq`.
        flags: u32,
        /// As in `TraceReq`.
        trace_id: u64,
        /// CPUs of the guest.
        cpus: u32,
        /// Other guests.
        siblings: u32,
        /// As in `TraceReq`.
        parameters: Parameters<'a>,
    },
    /// Go on.
    Cont,
    /// Who is there.
    Hello(Hello<'a>),
    /// Why not.
    Refuse {
        /// A number that a program can act on.
        code: u32,
        /// A text for people.
        reason: &'a str,
    },
    /// Asks for a guest by name.
    Open {
        /// 0, or [`Message::STATUS_VERSION`] of a tool that can tell its totals.
        version: u32,
        /// Its name.
        guest: &'a str,
    },
    /// Run the command now.
    Exec,
    /// The command ended.
    ExecExit {
        /// Its exit code.
        code: i32,
        /// The signal that ended it, or 0.
        signal: i32,
    },
    /// The command wrote something.
    Output {
        /// 1 or 2.
        stream: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// A data stream is complete.
    DataEnd {
        /// Which CPU's.
        cpu: u32,
        /// Bytes in it.
        bytes: u64,
    },
    /// A piece of what comes after the CPU data.
    Tail(&'a [u8]),
    /// Which guests are there?
    GuestList,
    /// One guest; the list ends with an empty name.
    GuestEntry {
        /// 0: connected, 1: its client answers, 2: in a session.
        state: u32,
        /// Data streams.
        cpus: u32,
        /// Its name.
        guest: &'a str,
    },
    /// What of a data stream the listener has.
    Received {
        /// Which stream.
        stream: u32,
        /// Bytes that are in the file.
        bytes: u64,
        /// Bytes that were sent and are not.
        lost_bytes: u64,
        /// Datagrams these were in.
        lost_datagrams: u64,
    },
    /// A network recorder's further buffer.
    Instance {
        /// Number of CPUs.
        cpus: u32,
        /// Bytes per sub-buffer.
        page_size: u32,
        /// Name, clock, list of CPUs.
        words: Words<'a>,
    },
    /// The listener knows the key; does the recorder?
    Challenge {
        /// Chosen by the listener, once.
        nonce: [u8; 16],
        /// Made with the key from both nonces.
        proof: [u8; 32],
    },
    /// The recorder knows the key.
    Proof {
        /// Made with the key from both nonces.
        proof: [u8; 32],
    },
    /// How are the guests? From a server: it takes totals.
    Status {
        /// [`Message::STATUS_VERSION`] of the sender.
        version: u32,
        /// From a server: the process that runs the guest, or 0.
        qemu: u32,
    },
    /// One guest of the answer.
    GuestStatus(GuestStatus<'a>),
    /// How far a session is.
    Totals(Totals),
    /// The command waited for the host to take data.
    Held {
        /// How often.
        times: u32,
        /// How long in all, in milliseconds.
        ms: u64,
    },
    /// A guest wants to be recorded by its host.
    Wish {
        /// Trace clock, then the instances it records.
        words: Words<'a>,
    },
    /// A guest that was told to go on records.
    Begun {
        /// What its clock said when it did, if it could be read.
        time: Option<u64>,
    },
    /// A command this side does not know.
    Unknown {
        /// Its number.
        command: Command,
        /// Its fixed part.
        fixed: &'a [u8],
        /// Its data.
        data: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Bit 0 of `flags`: data goes through FIFOs.
    pub const USE_FIFOS: u32 = 1;
    /// Of what a guest takes up in `TraceResp`: it is ready, and waits to be told to go on. Lower bits are the agents'.
    pub const HOLDS: u32 = 1 << 3;
    /// Version of what servers tell of guests; fields are only added to it.
    pub const STATUS_VERSION: u32 = 2;
    /// Servers of this version pass on what a guest that was held says.
    pub const STATUS_WITH_HOLD: u32 = 2;

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// A list inside breaks off, or a text is none.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, MessageError> {
        let fixed = Fixed(frame.fixed);
        let data = frame.data;
        let text = |what| std::str::from_utf8(data).map_err(|_| MessageError::NotText { what });
        Ok(match frame.command {
            Command::CLOSE => Self::Close,
            Command::TINIT => Self::Tinit {
                cpus: fixed.u32(0),
                page_size: fixed.u32(4),
                options: Words::counted(data, fixed.u32(8), "options"),
            },
            Command::RINIT => Self::Rinit {
                cpus: fixed.u32(0),
                accepted: fixed.u32(4),
                ports: Words::counted(data, fixed.u32(0), "ports"),
            },
            Command::SEND_DATA => Self::SendData(data),
            Command::FIN_DATA => Self::FinData,
            Command::NOT_SUPP => Self::NotSupported,
            Command::TRACE_REQ => Self::TraceReq {
                flags: fixed.u32(0),
                trace_id: fixed.u64(8),
                parameters: Parameters(data),
            },
            Command::TRACE_RESP => Self::TraceResp {
                flags: fixed.u32(0),
                cpus: fixed.u32(4),
                page_size: fixed.u32(8),
                trace_id: fixed.u64(12),
                time_sync: ProtocolName(fixed.bytes(20)),
                time_sync_port: fixed.u32(36),
                accepted: fixed.u32(40),
                ports: Words::all(data, "ports"),
            },
            Command::CLOSE_RESP => Self::CloseResp,
            Command::TIME_SYNC => Self::TimeSync {
                protocol: ProtocolName(fixed.bytes(0)),
                id: fixed.u32(16),
                payload: data,
            },
            Command::TRACE_PROXY => Self::TraceProxy {
                flags: fixed.u32(0),
                trace_id: fixed.u64(8),
                cpus: fixed.u32(16),
                siblings: fixed.u32(20),
                parameters: Parameters(data),
            },
            Command::CONT => Self::Cont,
            Command::HELLO if fixed.bytes(0) == hello::MAGIC => Self::Hello(Hello {
                kind: HelloKind(fixed.u32(16)),
                nonce: fixed.u64(20),
                cpus: fixed.u32(28),
                page_size: fixed.u32(32),
                exec: ExecRule(fixed.u32(36)),
                words: Words::counted(data, fixed.u32(40), "introduction"),
            }),
            Command::REFUSE => Self::Refuse { code: fixed.u32(0), reason: text("reason")? },
            Command::OPEN => Self::Open { version: fixed.u32(0), guest: text("guest name")? },
            Command::EXEC => Self::Exec,
            Command::EXEC_EXIT => Self::ExecExit {
                code: fixed.u32(0).cast_signed(),
                signal: fixed.u32(4).cast_signed(),
            },
            Command::OUTPUT => Self::Output { stream: fixed.u32(0), bytes: data },
            Command::DATA_END => Self::DataEnd { cpu: fixed.u32(0), bytes: fixed.u64(4) },
            Command::TAIL => Self::Tail(data),
            Command::GUEST_LIST => Self::GuestList,
            Command::GUEST_ENTRY => Self::GuestEntry {
                state: fixed.u32(0),
                cpus: fixed.u32(4),
                guest: text("guest name")?,
            },
            Command::RECEIVED => Self::Received {
                stream: fixed.u32(0),
                bytes: fixed.u64(4),
                lost_bytes: fixed.u64(12),
                lost_datagrams: fixed.u64(20),
            },
            Command::INSTANCE => Self::Instance {
                cpus: fixed.u32(0),
                page_size: fixed.u32(4),
                words: Words::counted(data, fixed.u32(8), "instance"),
            },
            Command::CHALLENGE => Self::Challenge { nonce: fixed.bytes(0), proof: fixed.bytes(16) },
            Command::PROOF => Self::Proof { proof: fixed.bytes(0) },
            Command::STATUS => Self::Status { version: fixed.u32(0), qemu: fixed.u32(4) },
            Command::GUEST_STATUS => Self::GuestStatus(GuestStatus {
                state: fixed.u32(4),
                cpus: fixed.u32(8),
                page_size: fixed.u32(12),
                exec: ExecRule(fixed.u32(16)),
                qemu: fixed.u32(20),
                tool: fixed.u32(24),
                connected_ms: fixed.u64(28),
                session_ms: fixed.u64(36),
                relayed: fixed.u64(44),
                rate: fixed.u64(52),
                totals: totals(&fixed, 60),
                words: Words::counted(data, fixed.u32(0), "status"),
            }),
            Command::HELD => Self::Held { times: fixed.u32(0), ms: fixed.u64(4) },
            Command::TOTALS => Self::Totals(totals(&fixed, 0)),
            Command::WISH => Self::Wish { words: Words::counted(data, fixed.u32(0), "wish") },
            Command::BEGUN => {
                Self::Begun { time: Some(fixed.u64(0)).filter(|&time| time != NO_TIME) }
            }
            command => Self::Unknown { command, fixed: frame.fixed, data },
        })
    }

    /// Appends the message's bytes to `out`.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLong`]; `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_SIZE]);
        let data = self.put_fixed(out);
        let data = match data {
            Ok(data) => data,
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        };
        let fixed = out.len() - start - HEADER_SIZE;
        let size = HEADER_SIZE + fixed + data.len();
        if size > MAX_MESSAGE {
            out.truncate(start);
            let limit = MAX_MESSAGE.saturating_sub(HEADER_SIZE + fixed);
            return Err(MessageError::TooLong { what: "data", size: data.len(), limit });
        }
        out.extend_from_slice(data);
        // Both fit: size is at most MAX_MESSAGE.
        let header = [size as u32, self.command().0, fixed as u32];
        for (field, value) in header.iter().enumerate() {
            let at = start + 4 * field;
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_be_bytes());
            }
        }
        Ok(())
    }

    /// The message's bytes.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLong`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, MessageError> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(out)
    }

    /// Its command number.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Close => Command::CLOSE,
            Self::Tinit { .. } => Command::TINIT,
            Self::Rinit { .. } => Command::RINIT,
            Self::SendData(_) => Command::SEND_DATA,
            Self::FinData => Command::FIN_DATA,
            Self::NotSupported => Command::NOT_SUPP,
            Self::TraceReq { .. } => Command::TRACE_REQ,
            Self::TraceResp { .. } => Command::TRACE_RESP,
            Self::CloseResp => Command::CLOSE_RESP,
            Self::TimeSync { .. } => Command::TIME_SYNC,
            Self::TraceProxy { .. } => Command::TRACE_PROXY,
            Self::Cont => Command::CONT,
            Self::Hello(_) => Command::HELLO,
            Self::Refuse { .. } => Command::REFUSE,
            Self::Open { .. } => Command::OPEN,
            Self::Exec => Command::EXEC,
            Self::ExecExit { .. } => Command::EXEC_EXIT,
            Self::Output { .. } => Command::OUTPUT,
            Self::DataEnd { .. } => Command::DATA_END,
            Self::Tail(_) => Command::TAIL,
            Self::GuestList => Command::GUEST_LIST,
            Self::GuestEntry { .. } => Command::GUEST_ENTRY,
            Self::Received { .. } => Command::RECEIVED,
            Self::Instance { .. } => Command::INSTANCE,
            Self::Challenge { .. } => Command::CHALLENGE,
            Self::Proof { .. } => Command::PROOF,
            Self::Status { .. } => Command::STATUS,
            Self::GuestStatus(_) => Command::GUEST_STATUS,
            Self::Totals(_) => Command::TOTALS,
            Self::Held { .. } => Command::HELD,
            Self::Wish { .. } => Command::WISH,
            Self::Begun { .. } => Command::BEGUN,
            Self::Unknown { command, .. } => *command,
        }
    }

    /// Appends the fixed part; returns the data.
    fn put_fixed(&self, out: &mut Vec<u8>) -> Result<&'a [u8], MessageError> {
        let mut put = |values: &[u32]| {
            for value in values {
                out.extend_from_slice(&value.to_be_bytes());
            }
        };
        let high = |value: u64| (value >> 32) as u32;
        let low = |value: u64| (value & 0xffff_ffff) as u32;
        Ok(match *self {
            Self::Close
            | Self::FinData
            | Self::NotSupported
            | Self::CloseResp
            | Self::Cont
            | Self::Exec
            | Self::GuestList => &[],
            Self::SendData(data) | Self::Tail(data) => data,
            // As old tools have it: without a fixed part.
            Self::Open { version: 0, guest } => guest.as_bytes(),
            Self::Open { version, guest } => {
                put(&[version]);
                guest.as_bytes()
            }
            Self::Tinit { cpus, page_size, options } => {
                put(&[cpus, page_size, options.len()?]);
                options.bytes()
            }
            Self::Rinit { cpus, accepted: 0, ports } => {
                put(&[cpus]);
                ports.bytes()
            }
            Self::Rinit { cpus, accepted, ports } => {
                put(&[cpus, accepted]);
                ports.bytes()
            }
            Self::TraceReq { flags, trace_id, parameters } => {
                put(&[flags, 0, high(trace_id), low(trace_id)]);
                parameters.0
            }
            Self::TraceProxy { flags, trace_id, cpus, siblings, parameters } => {
                put(&[flags, 0, high(trace_id), low(trace_id), cpus, siblings]);
                parameters.0
            }
            Self::TraceResp {
                flags,
                cpus,
                page_size,
                trace_id,
                time_sync,
                time_sync_port,
                accepted,
                ports,
            } => {
                put(&[flags, cpus, page_size, high(trace_id), low(trace_id)]);
                out.extend_from_slice(&time_sync.0);
                out.extend_from_slice(&time_sync_port.to_be_bytes());
                if accepted != 0 {
                    out.extend_from_slice(&accepted.to_be_bytes());
                }
                ports.bytes()
            }
            Self::TimeSync { protocol, id, payload } => {
                out.extend_from_slice(&protocol.0);
                out.extend_from_slice(&id.to_be_bytes());
                payload
            }
            Self::Hello(Hello { kind, nonce, cpus, page_size, exec, words }) => {
                let count = words.len()?;
                out.extend_from_slice(&hello::MAGIC);
                for value in [kind.0, high(nonce), low(nonce), cpus, page_size, exec.0, count] {
                    out.extend_from_slice(&value.to_be_bytes());
                }
                words.bytes()
            }
            Self::Refuse { code, reason } => {
                put(&[code]);
                reason.as_bytes()
            }
            Self::ExecExit { code, signal } => {
                put(&[code.cast_unsigned(), signal.cast_unsigned()]);
                &[]
            }
            Self::Output { stream, bytes } => {
                put(&[stream]);
                bytes
            }
            Self::DataEnd { cpu, bytes } => {
                put(&[cpu, high(bytes), low(bytes)]);
                &[]
            }
            Self::GuestEntry { state, cpus, guest } => {
                put(&[state, cpus]);
                guest.as_bytes()
            }
            Self::Received { stream, bytes, lost_bytes, lost_datagrams } => {
                put(&[stream]);
                for value in [bytes, lost_bytes, lost_datagrams] {
                    put(&[high(value), low(value)]);
                }
                &[]
            }
            Self::Instance { cpus, page_size, words } => {
                put(&[cpus, page_size, words.len()?]);
                words.bytes()
            }
            Self::Challenge { nonce, proof } => {
                out.extend_from_slice(&nonce);
                out.extend_from_slice(&proof);
                &[]
            }
            Self::Proof { proof } => {
                out.extend_from_slice(&proof);
                &[]
            }
            Self::Held { times, ms } => {
                put(&[times, high(ms), low(ms)]);
                &[]
            }
            Self::Status { version, qemu } => {
                put(&[version, qemu]);
                &[]
            }
            Self::Begun { time } => {
                let time = time.unwrap_or(NO_TIME);
                put(&[high(time), low(time)]);
                &[]
            }
            Self::GuestStatus(GuestStatus {
                state,
                cpus,
                page_size,
                exec,
                qemu,
                tool,
                connected_ms,
                session_ms,
                relayed,
                rate,
                totals,
                words,
            }) => {
                put(&[words.len()?, state, cpus, page_size, exec.0, qemu, tool]);
                let Totals { bytes, lost, clock_error } = totals;
                for value in [connected_ms, session_ms, relayed, rate, bytes, lost, clock_error] {
                    put(&[high(value), low(value)]);
                }
                words.bytes()
            }
            Self::Totals(Totals { bytes, lost, clock_error }) => {
                for value in [bytes, lost, clock_error] {
                    put(&[high(value), low(value)]);
                }
                &[]
            }
            Self::Wish { words } => {
                put(&[words.len()?]);
                words.bytes()
            }
            Self::Unknown { fixed, data, .. } => {
                out.extend_from_slice(fixed);
                data
            }
        })
    }
}

/// Of a clock that could not be read.
const NO_TIME: u64 = u64::MAX;

fn totals(fixed: &Fixed<'_>, at: usize) -> Totals {
    Totals { bytes: fixed.u64(at), lost: fixed.u64(at + 8), clock_error: fixed.u64(at + 16) }
}

/// A fixed part: what is missing reads as zero, what is more is ignored.
struct Fixed<'a>(&'a [u8]);

impl Fixed<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut value = [0; N];
        for (to, from) in value.iter_mut().zip(self.0.get(at..).unwrap_or_default()) {
            *to = *from;
        }
        value
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Decoder, ParameterId, ParameterList, WordList};

    #[test]
    fn every_message_survives_the_way_there_and_back() {
        let words = WordList::new(["tcp", "vsock"]).unwrap();
        let mut parameters = ParameterList::new();
        parameters.push_counted(ParameterId::ARGUMENTS, ["-e", "sched"]).unwrap();
        let parameters = parameters.parameters();
        let messages = [
            Message::Close,
            Message::SendData(b"head"),
            Message::FinData,
            Message::NotSupported,
            Message::TraceReq { flags: 1, trace_id: 0x0102_0304_0506_0708, parameters },
            Message::CloseResp,
            Message::TimeSync { protocol: ProtocolName::new("ptp"), id: 3, payload: b"\x01\x02" },
            Message::TraceProxy { flags: 1, trace_id: 9, cpus: 4, siblings: 1, parameters },
            Message::Cont,
            Message::Hello(Hello::request(77)),
            Message::Refuse { code: 3, reason: "busy" },
            Message::Open { version: 0, guest: "guest1" },
            Message::Open { version: 1, guest: "guest1" },
            Message::Status { version: 2, qemu: 4711 },
            Message::Begun { time: Some(1 << 40) },
            Message::Begun { time: None },
            Message::Held { times: 3, ms: 1 << 33 },
            Message::Totals(Totals { bytes: 1 << 40, lost: 3, clock_error: 1 << 33 }),
            Message::Exec,
            Message::ExecExit { code: -1, signal: 9 },
            Message::Output { stream: 2, bytes: b"oops" },
            Message::DataEnd { cpu: 1, bytes: 1 << 40 },
            Message::Tail(b"tail"),
            Message::GuestList,
            Message::GuestEntry { state: 1, cpus: 2, guest: "guest1" },
            Message::Received { stream: 3, bytes: 1 << 40, lost_bytes: 1 << 33, lost_datagrams: 9 },
            Message::Challenge { nonce: [3; 16], proof: [7; 32] },
            Message::Proof { proof: [9; 32] },
            Message::Unknown { command: Command(200), fixed: b"ab", data: b"c" },
        ];
        let mut decoder = Decoder::new();
        for message in messages {
            decoder.push(&message.to_bytes().unwrap());
            let frame = decoder.next_frame().unwrap().unwrap();
            let back = Message::decode(&frame).unwrap();
            // Words differ in what they call themselves in errors, so those are compared as bytes.
            if let Message::Hello(_) = message {
                assert_eq!(back.to_bytes().unwrap(), message.to_bytes().unwrap());
            } else {
                assert_eq!(back, message);
            }
        }
        let status = Message::GuestStatus(GuestStatus {
            state: 2,
            cpus: 3,
            page_size: 4096,
            exec: ExecRule::LIST,
            qemu: 77,
            tool: 78,
            connected_ms: 1 << 34,
            session_ms: 1 << 35,
            relayed: 1 << 36,
            rate: 1 << 37,
            totals: Totals { bytes: 1 << 40, lost: 3, clock_error: Totals::UNKNOWN },
            words: words.words(),
        });
        let bytes = status.to_bytes().unwrap();
        let frame = Frame::parse(&bytes, 0).unwrap();
        let back = Message::decode(&frame).unwrap();
        let Message::GuestStatus(GuestStatus { rate, tool, totals, words: back_words, .. }) = back
        else {
            panic!("{back:?}")
        };
        assert_eq!(
            (rate, tool, totals.bytes, totals.clock_error),
            (1 << 37, 78, 1 << 40, u64::MAX)
        );
        assert_eq!(back_words.to_vec().unwrap(), ["tcp", "vsock"]);
        assert_eq!(back.to_bytes().unwrap(), bytes);
        let bytes = Message::Wish { words: words.words() }.to_bytes().unwrap();
        let frame = Frame::parse(&bytes, 0).unwrap();
        let Message::Wish { words: back } = Message::decode(&frame).unwrap() else {
            panic!("{frame:?}")
        };
        assert_eq!(back.to_vec().unwrap(), ["tcp", "vsock"]);
        let tinit = Message::Tinit { cpus: 2, page_size: 4096, options: words.words() };
        let bytes = tinit.to_bytes().unwrap();
        let frame = Frame::parse(&bytes, 0).unwrap();
        let Message::Tinit { options, .. } = Message::decode(&frame).unwrap() else {
            panic!("{frame:?}")
        };
        assert_eq!(options.to_vec().unwrap(), ["tcp", "vsock"]);
    }

    #[test]
    fn data_that_does_not_fit_is_refused_and_leaves_the_buffer() {
        let mut out = b"before".to_vec();
        let error = Message::SendData(&[0; 8181]).encode(&mut out).unwrap_err();
        assert_eq!(error, MessageError::TooLong { what: "data", size: 8181, limit: 8180 });
        assert_eq!(out, b"before");
        Message::SendData(&[0; 8180]).encode(&mut out).unwrap();
        assert_eq!(out.len(), 6 + 8192);
    }

    #[test]
    fn an_introduction_is_found_behind_garbage() {
        let hello = Message::Hello(Hello::request(5)).to_bytes().unwrap();
        for garbage in [
            &b""[..],
            b"x",
            b"\0\0\0",
            &hello[..20],
            &[0; 100],
            &[0, 0, 32, 0, 0, 0, 0, 3, 0, 0, 0, 0],
        ] {
            let mut decoder = Decoder::new();
            decoder.push(garbage);
            decoder.resync(false);
            for byte in &hello {
                decoder.push(&[*byte]);
            }
            let mut found = false;
            for _ in 0..200 {
                if !decoder.resync(false) {
                    break;
                }
                if let Ok(Some(frame)) = decoder.next_frame()
                    && matches!(Message::decode(&frame), Ok(Message::Hello(h)) if h.nonce == 5)
                {
                    found = true;
                    break;
                }
                decoder.resync(true);
            }
            assert!(found, "behind {garbage:?}");
        }
    }
}
