//! Traces are read from streams that cannot be sought in, whole and broken off.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Read};

use tracedat::compress::Codec;
use tracedat::testing::{Contents, FoundRecord, TraceBuilder, Workload};
use tracedat::{ReadError, Reader};

fn trace(version: u8, codec: Codec, events_per_cpu: usize) -> Vec<u8> {
    let instances = vec!["one".to_owned()];
    let workload = Workload { instances, events_per_cpu, ..Workload::new(5) };
    TraceBuilder::new(workload).version(version).codec(codec).build()
}

const FORMATS: [(u8, Codec); 4] =
    [(6, Codec::None), (7, Codec::None), (7, Codec::Zlib), (7, Codec::Zstd)];

/// Gives its bytes in pieces of odd size, then ends or fails.
struct Pipe<'a> {
    bytes: &'a [u8],
    fails: bool,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.fails {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let len = buffer.len().min(997);
        self.bytes.read(&mut buffer[..len])
    }
}

#[test]
fn a_stream_has_what_the_file_has() {
    for (version, codec) in FORMATS {
        let file = trace(version, codec, 300);
        let stream = Pipe { bytes: &file, fails: false };
        let found = Contents::of(Reader::stream(stream).unwrap()).unwrap();
        assert_eq!(found.warnings, []);
        assert!(found.records.len() == 1200, "{version} {codec}");
        assert!(found == Contents::of(Reader::parse(file).unwrap()).unwrap(), "{version} {codec}");
    }
}

#[test]
fn a_stream_larger_than_what_is_kept_in_memory_is_read() {
    let file = trace(6, Codec::None, 60_000);
    assert!(file.len() > 12 << 20);
    let stream = Pipe { bytes: &file, fails: false };
    let Reader { metadata, mut records } = Reader::stream(stream).unwrap();
    assert_eq!(metadata.file_size, file.len() as u64);
    let (mut count, mut last) = (0, 0);
    while let Some(record) = records.next().unwrap() {
        assert!(record.time >= last);
        last = record.time;
        count += 1;
    }
    assert_eq!(count, 240_000);
}

#[test]
fn a_broken_stream_gives_what_came_before_and_where_it_broke() {
    for (version, codec) in FORMATS {
        let file = trace(version, codec, 300);
        let whole = Contents::of(Reader::parse(file.clone()).unwrap()).unwrap();
        let mut some = 0;
        for len in (0..file.len()).step_by(file.len() / 60) {
            match Reader::stream(Pipe { bytes: &file[..len], fails: true }) {
                Ok(reader) => {
                    let found = Contents::of(reader).unwrap();
                    let told = |warning: &tracedat::metadata::Warning| {
                        warning.offset == Some(len as u64)
                            && warning
                                .message
                                .starts_with("the stream breaks off: connection reset")
                    };
                    assert!(found.warnings.iter().any(told), "{:?}", found.warnings);
                    // How many events were lost stands at the end of a sub-buffer.
                    let known = |found: &FoundRecord| {
                        let FoundRecord { buffer, cpu, ticks, data, .. } = found;
                        whole.records.iter().any(|record| {
                            (&record.buffer, &record.cpu, &record.ticks, &record.data)
                                == (buffer, cpu, ticks, data)
                        })
                    };
                    assert!(found.records.iter().all(known));
                    some += found.records.len();
                }
                Err(ReadError::Io { offset, source }) => {
                    assert_eq!(offset, len as u64);
                    assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
                }
                Err(error) => panic!("{version} {codec} {len}: {error}"),
            }
        }
        assert!(some > 0, "{version} {codec}");
    }
}

#[test]
fn a_stream_that_ends_early_is_a_file_that_is_cut() {
    let file = trace(6, Codec::None, 300);
    let cut = &file[..file.len() - 5000];
    let found = Contents::of(Reader::stream(cut).unwrap()).unwrap();
    assert!(found == Contents::of(Reader::parse(cut.to_vec()).unwrap()).unwrap());
    assert!(found.warnings.iter().all(|warning| warning.offset.is_some()));
    assert!(!found.warnings.is_empty() && !found.records.is_empty());
}
