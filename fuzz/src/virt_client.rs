//! The client in a guest, and what a host says to it.

use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use trace_transport::virtio_serial::PortDirs;
use trace_transport::{Deadline, Stream};
use trace_virt::client::{
    Client, ClientOptions, ExecPolicy, GuestRecorder, GuestRecording, OwnRecording, ReadyRecording,
    RecordingEnd, Refusal,
};
use trace_virt::wish::Wish;

use crate::virt_scene::Scene;

/// Bit of the set-up: the guest wants a recording of its own.
const WISHES: u8 = 1;

/// A byte with its set-up, and what the host says before it hangs up.
///
/// # Panics
/// When the client does not end with its connection.
pub fn run(data: &[u8]) {
    static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);
    let Some((&bits, said)) = data.split_first() else { return };
    let (mut host, guest) = Stream::pair().expect("two sockets");
    let links = SCENE.ports();
    let nowhere = PathBuf::from("/nonexistent");
    let options = ClientOptions {
        exec: ExecPolicy::Deny,
        exec_user: None,
        version: "fuzz".to_owned(),
        ports: PortDirs { links, class: nowhere.clone(), devices: nowhere },
    };
    let client = Client::over(guest, options, Box::new(Recorder)).expect("a thread for it");
    let (stop, _running) = nix::unistd::pipe().expect("a pipe");
    // The answers are not waited for: they fit into the socket, or the client sees that nobody takes them.
    let late = Deadline::after(Duration::from_secs(1));
    if host.write_all(said, late).is_err() || host.end_sending().is_err() {
        return;
    }
    // Why it ends is for its user.
    let ended = if bits & WISHES != 0 {
        let wish = Wish { clock: "mono".to_owned(), instances: vec!["foo".to_owned()] };
        let own = OwnRecording { wish, command: Vec::new() };
        client.record(own, stop.as_fd(), &mut |_| {})
    } else {
        client.run(stop.as_fd(), &mut |_| {})
    };
    std::hint::black_box(ended.map_err(|error| error.to_string())).ok();
}

/// Records nothing, at once.
struct Recorder;

struct Recording {
    data: Vec<OwnedFd>,
}

impl GuestRecorder for Recorder {
    fn prepare(&mut self, args: &[String], data: Vec<OwnedFd>) -> Result<ReadyRecording, Refusal> {
        match args.first() {
            Some(word) if word.starts_with('x') => Err(Refusal::failed("no such word")),
            Some(word) if word.starts_with('y') => {
                Ok(ReadyRecording::new(4096, || Err(Refusal::failed("not now"))))
            }
            _ => Ok(ReadyRecording::new(4096, move || Ok(Box::new(Recording { data })))),
        }
    }
}

impl GuestRecording for Recording {
    fn trace_id(&self) -> u64 {
        77
    }

    fn head(&mut self) -> Result<Box<dyn Read + Send>, String> {
        Ok(Box::new(Cursor::new(b"head".repeat(3000))))
    }

    fn stop(self: Box<Self>) -> Result<RecordingEnd, String> {
        Ok(RecordingEnd { bytes: vec![0; self.data.len()], tail: b"tail".to_vec() })
    }

    fn abort(self: Box<Self>) {}
}
