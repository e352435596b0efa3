//! Functions of the kernel by address, from the text of `/proc/kallsyms`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::text;

/// What an address resolves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Function name.
    pub name: &'a str,
    /// Module, without brackets.
    pub module: Option<&'a str>,
    /// Address of the function.
    pub start: u64,
    /// The address asked for, minus `start`.
    pub offset: u64,
}

/// Functions by address: the text as it is, and 12 bytes per symbol beside it.
#[derive(Default)]
pub struct Symbols {
    text: Box<[u8]>,
    /// By address.
    addresses: Box<[u64]>,
    /// Where each symbol's name starts in the text.
    names: Box<[u32]>,
    /// What was found lately.
    found: Found,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").field("len", &self.addresses.len()).finish_non_exhaustive()
    }
}

impl Symbols {
    /// Parses the text of kallsyms, lines like `ffffffff81000000 T name\t[module]`. Absolute symbols
    /// and the markers of ARM's tool chain are left out; a line that is not understood ends the list,
    /// as it does for the reference.
    pub fn parse(text: impl Into<Vec<u8>>) -> Self {
        let text: Vec<u8> = text.into();
        // Places in the text are 32 bits wide; no kernel comes near to so much.
        let end = text.len().min(u32::MAX as usize);
        let room = text.len() / 40;
        let mut addresses: Vec<u64> = Vec::with_capacity(room);
        let mut names: Vec<u32> = Vec::with_capacity(room);
        let mut at = 0;
        while let Some(rest) = text.get(at..end).filter(|rest| !rest.is_empty()) {
            let (address, name) = match line(rest) {
                Line::Symbol { address, name } => (address, name),
                Line::Other { len } => {
                    at += len;
                    continue;
                }
                Line::NotUnderstood => break,
            };
            if let Some(address) = address {
                addresses.push(address);
                names.push((at + name) as u32);
            }
            at += name;
            at += line_len(text.get(at..end).unwrap_or_default()) + 1;
        }
        if !addresses.is_sorted() {
            let mut pairs: Vec<(u64, u32)> = addresses.into_iter().zip(names).collect();
            pairs.sort_by_key(|&(address, _)| address);
            (addresses, names) = pairs.into_iter().unzip();
        }
        // Aliases stand in reverse order, so that the first of the file is nearest to what follows.
        let mut rest = names.as_mut_slice();
        for aliases in addresses.chunk_by(|left, right| left == right) {
            let (first, others) = rest.split_at_mut(aliases.len().min(rest.len()));
            first.reverse();
            rest = others;
        }
        let found = Found::new(addresses.get(addresses.len() / 2).copied().unwrap_or(0));
        Self { text: text.into(), addresses: addresses.into(), names: names.into(), found }
    }

    /// The function that an address lies in: the last that starts at or before it, but nothing
    /// after the last symbol of all. Of aliases, the first of the file, except for their very
    /// address: then the one that the reference's binary search meets.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let index = self.index(address)?;
        let symbol = self.symbol(index)?;
        Some(Symbol { offset: address.wrapping_sub(symbol.start), ..symbol })
    }

    /// Appends the name of the function that an address lies in, with the offset into it where
    /// `with_offset`; false, with nothing appended, when there is none.
    #[inline]
    pub(crate) fn append(&self, address: u64, with_offset: bool, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.index(address) else { return false };
        let (Some(&start), Some(&name)) = (self.addresses.get(index), self.names.get(index)) else {
            return false;
        };
        let name = name as usize;
        match self.text.get(name..).and_then(plain_len) {
            Some(len) => text::part(out, &self.text, name, name + len),
            None => match self.symbol(index) {
                Some(symbol) => out.extend_from_slice(symbol.name.as_bytes()),
                None => return false,
            },
        }
        if with_offset {
            out.extend_from_slice(b"+0x");
            text::hex(out, address.wrapping_sub(start), 0);
        }
        true
    }

    #[inline]
    pub(crate) fn index(&self, address: u64) -> Option<usize> {
        if let Some(index) = self.found.get(address) {
            return Some(index);
        }
        let index = self.search(address)?;
        self.found.set(address, index);
        Some(index)
    }

    fn search(&self, address: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.addresses.len());
        while low < high {
            let middle = low.midpoint(high);
            let start = self.addresses[middle];
            if start > address {
                high = middle;
            } else if start < address
                && self.addresses.get(middle + 1).is_some_and(|&next| next <= address)
            {
                low = middle + 1;
            } else if start < address && middle + 1 == self.addresses.len() {
                return None;
            } else {
                return Some(middle);
            }
        }
        None
    }

    /// The address of a name, the lowest of several.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<u64> {
        self.iter().find(|symbol| symbol.name.as_bytes() == name).map(|symbol| symbol.start)
    }

    /// All of them, by address (`report -f`).
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.addresses.len()).filter_map(|index| self.symbol(index))
    }

    pub(crate) fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let start = *self.addresses.get(index)?;
        let text = self.text.get(*self.names.get(index)? as usize..)?;
        let len = line_len(text);
        let mut words = std::str::from_utf8(&text[..len]).ok()?.split_ascii_whitespace();
        let name = words.next()?;
        let module = words.next().map(|module| module.trim_matches(['[', ']']));
        Some(Symbol { name, module, start, offset: 0 })
    }
}

