//! The service goes and comes back on its port while changes arrive by another replica and right after the start: pages
//! catch up, with nothing missed and nothing twice.

use serde_json::{Value, json};

use super::{bed::Bed, page::Page};
use crate::support::{
    organizations::{member, organization},
    people::{user, with},
};

#[tokio::test]
async fn pages_catch_up_after_a_restart_with_nothing_missed_and_nothing_twice() {
    if let Some(bed) = Bed::start(60).await {
        catch_up(bed).await;
    }
}

#[tokio::test]
async fn pages_catch_up_after_a_restart_on_postgres() {
    if let Some(bed) = Bed::on_postgres(60).await {
        catch_up(bed).await;
    }
}

/// Changes of people and memberships, many of them in a few rounds.
fn round(number: u64) -> Vec<Value> {
    let at = number * 100;
    let named = |name: &str| with(user(name, at), "first_name", json!(format!("{name} {number}")));
    let new = format!("new{number}");
    vec![
        named("ada"),
        named("bob"),
        named("eve"),
        user(&new, at),
        member("one", &new, at + 1, "org:member"),
        with(organization("one", "ada", at), "name", json!(format!("One {number}"))),
        with(user("bob", at + 50), "first_name", json!(format!("Robert {number}"))),
    ]
}

async fn catch_up(bed: Bed) {
    let service = bed.serve().await;
    let mut here: Vec<Value> = ["ada", "bob", "eve"].iter().map(|name| user(name, 1)).collect();
    here.push(organization("one", "ada", 1));
    here.extend(["ada", "bob"].iter().map(|name| member("one", name, 2, "org:member")));
    bed.sync(&service, &here).await;
    let admin = bed.page("restart-admin", "admin", "users,organizations,admin", "users").await;
    let ada = bed.page("restart-ada", "ada", "user:me,org:org_one", "org:org_one").await;
    for page in [&admin, &ada] {
        page.until("it is live", "page.client.status === 'live' && !page.list.loading").await;
    }
    bed.sync(&service, &round(1)).await;

    service.stop().await;
    for page in [&admin, &ada] {
        page.until("it waits", "page.statuses.includes('waiting')").await;
    }
    admin.picture("down").await;
    let replica = bed.replica().await;
    bed.sync(&replica, &round(2)).await;
    let service = bed.serve().await;
    for number in 3..6 {
        bed.sync(&service, &round(number)).await;
        bed.sync(&replica, &round(number + 10)).await;
    }

    let changes = bed.changes().await;
    for topic in ["users", "organizations", "admin"] {
        got(&admin, topic, changes.iter().filter(|change| change["topic"] == topic)).await;
    }
    let joined =
        changes.iter().find(|change| change["subject"] == "org_one/user_ada").unwrap()["seq"].as_i64().unwrap();
    let of_one = |change: &&Value| change["topic"] == "organizations" && change["seq"].as_i64().unwrap() >= joined;
    got(&ada, "org:org_one", changes.iter().filter(of_one)).await;
    let of_ada = |change: &&Value| ["user_ada", "org_one/user_ada"].iter().any(|subject| change["subject"] == *subject);
    got(&ada, "user:me", changes.iter().filter(of_ada)).await;

    // What is on the screen is what is in the tables.
    let shown = "page.list.getSnapshot().map(({ id, display_name }) => id + display_name).sort()";
    for (page, path) in [(&admin, "users"), (&ada, "organizations/org_one/members")] {
        let read = format!(
            "fetch('/token?who=admin').then((answer) => answer.json()).then(({{ token }}) =>
                fetch('{}/v1/{path}?limit=200', {{ headers: {{ authorization: 'Bearer ' + token }} }}))
                .then((answer) => answer.json())
                .then(({{ data }}) => data.map(({{ id, display_name }}) => id + display_name).sort())",
            bed.api
        );
        let (shown, there) = (page.get(shown).await, page.get(&read).await);
        assert_eq!(shown, there, "{}: {path}", bed.name);
        assert!(there.as_array().unwrap().len() > 9, "{there}");
        assert!(page.get("page.sockets").await.as_i64().unwrap() > 1);
        page.picture("caught-up").await;
    }
    bed.is_quiet(&ada).await;
    bed.browser.close().await;
    service.stop().await;
    replica.stop().await;
}

/// Waits until a page was told all of these, and is sure that it was told nothing else.
async fn got<'a>(page: &Page, topic: &str, changes: impl Iterator<Item = &'a Value>) {
    let expected = json!(changes.map(|change| change["seq"].as_i64().unwrap()).collect::<Vec<_>>());
    let seen = format!("page.seen[{}]", json!(topic));
    let last = expected.as_array().unwrap().last().cloned().unwrap_or_default();
    page.until("the last change", &format!("({seen}.at(-1) ?? null) === {last}")).await;
    assert_eq!(page.get(&seen).await, expected, "{topic}");
}
