//! Messages as bytes, spelled out from the protocol's definition.
#![allow(missing_docs, clippy::unwrap_used)]

use trace_transport::message::{
    Frame, Message, ParameterId, ParameterList, Parameters, ProtocolName, WordList,
};

#[test]
fn rinit_for_two_cpus() {
    // What trace-cmd 3.1.6 answers to a TINIT for two CPUs, after its header.
    let bytes = b"\0\0\0\x1a\0\0\0\x02\0\0\0\x04\0\0\0\x021500\x001501\0";
    let frame = Frame::parse(bytes, 0).unwrap();
    let Message::Rinit { cpus, accepted: 0, ports } = Message::decode(&frame).unwrap() else {
        panic!("{frame:?}")
    };
    assert_eq!(cpus, 2);
    assert_eq!(ports.to_vec().unwrap(), ["1500", "1501"]);
    let ports = WordList::new(["1500", "1501"]).unwrap();
    assert_eq!(
        Message::Rinit { cpus: 2, accepted: 0, ports: ports.words() }.to_bytes().unwrap(),
        bytes
    );
}

#[test]
fn tinit_with_an_option() {
    let options = WordList::new(["tcp"]).unwrap();
    assert_eq!(
        Message::Tinit { cpus: 2, page_size: 4096, options: options.words() }.to_bytes().unwrap(),
        b"\0\0\0\x1c\0\0\0\x01\0\0\0\x0c\0\0\0\x02\0\0\x10\0\0\0\0\x01tcp\0"
    );
}

#[test]
fn trace_req_with_arguments_and_protocols() {
    let mut list = ParameterList::new();
    list.push_counted(ParameterId::ARGUMENTS, ["-e", "sched"]).unwrap();
    list.push(ParameterId::TIME_SYNC, b"ptp\0\0").unwrap();
    let request = Message::TraceReq {
        flags: 1,
        trace_id: 0x1122_3344_5566_7788,
        parameters: list.parameters(),
    };
    assert_eq!(
        request.to_bytes().unwrap(),
        b"\0\0\0\x3e\0\0\0\x06\0\0\0\x10\
          \0\0\0\x01\0\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88\
          \0\0\0\0\0\0\0\x0d\0\0\0\x02-e\0sched\0\
          \0\0\0\x01\0\0\0\x05ptp\0\0"
    );
}

#[test]
fn trace_resp_is_packed() {
    let bytes = b"\0\0\0\x3e\0\0\0\x07\0\0\0\x28\
        \0\0\0\x01\0\0\0\x02\0\0\x10\0\x11\x22\x33\x44\x55\x66\x77\x88\
        kvm\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\x37\
        1024\x001025\0";
    let frame = Frame::parse(bytes, 0).unwrap();
    let Message::TraceResp {
        flags,
        cpus,
        page_size,
        trace_id,
        time_sync,
        time_sync_port,
        accepted: 0,
        ports,
    } = Message::decode(&frame).unwrap()
    else {
        panic!("{frame:?}")
    };
    assert_eq!((flags, cpus, page_size, trace_id), (1, 2, 4096, 0x1122_3344_5566_7788));
    assert_eq!((time_sync, time_sync_port), (ProtocolName::new("kvm"), 823));
    assert_eq!(ports.to_vec().unwrap(), ["1024", "1025"]);
    assert_eq!(Message::decode(&frame).unwrap().to_bytes().unwrap(), bytes);
}

#[test]
fn a_longer_fixed_part_is_read_as_far_as_it_is_known() {
    // TIME_SYNC with four more bytes than today.
    let bytes = b"\0\0\0\x26\0\0\0\x09\0\0\0\x18ptp\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\x01\x02";
    let frame = Frame::parse(bytes, 0).unwrap();
    assert_eq!(
        Message::decode(&frame).unwrap(),
        Message::TimeSync { protocol: ProtocolName::new("ptp"), id: 2, payload: &[1, 2] }
    );
}

#[test]
fn a_shorter_fixed_part_is_read_as_if_zeros_followed() {
    let bytes = b"\0\0\0\x10\0\0\0\x06\0\0\0\x04\0\0\0\x01";
    let frame = Frame::parse(bytes, 0).unwrap();
    assert_eq!(
        Message::decode(&frame).unwrap(),
        Message::TraceReq { flags: 1, trace_id: 0, parameters: Parameters(&[]) }
    );
}

#[test]
fn every_cut_and_every_flipped_bit_is_read_without_a_panic() {
    let mut list = ParameterList::new();
    list.push_counted(ParameterId::ARGUMENTS, ["-p", "function"]).unwrap();
    let whole = Message::TraceReq { flags: 1, trace_id: 1, parameters: list.parameters() }
        .to_bytes()
        .unwrap();
    let read = |bytes: &[u8]| {
        let Ok(frame) = Frame::parse(bytes, 0) else { return };
        let Ok(message) = Message::decode(&frame) else { return };
        if let Message::TraceReq { parameters, .. } = message {
            for parameter in parameters.iter().flatten() {
                let _ = parameter.counted_words("arguments").and_then(|words| words.to_vec());
            }
        }
    };
    for length in 0..whole.len() {
        assert!(Frame::parse(&whole[..length], 0).is_err());
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        read(&bytes);
    }
}

#[test]
fn messages_between_two_of_this_project() {
    let ports = WordList::new(["1500"]).unwrap();
    let words = WordList::new(["foo", "mono", "0,2-3"]).unwrap();
    let proof: [u8; 32] = std::array::from_fn(|at| at as u8);
    let messages: [(Message<'_>, &[u8]); 5] = [
        (
            Message::Rinit { cpus: 1, accepted: 5, ports: ports.words() },
            b"\0\0\0\x19\0\0\0\x02\0\0\0\x08\0\0\0\x01\0\0\0\x051500\0",
        ),
        (
            Message::Received { stream: 2, bytes: 1 << 32, lost_bytes: 3, lost_datagrams: 1 },
            b"\0\0\0\x28\0\0\0\x4a\0\0\0\x1c\0\0\0\x02\0\0\0\x01\0\0\0\0\
              \0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01",
        ),
        (
            Message::Instance { cpus: 3, page_size: 4096, words: words.words() },
            b"\0\0\0\x27\0\0\0\x4b\0\0\0\x0c\0\0\0\x03\0\0\x10\0\0\0\0\x03foo\0mono\x000,2-3\0",
        ),
        (
            Message::Challenge { nonce: *b"nonce nonce nonc", proof },
            b"\0\0\0\x3c\0\0\0\x4c\0\0\0\x30nonce nonce nonc\
              \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\
              \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f",
        ),
        (
            Message::Proof { proof },
            b"\0\0\0\x2c\0\0\0\x4d\0\0\0\x20\
              \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\
              \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f",
        ),
    ];
    for (message, bytes) in messages {
        assert_eq!(message.to_bytes().unwrap(), bytes);
        let frame = Frame::parse(bytes, 0).unwrap();
        assert_eq!(Message::decode(&frame).unwrap().to_bytes().unwrap(), bytes);
    }
}
