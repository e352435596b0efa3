//! Listeners that do as a script says.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use libtest_mimic::Failed;
use trace_transport::message::Message;

use crate::common::free_port;
use crate::common::listener::PATIENCE;

/// A listener and what it brings.
pub(crate) struct Scripted<T> {
    pub(crate) address: String,
    thread: JoinHandle<io::Result<T>>,
}

impl<T> Scripted<T> {
    pub(crate) fn result(self) -> Result<T, Failed> {
        let ended = self.thread.join().map_err(|_| "the listener panicked")?;
        Ok(ended?)
    }
}

fn listen<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> io::Result<T> + Send + 'static,
) -> io::Result<Scripted<T>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    Ok(Scripted { address, thread: thread::spawn(move || script(listener)) })
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says this at once, and then nothing until it is left.
pub(crate) fn says(words: &'static [u8]) -> io::Result<String> {
    let listener = listen(move |listener| {
        let mut stream = accept(&listener)?;
        stream.write_all(words)?;
        io::copy(&mut stream, &mut io::sink())
    })?;
    Ok(listener.address)
}

/// Refuses in these words.
pub(crate) fn refuses(reason: &'static str) -> io::Result<String> {
    let listener = listen(move |listener| {
        let mut stream = accept(&listener)?;
        let mut words = b"tracecmdV3\0OK".to_vec();
        let refused = Message::Refuse { code: 65, reason }.encode(&mut words);
        refused.map_err(io::Error::other)?;
        stream.write_all(&words)?;
        io::copy(&mut stream, &mut io::sink())
    })?;
    Ok(listener.address)
}

/// An address where nobody listens.
pub(crate) fn nobody() -> Result<String, Failed> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

fn word(stream: &mut TcpStream) -> io::Result<String> {
    let mut word = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        match byte {
            [0] => return Ok(String::from_utf8_lossy(&word).into_owned()),
            [byte] => word.push(byte),
        }
    }
}

fn data_ports(count: usize) -> io::Result<(Vec<TcpListener>, Vec<u16>)> {
    let open = |_| TcpListener::bind("127.0.0.1:0");
    let ports: Vec<TcpListener> = (0..count).map(open).collect::<io::Result<_>>()?;
    let numbers = ports.iter().map(|port| Ok(port.local_addr()?.port()));
    let numbers = numbers.collect::<io::Result<_>>()?;
    Ok((ports, numbers))
}

/// What a recorder sent.
pub(crate) struct Sent {
    pub(crate) head: Vec<u8>,
    /// By CPU.
    pub(crate) data: Vec<Vec<u8>>,
}

/// One of before 2014: leaves when it is told of a version.
pub(crate) fn version_1() -> io::Result<Scripted<Sent>> {
    listen(|listener| {
        let mut first = accept(&listener)?;
        first.write_all(b"tracecmd")?;
        if word(&mut first)? != "-1V3" {
            return Err(io::Error::other("version 3 was to be tried first"));
        }
        drop(first);
        let mut control = accept(&listener)?;
        control.write_all(b"tracecmd")?;
        let cpus: usize = word(&mut control)?.parse().map_err(io::Error::other)?;
        let rest = [(); 4].map(|()| word(&mut control));
        let [Ok(_), Ok(count), Ok(length), Ok(option)] = rest else {
            return Err(io::Error::other("the options are missing"));
        };
        if [count.as_str(), length.as_str(), option.as_str()] != ["1", "4", "TCP"] {
            return Err(io::Error::other(format!("{count} {length} {option} is not TCP")));
        }
        let (ports, numbers) = data_ports(cpus)?;
        let words: Vec<String> = numbers.iter().map(u16::to_string).collect();
        control.write_all(format!("{}\0", words.join(",")).as_bytes())?;
        let read = |port: TcpListener| {
            thread::spawn(move || -> io::Result<Vec<u8>> {
                let mut data = Vec::new();
                accept(&port)?.read_to_end(&mut data)?;
                Ok(data)
            })
        };
        let readers: Vec<_> = ports.into_iter().map(read).collect();
        let mut head = Vec::new();
        control.read_to_end(&mut head)?;
        let join = |reader: JoinHandle<_>| {
            reader.join().map_err(|_| io::Error::other("a reader panicked"))?
        };
        let data = readers.into_iter().map(join).collect::<io::Result<_>>()?;
        Ok(Sent { head, data })
    })
}

/// Takes connections for data, and never reads from them; as the C version otherwise.
pub(crate) fn reads_no_data() -> io::Result<Scripted<u64>> {
    listen(|listener| {
        let mut control = accept(&listener)?;
        control.write_all(b"tracecmdV3\0OK")?;
        // Behind "-1V3" and the magic number.
        let mut tinit = [0; 5 + 8 + 16];
        control.read_exact(&mut tinit)?;
        let cpus = tinit.last_chunk().map_or(0, |cpus| u32::from_be_bytes(*cpus));
        let (ports, numbers) = data_ports(cpus as usize)?;
        let words: String = numbers.iter().map(|port| format!("{port}\0")).collect();
        let size = u32::try_from(16 + words.len()).map_err(io::Error::other)?;
        let mut rinit = Vec::new();
        for number in [size, 2, 4, cpus] {
            rinit.extend_from_slice(&number.to_be_bytes());
        }
        rinit.extend_from_slice(words.as_bytes());
        control.write_all(&rinit)?;
        let held: Vec<TcpStream> = ports.iter().map(accept).collect::<io::Result<_>>()?;
        let bytes = io::copy(&mut control, &mut io::sink());
        drop(held);
        bytes
    })
}
