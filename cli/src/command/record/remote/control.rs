//! The connection on which recorder and listener speak.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use trace_transport::session::{
    Instance, Opened, Proof, Received, Sender, SenderConfig, SenderEvent, SessionError,
};
use trace_transport::{Address, Deadline, Interest, Stream, tcp};

use crate::error::Error;

/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// The control connection.
pub(super) struct Control {
    address: Address,
    stream: Stream,
    sender: Sender,
    /// How long the listener may answer nothing, or take nothing.
    peer_timeout: Duration,
}

impl Control {
    /// Connects, and agrees on how data is sent.
    pub(super) fn open(
        address: &Address,
        config: SenderConfig,
        peer_timeout: Duration,
    ) -> Result<(Self, Opened), Error> {
        let stream = connect(address, peer_timeout)?;
        let sender = Sender::new(config, Instant::now());
        let sender = sender.map_err(|error| broken(address, error))?;
        let mut control = Self { address: address.clone(), stream, sender, peer_timeout };
        match control.wait()? {
            SenderEvent::Opened(opened) => Ok((control, opened)),
            _ => Err(control.out_of_place()),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What the connection of a stream starts with, where a key is used.
    pub(super) fn data_token(&self, stream: u32) -> Option<Proof> {
        self.sender.data_token(stream)
    }

    /// Has the listener open ports for a further buffer.
    pub(super) fn instance(&mut self, instance: &Instance) -> Result<Vec<u16>, Error> {
        let declared = self.sender.instance(instance, Instant::now());
        declared.map_err(|error| broken(&self.address, error))?;
        match self.wait()? {
            SenderEvent::InstancePorts { ports, .. } => Ok(ports),
            _ => Err(self.out_of_place()),
        }
    }

    /// Sends the beginning of the file, or what goes behind the data.
    pub(super) fn send_metadata(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let taken = self.sender.put_metadata(bytes);
            let taken = taken.map_err(|error| broken(&self.address, error))?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush()?;
        }
        self.sender.end_metadata().map_err(|error| broken(&self.address, error))?;
        self.flush()
    }

    /// Reads what the listener says, without waiting: while it is recorded, that it wants no more.
    pub(super) fn take_news(&mut self) -> Result<(), Error> {
        while self.read()? {
            // One of version 1 has nothing to say any more.
            if self.sender.space().is_empty() {
                return Err(self.out_of_place());
            }
        }
        match self.next()? {
            Some(_) => Err(self.out_of_place()),
            None => Ok(()),
        }
    }

    /// Says how much each stream has, and what goes behind the data; waits until the listener has it.
    pub(super) fn finish(
        &mut self,
        produced: &[u64],
        tail: &[u8],
    ) -> Result<HashMap<u32, Received>, Error> {
        let address = self.address.clone();
        let failed = |error| broken(&address, error);
        for (stream, &bytes) in (0..).zip(produced) {
            self.sender.data_end(stream, bytes).map_err(failed)?;
        }
        if !tail.is_empty() {
            self.send_metadata(tail)?;
        }
        self.sender.close(Instant::now()).map_err(failed)?;
        let mut all = HashMap::new();
        loop {
            match self.wait()? {
                SenderEvent::Received(received) => {
                    all.insert(received.stream, received);
                }
                SenderEvent::Done => {
                    self.flush()?;
                    return Ok(all);
                }
                _ => return Err(self.out_of_place()),
            }
        }
    }

    /// Waits for the next event, as long as the listener may take.
    fn wait(&mut self) -> Result<SenderEvent, Error> {
        loop {
            if let Some(event) = self.next()? {
                if event != SenderEvent::Reconnect {
                    return Ok(event);
                }
                self.stream = connect(&self.address, self.peer_timeout)?;
                let again = self.sender.reconnected(Instant::now());
                again.map_err(|error| broken(&self.address, error))?;
            }
            self.flush()?;
            let deadline = match self.sender.next_deadline() {
                Some(at) => Deadline::after(at.saturating_duration_since(Instant::now())),
                None => Deadline::NEVER,
            };
            let ready = self.stream.wait(Interest::Read, deadline);
            if ready.map_err(|error| self.lost(&error))? {
                self.read()?;
            } else {
                self.sender
                    .on_time(Instant::now())
                    .map_err(|error| broken(&self.address, error))?;
            }
        }
    }

    fn next(&mut self) -> Result<Option<SenderEvent>, Error> {
        let next = self.sender.next(Instant::now());
        next.map_err(|error| {
            // What the listener is told of it may not arrive; the error is told here.
            let _ = self.stream.try_write(self.sender.output());
            broken(&self.address, error)
        })
    }

    /// Reads what is there; says whether there may be more.
    fn read(&mut self) -> Result<bool, Error> {
        match self.stream.try_read(self.sender.space()) {
            Ok(Some(0)) => self.sender.hung_up(),
            Ok(Some(count)) => {
                self.sender.filled(count);
                return Ok(true);
            }
            Ok(None) => {}
            // It ended with something unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                self.sender.hung_up();
            }
            Err(error) => return Err(self.lost(&error)),
        }
        Ok(false)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.sender.output();
        let written = self.stream.write_all(bytes, Deadline::after(self.peer_timeout));
        let count = bytes.len();
        self.sender.sent(count);
        written.map_err(|error| {
            // Who ends a connection may have said why.
            match self.take_news() {
                Err(reason) => reason,
                Ok(()) => Error::failure(format!("lost the listener {}", self.address))
                    .because(error.to_string()),
            }
        })
    }

    fn lost(&self, error: &std::io::Error) -> Error {
        // As text: that a pipe is closed is no quiet end here.
        Error::failure(format!("lost the listener {}", self.address)).because(error.to_string())
    }

    fn out_of_place(&self) -> Error {
        Error::failure(format!("the listener {} says what has no place here", self.address))
    }
}

fn connect(address: &Address, peer_timeout: Duration) -> Result<Stream, Error> {
    let stream = address.connect(Deadline::after(CONNECT)).map_err(|error| {
        Error::failure("cannot reach the listener")
            .because(error)
            .hint("start one there: trace-cmd listen -p PORT")
    })?;
    // What is not TCP is told by its kernel that the other end is gone.
    let _ = tcp::set_peer_timeout(&stream, peer_timeout);
    Ok(stream)
}

fn broken(address: &Address, error: SessionError) -> Error {
    match error {
        SessionError::Refused { reason, .. } => {
            Error::failure(format!("the listener {address} refuses: {reason}"))
        }
        SessionError::HungUp { step } => {
            Error::failure(format!("the listener {address} has gone, before {step}"))
        }
        error => Error::failure(format!("the listener {address}")).because(error),
    }
}
