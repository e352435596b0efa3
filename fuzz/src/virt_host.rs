//! A host tool, and what the server and the guest behind it say.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::LazyLock;
use std::time::Duration;

use trace_virt::host::{self, Guest, HostError, StartRequest};

use crate::virt_scene::Scene;

/// A byte that says what the tool wants, and what it hears before the other end hangs up.
///
/// # Panics
/// When the head of a trace is not what came, or more is told than a guest can have.
pub fn run(data: &[u8]) {
    static SCENE: LazyLock<(Scene, UnixListener)> = LazyLock::new(|| {
        let scene = Scene::new();
        let listener = UnixListener::bind(scene.dir.manager_socket()).expect("a socket");
        (scene, listener)
    });
    let (scene, listener) = &*SCENE;
    let Some((&kind, said)) = data.split_first() else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Ok((stream, _)) = listener.accept() {
                answer(stream, said);
            }
        });
        let told = match kind % 3 {
            0 => host::list(&scene.dir).map(|guests| assert!(guests.len() < 100_000)),
            1 => host::status(&scene.dir).map(|guests| assert!(guests.len() <= 4096)),
            _ => record(scene, said),
        };
        if let Err(error) = told {
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    });
}

/// Says it all and hangs up; a tool that asks for more is not answered.
fn answer(mut stream: UnixStream, said: &[u8]) {
    let _ = stream.write_all(said);
    let _ = stream.shutdown(Shutdown::Write);
    let mut asked = Vec::new();
    let _ = stream.read_to_end(&mut asked);
}

fn record(scene: &Scene, said: &[u8]) -> Result<(), HostError> {
    let guest = Guest::connect(&scene.dir, &scene.guest)?;
    assert!(guest.info().cpus <= 1, "more CPUs than FIFOs");
    let request = StartRequest {
        args: vec!["-e".to_owned(), "sched".to_owned()],
        host_clock: Some("mono".to_owned()),
        guest_clock: Some("mono".to_owned()),
        ..StartRequest::default()
    };
    let session = guest.start(&request)?;
    assert!(session.head.len() <= said.len(), "a head of its own");
    // Until the connection ends; closing the session would wait for data that nobody sends.
    while session
        .events()
        .recv_timeout(Duration::from_secs(20))
        .is_ok_and(|event| !matches!(event, host::SessionEvent::Gone))
    {}
    Ok(())
}
