//! A guest that KVM runs, recorded with its host by the processor's own count. The host is an emulated
//! machine itself, so that there is a KVM that boots Linux wherever the tests run.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use common::ping_pong::in_order;
use common::virt::{LIBGCC, alone};
use common::{Case, check, success, trace_cmd, values, with_inner_guest};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::{self, Guest, GuestFile, GuestOptions, Reference, requirements};
use tracedat::Reader;

const CASES: &[Case] = &[Case {
    name: "root_a_guest_of_kvm_is_recorded_exactly",
    needs: with_inner_guest,
    test: exactly,
}];

/// Ping-pongs between host and guest.
const ROUNDS: u32 = 200;
/// For two machines to boot, one inside the other.
const BOOT: Duration = Duration::from_secs(400);
const VIRT_DIR: &str = "/run/virt";
const FILES: [&str; 2] = ["trace.dat", "trace-guest1.dat"];

/// The count of the processor goes on 2^33 further.
const SET_TSC: &str = r"now=$(dd if=/dev/cpu/0/msr bs=8 skip=2 count=1 2>/dev/null | od -An -t u8)
now=$((now + (1 << 33)))
for byte in 1 2 3 4 5 6 7 8; do printf \\x$(printf %02x $((now & 255))); now=$((now >> 8)); done >/tmp/count
dd if=/tmp/count of=/dev/cpu/0/msr bs=8 seek=2 count=1 2>/dev/null
";

/// Marker, message to the guest by a port, answer, marker.
const PING: &str = "#!/bin/sh
exec 3<>/run/$1.in 4<>/run/$1.out
n=1
while [ $n -le $2 ]; do
    echo ping $n sent >/sys/kernel/tracing/trace_marker; echo $n >&3; read -r answer <&4
    echo ping $n answered >/sys/kernel/tracing/trace_marker; n=$((n + 1))
done
sleep 1
";

/// The guest answers its host over its port, and over vsock: there the C version does, too. Who is recorded by an agent has
/// something to do all the same.
const CLIENTS: &str = "#!/bin/busybox sh
(exec 3<>/dev/virtio-ports/echo; while read -r n <&3; do echo $n >&3; done) &
ours agent &
[ ! -e /usr/bin/trace-cmd ] || trace-cmd agent -p 900 &
exec ours virt-server --client --allow-exec
";

fn main() -> ExitCode {
    common::run(CASES)
}

