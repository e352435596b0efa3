//! What a guest's command writes, passed on: as it is to files and pipes, and harmless to a terminal.

use std::io::{self, IsTerminal, Write};

/// Both streams of one guest.
#[derive(Debug)]
pub(crate) struct GuestOutput {
    stdout: Passage,
    stderr: Passage,
    only_stderr: bool,
}

impl GuestOutput {
    pub(super) fn new() -> Self {
        Self {
            stdout: Passage::new(io::stdout().is_terminal()),
            stderr: Passage::new(io::stderr().is_terminal()),
            only_stderr: false,
        }
    }

    /// Both go to standard error, where standard output is for something else.
    pub(crate) fn to_stderr() -> Self {
        let passage = || Passage::new(io::stderr().is_terminal());
        Self { stdout: passage(), stderr: passage(), only_stderr: true }
    }

    /// Passes on what came on stream 1 or 2. A reader that is gone is no reason to end a recording.
    pub(super) fn pass_on(&mut self, stream: u32, bytes: &[u8]) {
        if stream == 2 {
            self.stderr.pass_on(&mut io::stderr(), bytes);
        } else if self.only_stderr {
            self.stdout.pass_on(&mut io::stderr(), bytes);
        } else {
            self.stdout.pass_on(&mut io::stdout(), bytes);
        }
    }
}

#[derive(Debug)]
struct Passage {
    to_terminal: bool,
    /// The last byte may be the first half of a control character.
    half: bool,
}

impl Passage {
    fn new(to_terminal: bool) -> Self {
        Self { to_terminal, half: false }
    }

    fn pass_on(&mut self, to: &mut dyn Write, bytes: &[u8]) {
        if self.to_terminal {
            super::summary::pass_on(to, &self.harmless(bytes));
        } else {
            super::summary::pass_on(to, bytes);
        }
    }

    /// Control characters as `cat -v` shows them: what comes from a guest moves no cursor and sets no title.
    fn harmless(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let second = std::mem::replace(&mut self.half, byte == 0xc2);
            match byte {
                b'\n' | b'\t' => shown.push(byte),
                0..0x20 => shown.extend([b'^', byte + b'@']),
                0x7f => shown.extend(*b"^?"),
                // U+0080 to U+009F.
                0x80..0xa0 if second => {
                    if shown.last() == Some(&0xc2) {
                        shown.pop();
                    }
                    shown.extend([b'M', b'-', b'^', byte - 0x40]);
                }
                _ => shown.push(byte),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let shown = |bytes: &[u8]| {
            String::from_utf8_lossy(&Passage::new(true).harmless(bytes)).into_owned()
        };
        assert_eq!(shown(b"plain\n\ttext"), "plain\n\ttext");
        assert_eq!(shown(b"\x1b[2J\r\x07\x7f"), "^[[2J^M^G^?");
        assert_eq!(shown("größer À".as_bytes()), "größer À");
        assert_eq!(shown("\u{9b}2J".as_bytes()), "M-^[2J");
    }

    #[test]
    fn a_character_in_two_pieces_is_known_all_the_same() {
        let mut passage = Passage::new(true);
        let first = passage.harmless(&[0xc2]);
        let second = passage.harmless(&[0x9b, b'J']);
        assert_eq!((first, second.as_slice()), (vec![0xc2], &b"M-^[J"[..]));
    }

    #[test]
    fn a_file_gets_every_byte() {
        let mut out = Vec::new();
        Passage::new(false).pass_on(&mut out, b"\x1b[2J\0\xff");
        assert_eq!(out, b"\x1b[2J\0\xff");
    }
}
