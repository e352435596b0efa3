//! The fields of one event as JSON, and what is known about addresses among them.

use super::string::{escape, string};
use crate::abi::Abi;
use crate::event::Event;
use crate::event_format::{EventFormat, Field};
use crate::print_fmt::{Names, limit};
use crate::report::number;

/// How the fields of one event are printed: settled once, so that a record costs no look-ups.
pub(crate) struct EventFields {
    /// `,"system":…,"event":…,"fields":{`
    start: Vec<u8>,
    fields: Vec<FieldPlan>,
    abi: Abi,
}

/// How one field is printed.
#[derive(Debug)]
pub(crate) struct FieldPlan {
    /// `"name":`
    key: Vec<u8>,
    /// The field.
    pub(crate) field: Field,
    /// What it is.
    pub(crate) kind: Kind,
    /// Whether it goes on to the end of the record.
    open: bool,
    /// What counts the elements of an open array, if anything.
    count: Option<Field>,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Bool,
    Text,
    Address,
    /// The address of a text.
    TextAddress,
    Addresses,
    Mask,
    Array,
    Bytes,
}

impl EventFields {
    /// Settles how an event's fields are printed.
    pub(crate) fn new(event: &Event) -> Self {
        let format = &event.format;
        let mut start = b",\"system\":".to_vec();
        string(&mut start, format.system.as_bytes());
        start.extend_from_slice(b",\"event\":");
        string(&mut start, format.name.as_bytes());
        start.extend_from_slice(b",\"fields\":{");
        let fields = format.fields.iter().map(|field| FieldPlan::new(event, field)).collect();
        Self { start, fields, abi: event.abi() }
    }

    /// Appends the members from `system` to `symbols`.
    pub(super) fn print(&self, data: &[u8], names: &dyn Names, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.start);
        for (index, plan) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&plan.key);
            // Any number of a format's fields may be the same part of a record.
            let is_cut = limit::is_exceeded(out, start, data.len());
            if is_cut || plan.print(self.abi, data, out).is_none() {
                out.extend_from_slice(b"null");
            }
        }
        out.push(b'}');
        self.print_symbols(data, names, out);
    }

    fn print_symbols(&self, data: &[u8], names: &dyn Names, out: &mut Vec<u8>) {
        let mut any = false;
        for plan in self.fields.iter().filter(|plan| plan.kind.has_symbol()) {
            let before = out.len();
            out.extend_from_slice(if any { b"," } else { b",\"symbols\":{" });
            out.extend_from_slice(&plan.key);
            if plan.print_symbol(self.abi, data, names, out) {
                any = true;
            } else {
                out.truncate(before);
            }
        }
        if any {
            out.push(b'}');
        }
    }
}

impl FieldPlan {
    /// Settles what a field is and how it is printed.
    pub(crate) fn new(event: &Event, field: &Field) -> Self {
        let format = &event.format;
        let mut key = Vec::new();
        string(&mut key, field.name.as_bytes());
        key.push(b':');
        // The array that a stack's format declares is only the start of it.
        let stack = format.system == "ftrace"
            && matches!(format.name.as_str(), "kernel_stack" | "user_stack")
            && field.name == "caller";
        Self {
            key,
            field: field.clone(),
            kind: if stack { Kind::Addresses } else { Kind::of(event, field) },
            open: stack || field.flags.array && !field.flags.dynamic && field.size == 0,
            count: if stack { format.event_field("size").cloned() } else { None },
        }
    }

