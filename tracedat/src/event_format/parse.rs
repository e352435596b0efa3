//! Parses the text of a `format` file.
use super::{EventFormat, Field, FieldFlags};
use crate::abi::Abi;
use crate::error::FormatError;

/// More fields than any kernel's event has; a longer list is damage.
const MAX_FIELDS: usize = 4096;

/// Lines with their number, counted from 1.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: u32,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        self.number += 1;
        if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.rest = Some(&rest[end + 1..]);
            Some(rest[..end].trim_ascii())
        } else {
            self.rest = None;
            Some(rest.trim_ascii())
        }
    }

    /// The next line that is not blank.
    fn next_filled(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.next()?;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    fn error(&self, cause: impl Into<String>) -> FormatError {
        FormatError { line: self.number, cause: cause.into() }
    }
}

pub(super) fn event_format(
    system: &str,
    text: &[u8],
    abi: Abi,
) -> Result<EventFormat, FormatError> {
    let mut lines = Lines { rest: Some(text), number: 0 };
    let name = header(&mut lines, "name:")?;
    if name.is_empty() {
        return Err(lines.error("the name is empty"));
    }
    let id = header(&mut lines, "ID:")?;
    let id = number(id.as_bytes())
        .and_then(|id| u16::try_from(id).ok())
        .ok_or_else(|| lines.error(format!("the ID `{id}` is not a number up to 65535")))?;
    let mut format = EventFormat {
        system: system.to_owned(),
        name,
        id,
        abi,
        common_fields: Vec::new(),
        fields: Vec::new(),
        print_fmt: Vec::new(),
        fields_are_whole: true,
        broken: None,
    };
    format.broken = match header(&mut lines, "format:") {
        Ok(_) => body(&mut lines, &mut format, abi).err(),
        Err(error) => {
            format.fields_are_whole = false;
            Some(error)
        }
    };
    Ok(format)
}

/// Text after `key` on the next line with content.
fn header(lines: &mut Lines<'_>, key: &str) -> Result<String, FormatError> {
    let line = lines.next_filled().unwrap_or_default();
    let value = line
        .strip_prefix(key.as_bytes())
        .ok_or_else(|| lines.error(format!("expected `{key}`, found `{}`", quote(line))))?;
    Ok(String::from_utf8_lossy(value.trim_ascii()).into_owned())
}

/// Fields, then the print fmt.
fn body(lines: &mut Lines<'_>, format: &mut EventFormat, abi: Abi) -> Result<(), FormatError> {
    // The common fields end at the first blank line.
    let mut common = true;
    let mut after_blank = false;
    loop {
        let before = lines.rest;
        let Some(line) = lines.next() else {
            return Err(lines.error("the print fmt is missing"));
        };
        if line.is_empty() {
            common = common && format.common_fields.is_empty();
            after_blank = true;
            continue;
        }
        let Some(declaration) = line.strip_prefix(b"field").filter(|rest| {
            rest.first() == Some(&b':') || rest.first().is_some_and(u8::is_ascii_whitespace)
        }) else {
            // It may go on in the following lines.
            let text = before.unwrap_or_default().trim_ascii_start();
            let text = text
                .strip_prefix(b"print fmt")
                .and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"))
                .ok_or_else(|| {
                    // A blank line ends the list; anything else stands in it.
                    format.fields_are_whole = after_blank;
                    lines.error(format!("expected `print fmt:`, found `{}`", quote(line)))
                })?;
            format.print_fmt = text.trim_ascii().to_vec();
            return Ok(());
        };
        after_blank = false;
        let fields = if common { &mut format.common_fields } else { &mut format.fields };
        if fields.len() >= MAX_FIELDS {
            return Err(lines.error(format!("more than {MAX_FIELDS} fields")));
        }
        match field(declaration, abi) {
            Ok(field) => fields.push(field),
            Err(cause) => {
                format.fields_are_whole = false;
                return Err(lines.error(cause));
            }
        }
    }
}

