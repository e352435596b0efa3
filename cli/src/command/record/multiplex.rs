//! Sub-buffers of several instances of a guest on one data port per CPU.
//!
//! A guest that records the top-level buffer alone sends its sub-buffers as they are. One that records
//! instances sends frames, of whole sub-buffers of one instance each, and a list of the instances before the
//! head of its trace:
//!
//! ```text
//! port   │ u32 instance │ u32 bytes │ sub-buffers … │ u32 instance │ …        little endian
//! head   │ "trace-cmd buffers\n" │ "4096 mono \n" │ "4096 mono NAME\n" │ … │ "\n" │ trace.dat
//! ```

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracedat::write::LiveBuffer;
use tracefs::Sink;

use super::local::SinkRequest;
use crate::error::Error;

const START: &str = "trace-cmd buffers\n";
const HEADER_LEN: usize = 8;
/// More than any list takes.
const MAX_LIST: usize = 128 << 10;
/// No kernel has larger sub-buffers.
const MAX_PAGE_SIZE: u32 = 1 << 20;
/// How often it is looked whether a full port is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// How long a port may be full once the recording is to end.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// The list of instances, as it precedes the head.
pub(crate) fn list(requests: &[SinkRequest]) -> Result<String, Error> {
    let mut list = START.to_owned();
    for SinkRequest { name, clock, sub_buffer_size, .. } in requests {
        let name = name.as_deref().unwrap_or_default();
        if name.contains('\n') {
            return Err(Error::usage("an instance with a line break in its name"));
        }
        list += &format!("{sub_buffer_size} {clock} {name}\n");
    }
    list.push('\n');
    Ok(list)
}

/// What comes on the data ports of a guest.
pub(crate) struct Contents {
    /// The top-level buffer first, also when it was not recorded.
    pub(crate) buffers: Vec<LiveBuffer>,
    /// Bytes before the head of the trace.
    pub(crate) head_at: usize,
    /// Whether it comes in frames.
    pub(crate) has_frames: bool,
}

impl Contents {
    /// Reads the list of instances from what a guest sent first; without one all is the top-level buffer. `clock` is
    /// that of a guest whose head does not tell.
    ///
    /// # Errors
    /// A list that is none, or has an instance that was not `asked` for.
    pub(crate) fn read(
        sent: &[u8],
        asked: &[String],
        page_size: u32,
        cpus: u32,
        clock: Option<&str>,
    ) -> Result<Self, Error> {
        let Some(rest) = sent.strip_prefix(START.as_bytes()) else {
            let (name, clock) = (String::new(), clock.unwrap_or_default().to_owned());
            let top = LiveBuffer { name, clock, page_size, cpus: (0..cpus).collect() };
            return Ok(Self { buffers: vec![top], head_at: 0, has_frames: false });
        };
        let unusable = || Error::failure("what came is no list of instances");
        let rest = rest.get(..MAX_LIST).unwrap_or(rest);
        let end = rest.windows(2).position(|two| two == b"\n\n").ok_or_else(unusable)?;
        let text = std::str::from_utf8(rest.get(..end).unwrap_or_default());
        let text = text.map_err(|_| unusable())?;
        let mut buffers = Vec::new();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let size = words.next().and_then(|word| word.parse::<u32>().ok());
            let (Some(page_size), Some(clock), Some(name)) = (size, words.next(), words.next())
            else {
                return Err(unusable());
            };
            let is_possible =
                page_size.is_power_of_two() && (512..=MAX_PAGE_SIZE).contains(&page_size);
            let is_asked = name.is_empty() || asked.iter().any(|asked| asked == name);
            let is_new = buffers.iter().all(|known: &LiveBuffer| known.name != name);
            if !is_possible || !is_asked || !is_new {
                return Err(unusable());
            }
            let (name, clock) = (name.to_owned(), clock.to_owned());
            buffers.push(LiveBuffer { name, clock, page_size, cpus: (0..cpus).collect() });
        }
        if buffers.first().is_none_or(|first| !first.name.is_empty()) {
            let clock = buffers.first().map(|first| first.clock.clone()).unwrap_or_default();
            let (name, cpus) = (String::new(), Vec::new());
            buffers.insert(0, LiveBuffer { name, clock, page_size, cpus });
        }
        Ok(Self { buffers, head_at: START.len() + end + 2, has_frames: true })
    }
}

