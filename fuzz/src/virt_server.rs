//! The server between guests and host tools, and what both say to it.

use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Duration;

use trace_transport::message::{Decoder, ExecRule, Hello, HelloKind, Message, WordList};
use trace_transport::{Deadline, Stream, unix};
use trace_virt::host;
use trace_virt::server::{Server, ServerOptions};
use trace_virt::setup::VirtDir;

use crate::virt_scene::Scene;

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// More steps show nothing new.
const MAX_STEPS: usize = 32;

/// Steps, each of a byte that says who does what, a byte with a size, and so many bytes.
///
/// # Panics
/// When the server does not serve any more.
pub fn run(data: &[u8]) {
    static SCENE: LazyLock<Scene> = LazyLock::new(Scene::new);
    let guest = SCENE.guest.clone();
    let resolver = Box::new(move |_: &unix::PeerProcess| Some(guest.clone()));
    let server = Server::bind_with(&SCENE.dir, &ServerOptions::default(), resolver)
        .expect("the one before has ended");
    let (stop, running) = nix::unistd::pipe().expect("a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            server.run(stop.as_fd(), &mut |_| {}).expect("it serves until it is stopped");
        });
        let mut actors = Actors { dir: &SCENE.dir, guest: None, tool: None };
        let mut rest = data;
        for _ in 0..MAX_STEPS {
            let [who, size, more @ ..] = rest else { break };
            let (bytes, more) = more.split_at(more.len().min(usize::from(*size)));
            rest = more;
            actors.step(*who, bytes);
            // Who connects after the step is answered after it.
            host::list(&SCENE.dir).expect("the server serves");
        }
        drop(running);
    });
}

/// A guest's QEMU and a host tool, once they are there.
struct Actors<'a> {
    dir: &'a VirtDir,
    guest: Option<Stream>,
    tool: Option<Stream>,
}

impl Actors<'_> {
    fn step(&mut self, who: u8, bytes: &[u8]) {
        match who % 5 {
            0 => send(self.guest(), bytes),
            1 => send(self.tool(), bytes),
            2 => introduce(self.guest()),
            3 => self.guest = None,
            _ => self.tool = None,
        }
    }

    fn guest(&mut self) -> &mut Stream {
        let connect = || unix::connect(&self.dir.agent_socket()).expect("the server listens");
        self.guest.get_or_insert_with(connect)
    }

    fn tool(&mut self) -> &mut Stream {
        let connect = || unix::connect(&self.dir.manager_socket()).expect("the server listens");
        self.tool.get_or_insert_with(connect)
    }
}

/// Who was hung up on is not heard.
fn send(stream: &mut Stream, bytes: &[u8]) {
    let _ = stream.write_all(bytes, Deadline::after(PATIENCE));
}

/// Answers the last question who is there, as a client does.
fn introduce(guest: &mut Stream) {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 4096];
    let mut asked = None;
    while let Ok(Some(count @ 1..)) = guest.try_read(&mut buffer) {
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            while let Ok(Some(frame)) = decoder.next_frame() {
                if let Ok(Message::Hello(hello)) = Message::decode(&frame) {
                    asked = Some(hello.nonce);
                }
            }
        }
    }
    let Some(nonce) = asked else { return };
    let words = WordList::new(["fuzz", "mono"]).expect("short words");
    let hello = Hello {
        kind: HelloKind::ANSWER,
        nonce,
        cpus: 1,
        page_size: 4096,
        exec: ExecRule::DENY,
        words: words.words(),
    };
    send(guest, &Message::Hello(hello).to_bytes().expect("short words"));
}
