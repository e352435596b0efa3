//! Parts of the file as they are stored, for those who copy or list them.

use super::Metadata;
use crate::abi::Abi;
use crate::error::{DecodeError, ReadError};
use crate::layout::{CompressedHeader, OptionId, SECTION_HEADER_LEN, SectionHeader, SectionId};
use crate::read::section::{self, Place, Storage};
use crate::source::ReadAt;

/// More sections than this no writer makes.
const MAX_SECTIONS: usize = 1 << 16;

impl Metadata {
    /// The file itself.
    pub(crate) fn source(&self) -> &dyn ReadAt {
        &*self.texts.source
    }

    /// Body of a part of the metadata as both versions store it, decompressed: counts and sizes are still in it.
    /// `None` when the file has no such part.
    ///
    /// # Errors
    /// When it cannot be read or decompressed.
    pub fn raw_part(&self, id: SectionId) -> Result<Option<Vec<u8>>, ReadError> {
        let places = &self.texts.places;
        let place = match id {
            SectionId::FTRACE_EVENTS => &places.ftrace_events,
            SectionId::EVENT_FORMATS => &places.event_formats,
            SectionId::KALLSYMS => &places.kallsyms,
            SectionId::PRINTK => &places.printk,
            SectionId::CMDLINES => &places.cmdlines,
            _ => &None,
        };
        let Some(place) = place else { return Ok(None) };
        self.load_place(place).map(Some)
    }

    /// All sections of version 7 in the order of the file, also those that no option points to.
    /// The walk ends where no section can be.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn walk_sections(&self) -> Result<Vec<(u64, SectionHeader)>, ReadError> {
        let mut found = Vec::new();
        let mut at = self.first_section;
        while self.version >= 7 && at < self.file_size && found.len() < MAX_SECTIONS {
            let mut bytes = [0; SECTION_HEADER_LEN];
            let filled = self.source().read_full_at(&mut bytes, at);
            let filled = filled.map_err(|source| ReadError::Io { offset: at, source })?;
            let header = SectionHeader::from_bytes(&bytes, self.abi.byte_order);
            let body = at.saturating_add(SECTION_HEADER_LEN as u64);
            if filled < bytes.len() || header.size > self.file_size.saturating_sub(body) {
                break;
            }
            found.push((at, header));
            at = body + header.size;
        }
        Ok(found)
    }

    /// The section that an option points to and that is of the option's kind, with its offset. An
    /// offset kept from another file may point anywhere.
    pub(crate) fn option_section(&self, id: OptionId) -> Option<(u64, SectionHeader)> {
        let option = self.options_of(id).last()?;
        let at = self.abi.byte_order.u64(*option.data.first_chunk()?);
        let mut bytes = [0; SECTION_HEADER_LEN];
        let filled = self.source().read_full_at(&mut bytes, at).ok()?;
        let header = SectionHeader::from_bytes(&bytes, self.abi.byte_order);
        (filled == bytes.len() && header.id.0 == id.0).then_some((at, header))
    }

    /// The bytes of a section that is no buffer, decompressed where it is compressed.
    ///
    /// # Errors
    /// When they cannot be read or decompressed.
    pub fn section_body(&self, at: u64, header: &SectionHeader) -> Result<Vec<u8>, ReadError> {
        let storage = if header.is_compressed() { Storage::Compressed } else { Storage::Plain };
        let offset = at.saturating_add(SECTION_HEADER_LEN as u64);
        self.load_place(&Place { offset, len: header.size, storage })
    }

    /// Both sizes that stand before the body of a compressed section.
    ///
    /// # Errors
    /// When the file ends before or cannot be read.
    pub fn compressed_header(&self, at: u64) -> Result<CompressedHeader, ReadError> {
        let offset = at.saturating_add(SECTION_HEADER_LEN as u64);
        let mut bytes = [0; CompressedHeader::LEN];
        let filled = self.source().read_full_at(&mut bytes, offset);
        let filled = filled.map_err(|source| ReadError::Io { offset, source })?;
        if filled < bytes.len() {
            let (need, left) = (CompressedHeader::LEN as u64, filled as u64);
            return Err(DecodeError::Truncated { offset, need, left }.into());
        }
        Ok(CompressedHeader::from_bytes(&bytes, self.abi.byte_order))
    }

    /// All STRINGS sections joined: what the string ids of section headers point into.
    ///
    /// # Errors
    /// When one of them cannot be read or decompressed.
    pub fn section_strings(&self) -> Result<Vec<u8>, ReadError> {
        let mut strings = Vec::new();
        for (at, header) in self.walk_sections()? {
            if header.id == SectionId::STRINGS {
                strings.extend(self.section_body(at, &header)?);
            }
        }
        Ok(strings)
    }

    /// The text after the table of CPUs in version 6, which is that of `trace_clock`.
    pub fn raw_clock_text(&self) -> Option<Vec<u8>> {
        let offset = self.clock_text_at?;
        let mut size = [0; 8];
        self.source().read_full_at(&mut size, offset).ok()?;
        let size = self.abi.byte_order.u64(size);
        let text = section::read(self.source(), offset.saturating_add(8), size).ok()?;
        text.split(|&byte| byte == 0).next().map(<[u8]>::to_vec)
    }

    pub(crate) fn load_place(&self, place: &Place) -> Result<Vec<u8>, ReadError> {
        let abi = Abi { byte_order: self.abi.byte_order, long_size: 8 };
        section::load(self.source(), self.texts.codec, place, abi)
    }

    /// Text of the BUFFER_TEXT section at an offset; `None` when there is none.
    pub(crate) fn chunked_text(&self, at: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let of_kind = |(offset, header): &&(u64, SectionHeader)| {
            *offset == at && header.id == SectionId::BUFFER_TEXT
        };
        let Some((_, header)) = self.sections.iter().find(of_kind) else { return Ok(None) };
        let storage = if header.is_compressed() { Storage::Chunks } else { Storage::Plain };
        let offset = at.saturating_add(SECTION_HEADER_LEN as u64);
        self.load_place(&Place { offset, len: header.size, storage }).map(Some)
    }

    /// Where the text of a latency tracer is, in version 6.
    pub(crate) fn latency_place(&self) -> Option<&Place> {
        self.texts.places.latency.as_ref()
    }
}
