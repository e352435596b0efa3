//! What goes between an agent and its host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_transport::session::agent::{
    Agent, AgentEvent, AgentExtensions, Answer, Mark, SyncEvent, SyncGuest, SyncGuestEvent,
    SyncHost,
};
use trace_transport::session::{Prove, RefuseCode, SessionError, SessionKey, Timeouts};

/// Bits of the set-up.
const KEY: u8 = 8;
const HANG_UP: u8 = 16;
const SYNC_HOST: u8 = 32;
const SYNC_GUEST: u8 = 64;

/// What one side understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Understood {
    /// Events, as text.
    pub events: Vec<String>,
    /// What it answered.
    pub answer: Vec<u8>,
    /// Whether it came to its end.
    pub is_closed: bool,
    /// Why not.
    pub error: Option<SessionError>,
}

/// What an agent, or a side of its time sync, hears, after a byte with its set-up.
///
/// # Panics
/// When it understands something else in other pieces.
pub fn agent(data: &[u8]) -> Understood {
    let Some((&bits, said)) = data.split_first() else { return Understood::default() };
    let listen = match bits {
        bits if bits & SYNC_HOST != 0 => sync_host,
        bits if bits & SYNC_GUEST != 0 => sync_guest,
        _ => control,
    };
    let understood = listen(bits, said, said.len());
    assert_eq!(listen(bits, said, 1), understood, "pieces change the meaning");
    understood
}

fn control(bits: u8, said: &[u8], piece: usize) -> Understood {
    let now = Instant::now();
    // A key whose proofs anyone can make, so that the fuzzer can too.
    let prove: Prove = Arc::new(|role, _, _| [role[0]; 32]);
    let key = (bits & KEY != 0).then_some(SessionKey { prove, nonce: [7; 16] });
    let mut agent = Agent::new(AgentExtensions::ALL, key, Timeouts::default(), now);
    let mut understood = Understood::default();
    let mut is_proxy = false;
    let mut take = |agent: &mut Agent| -> Result<(), SessionError> {
        while let Some(event) = agent.next(now)? {
            understood.events.push(format!("{event:?}"));
            match event {
                AgentEvent::Request(request) if request.args.is_empty() => {
                    agent.refuse(RefuseCode::FAILED, "nothing to record");
                }
                AgentEvent::Request(request) => {
                    is_proxy = request.proxy.is_some();
                    let ports = vec![1500, 1501];
                    agent.respond(&Answer {
                        cpus: 2,
                        page_size: 4096,
                        ports,
                        ..Answer::default()
                    })?;
                }
                AgentEvent::Close if is_proxy => agent.await_cont(now),
                AgentEvent::Close | AgentEvent::Continue => agent.closed(),
                AgentEvent::TimeSync { .. } | AgentEvent::Exec => {}
            }
        }
        Ok(())
    };
    let mut all = || -> Result<(), SessionError> {
        for bytes in said.chunks(piece.max(1)) {
            let mut rest = bytes;
            while !rest.is_empty() {
                let count = agent.push(rest);
                rest = rest.get(count..).unwrap_or_default();
                take(&mut agent)?;
                if count == 0 && agent.is_closed() {
                    return Ok(());
                }
            }
        }
        if bits & HANG_UP != 0 {
            agent.hung_up();
        }
        take(&mut agent)
    };
    let error = all().err();
    understood.error = error;
    understood.is_closed = agent.is_closed();
    understood.answer = agent.output().to_vec();
    understood
}

fn sync_host(_: u8, said: &[u8], piece: usize) -> Understood {
    let mut sync = SyncHost::new(Duration::from_secs(1));
    let mut understood = Understood::default();
    let mut stamps: Vec<(Mark, u64)> = Vec::new();
    let mut all = || -> Result<(), SessionError> {
        sync.begin(0, Instant::now())?;
        for bytes in said.chunks(piece.max(1)) {
            let mut rest = bytes;
            loop {
                let count = sync.push(rest);
                rest = rest.get(count..).unwrap_or_default();
                while let Some(event) = sync.next_event()? {
                    match event {
                        SyncEvent::Mark(mark) => stamps.push((mark, stamps.len() as u64)),
                        SyncEvent::Stamps => sync.stamps(&std::mem::take(&mut stamps))?,
                        SyncEvent::Offset { time, offset } => {
                            understood.events.push(format!("{time} {offset}"));
                            sync.begin(1, Instant::now())?;
                        }
                    }
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    };
    let error = all().err();
    understood.error = error;
    understood.is_closed = !understood.events.is_empty();
    understood.answer = sync.output().to_vec();
    understood
}

fn sync_guest(_: u8, said: &[u8], piece: usize) -> Understood {
    let now = Instant::now();
    let mut sync = SyncGuest::new(Duration::from_secs(1));
    let mut understood = Understood::default();
    let mut stamps: Vec<(Mark, u64)> = Vec::new();
    let mut all = || -> Result<(), SessionError> {
        for bytes in said.chunks(piece.max(1)) {
            let mut rest = bytes;
            loop {
                let count = sync.push(rest);
                rest = rest.get(count..).unwrap_or_default();
                while let Some(event) = sync.next_event(now)? {
                    match event {
                        SyncGuestEvent::Mark(mark) => stamps.push((mark, stamps.len() as u64)),
                        SyncGuestEvent::Stamps => sync.stamps(&std::mem::take(&mut stamps))?,
                        SyncGuestEvent::Round(cpu) => understood.events.push(cpu.to_string()),
                        SyncGuestEvent::Stop => {
                            understood.is_closed = true;
                            return Ok(());
                        }
                    }
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    };
    let error = all().err();
    understood.error = error;
    understood.answer = sync.output().to_vec();
    understood
}
