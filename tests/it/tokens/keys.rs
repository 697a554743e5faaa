//! The keys that an instance publishes: when they are asked for, by how many at a time, and for how long they serve,
//! whatever becomes of the address.

use std::time::{Duration, Instant};

use clerk_sync::clerk::keys::{Asker, NoKeys, Published, Times};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{
    clerk::{Clerk, Simulated},
    issuer::Issuer,
    keys::{Double, Way},
    world::config,
};

/// Times that a test can wait for.
const TIMES: Times =
    Times { refresh: Duration::from_secs(3600), keep: Duration::from_secs(3600), pause: Duration::from_millis(100) };

/// A cache of a process, which ends with this value.
struct Cache {
    keys: Published,
    stop: CancellationToken,
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cache {
    fn of(double: &Double, times: Times) -> Self {
        Self::at(&[("clerk.jwks_url", double.url.clone()), ("clerk.timeout", "500ms".to_owned())], times)
    }

    fn at(keys: &[(&str, String)], times: Times) -> Self {
        let keys = Published::new(Asker::new(&config(keys).clerk, |_, _| {}).unwrap(), times);
        let stop = CancellationToken::new();
        tokio::spawn(keys.clone().run(stop.clone()));
        Self { keys, stop }
    }

    /// Whether a key is known, as far as that can be said.
    async fn has(&self, kid: &str) -> Result<bool, NoKeys> {
        self.keys.key(Some(kid)).await.map(|key| key.is_some())
    }

    /// Returns once that is so.
    async fn comes_to(&self, kid: &str, expected: Result<bool, NoKeys>) {
        let since = Instant::now();
        while self.has(kid).await != expected {
            assert!(since.elapsed() < Duration::from_secs(10), "{kid} does not come to {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn keys(names: &[&str]) -> Vec<Value> {
    names.iter().map(|kid| Issuer::ours().jwk(kid)).collect()
}

#[tokio::test]
async fn everybody_waits_for_one_request() {
    let double = Double::start(Way::Slow(Duration::from_millis(200), keys(&["a"]))).await;
    let cache = Cache::of(&double, TIMES);
    // Whoever gives up takes nothing from the others.
    assert!(timeout(Duration::from_millis(20), cache.has("a")).await.is_err());
    let found = join_all((0..200).map(|n| cache.has(if n % 2 == 0 { "a" } else { "b" }))).await;
    let expected: Vec<_> = (0..200).map(|n| Ok(n % 2 == 0)).collect();
    assert_eq!(found, expected);
    assert_eq!((double.asked(), double.most()), (1, 1));
}

#[tokio::test]
async fn what_was_had_is_known_without_asking() {
    let double = Double::start(Way::Keys(keys(&["a", "b"]))).await;
    let cache = Cache::of(&double, TIMES);
    cache.comes_to("a", Ok(true)).await;
    double.answer(Way::Hang);
    for _ in 0..1_000 {
        assert_eq!((cache.has("a").await, cache.has("b").await), (Ok(true), Ok(true)));
    }
    assert_eq!(double.asked(), 1);
}

#[tokio::test]
async fn names_that_are_made_up_cost_a_request_in_a_while_and_keep_nobody_waiting() {
    let double = Double::start(Way::Keys(keys(&["a"]))).await;
    let times = Times { pause: Duration::from_millis(250), ..TIMES };
    let cache = Cache::of(&double, times);
    cache.comes_to("a", Ok(true)).await;
    let (since, mut names) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(1) {
        let found = join_all((0..50).map(|n| {
            let name = format!("made up {}", names + n);
            let cache = &cache;
            async move { cache.has(&name).await }
        }));
        assert!(found.await.iter().all(|found| *found == Ok(false)));
        names += 50;
    }
    let most = 2 + usize::try_from(since.elapsed().as_millis() / 250).unwrap();
    assert!(names > 1_000 && double.asked() <= most && double.most() == 1, "{names} names: {} times", double.asked());
    // While the address takes its time with such a name, what is known is known at once.
    double.answer(Way::Hang);
    tokio::time::sleep(times.pause).await;
    let made_up = cache.has("made up");
    let known = async {
        double.asked_times(double.asked() + 1).await;
        let since = Instant::now();
        assert_eq!(cache.has("a").await, Ok(true));
        since.elapsed()
    };
    let (found, waited) = tokio::join!(made_up, known);
    assert_eq!(found, Ok(false));
    assert!(waited < Duration::from_millis(100), "{waited:?}");
}

#[tokio::test]
async fn a_new_key_is_found_when_it_is_first_used_and_the_old_one_goes() {
    let double = Double::start(Way::Keys(keys(&["old"]))).await;
    let cache = Cache::of(&double, TIMES);
    cache.comes_to("old", Ok(true)).await;
    double.answer(Way::Keys(keys(&["new"])));
    cache.comes_to("new", Ok(true)).await;
    assert_eq!((cache.has("old").await, double.asked()), (Ok(false), 2));
}

#[tokio::test]
async fn another_key_under_the_same_name_takes_its_place() {
    let double = Double::start(Way::Keys(keys(&["a"]))).await;
    let cache = Cache::of(&double, Times { refresh: Duration::from_millis(50), ..TIMES });
    cache.comes_to("a", Ok(true)).await;
    let old = cache.keys.key(Some("a")).await.unwrap().unwrap();
    double.answer(Way::Keys(vec![Issuer::new().jwk("a")]));
    let since = Instant::now();
    while cache.keys.key(Some("a")).await.unwrap().unwrap() == old {
        assert!(since.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_key_that_is_withdrawn_stops_working_though_nobody_asks_for_another() {
    let double = Double::start(Way::Keys(keys(&["a", "b"]))).await;
    let cache = Cache::of(&double, Times { refresh: Duration::from_millis(50), ..TIMES });
    cache.comes_to("a", Ok(true)).await;
    double.answer(Way::Keys(keys(&["b"])));
    cache.comes_to("a", Ok(false)).await;
    assert_eq!(cache.has("b").await, Ok(true));
    // An empty set is an answer: none is left.
    double.answer(Way::Keys(Vec::new()));
    cache.comes_to("b", Ok(false)).await;
}

/// In all the ways in which an address fails, nothing can be said before it has ever answered, and the last set serves
/// on after that.
#[tokio::test]
async fn an_address_that_fails_takes_nothing_away_and_gives_nothing() {
    let elsewhere = Double::start(Way::Keys(keys(&["a"]))).await;
    let many: Vec<_> = (0..65).map(|n| json!({"kid": n.to_string()})).collect();
    let long = json!({"keys": keys(&["a"]), "padding": "x".repeat(300_000)}).to_string();
    let ways = [
        Way::Status(302, format!("location: {}\r\n", elsewhere.url)),
        Way::Status(304, String::new()),
        Way::Status(401, String::new()),
        Way::Status(404, String::new()),
        Way::Status(429, "retry-after: 1\r\n".into()),
        Way::Status(500, String::new()),
        Way::Body(String::new()),
        Way::Body("<html>".into()),
        Way::Body("{\"keys\":{}}".into()),
        Way::Body(long),
        Way::Body(json!({"keys": many}).to_string()),
        Way::Endless,
        Way::Half,
        Way::Close,
        Way::Hang,
    ];
    let each = ways.into_iter().map(|way| async move {
        let what: String = format!("{way:?}").chars().take(60).collect();
        let double = Double::start(way.clone()).await;
        let cache = Cache::of(&double, Times { refresh: Duration::from_millis(200), ..TIMES });
        let since = Instant::now();
        assert_eq!(cache.has("a").await, Err(NoKeys), "{what}");
        assert!(since.elapsed() < Duration::from_secs(4), "{what}: {:?}", since.elapsed());
        double.answer(Way::Keys(keys(&["a"])));
        cache.comes_to("a", Ok(true)).await;
        double.answer(way);
        double.asked_times(double.asked() + 2).await;
        assert_eq!((cache.has("a").await, cache.has("b").await), (Ok(true), Ok(false)), "{what}");
    });
    join_all(each).await;
    assert_eq!(elsewhere.asked(), 0, "nobody follows a redirect");
}

#[tokio::test]
async fn the_last_set_serves_for_a_bounded_time_and_again_once_the_address_answers() {
    let double = Double::start(Way::Keys(keys(&["a"]))).await;
    let times = Times { refresh: Duration::from_millis(100), keep: Duration::from_millis(600), ..TIMES };
    let cache = Cache::of(&double, times);
    cache.comes_to("a", Ok(true)).await;
    double.answer(Way::Close);
    let since = Instant::now();
    cache.comes_to("a", Err(NoKeys)).await;
    let (elapsed, least) = (since.elapsed(), Duration::from_millis(450));
    assert!((least..Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
    double.answer(Way::Keys(keys(&["a"])));
    cache.comes_to("a", Ok(true)).await;
}

#[tokio::test]
async fn once_the_process_ends_nobody_waits() {
    let double = Double::start(Way::Hang).await;
    let cache = Cache::at(&[("clerk.jwks_url", double.url.clone())], TIMES);
    let since = Instant::now();
    let (found, ()) = tokio::join!(cache.has("a"), async {
        double.asked_times(1).await;
        cache.stop.cancel();
    });
    assert_eq!((found, cache.has("b").await), (Err(NoKeys), Err(NoKeys)));
    assert!(since.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn the_secret_key_goes_to_clerks_api_and_nowhere_else() {
    let simulated = Simulated::of(Clerk::new(clerk_sync::clock::Clock::system())).await;
    simulated.clerk.set_jwks(json!({"keys": keys(&["a"])}));
    let url = format!("{}/jwks", simulated.url);
    // Clerk's API wants it.
    let without = simulated.keys(&[("clerk.secret_key", ""), ("clerk.jwks_url", &url)]);
    assert_eq!(Cache::at(&without, TIMES).has("a").await, Err(NoKeys));
    let with = simulated.keys(&[("clerk.jwks_url", &url)]);
    assert_eq!(Cache::at(&with, TIMES).has("a").await, Ok(true));
    // Another server does not get it, and does not need it.
    let double = Double::start(Way::Keys(keys(&["a"]))).await;
    let elsewhere = simulated.keys(&[("clerk.jwks_url", &double.url)]);
    assert_eq!(Cache::at(&elsewhere, TIMES).has("a").await, Ok(true));
    let head = double.heads().remove(0).to_lowercase();
    assert!(!head.contains("authorization") && !head.contains("sk_test"), "{head}");
}
