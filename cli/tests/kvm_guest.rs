//! A guest that KVM runs, recorded with its host.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use common::virt::alone;
use common::{Case, with_guest};
use libtest_mimic::Failed;
use trace_virt::lab::{self, Flavor, Guest, GuestFile, GuestOptions, Initramfs, Kernel};

const CASES: &[Case] = &[Case {
    name: "root_a_guest_under_kvm_is_recorded_exactly",
    needs: with_guest,
    test: exactly,
}];

fn main() -> ExitCode {
    common::run(CASES)
}

fn exactly() -> Result<(), Failed> {
    let _alone = alone();
    let kernel = Kernel::fetch(&lab::cache_dir(), Flavor::default())?;
    let binary = std::fs::read(lab::static_binary()?)?;
    let mut inner = Initramfs::new(&kernel, &[])?;
    inner.add(GuestFile { path: "/usr/bin/trace-cmd".into(), mode: 0o755, data: binary });
    inner.start_client(&["--allow-exec".to_owned()]);
    let mut initramfs = Vec::new();
    inner.write_to(&mut initramfs)?;
    let file = |path: &str, data| GuestFile { path: path.into(), mode: 0o644, data };
    let mut options = GuestOptions::new("outer");
    options.cpus = 2;
    options.memory_mb = 2048;
    options.kernel_args = "tsc=reliable clocksource=tsc".into();
    options.qemu_args = vec!["-cpu".into(), "max,+invtsc".into()];
    options.trace_cmd = Some(lab::static_binary()?);
    options.modules = vec!["kvm_amd".into()];
    options.programs = vec!["/usr/bin/qemu-system-x86_64".into()];
    options.files = vec![
        file("/inner/kernel", std::fs::read(kernel.image())?),
        file("/inner/initramfs", initramfs),
    ];
    for path in [
        "/usr/share/seabios/bios-256k.bin",
        "/usr/share/qemu/kvmvapic.bin",
        "/usr/share/qemu/linuxboot_dma.bin",
    ] {
        options.files.push(file(path, std::fs::read(path)?));
    }
    let started = std::time::Instant::now();
    let guest = Guest::boot(options)?;
    guest.wait_ready(Duration::from_secs(240))?;
    eprintln!("outer ready {:?}", started.elapsed());
    let show = |script: &str| -> Result<(), Failed> {
        let output = guest.output(script, Duration::from_secs(300))?;
        eprintln!(
            "{:?} {}: {}\n{}{}",
            started.elapsed(),
            script,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    show(
        "ls -l /dev/kvm; ls /sys/kernel/debug/kvm; grep -o 'svm\\|npt\\|constant_tsc\\|nonstop_tsc' /proc/cpuinfo; cat /sys/devices/system/clocksource/clocksource0/current_clocksource; dmesg | tail -5",
    )?;
    show(
        "trace-cmd virt-server --dom guest1 -c 1; trace-cmd virt-server --dom guest1 -c 1 --qemu; trace-cmd virt-server >/run/server.log 2>&1 & sleep 1",
    )?;
    show(
        "qemu-system-x86_64 -L /usr/share/qemu -L /usr/share/seabios -name guest=guest1,debug-threads=on -M q35 -accel kvm -cpu host -m 384 -nodefaults -display none -no-reboot \
          -serial file:/run/console -kernel /inner/kernel -initrd /inner/initramfs -append 'console=ttyS0 panic=-1' \
          $(trace-cmd virt-server --dom guest1 -c 1 --qemu | tr '\\\\\\n' ' ') \
          -device virtio-serial-pci,id=lab-serial -chardev null,id=lab -device virtserialport,bus=lab-serial.0,nr=1,chardev=lab,name=lab-shell \
          >/run/qemu.log 2>&1 & for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 10; grep -q \"client answers\" /run/server.log && break; done; cat /run/qemu.log; tail -n 30 /run/console; cat /run/server.log",
    )?;
    show("grep . /sys/kernel/debug/kvm/*/vcpu*/*; trace-cmd virt-server --status")?;
    show(
        "cd /tmp && trace-cmd record -C x86-tsc -e kvm -e sched:sched_switch --dom guest1 -e sched --exec ls / \\; sleep 1; ls -l",
    )?;
    show(
        "cd /tmp && trace-cmd report --vcpu trace.dat trace-guest1.dat | head -50; trace-cmd report --ts-error -i trace.dat -i trace-guest1.dat | head -40",
    )?;
    Ok(())
}
