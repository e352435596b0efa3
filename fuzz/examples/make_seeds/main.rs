//! Writes the seeds of `corpus` that are bytes rather than text, which is written by hand: `cargo run -p trace-fuzz --example make_seeds`.

mod agents;
mod guests;
mod sessions;
mod sub_buffers;

use std::path::Path;
use std::{fs, io};

use tracedat::compress::Codec;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::{Abi, ByteOrder};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/trace_file");
    let save = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes);
    let whole = [
        ("whole-v6", small(1), 6, Codec::None),
        ("whole-v6-instances", with_instance(2), 6, Codec::None),
        ("whole-v6-big-endian-32", on(3, ByteOrder::Big, 4), 6, Codec::None),
        ("whole-v7", small(4), 7, Codec::None),
        ("whole-v7-zstd", small(5), 7, Codec::Zstd),
        ("whole-v7-zlib", small(6), 7, Codec::Zlib),
        ("whole-v7-zstd-instances", with_instance(7), 7, Codec::Zstd),
        ("whole-v7-big-endian-64", on(8, ByteOrder::Big, 8), 7, Codec::Zstd),
    ];
    for (name, workload, version, codec) in whole {
        save(name, &TraceBuilder::new(workload).version(version).codec(codec).build())?;
    }
    let v6 = TraceBuilder::new(small(9)).version(6).build();
    let v7 = TraceBuilder::new(small(10)).codec(Codec::Zstd).build();
    save("bad-empty", b"")?;
    save("bad-magic-only", &v7[..10])?;
    save("bad-v6-cut-in-formats", &v6[..900])?;
    save("bad-v6-cut-in-data", &v6[..v6.len() - 5000])?;
    save("bad-v7-cut-in-sections", &v7[..v7.len() / 3])?;
    save("bad-v7-options-loop", &options_loop(&v7))?;
    save("bad-v6-commit-too-large", &commit_too_large(v6.clone()))?;
    save("bad-v6-huge-size", &huge_size(v6))?;
    save("bad-v7-unknown-codec", &replaced(&v7, b"zstd\0", b"zstx\0"))?;
    sessions::save()?;
    agents::save()?;
    sub_buffers::save()?;
    guests::save()
}

fn small(seed: u64) -> Workload {
    Workload { events_per_cpu: 40, missed_every: 2, ..Workload::new(seed) }
}

fn with_instance(seed: u64) -> Workload {
    Workload { instances: vec!["foo".to_owned()], ..small(seed) }
}

fn on(seed: u64, byte_order: ByteOrder, long_size: u8) -> Workload {
    Workload { abi: Abi { byte_order, long_size }, ..small(seed) }
}

/// The link after the first options section goes back to it.
fn options_loop(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let version = 18 + "zstd".len() + 1;
    let link = version + Codec::Zstd.version().len() + 1;
    let first = u64::from_le_bytes(file[link..link + 8].try_into().unwrap_or_default()) as usize;
    let size: [u8; 8] = file[first + 8..first + 16].try_into().unwrap_or_default();
    let end = first + 16 + u64::from_le_bytes(size) as usize;
    file[end - 8..end].copy_from_slice(&(first as u64).to_le_bytes());
    file
}

/// The first sub-buffer says that it holds more than it can.
fn commit_too_large(mut file: Vec<u8>) -> Vec<u8> {
    let at = file.len() - 4096 + 8;
    file[at..at + 4].copy_from_slice(&0x07ff_fff0_u32.to_le_bytes());
    file
}

/// The size of `header_page` is near the end of all numbers.
fn huge_size(mut file: Vec<u8>) -> Vec<u8> {
    let at = 18 + 12;
    file[at..at + 8].copy_from_slice(&(u64::MAX - 3).to_le_bytes());
    file
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(at) = file.windows(from.len()).position(|window| window == from) {
        file[at..at + to.len()].copy_from_slice(to);
    }
    file
}
