//! Names of guests.

use std::fmt;

use super::SetupError;

/// The name of a guest, checked: it can be a directory's name and leads nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestName(String);

impl GuestName {
    /// Takes 1 to 200 bytes without `/` or control characters, that do not start with `.` or `-`.
    ///
    /// # Errors
    ///
    /// [`SetupError::Name`] with what is wrong.
    pub fn new(name: &str) -> Result<Self, SetupError> {
        let why = if name.is_empty() {
            "is empty"
        } else if name.len() > 200 {
            "is longer than 200 bytes"
        } else if name.contains('/') {
            "has a slash"
        } else if name.chars().any(char::is_control) {
            "has a control character"
        } else if name.starts_with(['.', '-']) {
            "starts with a dot or a dash"
        } else if matches!(name, super::CONTROL_PORT | "server-ctl") {
            "is that of a socket"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(SetupError::Name { name: name.to_owned(), why })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../other",
            "a/b",
            "/etc",
            "-c",
            ".hidden",
            "a\nb",
            "a\0b",
            "server-ctl",
        ] {
            assert!(matches!(GuestName::new(name), Err(SetupError::Name { .. })), "{name:?}");
        }
        for name in ["guest1", "web.example.org", "Fedora 38", "g_1-2", "käse"] {
            assert_eq!(GuestName::new(name).unwrap().as_str(), name);
        }
    }
}
