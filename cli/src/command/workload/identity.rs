//! `--user`: whom the command runs as.

use std::ffi::CString;
use std::process::Command;

use nix::unistd::{User, getgrouplist};

use crate::error::Error;
use crate::sys::Identity;

/// The user's groups; the environment of `command` becomes the user's too.
///
/// # Errors
/// There is no such user.
pub(super) fn take_on(name: &str, command: &mut Command) -> Result<Identity, Error> {
    let unknown = || {
        Error::usage(format!("--user {name}: there is no such user"))
            .hint("users are listed by 'getent passwd'")
    };
    let user = User::from_name(name).ok().flatten().ok_or_else(unknown)?;
    let login = CString::new(user.name.clone()).map_err(|_| unknown())?;
    let groups = getgrouplist(&login, user.gid).map_err(|_| unknown())?;
    command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.dir);
    Ok(Identity { uid: user.uid, gid: user.gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_bring_their_environment() {
        let mut command = Command::new("true");
        let identity = take_on("root", &mut command).unwrap();
        assert!(identity.uid.is_root() && identity.groups.contains(&identity.gid));
        let mut names: Vec<_> = command.get_envs().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LOGNAME", "USER"]);
        let error = take_on("nobody of this name", &mut command).unwrap_err().to_string();
        assert!(error.contains("no such user"), "{error}");
    }
}
