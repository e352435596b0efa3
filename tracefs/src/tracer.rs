//! Tracers: which there are, and which one runs.

use crate::error::Error;
use crate::instance::Instance;

impl Instance {
    /// Names of the tracers this kernel has.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn available_tracers(&self) -> Result<Vec<String>, Error> {
        let text = self.tracing_dir().file("available_tracers").read_text()?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// The tracer in use; `nop` means none.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn current_tracer(&self) -> Result<String, Error> {
        self.file("current_tracer").read_text()
    }

    /// Sets the tracer.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the tracers there are, [`Error::Refused`] under lockdown, or
    /// what else the kernel answers.
    pub fn set_current_tracer(&self, name: &str) -> Result<(), Error> {
        let available = self.available_tracers()?;
        if !available.iter().any(|tracer| tracer == name) {
            return Err(Error::UnknownName { kind: "tracer", name: name.to_owned(), available });
        }
        self.file("current_tracer").write(name)
    }
}
