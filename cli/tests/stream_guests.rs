//! `stream` of host and guest, on a real guest.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use common::stream::{Ended, Stream, are_soon, nanoseconds};
use common::virt::{Server, alone};
use common::{Case, check, trace_cmd, tracing_state, with_guest};
use libtest_mimic::Failed;
use tempfile::TempDir;
use trace_virt::lab::requirements::{self, TracefsLock};
use trace_virt::lab::{self, Guest, GuestOptions};

const CASES: &[Case] = &[Case {
    name: "root_host_and_guest_are_one_stream_in_order_and_soon",
    needs: with_guest,
    test: one_stream,
}];

const BOOT: Duration = Duration::from_secs(240);
const END: Duration = Duration::from_secs(240);
const PORT: &str = "ping-pong";
const ROUNDS: u32 = 30;
/// So many of them before the lines of those are waited for: while the guest waits for the next, they have to come.
const ROUNDS_AT_ONCE: u32 = 10;
/// Events are here in a second; this is an emulated guest on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(15);
/// Marker, then the answer; its standard output is none of the stream's lines.
const PONG: &str = "exec 3<>/dev/virtio-ports/ping-pong; echo said by the guest; while read -r n <&3; do \
    echo ping $n in guest >/sys/kernel/tracing/trace_marker; echo $n >&3; \
    [ $n = over ] && exit 0; done";
const GUEST_STATE: &str = "cd /sys/kernel/tracing; cat tracing_on set_event trace_clock";

fn main() -> ExitCode {
    common::run(CASES)
}

/// The tracing of host and guest as it was, which it has to be again.
struct State<'a> {
    guest: &'a Guest,
    before: (Vec<String>, String),
}

impl<'a> State<'a> {
    fn now(guest: &Guest) -> Result<(Vec<String>, String), Failed> {
        Ok((tracing_state(&requirements::tracefs()?), guest.run(GUEST_STATE)?))
    }

    fn remember(guest: &'a Guest) -> Result<Self, Failed> {
        Ok(Self { guest, before: Self::now(guest)? })
    }

