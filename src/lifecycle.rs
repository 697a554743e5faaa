//! Process lifecycle: signals, supervision of long-lived tasks ([`Supervisor`]), and their heartbeats ([`Heartbeats`]).

mod heartbeat;
mod panic;
mod supervisor;

use tokio::signal::unix::{SignalKind, signal as listen};

pub use heartbeat::{Heartbeat, Heartbeats, Need, Turn, beat, rest};
pub use panic::report_panics;
pub use supervisor::Supervisor;

/// Returns at the first SIGTERM or SIGINT.
///
/// # Errors
/// When the system refuses to deliver signals.
pub async fn signal() -> std::io::Result<()> {
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
