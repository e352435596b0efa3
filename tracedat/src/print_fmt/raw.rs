//! Fields as ` name=value`, uninterpreted (`report -R`).
use super::program::{RawForm, Step};
use super::{Compat, PrintContext, Program, address, limit, number};
use crate::abi::Abi;
use crate::event_format::Field;

/// Whether a field's type makes it a text.
pub(crate) fn is_text_field(field: &Field) -> bool {
    field.flags.array && field.flags.string
}

/// Whether what such a field holds can be printed as text.
pub(crate) fn is_printable(field: &Field, abi: Abi, data: &[u8]) -> bool {
    let (start, len) = field.place(abi, data).unwrap_or((0, 0));
    let rest = data.get(start..).unwrap_or_default();
    is_text(&rest[..len.min(rest.len())])
}

impl Program {
    /// Appends ` field=value` for every field but the common ones. A field that the print fmt
    /// prints by itself, and which is no array, has the value's form from there.
    pub fn run_raw(&self, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        self.run_raw_with(data, 0, cx, out);
    }

    /// The same; a bit in `binary` tells for each field that is a text by its type whether it is
    /// printed as an array nevertheless, the first field's being the lowest.
    pub(crate) fn run_raw_with(
        &self,
        data: &[u8],
        mut binary: u32,
        cx: &PrintContext<'_>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        for (field, form) in self.fields.iter().zip(&self.raw_forms) {
            if limit::is_exceeded(out, start, data.len()) {
                break;
            }
            out.push(b' ');
            out.extend_from_slice(field.name.as_bytes());
            out.push(b'=');
            match form {
                Some(form) if !field.flags.array => self.raw_form(*form, data, cx, out),
                _ if is_text_field(field) => {
                    self.raw_array(field, binary & 1 == 0, data, out);
                    binary >>= 1;
                }
                _ if field.flags.array => self.raw_array(field, false, data, out),
                _ => self.raw_field(field, data, out),
            }
        }
        limit::cut(out, start, data.len());
    }

    fn raw_form(&self, form: RawForm, data: &[u8], cx: &PrintContext<'_>, out: &mut Vec<u8>) {
        let (start, end) = (form.start as usize, form.end as usize);
        if cx.compat >= Compat::V3_4
            && let Some(&[Step::Symbol { value, offset }]) = self.steps.get(start..end)
        {
            // The address comes with the name, and is not repeated where there is none.
            let value = self.value(value, data);
            if let Some(symbol) = cx.names.symbols().find(value) {
                address::found(out, &symbol, offset);
            }
            out.extend_from_slice(b" (");
            number::prefixed_hex(out, value);
            return out.push(b')');
        }
        if form.after_prefix {
            out.extend_from_slice(b"0x");
        }
        self.run_steps(start, end, data, cx, out);
    }

    fn raw_field(&self, field: &Field, data: &[u8], out: &mut Vec<u8>) {
        let value = field.uint(self.abi, data).unwrap_or(0);
        if field.flags.pointer {
            return number::prefixed_hex(out, value);
        }
        if !field.flags.signed {
            return if field.flags.long {
                number::prefixed_hex(out, value);
            } else {
                number::decimal(out, value);
            };
        }
        match field.size {
            4 if field.flags.long => number::prefixed_hex(out, value),
            1 => number::signed(out, i64::from(value as i8)),
            2 => {
                let value = i64::from(value as i16);
                if (0..10).contains(&value) {
                    out.push(b' ');
                }
                number::signed(out, value);
            }
            4 => number::signed(out, i64::from(value as i32)),
            _ => number::signed(out, value as i64),
        }
    }

    fn raw_array(&self, field: &Field, as_text: bool, data: &[u8], out: &mut Vec<u8>) {
        let (start, len) = field.place(self.abi, data).unwrap_or((0, 0));
        let rest = data.get(start..).unwrap_or_default();
        let bytes = &rest[..len.min(rest.len())];
        if as_text && is_text(bytes) {
            // The text ends at a NUL, wherever the field ends.
            let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
            return out.extend_from_slice(&rest[..end]);
        }
        out.extend_from_slice(b"ARRAY[");
        for (index, &byte) in bytes.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            number::byte(out, byte);
        }
        out.push(b']');
    }
}

/// Whether all bytes before the first NUL are printable or blank.
fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take_while(|&&byte| byte != 0)
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t'..=b'\r'))
}