    fn bytes<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        if !self.open {
            return self.field.bytes(abi, data);
        }
        let rest = data.get(self.field.offset as usize..)?;
        let Some(count) = self.count.as_ref().and_then(|count| count.uint(abi, data)) else {
            return Some(rest);
        };
        let len = usize::try_from(count).ok()?.saturating_mul(self.field.element_size as usize);
        Some(rest.get(..len).unwrap_or(rest))
    }

    /// Appends the value; `None`, with nothing appended, when the record does not have it.
    #[inline]
    pub(crate) fn print(&self, abi: Abi, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Unsigned => number::decimal(out, self.field.uint(abi, data)?),
            Kind::Signed => number::signed(out, self.field.int(abi, data)?),
            Kind::Bool => match self.field.uint(abi, data)? {
                0 => out.extend_from_slice(b"false"),
                1 => out.extend_from_slice(b"true"),
                other => number::decimal(out, other),
            },
            Kind::Address | Kind::TextAddress => address(out, self.field.uint(abi, data)?),
            Kind::Text => string(out, self.text(abi, data)?),
            Kind::Addresses => list(out, self.addresses(abi, data)?, address),
            Kind::Mask => list(out, bits(abi, self.bytes(abi, data)?), number::decimal),
            Kind::Bytes => {
                let bytes = self.bytes(abi, data)?;
                list(out, bytes.iter().map(|&byte| u64::from(byte)), number::decimal);
            }
            Kind::Array => {
                let values = self.elements(abi, data)?;
                if self.field.flags.signed {
                    let unused = 64_u32.saturating_sub(8 * self.field.element_size) & 63;
                    list(out, values, |out, value| {
                        number::signed(out, ((value << unused) as i64) >> unused);
                    });
                } else {
                    list(out, values, number::decimal);
                }
            }
        }
        Some(())
    }

    /// The bytes of a text, up to its NUL.
    pub(crate) fn text<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = self.bytes(abi, data)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        bytes.get(..end)
    }

    /// The numbers of an array, as they are.
    pub(crate) fn elements<'a>(
        &self,
        abi: Abi,
        data: &'a [u8],
    ) -> Option<impl Iterator<Item = u64> + 'a> {
        let size = (self.field.element_size as usize).max(1);
        let elements = self.bytes(abi, data)?.chunks_exact(size);
        Some(elements.map_while(move |element| abi.byte_order.uint(element)))
    }

    /// Addresses, of a stack those before the mark that ends it.
    fn addresses<'a>(&self, abi: Abi, data: &'a [u8]) -> Option<impl Iterator<Item = u64> + 'a> {
        let end = if abi.long_size == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let open = self.open;
        Some(self.elements(abi, data)?.take_while(move |&address| !open || address != end))
    }

    /// Appends what is known at the field's address; false when nothing is.
    pub(crate) fn print_symbol(
        &self,
        abi: Abi,
        data: &[u8],
        names: &dyn Names,
        out: &mut Vec<u8>,
    ) -> bool {
        if self.kind == Kind::Addresses {
            let Some(addresses) = self.addresses(abi, data) else { return false };
            let mut any = false;
            list(out, addresses, |out, at| {
                if symbol(out, names, at) {
                    any = true;
                } else {
                    out.extend_from_slice(b"null");
                }
            });
            return any;
        }
        let Some(at) = self.field.uint(abi, data) else { return false };
        if self.kind == Kind::Address {
            return symbol(out, names, at);
        }
        let Some(text) = names.printk_formats().text(at) else { return false };
        string(out, text);
        true
    }
}

impl Kind {
    /// By its declaration, and by what the print fmt does with it.
    fn of(event: &Event, field: &Field) -> Self {
        let format = &event.format;
        let flags = field.flags;
        let words = || field.type_name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let has_word = |word: &str| words().any(|other| other == word);
        let is_integer = |size| matches!(size, 1 | 2 | 4 | 8);
        if has_word("cpumask_t") || is_printed_as_mask(format, field) {
            return Self::Mask;
        }
        if flags.array || flags.dynamic {
            let raw = format.system == "ftrace" && format.name == "raw_data";
            return if flags.pointer && is_integer(field.element_size) {
                Self::Addresses
            } else if has_word("char") && !has_word("unsigned") && !raw {
                Self::Text
            } else if flags.array && is_integer(field.element_size) && !raw {
                Self::Array
            } else {
                Self::Bytes
            };
        }
        if !is_integer(field.size) {
            Self::Bytes
        } else if flags.pointer {
            if has_word("char") { Self::TextAddress } else { Self::Address }
        } else if event.program(true).prints_address(field) {
            Self::Address
        } else if has_word("bool") || has_word("_Bool") {
            Self::Bool
        } else if flags.signed {
            Self::Signed
        } else {
            Self::Unsigned
        }
    }

    /// Whether something may be known at its value.
    pub(crate) fn has_symbol(self) -> bool {
        matches!(self, Self::Address | Self::TextAddress | Self::Addresses)
    }
}

/// Whether the print fmt prints a dynamic field as a mask.
fn is_printed_as_mask(format: &EventFormat, field: &Field) -> bool {
    const FUNCTIONS: [&[u8]; 4] =
        [b"__get_bitmask(", b"__get_rel_bitmask(", b"__get_cpumask(", b"__get_rel_cpumask("];
    let text = &format.print_fmt;
    let is_argument = |rest: &[u8]| {
        let rest = rest.trim_ascii_start().strip_prefix(field.name.as_bytes());
        rest.is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b')'))
    };
    field.flags.dynamic
        && (0..text.len()).filter_map(|at| text.get(at..)).any(|rest| {
            FUNCTIONS.iter().any(|name| rest.strip_prefix(*name).is_some_and(is_argument))
        })
}

