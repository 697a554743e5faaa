//! `clerk-sync send`: signs event files and posts them, as Svix would. A signature that a file holds is not used: it is
//! old, or was made with another secret.

mod files;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use serde_json::Value;

use crate::{
    clerk::signature::Verifier,
    clock::Clock,
    config::{Config, Secret},
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Event files (a body, or NDJSON of `clerk webhooks listen --json`), folders of them, or - for the standard input,
    /// which is read to its end
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// Where to [default: the configured host and port]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// A file that holds the signing secret [default: the configured one, CLERK_WEBHOOK_SIGNING_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Refused: an argument is readable by every user of the machine
    #[arg(long, hide = true, value_name = "SECRET")]
    secret: Option<String>,
}

/// One delivery: the id it keeps over repetitions, and the body.
#[derive(Debug)]
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
            .map_err(|error| anyhow::anyhow!("{error} (set CLERK_WEBHOOK_SIGNING_SECRET, or --secret-file FILE)"))?;
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
        let signature =
            self.verifier.sign(&delivery.id, seconds, &delivery.body).context("no signing secret is set")?;
        let request =
            self.client.post(&self.url).header("content-type", "application/json").header("svix-id", &delivery.id);
        let request = request.header("svix-timestamp", seconds).header("svix-signature", signature);
        let response = request
            .body(delivery.body.clone())
            .send()
            .await
            .map_err(|error| anyhow::Error::new(error.without_url()).context("the server does not answer"))?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap_or_default();
        let word = answer["status"].as_str().or(answer["code"].as_str()).unwrap_or("?").to_owned();
        Ok((status, word))
    }
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let to = args.to.unwrap_or_else(|| format!("http://{}:{}", config.server.host, config.server.port));
    let secret = secret(args.secret.is_some(), args.secret_file.as_deref(), &config)?;
    let sender = Sender::new(&to, secret.expose(), Clock::system())?;
    let mut contents = files::Contents::default();
    for file in files::list(&args.paths).context("a folder cannot be read")? {
        let name = file.display().to_string();
        contents.parse(&name, files::read(&file).with_context(|| format!("{name} cannot be read"))?);
    }
    let mut refused = 0;
    for delivery in &contents.deliveries {
        let (status, word) = sender.post(delivery).await?;
        println!("{status}  {word:<18} {}  {}", delivery.id, delivery.name);
        refused += usize::from(status != 200);
    }
    if contents.passed_over > 0 {
        println!("lines passed over, no deliveries: {}", contents.passed_over);
    }
    for broken in &contents.broken {
        eprintln!("not sent: {broken}");
    }
    Ok(refused == 0 && contents.broken.is_empty())
}

/// The secret of the file, else the configured one. As an argument it would stand in the list of processes and in the
/// shell's history.
fn secret(as_argument: bool, file: Option<&Path>, config: &Config) -> anyhow::Result<Secret> {
    if as_argument {
        bail!(
            "--secret shows the secret to every user of this machine: set CLERK_WEBHOOK_SIGNING_SECRET, or use \
             --secret-file FILE"
        );
    }
    let Some(file) = file else { return Ok(config.clerk.signing_secret.clone()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Secret::from(text.trim()))
}

/// An id as Svix makes them.
pub(super) fn new_id() -> String {
    format!("msg_{}", uuid::Uuid::new_v4().simple())
}
