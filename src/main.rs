//! The `tidegate` program: reads the command line, calls the verb, turns errors into exit codes.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::{Cli, Failure};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Findings) => ExitCode::from(1),
        Err(Failure::Usage(error)) => fail(&error, 2),
        Err(Failure::Refused(error)) => fail(&error, 1),
        Err(Failure::CannotStart(error)) => fail(&error, 3),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}
