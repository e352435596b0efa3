//! `agent -P` and `record --proxy`: a guest that has its host recorded. Both are one machine here, so the guest records in an
//! instance.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trace_transport::message::{Decoder, MAX_DATA, Message, ParameterId, ParameterList};
use trace_virt::lab::{Reference, requirements};
use tracedat::Abi;
use tracedat::write::{self, Head, Settings, Writer, ahead};

use crate::common::{check, complaint, stderr, success, trace_cmd};
use crate::own::save;
use crate::peers::{OwnAgent, until};
use crate::reference::{Left, MAX_OFFSET, offsets};
use crate::{Bench, LOAD, PROGRAMS};

/// What the guest is recorded with, before `--proxy`.
const OWN: [&str; 4] = ["-B", "own", "-e", "sched_process_exec"];
/// What the host is.
const HOST: [&str; 2] = ["-e", "sched_process_fork"];

/// `record --proxy` of ours; files are `trace.dat` and `trace-NAME.dat`.
fn record(bench: &Bench, words: &[&str], proxy: &str, name: &str) -> Command {
    let mut record = trace_cmd();
    record.current_dir(bench.out.path()).arg("record").args(words);
    record.args(["--proxy", proxy, "--name", name]).args(HOST);
    record
}

fn own_file(bench: &Bench) -> PathBuf {
    bench.out.path().join("trace.dat")
}

/// Both files have their events, and readers show them on one time line.
fn both_are_whole(bench: &Bench, name: &str) -> Result<(), Failed> {
    let (own, host) = (own_file(bench), bench.file(name));
    let mut readers = vec![trace_cmd()];
    readers
        .extend(requirements::reference().and_then(Reference::exact).ok().map(|one| one.reader()));
    for mut reader in readers {
        let text = success(reader.arg("report").arg("-i").arg(&own).arg("-i").arg(&host))?;
        let programs = text.lines().filter(|line| line.contains("filename=/bin/ls")).count();
        check(programs == PROGRAMS, || format!("{programs} programs in {reader:?}"))?;
        let of_host = format!("trace-{name}.dat:");
        let forks = text.lines().filter(|line| line.trim_start().starts_with(&of_host));
        let forks = forks.filter(|line| line.contains(" sched_process_fork:")).count();
        check(forks >= PROGRAMS, || format!("{forks} processes in {reader:?}"))?;
        // Programs that ran on the host have their names.
        check(text.contains(" sh-"), || format!("no command lines in {reader:?}"))?;
    }
    let options = success(trace_cmd().args(["dump", "--options", "-i"]).arg(&host))?;
    check(options.contains("::GUEST:: [Guest name]"), || options.clone())
}

fn clocks_agree(bench: &Bench) -> Result<(), Failed> {
    if requirements::reference().and_then(Reference::exact).is_err() {
        return Ok(());
    }
    let offsets = offsets(&own_file(bench))?;
    // A round at the start and one at the end, of every CPU.
    let rounds = 2 * thread::available_parallelism()?.get();
    check(offsets.len() == rounds, || format!("{offsets:?}"))?;
    check(offsets.iter().all(|offset| offset.abs() < MAX_OFFSET), || format!("{offsets:?}"))
}

pub(crate) fn recorded() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3"])?;
    for clock in ["mono", "local"] {
        let words = ["-C", clock, "--fail-on-loss"];
        let mut record = record(&bench, &[&words, &OWN[..]].concat(), &agent.address(), clock);
        let said = success(record.args(["sh", "-c", LOAD]))?;
        check(said.contains(&format!("{clock}: clock compared")), || said.clone())?;
        both_are_whole(&bench, clock)?;
        clocks_agree(&bench)?;
    }
    // More rounds in between.
    let words = ["--tsync-interval", "50", "-q"];
    let mut often = record(&bench, &[&words, &OWN[..]].concat(), &agent.address(), "often");
    let wait = format!("{LOAD}; sleep 3");
    success(often.args(["sh", "-c", &wait]))?;
    let options = success(trace_cmd().args(["dump", "--options", "-i"]).arg(own_file(&bench)))?;
    let rounds = options.matches("scaling >> fraction").count();
    let cpus = thread::available_parallelism()?.get();
    check(rounds > 2 * cpus, || format!("{rounds} rounds of {cpus} CPUs"))?;
    agent.stop()?;
    // Nothing is recorded here but the host, which asks for a key.
    let key = bench.out.path().join("key");
    save(&key, b"a key that both know")?;
    let key = key.to_string_lossy();
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3", "--key-file", &key])?;
    let mut alone = record(&bench, &["-q", "--key-file", &key], &agent.address(), "alone");
    success(alone.args(["sh", "-c", LOAD]))?;
    let text = bench.text("alone")?;
    check(text.contains("sched_process_fork:"), || text.clone())?;
    let line = complaint(record(&bench, &[], &agent.address(), "keyless").arg("true"))?;
    check(line.contains("a key is required"), || line.clone())?;
    bench.has_no_file("keyless")?;
    agent.stop()?;
    bench.is_as_before()
}

