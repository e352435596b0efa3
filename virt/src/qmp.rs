//! QEMU's machine protocol on a UNIX socket: what a VM has, and what it is given while it runs.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! use trace_virt::qmp::Qmp;
//!
//! let mut qmp = Qmp::connect(Path::new("/run/guest1.qmp"), Duration::from_secs(5))?;
//! for vcpu in qmp.cpus()? {
//!     println!("vCPU {} is thread {}", vcpu.vcpu, vcpu.tid);
//! }
//! # Ok::<(), trace_virt::qmp::QmpError>(())
//! ```

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use trace_transport::{Deadline, Stream, unix};

/// The longest line that is taken: the answer about 4096 vCPUs is half of it.
const MAX_LINE: usize = 4 << 20;
/// How much is read at once.
const READ_SIZE: usize = 16 << 10;

/// Why QEMU did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The socket cannot be reached, or failed.
    #[error("QMP {command}")]
    Stream {
        /// The command, or `greeting`.
        command: String,
        /// How it failed.
        source: trace_transport::Error,
    },
    /// QEMU speaks QMP to one client at a time, and was silent.
    #[error("QMP: no greeting within {seconds} s; QEMU may be speaking with another client")]
    Occupied {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The other end closed the connection.
    #[error("QMP {command}: QEMU closed the connection")]
    Closed {
        /// The command, or `greeting`.
        command: String,
    },
    /// No answer in time.
    #[error("QMP {command}: no answer within {seconds} s")]
    TimedOut {
        /// The command.
        command: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A line without an end.
    #[error("QMP {command}: a line of more than {MAX_LINE} bytes")]
    TooLong {
        /// The command, or `greeting`.
        command: String,
    },
    /// What came is no QMP.
    #[error("QMP {command}: {problem}")]
    Malformed {
        /// The command, or `greeting`.
        command: String,
        /// What is wrong with it.
        problem: String,
    },
    /// QEMU said no.
    #[error("QMP {command}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's name for the kind of error.
        class: String,
        /// QEMU's own words.
        description: String,
    },
}

/// A vCPU and the thread of the host that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VcpuThread {
    /// Number of the vCPU, from 0.
    pub vcpu: u32,
    /// Id of its thread on the host.
    pub tid: i32,
}

/// What QEMU calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

/// A connection to QEMU's monitor. Events are skipped.
#[derive(Debug)]
pub struct Qmp {
    stream: Stream,
    version: Option<QemuVersion>,
    received: Vec<u8>,
    limit: Duration,
    last_id: u64,
}

