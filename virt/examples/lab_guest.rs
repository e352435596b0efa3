//! Boots a guest of the lab from a script.
//!
//! ```text
//! lab_guest prepare        fetch the guest's kernel, build trace-cmd for it; print the binary's path
//! lab_guest missing        print what this machine lacks for the tests, one reason a line
//! lab_guest boot VIRT_DIR NAME CPUS [CLIENT-ARGUMENT…]
//!                          boot, say so, and power off at the end of standard input
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use trace_virt::lab::{Guest, GuestOptions, requirements, static_binary};

const BOOT: Duration = Duration::from_secs(60);
const POWER_OFF: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab_guest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare"] => {
            requirements::guest()?;
            println!("{}", static_binary()?.display());
        }
        ["missing"] => {
            for missing in requirements::missing() {
                println!("{missing}");
            }
        }
        ["boot", virt_dir, name, cpus, client @ ..] => {
            let mut options = GuestOptions::new(*name);
            options.cpus = cpus.parse()?;
            options.virt_dir = Some(virt_dir.into());
            options.trace_cmd = Some(static_binary()?);
            options.client_args = Some(client.iter().map(|&word| word.to_owned()).collect());
            boot(options)?;
        }
        _ => {
            return Err(
                "usage: lab_guest prepare | missing | boot VIRT_DIR NAME CPUS [ARG…]".into()
            );
        }
    }
    Ok(())
}

fn boot(options: GuestOptions) -> Result<(), Box<dyn Error>> {
    let guest = Guest::boot(options)?;
    guest.wait_ready(BOOT)?;
    println!("guest {} is up, kernel {}", guest.name(), guest.run("uname -r")?.trim());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let client = guest.run("cat /run/client.log")?;
    if !client.is_empty() {
        eprint!("the guest's client said:\n{client}");
    }
    guest.power_off(POWER_OFF)?;
    Ok(())
}
