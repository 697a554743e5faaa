//! A simulated Clerk on a port of its own, and keys that lead to it.

use clerk_sync::clerk::simulated::{self, Modes};
use tokio_util::sync::CancellationToken;

pub(crate) use clerk_sync::clerk::simulated::{Change, Kind, World as Clerk};

/// The instance that the tests' deliveries name.
pub(crate) const INSTANCE: &str = "ins_tests";

/// A running one; ends when it is dropped.
pub(crate) struct Simulated {
    pub(crate) clerk: Clerk,
    pub(crate) modes: Modes,
    pub(crate) url: String,
    stop: CancellationToken,
}

impl Simulated {
    /// Of the instance that the tests' deliveries name.
    pub(crate) async fn of(clerk: Clerk) -> Self {
        Self::of_instance(clerk, INSTANCE).await
    }

    pub(crate) async fn of_instance(clerk: Clerk, id: &str) -> Self {
        let clerk = clerk.with_instance_id(id);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (modes, stop) = (Modes::default(), CancellationToken::new());
        modes.set_key(Some("sk_test_simulated"));
        tokio::spawn(simulated::serve(clerk.clone(), modes.clone(), listener, stop.clone()));
        Self { clerk, modes, url, stop }
    }

    /// Keys of a configuration that asks it, at any rate, and these.
    pub(crate) fn keys(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("clerk.secret_key", "sk_test_simulated".to_owned()),
            ("clerk.api_url", self.url.clone()),
            ("clerk.rate_limit", "1000000".to_owned()),
        ];
        for (key, value) in more {
            keys.retain(|(known, _)| known != key);
            keys.push((key, (*value).to_owned()));
        }
        keys
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
