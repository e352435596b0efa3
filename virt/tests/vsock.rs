//! vsock with a kernel that has it: its loopback, and a device between a guest and its host.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use trace_transport::{Access, Address, Deadline, Error, Interest, Listener, Peer, Stream, vsock};
use trace_virt::lab::{Guest, GuestOptions, VsockDevice, requirements};

/// Tells this program that it is in the guest, and what to do there.
const INSIDE: &str = "TRACE_VSOCK_IN_GUEST";

const BOOT: Duration = Duration::from_secs(240);
const WORK: Duration = Duration::from_secs(300);

const GUEST_PORT: u32 = 823;
const HOST_PORT: u32 = 1234;
const ECHOED: usize = 1 << 20;
const STREAMED: usize = 8 << 20;

fn main() -> ExitCode {
    match std::env::var(INSIDE).as_deref() {
        Ok("loopback") => loopback_inside(),
        Ok("device") => device_inside(),
        Ok(other) => panic!("{INSIDE}={other}"),
        Err(_) => {
            let trials = vec![
                trial("vsock_loopback_in_a_guest", || Ok(()), loopback),
                trial("hybrid_vsock_joins_guest_and_host", find_device, device),
            ];
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn trial(name: &str, needs: fn() -> Result<(), String>, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::ignorable_test(name, move || {
        let missing = needs().and_then(|()| requirements::guest().map_err(|it| it.to_string()));
        match missing {
            Ok(()) => test().map(|()| Completion::Completed),
            Err(missing) => Ok(Completion::ignored_with(missing)),
        }
    })
}

fn find_device() -> Result<(), String> {
    VsockDevice::find().map_err(|missing| missing.to_string())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(240))
}

fn accept(listener: &Listener) -> (Stream, Peer) {
    let end = soon();
    loop {
        if let Some(accepted) = listener.accept().unwrap() {
            return accepted;
        }
        assert!(!end.has_passed(), "nobody connected to {}", listener.address());
        thread::sleep(Duration::from_millis(5));
    }
}

fn read_exactly(stream: &mut Stream, count: usize, expected: u8) {
    let mut buffer = vec![0; vsock::FRAME];
    let mut left = count;
    while left > 0 {
        let room = left.min(buffer.len());
        let got = stream.read_some(&mut buffer[..room], soon()).unwrap();
        assert!(got > 0, "{}: ended {left} bytes early", stream.peer());
        assert!(buffer[..got].iter().all(|byte| *byte == expected));
        left -= got;
    }
}

fn read_end(stream: &mut Stream) {
    assert_eq!(stream.read_some(&mut [0; 1], soon()).unwrap(), 0);
}

fn run_inside(guest: &Guest, part: &str) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let command = format!("{INSIDE}={part} {} 2>&1", program.display());
    let output = guest.output(&command, WORK)?;
    match output.status {
        0 => Ok(()),
        status => {
            let text = String::from_utf8_lossy(&output.stdout);
            Err(format!("status {status}:\n{text}").into())
        }
    }
}

fn loopback() -> Result<(), Failed> {
    let mut options = GuestOptions::new("vsock-loopback");
    options.programs = vec![std::env::current_exe()?];
    options.modules = vec!["vsock_loopback".to_owned()];
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    run_inside(&guest, "loopback")
}

fn loopback_inside() {
    let any = Address::Vsock { cid: vsock::CID_ANY, port: u32::MAX };
    let listener = Listener::bind(&any).unwrap();
    let &Address::Vsock { port, .. } = listener.address() else { panic!() };
    assert_ne!(port, u32::MAX, "the port that was taken is told");
    assert!(listener.accept().unwrap().is_none());

    let local = Address::Vsock { cid: vsock::CID_LOCAL, port };
    let mut near = local.connect(soon()).unwrap();
    let (mut far, peer) = accept(&listener);
    let Peer::Vsock { cid, port: from } = peer else { panic!("{peer:?}") };
    assert_eq!(cid, vsock::CID_LOCAL);
    assert_eq!(peer.label(), format!("V1:{from}"));
    assert_eq!(near.peer(), format!("vsock:1:{port}"));
    assert!(!far.can_splice(Interest::Read) && !near.can_splice(Interest::Write));
    let only_a_guest: Access = ["vsock:3".parse().unwrap()].into_iter().collect();
    assert!(!only_a_guest.allows(&peer));

    let sender = thread::spawn(move || {
        let frame = [0x5a; vsock::FRAME];
        for _ in 0..STREAMED / vsock::FRAME {
            near.write_all(&frame, soon()).unwrap();
        }
    });
    read_exactly(&mut far, STREAMED, 0x5a);
    sender.join().unwrap();
    read_end(&mut far);

    let nobody = Address::Vsock { cid: vsock::CID_LOCAL, port: port ^ 1 };
    let error = nobody.connect(soon()).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    // There is no device, hence no way out of this machine.
    let elsewhere = Address::Vsock { cid: 7, port: 1 };
    let error = elsewhere.connect(soon()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

fn device() -> Result<(), Failed> {
    let device = VsockDevice::start()?;
    let mut options = GuestOptions::new("vsock-device");
    options.programs = vec![std::env::current_exe()?];
    device.plug_into(&mut options);
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;

    let path = device.path();
    let listener = Listener::bind(&Address::Hybrid { path: path.clone(), port: HOST_PORT })?;
    let to_guest = Address::Hybrid { path, port: GUEST_PORT };
    thread::scope(|scope| {
        let inside = scope.spawn(|| run_inside(&guest, "device"));
        // The device hangs up while nobody in the guest listens.
        let mut stream = loop {
            match to_guest.connect(soon()) {
                Ok(stream) => break stream,
                Err(Error::Closed { .. }) if !inside.is_finished() => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(inside.join().unwrap().err().unwrap_or(error.into())),
            }
        };
        stream.write_all(&[0x5a; ECHOED], soon())?;
        read_exactly(&mut stream, ECHOED, 0xa5);

        let (mut from_guest, peer) = accept(&listener);
        let Peer::Unix(process) = peer else { panic!("{peer:?}") };
        assert_eq!(process.pid, device.pid().cast_signed());
        read_exactly(&mut from_guest, STREAMED, 0x33);
        read_end(&mut from_guest);
        drop(stream);
        inside.join().unwrap()
    })
}

fn device_inside() {
    let here = Address::Vsock { cid: vsock::CID_ANY, port: GUEST_PORT };
    let listener = Listener::bind(&here).unwrap();
    let (mut stream, peer) = accept(&listener);
    assert!(matches!(peer, Peer::Vsock { cid: vsock::CID_HOST, .. }), "{peer:?}");
    read_exactly(&mut stream, ECHOED, 0x5a);
    stream.write_all(&[0xa5; ECHOED], soon()).unwrap();

    let host = Address::Vsock { cid: vsock::CID_HOST, port: HOST_PORT };
    let mut to_host = host.connect(soon()).unwrap();
    let frame = [0x33; vsock::FRAME];
    for _ in 0..STREAMED / vsock::FRAME {
        to_host.write_all(&frame, soon()).unwrap();
    }
    drop(to_host);
    // The host hangs up when it has read all.
    read_end(&mut stream);
}
