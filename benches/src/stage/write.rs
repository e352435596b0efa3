//! Sub-buffers to a file, by compression; and chunks of them alone, to compressed ones and back.

use std::io::Cursor;

use tracedat::compress::Codec;
use tracedat::convert::convert;
use tracedat::write::Version;

use super::Work;
use crate::Outcome;
use crate::workload::{Source, Traces};

/// Bytes of a chunk, as recorders make them.
const CHUNK: usize = 40 << 10;

pub(super) fn works(traces: &Traces) -> Outcome<Vec<Work>> {
    let mut works = Vec::new();
    for source in traces.all() {
        for codec in Codec::ALL {
            works.push(file(source, codec)?);
        }
        for codec in [Codec::Zstd, Codec::Zlib] {
            works.extend(chunks(source, codec)?);
        }
    }
    Ok(works)
}

/// The whole way from a file to another one.
fn file(source: &Source, codec: Codec) -> Outcome<Work> {
    let (metadata, trace) = (source.open()?.metadata, source.trace.clone());
    let expected = source.packed(codec)?.file.len() as u64;
    let mut output = Vec::new();
    let run = move || {
        output.clear();
        let mut file = Cursor::new(std::mem::take(&mut output));
        convert(&metadata, &mut file, Version::V7, codec).expect("a whole trace");
        output = file.into_inner();
        assert_eq!(output.len() as u64, expected);
    };
    Ok(Work::new(format!("file_{codec}/{}", source.name), trace.events, trace.data_bytes, run))
}

fn chunks(source: &Source, codec: Codec) -> Outcome<[Work; 2]> {
    let (metadata, trace) = (source.open()?.metadata, source.trace.clone());
    let raw: Vec<Vec<u8>> =
        trace.cpus(&metadata).flat_map(|cpu| cpu.chunks(CHUNK)).map(<[u8]>::to_vec).collect();
    let mut compressor = codec.compressor()?;
    let mut packed: Vec<Vec<u8>> = vec![Vec::new(); raw.len()];
    for (chunk, packed) in raw.iter().zip(&mut packed) {
        compressor.compress_into(chunk, packed)?;
    }
    let (events, bytes) = (trace.events, trace.data_bytes);
    let work = |what, run| -> Work {
        let run: Box<dyn FnMut()> = run;
        Work::new(format!("{what}_{codec}/{}", source.name), events, bytes, run)
    };
    let (given, wanted) = (raw.clone(), packed.clone());
    let mut out = Vec::new();
    let compress = move || {
        for (chunk, wanted) in given.iter().zip(&wanted) {
            out.clear();
            compressor.compress_into(chunk, &mut out).expect("bytes can be compressed");
            assert_eq!(out.len(), wanted.len());
        }
    };
    let mut decompressor = codec.decompressor()?;
    let mut out = Vec::new();
    let decompress = move || {
        for (packed, wanted) in packed.iter().zip(&raw) {
            let size = wanted.len();
            decompressor.decompress_into(packed, size, &mut out).expect("a whole chunk");
            assert!(out == *wanted, "another chunk");
        }
    };
    Ok([work("compress", Box::new(compress)), work("decompress", Box::new(decompress))])
}