/// Behind the sockets of a guest's monitor.
pub(crate) fn behind_sockets() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let socket = bench.out.path().join("vm.vsock");
    let address = format!("unix:{}:823", socket.display());
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3", "--bind", &address])?;
    monitor(&socket)?;
    let mut record = record(&bench, &OWN, &address, "host");
    success(record.args(["sh", "-c", LOAD]))?;
    both_are_whole(&bench, "host")?;
    clocks_agree(&bench)?;
    agent.stop()?;
    let mut left = std::fs::read_dir(bench.out.path())?.flatten();
    let left = left.find(|one| one.file_name().to_string_lossy().starts_with("vm.vsock_"));
    check(left.is_none(), || format!("{left:?} is left"))?;
    bench.is_as_before()
}

/// Connects as the monitor of a guest does: to the host's port that the other side names.
fn monitor(socket: &Path) -> Result<(), Failed> {
    let listener = UnixListener::bind(socket)?;
    let socket = socket.to_owned();
    thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let socket = socket.clone();
            thread::spawn(move || -> std::io::Result<()> {
                let mut line = String::new();
                // Nothing more is said before the answer.
                BufReader::new(&from).read_line(&mut line)?;
                let port = line.trim().trim_start_matches("CONNECT ");
                let to = UnixStream::connect(format!("{}_{port}", socket.display()))?;
                (&from).write_all(format!("OK {port}\n").as_bytes())?;
                let pass = |mut from: UnixStream, mut to: UnixStream| {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                };
                let (back, forth) = ((to.try_clone()?, from.try_clone()?), (from, to));
                thread::spawn(move || pass(back.0, back.1));
                pass(forth.0, forth.1);
                Ok(())
            });
        }
    });
    Ok(())
}

pub(crate) fn of_the_reference() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let left = Left::by_reference(&bench)?;
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3"])?;
    let mut record = requirements::reference()?.exact()?.recorder()?;
    record.current_dir(bench.out.path()).arg("record").args(OWN);
    record.args(["--proxy", &agent.address()]).args(HOST);
    success(record.args(["sh", "-c", LOAD]))?;
    both_are_whole(&bench, "127.0.0.1")?;
    clocks_agree(&bench)?;
    agent.says("the recording is over")?;
    agent.stop()?;
    drop(left);
    bench.has_same_instances()
}

pub(crate) fn refused() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let line = complaint(record(&bench, &[], &agent.address(), "host").arg("true"))?;
    check(line.contains("start it with -P CID"), || line.clone())?;
    agent.stop()?;
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3", "--allow-exec"])?;
    let line = complaint(&mut bench.record(&agent.address(), &["-e", "sched", "true"]))?;
    check(line.contains("for its guest only"), || line.clone())?;
    for (words, reason) in [
        (&["-e", "no_such_event"][..], "no event matches 'no_such_event'"),
        (&["-e", "sched", "--file-version", "6"], "--file-version 6 cannot be sent to a guest"),
        (&["-e", "sched", "-o", "/etc/passwd"], "-o cannot be given"),
    ] {
        let mut list = ParameterList::new();
        list.push_counted(ParameterId::ARGUMENTS, words)?;
        let parameters = list.parameters();
        let ask = Message::TraceProxy { flags: 0, trace_id: 1, cpus: 1, siblings: 0, parameters };
        let mut guest = TcpStream::connect(agent.address())?;
        guest.write_all(&ask.to_bytes()?)?;
        agent.says(reason)?;
    }
    for name in ["host", "127.0.0.1"] {
        bench.has_no_file(name)?;
    }
    agent.stop()?;
    bench.is_as_before()
}

/// A recording that goes on until it is told to end, and has begun.
fn running(bench: &Bench, agent: &OwnAgent) -> Result<Child, Failed> {
    let mut record = record(bench, &OWN, &agent.address(), "host");
    let waits = "touch runs; until [ -e ends ] || [ ! -e runs ]; do /bin/sleep 0.1; done";
    record.args(["sh", "-c", waits]);
    let guest = record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    until("the guest's command runs", || bench.out.path().join("runs").exists())?;
    Ok(guest)
}

pub(crate) fn cut() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3"])?;
    let guest = running(&bench, &agent)?;
    // The host's agent is ended in the middle.
    agent.stop()?;
    std::fs::write(bench.out.path().join("ends"), "")?;
    let output = guest.wait_with_output()?;
    let text = stderr(&output);
    check(output.status.code() == Some(5), || format!("{}: {text}", output.status))?;
    check(
        text.contains("guest host is gone") && text.contains("what came is in its file"),
        || text,
    )?;
    for file in [own_file(&bench), bench.file("host")] {
        success(trace_cmd().args(["report", "-i"]).arg(file))?;
    }
    bench.is_as_before()?;
    for name in ["ends", "runs"] {
        std::fs::remove_file(bench.out.path().join(name))?;
    }
    // The guest dies.
    let agent = OwnAgent::start(bench.out.path(), &["-P", "3"])?;
    let mut guest = running(&bench, &agent)?;
    kill(Pid::from_raw(i32::try_from(guest.id())?), Signal::SIGKILL)?;
    guest.wait()?;
    std::fs::write(bench.out.path().join("ends"), "")?;
    agent.says("went away; the recording was aborted")?;
    success(trace_cmd().args(["reset", "--stale"]))?;
    agent.stop()?;
    bench.is_as_before()
}

