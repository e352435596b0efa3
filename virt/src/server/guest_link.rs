//! One guest's connection: untrusted bytes to checked messages.

use std::time::{Duration, Instant};

use trace_transport::message::{
    Command, Decoder, ExecRule, Frame, GuestStatus, HelloKind, Message, WordList,
};
use trace_transport::{Deadline, Stream};

use super::account::Account;
use crate::input::read_once;
use crate::out_queue::OutQueue;
use crate::protocol::clean_to;
use crate::setup::{GuestName, MAX_CPUS};
use crate::wish::Wish;

/// Questions that may wait unread in front of a guest where no client runs.
const MAX_QUESTIONS: u32 = 64;
/// How long an introduction may take from its first byte to its last.
const PARTIAL_TIME: Duration = Duration::from_secs(1);

/// Words of an introduction that are shown, and how much of each.
const MAX_WORDS: usize = 17;
const MAX_WORD: usize = 128;

/// What a client may send during a session.
const FROM_CLIENT: [Command; 13] = [
    Command::SEND_DATA,
    Command::FIN_DATA,
    Command::NOT_SUPP,
    Command::TRACE_RESP,
    Command::CLOSE_RESP,
    Command::TIME_SYNC,
    Command::REFUSE,
    Command::EXEC_EXIT,
    Command::OUTPUT,
    Command::DATA_END,
    Command::TAIL,
    Command::HELD,
    Command::BEGUN,
];

