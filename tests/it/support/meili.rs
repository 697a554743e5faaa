//! A double of Meilisearch that speaks its HTTP API and truly indexes: documents are stored and searched, tasks are
//! done in order after a delay, and it can fail in the ways the real one and the network do.

mod api;
mod engine;
mod matching;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;

use engine::Engine;

/// The key that the double wants.
pub(crate) const KEY: &str = "a-master-key-for-tests";

/// How the double misbehaves. Nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Every request is answered with this status and code.
    pub(crate) answer: Option<(u16, &'static str)>,
    /// The key may read and search, and not write documents.
    pub(crate) read_only: bool,
    /// Requests are taken and never answered.
    pub(crate) hang: bool,
    /// Connections are closed in the middle of the answer.
    pub(crate) close: bool,
    /// How long a task waits before it is done.
    pub(crate) task_delay: Duration,
    /// Tasks that write documents fail with this code.
    pub(crate) task_code: Option<&'static str>,
    /// A task with one of these documents fails as if its id were invalid.
    pub(crate) refused: BTreeSet<String>,
    /// Bytes of a body; a longer one is answered 413.
    pub(crate) payload: Option<usize>,
}

/// A running double. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Double {
    url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    faults: Mutex<Faults>,
    engine: Mutex<Engine>,
    requests: Mutex<Vec<String>>,
    work: tokio::sync::Notify,
}

impl Double {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = api::router(shared.clone());
        let worker = shared.clone();
        let server = tokio::spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => served.unwrap(),
                () = worker.work_off() => {}
            }
        });
        Self { url, shared, server }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Changes how it misbehaves from now on.
    pub(crate) fn fail(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.shared.faults));
    }

    /// The requests since the last time, `METHOD /path`, questions about tasks left out.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *lock(&self.shared.requests));
        requests.into_iter().filter(|request| !request.starts_with("GET /tasks/")).collect()
    }

    /// Names of the indexes there are.
    pub(crate) fn indexes(&self) -> Vec<String> {
        lock(&self.shared.engine).indexes.keys().cloned().collect()
    }

    /// An index's settings as they were last set.
    pub(crate) fn settings(&self, uid: &str) -> Value {
        lock(&self.shared.engine).indexes.get(uid).map_or(Value::Null, |index| index.settings.clone())
    }

    /// An index's documents.
    pub(crate) fn documents(&self, uid: &str) -> Vec<Value> {
        let engine = lock(&self.shared.engine);
        engine
            .indexes
            .get(uid)
            .map(|index| index.documents.values().map(|document| document.json.clone()).collect())
            .unwrap_or_default()
    }

    /// Removes an index behind everybody's back.
    pub(crate) fn lose(&self, uid: &str) {
        lock(&self.shared.engine).indexes.remove(uid);
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    /// Does the tasks one after the other, for ever.
    async fn work_off(&self) {
        loop {
            let next = lock(&self.engine).next();
            let Some(uid) = next else {
                self.work.notified().await;
                continue;
            };
            tokio::time::sleep(self.faults().task_delay).await;
            let faults = self.faults();
            lock(&self.engine).run(uid, &faults);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
