//! Version 1: everything in words.

use super::text::{number, take_word};
use super::{Limits, SessionError};
use crate::message::Decoder;

/// What a V1 recorder says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) cpus: u32,
    pub(super) page_size: u32,
    pub(super) tcp: bool,
}

impl Hello {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}\0{}\0", self.cpus, self.page_size).as_bytes());
        out.extend_from_slice(if self.tcp { b"1\x004\0TCP\0" } else { b"0\0" });
    }
}

/// Reads what follows the number of CPUs.
#[derive(Debug)]
pub(super) struct HelloReader {
    hello: Hello,
    step: Step,
    options_left: u32,
}

#[derive(Debug)]
enum Step {
    PageSize,
    OptionCount,
    OptionLength,
    /// Of so many bytes.
    Option(usize),
}

/// A number in words.
pub(super) const NUMBER_LIMIT: usize = 16;
const MAX_OPTIONS: u32 = 8;
const MAX_OPTION: u32 = 64;

impl HelloReader {
    pub(super) fn new(cpus: u32) -> Self {
        Self {
            hello: Hello { cpus, page_size: 0, tcp: false },
            step: Step::PageSize,
            options_left: 0,
        }
    }

    /// Takes as many words as are there; the whole when it is complete.
    pub(super) fn read(
        &mut self,
        input: &mut Decoder,
        limits: &Limits,
    ) -> Result<Option<Hello>, SessionError> {
        loop {
            match self.step {
                Step::PageSize => {
                    let Some(page_size) = take_number(input, "page size")? else { return Ok(None) };
                    limits.check_page_size(page_size)?;
                    self.hello.page_size = page_size;
                    self.step = Step::OptionCount;
                }
                Step::OptionCount => {
                    const WHAT: &str = "number of options";
                    let Some(count) = take_number(input, WHAT)? else { return Ok(None) };
                    check(WHAT, count, 0, MAX_OPTIONS)?;
                    self.options_left = count;
                    self.step = Step::OptionLength;
                }
                Step::OptionLength if self.options_left == 0 => return Ok(Some(self.hello)),
                Step::OptionLength => {
                    const WHAT: &str = "length of an option";
                    let Some(length) = take_number(input, WHAT)? else { return Ok(None) };
                    check(WHAT, length, 1, MAX_OPTION)?;
                    self.step = Step::Option(length as usize);
                }
                Step::Option(length) => {
                    if input.waiting().len() < length {
                        return Ok(None);
                    }
                    self.hello.tcp |= input.take(length).starts_with(b"TCP");
                    self.options_left = self.options_left.saturating_sub(1);
                    self.step = Step::OptionLength;
                }
            }
        }
    }
}

fn take_number(input: &mut Decoder, what: &'static str) -> Result<Option<u32>, SessionError> {
    take_word(input, what, NUMBER_LIMIT)?.map(|word| number(what, &word)).transpose()
}

fn check(what: &'static str, value: u32, least: u32, limit: u32) -> Result<(), SessionError> {
    if (least..=limit).contains(&value) {
        return Ok(());
    }
    let [value, least, limit] = [value, least, limit].map(u64::from);
    Err(SessionError::Limit { what, value, least, limit })
}

pub(super) fn put_ports(out: &mut Vec<u8>, ports: &[u16]) {
    let words: Vec<String> = ports.iter().map(u16::to_string).collect();
    out.extend_from_slice(words.join(",").as_bytes());
    out.push(0);
}

pub(super) fn take_ports(input: &mut Decoder, cpus: u32) -> Result<Option<Vec<u16>>, SessionError> {
    let limit = 6 * cpus as usize;
    let Some(word) = take_word(input, "list of ports", limit)? else { return Ok(None) };
    parse_ports(word.split(',').filter(|port| !port.is_empty()), cpus).map(Some)
}

/// One port for each of `cpus`.
pub(super) fn parse_ports<'a>(
    words: impl Iterator<Item = &'a str>,
    cpus: u32,
) -> Result<Vec<u16>, SessionError> {
    let ports: Vec<u16> = words
        .map(|word| {
            let port = number("port", word)?;
            u16::try_from(port).ok().filter(|&port| port > 0).ok_or(SessionError::Limit {
                what: "port",
                value: u64::from(port),
                least: 1,
                limit: u64::from(u16::MAX),
            })
        })
        .collect::<Result<_, _>>()?;
    let expected = cpus as usize;
    if ports.len() == expected {
        Ok(ports)
    } else {
        Err(SessionError::Ports { expected, got: ports.len() })
    }
}
