//! Function filters: which functions the function tracers see, and what calling one does.

mod command;
mod pattern;

pub(crate) use command::removal_of_shown_command;
pub use command::{FunctionAction, FunctionCommand};
pub use pattern::FunctionPattern;

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::event_pattern::nearest_names;
use crate::instance::Instance;

/// The trace option that records stacks with functions.
pub(crate) const FUNCTION_STACKS: &str = "func_stack_trace";

/// A list of functions that the function tracers are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FunctionList {
    /// Only these are traced: `set_ftrace_filter`.
    Filter,
    /// These are not traced: `set_ftrace_notrace`.
    Notrace,
    /// Graphs begin at these: `set_graph_function`. One list for all instances.
    Graph,
    /// Graphs leave these and what they call out: `set_graph_notrace`. One list for all instances.
    GraphNotrace,
}

impl FunctionList {
    /// All lists, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Filter, Self::Notrace, Self::Graph, Self::GraphNotrace];

    /// Name of the control file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Filter => "set_ftrace_filter",
            Self::Notrace => "set_ftrace_notrace",
            Self::Graph => "set_graph_function",
            Self::GraphNotrace => "set_graph_notrace",
        }
    }
}

impl Instance {
    /// The control file of a list; lists of graphs stand in the tracing directory itself.
    pub fn function_file(&self, list: FunctionList) -> ControlFile {
        match list {
            FunctionList::Filter | FunctionList::Notrace => self.file(list.file_name()),
            FunctionList::Graph | FunctionList::GraphNotrace => {
                self.tracing_dir().file(list.file_name())
            }
        }
    }

    /// The functions of a list, without the modules they are in; an empty list filters nothing.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn functions(&self, list: FunctionList) -> Result<Vec<String>, Error> {
        Ok(parse_functions(&self.function_file(list).read_text()?))
    }

    /// The commands that stand in `set_ftrace_filter`, as the kernel shows them:
    /// `schedule:traceoff:count=3`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn function_commands(&self) -> Result<Vec<String>, Error> {
        let text = self.function_file(FunctionList::Filter).read_text()?;
        Ok(parse_commands(&text))
    }

    /// Every function that can be traced, as the kernel lists it: `NAME`, or `NAME [MODULE]`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn available_functions(&self) -> Result<String, Error> {
        self.tracing_dir().file("available_filter_functions").read_text()
    }

    /// What a pattern stands for, as words that the kernel takes: a glob is one, a regular
    /// expression is expanded to the functions it matches.
    ///
    /// # Errors
    /// [`Error::UnknownFunction`] when a regular expression matches nothing, or what the kernel
    /// answers for `available_filter_functions`.
    pub fn resolve_functions(&self, pattern: &FunctionPattern) -> Result<Vec<String>, Error> {
        if let Some(word) = pattern.glob() {
            return Ok(vec![word]);
        }
        let names = pattern.expand(&self.available_functions()?);
        if names.is_empty() {
            let pattern = pattern.to_string();
            return Err(Error::UnknownFunction { pattern, nearest: Vec::new() });
        }
        Ok(names)
    }

    /// Of words that the kernel refused, the first that is the name of no function, as an
    /// [`Error::UnknownFunction`] with the names nearest to it; nothing when it was not for that.
    pub fn unknown_function(&self, words: &[String]) -> Option<Error> {
        let names = parse_functions(&self.available_functions().ok()?);
        let is_plain = |word: &&String| !word.contains(['*', '?', '[', ':', '!']);
        let unknown = words.iter().filter(is_plain).find(|word| !names.contains(word))?;
        let nearest = nearest_names(names, unknown);
        Some(Error::UnknownFunction { pattern: unknown.clone(), nearest })
    }

    /// Adds functions to a list.
    ///
    /// # Errors
    /// [`Error::Control`] with `EINVAL` when the kernel knows no such function, [`Error::Refused`]
    /// under lockdown, or what else the kernel answers.
    pub fn add_functions(&self, list: FunctionList, words: &[String]) -> Result<(), Error> {
        self.function_file(list).append_lines(words)
    }

    /// Replaces a list; an empty one filters nothing. Commands stay as they are.
    ///
    /// # Errors
    /// As [`add_functions`](Self::add_functions).
    pub fn set_functions(&self, list: FunctionList, words: &[String]) -> Result<(), Error> {
        self.function_file(list).clear()?;
        self.add_functions(list, words)
    }

    /// Has the kernel do something whenever a function is called.
    ///
    /// # Errors
    /// What the kernel answers.
    ///
    /// # Kernel support
    /// In named instances since Linux 4.12.
    pub fn add_function_command(&self, command: &FunctionCommand) -> Result<(), Error> {
        self.function_file(FunctionList::Filter).append_line(&command.to_string())
    }

    /// Takes a command away again.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn remove_function_command(&self, command: &FunctionCommand) -> Result<(), Error> {
        self.function_file(FunctionList::Filter).append_line(&command.removal())
    }

    /// Records a stack trace with every function the function tracer sees, or not. The tracer has
    /// to run already.
    ///
    /// # Errors
    /// [`Error::UnfilteredStacks`] when no function is filtered in the top-level instance: a stack
    /// trace of every function call of the kernel brings the machine to a halt.
    /// [`Error::UnknownName`] when the tracer does not run, or what else the kernel answers.
    pub fn set_function_stacks(&self, on: bool) -> Result<(), Error> {
        self.check_function_stacks(on)?;
        self.set_trace_option(FUNCTION_STACKS, on)
    }

    pub(crate) fn check_function_stacks(&self, on: bool) -> Result<(), Error> {
        if on && self.name().is_none() && self.functions(FunctionList::Filter)?.is_empty() {
            return Err(Error::UnfilteredStacks);
        }
        Ok(())
    }

    /// How deep calls are followed by the function graph tracer; 0 means without limit. One value
    /// for all instances.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn max_graph_depth(&self) -> Result<u64, Error> {
        self.tracing_dir().file("max_graph_depth").read_number()
    }

    /// Sets how deep calls are followed; 0 for no limit.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_max_graph_depth(&self, depth: u64) -> Result<(), Error> {
        self.tracing_dir().file("max_graph_depth").write(&depth.to_string())
    }
}