/// Gives what comes on one port to the `instances` recorded on its CPU, in the order of the list. `headers` counts
/// bytes that are no data.
pub(crate) fn distribute<W: Write + Send + 'static>(
    mut instances: Vec<W>,
    has_frames: bool,
    headers: &Arc<AtomicU64>,
) -> Box<dyn Write + Send> {
    match instances.pop() {
        Some(only) if !has_frames => Box::new(only),
        last => {
            instances.extend(last);
            Box::new(Frameless::new(instances, Arc::clone(headers)))
        }
    }
}

/// The data ports of a guest, by CPU.
pub(crate) struct Ports {
    count: usize,
    waiting: Vec<Option<OwnedFd>>,
    /// Those that several instances use.
    shared: Vec<Arc<Port>>,
    state: Arc<State>,
}

/// Whether data is still wanted.
#[derive(Debug, Default)]
struct State {
    ending: AtomicBool,
    aborted: AtomicBool,
}

/// A port that several instances use.
struct Port {
    fd: Mutex<OwnedFd>,
    bytes: AtomicU64,
    state: Arc<State>,
}

impl Ports {
    /// Nobody uses them yet.
    pub(crate) fn new(ports: Vec<OwnedFd>) -> Self {
        let count = ports.len();
        let waiting = ports.into_iter().map(Some).collect();
        Self { count, waiting, shared: Vec::new(), state: Arc::default() }
    }

    /// Sinks for all instances, by CPU.
    ///
    /// # Errors
    /// A CPU without a port.
    pub(crate) fn sinks(&mut self, requests: &[SinkRequest]) -> Result<Vec<Vec<Sink>>, Error> {
        if let [SinkRequest { name: None, cpus, .. }] = requests {
            let sinks = cpus.iter().map(|&cpu| self.take(cpu).map(Sink::from));
            return Ok(vec![sinks.collect::<Result<_, _>>()?]);
        }
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        for &cpu in &first.cpus {
            let (fd, state) = (Mutex::new(self.take(cpu)?), Arc::clone(&self.state));
            self.shared.push(Arc::new(Port { fd, bytes: AtomicU64::new(0), state }));
        }
        let of_one = |(instance, request): (u32, &SinkRequest)| {
            let sink = |cpu: &u32| {
                let at = first.cpus.iter().position(|other| other == cpu);
                let port = at.and_then(|at| self.shared.get(at)).ok_or_else(|| self.lacks(*cpu))?;
                let frames = Frames { port: Arc::clone(port), instance, frame: Vec::new() };
                Ok(Sink::Writer(Box::new(frames)))
            };
            request.cpus.iter().map(sink).collect()
        };
        (0..).zip(requests).map(of_one).collect()
    }

    /// Whether instances share them.
    pub(crate) fn is_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    fn take(&mut self, cpu: u32) -> Result<OwnedFd, Error> {
        let port = usize::try_from(cpu).ok().and_then(|cpu| self.waiting.get_mut(cpu)?.take());
        port.ok_or_else(|| self.lacks(cpu))
    }

    fn lacks(&self, cpu: u32) -> Error {
        Error::failure(format!("CPU {cpu} has no data port, there are {}", self.count))
            .hint("set the guest up with as many CPUs as it has")
    }

    /// Bytes that went over each port, where instances share them.
    pub(crate) fn bytes(&self) -> Option<Vec<u64>> {
        let bytes = |port: &Arc<Port>| port.bytes.load(Ordering::Acquire);
        self.is_shared().then(|| self.shared.iter().map(bytes).collect())
    }

