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

use common::{Case, check, complaint, success, trace_cmd};
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Stream, unix};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, RecordingEnd, Refusal,
};
use trace_virt::host::{Guest, Sink, StartRequest};
use trace_virt::lab::Missing;
use trace_virt::setup::{GuestName, VirtDir};

/// Set for a copy of this program that is a guest's QEMU, with a client in it.
const QEMU_DIR: &str = "TRACE_TEST_QEMU_DIR";
/// Generous, as the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

const CASES: &[Case] = &[
    Case { name: "status_is_a_table_and_json", needs: nothing, test: status },
    Case { name: "guests_are_who_their_qemu_says", needs: nothing, test: names },
    Case { name: "servers_come_and_go", needs: nothing, test: life },
    Case { name: "in_the_background_with_pid_and_log", needs: nothing, test: background },
];

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(QEMU_DIR) {
        return match be_qemu(Path::new(&dir)) {
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
        let options = ClientOptions {
            exec: ExecPolicy::Any,
            version: "test\x1b[31m2.0".to_owned(),
            ports: PortDirs {
                links: links.clone(),
                class: "/nonexistent".into(),
                devices: "/nonexistent".into(),
            },
            ..ClientOptions::default()
        };
        Client::over(stream, options, Box::new(Zeros))?.run(stop.as_fd(), &mut |_| {})?;
    }
}

/// Records one sub-buffer of zeros per CPU.
struct Zeros;

impl GuestRecorder for Zeros {
    fn start(
        &mut self,
        _args: &[String],
        data: Vec<OwnedFd>,
    ) -> Result<Box<dyn GuestRecording>, Refusal> {
        let mut bytes = Vec::new();
        for fd in data {
            let mut stream = Stream::new(fd, "data port").map_err(|e| e.to_string())?;
            let soon = trace_transport::Deadline::after(SOON);
            stream.write_all(&[0; 4096], soon).map_err(|e| e.to_string())?;
            bytes.push(4096);
        }
        Ok(Box::new(Zeroed(bytes)))
    }
}

struct Zeroed(Vec<u64>);

impl GuestRecording for Zeroed {
    fn trace_id(&self) -> u64 {
        1
    }

    fn sub_buffer_size(&self) -> u32 {
        4096
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
    lab.wait_for("4096")?;
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
    check(json.contains(&first.pid().to_string()), || json.clone())?;
    check(!json.contains(&twin.pid().to_string()), || json.clone())?;
    // Its place is free as soon as it is gone.
    drop((stranger, nameless, first));
    let word = twin.pid().to_string();
    lab.wait_for(&word)
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
