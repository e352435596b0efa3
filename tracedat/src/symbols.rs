//! Functions of the kernel by address, from the text of `/proc/kallsyms`.

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
#[derive(Debug, Default)]
pub struct Symbols {
    text: Box<[u8]>,
    /// By address.
    addresses: Box<[u64]>,
    /// Where each symbol's name starts in the text.
    names: Box<[u32]>,
}

impl Symbols {
    /// Parses the text of kallsyms, lines like `ffffffff81000000 T name\t[module]`. Absolute symbols
    /// and the markers of ARM's tool chain are left out; a line that is not understood ends the list,
    /// as it does for the reference.
    pub fn parse(text: impl Into<Vec<u8>>) -> Self {
        let text: Vec<u8> = text.into();
        // Places in the text are 32 bits wide; no kernel comes near to so much.
        let end = text.len().min(u32::MAX as usize);
        let mut found: Vec<(u64, u32)> = Vec::with_capacity(text.len() / 40);
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
                found.push((address, (at + name) as u32));
            }
            at += name;
            let rest = text.get(at..end).unwrap_or_default();
            at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()) + 1;
        }
        found.sort_by_key(|&(address, _)| address);
        // Aliases stand in reverse order, so that the first of the file is nearest to what follows.
        for aliases in found.chunk_by_mut(|left, right| left.0 == right.0) {
            aliases.reverse();
        }
        let (addresses, names): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Self { text: text.into(), addresses: addresses.into(), names: names.into() }
    }

    /// The function that an address lies in: the last that starts at or before it, but nothing
    /// after the last symbol of all. Of aliases, the first of the file, except for their very
    /// address: then the one that the reference's binary search meets.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
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
                let symbol = self.symbol(middle)?;
                return Some(Symbol { offset: address.wrapping_sub(start), ..symbol });
            }
        }
        None
    }

    /// All of them, by address (`report -f`).
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.addresses.len()).filter_map(|index| self.symbol(index))
    }

    fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let start = *self.addresses.get(index)?;
        let text = self.text.get(*self.names.get(index)? as usize..)?;
        let len = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
        let mut words = std::str::from_utf8(&text[..len]).ok()?.split_ascii_whitespace();
        let name = words.next()?;
        let module = words.next().map(|module| module.trim_matches(['[', ']']));
        Some(Symbol { name, module, start, offset: 0 })
    }
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
    use super::Symbols;

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
}
