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
/// where only the end of data is kept, per region:
/// u64  how far in the region its data starts
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Bytes of the file before it is closed up; 0 while it is recorded into.
    pub file_len: u64,
    /// What is taken out of the file, one after the other.
    pub gaps: Vec<Gap>,
    /// Where data may be.
    pub regions: Vec<Gap>,
    /// How far in its region the data starts; empty where all is kept.
    pub starts: Vec<u64>,
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
        bytes.extend(self.starts.iter().flat_map(|&start| order.put_u64(start)));
        bytes
    }

    /// Where the first of the starts is in the data of the option.
    pub fn starts_at(&self) -> u64 {
        let lists = [&self.gaps, &self.regions];
        8 + lists.iter().map(|list| 4 + 16 * list.len() as u64).sum::<u64>()
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
        let mut starts = Vec::new();
        while starts.len() < regions.len() && !cursor.is_empty() {
            starts.push(cursor.u64()?);
        }
        Ok(Self { file_len, gaps, regions, starts })
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

    /// Where the data of the region at `offset` is while recording, and how far it reaches at most: to
    /// the end of the region, or to the gap behind it, once that is known.
    pub fn room(&self, offset: u64) -> Option<Gap> {
        let index = self.regions.iter().position(|region| region.offset == offset)?;
        let start = self.starts.get(index).copied().unwrap_or(0);
        let len = self.regions.get(index)?.len.checked_sub(start)?;
        let offset = offset.checked_add(start)?;
        let gaps = self.gaps.iter().filter(|gap| gap.len > 0);
        let behind = gaps.filter_map(|gap| gap.offset.checked_sub(offset));
        Some(Gap { offset, len: behind.chain([len]).min().unwrap_or(len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_the_gaps_that_are_taken_out() {
        let gap = |offset, len| Gap { offset, len };
        let live =
            Live { file_len: 1000, gaps: vec![gap(500, 100), gap(50, 40)], ..Live::default() };
        assert_eq!([live.moved(600, 1000), live.moved(100, 1000)], [600, 100]);
        assert_eq!([live.moved(600, 900), live.moved(100, 900)], [500, 100]);
        assert_eq!([live.moved(600, 860), live.moved(100, 860)], [460, 60]);
        let bytes = live.to_bytes(ByteOrder::Big);
        let mut cursor = Cursor::new(&bytes, 0, ByteOrder::Big);
        assert_eq!(Live::from_cursor(&mut cursor).unwrap(), live);
    }

    #[test]
    fn data_starts_where_its_region_says() {
        let gap = |offset, len| Gap { offset, len };
        let mut live = Live { regions: vec![gap(100, 50), gap(200, 50)], ..Live::default() };
        assert_eq!((live.room(200), live.room(150)), (Some(gap(200, 50)), None));
        live.starts = vec![0, 20];
        let bytes = live.to_bytes(ByteOrder::Little);
        assert_eq!(bytes[live.starts_at() as usize + 8..], 20_u64.to_le_bytes());
        let mut cursor = Cursor::new(&bytes, 0, ByteOrder::Little);
        assert_eq!(Live::from_cursor(&mut cursor).unwrap(), live);
        assert_eq!((live.room(100), live.room(200)), (Some(gap(100, 50)), Some(gap(220, 30))));
        // The gap before the data, in which its region begins, and the one behind.
        live.gaps = vec![gap(240, 10), gap(150, 70)];
        assert_eq!(live.room(200), Some(gap(220, 20)));
        live.starts[1] = 51;
        assert_eq!(live.room(200), None);
    }
}
