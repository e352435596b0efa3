//! What is known before the first event, and its encoding common to both versions.

use std::io::{Seek, Write};

use super::output::{Output, count};
use super::{Settings, Version, WriteError};
use crate::abi::ByteOrder;
use crate::layout::{self, OptionId};

/// What is known before the first event. Texts are those of the tracing directory, as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `events/header_page`.
    pub header_page: Vec<u8>,
    /// `events/header_event`.
    pub header_event: Vec<u8>,
    /// The `format` files of ftrace's own events.
    pub ftrace_formats: Vec<Vec<u8>>,
    /// All other events.
    pub systems: Vec<System>,
    /// `/proc/kallsyms`.
    pub kallsyms: Vec<u8>,
    /// `printk_formats`.
    pub printk_formats: Vec<u8>,
    /// `saved_cmdlines`.
    pub cmdlines: Vec<u8>,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Options that are known already, see [`super::option`].
    pub options: Vec<(OptionId, Vec<u8>)>,
}

/// The events of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Its name.
    pub name: String,
    /// The `format` files of its events.
    pub formats: Vec<Vec<u8>>,
}

/// Writes the common start: magic, version, byte order, `long` size, page size.
pub(super) fn write_start<W: Write + Seek>(
    output: &mut Output<W>,
    settings: &Settings,
) -> Result<(), WriteError> {
    let version: &[u8] = match settings.version {
        Version::V6 => b"6\0",
        Version::V7 => b"7\0",
    };
    output.bytes(&layout::MAGIC)?;
    output.bytes(layout::TRACING)?;
    output.bytes(version)?;
    let byte_order = layout::byte_order_byte(settings.abi.byte_order);
    output.bytes(&[byte_order, settings.user_long_size])?;
    output.u32(settings.page_size)
}

/// The same, encoded: parts that both versions store alike, counts and sizes included. Empty where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) header_info: Vec<u8>,
    pub(crate) ftrace_events: Vec<u8>,
    pub(crate) event_formats: Vec<u8>,
    pub(crate) kallsyms: Vec<u8>,
    pub(crate) printk_formats: Vec<u8>,
    pub(crate) cmdlines: Vec<u8>,
    pub(crate) cpus: u32,
    pub(crate) options: Vec<(OptionId, Vec<u8>)>,
}

impl Head {
    /// Encodes all of it; texts without content are left empty.
    pub(super) fn parts(&self, order: ByteOrder) -> Result<Parts, WriteError> {
        let short = |what, content: &[u8]| match content {
            [] => Ok(Vec::new()),
            content => text(what, content, order),
        };
        Ok(Parts {
            header_info: self.header_info(order),
            ftrace_events: self.ftrace_events(order)?,
            event_formats: self.event_formats(order)?,
            kallsyms: short("kallsyms", &self.kallsyms)?,
            printk_formats: short("printk formats", &self.printk_formats)?,
            cmdlines: match &*self.cmdlines {
                [] => Vec::new(),
                content => long_text(content, order),
            },
            cpus: self.cpus,
            options: self.options.clone(),
        })
    }

    /// The ring buffer's own formats.
    pub(super) fn header_info(&self, order: ByteOrder) -> Vec<u8> {
        let mut body = layout::HEADER_PAGE.to_vec();
        put_long_text(&mut body, &self.header_page, order);
        body.extend_from_slice(layout::HEADER_EVENT);
        put_long_text(&mut body, &self.header_event, order);
        body
    }

    /// Formats of ftrace's own events.
    pub(super) fn ftrace_events(&self, order: ByteOrder) -> Result<Vec<u8>, WriteError> {
        let mut body = Vec::new();
        put_formats(&mut body, &self.ftrace_formats, order)?;
        Ok(body)
    }

    /// All other event formats.
    pub(super) fn event_formats(&self, order: ByteOrder) -> Result<Vec<u8>, WriteError> {
        let mut body = order.put_u32(count("systems", self.systems.len())?).to_vec();
        for system in &self.systems {
            body.extend_from_slice(str0("system", &system.name)?.as_bytes());
            body.push(0);
            put_formats(&mut body, &system.formats, order)?;
        }
        Ok(body)
    }
}

/// A text with its size in 32 bits before it.
pub(super) fn text(
    what: &'static str,
    text: &[u8],
    order: ByteOrder,
) -> Result<Vec<u8>, WriteError> {
    let mut body = order.put_u32(count(what, text.len())?).to_vec();
    body.extend_from_slice(text);
    Ok(body)
}

/// A text with its size in 64 bits before it.
pub(super) fn long_text(text: &[u8], order: ByteOrder) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + text.len());
    put_long_text(&mut body, text, order);
    body
}

/// A name, refused when it could not be read back.
pub(super) fn str0<'a>(what: &'static str, name: &'a str) -> Result<&'a str, WriteError> {
    if name.contains('\0') {
        return Err(WriteError::Nul { what, name: name.to_owned() });
    }
    Ok(name)
}

fn put_long_text(body: &mut Vec<u8>, text: &[u8], order: ByteOrder) {
    body.extend_from_slice(&order.put_u64(text.len() as u64));
    body.extend_from_slice(text);
}

fn put_formats(
    body: &mut Vec<u8>,
    formats: &[Vec<u8>],
    order: ByteOrder,
) -> Result<(), WriteError> {
    body.extend_from_slice(&order.put_u32(count("event formats", formats.len())?));
    for format in formats {
        put_long_text(body, format, order);
    }
    Ok(())
}
