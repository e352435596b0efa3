//! What a guest lets its host do, as far as it is not about what is recorded: which commands run, and as whom.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::protocol::RefuseCode;

/// Which commands the host may run in this guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExecPolicy {
    /// None: the default.
    #[default]
    Deny,
    /// Any.
    Any,
    /// Those whose first word is exactly one of these.
    Only(Vec<String>),
}

impl ExecPolicy {
    /// Whether this command may run.
    #[must_use]
    pub fn allows(&self, command: &[String]) -> bool {
        match (self, command.first()) {
            (Self::Deny, _) | (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Only(allowed), Some(program)) => allowed.contains(program),
        }
    }

    /// Why this command may not run, in words for the host.
    pub(crate) fn check(&self, command: &[String]) -> Result<(), Refusal> {
        if self.allows(command) {
            return Ok(());
        }
        let program = command.first().map_or("", String::as_str);
        Err(Refusal::not_allowed(match self {
            Self::Only(allowed) => {
                format!(
                    "this guest does not allow {program:?} to be run, only {}",
                    allowed.join(", ")
                )
            }
            _ => {
                "this guest does not allow commands to be run (it was started without --allow-exec)"
                    .to_owned()
            }
        }))
    }
}

/// Whom the host's commands run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecUser {
    pub(super) name: String,
    pub(super) home: PathBuf,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// Why commands cannot run as somebody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecUserError {
    /// Nobody has this name or number.
    #[error("there is no user {name:?}")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The client may not become somebody else.
    #[error("only root may run commands as another user, {name:?}")]
    NotRoot {
        /// Who was asked for.
        name: String,
    },
    /// Users cannot be looked up.
    #[error("looking up user {name:?}")]
    Lookup {
        /// Who was asked for.
        name: String,
        /// What the system said.
        source: nix::Error,
    },
}

impl ExecUser {
    /// A user by name or number, with all groups.
    ///
    /// # Errors
    ///
    /// There is no such user, or this process may not become it.
    pub fn find(name: &str) -> Result<Self, ExecUserError> {
        let failed = |source| ExecUserError::Lookup { name: name.to_owned(), source };
        let unknown = || ExecUserError::Unknown { name: name.to_owned() };
        let user = match name.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(name),
        };
        let user = user.map_err(failed)?.ok_or_else(unknown)?;
        let me = nix::unistd::geteuid();
        if !me.is_root() && me != user.uid {
            return Err(ExecUserError::NotRoot { name: user.name });
        }
        let login = CString::new(user.name.clone()).map_err(|_| unknown())?;
        let groups = getgrouplist(&login, user.gid).map_err(failed)?;
        Ok(Self { name: user.name, home: user.dir, uid: user.uid, gid: user.gid, groups })
    }
}

/// Why a request of the host is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A number that programs can act on.
    pub code: RefuseCode,
    /// A text for the person at the host.
    pub reason: String,
}

impl Refusal {
    /// The guest's policy does not allow it.
    #[must_use]
    pub fn not_allowed(reason: impl Into<String>) -> Self {
        Self { code: RefuseCode::NOT_ALLOWED, reason: reason.into() }
    }

    /// Another recording is in the way.
    #[must_use]
    pub fn busy(reason: impl Into<String>) -> Self {
        Self { code: RefuseCode::BUSY, reason: reason.into() }
    }

    /// It cannot be done.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { code: RefuseCode::FAILED, reason: reason.into() }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::failed(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands_are_allowed_by_their_first_word_as_it_is() {
        assert!(!ExecPolicy::default().allows(&words("true")));
        assert!(ExecPolicy::Any.allows(&words("rm -r x")));
        assert!(!ExecPolicy::Any.allows(&[]));
        let some = ExecPolicy::Only(words("ls /usr/bin/stress"));
        assert!(some.allows(&words("ls -l")));
        assert!(some.allows(&words("/usr/bin/stress")));
        for other in ["/tmp/ls", "stress", "lsof", "sh -c ls", "./ls"] {
            assert!(!some.allows(&words(other)), "{other}");
        }
    }

    #[test]
    fn refusals_name_the_command_and_what_would_be_allowed() {
        let refusal = ExecPolicy::Deny.check(&words("ls")).unwrap_err();
        assert_eq!(refusal.code, RefuseCode::NOT_ALLOWED);
        assert!(refusal.reason.contains("--allow-exec"), "{}", refusal.reason);
        let refusal = ExecPolicy::Only(words("ls id")).check(&words("rm -r")).unwrap_err();
        assert_eq!(refusal.reason, "this guest does not allow \"rm\" to be run, only ls, id");
        assert!(ExecPolicy::Any.check(&words("rm")).is_ok());
    }

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let me = User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
        let found = ExecUser::find(&me.name).unwrap();
        assert_eq!((found.uid, found.gid, &found.home), (me.uid, me.gid, &me.dir));
        assert!(found.groups.contains(&me.gid));
        assert_eq!(ExecUser::find(&me.uid.to_string()).unwrap(), found);
        let error = ExecUser::find("nobody of this name").unwrap_err();
        assert!(matches!(error, ExecUserError::Unknown { .. }), "{error}");
    }
}
