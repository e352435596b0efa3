//! Damage to files, and reading all of what is left.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use tracedat::clock::ClockOptions;
use tracedat::read::{self, Merge, Reader};
use tracedat::report::{Compat, Report, ReportInput, ReportOptions};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Nothing,
    CutTo(usize),
    FlipBits { seed: u64 },
}

impl Damage {
    /// The bytes of a file with this done to them.
    pub(crate) fn apply(self, whole: &[u8]) -> Vec<u8> {
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

/// Prints all that a file has; the number of lines, `None` when it is refused.
pub(crate) fn read_all(bytes: Vec<u8>) -> Option<u64> {
    // One kind of report for half of them, another for the others.
    let odd = bytes.iter().fold(0, |all, byte| all ^ byte) & 1 == 1;
    let opened = if odd { Reader::stream(&*bytes) } else { Reader::parse(bytes) };
    let mut reader = opened.ok()?;
    let clock = ClockOptions { raw: odd, ..ClockOptions::default() };
    reader.records.set_clock(&reader.metadata, &clock);
    if !odd {
        let _ = reader.check_as_3_1_6();
        reader.set_damage(read::Damage::AsFound);
    }
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
    for cpu in 0..3 {
        if let Ok(Some((first, last))) = records.times_of_cpu(0, 0, cpu) {
            let middle = first.midpoint(last);
            let _ = records.between(middle, last);
            let _ = records.next();
        }
    }
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
pub(crate) fn most_memory_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
