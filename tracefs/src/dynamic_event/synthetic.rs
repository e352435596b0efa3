//! Synthetic events: what histograms make of two other events.

use std::fmt;

use super::is_identifier;

/// A synthetic event: `lat pid_t pid; u64 us`.
///
/// # Kernel support
/// Since Linux 4.17, with `CONFIG_SYNTH_EVENTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticEvent {
    /// Its name; it is in the system `synthetic`.
    pub name: String,
    /// Its fields; one at least.
    pub fields: Vec<SyntheticField>,
}

/// A field of a synthetic event: `char comm[16]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticField {
    /// Its C type: `u64`, `pid_t`, `char`, `unsigned long`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What is in brackets behind the name, for arrays: `16`, or nothing for a string of any
    /// length.
    pub array: Option<String>,
}

impl SyntheticEvent {
    /// An event without fields yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        self.fields.push(SyntheticField { kind: kind.into(), name: name.into(), array: None });
        self
    }

    /// Reads what stands behind `s:`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, fields) = text.split_once(char::is_whitespace)?;
        let name = name.strip_prefix("synthetic/").unwrap_or(name);
        let fields = fields.split(';').map(str::trim).filter(|field| !field.is_empty());
        let fields = fields.map(SyntheticField::parse).collect::<Option<Vec<_>>>()?;
        // The kernel has none without fields, and no other names.
        (is_identifier(name) && !fields.is_empty()).then(|| Self { name: name.to_owned(), fields })
    }
}

impl SyntheticField {
    /// Reads a declaration as of C: `unsigned long x`, `char comm[16]`, `char[] file`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.trim().rsplit_once(char::is_whitespace)?;
        let (kind, name) = (kind.trim(), name.trim());
        let bracket = |text: &str| {
            let (before, rest) = text.split_once('[')?;
            Some((before.trim().to_owned(), rest.strip_suffix(']')?.trim().to_owned()))
        };
        let (kind, name, array) = match (bracket(kind), bracket(name)) {
            (_, Some((name, array))) => (kind.to_owned(), name, Some(array)),
            (Some((kind, array)), None) => (kind, name.to_owned(), Some(array)),
            (None, None) => (kind.to_owned(), name.to_owned(), None),
        };
        let has_brackets = |text: &String| text.contains(['[', ']']);
        let size = array.as_ref();
        let is_odd =
            size.is_some_and(|size| has_brackets(size) || size.contains(char::is_whitespace));
        let is_plain = !is_odd && !has_brackets(&kind) && !has_brackets(&name);
        (is_plain && !kind.is_empty() && !name.is_empty()).then_some(Self { kind, name, array })
    }
}

impl fmt::Display for SyntheticEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (index, field) in self.fields.iter().enumerate() {
            write!(f, "{} {field}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Display for SyntheticField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        match &self.array {
            Some(array) => write!(f, "[{array}]"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_declared_as_in_c() {
        let event = SyntheticEvent::new("lat").field("pid_t", "pid").field("u64", "us");
        assert_eq!(event.to_string(), "lat pid_t pid; u64 us");
        assert_eq!(SyntheticEvent::parse("synthetic/lat pid_t pid; u64 us"), Some(event));
        for (text, written) in [
            ("char comm[16]", "char comm[16]"),
            ("char[] file", "char file[]"),
            ("unsigned  long x", "unsigned  long x"),
        ] {
            assert_eq!(SyntheticField::parse(text).unwrap().to_string(), written);
        }
        for odd in ["lat", "lat ", "lat ;", "synthetic/a/b u64 us", " u64 us", "1st u64 us"] {
            assert_eq!(SyntheticEvent::parse(odd), None, "{odd:?}");
        }
        for odd in ["", "u64", "u64 ", " [3]", "char[1 6] x", "char [3] x[4]", "char x[[3]"] {
            assert_eq!(SyntheticField::parse(odd), None, "{odd:?}");
        }
    }
}
