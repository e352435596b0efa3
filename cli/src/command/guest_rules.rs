//! What a guest lets its host do: options of those who obey, `virt-server --client` and `agent`.

use clap::{Arg, ArgAction, ArgMatches};
use trace_virt::client::{ExecPolicy, ExecUser};

use super::record::guest_policy::{EventRule, GuestPolicy};
use crate::error::Error;

/// The options.
pub(super) fn args() -> [Arg; 5] {
    [
        Arg::new("allow-exec")
            .long("allow-exec")
            .value_name("COMMAND,...")
            .num_args(0..=1)
            .require_equals(true)
            .value_delimiter(',')
            .help("Let the host run these commands here; without a list, any"),
        Arg::new("no-exec")
            .long("no-exec")
            .action(ArgAction::SetTrue)
            .help("Let the host run nothing here (the default; wins over --allow-exec)"),
        Arg::new("exec-user")
            .long("exec-user")
            .value_name("USER")
            .help("Run the host's commands as this user, name or number [default: as this program]"),
        Arg::new("allow-events")
            .long("allow-events")
            .value_name("PATTERN,...")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(EventRule::parse)
            .help("Let the host record these only: SYSTEM, SYSTEM:EVENT, with * and ?; a tracer is ftrace:NAME, stacks are ftrace:kernel_stack"),
        Arg::new("max-buffer")
            .long("max-buffer")
            .value_name("SIZE")
            .value_parser(kib)
            .help("Most memory for ring buffers, of all CPUs together (suffix K, M, G)"),
    ]
}

/// What they say.
#[derive(Debug)]
pub(super) struct GuestRules {
    /// Which commands the host may run.
    pub(super) exec: ExecPolicy,
    /// Whom they run as; as this program unless given.
    pub(super) exec_user: Option<ExecUser>,
    /// What may be recorded.
    pub(super) policy: GuestPolicy,
}

impl GuestRules {
    /// Reads them.
    ///
    /// # Errors
    /// There is no such user.
    pub(super) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let rules = matches.get_many::<EventRule>("allow-events");
        let policy = GuestPolicy {
            events: rules.map(|rules| rules.cloned().collect()),
            max_buffer_kb: matches.get_one("max-buffer").copied(),
        };
        Ok(Self { exec: exec_policy(matches), exec_user: exec_user(matches)?, policy })
    }
}

/// Bytes with a suffix, as KiB.
fn kib(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1),
    };
    let bytes = digits.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(factor));
    match bytes.map(|bytes| bytes >> 10) {
        Some(kib @ 1..) => Ok(kib),
        _ => Err("not a size of 1K or more, such as 512K, 64M or 2G".to_owned()),
    }
}

fn exec_policy(matches: &ArgMatches) -> ExecPolicy {
    match matches.get_many::<String>("allow-exec") {
        _ if matches.get_flag("no-exec") => ExecPolicy::Deny,
        Some(commands) if commands.len() > 0 => ExecPolicy::Only(commands.cloned().collect()),
        _ if matches.contains_id("allow-exec") => ExecPolicy::Any,
        _ => ExecPolicy::Deny,
    }
}

fn exec_user(matches: &ArgMatches) -> Result<Option<ExecUser>, Error> {
    let Some(name) = matches.get_one::<String>("exec-user") else { return Ok(None) };
    ExecUser::find(name).map(Some).map_err(|error| {
        Error::usage(format!("--exec-user {name}"))
            .because(error)
            .hint("users are listed by 'getent passwd'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(line: &str) -> Result<ArgMatches, clap::Error> {
        let command = clap::Command::new("agent").args(args());
        command.try_get_matches_from(std::iter::once("agent").chain(line.split_whitespace()))
    }

    #[test]
    fn no_exec_wins_and_lists_are_taken_as_they_are() {
        let policy = |line: &str| exec_policy(&matches(line).unwrap());
        let only = |words: &[&str]| ExecPolicy::Only(words.iter().map(|&w| w.into()).collect());
        assert_eq!(policy(""), ExecPolicy::Deny);
        assert_eq!(policy("--allow-exec"), ExecPolicy::Any);
        assert_eq!(policy("--allow-exec=ls,id"), only(&["ls", "id"]));
        assert_eq!(policy("--allow-exec --no-exec"), ExecPolicy::Deny);
        assert_eq!(policy("--no-exec --allow-exec=ls"), ExecPolicy::Deny);
    }

    #[test]
    fn sizes_have_suffixes_and_are_some_kib_at_least() {
        for (text, kb) in [("64M", 65536), ("2G", 2 << 20), ("512k", 512), ("4096", 4)] {
            assert_eq!(kib(text), Ok(kb), "{text}");
        }
        for text in ["", "M", "0", "1023", "-1K", "99999999999G", "64MB", "ä"] {
            assert!(kib(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_that_is_not_there_is_known_at_the_start() {
        let matches = matches("--exec-user no-such-user").unwrap();
        let error = exec_user(&matches).unwrap_err().to_string();
        assert!(error.contains("no-such-user") && error.contains("no user"), "{error}");
    }
}