    /// From here on nobody waits long for the other end.
    pub(crate) fn end(&self) {
        self.state.ending.store(true, Ordering::Release);
    }

    /// Nobody wants the data any more.
    pub(crate) fn abort(&self) {
        self.state.aborted.store(true, Ordering::Release);
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.abort();
    }
}

/// The sub-buffers of one instance on a port.
struct Frames {
    port: Arc<Port>,
    instance: u32,
    frame: Vec<u8>,
}

impl Write for Frames {
    /// Whole sub-buffers come; each becomes a frame.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.frame.clear();
        self.frame.extend_from_slice(&self.instance.to_le_bytes());
        self.frame.extend_from_slice(&len.to_le_bytes());
        self.frame.extend_from_slice(bytes);
        self.port.write(&self.frame)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Port {
    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let fd = self.fd.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full_since: Option<Instant> = None;
        while !bytes.is_empty() {
            if self.state.aborted.load(Ordering::Acquire) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match nix::unistd::write(&*fd, bytes) {
                Ok(count) => {
                    self.bytes.fetch_add(count as u64, Ordering::AcqRel);
                    bytes = bytes.get(count..).unwrap_or_default();
                    full_since = None;
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    let ending = self.state.ending.load(Ordering::Acquire);
                    let since = *full_since.get_or_insert_with(Instant::now);
                    if ending && since.elapsed() > LAST_PATIENCE {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut fds, PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Gives the frames of one port to the instances they are of.
struct Frameless<W> {
    instances: Vec<W>,
    header: Vec<u8>,
    /// Whose bytes come, and how many more.
    instance: usize,
    left: usize,
    headers: Arc<AtomicU64>,
}

impl<W: Write> Frameless<W> {
    /// `headers` counts bytes that are no data.
    fn new(instances: Vec<W>, headers: Arc<AtomicU64>) -> Self {
        Self { instances, header: Vec::with_capacity(HEADER_LEN), instance: 0, left: 0, headers }
    }

    fn take_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = HEADER_LEN.saturating_sub(self.header.len());
        let part = bytes.get(..wanted).unwrap_or(bytes);
        self.header.extend_from_slice(part);
        self.headers.fetch_add(part.len() as u64, Ordering::Relaxed);
        if let Some((instance, len)) = self.header.split_first_chunk::<4>()
            && let Ok(len) = <[u8; 4]>::try_from(len)
        {
            self.instance = usize::try_from(u32::from_le_bytes(*instance)).unwrap_or(usize::MAX);
            self.left = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
            self.header.clear();
            if self.instance >= self.instances.len() {
                let what = format!("data of instance {}, which there is not", self.instance);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(part.len())
    }
}

impl<W: Write> Write for Frameless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.take_header(bytes);
        }
        let part = bytes.get(..self.left).unwrap_or(bytes);
        let instance = self.instances.get_mut(self.instance);
        let count = instance.ok_or(io::ErrorKind::InvalidData)?.write(part)?;
        self.left = self.left.saturating_sub(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.instances.iter_mut().try_for_each(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: Option<&str>, sub_buffer_size: usize) -> SinkRequest {
        SinkRequest {
            name: name.map(str::to_owned),
            clock: "mono".to_owned(),
            sub_buffer_size,
            cpus: vec![0],
        }
    }

    fn asked(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_list_of_instances_is_read_back() {
        let text = list(&[request(None, 4096), request(Some("a b"), 8192)]).unwrap();
        let sent = [text.as_bytes(), b"head"].concat();
        let Contents { buffers, head_at, has_frames } =
            Contents::read(&sent, &asked(&["a b"]), 4096, 2, None).unwrap();
        assert!(has_frames);
        assert_eq!(&sent[head_at..], b"head");
        let told: Vec<_> =
            buffers.iter().map(|one| (one.name.as_str(), one.page_size, one.cpus.len())).collect();
        assert_eq!(told, [("", 4096, 2), ("a b", 8192, 2)]);
    }

    #[test]
    fn the_top_level_buffer_is_first_also_without_data() {
        let text = list(&[request(Some("only"), 4096)]).unwrap();
        let read = Contents::read(text.as_bytes(), &asked(&["only"]), 4096, 1, None).unwrap();
        let told: Vec<_> = read.buffers.iter().map(|one| (&*one.name, one.cpus.len())).collect();
        assert_eq!(told, [("", 0), ("only", 1)]);
    }

    #[test]
    fn without_a_list_all_is_the_top_level_buffer() {
        let read = Contents::read(b"\x17\x08Dtracing", &[], 4096, 3, Some("mono")).unwrap();
        let [top] = &read.buffers[..] else { panic!("{:?}", read.buffers) };
        assert_eq!((&*top.name, &*top.clock, top.cpus.len()), ("", "mono", 3));
        assert_eq!((read.head_at, read.has_frames), (0, false));
        let mut whole = distribute(vec![Vec::new()], false, &Arc::default());
        // As frames this would be refused.
        whole.write_all(&[9; 16]).unwrap();
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "4096 mono",
            "0 mono a\n\n",
            "4097 mono a\n\n",
            "4096\n\n",
            "2097152 mono a\n\n",
            "4096 mono other\n\n",
            "4096 mono a\n4096 mono a\n\n",
        ] {
            let sent = format!("{START}{text}");
            let read = Contents::read(sent.as_bytes(), &asked(&["a"]), 4096, 1, None);
            assert!(read.is_err(), "{text}");
        }
    }

    #[test]
    fn frames_cut_anywhere_reach_their_instances() {
        let mut stream = Vec::new();
        for (instance, byte, len) in [(0_u32, 1_u8, 5_u32), (1, 2, 3), (0, 3, 0), (0, 4, 2)] {
            stream.extend(instance.to_le_bytes());
            stream.extend(len.to_le_bytes());
            stream.extend(vec![byte; len as usize]);
        }
        for piece in 1..stream.len() {
            let headers = Arc::default();
            let mut frames = Frameless::new(vec![Vec::new(), Vec::new()], Arc::clone(&headers));
            for piece in stream.chunks(piece) {
                frames.write_all(piece).unwrap();
            }
            assert_eq!(frames.instances, [vec![1, 1, 1, 1, 1, 4, 4], vec![2, 2, 2]]);
            assert_eq!(headers.load(Ordering::Relaxed), 32);
        }
    }

    #[test]
    fn data_of_an_instance_that_there_is_not_is_an_error() {
        let mut frames = Frameless::new(vec![Vec::new()], Arc::default());
        assert!(frames.write_all(&[1, 0, 0, 0, 4, 0, 0, 0, 9]).is_err());
    }

    #[test]
    fn instances_share_a_port_and_an_abort_ends_who_waits_for_it() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let mut ports = Ports::new(vec![write]);
        let requests = [request(None, 4096), request(Some("foo"), 4096)];
        let mut sinks = ports.sinks(&requests).unwrap();
        let mut writers = sinks.drain(..).map(|mut cpus| match cpus.remove(0) {
            Sink::Writer(writer) => writer,
            other => panic!("{other:?}"),
        });
        let (mut top, mut foo) = (writers.next().unwrap(), writers.next().unwrap());
        top.write_all(&[1; 4096]).unwrap();
        foo.write_all(&[2; 4096]).unwrap();
        assert_eq!(ports.bytes(), Some(vec![2 * 4104]));
        let full = std::thread::spawn(move || {
            loop {
                if let Err(error) = foo.write_all(&[3; 4096]) {
                    return error.kind();
                }
            }
        });
        ports.abort();
        assert_eq!(full.join().unwrap(), io::ErrorKind::BrokenPipe);
        drop(read);
    }
}
