//! Seeds of `messages`, `virt_client`, `virt_host` and `virt_server`.

use std::io;

use trace_transport::message::{
    ExecRule, GuestStatus, Hello, HelloKind, Message, ParameterId, ParameterList, ProtocolName,
    Totals, WordList, Words,
};

use super::sessions::{bytes, write};

/// Of `virt_client`: the guest wants a recording of its own.
const WISHES: u8 = 1;

pub(super) fn save() -> io::Result<()> {
    let words = WordList::new(["test 1.0", "mono", "boot"]).map_err(io::Error::other)?;
    let answer = Hello {
        kind: HelloKind::ANSWER,
        nonce: 7,
        cpus: 1,
        page_size: 4096,
        exec: ExecRule::ANY,
        words: words.words(),
    };
    let hello = bytes(&[Message::Hello(Hello::request(7))])?;
    let answer = bytes(&[Message::Hello(answer)])?;
    let request = request()?;
    let close = bytes(&[Message::Close])?;
    let probe = bytes(&[clock(1, b"\0\0\0\0\0\0\0\x01\0\0\0\x01")])?;
    let refuse = bytes(&[Message::Refuse { code: 4, reason: "another has it" }])?;

    let save = |name: &str, setup, parts: &[&[u8]]| write("virt_client", name, setup, parts);
    save("whole-recording", 0, &[&hello, &request, &probe, &bytes(&[Message::Exec])?, &close])?;
    save("whole-wish", WISHES, &[&hello, &request, &close])?;
    save("bad-refused", WISHES, &[&hello, &refuse])?;
    save("bad-restart", 0, &[&hello, &request, &hello, &request])?;
    save("bad-lost-bytes", 0, &[&hello, &request[..50], &hello, &close])?;

    let resp = bytes(&[started()])?;
    let head = bytes(&[Message::SendData(b"head"), Message::FinData])?;
    let running = bytes(&[
        Message::Output { stream: 1, bytes: b"text" },
        Message::ExecExit { code: 3, signal: 0 },
        Message::DataEnd { cpu: 0, bytes: 4096 },
        Message::Tail(b"tail"),
        Message::Held { times: 2, ms: 50 },
        Message::CloseResp,
    ])?;
    let times = bytes(&[
        clock(2, b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x10\0"),
        clock(3, b"\0\0\0\0\0\0\0\x02"),
    ])?;
    let save = |name: &str, setup, parts: &[&[u8]]| write("virt_host", name, setup, parts);
    save("whole-recording", 2, &[&answer, &times, &resp, &head, &running])?;
    save("bad-gone", 2, &[&answer, &resp, &head[..20]])?;
    save("bad-refused", 2, &[&answer, &refuse])?;
    save(
        "bad-more-cpus",
        2,
        &[&bytes(&[Message::Status { version: 1, qemu: 0 }])?, &answer, &resp],
    )?;
    let end = Message::GuestEntry { state: 0, cpus: 0, guest: "" };
    let list = bytes(&[Message::GuestEntry { state: 2, cpus: 4, guest: "a\u{1b}[2J" }, end])?;
    save("whole-list", 0, &[&list])?;
    save("whole-status", 1, &[&status(&words)?])?;

    let open = bytes(&[Message::Open { version: Message::STATUS_VERSION, guest: "guest" }])?;
    let wish = bytes(&[Message::Wish { words: words.words() }])?;
    let totals = bytes(&[Message::Totals(Totals { bytes: 1, lost: 2, clock_error: 3 })])?;
    let question = bytes(&[Message::Status { version: Message::STATUS_VERSION, qemu: 0 }])?;
    let (guest, tool, introduce, leave) = (0, 1, 2, 3);
    let steps = |name: &str, steps: &[(u8, &[u8])]| {
        let parts: Vec<Vec<u8>> = steps.iter().map(|(who, bytes)| step(*who, bytes)).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let all = parts.concat();
        let Some((first, rest)) = all.split_first() else { return Ok(()) };
        write("virt_server", name, *first, &[rest])
    };
    steps(
        "whole-recording",
        &[
            (introduce, &[]),
            (tool, &open),
            (introduce, &[]),
            (tool, &request),
            (guest, &resp),
            (guest, &head),
            (tool, &totals),
            (tool, &close),
            (guest, &running),
        ],
    )?;
    steps("whole-wish", &[(introduce, &[]), (guest, &wish), (tool, &open), (introduce, &[])])?;
    steps("whole-status", &[(introduce, &[]), (tool, &question), (leave, &[])])?;
    steps("bad-guest", &[(guest, b"\0\0\0\x05garbage"), (introduce, &[]), (tool, &open)])?;
    steps(
        "bad-tool",
        &[(tool, &request), (tool, b"GET / HTTP/1.1\r\n\r\n"), (4, &[]), (tool, &open)],
    )?;

    let save = |name: &str, parts: &[&[u8]]| {
        let all = parts.concat();
        let Some((first, rest)) = all.split_first() else { return Ok(()) };
        write("messages", name, *first, &[rest])
    };
    save("virt", &[&hello, &answer, &open, &running, &list, &status(&words)?, &wish, &totals])?;
    save("agent", &[&request, &resp, &head, &probe, &close])?;
    save("address", &[b"vsock:3:823"])?;
    save("address-v6", &[b"[::1]:12345"])?;
    save("rule", &[b"10.0.0.0/8"])?;
    save("rule-vsock", &[b"vsock:3"])
}

fn request() -> io::Result<Vec<u8>> {
    let mut list = ParameterList::new();
    let fill = |list: &mut ParameterList| {
        list.push_counted(ParameterId::ARGUMENTS, ["-e", "sched"])?;
        list.push(ParameterId::STREAM_MARK, &[7; 16])?;
        list.push_counted(ParameterId::EXEC, ["true"])
    };
    fill(&mut list).map_err(io::Error::other)?;
    let parameters = list.parameters();
    bytes(&[Message::TraceReq { flags: Message::USE_FIFOS, trace_id: 0, parameters }])
}

fn started() -> Message<'static> {
    Message::TraceResp {
        flags: 1,
        cpus: 1,
        page_size: 4096,
        trace_id: 0,
        time_sync: ProtocolName::new(""),
        time_sync_port: 0,
        accepted: 0,
        ports: Words::all(b"", "ports"),
    }
}

fn clock(id: u32, payload: &[u8]) -> Message<'_> {
    Message::TimeSync { protocol: ProtocolName::new("ping"), id, payload }
}

/// A guest in a session, and the end of the list.
fn status(words: &WordList) -> io::Result<Vec<u8>> {
    let guest = |words| GuestStatus {
        state: 3,
        cpus: 2,
        page_size: 4096,
        exec: ExecRule::DENY,
        qemu: 1,
        tool: 2,
        connected_ms: 3,
        session_ms: 4,
        relayed: 5,
        rate: 6,
        totals: Totals { bytes: 7, lost: 8, clock_error: 9 },
        words,
    };
    bytes(&[
        Message::GuestStatus(guest(words.words())),
        Message::GuestStatus(guest(Words::all(b"", "status"))),
    ])
}

fn step(who: u8, bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len().min(255);
    [&[who, len as u8], &bytes[..len]].concat()
}
