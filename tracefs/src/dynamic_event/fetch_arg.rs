//! What a probe puts into its event.

use std::fmt;

/// One field of a probe: `file=+0($filename):ustring`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchArg {
    /// Name of the field; `None` lets the kernel number it.
    pub name: Option<String>,
    /// Where the value comes from: `%ax`, `$arg1`, `$retval`, `@symbol`, `+8(%di)`, `$comm`.
    pub fetch: String,
    /// How it is taken: `u64`, `x32`, `string`, `ustring`, `b4@0/8`; `None` for the kernel's word.
    pub kind: Option<String>,
}

impl FetchArg {
    /// A value without name or type.
    pub fn new(fetch: impl Into<String>) -> Self {
        Self { name: None, fetch: fetch.into(), kind: None }
    }

    /// Names the field.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says how the value is taken.
    #[must_use]
    pub fn of_type(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Reads one as the kernel shows it.
    pub fn parse(text: &str) -> Self {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (Some(name.to_owned()), value),
            None => (None, text),
        };
        // A colon inside brackets or an immediate string belongs to the value.
        let (fetch, kind) = match value.rsplit_once(':') {
            Some((fetch, kind)) if !kind.contains([')', '"']) => (fetch, Some(kind.to_owned())),
            _ => (value, None),
        };
        Self { name, fetch: fetch.to_owned(), kind }
    }
}

impl fmt::Display for FetchArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        f.write_str(&self.fetch)?;
        match &self.kind {
            Some(kind) => write!(f, ":{kind}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_read() {
        let file = FetchArg::new("+0($filename)").named("file").of_type("ustring");
        assert_eq!(file.to_string(), "file=+0($filename):ustring");
        for text in
            ["file=+0($filename):ustring", "%ax", "arg1=%di:x64", "$comm:string", "@jiffies"]
        {
            assert_eq!(FetchArg::parse(text).to_string(), text);
        }
        assert_eq!(FetchArg::parse("a=\\\"x:y\"").kind, None);
    }
}
