//! Supervision: a long-lived task that ends before it was asked to ends the process. Every loop of a process is spawned
//! here, with a name; a test fails for one that is not. What serves one client (a request, a websocket, a stream) is not
//! supervised: its panic ends that client's connection alone.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::heartbeat::{Heartbeats, Need};

tokio::task_local! {
    static NAME: Arc<str>;
}

/// Returns the name of the present supervised task, if this is one.
pub(super) fn current_task() -> Option<Arc<str>> {
    NAME.try_with(Arc::clone).ok()
}

/// The tasks of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    heartbeats: Heartbeats,
    /// The first task that failed.
    failed: watch::Sender<Option<Arc<str>>>,
}

/// When a task may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After shutdown began.
    Asked,
    /// At any time, but not by a panic.
    Any,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            heartbeats: Heartbeats::default(),
            failed: watch::Sender::new(None),
        }
    }
}

impl Supervisor {
    /// Asks every task to end.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Every task, those of clients included: what shutdown waits for.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The heartbeats of the tasks that have one.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// Runs a task that lives until shutdown.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.supervise(name, End::Asked, task);
    }

    /// Runs a loop that lives until shutdown and whose turns last `limit` at most (see [`super::beat`]).
    pub fn spawn_loop(&self, name: &str, limit: Duration, need: Need, task: impl Future<Output = ()> + Send + 'static) {
        let heartbeat = self.heartbeats.register(name, limit, need);
        self.supervise(name, End::Asked, heartbeat.scope(task));
    }

    /// Runs a task that ends when its work is done.
    pub fn spawn_once(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.supervise(name, End::Any, task);
    }

    /// Returns the name of the first task that failed, once one does.
    pub async fn failed(&self) -> Arc<str> {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(name) => name.clone().unwrap_or_else(|| "-".into()),
            // The sender is ours.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether a task failed.
    pub fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    fn supervise(&self, name: &str, end: End, task: impl Future<Output = ()> + Send + 'static) {
        let name: Arc<str> = name.into();
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        self.tasks.spawn(NAME.scope(name.clone(), async move {
            // What a panicked task leaves behind is not used again: the process ends.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() || (end == End::Asked && !shutdown.is_cancelled()) {
                let how = if ended.is_err() { "a task panicked" } else { "a task ended before it was asked to" };
                tracing::error!(task = &*name, "{how}; the process ends");
                failed.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(name);
                    is_first
                });
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_or_panics_is_a_failure() {
        for (name, fails) in
            [("returns", true), ("panics", true), ("waits", false), ("once", false), ("once panics", true)]
        {
            let supervisor = Supervisor::default();
            let stop = supervisor.shutdown().clone();
            match name {
                "returns" => supervisor.spawn(name, async {}),
                "panics" => supervisor.spawn(name, async { panic!("ada@example.com") }),
                "waits" => supervisor.spawn(name, async move { stop.cancelled().await }),
                "once" => supervisor.spawn_once(name, async {}),
                _ => supervisor.spawn_once(name, async { panic!("ada@example.com") }),
            }
            if fails {
                assert_eq!(&*supervisor.failed().await, name);
            }
            supervisor.shutdown().cancel();
            supervisor.tasks().close();
            supervisor.tasks().wait().await;
            assert_eq!(supervisor.has_failed(), fails, "{name}");
        }
    }

    #[tokio::test]
    async fn a_panic_during_shutdown_is_a_failure_too() {
        let supervisor = Supervisor::default();
        let stop = supervisor.shutdown().clone();
        supervisor.spawn("late", async move {
            stop.cancelled().await;
            panic!("late");
        });
        supervisor.shutdown().cancel();
        assert_eq!(&*supervisor.failed().await, "late");
    }
}
