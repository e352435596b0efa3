//! `-m`: two halves on disk, of which the older one is overwritten.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// The last sub-buffers of one CPU.
#[derive(Debug)]
pub(crate) struct Ring {
    file: File,
    /// Bytes of a half, whole sub-buffers.
    half: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Whether the second half is written to.
    second: bool,
    /// Bytes in the half that is written to.
    fill: u64,
    /// Bytes in the other one, which are older.
    older: u64,
    overwritten: u64,
}

/// Writes into a ring, whole sub-buffers each time.
pub(crate) struct RingWriter(Ring);

/// Reads a ring, oldest bytes first.
pub(crate) struct RingReader<'a> {
    file: &'a File,
    /// What is still to be read: where, and how much.
    parts: [(u64, u64); 2],
}

impl Ring {
    /// A ring of `max_kb` KiB of sub-buffers in `file`, in halves of at least one sub-buffer.
    pub(crate) fn new(file: File, max_kb: u64, sub_buffer_size: usize) -> Self {
        let unit = (sub_buffer_size as u64).max(1);
        let half = (max_kb.saturating_mul(1024) / 2 / unit).max(1).saturating_mul(unit);
        Self { file, half, state: Arc::default() }
    }

    /// The end that is written to.
    pub(crate) fn writer(&self) -> io::Result<RingWriter> {
        let (file, state) = (self.file.try_clone()?, Arc::clone(&self.state));
        Ok(RingWriter(Self { file, half: self.half, state }))
    }

    /// Bytes that are kept.
    pub(crate) fn len(&self) -> u64 {
        let state = self.state();
        state.older + state.fill
    }

    /// Bytes that were overwritten by younger ones.
    pub(crate) fn overwritten(&self) -> u64 {
        self.state().overwritten
    }

    /// Reads what is kept.
    pub(crate) fn reader(&self) -> RingReader<'_> {
        let state = self.state();
        let (older, current) = if state.second { (0, self.half) } else { (self.half, 0) };
        RingReader { file: &self.file, parts: [(older, state.older), (current, state.fill)] }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for RingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Ring { file, half, state } = &self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fill >= *half {
            *state = State {
                second: !state.second,
                fill: 0,
                older: state.fill,
                overwritten: state.overwritten.saturating_add(state.older),
            };
        }
        // Many sub-buffers may come at once; who writes comes again with what is left.
        let room = usize::try_from(*half - state.fill).unwrap_or(usize::MAX);
        let now = bytes.get(..room).unwrap_or(bytes);
        let start = if state.second { *half } else { 0 };
        file.write_all_at(now, start + state.fill)?;
        state.fill += now.len() as u64;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for RingReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        for (offset, left) in &mut self.parts {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(into.len());
            if most > 0 {
                let read = self.file.read_at(&mut into[..most], *offset)?;
                *offset += read as u64;
                *left -= read as u64;
                return Ok(read);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ring: &Ring) -> String {
        let mut text = String::new();
        ring.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, ring.len());
        text
    }

    #[test]
    fn the_older_half_makes_room_for_what_is_new() {
        // Two halves of two sub-buffers of 512 bytes.
        let ring = Ring::new(tempfile::tempfile().unwrap(), 2, 512);
        let mut writer = ring.writer().unwrap();
        let mut expected = Vec::new();
        for (letter, from) in ('a'..='g').zip([0, 0, 0, 0, 2, 2, 4]) {
            let sub_buffer = letter.to_string().repeat(512);
            writer.write_all(sub_buffer.as_bytes()).unwrap();
            expected.push(sub_buffer);
            assert_eq!(kept(&ring), expected[from..].concat(), "after {letter}");
        }
        assert_eq!(ring.overwritten(), 4 * 512);
    }

    #[test]
    fn a_half_has_at_least_one_sub_buffer() {
        let ring = Ring::new(tempfile::tempfile().unwrap(), 1, 4096);
        let mut writer = ring.writer().unwrap();
        for letter in ["a", "b", "c"] {
            writer.write_all(letter.repeat(4096).as_bytes()).unwrap();
        }
        assert_eq!(kept(&ring), "b".repeat(4096) + &"c".repeat(4096));
    }
    #[test]
    fn many_sub_buffers_at_once_stay_within_the_cap() {
        const UNIT: usize = 512;
        let mut random = 4711_u32;
        let mut below = |limit: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % limit
        };
        for cap_kb in 1..40 {
            let ring = Ring::new(tempfile::tempfile().unwrap(), cap_kb, UNIT);
            let mut writer = ring.writer().unwrap();
            let mut written = Vec::new();
            for _ in 0..30 {
                let start = written.len();
                for _ in 0..1 + below(100) {
                    written.extend([below(256) as u8; UNIT]);
                }
                writer.write_all(&written[start..]).unwrap();
                let mut kept = Vec::new();
                ring.reader().read_to_end(&mut kept).unwrap();
                assert!(written.ends_with(&kept), "what is kept is not the end");
                let cap = cap_kb as usize * 1024;
                let least = written.len().min(cap / 2 / UNIT * UNIT);
                assert!((least..=cap).contains(&kept.len()), "{} of {cap}", kept.len());
                assert_eq!(kept.len() % UNIT, 0);
                assert_eq!(ring.overwritten(), (written.len() - kept.len()) as u64);
            }
        }
    }
}
