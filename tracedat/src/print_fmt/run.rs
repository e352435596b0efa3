//! Runs a program on a record.
use super::functions::{self, Function};
use super::limit;
use super::number::{self, Layout};
use super::program::{FormIndex, Literal, Mode, Program, Step, TableRange};
use super::value::{Load, Place, Value};
use super::{Compat, PrintContext, address, hex_dump, value};
use crate::abi::ByteOrder;

/// How many steps are run before the text's length is looked at.
const STEPS: usize = 64;

impl Program {
    /// Appends the text of one record. A record that ends early has zeros for what is missing. Of more than
    /// 64 KiB, or 16 bytes for each of the record's, the rest is left out, and `[...]` stands for it.
    pub fn run(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        match self.mode {
            Mode::Steps => {
                let (mut at, end) = (0, self.steps.len());
                while at < end && !limit::is_exceeded(out, start, data.len()) {
                    at = self.run_steps(at, end.min(at + STEPS), data, cx, out);
                }
            }
            Mode::Failed => {
                out.extend_from_slice(b"[FAILED TO PARSE]");
                self.run_raw(data, cx, out);
            }
            Mode::Binary => self.run_binary(data, cx, out),
        }
        limit::cut(out, start, data.len());
    }

    #[inline(never)]
    pub(super) fn value(&self, value: Value, data: &[u8]) -> u64 {
        match value {
            Value::Const(value) => value,
            Value::Load { load, offset } => load.at(data, offset as usize),
            Value::Bits { load, offset, shift, mask } => {
                load.at(data, offset as usize) >> shift & mask
            }
            Value::Code { start, end } => {
                value::run(self.code.get(start as usize..end as usize).unwrap_or_default(), data)
            }
        }
    }

    /// The same, without a call for what values mostly are.
    #[inline(always)]
    fn usual_value(&self, value: Value, data: &[u8]) -> u64 {
        match value {
            Value::Load { load, offset } => load.at(data, offset as usize),
            value => self.value(value, data),
        }
    }

    #[inline(never)]
    fn layout(&self, form: FormIndex, data: &[u8]) -> Option<Layout> {
        let form = self.forms.get(usize::from(form?))?;
        Some(form.resolve(|value| self.value(value, data)))
    }

    /// Appends a text, laid out if so wanted.
    #[inline]
    fn text(&self, out: &mut Vec<u8>, text: &[u8], form: FormIndex, data: &[u8]) {
        if form.is_none() {
            return out.extend_from_slice(text);
        }
        match self.layout(form, data) {
            None => out.extend_from_slice(text),
            // A precision below zero: the reference prints the conversion itself.
            Some(layout)
                if layout.precision.is_none() && self.has_precision(form) && !self.full =>
            {
                out.extend_from_slice(b"%.*s");
            }
            Some(layout) => number::text(out, text, layout),
        }
    }

    /// Appends a name of a table, laid out if so wanted.
    #[inline]
    fn append_name(&self, out: &mut Vec<u8>, name: Literal, form: FormIndex, data: &[u8]) {
        match form {
            None => self.append_literal(name, out),
            form => self.text(out, self.literal(name), form, data),
        }
    }

    fn has_precision(&self, form: FormIndex) -> bool {
        let form = form.and_then(|form| self.forms.get(usize::from(form)));
        form.is_some_and(|form| form.precision.is_some())
    }

