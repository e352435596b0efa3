//! How many names of tasks the kernel keeps.

use crate::error::Error;
use crate::tracing_dir::TracingDir;

impl TracingDir {
    /// How many names of tasks the kernel keeps for its traces.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn saved_cmdlines_size(&self) -> Result<u64, Error> {
        self.file("saved_cmdlines_size").read_number()
    }

    /// Sets how many names of tasks the kernel keeps; those it has are forgotten.
    ///
    /// # Errors
    /// `EINVAL` for 0, or what else the kernel answers.
    pub fn set_saved_cmdlines_size(&self, count: u64) -> Result<(), Error> {
        self.file("saved_cmdlines_size").write(&count.to_string())
    }
}
