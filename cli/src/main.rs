//! The `trace-cmd` binary: words in, text out, exit code.

mod command;
mod error;
mod exit_code;
mod files;
mod json;
mod nearest;
mod output;
mod pid_file;
mod progress;
mod sandbox;
mod status_line;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Without it, a limit that is reached ends the process.
    let _ = sys::outlive_file_limit();
    match command::run(std::env::args_os()) {
        Ok(code) => code.into(),
        Err(error) => {
            if !error.is_closed_pipe() {
                output::tell(&error.to_string());
            }
            error.exit_code().into()
        }
    }
}
