//! One change undone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::control_file::ControlFile;
use crate::error::Error;
use crate::event::{EventName, EventSelection};
use crate::instance::Instance;
use crate::tracing_dir::TracingDir;
use crate::trigger::text_of_shown;

/// How one change is undone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Undo {
    /// An instance that was made, known by its inode once it was.
    RemoveInstance { dir: TracingDir, name: String, inode: Option<u64> },
    /// A file that takes what it shows.
    Write { file: ControlFile, old: String },
    /// A file that is emptied by truncation, and added to line by line.
    Lines { file: ControlFile, old: Vec<String> },
    /// A command that undoes another one.
    Append { file: ControlFile, line: String },
    /// Triggers that were there, as they were shown.
    Triggers { file: ControlFile, old: Vec<String> },
    /// Events that were on, among those that were touched.
    Events { instance: Instance, before: BTreeSet<EventName>, touched: EventSelection },
    /// Filters of the events that were touched.
    Filters { instance: Instance, touched: EventSelection, old: Vec<(EventName, String)> },
}

/// Undoes all, the last one first; returns what failed, in the order it was given, and why.
pub(super) fn run_all(mut undos: Vec<Undo>) -> (Vec<Undo>, Vec<Error>) {
    forget_intentions(&mut undos);
    let (mut failed, mut errors) = (Vec::new(), Vec::new());
    for undo in undos.into_iter().rev() {
        if let Err(error) = undo.run()
            && !is_without_place(&error)
        {
            failed.push(undo);
            errors.push(error);
        }
    }
    failed.reverse();
    (failed, errors)
}

/// An instance is written down before it is made, and again when its inode is known; then only
/// the latter counts.
fn forget_intentions(undos: &mut Vec<Undo>) {
    let is_made = |undo: &Undo| match undo {
        Undo::RemoveInstance { name, inode: Some(_), .. } => Some(name.clone()),
        _ => None,
    };
    let made: BTreeSet<String> = undos.iter().filter_map(is_made).collect();
    undos.retain(
        |undo| !matches!(undo, Undo::RemoveInstance { name, inode: None, .. } if made.contains(name)),
    );
}

/// The number the file system knows a directory by.
pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

impl Undo {
    fn run(&self) -> Result<(), Error> {
        match self {
            Self::RemoveInstance { dir, name, inode: made } => {
                let Ok(instance) = dir.instance(name) else { return Ok(()) };
                // Another one of the same name is not ours to remove.
                let other = made.is_some() && inode(instance.path()) != *made;
                if other { Ok(()) } else { dir.remove_instance(name) }
            }
            // Setting the clock empties the ring buffers, also if it is set already.
            Self::Write { file, old } if is_set_clock(file, old) => Ok(()),
            Self::Write { file, old } => file.write(old).or_else(|error| {
                // What was refused now was refused before, too: nothing has changed.
                if shows(file, old) { Ok(()) } else { Err(error) }
            }),
            Self::Lines { file, old } => {
                file.clear()?;
                file.append_lines(old)
            }
            Self::Append { file, line } => file.append_line(line).or_else(|error| {
                // A process may be killed when it has just undone this itself.
                if is_gone(file, line, &error) { Ok(()) } else { Err(error) }
            }),
            Self::Triggers { file, old } => {
                let now = file.read_text()?;
                let mut gone = old.iter().filter(|line| !now.lines().any(|other| other == *line));
                gone.try_for_each(|line| file.append_line(&text_of_shown(line)))
            }
            Self::Events { instance, before, touched } => restore_events(instance, before, touched),
            Self::Filters { instance, touched, old } => {
                // Removing a system's filter forgets its text as well, and waits for all
                // readers of filters once, not once per event.
                let mut touched = touched.clone();
                let removed = instance.take_removed(&mut touched);
                instance.set_event_filter(&touched, None)?;
                let mut old = old.iter().filter(|(name, _)| !removed.covers(name));
                old.try_for_each(|(name, text)| instance.event_file(name, "filter").write(text))
            }
        }
    }
}

/// Whether the file is a `trace_clock` that shows `name` as the one that is set.
fn is_set_clock(file: &ControlFile, name: &str) -> bool {
    file.path().ends_with("trace_clock")
        && file.read_text().is_ok_and(|text| text.contains(&format!("[{name}]")))
}

/// Whether a file has the value that it is to get back.
fn shows(file: &ControlFile, old: &str) -> bool {
    let old = old.trim_end();
    // The size of a ring buffer that was never used is shown with that it is to get.
    let expanded = format!("(expanded: {old})");
    file.read_text()
        .is_ok_and(|text| text.trim_end() == old || text.trim_end().ends_with(&expanded))
}

/// Whether what was changed has gone itself, as events do with their module and an instance when
/// somebody removes it; then there is nothing to put back.
fn is_without_place(error: &Error) -> bool {
    let path = match error {
        Error::NotSupported { path, .. } => path,
        Error::Control { path, source, .. } if source.raw_os_error() == Some(libc::ENODEV) => path,
        _ => return false,
    };
    if path.exists() || path.parent().is_some_and(Path::is_dir) {
        return false;
    }
    // Where tracefs is no longer mounted, nothing was put back.
    let found = path.ancestors().skip(2).find(|place| place.is_dir());
    found.is_some_and(|place| place.iter().any(|part| part == "events" || part == "instances"))
}

/// Whether a removal was refused because there is nothing left to remove.
fn is_gone(file: &ControlFile, removal: &str, error: &Error) -> bool {
    let Error::Control { source, .. } = error else { return false };
    let Some(removed) = removal.strip_prefix('!') else {
        return source.raw_os_error() == Some(libc::ENOENT);
    };
    let head = shown_head(removed);
    file.read_text().is_ok_and(|shown| !shown.lines().any(|line| line.starts_with(head)))
}

/// How the kernel begins the line it shows for a trigger or command: what comes behind may be
/// written in another way.
fn shown_head(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix("hist:") {
        let keys = rest.find(':').unwrap_or(rest.len());
        return text.get(.."hist:".len() + keys).unwrap_or(text);
    }
    text.strip_suffix(":0").unwrap_or(text)
}

/// Turns off what was turned on and turns on what was turned off, among the events `touched`.
fn restore_events(
    instance: &Instance,
    before: &BTreeSet<EventName>,
    touched: &EventSelection,
) -> Result<(), Error> {
    if before.is_empty() && touched.is_everything() {
        return instance.enable(touched, false);
    }
    let now = instance.enabled_events()?;
    let mut turn_off = EventSelection::default();
    for name in now.difference(before).filter(|name| touched.covers(name)) {
        // A system that was all off goes off in one write.
        let whole = touched.is_whole(&name.system)
            && !before.iter().any(|other| other.system == name.system);
        turn_off.insert(name.clone(), whole);
    }
    let gone = before.difference(&now).filter(|name| touched.covers(name));
    let mut turn_on: EventSelection = gone.cloned().collect();
    instance.take_removed(&mut turn_on);
    let off = instance.enable(&turn_off, false);
    instance.enable(&turn_on, true).and(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_found_in_what_is_shown() {
        for (removed, head) in [
            ("traceoff", "traceoff"),
            ("schedule:stacktrace:0", "schedule:stacktrace"),
            ("hist:keys=pid:us=common_timestamp if pid > 1", "hist:keys=pid"),
            ("hist:keys=pid", "hist:keys=pid"),
        ] {
            assert_eq!(shown_head(removed), head);
        }
    }
}
