//! The kernel modules of an unpacked kernel package.
//!
//! A package that was never installed has no `modules.dep`, so what a module needs is read from
//! the module itself, which is where `modules.dep` is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command;
use super::error::{LabError, file};

/// The modules below one `lib/modules/VERSION` directory, by name.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    kernel: String,
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module, ready to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, with underscores.
    pub(super) name: String,
    /// The object file, no longer compressed.
    pub(super) object: Vec<u8>,
}

impl Modules {
    /// Lists the modules of the kernel with this version.
    pub(super) fn open(directory: &Path, kernel: &str) -> Result<Self, LabError> {
        let mut files = BTreeMap::new();
        collect(directory, &mut files)?;
        let list = directory.join("modules.builtin");
        let built_in = match fs::read_to_string(&list) {
            Ok(text) => text.lines().filter_map(|line| module_name(Path::new(line))).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(file("reading", list)(error)),
        };
        Ok(Self { kernel: kernel.to_owned(), files, built_in })
    }

    /// Returns the wanted modules and all they need, in an order in which they can be inserted.
    pub(super) fn in_order(&self, wanted: &[impl AsRef<str>]) -> Result<Vec<Module>, LabError> {
        let mut done = BTreeSet::new();
        let mut order = Vec::new();
        for name in wanted {
            self.visit(&name.as_ref().replace('-', "_"), &mut done, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        done: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), LabError> {
        // Marked before its dependencies are looked at, so that a cycle ends.
        if self.built_in.contains(name) || !done.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).ok_or_else(|| LabError::NoModule {
            module: name.to_owned(),
            kernel: self.kernel.clone(),
        })?;
        let object = read_module(path)?;
        for needed in depends(&object) {
            self.visit(&needed.replace('-', "_"), done, order)?;
        }
        order.push(Module { name: name.to_owned(), object });
        Ok(())
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), LabError> {
    let reading = || file("reading", directory);
    for entry in fs::read_dir(directory).map_err(reading())? {
        let entry = entry.map_err(reading())?;
        // Not followed: `build` and `source` point out of the package.
        let kind = entry.file_type().map_err(reading())?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `kernel/net/virtio-rng.ko.xz` is the module `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let (name, compression) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(compression, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

fn read_module(path: &Path) -> Result<Vec<u8>, LabError> {
    let (program, package) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        Some("gz") => ("gzip", "gzip"),
        _ => return fs::read(path).map_err(file("reading", path)),
    };
    command::output(Command::new(command::find(program, package)?).arg("-dc").arg(path))
}

/// The names in `depends=` of the module's `.modinfo`: NUL-terminated `key=value` strings, found
/// by their form, which spares reading the section table.
fn depends(object: &[u8]) -> impl Iterator<Item = &str> {
    const KEY: &[u8] = b"\0depends=";
    let value = object
        .windows(KEY.len())
        .position(|window| window == KEY)
        .map_or(&[][..], |start| &object[start + KEY.len()..]);
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(0);
    let names = std::str::from_utf8(&value[..end]).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("kernel/drivers");
        fs::create_dir_all(&folder).unwrap();
        for (name, depends) in modules {
            let object = format!("\x7fELF\0license=GPL\0depends={depends}\0name={name}\0");
            fs::write(folder.join(name), object).unwrap();
        }
        fs::write(directory.path().join("modules.builtin"), "kernel/drivers/virtio.ko\n").unwrap();
        directory
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn modules_come_after_what_they_need_and_built_in_ones_not_at_all() {
        let directory = package(&[
            ("virtio-console.ko", "virtio,virtio-ring"),
            ("virtio_ring.ko", ""),
            ("virtio_pci.ko", "virtio_ring,virtio"),
        ]);
        let modules = Modules::open(directory.path(), "6.1").unwrap();
        let order = modules.in_order(&["virtio_console", "virtio-pci"]).unwrap();
        assert_eq!(names(&order), ["virtio_ring", "virtio_console", "virtio_pci"]);
    }

    #[test]
    fn modules_that_need_each_other_are_listed_once() {
        let directory = package(&[("a.ko", "b"), ("b.ko", "a")]);
        let modules = Modules::open(directory.path(), "6.1").unwrap();
        assert_eq!(names(&modules.in_order(&["a"]).unwrap()), ["b", "a"]);
    }

    #[test]
    fn compressed_module_is_unpacked() {
        let directory = package(&[("virtio_ring.ko", "")]);
        let path = directory.path().join("kernel/drivers/virtio_ring.ko");
        let plain = fs::read(&path).unwrap();
        assert!(Command::new("gzip").arg(&path).status().unwrap().success());
        let modules = Modules::open(directory.path(), "6.1").unwrap();
        assert_eq!(modules.in_order(&["virtio_ring"]).unwrap()[0].object, plain);
    }

    #[test]
    fn unknown_module_is_an_error_with_its_name() {
        let directory = package(&[]);
        let modules = Modules::open(directory.path(), "6.1").unwrap();
        let error = modules.in_order(&["vsock"]).unwrap_err();
        assert_eq!(error.to_string(), "kernel 6.1 has no module vsock");
    }
}
