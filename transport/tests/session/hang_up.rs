//! Connections that end, at every byte.

use std::time::Instant;

use trace_transport::session::{SenderConfig, SessionError, Version};

use crate::link::{
    Listener, Recorder, Wire, instances, metadata, receiver_config, sender_config, talk,
};

fn wire(version: Version, now: Instant) -> Wire {
    let mut recorder = Recorder::new(SenderConfig { version, ..sender_config() }, now);
    let mut listener = Listener::new(receiver_config(), now);
    let wire = talk(&mut recorder, &mut listener, 4096, now);
    assert!(recorder.told.done);
    wire
}

#[test]
fn a_listener_tells_where_a_v3_recorder_went_away_and_has_what_came() {
    let now = Instant::now();
    let Wire { recorder, .. } = wire(Version::V3, now);
    let cuts = (0..400).chain((400..recorder.len() - 400).step_by(97));
    for cut in cuts.chain(recorder.len() - 400..recorder.len()) {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(&recorder[..cut], 4096, now);
        listener.hang_up(now);
        let heard = &listener.heard;
        assert!(matches!(heard.error, Some(SessionError::HungUp { .. })), "{cut}: {heard:?}");
        assert!(metadata().starts_with(&heard.metadata));
        assert!(instances().starts_with(&heard.instances));
        assert_eq!(heard.closes, 0);
    }
}

#[test]
fn the_end_of_a_v1_recorder_is_its_hang_up() {
    let now = Instant::now();
    let Wire { recorder, .. } = wire(Version::V1, now);
    let hello = b"2\x004096\x000\0".len();
    for cut in 0..recorder.len().min(hello + 300) {
        let mut listener = Listener::new(receiver_config(), now);
        listener.feed(&recorder[..cut], 4096, now);
        listener.hang_up(now);
        let heard = &listener.heard;
        if cut < hello {
            assert!(matches!(heard.error, Some(SessionError::HungUp { .. })), "{heard:?}");
        } else {
            assert_eq!((heard.closes, &heard.error), (1, &None));
            assert_eq!(heard.metadata, metadata()[..cut - hello]);
        }
    }
}

#[test]
fn a_recorder_tells_that_a_listener_went_away_before_it_acknowledged() {
    let now = Instant::now();
    for version in [Version::V1, Version::V3] {
        let Wire { listener, .. } = wire(version, now);
        for cut in 0..listener.len() {
            let mut recorder = Recorder::new(SenderConfig { version, ..sender_config() }, now);
            recorder.feed(&listener[..cut], 4096, now);
            recorder.hang_up(now);
            let told = &recorder.told;
            assert!(!told.done, "after {cut} bytes");
            let fell_back = version == Version::V3 && cut == 8;
            assert_eq!(told.reconnects, u32::from(fell_back));
            let hung_up = matches!(told.error, Some(SessionError::HungUp { .. }));
            assert_eq!(hung_up, !fell_back, "{cut}: {told:?}");
        }
    }
}
