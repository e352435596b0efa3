//! The option LIVE: where the data of a recording is that nobody has completed yet.

use crate::abi::ByteOrder;
use crate::cursor::Cursor;
use crate::error::DecodeError;

/// What the option LIVE tells: that sizes of CPU data are not known, how far each may reach, and
/// how the file is being closed up.
///
/// ```text
/// u64  length of the file before the first gap is taken out, 0 while recording
/// u32  number of gaps
///      per gap: u64 offset, u64 length; the last one in the file first, all 0 while recording
/// u32  number of regions
///      per region: u64 offset, u64 length
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Bytes of the file before it is closed up; 0 while it is recorded into.
    pub file_len: u64,
    /// What is taken out of the file, one after the other.
    pub gaps: Vec<Gap>,
    /// Where data may be.
    pub regions: Vec<Gap>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Where it starts.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

impl Live {
    /// The data of the option.
    pub fn to_bytes(&self, order: ByteOrder) -> Vec<u8> {
        let mut bytes = order.put_u64(self.file_len).to_vec();
        for list in [&self.gaps, &self.regions] {
            bytes.extend(order.put_u32(u32::try_from(list.len()).unwrap_or(u32::MAX)));
            for part in list {
                bytes.extend(order.put_u64(part.offset));
                bytes.extend(order.put_u64(part.len));
            }
        }
        bytes
    }

    /// Reads the data of the option.
    ///
    /// # Errors
    /// It ends too early.
    pub fn from_cursor(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let file_len = cursor.u64()?;
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..cursor.u32()? {
                list.push(Gap { offset: cursor.u64()?, len: cursor.u64()? });
            }
        }
        let [gaps, regions] = lists;
        Ok(Self { file_len, gaps, regions })
    }

    /// Where something that was at `offset` is in a file of `len` bytes, from which some of the gaps
    /// are taken out already.
    pub fn moved(&self, offset: u64, len: u64) -> u64 {
        let mut missing = self.file_len.saturating_sub(len);
        let mut moved = offset;
        for gap in self.gaps.iter().take_while(|gap| gap.len > 0) {
            let Some(left) = missing.checked_sub(gap.len) else { break };
            missing = left;
            if gap.offset < offset {
                moved = moved.saturating_sub(gap.len);
            }
        }
        moved
    }

    /// How far data reaches at most that starts at `offset` while recording: to the end of its
    /// region, or to the gap behind it, once that is known.
    pub fn room(&self, offset: u64) -> Option<u64> {
        let region = self.regions.iter().find(|region| region.offset == offset)?;
        let gaps = self.gaps.iter().filter(|gap| gap.len > 0);
        let behind = gaps.filter_map(|gap| gap.offset.checked_sub(offset));
        Some(behind.chain([region.len]).min().unwrap_or(region.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_the_gaps_that_are_taken_out() {
        let gap = |offset, len| Gap { offset, len };
        let live =
            Live { file_len: 1000, gaps: vec![gap(500, 100), gap(50, 40)], regions: Vec::new() };
        assert_eq!([live.moved(600, 1000), live.moved(100, 1000)], [600, 100]);
        assert_eq!([live.moved(600, 900), live.moved(100, 900)], [500, 100]);
        assert_eq!([live.moved(600, 860), live.moved(100, 860)], [460, 60]);
        let bytes = live.to_bytes(ByteOrder::Big);
        let mut cursor = Cursor::new(&bytes, 0, ByteOrder::Big);
        assert_eq!(Live::from_cursor(&mut cursor).unwrap(), live);
    }
}
