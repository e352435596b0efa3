//! Heads of version 7 that travel ahead of their options.
//!
//! A host that is recorded for its guest sends the sections of its head when it begins, and the options that lead to
//! them when it ends: the header points to where the sections end, and what follows is put there.

use std::io::{Cursor, Read, Seek, Write};

use super::output::{Output, count};
use super::resume::{self, Ahead};
use super::{Body, WriteError, Writer, v7};
use crate::abi::ByteOrder;
use crate::cursor as decode;
use crate::error::DecodeError;
use crate::layout::OptionId;

/// Cuts a head before its first options: what goes ahead, and what follows at the end.
///
/// # Errors
/// When it is no head of version 7, or is damaged; with the offset.
pub fn split(mut head: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
    let first = resume::first_options(&mut Cursor::new(&head))?;
    let at = usize::try_from(first).unwrap_or(usize::MAX).min(head.len());
    let rest = head.split_off(at);
    Ok((head, rest))
}

/// Whether this head was sent ahead of its options.
///
/// # Errors
/// When it is no head of version 7.
pub fn is_ahead(head: &[u8]) -> Result<bool, WriteError> {
    Ok(resume::first_options(&mut Cursor::new(head))? == head.len() as u64)
}

/// Gives a head that came ahead of its options those that lead to its sections, and `options`: it can be read then, and
/// [gone on with](Writer::resume). Nothing in it is trusted.
///
/// # Errors
/// When it is no head of version 7, or is damaged; with the offset.
pub fn with_options(head: Vec<u8>, options: &[(OptionId, Vec<u8>)]) -> Result<Vec<u8>, WriteError> {
    let mut whole = Cursor::new(head);
    let Ahead { settings, link, sections, end } = resume::scan_ahead(&mut whole)?;
    let mut output = Output::new(&mut whole, settings.abi.byte_order, end)?;
    let mut body = v7::Body::resumed(settings.codec, link, 0);
    body.adopt(&mut output, &sections)?;
    let start = body.append(&mut output, options)?;
    body.link(&mut output, start)?;
    output.flush()?;
    drop(output);
    Ok(whole.into_inner())
}

/// Options as they travel without a section around them: each as in a file.
///
/// # Errors
/// One that is too long for its size.
pub fn packed_options(
    options: &[(OptionId, Vec<u8>)],
    order: ByteOrder,
) -> Result<Vec<u8>, WriteError> {
    let mut packed = Vec::new();
    for (id, data) in options {
        packed.extend(order.put_u16(id.0));
        packed.extend(order.put_u32(count("option", data.len())?));
        packed.extend_from_slice(data);
    }
    Ok(packed)
}

/// Takes such options apart.
///
/// # Errors
/// They break off; with the offset.
pub fn unpacked_options(
    packed: &[u8],
    order: ByteOrder,
) -> Result<Vec<(OptionId, Vec<u8>)>, DecodeError> {
    let mut rest = decode::Cursor::new(packed, 0, order);
    let mut options = Vec::new();
    while !rest.rest().is_empty() {
        let (id, size) = (OptionId(rest.u16()?), rest.u32()?);
        options.push((id, rest.take(size.into())?.to_vec()));
    }
    Ok(options)
}

impl<W: Read + Write + Seek> Writer<W> {
    /// Adds options to a head, and ends it.
    ///
    /// # Errors
    /// In version 6, where all has its place in the head; when the output refuses.
    pub fn end_head_with(mut self, options: &[(OptionId, Vec<u8>)]) -> Result<(), WriteError> {
        let Body::V7(body) = &mut self.body else {
            return Err(WriteError::NotInVersion6 { what: "more options" });
        };
        let start = body.append(&mut self.output, options)?;
        body.link(&mut self.output, start)?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Head, Settings, option};
    use super::*;
    use crate::compress::Codec;
    use crate::{Abi, Reader};

    const ORDER: ByteOrder = Abi::NATIVE.byte_order;

    fn head(codec: Codec) -> Vec<u8> {
        let head = Head {
            cpus: 3,
            header_page: b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n".to_vec(),
            kallsyms: b"ffffffff81000000 T _stext\n".to_vec(),
            cmdlines: b"17 first\n".to_vec(),
            options: vec![option::trace_clock("[mono]")],
            ..Head::default()
        };
        let mut bytes = Cursor::new(Vec::new());
        let settings = Settings { codec, ..Settings::new(Abi::NATIVE, 4096) };
        Writer::create(&mut bytes, settings, &head).unwrap().end_head().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_goes_ahead_ends_where_its_header_says_that_options_are() {
        for codec in [Codec::None, Codec::Zstd] {
            let whole = head(codec);
            assert!(!is_ahead(&whole).unwrap());
            let (ahead, rest) = split(whole.clone()).unwrap();
            assert!(is_ahead(&ahead).unwrap());
            // An OPTIONS section: id 0, no flags.
            assert_eq!(rest[..4], [0, 0, 0, 0]);
            assert_eq!([ahead, rest].concat(), whole);
        }
    }

    #[test]
    fn one_without_its_options_can_be_read_all_the_same() {
        for codec in [Codec::None, Codec::Zstd] {
            let (ahead, _) = split(head(codec)).unwrap();
            assert!(Reader::parse(ahead.clone()).is_err());
            let known = [option::cpu_count(3, ORDER), option::trace_id(77, ORDER)];
            let whole = with_options(ahead, &known).unwrap();
            let metadata = Reader::parse(whole.clone()).unwrap().metadata;
            assert_eq!((metadata.cpus, metadata.trace_id()), (3, Some(77)));
            assert_eq!(metadata.tasks().comm(17), Some(&b"first"[..]));
            assert_eq!(metadata.kallsyms_text(), b"ffffffff81000000 T _stext\n");
            Writer::resume(Cursor::new(whole)).unwrap();
        }
    }

    #[test]
    fn damaged_ones_are_errors() {
        let (ahead, _) = split(head(Codec::Zstd)).unwrap();
        for len in 0..ahead.len() {
            assert!(with_options(ahead[..len].to_vec(), &[]).is_err(), "{len}");
        }
        assert!(with_options(head(Codec::None), &[]).is_err());
    }

    #[test]
    fn options_travel_as_they_stand_in_files() {
        let options = [(OptionId::TIME_SHIFT, vec![1, 2, 3]), (OptionId(900), Vec::new())];
        let packed = packed_options(&options, ByteOrder::Little).unwrap();
        assert_eq!(packed, [12, 0, 3, 0, 0, 0, 1, 2, 3, 0x84, 3, 0, 0, 0, 0]);
        assert_eq!(unpacked_options(&packed, ByteOrder::Little).unwrap(), options);
        for len in [1, 5, 6, 8, 11] {
            assert!(unpacked_options(&packed[..len], ByteOrder::Little).is_err(), "{len}");
        }
        let endless = [12, 0, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(unpacked_options(&endless, ByteOrder::Little).is_err());
    }

    #[test]
    fn a_head_can_be_added_to() {
        let mut whole = Cursor::new(head(Codec::Zstd));
        let mut writer = Writer::resume(&mut whole).unwrap();
        writer.add_cmdlines(b"18 second\n").unwrap();
        writer.end_head_with(&[option::trace_id(5, ORDER)]).unwrap();
        let metadata = Reader::parse(whole.into_inner()).unwrap().metadata;
        assert_eq!(metadata.trace_id(), Some(5));
        assert_eq!(metadata.tasks().comm(18), Some(&b"second"[..]));
    }
}
