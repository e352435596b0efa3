//! Seeds of `agent`; each starts with a set-up (see `trace_fuzz::agent`).

use std::io;

use trace_transport::message::{Message, ParameterId, ParameterList, ProtocolName};

use super::sessions::{bytes, write};

const KEY: u8 = 8;
const HANG_UP: u8 = 16;
const SYNC_HOST: u8 = 32;
const SYNC_GUEST: u8 = 64;

pub(super) fn save() -> io::Result<()> {
    let save = |name: &str, setup, parts: &[&[u8]]| write("agent", name, setup, parts);
    let plain = request(&[], false)?;
    let own = request(&["accounts", "ping", "exec", "later"], false)?;
    let close = bytes(&[Message::Close])?;
    let ping = ProtocolName::new("ping");
    let more = bytes(&[
        Message::Exec,
        Message::TimeSync { protocol: ping, id: 1, payload: b"12345678\0\0\0\x01" },
    ])?;
    save("whole-plain", HANG_UP, &[&plain, &close])?;
    save("whole-own", 0, &[&own, &more, &close])?;
    let proof = bytes(&[Message::Proof { proof: [b'a'; 32] }])?;
    let wrong = bytes(&[Message::Proof { proof: [0; 32] }])?;
    let keyed = request(&["accounts"], true)?;
    save("bad-wrong-key", KEY, &[&keyed, &wrong])?;
    save("bad-proof-of-agent", KEY, &[&keyed, &proof, &close, &own])?;
    save("bad-no-key", KEY, &[&plain])?;
    save("bad-key-not-asked", 0, &[&keyed])?;
    save("bad-exec-not-agreed", 0, &[&plain, &more])?;
    save("bad-http", 0, &[b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"])?;
    save("bad-hang-up", HANG_UP, &[&plain])?;

    let sync = |protocol: &str, id, payload: &[u8]| {
        bytes(&[Message::TimeSync { protocol: ProtocolName::new(protocol), id, payload }])
    };
    let start = sync("ptp", 1, &[0, 0, 0, 1, 0, 0, 0, 3])?;
    let probe = sync("ptp", 2, &[0, 0, 0, 1])?;
    let (end, offset) = (sync("ptp", 5, &[])?, sync("ptp", 4, &[1; 16])?);
    save("whole-sync-host", SYNC_HOST, &[&start, &probe, &end, &offset])?;
    save("bad-sync-host-early", SYNC_HOST, &[&offset])?;
    let (round, stop) = (sync("none", 1, &[0, 0])?, sync("none", 2, &[])?);
    let mut all = [round, start].concat();
    for number in 1_u32..=339 {
        all.extend(sync("ptp", 2, &number.to_be_bytes())?);
    }
    let mut stamps = [1_u32.to_be_bytes(), 2_u32.to_be_bytes()].concat();
    for number in [1_u32, 200] {
        stamps.extend(u64::from(number).to_be_bytes());
        stamps.extend(number.to_be_bytes());
    }
    save("whole-sync-guest", SYNC_GUEST, &[&all, &sync("ptp", 3, &stamps)?, &stop])?;
    save("bad-sync-guest-number", SYNC_GUEST, &[all.get(..200).unwrap_or_default(), &probe])
}

fn request(extensions: &[&str], keyed: bool) -> io::Result<Vec<u8>> {
    let parameters = || -> Result<ParameterList, trace_transport::MessageError> {
        let mut list = ParameterList::new();
        list.push_counted(ParameterId::ARGUMENTS, ["-e", "sched"])?;
        list.push(ParameterId::TIME_SYNC, b"kvm\0ptp\0\0")?;
        if !extensions.is_empty() {
            list.push_counted(ParameterId::EXTENSIONS, extensions)?;
            list.push_counted(ParameterId::EXEC, ["ls"])?;
        }
        if keyed {
            list.push(ParameterId::KEY_NONCE, &[3; 16])?;
        }
        Ok(list)
    };
    let list = parameters().map_err(io::Error::other)?;
    bytes(&[Message::TraceReq { flags: 0, trace_id: 7, parameters: list.parameters() }])
}
