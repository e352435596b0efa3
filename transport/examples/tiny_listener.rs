//! Counts what comes to an address, from one peer after the other:
//! `tiny_listener 127.0.0.1:12345`, then `head -c 1M /dev/zero | nc -N 127.0.0.1 12345`.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use trace_transport::{Address, Deadline, Listener};

/// How long a peer may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = Listener::bind(&address.parse::<Address>()?)?;
    println!("listening on {}", listener.address());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Nobody there is no error; a server would wait for the descriptor with others.
        let Some((mut stream, peer)) = listener.accept()? else {
            sleep(Duration::from_millis(100));
            continue;
        };
        let mut bytes = 0_u64;
        let end = loop {
            match stream.read_some(&mut buffer, Deadline::after(SILENCE)) {
                Ok(0) => break "done".to_owned(),
                Ok(len) => bytes += len as u64,
                Err(error) => break error.to_string(),
            }
        };
        println!("{peer}: {bytes} bytes, {end}");
    }
}
