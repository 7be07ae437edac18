//! The reference embedder: a gateway with a worker on every core.
//!
//! With `serve` it is a whole gateway for DTLS 1.3 clients: `server` is a server around the engine,
//! without sockets or clock, and `serve` gives it both, with the `sockets` that all gateways here
//! have. Without arguments it is `demo`: the engine alone between clients and attackers, in one
//! process, for some ten seconds.
//!
//! Exit code 0: every flight got the verdict that it should. 1: one did not, or the run failed.
//! 2: the arguments make no sense.

use std::error::Error;
use std::process::ExitCode;

mod args;
mod demo;
mod serve;
mod server;
mod sockets;

use args::Command;

/// Why a thread or the whole run came to nothing.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    let command = match args::parse(args.map(|arg| arg.to_string_lossy().into_owned())) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("gateway: {why}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let passed = match &command {
        Command::Help => {
            println!("{}", args::USAGE);
            Ok(true)
        }
        Command::Run(options) => demo::both(options),
        Command::Serve(config) => serve::serve(config),
        Command::ServeDemo(options) => demo::serve(options),
        Command::Load(options) => demo::load(options),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("gateway: {why}");
            ExitCode::FAILURE
        }
    }
}
