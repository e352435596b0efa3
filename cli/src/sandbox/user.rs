//! Another user than root.

use std::ffi::CString;

use nix::unistd::{User, initgroups, setgid, setuid};

use crate::error::Error;

/// Whom a process becomes.
#[derive(Debug)]
pub(crate) struct NewUser(User);

impl NewUser {
    /// Looks a user up.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn find(name: &str) -> Result<Self, Error> {
        let found = User::from_name(name).map_err(|error| failed(name, error))?;
        found.map(Self).ok_or_else(|| Error::usage(format!("there is no user '{name}'")))
    }

    /// Becomes this user, with its groups, for good.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn become_it(&self) -> Result<(), Error> {
        let Self(User { name, uid, gid, .. }) = self;
        let text = CString::new(name.as_str()).map_err(|_| Error::usage("a user's name"))?;
        let changed =
            initgroups(&text, *gid).and_then(|()| setgid(*gid)).and_then(|()| setuid(*uid));
        changed.map_err(|error| failed(name, error))
    }
}

fn failed(name: &str, error: nix::Error) -> Error {
    Error::failure(format!("cannot become user '{name}'")).because(error)
}
