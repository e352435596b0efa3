//! The `virt-server` process, between the guests' QEMUs and host tools.
//!
//! ```text
//!  guest 1 ═ virtio port ═ QEMU 1 ─┐                        ┌─ record --dom guest1
//!                                  ├─ agent-ctl-path        │
//!  guest 2 ═ virtio port ═ QEMU 2 ─┘       virt-server      ├─ record --dom guest2
//!                                              server-ctl ──┘
//!
//!  client            server                        host tool
//!     ◄─ HELLO request(n) ─┤                                        QEMU connected
//!     ├─ HELLO answer(n) ──►                                        a client answers
//!                          ◄─ OPEN guest1 ─────────┤
//!     ◄─ HELLO request(m) ─┤                                        still there?
//!     ├─ HELLO answer(m) ──►─ HELLO, or REFUSE ────►
//!     ◄──────────────────────── messages both ways ─►               a session
//!                          ◄─ closes ──────────────┤
//!     ◄─ HELLO request(k) ─┤                                        whatever ran is over
//!     ├─ WISH ─────────────►  Accept, which opens the guest as a tool does; or REFUSE
//! ```
//!
//! Which guest a connection is comes from the connecting process ([`crate::identity`]). One thread, one poll loop;
//! nothing waits for anyone: what a peer does not take is held up to a bound, and then the other side is not
//! read. Messages pass whole and unbatched, as clocks are compared through here.
//!
//! A port's bytes can be cut anywhere (a server restarts, a guest reboots). Each side therefore looks for an
//! introduction when it starts, and the server's nonce tells an answer to its last question from older ones.

mod account;
mod error;
mod event;
mod guest_link;
mod listen;
mod tool_link;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trace_transport::message::{GuestStatus, Hello, Message, Words};
use trace_transport::{Deadline, unix};

use crate::identity::{self, Resolver};
use crate::protocol::RefuseCode;
use crate::setup::{GuestName, VirtDir};
use crate::wish::Wish;
use account::Account;
use error::failed;
use guest_link::{GuestLink, GuestNews};
use listen::listen;
use tool_link::{ToolLink, ToolNews, ToolState};

pub use error::ServerError;
pub use event::ServerEvent;

/// Connections of each kind; beyond it new ones are closed.
const MAX_LINKS: usize = 400;
/// How long nobody is accepted after that failed: descriptors may be used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a guest's client has to say that it is there, where none has answered so far.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// The same of one that has answered before: its machine may stand still for a while.
const KNOWN_HELLO_TIME: Duration = Duration::from_secs(15);
/// How long after its start the server expects guests that run already: QEMU tries again once a second, on a machine that
/// may have much else to do.
const GATHER_TIME: Duration = Duration::from_secs(10);
/// How long a host tool has to say what it wants.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// How the server runs.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Group whose QEMU processes may connect; unless given, the server's own.
    pub group: Option<String>,
    /// Group whose members may record guests; unless given, the server's user alone.
    pub manager_group: Option<String>,
}

/// Begins a recording that a guest wants, in another thread or process, which opens the guest as a host tool; or says why
/// not, in a text for the person in the guest.
pub type Accept<'a> = dyn FnMut(&GuestName, Wish) -> Result<(), String> + 'a;

/// The process between the guests' QEMUs and host tools. Its sockets exist as long as it does.
pub struct Server {
    dir: VirtDir,
    agent: unix::Listener,
    manager: unix::Listener,
    resolver: Resolver,
    guests: BTreeMap<u64, GuestLink>,
    tools: BTreeMap<u64, ToolLink>,
    last_id: u64,
    last_nonce: u64,
    accept_after: Deadline,
    gathering: Deadline,
    /// Held as long as the server lives; the kernel lets go of it however the process ends.
    _owner: Flock<File>,
}

impl Server {
    /// Takes the directory and makes both sockets. Sockets left by a killed server are replaced.
    ///
    /// # Errors
    ///
    /// [`ServerError::AlreadyRunning`], or the system refuses.
    pub fn bind(dir: &VirtDir, options: &ServerOptions) -> Result<Self, ServerError> {
        Self::bind_with(dir, options, Box::new(identity::guest_of))
    }

