//! Datagrams that are lost, late, early, twice there, and not what they say.

use proptest::prelude::*;
use trace_transport::session::{
    Arrival, Numbering, Piece, Received, Sequence, SequenceError, SequenceHeader,
};

/// What came out of a stream: its bytes, and gaps as (datagrams, bytes).
#[derive(Debug, Default, PartialEq)]
struct Out {
    bytes: Vec<u8>,
    /// Where in the produced stream each byte of `bytes` and each gap was, by what came before.
    position: u64,
    gaps: Vec<(u64, u64)>,
}

impl Out {
    fn data(&mut self, bytes: &[u8], produced: &[u8]) {
        let at = self.position as usize;
        assert_eq!(bytes, &produced[at..at + bytes.len()], "at {at}");
        self.bytes.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
    }

    fn drain(&mut self, sequence: &mut Sequence, produced: &[u8]) {
        while let Some(piece) = sequence.next_piece() {
            match piece {
                Piece::Data(bytes) => self.data(bytes, produced),
                Piece::Lost { datagrams, bytes } => {
                    self.gaps.push((datagrams, bytes));
                    self.position += bytes;
                }
            }
        }
    }
}

fn datagrams(sizes: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut numbering = Numbering::new(3);
    let mut produced = Vec::new();
    let datagrams = sizes
        .iter()
        .map(|&size| {
            let payload: Vec<u8> = (0..size).map(|at| (produced.len() + at * 31) as u8).collect();
            produced.extend_from_slice(&payload);
            [&numbering.next_header(size)[..], &payload].concat()
        })
        .collect();
    assert_eq!(numbering.bytes(), produced.len() as u64);
    (datagrams, produced)
}

fn run(sizes: &[usize], order: &[usize], window: usize) -> (Out, Received, u64) {
    let (datagrams, produced) = datagrams(sizes);
    let mut sequence = Sequence::new(3, 64, window);
    let mut out = Out::default();
    for &which in order {
        if let Arrival::InOrder(bytes) = sequence.arrive(&datagrams[which]).unwrap() {
            out.data(bytes, &produced);
        }
        out.drain(&mut sequence, &produced);
    }
    sequence.end(produced.len() as u64).unwrap();
    out.drain(&mut sequence, &produced);
    assert!(!sequence.is_waiting());
    assert_eq!(out.position, produced.len() as u64);
    (out, sequence.received(), sequence.stale())
}

#[test]
fn in_order_nothing_is_held_or_lost() {
    let (out, received, stale) = run(&[64, 64, 10], &[0, 1, 2], 0);
    assert_eq!((out.bytes.len(), out.gaps.len(), stale), (138, 0, 0));
    assert_eq!(received, Received { stream: 3, bytes: 138, lost_bytes: 0, lost_datagrams: 0 });
}

#[test]
fn what_comes_late_is_put_in_its_place_while_the_window_lasts() {
    let (out, received, stale) = run(&[64; 6], &[0, 2, 3, 1, 5, 4, 2], 1000);
    assert_eq!((out.bytes.len(), out.gaps.len(), stale), (384, 0, 1));
    assert_eq!(received.lost_bytes, 0);
}

#[test]
fn what_comes_after_its_gap_was_written_off_is_lost_once() {
    let (out, received, stale) = run(&[64; 6], &[0, 2, 3, 1, 4, 5, 1], 100);
    assert_eq!((out.gaps, stale), (vec![(1, 64)], 2));
    assert_eq!(received, Received { stream: 3, bytes: 320, lost_bytes: 64, lost_datagrams: 1 });
}

#[test]
fn the_beginning_the_end_and_everything_can_be_lost() {
    for (order, gaps) in [
        (&[2, 3][..], &[(2, 128), (2, 128)][..]),
        (&[5], &[(5, 320)]),
        (&[0], &[(5, 320)]),
        (&[], &[(6, 384)]),
    ] {
        let (out, received, _) = run(&[64; 6], order, 1000);
        assert_eq!(out.gaps, gaps);
        assert_eq!(received.bytes + received.lost_bytes, 384);
        assert_eq!(received.lost_datagrams, gaps.iter().map(|(datagrams, _)| datagrams).sum());
    }
}

#[test]
fn a_header_is_24_bytes_big_endian() {
    let header = SequenceHeader { stream: 0x0102_0304, number: 5, bytes_before: 1 << 40 };
    let bytes = *b"\x17SEQ\x01\x02\x03\x04\0\0\0\0\0\0\0\x05\0\0\x01\0\0\0\0\0";
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!(SequenceHeader::split(&bytes), Ok((header, &[][..])));
    for cut in 0..24 {
        let short = SequenceError::Short { size: cut };
        assert_eq!(SequenceHeader::split(&bytes[..cut]), Err(short));
    }
    let magic = SequenceError::Magic { magic: 0x1753_4500 };
    let mut other = bytes;
    other[3] = 0;
    assert_eq!(SequenceHeader::split(&other), Err(magic));
}

