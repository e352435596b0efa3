//! The start of a file, and what reading the rest of its metadata gathers.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::cpu_data::MAX_WARNINGS;
use super::damage::Damage;
use super::section::{self, Storage};
use super::{v6, v7};
use crate::abi::{Abi, ByteOrder};
use crate::compress::Codec;
use crate::error::{DecodeError, ReadError};
use crate::layout::{
    BIG_ENDIAN, LITTLE_ENDIAN, MAGIC, OptionId, SectionHeader, TRACING, VERSION_MAX_LEN,
};
use crate::metadata::{
    Buffer, Compression, Metadata, OptionValue, Places, Texts, Warning, guest, selected_clock,
    time_shift, trace_id,
};
use crate::ring_buffer::HeaderPage;
use crate::source::ReadAt;

/// Bytes read ahead while walking through metadata.
const WINDOW: usize = 64 << 10;

/// Reads numbers and short texts one after the other, and skips the rest.
pub(super) struct Walk<'s> {
    pub(super) source: &'s dyn ReadAt,
    pub(super) len: u64,
    pub(super) byte_order: ByteOrder,
    position: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl<'s> Walk<'s> {
    pub(super) fn new(source: &'s dyn ReadAt, byte_order: ByteOrder) -> Result<Self, ReadError> {
        let len = source.len().map_err(|source| ReadError::Io { offset: 0, source })?;
        Ok(Self { source, len, byte_order, position: 0, window: Vec::new(), window_offset: 0 })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// The next bytes, at most as many as are read ahead; fewer at the end.
    fn ahead(&mut self, need: usize) -> Result<&[u8], ReadError> {
        if self.held().len() < need {
            self.window.resize(WINDOW, 0);
            let filled = self.source.read_full_at(&mut self.window, self.position);
            let filled =
                filled.map_err(|source| ReadError::Io { offset: self.position, source })?;
            self.window.truncate(filled);
            self.window_offset = self.position;
        }
        Ok(self.held())
    }

    fn held(&self) -> &[u8] {
        let start = self.position.checked_sub(self.window_offset);
        let start = start.and_then(|start| usize::try_from(start).ok());
        start.and_then(|start| self.window.get(start..)).unwrap_or_default()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let offset = self.position;
        let ahead = self.ahead(N)?;
        let Some(bytes) = ahead.first_chunk().copied() else {
            let left = ahead.len() as u64;
            return Err(DecodeError::Truncated { offset, need: N as u64, left }.into());
        };
        self.position = self.position.saturating_add(N as u64);
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        Ok(self.byte_order.u16(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        Ok(self.byte_order.u32(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReadError> {
        Ok(self.byte_order.u64(self.array()?))
    }

    /// Reads as many bytes as a length from the input says.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, ReadError> {
        let offset = self.position;
        self.skip(len)?;
        section::read(self.source, offset, len)
    }

    /// Moves past bytes, which have to be there.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), ReadError> {
        let left = self.len.saturating_sub(self.position);
        if len > left {
            let offset = self.position;
            return Err(DecodeError::Truncated { offset, need: len, left }.into());
        }
        self.position += len;
        Ok(())
    }

    /// A short text that ends with NUL.
    pub(super) fn str0(&mut self, max: usize) -> Result<Vec<u8>, ReadError> {
        let offset = self.position;
        let ahead = self.ahead(max + 1)?;
        let Some(len) = ahead.iter().take(max + 1).position(|&byte| byte == 0) else {
            return Err(DecodeError::Unterminated { offset }.into());
        };
        let text = ahead[..len].to_vec();
        self.position += len as u64 + 1;
        Ok(text)
    }

    /// Moves past bytes that have to stand here.
    pub(super) fn expect<const N: usize>(
        &mut self,
        expected: &[u8; N],
        name: &'static str,
    ) -> Result<(), ReadError> {
        let offset = self.position;
        if self.array::<N>()? == *expected {
            return Ok(());
        }
        Err(DecodeError::Unexpected { offset, expected: name }.into())
    }
}

/// What reading the metadata gathers.
pub(super) struct Head {
    pub(super) codec: Codec,
    pub(super) page_size: u32,
    pub(super) header_page: Vec<u8>,
    /// Where its text starts.
    pub(super) header_page_at: u64,
    pub(super) header_event: Vec<u8>,
    pub(super) places: Places,
    pub(super) cpus: u32,
    pub(super) options: Vec<OptionValue>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) sections: Vec<(u64, SectionHeader)>,
    pub(super) section_offsets: FxHashSet<u64>,
    pub(super) first_section: u64,
    pub(super) clock_text_at: Option<u64>,
    pub(super) lost: Option<Warning>,
    pub(super) warnings: Vec<Warning>,
}

impl Head {
    pub(super) fn warn(&mut self, offset: u64, message: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { offset: Some(offset), message });
        }
    }

    /// The clock that the TRACECLOCK option selects.
    pub(super) fn clock(&self) -> Option<String> {
        let option = self.options.iter().rfind(|option| option.id == OptionId::TRACE_CLOCK)?;
        selected_clock(&String::from_utf8_lossy(&option.data)).map(str::to_owned)
    }
}

/// Reads all metadata of a file.
pub(super) fn read(source: &Arc<dyn ReadAt>) -> Result<Metadata, ReadError> {
    let mut walk = Walk::new(&**source, ByteOrder::Little)?;
    let start = walk.array::<{ MAGIC.len() + TRACING.len() }>().map_err(not_a_trace)?;
    if start[..MAGIC.len()] != MAGIC || start[MAGIC.len()..] != *TRACING {
        return Err(ReadError::NotATrace);
    }
    let offset = walk.position();
    let text = walk.str0(VERSION_MAX_LEN).map_err(not_a_trace)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let version: u16 = match text.trim().parse() {
        Ok(version @ 1..=7) => version,
        _ => return Err(ReadError::Version { offset, version: text }),
    };
    let offset = walk.position();
    let [byte_order, user_long_size] = walk.array()?;
    walk.byte_order = match byte_order {
        LITTLE_ENDIAN => ByteOrder::Little,
        BIG_ENDIAN => ByteOrder::Big,
        other => {
            let (what, value) = ("byte order", u64::from(other));
            return Err(DecodeError::OutOfRange { offset, what, value }.into());
        }
    };
    let offset = walk.position();
    let page_size = walk.u32()?;
    if page_size == 0 {
        let what = "page size";
        return Err(DecodeError::OutOfRange { offset, what, value: 0 }.into());
    }
    let mut compression = Compression { name: "none".to_owned(), version: String::new() };
    let mut head = Head {
        codec: Codec::None,
        page_size,
        header_page: Vec::new(),
        header_page_at: 0,
        header_event: Vec::new(),
        places: Places::default(),
        cpus: 0,
        options: Vec::new(),
        buffers: Vec::new(),
        sections: Vec::new(),
        section_offsets: FxHashSet::default(),
        first_section: 0,
        clock_text_at: None,
        lost: None,
        warnings: Vec::new(),
    };
    if version >= 7 {
        let offset = walk.position();
        let name = walk.str0(VERSION_MAX_LEN)?;
        compression.name = String::from_utf8_lossy(&name).into_owned();
        compression.version = String::from_utf8_lossy(&walk.str0(WINDOW / 2)?).into_owned();
        head.codec = Codec::from_name(&compression.name)
            .ok_or_else(|| ReadError::Compression { offset, name: compression.name.clone() })?;
        v7::read(&mut walk, &mut head)?;
    } else {
        v6::read(&mut walk, &mut head)?;
    }
    finish(source, &walk, head, version, user_long_size, compression)
}

fn not_a_trace(error: ReadError) -> ReadError {
    match error {
        ReadError::Decode(_) => ReadError::NotATrace,
        error => error,
    }
}

fn finish(
    source: &Arc<dyn ReadAt>,
    walk: &Walk<'_>,
    mut head: Head,
    version: u16,
    user_long_size: u8,
    compression: Compression,
) -> Result<Metadata, ReadError> {
    let user_abi = Abi { byte_order: walk.byte_order, long_size: user_long_size };
    let header_page = HeaderPage::parse(&head.header_page, user_abi, head.page_size)
        .map_err(|error| error.based_at(head.header_page_at))?
        .with_header_event(&head.header_event);
    let abi = Abi { byte_order: walk.byte_order, long_size: header_page.commit_size };
    // The top-level buffer first, the others as they come.
    head.buffers.sort_by_key(|buffer| !buffer.name.is_empty());
    for buffer in &mut head.buffers {
        buffer.cpus.sort_by_key(|cpu| cpu.cpu);
    }
    leave_out_overlapping(walk.len, &mut head);
    let mut trace = None;
    let (mut guests, mut time_shifts) = (Vec::new(), Vec::new());
    for at in 0..head.options.len() {
        let option = &head.options[at];
        let decoded = match option.id {
            OptionId::TRACE_ID => trace_id(option, abi).map(|id| trace = Some(id)),
            OptionId::GUEST => guest(option, abi).map(|guest| guests.push(guest)),
            OptionId::TIME_SHIFT => time_shift(option, abi).map(|shift| time_shifts.push(shift)),
            id if id.name().is_none() => {
                let message = format!("{id} is not known, {} bytes left out", option.data.len());
                let offset = option.offset;
                head.warn(offset, message);
                continue;
            }
            _ => continue,
        };
        if let Err(error) = decoded {
            let (id, offset) = (option.id, option.offset);
            let message = format!("{id} left out: {error}");
            if id == OptionId::TIME_SHIFT {
                let offset = Some(offset);
                head.lost.get_or_insert(Warning { offset, message: message.clone() });
            }
            head.warn(offset, message);
        }
    }
    let texts = Texts::new(
        Arc::clone(source),
        head.codec,
        head.places,
        head.header_page,
        head.header_event,
        head.lost,
    );
    Ok(Metadata {
        version,
        abi,
        user_long_size,
        page_size: head.page_size,
        file_size: walk.len,
        compression,
        header_page,
        cpus: head.cpus,
        buffers: head.buffers,
        sections: head.sections,
        first_section: head.first_section,
        clock_text_at: head.clock_text_at,
        options: head.options,
        trace_id: trace,
        time_shifts,
        guests,
        texts,
        damage: Damage::default(),
        warnings: head.warnings.into(),
    })
}

/// Leaves out CPUs when the data of all together is more than twice the file: reading the same
/// bytes for each of many CPUs would not end in reasonable time.
fn leave_out_overlapping(file_len: u64, head: &mut Head) {
    let mut left = file_len.saturating_mul(2);
    let mut left_out = 0_usize;
    for buffer in &mut head.buffers {
        buffer.cpus.retain(|data| {
            let end = data.offset.saturating_add(data.size).min(file_len);
            let fits = left.checked_sub(end.saturating_sub(data.offset));
            left = fits.unwrap_or(left);
            left_out += usize::from(fits.is_none());
            fits.is_some()
        });
    }
    if left_out > 0 {
        head.warn(0, format!("{left_out} CPUs left out, whose data would overlap that of others"));
    }
}

/// Texts of `header_page` and `header_event`, each after its name and size.
pub(super) fn header_info(walk: &mut Walk<'_>, head: &mut Head) -> Result<(), ReadError> {
    walk.expect(crate::layout::HEADER_PAGE, "header_page")?;
    let size = walk.u64()?;
    head.header_page_at = walk.position();
    head.header_page = walk.bytes(size)?;
    walk.expect(crate::layout::HEADER_EVENT, "header_event")?;
    let size = walk.u64()?;
    head.header_event = walk.bytes(size)?;
    Ok(())
}

/// The part from `start` to where the walk is.
pub(super) fn place_since(walk: &Walk<'_>, start: u64) -> section::Place {
    let len = walk.position().saturating_sub(start);
    section::Place { offset: start, len, storage: Storage::Plain }
}

#[cfg(test)]
mod tests {
    use crate::Reader;
    use crate::compress::Codec;
    use crate::testing::{TraceBuilder, Workload};

    #[test]
    fn cpus_that_share_their_data_are_left_out_from_the_third_on() {
        let mut workload = Workload::new(1);
        workload.cpus = 8;
        workload.events_per_cpu = 20_000;
        let mut file = TraceBuilder::new(workload).version(6).codec(Codec::None).build();
        assert_eq!(Reader::parse(file.clone()).unwrap().metadata.buffers[0].cpus.len(), 8);
        // Every CPU's data is the whole file.
        let table = file.windows(10).position(|bytes| bytes == b"flyrecord\0").unwrap() + 10;
        let size = file.len() as u64;
        for cpu in 0..8 {
            let entry = &mut file[table + 16 * cpu..][..16];
            entry[..8].fill(0);
            entry[8..].copy_from_slice(&size.to_le_bytes());
        }
        let metadata = Reader::parse(file).unwrap().metadata;
        assert_eq!(metadata.buffers[0].cpus.len(), 2);
        assert_eq!(metadata.warnings().len(), 1);
    }
}
