//! Damaged files: cut anywhere, or with flipped bits. Whatever is left is read and printed, or
//! refused with an error, in bounded time and memory; nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod damage;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tracedat::compress::Codec;
use tracedat::testing::{Contents, TraceBuilder, Workload};
use tracedat::{Abi, ByteOrder, Reader};

use damage::{Damage, most_memory_kb, read_all};

/// Longer takes only what does not end: each file is read in milliseconds.
const LIMIT: Duration = Duration::from_secs(240);

/// Most memory that the whole test may have used at any time.
const MEMORY_LIMIT_KB: u64 = 192 << 10;

fn trace(seed: u64, version: u8, codec: Codec, abi: Abi) -> Vec<u8> {
    let mut workload = Workload::new(seed);
    workload.events_per_cpu = 40;
    workload.abi = abi;
    workload.instances = vec!["irqs".to_owned()];
    workload.missed_every = 2;
    TraceBuilder::new(workload).version(version).codec(codec).build()
}

const LITTLE_64: Abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
const BIG_32: Abi = Abi { byte_order: ByteOrder::Big, long_size: 4 };

#[test]
fn version_6() {
    sweep("v6", &trace(1, 6, Codec::None, LITTLE_64), 200, 1000);
    sweep("v6 be32", &trace(2, 6, Codec::None, BIG_32), 100, 500);
}

#[test]
fn version_7() {
    sweep("v7", &trace(3, 7, Codec::None, LITTLE_64), 200, 1000);
}

#[test]
#[cfg(feature = "zstd")]
fn version_7_zstd() {
    sweep("v7 zstd", &trace(4, 7, Codec::Zstd, LITTLE_64), 200, 1000);
}

#[test]
#[cfg(feature = "zlib")]
fn version_7_zlib() {
    sweep("v7 zlib", &trace(5, 7, Codec::Zlib, LITTLE_64), 200, 1000);
}

/// A recorder over the network tells how long command lines are before it reads them, while tasks come and go.
#[test]
fn command_lines_of_another_size_than_told() {
    let workload = Workload::new(6);
    let whole = TraceBuilder::new(workload.clone()).version(6).build();
    let records = Contents::of(Reader::parse(whole.clone()).unwrap()).unwrap().records;
    let texts = workload.cmdlines().into_bytes();
    let at = whole.windows(texts.len()).position(|bytes| bytes == texts).unwrap() - 8;
    for told in [texts.len() - 100, texts.len() - 1, texts.len() + 1, texts.len() + 70] {
        let mut file = whole.clone();
        file[at..at + 8].copy_from_slice(&(told as u64).to_le_bytes());
        let found = Contents::of(Reader::parse(file).unwrap()).unwrap();
        assert_eq!(found.records, records, "{told} bytes told");
        assert!(found.warnings.iter().any(|warning| warning.message.contains("as told")));
    }
}

/// Reads a file after all kinds of damage; a watchdog looks at the time.
fn sweep(name: &str, whole: &[u8], cuts: usize, flips: u64) {
    let whole: Arc<[u8]> = whole.into();
    let step = (whole.len() / cuts).max(1);
    let mut damages = vec![Damage::Nothing];
    damages.extend((0..64.min(whole.len())).map(Damage::CutTo));
    damages.extend((64..whole.len()).step_by(step).map(Damage::CutTo));
    damages.extend((0..flips).map(|seed| Damage::FlipBits { seed }));
    let (done, watch) = mpsc::channel();
    let (list, bytes) = (damages.clone(), Arc::clone(&whole));
    let worker = std::thread::spawn(move || {
        for damage in list {
            let events = read_all(damage.apply(&bytes));
            done.send(events).expect("the watchdog waits");
        }
    });
    let mut refused = 0;
    for damage in &damages {
        match watch.recv_timeout(LIMIT) {
            Ok(None) => refused += 1,
            Ok(Some(lines)) => {
                // The one that is whole shows that the others could have been read.
                assert!(!matches!(damage, Damage::Nothing) || lines > 50, "{name}");
            }
            Err(RecvTimeoutError::Timeout) => panic!("{name}, {damage:?}: no end"),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}, {damage:?}: panics"),
        }
    }
    worker.join().unwrap();
    assert!(refused > 0, "{name}: cut to nothing it is refused");
    assert!(refused < damages.len() / 2, "{name}: most damage leaves something");
    let memory = most_memory_kb();
    assert!(memory.is_none_or(|memory| memory < MEMORY_LIMIT_KB), "{name}: {memory:?} KB");
}
