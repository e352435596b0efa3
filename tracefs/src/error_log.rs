//! The kernel's `error_log`: why it did not accept a command, and at which place.

use std::fmt;

/// One entry of `error_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the kernel complains about: `Field not found`.
    pub message: String,
    /// The command it was given.
    pub command: String,
    /// Byte in `command` the kernel points at.
    pub position: usize,
}

impl Explanation {
    /// Reads the newest entry that is about `command`, from the text of `error_log`.
    pub fn find(log: &str, command: &str) -> Option<Self> {
        let mut newest = None;
        let mut message = None;
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(text) = line.strip_prefix("  Command: ") {
                let caret = lines.peek().and_then(|next| next.find('^'));
                let position = caret.map_or(0, |column| column.saturating_sub("  Command: ".len()));
                if let Some(message) = message.take()
                    && text.trim() == command.trim()
                {
                    newest = Some(Self { message, command: text.to_owned(), position });
                }
            } else if line.starts_with('[')
                && let Some((_, text)) = line.split_once("error: ")
            {
                message = Some(text.rsplit("error: ").next().unwrap_or(text).to_owned());
            }
        }
        newest
    }

    /// The part of the command the kernel points at, up to the next space.
    pub fn token(&self) -> &str {
        let rest = self.command.get(self.position..).unwrap_or_default();
        rest.split_whitespace().next().unwrap_or_default()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.token() {
            "" => Ok(()),
            token => write!(f, ", at {token:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[  100.000001] event filter parse error: error: Field not found
  Command: foo == 1
           ^
[  101.000001] hist:sched:sched_switch: error: Couldn't find field
  Command: hist:keys=pdi
                     ^
[  102.000001] event filter parse error: error: Field not found
  Command: pid == 1 && bar > 3
                       ^
";

    #[test]
    fn newest_entry_about_the_command_is_found_with_its_place() {
        let found = Explanation::find(LOG, "pid == 1 && bar > 3").unwrap();
        assert_eq!(found.message, "Field not found");
        assert_eq!(found.to_string(), "Field not found, at \"bar\"");
        let hist = Explanation::find(LOG, "hist:keys=pdi").unwrap();
        assert_eq!(hist.to_string(), "Couldn't find field, at \"pdi\"");
    }

    #[test]
    fn entries_about_other_commands_explain_nothing() {
        assert_eq!(Explanation::find(LOG, "prio > 3"), None);
        assert_eq!(Explanation::find("  Command: x\n", "x"), None);
        assert_eq!(Explanation::find("[garbage", ""), None);
    }
}
