//! Frames and messages of the protocol, and the words that people give for addresses and peers.

use trace_transport::message::{Decoder, Message, Parameters, Words};
use trace_transport::{Address, Rule};

/// Bytes as they come from a connection; and, as text, an address and a rule about peers.
///
/// # Panics
/// When a message means something else once it was written and read again, or other pieces mean something else.
pub fn run(data: &[u8]) {
    let whole = decode(data, data.len());
    assert_eq!(decode(data, 1), whole, "pieces change the meaning");
    if let Ok(text) = std::str::from_utf8(data) {
        words(text);
    }
}

/// Messages as text, up to the first error, which is the last.
fn decode(data: &[u8], piece: usize) -> Vec<String> {
    let (mut decoder, mut found) = (Decoder::new(), Vec::new());
    for mut bytes in data.chunks(piece.max(1)) {
        while !bytes.is_empty() {
            let count = decoder.push(bytes);
            bytes = &bytes[count..];
            let before = found.len();
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => match Message::decode(&frame) {
                        Ok(message) => found.push(read(&message)),
                        Err(error) => found.push(error.to_string()),
                    },
                    Ok(None) => break,
                    Err(error) => {
                        found.push(error.to_string());
                        return found;
                    }
                }
            }
            assert!(count > 0 || found.len() > before, "takes nothing and says nothing");
        }
    }
    found
}

/// All of a message, whose bytes say the same again.
fn read(message: &Message<'_>) -> String {
    let text = format!("{message:?}");
    match message {
        Message::Tinit { options: words, .. }
        | Message::Rinit { ports: words, .. }
        | Message::TraceResp { ports: words, .. }
        | Message::Instance { words, .. }
        | Message::Wish { words } => all_words(words),
        Message::Hello(hello) => all_words(&hello.words),
        Message::TraceReq { parameters, .. } | Message::TraceProxy { parameters, .. } => {
            all_parameters(parameters);
        }
        _ => {}
    }
    // What has a longer fixed part than is known may become shorter, never longer.
    let bytes = message.to_bytes().expect("it came in a message");
    let mut decoder = Decoder::new();
    assert_eq!(decoder.push(&bytes), bytes.len());
    let frame = decoder.next_frame().expect("it is whole").expect("it is all there");
    let again = Message::decode(&frame).expect("it was a message");
    assert_eq!(format!("{again:?}"), text);
    text
}

fn all_words(words: &Words<'_>) {
    let (mut count, mut is_broken) = (0, false);
    for word in words.iter() {
        assert!(!is_broken, "a word behind an error");
        is_broken = word.is_err();
        count += 1;
    }
    assert_eq!(words.to_vec().map(|words| words.len()).ok(), (!is_broken).then_some(count));
}

fn all_parameters(parameters: &Parameters<'_>) {
    let mut is_broken = false;
    for parameter in parameters.iter() {
        assert!(!is_broken, "a parameter behind an error");
        let Ok(parameter) = parameter else {
            is_broken = true;
            continue;
        };
        if let Ok(words) = parameter.counted_words("words") {
            all_words(&words);
        }
        let first = parameters.find(parameter.id).expect("it was read").expect("it is there");
        assert_eq!(first.id, parameter.id);
    }
}

fn words(text: &str) {
    match text.parse::<Address>() {
        Ok(address) => assert_eq!(address.to_string().parse(), Ok(address)),
        Err(error) => assert!(error.offset <= text.len()),
    }
    std::hint::black_box(text.parse::<Rule>().map_err(|error| error.to_string())).ok();
}