/// Numbers of the bits that are set in an array of `long`.
fn bits(abi: Abi, bytes: &[u8]) -> impl Iterator<Item = u64> {
    let size = usize::from(abi.long_size).max(1);
    bytes.chunks(size).enumerate().flat_map(move |(index, word)| {
        let value = abi.byte_order.uint(word).unwrap_or(0);
        let first = (index * size * 8) as u64;
        (0..64).filter(move |bit| value >> bit & 1 == 1).map(move |bit| first + bit)
    })
}

fn list(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = u64>,
    mut print: impl FnMut(&mut Vec<u8>, u64),
) {
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        print(out, value);
    }
    out.push(b']');
}

fn address(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(b"\"0x");
    number::hex(out, value, 0);
    out.push(b'"');
}

/// Appends the function that an address lies in; false when none is known.
fn symbol(out: &mut Vec<u8>, names: &dyn Names, at: u64) -> bool {
    let Some(symbol) = names.symbols().find(at) else { return false };
    out.push(b'"');
    escape(out, symbol.name);
    out.extend_from_slice(b"+0x");
    number::hex(out, symbol.offset, 0);
    out.push(b'"');
    true
}

#[cfg(test)]
mod tests {
    use super::EventFields;
    use crate::abi::{Abi, ByteOrder};
    use crate::event::Event;
    use crate::print_fmt::Names;
    use crate::printk_formats::PrintkFormats;
    use crate::symbols::Symbols;

    struct Known(Symbols, PrintkFormats);

    impl Names for Known {
        fn symbols(&self) -> &Symbols {
            &self.0
        }

        fn printk_formats(&self) -> &PrintkFormats {
            &self.1
        }
    }

    fn known() -> Known {
        Known(
            Symbols::parse(&b"c0001000 T vfs_read\nc0002000 T vfs_write\nc0003000 T end\n"[..]),
            PrintkFormats::parse(b"0xd0000000 : \"a word\"\n"),
        )
    }

    /// Fields as `type name`, size and sign, one after another without gaps.
    fn event(abi: Abi, name: &str, fields: &[(&str, u32, u32)], print_fmt: &str) -> Event {
        let mut text = format!("name: {name}\nID: 9\nformat:\n");
        let mut offset = 0;
        for (declaration, size, signed) in fields {
            text += &format!(
                "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
            );
            offset += size;
            if offset == *size {
                text.push('\n');
            }
        }
        text += &format!("\nprint fmt: {print_fmt}\n");
        Event::new(if name == "kernel_stack" { "ftrace" } else { "test" }, text.as_bytes(), abi)
            .unwrap()
    }

