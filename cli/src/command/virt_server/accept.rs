//! Recordings that guests start by themselves: off unless there is a place for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use clap::{Arg, ArgMatches, value_parser};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::wish::Wish;

use super::log::Log;
use crate::command::listen::parse_size;
use crate::command::record::guests::wished::{self, Shelf};
use crate::error::Error;

/// Options for these recordings.
pub(super) fn args() -> [Arg; 2] {
    [
        Arg::new("accept")
            .long("accept")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with_all(["dom", "client", "status", "doctor"])
            .help("Write down what guests record with 'record --virt', in DIR/trace-GUEST.dat; a new one replaces the last"),
        Arg::new("max-size")
            .long("max-size")
            .value_name("SIZE")
            .default_value("1G")
            .value_parser(parse_size)
            .requires("accept")
            .help("Trace data of each of them, before compression (suffix k, M, G)"),
    ]
}

/// Where they go, if anywhere.
pub(super) fn shelf(matches: &ArgMatches) -> Result<Option<Shelf>, Error> {
    let Some(path) = matches.get_one::<PathBuf>("accept") else { return Ok(None) };
    let bad = |error| {
        Error::failure(format!("cannot write to {}", path.display()))
            .because(error)
            .hint("choose a directory that is there with --accept DIR")
    };
    // A path that stays right in the background.
    let directory = fs::canonicalize(path).map_err(bad)?;
    if !directory.is_dir() {
        return Err(bad(std::io::ErrorKind::NotADirectory.into()));
    }
    let max_bytes = matches.get_one::<u64>("max-size").copied().unwrap_or(u64::MAX);
    Ok(Some(Shelf { directory, max_bytes }))
}

/// Recordings of a guest that are in hand: one is written, one waits until that is complete.
const MOST: usize = 2;

/// Writes recordings down, one of each guest at a time, in threads of their own.
pub(super) struct Acceptor<'env> {
    dir: &'env VirtDir,
    shelf: &'env Shelf,
    log: &'env Log,
    /// Whose turn it is; held by each that is in hand.
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl<'env> Acceptor<'env> {
    pub(super) fn new(dir: &'env VirtDir, shelf: &'env Shelf, log: &'env Log) -> Self {
        Self { dir, shelf, log, turns: Mutex::default() }
    }

    /// Begins one, or says why not.
    pub(super) fn accept<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        guest: &GuestName,
        wish: Wish,
    ) -> Result<(), String> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(guest.to_string()).or_default();
        if Arc::strong_count(turn) > MOST {
            return Err("earlier recordings of it are still being written".to_owned());
        }
        let (name, turn) = (guest.clone(), Arc::clone(turn));
        let record = move || {
            let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.record(&name, wish);
        };
        let started = thread::Builder::new().name("guest".to_owned()).spawn_scoped(scope, record);
        started.map(drop).map_err(|error| format!("no thread can be had for it: {error}"))
    }

    fn record(&self, guest: &GuestName, wish: Wish) {
        let told = wished::record(self.dir, guest, wish, self.shelf);
        let lines = told.unwrap_or_else(|error| {
            let file = self.shelf.file_of(guest.as_str());
            vec![format!("nothing was recorded in {}: {error}", file.display())]
        });
        for line in lines {
            self.log.say(&format!("guest {guest}: {line}"));
        }
    }
}
