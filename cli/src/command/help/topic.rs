//! What there is to say about more than one command; the first line of a text is its title.

/// A topic of `help`, and a section of the man page.
pub(in crate::command) struct Topic {
    pub(in crate::command) name: &'static str,
    pub(in crate::command) text: &'static str,
}

macro_rules! topics {
    ($($name:literal),* $(,)?) => {
        &[$(Topic { name: $name, text: include_str!(concat!("topics/", $name, ".txt")) }),*]
    };
}

/// All topics, in the order in which they are listed.
pub(in crate::command) const TOPICS: &[Topic] = topics![
    "recording",
    "filters",
    "guests",
    "network",
    "clocks",
    "losses",
    "programs",
    "exit-codes",
    "environment",
    "files",
    "trace.dat",
];

impl Topic {
    /// What it is about, in a few words.
    pub(in crate::command) fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The text below the title.
    pub(in crate::command) fn body(&self) -> &'static str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_a_title_and_fit_on_a_terminal() {
        for topic in TOPICS {
            assert!(!topic.title().is_empty() && !topic.body().is_empty(), "{}", topic.name);
            for line in topic.text.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", topic.name);
            }
        }
    }
}
