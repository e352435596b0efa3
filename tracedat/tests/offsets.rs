//! Whatever is cut off or damaged: errors and warnings tell where, inside of the file.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tracedat::compress::Codec;
use tracedat::metadata::Warning;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::{ReadError, Reader};

const FORMATS: [(u8, Codec); 4] =
    [(6, Codec::None), (7, Codec::None), (7, Codec::Zlib), (7, Codec::Zstd)];

fn trace(version: u8, codec: Codec) -> Vec<u8> {
    let instances = vec!["one".to_owned()];
    let workload = Workload { instances, events_per_cpu: 60, ..Workload::new(3) };
    TraceBuilder::new(workload).version(version).codec(codec).build()
}

/// Reads all there is; what could not be used.
fn read(bytes: &[u8]) -> Result<Vec<Warning>, ReadError> {
    let Reader { metadata, mut records } = Reader::parse(bytes)?;
    while let Some(record) = records.next()? {
        // An event that is not known is no damage to the file.
        let _ = metadata.event(&record).map(|event| event.to_string());
    }
    let _ = (metadata.kallsyms_text(), metadata.printk_text(), metadata.cmdlines_text());
    Ok([metadata.warnings(), records.warnings().to_vec()].concat())
}

/// Everything is told with an offset, at most `end`; the number of things told.
fn check(what: &str, read: Result<Vec<Warning>, ReadError>, end: u64) -> usize {
    match read {
        Ok(warnings) => {
            for warning in &warnings {
                assert!(warning.offset.is_some_and(|at| at <= end), "{what}: {warning}");
            }
            warnings.len()
        }
        Err(error) => {
            assert!(error.offset().is_some_and(|at| at <= end), "{what}: {error}");
            let shown = error.to_string();
            assert!(
                shown.contains("offset 0x") || matches!(error, ReadError::NotATrace),
                "{shown}"
            );
            1
        }
    }
}

#[test]
fn a_file_that_is_cut_is_told_with_its_place() {
    for (version, codec) in FORMATS {
        let whole = trace(version, codec);
        assert_eq!(read(&whole).unwrap(), []);
        let dense = 0..whole.len().min(700);
        for len in dense.chain((700..whole.len()).step_by(whole.len() / 300)) {
            let what = format!("{version} {codec} cut to {len} of {}", whole.len());
            // Offsets that the file itself tells may lie behind the cut.
            let told = check(&what, read(&whole[..len]), whole.len() as u64);
            // Zeros that fill up a page are nothing that is missed, nor are the descriptions at the end.
            let unneeded = if version == 7 { 64 } else { 0 };
            let missed = &whole[len..whole.len().saturating_sub(unneeded).max(len)];
            assert!(told > 0 || missed.iter().all(|&byte| byte == 0), "{what}");
        }
    }
}

#[test]
fn damage_is_told_with_its_place() {
    for (version, codec) in FORMATS {
        let whole = trace(version, codec);
        let mut told = 0;
        for at in (0..whole.len()).step_by(whole.len() / 150) {
            for value in [0xff, 0, whole[at] ^ 0x10] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let what = format!("{version} {codec} {value:#x} at {at:#x}");
                // A number that was damaged may name any place.
                told += check(&what, read(&damaged), u64::MAX);
            }
        }
        assert!(told > 5, "{version} {codec}: {told}");
    }
}
