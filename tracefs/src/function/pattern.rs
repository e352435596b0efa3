//! Names of functions as people give them: globs, regular expressions, modules.

use std::fmt;

use regex_lite::Regex;

use crate::error::Error;

/// Functions by name, by glob or by regular expression, of the whole kernel or of one module.
#[derive(Clone, Debug)]
pub struct FunctionPattern {
    text: String,
    module: Option<String>,
    /// Where the kernel's globs do not do.
    regex: Option<Regex>,
}

impl FunctionPattern {
    /// Takes a pattern: a glob if it has letters, digits, `_`, `*`, `?` and `.` only, else a
    /// regular expression that matches anywhere in a name. An ending `:mod:NAME` means functions
    /// of that module.
    ///
    /// # Errors
    /// [`Error::InvalidPattern`] for what is no regular expression either.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text.split_once(":mod:") {
            Some((pattern, module)) => Self::new(pattern, Some(module)),
            None => Self::new(text, None),
        }
    }

    /// Takes a pattern as [`parse`](Self::parse) does, for functions of `module` only.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`Error::InvalidName`] for the module.
    pub fn of_module(text: &str, module: &str) -> Result<Self, Error> {
        Self::new(text, Some(module))
    }

    fn new(text: &str, module: Option<&str>) -> Result<Self, Error> {
        if let Some(name) = module
            && (name.is_empty() || !name.bytes().all(|byte| is_plain(byte) || byte == b'-'))
        {
            return Err(Error::InvalidName { kind: "a module", name: name.to_owned() });
        }
        // A module alone stands for all of its functions.
        let text = if text.is_empty() && module.is_some() { "*" } else { text };
        if text.is_empty() {
            return Err(Error::InvalidName { kind: "a function", name: String::new() });
        }
        let regex = if text.bytes().all(is_plain) {
            None
        } else {
            Some(Regex::new(text).map_err(|source| Error::InvalidPattern {
                pattern: text.to_owned(),
                source: Box::new(source),
            })?)
        };
        Ok(Self { text: text.to_owned(), module: module.map(str::to_owned), regex })
    }

    /// The word the kernel takes, if it matches this pattern itself.
    pub fn glob(&self) -> Option<String> {
        self.regex.is_none().then(|| self.to_string())
    }

    /// The functions a regular expression matches, of the text of `available_filter_functions`;
    /// none for a glob.
    pub fn expand(&self, available: &str) -> Vec<String> {
        let Some(regex) = &self.regex else { return Vec::new() };
        let mut names = Vec::new();
        for line in available.lines() {
            let (name, module) = match line.split_once([' ', '\t']) {
                Some((name, rest)) => (name, rest.trim().strip_prefix('[')),
                None => (line, None),
            };
            let module = module.and_then(|rest| rest.split(']').next());
            let wanted = self.module.is_none() || self.module.as_deref() == module;
            if wanted && !name.is_empty() && regex.is_match(name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

impl fmt::Display for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.module {
            Some(module) => write!(f, ":mod:{module}"),
            None => Ok(()),
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'*' | b'?' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVAILABLE: &str =
        "schedule\nschedule_tail\nkvm_init [kvm]\nkvm_exit [kvm]\nvmx [kvm_intel]";

    #[test]
    fn globs_go_to_the_kernel_as_they_are() {
        for text in ["schedule", "sched*", "*.isra.?", "kvm_*:mod:kvm"] {
            assert_eq!(FunctionPattern::parse(text).unwrap().glob().as_deref(), Some(text));
        }
        let module = FunctionPattern::of_module("", "kvm").unwrap();
        assert_eq!(module.glob().as_deref(), Some("*:mod:kvm"));
    }

    #[test]
    fn regular_expressions_become_names() {
        let pattern = FunctionPattern::parse("^schedule$").unwrap();
        assert_eq!(pattern.glob(), None);
        assert_eq!(pattern.expand(AVAILABLE), ["schedule"]);
        let pattern = FunctionPattern::parse("init|exit|tail").unwrap();
        assert_eq!(pattern.expand(AVAILABLE), ["schedule_tail", "kvm_init", "kvm_exit"]);
    }

    #[test]
    fn regular_expressions_keep_to_their_module() {
        let pattern = FunctionPattern::of_module("^(vmx|kvm_init)", "kvm").unwrap();
        assert_eq!(pattern.expand(AVAILABLE), ["kvm_init"]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        assert!(matches!(FunctionPattern::parse("(x"), Err(Error::InvalidPattern { .. })));
        assert!(matches!(FunctionPattern::parse(""), Err(Error::InvalidName { .. })));
        assert!(matches!(FunctionPattern::of_module("x", "a b"), Err(Error::InvalidName { .. })));
    }
}