/// Addresses found lately and their symbols, shared by all threads: traces ask for few addresses
/// again and again. Whoever loses a race only searches once more.
#[derive(Default)]
struct Found {
    /// The upper halves of addresses that are kept.
    upper: u32,
    /// The lower half of an address, then the index of its symbol plus one.
    places: Box<[AtomicU64]>,
}

impl Found {
    const PLACES: usize = 2048;

    fn new(address: u64) -> Self {
        let places = (0..Self::PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { upper: (address >> 32) as u32, places }
    }

    #[inline]
    fn place(&self, address: u64) -> Option<&AtomicU64> {
        let lower = address as u32;
        let place = lower.wrapping_mul(0x9e37_79b1) >> (32 - Self::PLACES.ilog2());
        self.places.get(place as usize).filter(|_| (address >> 32) as u32 == self.upper)
    }

    #[inline]
    fn get(&self, address: u64) -> Option<usize> {
        let kept = self.place(address)?.load(Ordering::Relaxed);
        let index = (kept as u32).checked_sub(1)?;
        ((kept >> 32) as u32 == address as u32).then_some(index as usize)
    }

    fn set(&self, address: u64, index: usize) {
        if let (Some(place), Ok(index)) = (self.place(address), u32::try_from(index + 1)) {
            place.store((address << 32) | u64::from(index), Ordering::Relaxed);
        }
    }
}

const LOW: u64 = 0x0101_0101_0101_0101;

/// How many bytes stand before the end of the line.
#[inline]
fn line_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word) ^ (LOW * u64::from(b'\n'));
        let zeros = word.wrapping_sub(LOW) & !word & (LOW << 7);
        if zeros != 0 {
            return at + (zeros.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = &text[at..];
    at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

/// The length of a name of ASCII letters and signs that ends with its line or with a tab; `None`
/// for others, which have to be looked at more closely.
#[inline]
fn plain_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        // The lowest byte marked is the first that is a blank, a control character or no ASCII.
        let marked = (word.wrapping_sub(LOW * 0x21) | word) & (LOW << 7);
        if marked != 0 {
            let len = at + (marked.trailing_zeros() / 8) as usize;
            return text.get(len).filter(|byte| matches!(byte, b'\n' | b'\t')).map(|_| len);
        }
        at += 8;
    }
    None
}

/// The start of a line.
enum Line {
    /// Address, unless the symbol is none to look up, and where the name starts.
    Symbol {
        address: Option<u64>,
        name: usize,
    },
    /// Blank.
    Other {
        len: usize,
    },
    NotUnderstood,
}

