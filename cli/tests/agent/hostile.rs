//! Hosts that are none, and one that dies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;
use trace_transport::message::{Message, ParameterId, ParameterList};

use crate::common::{check, success};
use crate::peers::{OwnAgent, until};
use crate::{Bench, EVENTS, LOAD};

const ANSWER: Duration = Duration::from_secs(240);

pub(crate) fn none() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let request = |extensions: bool, words: &[&str]| -> Result<Vec<u8>, Failed> {
        let mut list = ParameterList::new();
        list.push_counted(ParameterId::ARGUMENTS, words)?;
        if extensions {
            list.push_counted(ParameterId::EXTENSIONS, ["accounts"])?;
        }
        let parameters = list.parameters();
        Ok(Message::TraceReq { flags: 0, trace_id: 1, parameters }.to_bytes()?)
    };
    let half = request(false, &["-e", "sched_switch"])?;
    let half = &half[..half.len() - 3];
    let mut claimed = request(true, &["-e", "sched_switch"])?;
    // A count of words that nothing has room for.
    let at = 12 + 16 + 8;
    claimed[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let words: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", "message size 1195725856"),
        (&[0xff; 4096], "message size 4294967295"),
        (half, "ended while waiting for TRACE_REQ"),
        (&claimed, "arguments"),
        (&Message::Close.to_bytes()?, "CLOSE while waiting for TRACE_REQ"),
        (&request(true, &["-o", "/etc/passwd", "-e", "sched"])?, "-o cannot be given to a guest"),
    ];
    // It says nothing all the time.
    let silent = TcpStream::connect(agent.address())?;
    for (bytes, reason) in words {
        let mut host = TcpStream::connect(agent.address())?;
        host.set_read_timeout(Some(ANSWER))?;
        host.write_all(bytes)?;
        if bytes == half {
            host.shutdown(std::net::Shutdown::Write)?;
        }
        let mut answer = Vec::new();
        // What was not read of what was sent makes the end of the connection an error.
        let _ = host.read_to_end(&mut answer);
        check(answer.len() < 1000, || format!("{} bytes for {reason}", answer.len()))?;
        agent.says(reason)?;
    }
    success(bench.record(&agent.address(), &EVENTS).args(["sh", "-c", LOAD]))?;
    bench.report("127.0.0.1")?;
    drop(silent);
    agent.stop()?;
    bench.is_as_before()
}

pub(crate) fn dies() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let agent = OwnAgent::start(bench.out.path(), &[])?;
    let mut record = bench.record(&agent.address(), &["-e", "sched"]);
    let mut host = record.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    agent.says("recording: ")?;
    host.kill()?;
    host.wait()?;
    agent.says("went away; the recording was aborted")?;
    until("all is put back", || bench.is_as_before().is_ok())?;
    success(bench.record(&agent.address(), &EVENTS).args(["sh", "-c", LOAD]))?;
    bench.report("127.0.0.1")?;
    // And an agent that is ended while it records.
    let mut record = bench.record(&agent.address(), &["--name", "cut", "-e", "sched"]);
    let host = record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the second recording", || agent.log().matches("recording: ").count() == 3)?;
    agent.stop()?;
    let status = host.wait_with_output()?.status;
    check(status.code().is_some(), || format!("{status}"))?;
    bench.is_as_before()
}
