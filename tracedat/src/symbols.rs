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
    /// Parses the text of kallsyms, lines like `ffffffff81000000 T name\t[module]`; lines that are
    /// not understood are left out.
    pub fn parse(text: impl Into<Vec<u8>>) -> Self {
        let text: Vec<u8> = text.into();
        // Places in the text are 32 bits wide; no kernel comes near to so much.
        let end = text.len().min(u32::MAX as usize);
        let mut found: Vec<(u64, u32)> = Vec::with_capacity(text.len() / 48);
        let mut at = 0;
        while let Some(rest) = text.get(at..end).filter(|rest| !rest.is_empty()) {
            let len = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            if let Some((address, name)) = line(&rest[..len]) {
                found.push((address, (at + name) as u32));
            }
            at += len + 1;
        }
        // Of several symbols with one address the first is meant.
        found.sort_by_key(|&(address, _)| address);
        found.dedup_by_key(|&mut (address, _)| address);
        let (addresses, names): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Self { text: text.into(), addresses: addresses.into(), names: names.into() }
    }

    /// The function that an address lies in: the last that starts at or before it, but nothing
    /// after the last symbol of all.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self.addresses.partition_point(|&start| start <= address);
        let index = after.checked_sub(1)?;
        let symbol = self.symbol(index)?;
        if after == self.addresses.len() && symbol.offset_of(address) > 0 {
            return None;
        }
        Some(Symbol { offset: symbol.offset_of(address), ..symbol })
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

impl Symbol<'_> {
    fn offset_of(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start)
    }
}

/// Address, and where the name starts in the line.
fn line(line: &[u8]) -> Option<(u64, usize)> {
    let mut address = 0u64;
    let mut digits = 0;
    for &byte in line {
        let Some(digit) = char::from(byte).to_digit(16) else { break };
        address = address << 4 | u64::from(digit);
        digits += 1;
    }
    if digits == 0 || digits > 16 || line.get(digits) != Some(&b' ') || line.get(digits + 2) != Some(&b' ') {
        return None;
    }
    let name = digits + 3;
    let first = line.get(name)?;
    // Markers of the ARM tool chain, `$a`, are no functions.
    (*first != b'$' && !first.is_ascii_whitespace()).then_some((address, name))
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    const TEXT: &[u8] = b"0000000000001000 T first\n0000000000001000 t alias\n\
        0000000000002000 t second\t[module]\nnonsense\n0000000000003000 D last\n";

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
        assert_eq!(Symbols::parse(*b"zz\n\n12345678901234567 T a\n").iter().count(), 0);
    }
}