/// What a host that is none sends at the end.
#[derive(Clone, Copy)]
struct Lies {
    sections: &'static [u8],
    options: &'static [u8],
    /// How often the options.
    times: usize,
    told: &'static str,
}

pub(crate) fn of_a_liar() -> Result<(), Failed> {
    let bench = Bench::new()?;
    for lies in [
        Lies {
            sections: b"no sections",
            options: b"",
            times: 1,
            told: "complete its file makes no sense",
        },
        Lies {
            sections: b"",
            options: b"garbage",
            times: 1,
            told: "for this machine make no sense",
        },
        Lies {
            sections: b"",
            options: &[12, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            times: 1,
            told: "its clock is that of trace 0x9",
        },
        Lies { sections: b"", options: &[0; MAX_DATA], times: 3000, told: "16777216" },
    ] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let host = thread::spawn(move || lie(&listener, lies).map_err(|error| error.to_string()));
        let mut record = record(&bench, &OWN, &address, "host");
        let output = record.args(["sh", "-c", LOAD]).output()?;
        let text = stderr(&output);
        check(text.contains(lies.told) && text.contains("host: "), || {
            format!("{}: {text}", lies.told)
        })?;
        ended(host)?;
        for file in [own_file(&bench), bench.file("host")] {
            success(trace_cmd().args(["report", "-i"]).arg(file))?;
        }
    }
    bench.is_as_before()
}

fn ended(host: JoinHandle<Result<(), String>>) -> Result<(), Failed> {
    host.join().map_err(|_| "the liar panicked")?.map_err(Into::into)
}

/// Answers a guest up to CLOSE as a host does, and then lies.
fn lie(listener: &TcpListener, lies: Lies) -> Result<(), Box<dyn std::error::Error>> {
    let (mut guest, _) = listener.accept()?;
    let mut said = Decoder::new();
    wait_for(&mut guest, &mut said, |message| matches!(message, Message::TraceProxy { .. }))?;
    let data = TcpListener::bind("127.0.0.1:0")?;
    let port = data.local_addr()?.port().to_string();
    let ports = trace_transport::message::WordList::new([port])?;
    let answer = Message::TraceResp {
        flags: 0,
        cpus: 1,
        page_size: 4096,
        trace_id: 7,
        time_sync: Default::default(),
        time_sync_port: 0,
        accepted: 0,
        ports: ports.words(),
    };
    guest.write_all(&answer.to_bytes()?)?;
    send(&mut guest, &head()?, 1)?;
    drop(data.accept()?);
    wait_for(&mut guest, &mut said, |message| matches!(message, Message::Close))?;
    send(&mut guest, lies.sections, 1)?;
    wait_for(&mut guest, &mut said, |message| matches!(message, Message::Cont))?;
    // A guest that has heard enough hangs up.
    let _ = send(&mut guest, lies.options, lies.times);
    let _ = guest.write_all(&Message::CloseResp.to_bytes()?);
    let _ = guest.read_to_end(&mut Vec::new());
    Ok(())
}

fn send(to: &mut TcpStream, bytes: &[u8], times: usize) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..times {
        for piece in bytes.chunks(MAX_DATA) {
            to.write_all(&Message::SendData(piece).to_bytes()?)?;
        }
    }
    Ok(to.write_all(&Message::FinData.to_bytes()?)?)
}

fn wait_for(
    from: &mut TcpStream,
    said: &mut Decoder,
    is_it: impl Fn(&Message<'_>) -> bool,
) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        while let Some(frame) = said.next_frame()? {
            if is_it(&Message::decode(&frame)?) {
                return Ok(());
            }
        }
        let mut bytes = [0; 4096];
        let count = from.read(&mut bytes)?;
        check(count > 0, || "the guest hung up".to_owned()).map_err(|_| "the guest hung up")?;
        said.push(bytes.get(..count).unwrap_or_default());
    }
}

/// A head as a host sends it, ahead of its options.
fn head() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    const PAGE: &[u8] = b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";
    let options = vec![write::option::trace_id(7, Abi::NATIVE.byte_order)];
    let head = Head { cpus: 1, header_page: PAGE.to_vec(), options, ..Head::default() };
    let mut bytes = Cursor::new(Vec::new());
    Writer::create(&mut bytes, Settings::new(Abi::NATIVE, 4096), &head)?.end_head()?;
    Ok(ahead::split(bytes.into_inner())?.0)
}
