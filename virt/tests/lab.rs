//! The lab itself: a guest boots, takes commands, and its ports lead to the host.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use trace_virt::lab::{
    Accel, Guest, GuestFile, GuestOptions, LabError, Missing, TracefsLock, requirements,
};
use trace_virt::vcpu::{KvmVm, named_threads};

type Test = fn() -> Result<(), Failed>;

const BOOT: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(240);

fn main() {
    let in_guest: [(&str, Test); 5] = [
        ("guest_runs_commands_and_powers_off", guest_runs_commands_and_powers_off),
        ("guest_ports_lead_to_the_host", guest_ports_lead_to_the_host),
        ("guest_lets_its_client_talk_to_the_server", guest_lets_its_client_talk_to_the_server),
        ("guest_that_dies_shows_its_console", guest_that_dies_shows_its_console),
        ("guest_ends_when_its_lifetime_is_over", guest_ends_when_its_lifetime_is_over),
    ];
    let mut trials: Vec<Trial> =
        in_guest.into_iter().map(|(name, test)| trial(name, requirements::guest, test)).collect();
    trials.push(trial(
        "guest_runs_the_reference_with_its_libraries",
        || requirements::guest().and_then(|()| requirements::reference().map(drop)),
        guest_runs_the_reference_with_its_libraries,
    ));
    trials.push(trial(
        "root_reference_records_and_reads",
        || requirements::recording_reference().map(drop),
        root_reference_records_and_reads,
    ));
    trials.push(trial(
        "root_kvm_shows_the_clock_of_a_guest_in_its_firmware",
        || {
            requirements::root()
                .and_then(|()| requirements::qemu())
                .and_then(|_| requirements::kvm())
        },
        root_kvm_shows_the_clock_of_a_guest_in_its_firmware,
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test that is skipped where the machine lacks what it needs.
fn trial(name: &str, needs: fn() -> Result<(), Missing>, test: Test) -> Trial {
    Trial::ignorable_test(name, move || match needs() {
        Ok(()) => test().map(|()| Completion::Completed),
        Err(missing) => Ok(Completion::ignored_with(missing)),
    })
}

fn guest_runs_commands_and_powers_off() -> Result<(), Failed> {
    let mut options = GuestOptions::new("commands");
    options.cpus = 2;
    options.modules = vec!["vmw_vsock_virtio_transport".into()];
    let started = Instant::now();
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    println!("guest took {:?} to boot", started.elapsed());

    assert_eq!(guest.run("nproc")?, "2\n");
    assert_eq!(guest.run("echo it\\'s \"$((1 + 1))\"")?, "it's 2\n");
    assert!(guest.run("cat /sys/kernel/tracing/available_tracers")?.contains("function_graph"));
    assert!(guest.run("lsmod")?.contains("vmw_vsock_virtio_transport"));

    let failed = guest.run("echo no >&2; exit 3");
    assert!(
        matches!(&failed, Err(LabError::Command { status: 3, stderr, .. }) if stderr == "no\n")
    );
    // A slow machine may not have begun by then.
    let mut limits = [1, 5, 25, 125].map(Duration::from_secs).into_iter();
    let slow = loop {
        let slow = guest.output("echo begun; sleep 1000", limits.next().ok_or("never begun")?)?;
        assert_eq!(slow.status, 137);
        if !slow.stdout.is_empty() {
            break slow;
        }
    };
    assert_eq!(slow.stdout, b"begun\n");
    let large = guest.output("head -c 3000000 /dev/zero", SOON)?;
    assert_eq!(large.stdout.len(), 3_000_000);

    assert!(guest.is_running());
    let status = guest.power_off(SOON)?;
    assert!(status.success(), "{status}");
    Ok(())
}

fn guest_ports_lead_to_the_host() -> Result<(), Failed> {
    let virt_dir = tempfile::tempdir()?;
    let mut options = GuestOptions::new("ports");
    options.cpus = 2;
    options.virt_dir = Some(virt_dir.path().into());
    options.extra_ports = vec!["marker".into()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;

    // A second program for the port to talk to, beside the one that carries commands.
    let mut port = guest.port("marker")?;
    port.set_read_timeout(Some(SOON))?;
    port.write_all(b"ping\n")?;
    guest.run("exec 4<>/dev/virtio-ports/marker; read -r word <&4; echo \"$word pong\" >&4")?;
    let mut answer = [0; 10];
    port.read_exact(&mut answer)?;
    assert_eq!(&answer, b"ping pong\n");

    for cpu in 0..2 {
        let fifo = virt_dir.path().join(format!("ports/trace-path-cpu{cpu}.out"));
        // QEMU has the other end open, so that this does not block.
        let fifo = File::open(fifo)?;
        guest.run(&format!("echo sub-buffer {cpu} >/dev/virtio-ports/trace-path-cpu{cpu}"))?;
        assert_eq!(read_soon(fifo, 13)?, format!("sub-buffer {cpu}\n").as_bytes());
    }
    Ok(())
}

fn guest_lets_its_client_talk_to_the_server() -> Result<(), Failed> {
    let virt_dir = tempfile::tempdir()?;
    let server = UnixListener::bind(virt_dir.path().join("agent-ctl-path"))?;
    let mut options = GuestOptions::new("client");
    options.virt_dir = Some(virt_dir.path().into());
    options.client_args = Some(vec!["--allow-exec=one,two words".into()]);
    let script = |path: &str, text: &str| GuestFile {
        path: path.into(),
        mode: 0o755,
        data: format!("#!/bin/sh\n{text}\n").into_bytes(),
    };
    let answer = "for word; do echo \"$word\"; done >/dev/virtio-ports/agent-ctl-path\nexit 9";
    options.files =
        vec![script("/usr/bin/trace-cmd", answer), script("/tmp/a/b/program", "echo is there")];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    let (stream, _) = server.accept()?;
    let expected = b"virt-server\n--client\n--allow-exec=one,two words\n";
    assert_eq!(read_soon(stream, expected.len())?, expected);
    guest.run("until [ -e /run/client.status ]; do sleep 0.05; done")?;
    assert_eq!(guest.read_file("/run/client.status")?, b"9\n");
    // Where programs of a checkout may be; it is a place for other files, too.
    assert_eq!(guest.run("echo x >/tmp/other && /tmp/a/b/program")?, "is there\n");
    Ok(())
}

fn guest_that_dies_shows_its_console() -> Result<(), Failed> {
    let mut options = GuestOptions::new("dies");
    options.kernel_args = "rdinit=/not-there init=/not-there".into();
    let guest = Guest::boot(options)?;
    let error = guest.wait_ready(BOOT).err().ok_or("a guest without an init came up")?;
    assert!(matches!(error, LabError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("Kernel panic"), "{error}");
    assert!(!guest.is_running());
    Ok(())
}

fn guest_ends_when_its_lifetime_is_over() -> Result<(), Failed> {
    let mut options = GuestOptions::new("brief");
    options.lifetime = Duration::from_secs(1);
    let guest = Guest::boot(options)?;
    assert!(guest.wait(BOOT)?.success());
    assert!(guest.console().contains("lifetime over"), "{}", guest.console());
    Ok(())
}

fn guest_runs_the_reference_with_its_libraries() -> Result<(), Failed> {
    let reference = requirements::reference()?;
    let mut options = GuestOptions::new("reference");
    options.programs = vec![reference.program().into()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    let program = reference.program().display();
    let record = format!("cd /tmp && {program} record -e sched_switch sleep 0.1");
    // Under emulation it takes its time over the formats of all events.
    let recorded = guest.output(&record, SOON)?;
    assert_eq!(recorded.status, 0, "{}", String::from_utf8_lossy(&recorded.stderr));
    let report = guest.run(&format!("cd /tmp && {program} report -i trace.dat"))?;
    assert!(report.contains("sched_switch:"), "{report}");
    Ok(())
}

fn root_reference_records_and_reads() -> Result<(), Failed> {
    let reference = requirements::recording_reference()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("trace.dat");
    let lock = TracefsLock::take()?;
    // In an instance, which goes away with the recording: the top-level buffer is left alone.
    let mut record = reference.recorder()?;
    record.arg("record").arg("-o").arg(&file);
    let output = record.args(["-B", "trace_lab", "-e", "sched_switch", "sleep", "0.1"]).output()?;
    drop(lock);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report = reference.reader().arg("report").arg("-i").arg(&file).output()?;
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(text.contains("sched_switch:") && text.contains("sleep"), "{text}");
    Ok(())
}

fn root_kvm_shows_the_clock_of_a_guest_in_its_firmware() -> Result<(), Failed> {
    let mut options = GuestOptions::new("firmware");
    options.accel = Accel::Kvm;
    options.firmware_only = true;
    options.cpus = 2;
    let guest = Guest::boot(options)?;
    let debugfs = requirements::kvm_debugfs()?;
    let prefix = format!("{}-", guest.pid());
    // QEMU makes its vCPUs after the sockets that `boot` waits for.
    let last = Instant::now() + SOON;
    let vm = loop {
        let found = std::fs::read_dir(&debugfs)?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .filter(|path| path.join("vcpu1/tsc-offset").exists());
        match found {
            Some(path) => break path,
            None if Instant::now() < last => thread::sleep(Duration::from_millis(10)),
            None => return Err(format!("KVM does not list the guest: {}", guest.console()).into()),
        }
    };
    let pid = guest.pid() as i32;
    let [kvm] = &KvmVm::of_process(&debugfs, pid)[..] else {
        return Err("no VM, or several".into());
    };
    let counters = kvm.counters()?;
    assert_eq!(counters.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), [0, 1]);
    for (cpu, counter) in counters {
        let offset = std::fs::read_to_string(vm.join(format!("vcpu{cpu}/tsc-offset")))?;
        assert_eq!(counter.offset, offset.trim_end_matches(['\n', '\0']).parse::<i64>()?);
        let back = counter.to_host().ok_or("no way back")?;
        assert!(counter.ratio > 1 || back.error == 0, "{back:?}");
    }
    // Older kernels do not tell the threads.
    let named: Vec<_> = kvm.threads().collect();
    let tasks = format!("/proc/{pid}/task");
    assert!(named.iter().all(|(_, thread)| Path::new(&tasks).join(thread.to_string()).exists()));
    let by_name = named_threads(Path::new("/proc"), pid, 2);
    assert!(named.is_empty() || by_name.is_empty() || named == by_name, "{named:?} {by_name:?}");
    assert!(guest.is_running());
    Ok(())
}

/// Reads exactly so many bytes, and gives up when they do not come.
fn read_soon(mut from: impl Read + Send + 'static, length: usize) -> Result<Vec<u8>, Failed> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = vec![0; length];
        let result = from.read_exact(&mut bytes).map(|()| bytes);
        // Nobody waits any more when it took too long.
        let _ = sender.send(result);
    });
    Ok(receiver.recv_timeout(SOON)??)
}
