//! `clerk-sync send`: signs event files and posts them, as Svix would.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::Args as ClapArgs;
use serde_json::Value;

use crate::{clerk::signature::Verifier, clock::Clock, config::Config};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Event files (a body, or NDJSON of `clerk webhooks listen --json`), or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Where to [default: the configured host and port]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The signing secret [default: the configured one]
    #[arg(long, value_name = "whsec_…")]
    secret: Option<String>,
}

/// One delivery: the id it keeps over repetitions, and the body.
pub(super) struct Delivery {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// Posts signed deliveries to one URL.
pub(super) struct Sender {
    client: reqwest::Client,
    url: String,
    verifier: Verifier,
    clock: Clock,
}

impl Sender {
    pub(super) fn new(url: &str, secret: &str, clock: Clock) -> anyhow::Result<Self> {
        let verifier = Verifier::new(secret, std::time::Duration::from_secs(300))
            .map_err(|error| anyhow::anyhow!("{error} (set --secret or CLERK_WEBHOOK_SIGNING_SECRET)"))?;
        let client = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let url = if url.contains("/webhooks/") {
            url.to_owned()
        } else {
            format!("{}/webhooks/clerk", url.trim_end_matches('/'))
        };
        Ok(Self { client, url, verifier, clock })
    }

    /// Posts one; answers status and what the body says happened.
    pub(super) async fn post(&self, delivery: &Delivery) -> anyhow::Result<(u16, String)> {
        let seconds = self.clock.now().timestamp();
        let signature = self
            .verifier
            .sign(&delivery.id, seconds, &delivery.body)
            .context("a body that is not UTF-8 cannot be signed")?;
        let request =
            self.client.post(&self.url).header("content-type", "application/json").header("svix-id", &delivery.id);
        let request = request.header("svix-timestamp", seconds).header("svix-signature", signature);
        let response = request
            .body(delivery.body.clone())
            .send()
            .await
            .with_context(|| format!("{} does not answer", self.url))?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap_or_default();
        let word = answer["status"].as_str().or(answer["code"].as_str()).unwrap_or("?").to_owned();
        Ok((status, word))
    }
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let to = args.to.unwrap_or_else(|| format!("http://{}:{}", config.server.host, config.server.port));
    let secret = args.secret.unwrap_or_else(|| config.clerk.signing_secret.expose().to_owned());
    let sender = Sender::new(&to, &secret, Clock::system())?;
    let mut refused = 0;
    for delivery in deliveries(&args.paths)? {
        let (status, word) = sender.post(&delivery).await?;
        println!("{status}  {word:<18} {}  {}", delivery.id, delivery.name);
        refused += usize::from(status != 200);
    }
    Ok(refused == 0)
}

fn deliveries(paths: &[PathBuf]) -> anyhow::Result<Vec<Delivery>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut inside: Vec<PathBuf> =
                std::fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
            inside.sort();
            files.extend(
                inside.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "json" || ext == "ndjson")),
            );
        } else {
            files.push(path.clone());
        }
    }
    let mut deliveries = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        deliveries.extend(parse(&file, bytes)?);
    }
    Ok(deliveries)
}

/// A file is one body, or lines each holding `headers` and `body_b64`.
fn parse(file: &Path, bytes: Vec<u8>) -> anyhow::Result<Vec<Delivery>> {
    let name = file.display().to_string();
    if let Ok(value) = serde_json::from_slice::<Value>(&bytes)
        && value.get("body_b64").is_none()
    {
        return Ok(vec![Delivery { name, id: new_id(), body: bytes }]);
    }
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is neither JSON nor lines of JSON"))?;
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).with_context(|| format!("{name}: a line is not JSON"))?;
        let Some(body) = value["body_b64"].as_str() else { bail!("{name}: a line has no body_b64") };
        let body = base64::engine::general_purpose::STANDARD
            .decode(body)
            .with_context(|| format!("{name}: body_b64 is not base64"))?;
        let headers = value["headers"].as_object();
        let find = |(header, value): (&String, &Value)| {
            header.eq_ignore_ascii_case("svix-id").then(|| value.as_str().map(str::to_owned)).flatten()
        };
        let id = headers.and_then(|headers| headers.iter().find_map(find)).unwrap_or_else(new_id);
        Ok(Delivery { name: name.clone(), id, body })
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// An id as Svix makes them.
pub(super) fn new_id() -> String {
    format!("msg_{}", uuid::Uuid::new_v4().simple())
}
