//! The kernel's `error_log`: why it did not accept a command, and at which place.

use std::fmt;

/// What the kernel puts before the command in each entry.
const COMMAND: &str = "  Command: ";

/// What filters say when a word is no field; they point behind it.
const FIELD_NOT_FOUND: &str = "Field not found";

/// Commands shorter than this are found in others by chance.
const TELLING: usize = 3;

/// One entry of `error_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which part of the kernel complains: `hist:sched:sched_switch`, `trace_kprobe`.
    pub source: String,
    /// What the kernel complains about: `Field not found`.
    pub message: String,
    /// The command it was given.
    pub command: String,
    /// Byte in `command` the kernel points at.
    pub position: usize,
}

impl Explanation {
    /// Reads all entries of the text of `error_log`, oldest first.
    pub fn parse(log: &str) -> Vec<Self> {
        let mut entries = Vec::new();
        let mut heading = None;
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(text) = line.strip_prefix(COMMAND) {
                let caret = lines.peek().and_then(|next| next.find('^'));
                let position = caret.map_or(0, |column| column.saturating_sub(COMMAND.len()));
                if let Some((source, message)) = heading.take() {
                    let command = text.to_owned();
                    let mut entry = Self { source, message, command, position };
                    if entry.message == FIELD_NOT_FOUND {
                        entry.point_at_word();
                    }
                    entries.push(entry);
                }
            } else if line.starts_with('[')
                && let Some((_, rest)) = line.split_once("] ")
                && let Some((source, message)) = rest.split_once(": error: ")
            {
                // Filters say "error" twice.
                let message = message.trim_start_matches("error: ");
                heading = Some((source.to_owned(), message.to_owned()));
            }
        }
        entries
    }

    /// Finds the newest entry that is about `command`. The kernel logs some commands without
    /// what stands before or after, or cut off; the entry found is about the whole of it.
    pub fn find(log: &str, command: &str) -> Option<Self> {
        let command = command.trim();
        Self::parse(log).into_iter().rev().find_map(|entry| entry.within(command))
    }

    /// Goes back from the sign behind a word to the word.
    fn point_at_word(&mut self) {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let Some((before, after)) = self.command.split_at_checked(self.position) else { return };
        if after.starts_with(is_word) {
            return;
        }
        let before = before.trim_end();
        let word = before.rsplit(|c| !is_word(c)).next().unwrap_or_default();
        if !word.is_empty() {
            self.position = before.len() - word.len();
        }
    }

    /// This entry, told of `command`, of which the kernel may have logged a part.
    fn within(self, command: &str) -> Option<Self> {
        let logged = self.command.trim();
        if logged != command && logged.len() < TELLING {
            return None;
        }
        let begin = command.find(logged)?;
        let position = (begin + self.position).min(command.len());
        Some(Self { command: command.to_owned(), position, ..self })
    }

    /// The part of the command the kernel points at: up to the next space, or the next sign that
    /// separates the parts of a trigger.
    pub fn token(&self) -> &str {
        let rest = self.command.get(self.position..).unwrap_or_default();
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_whitespace() || matches!(c, ',' | ':' | ';' | '(' | ')'))
            .map_or(rest.len(), |(index, _)| index);
        rest.get(..end).unwrap_or_default().trim()
    }

    /// The command, and below it a caret at the place the kernel points at.
    pub fn pointed(&self) -> String {
        let before = self.command.get(..self.position).unwrap_or_default();
        format!("{}\n{:width$}^", self.command, "", width = before.chars().count())
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
    use proptest::prelude::*;

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
[  103.000001] trace_kprobe: error: Failed to register probe event
  Command: p:kprobes/mine nosuch arg=%ax
                          ^
[  104.000001] synthetic_events: error: Illegal synthetic event field type
  Command: lat u46 us
               ^
";

    #[test]
    fn newest_entry_about_the_command_is_found_with_its_place() {
        let found = Explanation::find(LOG, "pid == 1 && bar > 3").unwrap();
        assert_eq!(found.message, "Field not found");
        assert_eq!(found.to_string(), "Field not found, at \"bar\"");
        let hist = Explanation::find(LOG, "hist:keys=pdi").unwrap();
        assert_eq!(hist.to_string(), "Couldn't find field, at \"pdi\"");
        assert_eq!(hist.source, "hist:sched:sched_switch");
    }

    #[test]
    fn a_caret_stands_below_the_offending_word() {
        let probe = Explanation::find(LOG, "p:kprobes/mine nosuch arg=%ax\n").unwrap();
        assert_eq!(probe.to_string(), "Failed to register probe event, at \"nosuch\"");
        let lines = "p:kprobes/mine nosuch arg=%ax\n               ^";
        assert_eq!(probe.pointed(), lines);
    }

    #[test]
    fn a_part_that_was_logged_is_found_in_the_whole() {
        let synthetic = Explanation::find(LOG, "s:lat u46 us").unwrap();
        assert_eq!(synthetic.token(), "u46");
        assert_eq!(synthetic.pointed(), "s:lat u46 us\n      ^");
        let hist = Explanation::find(LOG, "hist:keys=pdi:sort=pid if pid > 1").unwrap();
        assert_eq!(hist.token(), "pdi");
    }

    #[test]
    fn entries_about_other_commands_explain_nothing() {
        assert_eq!(Explanation::find(LOG, "prio > 3"), None);
        assert_eq!(Explanation::find("  Command: x\n", "x"), None);
        assert_eq!(Explanation::find("[garbage", ""), None);
        let short = "[ 1.0] x: error: y\n  Command: p\n  ^\n";
        assert_eq!(Explanation::find(short, "prio > 3"), None);
    }

    #[test]
    fn a_place_outside_the_command_is_no_place() {
        let log = "[ 1.0] x: error: y\n  Command: p\u{e4}x\n             ^     \n";
        let found = Explanation::find(log, "p\u{e4}x").unwrap();
        assert_eq!(found.token(), "", "in the middle of a character");
        assert!(found.pointed().starts_with("p\u{e4}x\n"));
    }

    proptest! {
        #[test]
        fn any_log_is_read_and_points_into_its_command(
            message in "[ -~]{0,20}",
            command in any::<String>(),
            column in 0usize..60,
        ) {
            let log = format!("[ 1.0] x: error: {message}\n  Command: {command}\n{:column$}^\n", "");
            for entry in Explanation::parse(&log) {
                prop_assert!(entry.pointed().ends_with('^'));
                prop_assert!(entry.command.contains(entry.token()));
            }
        }
    }
}
