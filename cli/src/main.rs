//! The `trace-cmd` binary: words in, text out, exit code.

mod command;
mod error;
mod exit_code;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run(std::env::args_os()) {
        Ok(code) => code.into(),
        Err(error) => {
            if !error.is_closed_pipe() {
                eprintln!("trace-cmd: {error}");
            }
            error.exit_code().into()
        }
    }
}