impl Qmp {
    /// Connects, and waits for the greeting. QEMU gets `limit` for that and for each command.
    ///
    /// # Errors
    ///
    /// Nobody listens, another client has the socket, or what answers is not QEMU.
    pub fn connect(socket: &Path, limit: Duration) -> Result<Self, QmpError> {
        const GREETING: &str = "greeting";
        let deadline = Deadline::after(limit);
        let failed = |source| QmpError::Stream { command: GREETING.to_owned(), source };
        let stream = unix::connect_before(socket, deadline).map_err(failed)?;
        let mut qmp = Self { stream, version: None, received: Vec::new(), limit, last_id: 0 };
        let greeting = qmp.receive(GREETING, deadline).map_err(|error| match error {
            QmpError::TimedOut { seconds, .. } => QmpError::Occupied { seconds },
            error => error,
        })?;
        if greeting.get("QMP").is_none() {
            return Err(malformed(GREETING, "the other end does not greet as QEMU does"));
        }
        qmp.version = version(&greeting);
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// QEMU's version, where its greeting has it.
    #[must_use]
    pub fn version(&self) -> Option<QemuVersion> {
        self.version
    }

    /// Runs a command and returns what it returns.
    ///
    /// # Errors
    ///
    /// [`QmpError::Refused`] with QEMU's own words, or the connection failed.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let deadline = Deadline::after(self.limit);
        self.last_id += 1;
        let mut line =
            json!({ "execute": command, "arguments": arguments, "id": self.last_id }).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes(), deadline).map_err(|source| match source {
            trace_transport::Error::TimedOut { .. } => self.timed_out(command),
            source => QmpError::Stream { command: command.to_owned(), source },
        })?;
        loop {
            let mut answer = self.receive(command, deadline)?;
            // An event, or the late answer to a command that was given up.
            if answer.get("id").and_then(Value::as_u64) != Some(self.last_id) {
                if answer.get("error").is_some() && answer.get("id").is_none() {
                    return Err(refused(command, &answer["error"]));
                }
                continue;
            }
            return match answer.get_mut("return") {
                Some(value) => Ok(value.take()),
                None => Err(refused(command, &answer["error"])),
            };
        }
    }

    /// The threads of all vCPUs, in the order of the vCPUs.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn cpus(&mut self) -> Result<Vec<VcpuThread>, QmpError> {
        const COMMAND: &str = "query-cpus-fast";
        let answer = self.execute(COMMAND, &json!({}))?;
        let list = answer.as_array().ok_or_else(|| malformed(COMMAND, "no list came"))?;
        let vcpu = |entry: &Value| {
            let vcpu = entry.get("cpu-index")?.as_u64()?.try_into().ok()?;
            let tid = entry.get("thread-id")?.as_i64()?.try_into().ok()?;
            Some(VcpuThread { vcpu, tid })
        };
        let found: Option<Vec<_>> = list.iter().map(vcpu).collect();
        let mut cpus =
            found.ok_or_else(|| malformed(COMMAND, "a vCPU without number or thread"))?;
        cpus.sort_by_key(|cpu| cpu.vcpu);
        Ok(cpus)
    }

    /// The next line, as an object.
    fn receive(&mut self, command: &str, deadline: Deadline) -> Result<Value, QmpError> {
        let mut searched = 0;
        let end = loop {
            let fresh = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                break searched + at;
            }
            searched = self.received.len();
            if searched > MAX_LINE {
                return Err(QmpError::TooLong { command: command.to_owned() });
            }
            self.read(command, deadline)?;
        };
        // A peer that sends for ever without an answer would not let the reading wait.
        if deadline.has_passed() {
            return Err(self.timed_out(command));
        }
        let line: Vec<u8> = self.received.drain(..=end).collect();
        match serde_json::from_slice(&line) {
            Ok(Value::Object(object)) => Ok(Value::Object(object)),
            Ok(_) => Err(malformed(command, "the other end sent something else than an object")),
            Err(error) => Err(malformed(command, format!("the other end sent no JSON: {error}"))),
        }
    }

    fn read(&mut self, command: &str, deadline: Deadline) -> Result<(), QmpError> {
        let mut buffer = [0; READ_SIZE];
        match self.stream.read_some(&mut buffer, deadline) {
            Ok(0) => Err(QmpError::Closed { command: command.to_owned() }),
            Ok(count) => {
                self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(trace_transport::Error::TimedOut { .. }) => Err(self.timed_out(command)),
            Err(source) => Err(QmpError::Stream { command: command.to_owned(), source }),
        }
    }

    fn timed_out(&self, command: &str) -> QmpError {
        QmpError::TimedOut { command: command.to_owned(), seconds: self.limit.as_secs() }
    }
}

fn version(greeting: &Value) -> Option<QemuVersion> {
    let numbers = greeting.pointer("/QMP/version/qemu")?;
    let number = |name| u32::try_from(numbers.get(name)?.as_u64()?).ok();
    Some(QemuVersion { major: number("major")?, minor: number("minor")? })
}

fn malformed(command: &str, problem: impl Into<String>) -> QmpError {
    QmpError::Malformed { command: command.to_owned(), problem: problem.into() }
}