    /// As [`bind`](Self::bind), with another way to tell which guest a connecting process is.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with(
        dir: &VirtDir,
        options: &ServerOptions,
        resolver: Resolver,
    ) -> Result<Self, ServerError> {
        dir.create()?;
        let path = dir.path();
        let file = File::open(path).map_err(|e| failed("opening", path, e))?;
        let owner =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    nix::Error::EWOULDBLOCK => {
                        ServerError::AlreadyRunning { path: path.to_owned() }
                    }
                    errno => failed("locking", path, errno.into()),
                },
            )?;
        let agent = listen(&dir.agent_socket(), 0o660, options.group.as_deref())?;
        let manager_mode = if options.manager_group.is_some() { 0o660 } else { 0o600 };
        let manager =
            listen(&dir.manager_socket(), manager_mode, options.manager_group.as_deref())?;
        Ok(Self {
            dir: dir.clone(),
            agent,
            manager,
            resolver,
            guests: BTreeMap::new(),
            tools: BTreeMap::new(),
            last_id: 0,
            last_nonce: first_nonce(),
            accept_after: Deadline::after(Duration::ZERO),
            gathering: Deadline::after(GATHER_TIME),
            _owner: owner,
        })
    }

    /// Serves until `stop` becomes readable. Guests that want to be recorded are refused.
    ///
    /// # Errors
    ///
    /// Waiting itself fails. What single guests or tools do is no error here.
    pub fn run(
        self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ServerEvent<'_>),
    ) -> Result<(), ServerError> {
        let refuse = |_: &GuestName, _| {
            Err("its virt-server takes no recordings that guests start (it was started without --accept)"
                .to_owned())
        };
        self.run_accepting(stop, log, &mut { refuse })
    }

    /// As [`run`](Self::run), and hands the recordings that guests want to `accept`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_accepting(
        mut self,
        stop: BorrowedFd<'_>,
        log: &mut dyn FnMut(ServerEvent<'_>),
        accept: &mut Accept<'_>,
    ) -> Result<(), ServerError> {
        loop {
            let ready = self.wait(stop).map_err(|e| failed("waiting on", self.dir.path(), e))?;
            if ready.stop {
                return Ok(());
            }
            for (id, events) in ready.guests {
                self.serve_guest(id, events, log, accept);
            }
            for (id, events) in ready.tools {
                self.serve_tool(id, events, log);
            }
            self.expire(log);
            // Last, so that a QEMU that reconnects finds its old connection already closed.
            if ready.agent {
                self.accept_guest(log);
            }
            if ready.manager {
                self.accept_tool();
            }
        }
    }

    fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<Ready> {
        let accepting = self.accept_after.has_passed();
        let mut deadline = if accepting { Deadline::NEVER } else { self.accept_after };
        let mut fds = vec![
            PollFd::new(stop, PollFlags::POLLIN),
            PollFd::new(self.agent.as_fd(), interest(accepting, false)),
            PollFd::new(self.manager.as_fd(), interest(accepting, false)),
        ];
        for guest in self.guests.values() {
            // What the tool has not taken yet is not added to.
            let tool = guest.session.and_then(|id| self.tools.get(&id));
            let read = tool.is_none_or(|tool| tool.out.has_room());
            fds.push(PollFd::new(guest.stream.as_fd(), interest(read, !guest.out.is_empty())));
            deadline = deadline.min(guest.deadline());
        }
        for tool in self.tools.values() {
            let read = match tool.state {
                ToolState::New => true,
                ToolState::Relay(guest) => {
                    self.guests.get(&guest).is_some_and(|guest| guest.out.has_room())
                }
                ToolState::Waiting | ToolState::Asking(_) | ToolState::Leaving => false,
            };
            fds.push(PollFd::new(tool.stream.as_fd(), interest(read, !tool.out.is_empty())));
            deadline = deadline.min(tool.deadline);
        }
        match poll(&mut fds, deadline.poll_timeout()) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno.into()),
        }
        let mut events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR));
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let (stop, agent, manager) = (!next().is_empty(), !next().is_empty(), !next().is_empty());
        let guests =
            self.guests.keys().map(|&id| (id, next())).filter(|(_, e)| !e.is_empty()).collect();
        let tools =
            self.tools.keys().map(|&id| (id, next())).filter(|(_, e)| !e.is_empty()).collect();
        Ok(Ready { stop, agent, manager, guests, tools })
    }

    fn accept_guest(&mut self, log: &mut dyn FnMut(ServerEvent<'_>)) {
        // One per turn: more are still waiting at the next poll.
        let (stream, process) = match self.agent.accept() {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(_) => return self.accept_after = Deadline::after(ACCEPT_PAUSE),
        };
        let rejected = |reason| ServerEvent::Rejected { pid: process.pid, reason };
        if self.guests.len() >= MAX_LINKS {
            return log(rejected("too many connections"));
        }
        let Some(name) = (self.resolver)(&process) else {
            return log(rejected("no guest's name found in the process"));
        };
        let same_name: Vec<_> = self
            .guests
            .iter()
            .filter(|(_, g)| g.name == name)
            .map(|(&id, g)| (id, is_open(g.stream.as_fd())))
            .collect();
        for (id, open) in same_name {
            if open {
                return log(rejected("a guest of this name is connected"));
            }
            self.drop_guest(id, log);
        }
        log(ServerEvent::Connected { guest: &name, pid: process.pid });
        let id = self.next_id();
        let nonce = self.next_nonce();
        let mut link = GuestLink::new(name, process.pid, stream);
        link.ask(nonce);
        let alive = link.flush();
        let waiting: Vec<_> =
            self.tools.iter().filter(|(_, t)| t.waits_for(&link.name)).map(|(&id, _)| id).collect();
        let name = link.name.to_string();
        self.guests.insert(id, link);
        if !alive {
            return self.drop_guest(id, log);
        }
        for tool in waiting {
            self.open(tool, &name);
        }
    }

    fn accept_tool(&mut self) {
        let (stream, process) = match self.manager.accept() {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(_) => return self.accept_after = Deadline::after(ACCEPT_PAUSE),
        };
        if self.tools.len() < MAX_LINKS {
            let id = self.next_id();
            self.tools.insert(id, ToolLink::new(stream, process.pid, Deadline::after(OPEN_TIME)));
        }
    }

    fn serve_guest(
        &mut self,
        id: u64,
        events: PollFlags,
        log: &mut dyn FnMut(ServerEvent<'_>),
        accept: &mut Accept<'_>,
    ) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        let mut alive = guest.flush();
        // A hang-up still lets the last bytes be read.
        if alive && events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            alive = guest.read();
        }
        loop {
            let Some(guest) = self.guests.get_mut(&id) else { return };
            match guest.next() {
                GuestNews::Nothing => break,
                GuestNews::Ready => {
                    log(ServerEvent::ClientReady { guest: &guest.name });
                    self.answer_asking(id, log);
                }
                GuestNews::Announced => {
                    self.end_session(
                        id,
                        RefuseCode::GONE,
                        "the client in the guest was restarted",
                        log,
                    );
                    self.ask(id);
                }
                GuestNews::Broken(reason) => {
                    self.end_session(id, RefuseCode::PROTOCOL, reason, log);
                    self.ask(id);
                }
                GuestNews::Wish(wish) => {
                    let refused = accept(&guest.name, wish).err();
                    log(ServerEvent::Wished { guest: &guest.name, refused: refused.as_deref() });
                    if let Some(reason) = refused {
                        let refusal =
                            Message::Refuse { code: RefuseCode::NOT_ALLOWED.0, reason: &reason };
                        // Reasons are written on this side, and short.
                        let _ = guest.out.push(&refusal);
                        guest.flush();
                    }
                }
                GuestNews::Message(bytes) => {
                    guest.account.relay(bytes.len());
                    let tool = guest.session.and_then(|tool| self.tools.get_mut(&tool));
                    if let Some(tool) = tool {
                        tool.out.push_bytes(bytes);
                        // A tool that went away is noticed at its own turn.
                        tool.flush();
                    }
                }
            }
        }
        if !alive {
            self.drop_guest(id, log);
        }
    }

    fn serve_tool(&mut self, id: u64, events: PollFlags, log: &mut dyn FnMut(ServerEvent<'_>)) {
        let Some(tool) = self.tools.get_mut(&id) else { return };
        let mut alive = tool.flush();
        let reading = matches!(tool.state, ToolState::New | ToolState::Relay(_));
        if events.contains(PollFlags::POLLIN) && reading {
            alive &= tool.read();
        } else if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            alive = false;
        }
        loop {
            let Some(tool) = self.tools.get_mut(&id) else { return };
            match tool.next() {
                ToolNews::Nothing => break,
                ToolNews::Open(name) => self.open(id, &name),
                ToolNews::List => self.list(id),
                ToolNews::Status => self.status(id),
                ToolNews::Totals(guest_id, totals) => {
                    if let Some(guest) = self.guests.get_mut(&guest_id) {
                        guest.account.take(totals, Instant::now());
                    }
                }
                ToolNews::Broken(reason) => {
                    tool.refuse(RefuseCode::PROTOCOL, reason);
                    self.release(id, "the host tool broke the protocol", log);
                }
                ToolNews::Message(guest_id, bytes) => {
                    if let Some(guest) = self.guests.get_mut(&guest_id) {
                        guest.account.relay(bytes.len());
                        guest.out.push_bytes(bytes);
                        guest.flush();
                    }
                }
            }
        }
        let done = self
            .tools
            .get(&id)
            .is_some_and(|tool| tool.state == ToolState::Leaving && tool.out.is_empty());
        if !alive || done {
            self.release(id, "the host tool closed it", log);
            self.tools.remove(&id);
        }
    }

    /// A tool asks for a guest: the guest is asked whether its client is there, and answers for itself.
    fn open(&mut self, tool_id: u64, name: &str) {
        let found = self.guests.iter().find(|(_, guest)| guest.name.as_str() == name);
        let answer = match found {
            Some((_, guest)) if guest.session.is_some() => Err(RefuseCode::BUSY),
            Some((&id, _)) => Ok(id),
            None if GuestName::new(name).is_ok_and(|name| self.dir.guest_dir(&name).is_dir()) => {
                Err(RefuseCode::NOT_CONNECTED)
            }
            None => Err(RefuseCode::UNKNOWN_GUEST),
        };
        let Some(tool) = self.tools.get_mut(&tool_id) else { return };
        if answer == Err(RefuseCode::NOT_CONNECTED) && !self.gathering.has_passed() {
            tool.state = ToolState::Waiting;
            name.clone_into(&mut tool.wanted);
            tool.deadline = self.gathering;
            return;
        }
        match answer {
            Ok(guest_id) => {
                let has_client = self.guests.get(&guest_id).is_some_and(|guest| guest.has_client);
                tool.state = ToolState::Asking(guest_id);
                let patience = if has_client { KNOWN_HELLO_TIME } else { HELLO_TIME };
                tool.deadline = Deadline::after(patience);
                self.ask(guest_id);
            }
            Err(code) => tool.refuse(code, ""),
        }
    }

    /// A guest's client answered: the first tool that asked gets it.
    fn answer_asking(&mut self, guest_id: u64, log: &mut dyn FnMut(ServerEvent<'_>)) {
        let Some(guest) = self.guests.get_mut(&guest_id) else { return };
        for (&tool_id, tool) in &mut self.tools {
            if tool.state != ToolState::Asking(guest_id) {
                continue;
            }
            if guest.session.is_some() {
                tool.refuse(RefuseCode::BUSY, "");
            } else {
                guest.session = Some(tool_id);
                guest.account = Account::new(Instant::now());
                if tool.tells_totals {
                    let qemu = u32::try_from(guest.pid).unwrap_or(0);
                    let status = Message::Status { version: Message::STATUS_VERSION, qemu };
                    // An answer of fixed size.
                    let _ = tool.out.push(&status);
                }
                tool.state = ToolState::Relay(guest_id);
                tool.deadline = Deadline::NEVER;
                tool.out.push_bytes(guest.hello.clone());
                log(ServerEvent::SessionStarted { guest: &guest.name, pid: tool.pid });
            }
            tool.flush();
        }
    }

    fn list(&mut self, tool_id: u64) {
        let entries: Vec<_> = self
            .guests
            .values()
            .map(|guest| (guest.state(), guest.cpus, guest.name.to_string()))
            .collect();
        let Some(tool) = self.tools.get_mut(&tool_id) else { return };
        let end = (0, 0, String::new());
        for (state, cpus, guest) in entries.iter().chain([&end]) {
            // A name is short enough for any message.
            let _ = tool.out.push(&Message::GuestEntry { state: *state, cpus: *cpus, guest });
        }
        tool.flush();
    }

    fn status(&mut self, tool_id: u64) {
        let of_guest = |guest: &GuestLink| {
            let tool = guest.session.and_then(|id| self.tools.get(&id));
            guest.status(tool.map(|tool| tool.pid))
        };
        let all: Vec<_> = self.guests.values().map(of_guest).collect();
        let Some(tool) = self.tools.get_mut(&tool_id) else { return };
        for status in all {
            tool.out.push_bytes(status);
        }
        let end = GuestStatus { words: Words::all(&[], "status"), ..GuestStatus::default() };
        let _ = tool.out.push(&Message::GuestStatus(end));
        tool.flush();
    }

    /// Asks a guest's client whether it is there, unless so many questions wait that one more would not help.
    fn ask(&mut self, guest_id: u64) {
        let nonce = self.next_nonce();
        if let Some(guest) = self.guests.get_mut(&guest_id) {
            guest.ask(nonce);
            guest.flush();
        }
    }

    /// Ends what a guest has going, telling the tool why.
    fn end_session(
        &mut self,
        guest_id: u64,
        code: RefuseCode,
        reason: &'static str,
        log: &mut dyn FnMut(ServerEvent<'_>),
    ) {
        let Some(guest) = self.guests.get_mut(&guest_id) else { return };
        let Some(tool) = guest.session.take() else { return };
        log(ServerEvent::SessionEnded { guest: &guest.name, reason });
        if let Some(tool) = self.tools.get_mut(&tool) {
            tool.refuse(code, reason);
        }
    }

    /// A tool is done: its guest is told, and asked anew.
    fn release(
        &mut self,
        tool_id: u64,
        reason: &'static str,
        log: &mut dyn FnMut(ServerEvent<'_>),
    ) {
        let held = self.guests.iter_mut().find(|(_, guest)| guest.session == Some(tool_id));
        if let Some((&id, guest)) = held {
            guest.session = None;
            guest.out.drop_unsent();
            log(ServerEvent::SessionEnded { guest: &guest.name, reason });
            self.ask(id);
        }
    }

    fn drop_guest(&mut self, id: u64, log: &mut dyn FnMut(ServerEvent<'_>)) {
        self.end_session(id, RefuseCode::GONE, "the guest's QEMU closed the connection", log);
        for tool in self.tools.values_mut() {
            if tool.state == ToolState::Asking(id) {
                tool.refuse(RefuseCode::NOT_CONNECTED, "");
            }
        }
        if let Some(guest) = self.guests.remove(&id) {
            log(ServerEvent::Disconnected { guest: &guest.name });
        }
    }

    fn expire(&mut self, log: &mut dyn FnMut(ServerEvent<'_>)) {
        for guest in self.guests.values_mut() {
            guest.expire();
        }
        let late: Vec<_> =
            self.tools.iter().filter(|(_, t)| t.deadline.has_passed()).map(|(&id, _)| id).collect();
        for id in late {
            let Some(tool) = self.tools.get_mut(&id) else { continue };
            match tool.state {
                ToolState::Waiting => tool.refuse(RefuseCode::NOT_CONNECTED, ""),
                ToolState::Asking(guest) => {
                    tool.refuse(RefuseCode::NO_CLIENT, "");
                    if let Some(guest) = self.guests.get_mut(&guest) {
                        guest.has_client = false;
                    }
                }
                ToolState::Relay(_) => {}
                // Silent at the start, or not taking its last message.
                ToolState::New | ToolState::Leaving => {
                    self.release(id, "the host tool stalled", log);
                    self.tools.remove(&id);
                }
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn next_nonce(&mut self) -> u64 {
        self.last_nonce = self.last_nonce.wrapping_add(1);
        self.last_nonce
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("dir", &self.dir)
            .field("guests", &self.guests.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Ready {
    stop: bool,
    agent: bool,
    manager: bool,
    guests: Vec<(u64, PollFlags)>,
    tools: Vec<(u64, PollFlags)>,
}

fn interest(read: bool, write: bool) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    flags
}

fn is_open(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

/// Differs from that of the last server, so that an answer to it is not taken for one to this.
fn first_nonce() -> u64 {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40)
}

/// The question as bytes; it always fits.
fn question(nonce: u64) -> Vec<u8> {
    Message::Hello(Hello::request(nonce)).to_bytes().unwrap_or_default()
}
