//! Who may connect: options of those who listen, `listen` and `agent`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use trace_transport::{Access, Key, Rule};

use crate::error::Error;

/// The options.
pub(super) fn args(allow_help: &'static str, key_help: &'static str) -> [Arg; 2] {
    [
        Arg::new("allow")
            .long("allow")
            .value_name("ADDRESS/PREFIX")
            .action(ArgAction::Append)
            .value_parser(|text: &str| text.parse::<Rule>())
            .help(allow_help),
        Arg::new("key-file")
            .long("key-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(key_help),
    ]
}

/// Whose connections are taken; everyone's unless something was said.
pub(super) fn access(matches: &ArgMatches) -> Access {
    let mut access = Access::default();
    for rule in matches.get_many::<Rule>("allow").into_iter().flatten() {
        access.allow(*rule);
    }
    access
}

/// The key that who connects must know, if any.
///
/// # Errors
/// The file cannot be used.
pub(super) fn key(matches: &ArgMatches) -> Result<Option<Arc<Key>>, Error> {
    let path = matches.get_one::<PathBuf>("key-file");
    let key = path.map(|path| Key::read(path).map(Arc::new)).transpose();
    key.map_err(|error| {
        Error::failure("this key cannot be used")
            .because(error)
            .hint("make one: (umask 077; head -c 32 /dev/urandom > FILE)")
    })
}