    /// Runs the steps from `at` up to `end`. Returns which would be next.
    pub(super) fn run_steps(
        &self,
        mut at: usize,
        end: usize,
        data: &[u8],
        cx: &PrintContext<'_>,
        out: &mut Vec<u8>,
    ) -> usize {
        let steps = self.steps.get(..end).unwrap_or_default();
        while let Some(step) = steps.get(at) {
            at += 1;
            match *step {
                Step::Literal(literal) => self.append_literal(literal, out),
                Step::Labelled(ref labelled) => {
                    labelled.print(data, out);
                    at += 1;
                }
                Step::Number { value, base, bits } => {
                    number::plain(out, self.usual_value(value, data), base, u32::from(bits));
                }
                Step::LaidOutNumber { value, base, bits, form } => {
                    let layout = self.layout(Some(form), data).unwrap_or_default();
                    number::laid_out(out, self.value(value, data), base, u32::from(bits), layout);
                }
                Step::FieldText { start, len, form } => {
                    let text = until_nul(Place::Fixed { start, len }.bytes(data));
                    self.text(out, text, form, data);
                }
                Step::LocatedText { place, form } => {
                    if is_inside(place, data) {
                        self.text(out, until_nul(place.rest(data)), form, data);
                    }
                }
                Step::PointedText { value } => {
                    let address = self.value(value, data);
                    match cx.names.printk_formats().text(address) {
                        Some(text) => out.extend_from_slice(text),
                        None => number::hex(out, address),
                    }
                }
                Step::Flags { value, delimiter, table, ends_early, form } => {
                    let value = self.usual_value(value, data);
                    self.flags(out, data, value, delimiter, (table, ends_early), form);
                }
                Step::Symbolic { value, table, form } => {
                    self.symbolic(out, data, value, table, form);
                }
                Step::Pointer { value } => address::pointer(out, self.usual_value(value, data)),
                Step::Symbol { value, offset } => {
                    let value = self.usual_value(value, data);
                    address::symbol(out, value, offset, cx.names.symbols());
                }
                Step::JumpIfZero { value, target } => {
                    if self.usual_value(value, data) == 0 {
                        at = target as usize;
                    }
                }
                Step::Jump { target } => at = target as usize,
                ref other => self.run_other(other, data, cx, out),
            }
        }
        at
    }

    /// Runs a step of the less usual ones, which would only take registers from the others.
    #[inline(never)]
    fn run_other(&self, step: &Step, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        match *step {
            Step::LaidOutLiteral { text, form } => {
                self.text(out, self.literal(text), Some(form), data);
            }
            Step::Char { value, form } => {
                let byte = self.value(value, data) as u8;
                self.text(out, until_nul(&[byte]), form, data);
            }
            Step::HexDump { place, len, prefix, style } => {
                let bytes = place.rest(data);
                let len = usize::try_from(self.value(len, data)).unwrap_or(usize::MAX);
                let bytes = &bytes[..len.min(bytes.len())];
                hex_dump::print(out, bytes, self.literal(prefix), style, self.abi.byte_order);
            }
            Step::Hex { place, len, blanks } => {
                let bytes = place.rest(data);
                let len = usize::try_from(self.value(len, data)).unwrap_or(usize::MAX);
                let separator = if blanks { Some(b' ') } else { None };
                address::bytes(out, &bytes[..len.min(bytes.len())], separator);
            }
            Step::Array { place, count, element_size } => {
                let order = self.helper_order(cx.compat);
                self.array(out, data, order, place, (count, element_size));
            }
            Step::Bitmask { place, form } => {
                if is_inside(place, data) {
                    self.bitmask(out, data, cx.compat, place, form);
                }
            }
            Step::Cpumask { place, form } => {
                if is_inside(place, data) {
                    let start = out.len();
                    self.cpumask(out, cx.compat, place.bytes(data));
                    self.lay_out_from(out, start, form, data);
                }
            }
            Step::NewPointer { value, letter } => {
                let value = self.value(value, data);
                if cx.compat == Compat::V3_1_6 && !self.full {
                    address::pointer(out, value);
                    out.push(letter);
                } else if letter == b'B' {
                    address::symbol(out, value, true, cx.names.symbols());
                } else {
                    address::pointer(out, value);
                }
            }
            Step::Bits { value, place, len, list } => match place {
                Some(place) if cx.compat > Compat::V3_1_6 || self.full => {
                    let bits = usize::try_from(self.value(len, data)).unwrap_or(usize::MAX);
                    let bytes = place.bytes(data);
                    let bytes = &bytes[..bytes.len().min(bits.div_ceil(8))];
                    if list {
                        self.cpumask(out, cx.compat, bytes);
                    } else {
                        self.words(out, cx.compat, bytes);
                    }
                }
                _ => {
                    address::pointer(out, self.value(value, data));
                    out.extend_from_slice(if list { b"bl" } else { b"b" });
                }
            },
            Step::Mac { place, separator, reversed } => {
                address::mac(out, &fixed(data, place), separator, reversed);
            }
            Step::Ipv4 { place, padded, reversed } => {
                address::ipv4(out, fixed(data, place), padded, reversed);
            }
            Step::Ipv6 { place, colons, compressed } => {
                address::ipv6(out, &fixed(data, place), colons, compressed);
            }
            Step::Socket { place, plain, port, compressed } => {
                let order = self.helper_order(cx.compat);
                address::socket(out, place.bytes(data), order, plain, port, compressed);
            }
            Step::Uuid { place, upper, little } => {
                address::uuid(out, &fixed(data, place), upper, little);
            }
            Step::Bytes { place, len, separator } => {
                let bytes = place.bytes(data);
                let len = usize::try_from(self.value(len, data) as i32).unwrap_or(usize::MAX);
                address::bytes(out, &bytes[..len.min(bytes.len())], separator);
            }
            Step::Call { function, value, place } => {
                self.call(out, data, cx.compat, function, (value, place));
            }
            // Done by the caller.
            Step::Literal(_)
            | Step::Labelled(_)
            | Step::Number { .. }
            | Step::LaidOutNumber { .. }
            | Step::FieldText { .. }
            | Step::LocatedText { .. }
            | Step::PointedText { .. }
            | Step::Flags { .. }
            | Step::Symbolic { .. }
            | Step::Pointer { .. }
            | Step::Symbol { .. }
            | Step::JumpIfZero { .. }
            | Step::Jump { .. } => {}
        }
    }

