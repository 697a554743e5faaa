//! Two replicas on one database: whatever one of them commits that takes something from somebody is known at both within
//! a second, by those who are connected and by those who come.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Bed, is_refused, keys};
use crate::support::{
    issuer::Issuer,
    organizations::{dissolved, ended, member, organization, session},
    server::{Server, deletion, person},
    ws::{Client, Heard},
};

/// From before the delivery is posted until the socket is told.
const SOON: Duration = Duration::from_secs(1);

/// What is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The person's place here, in every session.
    Place,
    /// The place of one session.
    Session,
    /// The organisation's topic, for this reason.
    Topic(&'static str),
}

/// What takes something from `user_{name}`, who is in `org_{name}`, and what.
fn causes(name: &str) -> Vec<(&'static str, Value, Loss)> {
    let id = format!("user_{name}");
    let membership = member(name, name, 10, "org:member");
    vec![
        ("banned", person(&id, 9, json!({"banned": true})), Loss::Place),
        ("deprovisioned", person(&id, 9, json!({"deprovisioned": true})), Loss::Place),
        ("deleted", deletion(&id), Loss::Place),
        ("deletion-held", deletion(&id), Loss::Place),
        ("session ended", session(name, name, "ended"), Loss::Session),
        ("session removed", session(name, name, "removed"), Loss::Session),
        ("session revoked", session(name, name, "revoked"), Loss::Session),
        ("membership ended", ended(membership), Loss::Topic("membership_ended")),
        ("organisation deleted", dissolved(name, 99), Loss::Topic("organization_deleted")),
    ]
}

/// Somebody's two connections at one replica.
struct Pair {
    /// Which follows their organisation.
    one: Client,
    /// In another session, which follows nothing.
    other: Client,
    topic: String,
}

impl Pair {
    async fn of(bed: &Bed, name: &str) -> Self {
        let mut one = bed.enter(name).await;
        let topics = one.subscribe(&[&format!("org:org_{name}")], json!({})).await;
        let other = bed.enter_with(&bed.token_with(name, json!({"sid": "sess_other"}))).await;
        Self { one, other, topic: topics[0].as_str().unwrap().to_owned() }
    }

    /// Waits until what is taken is taken, and looks that nothing else is; how long that took.
    async fn loses(&mut self, loss: Loss, since: Instant, what: &str) -> Duration {
        match loss {
            Loss::Place | Loss::Session => {
                assert_eq!(self.one.closed().await.1, 4401, "{what}");
                if loss == Loss::Place {
                    assert_eq!(self.other.hear().await, Heard::Closed(4401), "{what}");
                }
            }
            Loss::Topic(reason) => {
                let expected = json!({"type": "revoked", "topics": [self.topic], "reason": reason});
                assert_eq!(self.one.frame().await, expected, "{what}");
            }
        }
        let elapsed = since.elapsed();
        if loss != Loss::Place {
            assert!(self.other.rest().await.is_empty(), "{what}");
        }
        elapsed
    }
}

/// What is said to whoever comes afterwards.
async fn is_gone(bed: &Bed, name: &str, loss: Loss, what: &str) {
    let other = bed.token_with(name, json!({"sid": "sess_other"}));
    if loss != Loss::Session && loss != Loss::Place {
        let path = format!("/v1/organizations/org_{name}");
        bed.server.get(&path, &bed.token(name)).await.is_problem(404, "not_found", what);
        let mut client = bed.enter(name).await;
        client.say(json!({"type": "subscribe", "topics": [format!("org:org_{name}")], "after": 0})).await;
        assert_eq!(client.frame().await["code"], "forbidden", "{what}");
        return;
    }
    is_refused(bed, &bed.token(name), what).await;
    match loss {
        Loss::Place => is_refused(bed, &other, what).await,
        _ => assert_eq!(bed.server.get("/v1/users/me", &other).await.status, 200, "{what}"),
    }
}

#[tokio::test]
async fn whatever_is_taken_at_one_replica_is_taken_at_both_within_a_second() {
    let pem = Issuer::ours().pem();
    let keys = [keys(&pem).as_slice(), &[("organizations.sole_admin", "hold")]].concat();
    let Some(servers) = Server::replicas(2, &keys).await else { return };
    let beds: Vec<Bed> = servers.into_iter().map(Bed::of).collect();
    let mut told = Vec::new();
    for (number, (what, ..)) in causes("nobody").into_iter().enumerate() {
        let name = format!("p{number}");
        let (_, body, loss) = causes(&name).swap_remove(number);
        // Whoever is the only administrator among others is not deleted without an operator.
        let role = if what == "deletion-held" { "org:admin" } else { "org:member" };
        let mate = format!("mate{number}");
        for body in [
            person(&format!("user_{name}"), 1, json!({})),
            person(&format!("user_{mate}"), 1, json!({})),
            organization(&name, &mate, 1),
            member(&name, &name, 10, role),
            member(&name, &mate, 10, "org:member"),
        ] {
            beds[0].deliver(&body).await;
        }
        let mut pairs = Vec::new();
        for bed in &beds {
            pairs.push(Pair::of(bed, &name).await);
        }
        let since = Instant::now();
        assert_eq!(beds[number % 2].server.deliver(&format!("msg_{name}"), &body).await, 200);
        let [here, there] = &mut pairs[..] else { unreachable!() };
        let taken = tokio::join!(here.loses(loss, since, what), there.loses(loss, since, what));
        let slowest = taken.0.max(taken.1);
        assert!(slowest < SOON, "{what}: {taken:?}");
        told.push(format!("{what} {} ms", slowest.as_millis()));
        for bed in &beds {
            is_gone(bed, &name, loss, what).await;
        }
    }
    println!("{}", told.join(", "));
}
