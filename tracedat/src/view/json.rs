//! JSON that may stand in a script of a page.

use crate::report::json::string;
use crate::report::number;

/// Writes JSON piece by piece. No `<` is in it, so no text ends the script that it stands in.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Whether something stands before what comes next.
    follows: bool,
}

impl Writer {
    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.nest(b'{', b'}', members);
    }

    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.nest(b'[', b']', |json| items.into_iter().for_each(|value| item(json, value)));
    }

    pub(super) fn number(&mut self, value: u64) {
        self.comma();
        number::decimal(&mut self.bytes, value);
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.comma();
        let start = self.bytes.len();
        string(&mut self.bytes, text);
        if self.bytes.iter().skip(start).any(|&byte| byte == b'<') {
            let text = self.bytes.split_off(start);
            for byte in text {
                match byte {
                    b'<' => self.bytes.extend_from_slice(b"\\u003c"),
                    byte => self.bytes.push(byte),
                }
            }
        }
    }

    /// The name of what comes next.
    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.text(name.as_bytes());
        self.bytes.push(b':');
        self.follows = false;
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn nest(&mut self, open: u8, close: u8, inside: impl FnOnce(&mut Self)) {
        self.comma();
        self.bytes.push(open);
        self.follows = false;
        inside(self);
        self.bytes.push(close);
        self.follows = true;
    }

    fn comma(&mut self) {
        if self.follows {
            self.bytes.push(b',');
        }
        self.follows = true;
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;

    #[test]
    fn nothing_ends_the_script_it_stands_in() {
        let mut json = Writer::default();
        json.object(|json| {
            json.key("</a>").array([b"</script>".as_slice(), b"<!--\"\n"], Writer::text);
            json.key("n").number(7);
        });
        let text = String::from_utf8(json.into_bytes()).unwrap();
        assert_eq!(text, r#"{"\u003c/a>":["\u003c/script>","\u003c!--\"\n"],"n":7}"#);
    }
}
