//! Signals.

use tokio::signal::unix::{SignalKind, signal as listen};

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
