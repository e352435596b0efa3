//! Trace options, by name.

use crate::error::Error;
use crate::instance::Instance;

impl Instance {
    /// All options with their state, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn trace_options(&self) -> Result<Vec<(String, bool)>, Error> {
        let text = self.file("trace_options").read_text()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        // Some option's own name may begin with "no"; its file tells.
        let state = |word: &&str| match word.strip_prefix("no") {
            Some(name) if !self.file(&format!("options/{word}")).exists() => {
                (name.to_owned(), false)
            }
            _ => ((*word).to_owned(), true),
        };
        Ok(words.iter().map(state).collect())
    }

    /// Whether an option is set.
    ///
    /// # Errors
    /// [`Error::UnknownName`], or what the kernel answers.
    pub fn trace_option(&self, name: &str) -> Result<bool, Error> {
        self.known_option(name)?;
        Ok(self.file(&format!("options/{name}")).read_text()? == "1")
    }

    /// Sets or clears an option.
    ///
    /// # Errors
    /// [`Error::UnknownName`], or what the kernel answers.
    pub fn set_trace_option(&self, name: &str, on: bool) -> Result<(), Error> {
        self.known_option(name)?;
        self.file(&format!("options/{name}")).write(if on { "1" } else { "0" })
    }

    fn known_option(&self, name: &str) -> Result<(), Error> {
        let plain = !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
        if plain && self.file(&format!("options/{name}")).exists() {
            return Ok(());
        }
        let available = self.trace_options()?.into_iter().map(|(name, _)| name).collect();
        Err(Error::UnknownName { kind: "trace option", name: name.to_owned(), available })
    }
}
