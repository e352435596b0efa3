//! Texts of the kernel that only `extract` stores: they help where the traced kernel is not at hand.

use std::fs;

use tracedat::layout::OptionId;
use tracefs::Instance;
use tracefs::last_boot::LastBoot;

use crate::command::record::file::{Extra, Format, KernelText};

/// Adds what the kernel has: types, and what the last boot was, with the modules, for instances
/// whose ring buffer outlives a boot.
pub(super) fn add(extra: &mut Extra, format: Format, instances: &[Instance]) {
    let mut sections = Vec::new();
    let mut add = |id, name, path| {
        // Not every kernel has them, and no reader needs them.
        let text = fs::read(path).unwrap_or_default();
        if !text.is_empty() {
            sections.push(KernelText { id, name, text });
        }
    };
    add(OptionId::BTF_FILE, "BTF", "/sys/kernel/btf/vmlinux");
    let boots: Vec<_> = instances.iter().filter_map(last_boot).collect();
    if !boots.is_empty() {
        add(OptionId::MODULES_FILE, "modules", "/proc/modules");
    }
    // Uncompressed, some readers take the file for damaged because of them.
    if format.is_compressed() {
        extra.sections = sections;
    }
    extra.options.extend(boots);
}

/// What an instance knows of the boot that filled it.
fn last_boot(instance: &Instance) -> Option<(OptionId, Vec<u8>)> {
    let text = instance.last_boot_text().ok()?;
    LastBoot::parse(&String::from_utf8_lossy(&text))?;
    let mut payload = instance.name().unwrap_or_default().as_bytes().to_vec();
    payload.push(b':');
    payload.extend(text);
    payload.push(0);
    Some((OptionId::LAST_BOOT_INFO, payload))
}

#[cfg(test)]
mod tests {
    use tracefs::TracingDir;

    use super::*;

    #[test]
    fn instances_tell_of_the_last_boot_by_name() {
        let temp = tempfile::TempDir::new().unwrap();
        for (name, text) in [("old", "ffffffff81000000 [kernel]\n"), ("odd", "")] {
            let path = temp.path().join("instances").join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("last_boot_info"), text).unwrap();
        }
        let dir = TracingDir::at(temp.path());
        let (id, payload) = last_boot(&dir.instance("old").unwrap()).unwrap();
        assert_eq!(id, OptionId::LAST_BOOT_INFO);
        assert_eq!(payload, b"old:ffffffff81000000 [kernel]\n\0");
        assert!(last_boot(&dir.instance("odd").unwrap()).is_none());
        assert!(last_boot(&dir.top()).is_none());
    }
}