    #[inline(never)]
    fn flags(
        &self,
        out: &mut Vec<u8>,
        data: &[u8],
        mut value: u64,
        delimiter: Literal,
        (table, ends_early): (TableRange, bool),
        form: FormIndex,
    ) {
        let table = self.table.get(table.start as usize..table.end as usize).unwrap_or_default();
        let mut first = true;
        for &(mask, name) in table {
            if value == 0 {
                if ends_early {
                    break;
                }
                if (mask as i64) < 0 {
                    self.text(out, self.literal(name), form, data);
                    break;
                }
            }
            if value & mask == mask && (ends_early || mask as i64 > 0) {
                if !std::mem::take(&mut first) {
                    self.append_literal(delimiter, out);
                }
                self.append_name(out, name, form, data);
                value &= !mask;
            }
        }
        if value != 0 {
            if !first {
                out.extend_from_slice(self.literal(delimiter));
            }
            number::prefixed_hex(out, value);
        }
    }

    #[inline(never)]
    fn symbolic(
        &self,
        out: &mut Vec<u8>,
        data: &[u8],
        value: Value,
        table: TableRange,
        form: FormIndex,
    ) {
        let value = self.usual_value(value, data);
        let table = self.table.get(table.start as usize..table.end as usize).unwrap_or_default();
        match table.iter().find(|(key, _)| *key == value) {
            Some(&(_, name)) => self.append_name(out, name, form, data),
            None => number::prefixed_hex(out, value),
        }
    }

    fn array(
        &self,
        out: &mut Vec<u8>,
        data: &[u8],
        order: ByteOrder,
        place: Place,
        (count, element_size): (Value, Value),
    ) {
        let size = self.value(element_size, data);
        let count = self.value(count, data);
        let bytes = place.rest(data);
        let integer = matches!(size, 1 | 2 | 4 | 8);
        let load = Load::new(if integer { size as u32 } else { 1 }, order);
        let step = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        let mut at = 0usize;
        if self.full {
            out.push(b'{');
        }
        for index in 0..count {
            if at >= bytes.len() {
                break;
            }
            if index > 0 {
                out.push(if self.full { b',' } else { b' ' });
            }
            if integer && self.full {
                number::prefixed_hex(out, load.at(bytes, at));
            } else if integer {
                number::decimal(out, load.at(bytes, at));
            } else {
                out.extend_from_slice(b"BAD SIZE:");
                number::decimal(out, size);
                out.extend_from_slice(b" 0x");
                number::hex(out, load.at(bytes, at));
                at = at.saturating_add(1);
                continue;
            }
            at = at.saturating_add(step);
        }
        if self.full {
            out.push(b'}');
        }
    }

    /// Lays out what was appended since `start`.
    fn lay_out_from(&self, out: &mut Vec<u8>, start: usize, form: FormIndex, data: &[u8]) {
        let Some(layout) = self.layout(form, data) else { return };
        if let Some(most) = layout.precision {
            out.truncate(out.len().min(start.saturating_add(most as usize)));
        }
        let len = out.len() - start;
        let blanks = (layout.width as usize).saturating_sub(len);
        number::fill(out, b' ', blanks);
        if !layout.left {
            out[start..].rotate_right(blanks);
        }
    }

