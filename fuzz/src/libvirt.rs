//! What `virsh` says about a domain: its configuration, and answers to other questions.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use trace_virt::libvirt::Libvirt;

use crate::virt_scene::Scene;

/// A program that says what is in a file beside it, whatever it is asked.
struct Virsh {
    scene: Scene,
    program: PathBuf,
    says: PathBuf,
}

impl Virsh {
    fn new() -> Self {
        let scene = Scene::new();
        let (program, says) = (scene.ports().join("virsh"), scene.ports().join("says"));
        let script = format!("#!/bin/sh\nexec cat {}\n", says.display());
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o755).open(&program);
        std::io::Write::write_all(&mut file.expect("a new file"), script.as_bytes())
            .expect("room for it");
        Self { scene, program, says }
    }
}

/// What `virsh` says, as the number of CPUs and as the domain's XML, to which channels are attached.
///
/// # Panics
/// When more CPUs are believed than a guest can have, or one is attached and there as well.
pub fn run(data: &[u8]) {
    static VIRSH: LazyLock<Virsh> = LazyLock::new(Virsh::new);
    let Virsh { scene, program, says } = &*VIRSH;
    fs::write(says, data).expect("the directory can be written to");
    let libvirt = Libvirt::with_virsh(program);
    if let Ok(cpus) = libvirt.cpus(&scene.guest) {
        assert!((1..=4096).contains(&cpus), "{cpus} CPUs");
    }
    match libvirt.attach(&scene.dir, &scene.guest, 1) {
        Ok(report) => {
            assert!(!report.added.iter().any(|name| report.existing.contains(name)), "{report:?}");
        }
        Err(error) => assert!(!error.to_string().contains('\u{1b}'), "{error:?}"),
    }
}