/// The emulated host; its guest runs.
fn boot() -> Result<Guest, Failed> {
    let mut inner = GuestOptions::new("guest1");
    inner.memory_mb = 320;
    inner.modules = ["msr", "vmw_vsock_virtio_transport"].map(str::to_owned).to_vec();
    inner.virt_dir = Some(VIRT_DIR.into());
    // Beside that of the C version, which has to be where it is here.
    let ours = fs::read(lab::static_binary()?)?;
    inner.files.push(GuestFile { path: "/usr/bin/ours".into(), mode: 0o755, data: ours });
    if let Ok(reference) = requirements::reference().and_then(Reference::exact) {
        inner.programs = vec![reference.program().into(), LIBGCC.into()];
    }
    inner.qemu_args = [
        ["-name", "guest=guest1,debug-threads=on"],
        // With that register Linux finds out that the count was set, and sets it back.
        ["-cpu", "host,-arch-capabilities,-tsc-adjust"],
        ["-device", "vhost-vsock-pci,guest-cid=3"],
        ["-chardev", "pipe,id=ping-pong,path=/run/ping-pong"],
        ["-device", "virtserialport,bus=lab-serial.0,nr=9,chardev=ping-pong,name=ping-pong"],
        ["-chardev", "pipe,id=echo,path=/run/echo"],
        ["-device", "virtserialport,bus=lab-serial.0,nr=10,chardev=echo,name=echo"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    for (path, text) in [("/lab/set-tsc", SET_TSC), ("/lab/client", CLIENTS)] {
        inner.files.push(GuestFile { path: path.into(), mode: 0o755, data: text.into() });
    }
    let mut outer = GuestOptions::new("host");
    // Several would freeze in code that KVM's own switches patch, time and again: see `lab/stale_code.rs`.
    outer.cpus = 1;
    outer.memory_mb = 2048;
    outer.trace_cmd = Some(lab::static_binary()?);
    // An emulator does not say that the count it passes on is a constant one.
    outer.kernel_args = "tsc=reliable clocksource=tsc".to_owned();
    outer.modules.push("vhost_vsock".to_owned());
    outer.files.push(GuestFile { path: "/usr/bin/ping".into(), mode: 0o755, data: PING.into() });
    lab::add_inner(&mut outer, &inner)?;
    let host = Guest::boot(outer)?;
    host.wait_ready(BOOT)?;
    host.run(&format!(
        "mkfifo /run/ping-pong.in /run/ping-pong.out /run/echo.in /run/echo.out && \
         sed 's/ tsc / tsc constant_tsc nonstop_tsc /' /proc/cpuinfo >/run/cpuinfo && \
         mount --bind /run/cpuinfo /proc/cpuinfo && \
         export TRACE_CMD_VIRT_DIR={VIRT_DIR} && trace-cmd virt-server --dom guest1 -c 1 && \
         {{ trace-cmd virt-server >/run/server.log 2>&1 & boot-inner & }}"
    ))?;
    let deadline = Instant::now() + BOOT;
    let log = || host.run("tail -n 20 /run/server.log /lab/inner/*.log");
    while host.output("grep 'its client answers' /run/server.log", BOOT)?.status != 0 {
        if Instant::now() > deadline {
            return Err(format!("the inner guest does not answer: {}", log()?).into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(host)
}

/// Records both machines, as `words` say, while markers go to and fro; returns what was said.
fn record(host: &Guest, words: &str, half_way: &str) -> Result<String, Failed> {
    let pong = format!(
        "exec 3<>/dev/virtio-ports/ping-pong; while read -r n <&3; do [ $n != {} ] || {{ {half_way}; }}; \
         echo ping $n in guest >/sys/kernel/tracing/trace_marker; echo $n >&3; [ $n != {ROUNDS} ] || exit 0; done",
        ROUNDS / 2
    );
    let line = format!(
        "cd /run && trace-cmd record --virt-dir {VIRT_DIR} {words} --dom guest1 -e sched -e irq --exec sh -c '{pong}' \\; /usr/bin/ping ping-pong {ROUNDS}"
    );
    run(host, &line)
}

/// Runs what has to end well; returns all that it said.
fn run(host: &Guest, line: &str) -> Result<String, Failed> {
    let output = host.output(line, BOOT)?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    check(output.status == 0, || format!("{line}: {}: {said}", output.status))?;
    Ok(said)
}

/// The files of the last recording.
fn files(host: &Guest, out: &Path) -> Result<[PathBuf; 2], Failed> {
    for name in FILES {
        fs::write(out.join(name), host.read_file(&format!("/run/{name}"))?)?;
    }
    Ok(FILES.map(|name| out.join(name)))
}

fn report(mut program: Command, files: &[PathBuf; 2], words: &[&str]) -> Result<String, Failed> {
    success(program.arg("report").args(words).arg("-i").arg(&files[0]).arg("-i").arg(&files[1]))
}

fn exactly() -> Result<(), Failed> {
    let _alone = alone();
    let out = TempDir::new()?;
    let host = boot()?;
    let examined = "trace-cmd virt-server --doctor guest1 --qmp /lab/inner/qmp.sock --virt-dir";
    let said = host.run(&format!("{examined} {VIRT_DIR}"))?;
    check(said == "guest guest1 can be recorded\n", || said.clone())?;
    // Nobody says which clock: KVM tells how the counts of the two belong together.
    let said = record(&host, "-e kvm -e sched", ":")?;
    check(said.contains("wrong by 0 cycles at most"), || said.clone())?;
    let files = files(&host, out.path())?;
    let metadata = Reader::open(&files[1])?.metadata;
    let told = host.run("cat /sys/kernel/debug/kvm/*/vcpu0/tsc-offset")?;
    let told: i64 = told.trim().parse()?;
    let shift = metadata.time_shift().ok_or("no correction")?;
    let offsets: Vec<_> = shift.cpus.iter().flatten().map(|sample| sample.offset).collect();
    check(offsets == [told.wrapping_neg()], || format!("{offsets:?}, told {told}"))?;

    let ours = report(trace_cmd(), &files, &["-t"])?;
    in_order(&ours, ROUNDS)?;
    if let Ok(reference) = requirements::reference() {
        in_order(&report(reference.reader(), &files, &["-t"])?, ROUNDS)?;
    }
    let uses = is_told(&files, only_while_it_ran(&ours)?)?;
    check(uses.contains("EXIT_HLT"), || uses.clone())?;
    by_its_agent(&host, out.path(), 823)?;
    if requirements::reference().and_then(Reference::exact).is_ok() {
        by_its_agent(&host, out.path(), 900)?;
    }
    a_count_that_is_set(&host, out.path())?;
    host.power_off(BOOT)?;
    Ok(())
}

/// Over vsock there are the same threads and counts: they are those of the process that has the CID.
fn by_its_agent(host: &Guest, out: &Path, port: u32) -> Result<(), Failed> {
    let what = format!("-e sched -e irq -e raw_syscalls /usr/bin/ping echo {ROUNDS}");
    let line = format!("cd /run && trace-cmd record -e kvm -e sched -A guest1@3:{port} {what}");
    let said = run(host, &line)?;
    check(said.contains("wrong by 0 cycles at most"), || said.clone())?;
    let files = files(host, out)?;
    is_told(&files, only_while_it_ran(&report(trace_cmd(), &files, &["-t"])?)?)?;
    Ok(())
}

/// Whether the host's file tells of so much time in the guest; returns all that it tells of the guest.
fn is_told(files: &[PathBuf; 2], in_guest: u64) -> Result<String, Failed> {
    let uses = success(trace_cmd().args(["report", "--vcpu", "--json", "-i"]).arg(&files[0]))?;
    let [told] = values(&uses, "\"in_guest\":")[..] else { return Err(uses.into()) };
    check(told.abs_diff(in_guest) * 1000 <= in_guest, || {
        format!("{told} ns in the guest, {in_guest} by its entries and exits: {uses}")
    })?;
    check(uses.contains("\"guest\":\"guest1\""), || uses.clone())?;
    Ok(uses)
}

/// A guest that sets its count while it is recorded is not believed to be exact, and what is stated instead holds.
fn a_count_that_is_set(host: &Guest, out: &Path) -> Result<(), Failed> {
    let said = record(host, "-e sched", "sh /lab/set-tsc")?;
    check(said.contains("clock compared") && !said.contains("wrong by 0 "), || said.clone())?;
    let files = files(host, out)?;
    let metadata = Reader::open(&files[1])?.metadata;
    let error = metadata.time_error().ok_or("no bound")?;
    let bounds = error.cpus.iter().flatten().map(|one| one.error.saturating_add(one.between));
    let factor = metadata.tsc_to_nsec().ok_or("no nanoseconds")?;
    let cycles = u128::from(bounds.max().unwrap_or(0));
    let bound = u64::try_from((cycles * u128::from(factor.mult)) >> factor.shift)? + 1;

    let report = report(trace_cmd(), &files, &["-t"])?;
    let time = |marker: &str| {
        let line = report.lines().find(|line| line.trim_end().ends_with(marker));
        let time = line.and_then(|line| line.split_whitespace().find_map(nanoseconds));
        time.ok_or_else(|| format!("no {marker:?}"))
    };
    for round in 1..=ROUNDS {
        let [sent, seen, answered] =
            ["sent", "in guest", "answered"].map(|what| time(&format!("ping {round} {what}")));
        let (sent, seen, answered) = (sent?, seen?, answered?);
        check(sent <= seen + bound && seen <= answered + bound, || {
            format!("round {round}: {sent} {seen} {answered}, wrong by {bound} ns at most: {said}")
        })?;
    }
    Ok(())
}

/// Whether each event of the guest came while its processor was entered, as the host saw it; returns the sum of those times.
fn only_while_it_ran(report: &str) -> Result<u64, Failed> {
    let (mut entered, mut sum, mut inside) = (None, 0, 0);
    // Of the last ones nothing is known: the guest's recording ends after the host's.
    let (mut outside, mut last) = (Vec::new(), Vec::new());
    let (mut begin, mut end) = (None, 0);
    for line in report.lines().filter(|line| line.contains(": ")) {
        let Some(time) = line.split_whitespace().find_map(nanoseconds) else { continue };
        if line.trim_start().starts_with("trace-guest1.dat:") {
            match entered {
                Some(Some(_)) => inside += 1,
                Some(None) => last.push(line),
                // Nothing is known before the first of the host's events.
                None => {}
            }
            continue;
        }
        (begin, end) = (begin.or(Some(time)), time);
        if line.contains(" kvm_entry: ") {
            entered = Some(Some(time));
            outside.append(&mut last);
        } else if line.contains(" kvm_exit: ") {
            // It may have been in there when the recording began, and when it ended.
            sum += entered.unwrap_or(begin).map_or(0, |entry| time - entry);
            entered = Some(None);
        }
    }
    sum += entered.flatten().map_or(0, |entry| end - entry);
    check(inside > 1000 && outside.is_empty(), || {
        let some = outside.iter().take(5).copied().collect::<Vec<_>>().join("\n");
        format!("{inside} events while it ran, {} while it did not: {some}", outside.len())
    })?;
    Ok(sum)
}

/// `12.345678901:`
fn nanoseconds(word: &str) -> Option<u64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let number = |text: &str| text.parse::<u64>().ok();
    (fraction.len() == 9).then_some(number(seconds)? * 1_000_000_000 + number(fraction)?)
}
