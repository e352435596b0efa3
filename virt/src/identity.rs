//! Which guest a QEMU process runs: from the process, never from the guest.

use std::fs;
use std::path::Path;

use trace_transport::unix::PeerProcess;

use crate::setup::GuestName;

/// Tells which guest a connecting process belongs to.
pub type Resolver = Box<dyn FnMut(&PeerProcess) -> Option<GuestName> + Send>;

/// Looks at QEMU's own `-name`, else at libvirt's pid files.
#[must_use]
pub fn guest_of(process: &PeerProcess) -> Option<GuestName> {
    let command_line = fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let words: Vec<_> = command_line.split(|&b| b == 0).collect();
    name_option(&words)
        .or_else(|| libvirt_name(Path::new("/run/libvirt/qemu"), process.pid))
        .and_then(|name| GuestName::new(&name).ok())
}

/// The guest in `-name NAME`, `-name guest=NAME,…` or `-name NAME,…`; the last one counts, as in QEMU.
pub(crate) fn name_option(words: &[&[u8]]) -> Option<String> {
    let mut found = None;
    for pair in words.windows(2) {
        if let [b"-name" | b"--name", value] = pair
            && let Ok(value) = std::str::from_utf8(value)
        {
            found = guest_in(value).or(found);
        }
    }
    found
}

fn guest_in(value: &str) -> Option<String> {
    let items = option_items(value);
    let named = items.iter().find_map(|item| item.strip_prefix("guest="));
    let bare = items.first().filter(|item| !item.contains('=')).map(String::as_str);
    named.or(bare).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The items of a QEMU option: a doubled comma is part of a value, a single one ends it.
pub(crate) fn option_items(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let doubled = c == ',' && chars.next_if_eq(&',').is_some();
        match items.last_mut() {
            Some(item) if c != ',' || doubled => item.push(c),
            _ => items.push(String::new()),
        }
    }
    items
}

fn libvirt_name(dir: &Path, pid: i32) -> Option<String> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        let is_pid_file = path.extension().is_some_and(|e| e == "pid");
        let text = if is_pid_file { fs::read_to_string(&path).ok()? } else { return None };
        (text.trim().parse() == Ok(pid)).then(|| path.file_stem()?.to_str().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_name_option_is_read() {
        for (value, name) in [
            ("guest1", Some("guest1")),
            ("guest=web,debug-threads=on", Some("web")),
            ("debug-threads=on,guest=db", Some("db")),
            ("plain,process=x", Some("plain")),
            ("guest=a,,b", Some("a,b")),
            ("debug-threads=on", None),
            ("", None),
        ] {
            let words: [&[u8]; 4] = [b"qemu-system-x86_64", b"-name", value.as_bytes(), b"-m"];
            assert_eq!(name_option(&words).as_deref(), name, "{value}");
        }
        assert_eq!(name_option(&[b"qemu", b"-name"]), None);
    }

    #[test]
    fn libvirt_pid_files_are_searched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one.pid"), "41\n").unwrap();
        fs::write(dir.path().join("two.pid"), "42\n").unwrap();
        fs::write(dir.path().join("three.xml"), "42\n").unwrap();
        assert_eq!(libvirt_name(dir.path(), 42).as_deref(), Some("two"));
        assert_eq!(libvirt_name(dir.path(), 43), None);
    }
}