/// Reads names; `#### all functions enabled ####` is none, and commands have a colon.
fn parse_functions(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains(':'));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn parse_commands(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(':'));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracing_dir::TracingDir;
    use tempfile::TempDir;

    const SHOWN: &str = "\
schedule
kvm_vcpu_block [kvm]
do_exit:traceoff:unlimited
schedule:stacktrace:count=3
";

    #[test]
    fn functions_are_told_from_commands() {
        assert_eq!(parse_functions(SHOWN), ["schedule", "kvm_vcpu_block"]);
        let commands = ["do_exit:traceoff:unlimited", "schedule:stacktrace:count=3"];
        assert_eq!(parse_commands(SHOWN), commands);
    }

    #[test]
    fn a_word_that_is_no_function_is_answered_with_names_like_it() {
        let temp = TempDir::new().unwrap();
        let top = TracingDir::at(temp.path()).top();
        let words = ["vfs_*", "vfs_raed"].map(str::to_owned);
        // Where functions cannot be listed nothing can be said.
        assert!(top.unknown_function(&words).is_none());
        let list = temp.path().join("available_filter_functions");
        std::fs::write(list, "vfs_read\nvfs_write\nkvm_exit [kvm]\n").unwrap();
        let said = top.unknown_function(&words).unwrap().to_string();
        assert_eq!(said, "no function matches 'vfs_raed'; did you mean vfs_read?");
        assert!(top.unknown_function(&["kvm_exit".to_owned()]).is_none());
    }

    #[test]
    fn stacks_of_all_functions_are_refused() {
        let temp = TempDir::new().unwrap();
        let top = TracingDir::at(temp.path()).top();
        let option = temp.path().join("options/func_stack_trace");
        std::fs::create_dir(temp.path().join("options")).unwrap();
        std::fs::write(&option, "0").unwrap();
        let filter = temp.path().join("set_ftrace_filter");
        std::fs::write(&filter, "#### all functions enabled ####\n").unwrap();
        assert!(matches!(top.set_function_stacks(true), Err(Error::UnfilteredStacks)));
        top.set_function_stacks(false).unwrap();
        std::fs::write(&filter, "schedule\n").unwrap();
        top.set_function_stacks(true).unwrap();
        assert_eq!(std::fs::read_to_string(&option).unwrap(), "1");
    }

    #[test]
    fn the_words_for_nothing_are_no_functions() {
        let text = "#### all functions enabled ####\nschedule:traceon:unlimited\n";
        assert_eq!(parse_functions(text), [""; 0]);
        assert_eq!(parse_commands("#### all functions enabled ####"), [""; 0]);
    }
}
