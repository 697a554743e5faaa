//! A tab: where it goes, what it shows, what it says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::devtools::{Browser, Wire};

/// Nothing that is waited for takes this long.
const LONG: Duration = Duration::from_secs(30);

/// A tab.
pub(super) struct Page {
    wire: Arc<Mutex<Wire>>,
    session: String,
    /// Its pictures' names begin with this.
    name: String,
    pictures: std::cell::Cell<u32>,
}

/// Where pictures of pages are kept.
fn folder() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_clerk-sync"));
    let folder = program.ancestors().nth(2).unwrap().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Takes away the pictures of an earlier run.
fn forget_pictures(name: &str) {
    for entry in std::fs::read_dir(folder()).unwrap().flatten() {
        if entry.file_name().to_str().is_some_and(|file| file.starts_with(&format!("{name}-"))) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Page {
    /// Opens a tab at this address.
    pub(super) async fn open(browser: &Browser, name: &str, url: &str) -> Self {
        let mut wire = browser.wire.lock().await;
        // A window of its own: of a tab behind another no picture can be taken.
        let target = wire.ask("", "Target.createTarget", json!({"url": "about:blank", "newWindow": true})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = wire.ask("", "Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            wire.ask(&session, domain, json!({})).await;
        }
        let went = wire.ask(&session, "Page.navigate", json!({"url": url})).await;
        assert!(went["errorText"].is_null(), "{url}: {went}");
        drop(wire);
        forget_pictures(name);
        let wire = browser.wire.clone();
        Self { wire, session, name: name.to_owned(), pictures: Default::default() }
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        self.wire.lock().await.ask(&self.session, method, params).await
    }

    /// What an expression is there, awaited.
    ///
    /// # Errors
    /// What it throws.
    async fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.ask("Runtime.evaluate", params).await;
        if answer["exceptionDetails"].is_null() {
            return Ok(answer["result"]["value"].take());
        }
        Err(answer["exceptionDetails"]["exception"]["description"].to_string())
    }

    /// The same of one that must not throw.
    pub(super) async fn get(&self, expression: &str) -> Value {
        self.evaluate(expression).await.unwrap_or_else(|error| panic!("{}: {expression}: {error}", self.name))
    }

    /// What an element shows.
    pub(super) async fn text(&self, selector: &str) -> String {
        let text = self.get(&format!("document.querySelector({}).innerText", json!(selector))).await;
        text.as_str().unwrap().to_owned()
    }

    /// The texts of all such elements.
    pub(super) async fn texts(&self, selector: &str) -> Vec<String> {
        let texts = format!("[...document.querySelectorAll({})].map((one) => one.innerText)", json!(selector));
        serde_json::from_value(self.get(&texts).await).unwrap()
    }

    /// Waits until an expression is true there.
    pub(super) async fn until(&self, what: &str, condition: &str) {
        let started = Instant::now();
        loop {
            // While a page is still being loaded, nothing that it will have is there.
            let last = self.evaluate(condition).await;
            if last == Ok(json!(true)) {
                return;
            }
            if started.elapsed() > LONG {
                self.picture("failed").await;
                let shown = self.evaluate("document.body.innerText").await;
                let complaints = self.complaints().await;
                let latest = complaints[complaints.len().saturating_sub(9)..].join("\n");
                panic!("{}: {what}: {condition} is {last:?}\nthe page: {shown:?}\n{latest}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until all such elements have these texts.
    pub(super) async fn shows(&self, what: &str, selector: &str, texts: &[&str]) {
        let given = format!("[...document.querySelectorAll({})].map((one) => one.innerText)", json!(selector));
        self.until(what, &format!("JSON.stringify({given}) === {}", json!(json!(texts).to_string()))).await;
    }

    /// Keeps a picture of what is shown.
    pub(super) async fn picture(&self, step: &str) {
        let answer = self.ask("Page.captureScreenshot", json!({"format": "png"})).await;
        let number = self.pictures.replace(self.pictures.get() + 1) + 1;
        let path = folder().join(format!("{}-{number}-{step}.png", self.name));
        std::fs::write(&path, STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()).unwrap();
        println!("picture: {}", path.display());
    }

    /// What pages of this browser complained of so far.
    pub(super) async fn complaints(&self) -> Vec<String> {
        self.wire.lock().await.complaints.clone()
    }
}
