//! Which guest a QEMU process runs: from the process, never from the guest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
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

/// `HEAD,key=value,…` with doubled commas in values, or one JSON object, as libvirt writes devices.
pub(crate) fn properties(value: &str) -> (String, BTreeMap<String, String>) {
    if let Ok(Value::Object(object)) = serde_json::from_str(value) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pairs: BTreeMap<_, _> =
            object.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        return (pairs.get("driver").cloned().unwrap_or_default(), pairs);
    }
    let items = option_items(value);
    let head = items.first().filter(|item| !item.contains('=')).cloned().unwrap_or_default();
    let pairs = items.iter().filter_map(|item| item.split_once('='));
    (head, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Ids of all processes.
pub(crate) fn processes(proc: &Path) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The QEMU process of the machine with this vsock CID, by its command line; `None` where none or several claim it.
#[must_use]
pub fn process_of_cid(proc: &Path, cid: u32) -> Option<i32> {
    let mut found = processes(proc).filter(|pid| {
        let line = fs::read(proc.join(pid.to_string()).join("cmdline")).unwrap_or_default();
        has_cid(&line.split(|&b| b == 0).collect::<Vec<_>>(), cid)
    });
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

fn has_cid(words: &[&[u8]], cid: u32) -> bool {
    words.windows(2).any(|pair| {
        let [b"-device" | b"--device", value] = pair else { return false };
        let Ok(value) = std::str::from_utf8(value) else { return false };
        let (driver, properties) = properties(value);
        let told = properties.get("guest-cid").and_then(|told| told.parse().ok());
        driver.starts_with("vhost-vsock") && told == Some(cid)
    })
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

    #[test]
    fn machines_are_found_by_their_cid() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: i32, line: &str| {
            let dir = proc.path().join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cmdline"), line.replace(' ', "\0")).unwrap();
        };
        process(7, "qemu-system-x86_64 -device vhost-vsock-pci,guest-cid=3,id=v -smp 2");
        process(8, r#"qemu -device {"driver":"vhost-vsock-pci","guest-cid":33,"vhostfd":"9"}"#);
        process(9, "grep -device guest-cid=4");
        let found = |cid| process_of_cid(proc.path(), cid);
        assert_eq!((found(3), found(33), found(4)), (Some(7), Some(8), None));
        // Whose is it, then?
        process(10, "qemu-system-x86_64 -device vhost-vsock-pci-non-transitional,guest-cid=3");
        assert_eq!(found(3), None);
        assert_eq!(process_of_cid(&proc.path().join("none"), 3), None);
    }
}
