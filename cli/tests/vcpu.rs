//! `report --vcpu` on this machine: a virtual CPU and a task that want the same processor.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Case, check, success, trace_cmd, values, with_tracefs};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::{Accel, Guest, GuestOptions, Missing, TracefsLock, requirements};
use trace_virt::vcpu::VcpuThreads;
use tracedat::Reader;
use tracedat::plugin::IntField;

const CASES: &[Case] = &[
    Case {
        name: "root_preempted_is_what_the_scheduler_says",
        needs: with_qemu,
        test: || preempted(Accel::Tcg),
    },
    Case {
        name: "root_preempted_under_kvm_is_what_the_scheduler_says",
        needs: with_kvm,
        test: || preempted(Accel::Kvm),
    },
];

const SOON: Duration = Duration::from_secs(240);
/// A firmware that jumps to where it is, at the reset vector.
const FOREVER: [u8; 2] = [0xeb, 0xfe];

/// Two seconds and until a thread has lost its processor often, by what its `/proc` file says: a busy machine takes longer.
const UNTIL_PREEMPTED: &str = "count() { sed -n 's/^nonvoluntary_ctxt_switches:[[:space:]]*//p' $0; }; \
    first=$(count); sleep 2; until [ $(count) -ge $((first + 20)) ]; do [ -e $0 ] || exit 1; sleep 0.1; done";

fn main() -> ExitCode {
    common::run(CASES)
}

fn with_qemu() -> Result<(), Missing> {
    with_tracefs()?;
    requirements::qemu().map(drop)
}

fn with_kvm() -> Result<(), Missing> {
    with_qemu()?;
    requirements::kvm()
}

/// A task that only wants the processor.
struct Hog(Child);

impl Hog {
    fn on(cpu: usize) -> Result<Self, Failed> {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
        let hog = Self(command.spawn()?);
        pin(hog.0.id() as i32, cpu)?;
        Ok(hog)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pin(thread: i32, cpu: usize) -> Result<(), Failed> {
    success(Command::new("taskset").args(["-pc", &cpu.to_string(), &thread.to_string()]))?;
    Ok(())
}

fn busy_guest(dir: &Path, accel: Accel) -> Result<Guest, Failed> {
    let firmware = dir.join("forever.bin");
    let mut image = vec![0; 0x1_0000];
    image[0xfff0..][..FOREVER.len()].copy_from_slice(&FOREVER);
    std::fs::write(&firmware, image)?;
    let mut options = GuestOptions::new("busy");
    options.accel = accel;
    options.firmware_only = true;
    options.memory_mb = 64;
    options.qemu_args =
        ["-name", "guest=busy,debug-threads=on", "-bios"].map(str::to_owned).to_vec();
    options.qemu_args.push(firmware.to_string_lossy().into_owned());
    Ok(Guest::boot(options)?)
}

/// QEMU makes its vCPUs after the sockets that `boot` waits for.
fn vcpu_thread(guest: &Guest) -> Result<i32, Failed> {
    let last = Instant::now() + SOON;
    loop {
        if let Some(thread) = VcpuThreads::of_process(guest.pid() as i32, 1).get(0) {
            return Ok(thread);
        }
        check(Instant::now() < last, || format!("no vCPU: {}", guest.console()))?;
        thread::sleep(Duration::from_millis(10));
    }
}

fn preempted(accel: Accel) -> Result<(), Failed> {
    let _lock = TracefsLock::take()?;
    let dir = TempDir::new()?;
    let path = dir.path().join("trace.dat");
    let guest = busy_guest(dir.path(), accel)?;
    let thread = vcpu_thread(&guest)?;
    // The last processor, as the first has more to do with interrupts.
    let cpu = thread::available_parallelism()?.get() - 1;
    pin(thread, cpu)?;
    let hog = Hog::on(cpu)?;
    let mut record = trace_cmd();
    record.args(["record", "-q", "-b", "8000", "-e", "sched", "-o"]).arg(&path).args([
        "sh",
        "-c",
        UNTIL_PREEMPTED,
        &format!("/proc/{}/task/{thread}/status", guest.pid()),
    ]);
    success(&mut record)?;
    drop(hog);

    let json = success(trace_cmd().args(["report", "--vcpu", "--json", "-i"]).arg(&path))?;
    let line = json.lines().find(|line| line.contains(&format!("\"thread\":{thread},")));
    let line = line.ok_or_else(|| Failed::from(format!("no thread {thread} in {json}")))?;
    let [told] = values(line, "\"preempted\":")[..] else { return Err(line.into()) };
    let [times] = values(line, "\"preemptions\":")[..] else { return Err(line.into()) };
    let (expected, switches) = by_the_scheduler(&path, thread)?;
    check(times > 0 && switches.abs_diff(times) <= 1, || format!("{times}, {switches}"))?;
    check(told.abs_diff(expected) * 100 <= expected, || {
        format!("{told} ns told, {expected} ns by sched_switch: {line}")
    })?;
    // The hog is among those who had the processor.
    check(line.contains("\"comm\":\"sh\""), || line.to_owned())
}

/// The time from each `sched_switch` in which a thread leaves its processor, ready, to that in which it is back.
fn by_the_scheduler(path: &Path, thread: i32) -> Result<(u64, u64), Failed> {
    let Reader { metadata, mut records } = Reader::open(path)?;
    let mut fields: HashMap<u16, Option<[IntField; 3]>> = HashMap::new();
    let (mut left, mut sum, mut times, mut last) = (None, 0, 0, 0);
    while let Some(record) = records.next()? {
        last = record.time;
        let Some(id) = record.data.first_chunk() else { continue };
        let id = u16::from_ne_bytes(*id);
        let found = fields.entry(id).or_insert_with(|| {
            let format =
                &metadata.event_by_id(id).filter(|e| e.format.name == "sched_switch")?.format;
            let field = |name| IntField::new(format.event_field(name)?, format.abi);
            Some([field("prev_pid")?, field("prev_state")?, field("next_pid")?])
        });
        let Some([prev, state, next]) = found else { continue };
        let value = |field: &IntField| field.get(record.data).unwrap_or_default();
        if value(prev) == thread as u64 {
            left = (value(state) & 0xff == 0).then_some(record.time);
            times += u64::from(left.is_some());
        } else if value(next) == thread as u64 {
            sum += left.take().map_or(0, |left: u64| record.time - left);
        }
    }
    Ok((sum + left.map_or(0, |left| last - left), times))
}
