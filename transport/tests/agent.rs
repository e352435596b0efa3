//! Host and agent against each other, with and without extensions and keys, and hosts and agents that are none.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use trace_transport::message::{Decoder, Message, ProtocolName, Words};
use trace_transport::session::agent::{
    Agent, AgentEvent, AgentExtensions, Answer, Ask, Opened, Opening, ProxyGuest, Request, Taken,
};
use trace_transport::session::{Prove, RefuseCode, SessionError, SessionKey, Timeouts};

fn key(secret: u8, nonce: u8) -> SessionKey {
    let prove: Prove = Arc::new(move |role, host, agent| {
        let mut proof = [secret; 32];
        for (place, byte) in proof.iter_mut().zip(role.iter().chain(host).chain(agent)) {
            *place ^= byte;
        }
        proof
    });
    SessionKey { prove, nonce: [nonce; 16] }
}

fn ask() -> Ask {
    Ask {
        trace_id: 7,
        args: ["-e", "sched", "-f", "prio < 5"].map(str::to_owned).to_vec(),
        time_sync: vec!["ptp"],
        ..Ask::default()
    }
}

fn answer() -> Answer {
    Answer {
        cpus: 2,
        page_size: 4096,
        trace_id: 99,
        time_sync: Some((ProtocolName::new("ptp"), 70_000)),
        ports: vec![1500, u32::MAX],
    }
}

fn agent(offered: AgentExtensions, key: Option<SessionKey>) -> (Agent, Instant) {
    let now = Instant::now();
    (Agent::new(offered, key, Timeouts::default(), now), now)
}