    /// The guest puts it back when it hears that its host is gone.
    fn is_back(&self) -> Result<(), Failed> {
        let until = Instant::now() + END;
        loop {
            let now = Self::now(self.guest)?;
            if now == self.before {
                return Ok(());
            }
            check(Instant::now() < until, || format!("changed: {:#?} {now:#?}", self.before))?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn mark(text: &str) -> Result<Instant, Failed> {
    fs::write(requirements::tracefs()?.join("trace_marker"), text)?;
    Ok(Instant::now())
}

fn stream(virt_dir: &Path, words: &str) -> Command {
    let mut stream = trace_cmd();
    stream.arg("stream").arg("--virt-dir").arg(virt_dir).args(words.split_whitespace());
    stream
}

/// Waits until markers of the host are printed.
fn begun(stream: &Stream) -> Result<(), Failed> {
    let until = Instant::now() + END;
    let tracing = requirements::tracefs()?;
    let is_on = |name: &str| -> Result<bool, Failed> {
        Ok(fs::read_to_string(tracing.join(name))?.trim() == "1")
    };
    while !is_on("events/sched/sched_process_exec/enable")? || !is_on("tracing_on")? {
        check(Instant::now() < until, || format!("tracing is not on: {}", stream.said()))?;
        std::thread::sleep(Duration::from_millis(10));
    }
    mark("begin")?;
    stream.wait_for("begin").map(drop)
}

fn one_stream() -> Result<(), Failed> {
    let _alone = alone();
    let virt_dir = TempDir::new()?;
    let virt_dir = virt_dir.path();
    let _server = Server::start(virt_dir)?;
    let mut options = GuestOptions::new("guest1");
    options.memory_mb = 256;
    options.virt_dir = Some(virt_dir.to_owned());
    options.trace_cmd = Some(lab::static_binary()?);
    options.client_args = Some(vec!["--allow-exec".to_owned()]);
    options.extra_ports = vec![PORT.to_owned()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    Server::wait_for_client(virt_dir)?;
    let _lock = TracefsLock::take()?;
    let state = State::remember(&guest)?;
    ping_pong(virt_dir, &guest)?;
    state.is_back()?;
    reader_goes(virt_dir)?;
    state.is_back()?;
    killed(virt_dir, &guest)
}

/// Marker, message to the guest, its marker, answer, marker.
fn ping_pong(virt_dir: &Path, guest: &Guest) -> Result<(), Failed> {
    // Before the guest reads: nobody at the other end is the end of what there is to read.
    let mut to = guest.port(PORT)?;
    to.set_read_timeout(Some(END))?;
    let mut from = BufReader::new(to.try_clone()?);
    let words = "-t -e sched_process_exec --dom guest1 -e sched --exec sh -c";
    let stream = Stream::of(stream(virt_dir, words).args([PONG, ";"]))?;
    begun(&stream)?;
    let mut marker =
        File::options().write(true).open(requirements::tracefs()?.join("trace_marker"))?;
    let (mut written, mut lines) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        marker.write_all(format!("ping {round} sent").as_bytes())?;
        written.push((format!("ping {round} sent"), Instant::now()));
        to.write_all(format!("{round}\n").as_bytes())?;
        let mut line = String::new();
        from.read_line(&mut line).map_err(|error| {
            format!("round {round}: {error}: {}{}", stream.said(), guest.console())
        })?;
        written.push((format!("ping {round} in guest"), Instant::now()));
        marker.write_all(format!("ping {round} answered").as_bytes())?;
        written.push((format!("ping {round} answered"), Instant::now()));
        check(line.trim() == round.to_string(), || format!("{line:?} came for {round}"))?;
        if round % ROUNDS_AT_ONCE == 0 {
            lines.extend(stream.lines_until(&format!("ping {round} answered"))?);
        }
    }
    to.write_all(b"over\n")?;
    let ended = stream.end(END)?;
    lines.extend(ended.lines.iter().cloned());
    let Ended { status, said, .. } = &ended;
    check(status.success(), || format!("{status}: {said}"))?;
    check(said.contains("said by the guest"), || said.clone())?;
    let error = ended.clock_error()?;
    println!("{said}");
    let (mut before, mut times) = (None, Vec::new());
    for (text, at) in &written {
        let machine = if text.ends_with("guest") { "guest1: " } else { "host: " };
        let is_it = |line: &str| line.ends_with(text) && line.trim_start().starts_with(machine);
        let place = lines.iter().position(|(_, line)| is_it(line));
        let place = place.ok_or_else(|| format!("no line {text:?} of {machine}: {said}"))?;
        let (came, line) = &lines[place];
        let stamp = nanoseconds(line).ok_or_else(|| format!("no time: {line}"))?;
        // One came before the other: only where clocks are not known better they may change places.
        if let Some((place_before, stamp_before)) = before {
            check(stamp_before <= stamp + error, || format!("{text} is too early: {said}"))?;
            let is_in_order = place_before < place || stamp_before > stamp;
            check(is_in_order || ended.tells_of_late_ones(), || format!("{line}: {said}"))?;
        }
        before = Some((place, stamp));
        times.push(came.saturating_duration_since(*at));
    }
    are_soon(times, SOON)?;
    let of_guest =
        |part: &str| lines.iter().any(|(_, line)| line.contains("guest1:") && line.contains(part));
    check(of_guest("sched_switch:"), || "no events of the guest".to_owned())
}

/// Who reads the lines wants two of them.
fn reader_goes(virt_dir: &Path) -> Result<(), Failed> {
    Server::wait_until_ready(virt_dir, "guest1")?;
    let mut shell = Command::new("sh");
    let line = "\"$0\" stream --virt-dir \"$1\" -q -e sched --dom guest1 -e sched | head -n 2";
    shell.args(["-c", line, env!("CARGO_BIN_EXE_trace-cmd")]).arg(virt_dir);
    let output = shell.output()?;
    // What a killed recorder of somebody else left behind is told to everyone.
    let told = common::stderr(&output);
    let mut told = told.lines().filter(|line| !line.contains("left tracing changed"));
    check(told.next().is_none(), || common::stderr(&output))?;
    check(output.stdout.iter().filter(|&&byte| byte == b'\n').count() == 2, || {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// The guest is killed; the host's lines go on.
fn killed(virt_dir: &Path, guest: &Guest) -> Result<(), Failed> {
    Server::wait_until_ready(virt_dir, "guest1")?;
    let before = tracing_state(&requirements::tracefs()?);
    let words = "--json -e sched_process_exec --dom guest1 -e sched -B other -e sched_switch";
    let stream = Stream::of(&mut stream(virt_dir, words))?;
    begun(&stream)?;
    let mut lines = vec![
        stream.wait_for("\"file\":\"guest1\",\"ts\"")?.1,
        stream.wait_for("\"file\":\"guest1\",\"instance\":\"other\"")?.1,
    ];
    guest.kill();
    let until = Instant::now() + END;
    while !stream.said().contains("guest guest1 is gone") {
        check(Instant::now() < until, || format!("not gone: {}", stream.said()))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    mark("still here")?;
    // While it runs on.
    let (_, line) = stream.wait_for("still here")?;
    check(line.starts_with("{\"file\":\"host\","), || line.clone())?;
    stream.signal()?;
    let Ended { status, lines: rest, said } = stream.end(END)?;
    check(status.code() == Some(5), || format!("{status}: {said}"))?;
    lines.push(line);
    lines.extend(rest.into_iter().map(|(_, line)| line));
    for line in &lines {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        parsed.map_err(|error| format!("{line}: {error}"))?;
    }
    let after = tracing_state(&requirements::tracefs()?);
    check(before == after, || format!("changed: {before:#?} {after:#?}"))
}