/// What came from a guest.
pub(super) enum GuestNews {
    Nothing,
    /// The client answered the last question.
    Ready,
    /// A client opened the port: what an earlier one did is over.
    Announced,
    /// What came makes no sense.
    Broken(&'static str),
    /// A message for the session.
    Message(Vec<u8>),
    /// It wants to be recorded.
    Wish(Wish),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Everything is skipped but the answer to the last question.
    Searching,
    Ready,
}

#[derive(Debug)]
pub(super) struct GuestLink {
    pub(super) name: GuestName,
    /// Its QEMU.
    pub(super) pid: i32,
    since: Instant,
    pub(super) stream: Stream,
    pub(super) out: OutQueue,
    /// The tool that has this guest.
    pub(super) session: Option<u64>,
    /// Of the session there is, or was last.
    pub(super) account: Account,
    /// The client's last answer, to be passed on.
    pub(super) hello: Vec<u8>,
    pub(super) cpus: u32,
    /// Its client has answered, and left no question unanswered since.
    pub(super) has_client: bool,
    decoder: Decoder,
    state: State,
    nonce: u64,
    questions: u32,
    /// It has not wished for anything since it answered.
    may_wish: bool,
    /// When an incomplete introduction is given up.
    partial: Deadline,
}

impl GuestLink {
    pub(super) fn new(name: GuestName, pid: i32, stream: Stream) -> Self {
        let now = Instant::now();
        Self {
            name,
            pid,
            since: now,
            account: Account::new(now),
            stream,
            out: OutQueue::default(),
            session: None,
            hello: Vec::new(),
            cpus: 0,
            has_client: false,
            decoder: Decoder::new(),
            state: State::Searching,
            nonce: 0,
            questions: 0,
            may_wish: false,
            partial: Deadline::NEVER,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// 0: connected, 1: its client answers, 2: in a session.
    pub(super) fn state(&self) -> u32 {
        match (self.session, self.is_ready()) {
            (Some(_), _) => 2,
            (None, true) => 1,
            (None, false) => 0,
        }
    }

    /// All that is known, as a message; `tool` is the process that has the guest.
    pub(super) fn status(&self, tool: Option<i32>) -> Vec<u8> {
        let now = Instant::now();
        let ms = |since| {
            u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
        };
        let pid = |pid: i32| u32::try_from(pid).unwrap_or(0);
        let mut words = vec![self.name.to_string()];
        let (mut page_size, mut exec) = (0, ExecRule::DENY);
        if let Ok(frame) = Frame::parse(&self.hello, 0)
            && let Ok(Message::Hello(hello)) = Message::decode(&frame)
        {
            (page_size, exec) = (hello.page_size, hello.exec);
            let said = hello.words.iter().map_while(Result::ok).take(MAX_WORDS);
            words.extend(said.map(|word| clean_to(word, MAX_WORD)));
        }
        let words = WordList::new(words).unwrap_or_default();
        let in_session = self.session.is_some();
        let account = in_session.then_some(&self.account);
        let status = GuestStatus {
            state: self.state(),
            cpus: self.cpus,
            page_size,
            exec,
            qemu: pid(self.pid),
            tool: tool.map_or(0, pid),
            connected_ms: ms(self.since),
            session_ms: account.map_or(0, |account| ms(account.since)),
            relayed: account.map_or(0, |account| account.relayed),
            rate: account.map_or(0, |account| account.rate(now)),
            totals: account.map(|account| account.totals).unwrap_or_default(),
            words: words.words(),
        };
        // Words are few and short enough for any message.
        Message::GuestStatus(status).to_bytes().unwrap_or_default()
    }

    /// Asks the client whether it is there. An old question that nobody read yet does as well as a new one, and a client
    /// that floods with announcements gets no more answers than it reads.
    pub(super) fn ask(&mut self, nonce: u64) {
        if self.questions < MAX_QUESTIONS && self.out.has_room() {
            self.questions += 1;
            self.nonce = nonce;
            self.out.push_bytes(super::question(nonce));
        }
        self.state = State::Searching;
    }

    /// False when the connection is gone.
    pub(super) fn flush(&mut self) -> bool {
        self.out.flush(&mut self.stream).is_ok()
    }

    /// Reads once, as much as there is room for; false at the end.
    pub(super) fn read(&mut self) -> bool {
        read_once(&mut self.stream, &mut self.decoder)
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.partial
    }

    /// Gives up waiting for the rest of an introduction that may have been cut off.
    pub(super) fn expire(&mut self) {
        if self.partial.has_passed() {
            self.partial = Deadline::NEVER;
            if self.state == State::Searching {
                self.decoder.resync(true);
            }
        }
    }

    pub(super) fn next(&mut self) -> GuestNews {
        loop {
            if self.state == State::Searching && !self.decoder.resync(false) {
                self.partial = Deadline::NEVER;
                return GuestNews::Nothing;
            }
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    let began = self.state == State::Searching && self.decoder.is_partial();
                    if !began {
                        self.partial = Deadline::NEVER;
                    } else if self.partial == Deadline::NEVER {
                        self.partial = Deadline::after(PARTIAL_TIME);
                    }
                    return GuestNews::Nothing;
                }
                Err(_) if self.state == State::Searching => {
                    self.decoder.resync(true);
                    continue;
                }
                Err(_) => return GuestNews::Broken("the guest sent garbage"),
            };
            self.partial = Deadline::NEVER;
            if frame.command == Command::HELLO {
                let Ok(Message::Hello(hello)) = Message::decode(&frame) else { continue };
                let (kind, nonce, cpus, bytes) =
                    (hello.kind, hello.nonce, hello.cpus, frame.bytes().to_vec());
                if let Some(news) = self.take_hello(kind, nonce, cpus, bytes) {
                    return news;
                }
            } else if frame.command == Command::WISH {
                // One is enough until the client is asked anew; in a session it is an older one.
                let may_wish = std::mem::take(&mut self.may_wish);
                if self.state == State::Ready && self.session.is_none() && may_wish {
                    let read = Message::decode(&frame).and_then(|message| match message {
                        Message::Wish { words } => Wish::read(&words).map(Some),
                        _ => Ok(None),
                    });
                    match read {
                        Ok(Some(wish)) => return GuestNews::Wish(wish),
                        Ok(None) => {}
                        Err(_) => return GuestNews::Broken("the guest's wish makes no sense"),
                    }
                }
            } else if self.session.is_some() && self.state == State::Ready {
                if FROM_CLIENT.contains(&frame.command) {
                    return GuestNews::Message(frame.bytes().to_vec());
                }
                return GuestNews::Broken("the guest sent what only a host sends");
            }
            // Anything else is left over from an earlier session.
        }
    }

    fn take_hello(
        &mut self,
        kind: HelloKind,
        nonce: u64,
        cpus: u32,
        bytes: Vec<u8>,
    ) -> Option<GuestNews> {
        match kind {
            HelloKind::ANSWER if nonce == self.nonce && self.state == State::Searching => {
                self.state = State::Ready;
                self.has_client = true;
                self.questions = 0;
                self.may_wish = true;
                self.cpus = cpus.min(MAX_CPUS);
                self.hello = bytes;
                Some(GuestNews::Ready)
            }
            HelloKind::ANNOUNCE => {
                // A client that just began has read no question yet, whatever waits in front of it.
                self.questions = 0;
                self.state = State::Searching;
                Some(GuestNews::Announced)
            }
            _ => None,
        }
    }
}