    fn json(event: &Event, data: &[u8]) -> String {
        let mut out = Vec::new();
        EventFields::new(event).print(data, &known(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn abis() -> impl Iterator<Item = Abi> {
        [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .flat_map(|byte_order| [4, 8].map(|long_size| Abi { byte_order, long_size }))
    }

    /// Numbers in the byte order of a machine.
    struct Bytes(Abi, Vec<u8>);

    impl Bytes {
        fn int(&mut self, size: usize, value: u64) -> &mut Self {
            let bytes = value.to_le_bytes();
            let bytes = &bytes[..size];
            match self.0.byte_order {
                ByteOrder::Little => self.1.extend(bytes),
                ByteOrder::Big => self.1.extend(bytes.iter().rev()),
            }
            self
        }
    }

    #[test]
    fn fields_that_are_printed_too_often_have_no_value() {
        let abi = Abi { byte_order: ByteOrder::Little, long_size: 8 };
        let names: Vec<String> = (0..1000).map(|number| format!("f{number}[500]")).collect();
        let field = |name| format!("\tfield:u8 {name};\toffset:0;\tsize:500;\tsigned:0;\n");
        let fields: String = names.iter().map(field).collect();
        let common = "\tfield:u8 common_type;\toffset:0;\tsize:1;\tsigned:0;\n";
        let text = format!("name: often\nID: 9\nformat:\n{common}\n{fields}\nprint fmt: \"\"\n");
        let event = Event::new("test", text.as_bytes(), abi).unwrap();
        let json = json(&event, &[7; 500]);
        assert!((65_536..90_000).contains(&json.len()), "{}", json.len());
        assert!(json.contains("\"f60\":[7,7,") && json.ends_with(",\"f999\":null}"));
    }

    #[test]
    fn integers_are_exact_with_their_sign_on_every_machine() {
        for abi in abis() {
            let event = event(
                abi,
                "ints",
                &[
                    ("unsigned short common_type", 2, 0),
                    ("s8 a", 1, 1),
                    ("bool b", 1, 0),
                    ("short c[2]", 4, 1),
                    ("u64 d", 8, 0),
                    ("s64 e", 8, 1),
                    ("u32 f[2]", 8, 0),
                    ("struct in6_addr g", 3, 0),
                ],
                "\"%d\", REC->a",
            );
            let mut data = Bytes(abi, Vec::new());
            data.int(2, 9).int(1, 0xff).int(1, 1).int(2, 0x8000).int(2, 7);
            data.int(8, u64::MAX).int(8, 1 << 63).int(4, 0xffff_ffff).int(4, 1);
            data.int(1, 3).int(1, 2).int(1, 255);
            assert_eq!(
                json(&event, &data.1),
                ",\"system\":\"test\",\"event\":\"ints\",\"fields\":{\"a\":-1,\"b\":true,\
                 \"c\":[-32768,7],\"d\":18446744073709551615,\"e\":-9223372036854775808,\
                 \"f\":[4294967295,1],\"g\":[3,2,255]}",
                "{abi:?}"
            );
            // Of what lies outside there is no value.
            assert!(
                json(&event, &data.1[..10])
                    .ends_with("\"c\":[-32768,7],\"d\":null,\"e\":null,\"f\":null,\"g\":null}")
            );
        }
    }

    #[test]
    fn texts_and_masks_are_found_where_their_word_says() {
        for abi in abis() {
            let long = u32::from(abi.long_size);
            let event = event(
                abi,
                "dynamic",
                &[
                    ("int common_pid", 4, 1),
                    ("char comm[4]", 4, 0),
                    ("__data_loc char[] name", 4, 0),
                    ("__rel_loc u16[] list", 4, 0),
                    ("__data_loc cpumask_t cpus", 4, 0),
                    ("__data_loc unsigned long[] bits", 4, 0),
                ],
                "\"%s\", __get_bitmask(bits)",
            );
            let mut data = Bytes(abi, Vec::new());
            data.int(4, 1);
            data.1.extend(b"a\xff\0b");
            let (name, list, mask) = (24, 24 + 4, 24 + 8);
            data.int(4, 3 << 16 | name).int(4, 4 << 16 | (list - 16));
            let mask_len = u64::from(2 * long) << 16;
            data.int(4, mask_len | mask).int(4, mask_len | mask);
            data.1.extend(b"hi\0.");
            data.int(2, 500).int(2, 65535);
            data.int(long as usize, 0b101).int(long as usize, 2);
            let bits = format!("[0,2,{}]", 8 * long + 1);
            assert_eq!(
                json(&event, &data.1),
                format!(
                    ",\"system\":\"test\",\"event\":\"dynamic\",\"fields\":{{\"comm\":\"a\\\\xff\",\
                     \"name\":\"hi\",\"list\":[500,65535],\"cpus\":{bits},\"bits\":{bits}}}"
                ),
                "{abi:?}"
            );
        }
    }

    #[test]
    fn addresses_have_what_is_known_there_beside() {
        for abi in abis() {
            let long = usize::from(abi.long_size);
            let event = event(
                abi,
                "addresses",
                &[
                    ("int common_pid", 4, 1),
                    ("void * ptr", long as u32, 0),
                    ("const char * text", long as u32, 0),
                    ("unsigned long ip", long as u32, 0),
                    ("unsigned long len", long as u32, 0),
                ],
                "\"%ps\", (void *)REC->ip",
            );
            let mut data = Bytes(abi, Vec::new());
            data.int(4, 1).int(long, 0x10).int(long, 0xd000_0000);
            data.int(long, 0xc000_2010).int(long, 0xc000_2010);
            assert_eq!(
                json(&event, &data.1),
                ",\"system\":\"test\",\"event\":\"addresses\",\"fields\":{\"ptr\":\"0x10\",\
                 \"text\":\"0xd0000000\",\"ip\":\"0xc0002010\",\"len\":3221233680},\
                 \"symbols\":{\"text\":\"a word\",\"ip\":\"vfs_write+0x10\"}",
                "{abi:?}"
            );
        }
    }

    #[test]
    fn stacks_go_on_behind_the_array_of_their_format() {
        for abi in abis() {
            let long = usize::from(abi.long_size);
            let fields = [
                ("int common_pid", 4, 1),
                ("int size", 4, 1),
                ("unsigned long caller[1]", long as u32, 0),
            ];
            let event = event(abi, "kernel_stack", &fields, "\"%ps\", (void *)REC->caller[0]");
            let mut data = Bytes(abi, Vec::new());
            data.int(4, 1).int(4, 2).int(long, 0xc000_1004).int(long, 0x77).int(long, 0x88);
            assert_eq!(
                json(&event, &data.1),
                ",\"system\":\"ftrace\",\"event\":\"kernel_stack\",\"fields\":{\"size\":2,\
                 \"caller\":[\"0xc0001004\",\"0x77\"]},\
                 \"symbols\":{\"caller\":[\"vfs_read+0x4\",null]}",
                "{abi:?}"
            );
        }
    }
}