    fn bitmask(
        &self,
        out: &mut Vec<u8>,
        data: &[u8],
        compat: Compat,
        place: Place,
        form: FormIndex,
    ) {
        let start = out.len();
        self.words(out, compat, place.bytes(data));
        self.lay_out_from(out, start, form, data);
    }

    /// The byte order of arrays and socket addresses. The older release reads them as its own
    /// machine would, which is little endian.
    fn helper_order(&self, compat: Compat) -> ByteOrder {
        if compat == Compat::V3_1_6 && !self.full {
            return ByteOrder::Little;
        }
        self.abi.byte_order
    }

    /// The bytes of a bit mask, least significant first.
    fn mask_byte(&self, compat: Compat, bytes: &[u8], index: usize) -> u8 {
        let long = usize::from(self.abi.long_size).max(1);
        let at = match self.abi.byte_order {
            ByteOrder::Little => index,
            // The older release takes the whole mask for one number.
            ByteOrder::Big if compat == Compat::V3_1_6 && !self.full => bytes.len() - 1 - index,
            ByteOrder::Big => index / long * long + (long - 1 - index % long),
        };
        bytes.get(at).copied().unwrap_or(0)
    }

    /// A bit mask as hexadecimal words of 32 bits, most significant first.
    fn words(&self, out: &mut Vec<u8>, compat: Compat, bytes: &[u8]) {
        for index in (0..bytes.len()).rev() {
            number::byte(out, self.mask_byte(compat, bytes, index));
            if index % 4 == 0 && index > 0 {
                out.push(b',');
            }
        }
    }

    /// A bit mask as a list of ranges.
    fn cpumask(&self, out: &mut Vec<u8>, compat: Compat, bytes: &[u8]) {
        let bits = bytes.len() * 8;
        let is_set = |bit: usize| self.mask_byte(compat, bytes, bit / 8) >> (bit % 8) & 1 == 1;
        let mut bit = 0;
        let mut first = true;
        while bit < bits {
            if !is_set(bit) {
                bit += 1;
                continue;
            }
            let start = bit;
            while bit < bits && is_set(bit) {
                bit += 1;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            number::decimal(out, start as u64);
            if bit - start > 1 {
                out.push(b'-');
                number::decimal(out, bit as u64 - 1);
            }
        }
    }

    fn call(
        &self,
        out: &mut Vec<u8>,
        data: &[u8],
        compat: Compat,
        function: Function,
        (value, place): (Value, Option<Place>),
    ) {
        match function {
            Function::Jbd2DevToName => {
                let device = self.value(value, data) & 0xffff_ffff;
                number::decimal(out, device >> 20);
                out.push(b':');
                number::decimal(out, device & 0xf_ffff);
            }
            Function::JiffiesToMsecs => number::decimal(out, self.value(value, data)),
            Function::XenHypercallName => {
                let name = functions::hypercall_name(self.value(value, data));
                if !name.is_empty() {
                    out.push(b'(');
                    out.extend_from_slice(name.as_bytes());
                    out.push(b')');
                }
            }
            Function::ScsiTraceParseCdb => {
                functions::parse_cdb(out, place.map_or(&[][..], |place| place.rest(data)), compat);
            }
            Function::Le16ToCpup => {
                number::decimal(out, self.value(value, data));
            }
        }
    }
}

/// Whether the bytes that a word locates are there; the reference prints nothing otherwise.
#[inline]
fn is_inside(place: Place, data: &[u8]) -> bool {
    let (start, len) = place.range(data);
    // Only the word's own offset counts, also where it is relative.
    let base = if let Place::Located { base, .. } = place { base as usize } else { 0 };
    len > 0 && start - base + len <= data.len()
}

/// The bytes before the first NUL, looked for eight at a time.
#[inline]
fn until_nul(bytes: &[u8]) -> &[u8] {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let zeros = word.wrapping_sub(LOW) & !word & (LOW << 7);
        if zeros != 0 {
            return &bytes[..at + (zeros.trailing_zeros() / 8) as usize];
        }
        at += 8;
    }
    let rest = &bytes[at..];
    &bytes[..at + rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len())]
}

/// So many bytes at a place, zeros where they end.
fn fixed<const N: usize>(data: &[u8], place: Place) -> [u8; N] {
    let mut bytes = [0; N];
    let found = place.bytes(data);
    let len = found.len().min(N);
    bytes[..len].copy_from_slice(&found[..len]);
    bytes
}
