//! Finds the end of a head that another machine wrote. Nothing in it is trusted.

use std::io::{Read, Seek, SeekFrom};

use super::{Settings, Version, WriteError, v7};
use crate::abi::{Abi, ByteOrder};
use crate::compress::Codec;
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::layout::{
    self, CompressedHeader, OptionId, SECTION_HEADER_LEN, SectionHeader, SectionId,
};

/// Bytes of a file's start that are looked at: magic, version, sizes, compression.
const START_LEN: u64 = 128;

/// What the writer needs to know of the head.
pub(super) struct Found {
    pub(super) settings: Settings,
    /// Where the last DONE has the offset of the next options section.
    pub(super) last_done: u64,
    /// Bytes of all STRINGS sections.
    pub(super) strings: u32,
    /// Where the head ends.
    pub(super) end: u64,
}

/// Reads the start of the file, then follows sections and options to their ends.
pub(super) fn scan(input: &mut (impl Read + Seek)) -> Result<Found, WriteError> {
    let mut input = Input::new(input)?;
    let end = input.end;
    let (settings, link) = input.start()?;
    let strings = input.strings(link + 8)?;
    let last_done = input.last_done(link)?;
    Ok(Found { settings, last_done, strings, end })
}

/// A head that came ahead of its options.
pub(super) struct Ahead {
    pub(super) settings: Settings,
    /// Where the header has the offset of the first options section.
    pub(super) link: u64,
    /// The sections that options lead to, in the order of the file.
    pub(super) sections: Vec<(SectionId, u64)>,
    /// Where the head ends.
    pub(super) end: u64,
}

/// Reads the start of the file, then walks over the sections.
pub(super) fn scan_ahead(input: &mut (impl Read + Seek)) -> Result<Ahead, WriteError> {
    let mut input = Input::new(input)?;
    let (settings, link) = input.start()?;
    let end = input.end;
    let first = input.order.u64(input.array(link)?);
    if first != end {
        let expected = "options behind the end";
        return Err(DecodeError::Unexpected { offset: link, expected }.into());
    }
    let mut sections = Vec::new();
    let mut offset = link + 8;
    while offset < end {
        let (header, body) = input.section(offset)?;
        if v7::TEXTS.iter().any(|(id, _)| *id == header.id) {
            sections.push((header.id, offset));
        }
        // Its end was found to be within the file.
        offset = body + header.size;
    }
    Ok(Ahead { settings, link, sections, end })
}

/// Where the header says that the first options are; within the file or at its end.
pub(super) fn first_options(input: &mut (impl Read + Seek)) -> Result<u64, WriteError> {
    let mut input = Input::new(input)?;
    let (_, link) = input.start()?;
    let first = input.order.u64(input.array(link)?);
    if first < link + 8 || first > input.end {
        return Err(out_of_range(link, "offset of the options", first));
    }
    Ok(first)
}

/// The head's bytes, read where they are needed.
struct Input<'a, R> {
    input: &'a mut R,
    end: u64,
    order: ByteOrder,
}

impl<'a, R: Read + Seek> Input<'a, R> {
    fn new(input: &'a mut R) -> Result<Self, WriteError> {
        let end = input
            .seek(SeekFrom::End(0))
            .map_err(|source| WriteError::Head { offset: 0, source })?;
        Ok(Self { input, end, order: ByteOrder::Little })
    }

    /// Reads the common start. Returns where the offset of the first options section is.
    fn start(&mut self) -> Result<(Settings, u64), WriteError> {
        let bytes = self.read(0, START_LEN.min(self.end))?;
        let mut start = Cursor::new(&bytes, 0, ByteOrder::Little);
        expect(&mut start, &layout::MAGIC, "magic of a trace")?;
        expect(&mut start, layout::TRACING, "magic of a trace")?;
        let at = start.offset();
        if start.str0()? != b"7" {
            let expected = "version 7";
            return Err(DecodeError::Unexpected { offset: at, expected }.into());
        }
        let at = start.offset();
        self.order = match start.u8()? {
            layout::LITTLE_ENDIAN => ByteOrder::Little,
            layout::BIG_ENDIAN => ByteOrder::Big,
            other => return Err(out_of_range(at, "byte order", other.into())),
        };
        let mut start = Cursor::new(start.rest(), start.offset(), self.order);
        let at = start.offset();
        let user_long_size = start.u8()?;
        if !matches!(user_long_size, 4 | 8) {
            return Err(out_of_range(at, "size of long", user_long_size.into()));
        }
        let at = start.offset();
        let page_size = start.u32()?;
        if page_size == 0 {
            return Err(out_of_range(at, "page size", 0));
        }
        let name = start.str0()?;
        let codec = str::from_utf8(name).ok().and_then(Codec::from_name).ok_or_else(|| {
            WriteError::UnknownCompression { name: String::from_utf8_lossy(name).into_owned() }
        })?;
        start.str0()?;
        let link = start.offset();
        start.u64()?;
        let abi = Abi { byte_order: self.order, long_size: user_long_size };
        let settings = Settings { version: Version::V7, codec, abi, user_long_size, page_size };
        Ok((settings, link))
    }