fn refused(command: &str, error: &Value) -> QmpError {
    let text = |key| error.get(key).and_then(Value::as_str);
    match text("desc") {
        Some(description) => QmpError::Refused {
            command: command.to_owned(),
            class: text("class").unwrap_or_default().to_owned(),
            description: crate::protocol::clean(description),
        },
        None => malformed(command, "neither a result nor an error came"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    use super::*;

    const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
    const PATIENT: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// A peer that takes one connection and does as it is told with it.
    struct Peer {
        socket: PathBuf,
        thread: Option<JoinHandle<()>>,
        _dir: tempfile::TempDir,
    }

    impl Peer {
        fn new(behave: impl FnOnce(UnixStream) + Send + 'static) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("qmp");
            let listener = UnixListener::bind(&socket).unwrap();
            let thread = std::thread::spawn(move || behave(listener.accept().unwrap().0));
            Self { socket, thread: Some(thread), _dir: dir }
        }

        /// Greets, takes the first command, and answers each further one with the next lines. `NUMBER` becomes its number.
        fn answering<const N: usize>(answers: [&'static str; N]) -> Self {
            Self::new(move |mut stream| {
                stream.write_all(GREETING.as_bytes()).unwrap();
                let mut commands = BufReader::new(stream.try_clone().unwrap()).lines();
                for answer in ["{\"return\": {}, \"id\": NUMBER}\n"].into_iter().chain(answers) {
                    let command: Value =
                        serde_json::from_str(&commands.next().unwrap().unwrap()).unwrap();
                    let answer = answer.replace("NUMBER", &command["id"].to_string());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                // Until the client closes.
                let _ = commands.next();
            })
        }

        fn connect(&self, limit: Duration) -> Result<Qmp, QmpError> {
            Qmp::connect(&self.socket, limit)
        }
    }

    impl Drop for Peer {
        fn drop(&mut self) {
            let result = self.thread.take().unwrap().join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }

    #[test]
    fn answers_are_found_among_events_and_older_answers() {
        let peer = Peer::answering([concat!(
            "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\r\n",
            "{\"return\": 1, \"id\": 99}\r\n",
            "{\"return\": [{\"thread-id\": 71, \"cpu-index\": 1}, {\"thread-id\": 70, \"cpu-index\": 0}], \"id\": NUMBER}\r\n"
        )]);
        let cpus = peer.connect(PATIENT).unwrap().cpus().unwrap();
        assert_eq!(cpus, [VcpuThread { vcpu: 0, tid: 70 }, VcpuThread { vcpu: 1, tid: 71 }]);
    }

    #[test]
    fn versions_are_in_the_greeting() {
        for (greeting, expected) in [
            (
                r#"{"QMP": {"version": {"qemu": {"micro": 9, "minor": 2, "major": 7}}}}"#,
                Some((7, 2)),
            ),
            (r#"{"QMP": {"version": {"qemu": {"minor": 2, "major": -7}}}}"#, None),
            (r#"{"QMP": {"version": {}}}"#, None),
        ] {
            let found = version(&serde_json::from_str(greeting).unwrap());
            assert_eq!(found.map(|found| (found.major, found.minor)), expected, "{greeting}");
        }
        assert_eq!(Peer::answering([]).connect(PATIENT).unwrap().version(), None);
    }

    #[test]
    fn refusals_have_the_command_and_the_words_of_qemu() {
        let peer = Peer::answering([
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Duplicate ID 'a'\"}, \"id\": NUMBER}\n",
        ]);
        let error = peer.connect(PATIENT).unwrap().execute("device_add", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QMP device_add: Duplicate ID 'a'");
        assert!(matches!(error, QmpError::Refused { class, .. } if class == "GenericError"));
    }

    #[test]
    fn answers_without_sense_are_told() {
        for (answer, expected) in [
            ("{\"id\": NUMBER}\n", "neither a result nor an error"),
            ("[1]\n", "something else than an object"),
            ("\u{1b}]0;x\n", "no JSON"),
            ("{\"return\": {}, \"id\": NUMBER}\n", "no list"),
            (
                "{\"return\": [{\"cpu-index\": -1, \"thread-id\": 1}], \"id\": NUMBER}\n",
                "without number",
            ),
        ] {
            let peer = Peer::answering([answer]);
            let error = peer.connect(PATIENT).unwrap().cpus().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let peer = Peer::new(|mut stream| while stream.write_all(&[b'{'; 65536]).is_ok() {});
        let error = peer.connect(PATIENT).unwrap_err();
        assert!(matches!(error, QmpError::TooLong { .. }), "{error}");
    }

    #[test]
    fn events_without_end_do_not_hold_anyone() {
        let peer = Peer::new(|mut stream| {
            let _ = stream.write_all(GREETING.as_bytes());
            while stream.write_all(b"{\"event\": \"RESUME\"}\n").is_ok() {}
        });
        let error = peer.connect(Duration::from_secs(3)).unwrap_err();
        assert!(matches!(error, QmpError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn silence_and_hanging_up_are_told_apart() {
        let (keep, kept) = std::sync::mpsc::channel::<()>();
        let silent = Peer::new(move |stream| {
            let _ = kept.recv();
            drop(stream);
        });
        let error = silent.connect(SHORT).unwrap_err();
        assert!(matches!(error, QmpError::Occupied { .. }), "{error}");
        drop(keep);
        let error = Peer::new(drop).connect(PATIENT).unwrap_err();
        assert!(matches!(error, QmpError::Closed { .. }), "{error}");
        let error = Qmp::connect(Path::new("/nonexistent/qmp"), SHORT).unwrap_err();
        assert!(matches!(error, QmpError::Stream { .. }), "{error}");
    }
}
