//! `virt-server` as a process: what it tells, how it starts, goes to the background and ends. Copies of this program
//! stand for QEMU: a guest is known by the `-name` of who connects.

mod common;

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::disk::Disk;
use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Stream, unix};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, OwnRecording, ReadyRecording,
    RecordingEnd, Refusal,
};
use trace_virt::host::{Guest, Sink, StartRequest};
use trace_virt::lab::{Missing, requirements};
use trace_virt::setup::{GuestName, VirtDir};
use trace_virt::wish::Wish;
use tracedat::compress::Codec;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer};

/// Set for a copy of this program that is a guest's QEMU, with a client in it.
const QEMU_DIR: &str = "TRACE_TEST_QEMU_DIR";
/// Set for one whose guest records itself, while this command runs.
const QEMU_OWN: &str = "TRACE_TEST_QEMU_OWN";
/// Set for one whose guest has more events than others.
const QEMU_EVENTS: &str = "TRACE_TEST_QEMU_EVENTS";
/// What there is once a guest that records itself has sent all.
const SENT: &str = "sent";
/// Generous, as the machine may be busy.
const SOON: Duration = Duration::from_secs(240);

const CASES: &[Case] = &[
    Case { name: "status_is_a_table_and_json", needs: nothing, test: status },
    Case { name: "guests_are_who_their_qemu_says", needs: nothing, test: names },
    Case { name: "servers_come_and_go", needs: nothing, test: life },
    Case { name: "guests_may_record_themselves_where_there_is_a_place", needs: nothing, test: own },
    Case {
        name: "root_a_full_disk_ends_what_a_guest_records_itself_and_no_more",
        needs: requirements::root,
        test: full,
    },
    Case { name: "in_the_background_with_pid_and_log", needs: nothing, test: background },
    Case { name: "root_what_is_not_needed_is_given_up", needs: requirements::root, test: given_up },
];

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(QEMU_DIR) {
        let ran = match std::env::var(QEMU_OWN) {
            Ok(command) => record_itself(Path::new(&dir), &command),
            Err(_) => be_qemu(Path::new(&dir)),
        };
        return match ran {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("qemu: {error}");
                ExitCode::FAILURE
            }
        };
    }
    common::run(CASES)
}

#[allow(clippy::unnecessary_wraps, reason = "cases have needs")]
fn nothing() -> Result<(), Missing> {
    Ok(())
}

/// Connects again and again, as QEMU's `reconnect=1`, until standard input is closed.
fn be_qemu(virt_dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (stop, stopper) = nix::unistd::pipe()?;
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(stopper);
    });
    let links = virt_dir.join("ports");
    let socket = VirtDir::new(virt_dir.join("virt")).agent_socket();
    loop {
        let mut ended = [nix::poll::PollFd::new(stop.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut ended, 20_u16)? > 0 {
            return Ok(());
        }
        let Ok(stream) = unix::connect(&socket) else { continue };
        let options = client_options(links.clone());
        Client::over(stream, options, Box::new(Zeros))?.run(stop.as_fd(), &mut |_| {})?;
    }
}

fn client_options(links: PathBuf) -> ClientOptions {
    ClientOptions {
        exec: ExecPolicy::Any,
        version: "test\x1b[31m2.0".to_owned(),
        ports: PortDirs { links, class: "/nonexistent".into(), devices: "/nonexistent".into() },
        ..ClientOptions::default()
    }
}

/// What `record --virt` does in a guest, with events of our own making.
fn record_itself(virt_dir: &Path, command: &str) -> Result<(), Box<dyn std::error::Error>> {
    let stream = unix::connect(&VirtDir::new(virt_dir.join("virt")).agent_socket())?;
    let client = Client::over(stream, client_options(virt_dir.join("ports")), Box::new(Generated))?;
    let (stop, _stopper) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let wish = Wish { clock: "mono".to_owned(), instances: Vec::new() };
    let own = OwnRecording { wish, command: vec![command.to_owned()] };
    Ok(client.record(own, stop.as_fd(), &mut |_| {})?)
}

/// Events of a generated trace.
const EVENTS: usize = 300;

fn workload() -> Workload {
    let plain = Workload { cpus: 1, missed_every: 0, odd_entries: false, ..Workload::new(7) };
    let more = std::env::var(QEMU_EVENTS).ok().and_then(|count| count.parse().ok());
    Workload { events_per_cpu: more.unwrap_or(EVENTS), ..plain }
}

/// Records a generated trace of one CPU.
struct Generated;