    /// Walks over all sections, and sums the lengths of the STRINGS among them.
    fn strings(&mut self, mut offset: u64) -> Result<u32, WriteError> {
        let mut total = 0_u32;
        while offset < self.end {
            let (header, body) = self.section(offset)?;
            if header.id == SectionId::STRINGS {
                let len = if header.is_compressed() {
                    let header = CompressedHeader::from_bytes(&self.array(body)?, self.order);
                    header.uncompressed.into()
                } else {
                    header.size
                };
                total = u32::try_from(len)
                    .ok()
                    .and_then(|len| total.checked_add(len))
                    .ok_or_else(|| out_of_range(body, "length of strings", len))?;
            }
            // Its end was found to be within the file.
            offset = body + header.size;
        }
        Ok(total)
    }

    /// Follows the chain of options. Returns where its end can be changed.
    fn last_done(&mut self, mut link: u64) -> Result<u64, WriteError> {
        let mut last = 0;
        loop {
            let next = self.order.u64(self.array(link)?);
            if next == 0 {
                return Ok(link);
            }
            // Writers append, so a link that goes back would be a loop.
            if next <= last {
                return Err(DecodeError::Loop { offset: next }.into());
            }
            last = next;
            let (header, body) = self.section(next)?;
            if header.id != SectionId::OPTIONS || header.is_compressed() {
                let expected = "plain options section";
                return Err(DecodeError::Unexpected { offset: next, expected }.into());
            }
            link = self.done(body, body + header.size)?;
        }
    }

    /// Finds the data of DONE in a list of options.
    fn done(&mut self, start: u64, end: u64) -> Result<u64, WriteError> {
        let list = self.read(start, end - start)?;
        let mut list = Cursor::new(&list, start, self.order);
        loop {
            let (id, size) = (OptionId(list.u16()?), list.u32()?);
            let at = list.offset();
            list.take(size.into())?;
            if id == OptionId::DONE {
                if size != 8 {
                    return Err(out_of_range(at, "size of DONE", size.into()));
                }
                return Ok(at);
            }
        }
    }

    /// Reads a section header. Returns it and where its body starts; its end is in the file.
    fn section(&mut self, offset: u64) -> Result<(SectionHeader, u64), WriteError> {
        let bytes = self.array::<SECTION_HEADER_LEN>(offset)?;
        let header = SectionHeader::from_bytes(&bytes, self.order);
        let body = offset + SECTION_HEADER_LEN as u64;
        if header.size > self.end.saturating_sub(body) {
            return Err(self.truncated(body, header.size));
        }
        Ok((header, body))
    }

    fn array<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], WriteError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.read(offset, N as u64)?);
        Ok(array)
    }

    /// Reads bytes that are in the file.
    fn read(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, WriteError> {
        if offset.checked_add(len).is_none_or(|end| end > self.end) {
            return Err(self.truncated(offset, len));
        }
        let failed = |source| WriteError::Head { offset, source };
        self.input.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        self.input.by_ref().take(len).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != len {
            return Err(self.truncated(offset, len));
        }
        Ok(bytes)
    }

    fn truncated(&self, offset: u64, need: u64) -> WriteError {
        let left = self.end.saturating_sub(offset);
        DecodeError::Truncated { offset, need, left }.into()
    }
}

fn expect(
    cursor: &mut Cursor<'_>,
    bytes: &[u8],
    expected: &'static str,
) -> Result<(), DecodeError> {
    let offset = cursor.offset();
    if cursor.take(bytes.len() as u64)? == bytes {
        return Ok(());
    }
    Err(DecodeError::Unexpected { offset, expected })
}

fn out_of_range(offset: u64, what: &'static str, value: u64) -> WriteError {
    DecodeError::OutOfRange { offset, what, value }.into()
}