/// Parses what follows `field`: `:int a; offset:8; size:4; signed:1;`, also `special:` before the type.
fn field(text: &[u8], abi: Abi) -> Result<Field, String> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"special").map_or(text, <[u8]>::trim_ascii_start);
    let text =
        text.strip_prefix(b":").ok_or_else(|| format!("expected `:`, found `{}`", quote(text)))?;
    let mut parts = text.split(|&byte| byte == b';');
    let mut field = declaration(parts.next().unwrap_or_default())?;
    field.offset = property(parts.next(), "offset:")?;
    field.size = property(parts.next(), "size:")?;
    field.flags.signed = match parts.next() {
        // Kernels before 2.6.32 do not tell.
        Some(part) if !part.trim_ascii().is_empty() => property(Some(part), "signed:")? != 0,
        _ => false,
    };
    if let Some(rest) = parts.find(|part| !part.trim_ascii().is_empty()) {
        return Err(format!("unexpected `{}` after the field", quote(rest)));
    }
    field.element_size = element_size(&field, abi);
    Ok(field)
}

fn property(part: Option<&[u8]>, key: &str) -> Result<u32, String> {
    let part = part.unwrap_or_default().trim_ascii();
    part.strip_prefix(key.as_bytes())
        .and_then(|value| leading_number(value.trim_ascii()))
        .and_then(|value| u32::try_from(value).ok())
        .ok_or_else(|| format!("expected `{key}` and a number, found `{}`", quote(part)))
}

/// A C declaration: type, name, and brackets on either.
fn declaration(text: &[u8]) -> Result<Field, String> {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let fail = |why: &str| Err(format!("{why} in the declaration `{text}`"));
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();

    // The name is the last word; brackets may follow it.
    let (head, brackets) = match bytes.iter().rposition(|&byte| byte != b' ' && byte != b'\t') {
        Some(end) if bytes[end] == b']' => {
            let Some(open) = bytes.iter().rposition(|&byte| byte == b'[') else {
                return fail("`]` without `[`");
            };
            (text[..open].trim_end(), Some(text[open + 1..end].trim()))
        }
        _ => (text.trim_end(), None),
    };
    let start = head.bytes().rposition(|byte| !is_word(&byte)).map_or(0, |at| at + 1);
    let (type_name, name) = head.split_at(start);
    let type_name = type_name.trim();
    if name.is_empty() || type_name.is_empty() {
        return fail("no type and name");
    }
    let in_type = type_name.find('[');
    if in_type.is_some() && brackets.is_some() {
        return fail("brackets on type and name");
    }
    if type_name.bytes().any(|byte| !(is_word(&byte) || b" \t*[]".contains(&byte))) {
        return fail("unexpected character");
    }
    let relative = type_name.starts_with("__rel_loc ");
    let dynamic = relative || type_name.starts_with("__data_loc ");
    let array = brackets.is_some() || in_type.is_some();
    let has = |word: &str| type_name.contains(word);
    Ok(Field {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        offset: 0,
        size: 0,
        array_len: brackets
            .and_then(|count| number(count.as_bytes()))
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        element_size: 0,
        flags: FieldFlags {
            array,
            pointer: has("*"),
            signed: false,
            string: array && (has("char") || has("u8") || has("s8")),
            dynamic,
            relative,
            long: has("long"),
        },
    })
}

fn element_size(field: &Field, abi: Abi) -> u32 {
    if !field.flags.array {
        return field.size;
    }
    if let Some(size) = field.size.checked_div(field.array_len) {
        return size;
    }
    let has = |word: &str| field.type_name.contains(word);
    if field.flags.string {
        1
    } else if has("16") || has("short") {
        2
    } else if has("64") || has("long long") || has("longlong") {
        8
    } else if field.flags.long || field.flags.pointer {
        u32::from(abi.long_size)
    } else {
        4
    }
}

/// The number that a word begins with, 0 where it begins with none.
fn leading_number(word: &[u8]) -> Option<u64> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if word.is_empty() || !word.iter().all(is_word) {
        return None;
    }
    let is_digit: fn(&u8) -> bool = match word {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => {
            |byte| byte.is_ascii_hexdigit()
        }
        [b'0', ..] => |byte| matches!(byte, b'0'..=b'7'),
        _ => |byte| byte.is_ascii_digit(),
    };
    let prefix = if matches!(word, [b'0', b'x' | b'X', ..]) && is_digit(&b'f') { 2 } else { 0 };
    let len = word[prefix..].iter().take_while(|byte| is_digit(byte)).count();
    number(&word[..prefix + len]).or(Some(0))
}

/// A decimal, `0x` hexadecimal or `0` octal number.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A piece of input for a message, cut at a length that can be read.
fn quote(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).escape_debug().to_string()
}
