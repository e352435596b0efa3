//! Makes, lists and removes dynamic events, by `dynamic_events` or the files of older kernels.

use super::{DynamicEvent, DynamicKind, removal};
use crate::control_file::ControlFile;
use crate::error::Error;
use crate::event::EventName;
use crate::tracing_dir::TracingDir;

/// The file that takes events of all kinds, since Linux 5.0.
const COMMON: &str = "dynamic_events";

impl DynamicKind {
    /// The file of kernels before 5.0.
    fn own_file(self) -> Option<&'static str> {
        match self {
            Self::Kprobe | Self::Kretprobe => Some("kprobe_events"),
            Self::Uprobe | Self::Uretprobe => Some("uprobe_events"),
            Self::Synthetic => Some("synthetic_events"),
            Self::Eprobe | Self::Other => None,
        }
    }
}

impl TracingDir {
    /// Makes a dynamic event; it is off at first.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for names that cannot be events, [`Error::NotSupported`] for a kind
    /// the kernel has not, or [`Error::Control`] with the kernel's explanation and its place in
    /// the command.
    ///
    /// # Kernel support
    /// `dynamic_events` since Linux 5.0; before, kprobes, uprobes and synthetic events go to files
    /// of their own.
    pub fn create_dynamic_event(&self, event: &DynamicEvent) -> Result<(), Error> {
        event.check()?;
        let (file, create, _) = self.dynamic_commands(event);
        file.append_line(&create)
    }

    /// All dynamic events, in the kernel's order; none where the kernel has none of them.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn dynamic_events(&self) -> Result<Vec<DynamicEvent>, Error> {
        let common = self.file(COMMON);
        if common.exists() {
            return Ok(common.read_text()?.lines().filter_map(DynamicEvent::parse).collect());
        }
        let mut events = Vec::new();
        for (name, prefix) in
            [("kprobe_events", ""), ("uprobe_events", ""), ("synthetic_events", "s:")]
        {
            let text = match self.file(name).read_text() {
                Ok(text) => text,
                Err(Error::NotSupported { .. }) => continue,
                Err(error) => return Err(error),
            };
            // The old file of synthetic events separates name and fields by a tab.
            let lines = text.lines().map(|line| format!("{prefix}{line}"));
            events.extend(lines.filter_map(|line| DynamicEvent::parse(&line)));
        }
        Ok(events)
    }

    /// Removes a dynamic event.
    ///
    /// # Errors
    /// `ENOENT` if there is none of this name, `EBUSY` while it is used, or what else the kernel
    /// answers.
    pub fn remove_dynamic_event(&self, event: &DynamicEvent) -> Result<(), Error> {
        let (file, _, remove) = self.dynamic_commands(event);
        file.append_line(&remove)
    }

    /// Removes all dynamic events of a kind, the newest first, since an older one may be what a
    /// newer one stands on; returns their names.
    ///
    /// # Errors
    /// The first refusal; what comes after it has been tried too.
    pub fn remove_dynamic_events(&self, kind: DynamicKind) -> Result<Vec<EventName>, Error> {
        let mut removed = Vec::new();
        let mut refused = None;
        for event in self.dynamic_events()?.iter().rev().filter(|event| event.kind() == kind) {
            match self.remove_dynamic_event(event) {
                Ok(()) => removed.push(event.name()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(removed), Err)
    }

    /// The file an event goes to, and what makes and removes it there.
    pub(crate) fn dynamic_commands(&self, event: &DynamicEvent) -> (ControlFile, String, String) {
        let common = self.file(COMMON);
        let own = event.kind().own_file().map(|name| self.file(name));
        match (own, event) {
            (Some(own), _) if common.exists() || !own.exists() => {
                (common, event.to_string(), removal(&event.name()))
            }
            (Some(own), DynamicEvent::Synthetic(event)) => {
                (own, event.to_string(), format!("!{event}"))
            }
            (Some(own), _) => (own, event.to_string(), removal(&event.name())),
            (None, _) => (common, event.to_string(), removal(&event.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamic_event::{Eprobe, Kprobe, SyntheticEvent, Uprobe};
    use std::fs;
    use tempfile::TempDir;

    fn events() -> [DynamicEvent; 2] {
        [
            Kprobe::new("open", "do_sys_open").into(),
            SyntheticEvent::new("lat").field("u64", "us").into(),
        ]
    }

    #[test]
    fn one_file_takes_all_kinds() {
        let temp = TempDir::new().unwrap();
        let dir = TracingDir::at(temp.path());
        let file = temp.path().join("dynamic_events");
        fs::write(&file, "").unwrap();
        for event in events() {
            dir.create_dynamic_event(&event).unwrap();
        }
        let expected = "p:kprobes/open do_sys_open\ns:lat u64 us\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        assert_eq!(dir.dynamic_events().unwrap(), events());
        let removed = dir.remove_dynamic_events(DynamicKind::Synthetic).unwrap();
        assert_eq!(removed, [EventName::new("synthetic", "lat")]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with("u64 us\n-:synthetic/lat\n"), "{text}");
    }

    #[test]
    fn older_kernels_have_a_file_for_each_kind() {
        let temp = TempDir::new().unwrap();
        let dir = TracingDir::at(temp.path());
        for name in ["kprobe_events", "synthetic_events"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        for event in events() {
            dir.create_dynamic_event(&event).unwrap();
        }
        assert_eq!(dir.dynamic_events().unwrap(), events());
        dir.remove_dynamic_event(&events()[1]).unwrap();
        let text = fs::read_to_string(temp.path().join("synthetic_events")).unwrap();
        assert_eq!(text, "lat u64 us\n!lat u64 us\n");
        let uprobe = Uprobe::new("a", "/bin/a", 16).into();
        assert!(matches!(dir.create_dynamic_event(&uprobe), Err(Error::NotSupported { .. })));
    }

    #[test]
    fn names_that_are_none_are_refused_before_the_kernel_sees_them() {
        let dir = TracingDir::at("/nonexistent");
        for name in ["", "a b", "1a", "a/b", "a\nb"] {
            let event = Eprobe::new(name, EventName::new("sched", "sched_switch")).into();
            let refused = dir.create_dynamic_event(&event);
            assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}");
        }
    }

    #[test]
    fn kinds_have_the_words_of_reset() {
        for kind in DynamicKind::ALL {
            assert_eq!(kind.to_string().parse::<DynamicKind>().unwrap(), kind);
        }
        assert!(matches!("probe".parse::<DynamicKind>(), Err(Error::UnknownName { .. })));
    }
}
