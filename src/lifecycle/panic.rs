//! The panic hook: place and task of a panic, never its message, which may quote values (P8).

use std::backtrace::{Backtrace, BacktraceStatus};

use super::supervisor;

/// Makes panics report where they happened and in which task. A backtrace follows where `RUST_BACKTRACE` asks for one: it
/// names functions and lines only.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "-".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        let task = supervisor::current_task();
        let task = task.as_deref().unwrap_or("-");
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, task, "panic");
        } else {
            eprintln!("panic at {place} in task {task}");
        }
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            eprintln!("{backtrace}");
        }
    }));
}
