//! Arguments to a command; the only place that prints errors and exits.

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use clerk_sync::{commands::Cli, lifecycle};

/// Two fifths of the sync's own time went into the system's allocator: a delivery is many small texts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the runtime may take to end its threads.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Explicit, so that a second provider in the tree could never become a panic at run time.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    lifecycle::report_panics();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(cli.run());
    // What a task that hangs holds on to must not hold the process.
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
