//! Bytes as JSON strings.

use crate::report::number;

/// Appends a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid());
        for &byte in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            number::hex(out, u64::from(byte), 2);
        }
    }
    out.push(b'"');
}

/// Appends text as it stands inside of a JSON string.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                number::hex(out, u64::from(byte), 2);
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::string;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_json_reserves_is_escaped() {
        assert_eq!(json(b""), "\"\"");
        assert_eq!(json(b"a\\b\"c/"), r#""a\\b\"c/""#);
        assert_eq!(json(b"\n\t\r\x01\x1f\x7f"), "\"\\n\\t\\r\\u0001\\u001f\x7f\"");
    }

    #[test]
    fn utf8_stays_and_other_bytes_are_named() {
        assert_eq!(json("größer 𝄞".as_bytes()), "\"größer 𝄞\"");
        assert_eq!(json(b"a\xff\xc3z\xe2\x82"), r#""a\\xff\\xc3z\\xe2\\x82""#);
    }
}
