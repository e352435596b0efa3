//! Damaged files: cut anywhere, or with flipped bits. Whatever is left is read and printed, or
//! refused with an error, in bounded time and memory; nothing panics.
//!
//! `MALFORMED_DIR=DIR cargo test --test malformed -- --ignored` does the same to the traces of a
//! directory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tracedat::clock::ClockOptions;
use tracedat::compress::Codec;
use tracedat::read::{Merge, Reader};
use tracedat::report::{Compat, Report, ReportInput, ReportOptions};
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::{Abi, ByteOrder};

/// Longer takes only what does not end: each file is read in milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// Most memory that the whole test may have used at any time.
const MEMORY_LIMIT_KB: u64 = 192 << 10;

/// Larger files of a directory are left out.
const LARGEST_FILE: usize = 300 << 10;

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
    sweep("v6", true, &trace(1, 6, Codec::None, LITTLE_64), 200, 1000);
    sweep("v6 be32", true, &trace(2, 6, Codec::None, BIG_32), 100, 500);
}

#[test]
fn version_7() {
    sweep("v7", true, &trace(3, 7, Codec::None, LITTLE_64), 200, 1000);
}

#[test]
#[cfg(feature = "zstd")]
fn version_7_zstd() {
    sweep("v7 zstd", true, &trace(4, 7, Codec::Zstd, LITTLE_64), 200, 1000);
}

#[test]
#[cfg(feature = "zlib")]
fn version_7_zlib() {
    sweep("v7 zlib", true, &trace(5, 7, Codec::Zlib, LITTLE_64), 200, 1000);
}

#[test]
#[ignore = "by hand: takes minutes, and needs MALFORMED_DIR, a directory of traces"]
fn files_of_a_directory() {
    let dir = std::env::var_os("MALFORMED_DIR").expect("MALFORMED_DIR names a directory");
    let mut swept = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "dat")
            && bytes.len() < LARGEST_FILE
        {
            sweep(&path.display().to_string(), false, &bytes, 40, 160);
            swept += 1;
        }
    }
    assert!(swept > 0, "no traces");
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Nothing,
    CutTo(usize),
    FlipBits { seed: u64 },
}

impl Damage {
    fn apply(self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        match self {
            Self::Nothing => {}
            Self::CutTo(len) => bytes.truncate(len),
            Self::FlipBits { seed } => {
                let mut random = Random(seed);
                // All over the file, or close together, where one may hide what another does.
                let count = 1 + random.below(8);
                let near = if seed.is_multiple_of(3) { bytes.len() } else { 64 };
                let start = random.below(bytes.len() as u64) as usize;
                for _ in 0..count {
                    let at = (start + random.below(near as u64) as usize) % bytes.len();
                    match random.below(4) {
                        0 => bytes[at] = 0xff,
                        1 => bytes[at] = 0,
                        _ => bytes[at] ^= 1 << random.below(8),
                    }
                }
            }
        }
        bytes
    }
}

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// Reads a file, which may be `sound`, after all kinds of damage; a watchdog looks at the time.
fn sweep(name: &str, sound: bool, whole: &[u8], cuts: usize, flips: u64) {
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
                assert!(!matches!(damage, Damage::Nothing) || lines > 50 || !sound, "{name}");
            }
            Err(RecvTimeoutError::Timeout) => panic!("{name}, {damage:?}: no end"),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}, {damage:?}: panics"),
        }
    }
    worker.join().unwrap();
    assert!(refused > 0, "{name}: cut to nothing it is refused");
    assert!(!sound || refused < damages.len() / 2, "{name}: most damage leaves something");
    let memory = most_memory_kb();
    assert!(memory.is_none_or(|memory| memory < MEMORY_LIMIT_KB), "{name}: {memory:?} KB");
}

/// Prints all that a file has; the number of lines, `None` when it is refused.
fn read_all(bytes: Vec<u8>) -> Option<u64> {
    // One kind of report for half of them, another for the others.
    let odd = bytes.iter().fold(0, |all, byte| all ^ byte) & 1 == 1;
    let opened = if odd { Reader::stream(&*bytes) } else { Reader::parse(bytes) };
    let mut reader = opened.ok()?;
    let clock = ClockOptions { raw: odd, ..ClockOptions::default() };
    reader.records.set_clock(&reader.metadata, &clock);
    let (files, mut records) = Merge::new(vec![reader]);
    let metadata = &files[0];
    let _ = (metadata.cpu_stats().count(), metadata.proc_maps().count(), metadata.guests());
    let _ = (metadata.trace_clock(), metadata.date(), metadata.tsc_to_nsec());
    let _ = (metadata.symbols().iter().count(), metadata.printk_formats().iter().count());
    let _ = metadata.latency_text().map(<[u8]>::len);
    for cpu in 0..3 {
        let _ = records.data_size(0, 0, cpu);
    }
    let mut options = ReportOptions::default();
    options.threads = NonZeroUsize::new(1);
    options.raw = odd;
    options.align_time = odd;
    options.compat = if odd { Compat::V3_4 } else { Compat::V3_1_6 };
    let report = Report::new(options);
    let inputs = [ReportInput { name: "damaged.dat", metadata }];
    let mut lines = Lines(0);
    let _ = report.print(&inputs, &mut records, &mut lines);
    for format in metadata.event_texts() {
        let _ = tracedat::event::Event::new(format.system, format.text, metadata.abi);
    }
    let _ = (metadata.warnings(), records.warnings(0));
    Some(lines.0)
}

struct Lines(u64);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The most memory that this process ever had, where the system tells it.
fn most_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