impl GuestRecorder for Generated {
    fn prepare(&mut self, _: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let made = workload().generate();
        let bytes = made.buffers.iter().flat_map(|buffer| &buffer.cpus).map(|cpu| &cpu.bytes);
        let mut sent = Vec::new();
        for (fd, bytes) in data.into_iter().zip(bytes) {
            let mut stream = Stream::new(fd, "data port").map_err(|e| e.to_string())?;
            sent.push(bytes.len() as u64);
            let bytes = bytes.clone();
            // The host takes more than a FIFO holds only once it has the head.
            std::thread::spawn(move || {
                let written = stream.write_all(&bytes, trace_transport::Deadline::after(SOON));
                if let (Ok(()), Some(dir)) = (written, std::env::var_os(QEMU_DIR)) {
                    let _ = File::create(Path::new(&dir).join(SENT));
                }
            });
        }
        Ok(ReadyRecording::new(workload().page_size, || Ok(Box::new(Sent(sent)))))
    }
}

struct Sent(Vec<u64>);

impl GuestRecording for Sent {
    fn trace_id(&self) -> u64 {
        1
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        let workload = workload();
        let settings = Settings {
            version: Version::V7,
            codec: Codec::None,
            ..Settings::new(workload.abi, workload.page_size)
        };
        let mut head = Vec::new();
        let builder = TraceBuilder::new(workload);
        let writer = Writer::create(Cursor::new(&mut head), settings, &builder.head());
        drop(writer.map_err(|error| error.to_string())?);
        Ok(Box::new(Cursor::new(head)))
    }

    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        Ok(RecordingEnd { bytes: self.0, tail: Vec::new() })
    }

    fn abort(self: Box<Self>) {}
}

/// Records one sub-buffer of zeros per CPU.
struct Zeros;

impl GuestRecorder for Zeros {
    fn prepare(&mut self, _: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        let mut bytes = Vec::new();
        for fd in data {
            let mut stream = Stream::new(fd, "data port").map_err(|e| e.to_string())?;
            let soon = trace_transport::Deadline::after(SOON);
            stream.write_all(&[0; 4096], soon).map_err(|e| e.to_string())?;
            bytes.push(4096);
        }
        Ok(ReadyRecording::new(4096, || Ok(Box::new(Zeroed(bytes)))))
    }
}

struct Zeroed(Vec<u64>);

impl GuestRecording for Zeroed {
    fn trace_id(&self) -> u64 {
        1
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        Ok(RecordingEnd { bytes: self.0, tail: Vec::new() })
    }

    fn abort(self: Box<Self>) {}
}

/// A directory of guests with one CPU each, and FIFOs held open as by QEMU.
struct Lab {
    temp: TempDir,
    _fifos: Vec<File>,
}

