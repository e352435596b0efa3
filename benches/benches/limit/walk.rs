//! The program that does no more than what no report can do without.

use std::io::{self, Write};

use trace_benches::Outcome;
use tracedat::Reader;

/// The first word that makes this program walk a file: `walk FILE BYTES EVENTS`.
pub(crate) const WALK: &str = "walk";

/// Bytes that are written at once.
const BLOCK: usize = 64 << 10;

/// Goes through all records in their order, and copies for each its share of `bytes` to the output.
pub(crate) fn walk(words: &[String]) -> Outcome<()> {
    let [file, bytes, events] = words else {
        return Err("walk is followed by FILE BYTES EVENTS".into());
    };
    let (bytes, events): (u64, u64) = (bytes.parse()?, events.parse()?);
    let line = vec![b'-'; usize::try_from(bytes.div_ceil(events.max(1)))?];
    let Reader { mut records, .. } = Reader::open(file)?;
    let (mut block, mut left) = (Vec::with_capacity(BLOCK + line.len()), bytes);
    let mut output = io::stdout().lock();
    while records.next()?.is_some() {
        let share = usize::try_from(left.min(line.len() as u64))?;
        block.extend_from_slice(line.get(..share).unwrap_or_default());
        left -= share as u64;
        if block.len() >= BLOCK {
            output.write_all(&block)?;
            block.clear();
        }
    }
    output.write_all(&block)?;
    Ok(output.flush()?)
}