/// Lets a host open a session, `piece` bytes at a time.
fn open(
    agent: &mut Agent,
    now: Instant,
    ask: Ask,
    piece: usize,
) -> Result<(Request, Opened), SessionError> {
    let (mut opening, mut to_agent) = Opening::new(ask)?;
    let mut from_agent = Decoder::new();
    let mut asked = None;
    loop {
        let count = agent.push(&to_agent[..to_agent.len().min(piece)]);
        to_agent.drain(..count);
        let event = agent.next(now);
        let out = agent.output().to_vec();
        let taken = from_agent.push(&out[..out.len().min(piece)]);
        agent.sent(taken);
        while let Some(frame) = from_agent.next_frame()? {
            match opening.take(&Message::decode(&frame)?)? {
                Taken::Send(bytes) => to_agent.extend(bytes),
                Taken::Opened(opened) => return Ok((asked.unwrap(), opened)),
            }
        }
        if agent.output().is_empty() {
            match event? {
                Some(AgentEvent::Request(request)) => {
                    agent.respond(&answer())?;
                    asked = Some(request);
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        } else if let Ok(Some(AgentEvent::Request(request))) = event {
            agent.respond(&answer())?;
            asked = Some(request);
        }
    }
}

fn say(agent: &mut Agent, message: &Message<'_>) {
    let bytes = message.to_bytes().unwrap();
    assert_eq!(agent.push(&bytes), bytes.len());
}

#[test]
fn a_session_in_any_pieces_with_what_both_know() {
    for piece in [1, 5, usize::MAX] {
        for (asked, offered) in [
            (AgentExtensions::NONE, AgentExtensions::ALL),
            (AgentExtensions::ALL, AgentExtensions::ALL),
            (AgentExtensions::ALL, AgentExtensions { exec: true, ..AgentExtensions::NONE }),
        ] {
            for keyed in [false, true] {
                let (mut agent, now) = agent(offered, keyed.then(|| key(3, 1)));
                let key = keyed.then(|| key(3, 2));
                let ask = Ask { extensions: asked, key, ..ask() };
                let (request, opened) = open(&mut agent, now, ask, piece).unwrap();
                assert_eq!(request.args, ["-e", "sched", "-f", "prio < 5"]);
                assert_eq!((request.trace_id, request.fifos, request.proxy), (7, false, None));
                assert_eq!(request.time_sync, ["ptp"]);
                assert_eq!(opened.ports, [1500, u32::MAX]);
                assert_eq!((opened.cpus, opened.page_size, opened.trace_id), (2, 4096, 99));
                assert_eq!(opened.time_sync, Some((ProtocolName::new("ptp"), 70_000)));
                assert_eq!(opened.extensions, asked.and(offered));
                assert_eq!(agent.extensions(), asked.and(offered));
                assert_eq!(opened.data_token(1).is_some(), keyed);
                assert_eq!(opened.data_token(1), agent.data_token(1));
                assert_eq!(opened.sync_token(), agent.sync_token());
                if keyed {
                    assert_ne!(opened.data_token(0), opened.data_token(1));
                    assert_ne!(opened.data_token(0), opened.sync_token());
                }
                say(&mut agent, &Message::Close);
                assert_eq!(agent.next(now).unwrap(), Some(AgentEvent::Close));
                agent.closed();
                assert_eq!(agent.output(), Message::CloseResp.to_bytes().unwrap());
                agent.sent(12);
                agent.hung_up();
                assert_eq!(agent.next(now).unwrap(), None);
            }
        }
    }
}

#[test]
fn bytes_are_those_of_the_reference() {
    // A request as 3.1.6 sends it, and an answer as it understands it.
    let request = b"\0\0\0\x4e\0\0\0\x06\0\0\0\x10\0\0\0\0\0\0\0\0\xa4\xa2\xf9\x7c\xdb\x9c\x12\xcf\
        \0\0\0\0\0\0\0\x1d\0\0\0\x04-C\0local\0-e\0sched_switch\0\0\0\0\x01\0\0\0\x05ptp\0\0";
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    agent.push(request);
    let Some(AgentEvent::Request(asked)) = agent.next(now).unwrap() else { panic!() };
    assert_eq!(asked.args, ["-C", "local", "-e", "sched_switch"]);
    assert_eq!((asked.time_sync.as_slice(), asked.exec), (&["ptp".to_owned()][..], None));
    assert!(!asked.understands_refusals);
    agent.respond(&Answer { ports: vec![1500, 1501], ..answer() }).unwrap();
    let expected = b"\0\0\0\x3e\0\0\0\x07\0\0\0\x28\0\0\0\0\0\0\0\x02\0\0\x10\0\0\0\0\0\0\0\0\x63\
        ptp\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x11\x701500\x001501\0";
    assert_eq!(agent.output(), expected);
    let ask = Ask {
        trace_id: 0xa4a2_f97c_db9c_12cf,
        args: asked.args,
        time_sync: vec!["ptp"],
        ..Ask::default()
    };
    let (mut opening, bytes) = Opening::new(ask).unwrap();
    assert_eq!(bytes, request);
    let mut decoder = Decoder::new();
    decoder.push(expected);
    let frame = decoder.next_frame().unwrap().unwrap();
    let taken = opening.take(&Message::decode(&frame).unwrap()).unwrap();
    let Taken::Opened(opened) = taken else { panic!("{taken:?}") };
    assert_eq!((opened.ports, opened.extensions), (vec![1500, 1501], AgentExtensions::NONE));
}

#[test]
fn keys_that_differ_and_keys_of_one_side_end_it_with_a_reason() {
    let refused = |asked: Option<SessionKey>, required: Option<SessionKey>| {
        let (mut agent, now) = agent(AgentExtensions::ALL, required);
        let ask = Ask { key: asked, extensions: AgentExtensions::ALL, ..ask() };
        open(&mut agent, now, ask, usize::MAX).unwrap_err()
    };
    assert_eq!(refused(Some(key(1, 1)), Some(key(2, 2))), SessionError::KeyWrong);
    for (asked, required) in [(None, Some(key(2, 2))), (Some(key(1, 1)), None)] {
        let error = refused(asked, required);
        let SessionError::Refused { code, .. } = error else { panic!("{error}") };
        assert_eq!(code, RefuseCode::KEY);
    }
    // An agent of the C version answers without a word about keys.
    let asked = Ask { key: Some(key(1, 1)), ..ask() };
    let (mut opening, _) = Opening::new(asked).unwrap();
    let plain = Message::TraceResp {
        flags: 0,
        cpus: 1,
        page_size: 4096,
        trace_id: 1,
        time_sync: ProtocolName::default(),
        time_sync_port: 0,
        accepted: 0,
        ports: Words::all(b"1\0", "ports"),
    };
    assert_eq!(opening.take(&plain).unwrap_err(), SessionError::KeyMissing);
}

#[test]
fn a_host_that_proves_nothing_is_asked_nothing_more() {
    let (mut agent, now) = agent(AgentExtensions::ALL, Some(key(1, 1)));
    let (_, request) = Opening::new(Ask { key: Some(key(1, 2)), ..ask() }).unwrap();
    agent.push(&request);
    assert_eq!(agent.next(now).unwrap(), None);
    say(&mut agent, &Message::Proof { proof: [0; 32] });
    assert_eq!(agent.next(now).unwrap_err(), SessionError::KeyWrong);
    assert_eq!(agent.next(now).unwrap(), None);
    let error = agent.respond(&answer()).unwrap_err();
    assert!(matches!(error, SessionError::OutOfOrder { .. }), "{error}");
}

#[test]
fn answers_that_make_no_sense_are_told() {
    let take = |answer: &Message<'_>| {
        let (mut opening, _) = Opening::new(ask()).unwrap();
        opening.take(answer).unwrap_err().to_string()
    };
    let resp = |flags, cpus, page_size, ports: &'static [u8]| Message::TraceResp {
        flags,
        cpus,
        page_size,
        trace_id: 1,
        time_sync: ProtocolName::default(),
        time_sync_port: 0,
        accepted: 0,
        ports: Words::all(ports, "ports"),
    };
    for (message, part) in [
        (resp(0, 0, 4096, b""), "number of CPUs is 0"),
        (resp(0, u32::MAX, 4096, b""), "number of CPUs is 4294967295"),
        (resp(0, 2, 0, b"1\x002\0"), "page size is 0"),
        (resp(0, 2, 4096, b"1\0"), "1 ports for 2 streams"),
        (resp(0, 1, 4096, b"x\0"), "port is \"x\""),
        (resp(1, 1, 4096, b""), "FIFO flag is 1"),
        (Message::NotSupported, "does not support"),
        (Message::Close, "CLOSE while waiting for TRACE_RESP"),
        (Message::Refuse { code: 4, reason: "no\x1b time" }, "ended by the other side: no  time"),
    ] {
        let text = take(&message);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_agent_does_only_what_it_agreed_to() {
    let (mut plain, now) = agent(AgentExtensions::ALL, None);
    open(&mut plain, now, ask(), usize::MAX).unwrap();
    say(&mut plain, &Message::Exec);
    let error = plain.next(now).unwrap_err();
    assert!(error.to_string().contains("EXEC while waiting for CLOSE"), "{error}");
    assert_eq!(plain.output(), Message::NotSupported.to_bytes().unwrap());

    let (mut own, now) = agent(AgentExtensions::ALL, None);
    let all = Ask { extensions: AgentExtensions::ALL, ..ask() };
    open(&mut own, now, all, usize::MAX).unwrap();
    let protocol = ProtocolName::new("ping");
    say(&mut own, &Message::TimeSync { protocol, id: 1, payload: b"x" });
    let expected = AgentEvent::TimeSync { protocol, id: 1, payload: b"x".to_vec() };
    assert_eq!(own.next(now).unwrap(), Some(expected.clone()));
    say(&mut own, &Message::Exec);
    assert_eq!(own.next(now).unwrap(), Some(AgentEvent::Exec));
    say(&mut own, &Message::Close);
    assert_eq!(own.next(now).unwrap(), Some(AgentEvent::Close));
    own.closed();
    // A last comparison of the clocks comes behind the end.
    say(&mut own, &Message::TimeSync { protocol, id: 1, payload: b"x" });
    assert_eq!(own.next(now).unwrap(), Some(expected));
}

#[test]
fn hosts_that_are_late_or_leave_are_told_apart() {
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    let deadline = agent.next_deadline().unwrap();
    assert!(agent.on_time(now).is_ok());
    let late = agent.on_time(deadline + Duration::from_millis(1)).unwrap_err();
    assert_eq!(late, SessionError::TimedOut { step: "TRACE_REQ" });
    let (mut agent, now) = self::agent(AgentExtensions::ALL, None);
    open(&mut agent, now, ask(), usize::MAX).unwrap();
    assert_eq!(agent.next_deadline(), None);
    agent.hung_up();
    assert_eq!(agent.next(now).unwrap_err(), SessionError::HungUp { step: "CLOSE" });
}

fn proxy_ask() -> Ask {
    Ask {
        proxy: Some(ProxyGuest { cpus: 2, siblings: 0 }),
        extensions: AgentExtensions::ALL,
        ..ask()
    }
}

#[test]
fn a_proxy_request_is_known_as_one_and_lets_nothing_be_run() {
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    let (request, opened) = open(&mut agent, now, proxy_ask(), usize::MAX).unwrap();
    assert_eq!(request.proxy, Some(ProxyGuest { cpus: 2, siblings: 0 }));
    assert_eq!(request.args, ask().args);
    assert_eq!(opened.extensions, AgentExtensions::OF_PROXIES);
    say(&mut agent, &Message::Exec);
    assert!(matches!(agent.next(now), Err(SessionError::Unexpected { .. })));
}

#[test]
fn a_proxy_without_extensions_has_no_message_that_the_reference_does_not_know() {
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    // As recorded of 3.1.6's 'record --proxy', for 2 CPUs.
    let bytes = *b"\0\0\0\x59\0\0\0\x0a\0\0\0\x18\0\0\0\0\0\0\0\0\x1f\xe5\x30\xb6\xed\x67\x4a\x4e\
        \0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\x02-e\0sched:sched_process_exec\0\
        \0\0\0\x01\0\0\0\x05ptp\0\0";
    agent.push(&bytes);
    let Some(AgentEvent::Request(request)) = agent.next(now).unwrap() else { panic!() };
    assert_eq!(request.proxy, Some(ProxyGuest { cpus: 2, siblings: 0 }));
    assert_eq!(
        (request.trace_id, request.time_sync),
        (0x1fe5_30b6_ed67_4a4e, vec!["ptp".to_owned()])
    );
    agent.refuse(RefuseCode::FAILED, "not here");
    assert!(agent.output().is_empty(), "it would not understand");
    assert!(agent.is_closed());
}

#[test]
fn a_guest_asks_for_the_options_of_its_own_file_or_goes() {
    for asks in [true, false] {
        let (mut agent, now) = agent(AgentExtensions::ALL, None);
        open(&mut agent, now, proxy_ask(), usize::MAX).unwrap();
        say(&mut agent, &Message::Close);
        assert_eq!(agent.next(now).unwrap(), Some(AgentEvent::Close));
        agent.await_cont(now);
        assert!(agent.next_deadline().is_some() && !agent.is_closed());
        if asks {
            say(&mut agent, &Message::Cont);
            assert_eq!(agent.next(now).unwrap(), Some(AgentEvent::Continue));
            agent.closed();
        } else {
            agent.hung_up();
            assert_eq!(agent.next(now).unwrap(), None);
        }
        assert!(agent.is_closed());
    }
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    open(&mut agent, now, proxy_ask(), usize::MAX).unwrap();
    say(&mut agent, &Message::Cont);
    assert!(matches!(agent.next(now), Err(SessionError::Unexpected { .. })));
}

#[test]
fn a_guest_with_more_cpus_than_there_can_be_is_refused() {
    let (mut agent, now) = agent(AgentExtensions::ALL, None);
    let ask = Ask { proxy: Some(ProxyGuest { cpus: u32::MAX, siblings: 0 }), ..proxy_ask() };
    let (_, bytes) = Opening::new(ask).unwrap();
    agent.push(&bytes);
    assert!(matches!(agent.next(now), Err(SessionError::Limit { what: "number of CPUs", .. })));
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_waits_for_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut agent, now) = agent(AgentExtensions::ALL, Some(key(1, 1)));
        agent.push(&bytes);
        for _ in 0..40 {
            if agent.next(now).is_err() {
                break;
            }
        }
        prop_assert!(agent.output().len() < 10_000);
    }

    #[test]
    fn a_changed_byte_of_a_request_never_breaks_it(at in 0_usize..200, value: u8, cut in 0_usize..200) {
        let ask = Ask { extensions: AgentExtensions::ALL, exec: Some(vec!["ls".to_owned()]), ..ask() };
        let (_, mut bytes) = Opening::new(ask).unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let (mut agent, now) = agent(AgentExtensions::ALL, None);
        agent.push(&bytes);
        agent.hung_up();
        match agent.next(now) {
            Ok(Some(AgentEvent::Request(request))) => prop_assert!(request.args.len() <= 200),
            Ok(other) => prop_assert!(false, "{other:?}"),
            Err(_) => prop_assert!(agent.is_closed()),
        }
    }
}