impl Lab {
    fn new(guests: &[&str]) -> Result<Self, Failed> {
        let temp = TempDir::new()?;
        let mut fifos = Vec::new();
        fs::create_dir(temp.path().join("ports"))?;
        for guest in guests {
            success(virt_server(temp.path()).args(["--dom", guest, "-c", "1"]))?;
            let name = GuestName::new(guest)?;
            let fifo = VirtDir::new(temp.path().join("virt")).data_fifo(&name, 0);
            let fifo = fifo.ok_or("no FIFO")?;
            fifos.push(File::options().read(true).write(true).open(&fifo)?);
            let link = temp.path().join("ports/trace-path-cpu0");
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&fifo, link)?;
        }
        Ok(Self { temp, _fifos: fifos })
    }

    fn dir(&self) -> VirtDir {
        VirtDir::new(self.temp.path().join("virt"))
    }

    fn server(&self, words: &[&str]) -> Result<Running, Failed> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut server = virt_server(self.temp.path());
        let server = Running(server.args(words).stdin(Stdio::null()).stderr(log).spawn()?);
        eventually("the server serves", || self.status().is_ok())?;
        Ok(server)
    }

    fn log(&self) -> PathBuf {
        self.temp.path().join("log")
    }

    fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn qemu(&self, name: &str) -> Result<Running, Failed> {
        let mut qemu = Command::new(std::env::current_exe()?);
        qemu.args(["-name", name]).env(QEMU_DIR, self.temp.path());
        Ok(Running(qemu.stdin(Stdio::piped()).spawn()?))
    }

    fn record_itself(&self, command: &str) -> Result<Child, Failed> {
        self.record_events(EVENTS, command)
    }

    fn record_events(&self, events: usize, command: &str) -> Result<Child, Failed> {
        let mut qemu = Command::new(std::env::current_exe()?);
        qemu.args(["-name", "guest1"]).env(QEMU_DIR, self.temp.path()).env(QEMU_OWN, command);
        qemu.env(QEMU_EVENTS, events.to_string());
        let _ = fs::remove_file(self.temp.path().join(SENT));
        Ok(qemu.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    fn status(&self) -> Result<String, Failed> {
        success(virt_server(self.temp.path()).args(["--status", "--json"]))
    }

    fn wait_for(&self, words: &str) -> Result<(), Failed> {
        eventually(words, || self.status().is_ok_and(|text| text.contains(words)))
            .map_err(|_| format!("never {words}: {:?}; {}", self.status(), self.log_text()).into())
    }
}

fn virt_server(temp: &Path) -> Command {
    let mut command = trace_cmd();
    command.arg("virt-server").arg("--virt-dir").arg(temp.join("virt"));
    command
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Ends it as asked; says how it ended.
    fn end(mut self, signal: Signal) -> Result<std::process::ExitStatus, Failed> {
        kill(self.pid(), signal)?;
        Ok(self.0.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failed> {
    let start = Instant::now();
    while !is_so() {
        check(start.elapsed() < SOON, || format!("never: {what}"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn status() -> Result<(), Failed> {
    let lab = Lab::new(&["other", "guest1"])?;
    let line = complaint(virt_server(lab.temp.path()).arg("--status"))?;
    check(line.contains("no virt-server answers") && line.contains("start it"), || line.clone())?;
    let _server = lab.server(&[])?;
    let qemu = lab.qemu("guest1")?;
    lab.wait_for("ready")?;

    let guest = Guest::connect(&lab.dir(), &GuestName::new("guest1")?)?;
    let mut session = guest.start(&StartRequest::default())?;
    let sink = File::create(lab.temp.path().join("data"))?;
    session.collect(vec![Sink { to: sink.into(), offset: None }], None)?;
    lab.wait_for("\"bytes\":4096,")?;
    let json = lab.status()?;
    let me = std::process::id();
    for part in [format!("{me}"), qemu.pid().to_string(), "\"not connected\"".to_owned()] {
        check(json.contains(&part), || format!("no {part} in {json}"))?;
    }
    let table = success(virt_server(lab.temp.path()).arg("--status"))?;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    let [titles, guest1, other] = &lines[..] else { return Err(table.into()) };
    let cell = |row: &[&str], title: &str| {
        let place = titles.iter().position(|one| *one == title);
        place.and_then(|place| row.get(place)).map(|cell| (*cell).to_owned()).unwrap_or_default()
    };
    for (row, title, text) in [
        (guest1, "GUEST", "guest1".to_owned()),
        (guest1, "STATE", "recording".to_owned()),
        (guest1, "QEMU", qemu.pid().to_string()),
        (guest1, "CPUS", "1".to_owned()),
        // A guest's text does nothing to a terminal.
        (guest1, "CLIENT", "test [31m2.0".to_owned()),
        (guest1, "EXEC", "any".to_owned()),
        (guest1, "RECORDER", me.to_string()),
        (guest1, "DATA", "4.1 kB".to_owned()),
        (guest1, "LOST", "0 B".to_owned()),
        (other, "GUEST", "other".to_owned()),
        (other, "STATE", "not connected".to_owned()),
        (other, "QEMU", "-".to_owned()),
    ] {
        check(cell(row, title) == text, || format!("{title} is not {text:?} in {table}"))?;
    }
    let finished = session.close()?;
    check(finished.problems.is_empty(), || format!("{:?}", finished.problems))
}

fn names() -> Result<(), Failed> {
    let lab = Lab::new(&["guest1"])?;
    let _server = lab.server(&[])?;
    let first = lab.qemu("guest=guest1,debug-threads=on")?;
    lab.wait_for("ready")?;
    // The same name again, no guest's name, and one that nobody set up: the first one stays.
    let twin = lab.qemu("guest1")?;
    let nameless = lab.qemu("debug-threads=on")?;
    let stranger = lab.qemu("stranger")?;
    lab.wait_for("stranger")?;
    for (process, reason) in
        [(&twin, "a guest of this name is connected"), (&nameless, "no guest's name")]
    {
        let line = format!("process {} was sent away: {reason}", process.pid());
        eventually(&line, || lab.log_text().contains(&line))?;
    }
    let json = lab.status()?;
    let is_qemu = |process: &Running| format!("\"qemu_pid\":{},", process.pid());
    check(json.contains(&is_qemu(&first)), || json.clone())?;
    check(!json.contains(&is_qemu(&twin)), || json.clone())?;
    // Its place is free as soon as it is gone.
    drop((stranger, nameless, first));
    lab.wait_for(&is_qemu(&twin))
}

/// Off unless the server was started for it; then into one file of the guest's name, up to a size.
fn own() -> Result<(), Failed> {
    let line = complaint(trace_cmd().args(["record", "--virt", "-e", "sched", "true"]))?;
    check(line.contains("no virtio-serial port") && line.contains("--dom GUEST"), || line.clone())?;
    let lab = Lab::new(&["guest1"])?;
    let server = lab.server(&[])?;
    let refused = lab.record_itself("true")?.wait_with_output()?;
    let said = common::stderr(&refused);
    check(!refused.status.success() && said.contains("--accept"), || said.clone())?;
    eventually("it is told", || lab.log_text().contains("wants to be recorded, and is not"))?;
    server.end(Signal::SIGTERM)?;

    let place = lab.temp.path().join("place");
    let line = complaint(virt_server(lab.temp.path()).arg("--accept").arg(&place))?;
    check(line.contains("choose a directory that is there"), || line.clone())?;
    fs::create_dir(&place)?;
    let accept = place.to_str().ok_or("no text")?;
    let file = place.join("trace-guest1.dat");
    let times = |words: &str| lab.log_text().matches(words).count();
    let server = lab.server(&["--accept", accept])?;
    for round in 1..=2 {
        let done = lab.record_itself("true")?.wait_with_output()?;
        check(done.status.success(), || common::stderr(&done))?;
        if round == 1 {
            // The next one waits until this is complete.
            continue;
        }
        eventually("the files are complete", || times("recorded in") == round)?;
        let count = events(&file)?;
        check(count == EVENTS, || format!("{count} events; {}", lab.log_text()))?;
        fs::remove_file(&file)?;
    }
    // Its command waits for standard input, and both go away.
    let has_sent = || file.exists() && lab.temp.path().join(SENT).exists();
    let dying = lab.record_itself("cat")?;
    eventually("it is recorded", has_sent)?;
    let mut dying = Running(dying);
    dying.0.kill()?;
    drop(dying);
    eventually("its end is told", || times("it went away") == 1)?;
    eventually("the file is complete", || times("recorded in") == 3)?;
    let count = events(&file)?;
    check(count == EVENTS, || format!("{count} events of one that died"))?;
    // The other way round: the server is stopped.
    fs::remove_file(&file)?;
    let left = lab.record_itself("cat")?;
    eventually("it is recorded", has_sent)?;
    let status = server.end(Signal::SIGTERM)?;
    check(status.success() && times("recorded in") == 4, || lab.log_text())?;
    let said = common::stderr(&left.wait_with_output()?);
    check(said.contains("the host ended the recording"), || said.clone())?;
    let count = events(&file)?;
    check(count == EVENTS, || format!("{count} events of a stopped server"))?;

    let _server = lab.server(&["--accept", accept, "--max-size", "4k"])?;
    let done = lab.record_itself("true")?.wait_with_output()?;
    check(done.status.success(), || common::stderr(&done))?;
    eventually("it is told", || lab.log_text().contains("were not kept: see --max-size"))?;
    let count = events(&file)?;
    check((1..EVENTS).contains(&count), || format!("{count} events in one sub-buffer"))?;
    let names: Vec<_> = fs::read_dir(&place)?.flatten().map(|entry| entry.file_name()).collect();
    check(names == ["trace-guest1.dat"], || format!("{names:?}"))
}

/// What came before is in the file, the cause in the log; the next one finds all as it should be.
fn full() -> Result<(), Failed> {
    let disk = Disk::tmpfs("16m")?;
    let lab = Lab::new(&["guest1"])?;
    let accept = disk.root().to_str().ok_or("no text")?.to_owned();
    let server = lab.server(&["--accept", &accept])?;
    let file = disk.root().join("trace-guest1.dat");
    let times = |words: &str| lab.log_text().matches(words).count();
    let filler = disk.fill(3 << 20)?;
    let sent = 100_000;
    lab.record_events(sent, "true")?.wait_with_output()?;
    let told = "guest guest1: CPU 0: moving its data: No space left on device";
    eventually("it is told", || times(told) == 1)?;
    check(times("--max-size") == 0, || lab.log_text())?;
    let count = events(&file)?;
    check((1..sent).contains(&count), || format!("{count} events; {}", lab.log_text()))?;
    drop(filler);
    let done = lab.record_itself("true")?.wait_with_output()?;
    check(done.status.success(), || common::stderr(&done))?;
    eventually("the file is complete", || times("recorded in") == 2)?;
    let count = events(&file)?;
    check(count == EVENTS, || format!("{count} events; {}", lab.log_text()))?;
    let names: Vec<_> = fs::read_dir(disk.root())?.flatten().map(|one| one.file_name()).collect();
    check(names == ["trace-guest1.dat"], || format!("{names:?}"))?;
    let status = server.end(Signal::SIGTERM)?;
    check(status.success(), || lab.log_text())
}

fn events(file: &Path) -> Result<usize, Failed> {
    let text = success(trace_cmd().arg("report").arg("-i").arg(file))?;
    Ok(text.lines().filter(|line| line.contains("[000]")).count())
}

fn life() -> Result<(), Failed> {
    let lab = Lab::new(&["guest1"])?;
    // The guest is there before the server.
    let _qemu = lab.qemu("guest1")?;
    let server = lab.server(&[])?;
    lab.wait_for("ready")?;
    let (agent, manager) = (lab.dir().agent_socket(), lab.dir().manager_socket());
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777);
    check(mode(&manager)? == 0o600, || "others may record guests".to_owned())?;
    let line = complaint(&mut virt_server(lab.temp.path()))?;
    check(line.contains("another virt-server owns"), || line.clone())?;

    // Killed, it leaves its sockets; the next one takes their place, and the guest comes back.
    server.end(Signal::SIGKILL)?;
    check(agent.exists(), || "a killed server cleans up?".to_owned())?;
    let group = nix::unistd::Group::from_gid(nix::unistd::getegid())?.ok_or("no group")?;
    let server = lab.server(&["--manager-group", &group.name])?;
    check(mode(&manager)? == 0o660, || "the group may not record guests".to_owned())?;
    check(fs::metadata(&manager)?.gid() == group.gid.as_raw(), || group.name.clone())?;
    lab.wait_for("ready")?;
    let status = server.end(Signal::SIGTERM)?;
    check(status.success(), || format!("{status}"))?;
    check(!agent.exists() && !manager.exists(), || "sockets stay".to_owned())?;
    let line = complaint(virt_server(lab.temp.path()).args(["--manager-group", "no such group"]))?;
    check(line.contains("no group"), || line.clone())
}

fn background() -> Result<(), Failed> {
    let lab = Lab::new(&["guest1"])?;
    let (pid_file, log) = (lab.temp.path().join("pid"), lab.temp.path().join("own.log"));
    let mut server = virt_server(lab.temp.path());
    server.arg("-D").arg("--pid-file").arg(&pid_file).arg("-l").arg(&log);
    // It is there when this returns.
    success(&mut server)?;
    let json = lab.status()?;
    check(json.contains("guest1"), || json.clone())?;
    eventually("the pid is told", || {
        fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n'))
    })?;
    let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse()?;
    let qemu = lab.qemu("guest1")?;
    lab.wait_for("ready")?;
    drop(qemu);
    eventually("the guest is gone", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("guest guest1: QEMU went away"))
    })?;
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    eventually("it cleans up", || !pid_file.exists() && !lab.dir().agent_socket().exists())
}

/// Capabilities and new privileges are gone, and so is root, if asked for; guests are served all the same.
fn given_up() -> Result<(), Failed> {
    let nobody = nix::unistd::User::from_name("nobody")?.ok_or("no user 'nobody'")?;
    for (words, is_limited) in
        [(&[][..], true), (&["--user", "nobody"], true), (&["--no-sandbox"], false)]
    {
        let lab = Lab::new(&["guest1"])?;
        fs::set_permissions(lab.temp.path(), fs::Permissions::from_mode(0o755))?;
        let server = lab.server(words)?;
        let _qemu = lab.qemu("guest1")?;
        lab.wait_for("ready")?;
        let rights = common::rights::of(server.pid())?;
        check(rights.is_limited() == is_limited, || format!("{words:?}: {rights:?}"))?;
        if is_limited {
            check(rights.effective == 0, || format!("{words:?}: {rights:?}"))?;
        }
        let is_nobody = words.contains(&"nobody");
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
        let uid = format!("Uid:\t{}\t", nobody.uid);
        check(status.contains(&uid) == is_nobody, || format!("{words:?}: {status}"))?;
        let ended = server.end(Signal::SIGTERM)?;
        check(ended.success(), || format!("{words:?}: {ended}"))?;
    }
    let line = complaint(virt_server(TempDir::new()?.path()).args(["--user", "no-such-user"]))?;
    check(line.contains("there is no user 'no-such-user'"), || line.clone())
}
