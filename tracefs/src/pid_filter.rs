//! Which tasks are traced, and which are not.

use crate::error::Error;
use crate::instance::Instance;

/// A list of tasks that events or functions are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidFilter {
    /// Events of these tasks only: `set_event_pid`.
    Only,
    /// Events of all tasks but these: `set_event_notrace_pid`, since Linux 5.7.
    Except,
    /// Functions are traced in these tasks only: `set_ftrace_pid`.
    FunctionsOnly,
    /// Functions are traced in all tasks but these: `set_ftrace_notrace_pid`, since Linux 5.7.
    FunctionsExcept,
}

impl PidFilter {
    /// All lists, in the order of their declaration.
    pub const ALL: [Self; 4] =
        [Self::Only, Self::Except, Self::FunctionsOnly, Self::FunctionsExcept];

    /// Name of the control file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Only => "set_event_pid",
            Self::Except => "set_event_notrace_pid",
            Self::FunctionsOnly => "set_ftrace_pid",
            Self::FunctionsExcept => "set_ftrace_notrace_pid",
        }
    }
}

impl Instance {
    /// The tasks of a list, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn pid_filter(&self, filter: PidFilter) -> Result<Vec<i32>, Error> {
        let text = self.file(filter.file_name()).read_text()?;
        Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// Replaces a list; an empty one filters nothing.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_pid_filter(&self, filter: PidFilter, pids: &[i32]) -> Result<(), Error> {
        let file = self.file(filter.file_name());
        if pids.is_empty() { file.clear() } else { file.write(&words(pids)) }
    }

    /// Adds tasks to a list.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn add_to_pid_filter(&self, filter: PidFilter, pids: &[i32]) -> Result<(), Error> {
        if pids.is_empty() {
            return Ok(());
        }
        self.file(filter.file_name()).append(&words(pids))
    }
}

fn words(pids: &[i32]) -> String {
    pids.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
}