/// Value of a hexadecimal digit, 16 for other bytes.
const DIGITS: [u8; 256] = {
    let mut digits = [16; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn line(text: &[u8]) -> Line {
    usual_line(text).unwrap_or_else(|| any_line(text))
}

/// A line as every kernel of 64 bits has them: 16 lower-case digits, a letter of its type, a name.
#[inline]
fn usual_line(text: &[u8]) -> Option<Line> {
    let (digits, rest) = text.split_first_chunk::<16>()?;
    let [b' ', b'B'..=b'Z' | b'b'..=b'z', b' ', b'!'..=b'#' | b'%'..=b'~', ..] = rest else {
        return None;
    };
    let (upper, lower) = digits.split_first_chunk::<8>()?;
    let (upper, lower) = (eight_digits(*upper)?, eight_digits(*lower.first_chunk()?)?);
    let address = Some(u64::from(upper) << 32 | u64::from(lower));
    Some(Line::Symbol { address, name: 19 })
}

/// The value of eight lower-case hexadecimal digits.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u32> {
    const HIGH: u64 = LOW << 7;
    let word = u64::from_be_bytes(text);
    if word & HIGH != 0 {
        return None;
    }
    // A byte's high bit tells whether it is at least so large.
    let at_least = |least: u8| word + LOW * u64::from(0x80 - least);
    let digits = at_least(b'0') & !at_least(b'9' + 1) & HIGH;
    let letters = at_least(b'a') & !at_least(b'f' + 1) & HIGH;
    if digits | letters != HIGH {
        return None;
    }
    let mut value = (word & (LOW * 15)) + (letters >> 7) * 9;
    value = (value | value >> 4) & 0x00ff_00ff_00ff_00ff;
    value = (value | value >> 8) & 0x0000_ffff_0000_ffff;
    Some((value | value >> 16) as u32)
}

fn any_line(text: &[u8]) -> Line {
    let blanks = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .unwrap_or(rest.len())
    };
    let is_end = |at: usize| matches!(text.get(at), None | Some(b'\n' | 0));
    let mut at = blanks(0);
    if text.get(at) == Some(&b'\n') {
        return Line::Other { len: at + 1 };
    }
    if text.get(at..at + 2) == Some(b"0x") {
        at += 2;
    }
    let digits = text.get(at..).unwrap_or_default();
    let mut address = 0u64;
    let mut count = 0;
    while let Some(&byte) = digits.get(count) {
        let digit = DIGITS[usize::from(byte)];
        if digit > 15 {
            break;
        }
        address = address << 4 | u64::from(digit);
        count += 1;
    }
    let kind = blanks(at + count);
    let name = blanks(kind + 1);
    if count == 0 || is_end(kind) || is_end(name) {
        return Line::NotUnderstood;
    }
    let absolute = matches!(text.get(kind), Some(b'A' | b'a'));
    let marker = text.get(name) == Some(&b'$');
    let address = if count > 16 { u64::MAX } else { address };
    Line::Symbol { address: (!absolute && !marker).then_some(address), name }
}

#[cfg(test)]
mod tests {
    use super::{Line, Symbols, any_line, eight_digits, line, line_len};

    const TEXT: &[u8] = b"0000000000001000 T first\n0000000000001000 t alias\n\
        0000000000002000 t second\t[module]\n\n0000000000002800 A absolute\n\
        0000000000003000 D last\nnonsense\n0000000000004000 T lost\n";

    #[test]
    fn address_belongs_to_the_symbol_before_it() {
        let symbols = Symbols::parse(TEXT);
        let found = |address| symbols.find(address).map(|symbol| (symbol.name, symbol.offset));
        assert_eq!(found(0xfff), None);
        assert_eq!(found(0x1000), Some(("first", 0)));
        assert_eq!(found(0x1fff), Some(("first", 0xfff)));
        assert_eq!(found(0x3000), Some(("last", 0)));
        assert_eq!(found(0x3001), None);
        assert_eq!(symbols.find(0x2004).and_then(|symbol| symbol.module), Some("module"));
    }

    #[test]
    fn text_without_symbols_has_none() {
        assert_eq!(Symbols::parse(*b"").find(0), None);
        assert_eq!(Symbols::parse(*b"\n1000 a abs\n1000 T $x\n1000\n2000 T a\n").iter().count(), 0);
    }

    #[test]
    fn lines_of_the_usual_form_are_read_like_any_other() {
        let usual = b"ffffffff81a0b9c0 t name.cold\t[kvm]\n";
        for at in 0..usual.len() {
            for byte in 0..=255 {
                let mut text = *usual;
                text[at] = byte;
                let found = |line| match line {
                    Line::Symbol { address, name } => Some((address, name)),
                    Line::Other { len } => Some((None, len)),
                    Line::NotUnderstood => None,
                };
                assert_eq!(found(line(&text)), found(any_line(&text)), "{text:?}");
                let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
                assert_eq!(line_len(&text), end);
            }
        }
        assert_eq!(eight_digits(*b"0f9a1234"), Some(0x0f9a_1234));
    }

    #[test]
    fn appended_names_are_those_found() {
        let text = b"ffffffff81000000 T start\nffffffff81000100 t alias\nffffffff81000100 T a.name.of.some.length.and.more\n\
            ffffffff81000200 t two words\nffffffff81000300 t \xff\nffffffffc0000000 d m\t[m]\nffffffffc0000010 d end";
        let symbols = Symbols::parse(*text);
        let near = [0, 0xffff_ffff_8100_0000, 0xffff_ffff_c000_0000, 0xffff_fffe_8100_0000];
        // Twice: what was found before is found again.
        for address in near.into_iter().chain(near).flat_map(|base: u64| base..base + 0x310) {
            let mut out = Vec::new();
            let appended = symbols.append(address, true, &mut out);
            let found = symbols.find(address);
            let found = found.map(|symbol| format!("{}+{:#x}", symbol.name, symbol.offset));
            assert_eq!(appended.then(|| String::from_utf8(out).unwrap()), found, "{address:x}");
        }
    }
}
