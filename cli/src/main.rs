//! The `trace-cmd` binary: words in, text out, exit code.

mod command;
mod error;
mod exit_code;
mod json;
mod nearest;
mod output;
mod progress;
mod status_line;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
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