#[test]
fn datagrams_that_contradict_the_others_are_as_if_they_had_not_come() {
    let datagram = |number, bytes_before, size| {
        let header = SequenceHeader { stream: 0, number, bytes_before };
        [&header.to_bytes()[..], &vec![1; size]].concat()
    };
    let mut sequence = Sequence::new(0, 64, 1 << 20);
    sequence.arrive(&datagram(0, 0, 64)).unwrap();
    sequence.arrive(&datagram(4, 256, 64)).unwrap();
    for (number, bytes_before, size) in [
        (1, 63, 64),
        (1, 65, 64),
        (1, 64, 192),
        (2, 64, 64),
        (3, 191, 64),
        (3, 192, 65),
        (5, 319, 64),
        (7, 321, 64),
        (6, 320 + 65508, 64),
        (u64::MAX, u64::MAX - 64, 64),
        (9, u64::MAX, 64),
        (1, 0, 64),
    ] {
        let contradiction = SequenceError::Contradiction { number, bytes_before };
        let datagram = datagram(number, bytes_before, size);
        assert_eq!(
            sequence.arrive(&datagram),
            Err(contradiction),
            "{number} {bytes_before} {size}"
        );
    }
    let other = SequenceHeader { stream: 1, number: 1, bytes_before: 64 };
    let other = [&other.to_bytes()[..], b"x"].concat();
    let stream = SequenceError::Stream { got: 1, expected: 0 };
    assert_eq!(sequence.arrive(&other), Err(stream));
    assert_eq!(sequence.arrive(&datagram(1, 64, 0)), Err(SequenceError::Short { size: 24 }));
    let more = SequenceError::MoreThanProduced { arrived: 320, produced: 319 };
    assert_eq!(sequence.end(319), Err(more));
    sequence.end(320).unwrap();
    let lost = Piece::Lost { datagrams: 3, bytes: 192 };
    assert_eq!(sequence.next_piece(), Some(lost));
    assert_eq!(sequence.next_piece(), Some(Piece::Data(&[1; 64])));
    assert_eq!(sequence.next_piece(), None);
    assert_eq!(sequence.arrive(&datagram(5, 320, 64)), Ok(Arrival::Stale));
}

#[test]
fn counts_go_beyond_32_bits() {
    let mut sequence = Sequence::new(0, 4096, 0);
    let header = SequenceHeader { stream: 0, number: 1 << 33, bytes_before: 1 << 45 };
    sequence.arrive(&[&header.to_bytes()[..], b"x"].concat()).unwrap();
    let lost = Piece::Lost { datagrams: 1 << 33, bytes: 1 << 45 };
    assert_eq!(sequence.next_piece(), Some(lost));
    assert_eq!(sequence.next_piece(), Some(Piece::Data(b"x")));
    sequence.end(u64::MAX).unwrap();
    assert!(matches!(sequence.next_piece(), Some(Piece::Lost { .. })));
    let received = sequence.received();
    assert_eq!(received.bytes + received.lost_bytes, u64::MAX);
}

/// Numbers of datagrams, some missing, some twice, moved by up to a few places.
fn orders(count: usize) -> impl Strategy<Value = Vec<usize>> {
    let one = (0..8_usize, 0..4_u8, 0..10_u8);
    proptest::collection::vec(one, count).prop_map(|fates| {
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (which, (delay, lost, twice)) in fates.into_iter().enumerate() {
            if lost > 0 {
                order.push((which + delay, which));
            }
            if twice == 0 {
                order.push((which + 3, which));
            }
        }
        order.sort_by_key(|&(when, _)| when);
        order.into_iter().map(|(_, which)| which).collect()
    })
}

proptest! {
    #[test]
    fn delivered_and_lost_are_what_was_produced(
        (sizes, order) in proptest::collection::vec(1..65_usize, 0..60)
            .prop_flat_map(|sizes| { let count = sizes.len(); (Just(sizes), orders(count)) }),
        window in 0..3000_usize,
    ) {
        let (out, received, stale) = run(&sizes, &order, window);
        let produced: usize = sizes.iter().sum();
        prop_assert_eq!(received.bytes, out.bytes.len() as u64);
        prop_assert_eq!(received.bytes + received.lost_bytes, produced as u64);
        let gaps: u64 = out.gaps.iter().map(|(_, bytes)| bytes).sum();
        prop_assert_eq!(received.lost_bytes, gaps);
        let mut came = order.clone();
        came.sort_unstable();
        came.dedup();
        // With room for all of them, only what never came is lost.
        if window >= 60 * (64 + 128) || out.gaps.is_empty() {
            let never: usize = (0..sizes.len()).filter(|i| came.binary_search(i).is_err()).map(|i| sizes[i]).sum();
            prop_assert_eq!(received.lost_bytes, never as u64);
            prop_assert_eq!(stale, (order.len() - came.len()) as u64);
        }
    }
}
