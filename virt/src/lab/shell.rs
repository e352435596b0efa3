//! Runs commands in the guest over the port that its init script reads.
//!
//! The host writes a line `ID SECONDS SCRIPT`, the script in base64; the guest answers with a
//! line `ID STATUS OUT-SIZE ERR-SIZE` and that many bytes of output. It says `ready` once first.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How late the guest's word may come that it gave a command up: it may stand still.
const LATE: Duration = Duration::from_secs(60);

/// How a command in the guest ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The shell's `$?`; 137 when it was stopped for taking too long.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// The host's end of the command port.
#[derive(Debug)]
pub(super) struct Shell {
    stream: UnixStream,
    received: Vec<u8>,
    next_id: u32,
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum ShellError {
    /// Not in time.
    Deadline,
    /// The other end is gone.
    Closed,
    /// The other end does not speak as it should.
    Other(String),
}

impl Shell {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), next_id: 1 }
    }

    /// Waits for the guest to say that it takes commands.
    pub(super) fn wait_ready(&mut self, deadline: Instant) -> Result<(), ShellError> {
        match self.line(deadline)?.as_str() {
            "ready" => Ok(()),
            other => Err(ShellError::Other(format!("expected \"ready\", got {other:?}"))),
        }
    }

    /// Runs a script; the guest stops it at the deadline.
    pub(super) fn run(&mut self, script: &str, limit: Duration) -> Result<Output, ShellError> {
        let id = self.next_id;
        self.next_id += 1;
        let seconds = limit.as_secs().max(1);
        let request = format!("{id} {seconds} {}\n", base64(script.as_bytes()));
        self.stream.write_all(request.as_bytes())?;

        // The guest gives up first, so that the port stays in step.
        let deadline = Instant::now() + Duration::from_secs(seconds) + LATE;
        loop {
            let line = self.line(deadline)?;
            let Some((answered, status, out, err)) = parse_answer(&line) else {
                return Err(ShellError::Other(format!("not an answer: {line:?}")));
            };
            let stdout = self.take(out, deadline)?;
            let stderr = self.take(err, deadline)?;
            // A late answer to a command that was given up is passed over.
            if answered == id {
                return Ok(Output { status, stdout, stderr });
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String, ShellError> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.receive(deadline)?;
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, ShellError> {
        while self.received.len() < length {
            self.receive(deadline)?;
        }
        Ok(self.received.drain(..length).collect())
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), ShellError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ShellError::Deadline);
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes)? {
            0 => Err(ShellError::Closed),
            length => {
                self.received.extend_from_slice(&bytes[..length]);
                Ok(())
            }
        }
    }
}

impl From<io::Error> for ShellError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Deadline,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Other(error.to_string()),
        }
    }
}

fn parse_answer(line: &str) -> Option<(u32, i32, usize, usize)> {
    let mut words = line.split(' ');
    let answer = (
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    );
    words.next().is_none().then_some(answer)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let padding = digit > chunk.len();
            text.push(if padding { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::thread;

    use super::*;

    #[test]
    fn base64_pads_as_it_should() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn late_answer_to_an_earlier_command_is_passed_over() {
        let (host, guest) = UnixStream::pair().unwrap();
        let guest = thread::spawn(move || {
            let mut request = String::new();
            BufReader::new(&guest).read_line(&mut request).unwrap();
            (&guest).write_all(b"6 0 4 0\nlate7 1 3 2\noutno").unwrap();
            request
        });
        let mut shell = Shell::new(host);
        shell.next_id = 7;
        let output = shell.run("foo", Duration::from_secs(240)).unwrap();
        assert_eq!(output, Output { status: 1, stdout: b"out".to_vec(), stderr: b"no".to_vec() });
        assert_eq!(guest.join().unwrap(), "7 240 Zm9v\n");
    }

    #[test]
    fn silence_and_hang_up_are_told_apart() {
        let (host, guest) = UnixStream::pair().unwrap();
        let mut shell = Shell::new(host);
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(matches!(shell.wait_ready(soon), Err(ShellError::Deadline)));
        drop(guest);
        let later = Instant::now() + Duration::from_secs(240);
        assert!(matches!(shell.wait_ready(later), Err(ShellError::Closed)));
    }
}
